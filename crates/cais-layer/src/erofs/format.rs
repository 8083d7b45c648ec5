//! EROFS on disk, as far as it is written here (Linux `fs/erofs/erofs_fs.h`, `Documentation/filesystems/erofs.rst`):
//! the super block, the 64-byte inode, blocks of directory entries. All numbers are little-endian.
//!
//! Used are only features that every kernel with file-backed mounts knows (6.12): plain and inline data, inline
//! attributes, no compression, no chunks, no long attribute prefixes.

/// Bytes of a block.
pub(super) const BLOCK_BYTES: usize = 4096;
/// Where the super block begins; before it there is room for others, which [`super::head`] takes.
pub(super) const SUPER_OFFSET: usize = 1024;
const SUPER_BYTES: usize = 128;
/// What an inode number counts, from the beginning of the file.
pub(super) const SLOT_BYTES: usize = 32;
/// Bytes of an inode without what follows it.
pub(super) const INODE_BYTES: usize = 64;
/// Where the inode of the root lies: its number must fit into 16 bits, so it follows the super block.
pub(super) const ROOT_OFFSET: usize = SUPER_OFFSET + SUPER_BYTES;
/// The longest name of one component.
pub(super) const MAX_NAME_BYTES: usize = 255;
const DIRENT_BYTES: usize = 12;
const MAGIC: u32 = 0xE0F5_E1E2;
/// Check sum of the super block, times of changes.
const FEATURES_COMPAT: u32 = 0x1 | 0x2;
const LAYOUT_PLAIN: u16 = 0;
const LAYOUT_INLINE: u16 = 2;

/// What an inode is; the numbers are those of directory entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    File = 1,
    Directory = 2,
    CharDevice = 3,
    BlockDevice = 4,
    Fifo = 5,
    Symlink = 7,
}

impl Kind {
    /// The type bits of `st_mode`.
    fn mode_bits(self) -> u32 {
        match self {
            Kind::File => 0o100_000,
            Kind::Directory => 0o040_000,
            Kind::CharDevice => 0o020_000,
            Kind::BlockDevice => 0o060_000,
            Kind::Fifo => 0o010_000,
            Kind::Symlink => 0o120_000,
        }
    }
}

/// An inode, without what lies behind it: attributes, and maybe the end of its data.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inode {
    pub(super) kind: Kind,
    /// Permission bits.
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    pub(super) size_bytes: u64,
    pub(super) seconds: i64,
    pub(super) nanos: u32,
    pub(super) links: u32,
    /// The first block of the data, or the device number.
    pub(super) start: u32,
    /// The last, partial block of the data follows the inode.
    pub(super) is_inline: bool,
    /// Bytes of attributes that follow the inode.
    pub(super) xattr_bytes: usize,
    /// Numbered in the order of writing.
    pub(super) serial: u32,
}

impl Inode {
    pub(super) fn to_bytes(self) -> [u8; INODE_BYTES] {
        let mut bytes = [0; INODE_BYTES];
        let layout = if self.is_inline { LAYOUT_INLINE } else { LAYOUT_PLAIN };
        put(&mut bytes, 0, &(1 | layout << 1).to_le_bytes());
        // One for the header of 12 bytes, one for each 4 bytes behind it.
        let xattr_units = if self.xattr_bytes == 0 { 0 } else { (self.xattr_bytes - 12) / 4 + 1 };
        put(&mut bytes, 2, &(xattr_units as u16).to_le_bytes());
        put(&mut bytes, 4, &((self.kind.mode_bits() | self.mode & 0o7777) as u16).to_le_bytes());
        put(&mut bytes, 8, &self.size_bytes.to_le_bytes());
        put(&mut bytes, 16, &self.start.to_le_bytes());
        put(&mut bytes, 20, &self.serial.to_le_bytes());
        put(&mut bytes, 24, &self.owner.0.to_le_bytes());
        put(&mut bytes, 28, &self.owner.1.to_le_bytes());
        put(&mut bytes, 32, &self.seconds.to_le_bytes());
        put(&mut bytes, 40, &self.nanos.to_le_bytes());
        put(&mut bytes, LINKS_OFFSET, &self.links.to_le_bytes());
        bytes
    }
}

/// Where an inode has its count of links.
pub(super) const LINKS_OFFSET: usize = 44;

/// Bytes of attributes, and of data, that follow the inode at the beginning of `inode`.
pub(super) fn following_bytes(inode: &[u8; INODE_BYTES]) -> (usize, usize) {
    let u16_at = |at: usize| u16::from_le_bytes([inode[at], inode[at + 1]]);
    let xattr_bytes = match usize::from(u16_at(2)) {
        0 => 0,
        units => 12 + (units - 1) * 4,
    };
    let is_inline = u16_at(0) >> 1 == LAYOUT_INLINE;
    let size = u16_at(8);
    (xattr_bytes, if is_inline { usize::from(size) % BLOCK_BYTES } else { 0 })
}

