//! Removes a directory of the tree with all below it, at any depth, with two descriptors and without following
//! anything.

use rustix::fs::{AtFlags, Dir, OFlags, unlinkat};
use rustix::io::Errno;

use crate::error::LayerError;

use super::name::{join, split_last};
use super::tree::{Node, Tree};

impl Tree<'_> {
    /// Removes the directory that `node` names.
    pub(super) fn remove_tree(&mut self, node: &Node<'_>) -> Result<(), LayerError> {
        let fault = |errno| LayerError::call("remove", node.path, errno);
        let top = join(&node.parent.path, node.name);
        self.forget(&top);
        // A path is pushed twice: below its children it waits for them to be gone.
        let mut doomed = vec![(top, false)];
        while let Some((path, is_empty)) = doomed.pop() {
            if is_empty {
                self.remove_empty_dir(&path).map_err(fault)?;
                continue;
            }
            let subdirs = self.remove_files(&path).map_err(fault)?;
            doomed.push((path, true));
            doomed.extend(subdirs.into_iter().map(|subdir| (subdir, false)));
        }
        Ok(())
    }

    fn remove_empty_dir(&self, path: &[u8]) -> Result<(), Errno> {
        let Some((parent, name)) = split_last(path) else {
            return Err(Errno::BUSY);
        };
        let parent = self.open_dir(parent, OFlags::PATH)?;
        unlinkat(parent, name, AtFlags::REMOVEDIR)
    }

    /// Removes everything in a directory but its directories, and returns the paths of those.
    fn remove_files(&self, path: &[u8]) -> Result<Vec<Vec<u8>>, Errno> {
        let fd = self.open_dir(path, OFlags::RDONLY)?;
        let mut subdirs = Vec::new();
        for entry in Dir::read_from(&fd)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            match unlinkat(&fd, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::ISDIR | Errno::PERM) => subdirs.push(join(path, name)),
                Err(errno) => return Err(errno),
            }
        }
        Ok(subdirs)
    }
}
