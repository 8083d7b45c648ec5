//! Flags of `run` and `create` that few people need: shared namespaces, limits of devices, what of the image counts.

#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "the comments are help texts: brackets mean optional parts"
)]

use clap::Args;

/// See the module's page.
#[derive(Clone, Debug, Default, PartialEq, Args)]
pub struct LaunchArgs {
    /// Add an annotation to the container.
    #[arg(long, value_name = "KEY=VALUE")]
    pub annotation: Vec<String>,
    /// Architecture of the image.
    #[arg(long, value_name = "ARCH", conflicts_with = "platform")]
    pub arch: Option<String>,
    /// Relative block I/O weight of a device, 10 to 1000.
    #[arg(long, value_name = "DEVICE:WEIGHT")]
    pub blkio_weight_device: Vec<String>,
    /// Write a file of cgroup v2 (memory.high=1073741824).
    #[arg(long, value_name = "FILE=VALUE")]
    pub cgroup_conf: Vec<String>,
    /// cgroup namespace: private or host.
    #[arg(long, value_name = "MODE")]
    pub cgroupns: Option<String>,
    /// Limit of the real-time period of the CPU in microseconds (cgroup v1 only).
    #[arg(long, value_name = "MICROSECONDS")]
    pub cpu_rt_period: Option<u64>,
    /// Limit of the real-time runtime of the CPU in microseconds (cgroup v1 only).
    #[arg(long, value_name = "MICROSECONDS")]
    pub cpu_rt_runtime: Option<i64>,
    /// Limit how fast a device is read (/dev/sda:1mb).
    #[arg(long, value_name = "DEVICE:BYTES")]
    pub device_read_bps: Vec<String>,
    /// Limit how often a device is read (/dev/sda:1000).
    #[arg(long, value_name = "DEVICE:NUMBER")]
    pub device_read_iops: Vec<String>,
    /// Limit how fast a device is written.
    #[arg(long, value_name = "DEVICE:BYTES")]
    pub device_write_bps: Vec<String>,
    /// Limit how often a device is written.
    #[arg(long, value_name = "DEVICE:NUMBER")]
    pub device_write_iops: Vec<String>,
    /// Pass the caller's whole environment.
    #[arg(long)]
    pub env_host: bool,
    /// Set a variable from variables of the image (PATH=/opt/bin:$PATH).
    #[arg(long, value_name = "NAME=VALUE")]
    pub env_merge: Vec<String>,
    /// Lines that /etc/hosts has beside the container's own: a file, image or none.
    #[arg(long, value_name = "FILE")]
    pub hosts_file: Option<String>,
    /// Pass the caller's proxy variables (HTTP_PROXY and its like).
    #[arg(long)]
    pub http_proxy: bool,
    /// What becomes of the image's volumes: anonymous, tmpfs, ignore.
    #[arg(long, value_name = "MODE")]
    pub image_volume: Option<String>,
    /// IPC namespace: private, shareable, none (without /dev/shm), host, container:NAME.
    #[arg(long, value_name = "MODE")]
    pub ipc: Option<String>,
    /// MAC address on the bridge (92:d0:c6:0a:29:33).
    #[arg(long, value_name = "ADDRESS")]
    pub mac_address: Option<String>,
    /// Leave the image's /etc/hostname as it is.
    #[arg(long)]
    pub no_hostname: bool,
    /// Leave the image's /etc/hosts as it is.
    #[arg(long)]
    pub no_hosts: bool,
    /// Execution domain: LINUX or LINUX32.
    #[arg(long, value_name = "PERSONA")]
    pub personality: Option<String>,
    /// PID namespace: private, host, container:NAME.
    #[arg(long, value_name = "MODE")]
    pub pid: Option<String>,
    /// Write the id of the container's first process to a file.
    #[arg(long, value_name = "FILE")]
    pub pidfile: Option<String>,
    /// Put it into a pod, whose namespaces it shares (new:NAME makes the pod).
    #[arg(long, value_name = "POD")]
    pub pod: Option<String>,
    /// As --pod, with the pod's id read from a file.
    #[arg(long, value_name = "FILE", conflicts_with = "pod")]
    pub pod_id_file: Option<String>,
    /// With --read-only: a tmpfs on /run, /tmp and /var/tmp.
    #[arg(long)]
    pub read_only_tmpfs: bool,
    /// Containers that are started before it.
    #[arg(long, value_name = "CONTAINER", value_delimiter = ',')]
    pub requires: Vec<String>,
    /// Seconds that it may run; then it is killed, and its exit code is 255.
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
    /// Time zone of the container (Europe/Berlin), or local.
    #[arg(long, value_name = "ZONE")]
    pub tz: Option<String>,
    /// Permissions that new files do not get (0027).
    #[arg(long, value_name = "MODE")]
    pub umask: Option<String>,
    /// Leave a variable of the image out.
    #[arg(long, value_name = "NAME")]
    pub unsetenv: Vec<String>,
    /// Leave all variables of the image out.
    #[arg(long)]
    pub unsetenv_all: bool,
    /// UTS namespace: private, host, container:NAME.
    #[arg(long, value_name = "MODE")]
    pub uts: Option<String>,
    /// Variant of the image's architecture.
    #[arg(long, value_name = "VARIANT", conflicts_with = "platform")]
    pub variant: Option<String>,
    /// Mount what another container has mounted.
    #[arg(long, value_name = "CONTAINER[:ro]")]
    pub volumes_from: Vec<String>,
}
