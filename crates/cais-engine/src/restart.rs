//! What comes after the end of a container whose starter does not care: the hidden words of its monitor.
//!
//! Whether and when it runs again is decided by a pure function, as in Docker: the pause doubles from 100 ms to a
//! minute and begins anew after a run of ten seconds.

use std::time::{Duration, Instant};

use cais_plan::errand::LOCK_FD;
use cais_plan::wire;
use cais_store::{RestartState, StoreError};
use cais_sys::lock::OfdLock;

use crate::attach::AttachStream;
use crate::event::ran_ms;
use crate::launch::Taking;
use crate::{ContainerRecord, Engine, ExitRecord, RestartPolicy, Result, RunFacts};

/// The first pause.
const FIRST_DELAY_MS: u64 = 100;
/// The longest.
const LAST_DELAY_MS: u64 = 60_000;
/// A run of this length was a good one: the next pause is the first again.
const GOOD_RUN_MS: u64 = 10_000;
/// How often a wait without monitor looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(20);

/// What asks for another run, or against it.
#[derive(Clone, Copy, Debug)]
struct Wishes {
    policy: RestartPolicy,
    /// Somebody wants it to be down.
    stopped: bool,
    /// It was ended to run again.
    unhealthy: bool,
}

/// The next run, if there is one: its number and the pause before it.
fn next_run(wishes: Wishes, exit: &ExitRecord, before: &RestartState) -> Option<RestartState> {
    let wanted = match wishes.policy {
        RestartPolicy::No => false,
        RestartPolicy::OnFailure { max_retries } => {
            exit.code != 0 && (max_retries == 0 || before.count < max_retries)
        }
        RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
    };
    // A start that failed has not begun a run.
    if wishes.stopped || exit.started.is_empty() || !exit.error.is_empty() || !(wanted || wishes.unhealthy) {
        return None;
    }
    let delay_ms = match before.delay_ms {
        _ if ran_ms(exit) >= GOOD_RUN_MS => FIRST_DELAY_MS,
        0 => FIRST_DELAY_MS,
        last => (last * 2).min(LAST_DELAY_MS),
    };
    Some(RestartState { count: before.count + 1, delay_ms })
}

impl Engine {
    /// It has ended, and waits for its next run or for the decision whether there is one.
    pub(crate) fn is_restarting(&self, record: &ContainerRecord) -> Result<bool> {
        let id = record.id.as_str();
        if !record.may_run_again() || !self.store.is_running(id)? {
            return Ok(false);
        }
        let has_ended = self.store.read_exit(id)?.is_some();
        Ok(has_ended || self.store.read_facts(id)?.is_some_and(|facts| facts.restarting))
    }

    /// Called by the monitor at the end of a run that nobody takes care of: takes it down, or has it run again.
    ///
    /// # Errors
    /// The first of what could not be taken down; all else was.
    pub fn cleanup(&self, id: &str) -> Result<()> {
        // Who holds the lock of a run that has ended is its monitor, which waits for us, or a new run, which is none of
        // our business.
        let Some(lock) = self.store.take_ended_lock(id)? else { return self.cleanup_beside(id) };
        let Some(next) = self.next_run_of(id)? else { return self.after_exit(id) };
        self.settle_down(id, &next)?;
        // Its monitor did not know that there could be another run: we wait in its place.
        let time = Instant::now() + Duration::from_millis(next.delay_ms);
        while Instant::now() < time && !self.store.is_marked_stopped(id) {
            std::thread::sleep(LOOK);
        }
        drop(lock);
        self.take_up_again(id)
    }

    /// The monitor waits, with the lock, for what we say.
    fn cleanup_beside(&self, id: &str) -> Result<()> {
        if self.store.read_exit(id)?.is_none() {
            return Ok(());
        }
        let Ok(stream) = AttachStream::connect(&self.store.paths().run_ctl(id)) else { return Ok(()) };
        if stream.request(wire::OWN, &[]).is_err() {
            return Ok(());
        }
        let Some(next) = self.next_run_of(id)? else {
            let down = self.after_exit(id);
            // It goes as well when it does not hear of it.
            let _ = stream.request(wire::DONE, &[]);
            return down;
        };
        let settled = self.settle_down(id, &next);
        let delay = u32::try_from(next.delay_ms).unwrap_or(u32::MAX);
        let _ = stream.request(wire::AGAIN, &delay.to_ne_bytes());
        settled
    }

    /// Whether there is another run, from what is on disk.
    fn next_run_of(&self, id: &str) -> Result<Option<RestartState>> {
        let Ok(record) = self.store.load_container(id) else { return Ok(None) };
        let Ok(Some(exit)) = self.store.read_exit(id) else { return Ok(None) };
        let wishes = Wishes {
            policy: record.request.restart,
            stopped: self.store.is_marked_stopped(id),
            unhealthy: self.store.take_unhealthy(id)?,
        };
        let before = self.store.read_restart(id)?.unwrap_or_default();
        Ok(next_run(wishes, &exit, &before).filter(|_| !record.request.auto_remove))
    }

