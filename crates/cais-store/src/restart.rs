//! What a restart policy has to know of the runs before: how many, how long the last pause was, and what a hand or a probe
//! has asked for.
//!
//! The count is written by whoever handles the end of a run and by `start`; the two marks are files of their own, so
//! that who makes one never loses what the other writes. A container whose policy has never had to do with it has none of
//! these files.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Store;
use crate::error::{Result, StoreError};
use crate::files::{self, Durability};

/// What is remembered from run to run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RestartState {
    /// Runs since the last start by hand that the policy began.
    pub count: u32,
    /// The pause before the last of them.
    pub delay_ms: u64,
}

impl Store {
    /// What is remembered; `None` when the container has not been started since it has a policy.
    ///
    /// # Errors
    /// When the file is damaged or unreadable.
    pub fn read_restart(&self, id: &str) -> Result<Option<RestartState>> {
        files::read_json(&self.paths().container_restart(id))
    }

    /// Remembers it.
    ///
    /// # Errors
    /// When the container's directory is not writable.
    pub fn write_restart(&self, id: &str, state: &RestartState) -> Result<()> {
        files::write_json(&self.paths().container_restart(id), state, Durability::Volatile)
    }

    /// Somebody wants the container to be down: no policy starts it.
    ///
    /// # Errors
    /// When the container's directory is not writable.
    pub fn mark_stopped(&self, id: &str) -> Result<()> {
        mark(&self.paths().container_stopped(id))
    }

    /// Somebody wanted the container to be down, and nobody has started it by hand since.
    #[must_use]
    pub fn is_marked_stopped(&self, id: &str) -> bool {
        self.paths().container_stopped(id).exists()
    }

    /// The container is ending because it is unhealthy, and is to run again.
    ///
    /// # Errors
    /// When the container's directory is not writable.
    pub fn mark_unhealthy(&self, id: &str) -> Result<()> {
        mark(&self.paths().container_unhealthy(id))
    }

    /// Takes that mark away; whether it was there.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn take_unhealthy(&self, id: &str) -> Result<bool> {
        take(&self.paths().container_unhealthy(id))
    }

    /// Before a start by hand: forgets both marks.
    ///
    /// # Errors
    /// When they cannot be removed.
    pub fn clear_marks(&self, id: &str) -> Result<()> {
        take(&self.paths().container_unhealthy(id))?;
        take(&self.paths().container_stopped(id)).map(drop)
    }
}

fn mark(path: &Path) -> Result<()> {
    let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    opened.map(drop).map_err(StoreError::io("write", path))
}

fn take(path: &Path) -> Result<bool> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if files::is_absent(&error) => Ok(false),
        Err(error) => Err(StoreError::io("remove", path)(error)),
    }
}
