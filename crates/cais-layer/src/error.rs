//! Why a layer was not unpacked: one variant for each cause, with the entry that caused it.

use std::fmt;
use std::io;

use rustix::io::Errno;

use crate::compression::Compression;
use crate::limits::Limit;

/// A path from an archive, as raw bytes. Shown quoted, control characters escaped, cut after 200 characters.
#[derive(Clone, PartialEq, Eq)]
pub struct EntryName(pub Vec<u8>);

impl EntryName {
    pub(crate) fn new(bytes: &[u8]) -> EntryName {
        EntryName(bytes.to_vec())
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MAX_SHOWN_CHARS: usize = 200;
        let text = String::from_utf8_lossy(&self.0);
        let shown: String = text.chars().take(MAX_SHOWN_CHARS).collect();
        let more = if shown.len() < text.len() { "…" } else { "" };
        write!(f, "{shown:?}{more}")
    }
}

impl fmt::Debug for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a layer was not unpacked. The partial tree stays for the caller to remove.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The input failed (network, file).
    #[error("read the layer")]
    Read {
        /// What the input said.
        source: io::Error,
    },
    /// The compressed stream is corrupt or ends early.
    #[error("decompress the layer ({compression})")]
    Decompress {
        /// What the stream began as.
        compression: Compression,
        /// What the decompressor said.
        source: io::Error,
    },
    /// The stream is compressed by something that layers may not use.
    #[error("layer is compressed with {name} (known: gzip, zstd and none)")]
    UnsupportedCompression {
        /// The name of the compression.
        name: &'static str,
    },
    /// The archive stops within an entry or between a header and what it announces.
    #[error("layer archive ends in the middle of {}", .path.as_ref().map_or("a header".to_owned(), EntryName::to_string))]
    Truncated {
        /// The entry, when its header was whole.
        path: Option<EntryName>,
    },
    /// A header says something impossible.
    #[error("layer archive is malformed at byte {offset}: {fault}")]
    Malformed {
        /// Where the header begins in the uncompressed tar.
        offset: u64,
        /// What is wrong with it.
        fault: Fault,
    },
    /// The layer asks for more than [`Limits`](crate::Limits) allow.
    #[error("layer goes beyond the limit of {maximum} {limit}{}", .path.as_ref().map_or(String::new(), |path| format!(" at {path}")))]
    Limit {
        /// The bound.
        limit: Limit,
        /// Its value.
        maximum: u64,
        /// The entry, where known.
        path: Option<EntryName>,
    },
    /// There is something in the destination already.
    #[error("directory to unpack the layer into is not empty")]
    NotEmpty,
    /// The entry is of a type that no file system object corresponds to.
    #[error("layer entry {path} has the unknown type {flag:?}")]
    UnknownType {
        /// The entry.
        path: EntryName,
        /// The type flag of its header.
        flag: char,
    },
    /// The path has a `..` component.
    #[error("layer entry {path} has a \"..\" in its path")]
    ParentComponent {
        /// The entry.
        path: EntryName,
    },
    /// An entry for the root of the tree is not a directory.
    #[error("layer entry {path} would replace the root directory")]
    ReplacesRoot {
        /// The entry.
        path: EntryName,
    },
    /// A whiteout hides nothing that can be named: `.wh.`, `.wh..` or `.wh...`.
    #[error("layer entry {path} is a whiteout without a name to hide")]
    NamelessWhiteout {
        /// The entry.
        path: EntryName,
    },
    /// A hard link's target is not a file of this layer.
    #[error("layer entry {path} is a hard link to {target}, which {fault}")]
    HardLink {
        /// The entry.
        path: EntryName,
        /// What it links to.
        target: EntryName,
        /// What is wrong with that.
        fault: LinkFault,
    },
    /// The parents of the path lead through more than 40 symlinks.
    #[error("layer entry {path} leads through too many symlinks")]
    SymlinkLoop {
        /// The entry.
        path: EntryName,
    },
    /// The owner cannot be set.
    #[error("set the owner of {path} to {uid}:{gid}{}", if *.rootless { " (outside of the user's ranges in /etc/subuid and /etc/subgid?)" } else { "" })]
    Owner {
        /// The entry.
        path: EntryName,
        /// The user id that the layer wants.
        uid: u64,
        /// The group id that the layer wants.
        gid: u64,
        /// Whether ids are mapped, so that the hint applies.
        rootless: bool,
        /// What the kernel said.
        source: io::Error,
    },
    /// An extended attribute cannot be set.
    #[error("set the extended attribute {name} of {path}")]
    Xattr {
        /// The entry.
        path: EntryName,
        /// The attribute.
        name: EntryName,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file system, or the user's quota, is full.
    #[error("no space left on the device while unpacking {path}")]
    DiskFull {
        /// The entry.
        path: EntryName,
        /// What the kernel said.
        source: io::Error,
    },
    /// A directory and something else would take each other's place.
    #[error("cannot overwrite {} {path} with {}", if *.with_directory { "the file" } else { "the directory" }, if *.with_directory { "a directory" } else { "a file" })]
    Overwrites {
        /// The entry.
        path: EntryName,
        /// What is to be put there is the directory.
        with_directory: bool,
    },
    /// A directory of the overlay is a renamed one of a layer.
    #[error(
        "directory {path} was renamed by reference (overlayfs' redirect_dir), which cannot be told apart"
    )]
    Redirect {
        /// Which.
        path: EntryName,
    },
    /// The kernel refused something else.
    #[error("{operation} {path}")]
    Io {
        /// What was tried, as a verb and its object.
        operation: &'static str,
        /// The entry.
        path: EntryName,
        /// What the kernel said.
        source: io::Error,
    },
}

