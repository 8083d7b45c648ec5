//! Parts of a request that few containers have: shared namespaces, limits of devices, what of the image counts.

use serde::{Deserialize, Serialize};

/// Which namespaces a container shares; none of them by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NamespaceRequest {
    /// Which processes are seen.
    pub pid: NamespaceSource,
    /// IPC and /dev/shm.
    pub ipc: IpcRequest,
    /// Whose name is the container's.
    pub uts: NamespaceSource,
    /// The host's cgroup tree is seen.
    pub host_cgroup: bool,
}

/// Where a namespace comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NamespaceSource {
    /// The container's own.
    #[default]
    Own,
    /// The host's.
    Host,
    /// That of another container, by name or id.
    Container(String),
}

impl NamespaceSource {
    /// The container whose namespace is shared.
    #[must_use]
    pub fn container(&self) -> Option<&str> {
        match self {
            NamespaceSource::Container(id) => Some(id),
            _ => None,
        }
    }

    /// As it is given to `--pid` and its like; empty when it is the container's own.
    #[must_use]
    pub fn word(&self) -> String {
        match self {
            NamespaceSource::Own => String::new(),
            NamespaceSource::Host => "host".to_owned(),
            NamespaceSource::Container(id) => format!("container:{id}"),
        }
    }
}

/// Where IPC and /dev/shm come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpcRequest {
    /// The container's own, which others may share.
    #[default]
    Default,
    /// The container's own, and nobody else's.
    Private,
    /// The container's own, for others to share.
    Shareable,
    /// The container's own, and no /dev/shm.
    None,
    /// The host's.
    Host,
    /// That of another container, by name or id.
    Container(String),
}

impl IpcRequest {
    /// The container whose namespace is shared.
    #[must_use]
    pub fn container(&self) -> Option<&str> {
        match self {
            IpcRequest::Container(id) => Some(id),
            _ => None,
        }
    }

    /// It has a /dev/shm of its own.
    #[must_use]
    pub fn has_own_shm(&self) -> bool {
        matches!(self, IpcRequest::Default | IpcRequest::Private | IpcRequest::Shareable)
    }

    /// As Docker spells it.
    #[must_use]
    pub fn word(&self) -> String {
        match self {
            IpcRequest::Default | IpcRequest::Private => "private".to_owned(),
            IpcRequest::Shareable => "shareable".to_owned(),
            IpcRequest::None => "none".to_owned(),
            IpcRequest::Host => "host".to_owned(),
            IpcRequest::Container(id) => format!("container:{id}"),
        }
    }
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

/// Lines that a container's /etc/hosts has beside its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostsBase {
    /// None.
    #[default]
    Nothing,
    /// Those of the image's file.
    Image,
    /// Those of a file of the host, absolute.
    File(std::path::PathBuf),
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
