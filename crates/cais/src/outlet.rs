//! One of our output streams, written without ever waiting for its reader, and without making it non-blocking: that
//! flag would belong to everybody who has the file open, such as the caller's shell.
//!
//! Files are written at once. Pipes, sockets and terminals are written with `RWF_NOWAIT` (pwritev2(2)) where the kernel
//! knows it for them, else after poll(2) in pieces that a pipe takes whole (`PIPE_BUF`, pipe(7)).

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};
use rustix::io::{Errno, ReadWriteFlags, pwritev2, write};

const PIPE_BUF: usize = 4096;

/// A stream with the bytes that its reader has not taken yet.
pub struct Outlet<'fd> {
    fd: BorrowedFd<'fd>,
    pending: Vec<u8>,
    written: usize,
    manner: Manner,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Never waits for anybody.
    Direct,
    /// `RWF_NOWAIT`.
    NoWait,
    /// A piece at a time, when poll(2) says so.
    Pieces,
    /// Nobody wants it.
    Discard,
}

impl<'fd> Outlet<'fd> {
    /// An outlet on an open stream; an unwanted one takes everything and writes nothing.
    pub fn new(fd: BorrowedFd<'fd>, wanted: bool) -> Outlet<'fd> {
        let waits = match fstat(fd) {
            Ok(stat) => {
                let kind = FileType::from_raw_mode(stat.st_mode);
                matches!(kind, FileType::Fifo | FileType::Socket) || rustix::termios::isatty(fd)
            }
            Err(_) => false,
        };
        let manner = match (wanted, waits) {
            (false, _) => Manner::Discard,
            (true, false) => Manner::Direct,
            (true, true) => Manner::NoWait,
        };
        Outlet { fd, pending: Vec::new(), written: 0, manner }
    }

    /// Whether bytes wait for the reader; the descriptor is to be polled for output then.
    pub fn is_blocked(&self) -> bool {
        self.written < self.pending.len()
    }

    /// Puts bytes behind what is pending and writes what can be written.
    ///
    /// # Errors
    /// Once, when the reader went away or the disk refuses; everything after that is discarded.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        if self.manner == Manner::Discard {
            return Ok(());
        }
        if self.is_blocked() {
            self.pending.extend_from_slice(bytes);
            return self.flush();
        }
        let done = self.write_some(bytes)?;
        self.pending.clear();
        self.written = 0;
        self.pending.extend_from_slice(&bytes[done..]);
        Ok(())
    }

    /// Writes what can be written of the pending bytes.
    ///
    /// # Errors
    /// As [`Outlet::push`].
    pub fn flush(&mut self) -> Result<(), Errno> {
        let pending = std::mem::take(&mut self.pending);
        let result = self.write_some(&pending[self.written..]);
        self.pending = pending;
        self.written += *result.as_ref().unwrap_or(&0);
        if result.is_err() || !self.is_blocked() {
            self.pending.clear();
            self.written = 0;
        }
        result.map(drop)
    }

    fn write_some(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        let mut done = 0;
        while done < bytes.len() {
            let rest = &bytes[done..];
            let attempt = match self.manner {
                Manner::Discard => return Ok(bytes.len()),
                Manner::Direct => write(self.fd, rest),
                // An offset of -1 means the file's own position.
                Manner::NoWait => pwritev2(self.fd, &[IoSlice::new(rest)], u64::MAX, ReadWriteFlags::NOWAIT),
                Manner::Pieces if !self.takes_more() => return Ok(done),
                Manner::Pieces => write(self.fd, &rest[..rest.len().min(PIPE_BUF)]),
            };
            match attempt {
                Ok(count) => done += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if self.manner == Manner::Direct => self.manner = Manner::Pieces,
                Err(Errno::AGAIN) => return Ok(done),
                Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS | Errno::SPIPE)
                    if self.manner == Manner::NoWait =>
                {
                    self.manner = Manner::Pieces;
                }
                Err(error) => {
                    self.manner = Manner::Discard;
                    return Err(error);
                }
            }
        }
        Ok(done)
    }

    fn takes_more(&self) -> bool {
        let mut fds = [PollFd::new(&self.fd, PollFlags::OUT)];
        matches!(poll(&mut fds, Some(&Timespec::default())), Ok(1..))
    }
}

impl AsFd for Outlet<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::OwnedFd;

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use rustix::pipe::pipe;

    use super::*;

    /// Everything that was pushed arrives, in order, although the reader begins late and nothing ever waits.
    fn through(reader: OwnedFd, writer: OwnedFd, pieces: bool) {
        let bytes: Vec<u8> =
            (0..1_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let mut outlet = Outlet::new(writer.as_fd(), true);
        if pieces {
            outlet.manner = Manner::Pieces;
        }
        outlet.push(&bytes[..600_000]).expect("a reader");
        assert!(outlet.is_blocked(), "a full pipe does not make us wait");
        outlet.push(&bytes[600_000..]).expect("a reader");
        let mut file = std::fs::File::from(reader);
        let mut got = Vec::new();
        let mut buffer = vec![0; 10_000];
        while got.len() < bytes.len() {
            let count = file.read(&mut buffer).expect("readable");
            got.extend_from_slice(&buffer[..count]);
            outlet.flush().expect("a reader");
        }
        assert!(got == bytes && !outlet.is_blocked());
        drop(file);
        assert_eq!(outlet.push(b"x"), Err(Errno::PIPE));
        assert_eq!(outlet.push(b"x"), Ok(()), "told once, then discarded");
    }

    #[test]
    fn pipes_never_make_us_wait() {
        for pieces in [false, true] {
            let (reader, writer) = pipe().expect("a pipe");
            through(reader, writer, pieces);
        }
    }

    #[test]
    fn sockets_never_make_us_wait() {
        let (reader, writer) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).expect("sockets");
        through(reader, writer, false);
    }

    #[test]
    fn files_are_written_at_their_position_and_unwanted_ones_not_at_all() {
        let mut file = tempfile::tempfile().expect("a file");
        for (wanted, text) in [(true, "one"), (false, "two"), (true, "three")] {
            let mut outlet = Outlet::new(file.as_fd(), wanted);
            outlet.push(text.as_bytes()).expect("written");
            assert!(!outlet.is_blocked());
        }
        std::io::Seek::rewind(&mut file).expect("rewound");
        let mut text = String::new();
        file.read_to_string(&mut text).expect("read");
        assert_eq!(text, "onethree");
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") else {
            return println!("skipped: there is no /dev/full");
        };
        assert_eq!(Outlet::new(full.as_fd(), true).push(b"x"), Err(Errno::NOSPC));
    }
}
