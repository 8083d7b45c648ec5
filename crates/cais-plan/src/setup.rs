//! What the shim itself needs to know before the first step.

use core::ffi::CStr;

use crate::field::{Bytes, Decode, PlanError, Reader, Strings};
use crate::words::words;
#[cfg(feature = "writer")]
use crate::writer::{Encode, Sink};

words! {
/// What the shim itself needs: how to clone, what to watch, where to write. Absent descriptors are -1.
struct Setup {
    /// Whether it monitors, becomes the container's first process, or only clones it: see [`role`].
    role: u32,
    /// Roles other than the monitor's: SEQPACKET socket to the runtime, see [`crate::wire`].
    sync_fd: i32,
    /// Roles other than the monitor's: listening SEQPACKET socket on which the start is awaited, or -1.
    start_fd: i32,
    /// Roles other than the monitor's: socket that gets the terminal's master, or -1.
    console_fd: i32,
    /// Roles other than the monitor's: how many descriptors from 3 on the command keeps.
    preserve: u32,
    /// How many of the first steps are carried out before the clone: by the shim itself, or, for a monitor, by a process
    /// in between that ends with the clone.
    outer: u32,
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
    /// The lock of the run, or -1; held by being open.
    lock_fd: i32,
    /// Listening control socket, or -1.
    listen_fd: i32,
    /// Log file opened for appending, or -1.
    log_fd: i32,
    /// The log is full with so many bytes: it is renamed in its directory, [`Setup::exit_dir_fd`]; 0 = never.
    log_max_bytes: u64,
    /// Files of the log that are kept, the one that is written included.
    log_files: u32,
    /// Directory of the log and its name in there, where it does not lie beside the exit record; -1 = it does.
    log_dir_fd: i32,
    /// See [`Setup::log_dir_fd`].
    log_name: Bytes<'a>,
    /// Full files are compressed, by [`crate::errand::COMPRESS`].
    log_compress: bool,
    /// The log is written as docker's `json-file` does; else in Kubernetes' format.
    log_json: bool,
    /// `,"attrs":{…}` of every line of JSON, or empty.
    log_attrs: Bytes<'a>,
    /// What every entry begins with when `log_fd` is a socket of the journal; empty = it is a file.
    log_journal: Bytes<'a>,
    /// Directory that gets the exit record, or -1.
    exit_dir_fd: i32,
    /// File whose line `oom_kill N` counts kills for memory, or -1.
    oom_fd: i32,
    /// A poll of it tells of a kill (cgroup v2).
    oom_polls: bool,
    /// `cgroup.event_control` of its group (cgroup v1), by which the shim is told of a kill, or -1.
    oom_control_fd: i32,
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
    /// The main program, its first arguments and at last the container's id; one of [`crate::errand`]'s words goes before
    /// the id. Empty = there is nobody to call.
    program: Strings<'a>,
    /// Environment of the main program.
    environment: Strings<'a>,
    /// After the end the main program says whether there is another run, and when: the starter does not clean up, and the
    /// monitor stays until it knows.
    stays: bool,
    /// Time from one probe of the container's health to the next, 0 = there are no probes.
    probe_ms: u64,
    /// The same until the first probe that succeeds.
    first_probe_ms: u64,
    /// How long the command may run, 0 = for ever.
    run_ms: u64,
    /// The command is one that makes the container's first process as the monitor's own child, writes its pid to the file
    /// [`RESTORED`] in this directory and ends (CRIU's restore), or -1.
    restored_fd: i32,
}
}

impl Setup<'_> {
    /// A monitor without any descriptor: what others are written as a difference to.
    pub const NONE: Setup<'static> = Setup {
        role: role::MONITOR,
        sync_fd: -1,
        start_fd: -1,
        console_fd: -1,
        preserve: 0,
        outer: 0,
        clone_flags: 0,
        cgroup_fd: -1,
        join_pid_fd: -1,
        join_flags: 0,
        owner_fd: -1,
        lock_fd: -1,
        listen_fd: -1,
        log_fd: -1,
        log_max_bytes: 0,
        log_files: 1,
        log_dir_fd: -1,
        log_name: Bytes(&[]),
        log_compress: false,
        log_json: false,
        log_attrs: Bytes(&[]),
        log_journal: Bytes(&[]),
        exit_dir_fd: -1,
        oom_fd: -1,
        oom_polls: false,
        oom_control_fd: -1,
        tty: false,
        stdin: false,
        attached: false,
        stdin_once: false,
        rows: 0,
        cols: 0,
        program: Strings(&[]),
        environment: Strings(&[]),
        stays: false,
        probe_ms: 0,
        first_probe_ms: 0,
        run_ms: 0,
        restored_fd: -1,
    };
}

/// File with the pid of a process that was restored, see [`Setup::restored_fd`].
pub const RESTORED: &CStr = c"restored";

/// What the shim is to be, [`Setup::role`].
pub mod role {
    /// Clones the container's first process and stays as its monitor.
    pub const MONITOR: u32 = 0;
    /// Is the container's first process already: carries out the steps itself.
    pub const FIRST: u32 = 1;
    /// Clones the first process as its own sibling (`CLONE_PARENT`), tells its pid and ends.
    pub const PARENT: u32 = 2;
}
