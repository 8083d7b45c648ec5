//! `stop`: the stop signal, and after a while SIGKILL.

use std::ffi::OsString;

use clap::Args;

use crate::door::{Door, print_stdout};
use crate::failure::Outcome;
use crate::parse::parse;

#[derive(Debug, Args)]
struct StopArgs {
    /// Signal to send instead of the container's.
    #[arg(short, long, value_name = "SIGNAL")]
    signal: Option<String>,
    /// Seconds to wait before SIGKILL; -1 for ever.
    #[arg(short = 't', long, visible_alias = "time", value_name = "SECONDS")]
    timeout: Option<i64>,
    #[arg(required = true)]
    containers: Vec<String>,
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: StopArgs = parse(door.spec, argv)?;
    let engine = door.engine()?;
    Ok(door.each(&args.containers, |name| {
        engine.stop(name, args.timeout, args.signal.as_deref())?;
        print_stdout(&format!("{name}\n"))
    }))
}
