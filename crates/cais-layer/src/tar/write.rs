//! A tar writer: ustar headers, and PAX records for whatever does not fit into them (pax(1), "Extended header").
//!
//! What it writes is a function of the entries alone, so that the tar of a tree, and with it the tree's diff_id, can be
//! made again at any time. Times are cut to whole seconds, as all builders of images do: fractions would cost two more
//! blocks for every file. Holes are written as zeros. Paths are written as they are given.

use std::io::{self, Write};
use std::os::fd::AsFd;

use rustix::io::Errno;

use super::entry::{Entry, EntryKind};
use super::header::BLOCK_BYTES;

const NAME_BYTES: usize = 100;
const BUFFER_BYTES: usize = 256 * 1024;
/// The largest numbers of the fields of 8 and 12 bytes.
const SHORT_MAX: u64 = 0o777_7777;
const LONG_MAX: u64 = 0o777_7777_7777;
/// Name of the header that holds an entry's PAX records.
const PAX_NAME: &[u8] = b"PaxHeaders.0/entry";

/// Writes an archive to `W`, entry by entry.
#[derive(Debug)]
pub struct TarWriter<W> {
    out: W,
    buffer: Vec<u8>,
    bytes: u64,
}

/// The bytes that an entry takes in an archive, without PAX records: what `docker cp` counts.
pub fn archived_bytes(entry: &Entry) -> u64 {
    BLOCK_BYTES as u64 + stored_bytes(entry).next_multiple_of(BLOCK_BYTES as u64)
}

fn stored_bytes(entry: &Entry) -> u64 {
    if entry.kind == EntryKind::File { entry.size_bytes } else { 0 }
}

impl<W: Write> TarWriter<W> {
    /// Begins an archive.
    pub fn new(out: W) -> TarWriter<W> {
        TarWriter { out, buffer: Vec::new(), bytes: 0 }
    }

    /// Writes an entry; a file's content is read from `content` until its size is reached. A file that has become shorter
    /// since is filled up with zeros, as GNU tar does; without `content` it is all zeros.
    ///
    /// # Errors
    /// When the output takes no more, or the content cannot be read.
    pub fn append(&mut self, entry: &Entry, content: Option<impl AsFd>) -> io::Result<()> {
        let size = self.head(entry)?;
        self.content(size, content)?;
        self.pad(size)
    }

