//! The durable description of a container: what was asked ([`ContainerRequest`]) and what was made of it
//! ([`ContainerRecord`]).
//!
//! A record is written once by `create` and rewritten only by verbs that change the container's definition.
//! What happens at run time is never in it: the shim writes the exit record, the run directory tells the rest
//! (see [`crate::run_state`]). Lists are never null; an absent limit is `None`, "unlimited" is -1 as in Docker.

mod launch;
mod lifecycle;
mod mount;
mod network;
mod pod;
mod security;
mod service;
mod users;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use cais_oci::{Digest, Healthcheck};
use serde::{Deserialize, Serialize};

pub use launch::{
    DeviceLimitKind, DeviceLimitRequest, HostsBase, ImageVolumes, IpcRequest, NamespaceRequest,
    NamespaceSource,
};
pub use lifecycle::*;
pub use mount::OverlayRequest;
pub use network::*;
pub use pod::*;
pub use security::{LabelRequest, SeccompRequest, SecurityRequest};
pub use service::*;
pub use users::*;

/// What a door asks for: the one request type of `run` and `create`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerRequest {
    /// Name without leading slash; `None` makes the engine choose one.
    pub name: Option<String>,
    /// Image as typed; empty when `rootfs` is given.
    pub image: String,
    /// A plain directory to run instead of an image (`--rootfs`).
    pub rootfs: Option<PathBuf>,
    /// Arguments after the image; replace the image's `Cmd` when not empty.
    pub command: Vec<String>,
    /// Replaces the image's `Entrypoint`; `Some(vec![])` clears it.
    pub entrypoint: Option<Vec<String>>,
    /// `KEY=VALUE`, already expanded by the door; overrides the image's.
    pub env: Vec<String>,
    /// Working directory; created when missing.
    pub workdir: Option<String>,
    /// `user[:group]`, names or numbers, resolved inside the container.
    pub user: Option<String>,
    /// Supplementary groups, names or numbers.
    pub group_add: Vec<String>,
    /// Host name; `None` means the short id.
    pub hostname: Option<String>,
    /// NIS domain name.
    pub domainname: Option<String>,
    /// Labels in order of keys.
    pub labels: BTreeMap<String, String>,
    /// Allocate a pseudo terminal.
    pub tty: bool,
    /// Keep standard input open.
    pub interactive: bool,
    /// Volumes, binds and tmpfs in the order given.
    pub mounts: Vec<MountRequest>,
    /// Mount the root file system read-only.
    pub read_only: bool,
    /// Size of `/dev/shm`; `None` means 64 MiB.
    pub shm_size_bytes: Option<u64>,
    /// Capabilities added to the default set; names with or without `CAP_`, or `ALL`.
    pub cap_add: Vec<String>,
    /// Capabilities taken from the default set, or `ALL`.
    pub cap_drop: Vec<String>,
    /// All capabilities and devices, no seccomp, nothing masked.
    pub privileged: bool,
    /// `/dev/x[:/dev/y[:rwm]]`.
    pub devices: Vec<String>,
    /// `c 10:* rwm`.
    pub device_cgroup_rules: Vec<String>,
    /// seccomp, AppArmor, SELinux, no_new_privs, masked paths.
    pub security: SecurityRequest,
    /// Resource limits of processes.
    pub ulimits: Vec<Ulimit>,
    /// Kernel parameters of the container's namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Limits by cgroup.
    pub resources: ResourceRequest,
    /// Where the network comes from.
    pub network: NetworkRequest,
    /// Ports published on the host (`-p`).
    pub publish: Vec<PortRequest>,
    /// Publish every exposed port (`-P`).
    pub publish_all: bool,
    /// Ports exposed beside the image's (`--expose`), as `port/protocol`.
    pub expose: Vec<String>,
    /// Name servers; empty means the host's.
    pub dns: Vec<IpAddr>,
    /// Search domains; empty means the host's.
    pub dns_search: Vec<String>,
    /// Resolver options; empty means the host's.
    pub dns_options: Vec<String>,
    /// `name:address`, address may be `host-gateway`.
    pub add_hosts: Vec<(String, String)>,
    /// Signal sent by `stop`; `None` means the image's or SIGTERM.
    pub stop_signal: Option<String>,
    /// Seconds between `stop`'s signal and SIGKILL; -1 waits for ever.
    pub stop_timeout_secs: Option<i64>,
    /// Seconds after which a run is killed.
    pub run_limit_secs: Option<u64>,
    /// Run an init as PID 1 that reaps and forwards signals.
    pub init: bool,
    /// Where the output is kept.
    pub log: LogDriver,
    /// How much of it (`--log-opt`).
    pub log_options: LogOptions,
    /// Remove the container when it ends.
    pub auto_remove: bool,
    /// Then remove its image, too, if nothing else uses it.
    pub remove_image: bool,
    /// Whether it runs again when it has ended.
    pub restart: RestartPolicy,
    /// How its health is probed; what is not said is the image's.
    pub health: HealthRequest,
    /// `os/arch[/variant]`.
    pub platform: Option<String>,
    /// When to pull.
    pub pull: PullPolicy,
    /// Also write the id here (`--cidfile`).
    pub cidfile: Option<PathBuf>,
    /// Keep stdout/stderr/stdin attached (false: detached).
    pub detach: bool,
    /// A container that has the name goes first; of this call, not of the container.
    #[serde(skip)]
    pub replace: bool,
    /// Namespaces that are not the container's own.
    pub namespaces: NamespaceRequest,
    /// Containers that are started before it, by name or id.
    pub requires: Vec<String>,
    /// The pod that it is in, by name or id.
    pub pod: Option<String>,
    /// Annotations in order of keys; kept, shown, and without effect.
    pub annotations: BTreeMap<String, String>,
    /// The image's variables do not count (`--unsetenv-all`).
    pub ignore_image_env: bool,
    /// `KEY=VALUE` in which `$NAME` and `${NAME}` stand for variables of the image (`--env-merge`).
    pub env_merge: Vec<String>,
    /// What becomes of the image's volumes.
    pub image_volumes: ImageVolumes,
    /// Containers whose mounts are shared: `container[:ro|rw]`.
    pub volumes_from: Vec<String>,
    /// The image's /etc/hosts stays.
    pub no_hosts: bool,
    /// What is added to the container's /etc/hosts.
    pub hosts_base: HostsBase,
    /// The image's /etc/hostname stays.
    pub no_hostname: bool,
    /// Permissions that new files do not get; `None` is 022.
    pub umask: Option<u32>,
    /// `PER_*` and flags of personality(2).
    pub personality: Option<u64>,
    /// Also write the process id, as the host sees it, here (`--pidfile`).
    pub pidfile: Option<PathBuf>,
    /// Of the container's end on the bridge, six bytes in hexadecimal; `None` derives it from the address.
    pub mac_address: Option<String>,
    /// Whose ids it has, and who is known in it.
    pub users: UserRequest,
    /// How it fits into the machine's control groups and services.
    pub service: ServiceRequest,
    /// Rows and columns of the caller's terminal; of this call, not of the container.
    #[serde(skip)]
    pub terminal_size: Option<(u16, u16)>,
}