/// What is wrong with a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The header's checksum does not match.
    #[error("no tar header (wrong checksum)")]
    Checksum,
    /// One zero block followed by something else.
    #[error("a lone block of zeros")]
    LoneZeroBlock,
    /// A numeric field holds no number, or one that is negative or too large.
    #[error("the field {0} holds no valid number")]
    Number(&'static str),
    /// A PAX record is not `length key=value\n`.
    #[error("a broken PAX record")]
    PaxRecord,
    /// An entry has more attributes than a file can hold.
    #[error("more than 1024 extended attributes")]
    TooManyXattrs,
    /// A path is empty, or a symlink has no target.
    #[error("an empty path or link target")]
    EmptyPath,
    /// A path, link target or attribute name holds a NUL byte.
    #[error("a NUL byte in a name")]
    NulByte,
    /// A sparse map is unordered, overlaps, or does not agree with the sizes.
    #[error("a broken sparse map")]
    SparseMap,
    /// The sparse format is newer than this program.
    #[error("an unknown sparse format")]
    SparseVersion,
}

/// What is wrong with the target of a hard link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkFault {
    /// Nothing of that name is in this layer (yet).
    #[error("is not in this layer")]
    Missing,
    /// It is a directory.
    #[error("is a directory")]
    Directory,
    /// It has a `..` component.
    #[error("has a \"..\" in its path")]
    ParentComponent,
}

impl LayerError {
    /// Whether the cause is a full disk or quota.
    pub fn is_disk_full(&self) -> bool {
        match self {
            LayerError::DiskFull { .. } => true,
            // A sink behind a `DigestReader` fails as a read.
            LayerError::Read { source } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }

    /// Makes the error of a failed system call.
    pub(crate) fn call(operation: &'static str, path: &[u8], errno: Errno) -> LayerError {
        LayerError::io(operation, path, io::Error::from(errno))
    }

    /// Makes the error of something that failed with more than an errno.
    pub(crate) fn io(operation: &'static str, path: &[u8], source: io::Error) -> LayerError {
        let path = EntryName::new(path);
        if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            LayerError::DiskFull { path, source }
        } else {
            LayerError::Io { operation, path, source }
        }
    }
}
