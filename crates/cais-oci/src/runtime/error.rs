//! What can be wrong with a description: one kind for each rule of the specification.

use super::linux::{Clock, MemoryPolicyMode, NamespaceType};
use super::process::{RlimitType, SchedulerPolicy};

/// A document that is no valid description of a container.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// Not JSON, or a field of the wrong type, or a word that an enumeration does not have.
    #[error("parse {document}: {path}{}{source}", if path.is_empty() { "" } else { ": " })]
    Json {
        /// Which document.
        document: &'static str,
        /// Path of the field, as `linux.namespaces[3].type`; empty where there is none.
        path: String,
        /// What is wrong, and in which line and column.
        source: serde_json::Error,
    },
    /// A text with a zero byte: the kernel would take it for its end.
    #[error("parse {document}: {path}: a zero byte in the text")]
    Nul {
        /// Which document.
        document: &'static str,
        /// Path of the field.
        path: String,
    },
    /// Not a version that this runtime understands.
    #[error("ociVersion {version:?} is not a version 1.x.y of the specification")]
    Version {
        /// As the document has it.
        version: String,
    },
    /// No root file system.
    #[error("root.path must not be empty")]
    Root,
    /// An annotation without a name.
    #[error("annotations: the empty string is no key")]
    AnnotationKey,
    /// A mount without a destination.
    #[error("mounts[{index}].destination must not be empty")]
    MountDestination {
        /// Which mount.
        index: usize,
    },
    /// A mount that maps users but not groups, or groups but not users.
    #[error("mounts[{index}] ({destination}): uidMappings and gidMappings must both be given")]
    MountMappings {
        /// Which mount.
        index: usize,
        /// Its destination.
        destination: String,
    },
    /// A hook by a relative path.
    #[error("hooks.{list}[{index}].path must be absolute, not {path:?}")]
    HookPath {
        /// Which list.
        list: &'static str,
        /// Which hook of it.
        index: usize,
        /// The path.
        path: String,
    },
    /// A hook that has no time.
    #[error("hooks.{list}[{index}].timeout must be more than 0 seconds, not {timeout}")]
    HookTimeout {
        /// Which list.
        list: &'static str,
        /// Which hook of it.
        index: usize,
        /// The time in seconds.
        timeout: i64,
    },
    /// A host or domain name without a namespace to set it in.
    #[error("unable to set {field} without a private UTS namespace")]
    NameWithoutUts {
        /// `hostname` or `domainname`.
        field: &'static str,
    },

    /// No command.
    #[error("process.args must not be empty")]
    NoArguments,
    /// A relative working directory.
    #[error("process.cwd must be an absolute path, not {cwd:?}")]
    Cwd {
        /// The path.
        cwd: String,
    },
    /// A limit given twice.
    #[error("process.rlimits has {kind} twice")]
    DuplicateRlimit {
        /// Which limit.
        kind: RlimitType,
    },
    /// Out of the kernel's range.
    #[error("process.oomScoreAdj must be -1000 to 1000, not {value}")]
    OomScoreAdj {
        /// The value.
        value: i64,
    },
    /// Out of the kernel's range.
    #[error("process.scheduler.nice must be -20 to 19, not {nice}, for {policy}")]
    SchedulerNice {
        /// The value.
        nice: i32,
        /// The policy.
        policy: SchedulerPolicy,
    },
    /// A static priority for a policy that has none.
    #[error("process.scheduler.priority can be given for SCHED_FIFO and SCHED_RR only, not for {policy}")]
    SchedulerPriority {
        /// The policy.
        policy: SchedulerPolicy,
    },
    /// Times of the deadline policy for another one.
    #[error(
        "process.scheduler.runtime, deadline and period can be given for SCHED_DEADLINE only, not for {policy}"
    )]
    SchedulerDeadline {
        /// The policy.
        policy: SchedulerPolicy,
    },
    /// Out of the kernel's range.
    #[error("process.ioPriority.priority must be 0 to 7, not {priority}")]
    IoPriority {
        /// The value.
        priority: i64,
    },
    /// Not a list of numbers and ranges.
    #[error("{field}: {list:?} is not a list like \"0-3,7\"")]
    NumberList {
        /// Path of the field.
        field: &'static str,
        /// The list.
        list: String,
    },

    /// A namespace given twice.
    #[error("linux.namespaces has {kind} twice")]
    DuplicateNamespace {
        /// Which kind.
        kind: NamespaceType,
    },
    /// A path that must be absolute and is not.
    #[error("{field} must be an absolute path, not {path:?}")]
    RelativePath {
        /// Path of the field.
        field: String,
        /// The path.
        path: String,
    },
    /// Mappings without a user namespace.
    #[error("user namespace mappings specified, but there is no user namespace")]
    MappingsWithoutUser,
    /// A new user namespace in which nobody exists.
    #[error("a new user namespace needs uidMappings and gidMappings")]
    UserWithoutMappings,
    /// Offsets without a time namespace.
    #[error("time offsets specified, but there is no time namespace")]
    OffsetsWithoutTime,
    /// Offsets for a time namespace that exists already.
    #[error("time offsets specified for a time namespace that is joined")]
    OffsetsOfJoinedTime,
    /// An offset's nanoseconds that are seconds.
    #[error("linux.timeOffsets.{clock}.nanosecs must be less than 1000000000, not {nanosecs}")]
    Nanosecs {
        /// Which clock.
        clock: Clock,
        /// The value.
        nanosecs: u32,
    },
    /// Masked or read-only paths in the mount namespace of the host.
    #[error("unable to mask or protect paths without a private mount namespace")]
    PathsWithoutMount,
    /// A kernel parameter that is no file below /proc/sys.
    #[error("sysctl {name:?} is not a name of a kernel parameter")]
    SysctlName {
        /// As the document has it.
        name: String,
    },
    /// A kernel parameter of the host.
    #[error("sysctl {name:?} is not in a separate kernel namespace")]
    SysctlOfHost {
        /// As the document has it.
        name: String,
    },
    /// A kernel parameter that has a field of its own.
    #[error("sysctl {name:?} is not allowed as it conflicts with the OCI \"hostname\" field")]
    SysctlHostname {
        /// As the document has it.
        name: String,
    },
    /// A number that no device has.
    #[error("{field}: device number {major}:{minor} is out of range")]
    DeviceNumber {
        /// Path of the field.
        field: String,
        /// Major number.
        major: i64,
        /// Minor number.
        minor: i64,
    },
    /// Letters that are no permissions of devices.
    #[error("linux.resources.devices[{index}].access: {access:?} has other letters than r, w and m")]
    DeviceAccess {
        /// Which rule.
        index: usize,
        /// The letters.
        access: String,
    },
    /// Network devices that would stay on the host.
    #[error("unable to move network devices without a network namespace")]
    NetDevicesWithoutNetwork,
    /// Not a name that a network device can have.
    #[error("invalid network device name {name:?}")]
    NetDeviceName {
        /// The name.
        name: String,
    },
    /// Two devices that would get one name.
    #[error("linux.netDevices: two devices would be named {name:?}")]
    DuplicateNetDevice {
        /// The name.
        name: String,
    },
    /// Words for a listener that is not there.
    #[error("linux.seccomp.listenerMetadata must not be given without listenerPath")]
    ListenerMetadata,
    /// A class of service that is no name of a directory.
    #[error("invalid intelRdt.closID {clos_id:?}")]
    ClosId {
        /// The class.
        clos_id: String,
    },
    /// A resctrl schema that is not one line of the right kind.
    #[error("linux.intelRdt.{field}: {schema:?} is not one line of that schema")]
    RdtSchema {
        /// Which field.
        field: &'static str,
        /// The schema.
        schema: String,
    },
    /// A flag of the execution domain; there are none.
    #[error("linux.personality.flags: {flag:?} is not supported, no flag is")]
    PersonalityFlag {
        /// The flag.
        flag: String,
    },
    /// Nodes for a policy that takes none.
    #[error("linux.memoryPolicy.nodes: {mode} mode requires 0 nodes but got {count}")]
    MemoryPolicyWithNodes {
        /// The mode.
        mode: MemoryPolicyMode,
        /// How many.
        count: u64,
    },
    /// No list of nodes.
    #[error("linux.memoryPolicy.nodes: invalid memory policy node: {list:?} is not a list like \"0-3,7\"")]
    MemoryPolicyNodes {
        /// The list.
        list: String,
    },
    /// No nodes for a policy that needs some.
    #[error("linux.memoryPolicy.nodes must not be empty for {mode}")]
    MemoryPolicyWithoutNodes {
        /// The mode.
        mode: MemoryPolicyMode,
    },
    /// A key that is no file of a cgroup.
    #[error("unified resource {key:?} must be a file name (no slashes)")]
    UnifiedKey {
        /// The key.
        key: String,
    },
    /// An RDMA device without a limit.
    #[error("linux.resources.rdma.{device}: hcaHandles or hcaObjects must be given")]
    RdmaLimit {
        /// The device.
        device: String,
    },
    /// A size of huge pages that the kernel would not spell so.
    #[error("linux.resources.hugepageLimits[{index}].pageSize: {size:?} is not a size like \"2MB\"")]
    HugepageSize {
        /// Which entry.
        index: usize,
        /// The size.
        size: String,
    },
    /// A block device without a weight.
    #[error("linux.resources.blockIO.weightDevice[{index}]: weight or leafWeight must be given")]
    DeviceWeight {
        /// Which entry.
        index: usize,
    },
}
