//! Digests, counts and keeps a stream while someone else reads it.

use std::io::{self, Read, Write};

use cais_oci::{Digest, Hasher};

/// Passes `input` on; on the way every byte goes into a digest, a count and, if wanted, a second writer.
///
/// So one pass serves network, blob file, blob digest and unpacking:
/// `unpack(&mut DigestReader::with_copy(body, hasher, blob_file), …)`, then [`finish`](DigestReader::finish). A
/// failed write of the copy comes out as a failed read of the same kind.
#[derive(Debug)]
pub struct DigestReader<R, W = io::Sink> {
    input: R,
    hasher: Hasher,
    bytes: u64,
    copy: W,
}

/// What a [`DigestReader`] saw.
#[derive(Debug)]
pub struct Digested<W> {
    /// The digest of all bytes of the input.
    pub digest: Digest,
    /// How many they were.
    pub bytes: u64,
    /// The writer, with all of them written, not flushed and not synced.
    pub copy: W,
}

impl<R: Read> DigestReader<R> {
    /// Digests and counts with `hasher`, which has seen nothing yet.
    pub fn new(input: R, hasher: Hasher) -> DigestReader<R> {
        DigestReader::with_copy(input, hasher, io::sink())
    }
}

impl<R: Read, W: Write> DigestReader<R, W> {
    /// Also writes every byte to `copy`.
    pub fn with_copy(input: R, hasher: Hasher, copy: W) -> DigestReader<R, W> {
        DigestReader { input, hasher, bytes: 0, copy }
    }

    /// The bytes that went through so far.
    pub fn bytes_read(&self) -> u64 {
        self.bytes
    }

    /// Reads the input to its end, so that the digest covers it, and returns the digest.
    pub fn finish(mut self) -> io::Result<Digested<W>> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(Digested { digest: self.hasher.finish(), bytes: self.bytes, copy: self.copy })
    }
}

impl<R: Read, W: Write> Read for DigestReader<R, W> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buf)?;
        self.hasher.update(&buf[..read]);
        self.bytes += read as u64;
        self.copy
            .write_all(&buf[..read])
            .map_err(|source| io::Error::new(source.kind(), CopyError { source }))?;
        Ok(read)
    }
}

/// A failed write, in the disguise that `Read` demands.
#[derive(Debug, thiserror::Error)]
#[error("keep a copy of the layer")]
struct CopyError {
    source: io::Error,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_count_and_copy_cover_the_whole_input() {
        let bytes: Vec<u8> = (0..=255).cycle().take(70_000).collect();
        let mut reader = DigestReader::with_copy(&bytes[..], Hasher::new(), Vec::new());
        let mut some = [0; 1000];
        reader.read_exact(&mut some).unwrap();
        assert_eq!(reader.bytes_read(), 1000);
        let digested = reader.finish().unwrap();
        assert_eq!(digested.digest, Digest::sha256(&bytes));
        assert_eq!(digested.bytes, 70_000);
        assert_eq!(digested.copy, bytes);
    }

    #[test]
    fn a_full_disk_under_the_copy_is_seen_by_the_reader() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut reader = DigestReader::with_copy(&b"abc"[..], Hasher::new(), full);
        let error = reader.read(&mut [0; 3]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
