//! A layer as one EROFS file, written front to back from its tar stream, for the kernel to mount directly (Linux 6.12).
//!
//! ```text
//! block 0            our head (`head.rs`), super block, inode of the root: written last, makes an image of the file
//! data, inodes       as the archive has them: whole blocks of files, and between them chunks of inodes with the last,
//!                    partial blocks of their files and with their attributes
//! directories        blocks of entries, then inodes with the last blocks of entries behind them
//! ```
//!
//! - What goes into the tree is decided by the rules of [`crate::unpack()`]: the same code applies the entries, so
//!   names, duplicates, whiteouts, hard links and links as parents mean the same, and no path is resolved on the host.
//! - Whiteouts are character devices 0:0 and opaque directories have `trusted.overlay.opaque`, as overlayfs wants to see them in a
//!   lower layer. Compression, chunks, shared attributes and more than one device are not used.
//! - The file is never read and never changed while it is written, with two exceptions: the first block comes last, and an inode
//!   of several names of which one comes late is read back, to be put once more with the right count.
//! - Data of files that later entries replace stays where it is, out of reach; holes stay holes.
//! - The same tar gives the same bytes.
//! - Nothing is synced here.

use std::io::Read;
use std::os::fd::BorrowedFd;

use crate::error::LayerError;
use crate::unpack::{Options, Unpacked, unpack_into};

mod content;
mod directories;
mod format;
mod head;
mod sink;
mod slots;
mod tree;
mod xattrs;

pub use head::{Head, ImageFault, check, read_head};
use tree::{Image, ROOT};

/// What came out of a layer as an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenImage {
    /// What [`crate::unpack()`] says of it, too.
    pub unpacked: Unpacked,
    /// Bytes of the file with its holes, a whole number of 4096.
    pub image_bytes: u64,
    /// Objects in its tree, the root among them.
    pub inodes: u64,
}

/// Reads a layer from `input` to its end and writes its image into `file`.
///
/// The layer is a tar, plain or compressed by gzip or zstd. `file` is an empty file, open for reading and writing. `dont_cache`
/// lets the kernel write at once and keep nothing in memory, where it can (`RWF_DONTCACHE`): right for a large layer, wrong
/// for one that is going to be used at once. Nothing is synced. On failure the file is no image: it has no
/// super block. The caller compares `diff_id` with the one of the image's config before anybody mounts it.
///
/// # Errors
/// Those of [`crate::unpack()`]; and [`LayerError::Limit`] for a tree that takes more than 256 MiB of memory or 16 TiB of
/// file, which as a directory might have been possible.
pub fn write_image(
    input: impl Read,
    file: BorrowedFd<'_>,
    dont_cache: bool,
    options: &Options,
) -> Result<WrittenImage, LayerError> {
    let image = Image::new(file, dont_cache, options.rootless);
    let (mut image, unpacked) = unpack_into(input, image, options)?;
    let mut finished = image.write_directories()?;
    let (image_bytes, check_sum) = image.sink.finish()?;
    head::complete(&mut finished.first, &unpacked.diff_id, image_bytes, finished.inodes, check_sum);
    image.sink.write_first(&finished.first)?;
    Ok(WrittenImage {
        unpacked: Unpacked {
            hides_lower_layers: image.dir(ROOT).opaque,
            implied_dirs: finished.implied_dirs,
            ..unpacked
        },
        image_bytes,
        inodes: finished.inodes,
    })
}
