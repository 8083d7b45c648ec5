//! The tree of an image while it grows: names and directories in memory, everything else written already.
//!
//! Memory: about 140 bytes an entry (measured), bounded by [`MAX_TREE_BYTES`], so by some two million entries. Attributes of
//! files count there too, although they are written: a global header gives them to every entry for nothing. What is
//! replaced keeps its place in the file, unreachable.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use crate::error::{EntryName, LayerError};
use crate::limits::Limit;
use crate::tar::{EntryKind, TarReader, Timestamp};
use crate::unpack::metadata::Metadata;
use crate::unpack::target::{Found, IMPLIED_MODE, Node, Obstacle, Target, resolve};

use super::content::put_content;
use super::format::{Inode, Kind, MAX_NAME_BYTES, device_number};
use super::sink::Sink;
use super::slots::{Slot, Slots, goes_inline};
use super::xattrs::{Encoded, encode};

/// Far above honest layers, below what would hurt.
const MAX_TREE_BYTES: usize = 256 * 1024 * 1024;
/// What a name costs beside its own bytes: its part of a search tree, its allocation.
const NAME_BYTES: usize = 64;
/// The kernel reads no longer symlinks.
const MAX_SYMLINK_BYTES: usize = 4095;
/// No directory can be named by a longer path (`PATH_MAX`).
const MAX_PATH_BYTES: usize = 4096;
/// The number of the root in `dirs`.
pub(super) const ROOT: u32 = 0;

pub(super) struct Image<'f> {
    pub(super) sink: Sink<'f>,
    pub(super) slots: Slots,
    /// All directories ever made; what is gone is reachable no more.
    pub(super) dirs: Vec<Dir>,
    /// All other inodes ever made.
    pub(super) inodes: Vec<Written>,
    targets: BTreeMap<u32, Box<[u8]>>,
    pub(super) rootless: bool,
    bytes: usize,
    /// The parent of the last entry, by its path as the archive has it.
    last_parent: Option<(Vec<u8>, u32)>,
}

/// A directory.
pub(super) struct Dir {
    pub(super) parent: u32,
    pub(super) name: Box<[u8]>,
    /// Length of its path.
    path_bytes: usize,
    pub(super) names: BTreeMap<Box<[u8]>, Child>,
    pub(super) owner: (u32, u32),
    pub(super) mtime: Timestamp,
    pub(super) looks: Encoded,
    pub(super) opaque: bool,
    /// Made only for what is below it.
    pub(super) implied: bool,
}

/// What a name stands for, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Child {
    Dir(u32),
    Inode(u32),
}

/// An inode that has left memory.
pub(super) struct Written {
    pub(super) slot: Slot,
    /// Names that it has.
    pub(super) links: u32,
    pub(super) kind: Kind,
    is_whiteout: bool,
}

