//! `healthcheck run`: probes a container's health now.

use std::ffi::OsString;

use clap::Args;

use crate::door::{Door, print_stdout};
use crate::failure::Outcome;
use crate::parse::parse;

#[derive(Debug, Args)]
struct HealthcheckArgs {
    container: String,
}

/// Exit status 0 for a healthy container, 1 for an unhealthy one, as podman's.
pub(super) fn run(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: HealthcheckArgs = parse(door.spec, argv)?;
    if door.engine()?.healthcheck(&args.container)? {
        return Ok(0);
    }
    print_stdout("unhealthy\n")?;
    Ok(1)
}
