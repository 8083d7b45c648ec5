//! The end of an image: directories, whose entries name inodes that are all written by now, then the first block.
//!
//! Each directory is one inode with the last, partial block of its entries behind it, and whole blocks elsewhere. Where all of that
//! goes is worked out first, since entries name their parents and their children; then it is written in that order.

use rustix::io::Errno;

use crate::error::LayerError;
use crate::unpack::name::{AUFS_LINKS, join};

use super::format::{
    BLOCK_BYTES, Dealer, Dirent, INODE_BYTES, Inode, Kind, ROOT_OFFSET, SLOT_BYTES, put_dirents,
};
use super::slots::goes_inline;
use super::tree::{Child, Image, ROOT};

/// Where a directory goes.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    /// The number of its inode.
    number: u64,
    /// The first of its blocks.
    start: u32,
    /// Bytes of its entries.
    size_bytes: u64,
    /// They end behind the inode.
    is_inline: bool,
}

/// What became of a tree.
pub(super) struct Finished {
    /// The first block without the super block.
    pub(super) first: [u8; BLOCK_BYTES],
    /// Objects that can be reached.
    pub(super) inodes: u64,
    /// Directories that no entry describes, parents first.
    pub(super) implied_dirs: Vec<Vec<u8>>,
}

impl Image<'_> {
    /// Writes all that is left but the first block.
    pub(super) fn write_directories(&mut self) -> Result<Finished, LayerError> {
        self.remove(ROOT, AUFS_LINKS);
        self.write_late_links()?;
        self.slots.flush(&mut self.sink, &[])?;
        let order = self.reachable();
        for &id in &order {
            let (opaque, rootless) = (self.dir(id).opaque, self.rootless);
            if opaque {
                self.dirs[id as usize].looks.add_opaque(rootless);
            }
        }
        let places = self.lay_out(&order)?;
        self.write_blocks(&order, &places)?;
        let first = self.write_inodes(&order, &places)?;
        let implied = order.iter().filter(|&&id| self.dir(id).implied);
        let mut implied_dirs: Vec<Vec<u8>> = implied.map(|&id| self.path(id)).collect();
        implied_dirs.sort_unstable();
        let inodes = self.inodes.iter().filter(|inode| inode.links > 0).count() + order.len();
        Ok(Finished { first, inodes: inodes as u64, implied_dirs })
    }

    /// The path of a directory, from the root.
    fn path(&self, mut id: u32) -> Vec<u8> {
        let mut names = Vec::new();
        while id != ROOT {
            names.push(&self.dir(id).name[..]);
            id = self.dir(id).parent;
        }
        names.iter().rev().fold(Vec::new(), |path, name| join(&path, name))
    }

    /// Inodes were written with one name each.
    fn write_late_links(&mut self) -> Result<(), LayerError> {
        for at in 0..self.inodes.len() {
            let (slot, links) = (self.inodes[at].slot, self.inodes[at].links);
            if links > 1 {
                self.inodes[at].slot = self.slots.set_links(slot, links, &mut self.sink, &[])?;
            }
        }
        Ok(())
    }

    /// All directories of the tree, parents first.
    fn reachable(&self) -> Vec<u32> {
        let mut order = vec![ROOT];
        let mut next = 0;
        while next < order.len() {
            let children = self.dir(order[next]).names.values();
            order.extend(children.filter_map(|child| match child {
                Child::Dir(id) => Some(*id),
                Child::Inode(_) => None,
            }));
            next += 1;
        }
        order
    }

    /// The entries of a directory, in the order of their bytes.
    fn entries(&self, id: u32) -> Vec<(&[u8], Child)> {
        let dir = self.dir(id);
        let mut entries: Vec<(&[u8], Child)> =
            dir.names.iter().map(|(name, child)| (&name[..], *child)).collect();
        for (name, child) in [(&b"."[..], Child::Dir(id)), (b"..", Child::Dir(dir.parent))] {
            let at = entries.partition_point(|(other, _)| *other < name);
            entries.insert(at, (name, child));
        }
        entries
    }

    /// Says where everything goes: first all blocks, then all inodes.
    fn lay_out(&mut self, order: &[u32]) -> Result<Vec<Place>, LayerError> {
        let mut places = vec![Place::default(); self.dirs.len()];
        let first = u64::from(self.sink.start_block(0, &[])?);
        let mut block = first;
        for &id in order {
            let mut dealer = Dealer::default();
            for (name, _) in self.entries(id) {
                dealer.deal(name);
            }
            let xattr_bytes = self.dir(id).looks.bytes.len();
            let room = if id == ROOT { BLOCK_BYTES - ROOT_OFFSET } else { BLOCK_BYTES };
            let is_inline =
                goes_inline(dealer.filled, xattr_bytes) && INODE_BYTES + xattr_bytes + dealer.filled <= room;
            places[id as usize] = Place {
                number: (ROOT_OFFSET / SLOT_BYTES) as u64,
                start: block as u32,
                size_bytes: dealer.blocks * BLOCK_BYTES as u64 + dealer.filled as u64,
                is_inline,
            };
            block += dealer.blocks + u64::from(!is_inline);
        }
        self.sink.start_block((block - first) * BLOCK_BYTES as u64, &[])?;
        let mut at = block * BLOCK_BYTES as u64;
        for &id in order.iter().filter(|&&id| id != ROOT) {
            let place = &mut places[id as usize];
            let bytes = INODE_BYTES + self.dirs[id as usize].looks.bytes.len() + place.tail_bytes();
            at = fit(at, bytes as u64);
            place.number = at / SLOT_BYTES as u64;
            at += bytes as u64;
        }
        Ok(places)
    }

    /// The data of a directory.
    fn encode(&self, id: u32, places: &[Place]) -> Vec<u8> {
        let mut data = Vec::with_capacity(places[id as usize].size_bytes as usize);
        let mut dealer = Dealer::default();
        let mut block = Vec::new();
        for (name, child) in self.entries(id) {
            if dealer.deal(name) {
                put_dirents(&block, &mut data);
                data.resize(data.len().next_multiple_of(BLOCK_BYTES), 0);
                block.clear();
            }
            let (number, kind) = match child {
                Child::Dir(id) => (places[id as usize].number, Kind::Directory),
                Child::Inode(id) => {
                    let inode = &self.inodes[id as usize];
                    (self.slots.number(inode.slot), inode.kind)
                }
            };
            block.push(Dirent { name, kind, number });
        }
        put_dirents(&block, &mut data);
        data
    }

    fn write_blocks(&mut self, order: &[u32], places: &[Place]) -> Result<(), LayerError> {
        for &id in order {
            let place = &places[id as usize];
            let mut data = self.encode(id, places);
            data.truncate(data.len() - place.tail_bytes());
            self.sink.write(&data, &[])?;
            self.sink.align(&[])?;
        }
        Ok(())
    }

    /// Returns the first block, in which the root lies.
    fn write_inodes(&mut self, order: &[u32], places: &[Place]) -> Result<[u8; BLOCK_BYTES], LayerError> {
        let mut first = [0; BLOCK_BYTES];
        for &id in order {
            let place = &places[id as usize];
            let data = self.encode(id, places);
            let tail = &data[data.len() - place.tail_bytes()..];
            let inode = self.dir_inode(id, place);
            let whole = [&inode.to_bytes(), &self.dir(id).looks.bytes[..], tail].concat();
            if id == ROOT {
                let place = first.get_mut(ROOT_OFFSET..ROOT_OFFSET + whole.len());
                place
                    .ok_or_else(|| LayerError::call("keep the attributes of", b".", Errno::TOOBIG))?
                    .copy_from_slice(&whole);
                continue;
            }
            let padding = place.number * SLOT_BYTES as u64 - self.sink.position();
            self.sink.write_zeros(padding, &[])?;
            self.sink.write(&whole, &[])?;
        }
        Ok(first)
    }

    fn dir_inode(&self, id: u32, place: &Place) -> Inode {
        let dir = self.dir(id);
        let subdirs = dir.names.values().filter(|child| matches!(child, Child::Dir(_))).count();
        Inode {
            mode: dir.looks.mode,
            owner: dir.owner,
            size_bytes: place.size_bytes,
            seconds: dir.mtime.seconds,
            nanos: dir.mtime.nanos,
            links: 2 + subdirs as u32,
            start: place.start,
            is_inline: place.is_inline,
            xattr_bytes: dir.looks.bytes.len(),
            serial: self.inodes.len() as u32 + 1 + id,
            ..Inode::empty(Kind::Directory)
        }
    }
}

impl Place {
    /// Bytes of entries behind the inode.
    fn tail_bytes(&self) -> usize {
        if self.is_inline { (self.size_bytes % BLOCK_BYTES as u64) as usize } else { 0 }
    }
}

/// The first slot from `at` on where so many bytes do not go across the border of a block, or begin at one.
fn fit(at: u64, bytes: u64) -> u64 {
    let block = BLOCK_BYTES as u64;
    let at = at.next_multiple_of(SLOT_BYTES as u64);
    if at % block + bytes > block { at.next_multiple_of(block) } else { at }
}
