//! `tag`: another name for an image.

use std::ffi::OsString;

use clap::Args;

use crate::door::Door;
use crate::failure::Outcome;
use crate::parse::parse;

#[derive(Debug, Args)]
struct TagArgs {
    source: String,
    target: String,
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: TagArgs = parse(door.spec, argv)?;
    door.engine()?.tag(&args.source, &args.target)?;
    Ok(0)
}
