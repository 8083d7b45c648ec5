//! The durable description of a pod: containers that share namespaces.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ContainerRequest;

/// What a door asks for: `pod create`, and `run --pod new:NAME`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PodRequest {
    /// `None` makes the engine choose one.
    pub name: Option<String>,
    /// Labels in order of keys.
    pub labels: BTreeMap<String, String>,
    /// What its containers share.
    pub share: Vec<PodNamespace>,
    /// There is no container that holds what is shared, so nothing is.
    pub no_infra: bool,
    /// Name of that container; `None` derives it from the pod's id.
    pub infra_name: Option<String>,
    /// What happens when the last container has ended.
    pub exit_policy: PodExitPolicy,
    /// What that container is: network, ports, names, /dev/shm, kernel parameters, restart policy of all.
    pub infra: ContainerRequest,
    /// A pod that has the name goes first; of this call, not of the pod.
    #[serde(skip)]
    pub replace: bool,
    /// Also write the id here (`--pod-id-file`).
    pub id_file: Option<PathBuf>,
    /// The words of the command, for `pod inspect`.
    pub command: Vec<String>,
}

/// A namespace that the containers of a pod share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PodNamespace {
    /// IPC and /dev/shm.
    Ipc,
    /// The network.
    Net,
    /// Processes.
    Pid,
    /// Names.
    Uts,
}

impl PodNamespace {
    /// What is shared when nothing is said.
    pub const DEFAULT: [PodNamespace; 3] = [PodNamespace::Ipc, PodNamespace::Net, PodNamespace::Uts];

    /// As it is given to `--share`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            PodNamespace::Ipc => "ipc",
            PodNamespace::Net => "net",
            PodNamespace::Pid => "pid",
            PodNamespace::Uts => "uts",
        }
    }
}

/// What happens when the last container of a pod has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PodExitPolicy {
    /// The pod stays up.
    #[default]
    Continue,
    /// The pod is stopped.
    Stop,
}

/// The durable description of a pod. Written once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PodRecord {
    /// 64 lower-case hex digits.
    pub id: String,
    /// Unique among pods.
    pub name: String,
    /// RFC 3339 with nanoseconds, UTC.
    pub created: String,
    /// What was asked, as asked.
    pub request: PodRequest,
    /// Id of the container that holds what is shared.
    pub infra: Option<String>,
}
