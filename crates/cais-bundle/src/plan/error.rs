//! Why a configuration cannot be carried out, found before anything was touched.
//!
//! Sentences follow runc's words where engines or tests above a runtime know them.

use super::draft::PASSING_SLOT;

/// Why a configuration cannot be carried out.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PlanError {
    /// Strings for the kernel end at a NUL.
    #[error("{what} contains a NUL byte")]
    Nul {
        /// Which field.
        what: &'static str,
    },
    /// More trees must be opened before the user namespace than the shim has slots for.
    #[error("more than {PASSING_SLOT} bind mounts and devices in a user namespace")]
    TooMany,
    /// More preserved descriptors than there can be.
    #[error("{0} descriptors cannot be preserved")]
    Preserve(u32),
    /// There is nothing to execute.
    #[error("process.args must not be empty")]
    NoCommand,
    /// There is no process at all.
    #[error("process must be given to create a container")]
    NoProcess,
    /// A variable without `=`.
    #[error("invalid environment variable {0:?}: missing '='")]
    Variable(String),
    /// A variable without a name.
    #[error("invalid environment variable {0:?}: name cannot be empty")]
    VariableName(String),
    /// Without privileges nothing can be made outside of a user namespace.
    #[error("rootless container requires user namespaces")]
    NeedsUserNamespace,
    /// It is made before the user namespace is entered.
    #[error("a time namespace cannot be made by an unprivileged user")]
    TimeNamespace,
    /// The old root stays reachable.
    #[error("rootfsPropagation of [r]private is not safe without pivot_root")]
    PrivateWithoutPivot,
    /// Neither a type nor a bind mount.
    #[error("mount on {destination}: it has no type, and neither bind nor rbind among its options")]
    NoType {
        /// Where.
        destination: String,
    },
    /// A bind mount of nothing.
    #[error("mount on {destination}: a bind mount needs a source")]
    NoSource {
        /// Where.
        destination: String,
    },
    /// Over the root that was just taken.
    #[error("mountpoint {0:?} is on the top of rootfs")]
    OverRoot(String),
    /// Over /proc, and no procfs.
    #[error("{0:?} cannot be mounted because it is not of type proc")]
    NotProc(String),
    /// A mount that would undo the isolation.
    #[error("{0:?} cannot be mounted because it is inside /proc")]
    InProc(String),
    /// Only a tmpfs can take files.
    #[error("mount on {destination}: tmpcopyup can be used only with tmpfs, not {kind}")]
    CopyUp {
        /// Where.
        destination: String,
        /// Its type.
        kind: String,
    },
    /// No maps to map by.
    #[error("mount on {destination}: id-mapped mounts must have both uid and gid mappings specified")]
    NoMappings {
        /// Where.
        destination: String,
    },
    /// Only real root may.
    #[error("mount on {destination}: id-mapped mounts are not supported for rootless containers")]
    RootlessMappings {
        /// Where.
        destination: String,
    },
    /// A new file system inside a user namespace belongs to it already.
    #[error("mount on {destination}: id-mapped {kind} is not supported in a user namespace")]
    MappedFilesystem {
        /// Where.
        destination: String,
        /// Its type.
        kind: String,
    },
    /// Words of `idmap=`.
    #[error("mount on {destination}: invalid mapping specified {option:?}")]
    Mapping {
        /// Where.
        destination: String,
        /// The option.
        option: String,
    },
    /// A device that cannot exist.
    #[error("device {path}: there is no device number {major}:{minor}")]
    DeviceNumber {
        /// Where.
        path: String,
        /// Major.
        major: i64,
        /// Minor.
        minor: i64,
    },
    /// A device where none can be.
    #[error("device {0:?}: not the path of a file")]
    DevicePath(String),
    /// A name that leads out of /proc/sys.
    #[error("sysctl {0:?} is not a name of a kernel parameter")]
    SysctlName(String),
    /// The namespace is joined, and nobody's but the caller's.
    #[error("sysctl {0:?} not allowed in host network namespace")]
    SysctlOfHostNetwork(String),
    /// A list of processors or memory nodes.
    #[error("{field}: {list:?} is no list such as 0-3,7")]
    Numbers {
        /// Which.
        field: &'static str,
        /// As given.
        list: String,
    },
    /// A profile without AppArmor.
    #[error("apparmor: config provided but apparmor not supported")]
    NoApparmor,
    /// A label without SELinux.
    #[error("selinux label is specified in config, but selinux is disabled or not supported")]
    NoSelinux,
    /// Landlock is asked for and missing.
    #[error("annotation {annotation}: the kernel has Landlock version {abi}, {needed} is needed")]
    Landlock {
        /// Which annotation.
        annotation: String,
        /// The kernel's.
        abi: u32,
        /// At least this.
        needed: u32,
    },
    /// An annotation that is no list of what it should be.
    #[error("annotation {annotation}: {value:?} is not {what}")]
    Annotation {
        /// Which annotation.
        annotation: String,
        /// The part that is wrong.
        value: String,
        /// What it should be.
        what: &'static str,
    },
}

/// The result of planning.
pub type Result<T> = std::result::Result<T, PlanError>;
