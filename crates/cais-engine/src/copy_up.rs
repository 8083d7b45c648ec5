//! Copies what an image has at a volume's place into the new volume, as Docker does at its first use.
//!
//! The image is seen as a whole through a read-only overlay that is mounted nowhere: only our descriptor reaches it.
//! Paths are resolved inside it. Owners, modes, times, extended attributes and links are kept; hard links become
//! copies.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use cais_store::ImageRecord;
use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, RawMode, ResolveFlags, Stat, Timespec, Timestamps, Uid,
    XattrFlags,
};
use rustix::io::Errno;

use crate::overlay::merged;
use crate::{Engine, Error, ErrorKind};

/// Whose a copy is, by user and group of the original; `None` where there is no such id.
pub(crate) type Owner<'a> = &'a dyn Fn(u32, u32) -> Option<(u32, u32)>;

/// Copies the directory `path` of the image into `volume`; an image without it, or with a file there, copies nothing.
pub(crate) fn copy_up(
    engine: &Engine,
    image: &ImageRecord,
    path: &str,
    volume: &Path,
    owner: Owner<'_>,
) -> crate::Result<()> {
    let failed = |e: io::Error| {
        let message = format!("copy {path} of the image into the volume at {}", volume.display());
        Error::caused(ErrorKind::System, message, e)
    };
    let layers: Vec<_> =
        image.layers.iter().rev().map(|layer| engine.store.paths().layer_fs(layer)).collect();
    let root = match merged(&layers, engine.config.rootless).map_err(failed)? {
        Some(root) => root,
        None => return Ok(()),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let within = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let source = match rustix::fs::openat2(&root, path, flags, Mode::empty(), within) {
        Ok(source) => source,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        Err(error) => return Err(failed(error.into())),
    };
    let target = rustix::fs::open(volume, flags, Mode::empty()).map_err(|e| failed(e.into()))?;
    copy_directory(&source, &target, owner).map_err(failed)
}

/// Copies all that is in a directory, and what the directory itself is like.
pub(crate) fn copy_directory(source: &OwnedFd, target: &OwnedFd, owner: Owner<'_>) -> io::Result<()> {
    for entry in Dir::read_from(source)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            copy_entry(source.as_fd(), target.as_fd(), name, owner)?;
        }
    }
    let stat = rustix::fs::fstat(source)?;
    copy_xattrs(source, target)?;
    let (uid, gid) = owner_of(&stat, owner)?;
    rustix::fs::fchown(target, Some(uid), Some(gid))?;
    rustix::fs::fchmod(target, Mode::from_raw_mode(stat.st_mode as RawMode & 0o7777))?;
    Ok(rustix::fs::futimens(target, &times(&stat))?)
}

fn copy_entry(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    name: &CStr,
    owner: Owner<'_>,
) -> io::Result<()> {
    let stat = rustix::fs::statat(source, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let mode = Mode::from_raw_mode(stat.st_mode as RawMode & 0o7777);
    let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    match FileType::from_raw_mode(stat.st_mode as RawMode) {
        FileType::Directory => {
            rustix::fs::mkdirat(target, name, Mode::RWXU)?;
            let from = rustix::fs::openat(source, name, read | OFlags::DIRECTORY, Mode::empty())?;
            let to = rustix::fs::openat(target, name, read | OFlags::DIRECTORY, Mode::empty())?;
            return copy_directory(&from, &to, owner);
        }
        FileType::RegularFile => {
            let from = rustix::fs::openat(source, name, read, Mode::empty())?;
            let write = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let to = rustix::fs::openat(target, name, write, Mode::RUSR | Mode::WUSR)?;
            copy_xattrs(&from, &to)?;
            let (mut from, mut to) = (File::from(from), File::from(to));
            io::copy(&mut from, &mut to)?;
            let (uid, gid) = owner_of(&stat, owner)?;
            rustix::fs::fchown(&to, Some(uid), Some(gid))?;
            rustix::fs::fchmod(&to, mode)?;
            return Ok(rustix::fs::futimens(&to, &times(&stat))?);
        }
        FileType::Symlink => {
            let content = rustix::fs::readlinkat(source, name, Vec::new())?;
            rustix::fs::symlinkat(content.as_c_str(), target, name)?;
        }
        kind => match rustix::fs::mknodat(target, name, kind, mode, stat.st_rdev) {
            // Without the right to make devices there are none to copy.
            Err(Errno::PERM) => return Ok(()),
            other => other?,
        },
    }
    let (uid, gid) = owner_of(&stat, owner)?;
    rustix::fs::chownat(target, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(rustix::fs::utimensat(target, name, &times(&stat), AtFlags::SYMLINK_NOFOLLOW)?)
}

fn owner_of(stat: &Stat, owner: Owner<'_>) -> io::Result<(Uid, Gid)> {
    let (uid, gid) = owner(stat.st_uid, stat.st_gid).ok_or_else(|| {
        let text = format!("owner {}:{} has no id outside of the container", stat.st_uid, stat.st_gid);
        io::Error::new(io::ErrorKind::InvalidData, text)
    })?;
    Ok((Uid::from_raw(uid), Gid::from_raw(gid)))
}

fn times(stat: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: stat.st_atime, tv_nsec: stat.st_atime_nsec as i64 },
        last_modification: Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as i64 },
    }
}

/// The overlay's own attributes are not the image's; what the target's file system refuses is left out, except
/// file capabilities.
fn copy_xattrs(source: &impl AsFd, target: &impl AsFd) -> io::Result<()> {
    let mut names = vec![0_u8; 4096];
    let length = match rustix::fs::flistxattr(source, &mut names) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for name in names[..length].split_inclusive(|b| *b == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        let text = name.to_bytes();
        if text.starts_with(b"trusted.overlay.") || text.starts_with(b"user.overlay.") {
            continue;
        }
        let mut value = vec![0_u8; 65_536];
        let length = rustix::fs::fgetxattr(source, name, &mut value)?;
        match rustix::fs::fsetxattr(target, name, &value[..length], XattrFlags::empty()) {
            Err(Errno::OPNOTSUPP | Errno::PERM) if !text.starts_with(b"security.capability") => {}
            other => other?,
        }
    }
    Ok(())
}
