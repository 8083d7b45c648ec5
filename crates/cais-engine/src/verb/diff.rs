//! `diff`: what a container has changed in its image's files.

use std::os::fd::{AsFd, OwnedFd};

use cais_layer::{Change, ChangeKind, changes};
use rustix::fs::{Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::overlay::merged;
use crate::root_view::open_in_root;
use crate::verb::copy::failed;
use crate::{ContainerRecord, Engine, Error, ErrorKind, Result};

/// What a start itself puts into a root to mount something on; Docker keeps it in a layer of its own.
const OURS: [&str; 8] =
    ["dev", "dev/console", "dev/pts", "dev/shm", "etc/hostname", "etc/hosts", "etc/resolv.conf", "proc"];

/// An upper directory, what it changes, and the tree beneath.
pub(super) type Changed = (OwnedFd, Vec<Change>, Option<OwnedFd>);

impl Engine {
    /// What a container, running or not, has added, changed and deleted: parents before children, names in order.
    ///
    /// Empty places on which the container has something mounted are left out, as are files that were only opened.
    ///
    /// # Errors
    /// When there is no such container, or it has no image, or its files cannot be read.
    pub fn diff(&self, name: &str) -> Result<Vec<Change>> {
        let id = self.store.resolve_container(name)?;
        self.changed_files(&self.store.load_container(&id)?)
    }

    /// What the upper directory of a container changes, without places of mounts.
    pub(crate) fn changed_files(&self, record: &ContainerRecord) -> Result<Vec<Change>> {
        let Some((upper, mut found, lower)) = self.all_changes(record)? else { return Ok(Vec::new()) };
        let places = mount_points(record);
        found.retain(|change| {
            let is_place = change.kind == ChangeKind::Added
                && places.iter().any(|place| place.as_bytes() == change.path);
            !(is_place && is_empty_place(&upper, &change.path))
        });
        drop_untouched(&mut found, &upper, lower.as_ref());
        Ok(found)
    }

    /// The upper directory of a container and all that it changes in the tree beneath, which comes along; `None` when it
    /// never ran.
    pub(super) fn all_changes(&self, record: &ContainerRecord) -> Result<Option<Changed>> {
        if record.request.rootfs.is_some() {
            let message =
                "a container that runs a plain directory (--rootfs) keeps no account of its changes";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let path = self.store.paths().container_upper(&record.id);
        let open = |error: std::io::Error| {
            Error::caused(ErrorKind::System, format!("open {}", path.display()), error)
        };
        let upper = match rustix::fs::open(
            &path,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        ) {
            // It never ran.
            Err(Errno::NOENT) => return Ok(None),
            other => other.map_err(|error| open(error.into()))?,
        };
        let lower = self.image_root(record)?;
        let found = changes(upper.as_fd(), lower.as_ref().map(AsFd::as_fd)).map_err(failed)?;
        Ok(Some((upper, found, lower)))
    }

    /// The layers below a container's upper directory as one tree; `None` without layers.
    fn image_root(&self, record: &ContainerRecord) -> Result<Option<OwnedFd>> {
        merged(&self.lowers(record, false), self.config.rootless)
            .and_then(|root| {
                // A root that is only a place to go on from cannot be listed.
                root.map(|root| open_in_root(root.as_fd(), b"/", OFlags::RDONLY | OFlags::DIRECTORY))
                    .transpose()
                    .map_err(Into::into)
            })
            .map_err(|error| Error::caused(ErrorKind::System, "mount the layers of the image", error))
    }
}

/// Paths on which the container has something mounted, without leading slash.
fn mount_points(record: &ContainerRecord) -> Vec<String> {
    let asked = record.mounts.iter().map(|mount| mount.request.target.trim_matches('/').to_owned());
    asked.chain(OURS.map(str::to_owned)).chain(["sys".to_owned()]).collect()
}

/// What is at a path; the container may put links anywhere in its upper directory.
fn look(root: &OwnedFd, path: &[u8]) -> Option<Stat> {
    let found = open_in_root(root.as_fd(), path, OFlags::PATH | OFlags::NOFOLLOW).ok()?;
    rustix::fs::fstat(found).ok()
}

/// Nothing was put there: an empty directory or an empty file.
fn is_empty_place(upper: &OwnedFd, path: &[u8]) -> bool {
    let Some(stat) = look(upper, path) else { return false };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => stat.st_size == 0,
        FileType::Directory => open_in_root(upper.as_fd(), path, OFlags::RDONLY | OFlags::DIRECTORY)
            .and_then(Dir::read_from)
            .is_ok_and(|mut names| {
                names.all(|it| it.is_ok_and(|it| matches!(it.file_name().to_bytes(), b"." | b"..")))
            }),
        _ => false,
    }
}

/// A directory that seems changed only because of places that were left out is not changed.
fn drop_untouched(found: &mut Vec<Change>, upper: &OwnedFd, lower: Option<&OwnedFd>) {
    let directory = |root: &OwnedFd, path: &[u8]| {
        let stat = look(root, path)?;
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        is_directory.then_some((stat.st_mode, stat.st_uid, stat.st_gid))
    };
    let mut at = found.len();
    while at > 0 {
        at -= 1;
        let change = &found[at];
        let prefix = [&change.path[..], b"/"].concat();
        let has_children = found.get(at + 1).is_some_and(|next| next.path.starts_with(&prefix));
        let same = || {
            let new = directory(upper, &change.path);
            new.is_some() && new == lower.and_then(|lower| directory(lower, &change.path))
        };
        if change.kind == ChangeKind::Changed && !has_children && same() {
            found.remove(at);
        }
    }
}
