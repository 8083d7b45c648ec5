//! The file of an image, written front to back in large aligned pieces, and its check sum on the way.
//!
//! Invariants: nothing is written twice; the first block is left out until [`Sink::finish`]; what is passed over
//! is a hole of the file and reads as zeros.

use std::io::IoSlice;
use std::os::fd::BorrowedFd;

use flate2::Crc;
use rustix::io::{Errno, ReadWriteFlags};

use crate::error::LayerError;

use super::format::BLOCK_BYTES;

/// Bytes of one write, and what its offset is a multiple of.
const PIECE_BYTES: usize = 1 << 20;
/// Shorter runs of zeros are written. Longer ones would let a small archive fill a disk.
const MIN_HOLE_BYTES: u64 = 2 * BLOCK_BYTES as u64;
/// `RWF_DONTCACHE` (Linux 6.14): begin to write back at once, then let go of the pages.
const DONT_CACHE: ReadWriteFlags = ReadWriteFlags::from_bits_retain(0x80);

pub(super) struct Sink<'f> {
    file: BorrowedFd<'f>,
    buffer: Vec<u8>,
    /// Where the buffer belongs.
    buffer_offset: u64,
    dont_cache: bool,
    check_sum: Crc,
}

impl<'f> Sink<'f> {
    /// Writes to an empty file, from its second block on.
    pub(super) fn new(file: BorrowedFd<'f>, dont_cache: bool) -> Sink<'f> {
        let buffer = Vec::with_capacity(PIECE_BYTES);
        Sink { file, buffer, buffer_offset: BLOCK_BYTES as u64, dont_cache, check_sum: Crc::new() }
    }

    pub(super) fn file(&self) -> BorrowedFd<'f> {
        self.file
    }

    /// Where the next byte goes.
    pub(super) fn position(&self) -> u64 {
        self.buffer_offset + self.buffer.len() as u64
    }

    /// Writes bytes that belong to the entry `path`, where there is one.
    pub(super) fn write(&mut self, mut bytes: &[u8], path: &[u8]) -> Result<(), LayerError> {
        while !bytes.is_empty() {
            let room = PIECE_BYTES - (self.position() as usize) % PIECE_BYTES;
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if now.len() == room {
                self.flush(path)?;
            }
        }
        Ok(())
    }

    /// Passes over zeros.
    pub(super) fn write_zeros(&mut self, len: u64, path: &[u8]) -> Result<(), LayerError> {
        const ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];
        let mut left = len;
        if len >= MIN_HOLE_BYTES {
            self.flush(path)?;
            add_zeros(&mut self.check_sum, len);
            self.buffer_offset += len;
            left = 0;
        }
        while left > 0 {
            let step = left.min(BLOCK_BYTES as u64);
            self.write(&ZEROS[..step as usize], path)?;
            left -= step;
        }
        Ok(())
    }

    /// Goes on to the next block and returns where it begins.
    pub(super) fn align(&mut self, path: &[u8]) -> Result<u64, LayerError> {
        let padding = self.position().wrapping_neg() % BLOCK_BYTES as u64;
        self.write_zeros(padding, path)?;
        Ok(self.position())
    }

    /// Writes out what is left. Returns the bytes of the file, a whole number of blocks, and the check sum of all but
    /// the first.
    pub(super) fn finish(&mut self) -> Result<(u64, u32), LayerError> {
        self.align(&[])?;
        self.flush(&[])?;
        // Holes at the end have no byte yet.
        rustix::fs::ftruncate(self.file, self.position())
            .map_err(|errno| LayerError::call("set the size of the image at", b".", errno))?;
        Ok((self.position(), self.check_sum.sum()))
    }

    /// Writes the first block, which makes an image of the file.
    pub(super) fn write_first(&mut self, block: &[u8; BLOCK_BYTES]) -> Result<(), LayerError> {
        self.write_at(block, 0, b".")
    }

    pub(super) fn flush(&mut self, path: &[u8]) -> Result<(), LayerError> {
        let buffer = std::mem::take(&mut self.buffer);
        self.check_sum.update(&buffer);
        let result = self.write_at(&buffer, self.buffer_offset, path);
        self.buffer_offset += buffer.len() as u64;
        self.buffer = buffer;
        self.buffer.clear();
        result
    }

    fn write_at(&mut self, mut bytes: &[u8], mut offset: u64, path: &[u8]) -> Result<(), LayerError> {
        while !bytes.is_empty() {
            let flags = if self.dont_cache { DONT_CACHE } else { ReadWriteFlags::empty() };
            match rustix::io::pwritev2(self.file, &[IoSlice::new(bytes)], offset, flags) {
                Ok(written) => {
                    bytes = &bytes[written..];
                    offset += written as u64;
                }
                Err(Errno::INTR) => {}
                // This file system does not know it, or this kernel.
                Err(Errno::OPNOTSUPP | Errno::INVAL) if self.dont_cache => self.dont_cache = false,
                Err(errno) => return Err(LayerError::call("write the image at", path, errno)),
            }
        }
        Ok(())
    }
}

/// Adds a run of zeros to a check sum without going through them.
pub(super) fn add_zeros(check_sum: &mut Crc, mut len: u64) {
    const MAX_RUN_BYTES: u64 = 1 << 30;
    let mut run = Crc::new();
    run.update(&[0; BLOCK_BYTES]);
    let mut run_bytes = BLOCK_BYTES as u64;
    check_sum.update(&[0; BLOCK_BYTES][..(len % run_bytes) as usize]);
    len -= len % run_bytes;
    while len > 0 {
        if len & run_bytes != 0 || run_bytes == MAX_RUN_BYTES {
            check_sum.combine(&run);
            len -= run_bytes;
        }
        if run_bytes < MAX_RUN_BYTES {
            let mut twice = Crc::new();
            twice.combine(&run);
            twice.combine(&run);
            run = twice;
            run_bytes *= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_count_as_if_written() {
        for len in [0usize, 1, 4095, 4096, 4097, 1 << 16, 12_345_678] {
            let (mut quick, mut slow) = (Crc::new(), Crc::new());
            for check_sum in [&mut quick, &mut slow] {
                check_sum.update(b"before");
            }
            add_zeros(&mut quick, len as u64);
            slow.update(&vec![0; len]);
            for check_sum in [&mut quick, &mut slow] {
                check_sum.update(b"behind");
            }
            assert_eq!(quick.sum(), slow.sum(), "{len}");
        }
        let (mut whole, mut halves) = (Crc::new(), Crc::new());
        add_zeros(&mut whole, 5 << 30);
        add_zeros(&mut halves, 2 << 30);
        add_zeros(&mut halves, 3 << 30);
        assert_eq!(whole.sum(), halves.sum());
    }
}
