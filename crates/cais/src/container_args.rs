//! Flags that `run` and `create` share, as docker names them.

#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "the comments are help texts: brackets mean optional parts"
)]

use clap::Args;

use crate::health_args::HealthArgs;
use crate::launch_args::LaunchArgs;
use crate::service_args::ServiceArgs;
use crate::user_args::UserArgs;

/// Everything that describes the container.
#[derive(Clone, Debug, Default, PartialEq, Args)]
pub struct ContainerArgs {
    /// Add a custom host-to-IP mapping (host:ip).
    #[arg(long, value_name = "HOST:IP")]
    pub add_host: Vec<String>,
    /// Attach to stdin, stdout or stderr.
    #[arg(short, long, value_name = "STREAM")]
    pub attach: Vec<String>,
    /// Relative block I/O weight, 10 to 1000, 0 for the default.
    #[arg(long, value_name = "WEIGHT")]
    pub blkio_weight: Option<u16>,
    /// Add Linux capabilities.
    #[arg(long, value_name = "CAP")]
    pub cap_add: Vec<String>,
    /// Drop Linux capabilities.
    #[arg(long, value_name = "CAP")]
    pub cap_drop: Vec<String>,
    /// Write the container's id to a file that must not exist.
    #[arg(long, value_name = "FILE")]
    pub cidfile: Option<String>,
    /// Length of a CPU scheduling period in microseconds.
    #[arg(long, value_name = "MICROSECONDS")]
    pub cpu_period: Option<u64>,
    /// CPU time per period in microseconds.
    #[arg(long, value_name = "MICROSECONDS")]
    pub cpu_quota: Option<i64>,
    /// CPU shares (relative weight, 1024 is usual).
    #[arg(short, long, value_name = "SHARES")]
    pub cpu_shares: Option<u64>,
    /// Number of CPUs, such as 1.5.
    #[arg(long, value_name = "NUMBER")]
    pub cpus: Option<String>,
    /// CPUs to use (0-3, 0,1).
    #[arg(long, value_name = "LIST")]
    pub cpuset_cpus: Option<String>,
    /// Memory nodes to use (0-3, 0,1).
    #[arg(long, value_name = "LIST")]
    pub cpuset_mems: Option<String>,
    /// Add a host device (/dev/x[:/dev/y[:rwm]]).
    #[arg(long, value_name = "DEVICE")]
    pub device: Vec<String>,
    /// Add a rule to the list of allowed devices (c 10:* rwm).
    #[arg(long, value_name = "RULE")]
    pub device_cgroup_rule: Vec<String>,
    /// Set name servers.
    #[arg(long, value_name = "IP")]
    pub dns: Vec<String>,
    /// Set options of the resolver.
    #[arg(long, visible_alias = "dns-opt", value_name = "OPTION")]
    pub dns_option: Vec<String>,
    /// Set search domains.
    #[arg(long, value_name = "DOMAIN")]
    pub dns_search: Vec<String>,
    /// NIS domain name.
    #[arg(long, value_name = "NAME")]
    pub domainname: Option<String>,
    /// Replace the image's entrypoint; empty clears it.
    #[arg(long, value_name = "COMMAND")]
    pub entrypoint: Option<String>,
    /// Set an environment variable (NAME=VALUE), or pass the caller's (NAME).
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub env: Vec<String>,
    /// Read environment variables from a file.
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<String>,
    /// Expose a port or a range of ports.
    #[arg(long, value_name = "PORT[/PROTOCOL]")]
    pub expose: Vec<String>,
    /// Add supplementary groups.
    #[arg(long, value_name = "GROUP")]
    pub group_add: Vec<String>,
    #[command(flatten)]
    pub health: HealthArgs,
    /// Host name of the container.
    #[arg(short = 'h', long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// Run an init as PID 1 that forwards signals and reaps processes.
    #[arg(long)]
    pub init: bool,
    /// Keep stdin open.
    #[arg(short, long)]
    pub interactive: bool,
    /// Set a label.
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    pub label: Vec<String>,
    /// Read labels from a file.
    #[arg(long, value_name = "FILE")]
    pub label_file: Vec<String>,
    /// Where the output is kept: json-file (the default), k8s-file (local means it, too), journald or none.
    #[arg(long, value_name = "DRIVER")]
    pub log_driver: Option<String>,
    /// Option of the log driver (max-size=20m, max-file=5, compress=true, path=FILE, labels=A,B, env=C, tag=TEXT).
    #[arg(long, value_name = "NAME=VALUE")]
    pub log_opt: Vec<String>,
    /// Limit of memory (512m, 2g).
    #[arg(short, long, value_name = "BYTES")]
    pub memory: Option<String>,
    /// Soft limit of memory.
    #[arg(long, value_name = "BYTES")]
    pub memory_reservation: Option<String>,
    /// Limit of memory plus swap; -1 for unlimited swap.
    #[arg(long, value_name = "BYTES")]
    pub memory_swap: Option<String>,
    /// How eagerly memory is swapped, 0 to 100; -1 for the default.
    #[arg(long, value_name = "PERCENT")]
    pub memory_swappiness: Option<i64>,
    /// Mount a volume, a host path or a tmpfs (type=bind,src=/a,dst=/b,ro).
    #[arg(long, value_name = "MOUNT")]
    pub mount: Vec<String>,
    /// Name of the container.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Network: bridge, none, host, container:ID, pasta.
    #[arg(long, alias = "net", value_name = "NETWORK")]
    pub network: Vec<String>,
    /// Do not kill processes when memory runs out (cgroup v1 only).
    #[arg(long)]
    pub oom_kill_disable: bool,
    /// Preference for being killed when memory runs out, -1000 to 1000.
    #[arg(long, value_name = "NUMBER")]
    pub oom_score_adj: Option<i32>,
    /// Limit of processes; -1 for unlimited.
    #[arg(long, value_name = "NUMBER")]
    pub pids_limit: Option<i64>,
    /// Platform of the image (os/arch[/variant]).
    #[arg(long, value_name = "PLATFORM")]
    pub platform: Option<String>,
    /// All capabilities, all devices, no seccomp, nothing masked.
    #[arg(long)]
    pub privileged: bool,
    /// Publish a port on the host ([ip:][host:]container[/protocol]).
    #[arg(short, long, value_name = "PORT")]
    pub publish: Vec<String>,
    /// Publish all exposed ports on free ports of the host.
    #[arg(short = 'P', long)]
    pub publish_all: bool,
    /// When to pull the image: always, missing, never.
    #[arg(long, value_name = "WHEN")]
    pub pull: Option<String>,
    /// Tell nothing of the pull.
    #[arg(short, long)]
    pub quiet: bool,
    /// Mount the root file system read-only.
    #[arg(long)]
    pub read_only: bool,
    /// Stop and remove a container that has the name already.
    #[arg(long)]
    pub replace: bool,
    /// Whether it runs again when it has ended: no, on-failure[:max], always, unless-stopped.
    #[arg(long, value_name = "POLICY")]
    pub restart: Option<String>,
    /// Remove the container when it ends.
    #[arg(long)]
    pub rm: bool,
    /// The first argument is a directory to run, not an image.
    #[arg(long)]
    pub rootfs: bool,
    /// Security options (seccomp=, no-new-privileges, apparmor=, label=, systempaths=unconfined).
    #[arg(long, value_name = "OPTION")]
    pub security_opt: Vec<String>,
    /// Size of /dev/shm.
    #[arg(long, value_name = "BYTES")]
    pub shm_size: Option<String>,
    /// Signal that stops the container.
    #[arg(long, value_name = "SIGNAL")]
    pub stop_signal: Option<String>,
    /// Seconds between that signal and SIGKILL; -1 for ever.
    #[arg(long, value_name = "SECONDS")]
    pub stop_timeout: Option<i64>,
    /// Set a kernel parameter of the container (net.ipv4.ip_forward=1).
    #[arg(long, value_name = "NAME=VALUE")]
    pub sysctl: Vec<String>,
    /// Mount a tmpfs (/path[:options]).
    #[arg(long, value_name = "PATH")]
    pub tmpfs: Vec<String>,
    /// Allocate a pseudo terminal.
    #[arg(short, long)]
    pub tty: bool,
    /// Limit of a resource (nofile=1024:2048).
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    pub ulimit: Vec<String>,
    /// User and group (name or number, user[:group]).
    #[arg(short, long, value_name = "USER")]
    pub user: Option<String>,
    /// Mount a volume or a host path (source:target[:options]).
    #[arg(short, long, value_name = "VOLUME")]
    pub volume: Vec<String>,
    /// Working directory in the container.
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    #[command(flatten)]
    pub launch: LaunchArgs,
    #[command(flatten)]
    pub users: UserArgs,
    #[command(flatten)]
    pub service: ServiceArgs,
    /// The image, then the command and its arguments.
    #[arg(required = true, trailing_var_arg = true, value_name = "IMAGE")]
    pub words: Vec<String>,
}
