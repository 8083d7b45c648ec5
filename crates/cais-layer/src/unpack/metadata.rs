//! Owner, mode, times and extended attributes, put onto objects of the tree.
//!
//! The order matters: a change of owner takes setuid bits and capabilities away, so it comes first; the time comes last.
//! Calls that would change nothing are left out: an ordinary file of root costs open, write, utimens and close.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags};
use rustix::io::Errno;

use crate::error::{EntryName, LayerError};
use crate::tar::{Entry, EntryKind, Timestamp, Xattr};

use super::Options;
use super::tree::Node;

/// What the kernel gives to a new object by itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inherited {
    /// User and group; `None` if they cannot be told in advance.
    owner: Option<(u32, u32)>,
    /// Permission bits that are taken away (the umask); all of them if it cannot be told in advance.
    masked: u32,
}

/// What an entry says about its object besides name and content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Metadata<'e> {
    pub(crate) mode: u32,
    pub(crate) size_bytes: u64,
    pub(crate) mtime: Timestamp,
    /// `None`: owners are ignored.
    pub(crate) owner: Option<(u32, u32)>,
    /// Those that are to be set.
    pub(crate) xattrs: Vec<&'e Xattr>,
    pub(crate) rootless: bool,
}

impl Inherited {
    /// Nothing can be told in advance.
    pub(super) const UNKNOWN: Inherited = Inherited { owner: None, masked: 0o777 };

    /// Finds out by a nameless file in `dir`, in which everything is going to be made.
    pub(super) fn probe(dir: BorrowedFd<'_>) -> Inherited {
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        let probed = rustix::fs::openat(dir, c".", flags, Mode::from_raw_mode(0o777))
            .and_then(|file| Ok((rustix::fs::fstat(dir)?, rustix::fs::fstat(file)?)));
        match probed {
            // Below a setgid directory groups and modes depend on the parent.
            Ok((dir, file)) if dir.st_mode & 0o2000 == 0 => {
                Inherited { owner: Some((file.st_uid, file.st_gid)), masked: !file.st_mode & 0o777 }
            }
            _ => Inherited { owner: None, masked: 0o777 },
        }
    }

    /// The mode of something made with `mode`, as far as it can be told.
    pub(super) fn mode_made(&self, mode: u32) -> u32 {
        mode & 0o777 & !self.masked
    }

    /// The owner to set, if it is not there by itself.
    pub(super) fn owner_to_set(&self, wanted: Option<(u32, u32)>) -> Option<(u32, u32)> {
        wanted.filter(|_| self.owner != wanted)
    }
}

