//! What the upper directory of an overlay changes in the tree beneath it (kernel: Documentation/filesystems/overlayfs).
//!
//! As Docker tells it: added, changed, deleted, parents before children, names in order. A directory is changed when
//! something in it is, or when its owner or mode differ; a file that overlayfs copied up without anybody having written to
//! it is not. Where a directory was replaced by a new one, what the old one held is deleted, as far as the new one does
//! not hold it. Nothing is followed; nobody else may write to either tree.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, openat, statat};
use rustix::io::Errno;

use crate::error::LayerError;
use crate::walk::{is_whiteout, names};

/// One path that is not as it is beneath.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// From the root, without leading slash.
    pub path: Vec<u8>,
    /// What became of it.
    pub kind: ChangeKind,
}

/// What became of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is another one, or looks different.
    Changed,
    /// It is gone.
    Deleted,
}

/// Compares an upper directory with the merged tree of the layers beneath; `None` when there are none.
///
/// # Errors
/// What the kernel says, and [`LayerError::Redirect`] for a directory that lies elsewhere in the layers.
pub fn changes(upper: BorrowedFd<'_>, lower: Option<BorrowedFd<'_>>) -> Result<Vec<Change>, LayerError> {
    let mut found = Vec::new();
    compare(upper, lower, b"", false, &mut found)?;
    Ok(found)
}

fn compare(
    upper: BorrowedFd<'_>,
    lower: Option<BorrowedFd<'_>>,
    path: &[u8],
    replaced: bool,
    found: &mut Vec<Change>,
) -> Result<(), LayerError> {
    let above = names(upper, path)?;
    let mut all: BTreeSet<CString> = above.iter().cloned().collect();
    if let (true, Some(lower)) = (replaced, lower) {
        all.extend(names(lower, path)?);
    }
    for name in all {
        let child =
            if path.is_empty() { name.as_bytes().to_vec() } else { [path, b"/", name.as_bytes()].concat() };
        let failed = |errno| LayerError::call("look at", &child, errno);
        let look = |directory: BorrowedFd<'_>| match statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(None),
            other => other.map(Some),
        };
        let old = lower.map(look).transpose().map_err(failed)?.flatten();
        let new = look(upper).map_err(failed)?.filter(|stat| !is_whiteout(stat));
        let kind = match (&old, &new) {
            (None, None) => continue,
            (None, Some(_)) => Some(ChangeKind::Added),
            (Some(_), None) => Some(ChangeKind::Deleted),
            (Some(old), Some(new)) => differs(old, new).then_some(ChangeKind::Changed),
        };
        let place = found.len();
        found.extend(kind.map(|kind| Change { path: child.clone(), kind }));
        if let Some(new) = new
            && is_directory(&new)
        {
            let directory = open(upper, &name, &child)?;
            refuse_redirect(&directory, &child)?;
            let beneath = match (&old, lower) {
                (Some(old), Some(lower)) if is_directory(old) => Some(open(lower, &name, &child)?),
                _ => None,
            };
            let replaced = replaced || is_opaque(&directory).map_err(failed)?;
            compare(directory.as_fd(), beneath.as_ref().map(AsFd::as_fd), &child, replaced, found)?;
            if kind.is_none() && found.len() > place {
                found.insert(place, Change { path: child, kind: ChangeKind::Changed });
            }
        }
    }
    Ok(())
}