    /// Writes a file whose content `fill` writes, in exactly the entry's size.
    ///
    /// # Errors
    /// Those of `fill`; by way of `failed` when the output takes no more, or the content is of another size.
    pub fn append_written<E>(
        &mut self,
        entry: &Entry,
        failed: impl Fn(io::Error) -> E,
        fill: impl FnOnce(&mut dyn Write) -> Result<(), E>,
    ) -> Result<(), E> {
        let size = self.head(entry).map_err(&failed)?;
        let mut content = Measured { out: self, left: size };
        fill(&mut content)?;
        if content.left > 0 {
            return Err(failed(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "it is shorter than was announced",
            )));
        }
        self.pad(size).map_err(failed)
    }

    /// Writes what stands before the content, whose size it returns.
    fn head(&mut self, entry: &Entry) -> io::Result<u64> {
        let size = stored_bytes(entry);
        let mut path = entry.path.clone();
        if entry.kind == EntryKind::Directory && !path.ends_with(b"/") {
            path.push(b'/');
        }
        let mut records = Vec::new();
        let mut text = |key: &str, value: &[u8]| push_record(&mut records, key.as_bytes(), value);
        for (key, value) in [("path", &path), ("linkpath", &entry.link)] {
            if value.len() > NAME_BYTES {
                text(key, value);
            }
        }
        let numbers =
            [("uid", entry.uid, SHORT_MAX), ("gid", entry.gid, SHORT_MAX), ("size", size, LONG_MAX)];
        for (key, value, most) in numbers {
            if value > most {
                text(key, value.to_string().as_bytes());
            }
        }
        let seconds = entry.mtime.seconds;
        if !u64::try_from(seconds).is_ok_and(|seconds| seconds <= LONG_MAX) {
            text("mtime", seconds.to_string().as_bytes());
        }
        for xattr in &entry.xattrs {
            push_record(&mut records, &[b"SCHILY.xattr.", &xattr.name[..]].concat(), &xattr.value);
        }
        if !records.is_empty() {
            let length = records.len() as u64;
            self.put(&header(PAX_NAME, b'x', length, &Entry::plain(0o644)))?;
            self.put(&records)?;
            self.pad(length)?;
        }
        self.put(&header(&path, flag(entry.kind), size, entry))?;
        Ok(size)
    }

    /// Writes the end of the archive and returns the output and the length of the whole.
    ///
    /// # Errors
    /// When the output takes no more.
    pub fn finish(mut self) -> io::Result<(W, u64)> {
        self.put(&[0; 2 * BLOCK_BYTES])?;
        self.out.flush()?;
        Ok((self.out, self.bytes))
    }

    fn content(&mut self, size: u64, content: Option<impl AsFd>) -> io::Result<()> {
        if size == 0 {
            return Ok(());
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(BUFFER_BYTES, 0);
        let mut left = size;
        let mut at_end = content.is_none();
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(BUFFER_BYTES).min(BUFFER_BYTES);
            let mut count = 0;
            if let (false, Some(file)) = (at_end, &content) {
                count = match rustix::io::read(file, &mut buffer[..wanted]) {
                    Ok(count) => count,
                    Err(Errno::INTR) => continue,
                    Err(error) => return Err(error.into()),
                };
            }
            if count == 0 {
                at_end = true;
                buffer[..wanted].fill(0);
                count = wanted;
            }
            self.put(&buffer[..count])?;
            left -= count as u64;
        }
        self.buffer = buffer;
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let rest = size.next_multiple_of(BLOCK_BYTES as u64) - size;
        self.put(&[0; BLOCK_BYTES][..rest as usize])
    }
}

/// The content of one entry, which must not be longer than its header says.
struct Measured<'a, W> {
    out: &'a mut TarWriter<W>,
    left: u64,
}

impl<W: Write> Write for Measured<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.left {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is longer than was announced"));
        }
        self.out.put(bytes)?;
        self.left -= bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn flag(kind: EntryKind) -> u8 {
    match kind {
        EntryKind::File => b'0',
        EntryKind::HardLink => b'1',
        EntryKind::Symlink => b'2',
        EntryKind::CharDevice => b'3',
        EntryKind::BlockDevice => b'4',
        EntryKind::Directory => b'5',
        EntryKind::Fifo => b'6',
    }
}

