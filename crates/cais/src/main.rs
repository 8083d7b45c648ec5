//! `cais`: what is typed becomes a request to the engine, what the engine answers becomes text and an exit code.
//!
//! Glue only: parsing, formatting and the terminal are here, containers are not. The role is picked before any parser,
//! thread or logger: an OCI runtime (the word `runtime`, or called as `cais-runtime`), a hidden word by which a monitor calls, or
//! the command line; as `docker` or `podman` (argv\[0\]) the program is the same command line.

mod archive_file;
mod attached;
mod chosen;
mod complete;
mod container_args;
mod container_filter;
mod container_row;
mod detach;
mod dispatch;
mod docker_config;
mod door;
mod failure;
mod filter;
mod fit;
mod health_args;
mod help;
mod image_row;
mod launch_args;
mod limit_args;
mod list;
mod names;
mod outlet;
mod parse;
mod pod_args;
mod pod_row;
mod process_row;
mod progress;
mod pump;
mod refused;
mod registry_access;
mod request;
mod runtime_door;
mod service_args;
mod similar;
mod size;
mod spec;
mod stats_row;
mod surroundings;
mod table;
mod template;
mod terminal;
mod time;
mod user_args;
mod verb;

use std::ffi::OsString;
use std::process::ExitCode;

use cais_engine::verb::VERSION;

use crate::dispatch::{Errand, dispatch};
use crate::door::{Door, print_stderr, print_stdout};
use crate::failure::{Codes, Failure, Outcome};
use crate::surroundings::{Globals, Identity, Surroundings, home_in_passwd};

fn main() -> ExitCode {
    let mut argv: Vec<OsString> = std::env::args_os().collect();
    if let Some((program, words)) = runtime_door::role(&argv) {
        return runtime_door::main(program, words);
    }
    let (globals, errand) = dispatch(argv.split_off(argv.len().min(1)));
    let code = match errand {
        Ok(Errand::Command { spec, words, argv }) => {
            let door = Door::new(spec, words, globals.debug, surroundings(&globals));
            (spec.main)(&door, argv).unwrap_or_else(|failure| {
                door.complain(&failure);
                failure.code(spec.codes)
            })
        }
        errand => errand.and_then(|errand| print_text(&errand)).unwrap_or_else(|failure| {
            print_stderr(&failure.told("", globals.debug));
            failure.code(Codes::Plain)
        }),
    };
    ExitCode::from(code)
}

/// Errands that only print.
fn print_text(errand: &Errand) -> Outcome {
    match errand {
        Errand::Version => print_stdout(&format!("cais version {VERSION}\n"))?,
        Errand::Management(word) => print_stdout(&help::management(word, &dispatch::below(word)))?,
        Errand::Help | Errand::Command { .. } => print_stdout(help::OVERVIEW)?,
    }
    Ok::<u8, Failure>(0)
}

fn surroundings(globals: &Globals) -> Surroundings {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let identity = Identity::new(rustix::process::geteuid().as_raw(), &read("/proc/self/uid_map"));
    let home_of = |uid| home_in_passwd(&read("/etc/passwd"), uid);
    Surroundings::new(globals, &|name| std::env::var(name).ok(), identity, &home_of)
}
