//! `container exists`: tells by its exit code.

use std::ffi::OsString;

use cais_engine::ErrorKind;
use clap::Args;

use crate::door::Door;
use crate::failure::Outcome;
use crate::parse::parse;

#[derive(Debug, Args)]
struct ExistsArgs {
    #[arg(required = true)]
    container: String,
}

/// 0 when there is one, 1 when there is none.
pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: ExistsArgs = parse(door.spec, argv)?;
    match door.engine()?.container(&args.container) {
        Ok(_) => Ok(0),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(1),
        Err(error) => Err(error.into()),
    }
}
