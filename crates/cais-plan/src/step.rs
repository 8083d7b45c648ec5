//! The words of the plan: what the monitor sets up and what the container's first process does, in order.
//!
//! Each step is (nearly) one kernel request. Paths named `target` or `path` are resolved inside the container's root
//! and never leave it; paths named `source`, `upper`, `work`, `lowers`, `at` are the host's. Flags are the kernel's
//! own numbers. File descriptors are numbers that the engine placed in the shim.

use crate::field::{Bytes, Decode, PlanError, Reader, Str, Strings};
#[cfg(feature = "writer")]
use crate::writer::{Encode, Sink};

macro_rules! words {
    ($(#[$meta:meta])* struct $name:ident { $($(#[$fmeta:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name<'a> { $($(#[$fmeta])* pub $field: $type,)* }
        impl<'a> Decode<'a> for $name<'a> {
            fn decode(reader: &mut Reader<'a>) -> Result<Self, PlanError> {
                Ok($name { $($field: Decode::decode(reader)?,)* })
            }
        }
        #[cfg(feature = "writer")]
        impl Encode for $name<'_> {
            fn encode(&self, sink: &mut Sink) { $(self.$field.encode(sink);)* }
        }
    };
    ($(#[$meta:meta])* enum $name:ident { $($(#[$vmeta:meta])* $number:literal $variant:ident { $($(#[$fmeta:meta])* $field:ident: $type:ty,)* })* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name<'a> { $($(#[$vmeta])* $variant { $($(#[$fmeta])* $field: $type,)* },)* }
        impl<'a> Decode<'a> for $name<'a> {
            fn decode(reader: &mut Reader<'a>) -> Result<Self, PlanError> {
                match reader.u64()? {
                    $($number => Ok($name::$variant { $($field: Decode::decode(reader)?,)* }),)*
                    other => Err(PlanError::Step(other)),
                }
            }
        }
        #[cfg(feature = "writer")]
        impl Encode for $name<'_> {
            fn encode(&self, sink: &mut Sink) {
                match self { $($name::$variant { $($field,)* } => {
                    let number: u64 = $number;
                    number.encode(sink);
                    $($field.encode(sink);)*
                })* }
            }
        }
    };
}

words! {
/// What the shim itself needs: how to clone, what to watch, where to write. Absent descriptors are -1.
struct Setup {
    /// Namespaces of clone3, `CLONE_NEW*`.
    clone_flags: u64,
    /// cgroup v2 directory for `CLONE_INTO_CGROUP`, or -1.
    cgroup_fd: i32,
    /// pidfd of a process whose PID namespace the child joins (exec), or -1.
    join_pid_fd: i32,
    /// Namespaces that the monitor itself joins by it: `CLONE_NEWPID`, and `CLONE_NEWUSER` when rootless.
    join_flags: u64,
    /// The starter's end of the attach stream, or -1.
    owner_fd: i32,
    /// Listening control socket, or -1.
    listen_fd: i32,
    /// Log file opened for appending, or -1.
    log_fd: i32,
    /// Directory that gets the exit record, or -1.
    exit_dir_fd: i32,
    /// File whose line `oom_kill N` counts kills for memory, or -1.
    oom_fd: i32,
    /// The child gets a pseudo terminal, whose master comes back over a socket.
    tty: bool,
    /// The child's standard input is a pipe that clients feed; else /dev/null.
    stdin: bool,
    /// The owner takes part in input and output; else it only waits for the start.
    attached: bool,
    /// The input ends when the owner's does.
    stdin_once: bool,
    /// Rows of the terminal at the start, 0 = unknown.
    rows: u32,
    /// Columns of the terminal at the start.
    cols: u32,
    /// Program and arguments spawned after the exit unless the owner takes care; empty = none.
    cleanup: Strings<'a>,
}
}