impl<'f> Image<'f> {
    pub(super) fn new(file: BorrowedFd<'f>, dont_cache: bool, rootless: bool) -> Image<'f> {
        let mut image = Image {
            sink: Sink::new(file, dont_cache),
            slots: Slots::default(),
            dirs: Vec::new(),
            inodes: Vec::new(),
            targets: BTreeMap::new(),
            rootless,
            bytes: 0,
            last_parent: None,
        };
        image.dirs.push(Dir::implied(ROOT));
        image.dirs[ROOT as usize].implied = false;
        image
    }

    pub(super) fn dir(&self, id: u32) -> &Dir {
        &self.dirs[id as usize]
    }

    fn dir_mut(&mut self, id: u32) -> &mut Dir {
        &mut self.dirs[id as usize]
    }

    fn child(&self, dir: u32, name: &[u8]) -> Option<Child> {
        self.dir(dir).names.get(name).copied()
    }

    fn found(&self, child: Option<Child>) -> Found {
        match child {
            None => Found::Nothing,
            Some(Child::Dir(_)) => Found::Directory,
            Some(Child::Inode(id)) => {
                let inode = &self.inodes[id as usize];
                match (inode.kind, inode.is_whiteout) {
                    (Kind::Symlink, _) => Found::Symlink(self.targets[&id].to_vec()),
                    (_, true) => Found::Whiteout,
                    _ => Found::Other,
                }
            }
        }
    }

    fn charge(&mut self, bytes: usize, path: &[u8]) -> Result<(), LayerError> {
        self.bytes += bytes;
        if self.bytes <= MAX_TREE_BYTES {
            return Ok(());
        }
        Err(LayerError::Limit {
            limit: Limit::DirectoryBytes,
            maximum: MAX_TREE_BYTES as u64,
            path: Some(EntryName::new(path)),
        })
    }

    /// Gives a child a name that is free.
    fn insert(&mut self, dir: u32, name: &[u8], child: Child, path: &[u8]) -> Result<(), LayerError> {
        if name.len() > MAX_NAME_BYTES {
            return Err(LayerError::call("create", path, Errno::NAMETOOLONG));
        }
        self.charge(NAME_BYTES + name.len(), path)?;
        self.dir_mut(dir).names.insert(name.into(), child);
        Ok(())
    }

    /// Takes a name away, with all below it.
    pub(super) fn remove(&mut self, dir: u32, name: &[u8]) {
        let Some(child) = self.dir_mut(dir).names.remove(name) else {
            return;
        };
        // The path of the last entry may lead through what goes.
        self.last_parent = None;
        let mut doomed = vec![child];
        while let Some(child) = doomed.pop() {
            match child {
                Child::Inode(id) => self.inodes[id as usize].links -= 1,
                Child::Dir(id) => doomed.extend(std::mem::take(&mut self.dir_mut(id).names).into_values()),
            }
        }
    }

    /// Makes a directory where none is; it is opaque if it takes the place of a whiteout.
    fn insert_dir(&mut self, parent: u32, name: &[u8], path: &[u8]) -> Result<u32, LayerError> {
        let opaque = self.found(self.child(parent, name)) == Found::Whiteout;
        self.remove(parent, name);
        let id = self.dirs.len() as u32;
        let path_bytes = self.dir(parent).path_bytes + 1 + name.len();
        if path_bytes >= MAX_PATH_BYTES {
            return Err(LayerError::call("make the directory", path, Errno::NAMETOOLONG));
        }
        self.charge(size_of::<Dir>() + name.len() + path_bytes, path)?;
        self.insert(parent, name, Child::Dir(id), path)?;
        // Behind a whiteout it is a new one, whatever the layers beneath have.
        let dir = Dir { name: name.into(), path_bytes, opaque, implied: !opaque, ..Dir::implied(parent) };
        self.dirs.push(dir);
        Ok(id)
    }

    fn describe(&mut self, dir: u32, metadata: &Metadata<'_>, path: &[u8]) -> Result<(), LayerError> {
        let looks = encode(&metadata.xattrs, Kind::Directory, metadata.mode, path)?;
        self.charge(looks.bytes.len(), path)?;
        let dir = self.dir_mut(dir);
        dir.owner = metadata.owner.unwrap_or_default();
        dir.mtime = metadata.mtime;
        dir.looks = looks;
        dir.implied = false;
        Ok(())
    }

    /// Writes an inode and gives it its first name.
    fn put_inode(
        &mut self,
        node: &Node<'_, u32>,
        inode: Inode,
        xattrs: &[u8],
        tail: &[u8],
    ) -> Result<u32, LayerError> {
        let id = self.inodes.len() as u32;
        let inode = Inode {
            links: 1,
            is_inline: !tail.is_empty(),
            xattr_bytes: xattrs.len(),
            serial: id + 1,
            ..inode
        };
        let slot = self.slots.put(&inode.to_bytes(), xattrs, tail, &mut self.sink, node.path)?;
        self.charge(size_of::<Written>() + xattrs.len(), node.path)?;
        let is_whiteout = inode.kind == Kind::CharDevice && inode.start == 0;
        self.inodes.push(Written { slot, links: 1, kind: inode.kind, is_whiteout });
        self.insert(*node.parent, node.name, Child::Inode(id), node.path)?;
        Ok(id)
    }
}

impl Dir {
    fn implied(parent: u32) -> Dir {
        Dir {
            parent,
            name: Box::default(),
            path_bytes: 0,
            names: BTreeMap::new(),
            owner: (0, 0),
            mtime: Timestamp::default(),
            looks: Encoded { bytes: Vec::new(), mode: IMPLIED_MODE },
            opaque: false,
            implied: true,
        }
    }
}

impl Inode {
    /// As an entry says, empty.
    fn of(kind: Kind, metadata: &Metadata<'_>, mode: u32) -> Inode {
        Inode {
            kind,
            mode,
            owner: metadata.owner.unwrap_or_default(),
            seconds: metadata.mtime.seconds,
            nanos: metadata.mtime.nanos,
            ..Inode::empty(kind)
        }
    }

    pub(super) fn empty(kind: Kind) -> Inode {
        Inode {
            kind,
            mode: 0,
            owner: (0, 0),
            size_bytes: 0,
            seconds: 0,
            nanos: 0,
            links: 0,
            start: 0,
            is_inline: false,
            xattr_bytes: 0,
            serial: 0,
        }
    }
}

impl Target for Image<'_> {
    /// The number of a directory.
    type Place = u32;
    type Parent = u32;
    type Key = (u32, Vec<u8>);

    fn top(&self) -> u32 {
        ROOT
    }

    fn above(&self, place: &u32) -> u32 {
        self.dir(*place).parent
    }

    fn directory(&self, place: &u32, name: &[u8]) -> Option<u32> {
        match self.child(*place, name) {
            Some(Child::Dir(id)) => Some(id),
            _ => None,
        }
    }

    fn look(&mut self, place: &u32, name: &[u8], _: &[u8]) -> Result<Found, LayerError> {
        Ok(self.found(self.child(*place, name)))
    }

    fn make_implied_dir(&mut self, place: &u32, name: &[u8], path: &[u8]) -> Result<u32, LayerError> {
        self.insert_dir(*place, name, path)
    }

