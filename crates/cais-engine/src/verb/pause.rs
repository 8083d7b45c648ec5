//! `pause` and `unpause`: all processes of a container stand still, and go on.
//!
//! The kernel's freezer does it, and it alone knows: nothing is written down.

use crate::attach::short;
use crate::limits::{Group, failed};
use crate::{Engine, Error, ErrorKind, Result};

impl Engine {
    /// Stops all processes of a running container, those of `exec` too.
    ///
    /// # Errors
    /// When it does not run or is paused already, and where the kernel cannot (no cgroup, no freezer).
    pub fn pause(&self, name: &str) -> Result<()> {
        let id = self.store.resolve_container(name)?;
        self.running_pid(&id)?;
        if self.is_frozen(&id) {
            let message = format!("container {} is already paused", short(&id));
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        let Some(cgroup) = Group::find(self, &id)? else {
            let message = format!("cannot pause container {}: it has no cgroup", short(&id));
            return Err(Error::new(ErrorKind::Unsupported, message)
                .hint("rootless containers have one with systemd and cgroup v2 only"));
        };
        cgroup.freeze().map_err(failed("freeze", &id))?;
        // One that ended meanwhile left a group in which nothing can be frozen.
        self.running_pid(&id)?;
        self.tell_container(&self.store.load_container(&id)?, "pause", &[]);
        Ok(())
    }

    /// Lets the processes of a paused container go on.
    ///
    /// # Errors
    /// When it is not paused.
    pub fn unpause(&self, name: &str) -> Result<()> {
        let id = self.store.resolve_container(name)?;
        if !self.is_frozen(&id) {
            return Err(Error::new(ErrorKind::Conflict, format!("container {} is not paused", short(&id))));
        }
        self.thaw(&id)?;
        self.tell_container(&self.store.load_container(&id)?, "unpause", &[]);
        Ok(())
    }

    /// Lets a container's processes go on if they stand still.
    pub(crate) fn thaw(&self, id: &str) -> Result<()> {
        if !self.is_frozen(id) {
            return Ok(());
        }
        match Group::find(self, id)?.map(|cgroup| cgroup.thaw()) {
            // Gone in the meantime, it does not stand still either.
            Some(Err(error)) if self.is_frozen(id) => Err(failed("thaw", id)(error)),
            _ => Ok(()),
        }
    }
}
