//! `rm`: containers go.

use std::ffi::OsString;

use cais_engine::{Engine, ErrorKind};
use clap::Args;

use crate::chosen::Chosen;
use crate::door::{Door, print_stdout};
use crate::failure::{Failure, Outcome};
use crate::parse::parse;

#[derive(Debug, Args)]
struct RmArgs {
    #[command(flatten)]
    chosen: Chosen,
    /// Also remove the containers that depend on them.
    #[arg(long)]
    depend: bool,
    /// Containers for which this holds (the filters of ps).
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Kill and remove running ones; missing ones are no failure.
    #[arg(short, long)]
    force: bool,
    /// Missing ones are no failure.
    #[arg(short, long)]
    ignore: bool,
    /// With --force: seconds for running ones to stop by themselves before they are killed.
    #[arg(short, long, value_name = "SECONDS")]
    time: Option<i64>,
    /// Remove their anonymous volumes, too.
    #[arg(short, long)]
    volumes: bool,
    containers: Vec<String>,
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: RmArgs = parse(door.spec, argv)?;
    if args.time.is_some() && !args.force {
        return Err(Failure::usage("--time: only means something with --force"));
    }
    let names = args.chosen.names(door, &args.containers, &args.filter, |_| true)?;
    let engine = door.engine()?;
    Ok(door.each(&names, |name| match remove(engine, name, &args) {
        Ok(()) => print_stdout(&format!("{name}\n")),
        Err(error) if error.kind == ErrorKind::NotFound && args.ignore => Ok(()),
        Err(error) if error.kind == ErrorKind::NotFound && args.force => {
            door.complain(&Failure::from(error));
            Ok(())
        }
        Err(error) => Err(error.into()),
    }))
}

fn remove(engine: &Engine, name: &str, args: &RmArgs) -> cais_engine::Result<()> {
    if args.depend {
        return engine.remove_with_dependents(name, args.force, args.volumes);
    }
    let Some(seconds) = args.time else { return engine.remove(name, args.force, args.volumes) };
    let id = engine.container(name)?.record.id;
    engine.stop(&id, Some(seconds), None)?;
    match engine.remove(&id, true, args.volumes) {
        // It was to be removed at its end.
        Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
