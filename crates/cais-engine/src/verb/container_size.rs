//! Size of a container on disk: its writable layer, and that with its image.

use std::collections::HashSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::{ContainerRecord, Engine, Error, ErrorKind, Result};

/// What a container occupies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContainerSize {
    /// Bytes of the files in the writable layer.
    pub writable_bytes: u64,
    /// With the files of the image's layers.
    pub total_bytes: u64,
}

impl Engine {
    /// Measures a container by walking its writable layer, which takes time; it may run meanwhile.
    ///
    /// # Errors
    /// When its directories or layers cannot be read.
    pub fn container_size(&self, record: &ContainerRecord) -> Result<ContainerSize> {
        let upper = self.store.paths().container_upper(&record.id);
        let writable_bytes = tree_bytes(&upper).map_err(|error| {
            Error::caused(ErrorKind::System, format_args!("cannot measure {}", upper.display()), error)
        })?;
        let mut total_bytes = writable_bytes;
        for layer in &record.layers {
            total_bytes += self.store.layer(layer)?.map_or(0, |meta| meta.content_bytes);
        }
        Ok(ContainerSize { writable_bytes, total_bytes })
    }
}

/// Sum of the lengths of the files below a directory, hard links once; 0 when it is not there.
///
/// Never follows a link. What vanishes meanwhile, and what lies deeper than a path may be long, is not counted.
fn tree_bytes(root: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    let mut linked = HashSet::new();
    let mut pending: Vec<PathBuf> = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        let entries = match std::fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if is_passed_over(&error) => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                Err(error) if is_passed_over(&error) => continue,
                Err(error) => return Err(error),
            };
            if metadata.is_dir() {
                pending.push(entry.path());
            } else if metadata.is_file() && (metadata.nlink() == 1 || linked.insert(metadata.ino())) {
                bytes += metadata.len();
            }
        }
    }
    Ok(bytes)
}

fn is_passed_over(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_measured() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        assert_eq!(tree_bytes(&root.join("absent")).unwrap(), 0);
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("a/b/file"), [0; 1000]).unwrap();
        std::fs::hard_link(root.join("a/b/file"), root.join("again")).unwrap();
        std::fs::write(root.join("other"), [0; 10]).unwrap();
        std::os::unix::fs::symlink("/usr", root.join("link")).unwrap();
        assert_eq!(tree_bytes(root).unwrap(), 1010);
    }
}
