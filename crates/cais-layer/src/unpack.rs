//! Applies a layer to an empty directory, as overlayfs wants to see it.
//!
//! Decisions where the specification leaves room, or engines differ:
//! - The later entry of one path wins, also between a whiteout and something real, as in Docker. A directory that
//!   follows a whiteout of the same path, or one of its children, is made opaque, since lower layers stay hidden.
//! - Parents are resolved as in a chroot into the tree: a symlink of this layer is followed, but not out of it.
//!   What else stands in a parent's place is replaced by a directory. Missing parents are made, 0755, and
//!   named in the result: in an image they look as in the layers beneath, which are not known here.
//! - Whiteouts below something that is not a directory any more are skipped: there is nothing left to hide.
//! - Entry types that no file system knows are refused.
//! - Ids come from the numbers, never from names.
//! - Device nodes cannot be made without privilege: rootless, they are skipped and counted. The engine brings the
//!   devices that containers need.
//! - Of extended attributes `user.*`, `trusted.*`, `security.capability` and POSIX ACLs are set. Overlayfs' own
//!   ones would forge merges, and security labels belong to the host's policy: both are dropped.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::os::fd::BorrowedFd;

use cais_oci::Digest;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, makedev, mknodat, openat, symlinkat};
use rustix::io::Errno;

use crate::compression::{Compression, Decoder};
use crate::error::{EntryName, LayerError, LinkFault};
use crate::limits::Limits;
use crate::tar::{Entry, EntryKind, TarReader};

mod metadata;
mod name;
pub mod place;
mod removal;
mod tree;

use metadata::Metadata;
use name::{Component, split_last};
use tree::{Node, Parent, Through, Tree};

/// How a layer is unpacked.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Without privilege in the initial user namespace: overlayfs' attributes are `user.overlay.*`
    /// (mount option `userxattr`), device nodes are skipped, and what only root may set is left out.
    pub rootless: bool,
    /// There is but one id: owners are ignored, everything belongs to the caller.
    pub squash_ids: bool,
    /// What is too much.
    pub limits: Limits,
}

/// What came out of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// The digest of the uncompressed tar.
    pub diff_id: Digest,
    /// What the first bytes said, whatever the media type.
    pub compression: Compression,
    /// Bytes of the uncompressed tar.
    pub tar_bytes: u64,
    /// The sum of all file sizes.
    pub content_bytes: u64,
    /// Entries of the archive.
    pub entries: u64,
    /// Device nodes that were left out ([`Options::rootless`]).
    pub skipped_devices: u64,
    /// The layer's root is opaque: it hides all layers below. Overlayfs ignores that mark on a root, so
    /// whoever stacks the layers must leave the lower ones out.
    pub hides_lower_layers: bool,
    /// Directories that have no entry and were made for what is below them, 0755 and the caller's: paths from the root
    /// without leading slash, parents first. Whoever stacks the layers makes them look as in the layers beneath.
    pub implied_dirs: Vec<Vec<u8>>,
}

/// Reads a layer from `input` to its end and writes its tree into `dest`.
///
/// The layer is a tar, plain or compressed by gzip or zstd, which is told from its first bytes. `dest` is an empty
/// directory to which nobody else writes meanwhile; its own mode, owner and time change only if the layer has an
/// entry for its root. Nothing is synced. On failure a partial tree remains. The caller compares the returned
/// `diff_id` with the one of the image's config before anybody sees the tree.
pub fn unpack(input: impl Read, dest: BorrowedFd<'_>, options: &Options) -> Result<Unpacked, LayerError> {
    let decoder = Decoder::new(input)?;
    let compression = decoder.compression();
    let mut reader = TarReader::new(decoder, &options.limits);
    let mut unpacker = Unpacker {
        tree: Tree::new(dest, options)?,
        options,
        skipped_devices: 0,
        skipped_paths: BTreeSet::new(),
    };
    while let Some(entry) = reader.next_entry()? {
        unpacker.apply(&entry, &mut reader)?;
    }
    let hides_lower_layers = unpacker.tree.root_is_opaque();
    let skipped_devices = unpacker.skipped_devices;
    let implied_dirs = unpacker.tree.finish()?;
    let end = reader.finish()?;
    Ok(Unpacked {
        diff_id: end.digest,
        compression,
        tar_bytes: end.tar_bytes,
        content_bytes: end.content_bytes,
        entries: end.entries,
        skipped_devices,
        hides_lower_layers,
        implied_dirs,
    })
}

