//! What a door asks of the runtime.

use std::path::PathBuf;

use cais_oci::runtime::Process;

/// What all operations of a runtime have in common.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Directory of all containers' states, absolute; made when missing.
    pub root: PathBuf,
    /// systemd makes the control groups.
    pub systemd_cgroup: bool,
    /// Lacking rights to control groups are forgiven; `None` looks at the caller.
    pub rootless: Option<bool>,
    /// Socket of the user's bus, for systemd.
    pub user_bus: Option<PathBuf>,
    /// The program criu; `None` when it is not installed.
    pub criu: Option<PathBuf>,
    /// Containers stay in their caller's control group.
    pub cgroup_disabled: bool,
}

/// A new container.
#[derive(Clone, Debug, Default)]
pub struct CreateRequest {
    /// Its name.
    pub id: String,
    /// Directory of the bundle.
    pub bundle: PathBuf,
    /// File read instead of `config.json`, relative to the bundle.
    pub config: Option<PathBuf>,
    /// Gets the first process's number before the operation returns.
    pub pid_file: Option<PathBuf>,
    /// Socket that gets the terminal.
    pub console_socket: Option<PathBuf>,
    /// Socket that gets a pidfd of the first process.
    pub pidfd_socket: Option<PathBuf>,
    /// Move the root instead of pivot_root(2).
    pub no_pivot: bool,
    /// Keep the session keyring of the caller.
    pub no_new_keyring: bool,
    /// How many descriptors after the listening ones the command keeps.
    pub preserve_fds: u32,
    /// How many sockets from 3 on the caller passes (`LISTEN_FDS`, sd_listen_fds(3)).
    pub listen_fds: u32,
    /// Where the caller awaits readiness (`NOTIFY_SOCKET`, sd_notify(3)).
    pub notify_socket: Option<PathBuf>,
}

/// A new container that is started at once.
#[derive(Clone, Debug, Default)]
pub struct RunRequest {
    /// The container.
    pub create: CreateRequest,
    /// Return when it runs.
    pub detach: bool,
    /// Do not delete it when it has ended.
    pub keep: bool,
    /// Orphans of the container are not reaped here.
    pub no_subreaper: bool,
}

/// A further process in a container.
#[derive(Clone, Debug, Default)]
pub struct ExecRequest {
    /// The container.
    pub id: String,
    /// The process, complete.
    pub process: Process,
    /// Gets its number before the operation returns.
    pub pid_file: Option<PathBuf>,
    /// Socket that gets the terminal.
    pub console_socket: Option<PathBuf>,
    /// Socket that gets a pidfd of it.
    pub pidfd_socket: Option<PathBuf>,
    /// Return when it runs.
    pub detach: bool,
    /// Also in a frozen container, where it will stand still.
    pub ignore_paused: bool,
    /// Groups within the container's: `path`, or `controller[,controller]:path`.
    pub cgroup: Vec<String>,
    /// How many descriptors from 3 on the command keeps.
    pub preserve_fds: u32,
    /// Keep the session keyring of the caller.
    pub no_new_keyring: bool,
}

/// What `update` changes of resctrl.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IntelRdtUpdate {
    /// `L3:…`
    pub l3_cache_schema: Option<String>,
    /// `MB:…`
    pub mem_bw_schema: Option<String>,
}

/// A container that is frozen into files.
#[derive(Clone, Debug, Default)]
pub struct CheckpointRequest {
    /// The container.
    pub id: String,
    /// Directory that gets the images; made when missing.
    pub image_path: PathBuf,
    /// Directory for logs; the one of the images when `None`.
    pub work_path: Option<PathBuf>,
    /// Directory of an earlier dump, relative to the images.
    pub parent_path: Option<PathBuf>,
    /// The container goes on.
    pub leave_running: bool,
    /// Open TCP connections are kept.
    pub tcp_established: bool,
    /// TCP connections that are being made are left out.
    pub tcp_skip_in_flight: bool,
    /// Removed files that are still open get a name again.
    pub link_remap: bool,
    /// Connections to sockets outside are kept.
    pub ext_unix_sk: bool,
    /// The session belongs to a shell outside.
    pub shell_job: bool,
    /// Memory is fetched when it is needed.
    pub lazy_pages: bool,
    /// Descriptor that gets a NUL when the lazy pages can be fetched.
    pub status_fd: Option<i32>,
    /// Address and port of the server that gets the memory.
    pub page_server: Option<(String, u16)>,
    /// File locks are kept.
    pub file_locks: bool,
    /// Only memory, and the container goes on.
    pub pre_dump: bool,
    /// `soft`, `full`, `strict`, `ignore`.
    pub manage_cgroups_mode: Option<String>,
    /// Namespaces that are made empty: `network`.
    pub empty_ns: Vec<String>,
    /// Images of the parent lose what is dumped again.
    pub auto_dedup: bool,
}

/// A container that is made from files.
#[derive(Clone, Debug, Default)]
pub struct RestoreRequest {
    /// The container.
    pub create: CreateRequest,
    /// Return when it runs.
    pub detach: bool,
    /// Orphans of the container are not reaped here.
    pub no_subreaper: bool,
    /// Directory of the images.
    pub image_path: PathBuf,
    /// Directory for logs; the one of the images when `None`.
    pub work_path: Option<PathBuf>,
    /// Open TCP connections are kept.
    pub tcp_established: bool,
    /// Connections to sockets outside are kept.
    pub ext_unix_sk: bool,
    /// The session belongs to a shell outside.
    pub shell_job: bool,
    /// File locks are kept.
    pub file_locks: bool,
    /// `soft`, `full`, `strict`, `ignore`.
    pub manage_cgroups_mode: Option<String>,
    /// Namespaces that are made empty: `network`.
    pub empty_ns: Vec<String>,
    /// Images lose what is restored.
    pub auto_dedup: bool,
    /// Memory is fetched when it is needed.
    pub lazy_pages: bool,
    /// Label of the processes.
    pub lsm_profile: Option<String>,
    /// Label of the mounts.
    pub lsm_mount_context: Option<String>,
}
