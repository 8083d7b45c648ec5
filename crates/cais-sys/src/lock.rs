//! Open-file-description locks (`F_OFD_SETLK` of fcntl(2)), which rustix does not have.
//!
//! Such a lock belongs to the open file description: it lives until the last descriptor that shares it is closed,
//! so a process that inherits the descriptor (the shim) inherits the lock, and a killed one drops it. Always the
//! whole file, always a write lock: there is one holder or none. Two opens of the same file in one process do
//! exclude each other, unlike with the older POSIX locks.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// A held write lock on a whole file; given up when the last descriptor of its open file description closes.
#[derive(Debug)]
pub struct OfdLock {
    file: File,
}

impl OfdLock {
    /// Waits until the lock is free and takes it; `file` must be open for writing.
    ///
    /// # Errors
    /// `EBADF` when the file is not open for writing, `ENOLCK` where the file system has no locks.
    pub fn take(file: File) -> io::Result<OfdLock> {
        loop {
            match request(&file, libc::F_OFD_SETLKW, libc::F_WRLCK) {
                Ok(_) => return Ok(OfdLock { file }),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes the lock if nobody holds it; `None` when somebody does.
    ///
    /// # Errors
    /// As [`OfdLock::take`].
    pub fn try_take(file: File) -> io::Result<Option<OfdLock>> {
        match request(&file, libc::F_OFD_SETLK, libc::F_WRLCK) {
            Ok(_) => Ok(Some(OfdLock { file })),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The file with which this program was started at a descriptor of that number, and the lock on it: its own already,
    /// or free. The number itself is left alone, but does not outlive an exec.
    ///
    /// # Errors
    /// `EBADF` when there is none; `WouldBlock` when somebody else holds the lock.
    pub fn inherited(number: RawFd) -> io::Result<OfdLock> {
        // SAFETY: fcntl(2) on a number: what it does to a descriptor that is not ours is to copy it.
        let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
        if copy < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: fresh, so nobody else owns it.
        let file = File::from(unsafe { OwnedFd::from_raw_fd(copy) });
        // SAFETY: as above; that the flag is set harms nobody in this process.
        unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
        OfdLock::try_take(file)?.ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }

    /// The locked file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The locked file itself; the lock stays with it.
    pub fn into_file(self) -> File {
        self.file
    }
}

impl AsFd for OfdLock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Whether some other open file description holds a lock on this file; `file` may be open for reading only.
///
/// # Errors
/// Where the file system has no locks.
pub fn is_held(file: impl AsFd) -> io::Result<bool> {
    request(file, libc::F_OFD_GETLK, libc::F_WRLCK).map(|kind| kind != libc::F_UNLCK)
}

/// One fcntl over the whole file; returns the lock type that the kernel leaves in the structure.
fn request(file: impl AsFd, command: libc::c_int, kind: libc::c_int) -> io::Result<libc::c_int> {
    // SAFETY: `flock` is plain data for which all zeroes is a valid value (whole file, pid 0 as OFD locks need).
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    // The constants are small numbers; the field is a c_short.
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    // SAFETY: the descriptor is borrowed for the call and `lock` outlives it.
    let result = unsafe { libc::fcntl(file.as_fd().as_raw_fd(), command, &mut lock) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(libc::c_int::from(lock.l_type)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;

    #[test]
    fn one_holder_until_the_last_descriptor_closes() {
        let path = std::env::temp_dir().join(format!("cais-lock-{}", std::process::id()));
        let open =
            || OpenOptions::new().create(true).truncate(false).write(true).read(true).open(&path).unwrap();
        let probe = File::open({
            drop(open());
            &path
        })
        .unwrap();
        assert!(!is_held(&probe).unwrap());
        let held = OfdLock::try_take(open()).unwrap().unwrap();
        assert!(is_held(&probe).unwrap());
        assert!(OfdLock::try_take(open()).unwrap().is_none());
        let copy = held.file().try_clone().unwrap();
        drop(held);
        assert!(is_held(&probe).unwrap(), "a duplicate shares the lock");
        drop(copy);
        assert!(!is_held(&probe).unwrap());
        drop(OfdLock::take(open()).unwrap());
        let reader = File::open(&path).unwrap();
        assert_eq!(OfdLock::try_take(reader).unwrap_err().raw_os_error(), Some(libc::EBADF));
        std::fs::remove_file(&path).unwrap();
    }
}
