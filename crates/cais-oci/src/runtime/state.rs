//! The state of a container: what `state` prints, hooks read on standard input, and seccomp listeners receive.
//!
//! Implements runtime.md "State" and config-linux.md "The Container Process State" of the OCI runtime specification.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::word::{empty_as_none, null_as_default, words};

/// The state of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Version of the specification that the document complies with.
    pub oci_version: String,
    /// The container's id.
    pub id: String,
    /// Where it stands in its life.
    pub status: Status,
    /// The first process, seen from the host; absent when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// The bundle's directory, absolute.
    pub bundle: String,
    /// The annotations of config.json.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

words! {
    /// Where a container stands in its life.
    pub enum Status ("status") {
        /// It is being made.
        Creating = "creating",
        /// It waits for `start`.
        Created = "created",
        /// Its command runs.
        Running = "running",
        /// Its processes are frozen (not in the specification; runc and crun have it).
        Paused = "paused",
        /// Its process has ended.
        Stopped = "stopped",
    }
}

/// What the listener of a seccomp filter receives together with its descriptors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerProcessState {
    /// Version of the specification that the document complies with.
    pub oci_version: String,
    /// What the descriptors of the message are, in their order.
    pub fds: Vec<String>,
    /// The process that the filter is for, seen from the runtime.
    pub pid: i32,
    /// `listenerMetadata` of config.json.
    #[serde(default, deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
    /// The container.
    pub state: State,
}

impl ContainerProcessState {
    /// The name of the seccomp listener in `fds`.
    pub const SECCOMP_FD: &'static str = "seccompFd";
}
