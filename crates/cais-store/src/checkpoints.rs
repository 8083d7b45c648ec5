//! Checkpoints of containers: a directory each, which has its name only when it is whole.
//!
//! ```text
//! DIRECTORY/<name>/checkpoint.json    when it was made, and what the images do not hold
//! DIRECTORY/<name>/images/            what CRIU wrote
//! DIRECTORY/.<name>.new/              one that is being made, or whose maker was killed
//! ```
//!
//! The directory is one of the container's own, so that its removal takes them along, or one that the user named. Knows
//! nothing of processes and of CRIU's files.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Noun, Result, StoreError};
use crate::files::{self, Durability};
use crate::names::check_name;

const RECORD: &str = "checkpoint.json";
const IMAGES: &str = "images";

/// What restoring needs beside CRIU's images.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckpointRecord {
    /// RFC 3339 with nanoseconds, UTC.
    pub created: String,
    /// Mounts whose sources are outside of the images.
    pub external: Vec<ExternalMount>,
    /// The network namespace is not in the images: the container had one of its own.
    pub network: bool,
    /// Its address on the bridge.
    pub ip: Option<Ipv4Addr>,
    /// Its Ethernet address.
    pub mac: String,
    /// Established connections are in the images.
    pub tcp_established: bool,
    /// Locks of files are in the images.
    pub file_locks: bool,
    /// The container went on when it had been made.
    pub left_running: bool,
}

/// A mount of something from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExternalMount {
    /// Where it is in the container.
    pub place: String,
    /// The target, as the container's definition spells it, of the mount that brought it in.
    pub target: String,
    /// Where it lies below that mount's source, without leading slash; empty for that mount itself.
    pub below: String,
}

/// A checkpoint on disk, or one that is being made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointPlace {
    parent: PathBuf,
    name: String,
}

impl CheckpointPlace {
    /// Where the checkpoint `name` is below `parent`, whether it exists or not.
    ///
    /// # Errors
    /// [`StoreError::BadName`].
    pub fn new(parent: &Path, name: &str) -> Result<CheckpointPlace> {
        check_name(Noun::Checkpoint, name)?;
        Ok(CheckpointPlace { parent: parent.to_owned(), name: name.to_owned() })
    }

    /// The whole one.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.parent.join(&self.name)
    }

    /// Its images.
    #[must_use]
    pub fn images(&self) -> PathBuf {
        self.path().join(IMAGES)
    }

    /// The one that is being made.
    #[must_use]
    pub fn draft(&self) -> PathBuf {
        self.parent.join(format!(".{}.new", self.name))
    }

    /// Images of the one that is being made.
    #[must_use]
    pub fn draft_images(&self) -> PathBuf {
        self.draft().join(IMAGES)
    }

    /// Makes an empty draft; what somebody who was killed has left goes.
    ///
    /// # Errors
    /// When the directories cannot be made.
    pub fn begin(&self) -> Result<()> {
        self.give_up()?;
        std::fs::create_dir_all(&self.parent).map_err(StoreError::io("create directory", &self.parent))?;
        for directory in [self.draft(), self.draft_images()] {
            files::make_directory(&directory, 0o700)?;
        }
        Ok(())
    }

    /// Writes the record of the draft.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn describe(&self, record: &CheckpointRecord) -> Result<()> {
        files::write_json(&self.draft().join(RECORD), record, Durability::Volatile)
    }

    /// The draft becomes the checkpoint; one that has its name goes.
    ///
    /// # Errors
    /// When it cannot be renamed.
    pub fn finish(&self) -> Result<()> {
        files::sync_tree(&self.draft())?;
        self.remove()?;
        std::fs::rename(self.draft(), self.path()).map_err(StoreError::io("write", &self.path()))?;
        files::sync_directory(&self.parent)
    }

    /// Takes the draft away; idempotent.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn give_up(&self) -> Result<()> {
        remove_tree(&self.draft())
    }

    /// Its record; `None` when there is no such checkpoint.
    ///
    /// # Errors
    /// When it is damaged or unreadable.
    pub fn read(&self) -> Result<Option<CheckpointRecord>> {
        files::read_json(&self.path().join(RECORD))
    }

    /// Takes the checkpoint away: its record first, so that what a crash leaves is none. Idempotent.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self) -> Result<()> {
        files::remove_file(&self.path().join(RECORD))?;
        remove_tree(&self.path())
    }
}

/// Names of the checkpoints in a directory, in order; one that does not exist has none.
///
/// # Errors
/// When it is unreadable.
pub fn list_checkpoints(parent: &Path) -> Result<Vec<String>> {
    let mut names = match files::list(parent) {
        Err(error) if error.io_kind() == Some(std::io::ErrorKind::NotFound) => Vec::new(),
        other => other?,
    };
    names.retain(|name| !name.starts_with('.') && parent.join(name).join(RECORD).is_file());
    names.sort();
    Ok(names)
}

fn remove_tree(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if !files::is_absent(&error) => Err(StoreError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_appears_when_it_is_whole() {
        let bed = tempfile::tempdir().unwrap();
        let parent = bed.path().join("checkpoints");
        assert!(list_checkpoints(&parent).unwrap().is_empty());
        let place = CheckpointPlace::new(&parent, "first").unwrap();
        place.begin().unwrap();
        std::fs::write(place.draft_images().join("core-1.img"), "x").unwrap();
        assert_eq!((place.read().unwrap(), list_checkpoints(&parent).unwrap().len()), (None, 0));
        let record = CheckpointRecord { created: "now".into(), network: true, ..Default::default() };
        place.describe(&record).unwrap();
        place.finish().unwrap();
        assert_eq!(place.read().unwrap(), Some(record.clone()));
        assert_eq!(list_checkpoints(&parent).unwrap(), ["first"]);
        // Another one in its place, and one that is given up.
        place.begin().unwrap();
        place.describe(&CheckpointRecord { created: "later".into(), ..record }).unwrap();
        place.finish().unwrap();
        assert_eq!(place.read().unwrap().unwrap().created, "later");
        assert!(!place.images().join("core-1.img").exists());
        place.begin().unwrap();
        place.give_up().unwrap();
        place.remove().unwrap();
        place.remove().unwrap();
        assert!(list_checkpoints(&parent).unwrap().is_empty() && !place.draft().exists());
        for bad in ["", ".hidden", "a/b", ".."] {
            assert!(CheckpointPlace::new(&parent, bad).is_err(), "{bad}");
        }
    }
}
