//! Entries as objects of a tree of directories.

use std::io::{self, Read};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, makedev, mknodat, openat, symlinkat};
use rustix::io::Errno;

use crate::error::LayerError;
use crate::tar::{EntryKind, TarReader};

use super::metadata::Metadata;
use super::name::{join, split_last};
use super::target::{Found, Obstacle, Target};
use super::tree::{self, Node, Parent, Tree};

impl Target for Tree<'_> {
    /// Its canonical path: no symlink in it.
    type Place = Vec<u8>;
    type Parent = Rc<Parent>;
    /// Its canonical path.
    type Key = Vec<u8>;

    fn top(&self) -> Vec<u8> {
        Vec::new()
    }

    fn above(&self, place: &Vec<u8>) -> Vec<u8> {
        split_last(place).map_or(Vec::new(), |(parent, _)| parent.to_vec())
    }

    fn directory(&self, place: &Vec<u8>, name: &[u8]) -> Option<Vec<u8>> {
        let path = join(place, name);
        self.dirs.contains_key(&path).then_some(path)
    }

    fn look(&mut self, place: &Vec<u8>, name: &[u8], path: &[u8]) -> Result<Found, LayerError> {
        let parent = self.open(path, place.clone())?;
        self.look_in(&Node { parent: &parent, name, path })
    }

    fn make_implied_dir(&mut self, place: &Vec<u8>, name: &[u8], path: &[u8]) -> Result<Vec<u8>, LayerError> {
        let parent = self.open(path, place.clone())?;
        self.insert_implied_dir(&Node { parent: &parent, name, path })?;
        Ok(join(place, name))
    }

    fn open_through(
        &mut self,
        path: &[u8],
        dir: &[u8],
        obstacle: Obstacle,
    ) -> Result<Option<Rc<Parent>>, LayerError> {
        self.open_dir_through(path, dir, obstacle)
    }

    fn look_in(&mut self, node: &Node<'_>) -> Result<Found, LayerError> {
        let Some(stat) = tree::stat(node.parent, node.name, node.path)? else {
            return Ok(Found::Nothing);
        };
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Found::Directory,
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(&node.parent.fd, node.name, Vec::new())
                    .map_err(|errno| LayerError::call("read the symlink", node.path, errno))?;
                Found::Symlink(target.into_bytes())
            }
            _ if tree::is_whiteout(&stat) => Found::Whiteout,
            _ => Found::Other,
        })
    }

    fn key(&self, node: &Node<'_>) -> Vec<u8> {
        join(&node.parent.path, node.name)
    }

    fn describe_root(&mut self, metadata: Metadata<'_>) -> Result<(), LayerError> {
        self.describe_top(metadata)
    }

    fn make_dir(&mut self, node: &Node<'_>, metadata: Metadata<'_>) -> Result<(), LayerError> {
        self.insert_dir(node, metadata)
    }

    fn make_file<R: Read>(
        &mut self,
        node: &Node<'_>,
        metadata: &Metadata<'_>,
        reader: &mut TarReader<R>,
    ) -> Result<(), LayerError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(metadata.mode & 0o777);
        let file =
            self.replacing(node, "create the file", || openat(&node.parent.fd, node.name, flags, mode))?;
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
        metadata.apply_to_file(&file, node, self.inherited())
    }

    fn make_symlink(
        &mut self,
        node: &Node<'_>,
        target: &[u8],
        metadata: &Metadata<'_>,
    ) -> Result<(), LayerError> {
        self.replacing(node, "make the symlink", || symlinkat(target, &node.parent.fd, node.name))?;
        metadata.apply_to_symlink(node, self.inherited())
    }

    fn make_special(
        &mut self,
        node: &Node<'_>,
        kind: EntryKind,
        (major, minor): (u32, u32),
        metadata: &Metadata<'_>,
    ) -> Result<(), LayerError> {
        let kind = match kind {
            EntryKind::CharDevice => FileType::CharacterDevice,
            EntryKind::BlockDevice => FileType::BlockDevice,
            _ => FileType::Fifo,
        };
        let mode = Mode::from_raw_mode(metadata.mode & 0o777);
        self.replacing(node, "make the device node", || {
            mknodat(&node.parent.fd, node.name, kind, mode, makedev(major, minor))
        })?;
        metadata.apply_to_special(node, self.inherited())
    }

    fn make_whiteout(&mut self, node: &Node<'_>) -> Result<(), LayerError> {
        self.replacing(node, "make the whiteout", || {
            let device = makedev(0, 0);
            mknodat(&node.parent.fd, node.name, FileType::CharacterDevice, Mode::empty(), device)
        })
    }

    fn make_hard_link(&mut self, node: &Node<'_>, target: &Node<'_>) -> Result<bool, LayerError> {
        let result = self.replacing(node, "make the hard link", || {
            // No flag: a final symlink is linked itself.
            let (from, to) = (&target.parent.fd, &node.parent.fd);
            rustix::fs::linkat(from, target.name, to, node.name, AtFlags::empty())
        });
        match result {
            // The target lay in the directory that had to make room.
            Err(LayerError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(false),
            other => other.map(|()| true),
        }
    }

    fn remove_if_there(&mut self, node: &Node<'_>) -> Result<(), LayerError> {
        self.remove_node(node)
    }

    fn mark_opaque(&mut self, dir: &Rc<Parent>) {
        self.mark_dir_opaque(dir);
    }
}
