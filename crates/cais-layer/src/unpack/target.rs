//! What a layer's entries are put into, and how their paths are found there: the same for a tree of directories
//! ([`super::tree`]) and for one that grows in memory until it is an image ([`crate::erofs`]).

use std::collections::VecDeque;
use std::io::Read;

use crate::error::{EntryName, LayerError};
use crate::tar::{EntryKind, TarReader};

use super::metadata::Metadata;

/// As many as Linux follows itself.
const MAX_SYMLINKS: u32 = 40;
/// The mode of directories that have no entry.
pub(crate) const IMPLIED_MODE: u32 = 0o755;

/// Something that grows by a layer's entries.
pub(crate) trait Target {
    /// A directory of it, by whatever tells it from others.
    type Place: Clone;
    /// A directory in which something is going to be made.
    type Parent;
    /// A name in a directory.
    type Key: Ord;

    /// The root.
    fn top(&self) -> Self::Place;
    /// The directory above; of the root itself.
    fn above(&self, place: &Self::Place) -> Self::Place;
    /// The directory of that name, if it is one; may give `None` for one that [`look`](Target::look) would find.
    fn directory(&self, place: &Self::Place, name: &[u8]) -> Option<Self::Place>;
    /// What has this name; `path` is for messages.
    fn look(&mut self, place: &Self::Place, name: &[u8], path: &[u8]) -> Result<Found, LayerError>;
    /// Makes a directory that no entry describes, replacing what has the name.
    fn make_implied_dir(
        &mut self,
        place: &Self::Place,
        name: &[u8],
        path: &[u8],
    ) -> Result<Self::Place, LayerError>;

    /// Finds the directory `dir` for the entry `path`, by [`resolve`]; `None` if there is none and none may be made.
    fn open_through(
        &mut self,
        path: &[u8],
        dir: &[u8],
        obstacle: Obstacle,
    ) -> Result<Option<Self::Parent>, LayerError>;
    /// What has this name in an opened directory.
    fn look_in(&mut self, node: &Node<'_, Self::Parent>) -> Result<Found, LayerError>;
    /// What tells a name from all others, whatever path led to it.
    fn key(&self, node: &Node<'_, Self::Parent>) -> Self::Key;

    /// Says how the root shall look.
    fn describe_root(&mut self, metadata: Metadata<'_>) -> Result<(), LayerError>;
    /// Makes the directory of an entry, or describes it anew if it is there.
    fn make_dir(&mut self, node: &Node<'_, Self::Parent>, metadata: Metadata<'_>) -> Result<(), LayerError>;
    /// Makes a file with the reader's content, replacing what has the name. So do all the following.
    fn make_file<R: Read>(
        &mut self,
        node: &Node<'_, Self::Parent>,
        metadata: &Metadata<'_>,
        reader: &mut TarReader<R>,
    ) -> Result<(), LayerError>;
    /// Makes a symlink.
    fn make_symlink(
        &mut self,
        node: &Node<'_, Self::Parent>,
        target: &[u8],
        metadata: &Metadata<'_>,
    ) -> Result<(), LayerError>;
    /// Makes a device node or a pipe.
    fn make_special(
        &mut self,
        node: &Node<'_, Self::Parent>,
        kind: EntryKind,
        device: (u32, u32),
        metadata: &Metadata<'_>,
    ) -> Result<(), LayerError>;
    /// Makes overlayfs' mark for a hidden name.
    fn make_whiteout(&mut self, node: &Node<'_, Self::Parent>) -> Result<(), LayerError>;
    /// Gives what `target` names, which is no directory, a second name. `false`: it lay in what had to make room.
    fn make_hard_link(
        &mut self,
        node: &Node<'_, Self::Parent>,
        target: &Node<'_, Self::Parent>,
    ) -> Result<bool, LayerError>;
    /// Removes whatever has this name, with all below it.
    fn remove_if_there(&mut self, node: &Node<'_, Self::Parent>) -> Result<(), LayerError>;
    /// Makes the directory hide its namesakes in lower layers.
    fn mark_opaque(&mut self, dir: &Self::Parent);
}

/// A name in an open directory, where an entry goes.
pub(crate) struct Node<'n, P> {
    pub(crate) parent: &'n P,
    pub(crate) name: &'n [u8],
    /// The entry's path, for messages.
    pub(crate) path: &'n [u8],
}

/// What stands at a name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    Directory,
    /// With its target.
    Symlink(Vec<u8>),
    /// Overlayfs' mark for a hidden name.
    Whiteout,
    Other,
}

/// What to do about a component that is not a directory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// Make a directory in its place.
    Replace,
    /// Make a directory if nothing is there, otherwise give up.
    Respect,
    /// Give up.
    Fail,
}

/// Finds the directory `dir` as the kernel would in a chroot: symlinks are followed, absolute ones and `..` stop at
/// the root. `None`: something that is no directory is in the way, or missing.
pub(crate) fn resolve<T: Target>(
    target: &mut T,
    path: &[u8],
    dir: &[u8],
    obstacle: Obstacle,
) -> Result<Option<T::Place>, LayerError> {
    let mut rest: VecDeque<Vec<u8>> = components(dir).collect();
    let mut here = target.top();
    let mut symlinks = 0;
    while let Some(component) = rest.pop_front() {
        if component == b".." {
            here = target.above(&here);
            continue;
        }
        if let Some(next) = target.directory(&here, &component) {
            here = next;
            continue;
        }
        match target.look(&here, &component, path)? {
            Found::Symlink(link) => {
                symlinks += 1;
                if symlinks > MAX_SYMLINKS {
                    return Err(LayerError::SymlinkLoop { path: EntryName::new(path) });
                }
                if link.starts_with(b"/") {
                    here = target.top();
                }
                for component in components(&link).rev() {
                    rest.push_front(component);
                }
            }
            Found::Nothing if obstacle == Obstacle::Fail => return Ok(None),
            Found::Whiteout | Found::Other | Found::Directory if obstacle != Obstacle::Replace => {
                return Ok(None);
            }
            _ => here = target.make_implied_dir(&here, &component, path)?,
        }
    }
    Ok(Some(here))
}

fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = Vec<u8>> {
    path.split(|&byte| byte == b'/').filter(|component| !matches!(*component, b"" | b".")).map(<[u8]>::to_vec)
}
