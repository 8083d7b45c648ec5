//! What the store takes on the disk, as du(1) counts: blocks, every inode once, nothing on other file systems.
//!
//! Every file below the root is counted in exactly one place, so that the parts add up to the whole. Takes no lock:
//! what comes or goes meanwhile may be missed. A layer in its place was synced and never changes: it is walked when
//! first asked for, and what it takes is noted in its directory.

use std::collections::{BTreeMap, HashSet};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;

use crate::Store;
use crate::error::{Result, StoreError};
use crate::files::{self, Durability};
use crate::paths::LAYER_DISK;

/// Bytes on the disk by what they belong to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// By the hex digits of the diff id.
    pub layers: BTreeMap<String, u64>,
    /// By the hex digits of the digest.
    pub blobs: BTreeMap<String, u64>,
    /// Whole directories of containers by id.
    pub containers: BTreeMap<String, u64>,
    /// Whole directories of volumes by name.
    pub volumes: BTreeMap<String, u64>,
    /// Records and references of images, and the directories that hold images' parts.
    pub image_records_bytes: u64,
    /// Names, and the directory that holds the containers.
    pub container_records_bytes: u64,
    /// The directory that holds the volumes.
    pub volume_records_bytes: u64,
    /// On the way in or out: `ingest/` and `trash/`.
    pub transit_bytes: u64,
    /// Everything else: the root directory, locks, the version.
    pub other_bytes: u64,
}

impl Usage {
    /// All of it.
    pub fn total_bytes(&self) -> u64 {
        let named = [&self.layers, &self.blobs, &self.containers, &self.volumes];
        named.iter().flat_map(|part| part.values()).sum::<u64>()
            + self.image_records_bytes
            + self.container_records_bytes
            + self.volume_records_bytes
            + self.transit_bytes
            + self.other_bytes
    }
}

impl Store {
    /// Measures the store, on two threads, by walking what can change.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn usage(&self) -> Result<Usage> {
        let paths = self.paths();
        let mut usage = Usage::default();
        let (layers, rest) = std::thread::scope(|scope| {
            let layers = scope.spawn(|| layers(&paths.layers()));
            let rest = (|| {
                Ok::<_, StoreError>((
                    children(&paths.blobs())?,
                    children(&paths.containers())?,
                    children(&paths.volumes())?,
                ))
            })();
            (layers.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), rest)
        });
        let (layers, (blobs, containers, volumes)) = (layers?, rest?);
        usage.image_records_bytes = layers.1 + blobs.1 + whole(&paths.images())? + whole(&paths.refs())?;
        usage.container_records_bytes = containers.1 + whole(&paths.names())?;
        usage.volume_records_bytes = volumes.1;
        usage.transit_bytes = whole(&paths.ingest())? + whole(&paths.trash())?;
        (usage.layers, usage.blobs, usage.containers, usage.volumes) =
            (layers.0, blobs.0, containers.0, volumes.0);
        // `blobs/` itself, and what lies in the root beside the directories.
        let known =
            ["layers", "blobs", "images", "refs", "containers", "names", "volumes", "ingest", "trash"];
        let (root, itself) = children_but(paths.root(), &known)?;
        usage.other_bytes = itself + root.values().sum::<u64>();
        usage.image_records_bytes += children_but(&paths.root().join("blobs"), &["sha256"])?.1;
        Ok(usage)
    }
}

/// What each layer takes, and the directory of all.
fn layers(directory: &Path) -> Result<(BTreeMap<String, u64>, u64)> {
    let mut noted = BTreeMap::new();
    for name in files::list_all(directory)? {
        if let Some(bytes) = noted_bytes(&directory.join(&name)) {
            noted.insert(name, bytes);
        }
    }
    let known: Vec<&str> = noted.keys().map(String::as_str).collect();
    let (measured, itself) = children_but(directory, &known)?;
    for (name, mut bytes) in measured {
        let note = directory.join(&name).join(LAYER_DISK);
        // Where nothing may be written, or the layer goes just now, it is measured again the next time.
        if files::write_atomic(&note, bytes.to_string().as_bytes(), Durability::Volatile).is_ok() {
            bytes = noted_bytes(&directory.join(&name)).unwrap_or(bytes);
        }
        noted.insert(name, bytes);
    }
    Ok((noted, itself))
}

