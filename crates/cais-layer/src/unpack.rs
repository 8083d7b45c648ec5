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
use std::io::Read;
use std::os::fd::BorrowedFd;

use cais_oci::Digest;
use rustix::io::Errno;

use crate::compression::{Compression, Decoder};
use crate::error::{EntryName, LayerError, LinkFault};
use crate::limits::Limits;
use crate::tar::{Entry, EntryKind, TarReader};

pub(crate) mod metadata;
pub(crate) mod name;
mod objects;
pub mod place;
mod removal;
pub(crate) mod target;
mod tree;

use metadata::Metadata;
use name::{Component, split_last};
use target::{Found, Node, Obstacle, Target};
use tree::Tree;

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
    let (tree, unpacked) = unpack_into(input, Tree::new(dest, options)?, options)?;
    let hides_lower_layers = tree.root_is_opaque();
    let implied_dirs = tree.finish()?;
    Ok(Unpacked { hides_lower_layers, implied_dirs, ..unpacked })
}

struct Unpacker<'a, T: Target> {
    target: T,
    options: &'a Options,
    skipped_devices: u64,
    /// Where skipped device nodes would be: a hard link to one is skipped too.
    skipped_names: BTreeSet<T::Key>,
}

/// Puts all entries of a layer into `target` and returns it with what they amounted to, but for the directories
/// that no entry describes and the mark on the root.
pub(crate) fn unpack_into<T: Target>(
    input: impl Read,
    target: T,
    options: &Options,
) -> Result<(T, Unpacked), LayerError> {
    let decoder = Decoder::new(input)?;
    let compression = decoder.compression();
    let mut reader = TarReader::new(decoder, &options.limits);
    let mut unpacker = Unpacker { target, options, skipped_devices: 0, skipped_names: BTreeSet::new() };
    while let Some(entry) = reader.next_entry()? {
        unpacker.apply(&entry, &mut reader)?;
    }
    let end = reader.finish()?;
    let unpacked = Unpacked {
        diff_id: end.digest,
        compression,
        tar_bytes: end.tar_bytes,
        content_bytes: end.content_bytes,
        entries: end.entries,
        skipped_devices: unpacker.skipped_devices,
        hides_lower_layers: false,
        implied_dirs: Vec::new(),
    };
    Ok((unpacker.target, unpacked))
}

impl<T: Target> Unpacker<'_, T> {
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
                // Nothing blocks when everything may be replaced.
                let parent = self
                    .target
                    .open_through(&path, parent, Obstacle::Replace)?
                    .ok_or_else(|| LayerError::call("open the parent of", &path, Errno::NOTDIR))?;
                let node = Node { parent: &parent, name: last, path: &path };
                self.make(entry, &node, reader)
            }
        }
    }

    /// An entry for the root of the layer says how the root of the tree shall look.
    fn apply_root(&mut self, entry: &Entry) -> Result<(), LayerError> {
        if entry.kind != EntryKind::Directory {
            return Err(LayerError::ReplacesRoot { path: EntryName::new(&entry.path) });
        }
        let metadata = Metadata::of(entry, self.options)?;
        self.target.describe_root(metadata)
    }

    fn make<R: Read>(
        &mut self,
        entry: &Entry,
        node: &Node<'_, T::Parent>,
        reader: &mut TarReader<R>,
    ) -> Result<(), LayerError> {
        let metadata = Metadata::of(entry, self.options)?;
        match entry.kind {
            EntryKind::Directory => self.target.make_dir(node, metadata),
            EntryKind::File => self.target.make_file(node, &metadata, reader),
            EntryKind::HardLink => self.make_hard_link(entry, node),
            EntryKind::Symlink => self.target.make_symlink(node, &entry.link, &metadata),
            // Overlayfs' own way to write a whiteout.
            EntryKind::CharDevice if entry.device == (0, 0) => self.target.make_whiteout(node),
            EntryKind::CharDevice | EntryKind::BlockDevice if self.options.rootless => {
                self.target.remove_if_there(node)?;
                self.skip_device(node);
                Ok(())
            }
            EntryKind::CharDevice | EntryKind::BlockDevice | EntryKind::Fifo => {
                self.target.make_special(node, entry.kind, entry.device, &metadata)
            }
        }
    }

    fn skip_device(&mut self, node: &Node<'_, T::Parent>) {
        self.skipped_devices += 1;
        self.skipped_names.insert(self.target.key(node));
    }

    fn make_hard_link(&mut self, entry: &Entry, node: &Node<'_, T::Parent>) -> Result<(), LayerError> {
        let refuse = |fault| LayerError::HardLink {
            path: EntryName::new(node.path),
            target: EntryName::new(&entry.link),
            fault,
        };
        let target = name::normalize(&entry.link).ok_or(refuse(LinkFault::ParentComponent))?;
        let Some((target_parent, target_name)) = split_last(&target) else {
            return Err(refuse(LinkFault::Directory));
        };
        let Some(target_parent) = self.target.open_through(node.path, target_parent, Obstacle::Fail)? else {
            return Err(refuse(LinkFault::Missing));
        };
        let target = Node { parent: &target_parent, name: target_name, path: node.path };
        let target_key = self.target.key(&target);
        match self.target.look_in(&target)? {
            Found::Directory => return Err(refuse(LinkFault::Directory)),
            Found::Symlink(_) | Found::Other => {}
            Found::Nothing | Found::Whiteout if self.skipped_names.contains(&target_key) => {
                self.skip_device(node);
                return Ok(());
            }
            Found::Nothing | Found::Whiteout => return Err(refuse(LinkFault::Missing)),
        }
        if target_key == self.target.key(node) || self.target.make_hard_link(node, &target)? {
            return Ok(());
        }
        Err(refuse(LinkFault::Missing))
    }

    fn make_whiteout(&mut self, path: &[u8], parent: &[u8], hidden: &[u8]) -> Result<(), LayerError> {
        match self.target.open_through(path, parent, Obstacle::Respect)? {
            Some(parent) => self.target.make_whiteout(&Node { parent: &parent, name: hidden, path }),
            None => Ok(()),
        }
    }

    fn mark_opaque(&mut self, path: &[u8], dir: &[u8]) -> Result<(), LayerError> {
        if let Some(dir) = self.target.open_through(path, dir, Obstacle::Respect)? {
            self.target.mark_opaque(&dir);
        }
        Ok(())
    }
}
