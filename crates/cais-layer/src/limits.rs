//! What a layer may ask for at most. Defaults are far above real images and far below what hurts.

use std::fmt;

/// Bounds on one layer. A layer beyond any of them is refused with [`LayerError::Limit`](crate::LayerError::Limit).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Entries in the archive.
    pub max_entries: u64,
    /// Bytes of the uncompressed tar.
    pub max_bytes: u64,
    /// Size of one file with its holes, of which a sparse file may have far more than content.
    pub max_file_bytes: u64,
    /// Bytes of one path or link target.
    pub max_path_bytes: u64,
    /// Bytes of one PAX or GNU long-name header, or of the text of one sparse map.
    pub max_header_bytes: u64,
    /// Bytes of one extended attribute's value (Linux itself takes 65536).
    pub max_xattr_bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_entries: 1 << 22,
            max_bytes: 1 << 40,
            max_file_bytes: 1 << 43,
            max_path_bytes: 4096,
            max_header_bytes: 1 << 20,
            max_xattr_bytes: 1 << 16,
        }
    }
}

/// The bound that a layer went beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// [`Limits::max_entries`].
    Entries,
    /// [`Limits::max_bytes`], reached by the stream or by what an entry declares.
    Bytes,
    /// [`Limits::max_file_bytes`].
    FileBytes,
    /// [`Limits::max_path_bytes`].
    PathBytes,
    /// [`Limits::max_header_bytes`].
    HeaderBytes,
    /// [`Limits::max_xattr_bytes`], or 255 bytes of its name.
    XattrBytes,
    /// Fixed: pieces of one sparse file.
    SparsePieces,
    /// Fixed: bytes of directory names and attributes kept in memory until the end.
    DirectoryBytes,
    /// Fixed: bytes of the image that a layer is written as, holes included.
    ImageBytes,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Limit::Entries => "entries",
            Limit::Bytes => "bytes of tar",
            Limit::FileBytes => "bytes of one file",
            Limit::PathBytes => "bytes of path",
            Limit::HeaderBytes => "bytes of extended header",
            Limit::XattrBytes => "bytes of extended attribute",
            Limit::SparsePieces => "pieces of a sparse file",
            Limit::DirectoryBytes => "bytes of directory names and attributes",
            Limit::ImageBytes => "bytes of image",
        })
    }
}
