//! The uncompressed bytes of an archive: one buffer, hashed once, counted, bounded.

use std::io::{self, Read};

use cais_oci::{Digest, Hasher};

use crate::compression::DecompressError;
use crate::error::LayerError;
use crate::limits::Limit;

/// Room for what is wanted at once ([`MAX_WANTED_BYTES`]) and as much again, so that large files are moved in
/// large pieces without shifting the buffer's content for each.
const BUFFER_BYTES: usize = 256 * 1024;
/// What [`Stream::fill`] may be asked for.
pub(super) const MAX_WANTED_BYTES: usize = BUFFER_BYTES / 2;

pub(super) struct Stream<R> {
    input: R,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    at_end: bool,
    hasher: Hasher,
    read_bytes: u64,
    max_bytes: u64,
}

impl<R: Read> Stream<R> {
    pub(super) fn new(input: R, max_bytes: u64) -> Stream<R> {
        Stream {
            input,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
            at_end: false,
            hasher: Hasher::new(),
            read_bytes: 0,
            max_bytes,
        }
    }

    /// Where the next byte lies in the stream.
    pub(super) fn offset(&self) -> u64 {
        self.read_bytes - self.available() as u64
    }

    fn available(&self) -> usize {
        self.end - self.start
    }

    /// Makes at least `wanted` bytes available, fewer only at the end of the stream. Returns how many there are.
    pub(super) fn fill(&mut self, wanted: usize) -> Result<usize, LayerError> {
        let wanted = wanted.min(MAX_WANTED_BYTES);
        if self.available() >= wanted {
            return Ok(self.available());
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        while self.end < wanted && !self.at_end {
            self.read_once()?;
        }
        Ok(self.available())
    }

    fn read_once(&mut self) -> Result<(), LayerError> {
        let read = match self.input.read(&mut self.buffer[self.end..]) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(read_error(error)),
        };
        self.hasher.update(&self.buffer[self.end..self.end + read]);
        self.end += read;
        self.read_bytes += read as u64;
        self.at_end = read == 0;
        if self.read_bytes > self.max_bytes {
            return Err(LayerError::Limit { limit: Limit::Bytes, maximum: self.max_bytes, path: None });
        }
        Ok(())
    }

    /// The first `len` available bytes.
    pub(super) fn peek(&self, len: usize) -> &[u8] {
        &self.buffer[self.start..self.start + len]
    }

    /// Steps over `len` available bytes.
    pub(super) fn consume(&mut self, len: usize) {
        debug_assert!(len <= self.available());
        self.start += len;
    }

    /// Steps over `len` bytes. `false`: the stream ended before.
    pub(super) fn skip(&mut self, mut len: u64) -> Result<bool, LayerError> {
        while len > 0 {
            let available = self.fill(1)? as u64;
            if available == 0 {
                return Ok(false);
            }
            let step = available.min(len);
            self.consume(step as usize);
            len -= step;
        }
        Ok(true)
    }

    /// Reads on to the end of the stream. Returns the digest and the number of all its bytes.
    pub(super) fn finish(mut self) -> Result<(Digest, u64), LayerError> {
        while self.skip(u64::MAX)? {}
        Ok((self.hasher.finish(), self.read_bytes))
    }
}

fn read_error(error: io::Error) -> LayerError {
    match error.downcast::<DecompressError>() {
        Ok(DecompressError { compression, source }) => LayerError::Decompress { compression, source },
        Err(source) => LayerError::Read { source },
    }
}
