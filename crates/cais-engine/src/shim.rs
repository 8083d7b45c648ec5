//! Starting the shim and understanding its first word.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use cais_plan::wire::{self, detail};
use cais_plan::{PlanWriter, Setup};
use cais_runtime::embedded::SHIM;

use crate::attach::{AttachStream, Message, broken};
use crate::{Error, ErrorKind, Result};

/// Descriptor of the plan in the shim.
const PLAN: i32 = 3;

/// The descriptors that the shim gets, numbered in the order in which they are added.
pub(crate) struct ShimFds<'a> {
    fds: Vec<BorrowedFd<'a>>,
}

impl<'a> ShimFds<'a> {
    pub(crate) fn new() -> ShimFds<'a> {
        ShimFds { fds: Vec::new() }
    }

    /// The number that a descriptor has in the shim.
    pub(crate) fn add(&mut self, fd: BorrowedFd<'a>) -> i32 {
        self.fds.push(fd);
        PLAN + self.fds.len() as i32
    }

    /// -1 when there is none.
    pub(crate) fn maybe(&mut self, fd: Option<BorrowedFd<'a>>) -> i32 {
        fd.map_or(-1, |fd| self.add(fd))
    }

    /// Starts the shim with a plan; its pid.
    pub(crate) fn spawn(self, plan: &PlanWriter, setup: &Setup<'_>) -> Result<i32> {
        let failed = |e| Error::caused(ErrorKind::System, "start the monitor", e);
        let shim = cais_sys::spawn::sealed_memfd(c"cais-shim", SHIM, true).map_err(failed)?;
        let plan = cais_sys::spawn::sealed_memfd(c"cais-plan", &plan.finish(setup), false).map_err(failed)?;
        let null = File::options().read(true).write(true).open("/dev/null").map_err(failed)?;
        let mut all: Vec<(BorrowedFd<'_>, i32)> = (0..PLAN).map(|number| (null.as_fd(), number)).collect();
        all.push((plan.as_fd(), PLAN));
        all.extend(self.fds.iter().copied().zip(PLAN + 1..));
        cais_sys::spawn::spawn(shim.as_fd(), &[c"cais-shim"], &all).map_err(failed)
    }
}

/// Waits for the shim's first word: the pid of the command, or why it did not start.
pub(crate) fn first_word(stream: &AttachStream, shim_pid: i32, id: &str, plan: &PlanWriter) -> Result<i32> {
    let mut buffer = vec![0; crate::attach::MESSAGE_BYTES];
    let error = match stream.recv(&mut buffer) {
        Ok(Message::Started { pid }) => return Ok(pid),
        Ok(Message::Failed { step, errno, detail }) => failure(plan, step, errno, detail),
        Ok(_) => Error::new(ErrorKind::System, "the monitor ended before the container started"),
        Err(error) => broken(id, error),
    };
    cais_sys::spawn::reap(shim_pid);
    Err(error)
}

/// A sentence for a failed step.
fn failure(plan: &PlanWriter, step: u32, errno: i32, word: u32) -> Error {
    let last = step as usize + 1 == plan.len();
    let sentence = plan.sentence(step as usize).unwrap_or("start the container");
    let reason = std::io::Error::from_raw_os_error(errno);
    if step == wire::NO_STEP && word != detail::RESTORE {
        return early_failure(reason, word);
    }
    match word {
        detail::NO_USER => return unknown(sentence, "no such user in the container's /etc/passwd"),
        detail::RESTORE => {
            return Error::new(ErrorKind::System, format!("{}{errno}", crate::restoration::FAILED));
        }
        detail::NO_GROUP => return unknown(sentence, "no such group in the container's /etc/group"),
        detail::BAD_TARGET => {
            let message = format!(
                "{sentence}: the path leads into /proc of the container, where nothing can be mounted"
            );
            return Error::new(ErrorKind::Invalid, message);
        }
        _ => {}
    }
    if let (Some(user), libc_errno::EINVAL) = (sentence.strip_prefix("become user "), errno) {
        let message = format!("become user {user}: its ids are not mapped in the container's user namespace");
        return Error::new(ErrorKind::Invalid, message)
            .hint("map them (--uidmap, --gidmap, --userns auto:size=NUMBER), or choose another --user");
    }
    if last {
        return exec_failure(sentence, &reason, word);
    }
    let kind = match errno {
        libc_errno::EPERM | libc_errno::EACCES => ErrorKind::Denied,
        libc_errno::ENOSYS | libc_errno::EOPNOTSUPP => ErrorKind::Unsupported,
        _ => ErrorKind::System,
    };
    Error::new(kind, format!("{sentence}: {}", plain(&reason)))
}

