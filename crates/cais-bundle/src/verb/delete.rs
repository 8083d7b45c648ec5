//! `delete`: what is left of a container goes.

use std::time::Duration;

use cais_oci::runtime::Status;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::kill::kill_hard;
use crate::error::{Error, Result};
use crate::hooks::{self, Point};
use crate::runtime::Runtime;
use crate::state::{Container, StateDir};

/// How long a killed container may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

impl Runtime {
    /// Deletes a container that has stopped or was never started; with `force` any, and that there is none is fine.
    /// Failing `poststop` hooks are warnings.
    ///
    /// # Errors
    /// For one that runs, without any effect.
    pub fn delete(&self, id: &str, force: bool) -> Result<()> {
        let container = match self.load(id) {
            Err(Error::NotFound) => return self.delete_rest(id, force),
            other => other?,
        };
        match container.status() {
            Status::Stopped if !force => {}
            Status::Created => end(&container)?,
            _ if force => end(&container)?,
            status => return Err(Error::NotStopped { id: id.to_owned(), status }),
        }
        match self.delete_locked(container) {
            Err(Error::NotFound) if force => Ok(()),
            other => other,
        }
    }

    /// What a `create` left that was killed before it could write anything.
    fn delete_rest(&self, id: &str, force: bool) -> Result<()> {
        let dir = StateDir::new(&self.config.root, id)?;
        match dir.lock(Duration::ZERO) {
            // A `create` is at work; it has no process yet.
            Ok(None) => {}
            Ok(Some(_lock)) => dir.remove()?,
            // Killed between its first two steps: a directory without anything.
            Err(Error::NotFound) => drop(std::fs::remove_dir(dir.path())),
            Err(error) => return Err(error),
        }
        if force { Ok(()) } else { Err(Error::NotFound) }
    }

    /// Deletes a container of ours whose first process has been waited for; that somebody else did so is fine.
    pub(crate) fn delete_ended(&self, mut container: Container) -> Result<()> {
        let ours = container.record.init;
        let deleted = container.dir.lock(PATIENCE).and_then(|lock| {
            let id = &container.record.id;
            let _lock = lock.ok_or_else(|| Error::NotStopped { id: id.clone(), status: Status::Creating })?;
            container.reload()?;
            if container.record.init == ours { self.destroy(&container) } else { Ok(()) }
        });
        match deleted {
            Err(Error::NotFound) => Ok(()),
            other => other,
        }
    }

    fn delete_locked(&self, mut container: Container) -> Result<()> {
        let Some(_lock) = container.dir.lock(PATIENCE)? else {
            return Err(Error::NotStopped { id: container.record.id, status: Status::Creating });
        };
        container.reload()?;
        self.destroy(&container)
    }

    /// Takes down what `create` made. Its first process has ended.
    pub(crate) fn destroy(&self, container: &Container) -> Result<()> {
        let record = &container.record;
        if let Some(group) = container.group() {
            if !record.own_pid_namespace || !record.complete {
                // Who may not kill may perhaps still remove.
                let _ = group.kill_all();
            }
            group.destroy()?;
        }
        if let Some(resctrl) = &record.resctrl {
            resctrl.remove()?;
        }
        container.dir.remove()?;
        if let Some(hooks) = &record.hooks {
            let mut warnings = Vec::new();
            let point = Point { name: "poststop", directory: None };
            hooks::run_all(&hooks.poststop, point, &record.state(Status::Stopped), &mut warnings);
            self.warn(warnings);
        }
        Ok(())
    }
}

/// Kills and waits until the first process has ended.
pub(crate) fn end(container: &Container) -> Result<()> {
    match kill_hard(container) {
        Ok(()) | Err(Error::NotRunning | Error::Finished) => {}
        Err(error) => return Err(error),
    }
    let Some(pidfd) = container.record.init.and_then(|init| init.open()) else { return Ok(()) };
    let limit = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    loop {
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&limit)) {
            Ok(0) => return Err(Error::StillRunning),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(e) => return Err(Error::system("wait for the end of the container", e)),
        }
    }
}
