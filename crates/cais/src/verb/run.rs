//! `run`: a container from an image, attached or not.

use std::ffi::OsString;

use clap::Args;

use super::create;
use crate::attached::{check_terminal, detach_keys, follow};
use crate::container_args::ContainerArgs;
use crate::door::{Door, print_stdout};
use crate::failure::{Failure, Outcome};
use crate::parse::{parse, parse_bool};
use crate::progress;
use crate::pump::Wishes;
use crate::terminal;

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    container: ContainerArgs,
    /// Run in the background and print the container's id.
    #[arg(short, long)]
    detach: bool,
    /// Keys that leave the container running; empty for none.
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// Remove the container when it ends, and its image unless something else uses it.
    #[arg(long)]
    rmi: bool,
    /// Pass signals on to the command.
    #[arg(long, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_value = "true",
        default_missing_value = "true", value_parser = parse_bool)]
    sig_proxy: bool,
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let mut args: RunArgs = parse(door.spec, argv)?;
    args.container.rm |= args.rmi;
    let mut wishes = streams(&args.container)?;
    wishes.sig_proxy = args.sig_proxy;
    wishes.detach_keys = detach_keys(door, args.detach_keys.as_deref())?;
    if args.detach && !args.container.attach.is_empty() {
        return Err(Failure::usage("conflicting options: --attach and --detach"));
    }
    let mut request = create::request(door, &args.container)?;
    request.detach = args.detach;
    request.remove_image = args.rmi;
    request.terminal_size = terminal::size().filter(|_| wishes.tty);
    if !args.detach {
        check_terminal(wishes.tty, wishes.stdin)?;
    }
    let engine = door.engine()?;
    let running = engine.run(request, &*progress::choose(door, args.container.quiet))?;
    door.warn(&running.warnings);
    match running.stream {
        Some(stream) => follow(door, stream, &wishes),
        None => {
            print_stdout(&format!("{}\n", running.id))?;
            Ok(0)
        }
    }
}

/// Which streams are attached: all, or those of `-a`; standard input only with `-i`.
fn streams(args: &ContainerArgs) -> Result<Wishes, Failure> {
    let mut wishes = Wishes { tty: args.tty, ..Wishes::default() };
    if args.attach.is_empty() {
        (wishes.stdin, wishes.stdout, wishes.stderr) = (args.interactive, true, true);
    }
    for name in &args.attach {
        match name.to_ascii_lowercase().as_str() {
            "stdin" => wishes.stdin = args.interactive,
            "stdout" => wishes.stdout = true,
            "stderr" => wishes.stderr = true,
            _ => return Err(Failure::usage(format!("--attach {name}: use stdin, stdout or stderr"))),
        }
    }
    Ok(wishes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attached(interactive: bool, names: &[&str]) -> Result<(bool, bool, bool), String> {
        let attach = names.iter().map(|&name| name.to_owned()).collect();
        let args = ContainerArgs { interactive, attach, ..ContainerArgs::default() };
        let wishes = streams(&args).map_err(|failure| failure.message)?;
        Ok((wishes.stdin, wishes.stdout, wishes.stderr))
    }

    #[test]
    fn streams_are_all_or_the_named() {
        assert_eq!(attached(false, &[]), Ok((false, true, true)));
        assert_eq!(attached(true, &[]), Ok((true, true, true)));
        assert_eq!(attached(true, &["stdout"]), Ok((false, true, false)));
        assert_eq!(attached(true, &["STDIN", "stderr"]), Ok((true, false, true)));
        assert_eq!(attached(false, &["stdin"]), Ok((false, false, false)));
        assert!(attached(true, &["stdlog"]).is_err());
    }
}
