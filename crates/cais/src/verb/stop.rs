//! `stop`: the stop signal, and after a while SIGKILL.

use std::ffi::OsString;

use cais_engine::ErrorKind;
use clap::Args;

use crate::chosen::Chosen;
use crate::door::{Door, print_stdout};
use crate::failure::Outcome;
use crate::parse::parse;

#[derive(Debug, Args)]
struct StopArgs {
    #[command(flatten)]
    chosen: Chosen,
    /// Containers for which this holds (the filters of ps).
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Missing ones are no failure.
    #[arg(short, long)]
    ignore: bool,
    /// Signal to send instead of the container's.
    #[arg(short, long, value_name = "SIGNAL")]
    signal: Option<String>,
    /// Seconds to wait before SIGKILL; -1 for ever.
    #[arg(short = 't', long, visible_alias = "time", value_name = "SECONDS")]
    timeout: Option<i64>,
    containers: Vec<String>,
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: StopArgs = parse(door.spec, argv)?;
    let names = args.chosen.names(door, &args.containers, &args.filter, |view| view.is_alive())?;
    let engine = door.engine()?;
    Ok(door.each(&names, |name| match engine.stop(name, args.timeout, args.signal.as_deref()) {
        Err(error) if args.ignore && error.kind == ErrorKind::NotFound => Ok(()),
        other => {
            other?;
            print_stdout(&format!("{name}\n"))
        }
    }))
}
