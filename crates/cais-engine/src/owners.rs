//! Owners of what a container finds: its image's copy where the kernel maps none, volumes, and what is given to its user.
//!
//! Nothing here follows a link.

use std::fs::DirBuilder;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use cais_layer::Entry;
use cais_plan::passwd;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Uid, chownat, openat, statat};

use crate::copy_up::copy_directory;
use crate::overlay::{merged, open_path};
use crate::root_view::read_in_root;
use crate::{
    ContainerRecord, Engine, Error, ErrorKind, MountKind, MountRecord, OwnersRequest, Result, UserMaps,
};

/// Whose files are that are seen by ids outside of a container's user namespace; `None`: by its own ids.
#[derive(Clone, Copy)]
pub(crate) struct Ids<'a>(pub(crate) Option<&'a UserMaps>);

impl Ids<'_> {
    /// An object that was found, with the ids that the container knows; those without are nobody's.
    pub(crate) fn inside(self, entry: &mut Entry) {
        let Some(maps) = self.0 else { return };
        let id = |maps, id: u64| {
            let inside = u32::try_from(id).ok().and_then(|id| UserMaps::inside(maps, id));
            u64::from(inside.unwrap_or(NOBODY))
        };
        (entry.uid, entry.gid) = (id(&maps.uids, entry.uid), id(&maps.gids, entry.gid));
    }

    /// An object that is to be put there, with the ids that make it the container's.
    pub(crate) fn outside(self, entry: &mut Entry) -> Result<()> {
        let Some(maps) = self.0 else { return Ok(()) };
        let id = |maps, id: u64| u32::try_from(id).ok().and_then(|id| UserMaps::outside(maps, id));
        let (Some(uid), Some(gid)) = (id(&maps.uids, entry.uid), id(&maps.gids, entry.gid)) else {
            let message = format!(
                "{}: its owner {}:{} is not mapped in the container's user namespace",
                String::from_utf8_lossy(&entry.path),
                entry.uid,
                entry.gid
            );
            return Err(Error::new(ErrorKind::Invalid, message));
        };
        (entry.uid, entry.gid) = (u64::from(uid), u64::from(gid));
        Ok(())
    }
}

/// The kernel's overflow id.
const NOBODY: u32 = 65_534;

