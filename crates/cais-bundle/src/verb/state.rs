//! `state`, `list`: what there is. Nothing is changed.

use std::fs;
use std::io;

use cais_oci::runtime::{Process, State};

use crate::error::{Error, Result};
use crate::runtime::{Listed, Runtime};
use crate::state::Container;

impl Runtime {
    /// The state of a container.
    ///
    /// # Errors
    /// "container does not exist".
    pub fn state(&self, id: &str) -> Result<State> {
        let container = self.load(id)?;
        Ok(container.record.state(container.status()))
    }

    /// The state of a container, and what lists show beside it.
    ///
    /// # Errors
    /// As for [`Runtime::state`].
    pub fn look(&self, id: &str) -> Result<Listed> {
        Ok(listed(&self.load(id)?))
    }

    /// All containers by name. What cannot be read is left out with a warning.
    ///
    /// # Errors
    /// When the directory is there and cannot be read.
    pub fn list(&self) -> Result<Vec<Listed>> {
        let root = &self.config.root;
        let entries = match fs::read_dir(root) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(|e| Error::system(format!("read {}", root.display()), e))?,
        };
        let mut ids: Vec<String> = entries
            .filter_map(Result::ok)
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        ids.sort_unstable();
        let mut all = Vec::with_capacity(ids.len());
        for id in ids {
            match self.load(&id) {
                Ok(container) => all.push(listed(&container)),
                // Just being made, or just removed.
                Err(Error::NotFound) => {}
                Err(error) => self.warn([format!("load container {id}: {error}")]),
            }
        }
        Ok(all)
    }

    /// The process of the container's configuration, as `exec` starts from it.
    ///
    /// # Errors
    /// "container does not exist"; a configuration without a process.
    pub fn process_of(&self, id: &str) -> Result<Process> {
        let spec = self.load(id)?.dir.read_config()?;
        spec.process.ok_or(Error::Request("process property must not be empty"))
    }
}

fn listed(container: &Container) -> Listed {
    let record = &container.record;
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let owner = cais_sys::userns::login_name(&users, record.uid);
    Listed {
        state: record.state(container.status()),
        created: record.created.clone(),
        owner: owner.map_or_else(|| format!("#{}", record.uid), str::to_owned),
        rootfs: record.rootfs.clone().into(),
    }
}
