//! `wait`: until containers have ended.

use std::ffi::OsString;

use cais_engine::verb::WaitCondition;
use clap::Args;

use crate::door::{Door, print_stdout};
use crate::failure::Outcome;
use crate::parse::parse;

#[derive(Debug, Args)]
struct WaitArgs {
    #[arg(required = true)]
    containers: Vec<String>,
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: WaitArgs = parse(door.spec, argv)?;
    let engine = door.engine()?;
    Ok(door.each(&args.containers, |name| {
        let code = engine.wait(name, WaitCondition::NotRunning)?;
        print_stdout(&format!("{code}\n"))
    }))
}
