//! The health of a container's present or last run: a status, the failures in a row, the last probes.
//!
//! Written by whoever has made a probe, under a lock of its own, and only for the run that was probed. Read without one.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Store;
use crate::error::Result;
use crate::files::{self, Durability, Lock, Mode};

/// Docker's words for how a container is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// No probe has succeeded yet, and not too many have failed.
    #[default]
    Starting,
    /// The last probe succeeded, or too few have failed since.
    Healthy,
    /// Too many probes in a row have failed.
    Unhealthy,
}

impl HealthStatus {
    /// As it is shown.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            HealthStatus::Starting => "starting",
            HealthStatus::Healthy => "healthy",
            HealthStatus::Unhealthy => "unhealthy",
        }
    }
}

/// One probe; keys are Docker's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ProbeRecord {
    /// RFC 3339.
    pub start: String,
    /// RFC 3339.
    pub end: String,
    /// 0 = healthy, -1 = it took too long.
    pub exit_code: i32,
    /// What it wrote, the beginning.
    pub output: String,
}

/// The health of one run; keys are Docker's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HealthState {
    /// In a word.
    pub status: HealthStatus,
    /// Failures since the last success.
    pub failing_streak: u32,
    /// The last probes, the oldest first.
    pub log: Vec<ProbeRecord>,
    /// Start of the run, RFC 3339.
    #[serde(rename = "run")]
    pub run: String,
    /// When it was killed, stopped or restarted because it is unhealthy, RFC 3339; else empty.
    #[serde(rename = "acted")]
    pub acted: String,
    /// Successes of the check at the start, and its failures.
    #[serde(rename = "startup")]
    pub startup: (u32, u32),
}

impl HealthState {
    /// Adds a probe; the oldest goes when there are more than `kept`.
    pub fn push(&mut self, probe: ProbeRecord, kept: usize) {
        self.log.push(probe);
        let excess = self.log.len().saturating_sub(kept);
        self.log.drain(..excess);
    }
}

impl Store {
    /// The health of the present or last run; `None` when it was never probed.
    ///
    /// # Errors
    /// When the file is damaged or unreadable.
    pub fn read_health(&self, id: &str) -> Result<Option<HealthState>> {
        files::read_json(&self.paths().container_health(id))
    }

    /// Writes the health of a container also into a file of its own in a directory, `ID-healthcheck.log`.
    ///
    /// # Errors
    /// When the directory is not writable.
    pub fn copy_health(&self, id: &str, state: &HealthState, directory: &Path) -> Result<()> {
        files::write_json(&directory.join(format!("{id}-healthcheck.log")), state, Durability::Volatile)
    }

    /// A new run begins.
    ///
    /// # Errors
    /// When the container's directory is not writable.
    pub fn reset_health(&self, id: &str, run: &str) -> Result<()> {
        let state = HealthState { run: run.to_owned(), ..HealthState::default() };
        files::write_json(&self.paths().container_health(id), &state, Durability::Volatile)
    }

    /// Changes the health of a run, one writer after the other; `None` when the container runs anew by now.
    ///
    /// # Errors
    /// When the file is damaged, or cannot be written.
    pub fn change_health<T>(
        &self,
        id: &str,
        run: &str,
        change: impl FnOnce(&mut HealthState) -> T,
    ) -> Result<Option<T>> {
        let path = self.paths().container_health(id);
        let _lock = Lock::take(&self.paths().container_health_lock(id), Mode::Exclusive)?;
        let mut state: HealthState = files::read_json(&path)?.unwrap_or_default();
        if state.run != run {
            return Ok(None);
        }
        let answer = change(&mut state);
        files::write_json(&path, &state, Durability::Volatile)?;
        Ok(Some(answer))
    }
}
