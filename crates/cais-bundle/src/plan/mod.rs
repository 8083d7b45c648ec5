//! From config.json to the steps of the container's first process. Pure: touches nothing, opens nothing.
//!
//! [`container()`] plans a container, [`exec()`] a further process in one. Facts of the machine come in ([`Machine`],
//! [`Found`]); descriptors are named, not opened ([`Wanted`]). The same input gives the same steps. Implements the
//! Linux part of runtime-spec 1.2 and 1.3; where the text is silent, runc's behaviour, and crun's options of mounts.
//! The configuration must have passed [`Spec::validate`]: what that refuses is not looked for again, though nothing here
//! panics on it.

mod capabilities;
mod cgroup;
mod command;
mod container;
mod devices;
mod draft;
mod error;
mod exec;
mod idmap;
mod labels;
mod landlock;
mod mounts;
mod namespaces;
mod numbers;
mod options;
mod process;
mod scheduling;
#[cfg(test)]
mod tests;

use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

use cais_oci::runtime::{IdMapping, Process, Spec};
use cais_plan::PlanWriter;
use cais_runtime::capability::CapSet;

pub use container::{CREATED, container};
pub use error::PlanError;
pub use exec::{exec, inherit};
pub use options::mount_options;

/// What is planned: a configuration, and where and on what machine it is carried out.
#[derive(Clone, Debug)]
pub struct ContainerRequest<'a> {
    /// The configuration, validated.
    pub spec: &'a Spec,
    /// Name of the container.
    pub id: &'a str,
    /// Directory of the bundle, absolute.
    pub bundle: &'a Path,
    /// Root file system, absolute, without links.
    pub rootfs: &'a Path,
    /// What was looked up about the mount with the same index in the configuration; a missing one is
    /// `Found::default()`.
    pub found: &'a [Found],
    /// Device files of the host that stand for `linux.devices[index]` where devices are bound and not made; without
    /// an entry the file with the device's own path does.
    pub device_sources: &'a [(usize, PathBuf)],
    /// The network namespace that is joined by path is the caller's own.
    pub joins_own_network: bool,
    /// What is used when the configuration asks for a file system of type `cgroup`.
    pub cgroup: CgroupShape<'a>,
    /// The machine.
    pub machine: &'a Machine,
    /// Compiled `linux.seccomp`.
    pub seccomp: Option<Filter<'a>>,
    /// Use MS_MOVE and chroot instead of pivot_root(2).
    pub no_pivot: bool,
    /// Keep the session keyring of the caller.
    pub no_new_keyring: bool,
    /// Descriptors from 3 on that the command keeps.
    pub preserve: u32,
    /// What the first process waits for before its command.
    pub begin: Begin,
}

/// What a first process that is ready waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// The go of whoever made the container: `run`.
    AfterGo,
    /// The same, and then `start`, by anybody and at any time: `create`.
    ByStart,
}

/// A further process in a container.
#[derive(Clone, Debug)]
pub struct ExecRequest<'a> {
    /// The process, validated. What it leaves out of capabilities, labels, limits, scheduling and umask is the
    /// container's.
    pub process: &'a Process,
    /// The container's configuration: seccomp, namespaces, labels.
    pub spec: &'a Spec,
    /// Name of the container.
    pub id: &'a str,
    /// First process of the container.
    pub pid: i32,
    /// Control group to enter.
    pub cgroup: CgroupShape<'a>,
    /// The machine.
    pub machine: &'a Machine,
    /// Compiled `linux.seccomp`.
    pub seccomp: Option<Filter<'a>>,
    /// Keep the session keyring of the caller.
    pub no_new_keyring: bool,
    /// Descriptors from 3 on that the command keeps.
    pub preserve: u32,
    /// Wait until somebody has taken the terminal.
    pub waits: bool,
}

/// What was looked up on the host about the source of one mount.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// What the source says, if it is a symbolic link: for `copy-symlink`.
    pub symlink: Option<PathBuf>,
    /// The source lies on a procfs: such a bind mount may have `/proc` as its target.
    pub procfs: bool,
}

/// How the first process enters its control group, and what it is shown of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct CgroupShape<'a> {
    /// How many `tasks` files (v1) it writes `0` to.
    pub tasks: usize,
    /// It is cloned into a directory (v2).
    pub clone_into: bool,
    /// The manager moves it during [`cais_plan::wire::sync::SETUP`].
    pub moved_by_manager: bool,
    /// v1: name below the mount, and the group's directory on the host.
    pub views: &'a [(String, PathBuf)],
    /// A cgroup v2 file system is what there is.
    pub unified: bool,
    /// v2 without a cgroup namespace: the group's directory on the host, bound.
    pub own_group: Option<&'a Path>,
}

