//! What comes after the end of the command and its report, when no client takes care of it: the main program is called.
//!
//! Without another run to come the monitor becomes it. Otherwise it is called beside, says when the next run begins
//! (`wire::AGAIN`), and the monitor waits: it holds the lock and answers on its socket, so that a `stop` finds somebody to
//! talk to. Killed while it waits, it leaves an exit record, and a run directory that nobody holds.

use cais_plan::{Setup, errand};

use crate::errand::{Errand, become_program};
use crate::sys;

/// What is done after the end.
pub struct Aftermath<'a> {
    setup: Setup<'a>,
    /// A client has taken care of everything.
    done: bool,
    /// The main program was called.
    asked: bool,
    errand: Option<Errand>,
    /// When the next run begins.
    again_ms: Option<u64>,
}

impl<'a> Aftermath<'a> {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new(setup: Setup<'a>) -> Aftermath<'a> {
        Aftermath { setup, done: false, asked: false, errand: None, again_ms: None }
    }

    /// A client has taken care: there is no other run.
    pub fn cancel(&mut self) {
        self.done = true;
    }

    /// There is another run, after so many milliseconds.
    pub fn again_in(&mut self, delay_ms: u32) {
        self.again_ms = Some(sys::monotonic_ms() + u64::from(delay_ms));
    }

    /// What to poll; -1 for nothing.
    #[must_use]
    pub fn pidfd(&self) -> i32 {
        self.errand.as_ref().map_or(-1, |errand| errand.pidfd)
    }

    /// When to look again without an event.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        self.again_ms.filter(|_| self.errand.is_none())
    }

    /// Something happened to the call of the main program.
    pub fn heard(&mut self) {
        if self.errand.as_ref().is_some_and(|errand| errand.end().is_some()) {
            self.errand = None;
        }
    }

    /// The next thing to do; the shim's exit status when nothing is left.
    pub fn go_on(&mut self) -> Option<i32> {
        if self.done {
            return Some(0);
        }
        if !self.asked {
            self.asked = true;
            if self.setup.stays {
                self.errand = Errand::start(&self.setup, errand::ENDED);
            }
            if self.errand.is_none() {
                return Some(become_program(&self.setup, errand::ENDED));
            }
        }
        if self.errand.is_some() {
            return None;
        }
        match self.again_ms {
            Some(time) if sys::monotonic_ms() < time => None,
            Some(_) => Some(become_program(&self.setup, errand::AGAIN)),
            None => Some(0),
        }
    }
}
