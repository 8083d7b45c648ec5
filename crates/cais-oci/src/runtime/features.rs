//! What a runtime can do: the document that `features` prints.
//!
//! Implements features.md and features-linux.md of the OCI runtime specification, versions 1.2 and 1.3. Absent
//! means unknown, so every field is written that is known, `false` and empty lists too.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a runtime can do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Features {
    /// Oldest version of the specification that is understood.
    pub oci_version_min: String,
    /// Newest one.
    pub oci_version_max: String,
    /// Names of hooks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hooks: Option<Vec<String>>,
    /// Mount options that are not for the file system itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mount_options: Option<Vec<String>>,
    /// What only Linux has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linux: Option<LinuxFeatures>,
    /// Words of the implementation.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Annotations of a config.json that change how the runtime behaves; a final dot means all that begin so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub potentially_unsafe_config_annotations: Option<Vec<String>>,
}

/// What only Linux has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LinuxFeatures {
    /// Kinds of namespaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Vec<String>>,
    /// Names of capabilities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Vec<String>>,
    /// Control groups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<CgroupFeatures>,
    /// System call filters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<SeccompFeatures>,
    /// AppArmor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apparmor: Option<Enabled>,
    /// SELinux.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selinux: Option<Enabled>,
    /// resctrl.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intel_rdt: Option<IntelRdtFeatures>,
    /// NUMA policies (1.3).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_policy: Option<MemoryPolicyFeatures>,
    /// Extensions of mounts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mount_extensions: Option<MountExtensions>,
    /// Network devices that move (1.3).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub net_devices: Option<Enabled>,
}

/// Whether a feature is compiled in, whatever the machine has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Enabled {
    /// Whether it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// Control groups that are compiled in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CgroupFeatures {
    /// Version 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub v1: Option<bool>,
    /// Version 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub v2: Option<bool>,
    /// By systemd.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub systemd: Option<bool>,
    /// By a user's systemd.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub systemd_user: Option<bool>,
    /// The rdma controller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rdma: Option<bool>,
}

/// System call filters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SeccompFeatures {
    /// Whether they are compiled in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Actions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actions: Option<Vec<String>>,
    /// Operators.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operators: Option<Vec<String>>,
    /// Architectures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archs: Option<Vec<String>>,
    /// Flags that are understood.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known_flags: Option<Vec<String>>,
    /// Those of them that this kernel has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supported_flags: Option<Vec<String>>,
}

/// resctrl.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IntelRdtFeatures {
    /// Whether it is compiled in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Whether `linux.intelRdt.schemata` is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schemata: Option<bool>,
    /// Whether `linux.intelRdt.enableMonitoring` is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitoring: Option<bool>,
}

/// NUMA policies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MemoryPolicyFeatures {
    /// Modes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modes: Option<Vec<String>>,
    /// Flags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flags: Option<Vec<String>>,
}

/// Extensions of mounts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MountExtensions {
    /// Id-mapped mounts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idmap: Option<Enabled>,
}
