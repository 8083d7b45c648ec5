//! Why something with an OCI container's groups did not succeed. Where callers look for words of runc, the text has them.

use std::io;
use std::path::PathBuf;

use super::systemd::BusError;
use crate::cgroup::CgroupError;

/// See the module's page.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// What both doors of this crate can meet.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// systemd could not be asked.
    #[error("ask systemd about the unit {unit}: {source}")]
    Systemd {
        /// Unit.
        unit: String,
        /// Why.
        source: BusError,
    },
    /// The unit did not start.
    #[error("start the systemd unit {unit}: its job ended with {result:?}")]
    Unit {
        /// Unit.
        unit: String,
        /// As systemd calls it: `failed`, `timeout`, `canceled`, `dependency`, `skipped`.
        result: String,
    },
    /// A `cgroupsPath` for the systemd manager has another form.
    #[error(
        "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {path:?} instead"
    )]
    SystemdPath {
        /// As given.
        path: String,
    },
    /// A slice or a unit that systemd would not take.
    #[error("place a container below systemd: {name:?} is no name of a {what}")]
    UnitName {
        /// Slice, unit.
        what: &'static str,
        /// As given.
        name: String,
    },
    /// An annotation `org.systemd.property.…` that is none.
    #[error("read the annotation {key}={value:?}: {reason}")]
    Annotation {
        /// Whole key.
        key: String,
        /// As given.
        value: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A systemd scope begins with a process.
    #[error("start the systemd unit {unit}: a scope needs a process to begin with")]
    NoProcess {
        /// Unit.
        unit: String,
    },
    /// systemd manages an ordinary user's groups in v2 only.
    #[error("invalid configuration: the systemd cgroup manager of a user needs cgroup v2")]
    UserSystemdV1,
    /// Others use the group.
    #[error("container's cgroup is not empty: {count} process(es) found in {}", path.display())]
    NotEmpty {
        /// Group.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// A new container would stand still at once.
    #[error("container's cgroup unexpectedly frozen: {}", path.display())]
    Frozen {
        /// Group.
        path: PathBuf,
    },
    /// The group or one above has no room for processes with all controllers.
    #[error("cannot enter cgroupv2 {path:?} with domain controllers -- it is in {kind} mode")]
    Threaded {
        /// Group.
        path: PathBuf,
        /// Content of `cgroup.type`.
        kind: String,
    },
    /// A group could not be made; the text of the first part is runc's.
    #[error("unable to apply cgroup configuration: create the cgroup {}: {}", path.display(), lower(source))]
    Refused {
        /// Group.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Limits without a group to hold them.
    #[error(
        "rootless needs no limits + no cgrouppath when no permission is granted for cgroups: create the cgroup {}: {}",
        path.display(), lower(source)
    )]
    LimitsRefused {
        /// Group.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A limit of a controller in which the container has no group.
    #[error("cannot set {controller} limit: container could not join or create cgroup")]
    NoController {
        /// The kernel's name.
        controller: String,
    },
    /// v1 has no such files.
    #[error("invalid configuration: cannot use unified on cgroup v1")]
    UnifiedOnV1,
    /// A key of `unified` that is no file name.
    #[error("unified resource {key:?} must be a file name (no slashes)")]
    UnifiedKey {
        /// As given.
        key: String,
    },
    /// A key of `unified` that names no controller.
    #[error("unified resource {key:?} must be in the form CONTROLLER.PARAMETER")]
    UnifiedForm {
        /// As given.
        key: String,
    },
    /// A value of `unified` that systemd cannot be told.
    #[error("unified resource {key:?} value invalid: {value:?}")]
    UnifiedValue {
        /// As given.
        key: String,
        /// As given.
        value: String,
    },
    /// A key of `unified` whose controller the group does not have.
    #[error("unified resource {key:?} can't be set: controller {controller:?} not available")]
    UnifiedController {
        /// As given.
        key: String,
        /// Its first part.
        controller: String,
    },
    /// A value that means nothing.
    #[error("invalid {what}: {value}")]
    Value {
        /// Field of the configuration.
        what: &'static str,
        /// As given, and what it should be.
        value: String,
    },
    /// Something that only v1 has.
    #[error("invalid configuration: cannot set {what} with cgroup v2")]
    OnlyV1 {
        /// Field of the configuration.
        what: &'static str,
    },
    /// A limit of memory and swap alone cannot be converted.
    #[error("unable to set swap limit without memory limit")]
    SwapAlone,
    /// Less for both than for one.
    #[error("memory+swap limit should be >= memory limit")]
    SwapBelowMemory,
    /// v1's list of devices can only be cut where it was sewn.
    #[error("deny {rule:?}: a part of a wider rule for devices cannot be taken away on cgroup v1")]
    DeviceHole {
        /// The rule that cannot be kept.
        rule: String,
    },
    /// The kernel refused a limit below the use.
    #[error("unable to set memory limit to {limit} (current usage: {usage}, peak usage: {peak})")]
    MemoryInUse {
        /// Bytes asked for.
        limit: i64,
        /// Bytes used.
        usage: u64,
        /// Most bytes ever used.
        peak: u64,
    },
    /// `checkBeforeUpdate` refused a limit below the use.
    #[error("rejecting {what} limit {limit} <= usage {usage}")]
    Rejected {
        /// `memory` or `memory+swap`.
        what: &'static str,
        /// Bytes asked for.
        limit: i64,
        /// Bytes used.
        usage: u64,
    },
    /// The kernel took another number.
    #[error("the {bound} allowed cpu-shares is {shares}")]
    Shares {
        /// `maximum` or `minimum`.
        bound: &'static str,
        /// The kernel's.
        shares: u64,
    },
    /// The owner could not be changed.
    #[error("give {} to user {uid}: {source}", path.display())]
    Owner {
        /// File or directory.
        path: PathBuf,
        /// To whom.
        uid: u32,
        /// Why.
        source: io::Error,
    },
    /// The kernel does not tell when memory is out.
    #[error("watch {} for lack of memory: {source}", path.display())]
    Watch {
        /// File.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What a file of the kernel says is not understood.
    #[error("read {}: {text:?} is not what was expected", path.display())]
    Content {
        /// File.
        path: PathBuf,
        /// A line of it.
        text: String,
    },
}

/// As Go's programs spell it: "permission denied".
fn lower(error: &io::Error) -> String {
    use rustix::io::Errno;
    match Errno::from_io_error(error) {
        Some(Errno::ACCESS) => "permission denied".to_owned(),
        Some(Errno::PERM) => "operation not permitted".to_owned(),
        Some(Errno::ROFS) => "read-only file system".to_owned(),
        _ => error.to_string(),
    }
}