fn unknown(sentence: &str, reason: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("{sentence}: {reason}"))
}

fn early_failure(reason: std::io::Error, word: u32) -> Error {
    match word {
        detail::CLONE => Error::new(ErrorKind::System, format!("create the namespaces: {}", plain(&reason))),
        detail::DIED => {
            Error::new(ErrorKind::System, "the container's first process was killed while it was set up")
        }
        _ => Error::new(ErrorKind::System, format!("read the launch plan: {}", plain(&reason))),
    }
}

/// Exit codes 126 and 127 hang on these.
fn exec_failure(sentence: &str, reason: &std::io::Error, word: u32) -> Error {
    let errno = reason.raw_os_error().unwrap_or(0);
    let command = sentence.strip_prefix("execute ").unwrap_or(sentence);
    match errno {
        libc_errno::ENOENT if word == detail::NO_INTERPRETER => {
            let message =
                format!("exec {command}: its interpreter or dynamic loader does not exist in the container");
            Error::new(ErrorKind::CommandNotFound, message).hint(
                "a script whose #! line names a missing program, or a binary built for another C library",
            )
        }
        libc_errno::ENOENT | libc_errno::ENOTDIR if command.contains('/') => {
            Error::new(ErrorKind::CommandNotFound, format!("exec {command}: no such file or directory"))
        }
        libc_errno::ENOENT | libc_errno::ENOTDIR => Error::new(
            ErrorKind::CommandNotFound,
            format!("exec {command:?}: executable file not found in $PATH"),
        ),
        libc_errno::ENOEXEC => {
            Error::new(ErrorKind::NotExecutable, format!("exec {command}: exec format error"))
                .hint("the file is for another architecture, or a script without a #! line")
        }
        _ => Error::new(ErrorKind::NotExecutable, format!("exec {command}: {}", plain(reason))),
    }
}

/// The errno in words, without Rust's "(os error N)".
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = words.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

/// Linux numbers that are the same on all architectures we know.
mod libc_errno {
    pub(super) const EPERM: i32 = 1;
    pub(super) const ENOENT: i32 = 2;
    pub(super) const ENOEXEC: i32 = 8;
    pub(super) const EACCES: i32 = 13;
    pub(super) const ENOTDIR: i32 = 20;
    pub(super) const ENOSYS: i32 = 38;
    pub(super) const EINVAL: i32 = 22;
    pub(super) const EOPNOTSUPP: i32 = 95;
}

#[cfg(test)]
mod tests {
    use super::*;
    use cais_plan::Step;

    fn plan() -> PlanWriter {
        let mut plan = PlanWriter::new();
        plan.push("mount proc on /proc", &Step::Pivot {});
        plan.push("execute nope", &Step::Pivot {});
        plan
    }

    #[test]
    fn failures_are_sentences() {
        let error = failure(&plan(), 0, 1, 0);
        assert_eq!(
            (error.kind, error.message.as_str()),
            (ErrorKind::Denied, "mount proc on /proc: operation not permitted")
        );
        let error = failure(&plan(), 1, 2, 0);
        assert_eq!(error.kind, ErrorKind::CommandNotFound);
        assert_eq!(error.message, "exec \"nope\": executable file not found in $PATH");
        assert_eq!(failure(&plan(), 1, 13, 0).kind, ErrorKind::NotExecutable);
        assert_eq!(failure(&plan(), 1, 8, 0).kind, ErrorKind::NotExecutable);
        assert_eq!(
            failure(&plan(), wire::NO_STEP, 12, detail::CLONE).message,
            "create the namespaces: cannot allocate memory"
        );
    }
}
