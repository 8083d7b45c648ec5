//! The tree while it grows: which directories it has, how to open them safely, what stands in the way.
//!
//! Invariants:
//! - `dirs` has every directory of the tree by its canonical path (no symlink in it), and nothing else.
//! - A directory is only ever opened by its canonical path, beneath the root, following nothing, so that even a
//!   wrong path cannot lead out. Everything else is done to one component below an open directory.
//! - Directories get owner, mode, attributes and time at the very end, since all of these would disturb, or be
//!   disturbed by, the making of their children.

use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, mkdirat, openat2, unlinkat};
use rustix::io::Errno;

use crate::error::{EntryName, LayerError};
use crate::limits::Limit;
use crate::tar::{Timestamp, Xattr};

use super::Options;
use super::metadata::{self, Inherited, Metadata};
use super::name::{self, join};
use super::target::{IMPLIED_MODE, Obstacle, resolve};

/// Bounds the memory for `dirs`: far above honest layers (60 bytes a directory), below what would hurt.
const MAX_DIRECTORY_BYTES: usize = 256 * 1024 * 1024;

pub(super) struct Tree<'a> {
    pub(super) root: BorrowedFd<'a>,
    inherited: Inherited,
    rootless: bool,
    pub(super) dirs: BTreeMap<Vec<u8>, Dir>,
    directory_bytes: usize,
    /// The parent of the last entry, by its path as the archive has it: most entries have the same.
    last_parent: Option<(Vec<u8>, Rc<Parent>)>,
}

/// What a directory shall look like in the end.
pub(super) struct Dir {
    /// The mode that it has now, where known.
    made: Option<u32>,
    mode: u32,
    owner: Option<(u32, u32)>,
    /// `None` for directories that have no entry.
    mtime: Option<Timestamp>,
    xattrs: Vec<Xattr>,
    opaque: bool,
    /// Made only for what is below it: the layers beneath say how it looks.
    implied: bool,
}

/// An open directory.
pub(super) struct Parent {
    /// Its canonical path; empty for the root.
    pub(super) path: Vec<u8>,
    pub(super) fd: OwnedFd,
}

/// A name in an open directory, where an entry goes.
pub(super) type Node<'n> = super::target::Node<'n, Rc<Parent>>;

