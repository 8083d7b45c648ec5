//! Removes directory trees that others filled: upper directories, volumes, half unpacked layers.
//!
//! Works on descriptors only: never follows a link, never leaves the file system through a mount point (that is an
//! error and the mount stays), never recurses deeper than a fixed depth however deep the tree is, because deep
//! directories are first moved to the top. Goes on after an error and reports the first.

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags};
use rustix::io::Errno;

use crate::files::random_hex;

/// Levels of recursion; each costs one descriptor and one buffer.
const DEPTH_MAX: usize = 64;
const BUFFER_BYTES: usize = 16 * 1024;

/// Removes `name` in the directory `parent`, whatever it is; a missing one is no error.
///
/// # Errors
/// The first error met; everything that could be removed is gone even then.
pub(crate) fn remove_tree(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    let mut removal = Removal { top: parent, moved: Vec::new(), first_error: None };
    removal.remove(parent, name, FileType::Unknown, 0);
    while let Some(name) = removal.moved.pop() {
        removal.remove(parent, &name, FileType::Directory, 0);
    }
    match removal.first_error {
        None => Ok(()),
        Some(error) => Err(error.into()),
    }
}

struct Removal<'fd> {
    top: BorrowedFd<'fd>,
    /// Deep directories that were moved to the top, still to be removed.
    moved: Vec<std::ffi::CString>,
    first_error: Option<Errno>,
}

impl Removal<'_> {
    fn remove(&mut self, parent: BorrowedFd<'_>, name: &CStr, kind: FileType, depth: usize) {
        if kind != FileType::Directory {
            match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => return,
                // Linux answers EISDIR, POSIX allows EPERM.
                Err(Errno::ISDIR | Errno::PERM) if kind == FileType::Unknown => {}
                Err(error) => return self.note(error),
            }
        }
        // Most directories of a writable layer are empty or nearly so: no use in opening the empty ones.
        match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return,
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::ACCESS) => {}
            Err(error) => return self.note(error),
        }
        if depth >= DEPTH_MAX {
            return self.move_up(parent, name);
        }
        let directory = match open_directory(parent, name) {
            Ok(directory) => directory,
            Err(Errno::NOENT) => return,
            Err(error) => return self.note(error),
        };
        // A directory that shrinks while it is read may hide entries: read again until a pass finds none.
        loop {
            let found = self.empty(directory.as_fd(), depth);
            match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => return,
                Err(Errno::NOTEMPTY | Errno::EXIST) if found && self.first_error.is_none() => {}
                Err(error) => return self.note(error),
            }
            if let Err(error) = rustix::fs::seek(&directory, rustix::fs::SeekFrom::Start(0)) {
                return self.note(error);
            }
        }
    }

    /// Removes the entries of a directory in one pass; `false` when there were none.
    fn empty(&mut self, directory: BorrowedFd<'_>, depth: usize) -> bool {
        let mut buffer: Vec<MaybeUninit<u8>> = vec![MaybeUninit::uninit(); BUFFER_BYTES];
        let mut entries = RawDir::new(directory, &mut buffer);
        let mut found = false;
        while let Some(entry) = entries.next() {
            match entry {
                Ok(entry) if matches!(entry.file_name().to_bytes(), b"." | b"..") => {}
                Ok(entry) => {
                    found = true;
                    self.remove(directory, entry.file_name(), entry.file_type(), depth + 1);
                }
                Err(error) => {
                    self.note(error);
                    return found;
                }
            }
        }
        found
    }

    fn move_up(&mut self, parent: BorrowedFd<'_>, name: &CStr) {
        let Ok(fresh) = std::ffi::CString::new(format!("deep-{}", random_hex(8))) else { return };
        match rustix::fs::renameat(parent, name, self.top, &fresh) {
            Ok(()) => self.moved.push(fresh),
            Err(Errno::NOENT) => {}
            Err(error) => self.note(error),
        }
    }

    fn note(&mut self, error: Errno) {
        self.first_error.get_or_insert(error);
    }
}

/// Opens a directory for reading without following a link or crossing a mount point; opens up a closed one.
fn open_directory(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let beneath = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
    match rustix::fs::openat2(parent, name, flags, Mode::empty(), beneath) {
        Err(Errno::ACCESS) => {
            // Mode 000 without CAP_DAC_OVERRIDE: we are the owner, so make it readable, through a descriptor.
            let path = rustix::fs::openat2(
                parent,
                name,
                OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                Mode::empty(),
                beneath,
            )?;
            let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&path));
            rustix::fs::chmod(link, Mode::RWXU)?;
            rustix::fs::openat2(parent, name, flags, Mode::empty(), beneath)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    fn remove(directory: &Path, name: &str) -> io::Result<()> {
        let name = std::ffi::CString::new(name).unwrap();
        remove_tree(File::open(directory).unwrap().as_fd(), &name)
    }

    #[test]
    fn links_are_removed_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path();
        fs::create_dir_all(base.join("keep/in")).unwrap();
        fs::write(base.join("keep/file"), "x").unwrap();
        fs::create_dir_all(base.join("t/a/b")).unwrap();
        fs::write(base.join("t/a/file"), "y").unwrap();
        symlink(base.join("keep"), base.join("t/a/link")).unwrap();
        symlink("/", base.join("t/root")).unwrap();
        fs::set_permissions(base.join("t/a/b"), fs::Permissions::from_mode(0o0)).unwrap();
        remove(base, "t").unwrap();
        assert!(!base.join("t").exists());
        assert!(base.join("keep/file").exists() && base.join("keep/in").exists());
        remove(base, "t").unwrap();
        symlink(base.join("keep"), base.join("l")).unwrap();
        remove(base, "l").unwrap();
        assert!(base.join("keep/file").exists());
    }

    #[test]
    fn any_depth_and_width() {
        let directory = tempfile::tempdir().unwrap();
        let mut at: OwnedFd = File::open(directory.path()).unwrap().into();
        for _ in 0..600 {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
            at = rustix::fs::openat(&at, "d", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
        drop(at);
        for number in 0..2000 {
            File::create(directory.path().join("d").join(number.to_string())).unwrap();
        }
        remove(directory.path(), "d").unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_mount_point_stays() {
        let directory = tempfile::tempdir().unwrap();
        let (outside, inside) = (directory.path().join("outside"), directory.path().join("t/inside"));
        fs::create_dir_all(&outside).unwrap();
        fs::create_dir_all(&inside).unwrap();
        fs::write(outside.join("precious"), "x").unwrap();
        fs::write(directory.path().join("t/other"), "x").unwrap();
        if let Err(error) = rustix::mount::mount_bind(&outside, &inside) {
            println!("skipped: cannot bind mount here: {error}");
            return;
        }
        let result = remove(directory.path(), "t");
        rustix::mount::unmount(&inside, rustix::mount::UnmountFlags::DETACH).unwrap();
        assert!(result.is_err());
        assert!(outside.join("precious").exists());
        assert!(!directory.path().join("t/other").exists());
        remove(directory.path(), "t").unwrap();
    }
}
