//! A file's content into another file, on one machine: by the kernel where it can (copy_file_range(2), sendfile(2)),
//! hole by hole (lseek(2), `SEEK_DATA`), without looking at the bytes.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::{SeekFrom, copy_file_range, ftruncate, seek, sendfile};
use rustix::io::{Errno, pread, read, write};

/// What is asked of the kernel at once.
const PIECE_BYTES: usize = 1 << 30;
const BUFFER_BYTES: usize = 1 << 20;

/// How bytes are moved, best first; what does not work between two files is not tried again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Range,
    Send,
    Buffer,
}

/// Copies all of `from` to the beginning of `to`, which is empty; both are regular files. Holes stay holes. Returns
/// the length, which is the one that the file has in the end, not the one that it had when it was looked at.
///
/// # Errors
/// What the kernel says.
pub fn copy_content(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<u64> {
    let size = rustix::fs::fstat(from)?.st_size as u64;
    if size == 0 {
        // Files of proc(5) and their like have content all the same.
        return copy_unsized(from, to);
    }
    let mut manner = Manner::Range;
    let mut at = 0;
    while at < size {
        let start = match seek(from, SeekFrom::Data(at)) {
            Ok(start) => start,
            // Only a hole is left.
            Err(Errno::NXIO) => break,
            Err(_) => at,
        };
        let end = seek(from, SeekFrom::Hole(start)).unwrap_or(size).clamp(start, size);
        let end = if end == start { size } else { end };
        at = copy_range(from, to, start, end, &mut manner)?;
        if at < end {
            // It has become shorter.
            ftruncate(to, at)?;
            return Ok(at);
        }
    }
    ftruncate(to, size)?;
    Ok(size)
}

/// Copies `start..end`; returns how far the file reached.
fn copy_range(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    start: u64,
    end: u64,
    manner: &mut Manner,
) -> io::Result<u64> {
    let mut at = start;
    let mut buffer = Vec::new();
    while at < end {
        let wanted = usize::try_from(end - at).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        let moved = match manner {
            Manner::Range => {
                let (mut read_at, mut write_at) = (at, at);
                copy_file_range(from, Some(&mut read_at), to, Some(&mut write_at), wanted)
            }
            Manner::Send => {
                seek(to, SeekFrom::Start(at))?;
                let mut read_at = at;
                sendfile(to, from, Some(&mut read_at), wanted)
            }
            Manner::Buffer => {
                buffer.resize(BUFFER_BYTES, 0);
                pread(from, &mut buffer[..wanted.min(BUFFER_BYTES)], at)
                    .and_then(|count| write_at(to, &buffer[..count], at).map(|()| count))
            }
        };
        match moved {
            // Some file systems say so of files that they cannot copy in this way.
            Ok(0) if *manner == Manner::Range => *manner = Manner::Send,
            Ok(0) => break,
            Ok(count) => at += count as u64,
            Err(Errno::INTR) => {}
            Err(Errno::NOSPC | Errno::DQUOT | Errno::IO) | Err(Errno::FBIG) => {
                return Err(moved.err().unwrap_or(Errno::IO).into());
            }
            Err(_) if *manner == Manner::Range => *manner = Manner::Send,
            Err(_) if *manner == Manner::Send => *manner = Manner::Buffer,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(at)
}

fn write_at(to: BorrowedFd<'_>, mut bytes: &[u8], mut at: u64) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        let count = rustix::io::pwrite(to, bytes, at)?;
        bytes = &bytes[count..];
        at += count as u64;
    }
    Ok(())
}

fn copy_unsized(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<u64> {
    let mut buffer = vec![0; 64 * 1024];
    let mut total = 0;
    loop {
        let count = match read(from, &mut buffer) {
            Ok(0) => return Ok(total),
            Ok(count) => count,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        let mut bytes = &buffer[..count];
        while !bytes.is_empty() {
            let written = write(to, bytes)?;
            bytes = &bytes[written..];
        }
        total += count as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, Write};
    use std::os::fd::AsFd;
    use std::os::unix::fs::{FileExt, MetadataExt};

    use super::*;

    #[test]
    fn holes_stay_holes() {
        let from = tempfile::tempfile().unwrap();
        from.write_all_at(b"begin", 0).unwrap();
        from.write_all_at(b"middle", 8 << 20).unwrap();
        from.set_len(32 << 20).unwrap();
        let mut to = tempfile::tempfile().unwrap();
        assert_eq!(copy_content(from.as_fd(), to.as_fd()).unwrap(), 32 << 20);
        let meta = to.metadata().unwrap();
        assert_eq!(meta.len(), 32 << 20);
        assert!(meta.blocks() * 512 < 1 << 20, "{} blocks", meta.blocks());
        let mut bytes = Vec::new();
        to.rewind().unwrap();
        to.read_to_end(&mut bytes).unwrap();
        assert!(bytes.starts_with(b"begin\0") && bytes[8 << 20..].starts_with(b"middle\0"));
    }

    #[test]
    fn every_manner_copies() {
        let mut from = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> =
            (0..3_000_001_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        from.write_all(&bytes).unwrap();
        for mut manner in [Manner::Range, Manner::Send, Manner::Buffer] {
            let mut to = tempfile::tempfile().unwrap();
            let size = bytes.len() as u64;
            assert_eq!(copy_range(from.as_fd(), to.as_fd(), 0, size, &mut manner).unwrap(), size);
            let mut copied = Vec::new();
            to.rewind().unwrap();
            to.read_to_end(&mut copied).unwrap();
            assert!(copied == bytes);
        }
    }

    #[test]
    fn files_without_a_size_have_content() {
        let from = std::fs::File::open("/proc/self/status").unwrap();
        let to = tempfile::tempfile().unwrap();
        assert!(copy_content(from.as_fd(), to.as_fd()).unwrap() > 100);
    }
}
