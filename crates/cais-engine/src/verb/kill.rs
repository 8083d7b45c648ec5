//! `kill` and `stop`: signals to a container's command, which may be paused.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use cais_plan::wire;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::attach::{AttachStream, MESSAGE_BYTES, Message, broken, short};
use crate::resolve::signal_number;
use crate::{ContainerRecord, Ending, Engine, Error, ErrorKind, RestartPolicy, Result};

/// Docker's patience between the stop signal and SIGKILL.
pub(super) const STOP_TIMEOUT_SECS: i64 = 10;
const SIGKILL: i32 = 9;
/// How long `kill` waits for the end.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

impl Engine {
    /// Sends a signal, by name or number, to a running container's command.
    ///
    /// # Errors
    /// When it does not run or the signal is unknown.
    pub fn kill(&self, name: &str, signal: &str) -> Result<()> {
        let signal = signal_number(signal)?;
        let id = self.store.resolve_container(name)?;
        let record = self.store.load_container(&id)?;
        // As in Docker any signal is meant to end it, and its policy with it; where it has a stop signal of its own, only
        // that one and SIGKILL are, but `unless-stopped` is over in any case.
        let ends = record.stop_signal_given.is_none()
            || signal == SIGKILL
            || signal == record.stop_signal
            || record.request.restart == RestartPolicy::UnlessStopped;
        if self.is_restarting(&record)? {
            self.store.mark_stopped(&id)?;
            return self.end(&record, signal, Some(KILL_PATIENCE));
        }
        let not_running =
            || Error::new(ErrorKind::Conflict, format!("cannot kill container {name}: it is not running"));
        let stream = self.talk(&id).map_err(|e| match e.kind {
            ErrorKind::Conflict => not_running(),
            _ => e,
        })?;
        if ends && record.may_run_again() {
            self.store.mark_stopped(&id)?;
        }
        self.note_ending(&id, &Ending { signal, ..Ending::default() });
        match stream.signal(signal) {
            Err(error) if is_gone(&error) => return Err(not_running()),
            other => other.map_err(|e| broken(&id, e))?,
        }
        if self.is_frozen(&id) && wakes(&self.store.load_container(&id)?, signal) {
            self.thaw(&id)?;
        }
        self.tell_container(&record, "kill", &[("signal", &signal.to_string())]);
        // A container that is killed is gone when `kill` returns, as far as that is quick.
        if signal == SIGKILL {
            match stream.request(wire::WAIT, &[]) {
                Err(error) if is_gone(&error) => {}
                other => {
                    other.map_err(|e| broken(&id, e))?;
                    self.await_exit(&stream, &id, Some(KILL_PATIENCE))?;
                }
            }
        }
        Ok(())
    }

    /// Asks a container to stop: its stop signal, then after `timeout_secs` (-1: never) SIGKILL. One that does not run
    /// is left alone.
    ///
    /// # Errors
    /// When it cannot be stopped.
    pub fn stop(&self, name: &str, timeout_secs: Option<i64>, signal: Option<&str>) -> Result<()> {
        let id = self.store.resolve_container(name)?;
        let record = self.store.load_container(&id)?;
        let signal = signal.map_or(Ok(record.stop_signal), signal_number)?;
        let seconds = timeout_secs.or(record.request.stop_timeout_secs).unwrap_or(STOP_TIMEOUT_SECS);
        let patience = u64::try_from(seconds).ok().map(Duration::from_secs);
        // First of all: whoever handles the end, or the pause between two runs, looks for it.
        if record.may_run_again() {
            self.store.mark_stopped(&id)?;
        }
        if !self.store.is_running(&id)? {
            return Ok(());
        }
        self.store.mark_stopped(&id)?;
        self.end(&record, signal, patience)?;
        self.tell_container(&record, "stop", &[]);
        Ok(())
    }

    /// Ends a run, or the pause before one: signal, patience (`None`: for ever), SIGKILL, then takes it down. One that
    /// stands still goes on first: it neither hears a signal nor, with cgroup v1, dies.
    pub(crate) fn end(
        &self,
        record: &ContainerRecord,
        signal: i32,
        patience: Option<Duration>,
    ) -> Result<()> {
        let id = record.id.as_str();
        let Some(stream) = self.talk_of_end(record)? else { return Ok(()) };
        let has_ended = self.store.read_exit(id)?.is_some();
        let patience_ms = patience.map(|patience| u64::try_from(patience.as_millis()).unwrap_or(u64::MAX));
        let ending = Ending { signal, patience_ms, stop: true, ..Ending::default() };
        self.note_ending(id, &ending);
        // We take care of what comes after, so that nothing is left when we return.
        let asked = stream
            .request(wire::OWN, &[])
            .and_then(|()| stream.request(wire::WAIT, &[]))
            .and_then(|()| stream.signal(signal));
        match asked {
            // It went between the connection and the request.
            Err(error) if is_gone(&error) => return self.settle(id),
            other => other.map_err(|e| broken(id, e))?,
        }
        if !has_ended {
            self.tell_container(record, "kill", &[("signal", &signal.to_string())]);
        }
        self.thaw(id)?;
        if !self.await_exit(&stream, id, patience)? {
            self.note_ending(id, &Ending { forced: true, ..ending });
            stream.signal(SIGKILL).map_err(|e| broken(id, e))?;
            self.tell_container(record, "kill", &[("signal", &SIGKILL.to_string())]);
            // Paused meanwhile, it would not die.
            self.thaw(id)?;
            if !self.await_exit(&stream, id, Some(Duration::from_secs(30)))? {
                let message = format!("container {} does not end although it was killed", short(id));
                return Err(Error::new(ErrorKind::System, message)
                    .hint("a process in uninterruptible sleep: look at its stack in /proc/PID/stack"));
            }
        }
        self.conclude(&stream, id)
    }

