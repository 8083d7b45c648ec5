//! How long a command may run: then it is killed, and its end counts as an exit with 255, as podman tells it.

use cais_plan::Setup;

use crate::sys;

/// Signal number.
const SIGKILL: i32 = 9;
/// `exit(255)` as wait(2) tells it.
const OVERDUE: i32 = 255 << 8;

/// The limit of one run.
#[derive(Debug, Default)]
pub struct TimeLimit {
    deadline_ms: Option<u64>,
    is_over: bool,
}

impl TimeLimit {
    /// From now on.
    #[must_use]
    pub fn new(setup: &Setup<'_>) -> TimeLimit {
        let deadline_ms = (setup.run_ms > 0).then(|| sys::monotonic_ms().saturating_add(setup.run_ms));
        TimeLimit { deadline_ms, is_over: false }
    }

    /// When it ends, in milliseconds of the monotonic clock; `None` when it has none or has ended.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        self.deadline_ms.filter(|_| !self.is_over)
    }

    /// Kills the command when it is time.
    pub fn go_on(&mut self, pidfd: i32) {
        if self.deadline().is_some_and(|deadline| sys::monotonic_ms() >= deadline) {
            self.is_over = true;
            let _ = sys::pidfd_send_signal(pidfd, SIGKILL);
        }
    }

    /// How the command ended, as wait(2) has it.
    #[must_use]
    pub fn status(&self, status: i32) -> i32 {
        if self.is_over { OVERDUE } else { status }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_limit_nothing_happens() {
        let mut limit = TimeLimit::new(&Setup::NONE);
        limit.go_on(-1);
        assert_eq!((limit.deadline(), limit.status(9)), (None, 9));
    }

    #[test]
    fn it_is_over_once() {
        let mut limit = TimeLimit { deadline_ms: Some(1), is_over: false };
        limit.go_on(-1);
        assert_eq!((limit.deadline(), limit.status(9)), (None, 255 << 8));
    }
}