/// The number of a device as inodes have it, which the kernel calls "new"; like mknod(2) it takes 12 bits of the major
/// and 20 of the minor number.
pub(super) fn device_number((major, minor): (u32, u32)) -> u32 {
    minor & 0xff | (major & 0xfff) << 8 | (minor & 0xf_ff00) << 12
}

/// The super block's part of the first block, without its check sum.
pub(super) fn super_block(blocks: u32, inodes: u64, uuid: &[u8; 16]) -> [u8; SUPER_BYTES] {
    let mut bytes = [0; SUPER_BYTES];
    put(&mut bytes, 0, &MAGIC.to_le_bytes());
    put(&mut bytes, 8, &FEATURES_COMPAT.to_le_bytes());
    put(&mut bytes, 12, &[BLOCK_BYTES.trailing_zeros() as u8]);
    put(&mut bytes, 14, &((ROOT_OFFSET / SLOT_BYTES) as u16).to_le_bytes());
    put(&mut bytes, 16, &inodes.to_le_bytes());
    put(&mut bytes, 36, &blocks.to_le_bytes());
    put(&mut bytes, 48, uuid);
    bytes
}

/// The check sum of a super block whose field for it is zero: over all of the block from there on.
pub(super) fn super_check_sum(block: &[u8; BLOCK_BYTES]) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    block[SUPER_OFFSET..].iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| crc >> 1 ^ (POLYNOMIAL & (crc & 1).wrapping_neg()))
    })
}

/// Where the super block has its check sum.
pub(super) const CHECK_SUM_OFFSET: usize = SUPER_OFFSET + 4;

/// A directory entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dirent<'n> {
    pub(super) name: &'n [u8],
    pub(super) kind: Kind,
    /// The number of the inode.
    pub(super) number: u64,
}

/// How the entries of a directory are dealt out to blocks: each has as many as fit.
#[derive(Debug, Default)]
pub(super) struct Dealer {
    /// Bytes of the block that is being filled.
    pub(super) filled: usize,
    /// Blocks before it.
    pub(super) blocks: u64,
}

impl Dealer {
    /// Takes the next name, in order. `true`: it begins a new block.
    pub(super) fn deal(&mut self, name: &[u8]) -> bool {
        let bytes = DIRENT_BYTES + name.len();
        if self.filled + bytes <= BLOCK_BYTES {
            self.filled += bytes;
            return false;
        }
        self.filled = bytes;
        self.blocks += 1;
        true
    }
}

/// Writes the entries of one block (dealt by [`Dealer`]) to the end of `out`.
pub(super) fn put_dirents(entries: &[Dirent<'_>], out: &mut Vec<u8>) {
    let mut name_offset = entries.len() * DIRENT_BYTES;
    for entry in entries {
        out.extend_from_slice(&entry.number.to_le_bytes());
        out.extend_from_slice(&(name_offset as u16).to_le_bytes());
        out.extend_from_slice(&[entry.kind as u8, 0]);
        name_offset += entry.name.len();
    }
    for entry in entries {
        out.extend_from_slice(entry.name);
    }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_sums_are_those_of_the_kernel() {
        let mut block = [0; BLOCK_BYTES];
        block[SUPER_OFFSET..SUPER_OFFSET + 9].copy_from_slice(b"123456789");
        // CRC-32C of "123456789" is e3069283, before the final inversion and the zeros behind it.
        let short = b"123456789".iter().fold(!0u32, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| crc >> 1 ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
        });
        assert_eq!(!short, 0xe306_9283);
        assert_ne!(super_check_sum(&block), super_check_sum(&[0; BLOCK_BYTES]));
    }

    #[test]
    fn device_numbers_are_packed_as_the_kernel_does() {
        assert_eq!(device_number((0, 0)), 0);
        assert_eq!(device_number((1, 3)), 0x103);
        assert_eq!(device_number((0xfff, 0xf_ffff)), 0xffff_ffff);
        assert_eq!(device_number((4096, 0)), 0);
    }

    #[test]
    fn names_are_dealt_until_a_block_is_full() {
        let mut dealer = Dealer::default();
        assert!((0..15).all(|_| !dealer.deal(&[b'x'; 255])));
        assert!(!dealer.deal(&[b'x'; 4096 - 15 * 267 - 12]));
        assert_eq!(dealer.filled, 4096);
        assert!(dealer.deal(b"y"));
        assert_eq!((dealer.blocks, dealer.filled), (1, 13));
    }

    #[test]
    fn what_follows_an_inode_is_read_back() {
        let inode = Inode {
            kind: Kind::File,
            mode: 0o644,
            owner: (0, 0),
            size_bytes: 3 * 4096 + 77,
            seconds: -1,
            nanos: 5,
            links: 1,
            start: 9,
            is_inline: true,
            xattr_bytes: 12 + 20,
            serial: 1,
        };
        assert_eq!(following_bytes(&inode.to_bytes()), (32, 77));
        let plain = Inode { is_inline: false, xattr_bytes: 0, ..inode };
        assert_eq!(following_bytes(&plain.to_bytes()), (0, 0));
    }
}
