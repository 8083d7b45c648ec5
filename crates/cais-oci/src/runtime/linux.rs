//! The `linux` object of config.json: namespaces, devices, paths, sysctl, and the smaller kernel features.
//!
//! Implements config-linux.md of the OCI runtime specification, versions 1.2 and 1.3. Resources and seccomp have
//! files of their own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::resources::Resources;
use super::seccomp::Seccomp;
use super::word::{empty_as_none, is_zero, null_as_default, words};

/// What only Linux has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Linux {
    /// User ids of the user namespace.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub uid_mappings: Vec<IdMapping>,
    /// Group ids of the user namespace.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub gid_mappings: Vec<IdMapping>,
    /// Kernel parameters of the namespaces, by dotted name.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctl: BTreeMap<String, String>,
    /// Limits of the cgroup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// The cgroup: absolute from the hierarchy's root, relative as the runtime likes, or `slice:prefix:name`.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub cgroups_path: Option<String>,
    /// Namespaces that are made or joined; all others are inherited.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<Namespace>,
    /// Device nodes that are made.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
    /// Network devices of the host that move into the container, by their names on the host (1.3).
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub net_devices: BTreeMap<String, NetDevice>,
    /// The system call filter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<Seccomp>,
    /// Propagation of the root mount.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub rootfs_propagation: Option<RootfsPropagation>,
    /// Paths inside the container that nobody can read.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub masked_paths: Vec<String>,
    /// Paths inside the container that nobody can write.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub readonly_paths: Vec<String>,
    /// SELinux context of the mounts.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub mount_label: Option<String>,
    /// Cache and memory bandwidth by resctrl.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intel_rdt: Option<IntelRdt>,
    /// NUMA policy of set_mempolicy(2) (1.3).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_policy: Option<MemoryPolicy>,
    /// Execution domain of personality(2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub personality: Option<Personality>,
    /// Offsets of the time namespace's clocks.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub time_offsets: BTreeMap<Clock, TimeOffset>,
}

/// A range of ids of a user namespace or an id-mapped mount.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMapping {
    /// First id inside.
    #[serde(rename = "containerID")]
    pub container_id: u32,
    /// First id outside.
    #[serde(rename = "hostID")]
    pub host_id: u32,
    /// How many.
    pub size: u32,
}

/// A namespace of the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Namespace {
    /// Which one.
    #[serde(rename = "type")]
    pub kind: NamespaceType,
    /// File of an existing one to join, absolute; `None` makes a new one.
    #[serde(default, deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

words! {
    /// Kinds of namespaces, namespaces(7).
    pub enum NamespaceType ("namespace type") {
        /// Process ids.
        Pid = "pid",
        /// Network.
        Network = "network",
        /// Mounts.
        Mount = "mount",
        /// System V IPC and POSIX message queues.
        Ipc = "ipc",
        /// Host and domain name.
        Uts = "uts",
        /// Users and groups.
        User = "user",
        /// Root of the cgroup hierarchies.
        Cgroup = "cgroup",
        /// Offsets of clocks.
        Time = "time",
    }
}

/// A device node that is made in the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// Where, inside the container, absolute.
    pub path: String,
    /// Which kind of node.
    #[serde(rename = "type")]
    pub kind: DeviceType,
    /// Major number; without meaning for a pipe.
    #[serde(default, deserialize_with = "null_as_default")]
    pub major: i64,
    /// Minor number.
    #[serde(default, deserialize_with = "null_as_default")]
    pub minor: i64,
    /// Permission bits, 0666 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_mode: Option<u32>,
    /// Owner inside the container, 0 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Group inside the container, 0 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
}

words! {
    /// Kinds of device nodes, as mknod(1) names them.
    pub enum DeviceType ("device type") {
        /// Block.
        Block = "b",
        /// Character.
        Char = "c",
        /// Unbuffered character: the same as `c`.
        Unbuffered = "u",
        /// Named pipe.
        Pipe = "p",
    }
}

/// What becomes of a network device that moves into the container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetDevice {
    /// Its name in the container; `None` keeps the name.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

