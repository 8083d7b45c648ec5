//! Layer tar streams to directory trees or file system images: decompression, digests, whiteouts, hostile input.
//!
//! [`unpack()`] turns one layer, as a registry sends it, into a directory that overlayfs can use as a lower
//! layer, and returns the digest of the uncompressed tar (the diff_id) from the same pass; [`erofs::write_image`] turns it
//! into one file, which the kernel mounts as the same tree, by the same rules. [`TarReader`] is
//! the reader beneath it, for archives that hold other things (`load`); [`Decoder`] undoes gzip and zstd;
//! [`DigestReader`] digests, counts and keeps the compressed bytes on their way in. The way back: [`walk()`] makes entries of a
//! tree, [`TarWriter`] an archive of entries, [`changes()`] tells what an upper directory changes, [`Placer`] puts entries
//! into a tree that is there.
//!
//! Implements the OCI image specification, "Image Layer Filesystem Changeset", and tar as in pax(1), with
//! GNU tar's extensions.
//!
//! Invariants:
//! - Whatever the input, nothing outside of the destination directory is written, removed or read: every
//!   directory is opened by `openat2` beneath the destination without following any symlink, everything
//!   else is one path component below such a directory.
//! - Memory is bounded by the limits, never by sizes that the input declares.
//! - The digest covers every byte of the stream up to its end, also behind the archive's end marker.
//! - An error leaves a partial tree behind: the caller removes it, and shows it to nobody.
//! - Nothing is synced to disk here; nothing is known of registries, of the store or of mounts.

mod changes;
mod compression;
mod copy;
pub mod erofs;
mod error;
mod limits;
mod pack;
mod tar;
mod tee;
mod unpack;
mod walk;

pub use changes::{Change, ChangeKind, changes};
pub use compression::{Compression, Decoder};
pub use error::{EntryName, Fault, LayerError, LinkFault};
pub use limits::{Limit, Limits};
pub use pack::pack;
pub use tar::{
    Chunk, Content, Entry, EntryKind, StreamEnd, TarReader, TarWriter, Timestamp, Xattr, archived_bytes,
};
pub use tee::{DigestReader, Digested};
pub use unpack::place::{Ground, Placer, Source};
pub use unpack::{Options, Unpacked, unpack};
pub use walk::{Links, Object, WalkOptions, read_object, walk};