/// When an image is fetched for `run` and `create`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PullPolicy {
    /// Only when it is not here.
    #[default]
    Missing,
    /// Every time.
    Always,
    /// Not at all.
    Never,
}

/// One `-v`, `--mount` or `--tmpfs`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MountRequest {
    /// What it is a mount of.
    pub kind: MountKind,
    /// Host path (bind), volume name (volume; empty = anonymous), image as typed (image), unused (the others).
    pub source: String,
    /// Of a volume or image only what is at this path.
    pub subpath: Option<String>,
    /// Changes go elsewhere: what is mounted stays as it is.
    pub overlay: Option<OverlayRequest>,
    /// Read-only, but not what is mounted beneath.
    pub writable_beneath: bool,
    /// Of the volume, when it is made.
    pub volume_labels: BTreeMap<String, String>,
    /// Of the volume's driver, when it is made.
    pub volume_options: BTreeMap<String, String>,
    /// Absolute path in the container.
    pub target: String,
    /// Read-only.
    pub read_only: bool,
    /// Bind propagation: `rprivate` (default), `private`, `rshared`, `shared`, `rslave`, `slave`.
    pub propagation: Option<String>,
    /// Bind without submounts (`bind-nonrecursive`).
    pub non_recursive: bool,
    /// `-v` creates a missing host directory, `--mount` refuses it.
    pub create_source: bool,
    /// Volume: do not copy the image's content up (`nocopy`).
    pub no_copy: bool,
    /// tmpfs size; `None` = kernel default.
    pub tmpfs_size_bytes: Option<u64>,
    /// tmpfs mode, octal as a number; `None` = 01777.
    pub tmpfs_mode: Option<u32>,
    /// Owners of a bind or volume.
    #[serde(skip_serializing_if = "OwnersRequest::is_default")]
    pub owners: OwnersRequest,
    /// Further mount flags for tmpfs: `exec`, `noexec`, `suid`, `nosuid`, `dev`, `nodev`, `noatime`, …
    pub options: Vec<String>,
}

