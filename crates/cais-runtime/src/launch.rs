//! What a launch is made of: everything resolved, nothing left to decide. Input of the planner ([`crate::plan`]).

use std::path::PathBuf;

use crate::capability::Capabilities;
use crate::seccomp::Program;

/// The container's root file system.
#[derive(Clone, Debug)]
pub enum Root {
    /// A union of layers.
    Overlay {
        /// Topmost first, host paths.
        lowers: Vec<PathBuf>,
        /// Writable layer.
        upper: PathBuf,
        /// Overlay's scratch directory beside it.
        work: PathBuf,
        /// Never synced: the container is thrown away.
        volatile_upper: bool,
    },
    /// A plain directory.
    Directory(PathBuf),
}

/// Where a namespace comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Namespace {
    /// A new one; of networks with loopback only.
    #[default]
    Own,
    /// One made before: it, or a process in it, by a descriptor of the shim.
    Join(i32),
    /// The host's.
    Host,
}

/// Where namespaces come from; everything is the container's own by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// The network.
    pub network: Namespace,
    /// Processes. One that is joined is joined by the monitor.
    pub pid: Namespace,
    /// IPC.
    pub ipc: Namespace,
    /// Names, which are set in one of its own only.
    pub uts: Namespace,
    /// The host's cgroup namespace.
    pub host_cgroup: bool,
}

/// How the container gets into its cgroup and what it sees of it.
#[derive(Clone, Debug, Default)]
pub struct CgroupPlan {
    /// Open `tasks` files (v1), as descriptors of the shim.
    pub join: Vec<i32>,
    /// Directories shown in /sys/fs/cgroup (v1): name and host path.
    pub views: Vec<(String, PathBuf)>,
    /// A cgroup v2 file system is mounted at /sys/fs/cgroup.
    pub unified: bool,
    /// For systemd in the container: that file system is writable.
    pub writable: bool,
}

/// A mount that the request asks for.
#[derive(Clone, Debug)]
pub enum MountPlan {
    /// A host path, bound.
    Bind {
        /// Host path.
        source: PathBuf,
        /// Only what is at this path of it; links lead nowhere else.
        subpath: Option<String>,
        /// Absolute path in the container.
        target: String,
        /// The source is a directory.
        directory: bool,
        /// Read-only.
        read_only: bool,
        /// Then what is mounted beneath is not.
        writable_beneath: bool,
        /// With what is mounted beneath.
        recursive: bool,
        /// `MS_PRIVATE`, `MS_SLAVE` or `MS_SHARED`.
        propagation: u64,
    },
    /// A directory that somebody else has opened, as a tree that is mounted nowhere.
    Tree {
        /// Descriptor of the shim.
        fd: i32,
        /// Absolute path in the container.
        target: String,
    },
    /// Directories as one tree, an overlay.
    Overlay {
        /// Topmost first, host paths.
        lowers: Vec<PathBuf>,
        /// Upper and work directory; without them it is read-only and has two lower ones at least.
        upper: Option<(PathBuf, PathBuf)>,
        /// Only what is at this path of it.
        subpath: Option<String>,
        /// Absolute path in the container.
        target: String,
        /// Read-only.
        read_only: bool,
    },
    /// A new file system of the kernel.
    Filesystem {
        /// Type.
        fstype: &'static str,
        /// Absolute path in the container.
        target: String,
        /// As fsconfig(2) takes them.
        options: Vec<String>,
        /// `MOUNT_ATTR_*`.
        attributes: u64,
    },
    /// A new tmpfs.
    Tmpfs {
        /// Absolute path in the container.
        target: String,
        /// `size=…`, `mode=…`.
        options: Vec<String>,
        /// `MOUNT_ATTR_*`.
        attributes: u64,
    },
}

impl MountPlan {
    /// Where it appears.
    #[must_use]
    pub fn target(&self) -> &str {
        match self {
            MountPlan::Bind { target, .. }
            | MountPlan::Tree { target, .. }
            | MountPlan::Overlay { target, .. }
            | MountPlan::Filesystem { target, .. }
            | MountPlan::Tmpfs { target, .. } => target,
        }
    }
}

/// A device node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Path on the host, bound where nodes cannot be made.
    pub source: PathBuf,
    /// Absolute path in the container.
    pub path: String,
    /// Type and permissions as in `st_mode`.
    pub mode: u32,
    /// As in `st_rdev`.
    pub device: u64,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// A resource limit, already clamped to what this machine may set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// `RLIMIT_*`.
    pub resource: u32,
    /// Soft.
    pub soft: u64,
    /// Hard.
    pub hard: u64,
}