impl<'e> Metadata<'e> {
    pub(super) fn of(entry: &'e Entry, options: &Options) -> Result<Metadata<'e>, LayerError> {
        let owner = if options.squash_ids { None } else { Some(checked_owner(entry, options)?) };
        Ok(Metadata {
            mode: entry.mode,
            size_bytes: entry.size_bytes,
            mtime: entry.mtime,
            owner,
            xattrs: entry.xattrs.iter().filter(|xattr| is_wanted(&xattr.name, entry.kind, options)).collect(),
            rootless: options.rootless,
        })
    }

    pub(super) fn apply_to_file(
        &self,
        file: impl AsFd,
        node: &Node<'_>,
        inherited: &Inherited,
    ) -> Result<(), LayerError> {
        if let Some(owner) = inherited.owner_to_set(self.owner) {
            rustix::fs::fchown(&file, Some(uid(owner)), Some(gid(owner)))
                .map_err(|errno| owner_error(node.path, owner, self.rootless, errno))?;
        }
        if self.mode != inherited.mode_made(self.mode) {
            rustix::fs::fchmod(&file, Mode::from_raw_mode(self.mode))
                .map_err(|errno| LayerError::call("set the mode of", node.path, errno))?;
        }
        for xattr in &self.xattrs {
            set_xattr(&file, xattr, node.path, self.rootless)?;
        }
        set_mtime(&file, self.mtime, node.path)
    }

    pub(super) fn apply_to_symlink(&self, node: &Node<'_>, inherited: &Inherited) -> Result<(), LayerError> {
        self.set_owner_by_name(node, inherited)?;
        self.set_xattrs_by_name(node)?;
        self.set_mtime_by_name(node)
    }

    /// For device nodes and pipes, which nobody should open.
    pub(super) fn apply_to_special(&self, node: &Node<'_>, inherited: &Inherited) -> Result<(), LayerError> {
        self.set_owner_by_name(node, inherited)?;
        if self.mode != inherited.mode_made(self.mode) {
            // Would follow a symlink; but the name was made right now, and nobody else writes here.
            let mode = Mode::from_raw_mode(self.mode);
            rustix::fs::chmodat(&node.parent.fd, node.name, mode, AtFlags::empty())
                .map_err(|errno| LayerError::call("set the mode of", node.path, errno))?;
        }
        self.set_xattrs_by_name(node)?;
        self.set_mtime_by_name(node)
    }

    fn set_owner_by_name(&self, node: &Node<'_>, inherited: &Inherited) -> Result<(), LayerError> {
        let Some(owner) = inherited.owner_to_set(self.owner) else {
            return Ok(());
        };
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(&node.parent.fd, node.name, Some(uid(owner)), Some(gid(owner)), flags)
            .map_err(|errno| owner_error(node.path, owner, self.rootless, errno))
    }

    fn set_xattrs_by_name(&self, node: &Node<'_>) -> Result<(), LayerError> {
        if self.xattrs.is_empty() {
            return Ok(());
        }
        // There is no lsetxattrat before Linux 6.13; the descriptor's own link leads to the directory, and the
        // last component is not followed.
        let fd = node.parent.fd.as_raw_fd();
        let path = [format!("/proc/self/fd/{fd}/").as_bytes(), node.name].concat();
        for xattr in &self.xattrs {
            let result = rustix::fs::lsetxattr(&path[..], &xattr.name[..], &xattr.value, XattrFlags::empty());
            judge_xattr(result, xattr, node.path, self.rootless)?;
        }
        Ok(())
    }

    fn set_mtime_by_name(&self, node: &Node<'_>) -> Result<(), LayerError> {
        let times = timestamps(self.mtime);
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(&node.parent.fd, node.name, &times, flags)
            .map_err(|errno| LayerError::call("set the time of", node.path, errno))
    }
}

/// The last id stands for "no change" in system calls, so nothing can belong to it.
fn checked_owner(entry: &Entry, options: &Options) -> Result<(u32, u32), LayerError> {
    let id = |id: u64| u32::try_from(id).ok().filter(|&id| id != u32::MAX);
    match (id(entry.uid), id(entry.gid)) {
        (Some(uid), Some(gid)) => Ok((uid, gid)),
        _ => Err(LayerError::Owner {
            path: EntryName::new(&entry.path),
            uid: entry.uid,
            gid: entry.gid,
            rootless: options.rootless,
            source: io::Error::from(Errno::INVAL),
        }),
    }
}

pub(super) fn uid(owner: (u32, u32)) -> Uid {
    Uid::from_raw(owner.0)
}

pub(super) fn gid(owner: (u32, u32)) -> Gid {
    Gid::from_raw(owner.1)
}

pub(super) fn owner_error(path: &[u8], (uid, gid): (u32, u32), rootless: bool, errno: Errno) -> LayerError {
    if !matches!(errno, Errno::INVAL | Errno::PERM) {
        return LayerError::call("set the owner of", path, errno);
    }
    LayerError::Owner {
        path: EntryName::new(path),
        uid: u64::from(uid),
        gid: u64::from(gid),
        rootless,
        source: io::Error::from(errno),
    }
}

/// Whether an attribute of a layer is put onto the object; see the decisions in [`super`].
fn is_wanted(name: &[u8], kind: EntryKind, options: &Options) -> bool {
    if name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.") {
        return false;
    }
    if name.starts_with(b"trusted.") {
        return !options.rootless;
    }
    match kind {
        EntryKind::File | EntryKind::Directory => {
            name.starts_with(b"user.")
                || name == b"security.capability"
                || (name.starts_with(b"system.posix_acl_") && !options.squash_ids)
        }
        // The kernel has the others on files and directories only.
        _ => false,
    }
}

pub(super) fn set_xattr(
    object: impl AsFd,
    xattr: &Xattr,
    path: &[u8],
    rootless: bool,
) -> Result<(), LayerError> {
    let result = rustix::fs::fsetxattr(object, &xattr.name[..], &xattr.value, XattrFlags::empty());
    judge_xattr(result, xattr, path, rootless)
}

/// A file system without such attributes is no reason to refuse an image, unless what a program may do depends on
/// them; and rootless, capabilities are not ours to give in every case.
fn judge_xattr(
    result: Result<(), Errno>,
    xattr: &Xattr,
    path: &[u8],
    rootless: bool,
) -> Result<(), LayerError> {
    let is_security = xattr.name.starts_with(b"security.");
    match result {
        Ok(()) => Ok(()),
        Err(Errno::OPNOTSUPP) if !is_security || rootless => Ok(()),
        Err(Errno::PERM) if is_security && rootless => Ok(()),
        Err(errno) => Err(LayerError::Xattr {
            path: EntryName::new(path),
            name: EntryName::new(&xattr.name),
            source: io::Error::from(errno),
        }),
    }
}

pub(super) fn set_mtime(object: impl AsFd, mtime: Timestamp, path: &[u8]) -> Result<(), LayerError> {
    rustix::fs::futimens(object, &timestamps(mtime))
        .map_err(|errno| LayerError::call("set the time of", path, errno))
}

fn timestamps(mtime: Timestamp) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanos.into() },
    }
}

/// Marks a directory as hiding its namesakes in lower layers.
pub(super) fn set_opaque(dir: impl AsFd, path: &[u8], rootless: bool) -> Result<(), LayerError> {
    let name = if rootless { "user.overlay.opaque" } else { "trusted.overlay.opaque" };
    rustix::fs::fsetxattr(dir, name, b"y", XattrFlags::empty()).map_err(|errno| LayerError::Xattr {
        path: EntryName::new(path),
        name: EntryName::new(name.as_bytes()),
        source: io::Error::from(errno),
    })
}