/// What is mounted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountKind {
    /// A named or anonymous volume.
    #[default]
    Volume,
    /// A host path.
    Bind,
    /// A tmpfs.
    Tmpfs,
    /// The files of an image.
    Image,
    /// A ramfs.
    Ramfs,
    /// Terminals of its own.
    Devpts,
}

impl MountKind {
    /// Files of the host, at a path.
    #[must_use]
    pub fn is_of_host(self) -> bool {
        matches!(self, MountKind::Volume | MountKind::Bind)
    }
}

/// `--ulimit name=soft[:hard]`; -1 is unlimited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// `nofile`, `nproc`, …
    pub name: String,
    /// Soft limit.
    pub soft: i64,
    /// Hard limit.
    pub hard: i64,
}

/// Limits by cgroup, in Docker's units.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourceRequest {
    /// Bytes.
    pub memory_bytes: Option<i64>,
    /// Soft limit in bytes.
    pub memory_reservation_bytes: Option<i64>,
    /// Memory plus swap in bytes; -1 unlimited.
    pub memory_swap_bytes: Option<i64>,
    /// 0–100.
    pub memory_swappiness: Option<u64>,
    /// Billionths of a CPU (`--cpus 1.5` = 1 500 000 000).
    pub nano_cpus: Option<u64>,
    /// Relative weight, 1024 is the default.
    pub cpu_shares: Option<u64>,
    /// Microseconds per period.
    pub cpu_quota_us: Option<i64>,
    /// Microseconds.
    pub cpu_period_us: Option<u64>,
    /// `0-2,4`.
    pub cpuset_cpus: Option<String>,
    /// NUMA nodes, `0,1`.
    pub cpuset_mems: Option<String>,
    /// Processes; -1 unlimited.
    pub pids_limit: Option<i64>,
    /// 10–1000.
    pub blkio_weight: Option<u16>,
    /// Do not kill on out of memory (v1 only).
    pub oom_kill_disable: bool,
    /// -1000–1000.
    pub oom_score_adj: Option<i32>,
    /// Limits of single block devices.
    pub device_limits: Vec<DeviceLimitRequest>,
    /// Microseconds (v1 only).
    pub cpu_rt_period_us: Option<u64>,
    /// Microseconds (v1 only).
    pub cpu_rt_runtime_us: Option<i64>,
    /// Files of cgroup v2 and what is written to them.
    pub unified: BTreeMap<String, String>,
}

