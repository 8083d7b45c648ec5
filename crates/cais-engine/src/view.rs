//! What lists and inspections return: plain data for doors to format. JSON keys are Docker's where Docker has them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cais_oci::{Digest, Platform};
pub use cais_store::HealthStatus;
use serde::Serialize;

use crate::{ContainerRecord, ExitRecord, OomRecord, PublishedPort, RunFacts};

/// State of a container, derived from disk, never stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Never ran; a start may have failed.
    Created,
    /// Its shim holds the lock and its init runs.
    Running,
    /// Frozen.
    Paused,
    /// It has ended and waits for its next run.
    Restarting,
    /// Ended.
    Exited,
    /// Its monitor was killed: nobody knows how it ended.
    Dead,
}

/// One container: record, state, facts of the run, how it ended.
#[derive(Clone, Debug, Serialize)]
pub struct ContainerView {
    /// The durable description.
    pub record: ContainerRecord,
    /// Derived state.
    pub state: State,
    /// Of the present run.
    pub run: Option<RunFacts>,
    /// Of the last finished run, or of a start that failed.
    pub exit: Option<ExitRecord>,
    /// Size of the writable layer, when asked for.
    pub size_bytes: Option<u64>,
    /// Whom the kernel killed for memory, when the exit record says that it did.
    pub oom: Option<OomRecord>,
    /// Of a container that is probed, while it runs.
    pub health: Option<HealthStatus>,
}

impl ContainerView {
    /// Its command runs, or would if it were not frozen.
    pub fn is_alive(&self) -> bool {
        matches!(self.state, State::Running | State::Paused)
    }

    /// It is alive, or will be soon: what `ps` shows without `-a`.
    pub fn is_up(&self) -> bool {
        self.is_alive() || self.state == State::Restarting
    }
}

/// One row of `images`.
#[derive(Clone, Debug, Serialize)]
pub struct ImageView {
    /// Config digest.
    pub id: Digest,
    /// Canonical references that name it; empty = dangling.
    pub names: Vec<String>,
    /// `name@digest` as pulled.
    pub digests: Vec<String>,
    /// RFC 3339 from the image's config.
    pub created: Option<String>,
    /// Unpacked bytes of all layers.
    pub size_bytes: u64,
    /// For which machines.
    pub platform: Platform,
    /// From the config.
    pub labels: BTreeMap<String, String>,
}

/// One row of `volume ls`, and `volume inspect`.
#[derive(Clone, Debug, Serialize)]
pub struct VolumeView {
    /// Name.
    #[serde(rename = "Name")]
    pub name: String,
    /// Always `local`.
    #[serde(rename = "Driver")]
    pub driver: String,
    /// Where its data lies.
    #[serde(rename = "Mountpoint")]
    pub mountpoint: PathBuf,
    /// RFC 3339.
    #[serde(rename = "CreatedAt")]
    pub created: String,
    /// Labels.
    #[serde(rename = "Labels")]
    pub labels: BTreeMap<String, String>,
    /// Driver options.
    #[serde(rename = "Options")]
    pub options: BTreeMap<String, String>,
    /// `local`.
    #[serde(rename = "Scope")]
    pub scope: String,
    /// Made for one container.
    #[serde(skip)]
    pub anonymous: bool,
}

/// What `rmi` did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum ImageRemoval {
    /// A name went.
    Untagged(String),
    /// The image went.
    Deleted(Digest),
}

/// What a command in a log was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A finding of `system check`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `mount`, `cgroup`, `layer`, `container`, `port`, `link`, `file`, …
    pub kind: String,
    /// Which object.
    pub object: String,
    /// What is wrong.
    pub problem: String,
    /// It was repaired.
    pub repaired: bool,
}

/// A port in force, for `port`.
pub type PortView = PublishedPort;
