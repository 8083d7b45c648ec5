//! Puts entries into a tree that is already there, as `cp` does; [`super::unpack`] fills an empty one.
//!
//! - Directories are merged; a directory and something else never replace each other; anything else is replaced by
//!   removing it first, except a file that is a mount point, into which the content is written.
//! - Every directory is opened beneath the place where the tree begins, or, for archives, as inside of a root:
//!   links are followed there, and lead nowhere else. The last component is never followed.
//! - Directories get their looks in [`Placer::finish`], children first.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, linkat, makedev, mkdirat, mknodat, openat, openat2,
};
use rustix::fs::{StatxAttributes, StatxFlags, statat, symlinkat, unlinkat};
use rustix::io::Errno;

use crate::copy::copy_content;
use crate::error::{EntryName, LayerError};
use crate::tar::{Entry, EntryKind, TarReader};

use super::metadata::{Inherited, Metadata};
use super::tree::{Node, Parent};
use super::{Options, name};

/// Where a tree begins.
#[derive(Debug, Clone)]
pub enum Ground<'a> {
    /// In this directory; nothing below it is followed.
    Directory(BorrowedFd<'a>),
    /// In the directory `base` of this root, whose links are followed inside of it.
    Root(BorrowedFd<'a>, Vec<u8>),
}

/// Content of a file.
pub enum Source<'s, 'r> {
    /// An open file.
    File(BorrowedFd<'s>),
    /// What the archive has next.
    Archive(&'s mut TarReader<&'r mut dyn std::io::Read>),
    /// None, or nothing but a hole.
    Nothing,
}

/// Puts entries into a tree.
pub struct Placer<'a> {
    ground: Ground<'a>,
    options: Options,
    last_parent: Option<Rc<Parent>>,
    /// To be described at the end.
    directories: Vec<Entry>,
    /// Entries that this caller may not make.
    skipped_devices: u64,
}

impl<'a> Placer<'a> {
    /// Begins; of the options the limits do not count.
    pub fn new(ground: Ground<'a>, options: Options) -> Placer<'a> {
        Placer { ground, options, last_parent: None, directories: Vec::new(), skipped_devices: 0 }
    }

    /// Puts one entry into its place. Missing parents are made, 0755 and the caller's.
    ///
    /// # Errors
    /// What stands in the way, and what the kernel says.
    pub fn place(&mut self, entry: &Entry, source: Source<'_, '_>) -> Result<(), LayerError> {
        let path = name::normalize(&entry.path)
            .ok_or_else(|| LayerError::ParentComponent { path: EntryName::new(&entry.path) })?;
        // The place itself stays as it is.
        let Some((directory, last)) = name::split_last(&path) else { return Ok(()) };
        let parent = self.parent(&path, directory)?;
        let node = Node { parent: &parent, name: last, path: &path };
        let made = self.make(entry, &node, source);
        self.last_parent = Some(parent);
        made
    }

    /// Describes the directories; returns how many device nodes were left out, because this caller may not make them.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn finish(mut self) -> Result<u64, LayerError> {
        for entry in std::mem::take(&mut self.directories).iter().rev() {
            let Some((directory, last)) = name::split_last(&entry.path) else { continue };
            let parent = self.parent(&entry.path, directory)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match openat(&parent.fd, last, flags, Mode::empty()) {
                // Somebody else was quicker.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                opened => {
                    let opened = opened.map_err(|errno| LayerError::call("open", &entry.path, errno))?;
                    let node = Node { parent: &parent, name: last, path: &entry.path };
                    let metadata = Metadata::of(entry, &self.options)?;
                    metadata.apply_to_file(&opened, &node, &Inherited::UNKNOWN)?;
                }
            }
            self.last_parent = Some(parent);
        }
        Ok(self.skipped_devices)
    }

    fn make(&mut self, entry: &Entry, node: &Node<'_>, source: Source<'_, '_>) -> Result<(), LayerError> {
        if self.make_room(entry, node)? == Room::Taken {
            return self.write_into(entry, node, source);
        }
        let metadata = Metadata::of(entry, &self.options)?;
        let failed = |operation| move |errno| LayerError::call(operation, node.path, errno);
        match entry.kind {
            EntryKind::Directory => {
                match mkdirat(&node.parent.fd, node.name, Mode::RWXU) {
                    Err(Errno::EXIST) => {}
                    other => other.map_err(failed("make the directory"))?,
                }
                self.directories.push(Entry { path: node.path.to_vec(), ..entry.clone() });
                Ok(())
            }
            EntryKind::File => {
                let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = openat(&node.parent.fd, node.name, flags, Mode::RUSR | Mode::WUSR)
                    .map_err(failed("create the file"))?;
                fill(&file, entry, node.path, source)?;
                metadata.apply_to_file(&file, node, &Inherited::UNKNOWN)
            }
            EntryKind::HardLink => self.make_hard_link(entry, node),
            EntryKind::Symlink => {
                symlinkat(&entry.link[..], &node.parent.fd, node.name).map_err(failed("make the symlink"))?;
                metadata.apply_to_symlink(node, &Inherited::UNKNOWN)
            }
            EntryKind::CharDevice => self.make_node(entry, node, FileType::CharacterDevice),
            EntryKind::BlockDevice => self.make_node(entry, node, FileType::BlockDevice),
            EntryKind::Fifo => self.make_node(entry, node, FileType::Fifo),
        }
    }

    /// Removes what is in the way, where that is allowed.
    fn make_room(&self, entry: &Entry, node: &Node<'_>) -> Result<Room, LayerError> {
        let fault = |errno| LayerError::call("replace", node.path, errno);
        let stat = match statat(&node.parent.fd, node.name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(Room::Free),
            other => other.map_err(fault)?,
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        match (kind == FileType::Directory, entry.kind == EntryKind::Directory) {
            (true, true) => return Ok(Room::Free),
            (false, false) => {}
            (_, with_directory) => {
                return Err(LayerError::Overwrites { path: EntryName::new(node.path), with_directory });
            }
        }
        if is_mount_point(node) {
            // In another mount namespace the kernel would let us remove it, and take the mount down.
            return match (kind, entry.kind) {
                (FileType::RegularFile, EntryKind::File) => Ok(Room::Taken),
                _ => Err(fault(Errno::BUSY)),
            };
        }
        match unlinkat(&node.parent.fd, node.name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(Room::Free),
            Err(errno) => Err(fault(errno)),
        }
    }

    /// A file that is mounted there: it stays what it is and gets the content.
    fn write_into(&self, entry: &Entry, node: &Node<'_>, source: Source<'_, '_>) -> Result<(), LayerError> {
        let flags = OFlags::RDWR | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(&node.parent.fd, node.name, flags, Mode::empty())
            .map_err(|errno| LayerError::call("open", node.path, errno))?;
        fill(&file, entry, node.path, source)
    }

    fn make_hard_link(&mut self, entry: &Entry, node: &Node<'_>) -> Result<(), LayerError> {
        let failed = |errno| LayerError::call("make the hard link", node.path, errno);
        let target = name::normalize(&entry.link).ok_or_else(|| failed(Errno::INVAL))?;
        let (directory, last) = name::split_last(&target).ok_or_else(|| failed(Errno::ISDIR))?;
        let from = self.open(directory, false).map_err(failed)?;
        linkat(&from, last, &node.parent.fd, node.name, AtFlags::empty()).map_err(failed)
    }

    fn make_node(&mut self, entry: &Entry, node: &Node<'_>, kind: FileType) -> Result<(), LayerError> {
        let (major, minor) = entry.device;
        let device = if kind == FileType::Fifo { 0 } else { makedev(major, minor) };
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        match mknodat(&node.parent.fd, node.name, kind, mode, device) {
            Err(Errno::PERM) => {
                self.skipped_devices += 1;
                return Ok(());
            }
            other => other.map_err(|errno| LayerError::call("make the device node", node.path, errno))?,
        }
        if kind == FileType::CharacterDevice && device == 0 {
            // A whiteout has no looks.
            return Ok(());
        }
        Metadata::of(entry, &self.options)?.apply_to_special(node, &Inherited::UNKNOWN)
    }

    fn parent(&mut self, path: &[u8], directory: &[u8]) -> Result<Rc<Parent>, LayerError> {
        match self.last_parent.take() {
            Some(parent) if parent.path == directory => Ok(parent),
            _ => {
                let fd = self
                    .open(directory, true)
                    .map_err(|errno| LayerError::call("open the parent of", path, errno))?;
                Ok(Rc::new(Parent { path: directory.to_vec(), fd }))
            }
        }
    }

    /// Opens a directory of the tree; `make` makes what is missing.
    fn open(&self, directory: &[u8], make: bool) -> Result<OwnedFd, Errno> {
        let opened = self.open_there(directory);
        if !make || !matches!(opened, Err(Errno::NOENT)) || directory.is_empty() {
            return opened;
        }
        let (above, last) = name::split_last(directory).ok_or(Errno::NOENT)?;
        let parent = self.open(above, true)?;
        match mkdirat(&parent, last, Mode::RWXU | Mode::RGRP | Mode::XGRP | Mode::ROTH | Mode::XOTH) {
            Ok(()) | Err(Errno::EXIST) => self.open_there(directory),
            Err(errno) => Err(errno),
        }
    }

    fn open_there(&self, directory: &[u8]) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let (root, path, within) = match &self.ground {
            Ground::Directory(fd) => {
                let path = if directory.is_empty() { b"." } else { directory };
                (fd, path.to_vec(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
            }
            Ground::Root(fd, base) => (fd, [&base[..], b"/", directory].concat(), ResolveFlags::IN_ROOT),
        };
        let path = CString::new(path).map_err(|_| Errno::INVAL)?;
        loop {
            match openat2(root, &path, flags, Mode::empty(), within | ResolveFlags::NO_MAGICLINKS) {
                // A rename somewhere made the kernel unsure.
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
    }
}

#[derive(PartialEq, Eq)]
enum Room {
    Free,
    Taken,
}

/// Something is mounted there, in whatever namespace the tree belongs to; statx(2), `STATX_ATTR_MOUNT_ROOT`.
fn is_mount_point(node: &Node<'_>) -> bool {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::statx(&node.parent.fd, node.name, flags, StatxFlags::TYPE)
        .is_ok_and(|stat| stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

fn fill(file: &OwnedFd, entry: &Entry, path: &[u8], source: Source<'_, '_>) -> Result<(), LayerError> {
    let failed = |errno| LayerError::call("write the file", path, errno);
    match source {
        Source::File(content) => {
            copy_content(content, file.as_fd())
                .map_err(|error| LayerError::io("write the file", path, error))?;
        }
        Source::Nothing => {
            rustix::fs::ftruncate(file, entry.size_bytes).map_err(failed)?;
        }
        Source::Archive(reader) => {
            while let Some(chunk) = reader.next_chunk()? {
                let (mut at, mut bytes) = (chunk.offset, chunk.bytes);
                while !bytes.is_empty() {
                    match rustix::io::pwrite(file, bytes, at) {
                        Ok(count) => {
                            bytes = &bytes[count..];
                            at += count as u64;
                        }
                        Err(Errno::INTR) => {}
                        Err(errno) => return Err(failed(errno)),
                    }
                }
            }
            rustix::fs::ftruncate(file, entry.size_bytes).map_err(failed)?;
        }
    }
    Ok(())
}