words! {
/// One request to the kernel by the container's first process.
enum Step {
    /// Moves itself into a cgroup: writes `0` to the open `tasks` or `cgroup.procs` file.
    1 JoinCgroup {
        /// The open file.
        fd: i32,
    }
    /// unshare(2).
    2 Unshare {
        /// `CLONE_NEW*`.
        flags: u64,
    }
    /// setns(2) by namespace or pid descriptor.
    3 SetNs {
        /// The namespace.
        fd: i32,
        /// `CLONE_NEW*` or 0.
        flags: u64,
    }
    /// Raises the loopback interface.
    4 LoopbackUp {}
    /// Clones a host mount into a numbered slot, open_tree(2).
    5 OpenTree {
        /// Host path.
        source: Str<'a>,
        /// Where it is kept, 0–127.
        slot: u32,
        /// With what is mounted beneath.
        recursive: bool,
    }
    /// Makes every mount of this namespace private.
    6 PrivateMounts {}
    /// Mounts an overlay as the root, at a host directory.
    7 OverlayRoot {
        /// Directory that serves as mount point.
        at: Str<'a>,
        /// Lower layers, topmost first.
        lowers: Strings<'a>,
        /// Upper directory, empty = read-only stack.
        upper: Str<'a>,
        /// Work directory.
        work: Str<'a>,
        /// Skip syncing: for containers that are thrown away.
        volatile_upper: bool,
        /// Use `user.overlay.` attributes (user namespace).
        userxattr: bool,
    }
    /// Takes a directory as the root.
    8 BindRoot {
        /// Directory that serves as mount point.
        at: Str<'a>,
        /// The root directory.
        source: Str<'a>,
    }
    /// Mounts a new file system, fsopen(2)/fsmount(2)/move_mount(2).
    9 Mount {
        /// Type.
        fstype: Str<'a>,
        /// Shown as source.
        source: Str<'a>,
        /// Path in the container, made when missing.
        target: Str<'a>,
        /// `MOUNT_ATTR_*`.
        attributes: u64,
        /// `key=value` and flags.
        options: Strings<'a>,
        /// Failure is no error (an optional file system).
        optional: bool,
    }
    /// Attaches the tree of a slot.
    10 Attach {
        /// Which slot.
        slot: u32,
        /// Path in the container, made when missing.
        target: Str<'a>,
        /// The target is a directory.
        directory: bool,
        /// `MOUNT_ATTR_*` set, recursively when the tree is.
        set: u64,
        /// `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED`, 0 = leave.
        propagation: u64,
        /// Apply to what is mounted beneath, too.
        recursive: bool,
    }
    /// Makes a directory and its parents.
    11 MakeDir {
        /// Path in the container.
        path: Str<'a>,
        /// Mode of the last component.
        mode: u32,
    }
    /// Makes a symbolic link; one that is there stays.
    12 Symlink {
        /// What it says.
        content: Str<'a>,
        /// Path in the container.
        path: Str<'a>,
    }
    /// Makes a device node; one that is there is replaced.
    13 MakeNode {
        /// Path in the container.
        path: Str<'a>,
        /// Type and permissions.
        mode: u32,
        /// Number as in `st_rdev`.
        device: u64,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    }
    /// Hides a path beneath /dev/null or an empty read-only tmpfs; missing ones are ignored.
    14 Mask {
        /// Path in the container.
        path: Str<'a>,
    }
    /// Makes a path read-only; missing ones are ignored.
    15 ReadOnlyPath {
        /// Path in the container.
        path: Str<'a>,
    }
    /// Changes attributes of the root mount.
    16 RootAttributes {
        /// `MOUNT_ATTR_*` set.
        set: u64,
    }
    /// pivot_root(2) and detaching the old root.
    17 Pivot {}
    /// sethostname(2).
    18 Hostname {
        /// The name.
        name: Str<'a>,
    }
    /// setdomainname(2).
    19 Domainname {
        /// The name.
        name: Str<'a>,
    }
    /// Writes a file inside the container's root that must exist (sysctl).
    20 WriteFile {
        /// Path in the container.
        path: Str<'a>,
        /// What is written, in one write.
        content: Bytes<'a>,
        /// Failure is no error.
        optional: bool,
    }
    /// prlimit64(2) on itself.
    21 Limit {
        /// `RLIMIT_*`.
        resource: u32,
        /// Soft.
        soft: u64,
        /// Hard.
        hard: u64,
    }
    /// New session, terminal or pipes become descriptors 0, 1, 2.
    22 Stdio {
        /// Also show the terminal as /dev/console.
        console: bool,
    }
    /// Finds user, groups and home in the container's /etc/passwd and /etc/group.
    23 User {
        /// `user[:group]`, empty = 0.
        user: Str<'a>,
        /// More groups, names or numbers.
        groups: Strings<'a>,
        /// Set HOME when the environment lacks it.
        home: bool,
    }
    /// chdir(2); made when missing.
    24 Chdir {
        /// Absolute path in the container.
        path: Str<'a>,
        /// Make it first.
        create: bool,
    }
    /// Drops capabilities from the bounding set.
    25 Bounding {
        /// What stays.
        keep: u64,
    }
    /// Becomes the user found by `User`, keeping capabilities.
    26 SwitchUser {
        /// Supplementary groups can be set (not with a single id).
        groups: bool,
    }
    /// capset(2) and the ambient set.
    27 Capabilities {
        /// Effective.
        effective: u64,
        /// Permitted.
        permitted: u64,
        /// Inheritable.
        inheritable: u64,
        /// Ambient.
        ambient: u64,
    }
    /// prctl(PR_SET_NO_NEW_PRIVS).
    28 NoNewPrivileges {}
    /// seccomp(2).
    29 Seccomp {
        /// An array of `struct sock_filter`.
        filter: Bytes<'a>,
    }
    /// Dies with the shim from here on.
    30 DeathSignal {}
    /// prctl(PR_SET_DUMPABLE, 0) until execve: nobody in the container looks into us.
    31 Undumpable {}
    /// Forks: this process stays as an init that reaps and forwards signals, the child goes on.
    32 Init {}
    /// execve(2), trying the paths in order.
    33 Exec {
        /// Absolute paths, or paths relative to the working directory.
        paths: Strings<'a>,
        /// argv.
        args: Strings<'a>,
        /// envp.
        env: Strings<'a>,
    }
    /// Binds a host file over a device path, where nodes cannot be made (user namespace).
    34 BindNode {
        /// Slot that holds the device.
        slot: u32,
        /// Path in the container.
        path: Str<'a>,
    }
    /// setxattr-free label for the next execve: writes to /proc/self/attr/….
    36 ExecLabel {
        /// `apparmor/exec` or `exec`.
        file: Str<'a>,
        /// What is written.
        label: Str<'a>,
    }
}
}