    /// Between two runs: the end is told, what the run had is taken down, and it is written that it is not over.
    fn settle_down(&self, id: &str, next: &RestartState) -> Result<()> {
        let record = self.store.load_container(id)?;
        self.tell_end(&record);
        let facts = self.store.read_facts(id)?.unwrap_or_default();
        let down = self.tear_down_run(id);
        self.store.write_restart(id, next)?;
        let waiting = RunFacts {
            started: facts.started,
            shim_pid: facts.shim_pid,
            restarting: true,
            ..RunFacts::default()
        };
        self.store.write_facts(id, &waiting)?;
        down
    }

    /// Called by the monitor, whose lock we have inherited, when the pause is over: runs the container again, unless somebody
    /// does not want it any more.
    ///
    /// # Errors
    /// When it cannot be started; its exit record says why, and the policy gives up, as Docker's does.
    pub fn again(&self, id: &str) -> Result<()> {
        let lock = self.store.inherit_run_lock(id, LOCK_FD)?;
        self.again_under(id, lock)
    }

    /// As [`Engine::again`], when the lock is free; somebody may be faster.
    pub(crate) fn take_up_again(&self, id: &str) -> Result<()> {
        match self.store.take_run_lock(id) {
            Ok(lock) => self.again_under(id, lock),
            Err(StoreError::Running { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn again_under(&self, id: &str, lock: OfdLock) -> Result<()> {
        let record = self.store.load_container(id)?;
        if self.store.is_marked_stopped(id) {
            return self.tear_down(id);
        }
        let before = self.store.read_exit(id).ok().flatten();
        let taking = Taking { again: true, ..Taking::default() };
        let launched =
            self.start_needed(&record).and_then(|()| self.launch_under(&record, taking, None, lock));
        match launched {
            Ok(_) => {
                self.tell_start(&record);
                Ok(())
            }
            Err(error) => {
                self.record_failed_start(id, &error, before);
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(code: i32, seconds: u32) -> ExitRecord {
        ExitRecord {
            code,
            started: "2026-11-20T10:00:00Z".into(),
            finished: format!("2026-11-20T10:00:{seconds:02}Z"),
            ..ExitRecord::default()
        }
    }

    fn wishes(policy: RestartPolicy) -> Wishes {
        Wishes { policy, stopped: false, unhealthy: false }
    }

    #[test]
    fn policies() {
        let begin = RestartState::default();
        let runs = |policy, code| next_run(wishes(policy), &exit(code, 1), &begin).is_some();
        let failing = |max_retries| RestartPolicy::OnFailure { max_retries };
        assert!(!runs(RestartPolicy::No, 1));
        assert!(runs(RestartPolicy::Always, 0) && runs(RestartPolicy::UnlessStopped, 0));
        assert!(runs(failing(0), 1) && !runs(failing(0), 0));
        let third = RestartState { count: 3, delay_ms: 400 };
        assert!(next_run(wishes(failing(3)), &exit(1, 1), &third).is_none());
        assert!(next_run(wishes(failing(4)), &exit(1, 1), &third).is_some());
    }

    #[test]
    fn a_hand_is_stronger_than_a_policy_and_health_asks_without_one() {
        let begin = RestartState::default();
        for policy in [RestartPolicy::Always, RestartPolicy::UnlessStopped] {
            assert!(next_run(Wishes { stopped: true, ..wishes(policy) }, &exit(0, 1), &begin).is_none());
        }
        let sick = Wishes { unhealthy: true, ..wishes(RestartPolicy::No) };
        assert!(next_run(sick, &exit(143, 1), &begin).is_some());
        assert!(next_run(Wishes { stopped: true, ..sick }, &exit(143, 1), &begin).is_none());
        let failed = ExitRecord { error: "exec nope".into(), ..exit(127, 1) };
        assert!(next_run(wishes(RestartPolicy::Always), &failed, &begin).is_none(), "it never began");
    }

    #[test]
    fn the_pause_doubles_up_to_a_minute() {
        let mut state = RestartState::default();
        let mut delays = Vec::new();
        for _ in 0..12 {
            state = next_run(wishes(RestartPolicy::Always), &exit(0, 1), &state).unwrap();
            delays.push(state.delay_ms);
        }
        assert_eq!(delays[..4], [100, 200, 400, 800]);
        assert_eq!(delays[9..], [51_200, 60_000, 60_000]);
        assert_eq!(state.count, 12);
        let next = next_run(wishes(RestartPolicy::Always), &exit(0, 10), &state).unwrap();
        assert_eq!((next.count, next.delay_ms), (13, 100), "a good run");
    }
}
