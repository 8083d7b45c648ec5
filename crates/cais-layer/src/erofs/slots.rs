//! Inodes, and what lies behind them, on their way into the image: gathered until they fill some blocks, then written
//! between the data. The end of a file's data lies with its inode where that saves a block.
//!
//! Invariant: data behind an inode never goes across the border of a block, as the kernel demands; inodes and attributes may.

use crate::error::LayerError;

use super::format::{BLOCK_BYTES, INODE_BYTES, LINKS_OFFSET, SLOT_BYTES, following_bytes};
use super::sink::Sink;

/// What is gathered before it is written.
const CHUNK_BYTES: usize = 256 * 1024;
/// In so many of the last blocks room is looked for.
const OPEN_BLOCKS: usize = 16;
/// Longer ends of data get a block of their own: they would leave little room beside them, and would have to be copied
/// when they are mapped.
const MAX_INLINE_BYTES: usize = 2048;

/// Where an inode lies: the chunk, and the slot in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    chunk: u32,
    index: u32,
}

/// Whether the end of data lies behind an inode with so many bytes of attributes.
pub(super) fn goes_inline(tail_bytes: usize, xattr_bytes: usize) -> bool {
    tail_bytes > 0 && tail_bytes <= MAX_INLINE_BYTES && INODE_BYTES + xattr_bytes + tail_bytes <= BLOCK_BYTES
}

#[derive(Default)]
pub(super) struct Slots {
    /// The chunk that is being filled, whole blocks.
    chunk: Vec<u8>,
    /// How much of each of its blocks is taken.
    taken: Vec<u16>,
    /// The first slots of the chunks written so far, counted as inode numbers.
    written: Vec<u64>,
}

impl Slots {
    /// Puts an inode and what follows it somewhere: attributes, then `tail`, which [`goes_inline`].
    pub(super) fn put(
        &mut self,
        inode: &[u8; INODE_BYTES],
        xattrs: &[u8],
        tail: &[u8],
        sink: &mut Sink<'_>,
        path: &[u8],
    ) -> Result<Slot, LayerError> {
        if self.chunk.len() >= CHUNK_BYTES {
            self.flush(sink, path)?;
        }
        let bytes = INODE_BYTES + xattrs.len() + tail.len();
        let at = self.find_room(bytes.next_multiple_of(SLOT_BYTES));
        let (head, rest) = self.chunk[at..at + bytes].split_at_mut(INODE_BYTES);
        head.copy_from_slice(inode);
        let (place, rest) = rest.split_at_mut(xattrs.len());
        place.copy_from_slice(xattrs);
        rest.copy_from_slice(tail);
        Ok(Slot { chunk: self.written.len() as u32, index: (at / SLOT_BYTES) as u32 })
    }

    /// Takes `bytes` where they leave the least room, or behind all others.
    fn find_room(&mut self, bytes: usize) -> usize {
        let first = self.taken.len().saturating_sub(OPEN_BLOCKS);
        let room = |block: usize| BLOCK_BYTES - usize::from(self.taken[block]);
        let best =
            (first..self.taken.len()).filter(|&block| room(block) >= bytes).min_by_key(|&block| room(block));
        if let Some(block) = best {
            let at = block * BLOCK_BYTES + usize::from(self.taken[block]);
            self.taken[block] += bytes as u16;
            return at;
        }
        let at = self.chunk.len();
        self.chunk.resize(at + bytes.next_multiple_of(BLOCK_BYTES), 0);
        let whole = bytes / BLOCK_BYTES;
        self.taken.extend(std::iter::repeat_n(BLOCK_BYTES as u16, whole));
        let rest = bytes % BLOCK_BYTES;
        if rest > 0 {
            self.taken.push(rest as u16);
        }
        at
    }

    /// Writes the chunk.
    pub(super) fn flush(&mut self, sink: &mut Sink<'_>, path: &[u8]) -> Result<(), LayerError> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        self.written.push(sink.align(path)? / SLOT_BYTES as u64);
        sink.write(&self.chunk, path)?;
        self.chunk.clear();
        self.taken.clear();
        Ok(())
    }

    /// Gives an inode its count of links. One that is written already is put once more: the image is never changed.
    pub(super) fn set_links(
        &mut self,
        slot: Slot,
        links: u32,
        sink: &mut Sink<'_>,
        path: &[u8],
    ) -> Result<Slot, LayerError> {
        let links = links.to_le_bytes();
        if slot.chunk as usize == self.written.len() {
            let at = slot.index as usize * SLOT_BYTES + LINKS_OFFSET;
            self.chunk[at..at + links.len()].copy_from_slice(&links);
            return Ok(slot);
        }
        sink.flush(path)?;
        let at = self.number(slot) * SLOT_BYTES as u64;
        let mut inode = [0; INODE_BYTES];
        read_at(sink, &mut inode, at, path)?;
        let (xattr_bytes, tail_bytes) = following_bytes(&inode);
        let mut behind = vec![0; xattr_bytes + tail_bytes];
        read_at(sink, &mut behind, at + INODE_BYTES as u64, path)?;
        inode[LINKS_OFFSET..LINKS_OFFSET + links.len()].copy_from_slice(&links);
        let (xattrs, tail) = behind.split_at(xattr_bytes);
        self.put(&inode, xattrs, tail, sink, path)
    }

    /// The number of an inode whose chunk is written.
    pub(super) fn number(&self, slot: Slot) -> u64 {
        self.written[slot.chunk as usize] + u64::from(slot.index)
    }
}

fn read_at(sink: &Sink<'_>, buffer: &mut [u8], offset: u64, path: &[u8]) -> Result<(), LayerError> {
    let mut done = 0;
    while done < buffer.len() {
        match rustix::io::pread(sink.file(), &mut buffer[done..], offset + done as u64) {
            Ok(0) => return Err(LayerError::call("read back the image at", path, rustix::io::Errno::IO)),
            Ok(read) => done += read,
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(LayerError::call("read back the image at", path, errno)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_tail_goes_across_a_border() {
        let mut slots = Slots::default();
        let mut seed = 1u32;
        for _ in 0..2000 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let bytes = (seed as usize >> 8) % (INODE_BYTES + MAX_INLINE_BYTES) + 1;
            let at = slots.find_room(bytes.next_multiple_of(SLOT_BYTES));
            assert_eq!(at % SLOT_BYTES, 0);
            assert!(at % BLOCK_BYTES + bytes <= BLOCK_BYTES);
            assert!(slots.chunk[at..at + bytes].iter().all(|&byte| byte == 0), "taken twice");
            slots.chunk[at..at + bytes].fill(1);
        }
        let used = slots.taken.iter().map(|&taken| usize::from(taken)).sum::<usize>();
        assert!(used * 100 > slots.chunk.len() * 85, "{used} of {}", slots.chunk.len());
    }

    #[test]
    fn large_attributes_take_blocks_of_their_own() {
        let mut slots = Slots::default();
        assert_eq!(slots.find_room(64), 0);
        assert_eq!(slots.find_room(10_240), 4096);
        assert_eq!(slots.find_room(64), 4096 + 10_240);
        assert_eq!(slots.find_room(3000), 64);
        assert_eq!(slots.chunk.len(), 4 * 4096);
    }
}