struct Unpacker<'a> {
    tree: Tree<'a>,
    options: &'a Options,
    skipped_devices: u64,
    /// Where skipped device nodes would be: a hard link to one is skipped too.
    skipped_paths: BTreeSet<Vec<u8>>,
}

impl Unpacker<'_> {
    fn apply<R: Read>(&mut self, entry: &Entry, reader: &mut TarReader<R>) -> Result<(), LayerError> {
        let Some(path) = name::normalize(&entry.path) else {
            return Err(LayerError::ParentComponent { path: EntryName::new(&entry.path) });
        };
        if name::is_aufs_metadata(&path) {
            return Ok(());
        }
        let Some((parent, last)) = split_last(&path) else {
            return self.apply_root(entry);
        };
        match name::classify(last) {
            Component::AufsMetadata => Ok(()),
            Component::Opaque => self.mark_opaque(&path, parent),
            Component::Whiteout(hidden) => self.make_whiteout(&path, parent, hidden),
            Component::NamelessWhiteout => Err(LayerError::NamelessWhiteout { path: EntryName::new(&path) }),
            Component::Plain => {
                let parent = self.tree.parent_for(&path, parent)?;
                let node = Node { parent: &parent, name: last, path: &path };
                self.make(entry, &node, reader)
            }
        }
    }

    /// An entry for the root of the layer says how `dest` itself shall look.
    fn apply_root(&mut self, entry: &Entry) -> Result<(), LayerError> {
        if entry.kind != EntryKind::Directory {
            return Err(LayerError::ReplacesRoot { path: EntryName::new(&entry.path) });
        }
        let metadata = Metadata::of(entry, self.options)?;
        self.tree.describe_root(metadata)
    }

    fn make<R: Read>(
        &mut self,
        entry: &Entry,
        node: &Node<'_>,
        reader: &mut TarReader<R>,
    ) -> Result<(), LayerError> {
        let metadata = Metadata::of(entry, self.options)?;
        match entry.kind {
            EntryKind::Directory => self.tree.make_dir(node, metadata),
            EntryKind::File => self.make_file(node, &metadata, reader),
            EntryKind::HardLink => self.make_hard_link(entry, node),
            EntryKind::Symlink => {
                self.tree.replacing(node, "make the symlink", || {
                    symlinkat(&entry.link[..], &node.parent.fd, node.name)
                })?;
                metadata.apply_to_symlink(node, self.tree.inherited())
            }
            // Overlayfs' own way to write a whiteout.
            EntryKind::CharDevice if entry.device == (0, 0) => self.make_whiteout_node(node),
            EntryKind::CharDevice => self.make_special(entry, node, &metadata, FileType::CharacterDevice),
            EntryKind::BlockDevice => self.make_special(entry, node, &metadata, FileType::BlockDevice),
            EntryKind::Fifo => self.make_special(entry, node, &metadata, FileType::Fifo),
        }
    }

    fn make_file<R: Read>(
        &mut self,
        node: &Node<'_>,
        metadata: &Metadata<'_>,
        reader: &mut TarReader<R>,
    ) -> Result<(), LayerError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(metadata.mode & 0o777);
        let file = self
            .tree
            .replacing(node, "create the file", || openat(&node.parent.fd, node.name, flags, mode))?;
        let mut end = 0;
        while let Some(chunk) = reader.next_chunk()? {
            let mut offset = chunk.offset;
            let mut bytes = chunk.bytes;
            while !bytes.is_empty() {
                // A file without holes is written front to back, which needs no offsets.
                let result = if offset == end {
                    rustix::io::write(&file, bytes)
                } else {
                    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(offset))
                        .and_then(|_| rustix::io::write(&file, bytes))
                };
                match result {
                    Ok(written) => {
                        bytes = &bytes[written..];
                        offset += written as u64;
                        end = offset;
                    }
                    Err(Errno::INTR) => {}
                    Err(errno) => return Err(LayerError::call("write the file", node.path, errno)),
                }
            }
        }
        if end != metadata.size_bytes {
            rustix::fs::ftruncate(&file, metadata.size_bytes)
                .map_err(|errno| LayerError::call("set the size of", node.path, errno))?;
        }
        metadata.apply_to_file(&file, node, self.tree.inherited())
    }

    fn make_hard_link(&mut self, entry: &Entry, node: &Node<'_>) -> Result<(), LayerError> {
        let refuse = |fault| LayerError::HardLink {
            path: EntryName::new(node.path),
            target: EntryName::new(&entry.link),
            fault,
        };
        let target = name::normalize(&entry.link).ok_or(refuse(LinkFault::ParentComponent))?;
        let Some((target_parent, target_name)) = split_last(&target) else {
            return Err(refuse(LinkFault::Directory));
        };
        let Through::Ready(target_parent) = self.tree.find_parent(node.path, target_parent)? else {
            return Err(refuse(LinkFault::Missing));
        };
        let target = target_parent.child(target_name);
        match tree::stat(&target_parent, target_name, node.path)? {
            Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                return Err(refuse(LinkFault::Directory));
            }
            Some(stat) if !tree::is_whiteout(&stat) => {}
            _ if self.skipped_paths.contains(&target) => {
                self.skipped_devices += 1;
                self.skipped_paths.insert(node.parent.child(node.name));
                return Ok(());
            }
            _ => return Err(refuse(LinkFault::Missing)),
        }
        if target == node.parent.child(node.name) {
            return Ok(());
        }
        let result = self.tree.replacing(node, "make the hard link", || {
            // No flag: a final symlink is linked itself.
            rustix::fs::linkat(&target_parent.fd, target_name, &node.parent.fd, node.name, AtFlags::empty())
        });
        match result {
            // The target lay in the directory that had to make room.
            Err(LayerError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Err(refuse(LinkFault::Missing))
            }
            other => other,
        }
    }

    fn make_special(
        &mut self,
        entry: &Entry,
        node: &Node<'_>,
        metadata: &Metadata<'_>,
        kind: FileType,
    ) -> Result<(), LayerError> {
        if kind != FileType::Fifo && self.options.rootless {
            self.tree.remove_if_there(node)?;
            self.skipped_devices += 1;
            self.skipped_paths.insert(node.parent.child(node.name));
            return Ok(());
        }
        let mode = Mode::from_raw_mode(metadata.mode & 0o777);
        let (major, minor) = entry.device;
        self.tree.replacing(node, "make the device node", || {
            mknodat(&node.parent.fd, node.name, kind, mode, makedev(major, minor))
        })?;
        metadata.apply_to_special(node, self.tree.inherited())
    }

    fn make_whiteout(&mut self, path: &[u8], parent: &[u8], hidden: &[u8]) -> Result<(), LayerError> {
        match self.tree.parent_for_whiteout(path, parent)? {
            Through::Ready(parent) => self.make_whiteout_node(&Node { parent: &parent, name: hidden, path }),
            Through::Blocked => Ok(()),
        }
    }

    fn make_whiteout_node(&mut self, node: &Node<'_>) -> Result<(), LayerError> {
        self.tree.replacing(node, "make the whiteout", || {
            let device = makedev(0, 0);
            mknodat(&node.parent.fd, node.name, FileType::CharacterDevice, Mode::empty(), device)
        })
    }

    fn mark_opaque(&mut self, path: &[u8], dir: &[u8]) -> Result<(), LayerError> {
        if let Through::Ready(dir) = self.tree.parent_for_whiteout(path, dir)? {
            self.tree.mark_opaque(&dir);
        }
        Ok(())
    }
}

impl Parent {
    /// The path of a child, from the root of the tree.
    fn child(&self, name: &[u8]) -> Vec<u8> {
        name::join(&self.path, name)
    }
}
