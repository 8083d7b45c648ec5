//! Carries a plan out: opens what it names, starts the shim with it, and hands over the talk with the first process.
//!
//! The first process is our child in both roles (the shim clones it as its sibling) and becomes an orphan when this
//! program ends. Until it is released a [`Child`] is killed and waited for when it is dropped: a failure leaves no process.
//! When we die without that, the socket closes, upon which it ends itself.

mod conversation;
mod failure;
mod idmap;
mod setup;
mod wanted;

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use cais_plan::{Setup, role};
use cais_runtime::cgroup::Join;
use cais_runtime::embedded::SHIM;
use cais_sys::spawn::{reap, sealed_memfd, spawn, spawn_into};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

pub(crate) use conversation::{Conversation, Failed, Word, is_refusal};
pub(crate) use failure::{Blame, blame};
pub(crate) use setup::{limit, set_up};

use crate::error::{Error, Result};
use crate::plan::{Planned, Wanted};
use crate::process::Identity;
use crate::state::SHIM_NAME;
use wanted::Sources;

/// What is launched.
pub(crate) struct Launch<'a> {
    pub(crate) planned: &'a Planned,
    /// `process.args[0]`, for sentences.
    pub(crate) command: &'a str,
    /// Descriptors from 3 on that the command keeps.
    pub(crate) preserved: &'a [OwnedFd],
    /// Of the control group.
    pub(crate) join: &'a Join,
    /// The container's first process, for one more.
    pub(crate) init: Option<Identity>,
    /// Where the start is awaited.
    pub(crate) start: Option<BorrowedFd<'a>>,
    /// Who gets the terminal.
    pub(crate) console: Option<BorrowedFd<'a>>,
}

/// A process that we started.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) identity: Identity,
    pub(crate) pidfd: OwnedFd,
    outlives_us: bool,
}

impl Child {
    /// A child that another program made ours.
    ///
    /// # Errors
    /// When it has ended.
    pub(crate) fn adopt(pid: i32) -> Result<Child> {
        let pidfd = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        adopt(pid, pidfd.ok_or(Error::Died)?)
    }

    /// From here on it may outlive us.
    pub(crate) fn release(&mut self) {
        self.outlives_us = true;
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.outlives_us {
            // It may have ended already; then it is only to be waited for.
            let _ = cais_sys::process::signal(&self.pidfd, 9);
            reap(self.identity.pid);
        }
    }
}

/// A process that is becoming the command.
#[derive(Debug)]
pub(crate) struct First {
    pub(crate) child: Child,
    pub(crate) talk: Conversation,
}

/// Numbers of the descriptors in the shim.
struct Numbers {
    plan: RawFd,
    sync: RawFd,
    start: RawFd,
    console: RawFd,
}

impl Launch<'_> {
    /// Starts the first process.
    ///
    /// # Errors
    /// When something that the plan names cannot be opened, or the clone fails; nothing stays.
    pub(crate) fn start(&self) -> Result<First> {
        let sources = Sources { join: self.join, init: self.init };
        let opened = wanted::open_all(&self.planned.fds, &sources)?;
        let numbers = self.numbers();
        let plan = self.planned.steps.finish(&self.setup(&numbers));
        let failed = |e: io::Error| Error::system("start the container's first process", e);
        let plan = sealed_memfd(c"cais-plan", &plan, false).map_err(failed)?;
        let shim = sealed_memfd(SHIM_NAME, SHIM, true).map_err(failed)?;
        let (talk, other) = Conversation::pair().map_err(failed)?;
        let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
        let mut fds = vec![(stdin.as_fd(), 0), (stdout.as_fd(), 1), (stderr.as_fd(), 2)];
        fds.extend(self.preserved.iter().map(AsFd::as_fd).zip(3..));
        fds.extend([(plan.as_fd(), numbers.plan), (other.as_fd(), numbers.sync)]);
        fds.extend(self.start.map(|fd| (fd, numbers.start)));
        fds.extend(self.console.map(|fd| (fd, numbers.console)));
        fds.extend(opened.iter().map(|(fd, number)| (fd.as_fd(), *number)));
        fds.sort_by_key(|(_, number)| *number);
        let number = CString::new(numbers.plan.to_string()).unwrap_or_default();
        let argv = [SHIM_NAME, number.as_c_str()];
        if self.planned.role == role::FIRST {
            let group = self.join.directory.as_ref().map(AsFd::as_fd);
            let (pid, pidfd) = spawn_into(shim.as_fd(), &argv, &fds, self.planned.clone_flags, group)
                .map_err(|e| Error::Clone { source: e })?;
            return Ok(First { child: adopt(pid, pidfd)?, talk });
        }
        let shim_pid = spawn(shim.as_fd(), &argv, &fds).map_err(failed)?;
        // Else the end of the other side would not be seen.
        drop(other);
        let cloned = self.await_clone(&talk);
        reap(shim_pid);
        Ok(First { child: cloned?, talk })
    }

    fn await_clone(&self, talk: &Conversation) -> Result<Child> {
        match talk.next()? {
            Word::Cloned(pid, pidfd) => adopt(pid, pidfd),
            Word::Failed(failed) => Err(blame(failed, &Blame::planned(self.planned, self.command))),
            Word::End => Err(Error::Died),
            _ => Err(Error::Message),
        }
    }

    fn numbers(&self) -> Numbers {
        let base = 3 + self.preserved.len() as RawFd;
        Numbers {
            plan: base,
            sync: base + 1,
            start: if self.start.is_some() { base + 2 } else { -1 },
            console: if self.console.is_some() { base + 3 } else { -1 },
        }
    }

    fn setup(&self, numbers: &Numbers) -> Setup<'static> {
        let planned = self.planned;
        let group = planned.fds.iter().find(|(_, wanted)| *wanted == Wanted::CgroupDirectory);
        let (rows, cols) = planned.console_size;
        Setup {
            role: planned.role,
            sync_fd: numbers.sync,
            start_fd: numbers.start,
            console_fd: numbers.console,
            preserve: self.preserved.len() as u32,
            outer: planned.outer,
            clone_flags: planned.clone_flags,
            cgroup_fd: group.map_or(-1, |(number, _)| *number),
            tty: planned.tty,
            rows,
            cols,
            ..Setup::NONE
        }
    }
}

/// The new process as ours. It can only be gone if it was killed; as our child it keeps its number.
fn adopt(pid: i32, pidfd: OwnedFd) -> Result<Child> {
    let mut child = Child { identity: Identity { pid, start: 0 }, pidfd, outlives_us: false };
    child.identity = Identity::of(pid).map_err(|_| Error::Died)?;
    Ok(child)
}
