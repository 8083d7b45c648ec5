//! `pause` and `resume`: the freezer of the container's group.

use cais_oci::runtime::Status;
use cais_runtime::cgroup::oci::Group;

use crate::error::{Error, Result};
use crate::runtime::Runtime;
use crate::state::Container;

impl Runtime {
    /// Stops all processes of a container until [`Runtime::resume`].
    ///
    /// # Errors
    /// "container not running" unless it runs or waits for its start; without a freezer.
    pub fn pause(&self, id: &str) -> Result<()> {
        let container = self.load(id)?;
        match container.status() {
            Status::Running | Status::Created => Ok(group(&container)?.freeze()?),
            _ => Err(Error::NotRunning),
        }
    }

    /// Lets the processes of a container go on.
    ///
    /// # Errors
    /// "container not paused" if it is not.
    pub fn resume(&self, id: &str) -> Result<()> {
        let container = self.load(id)?;
        match container.status() {
            Status::Paused => Ok(group(&container)?.thaw()?),
            _ => Err(Error::NotPaused),
        }
    }
}

fn group(container: &Container) -> Result<Group> {
    container.group().ok_or(Error::Request("the container has no cgroup that could be frozen"))
}
