//! A directory tree as a series of entries: parents before children, names in the order of their bytes.
//!
//! Works on descriptors: every object is one name in an open directory, no link is followed, so that a tree to which
//! somebody else writes meanwhile can lead nowhere else. What vanishes meanwhile is left out. Sockets are left out, too:
//! no archive has them. Of several names of one file the first is the file and the others are hard links to it.
//! In the upper directory of an overlay a whiteout comes as the character device 0:0 that it is; overlayfs' own attributes never come.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, openat, readlinkat, statat};
use rustix::io::Errno;

use crate::error::LayerError;
use crate::tar::{Entry, EntryKind, Timestamp, Xattr};

/// An object of the tree.
#[derive(Debug)]
pub struct Object {
    /// All but its content.
    pub entry: Entry,
    /// A file, open for reading.
    pub content: Option<OwnedFd>,
}

/// How a tree is walked.
#[derive(Debug, Clone, Copy, Default)]
pub struct WalkOptions {
    /// Goes on below mount points; otherwise they are empty directories.
    pub cross_mounts: bool,
}

/// First names of files that have several, by device and inode.
#[derive(Debug, Default)]
pub struct Links(HashMap<(u64, u64), Vec<u8>>);

/// Walks what `name` is in the directory `parent`; `.` is that directory itself. Its path in the entries is `path`, which may be
/// empty for a directory: then only what is in it comes.
///
/// # Errors
/// Those of `visit`, and what the kernel says when something is there but cannot be read.
pub fn walk<E: From<LayerError>>(
    parent: BorrowedFd<'_>,
    name: &CStr,
    path: &[u8],
    options: WalkOptions,
    visit: &mut dyn FnMut(Object) -> Result<(), E>,
) -> Result<(), E> {
    let device = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|errno| LayerError::call("look at", path, errno))?
        .st_dev;
    let mut walk = Walk { options, device, links: Links::default(), visit };
    walk.object(parent, name, path)
}

/// One object; `None` when it is gone, or a socket.
///
/// # Errors
/// What the kernel says when it is there but cannot be read.
pub fn read_object(
    parent: BorrowedFd<'_>,
    name: &CStr,
    path: &[u8],
    links: &mut Links,
) -> Result<Option<Object>, LayerError> {
    Ok(describe(parent, name, path, links)?.map(|(object, _)| object))
}

struct Walk<'a, E> {
    options: WalkOptions,
    device: u64,
    links: Links,
    visit: &'a mut dyn FnMut(Object) -> Result<(), E>,
}

impl<E: From<LayerError>> Walk<'_, E> {
    fn object(&mut self, parent: BorrowedFd<'_>, name: &CStr, path: &[u8]) -> Result<(), E> {
        let Some((mut object, stat)) = describe(parent, name, path, &mut self.links)? else { return Ok(()) };
        if object.entry.kind != EntryKind::Directory {
            return (self.visit)(object);
        }
        // Its descriptor is for us.
        let directory = object.content.take();
        if !path.is_empty() {
            (self.visit)(object)?;
        }
        match directory {
            Some(directory) if self.options.cross_mounts || stat.st_dev == self.device => {
                self.children(&directory, path)
            }
            _ => Ok(()),
        }
    }

    fn children(&mut self, directory: &OwnedFd, path: &[u8]) -> Result<(), E> {
        for name in names(directory.as_fd(), path)? {
            let child = if path.is_empty() {
                name.as_bytes().to_vec()
            } else {
                [path, b"/", name.as_bytes()].concat()
            };
            self.object(directory.as_fd(), &name, &child)?;
        }
        Ok(())
    }
}

/// The names in a directory, in the order of their bytes.
pub(crate) fn names(directory: BorrowedFd<'_>, path: &[u8]) -> Result<Vec<CString>, LayerError> {
    let failed = |errno| LayerError::call("list the directory", path, errno);
    let mut names = Vec::new();
    for entry in Dir::read_from(directory).map_err(failed)? {
        let entry = match entry {
            // Removed while it was read.
            Err(Errno::NOENT) => break,
            other => other.map_err(failed)?,
        };
        let name = entry.file_name();
        if name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn describe(
    parent: BorrowedFd<'_>,
    name: &CStr,
    path: &[u8],
    links: &mut Links,
) -> Result<Option<(Object, Stat)>, LayerError> {
    let failed = |operation| move |errno| LayerError::call(operation, path, errno);
    let stat = match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(None),
        other => other.map_err(failed("look at"))?,
    };
    let Some(kind) = kind_of(&stat) else { return Ok(None) };
    let mut entry = Entry {
        kind,
        path: path.to_vec(),
        uid: u64::from(stat.st_uid),
        gid: u64::from(stat.st_gid),
        mtime: Timestamp { seconds: stat.st_mtime, nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or(0) },
        ..Entry::plain(stat.st_mode & 0o7777)
    };
    if kind != EntryKind::Directory && stat.st_nlink > 1 && !is_whiteout(&stat) {
        if let Some(first) = links.0.get(&(stat.st_dev, stat.st_ino)) {
            entry.kind = EntryKind::HardLink;
            entry.link.clone_from(first);
            return Ok(Some((Object { entry, content: None }, stat)));
        }
        links.0.insert((stat.st_dev, stat.st_ino), path.to_vec());
    }
    let mut content = None;
    match kind {
        EntryKind::File | EntryKind::Directory => {
            // Not a pipe that somebody has put there meanwhile and that would make us wait.
            let mut flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
            if kind == EntryKind::Directory {
                flags |= OFlags::DIRECTORY;
            }
            let file = match openat(parent, name, flags, Mode::empty()) {
                // Gone, or something else by now.
                Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::NXIO) => return Ok(None),
                other => other.map_err(failed("open"))?,
            };
            let now = rustix::fs::fstat(&file).map_err(failed("look at"))?;
            if kind_of(&now) != Some(kind) {
                return Ok(None);
            }
            if kind == EntryKind::File {
                entry.size_bytes = u64::try_from(now.st_size).unwrap_or(0);
            }
            entry.xattrs = xattrs(&Place::Open(file.as_fd())).map_err(failed("read the attributes of"))?;
            content = Some(file);
        }
        EntryKind::Symlink => {
            let target = readlinkat(parent, name, Vec::new()).map_err(failed("read the symlink"))?;
            entry.link = target.into_bytes();
        }
        EntryKind::CharDevice | EntryKind::BlockDevice => {
            entry.device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        }
        EntryKind::Fifo | EntryKind::HardLink => {}
    }
    if content.is_none() && !is_whiteout(&stat) {
        // There is no lgetxattrat before Linux 6.13.
        let at = [format!("/proc/self/fd/{}/", parent.as_raw_fd()).as_bytes(), name.to_bytes()].concat();
        match xattrs(&Place::Named(&at)) {
            Err(Errno::NOENT) => return Ok(None),
            other => entry.xattrs = other.map_err(failed("read the attributes of"))?,
        }
    }
    Ok(Some((Object { entry, content }, stat)))
}