/// Who the process is and what it may do.
#[derive(Clone, Debug)]
pub struct Process {
    /// Nothing is executed: the process stays as an init without a command.
    pub stays: bool,
    /// argv.
    pub args: Vec<String>,
    /// `KEY=VALUE`.
    pub env: Vec<String>,
    /// Absolute.
    pub workdir: String,
    /// `user[:group]`.
    pub user: String,
    /// More groups.
    pub groups: Vec<String>,
    /// Capability sets.
    pub capabilities: Capabilities,
    /// PR_SET_NO_NEW_PRIVS.
    pub no_new_privileges: bool,
    /// Compiled filter.
    pub seccomp: Option<Program>,
    /// AppArmor profile entered at the exec.
    pub apparmor: Option<String>,
    /// SELinux label taken at the exec.
    pub selinux: Option<String>,
    /// Resource limits.
    pub limits: Vec<Limit>,
    /// Permissions that new files do not get; `None` is as the shim has it.
    pub umask: Option<u32>,
    /// `PER_*` and flags.
    pub personality: Option<u64>,
    /// An init stands between.
    pub init: bool,
    /// Supplementary groups can be set.
    pub set_groups: bool,
}

/// Layers with mapped owners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedLayers {
    /// Host directories in which they lie, the writable one with its work directory.
    pub directories: Vec<PathBuf>,
    /// User and group outside that are [`UserNamespace::root`]: who mounts the root makes files in the mapped work
    /// directory, so it has to exist there.
    pub mounter: (u32, u32),
    /// The capabilities that the engine has, and that the mounter keeps.
    pub capabilities: u64,
}

/// A user namespace that the container has for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserNamespace {
    /// The namespace, as a descriptor of the shim.
    pub fd: i32,
    /// Its user and group that mount and make what the container needs: 0 where that is mapped.
    pub root: (u32, u32),
    /// setgroups(2) is allowed in it.
    pub groups: bool,
    /// How the layers are seen with owners that the namespace maps; `None` when they are not.
    pub layers: Option<MappedLayers>,
    /// The PID namespace is not one that this namespace owns: no new procfs can be mounted.
    pub foreign_pid: bool,
}

/// A container to launch.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Empty host directory that serves as mount point inside the new mount namespace.
    pub mountpoint: PathBuf,
    /// Root file system.
    pub root: Root,
    /// Mount the root read-only.
    pub read_only: bool,
    /// SELinux label of the root and of what is mounted anew.
    pub mount_label: Option<String>,
    /// Host name; not set in the host's UTS namespace.
    pub hostname: String,
    /// NIS domain.
    pub domainname: Option<String>,
    /// Namespaces.
    pub namespaces: Namespaces,
    /// cgroup.
    pub cgroup: CgroupPlan,
    /// Binds (by target) whose owners a user namespace maps: a descriptor of the shim.
    pub mapped_binds: Vec<(String, i32)>,
    /// What is added to files of the container before anything runs: path and text.
    pub appended: Vec<(String, String)>,
    /// Requested mounts, and the engine's own hosts, hostname, resolv.conf.
    pub mounts: Vec<MountPlan>,
    /// Device nodes.
    pub nodes: Vec<Node>,
    /// Bytes of /dev/shm; `None` mounts none.
    pub shm_size_bytes: Option<u64>,
    /// Terminal instead of pipes.
    pub tty: bool,
    /// Hidden from the container, see [`crate::plan::MASKED`]; missing ones are ignored.
    pub masked: Vec<String>,
    /// Read-only for the container, see [`crate::plan::READ_ONLY`]; missing ones are ignored.
    pub read_only_paths: Vec<String>,
    /// /sys is writable (privileged).
    pub writable_sys: bool,
    /// Kernel parameters, `net.ipv4.ip_forward` form.
    pub sysctls: Vec<(String, String)>,
    /// oom_score_adj.
    pub oom_score_adj: Option<i32>,
    /// Inside a user namespace: nodes are bound, overlay uses user attributes.
    pub rootless: bool,
    /// A user namespace of its own, too; `None` is that of the engine.
    pub users: Option<UserNamespace>,
    /// The network namespace that is joined is not one that the container's user namespace owns: no new sysfs can be
    /// mounted.
    pub foreign_network: bool,
    /// Group 5 (tty) is mapped.
    pub tty_group: bool,
    /// Who runs.
    pub process: Process,
    /// For tests: this step fails.
    pub failing_step: Option<usize>,
}

/// A command in a container that runs.
#[derive(Clone, Debug)]
pub struct ExecLaunch {
    /// pidfd of the container's init, as a descriptor of the shim.
    pub pidfd: i32,
    /// Namespaces to join, `CLONE_NEW*`; PID is joined by the monitor.
    pub namespaces: u64,
    /// Open `tasks` files (v1).
    pub join: Vec<i32>,
    /// Terminal instead of pipes.
    pub tty: bool,
    /// The user namespace that the monitor has joined is the container's own: who is root in it, and whether
    /// setgroups(2) is allowed.
    pub users: Option<((u32, u32), bool)>,
    /// Who runs.
    pub process: Process,
}
