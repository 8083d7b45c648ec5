//! `exec`: a further command in a running container.

#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "the comments are help texts: brackets mean optional parts"
)]

use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};

use cais_engine::verb::ExecRequest;
use cais_engine::view::State;
use clap::Args;

use crate::attached::{check_terminal, detach_keys, follow};
use crate::chosen;
use crate::door::Door;
use crate::failure::{Failure, Outcome};
use crate::parse::parse;
use crate::pump::Wishes;
use crate::request::{Caller, environment};
use crate::terminal;

#[derive(Debug, Args)]
struct ExecArgs {
    /// Read the container's id from a file.
    #[arg(long, value_name = "FILE")]
    cidfile: Option<String>,
    /// Run in the background.
    #[arg(short, long)]
    detach: bool,
    /// Keys that leave the command running; empty for none.
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// Set an environment variable (NAME=VALUE), or pass the caller's (NAME).
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Read environment variables from a file.
    #[arg(long, value_name = "FILE")]
    env_file: Vec<String>,
    /// Keep stdin open.
    #[arg(short, long)]
    interactive: bool,
    /// In the container that was created last.
    #[arg(short, long)]
    latest: bool,
    /// Give the command all capabilities.
    #[arg(long)]
    privileged: bool,
    /// Allocate a pseudo terminal.
    #[arg(short, long)]
    tty: bool,
    /// User and group (name or number, user[:group]).
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,
    /// Wait so many seconds for the container to run.
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u64>,
    /// Working directory in the container.
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    #[arg(required = true, trailing_var_arg = true)]
    words: Vec<String>,
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: ExecArgs = parse(door.spec, argv)?;
    let (typed, command) = match args.words.as_slice() {
        command if args.latest || args.cidfile.is_some() => (None, command),
        [container, command @ ..] => (Some(container.as_str()), command),
        [] => return Err(Failure::usage("a container is missing")),
    };
    if command.is_empty() {
        let message = format!("a command is missing; usage: cais {} {}", door.spec.name(), door.spec.usage);
        return Err(Failure::usage(message));
    }
    let container = match args.wait.filter(|seconds| *seconds > 0) {
        Some(seconds) => running_within(door, &args, typed, Duration::from_secs(seconds))?,
        None => chosen::one(door, args.latest, args.cidfile.as_deref(), typed)?,
    };
    let caller = Caller::here(Path::new("/"), None);
    let request = ExecRequest {
        args: command.to_vec(),
        env: environment(&args.env_file, &args.env, &caller)?,
        workdir: args.workdir.clone().filter(|dir| !dir.is_empty()),
        user: args.user.clone().filter(|user| !user.is_empty()),
        tty: args.tty,
        interactive: args.interactive,
        detach: args.detach,
        privileged: args.privileged,
        terminal_size: terminal::size().filter(|_| args.tty),
    };
    let wishes = Wishes {
        tty: args.tty,
        stdin: args.interactive,
        stdout: true,
        stderr: true,
        sig_proxy: true,
        detach_keys: detach_keys(door, args.detach_keys.as_deref())?,
        redraw: false,
    };
    if !args.detach {
        check_terminal(wishes.tty, wishes.stdin)?;
    }
    match door.engine()?.exec(&container, &request)? {
        Some(stream) => follow(door, stream, &wishes),
        None => Ok(0),
    }
}

/// The container, which need not exist yet, as soon as it runs.
fn running_within(
    door: &Door,
    args: &ExecArgs,
    typed: Option<&str>,
    patience: Duration,
) -> Result<String, Failure> {
    const LOOK: Duration = Duration::from_millis(50);
    let limit = Instant::now() + patience;
    loop {
        let found = chosen::one(door, args.latest, args.cidfile.as_deref(), typed);
        if let Ok(name) = &found
            && door.engine()?.container(name).is_ok_and(|view| view.state == State::Running)
        {
            return found;
        }
        if Instant::now() >= limit {
            let name = found?;
            let message = format!("container {name} does not run after {} seconds", patience.as_secs());
            return Err(Failure::edge(message, std::io::Error::from(std::io::ErrorKind::TimedOut)));
        }
        std::thread::sleep(LOOK);
    }
}
