//! Copies what an image has at a volume's place into the new volume, as Docker does at its first use.
//!
//! The image is seen as a whole through a read-only overlay that is mounted nowhere: only our descriptor reaches it.
//! Paths are resolved inside it. Owners, modes, times, extended attributes and links are kept; hard links become
//! copies.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use cais_store::ImageRecord;
use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, RawMode, ResolveFlags, Stat, Timespec, Timestamps, Uid,
    XattrFlags,
};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, mount, mount_change,
};

use crate::{Engine, Error, ErrorKind};

/// Copies the directory `path` of the image into `volume`; an image without it, or with a file there, copies nothing.
pub(crate) fn copy_up(engine: &Engine, image: &ImageRecord, path: &str, volume: &Path) -> crate::Result<()> {
    let failed = |e: io::Error| {
        let message = format!("copy {path} of the image into the volume at {}", volume.display());
        Error::caused(ErrorKind::System, message, e)
    };
    let root = match merged(engine, image).map_err(failed)? {
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
    copy_directory(&source, &target).map_err(failed)
}

/// The image's layers as one tree; `None` without layers.
fn merged(engine: &Engine, image: &ImageRecord) -> io::Result<Option<OwnedFd>> {
    let directories: Vec<_> = image.layers.iter().rev().map(|d| engine.store.paths().layer_fs(d)).collect();
    match directories.as_slice() {
        [] => return Ok(None),
        [only] => return Ok(Some(open_path(only)?)),
        _ => {}
    }
    match overlay(&directories, engine.config.rootless) {
        Err(Errno::INVAL) => {}
        other => return Ok(Some(other?)),
    }
    let rootless = engine.config.rootless;
    let mounted = std::thread::scope(|scope| scope.spawn(|| overlay_by_mount(&directories, rootless)).join());
    Ok(Some(mounted.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?))
}

fn overlay(layers: &[PathBuf], rootless: bool) -> Result<OwnedFd, Errno> {
    let fs = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for layer in layers {
        fsconfig_set_string(fs.as_fd(), "lowerdir+", layer.as_path())?;
    }
    if rootless {
        fsconfig_set_flag(fs.as_fd(), "userxattr")?;
    }
    fsconfig_create(fs.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY;
    rustix::mount::fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Kernels before 6.5 lack `lowerdir+`: there mount(2) takes all layers in one string of a page, short names of
/// descriptors instead of paths. It needs a place, which only the calling thread sees and which goes with it.
fn overlay_by_mount(layers: &[PathBuf], rootless: bool) -> Result<OwnedFd, Errno> {
    cais_sys::mountns::unshare_mounts()?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    // Opened here: overlay takes no layer of another mount namespace.
    let layers: Vec<OwnedFd> = layers.iter().map(|path| open_path(path)).collect::<Result<_, _>>()?;
    let names: Vec<String> =
        layers.iter().map(|layer| format!("/proc/self/fd/{}", layer.as_raw_fd())).collect();
    let options = format!("lowerdir={}{}", names.join(":"), if rootless { ",userxattr" } else { "" });
    let options = CString::new(options).map_err(|_| Errno::INVAL)?;
    let place = "/proc";
    mount("overlay", place, "overlay", MountFlags::RDONLY, options.as_c_str())?;
    open_path(Path::new(place))
}

fn open_path(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn copy_directory(source: &OwnedFd, target: &OwnedFd) -> io::Result<()> {
    for entry in Dir::read_from(source)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            copy_entry(source.as_fd(), target.as_fd(), name)?;
        }
    }
    let stat = rustix::fs::fstat(source)?;
    copy_xattrs(source, target)?;
    rustix::fs::fchown(target, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    rustix::fs::fchmod(target, Mode::from_raw_mode(stat.st_mode as RawMode & 0o7777))?;
    Ok(rustix::fs::futimens(target, &times(&stat))?)
}

fn copy_entry(source: BorrowedFd<'_>, target: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    let stat = rustix::fs::statat(source, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let mode = Mode::from_raw_mode(stat.st_mode as RawMode & 0o7777);
    let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    match FileType::from_raw_mode(stat.st_mode as RawMode) {
        FileType::Directory => {
            rustix::fs::mkdirat(target, name, Mode::RWXU)?;
            let from = rustix::fs::openat(source, name, read | OFlags::DIRECTORY, Mode::empty())?;
            let to = rustix::fs::openat(target, name, read | OFlags::DIRECTORY, Mode::empty())?;
            return copy_directory(&from, &to);
        }
        FileType::RegularFile => {
            let from = rustix::fs::openat(source, name, read, Mode::empty())?;
            let write = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let to = rustix::fs::openat(target, name, write, Mode::RUSR | Mode::WUSR)?;
            copy_xattrs(&from, &to)?;
            let (mut from, mut to) = (File::from(from), File::from(to));
            io::copy(&mut from, &mut to)?;
            rustix::fs::fchown(&to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
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
    let owner = (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)));
    rustix::fs::chownat(target, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(rustix::fs::utimensat(target, name, &times(&stat), AtFlags::SYMLINK_NOFOLLOW)?)
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
