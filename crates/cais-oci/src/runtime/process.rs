//! The process of a container: the `process` object of config.json, and the whole of an exec's process.json.
//!
//! Implements config.md "Process" of the OCI runtime specification, versions 1.2 and 1.3. Windows' fields are ignored.

use serde::{Deserialize, Serialize};

use super::word::{empty_as_none, is_zero, null_as_default, words};

/// What runs, as whom, with which rights and limits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Process {
    /// Whether the process gets a pseudo terminal.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "std::ops::Not::not")]
    pub terminal: bool,
    /// The terminal's size in characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console_size: Option<ConsoleSize>,
    /// User and groups.
    #[serde(deserialize_with = "null_as_default")]
    pub user: User,
    /// The program and its arguments.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Environment, `NAME=value` each.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Working directory, absolute, inside the container.
    #[serde(deserialize_with = "null_as_default")]
    pub cwd: String,
    /// Capability sets; `None` leaves the process without any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// Resource limits of setrlimit(2).
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub rlimits: Vec<Rlimit>,
    /// Whether execve(2) can no longer add privileges.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "std::ops::Not::not")]
    pub no_new_privileges: bool,
    /// AppArmor profile by name.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub apparmor_profile: Option<String>,
    /// `oom_score_adj`, -1000 to 1000; `None` leaves it alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i64>,
    /// Scheduling policy of sched_setattr(2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<Scheduler>,
    /// SELinux context of the process.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub selinux_label: Option<String>,
    /// I/O priority of ioprio_set(2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_priority: Option<IoPriority>,
    /// Processors of a process that joins the container.
    #[serde(rename = "execCPUAffinity", skip_serializing_if = "Option::is_none")]
    pub exec_cpu_affinity: Option<ExecCpuAffinity>,
}

/// Size of a terminal in characters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsoleSize {
    /// Lines.
    #[serde(deserialize_with = "null_as_default")]
    pub height: u64,
    /// Columns.
    #[serde(deserialize_with = "null_as_default")]
    pub width: u64,
}

/// User and groups of a process, as numbers inside the container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct User {
    /// User id.
    #[serde(deserialize_with = "null_as_default")]
    pub uid: u32,
    /// Group id.
    #[serde(deserialize_with = "null_as_default")]
    pub gid: u32,
    /// File mode creation mask; `None` is the runtime's (0022).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub umask: Option<u32>,
    /// Supplementary groups.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub additional_gids: Vec<u32>,
    /// Name of the user; on Linux without meaning.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
}

/// Capability sets by names such as `CAP_CHOWN`; an absent set is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Capabilities {
    /// Limit of what execve(2) can give.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bounding: Option<Vec<String>>,
    /// What the kernel checks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effective: Option<Vec<String>>,
    /// What files may hand on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inheritable: Option<Vec<String>>,
    /// What may become effective.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permitted: Option<Vec<String>>,
    /// What survives execve(2) without file capabilities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ambient: Option<Vec<String>>,
}

/// One resource limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rlimit {
    /// Which limit.
    #[serde(rename = "type")]
    pub kind: RlimitType,
    /// Upper bound of the soft limit; `u64::MAX` is no limit.
    pub hard: u64,
    /// What the kernel enforces; `u64::MAX` is no limit.
    pub soft: u64,
}

