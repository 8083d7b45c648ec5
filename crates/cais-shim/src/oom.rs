//! Kills for memory while the container runs: told by a call of the main program, at once and one after the other.
//!
//! Nothing wakes up before the kernel says so: `memory.events` is polled (cgroup v2), or an eventfd is registered for the
//! group (v1), which is readable when memory has run out, a moment before the kill, and when the group is removed.

use cais_plan::{Setup, errand, oom};

use crate::errand::Errand;
use crate::line::Line;
use crate::sys::{self, POLLIN, POLLPRI, PollFd};

/// What tells of kills, and whether it is being told.
pub struct Oom<'a> {
    setup: Setup<'a>,
    /// What becomes readable; -1 where nothing does.
    fd: i32,
    events: i16,
    /// Kills that have been told.
    told: u64,
    errand: Option<Errand>,
}

impl<'a> Oom<'a> {
    /// The container has just been started.
    #[must_use]
    pub fn new(setup: Setup<'a>) -> Oom<'a> {
        let mut oom = Oom { setup, fd: -1, events: POLLIN, told: 0, errand: None };
        if setup.oom_control_fd >= 0 {
            oom.fd = register(setup.oom_control_fd, setup.oom_fd).unwrap_or(-1);
        } else if setup.oom_polls {
            // A poll tells what is newer than the last reading.
            oom.told = kills(setup.oom_fd);
            oom.fd = setup.oom_fd;
            oom.events = POLLPRI;
        }
        oom
    }

    /// What to poll while the container runs, or while a kill is being told.
    #[must_use]
    pub fn poll(&self, ended: bool) -> PollFd {
        match &self.errand {
            Some(errand) => PollFd { fd: errand.pidfd, events: POLLIN, revents: 0 },
            None => PollFd { fd: if ended { -1 } else { self.fd }, events: self.events, revents: 0 },
        }
    }

    /// A kill is being told: the end of the container waits for it, so that it is told once.
    #[must_use]
    pub fn is_telling(&self) -> bool {
        self.errand.is_some()
    }

    /// Something happened to what is polled.
    pub fn heard(&mut self, ended: bool) {
        if let Some(errand) = &self.errand {
            if errand.end().is_none() {
                return;
            }
            self.errand = None;
            return;
        }
        if self.events == POLLIN {
            let mut count = [0; 8];
            if sys::read(self.fd, &mut count).is_err() {
                return;
            }
        } else {
            let kills = kills(self.fd);
            if kills <= self.told {
                return;
            }
            self.told = kills;
        }
        if !ended {
            self.errand = Errand::start(&self.setup, errand::OOM);
        }
    }
}

/// Kills that a group has counted.
#[must_use]
pub fn kills(counter: i32) -> u64 {
    let mut text = [0_u8; 512];
    sys::pread(counter, &mut text, 0).map_or(0, |length| oom::kills(&text[..length]))
}

/// cgroup v1: an eventfd for the group whose `cgroup.event_control` this is.
fn register(control: i32, counter: i32) -> sys::Result<i32> {
    let fd = sys::eventfd()?;
    let mut line = Line::new();
    line.field(b"", fd as u64);
    line.field(b" ", counter as u64);
    let written = sys::write(control, line.text());
    sys::close(control);
    written.map(|_| fd)
}
