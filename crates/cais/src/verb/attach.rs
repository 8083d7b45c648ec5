//! `attach`: this terminal takes part in a running container.

use std::ffi::OsString;

use clap::Args;

use crate::attached::{check_terminal, detach_keys, follow};
use crate::chosen;
use crate::door::Door;
use crate::failure::Outcome;
use crate::parse::{parse, parse_bool};
use crate::pump::Wishes;

#[derive(Debug, Args)]
struct AttachArgs {
    /// Keys that leave the container running; empty for none.
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// The container that was created last.
    #[arg(short, long)]
    latest: bool,
    /// Do not attach stdin.
    #[arg(long)]
    no_stdin: bool,
    /// Pass signals on to the command.
    #[arg(long, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_value = "true",
        default_missing_value = "true", value_parser = parse_bool)]
    sig_proxy: bool,
    container: Option<String>,
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: AttachArgs = parse(door.spec, argv)?;
    let container = chosen::one(door, args.latest, None, args.container.as_deref())?;
    let engine = door.engine()?;
    let request = engine.container(&container)?.record.request;
    let wishes = Wishes {
        tty: request.tty,
        stdin: request.interactive && !args.no_stdin,
        stdout: true,
        stderr: true,
        sig_proxy: args.sig_proxy,
        detach_keys: detach_keys(door, args.detach_keys.as_deref())?,
        redraw: true,
    };
    check_terminal(wishes.tty, wishes.stdin)?;
    let stream = engine.attach(&container, wishes.stdin)?;
    follow(door, stream, &wishes)
}
