//! `update`: other limits and variables for containers.

use std::ffi::OsString;
use std::path::Path;

use cais_engine::verb::ContainerUpdate;
use clap::Args;

use crate::chosen::Chosen;
use crate::door::{Door, print_stdout};
use crate::failure::{Failure, Outcome};
use crate::health_args::HealthArgs;
use crate::limit_args::LimitArgs;
use crate::parse::parse;
use crate::request::{Caller, environment, health, restart_policy};

#[derive(Debug, Args)]
struct UpdateArgs {
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    health: HealthArgs,
    /// Set an environment variable (for the next start and for exec).
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// The container that was created last.
    #[arg(short, long)]
    latest: bool,
    /// Whether it runs again when it has ended: no, on-failure, on-failure:MAX, always or unless-stopped.
    #[arg(long, value_name = "POLICY")]
    restart: Option<String>,
    /// Take an environment variable away.
    #[arg(long, value_name = "NAME")]
    unsetenv: Vec<String>,
    containers: Vec<String>,
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: UpdateArgs = parse(door.spec, argv)?;
    let says_nothing = args.env.is_empty() && args.unsetenv.is_empty() && args.restart.is_none();
    if args.limits == LimitArgs::default() && args.health == HealthArgs::default() && says_nothing {
        return Err(
            Failure::usage("nothing to update: give at least one flag").hint("see 'cais update --help'")
        );
    }
    let caller = Caller::here(Path::new("/"), None);
    let health_request = health(&args.health)?;
    let update = ContainerUpdate {
        health_action: args.health.health_on_failure.as_ref().map(|_| health_request.on_failure),
        health: health_request,
        resources: args.limits.resources()?,
        env: environment(&[], &args.env, &caller)?,
        unset_env: args.unsetenv,
        restart: args
            .restart
            .as_deref()
            .map(restart_policy)
            .transpose()
            .map_err(|reason| Failure::usage(format!("--restart: {reason}")))?,
    };
    let chosen = Chosen { latest: args.latest, ..Chosen::default() };
    let names = chosen.names(door, &args.containers, &[], |_| false)?;
    let engine = door.engine()?;
    Ok(door.each(&names, |name| {
        let warnings = engine.update(name, &update)?;
        door.warn(&warnings);
        print_stdout(&format!("{name}\n"))
    }))
}
