//! `rm`: a container and everything of it goes.

use std::time::Duration;

use crate::attach::short;
use crate::{Engine, Error, ErrorKind, Result};

impl Engine {
    /// Removes a container; a running one only with `force`, which kills it. `volumes` takes its anonymous volumes, too.
    ///
    /// # Errors
    /// When it runs and `force` is not given, or something of it cannot be removed.
    pub fn remove(&self, name: &str, force: bool, volumes: bool) -> Result<()> {
        let id = self.store.resolve_container(name)?;
        let record = self.store.load_container(&id);
        if !force && record.as_ref().is_ok_and(|record| self.is_restarting(record).unwrap_or(false)) {
            let message = format!("cannot remove container {name}: it is restarting");
            return Err(Error::new(ErrorKind::Conflict, message)
                .hint(format!("stop it first, or `cais rm -f {name}`")));
        }
        let running = self.store.is_running(&id)? && self.store.read_exit(&id)?.is_none();
        if running && !force {
            let (state, first) = match self.is_frozen(&id) {
                true => ("paused", "unpause and stop it first"),
                false => ("running", "stop it first"),
            };
            let message = format!("cannot remove container {name}: it is {state}");
            return Err(
                Error::new(ErrorKind::Conflict, message).hint(format!("{first}, or `cais rm -f {name}`"))
            );
        }
        if let Ok(record) = &record
            && self.store.is_running(&id)?
        {
            const SIGKILL: i32 = 9;
            if record.may_run_again() {
                self.store.mark_stopped(&id)?;
            }
            self.end(record, SIGKILL, Some(Duration::from_secs(30)))?;
        }
        if self.store.is_running(&id)? {
            let message = format!("container {} is still ending", short(&id));
            return Err(Error::new(ErrorKind::Conflict, message).hint("try again in a moment"));
        }
        self.tear_down(&id)?;
        if let (Ok(record), true) = (&record, volumes) {
            self.remove_anonymous_volumes(record);
        }
        // One that was to be removed at its end is gone by now, and that is told.
        let is_there = self.store.paths().container_record(&id).exists();
        self.store.remove_container(&id)?;
        if let (Ok(record), true) = (&record, is_there) {
            self.tell_container(record, "destroy", &[]);
        }
        Ok(())
    }
}
