//! `start`: a container that is there runs (again).

use std::time::{Duration, Instant};

use cais_store::RestartState;

use crate::attach::{AttachStream, short};
use crate::launch::{Launched, Taking};
use crate::{ContainerRecord, Engine, Error, ErrorKind, Result};

/// A start that worked.
pub struct Started {
    /// The container's id.
    pub id: String,
    /// Its output and end, when asked for.
    pub stream: Option<AttachStream>,
    /// For stderr.
    pub warnings: Vec<String>,
}

impl Engine {
    /// Starts a container by name, id or prefix. One that runs already is left alone.
    ///
    /// # Errors
    /// When it cannot be started; nothing of the run is left behind then, and its exit record says why.
    pub fn start(&self, name: &str, attach: bool, stdin: bool) -> Result<Started> {
        let id = self.store.resolve_container(name)?;
        if self.store.is_running(&id)? && self.store.read_exit(&id)?.is_none() {
            let stream = if attach { Some(self.attach(&id, stdin)?) } else { None };
            return Ok(Started { id, stream, warnings: Vec::new() });
        }
        let record = self.store.load_container(&id)?;
        if self.is_restarting(&record)? {
            if attach {
                let message = format!("container {} is restarting: wait until it runs", short(&id));
                return Err(Error::new(ErrorKind::Conflict, message));
            }
            return Ok(Started { id, stream: None, warnings: Vec::new() });
        }
        self.store.clear_marks(&id)?;
        if !self.store.is_running(&id)? {
            // A run whose monitor was killed left things behind that the new one would trip over.
            self.tear_down(&id)?;
        }
        let launched = self.launch_record(&record, attach, stdin)?;
        Ok(Started { id, stream: attach.then_some(launched.stream), warnings: launched.warnings })
    }

    /// Launches and, when that fails, leaves the reason in the exit record.
    pub(crate) fn launch_record(
        &self,
        record: &ContainerRecord,
        attach: bool,
        stdin: bool,
    ) -> Result<Launched> {
        self.start_needed(record)?;
        if record.may_run_again() {
            self.store.write_restart(&record.id, &RestartState::default())?;
        }
        // The launch takes it away.
        let before = self.store.read_exit(&record.id).ok().flatten();
        if attach {
            self.tell_container(record, "attach", &[]);
        }
        let launched = self
            .launch(record, Taking { attach, stdin: stdin && record.request.interactive, again: false }, None)
            .inspect_err(|error| self.record_failed_start(&record.id, error, before))?;
        self.tell_start(record);
        let mut launched = launched;
        if let Err(error) = self.notify(record, !attach) {
            launched.warnings.push(error.to_string());
        }
        Ok(launched)
    }

    /// Starts what a container needs and may ask for: what it requires, and what holds the namespaces of its pod. Another
    /// container whose namespaces it shares is not started, as in Docker.
    pub(crate) fn start_needed(&self, record: &ContainerRecord) -> Result<()> {
        const PATIENCE: Duration = Duration::from_secs(10);
        let infra = match &record.pod {
            Some(pod) => self.store.load_pod(pod)?.infra.filter(|infra| *infra != record.id),
            None => None,
        };
        for id in record.requires.iter().chain(&infra) {
            if self.running_pid(id).is_ok() {
                continue;
            }
            self.start(id, false, false).map_err(|error| {
                let message = format!("start container {}, which this one needs", short(id));
                Error::caused(error.kind, message, error)
            })?;
            // Somebody else may be just about to start it.
            let limit = Instant::now() + PATIENCE;
            while self.running_pid(id).is_err() && self.is_being_started(id)? && Instant::now() < limit {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        Ok(())
    }

    fn is_being_started(&self, id: &str) -> Result<bool> {
        Ok(self.store.is_running(id)? && self.store.read_exit(id)?.is_none())
    }

    /// The host's pid of a running container's init.
    pub(crate) fn running_pid(&self, id: &str) -> Result<i32> {
        let restarting =
            || self.store.load_container(id).is_ok_and(|r| self.is_restarting(&r).unwrap_or(false));
        let not_running = || match restarting() {
            true => {
                let message = format!("container {} is restarting: wait until it runs", short(id));
                Error::new(ErrorKind::Conflict, message)
            }
            false => Error::new(ErrorKind::Conflict, format!("container {} is not running", short(id))),
        };
        if !self.store.is_running(id)? || self.store.read_exit(id)?.is_some() {
            return Err(not_running());
        }
        match self.store.read_facts(id)? {
            Some(facts) if facts.pid != 0 => Ok(facts.pid),
            // Its starter was killed before it could write the pid down: the shim knows it.
            _ => self.ask_pid(id)?.ok_or_else(not_running),
        }
    }
}
