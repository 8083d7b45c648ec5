//! The steps of the plan: what the container's first process does, in order.
//!
//! Each step is (nearly) one kernel request. Paths named `target` or `path` are resolved inside the container's root
//! and never leave it; paths named `source`, `upper`, `work`, `lowers`, `at` are the host's. Flags are the kernel's
//! own numbers. File descriptors are numbers that the engine placed in the shim.

use crate::field::{Bytes, Decode, PlanError, Reader, Str, Strings};
use crate::words::words;
#[cfg(feature = "writer")]
use crate::writer::{Encode, Sink};

words! {
/// One request to the kernel by the container's first process.
enum Step {
    /// Moves itself into a cgroup: writes `0` to the open `tasks` or `cgroup.procs` file.
    1 JoinCgroup { /** The open file. */ fd: i32, }
    /// unshare(2).
    2 Unshare { /** `CLONE_NEW*`. */ flags: u64, }
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
        /// Where it is kept, 0–511; what was kept there is dropped.
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
        /// SELinux label of all that is in it, empty = as labelled.
        context: Str<'a>,
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
    /// Makes a device node; the same one that is there stays, another is replaced, and what is mounted there is left.
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
    14 Mask { /** Path in the container. */ path: Str<'a>, }
    /// Makes a path read-only; missing ones are ignored.
    15 ReadOnlyPath { /** Path in the container. */ path: Str<'a>, }
    /// Changes attributes of the root mount.
    16 RootAttributes { /** `MOUNT_ATTR_*` set. */ set: u64, }
    /// pivot_root(2) and detaching the old root.
    17 Pivot {}
    /// sethostname(2).
    18 Hostname { /** The name. */ name: Str<'a>, }
    /// setdomainname(2).
    19 Domainname { /** The name. */ name: Str<'a>, }
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
    22 Stdio { /** Also show the terminal as /dev/console. */ console: bool, }
    /// Finds user, groups and home in the container's /etc/passwd and /etc/group.
    23 User {
        /// `user[:group]`, empty = 0.
        user: Str<'a>,
        /// More groups, names or numbers.
        groups: Strings<'a>,
        /// Set HOME when the environment lacks it.
        home: bool,
    }
    /// chdir(2). Under a runtime, what root may not enter is tried again after the next `SwitchUser`.
    24 Chdir {
        /// Absolute path in the container.
        path: Str<'a>,
        /// Make it first.
        create: bool,
    }
    /// Drops capabilities from the bounding set.
    25 Bounding { /** What stays. */ keep: u64, }
    /// Becomes the user found by `User`, keeping capabilities.
    26 SwitchUser { /** Supplementary groups can be set (not with a single id). */ groups: bool, }
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
    /// Tells the runtime that a point is reached and waits for its go; what comes with the go is kept for hooks.
    37 Sync { /** Which point, [`crate::wire::sync`]. */ word: u32, }
    /// Runs a program with the kept text on its standard input and waits for it. What it says is told when it fails.
    /// Its working directory is the container's root as long as that is not entered.
    38 Hook {
        /// Absolute path in the current mount namespace.
        path: Str<'a>,
        /// argv.
        args: Strings<'a>,
        /// envp; the word `HOME` becomes the variable with the user's home directory.
        env: Strings<'a>,
        /// It is killed after that, 0 = never.
        timeout_ms: u64,
        /// Filter of system calls that it runs under, as in `SeccompFilter`; empty = none.
        filter: Bytes<'a>,
        /// `SECCOMP_FILTER_FLAG_*`.
        filter_flags: u32,
        /// The filter has a listener.
        listener: bool,
    }
    /// Closes everything but the listener and waits for the start: from here on the starter's connection is told.
    39 WaitStart {}
    /// Looks for the command as the user that it will run as; `Exec` then takes what was found.
    40 FindExecutable { /** Absolute paths, or paths relative to the working directory. */ paths: Strings<'a>, }
    /// Sets the identity that `SwitchUser` becomes, by numbers.
    41 Ids {
        /// User.
        uid: u32,
        /// Group.
        gid: u32,
        /// More groups: an array of u32.
        groups: Bytes<'a>,
        /// Set HOME from the container's /etc/passwd when the environment lacks it.
        home: bool,
    }
    /// The command's and the following hooks' umask; without it they have the caller's. Until then it is 0.
    42 Umask { /** Permissions taken away. */ mode: u32, }
    /// setsid(2).
    43 NewSession {}
    /// Propagation of the mount that is `/` at this moment.
    44 Propagate { /** `MS_*`, with `MS_REC`. */ flags: u64, }
    /// Mounts a new file system, with everything that the runtime specification can say of one. A tmpfs without
    /// `mode=` takes the mode of a directory that it covers.
    45 Filesystem {
        /// Type.
        fstype: Str<'a>,
        /// Shown as source, or the device.
        source: Str<'a>,
        /// Path in the container, made when missing.
        target: Str<'a>,
        /// `MOUNT_ATTR_*`.
        attributes: u64,
        /// `key=value` and flags.
        options: Strings<'a>,
        /// `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED`, `MS_UNBINDABLE`, 0 = leave.
        propagation: u64,
        /// User namespace that maps the owners, or -1.
        userns_fd: i32,
        /// What the target directory held is copied into it (tmpfs).
        copy_up: bool,
        /// Failure is no error.
        optional: bool,
    }
    /// Attaches the tree of a slot, with everything that the runtime specification can say of a bind mount. The target
    /// is made as what the tree's root is, a directory or a file.
    46 Bind {
        /// Which slot.
        slot: u32,
        /// Path in the container, made when missing.
        target: Str<'a>,
        /// `MOUNT_ATTR_*` set on the root of the tree.
        set: u64,
        /// `MOUNT_ATTR_*` cleared there.
        clear: u64,
        /// `MOUNT_ATTR_*` set on all of the tree.
        recursive_set: u64,
        /// `MOUNT_ATTR_*` cleared on all of the tree.
        recursive_clear: u64,
        /// `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED`, `MS_UNBINDABLE`, 0 = leave; with `MS_REC` for all of the tree.
        propagation: u64,
        /// User namespace that maps the owners, or -1.
        userns_fd: i32,
        /// Maps all of the tree.
        recursive_map: bool,
    }
    /// Changes attributes of what is mounted at a path.
    47 Remount {
        /// Path in the container.
        target: Str<'a>,
        /// `MOUNT_ATTR_*` set.
        set: u64,
        /// `MOUNT_ATTR_*` cleared.
        clear: u64,
        /// Of all mounts beneath, too.
        recursive: bool,
    }
    /// Opens procfs for our own use, detached, before anything of the container can stand in front of it.
    48 ProcHandle {}
    /// Writes a file of that procfs, in one write.
    49 WriteProc {
        /// Path below /proc, as `self/oom_score_adj`.
        file: Str<'a>,
        /// What is written.
        content: Bytes<'a>,
        /// Failure is no error.
        optional: bool,
    }
    /// personality(2).
    50 Personality { /** `PER_*` and flags. */ persona: u64, }
    /// sched_setattr(2).
    51 Scheduler { /** `struct sched_attr`. */ attributes: Bytes<'a>, }
    /// ioprio_set(2) on itself.
    52 IoPriority { /** Class and level, as the call wants them. */ value: u32, }
    /// sched_setaffinity(2).
    53 Affinity {
        /// Bit mask of CPUs, an array of u64; empty = all that the control group allows, as far as may be.
        mask: Bytes<'a>,
    }
    /// set_mempolicy(2).
    54 MemoryPolicy {
        /// `MPOL_*` with flags.
        mode: u32,
        /// Bit mask of nodes, an array of u64; empty = none.
        nodes: Bytes<'a>,
    }
    /// Joins a new session keyring.
    55 Keyring { /** Its name. */ name: Str<'a>, }
    /// Begins a Landlock ruleset.
    56 Landlock {
        /// `LANDLOCK_ACCESS_FS_*` that are handled.
        files: u64,
        /// `LANDLOCK_ACCESS_NET_*` that are handled.
        network: u64,
        /// `LANDLOCK_SCOPE_*`.
        scoped: u64,
    }
    /// Allows access beneath a path.
    57 LandlockPath {
        /// Path in the container.
        path: Str<'a>,
        /// `LANDLOCK_ACCESS_FS_*`.
        access: u64,
        /// A missing path is no error.
        optional: bool,
    }
    /// Allows a TCP port.
    58 LandlockPort {
        /// Port.
        port: u64,
        /// `LANDLOCK_ACCESS_NET_*`.
        access: u64,
    }
    /// Enforces the ruleset; needs no_new_privs or CAP_SYS_ADMIN.
    59 LandlockEnforce {}
    /// Moves the root over `/` and changes into it, where pivot_root(2) cannot be used (a ramfs).
    60 MoveRoot {}
    /// seccomp(2) with flags; a listener goes to whoever waits for us. Everything of ours is closed before, so that only
    /// capset(2) and execve(2) come after it.
    61 SeccompFilter {
        /// An array of `struct sock_filter`.
        filter: Bytes<'a>,
        /// `SECCOMP_FILTER_FLAG_*`.
        flags: u32,
        /// The flags ask for a listener: it is sent, and our peer's go awaited.
        listener: bool,
    }
    /// Takes a host directory as the root, mounted over itself with what is mounted beneath.
    62 Rootfs {
        /// The directory.
        path: Str<'a>,
        /// Given first to the mount that the directory lies in: `MS_PRIVATE` or `MS_SLAVE`.
        parent: u64,
        /// Given to the new root: `MS_*`; with `MS_REC` to what is beneath, too.
        propagation: u64,
    }
    /// Makes a device node or pipe; one that is there must be the same, nothing is replaced.
    63 Device {
        /// Path in the container.
        path: Str<'a>,
        /// Type and permissions; the umask does not count.
        mode: u32,
        /// Number as in `st_rdev`.
        device: u64,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    }
    /// Standard streams that are a null device become the one of the container.
    64 ReopenNull {}
    /// Maps the owners of the tree of a slot, before a user namespace is entered that may not.
    65 MapTree {
        /// Which slot.
        slot: u32,
        /// User namespace that maps the owners.
        userns_fd: i32,
        /// Maps all of the tree.
        recursive: bool,
    }
    /// Takes a directory as the root without mounting anything, for a container without a mount namespace.
    66 OpenRoot { /** The directory. */ path: Str<'a>, }
    /// chroot(2) into the root, for a container without a mount namespace.
    67 Chroot {}
    /// Changes options of the file system that is mounted on a target; what is not named stays.
    68 Reconfigure {
        /// Path in the container.
        target: Str<'a>,
        /// `key=value` and flags.
        options: Strings<'a>,
    }
    /// Puts a tree that somebody else has opened into a numbered slot.
    69 TakeTree {
        /// The tree.
        fd: i32,
        /// As of `OpenTree`.
        slot: u32,
    }
    /// Executes nothing: stays as an init that reaps, until it is asked to end.
    70 Stay {}
    /// Mounts a host directory over itself, alone, with mapped owners.
    71 MapDirectory {
        /// The directory.
        path: Str<'a>,
        /// User namespace that maps the owners.
        userns_fd: i32,
    }
    /// Makes the root the working directory, which a new mount namespace takes along.
    72 StandInRoot {}
    /// As `OpenTree`, of what is at a path of a host directory; links lead nowhere else.
    73 OpenBeneath {
        /// Host path of the directory.
        source: Str<'a>,
        /// Path in it.
        subpath: Str<'a>,
        /// As of `OpenTree`.
        slot: u32,
    }
    /// Leaves a descriptor open for the command, at the first number from 3 on that it does not have yet.
    74 Keep { /** The descriptor. */ fd: i32, }
    /// Adds to a file inside the container's root; one that is missing stays so.
    75 AppendFile {
        /// Path in the container.
        path: Str<'a>,
        /// What is added.
        content: Bytes<'a>,
    }
}
}