fn header(path: &[u8], flag: u8, size: u64, entry: &Entry) -> [u8; BLOCK_BYTES] {
    let mut block = [0; BLOCK_BYTES];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    let number = |value: u64, most: u64, digits: usize| {
        let value = if value > most { 0 } else { value };
        format!("{value:0digits$o}\0").into_bytes()
    };
    put(0, &path[..path.len().min(NAME_BYTES)]);
    put(100, &number(u64::from(entry.mode & 0o7777), SHORT_MAX, 7));
    put(108, &number(entry.uid, SHORT_MAX, 7));
    put(116, &number(entry.gid, SHORT_MAX, 7));
    put(124, &number(size, LONG_MAX, 11));
    put(136, &number(u64::try_from(entry.mtime.seconds).unwrap_or(0), LONG_MAX, 11));
    put(148, b"        ");
    put(156, &[flag]);
    put(157, &entry.link[..entry.link.len().min(NAME_BYTES)]);
    put(257, b"ustar\x0000");
    if matches!(entry.kind, EntryKind::CharDevice | EntryKind::BlockDevice) {
        put(329, &number(u64::from(entry.device.0), SHORT_MAX, 7));
        put(337, &number(u64::from(entry.device.1), SHORT_MAX, 7));
    }
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// `length key=value\n`, where the length counts its own digits, too.
fn push_record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length.to_string().len() + rest != length {
        length = length.to_string().len() + rest;
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::super::entry::{Timestamp, Xattr};
    use super::*;
    use crate::{Limits, TarReader};

    fn read_back(archive: &[u8]) -> Vec<Entry> {
        let mut reader = TarReader::new(archive, &Limits::default());
        let mut entries = Vec::new();
        while let Some(mut entry) = reader.next_entry().unwrap() {
            if entry.kind == EntryKind::Directory {
                entry.path.pop();
            }
            entries.push(entry);
        }
        assert_eq!(reader.finish().unwrap().tar_bytes, archive.len() as u64);
        entries
    }

    #[test]
    fn what_is_written_is_read_again() {
        let long = [b"d/".repeat(120), b"leaf".to_vec()].concat();
        let base = Entry { mtime: Timestamp { seconds: 1_700_000_000, nanos: 0 }, ..Entry::plain(0o644) };
        let xattrs = vec![Xattr { name: b"user.k".to_vec(), value: vec![0, 255, b'\n'] }];
        let entries = vec![
            Entry { path: b"dir".to_vec(), kind: EntryKind::Directory, mode: 0o1777, ..base.clone() },
            Entry { path: b"dir/file".to_vec(), mode: 0o4755, uid: 1000, gid: 5, xattrs, ..base.clone() },
            Entry { path: long.clone(), uid: 4_000_000_000, gid: 3_000_000, ..base.clone() },
            Entry { path: b"hard".to_vec(), kind: EntryKind::HardLink, link: long, ..base.clone() },
            Entry {
                path: b"soft".to_vec(),
                kind: EntryKind::Symlink,
                link: b"../x".to_vec(),
                ..base.clone()
            },
            Entry { path: b"null".to_vec(), kind: EntryKind::CharDevice, device: (1, 3), ..base.clone() },
            Entry {
                path: b"disk".to_vec(),
                kind: EntryKind::BlockDevice,
                device: (259, 70_000),
                ..base.clone()
            },
            Entry { path: b"pipe".to_vec(), kind: EntryKind::Fifo, ..base.clone() },
            Entry { path: b"old".to_vec(), mtime: Timestamp { seconds: -5, nanos: 0 }, ..base.clone() },
            Entry { path: vec![b'n'; 100], ..base.clone() },
            Entry { path: vec![b'm'; 101], ..base },
        ];
        let mut writer = TarWriter::new(Vec::new());
        for entry in &entries {
            writer.append(entry, None::<std::fs::File>).unwrap();
        }
        let (archive, bytes) = writer.finish().unwrap();
        assert_eq!(bytes, archive.len() as u64);
        assert_eq!(read_back(&archive), entries);
    }

    #[test]
    fn content_has_the_size_that_was_announced() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        for (size, expected) in [(4, &b"0123"[..]), (10, b"0123456789"), (12, b"0123456789\0\0")] {
            std::io::Seek::rewind(&mut file).unwrap();
            let mut writer = TarWriter::new(Vec::new());
            let entry = Entry { path: b"f".to_vec(), size_bytes: size, ..Entry::plain(0o644) };
            writer.append(&entry, Some(&file)).unwrap();
            let (archive, _) = writer.finish().unwrap();
            assert_eq!(archive.len(), 2048);
            assert_eq!(&archive[512..512 + expected.len()], expected);
        }
        let entry = Entry { path: b"f".to_vec(), size_bytes: 513, ..Entry::plain(0) };
        assert_eq!(archived_bytes(&entry), 1536);
    }

    #[test]
    fn content_that_is_written_has_the_announced_size() {
        let write = |length: usize| {
            let mut writer = TarWriter::new(Vec::new());
            let entry = Entry { path: b"file".to_vec(), size_bytes: 600, ..Entry::plain(0o644) };
            let filled = writer.append_written(
                &entry,
                |error| error.kind(),
                |out| out.write_all(&vec![b'x'; length]).map_err(|error| error.kind()),
            );
            filled.map(|()| writer.finish().unwrap().0)
        };
        assert_eq!(write(600).unwrap().len(), 512 + 1024 + 1024);
        assert_eq!(write(599), Err(io::ErrorKind::UnexpectedEof));
        assert_eq!(write(601), Err(io::ErrorKind::InvalidData));
    }
}
