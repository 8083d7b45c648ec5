//! A caller that stays with a process: signals go to it, its terminal is passed through, and its end is ours.
//!
//! One thread, one poll loop, until the process has ended. As a subreaper (prctl(2)) this program also waits for the
//! orphans of a container that has no PID namespace.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use cais_sys::signal::SignalFd;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus, wait, waitpid};

use crate::console::{Pump, RawTerminal};
use crate::error::{Error, Result};

const SIGINT: i32 = 2;
const SIGCHLD: i32 = 17;
const SIGURG: i32 = 23;
const SIGWINCH: i32 = 28;

/// Signals that arrive here instead of ending us. What a program gets for its own faults is left out, and what the C
/// library uses itself.
fn signals() -> Vec<i32> {
    const OWN: [i32; 11] = [4, 5, 6, 7, 8, 9, 11, 13, 19, 32, 33];
    (1..=64).filter(|number| !OWN.contains(number)).collect()
}

/// Signals are collected from here on, so that none is lost while the process is made.
pub(crate) struct Relay {
    signals: SignalFd,
    reaps_all: bool,
}

impl Relay {
    /// Blocks the signals of this thread for good; `reaps_all`: orphans of the container become ours.
    pub(crate) fn begin(reaps_all: bool) -> Result<Relay> {
        let failed = |e| Error::system("collect signals", e);
        if reaps_all {
            // Without it, orphans go to somebody above.
            let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
        }
        Ok(Relay { signals: SignalFd::new(&signals()).map_err(failed)?, reaps_all })
    }

    /// Stays until the process has ended; its exit code, 128+n after a signal.
    pub(crate) fn stay(&self, pid: i32, pidfd: &OwnedFd, master: Option<OwnedFd>) -> Result<i32> {
        let mut pump = master.map(Pump::new);
        let terminal = pump.as_ref().and_then(|_| RawTerminal::enter());
        if let (Some(pump), Some(terminal)) = (&pump, &terminal) {
            terminal.resize(pump.master());
        }
        loop {
            // First, since the end may have come before the signals were looked at.
            if let Some(code) = self.reap(pid)? {
                if let Some(pump) = &mut pump {
                    pump.show_output();
                }
                return Ok(code);
            }
            self.wait(pidfd, &mut pump)?;
            while let Some(signal) = self.signals.read() {
                match signal {
                    SIGCHLD | SIGURG => {}
                    SIGWINCH => {
                        if let (Some(pump), Some(terminal)) = (&pump, &terminal) {
                            terminal.resize(pump.master());
                        }
                    }
                    // It may have ended: then we do, too.
                    other => drop(cais_sys::process::signal(pidfd, other)),
                }
            }
        }
    }

    fn wait(&self, pidfd: &OwnedFd, pump: &mut Option<Pump>) -> Result<()> {
        let stdin = std::io::stdin();
        let input = pump.as_ref().is_some_and(Pump::wants_input);
        let interest = pump.as_ref().map_or(PollFlags::empty(), Pump::interest);
        let flag = |wanted| if wanted { PollFlags::IN } else { PollFlags::empty() };
        let ready = {
            let master: BorrowedFd<'_> = pump.as_ref().map_or(pidfd.as_fd(), |pump| pump.master().as_fd());
            let mut fds = vec![
                PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN),
            ];
            // A descriptor without interest would still wake us by its hang-up.
            let at_input = input.then(|| {
                fds.push(PollFd::from_borrowed_fd(stdin.as_fd(), flag(true)));
                fds.len() - 1
            });
            let at_master = (!interest.is_empty()).then(|| {
                fds.push(PollFd::from_borrowed_fd(master, interest));
                fds.len() - 1
            });
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(e) => return Err(Error::system("wait for the process", e)),
            }
            let seen = |at: Option<usize>| at.map_or(PollFlags::empty(), |at| fds[at].revents());
            (seen(at_input), seen(at_master))
        };
        if let Some(pump) = pump {
            if !ready.0.is_empty() {
                pump.take_input();
            }
            if ready.1.contains(PollFlags::OUT) {
                pump.give_input();
            }
            if ready.1.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                pump.show_output();
            }
        }
        Ok(())
    }

    /// Waits for what has ended; the code of the process, if it has.
    fn reap(&self, pid: i32) -> Result<Option<i32>> {
        loop {
            let options = WaitOptions::NOHANG;
            let ended = if self.reaps_all { wait(options) } else { waitpid(Pid::from_raw(pid), options) };
            match ended {
                Ok(None) => return Ok(None),
                Ok(Some((ended, status))) if ended.as_raw_nonzero().get() == pid => {
                    return Ok(Some(exit_code(status)));
                }
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Err(e) => return Err(Error::system("wait for the process", e)),
            }
        }
    }
}

/// 128+n after a signal.
fn exit_code(status: WaitStatus) -> i32 {
    let signal = || status.terminating_signal().map_or(128 + SIGINT, |signal| 128 + signal);
    status.exit_status().unwrap_or_else(signal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_ours_are_ours() {
        let signals = signals();
        for kept in [SIGINT, 15, 1, 10, SIGWINCH, SIGCHLD, 34, 64] {
            assert!(signals.contains(&kept), "{kept}");
        }
        for left in [9, 11, 13, 19, 32, 33] {
            assert!(!signals.contains(&left), "{left}");
        }
    }
}
