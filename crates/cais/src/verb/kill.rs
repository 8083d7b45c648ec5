//! `kill`: a signal to running containers.

use std::ffi::OsString;

use clap::Args;

use crate::chosen::Chosen;
use crate::door::{Door, print_stdout};
use crate::failure::Outcome;
use crate::parse::parse;

#[derive(Debug, Args)]
struct KillArgs {
    #[command(flatten)]
    chosen: Chosen,
    /// Signal to send, by name or number.
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL")]
    signal: String,
    containers: Vec<String>,
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: KillArgs = parse(door.spec, argv)?;
    let names = args.chosen.names(door, &args.containers, &[], |view| view.is_alive())?;
    let engine = door.engine()?;
    Ok(door.each(&names, |name| {
        engine.kill(name, &args.signal)?;
        print_stdout(&format!("{name}\n"))
    }))
}
