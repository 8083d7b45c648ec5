//! `restart`: containers are stopped and started.

use std::ffi::OsString;

use clap::Args;

use crate::chosen::Chosen;
use crate::door::{Door, print_stdout};
use crate::failure::Outcome;
use crate::parse::parse;

#[derive(Debug, Args)]
struct RestartArgs {
    #[command(flatten)]
    chosen: Chosen,
    /// Containers for which this holds (the filters of ps).
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Only those that run; without names all of them.
    #[arg(long)]
    running: bool,
    /// Signal to send instead of the container's.
    #[arg(short, long, value_name = "SIGNAL")]
    signal: Option<String>,
    /// Seconds to wait before SIGKILL; -1 for ever.
    #[arg(short = 't', long, visible_alias = "time", value_name = "SECONDS")]
    timeout: Option<i64>,
    containers: Vec<String>,
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let mut args: RestartArgs = parse(door.spec, argv)?;
    args.chosen.all |= args.running && args.containers.is_empty() && !args.chosen.latest;
    let mut names =
        args.chosen.names(door, &args.containers, &args.filter, |view| !args.running || view.is_alive())?;
    let engine = door.engine()?;
    if args.running {
        // One that is not there is told of below.
        names.retain(|name| engine.container(name).map_or(true, |view| view.is_alive()));
    }
    Ok(door.each(&names, |name| {
        let started = engine.restart(name, args.timeout, args.signal.as_deref())?;
        door.warn(&started.warnings);
        print_stdout(&format!("{name}\n"))
    }))
}
