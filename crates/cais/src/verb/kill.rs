//! `kill`: a signal to running containers.

use std::ffi::OsString;

use clap::Args;

use crate::door::{Door, print_stdout};
use crate::failure::Outcome;
use crate::parse::parse;

#[derive(Debug, Args)]
struct KillArgs {
    /// Signal to send, by name or number.
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL")]
    signal: String,
    #[arg(required = true)]
    containers: Vec<String>,
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: KillArgs = parse(door.spec, argv)?;
    let engine = door.engine()?;
    Ok(door.each(&args.containers, |name| {
        engine.kill(name, &args.signal)?;
        print_stdout(&format!("{name}\n"))
    }))
}
