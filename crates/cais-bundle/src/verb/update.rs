//! `update`: other limits for a container that is there.

use std::time::Duration;

use cais_oci::runtime::{Resources, Status};
use cais_runtime::cgroup::oci::merge;

use crate::error::{Error, Result};
use crate::request::IntelRdtUpdate;
use crate::runtime::Runtime;

const PATIENCE: Duration = Duration::from_secs(10);

impl Runtime {
    /// Changes limits; what is not mentioned stays, by the rules of [`merge`].
    ///
    /// # Errors
    /// "container not running" after the end; limits that the kernel refuses, after which the old ones are back.
    pub fn update(&self, id: &str, asked: &Resources, rdt: Option<&IntelRdtUpdate>) -> Result<()> {
        let mut container = self.load(id)?;
        let Some(_lock) = container.dir.lock(PATIENCE)? else {
            return Err(Error::StartState(Status::Creating));
        };
        container.reload()?;
        if container.status() == Status::Stopped {
            return Err(Error::NotRunning);
        }
        let before = match container.record.resources.take() {
            Some(resources) => resources,
            None => container.dir.read_config()?.linux.and_then(|linux| linux.resources).unwrap_or_default(),
        };
        let after = merge(&before, asked);
        let group =
            container.group().ok_or(Error::Request("the container has no cgroup that could be updated"))?;
        if let Err(error) = group.update(&after) {
            if let Err(again) = group.update(&before) {
                self.warn([format!("put the limits of container {id} back: {again}")]);
            }
            return Err(error.into());
        }
        if let Some(rdt) = rdt.filter(|rdt| **rdt != IntelRdtUpdate::default()) {
            let class = container.record.resctrl.as_ref();
            class
                .ok_or(Error::Request("updating a non-existent Intel RDT configuration is not supported"))?
                .update(rdt)?;
        }
        container.record.resources = Some(after);
        container.dir.write(&container.record)
    }
}
