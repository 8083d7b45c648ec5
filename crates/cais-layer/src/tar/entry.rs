//! What an archive says about one object.

use crate::error::{EntryName, LayerError};

/// One object of the archive, as its headers describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// Its path, exactly as in the archive: not checked, never empty, without NUL bytes.
    pub path: Vec<u8>,
    /// The target of a symlink or hard link, exactly as in the archive; empty for other kinds.
    pub link: Vec<u8>,
    /// The content's size with its holes, 0 for all but files.
    pub size_bytes: u64,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// The owner.
    pub uid: u64,
    /// The owner's group.
    pub gid: u64,
    /// When the content was last changed.
    pub mtime: Timestamp,
    /// Major and minor number, for device nodes.
    pub device: (u32, u32),
    /// Extended attributes, none twice.
    pub xattrs: Vec<Xattr>,
}

impl Entry {
    /// An empty file of root's without a name, from 1970.
    pub fn plain(mode: u32) -> Entry {
        Entry {
            kind: EntryKind::File,
            path: Vec::new(),
            link: Vec::new(),
            size_bytes: 0,
            mode,
            uid: 0,
            gid: 0,
            mtime: Timestamp::default(),
            device: (0, 0),
            xattrs: Vec::new(),
        }
    }
}

impl Entry {
    /// The device by which overlayfs says that lower layers' object of this path is gone.
    pub fn whiteout(path: Vec<u8>) -> Entry {
        Entry { kind: EntryKind::CharDevice, path, ..Entry::plain(0) }
    }

    /// The entry as a layer's archive has it: a whiteout becomes the empty file `.wh.NAME` (OCI image specification,
    /// "Whiteouts"); everything else stays as it is.
    #[must_use]
    pub fn in_layer(self) -> Entry {
        if self.kind != EntryKind::CharDevice || self.device != (0, 0) {
            return self;
        }
        let at = self.path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        let path = [&self.path[..at], b".wh.", &self.path[at..]].concat();
        Entry { path, ..Entry::plain(0) }
    }
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file, sparse or not.
    File,
    /// Another name of an earlier entry.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
}

/// Seconds since 1970 and nanoseconds (below 10^9) after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timestamp {
    /// Whole seconds, rounded down.
    pub seconds: i64,
    /// The rest.
    pub nanos: u32,
}

/// An extended attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Xattr {
    /// Its full name, without NUL bytes.
    pub name: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

impl EntryKind {
    /// Interprets the type flag of the header of `path`.
    pub(super) fn from_flag(flag: u8, path: &[u8]) -> Result<EntryKind, LayerError> {
        match flag {
            // Before ustar a directory was a file with a slash at the end.
            0 if path.ends_with(b"/") => Ok(EntryKind::Directory),
            0 | b'0' | b'7' | b'S' => Ok(EntryKind::File),
            b'1' => Ok(EntryKind::HardLink),
            b'2' => Ok(EntryKind::Symlink),
            b'3' => Ok(EntryKind::CharDevice),
            b'4' => Ok(EntryKind::BlockDevice),
            b'5' => Ok(EntryKind::Directory),
            b'6' => Ok(EntryKind::Fifo),
            _ => Err(LayerError::UnknownType { path: EntryName::new(path), flag: char::from(flag) }),
        }
    }
}

impl From<i64> for Timestamp {
    fn from(seconds: i64) -> Timestamp {
        Timestamp { seconds, nanos: 0 }
    }
}
