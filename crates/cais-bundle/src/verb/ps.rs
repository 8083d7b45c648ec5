//! `ps`: which processes a container has.

use crate::error::{Error, Result};
use crate::runtime::Runtime;

impl Runtime {
    /// The processes of a container as the host sees them, ascending; none after the end.
    ///
    /// # Errors
    /// For a container without a control group: nothing else knows.
    pub fn ps(&self, id: &str) -> Result<Vec<i32>> {
        let container = self.load(id)?;
        match container.group().filter(|group| !group.state().places.is_empty()) {
            Some(group) => Ok(group.pids(true)?),
            None if !container.is_alive() => Ok(Vec::new()),
            None => Err(Error::Request("unable to get all container pids: the container has no cgroup")),
        }
    }
}