/// A compiled filter.
#[derive(Clone, Copy, Debug)]
pub struct Filter<'a> {
    /// Array of `struct sock_filter`.
    pub program: &'a [u8],
    /// `SECCOMP_FILTER_FLAG_*`.
    pub flags: u32,
    /// It has a listener.
    pub listener: bool,
}

/// Facts of the machine and of the caller that decide what can be asked of the kernel.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The caller is not root in the initial user namespace.
    pub rootless: bool,
    /// The caller has CAP_SYS_ADMIN in its user namespace, whichever that is: it can mount and join. Without, it needs
    /// a user namespace first.
    pub capable: bool,
    /// The caller is in another user namespace than the initial one: no device can be made.
    pub user_namespace: bool,
    /// setgroups(2) is not denied in the user namespace that the process ends up in.
    pub may_set_groups: bool,
    /// The caller's network namespace belongs to its user namespace (`NS_GET_USERNS`): sysfs can be mounted in it.
    pub owns_network: bool,
    /// Our own bounding set: nothing beyond it can be given.
    pub bounding: CapSet,
    /// CAP_SYS_RESOURCE: hard limits can be raised, oom_score_adj lowered.
    pub may_raise_limits: bool,
    /// Hard limits of the caller by `RLIMIT_*`.
    pub hard_limits: Vec<(u32, u64)>,
    /// The caller's own oom_score_adj.
    pub oom_score_adj: i32,
    /// File below /proc/self that takes an AppArmor profile for the next execve: `attr/apparmor/exec` where it exists,
    /// else `attr/exec`; `None` without AppArmor.
    pub apparmor: Option<&'static str>,
    /// SELinux is enabled.
    pub selinux: bool,
    /// Version of Landlock's interface, 0 = none.
    pub landlock_abi: u32,
}

/// A descriptor that the first process (or the shim before it) needs at a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A namespace file, of a type that is verified after opening.
    Namespace {
        /// File.
        path: PathBuf,
        /// `CLONE_NEW*`.
        kind: u64,
    },
    /// pidfd of a process.
    Process(i32),
    /// A user namespace with these maps.
    IdMap {
        /// Users.
        uids: Vec<IdMapping>,
        /// Groups.
        gids: Vec<IdMapping>,
    },
    /// The n-th `tasks` file of the group.
    Tasks(usize),
    /// The group's directory.
    CgroupDirectory,
}

/// What a step is about, for whoever makes a sentence of its failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Making the container, or joining it.
    Setup,
    /// The mount with this index in the configuration.
    Mount(usize),
    /// The hook with this index in `hooks.createContainer`.
    CreateContainerHook(usize),
    /// The hook with this index in `hooks.startContainer`.
    StartContainerHook(usize),
    /// The working directory.
    Chdir,
    /// User and groups.
    User,
    /// Limits, priorities, labels and rights of the process.
    Process,
    /// The filter of system calls.
    Seccomp,
    /// Looking for the command.
    FindExecutable,
    /// Executing it.
    Exec,
}

/// A plan for the shim.
#[derive(Debug)]
pub struct Planned {
    /// Steps with their sentences.
    pub steps: PlanWriter,
    /// What each step is about, by its index.
    pub subjects: Vec<Subject>,
    /// Role of the shim, [`cais_plan::role`].
    pub role: u32,
    /// How many of the first steps are carried out before the clone (role `PARENT`).
    pub outer: u32,
    /// `CLONE_NEW*` of the clone.
    pub clone_flags: u64,
    /// A pseudo terminal is made.
    pub tty: bool,
    /// Rows and columns, 0 = unknown.
    pub console_size: (u32, u32),
    /// Numbers of descriptors and what belongs there, ascending, from [`FIRST_FREE`] + `preserve` on.
    pub fds: Vec<(RawFd, Wanted)>,
    /// What was asked for and is done differently, one sentence each.
    pub warnings: Vec<String>,
}

impl Planned {
    /// What the step with this index is about; [`Subject::Setup`] for an index that there is not.
    #[must_use]
    pub fn subject(&self, index: usize) -> Subject {
        self.subjects.get(index).copied().unwrap_or(Subject::Setup)
    }
}

/// After standard streams and preserved descriptors come plan, sync, start, console; then these.
pub const FIRST_FREE: RawFd = 7;
