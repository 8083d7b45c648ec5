//! The content of a file on its way into the image.

use std::io::Read;

use crate::error::{EntryName, LayerError};
use crate::limits::Limit;
use crate::tar::TarReader;

use super::format::BLOCK_BYTES;
use super::sink::Sink;
use super::slots::goes_inline;

/// Block numbers have 32 bits, and some blocks must be left for the rest.
const MAX_IMAGE_BYTES: u64 = (u32::MAX as u64 - (1 << 20)) * BLOCK_BYTES as u64;

/// Where content went.
pub(super) struct Content {
    /// The first of its blocks.
    pub(super) start: u32,
    /// What goes behind the inode.
    pub(super) tail: Vec<u8>,
}

/// Writes what the reader has as the content of its entry, holes included, whose inode has so many bytes of
/// attributes.
pub(super) fn put_content<R: Read>(
    sink: &mut Sink<'_>,
    reader: &mut TarReader<R>,
    size_bytes: u64,
    xattr_bytes: usize,
    path: &[u8],
) -> Result<Content, LayerError> {
    let tail_bytes = (size_bytes % BLOCK_BYTES as u64) as usize;
    let is_inline = goes_inline(tail_bytes, xattr_bytes);
    let mut tail = vec![0; if is_inline { tail_bytes } else { 0 }];
    let flat_bytes = size_bytes - tail.len() as u64;
    let start = if flat_bytes == 0 { 0 } else { sink.start_block(flat_bytes, path)? };
    let mut end = 0;
    while let Some(chunk) = reader.next_chunk()? {
        let flat = flat_bytes.saturating_sub(chunk.offset).min(chunk.bytes.len() as u64) as usize;
        let (flat, rest) = chunk.bytes.split_at(flat);
        if !flat.is_empty() {
            sink.write_zeros(chunk.offset - end, path)?;
            sink.write(flat, path)?;
            end = chunk.offset + flat.len() as u64;
        }
        if !rest.is_empty() {
            let at = (chunk.offset + flat.len() as u64 - flat_bytes) as usize;
            tail[at..at + rest.len()].copy_from_slice(rest);
        }
    }
    sink.write_zeros(flat_bytes - end, path)?;
    sink.align(path)?;
    Ok(Content { start, tail })
}

impl Sink<'_> {
    /// Goes on to the next block, where so many bytes are going to be, and returns its number.
    pub(super) fn start_block(&mut self, bytes: u64, path: &[u8]) -> Result<u32, LayerError> {
        let start = self.align(path)?;
        if bytes > MAX_IMAGE_BYTES || start > MAX_IMAGE_BYTES - bytes {
            return Err(LayerError::Limit {
                limit: Limit::ImageBytes,
                maximum: MAX_IMAGE_BYTES,
                path: Some(EntryName::new(path)),
            });
        }
        Ok((start / BLOCK_BYTES as u64) as u32)
    }
}
