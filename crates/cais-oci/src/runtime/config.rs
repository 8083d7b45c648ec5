//! The top of config.json: specification version, process, root, mounts, hooks.
//!
//! Implements config.md of the OCI runtime specification, versions 1.2 and 1.3. Fields of other platforms
//! (`windows`, `solaris`, `vm`, `zos`, `freebsd`) and fields nobody knows are ignored on reading.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::linux::{IdMapping, Linux};
use super::process::Process;
use super::word::{empty_as_none, null_as_default};

/// A container's description: the whole of config.json.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    /// Version of the specification that the document complies with.
    #[serde(deserialize_with = "null_as_default")]
    pub oci_version: String,
    /// The first process; needed when the container is started, not before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    /// The root file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<Root>,
    /// Host name inside the UTS namespace.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// NIS domain name inside the UTS namespace.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub domainname: Option<String>,
    /// Mounts, carried out in this order.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Programs that run at points of the container's life.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hooks: Option<Hooks>,
    /// Any words about the container.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What only Linux has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linux: Option<Linux>,
}

/// The root file system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Root {
    /// Directory; relative to the bundle unless absolute.
    #[serde(deserialize_with = "null_as_default")]
    pub path: String,
    /// Whether the container sees it read-only.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "std::ops::Not::not")]
    pub readonly: bool,
}

/// One mount.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Mount {
    /// Where, inside the container. A relative path counts from `/`, as in runc.
    #[serde(deserialize_with = "null_as_default")]
    pub destination: String,
    /// File system type (`type`).
    #[serde(rename = "type", deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Device name, or for bind mounts a path; relative to the bundle unless absolute.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Options as in fstab(5).
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// User ids of an id-mapped mount.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub uid_mappings: Vec<IdMapping>,
    /// Group ids of an id-mapped mount.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub gid_mappings: Vec<IdMapping>,
}

/// Programs that run at points of the container's life, each list in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hooks {
    /// Deprecated: like `create_runtime`, before it.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub prestart: Vec<Hook>,
    /// During create, after the namespaces were made, before pivot_root; in the runtime's namespaces.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub create_runtime: Vec<Hook>,
    /// As before, in the container's namespaces; the path is the runtime's.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub create_container: Vec<Hook>,
    /// During start, before the command is executed; in the container, the path too.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub start_container: Vec<Hook>,
    /// After the command was executed; in the runtime's namespaces.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub poststart: Vec<Hook>,
    /// After the container was deleted; in the runtime's namespaces.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub poststop: Vec<Hook>,
}

impl Hooks {
    /// Every list with its name in the document, in the order in which they run.
    pub fn lists(&self) -> [(&'static str, &[Hook]); 6] {
        [
            ("prestart", &self.prestart),
            ("createRuntime", &self.create_runtime),
            ("createContainer", &self.create_container),
            ("startContainer", &self.start_container),
            ("poststart", &self.poststart),
            ("poststop", &self.poststop),
        ]
    }
}

/// A program that runs at one point of the container's life and gets its state on standard input.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hook {
    /// The program, absolute.
    #[serde(deserialize_with = "null_as_default")]
    pub path: String,
    /// Arguments with the zeroth; empty is the path alone.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Environment, `NAME=value` each; nothing is inherited.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Seconds after which it is killed and has failed, more than 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
}
