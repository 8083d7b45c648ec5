//! Parts of a request that few containers have: shared namespaces, limits of devices, what of the image counts.

use serde::{Deserialize, Serialize};

/// Which namespaces of the host a container shares; none of them by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NamespaceRequest {
    /// The host's processes are seen.
    pub host_pid: bool,
    /// IPC and /dev/shm.
    pub ipc: IpcRequest,
    /// The host's name is the container's.
    pub host_uts: bool,
    /// The host's cgroup tree is seen.
    pub host_cgroup: bool,
}

/// Where IPC and /dev/shm come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpcRequest {
    /// The container's own.
    #[default]
    Private,
    /// The container's own, and no /dev/shm.
    None,
    /// The host's.
    Host,
}

/// What becomes of the volumes that an image declares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageVolumes {
    /// Anonymous volumes.
    #[default]
    Anonymous,
    /// A tmpfs each.
    Tmpfs,
    /// Nothing.
    Ignore,
}

/// What of a block device is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceLimitKind {
    /// Relative share, 10–1000.
    Weight,
    /// Bytes per second.
    ReadBps,
    /// Bytes per second.
    WriteBps,
    /// Requests per second.
    ReadIops,
    /// Requests per second.
    WriteIops,
}

/// One `--device-read-bps` or its like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceLimitRequest {
    /// What.
    pub kind: DeviceLimitKind,
    /// Block device of the host.
    pub path: String,
    /// In the kind's unit.
    pub value: u64,
}

impl super::LabelRequest {
    /// As they are given to `--security-opt`: `label=user:…` and its like.
    #[must_use]
    pub fn options(&self) -> Vec<String> {
        let parts = [
            ("user", &self.user),
            ("role", &self.role),
            ("type", &self.kind),
            ("level", &self.level),
            ("filetype", &self.file_kind),
        ];
        parts.iter().filter_map(|(name, value)| Some(format!("label={name}:{}", value.as_ref()?))).collect()
    }
}
