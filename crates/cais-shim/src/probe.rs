//! When the container's health is probed: by a call of the main program, never two at a time, each a while after the
//! one before has ended. Without probes there is no timer.

use cais_plan::{Setup, errand};

use crate::errand::Errand;
use crate::sys;

/// The clock of the probes.
pub struct Probe<'a> {
    setup: Setup<'a>,
    errand: Option<Errand>,
    /// When the next one begins; `None` for never, or while one is at work.
    next_ms: Option<u64>,
}

impl<'a> Probe<'a> {
    /// The container has just been started.
    #[must_use]
    pub fn new(setup: Setup<'a>) -> Probe<'a> {
        let next_ms = (setup.probe_ms > 0).then(|| sys::monotonic_ms() + setup.first_probe_ms);
        Probe { setup, errand: None, next_ms }
    }

    /// Probes at other times from now on: see [`cais_plan::wire::PROBES`].
    pub fn retime(&mut self, [probe_ms, first_probe_ms, next_ms]: [u64; 3]) {
        self.setup.probe_ms = probe_ms;
        self.setup.first_probe_ms = first_probe_ms;
        // One that is at work is followed by the next.
        if self.errand.is_none() {
            self.next_ms = (probe_ms > 0).then(|| sys::monotonic_ms() + next_ms);
        }
    }

    /// What to poll; -1 for nothing.
    #[must_use]
    pub fn pidfd(&self) -> i32 {
        self.errand.as_ref().map_or(-1, |errand| errand.pidfd)
    }

    /// When to look again without an event.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        self.next_ms
    }

    /// Notes the end of a probe (`heard`: something happened to it) and begins one whose time has come.
    pub fn go_on(&mut self, heard: bool) {
        if let (true, Some(errand)) = (heard, &self.errand)
            && let Some(status) = errand.end()
        {
            self.errand = None;
            let starting = status == errand::PROBE_STARTING;
            let pause = if starting { self.setup.first_probe_ms } else { self.setup.probe_ms };
            self.next_ms = (pause > 0).then(|| sys::monotonic_ms() + pause);
        }
        if self.next_ms.is_some_and(|time| sys::monotonic_ms() >= time) {
            self.errand = Errand::start(&self.setup, errand::PROBE);
            // Where it cannot be called now, it is tried again.
            let missed = self.errand.is_none();
            self.next_ms = missed.then(|| sys::monotonic_ms() + self.setup.probe_ms);
        }
    }
}