fn kind_of(stat: &Stat) -> Option<EntryKind> {
    Some(match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => EntryKind::File,
        FileType::Directory => EntryKind::Directory,
        FileType::Symlink => EntryKind::Symlink,
        FileType::CharacterDevice => EntryKind::CharDevice,
        FileType::BlockDevice => EntryKind::BlockDevice,
        FileType::Fifo => EntryKind::Fifo,
        _ => return None,
    })
}

/// How overlayfs says that a name of a lower layer is gone.
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

enum Place<'a> {
    Open(BorrowedFd<'a>),
    Named(&'a [u8]),
}

/// The attributes that belong to the object: not overlayfs' own, and not those that the host's policy gives.
fn xattrs(place: &Place<'_>) -> Result<Vec<Xattr>, Errno> {
    let mut names = vec![0_u8; 1024];
    let length = loop {
        let listed = match place {
            Place::Open(file) => rustix::fs::flistxattr(file, &mut names),
            Place::Named(path) => rustix::fs::llistxattr(*path, &mut names),
        };
        match listed {
            Err(Errno::RANGE) if names.len() < 65_536 => names.resize(65_536, 0),
            Err(Errno::OPNOTSUPP | Errno::ACCESS | Errno::PERM) => return Ok(Vec::new()),
            other => break other?,
        }
    };
    let mut found = Vec::new();
    for name in names[..length].split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        if !is_content(name.to_bytes()) {
            continue;
        }
        let mut value = vec![0_u8; 65_536];
        let length = match place {
            Place::Open(file) => rustix::fs::fgetxattr(file, name, &mut value),
            Place::Named(path) => rustix::fs::lgetxattr(*path, name, &mut value),
        };
        match length {
            Ok(length) => {
                value.truncate(length);
                value.shrink_to_fit();
                found.push(Xattr { name: name.to_bytes().to_vec(), value });
            }
            // Removed meanwhile, or not for us.
            Err(Errno::NODATA | Errno::ACCESS | Errno::PERM | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error),
        }
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

fn is_content(name: &[u8]) -> bool {
    let overlay = name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.");
    let kinds: [&[u8]; 3] = [b"user.", b"trusted.", b"system.posix_acl_"];
    !overlay && (kinds.iter().any(|kind| name.starts_with(kind)) || name == b"security.capability")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn list(root: &std::path::Path, name: &CStr, path: &[u8]) -> Vec<String> {
        let directory = std::fs::File::open(root).unwrap();
        let mut lines = Vec::new();
        walk(directory.as_fd(), name, path, WalkOptions::default(), &mut |object: Object| {
            let entry = object.entry;
            let link = String::from_utf8_lossy(&entry.link).into_owned();
            let path = String::from_utf8_lossy(&entry.path).into_owned();
            lines.push(format!("{:?} {path} {link} {}", entry.kind, entry.size_bytes));
            Ok::<(), LayerError>(())
        })
        .unwrap();
        lines
    }

    #[test]
    fn in_the_order_of_names_and_links_last() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        std::fs::create_dir_all(at("d/b")).unwrap();
        std::fs::write(at("d/a"), "12345").unwrap();
        std::fs::hard_link(at("d/a"), at("d/b/z")).unwrap();
        symlink("../nowhere", at("d/c")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("d/socket")).unwrap();
        let below = ["File a  5", "Directory b  0", "HardLink b/z a 0", "Symlink c ../nowhere 0"];
        assert_eq!(list(root.path(), c"d", b""), below);
        let named: Vec<String> = [
            "Directory x  0",
            "File x/a  5",
            "Directory x/b  0",
            "HardLink x/b/z x/a 0",
            "Symlink x/c ../nowhere 0",
        ]
        .map(str::to_owned)
        .to_vec();
        assert_eq!(list(root.path(), c"d", b"x"), named);
        assert_eq!(list(&at("d"), c".", b"x"), named);
        assert_eq!(list(root.path(), c"d/a", b"f"), ["File f  5"]);
    }
}
