//! `kill`: a signal to the first process, or to all.

use std::os::fd::OwnedFd;

use cais_runtime::cgroup::oci::Group;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};

use crate::error::{Error, Result};
use crate::runtime::Runtime;
use crate::state::Container;

const SIGKILL: i32 = 9;

impl Runtime {
    /// Sends a signal to the first process of a container, or with `all` to all its processes, of whom there may be some
    /// left without the first one where it had no PID namespace of its own. SIGKILL always ends all of them.
    ///
    /// # Errors
    /// "container not running" after the end; not with `all`.
    pub fn kill(&self, id: &str, signal: i32, all: bool) -> Result<()> {
        let container = self.load(id)?;
        if !(0..=64).contains(&signal) {
            return Err(Error::Request("invalid signal number"));
        }
        match (all, signal) {
            (true, _) => match kill_each(&container, signal) {
                Err(Error::NotRunning | Error::Finished) => Ok(()),
                other => other,
            },
            (false, SIGKILL) => kill_hard(&container),
            (false, _) => signal_init(&container, signal),
        }
    }
}

/// Ends all processes; returns before they have.
pub(crate) fn kill_hard(container: &Container) -> Result<()> {
    if container.record.own_pid_namespace {
        return signal_init(container, SIGKILL);
    }
    match kill_each(container, SIGKILL) {
        // Without rights to the group, the first one is all that can be reached.
        Err(Error::Cgroup(_)) if container.record.rootless_cgroup => signal_init(container, SIGKILL),
        other => other,
    }
}

fn signal_init(container: &Container, signal: i32) -> Result<()> {
    let init = container.record.init.ok_or(Error::NotRunning)?;
    let pidfd = init.open().ok_or(Error::NotRunning)?;
    send(&pidfd, signal)?;
    if signal == SIGKILL {
        thaw(container);
    }
    Ok(())
}

/// A frozen process of cgroup v1 does not even die.
fn thaw(container: &Container) {
    if let Some(group) = container.group().filter(Group::is_frozen) {
        // The signal was sent; who can thaw otherwise still may.
        let _ = group.thaw();
    }
}

fn send(pidfd: &OwnedFd, signal: i32) -> Result<()> {
    cais_sys::process::signal(pidfd, signal).map_err(|e| match e.raw_os_error() {
        Some(3) => Error::Finished,
        _ => Error::system("signal the container's process", e),
    })
}

fn kill_each(container: &Container, signal: i32) -> Result<()> {
    let Some(group) = container.group().filter(|group| !group.state().places.is_empty()) else {
        return signal_init(container, signal);
    };
    let pids = group.pids(true)?;
    if pids.is_empty() {
        return Err(Error::NotRunning);
    }
    if signal == SIGKILL {
        return Ok(group.signal_all(Signal::KILL)?);
    }
    for pid in pids {
        // One that ended meanwhile needs no signal.
        if let Some(pidfd) = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) {
            match send(&pidfd, signal) {
                Ok(()) | Err(Error::Finished) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}
