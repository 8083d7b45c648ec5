//! `logout`: forgets logins.

use std::ffi::OsString;
use std::path::PathBuf;

use cais_engine::verb::RegistryAccess;
use clap::Args;

use crate::door::{Door, print_stdout};
use crate::failure::{Failure, Outcome};
use crate::parse::parse;

#[derive(Debug, Args)]
struct LogoutArgs {
    /// Forget all logins.
    #[arg(short, long)]
    all: bool,
    /// File of logins (else all that are read).
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    registry: Option<String>,
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: LogoutArgs = parse(door.spec, argv)?;
    if args.all && args.registry.is_some() {
        return Err(Failure::usage("--all takes no registry"));
    }
    let access = RegistryAccess { auth_file: args.authfile, ..RegistryAccess::default() };
    let registry = args.registry.as_deref().unwrap_or("docker.io");
    let out = door.engine()?.logout((!args.all).then_some(registry), &access)?;
    door.warn(&out.warnings);
    for registry in &out.registries {
        print_stdout(&format!("Removed login credentials for {registry}\n"))?;
    }
    if out.registries.is_empty() && !args.all {
        // As docker: no failure.
        print_stdout(&format!("Not logged in to {registry}\n"))?;
    }
    Ok(0)
}
