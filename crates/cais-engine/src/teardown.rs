//! Taking a run down by the container's id: the one way for a failed start, an end, a removal and a recovery.
//!
//! Idempotent, goes on after a failure, and reports the first one. Nothing here waits for a process of the container:
//! whoever is still in its cgroup is killed.

use crate::attach::short;
use crate::limits::Group;
use crate::{ContainerRecord, Engine, Error, ErrorKind, ExitRecord, Result};

impl Engine {
    /// Takes down what a run has on this machine: ports, address, processes, cgroup, run directory.
    ///
    /// # Errors
    /// The first of what could not be taken down; all else was.
    pub(crate) fn tear_down(&self, id: &str) -> Result<()> {
        let run = self.tear_down_run(id);
        run.and(self.remove_run_directory(id))
    }

    /// Takes the run directory away at once, so that nobody who is late makes a file in it, then its content.
    fn remove_run_directory(&self, id: &str) -> Result<()> {
        let paths = self.store.paths();
        let (directory, gone) = (paths.run_container(id), paths.run_gone(id));
        // What a removal left that was killed.
        remove_directory(&gone)?;
        let mut moved = std::fs::rename(&directory, &gone);
        if moved.is_err() && directory.exists() {
            // The first time in this boot.
            let _ = gone.parent().map(std::fs::create_dir);
            moved = std::fs::rename(&directory, &gone);
        }
        match moved {
            Ok(()) => remove_directory(&gone),
            Err(_) if !directory.exists() => Ok(()),
            // Another removal is at work with the same name.
            Err(_) => remove_directory(&directory),
        }
    }

    /// As [`Engine::tear_down`], but the run directory stays: its lock is held by who waits for the next run.
    pub(crate) fn tear_down_run(&self, id: &str) -> Result<()> {
        let mut first: Result<()> = Ok(());
        let mut keep = |result: Result<()>| {
            if first.is_ok() {
                first = result;
            }
        };
        // Closing the socket waits for the kernel: last of all.
        let mut linger = None;
        if let Ok(Some(facts)) = self.store.read_facts(id) {
            let unpublished = self.unpublish(&facts).map(|socket| linger = socket);
            // By the lease `check` knows whose a port is that could not be taken back.
            if let (Some(ip), true) = (facts.ip, unpublished.is_ok()) {
                self.release(id, ip);
            }
            keep(unpublished);
            self.stop_pasta(id);
        }
        keep(self.remove_cgroup(id));
        keep(self.unmount_volumes(id));
        drop(linger);
        first
    }

    fn remove_cgroup(&self, id: &str) -> Result<()> {
        let Some(cgroup) = Group::find(self, id)? else { return Ok(()) };
        let failed =
            |e| Error::caused(ErrorKind::System, format!("remove the cgroup of container {}", short(id)), e);
        cgroup.kill_all().and_then(|()| cgroup.remove()).map_err(failed)
    }

    /// What comes after the last run: reports the end, takes the run down, and removes the container when that was asked
    /// for.
    pub(crate) fn after_exit(&self, id: &str) -> Result<()> {
        // Without its record it can still be taken down.
        self.after_exit_of(id, self.store.load_container(id).ok().as_ref())
    }

    /// As [`Engine::after_exit`], with the record in hand.
    pub(crate) fn after_exit_of(&self, id: &str, record: Option<&ContainerRecord>) -> Result<()> {
        if let Some(record) = record {
            self.tell_end(record);
        }
        let down = self.tear_down(id);
        if let Some(record) = record.filter(|record| record.request.auto_remove) {
            self.discard(record)?;
            self.tell_container(record, "destroy", &[]);
            if record.request.remove_image {
                // What else uses it keeps it.
                let _ = self.remove_image(&record.image_name, false, false);
            }
        }
        if let Some(pod) = record.and_then(|record| record.pod.as_deref().filter(|_| !record.infra)) {
            self.leave_pod(pod)?;
        }
        down
    }

    /// Removes the record, the files and the anonymous volumes of a container that does not run.
    pub(crate) fn discard(&self, record: &ContainerRecord) -> Result<()> {
        self.remove_anonymous_volumes(record);
        Ok(self.store.remove_container(&record.id)?)
    }

    /// Records that a run never began. Of the run before, if there was one, the times stay, as in Docker.
    pub(crate) fn record_failed_start(&self, id: &str, error: &Error, before: Option<ExitRecord>) {
        // What Docker writes down: for anything else not the 125 with which `run` ends.
        let code = match error.kind {
            ErrorKind::CommandNotFound => 127,
            ErrorKind::NotExecutable => 126,
            _ => 128,
        };
        let before = before.unwrap_or_default();
        let exit = ExitRecord {
            code,
            signal: 0,
            oom_killed: false,
            oom_kills: 0,
            error: error.message.clone(),
            ..before
        };
        // The error itself is what the caller hears.
        let _ = self.store.write_exit(id, &exit);
    }
}

fn remove_directory(path: &std::path::Path) -> Result<()> {
    use std::io::ErrorKind::{DirectoryNotEmpty, NotFound};
    const TRIES: u32 = 20;
    for _ in 1..TRIES {
        match std::fs::remove_dir_all(path) {
            // Somebody made a file in it, or takes it away as we do.
            Err(e) if e.kind() == DirectoryNotEmpty => {}
            Err(e) if e.kind() == NotFound && path.exists() => {}
            Err(e) if e.kind() != NotFound => {
                return Err(Error::caused(ErrorKind::System, format!("remove {}", path.display()), e));
            }
            _ => return Ok(()),
        }
    }
    std::fs::remove_dir_all(path)
        .or_else(|e| if e.kind() == NotFound { Ok(()) } else { Err(e) })
        .map_err(|e| Error::caused(ErrorKind::System, format!("remove {}", path.display()), e))
}
