//! `rm`: containers go.

use std::ffi::OsString;

use cais_engine::ErrorKind;
use clap::Args;

use crate::door::{Door, print_stdout};
use crate::failure::{Failure, Outcome};
use crate::parse::parse;

#[derive(Debug, Args)]
struct RmArgs {
    /// Kill and remove running ones; missing ones are no failure.
    #[arg(short, long)]
    force: bool,
    /// Remove their anonymous volumes, too.
    #[arg(short, long)]
    volumes: bool,
    #[arg(required = true)]
    containers: Vec<String>,
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: RmArgs = parse(door.spec, argv)?;
    let engine = door.engine()?;
    Ok(door.each(&args.containers, |name| match engine.remove(name, args.force, args.volumes) {
        Ok(()) => print_stdout(&format!("{name}\n")),
        Err(error) if args.force && error.kind == ErrorKind::NotFound => {
            door.complain(&Failure::from(error));
            Ok(())
        }
        Err(error) => Err(error.into()),
    }))
}
