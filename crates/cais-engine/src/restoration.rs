//! A run that goes on from a checkpoint instead of beginning: what is different when it is launched.
//!
//! The monitor starts CRIU in place of the container's first process; CRIU makes namespaces, mounts and processes, and
//! leaves the first of them to the monitor as its child. Group, network namespace, name files, log and ports are made as
//! for any run.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use cais_bundle::criu::{Criu, kept_pipes};
use cais_runtime::launch::{Launch, MountPlan};
use cais_store::{CheckpointPlace, CheckpointRecord, ExternalMount};

use crate::attach::short;
use crate::criu::criu_failed;
use crate::{ContainerRecord, Engine, Error, ErrorKind, Result};

/// Where CRIU finds the network namespace: the first descriptor after the standard streams.
const NETWORK_FD: i32 = 3;

/// A checkpoint, and how it is to be restored.
pub(crate) struct Restoration {
    pub(crate) checkpoint: CheckpointRecord,
    pub(crate) images: PathBuf,
    pub(crate) criu: Criu,
    /// Asked for, even if no connection was established.
    pub(crate) tcp_established: bool,
    pub(crate) file_locks: bool,
    pub(crate) keep_ip: bool,
    pub(crate) keep_mac: bool,
}

impl Restoration {
    pub(crate) fn new(
        program: PathBuf,
        place: &CheckpointPlace,
        checkpoint: CheckpointRecord,
    ) -> Restoration {
        let criu = Criu::new(program, "restore", &place.images(), &place.path());
        Restoration {
            checkpoint,
            images: place.images(),
            criu,
            tcp_established: false,
            file_locks: false,
            keep_ip: true,
            keep_mac: true,
        }
    }

    /// The address that it had and is to have again.
    pub(crate) fn ip(&self) -> Option<Ipv4Addr> {
        self.checkpoint.ip.filter(|_| self.keep_ip)
    }

    /// Likewise the Ethernet address.
    pub(crate) fn mac(&self) -> Option<&str> {
        Some(self.checkpoint.mac.as_str()).filter(|mac| self.keep_mac && !mac.is_empty())
    }

    /// The program and its arguments; it leaves the process id in `pid_file`.
    pub(crate) fn command_line(
        &self,
        engine: &Engine,
        id: &str,
        launch: &Launch,
        pid_file: &Path,
    ) -> Result<Vec<String>> {
        let mut criu = self.criu.clone();
        criu.option("--root", &launch.mountpoint).option("--pidfile", pid_file);
        criu.flag(true, "--restore-detached").flag(true, "--restore-sibling").manage_cgroups(Some("ignore"));
        criu.flag(self.checkpoint.tcp_established || self.tcp_established, "--tcp-established");
        criu.flag(self.checkpoint.file_locks || self.file_locks, "--file-locks");
        if self.checkpoint.network {
            criu.inherit_network(NETWORK_FD);
        }
        let views = engine.group_views(id)?;
        for mount in &self.checkpoint.external {
            criu.external_mount(&mount.place, Some(&source(mount, launch, &views)?));
        }
        for (number, name) in kept_pipes(&self.images) {
            criu.inherit(number, &name);
        }
        let text = |word: std::ffi::OsString| {
            word.into_string().map_err(|word| {
                let message =
                    format!("restore container {}: {} is no UTF-8", short(id), word.to_string_lossy());
                Error::new(ErrorKind::Invalid, message)
            })
        };
        criu.command_line().into_iter().map(text).collect()
    }

    /// Of a launch that failed: CRIU's own reason, when it was CRIU that failed.
    pub(crate) fn explained(&self, record: &ContainerRecord, error: Error) -> Error {
        match error.message.strip_prefix(FAILED) {
            Some(status) => {
                criu_failed(&record.id, "restore", self.criu.failure(&format!("exit status: {status}")))
            }
            None => error,
        }
    }
}

/// Beginning of the message that CRIU did not succeed; its exit status follows.
pub(crate) const FAILED: &str = "criu restore ended with status ";

/// What a mount of the checkpoint is made from here.
fn source(mount: &ExternalMount, launch: &Launch, views: &[(String, PathBuf)]) -> Result<PathBuf> {
    let bound = launch.mounts.iter().find_map(|plan| match plan {
        MountPlan::Bind { source, target, .. } if *target == mount.target => Some(source),
        _ => None,
    });
    let view = |(name, _): &&(String, PathBuf)| mount.target.strip_prefix("/sys/fs/cgroup/") == Some(name);
    let source = bound.or_else(|| views.iter().find(view).map(|(_, path)| path)).ok_or_else(|| {
        let message =
            format!("the checkpoint has something mounted on {}, the container has not", mount.place);
        Error::new(ErrorKind::Conflict, message)
    })?;
    Ok(if mount.below.is_empty() { source.clone() } else { source.join(&mount.below) })
}