/// Calls `act` on a thread that makes files as the root of a user namespace, with our rights: where owners are mapped,
/// nobody else can make any.
pub(crate) fn as_root_of<T: Send>(maps: &UserMaps, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let root = maps.root();
    let ids = UserMaps::outside(&maps.uids, root.0).zip(UserMaps::outside(&maps.gids, root.1));
    let become_root = || -> io::Result<()> {
        let (uid, gid) = ids.ok_or(io::ErrorKind::InvalidInput)?;
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        let rights = rustix::thread::capabilities(None)?;
        rustix::thread::set_thread_res_gid(gid, gid, Gid::ROOT)?;
        rustix::thread::set_thread_res_uid(uid, uid, Uid::ROOT)?;
        Ok(rustix::thread::set_capabilities(None, rights)?)
    };
    let there = || {
        become_root().map_err(|error| {
            Error::caused(ErrorKind::System, "become root of the container's user namespace", error)
        })?;
        act()
    };
    let result = std::thread::scope(|scope| scope.spawn(there).join());
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

impl Engine {
    /// Whose a file outside is that is somebody's in the image.
    pub(crate) fn owner_outside(record: &ContainerRecord, uid: u32, gid: u32) -> Option<(u32, u32)> {
        let Some(maps) = &record.user_maps else { return Some((uid, gid)) };
        Some((UserMaps::outside(&maps.uids, uid)?, UserMaps::outside(&maps.gids, gid)?))
    }

    /// The kernel maps the owners of this container's layers and volumes; else they are changed.
    pub(crate) fn maps_owners(&self) -> bool {
        !self.config.rootless
    }

    /// Whose a file of a volume is on disk that is somebody's in the image.
    pub(crate) fn owner_on_disk(&self, record: &ContainerRecord, uid: u32, gid: u32) -> Option<(u32, u32)> {
        match self.maps_owners() {
            true => Some((uid, gid)),
            false => Engine::owner_outside(record, uid, gid),
        }
    }

    /// Whose the files are that lie on disk for a container.
    pub(crate) fn bare_ids<'a>(&self, record: &'a ContainerRecord) -> Ids<'a> {
        Ids(record.user_maps.as_ref().filter(|_| !self.maps_owners()))
    }

    /// Makes the copy of the image whose owners are those of the container's user namespace, unless it is there: an
    /// ordinary user may not have them mapped by the kernel.
    pub(crate) fn shift_layers(&self, record: &ContainerRecord) -> Result<()> {
        if record.user_maps.is_none() || self.maps_owners() || record.request.rootfs.is_some() {
            return Ok(());
        }
        let place = self.store.paths().container_shifted(&record.id);
        if place.exists() {
            return Ok(());
        }
        // Visible when it is whole.
        let draft = place.with_extension("draft");
        let make = || -> io::Result<()> {
            match std::fs::remove_dir_all(&draft) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => DirBuilder::new().mode(0o755).create(&draft)?,
            }
            let layers: Vec<_> =
                record.layers.iter().rev().map(|layer| self.store.paths().layer_fs(layer)).collect();
            if let Some(root) = merged(&layers, self.config.rootless)? {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let source = openat(&root, ".", flags, Mode::empty())?;
                let target = rustix::fs::open(&draft, flags, Mode::empty())?;
                copy_directory(&source, &target, &|uid, gid| Engine::owner_outside(record, uid, gid))?;
            }
            std::fs::rename(&draft, &place)
        };
        make().map_err(|error| {
            Error::caused(ErrorKind::System, "copy the image with the owners of the user namespace", error)
        })
    }

    /// A new writable layer, or another directory of the container's, belongs to its root.
    pub(crate) fn give_to_root(&self, record: &ContainerRecord, path: &Path) -> io::Result<()> {
        if record.user_maps.is_none() || self.maps_owners() {
            return Ok(());
        }
        match Engine::owner_outside(record, 0, 0) {
            Some((uid, gid)) => Ok(std::os::unix::fs::chown(path, Some(uid), Some(gid))?),
            None => Ok(()),
        }
    }

    /// A new volume belongs to the container's root.
    pub(crate) fn give_volume(&self, record: &ContainerRecord, mount: &MountRecord) -> Result<()> {
        self.give_to_root(record, &mount.host_path).map_err(|error| {
            let message = format!("give volume {} to the container", mount.volume);
            Error::caused(ErrorKind::System, message, error)
        })
    }

    /// Gives the mounts with the option `U` to the container's user, with all that is in them.
    pub(crate) fn change_owners(&self, record: &ContainerRecord) -> Result<()> {
        let asked = |owners: &OwnersRequest| *owners == OwnersRequest::Changed;
        if !record.mounts.iter().any(|mount| asked(&mount.request.owners)) {
            return Ok(());
        }
        let inside = self.user_of(record)?;
        for mount in record.mounts.iter().filter(|mount| asked(&mount.request.owners)) {
            let path = &mount.host_path;
            let failed = |error: io::Error| {
                let message = format!("give {} to the container's user", path.display());
                Error::caused(ErrorKind::System, message, error)
            };
            // What the kernel maps has the container's ids on disk.
            let mapped = mount.request.kind == MountKind::Volume && self.maps_owners();
            let owner = match mapped {
                true => Some(inside),
                false => Engine::owner_outside(record, inside.0, inside.1),
            };
            let Some((uid, gid)) = owner else {
                let message = format!("user {}:{} is not mapped in the user namespace", inside.0, inside.1);
                return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, message)));
            };
            change(path, (uid, gid)).map_err(failed)?;
        }
        Ok(())
    }

    /// User and group of the container's command, by the files of its root.
    fn user_of(&self, record: &ContainerRecord) -> Result<(u32, u32)> {
        let (user, group) = record.user.split_once(':').unwrap_or((&record.user, ""));
        let known = |text: &str| passwd::number(text.as_bytes());
        if let (Some(uid), Some(gid)) = (known(user), known(group)) {
            return Ok((uid, gid));
        }
        let root = self.bare_root(record)?;
        let users = read_in_root(root.as_fd(), b"/etc/passwd");
        let groups = read_in_root(root.as_fd(), b"/etc/group");
        let found = users
            .split(|byte| *byte == b'\n')
            .filter_map(passwd::parse_user)
            .find(|entry| entry.name == user.as_bytes() || known(user) == Some(entry.uid));
        let uid = found.map(|entry| entry.uid).or(known(user)).or_else(|| user.is_empty().then_some(0));
        let named = |line| passwd::parse_group(line).filter(|entry| entry.name == group.as_bytes());
        let gid = match group {
            "" => Some(found.map_or(0, |entry| entry.gid)),
            group => known(group)
                .or_else(|| groups.split(|byte| *byte == b'\n').find_map(named).map(|entry| entry.gid)),
        };
        uid.zip(gid).ok_or_else(|| {
            let message = format!("find user {}: no such user or group in the container", record.user);
            Error::new(ErrorKind::Invalid, message)
        })
    }
}

/// Changes the owner of a file, or of a directory with all that is in it.
fn change(path: &Path, owner: (u32, u32)) -> io::Result<()> {
    let (uid, gid) = (Some(Uid::from_raw(owner.0)), Some(Gid::from_raw(owner.1)));
    if path.is_dir() {
        change_within(&open_path(path)?, owner)?;
    }
    Ok(chownat(CWD, path, uid, gid, AtFlags::empty())?)
}

fn change_within(directory: &OwnedFd, owner: (u32, u32)) -> io::Result<()> {
    let (uid, gid) = (Some(Uid::from_raw(owner.0)), Some(Gid::from_raw(owner.1)));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = openat(directory, ".", flags, Mode::empty())?;
    for entry in Dir::read_from(&open)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let stat = statat(&open, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            change_within(&openat(&open, name, flags, Mode::empty())?, owner)?;
        }
        if (stat.st_uid, stat.st_gid) != owner {
            chownat(&open, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
        }
    }
    Ok(())
}
