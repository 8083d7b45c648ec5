//! Blobs: bytes by digest.
//!
//! Nothing gets its final name before its digest and length are verified. Compressed layers are kept exactly as they
//! were received. They are read rarely, so they bypass the page cache where the kernel can (`RWF_DONTCACHE`, 6.14):
//! that starts their writeback at once and leaves the memory to the unpacked files.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::path::{Path, PathBuf};

use cais_oci::{Digest, Hasher};
use rustix::io::{Errno, ReadWriteFlags};

use crate::error::{Noun, Result, StoreError};
use crate::files;
use crate::paths::Paths;

/// Aligned writes of this size cost least.
const CHUNK_BYTES: usize = 1024 * 1024;
/// `RWF_DONTCACHE`, which rustix does not name yet.
const DONTCACHE: ReadWriteFlags = ReadWriteFlags::from_bits_retain(0x80);

/// Receives a blob of known or unknown digest; removes what it wrote unless [`BlobWriter::finish`] succeeds.
pub(crate) struct BlobWriter {
    sink: Sink,
    path: PathBuf,
    buffer: Vec<u8>,
    hasher: Hasher,
    written_bytes: u64,
    expected: Option<(Digest, u64)>,
    flags: ReadWriteFlags,
    finished: bool,
}

/// Where the bytes go.
enum Sink {
    /// Into a new file.
    Copy(File),
    /// They lie in this file already, which becomes the blob by a hard link.
    Link(PathBuf),
}

impl BlobWriter {
    /// Starts a new file at `path`, which must not exist.
    pub(crate) fn create(path: PathBuf, expected: Option<(Digest, u64)>) -> Result<BlobWriter> {
        let file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(StoreError::io("create", &path))?;
        Ok(BlobWriter::new(Sink::Copy(file), path, expected))
    }

    /// Keeps the file `from`, whose digest is known, as the blob `path`; the bytes written here are only counted.
    pub(crate) fn adopt(from: PathBuf, path: PathBuf, known: (Digest, u64)) -> BlobWriter {
        BlobWriter::new(Sink::Link(from), path, Some(known))
    }

    fn new(sink: Sink, path: PathBuf, expected: Option<(Digest, u64)>) -> BlobWriter {
        let hasher = expected.as_ref().map_or_else(Hasher::new, |(digest, _)| digest.hasher());
        BlobWriter {
            sink,
            path,
            buffer: Vec::new(),
            hasher,
            written_bytes: 0,
            expected,
            flags: DONTCACHE,
            finished: false,
        }
    }

    /// How messages call it.
    pub(crate) fn name(&self) -> String {
        self.expected.as_ref().map_or_else(|| "archive".to_owned(), |(digest, _)| digest.short().to_owned())
    }

    /// Whether more bytes came than were announced.
    pub(crate) fn is_too_long(&self) -> bool {
        self.expected.as_ref().is_some_and(|(_, size)| self.written_bytes + self.buffer.len() as u64 > *size)
    }

    /// Writes the rest and verifies digest and length; the file keeps its temporary name and is not yet durable.
    pub(crate) fn finish(mut self) -> Result<(Digest, u64)> {
        self.write_buffer().map_err(StoreError::io("write", &self.path))?;
        let size = self.written_bytes;
        let found = match (&self.sink, &self.expected) {
            (Sink::Link(from), Some((digest, _))) => {
                std::fs::hard_link(from, &self.path).map_err(StoreError::io("link blob to", &self.path))?;
                digest.clone()
            }
            _ => std::mem::take(&mut self.hasher).finish(),
        };
        if let Some((digest, expected)) = self.expected.take() {
            verify("blob", &digest, expected, &found, size)?;
        }
        self.finished = true;
        Ok((found, size))
    }

