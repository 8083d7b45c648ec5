//! What `run`, `start`, `attach` and `exec` have in common: a stream is pumped until its end, which is our exit code.

use cais_engine::attach::AttachStream;

use crate::detach;
use crate::docker_config;
use crate::door::{Door, print_stderr};
use crate::failure::{Cause, Failure, Outcome};
use crate::pump::{End, Wishes, pump};
use crate::terminal;

/// The keys of the flag, of docker's configuration, or the usual ones.
///
/// # Errors
/// When they cannot be parsed.
pub fn detach_keys(door: &Door, flag: Option<&str>) -> Result<Vec<u8>, Failure> {
    let configured = || docker_config::text(door, "detachKeys");
    let text = flag.map(str::to_owned).or_else(configured).unwrap_or_else(|| detach::USUAL.to_owned());
    detach::parse(&text).map_err(|reason| Failure::usage(format!("--detach-keys {text}: {reason}")))
}

/// Refuses a terminal without one.
///
/// # Errors
/// When the command is to have a terminal, is to be given our input, and that is none.
pub fn check_terminal(tty: bool, stdin: bool) -> Result<(), Failure> {
    if tty && stdin && !terminal::stdin_is_terminal() {
        let message = "the input device is not a TTY".to_owned();
        return Err(
            Failure { cause: Cause::Terminal, ..Failure::usage(message) }.hint("leave -t out in scripts")
        );
    }
    Ok(())
}

/// Pumps until the end; the exit code is the command's, 0 after detaching.
///
/// # Errors
/// When the command's monitor is lost or our streams fail.
pub fn follow(door: &Door, stream: AttachStream, wishes: &Wishes) -> Outcome {
    match pump(&stream, wishes)? {
        End::Exit(code) => {
            if let Err(error) = stream.finish() {
                door.complain(&error.into());
            }
            Ok(u8::try_from(code).unwrap_or(u8::MAX))
        }
        End::Detached => {
            print_stderr("read escape sequence\n");
            Ok(0)
        }
        End::Killed(signal) => Ok(u8::try_from(128 + signal).unwrap_or(u8::MAX)),
    }
}