/// What was noted of a layer and the note itself; a damaged note, as after a power cut, is none.
fn noted_bytes(layer: &Path) -> Option<u64> {
    let note = layer.join(LAYER_DISK);
    let bytes: u64 = std::str::from_utf8(&files::read(&note).ok()??).ok()?.parse().ok()?;
    Some(bytes + blocks(&rustix::fs::stat(&note).ok()?))
}

/// What each entry of a directory takes, and the directory itself.
fn children(directory: &Path) -> Result<(BTreeMap<String, u64>, u64)> {
    children_but(directory, &[])
}

fn children_but(directory: &Path, but: &[&str]) -> Result<(BTreeMap<String, u64>, u64)> {
    let failed = |errno: Errno| StoreError::io("measure", directory)(errno);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(directory, flags, Mode::empty()).map_err(failed)?;
    let itself = rustix::fs::fstat(&opened).map_err(failed)?;
    let mut walk = Walk { device: itself.st_dev, linked: HashSet::new() };
    let mut found = BTreeMap::new();
    for entry in Dir::read_from(&opened).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let text = name.to_string_lossy().into_owned();
        if text != "." && text != ".." && !but.contains(&text.as_str()) {
            found.insert(text, walk.measure(opened.as_fd(), name).map_err(failed)?);
        }
    }
    Ok((found, blocks(&itself)))
}

fn whole(directory: &Path) -> Result<u64> {
    let (children, itself) = children(directory)?;
    Ok(itself + children.values().sum::<u64>())
}

fn blocks(stat: &rustix::fs::Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0) * 512
}

struct Walk {
    device: u64,
    /// Inodes with several names that were counted.
    linked: HashSet<u64>,
}

impl Walk {
    fn measure(&mut self, parent: BorrowedFd<'_>, name: &std::ffi::CStr) -> std::result::Result<u64, Errno> {
        let stat = match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(0),
            other => other?,
        };
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if stat.st_dev != self.device
            || (!is_directory && stat.st_nlink > 1 && !self.linked.insert(stat.st_ino))
        {
            return Ok(0);
        }
        let mut bytes = blocks(&stat);
        if is_directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let directory = match openat(parent, name, flags, Mode::empty()) {
                // Gone, or what only its owner may read.
                Err(Errno::NOENT | Errno::ACCESS | Errno::NOTDIR | Errno::LOOP) => return Ok(bytes),
                other => other?,
            };
            for entry in Dir::read_from(&directory)? {
                let entry = match entry {
                    Err(Errno::NOENT) => break,
                    other => other?,
                };
                let name = entry.file_name();
                if name != c"." && name != c".." {
                    bytes += self.measure(directory.as_fd(), name)?;
                }
            }
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_layer_is_walked_once_and_counts_as_du_counts() {
        let directory = tempfile::tempdir().unwrap();
        let layer = directory.path().join("aa");
        fs::create_dir_all(layer.join("fs/deep")).unwrap();
        fs::write(layer.join("fs/deep/file"), vec![7; 100_000]).unwrap();
        fs::write(layer.join("meta.json"), "{}").unwrap();
        let first = layers(directory.path()).unwrap();
        let walked = children(directory.path()).unwrap();
        assert_eq!(first, walked);
        assert!(first.0["aa"] > 100_000);
        // It never changes; if it did, this would tell that nobody looked.
        fs::write(layer.join("fs/other"), vec![7; 50_000]).unwrap();
        assert_eq!(layers(directory.path()).unwrap(), first);
        for damaged in ["", "x"] {
            fs::write(layer.join(LAYER_DISK), damaged).unwrap();
            assert!(layers(directory.path()).unwrap().0["aa"] > first.0["aa"]);
        }
    }
}