    fn open_through(
        &mut self,
        path: &[u8],
        dir: &[u8],
        obstacle: Obstacle,
    ) -> Result<Option<u32>, LayerError> {
        if let Some((last, parent)) = &self.last_parent
            && last == dir
        {
            return Ok(Some(*parent));
        }
        let found = resolve(self, path, dir, obstacle)?;
        // Targets of hard links do not tell where the next entry goes.
        if obstacle != Obstacle::Fail {
            self.last_parent = found.map(|parent| (dir.to_vec(), parent));
        }
        Ok(found)
    }

    fn look_in(&mut self, node: &Node<'_, u32>) -> Result<Found, LayerError> {
        Ok(self.found(self.child(*node.parent, node.name)))
    }

    fn key(&self, node: &Node<'_, u32>) -> (u32, Vec<u8>) {
        (*node.parent, node.name.to_vec())
    }

    fn describe_root(&mut self, metadata: Metadata<'_>) -> Result<(), LayerError> {
        self.describe(ROOT, &metadata, b".")
    }

    fn make_dir(&mut self, node: &Node<'_, u32>, metadata: Metadata<'_>) -> Result<(), LayerError> {
        let dir = match self.child(*node.parent, node.name) {
            Some(Child::Dir(id)) => id,
            _ => self.insert_dir(*node.parent, node.name, node.path)?,
        };
        self.describe(dir, &metadata, node.path)
    }

    fn make_file<R: Read>(
        &mut self,
        node: &Node<'_, u32>,
        metadata: &Metadata<'_>,
        reader: &mut TarReader<R>,
    ) -> Result<(), LayerError> {
        self.remove(*node.parent, node.name);
        let looks = encode(&metadata.xattrs, Kind::File, metadata.mode, node.path)?;
        let content = put_content(&mut self.sink, reader, metadata.size_bytes, looks.bytes.len(), node.path)?;
        let inode = Inode {
            size_bytes: metadata.size_bytes,
            start: content.start,
            ..Inode::of(Kind::File, metadata, looks.mode)
        };
        self.put_inode(node, inode, &looks.bytes, &content.tail).map(drop)
    }

    fn make_symlink(
        &mut self,
        node: &Node<'_, u32>,
        target: &[u8],
        metadata: &Metadata<'_>,
    ) -> Result<(), LayerError> {
        if target.len() > MAX_SYMLINK_BYTES {
            return Err(LayerError::call("make the symlink", node.path, Errno::NAMETOOLONG));
        }
        self.remove(*node.parent, node.name);
        let looks = encode(&metadata.xattrs, Kind::Symlink, 0o777, node.path)?;
        let mut inode = Inode::of(Kind::Symlink, metadata, looks.mode);
        inode.size_bytes = target.len() as u64;
        let mut tail = target;
        if !goes_inline(target.len(), looks.bytes.len()) {
            inode.start = self.sink.start_block(inode.size_bytes, node.path)?;
            self.sink.write(target, node.path)?;
            self.sink.align(node.path)?;
            tail = &[];
        }
        let id = self.put_inode(node, inode, &looks.bytes, tail)?;
        self.charge(NAME_BYTES + target.len(), node.path)?;
        self.targets.insert(id, target.into());
        Ok(())
    }

    fn make_special(
        &mut self,
        node: &Node<'_, u32>,
        kind: EntryKind,
        device: (u32, u32),
        metadata: &Metadata<'_>,
    ) -> Result<(), LayerError> {
        let (kind, start) = match kind {
            EntryKind::CharDevice => (Kind::CharDevice, device_number(device)),
            EntryKind::BlockDevice => (Kind::BlockDevice, device_number(device)),
            _ => (Kind::Fifo, 0),
        };
        self.remove(*node.parent, node.name);
        let looks = encode(&metadata.xattrs, kind, metadata.mode, node.path)?;
        let inode = Inode { start, ..Inode::of(kind, metadata, looks.mode) };
        self.put_inode(node, inode, &looks.bytes, &[]).map(drop)
    }

    fn make_whiteout(&mut self, node: &Node<'_, u32>) -> Result<(), LayerError> {
        self.remove(*node.parent, node.name);
        self.put_inode(node, Inode::empty(Kind::CharDevice), &[], &[]).map(drop)
    }

    fn make_hard_link(&mut self, node: &Node<'_, u32>, target: &Node<'_, u32>) -> Result<bool, LayerError> {
        let Some(Child::Inode(id)) = self.child(*target.parent, target.name) else {
            return Ok(false);
        };
        // Beforehand: the old name may be the last one that the target has.
        self.inodes[id as usize].links += 1;
        self.remove(*node.parent, node.name);
        if self.child(*target.parent, target.name) != Some(Child::Inode(id)) {
            return Ok(false);
        }
        self.insert(*node.parent, node.name, Child::Inode(id), node.path)?;
        Ok(true)
    }

    fn remove_if_there(&mut self, node: &Node<'_, u32>) -> Result<(), LayerError> {
        self.remove(*node.parent, node.name);
        Ok(())
    }

    fn mark_opaque(&mut self, dir: &u32) {
        self.dir_mut(*dir).opaque = true;
    }
}
