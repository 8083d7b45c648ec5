//! Descriptors that a program was started with, known by number only (`LISTEN_FDS`, `--preserve-fds`).
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{OwnedFd, RawFd};

use crate::spawn::own;

/// A duplicate, close-on-exec, of the descriptor that the caller of this program left open at `number`.
///
/// # Errors
/// `EBADF` when nothing is open there, or only something that this program opened itself: everything of ours is
/// close-on-exec, which no inherited descriptor can be.
pub fn duplicate(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: only reads the flags of a number, whatever it stands for.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    if flags & libc::FD_CLOEXEC != 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: as above; the new number is nobody else's.
    own(unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 0) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn only_what_was_inherited() {
        let ours = std::fs::File::open("/dev/null").expect("open");
        assert_eq!(duplicate(ours.as_raw_fd()).expect_err("ours").raw_os_error(), Some(libc::EBADF));
        assert_eq!(duplicate(1_000_000).expect_err("none").raw_os_error(), Some(libc::EBADF));
        assert!(duplicate(0).is_ok(), "standard input is inherited");
    }
}
