//! Flags of `run` and `create` about the machine's services: control groups, systemd within and without.

use clap::Args;

/// See the module's page.
#[derive(Clone, Debug, Default, PartialEq, Args)]
pub struct ServiceArgs {
    /// Control group in which the container's is made (/machines).
    #[arg(long, value_name = "GROUP")]
    pub cgroup_parent: Option<String>,
    /// Whether it gets a control group: enabled, disabled, no-conmon.
    #[arg(long, value_name = "MODE")]
    pub cgroups: Option<String>,
    /// Who tells NOTIFY_SOCKET that the container runs: conmon (cais does), ignore (nobody).
    #[arg(long, value_name = "MODE")]
    pub sdnotify: Option<String>,
    /// Size of each tmpfs that systemd in the container gets.
    #[arg(long, value_name = "BYTES")]
    pub shm_size_systemd: Option<String>,
    /// Prepare the container for systemd: true (when the command is an init), always, false.
    #[arg(long, value_name = "MODE", num_args = 1)]
    pub systemd: Option<String>,
}
