//! The first kilobyte of an image, which EROFS leaves to others: what the file is and how to tell that it is whole.
//!
//! Layout, little-endian: `cais layer 1\n`, zeros up to byte 16; bytes of the file (8); CRC-32 (as in gzip) of all behind the first
//! block (4); CRC-32 of the first block with these four bytes zero (4); the diff_id as text with zeros behind it up to byte 160.

use std::os::fd::BorrowedFd;

use cais_oci::Digest;
use flate2::Crc;
use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::format::{BLOCK_BYTES, CHECK_SUM_OFFSET, SUPER_OFFSET, super_block, super_check_sum};
use super::sink::add_zeros;

const MAGIC: &[u8; 16] = b"cais layer 1\n\0\0\0";
const SIZE_AT: usize = 16;
const CHECK_SUM_AT: usize = 24;
const OWN_CHECK_SUM_AT: usize = 28;
const DIFF_ID_AT: usize = 32;
const DIFF_ID_END: usize = 160;

/// Why a file is not the image of a layer, or not any more.
#[derive(Debug, thiserror::Error)]
pub enum ImageFault {
    /// It cannot be read.
    #[error("read the image of the layer")]
    Read {
        /// What the kernel said.
        source: std::io::Error,
    },
    /// It does not begin like one.
    #[error("file is no image of a layer, or of another version")]
    Unknown,
    /// Its first block is damaged.
    #[error("first block of the layer's image is damaged")]
    First,
    /// It was cut off, or something was added.
    #[error("image of the layer has {found} bytes instead of {expected}")]
    Size {
        /// Bytes that it has.
        found: u64,
        /// Bytes that it was written with.
        expected: u64,
    },
    /// Something behind the first block is damaged.
    #[error("content of the layer's image is damaged")]
    Content,
}

/// What the head of an image says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The digest of the tar that it was written from.
    pub diff_id: Digest,
    /// Bytes of the file.
    pub image_bytes: u64,
    check_sum: u32,
}

/// Completes the first block, in which the root is already.
pub(super) fn complete(
    block: &mut [u8; BLOCK_BYTES],
    diff_id: &Digest,
    image_bytes: u64,
    inodes: u64,
    check_sum: u32,
) {
    let mut uuid = [0; 16];
    for (byte, digits) in uuid.iter_mut().zip(diff_id.hex().as_bytes().chunks_exact(2)) {
        *byte = digits
            .iter()
            .fold(0, |byte, digit| byte << 4 | char::from(*digit).to_digit(16).unwrap_or(0) as u8);
    }
    let blocks = (image_bytes / BLOCK_BYTES as u64) as u32;
    put(block, SUPER_OFFSET, &super_block(blocks, inodes, &uuid));
    let super_sum = super_check_sum(block);
    put(block, CHECK_SUM_OFFSET, &super_sum.to_le_bytes());
    put(block, 0, MAGIC);
    put(block, SIZE_AT, &image_bytes.to_le_bytes());
    put(block, CHECK_SUM_AT, &check_sum.to_le_bytes());
    put(block, DIFF_ID_AT, diff_id.as_str().as_bytes());
    let own = own_check_sum(block);
    put(block, OWN_CHECK_SUM_AT, &own.to_le_bytes());
}

/// Reads the head of an image and checks that its first block is whole and that it has all of its bytes: enough to tell a
/// file that was cut off by a crash, at the price of one block.
///
/// # Errors
/// What is wrong with it.
pub fn read_head(file: BorrowedFd<'_>) -> Result<Head, ImageFault> {
    let mut block = [0; BLOCK_BYTES];
    if read_at(file, &mut block, 0)? < BLOCK_BYTES || !block.starts_with(MAGIC) {
        return Err(ImageFault::Unknown);
    }
    let own = block[OWN_CHECK_SUM_AT..DIFF_ID_AT].to_vec();
    if own_check_sum(&block).to_le_bytes()[..] != own {
        return Err(ImageFault::First);
    }
    let (mut expected, mut check_sum) = ([0; 8], [0; 4]);
    expected.copy_from_slice(&block[SIZE_AT..CHECK_SUM_AT]);
    check_sum.copy_from_slice(&block[CHECK_SUM_AT..OWN_CHECK_SUM_AT]);
    let expected = u64::from_le_bytes(expected);
    let text = String::from_utf8_lossy(&block[DIFF_ID_AT..DIFF_ID_END]);
    let diff_id = text.trim_end_matches('\0').parse().map_err(|_| ImageFault::First)?;
    let found = rustix::fs::fstat(file).map_err(read_fault)?.st_size as u64;
    if found != expected {
        return Err(ImageFault::Size { found, expected });
    }
    Ok(Head { diff_id, image_bytes: expected, check_sum: u32::from_le_bytes(check_sum) })
}

/// Reads a whole image, but not its holes, and checks every byte of it.
///
/// # Errors
/// What is wrong with it.
pub fn check(file: BorrowedFd<'_>) -> Result<Head, ImageFault> {
    let head = read_head(file)?;
    let mut sum = Crc::new();
    let mut buffer = vec![0; 1 << 20];
    let mut at = BLOCK_BYTES as u64;
    while at < head.image_bytes {
        let data = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(data) => data.min(head.image_bytes),
            Err(Errno::NXIO) => head.image_bytes,
            // Without holes.
            Err(Errno::INVAL) => at,
            Err(errno) => return Err(read_fault(errno)),
        };
        add_zeros(&mut sum, data - at);
        at = data;
        let wanted = buffer.len().min((head.image_bytes - at) as usize);
        if wanted == 0 {
            break;
        }
        let read = read_at(file, &mut buffer[..wanted], at)?;
        if read == 0 {
            return Err(ImageFault::Content);
        }
        sum.update(&buffer[..read]);
        at += read as u64;
    }
    if sum.sum() == head.check_sum { Ok(head) } else { Err(ImageFault::Content) }
}

fn own_check_sum(block: &[u8; BLOCK_BYTES]) -> u32 {
    let mut sum = Crc::new();
    sum.update(&block[..OWN_CHECK_SUM_AT]);
    sum.update(&[0; DIFF_ID_AT - OWN_CHECK_SUM_AT]);
    sum.update(&block[DIFF_ID_AT..]);
    sum.sum()
}

fn read_at(file: BorrowedFd<'_>, buffer: &mut [u8], offset: u64) -> Result<usize, ImageFault> {
    let mut done = 0;
    while done < buffer.len() {
        match rustix::io::pread(file, &mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(read_fault(errno)),
        }
    }
    Ok(done)
}

fn read_fault(errno: Errno) -> ImageFault {
    ImageFault::Read { source: errno.into() }
}

fn put(block: &mut [u8; BLOCK_BYTES], at: usize, value: &[u8]) {
    block[at..at + value.len()].copy_from_slice(value);
}
