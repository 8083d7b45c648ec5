//! What a request says about the machine's services: control groups, systemd within and without.

use serde::{Deserialize, Serialize};

use super::ContainerRecord;

/// `--cgroup-parent`, `--cgroups`, `--systemd`, `--sdnotify`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceRequest {
    /// The group in which the container's is made, instead of the engine's own; without slashes at its ends.
    pub cgroup_parent: Option<String>,
    /// No group is made: it stays in that of its starter.
    pub no_cgroup: bool,
    /// It is prepared for systemd as its command.
    pub systemd: SystemdRequest,
    /// Bytes of each tmpfs that systemd gets.
    pub shm_size_systemd_bytes: Option<u64>,
    /// Who started us with a NOTIFY_SOCKET hears when the container runs (`--sdnotify conmon`).
    pub notify: bool,
}

/// `--systemd`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SystemdRequest {
    /// As any other command.
    #[default]
    False,
    /// Prepared when the command is one that is named like an init.
    True,
    /// Always prepared.
    Always,
}

impl ContainerRecord {
    /// It is prepared for systemd.
    #[must_use]
    pub fn runs_systemd(&self) -> bool {
        const INITS: [&str; 3] = ["/sbin/init", "/usr/sbin/init", "/usr/local/sbin/init"];
        let command = self.args.first().map_or("", String::as_str);
        match self.request.service.systemd {
            SystemdRequest::False => false,
            SystemdRequest::True => INITS.contains(&command) || command.rsplit('/').next() == Some("systemd"),
            SystemdRequest::Always => true,
        }
    }
}