/// The durable description of a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// 64 lower-case hex digits.
    pub id: String,
    /// Unique name.
    pub name: String,
    /// RFC 3339 with nanoseconds, UTC.
    pub created: String,
    /// What was asked, as asked.
    pub request: ContainerRequest,
    /// Image id (config digest); `None` with `--rootfs`.
    pub image_id: Option<Digest>,
    /// What `ps` shows as image.
    pub image_name: String,
    /// Diff ids of the lower layers, bottom first.
    pub layers: Vec<Digest>,
    /// What runs: entrypoint plus command.
    pub args: Vec<String>,
    /// Effective entrypoint (may be empty) and command, apart, for `inspect`.
    pub entrypoint: Vec<String>,
    /// Effective command.
    pub cmd: Vec<String>,
    /// Effective environment.
    pub env: Vec<String>,
    /// Effective working directory, absolute.
    pub workdir: String,
    /// Effective user, may be empty (root).
    pub user: String,
    /// Effective labels: image's and request's.
    pub labels: BTreeMap<String, String>,
    /// Effective stop signal number.
    pub stop_signal: i32,
    /// The same as the request or the image spells it; `None` when neither says anything.
    #[serde(default)]
    pub stop_signal_given: Option<String>,
    /// Mounts with volumes resolved to names and host paths.
    pub mounts: Vec<MountRecord>,
    /// Exposed ports of image and request, `port/protocol`.
    pub exposed: Vec<String>,
    /// Effective mode: never `Default`.
    pub network: NetworkRequest,
    /// Effective host name.
    pub hostname: String,
    /// How its health is probed: image's and request's; `None` when it is not.
    #[serde(default)]
    pub health: Option<Healthcheck>,
    /// Namespaces that are not its own, those of its pod included; containers are named by id.
    #[serde(default)]
    pub namespaces: NamespaceRequest,
    /// Ids of the containers that are started before it.
    #[serde(default)]
    pub requires: Vec<String>,
    /// Id of its pod.
    #[serde(default)]
    pub pod: Option<String>,
    /// It holds the namespaces of its pod and executes nothing.
    #[serde(default)]
    pub infra: bool,
    /// The image's shell for commands that are one line; empty is `/bin/sh -c`.
    #[serde(default)]
    pub shell: Vec<String>,
    /// Ids of its user namespace; `None` when it has the engine's.
    #[serde(default)]
    pub user_maps: Option<UserMaps>,
}

impl ContainerRecord {
    /// Its end need not be the last word: a policy or its health may ask for another run.
    #[must_use]
    pub fn may_run_again(&self) -> bool {
        let request = &self.request.health;
        let restarts = request.on_failure == HealthAction::Restart || request.startup.check.retries > 0;
        (self.health.is_some() && restarts) || self.request.restart != RestartPolicy::No
    }

    /// Ids of the containers whose namespaces it shares, each once: they run before it does.
    #[must_use]
    pub fn shares_with(&self) -> Vec<&str> {
        let network = match &self.network {
            NetworkRequest::Container(id) => Some(id.as_str()),
            _ => None,
        };
        let NamespaceRequest { pid, ipc, uts, .. } = &self.namespaces;
        let mut ids: Vec<&str> =
            [network, pid.container(), ipc.container(), uts.container()].into_iter().flatten().collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Ids of the containers that are to run before it.
    #[must_use]
    pub fn depends_on(&self) -> Vec<String> {
        let mut ids: Vec<String> = self.shares_with().into_iter().map(str::to_owned).collect();
        ids.extend(self.requires.iter().filter(|id| !self.shares_with().contains(&id.as_str())).cloned());
        ids
    }
}

/// A mount of a record.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MountRecord {
    /// As asked.
    #[serde(flatten)]
    pub request: MountRequest,
    /// Volume name; empty unless a volume.
    pub volume: String,
    /// Host path of a volume's data or of the bind; empty for tmpfs.
    pub host_path: PathBuf,
    /// Made for this container alone; removed by `rm -v` and `--rm`.
    pub anonymous: bool,
    /// Diff ids of an image's layers, bottom first; they stay as long as the container.
    #[serde(default)]
    pub layers: Vec<Digest>,
}

/// Facts of the present run, written by the engine beside the shim's lock; void when nobody holds the lock.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunFacts {
    /// RFC 3339.
    pub started: String,
    /// The shim.
    pub shim_pid: i32,
    /// The container's init as the host sees it.
    pub pid: i32,
    /// Address on the bridge.
    pub ip: Option<Ipv4Addr>,
    /// Gateway of that address.
    pub gateway: Option<Ipv4Addr>,
    /// Prefix length of that address.
    pub prefix: u8,
    /// MAC address, `02:42:…`.
    pub mac: String,
    /// Host end of the veth pair.
    pub host_link: String,
    /// Ports with host ports chosen.
    pub ports: Vec<PublishedPort>,
    /// The run has ended and was taken down; its monitor waits for the time of the next one.
    pub restarting: bool,
    /// It goes on from a checkpoint.
    pub restored: bool,
}
