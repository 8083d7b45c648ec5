//! systemd in a container (systemd.io/CONTAINER_INTERFACE), as podman prepares it, and systemd outside that waits for one
//! to run (sd_notify(3)).

use std::os::fd::BorrowedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use rustix::fs::{AtFlags, Gid, Uid, chownat};

use crate::attach::short;
use crate::{ContainerRecord, Engine, Error, ErrorKind, MountKind, MountRecord, MountRequest, Result};

/// What systemd takes as the order to shut down: SIGRTMIN+3.
const SHUT_DOWN: (i32, &str) = (37, "SIGRTMIN+3");
/// Where it wants a tmpfs, with its mode.
const PLACES: [(&str, u32); 4] =
    [("/run", 0o755), ("/run/lock", 0o755), ("/tmp", 0o1777), ("/var/log/journal", 0o755)];

/// Gives a new record what systemd wants, where nothing else was asked for.
pub(crate) fn prepare(record: &mut ContainerRecord) {
    if !record.runs_systemd() {
        return;
    }
    if record.stop_signal_given.is_none() {
        record.stop_signal = SHUT_DOWN.0;
        record.stop_signal_given = Some(SHUT_DOWN.1.to_owned());
    }
    for (target, mode) in PLACES {
        if record.mounts.iter().any(|mount| mount.request.target == target) {
            continue;
        }
        let request = MountRequest {
            kind: MountKind::Tmpfs,
            target: target.to_owned(),
            options: vec!["exec".to_owned()],
            tmpfs_mode: Some(mode),
            tmpfs_size_bytes: record.request.service.shm_size_systemd_bytes,
            ..MountRequest::default()
        };
        record.mounts.push(MountRecord { request, ..MountRecord::default() });
    }
}

/// Variables by which systemd knows where it is.
pub(crate) fn variables(record: &ContainerRecord) -> Vec<(&'static str, String)> {
    if !record.runs_systemd() {
        return Vec::new();
    }
    let uuid = record.id.chars().take(32).collect();
    vec![("container", "cais".to_owned()), ("container_uuid", uuid)]
}

/// Root of a user namespace may make groups in the group that it sees as the topmost: `directory` (cgroup v2), with the
/// files that are delegated with it (cgroups(7)).
pub(crate) fn give_cgroup(record: &ContainerRecord, directory: Option<BorrowedFd<'_>>) -> Result<()> {
    let root = record.user_maps.as_ref().and_then(|_| Engine::owner_outside(record, 0, 0));
    let (Some(directory), Some((uid, gid)), true) = (directory, root, record.runs_systemd()) else {
        return Ok(());
    };
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    for file in [".", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
        chownat(directory, file, uid, gid, AtFlags::empty()).map_err(|error| {
            let message = format!("give {file} of the cgroup of container {} to it", short(&record.id));
            Error::caused(ErrorKind::System, message, error)
        })?;
    }
    Ok(())
}

impl Engine {
    /// Tells whoever started us that the container runs, and who it is that stays.
    pub(crate) fn notify(&self, record: &ContainerRecord, detached: bool) -> Result<()> {
        let (Some(socket), true) = (&self.config.notify_socket, record.request.service.notify) else {
            return Ok(());
        };
        let monitor = self.store.read_facts(&record.id)?.map_or(0, |facts| facts.shim_pid);
        let main = if detached && monitor > 0 { format!("MAINPID={monitor}\n") } else { String::new() };
        let send = || -> std::io::Result<()> {
            let name = socket.as_bytes();
            let address = match name.strip_prefix(b"@") {
                Some(name) => SocketAddr::from_abstract_name(name)?,
                None => SocketAddr::from_pathname(socket)?,
            };
            let ours = UnixDatagram::unbound()?;
            ours.send_to_addr(format!("{main}READY=1").as_bytes(), &address).map(drop)
        };
        send().map_err(|error| {
            let message = format!("tell NOTIFY_SOCKET that container {} runs", short(&record.id));
            Error::caused(ErrorKind::System, message, error)
        })
    }
}
