//! A container's root file system as the container sees it, volumes and bind mounts included, reached from outside.
//!
//! Of a running container it is the root of its init. Of one that does not run it is put together for as long as it is
//! needed, in a mount namespace of one thread: to be read, over a throw-away upper directory in memory, so that nothing
//! of the container changes; to be written to, over its own, under the lock of its run, so that it cannot be started
//! meanwhile.
//! Paths are resolved inside of the root ([`open_in_root`]); the host's paths mean nothing there.

use std::ffi::CString;
use std::fs::DirBuilder;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use cais_sys::lock::OfdLock;
use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, openat, openat2};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_bind, mount_bind_recursive, mount_remount};

use crate::attach::short;
use crate::overlay::{Stack, enter_mount_namespace, merged, open_path};
use crate::owners::{Ids, as_root_of};
use crate::{ContainerRecord, Engine, Error, ErrorKind, MountKind, Result};

/// What is to be done with a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Read,
    Write,
}

impl Engine {
    /// Calls `act` with the root of a container, which lasts as long as the call, and with whose the files are that are
    /// seen in there.
    pub(crate) fn with_root<T: Send>(
        &self,
        record: &ContainerRecord,
        purpose: Purpose,
        act: impl FnOnce(BorrowedFd<'_>, Ids<'_>) -> Result<T> + Send,
    ) -> Result<T> {
        // An ordinary user looks at a running container from within its user namespace, at another one from without; on
        // root's disk are a container's own ids.
        let outside = Ids(record.user_maps.as_ref());
        if let Some(root) = self.running_root(&record.id)? {
            return match (self.maps_owners(), &record.user_maps, purpose) {
                (false, ..) => act(root.as_fd(), Ids(None)),
                (true, Some(maps), Purpose::Write) => as_root_of(maps, || act(root.as_fd(), outside)),
                _ => act(root.as_fd(), outside),
            };
        }
        let ids = if self.maps_owners() { Ids(None) } else { outside };
        self.with_stopped_root(record, purpose, |root, _| act(root, ids))
    }

