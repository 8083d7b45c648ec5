//! `pause` and `unpause`: the processes of containers stand still, and go on.

use std::ffi::OsString;

use cais_engine::view::State;
use clap::Args;

use crate::chosen::Chosen;
use crate::door::{Door, print_stdout};
use crate::failure::Outcome;
use crate::parse::parse;

#[derive(Debug, Args)]
struct PauseArgs {
    #[command(flatten)]
    chosen: Chosen,
    /// Containers for which this holds (the filters of ps).
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    containers: Vec<String>,
}

pub(super) fn pause(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: PauseArgs = parse(door.spec, argv)?;
    let names =
        args.chosen.names(door, &args.containers, &args.filter, |view| view.state == State::Running)?;
    let engine = door.engine()?;
    Ok(door.each(&names, |name| {
        engine.pause(name)?;
        print_stdout(&format!("{name}\n"))
    }))
}

pub(super) fn unpause(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: PauseArgs = parse(door.spec, argv)?;
    let names =
        args.chosen.names(door, &args.containers, &args.filter, |view| view.state == State::Paused)?;
    let engine = door.engine()?;
    Ok(door.each(&names, |name| {
        engine.unpause(name)?;
        print_stdout(&format!("{name}\n"))
    }))
}