words! {
    /// Propagation of the root mount; the words with `r` cover the mounts below it.
    pub enum RootfsPropagation ("rootfs propagation") {
        /// Events go both ways.
        Shared = "shared",
        /// Events go into the container.
        Slave = "slave",
        /// No events.
        Private = "private",
        /// No events, and it cannot be bind mounted.
        Unbindable = "unbindable",
        /// `shared`, recursively.
        RShared = "rshared",
        /// `slave`, recursively.
        RSlave = "rslave",
        /// `private`, recursively.
        RPrivate = "rprivate",
        /// `unbindable`, recursively.
        RUnbindable = "runbindable",
    }
}

/// Cache and memory bandwidth by resctrl.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IntelRdt {
    /// Class of service; `None` is named after the container.
    #[serde(rename = "closID", deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub clos_id: Option<String>,
    /// Lines of the `schemata` file, written as they are (1.3).
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub schemata: Vec<String>,
    /// `L3:id=mask;…`
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub l3_cache_schema: Option<String>,
    /// `MB:id=bandwidth;…`
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub mem_bw_schema: Option<String>,
    /// Whether the container gets a monitoring group of its own (1.3).
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "std::ops::Not::not")]
    pub enable_monitoring: bool,
}

/// NUMA policy of set_mempolicy(2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "GivenMemoryPolicy")]
pub struct MemoryPolicy {
    /// The policy.
    pub mode: MemoryPolicyMode,
    /// Memory nodes, `0-3,7`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<String>,
    /// Flags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<MemoryPolicyFlag>,
}

/// As it is read: a policy without a mode is refused in the words of runc.
#[derive(Deserialize)]
struct GivenMemoryPolicy {
    #[serde(default, deserialize_with = "empty_as_none")]
    mode: Option<MemoryPolicyMode>,
    #[serde(default, deserialize_with = "empty_as_none")]
    nodes: Option<String>,
    #[serde(default, deserialize_with = "null_as_default")]
    flags: Vec<MemoryPolicyFlag>,
}

impl TryFrom<GivenMemoryPolicy> for MemoryPolicy {
    type Error = &'static str;

    fn try_from(given: GivenMemoryPolicy) -> Result<MemoryPolicy, &'static str> {
        let GivenMemoryPolicy { mode, nodes, flags } = given;
        Ok(MemoryPolicy {
            mode: mode.ok_or("invalid memory policy mode: missing field `mode`")?,
            nodes,
            flags,
        })
    }
}

words! {
    /// Modes of set_mempolicy(2).
    pub enum MemoryPolicyMode ("memory policy mode") {
        /// None of its own.
        Default = "MPOL_DEFAULT",
        /// Only these nodes.
        Bind = "MPOL_BIND",
        /// These nodes in turn.
        Interleave = "MPOL_INTERLEAVE",
        /// These nodes in turn, by weight.
        WeightedInterleave = "MPOL_WEIGHTED_INTERLEAVE",
        /// This node first.
        Preferred = "MPOL_PREFERRED",
        /// These nodes first.
        PreferredMany = "MPOL_PREFERRED_MANY",
        /// The node of the processor.
        Local = "MPOL_LOCAL",
    }
}

words! {
    /// Flags of set_mempolicy(2).
    pub enum MemoryPolicyFlag ("memory policy flag") {
        /// Balancing goes on among bound nodes.
        NumaBalancing = "MPOL_F_NUMA_BALANCING",
        /// Nodes count from the allowed ones.
        RelativeNodes = "MPOL_F_RELATIVE_NODES",
        /// Nodes are as numbered, whatever is allowed.
        StaticNodes = "MPOL_F_STATIC_NODES",
    }
}

/// Execution domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Personality {
    /// The domain.
    pub domain: PersonalityDomain,
    /// Flags: the specification defines none.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
}

words! {
    /// Execution domains.
    pub enum PersonalityDomain ("personality domain") {
        /// The machine's.
        Linux = "LINUX",
        /// The 32-bit one.
        Linux32 = "LINUX32",
    }
}

words! {
    /// Clocks that a time namespace shifts.
    pub enum Clock ("clock") {
        /// `CLOCK_MONOTONIC`.
        Monotonic = "monotonic",
        /// `CLOCK_BOOTTIME`.
        Boottime = "boottime",
    }
}

/// Offset of a clock inside the container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TimeOffset {
    /// Seconds.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub secs: i64,
    /// Nanoseconds on top, less than a second.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub nanosecs: u32,
}
