//! `debug`: a shell with the tools of another image in the namespaces of a container.

#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "the comments are help texts: brackets mean optional parts"
)]

use std::ffi::OsString;
use std::path::Path;

use cais_engine::verb::DebugRequest;
use clap::Args;

use crate::attached::{check_terminal, detach_keys, follow};
use crate::door::Door;
use crate::failure::Outcome;
use crate::parse::parse;
use crate::progress;
use crate::pump::Wishes;
use crate::request::{Caller, environment};
use crate::terminal;

#[derive(Debug, Args)]
struct DebugArgs {
    /// Keys that leave the command running; empty for none.
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// Set an environment variable (NAME=VALUE), or pass the caller's (NAME).
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Where the tools come from; pulled when it is not here (busybox, alpine, … when one is here).
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// Keep stdin open; so it is at a terminal.
    #[arg(short, long)]
    interactive: bool,
    /// Give the tools all capabilities and no seccomp filter.
    #[arg(long)]
    privileged: bool,
    /// Tell nothing of a pull.
    #[arg(short, long)]
    quiet: bool,
    /// Allocate a pseudo terminal; so it is at a terminal.
    #[arg(short, long)]
    tty: bool,
    /// User and group by the tools image (name or number, user[:group]).
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,
    #[arg(required = true, trailing_var_arg = true)]
    words: Vec<String>,
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: DebugArgs = parse(door.spec, argv)?;
    let (container, command) =
        args.words.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    let at_terminal = terminal::stdin_is_terminal() && terminal::size().is_some();
    let (tty, interactive) = (args.tty || at_terminal, args.interactive || at_terminal);
    let caller = Caller::here(Path::new("/"), None);
    let request = DebugRequest {
        image: args.image.clone().filter(|image| !image.is_empty()),
        args: command.to_vec(),
        env: environment(&[], &args.env, &caller)?,
        user: args.user.clone().filter(|user| !user.is_empty()),
        tty,
        interactive,
        privileged: args.privileged,
        terminal_size: terminal::size().filter(|_| tty),
    };
    let wishes = Wishes {
        tty,
        stdin: interactive,
        stdout: true,
        stderr: true,
        sig_proxy: true,
        detach_keys: detach_keys(door, args.detach_keys.as_deref())?,
        redraw: false,
    };
    check_terminal(wishes.tty, wishes.stdin)?;
    let stream = door.engine()?.debug(container, &request, &*progress::choose(door, args.quiet))?;
    follow(door, stream, &wishes)
}