    /// Does what comes after the end of a run whose owner we are, and lets its monitor go.
    pub(super) fn conclude(&self, stream: &AttachStream, id: &str) -> Result<()> {
        let result = self.after_exit(id);
        // The shim goes when it hears that the work is done; its socket closes with it.
        if stream.request(wire::DONE, &[]).is_ok() {
            let mut buffer = vec![0; MESSAGE_BYTES];
            let limit = Instant::now() + Duration::from_secs(5);
            while Instant::now() < limit && readable(stream, Some(limit)) {
                if matches!(stream.recv(&mut buffer), Ok(Message::Closed) | Err(_)) {
                    break;
                }
            }
        }
        result
    }

    /// Ends a run in order that there is another one: what comes after is left to its monitor.
    pub(crate) fn end_for_another_run(&self, record: &ContainerRecord) -> Result<()> {
        let id = record.id.as_str();
        let failed = |e| broken(id, e);
        let stream = self.talk(id)?;
        stream.request(wire::WAIT, &[]).and_then(|()| stream.signal(record.stop_signal)).map_err(failed)?;
        self.tell_container(record, "kill", &[("signal", &record.stop_signal.to_string())]);
        let seconds = record.request.stop_timeout_secs.unwrap_or(STOP_TIMEOUT_SECS);
        if !self.await_exit(&stream, id, u64::try_from(seconds).ok().map(Duration::from_secs))? {
            stream.signal(SIGKILL).map_err(failed)?;
            self.tell_container(record, "kill", &[("signal", &SIGKILL.to_string())]);
            // Whoever leaves at once takes back what the monitor has not read yet.
            self.await_exit(&stream, id, Some(KILL_PATIENCE))?;
        }
        Ok(())
    }

    /// The monitor of a container that is to end; `None` when it does not run. One that is being started is waited for,
    /// and so is one that is about to go.
    fn talk_of_end(&self, record: &ContainerRecord) -> Result<Option<AttachStream>> {
        let id = record.id.as_str();
        let limit = Instant::now() + Duration::from_secs(5);
        while self.store.is_running(id)? {
            let found = match self.talk(id) {
                // Between two runs there is an exit record, and a monitor that listens.
                Err(_) if record.may_run_again() => {
                    AttachStream::connect(&self.store.paths().run_ctl(id)).ok()
                }
                other => other.ok(),
            };
            if found.is_some() || Instant::now() >= limit {
                return Ok(found);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(None)
    }

    /// Leaves a word for `why`. That it cannot be left is no reason not to end a container.
    pub(super) fn note_ending(&self, id: &str, ending: &Ending) {
        let ending = Ending { at: cais_store::run_state::now(), ..ending.clone() };
        let _ = self.store.write_ending(id, &ending);
    }

    /// A container without a monitor to talk to: the monitor is on its way out, or it was killed.
    fn settle(&self, id: &str) -> Result<()> {
        let limit = Instant::now() + Duration::from_secs(5);
        while self.store.is_running(id)? && Instant::now() < limit {
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Waits for the end; false when the patience is over first.
    pub(super) fn await_exit(
        &self,
        stream: &AttachStream,
        id: &str,
        patience: Option<Duration>,
    ) -> Result<bool> {
        let limit = patience.map(|patience| Instant::now() + patience);
        let mut buffer = vec![0; MESSAGE_BYTES];
        while readable(stream, limit) {
            match stream.recv(&mut buffer) {
                Ok(Message::Exit { .. } | Message::Closed) => return Ok(true),
                Ok(_) => {}
                Err(error) => return Err(broken(id, error)),
            }
        }
        Ok(false)
    }
}

/// Whether a paused container is to go on when it gets this signal: Docker's rule is that the stop signal ends it, or
/// any when no stop signal was chosen.
fn wakes(record: &ContainerRecord, signal: i32) -> bool {
    signal == SIGKILL || record.stop_signal_given.is_none() || signal == record.stop_signal
}

/// The monitor has closed its end.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

/// Waits until a message is there; false when the time is over.
pub(super) fn readable(stream: &AttachStream, limit: Option<Instant>) -> bool {
    loop {
        let timeout = limit.map(|limit| {
            let left = limit.saturating_duration_since(Instant::now());
            Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) }
        });
        let fd = stream.as_fd();
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], timeout.as_ref()) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(0) | Err(_) => return false,
            Ok(_) => return true,
        }
    }
}
