//! `restart`: a container is stopped, if it runs, and started.

use std::time::Duration;

use super::kill::STOP_TIMEOUT_SECS;
use crate::resolve::signal_number;
use crate::verb::Started;
use crate::{Engine, Result};

impl Engine {
    /// Stops a container as [`Engine::stop`] does, and starts it. One that was to be removed at its end survives the
    /// stop, as in Docker.
    ///
    /// # Errors
    /// When it cannot be stopped or started; one that cannot be started stays down.
    pub fn restart(&self, name: &str, timeout_secs: Option<i64>, signal: Option<&str>) -> Result<Started> {
        let id = self.store.resolve_container(name)?;
        let record = self.store.load_container(&id)?;
        let signal = signal.map_or(Ok(record.stop_signal), signal_number)?;
        let seconds = timeout_secs.or(record.request.stop_timeout_secs).unwrap_or(STOP_TIMEOUT_SECS);
        let patience = u64::try_from(seconds).ok().map(Duration::from_secs);
        if !record.request.auto_remove {
            if record.may_run_again() {
                // Whoever handles the end leaves the next start to us.
                self.store.mark_stopped(&id)?;
            }
            self.end(&record, signal, patience)?;
            let started = self.start(&id, false, false)?;
            self.tell_container(&record, "restart", &[]);
            return Ok(started);
        }
        // Whoever cleans up after the old run, an attached `run --rm` too, asks the record. A crash in between leaves a
        // container that is not removed at its end.
        self.keep_at_end(&id, true)?;
        let ended = self.end(&record, signal, patience);
        let started = ended.and_then(|()| {
            self.tear_down(&id)?;
            self.launch_record(&record, false, false)
        });
        self.keep_at_end(&id, false)?;
        if !self.store.is_running(&id)? {
            // It ended before its record said again what is to come then.
            self.discard(&record)?;
        }
        let warnings = started?.warnings;
        self.tell_container(&record, "restart", &[]);
        Ok(Started { id, stream: None, warnings })
    }

    fn keep_at_end(&self, id: &str, keep: bool) -> Result<()> {
        self.store.change_container(id, |record| {
            record.request.auto_remove = !keep;
            Ok(())
        })
    }
}