words! {
    /// Resource limits of getrlimit(2).
    pub enum RlimitType ("rlimit type") {
        /// Address space, bytes.
        As = "RLIMIT_AS",
        /// Core file, bytes.
        Core = "RLIMIT_CORE",
        /// Processor time, seconds.
        Cpu = "RLIMIT_CPU",
        /// Data segment, bytes.
        Data = "RLIMIT_DATA",
        /// File size, bytes.
        Fsize = "RLIMIT_FSIZE",
        /// File locks.
        Locks = "RLIMIT_LOCKS",
        /// Locked memory, bytes.
        Memlock = "RLIMIT_MEMLOCK",
        /// Message queues, bytes.
        Msgqueue = "RLIMIT_MSGQUEUE",
        /// Nice ceiling.
        Nice = "RLIMIT_NICE",
        /// Open files.
        Nofile = "RLIMIT_NOFILE",
        /// Processes of the user.
        Nproc = "RLIMIT_NPROC",
        /// Resident set, bytes; without effect on Linux.
        Rss = "RLIMIT_RSS",
        /// Real-time priority ceiling.
        Rtprio = "RLIMIT_RTPRIO",
        /// Real-time processor time without a pause, microseconds.
        Rttime = "RLIMIT_RTTIME",
        /// Queued signals.
        Sigpending = "RLIMIT_SIGPENDING",
        /// Stack, bytes.
        Stack = "RLIMIT_STACK",
    }
}

/// Scheduling of a process, sched_setattr(2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scheduler {
    /// The policy.
    pub policy: SchedulerPolicy,
    /// Nice value, -20 to 19.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub nice: i32,
    /// Static priority of the real-time policies, 1 to 99.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub priority: i32,
    /// Flags.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<SchedulerFlag>,
    /// Deadline policy: processor time in a period, nanoseconds.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub runtime: u64,
    /// Deadline policy: when the time must have been had, nanoseconds.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub deadline: u64,
    /// Deadline policy: the period, nanoseconds.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub period: u64,
}

words! {
    /// Scheduling policies.
    pub enum SchedulerPolicy ("scheduler policy") {
        /// The ordinary one.
        Other = "SCHED_OTHER",
        /// First in, first out.
        Fifo = "SCHED_FIFO",
        /// Round robin.
        Rr = "SCHED_RR",
        /// Batch.
        Batch = "SCHED_BATCH",
        /// Isochronous: reserved, no kernel has it.
        Iso = "SCHED_ISO",
        /// Only when nothing else runs.
        Idle = "SCHED_IDLE",
        /// Earliest deadline first.
        Deadline = "SCHED_DEADLINE",
    }
}

words! {
    /// Flags of sched_setattr(2).
    pub enum SchedulerFlag ("scheduler flag") {
        /// Children start with the ordinary policy.
        ResetOnFork = "SCHED_FLAG_RESET_ON_FORK",
        /// Unused bandwidth of others may be taken.
        Reclaim = "SCHED_FLAG_RECLAIM",
        /// SIGXCPU on an overrun.
        DlOverrun = "SCHED_FLAG_DL_OVERRUN",
        /// The policy stays.
        KeepPolicy = "SCHED_FLAG_KEEP_POLICY",
        /// The parameters stay.
        KeepParams = "SCHED_FLAG_KEEP_PARAMS",
        /// The minimum utilization is set.
        UtilClampMin = "SCHED_FLAG_UTIL_CLAMP_MIN",
        /// The maximum utilization is set.
        UtilClampMax = "SCHED_FLAG_UTIL_CLAMP_MAX",
    }
}

/// I/O priority, ioprio_set(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IoPriority {
    /// The class.
    pub class: IoPriorityClass,
    /// Priority in the class, 0 (first) to 7.
    #[serde(default, deserialize_with = "null_as_default")]
    pub priority: i64,
}

words! {
    /// Classes of I/O priority.
    pub enum IoPriorityClass ("I/O priority class") {
        /// Real time.
        Rt = "IOPRIO_CLASS_RT",
        /// Best effort.
        Be = "IOPRIO_CLASS_BE",
        /// Only when nobody else asks.
        Idle = "IOPRIO_CLASS_IDLE",
    }
}

/// Processors of a process that joins a container, as lists such as `0-3,7`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExecCpuAffinity {
    /// Before it enters the container's cgroup.
    #[serde(rename = "initial", deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub initial: Option<String>,
    /// After that.
    #[serde(rename = "final", deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub final_: Option<String>,
}
