//! `rename`: another name for a container.

use std::ffi::OsString;

use clap::Args;

use crate::door::Door;
use crate::failure::Outcome;
use crate::parse::parse;

#[derive(Debug, Args)]
struct RenameArgs {
    #[arg(required = true)]
    container: String,
    #[arg(required = true)]
    name: String,
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: RenameArgs = parse(door.spec, argv)?;
    door.engine()?.rename(&args.container, &args.name)?;
    Ok(0)
}
