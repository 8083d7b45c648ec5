//! procfs of our own: detached, so that nothing of the container can be mounted over any of it, and verified at each
//! write to be procfs (CVE-2019-16884, CVE-2019-19921, CVE-2025-52881).

use cais_plan::Str;
use cais_plan::wire::detail;

use crate::child::Child;
use crate::mounts::Failure;
use crate::sys::{self, Result};

/// A directory that is procfs: a new instance, else a clone of the one on /proc, else /proc itself.
///
/// # Errors
/// `NOT_PROC`, or the errno of the last try.
pub fn open() -> core::result::Result<i32, Failure> {
    let proc = c"/proc".to_bytes();
    let fd = new_instance()
        .or_else(|_| sys::open_tree(sys::AT_FDCWD, proc, false))
        .or_else(|_| sys::open_tree(sys::AT_FDCWD, proc, true))
        .or_else(|_| sys::open(proc, sys::O_PATH | sys::O_DIRECTORY))
        .map_err(|e| (e, detail::NONE))?;
    verify(fd)
}

fn new_instance() -> Result<i32> {
    let fs = sys::fsopen(c"proc".to_bytes())?;
    let attributes = sys::MOUNT_ATTR_NOSUID | sys::MOUNT_ATTR_NODEV | sys::MOUNT_ATTR_NOEXEC;
    let made = sys::fsconfig_create(fs).and_then(|()| sys::fsmount(fs, attributes));
    sys::close(fs);
    made
}

/// The descriptor if it lies on procfs; else it is closed.
fn verify(fd: i32) -> core::result::Result<i32, Failure> {
    if sys::fs_magic(fd) == Ok(sys::PROC_SUPER_MAGIC) {
        return Ok(fd);
    }
    sys::close(fd);
    Err((sys::EPERM, detail::NOT_PROC))
}

/// Opens a file of `proc`, staying on the one mount and following no magic link.
///
/// # Errors
/// `NOT_PROC`, or the errno of opening it.
pub fn open_file(proc: i32, file: &[u8], flags: u32) -> core::result::Result<i32, Failure> {
    let resolve = sys::RESOLVE_BENEATH | sys::RESOLVE_NO_XDEV | sys::RESOLVE_NO_MAGICLINKS;
    let fd = match sys::openat2(proc, file, flags, resolve) {
        // Something is mounted over it, or it is a link that leads away.
        Err(sys::EXDEV) => return Err((sys::EXDEV, detail::NOT_PROC)),
        other => other.map_err(|e| (e, detail::NONE))?,
    };
    verify(fd)
}

/// Writes a file of `proc` in one write.
///
/// # Errors
/// `NOT_PROC`, or the errno of opening or writing it.
pub fn write(proc: i32, file: &[u8], content: &[u8]) -> core::result::Result<(), Failure> {
    let fd = open_file(proc, file, sys::O_WRONLY)?;
    let written = sys::write(fd, content);
    sys::close(fd);
    written.map(drop).map_err(|e| (e, detail::NONE))
}

impl Child<'_> {
    /// Our procfs, opened when first needed.
    pub(crate) fn proc(&mut self) -> core::result::Result<i32, Failure> {
        if self.proc < 0 {
            self.proc = open()?;
        }
        Ok(self.proc)
    }

    pub(crate) fn forget_proc(&mut self) {
        if self.proc >= 0 {
            sys::close(self.proc);
        }
        self.proc = -1;
    }

    /// Writes a file of the container's procfs, by its absolute path: it must be procfs that is mounted there, not
    /// what an image's link leads to, and nothing may be mounted over the file. Another file is written as it is.
    pub(crate) fn write_file(&mut self, path: Str<'_>, content: &[u8]) -> core::result::Result<(), Failure> {
        let root = self.root()?;
        let plain = |e| (e, detail::NONE);
        if let Some(file) = path.0.strip_prefix(b"/proc/") {
            let resolve = sys::RESOLVE_IN_ROOT | sys::RESOLVE_NO_SYMLINKS | sys::RESOLVE_NO_MAGICLINKS;
            let flags = sys::O_PATH | sys::O_DIRECTORY;
            let proc = verify(sys::openat2(root, c"proc".to_bytes(), flags, resolve).map_err(plain)?)?;
            let written = write(proc, file, content);
            sys::close(proc);
            return written;
        }
        let fd = sys::open_in_root(root, path.0, sys::O_WRONLY).map_err(plain)?;
        let written = sys::write(fd, content).map(drop);
        sys::close(fd);
        written.map_err(plain)
    }

    /// Adds to a regular file of the container's root itself; one that is missing, or is something else, stays as it is.
    ///
    /// No link of the image is followed and no mount is entered: not into procfs, which is writable yet, nor into a volume.
    pub(crate) fn append_file(&mut self, path: Str<'_>, content: &[u8]) -> core::result::Result<(), Failure> {
        let root = self.root()?;
        let plain = |e| (e, detail::NONE);
        // Non-blocking: an image may have put a FIFO there.
        let flags = sys::O_WRONLY | sys::O_APPEND | sys::O_NONBLOCK | sys::O_NOCTTY;
        let resolve = sys::RESOLVE_IN_ROOT
            | sys::RESOLVE_NO_SYMLINKS
            | sys::RESOLVE_NO_MAGICLINKS
            | sys::RESOLVE_NO_XDEV;
        let fd = match sys::openat2(root, path.0, flags, resolve) {
            Err(sys::ENOENT | sys::ENOTDIR | sys::ELOOP | sys::EXDEV) => return Ok(()),
            other => other.map_err(plain)?,
        };
        let regular = sys::fstat(fd).is_ok_and(|stat| stat.is_regular());
        let written = if regular { sys::write_all(fd, content) } else { Ok(()) };
        sys::close(fd);
        written.map_err(plain)
    }

    /// Labels the next execve(2), through a procfs of our own: a container that we have joined may have mounted what it
    /// likes on its /proc.
    pub(crate) fn label(&mut self, file: Str<'_>, label: Str<'_>) -> core::result::Result<(), Failure> {
        let resolve = sys::RESOLVE_BENEATH | sys::RESOLVE_NO_XDEV | sys::RESOLVE_NO_MAGICLINKS;
        let flags = sys::O_PATH | sys::O_DIRECTORY;
        let proc = self.proc()?;
        let attributes = sys::openat2(proc, c"self/attr".to_bytes(), flags, resolve);
        let attributes = attributes.map_err(|e| (e, detail::NONE))?;
        let written = write(attributes, file.0, label.0);
        sys::close(attributes);
        written
    }

    pub(crate) fn write_proc(&mut self, file: Str<'_>, content: &[u8]) -> core::result::Result<(), Failure> {
        let proc = self.proc()?;
        write(proc, file.0, content)
    }
}