    fn write_buffer(&mut self) -> io::Result<()> {
        let Sink::Copy(file) = &self.sink else { return Ok(()) };
        let mut done = 0;
        while done < self.buffer.len() {
            let at = self.written_bytes + done as u64;
            match rustix::io::pwritev2(file, &[IoSlice::new(&self.buffer[done..])], at, self.flags) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => done += count,
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) if !self.flags.is_empty() => {
                    self.flags = ReadWriteFlags::empty();
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.written_bytes += done as u64;
        self.buffer.clear();
        Ok(())
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(CHUNK_BYTES - self.buffer.len());
        if matches!(self.sink, Sink::Link(_)) {
            self.written_bytes += taken as u64;
            return Ok(taken);
        }
        self.hasher.update(&bytes[..taken]);
        self.buffer.reserve_exact(CHUNK_BYTES - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == CHUNK_BYTES {
            self.write_buffer()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        if !self.finished {
            // On the way of another error; what stays is reclaimed with the rest of `ingest/`.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Compares what came with what was asked for.
pub(crate) fn verify(
    what: &'static str,
    digest: &Digest,
    expected: u64,
    found: &Digest,
    size: u64,
) -> Result<()> {
    if size != expected {
        return Err(StoreError::WrongSize { what, digest: digest.clone(), expected, found: size });
    }
    if found != digest {
        return Err(StoreError::WrongDigest { what, expected: digest.clone(), found: found.clone() });
    }
    Ok(())
}

/// Whether `digest` can be a key of the store.
pub(crate) fn check_key(what: &'static str, digest: &Digest) -> Result<()> {
    if digest.is_store_key() {
        Ok(())
    } else {
        Err(StoreError::UnsupportedDigest { what, digest: digest.clone() })
    }
}

/// Reads a small blob and verifies its digest.
pub(crate) fn read(paths: &Paths, digest: &Digest) -> Result<Vec<u8>> {
    check_key("blob", digest)?;
    let path: &Path = &paths.blob(digest);
    let bytes = files::read(path)?
        .ok_or_else(|| StoreError::NoSuch { noun: Noun::Blob, name: digest.to_string() })?;
    let found = Digest::sha256(&bytes);
    verify("blob", digest, bytes.len() as u64, &found, bytes.len() as u64)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_verified_before_it_stays() {
        let directory = tempfile::tempdir().unwrap();
        let content = vec![7u8; 3 * CHUNK_BYTES + 5];
        let digest = Digest::sha256(&content);
        let size = content.len() as u64;
        let write = |name: &str, expected, content: &[u8]| {
            let mut writer = BlobWriter::create(directory.path().join(name), expected).unwrap();
            for piece in content.chunks(70_001) {
                writer.write_all(piece).unwrap();
            }
            writer.finish()
        };
        assert_eq!(write("good", Some((digest.clone(), size)), &content).unwrap(), (digest.clone(), size));
        assert_eq!(std::fs::read(directory.path().join("good")).unwrap(), content);
        assert_eq!(write("unknown", None, b"abc").unwrap(), (Digest::sha256(b"abc"), 3));
        let short = write("short", Some((digest.clone(), size)), &content[1..]);
        assert!(matches!(short, Err(StoreError::WrongSize { .. })), "{short:?}");
        let wrong = write("wrong", Some((Digest::sha256(b"x"), 3)), b"abc");
        assert!(matches!(wrong, Err(StoreError::WrongDigest { .. })), "{wrong:?}");
        assert!(!directory.path().join("short").exists() && !directory.path().join("wrong").exists());

        let (from, to) = (directory.path().join("good"), directory.path().join("adopted"));
        let mut adopting = BlobWriter::adopt(from.clone(), to.clone(), (digest.clone(), size));
        adopting.write_all(&content).unwrap();
        assert_eq!(adopting.finish().unwrap(), (digest.clone(), size));
        assert_eq!(std::fs::read(&to).unwrap(), content);
        let mut adopting = BlobWriter::adopt(from.clone(), directory.path().join("not"), (digest, size));
        adopting.write_all(&content[1..]).unwrap();
        assert!(adopting.finish().is_err());
        assert!(from.exists() && !directory.path().join("not").exists());
    }
}
