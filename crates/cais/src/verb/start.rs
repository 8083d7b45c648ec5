//! `start`: containers that are there run again.

use std::ffi::OsString;
use std::path::PathBuf;

use cais_engine::verb::RestoreRequest;
use clap::Args;

use crate::attached::{check_terminal, detach_keys, follow};
use crate::chosen::Chosen;
use crate::door::{Door, print_stdout};
use crate::failure::{Failure, Outcome};
use crate::parse::{parse, parse_bool};
use crate::pump::Wishes;
use crate::verb::checkpoint::absolute;

#[derive(Debug, Args)]
struct StartArgs {
    /// All containers that do not run.
    #[arg(long)]
    all: bool,
    /// Attach stdout and stderr, pass signals on.
    #[arg(short, long)]
    attach: bool,
    /// Go on from a checkpoint of this name.
    #[arg(long, value_name = "NAME")]
    checkpoint: Option<String>,
    /// Where that checkpoint lies.
    #[arg(long, value_name = "DIR", requires = "checkpoint")]
    checkpoint_dir: Option<PathBuf>,
    /// Keys that leave the container running; empty for none.
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// Containers for which this holds (the filters of ps).
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Attach stdin, if the container keeps it open.
    #[arg(short, long)]
    interactive: bool,
    /// The container that was created last.
    #[arg(short, long)]
    latest: bool,
    /// Pass signals on to the command.
    #[arg(long, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_value = "true",
        default_missing_value = "true", value_parser = parse_bool)]
    sig_proxy: bool,
    containers: Vec<String>,
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: StartArgs = parse(door.spec, argv)?;
    let chosen = Chosen { all: args.all, latest: args.latest, ..Chosen::default() };
    let names = chosen.names(door, &args.containers, &args.filter, |view| !view.is_alive())?;
    let engine = door.engine()?;
    if let Some(checkpoint) = args.checkpoint.as_ref().filter(|name| !name.is_empty()) {
        return start_from(door, &args, checkpoint, &names);
    }
    if args.attach || args.interactive {
        return start_attached(door, &args, &names);
    }
    Ok(door.each(&names, |name| {
        let started = engine.start(name, false, false)?;
        door.warn(&started.warnings);
        print_stdout(&format!("{name}\n"))
    }))
}

fn start_from(door: &Door, args: &StartArgs, checkpoint: &str, names: &[String]) -> Outcome {
    let ([name], false, false) = (names, args.attach, args.interactive) else {
        return Err(Failure::usage("--checkpoint: takes one container, and attaches nobody"));
    };
    let request = RestoreRequest {
        checkpoint: Some(checkpoint.to_owned()),
        directory: absolute(args.checkpoint_dir.as_deref())?,
        ..RestoreRequest::default()
    };
    let restored = door.engine()?.restore(name, &request)?;
    door.warn(&restored.warnings);
    print_stdout(&format!("{name}\n"))?;
    Ok(0)
}

fn start_attached(door: &Door, args: &StartArgs, names: &[String]) -> Outcome {
    let [name] = names else {
        return Err(Failure::usage("only one container can be started attached"));
    };
    let engine = door.engine()?;
    let request = engine.container(name)?.record.request;
    let wishes = Wishes {
        tty: request.tty,
        stdin: args.interactive && request.interactive,
        stdout: true,
        stderr: true,
        sig_proxy: args.sig_proxy,
        detach_keys: detach_keys(door, args.detach_keys.as_deref())?,
        redraw: false,
    };
    check_terminal(wishes.tty, wishes.stdin)?;
    let started = engine.start(name, true, wishes.stdin)?;
    door.warn(&started.warnings);
    match started.stream {
        Some(stream) => follow(door, stream, &wishes),
        None => Ok(0),
    }
}