    /// As [`Engine::with_root`] of a container that does not run; `act` is also given the place with the mounted `root`, which
    /// only its thread sees, and what that thread starts.
    pub(crate) fn with_stopped_root<T: Send>(
        &self,
        record: &ContainerRecord,
        purpose: Purpose,
        act: impl FnOnce(BorrowedFd<'_>, &Path) -> Result<T> + Send,
    ) -> Result<T> {
        let lock = match purpose {
            Purpose::Read => None,
            Purpose::Write => Some(self.lock_stopped(&record.id)?),
        };
        self.shift_layers(record)?;
        let there = || {
            let root = self.mount_root(record, purpose).map_err(|error| {
                let message = format!("mount the root of container {}", short(&record.id));
                Error::caused(ErrorKind::System, message, error)
            })?;
            act(root.as_fd(), &self.store.paths().mountpoint())
        };
        let result = std::thread::scope(|scope| scope.spawn(there).join());
        if let Some(lock) = lock {
            // The run directory was made for the lock; it goes while we hold it.
            let _ = std::fs::remove_dir_all(self.store.paths().run_container(&record.id));
            drop(lock);
        }
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// The root of a running container's init; `None` when it does not run.
    fn running_root(&self, id: &str) -> Result<Option<OwnedFd>> {
        let Ok(pid) = self.running_pid(id) else { return Ok(None) };
        let root = match open_path(Path::new(&format!("/proc/{pid}/root"))) {
            Err(Errno::NOENT | Errno::SRCH) => return Ok(None),
            other => other.map_err(|error| {
                let message = format!("open the root of container {}", short(id));
                Error::caused(ErrorKind::System, message, io::Error::from(error))
            })?,
        };
        // Still the same run, so the pid was its init when the root was opened.
        Ok(self.running_pid(id).is_ok_and(|now| now == pid).then_some(root))
    }

    /// The lock of a run that does not take place.
    fn lock_stopped(&self, id: &str) -> Result<OfdLock> {
        if self.store.paths().run_container(id).exists() && !self.store.is_running(id)? {
            // A run whose monitor was killed left things behind.
            self.tear_down(id)?;
        }
        self.store.take_run_lock(id).map_err(|error| match error {
            cais_store::StoreError::Running { .. } => {
                let message = format!("container {} is being started, ended or written to", short(id));
                Error::new(ErrorKind::Conflict, message).hint("try again in a moment")
            }
            other => other.into(),
        })
    }

    /// The layers of a container's root with its upper directory, topmost first.
    pub(crate) fn lowers(&self, record: &ContainerRecord, with_upper: bool) -> Vec<PathBuf> {
        let paths = self.store.paths();
        let upper = Some(paths.container_upper(&record.id)).filter(|upper| with_upper && upper.exists());
        let shifted = paths.container_shifted(&record.id);
        if shifted.exists() {
            return upper.into_iter().chain([shifted]).collect();
        }
        upper.into_iter().chain(record.layers.iter().rev().map(|layer| paths.layer_fs(layer))).collect()
    }

    /// The root without anything mounted in it, to be read; a container that has written nothing has its image's.
    pub(crate) fn bare_root(&self, record: &ContainerRecord) -> Result<OwnedFd> {
        let failed = |error: io::Error| {
            let message = format!("mount the root of container {}", short(&record.id));
            Error::caused(ErrorKind::System, message, error)
        };
        if let Some(directory) = &record.request.rootfs {
            return open_path(directory).map_err(|error| failed(error.into()));
        }
        match merged(&self.lowers(record, true), self.config.rootless) {
            Ok(Some(root)) => Ok(root),
            // An image without layers, never run: the empty directory on which roots are mounted.
            Ok(None) => open_path(&self.store.paths().mountpoint()).map_err(|error| failed(error.into())),
            // Where overlayfs keeps an index it guards the upper directory of a running container: then its own root,
            // which shows what is mounted as empty directories.
            Err(error) if error.raw_os_error() == Some(Errno::BUSY.raw_os_error()) => {
                self.running_root(&record.id)?.ok_or_else(|| failed(error))
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Puts a root together; the calling thread gets mounts of its own.
    fn mount_root(&self, record: &ContainerRecord, purpose: Purpose) -> io::Result<OwnedFd> {
        enter_mount_namespace()?;
        let place = self.store.paths().mountpoint();
        mount("tmpfs", &place, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, c"mode=711")?;
        let [root, upper, work, empty] = ["root", "upper", "work", "empty"].map(|name| place.join(name));
        for directory in [&root, &upper, &work, &empty] {
            DirBuilder::new().mode(0o755).create(directory)?;
        }
        match &record.request.rootfs {
            Some(directory) => mount_bind_recursive(directory, &root)?,
            None if purpose == Purpose::Write => {
                let (upper, work) = self.writable_layer(record)?;
                let mut lowers = self.lowers(record, false);
                if lowers.is_empty() {
                    lowers.push(empty);
                }
                let upper = Some((upper.as_path(), work.as_path()));
                Stack { lowers: &lowers, upper, rootless: self.config.rootless }.mount_at(&root)?;
            }
            None => {
                let mut lowers = self.lowers(record, true);
                if lowers.is_empty() {
                    lowers.push(empty);
                }
                let upper = Some((upper.as_path(), work.as_path()));
                Stack { lowers: &lowers, upper, rootless: self.config.rootless }.mount_at(&root)?;
            }
        }
        let opened = open_path(&root)?;
        self.mount_mounts(record, opened.as_fd(), purpose)?;
        Ok(opened)
    }

    /// The container's own upper and work directory, as a start would prepare them.
    fn writable_layer(&self, record: &ContainerRecord) -> io::Result<(PathBuf, PathBuf)> {
        let paths = self.store.paths();
        let (upper, work) = (paths.container_upper(&record.id), paths.container_work(&record.id));
        if record.request.auto_remove && work.exists() {
            // A failed start left the mark of an unsynced mount, over which overlayfs does not mount again.
            std::fs::remove_dir_all(&work)?;
        }
        for (path, mode) in [(&upper, 0o755), (&work, 0o700)] {
            match DirBuilder::new().mode(mode).create(path).and_then(|()| self.give_to_root(record, path)) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => other?,
            }
        }
        Ok((upper, work))
    }

    /// Volumes, bind mounts and the files by which the container knows names; none of them is written to by who only reads.
    fn mount_mounts(
        &self,
        record: &ContainerRecord,
        root: BorrowedFd<'_>,
        purpose: Purpose,
    ) -> io::Result<()> {
        let reads = purpose == Purpose::Read;
        let paths = self.store.paths();
        let names = [
            ("/etc/hosts", paths.container_hosts(&record.id)),
            ("/etc/hostname", paths.container_hostname(&record.id)),
            ("/etc/resolv.conf", paths.container_resolv_conf(&record.id)),
        ];
        for (target, source) in names {
            if source.exists() && !record.mounts.iter().any(|mount| mount.request.target == target) {
                mount_in(root, &source, target, false, reads)?;
            }
        }
        for mount in record.mounts.iter().filter(|mount| mount.request.kind.is_of_host()) {
            if mount.host_path.exists() {
                let request = &mount.request;
                let recursive = request.kind == MountKind::Bind && !request.non_recursive;
                // What an overlay is mounted over stays as it is.
                let read_only = reads || request.read_only || request.overlay.is_some();
                let Some(subpath) = &request.subpath else {
                    mount_in(root, &mount.host_path, &request.target, recursive, read_only)?;
                    continue;
                };
                let whole = open_path(&mount.host_path)?;
                if let Ok(part) = open_in_root(whole.as_fd(), subpath.as_bytes(), OFlags::PATH) {
                    let name = PathBuf::from(format!("/proc/self/fd/{}", part.as_raw_fd()));
                    mount_in(root, &name, &request.target, recursive, read_only)?;
                }
            }
        }
        Ok(())
    }
}

/// Mounts a file or directory of the host inside of a root, at a place that is made when it is missing.
fn mount_in(
    root: BorrowedFd<'_>,
    source: &Path,
    target: &str,
    recursive: bool,
    read_only: bool,
) -> io::Result<()> {
    let by_fd = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let place = open_or_make(root, target.as_bytes(), source.is_dir())?;
    if recursive {
        mount_bind_recursive(source, by_fd(&place))?;
    } else {
        mount_bind(source, by_fd(&place))?;
    }
    if read_only {
        let mounted = open_in_root(root, target.as_bytes(), OFlags::PATH)?;
        mount_remount(by_fd(&mounted), MountFlags::BIND | MountFlags::RDONLY, c"")?;
    }
    Ok(())
}

/// Opens a path inside of a root: links are followed as if the root were `/`, and lead nowhere else.
pub(crate) fn open_in_root(
    root: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
) -> std::result::Result<OwnedFd, Errno> {
    let path = if path.is_empty() { &b"."[..] } else { path };
    let path = CString::new(path).map_err(|_| Errno::INVAL)?;
    let within = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    loop {
        match openat2(root, &path, flags | OFlags::CLOEXEC, Mode::empty(), within) {
            // A rename somewhere made the kernel unsure.
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
}

/// The content of a regular file inside of a root, at most 16 MiB of it; empty when there is none.
pub(crate) fn read_in_root(root: BorrowedFd<'_>, path: &[u8]) -> Vec<u8> {
    const MOST_BYTES: u64 = 16 << 20;
    let mut content = Vec::new();
    // Non-blocking: an image may have put a FIFO there.
    if let Ok(file) = open_in_root(root, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY) {
        let file = std::fs::File::from(file);
        if file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            // What could be read counts.
            let _ = io::Read::read_to_end(&mut io::Read::take(file, MOST_BYTES), &mut content);
        }
    }
    content
}

/// As [`open_in_root`], making what is missing.
fn open_or_make(root: BorrowedFd<'_>, path: &[u8], directory: bool) -> std::result::Result<OwnedFd, Errno> {
    match open_in_root(root, path, OFlags::PATH) {
        Err(Errno::NOENT) => {}
        other => return other,
    }
    let trimmed = path.trim_ascii_end().strip_suffix(b"/").unwrap_or(path);
    let slash = trimmed.iter().rposition(|byte| *byte == b'/');
    let (above, last) = slash.map_or((&b""[..], trimmed), |at| (&trimmed[..at], &trimmed[at + 1..]));
    if last.is_empty() {
        return Err(Errno::NOENT);
    }
    let parent = if above.is_empty() {
        open_in_root(root, b"/", OFlags::PATH)?
    } else {
        open_or_make(root, above, true)?
    };
    let made = if directory {
        mkdirat(&parent, last, Mode::from_raw_mode(0o755))
    } else {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(&parent, last, flags, Mode::from_raw_mode(0o644)).map(drop)
    };
    match made {
        Ok(()) | Err(Errno::EXIST) => open_in_root(root, path, OFlags::PATH),
        Err(errno) => Err(errno),
    }
}