fn open(parent: BorrowedFd<'_>, name: &CString, path: &[u8]) -> Result<OwnedFd, LayerError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty()).map_err(|errno| LayerError::call("open", path, errno))
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Docker's comparison: what a copy-up keeps is not looked at.
fn differs(old: &Stat, new: &Stat) -> bool {
    let same = (old.st_mode, old.st_uid, old.st_gid, old.st_rdev)
        == (new.st_mode, new.st_uid, new.st_gid, new.st_rdev);
    let same_content = is_directory(new)
        || (old.st_size, old.st_mtime, old.st_mtime_nsec) == (new.st_size, new.st_mtime, new.st_mtime_nsec);
    !(same && same_content)
}

fn has_mark(directory: &OwnedFd, mark: &str) -> Result<Option<u8>, Errno> {
    for prefix in ["trusted.overlay.", "user.overlay."] {
        let mut value = [0_u8; 1];
        match rustix::fs::fgetxattr(directory, format!("{prefix}{mark}"), &mut value) {
            Ok(length) => return Ok(value[..length].first().copied()),
            Err(Errno::RANGE) => return Ok(Some(0)),
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn is_opaque(directory: &OwnedFd) -> Result<bool, Errno> {
    Ok(has_mark(directory, "opaque")? == Some(b'y'))
}

/// Renamed directories of lower layers are made by copying (`redirect_dir=off`), unless the machine's setting says
/// otherwise: then the upper directory does not hold all of it.
fn refuse_redirect(directory: &OwnedFd, path: &[u8]) -> Result<(), LayerError> {
    match has_mark(directory, "redirect") {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err(LayerError::Redirect { path: crate::error::EntryName::new(path) }),
        Err(errno) => Err(LayerError::call("look at", path, errno)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use rustix::fs::{CWD, XattrFlags, makedev, mknodat};

    use super::*;

    fn told(upper: &Path, lower: &Path) -> Vec<String> {
        let (upper, lower) = (fs::File::open(upper).unwrap(), fs::File::open(lower).unwrap());
        let found = changes(upper.as_fd(), Some(lower.as_fd())).unwrap();
        let word = |kind| match kind {
            ChangeKind::Added => 'A',
            ChangeKind::Changed => 'C',
            ChangeKind::Deleted => 'D',
        };
        found.iter().map(|it| format!("{} {}", word(it.kind), String::from_utf8_lossy(&it.path))).collect()
    }

    #[test]
    fn added_changed_deleted() {
        if !rustix::process::geteuid().is_root() {
            return println!("skipped: whiteouts are made by root");
        }
        let bed = tempfile::tempdir().unwrap();
        let (up, low) = (bed.path().join("up"), bed.path().join("low"));
        for directory in [&up, &low] {
            fs::create_dir_all(directory.join("same/deep")).unwrap();
            fs::create_dir_all(directory.join("fresh/kept")).unwrap();
        }
        for name in ["same/deep/gone", "fresh/old", "fresh/kept/inner", "file", "copied"] {
            fs::write(low.join(name), "x").unwrap();
        }
        let whiteout = |name: &str| {
            let kind = FileType::CharacterDevice;
            mknodat(CWD, up.join(name), kind, Mode::empty(), makedev(0, 0)).unwrap();
        };
        whiteout("same/deep/gone");
        whiteout("never");
        fs::write(up.join("file"), "xy").unwrap();
        fs::write(up.join("new"), "x").unwrap();
        let copied = fs::File::create(up.join("copied")).unwrap();
        std::io::Write::write_all(&mut &copied, b"x").unwrap();
        let time = fs::metadata(low.join("copied")).unwrap().modified().unwrap();
        copied.set_modified(time).unwrap();
        let fresh = fs::File::open(up.join("fresh")).unwrap();
        rustix::fs::fsetxattr(&fresh, "trusted.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
        assert_eq!(
            told(&up, &low),
            [
                "C file",
                "C fresh",
                "C fresh/kept",
                "D fresh/kept/inner",
                "D fresh/old",
                "A new",
                "C same",
                "C same/deep",
                "D same/deep/gone"
            ]
        );
        rustix::fs::fsetxattr(&fresh, "trusted.overlay.redirect", b"/x", XattrFlags::empty()).unwrap();
        let (up, low) = (fs::File::open(&up).unwrap(), fs::File::open(&low).unwrap());
        assert!(matches!(changes(up.as_fd(), Some(low.as_fd())), Err(LayerError::Redirect { .. })));
    }
}