impl<'a> Tree<'a> {
    /// Starts at `root`, which must be empty: what is there already could be a symlink of somebody else.
    pub(super) fn new(root: BorrowedFd<'a>, options: &Options) -> Result<Tree<'a>, LayerError> {
        if !is_empty(root).map_err(|errno| LayerError::call("read the directory", b".", errno))? {
            return Err(LayerError::NotEmpty);
        }
        let root_dir = Dir {
            made: None,
            mode: IMPLIED_MODE,
            owner: None,
            mtime: None,
            xattrs: Vec::new(),
            opaque: false,
            implied: false,
        };
        Ok(Tree {
            root,
            inherited: Inherited::probe(root),
            rootless: options.rootless,
            dirs: BTreeMap::from([(Vec::new(), root_dir)]),
            directory_bytes: 0,
            last_parent: None,
        })
    }

    pub(super) fn inherited(&self) -> &Inherited {
        &self.inherited
    }

    /// Opens the directory `dir` for the entry `path`, see `open_through` of the target.
    pub(super) fn open_dir_through(
        &mut self,
        path: &[u8],
        dir: &[u8],
        obstacle: Obstacle,
    ) -> Result<Option<Rc<Parent>>, LayerError> {
        if let Some((last, parent)) = &self.last_parent
            && last == dir
        {
            return Ok(Some(Rc::clone(parent)));
        }
        let canonical = if self.dirs.contains_key(dir) {
            dir.to_vec()
        } else {
            match resolve(self, path, dir, obstacle)? {
                Some(canonical) => canonical,
                None => return Ok(None),
            }
        };
        let parent = self.open(path, canonical)?;
        // Targets of hard links do not tell where the next entry goes.
        if obstacle != Obstacle::Fail {
            self.last_parent = Some((dir.to_vec(), Rc::clone(&parent)));
        }
        Ok(Some(parent))
    }

    /// Makes a directory only for what is below it.
    pub(super) fn insert_implied_dir(&mut self, node: &Node<'_>) -> Result<(), LayerError> {
        let opaque = self.make_dir_node(node, IMPLIED_MODE)?;
        let dir = Dir {
            made: Some(self.inherited.mode_made(IMPLIED_MODE)),
            mode: IMPLIED_MODE,
            owner: None,
            mtime: None,
            xattrs: Vec::new(),
            opaque,
            // Behind a whiteout it is a new one.
            implied: !opaque,
        };
        self.insert(node, dir)
    }

    /// Makes the directory of an entry, or describes it anew if it is there.
    pub(super) fn insert_dir(&mut self, node: &Node<'_>, metadata: Metadata<'_>) -> Result<(), LayerError> {
        let path = join(&node.parent.path, node.name);
        let mode = metadata.mode;
        if !self.dirs.contains_key(&path) {
            // Whoever makes children needs all rights; special bits would be inherited.
            let is_plain = mode & 0o7700 == 0o700;
            let first_mode = if is_plain { mode } else { 0o700 };
            let opaque = self.make_dir_node(node, first_mode)?;
            let dir = Dir {
                made: Some(self.inherited.mode_made(first_mode)),
                mode,
                owner: None,
                mtime: None,
                xattrs: Vec::new(),
                opaque,
                implied: false,
            };
            self.insert(node, dir)?;
        }
        let owner = self.inherited.owner_to_set(metadata.owner);
        self.describe(&path, metadata, owner)
    }

    /// An entry for the root itself. Its owner is set in any case, as somebody else made it.
    pub(super) fn describe_top(&mut self, metadata: Metadata<'_>) -> Result<(), LayerError> {
        let owner = metadata.owner;
        self.describe(b"", metadata, owner)
    }

    fn describe(
        &mut self,
        path: &[u8],
        metadata: Metadata<'_>,
        owner: Option<(u32, u32)>,
    ) -> Result<(), LayerError> {
        let Some(dir) = self.dirs.get_mut(path) else {
            return Ok(());
        };
        dir.mode = metadata.mode;
        dir.mtime = Some(metadata.mtime);
        dir.implied = false;
        dir.owner = owner;
        let before = dir.xattr_bytes();
        dir.xattrs = metadata.xattrs.into_iter().cloned().collect();
        self.directory_bytes = self.directory_bytes + dir.xattr_bytes() - before;
        self.check_memory(path)
    }

    fn insert(&mut self, node: &Node<'_>, dir: Dir) -> Result<(), LayerError> {
        let path = join(&node.parent.path, node.name);
        self.directory_bytes += path.len() + size_of::<Dir>();
        self.dirs.insert(path, dir);
        self.check_memory(node.path)
    }

    fn check_memory(&self, path: &[u8]) -> Result<(), LayerError> {
        if self.directory_bytes <= MAX_DIRECTORY_BYTES {
            return Ok(());
        }
        Err(LayerError::Limit {
            limit: Limit::DirectoryBytes,
            maximum: MAX_DIRECTORY_BYTES as u64,
            path: Some(EntryName::new(path)),
        })
    }

    /// Forgets a directory and all below it.
    pub(super) fn forget(&mut self, path: &[u8]) {
        let below = join(path, b"");
        // A child's path begins with its parent's and a slash, but other names may sort in between.
        let doomed: Vec<Vec<u8>> = self
            .dirs
            .range(below.clone()..)
            .take_while(|(path, _)| path.starts_with(&below))
            .map(|(path, _)| path.clone())
            .chain([path.to_vec()])
            .collect();
        for path in doomed {
            if let Some(dir) = self.dirs.remove(&path) {
                self.directory_bytes -= path.len() + size_of::<Dir>() + dir.xattr_bytes();
            }
        }
    }

    /// Makes a directory where none is. Returns whether it must be opaque, because a whiteout was there before.
    fn make_dir_node(&mut self, node: &Node<'_>, mode: u32) -> Result<bool, LayerError> {
        let make = || mkdirat(&node.parent.fd, node.name, Mode::from_raw_mode(mode));
        match make() {
            Ok(()) => return Ok(false),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(LayerError::call("make the directory", node.path, errno)),
        }
        let was_whiteout = stat(node.parent, node.name, node.path)?.is_some_and(|s| is_whiteout(&s));
        self.replacing(node, "make the directory", make)?;
        Ok(was_whiteout)
    }

    /// Runs `make`, which creates the node; if something is there already, removes it and tries again.
    pub(super) fn replacing<T>(
        &mut self,
        node: &Node<'_>,
        operation: &'static str,
        mut make: impl FnMut() -> Result<T, Errno>,
    ) -> Result<T, LayerError> {
        let result = match make() {
            Err(Errno::EXIST) => {
                self.remove_node(node)?;
                make()
            }
            result => result,
        };
        result.map_err(|errno| LayerError::call(operation, node.path, errno))
    }

    /// Removes whatever has this name, with all below it.
    pub(super) fn remove_node(&mut self, node: &Node<'_>) -> Result<(), LayerError> {
        // The path of the last entry may lead through what goes.
        self.last_parent = None;
        match unlinkat(&node.parent.fd, node.name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            // Linux says EISDIR, POSIX wants EPERM.
            Err(Errno::ISDIR | Errno::PERM) => self.remove_tree(node),
            Err(errno) => Err(LayerError::call("remove", node.path, errno)),
        }
    }

    pub(super) fn mark_dir_opaque(&mut self, dir: &Parent) {
        if let Some(dir) = self.dirs.get_mut(&dir.path) {
            dir.opaque = true;
        }
    }

    pub(super) fn root_is_opaque(&self) -> bool {
        self.dirs.get(&b""[..]).is_some_and(|root| root.opaque)
    }

    /// Opens a directory of the tree by its canonical path, to do something to its children.
    pub(super) fn open(&self, path: &[u8], canonical: Vec<u8>) -> Result<Rc<Parent>, LayerError> {
        let fd = self
            .open_dir(&canonical, OFlags::PATH)
            .map_err(|errno| LayerError::call("open the parent of", path, errno))?;
        Ok(Rc::new(Parent { path: canonical, fd }))
    }

    pub(super) fn open_dir(&self, canonical: &[u8], access: OFlags) -> Result<OwnedFd, Errno> {
        let path = if canonical.is_empty() { b"." } else { canonical };
        let flags = access | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH
            | ResolveFlags::NO_SYMLINKS
            | ResolveFlags::NO_MAGICLINKS
            | ResolveFlags::NO_XDEV;
        openat2(self.root, path, flags, Mode::empty(), resolve)
    }

    /// Removes what only aufs needed and makes all directories look as they shall; the paths of those that no entry
    /// described, parents first.
    pub(super) fn finish(mut self) -> Result<Vec<Vec<u8>>, LayerError> {
        if self.dirs.contains_key(name::AUFS_LINKS) {
            let root = self.open(name::AUFS_LINKS, Vec::new())?;
            self.remove_node(&Node { parent: &root, name: name::AUFS_LINKS, path: name::AUFS_LINKS })?;
        }
        // Children sort behind their parents, and are done first: a parent may not let us through any more.
        for (path, dir) in self.dirs.iter().rev() {
            self.finish_dir(path, dir)?;
        }
        Ok(self.dirs.into_iter().filter(|(_, dir)| dir.implied).map(|(path, _)| path).collect())
    }

    fn finish_dir(&self, path: &[u8], dir: &Dir) -> Result<(), LayerError> {
        let is_untouched_root = path.is_empty() && dir.mtime.is_none();
        let sets_mode = dir.made != Some(dir.mode) && !is_untouched_root;
        if !sets_mode && !dir.opaque && dir.mtime.is_none() {
            return Ok(());
        }
        let fd = self
            .open_dir(path, OFlags::RDONLY)
            .map_err(|errno| LayerError::call("open the directory", path, errno))?;
        if let Some(owner) = dir.owner {
            rustix::fs::fchown(&fd, Some(metadata::uid(owner)), Some(metadata::gid(owner)))
                .map_err(|errno| metadata::owner_error(path, owner, self.rootless, errno))?;
        }
        if sets_mode {
            rustix::fs::fchmod(&fd, Mode::from_raw_mode(dir.mode))
                .map_err(|errno| LayerError::call("set the mode of", path, errno))?;
        }
        for xattr in &dir.xattrs {
            metadata::set_xattr(&fd, xattr, path, self.rootless)?;
        }
        if dir.opaque {
            metadata::set_opaque(&fd, path, self.rootless)?;
        }
        match dir.mtime {
            Some(mtime) => metadata::set_mtime(&fd, mtime, path),
            None => Ok(()),
        }
    }
}

impl Dir {
    fn xattr_bytes(&self) -> usize {
        let bytes = |xattr: &Xattr| size_of::<Xattr>() + xattr.name.len() + xattr.value.len();
        self.xattrs.iter().map(bytes).sum()
    }
}

fn is_empty(dir: BorrowedFd<'_>) -> Result<bool, Errno> {
    for entry in rustix::fs::Dir::read_from(dir)? {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What a name stands for, itself and not what it leads to; `None` if there is nothing.
pub(super) fn stat(dir: &Parent, name: &[u8], path: &[u8]) -> Result<Option<Stat>, LayerError> {
    match rustix::fs::statat(&dir.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(LayerError::call("look at", path, errno)),
    }
}

/// Whether this is overlayfs' mark for a hidden name.
pub(super) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}
