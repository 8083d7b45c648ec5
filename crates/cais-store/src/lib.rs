//! What is on disk: blobs, layers, images, volumes, container records, names.
//!
//! One file ([`paths`]) knows where things lie. Every file has one writing module, is written beside and renamed,
//! and is read without a lock. Knows nothing of registries, networks or processes.
//!
//! Locks, in the order in which they are taken: `ingest/lock` (shared while something comes in), the lock of one layer
//! (while it is fetched), `gc.lock` (shared for the moment in which something becomes reachable, exclusive for the moment
//! in which something is taken away), a container's directory (while it is removed), `pods/` (for the moment in which a pod or a member is
//! made, or a pod removed), `trash/` (shared while something is unlinked). None but the first two is held while waiting for anything but the disk.

mod blobs;
mod check;
mod checkpoints;
mod containers;
mod error;
mod events;
mod files;
mod gc;
mod health;
mod images;
mod implied;
mod ingest;
mod layers;
mod names;
mod outline;
pub mod paths;
mod pods;
pub mod record;
mod restart;
pub mod run_state;
mod stack;
mod trash;
mod tree;
mod usage;
mod volumes;

use std::path::Path;

pub use check::StoreFinding;
pub use checkpoints::{CheckpointPlace, CheckpointRecord, ExternalMount, list_checkpoints};
pub use error::{Noun, Result, StoreError};
pub use events::EventReader;
pub use files::{Durability, random_hex, write_atomic};
pub use gc::{Exclusive, Hold, Swept};
pub use health::{HealthState, HealthStatus, ProbeRecord};
pub use images::{FoundImage, Image, ImageRecord, References};
pub use ingest::{Ingest, LayerInput, LayerWanted, MadeLayer, NewImage};
pub use layers::LayerMeta;
pub use names::{check_name, random_id, random_name};
pub use outline::ImageOutline;
pub use pods::PodHold;
pub use restart::RestartState;
pub use usage::Usage;
pub use volumes::VolumeRecord;

use paths::Paths;

/// Format of the store; changes when an older program would misread it.
const VERSION: &str = "1";

/// One store: a durable root and a run directory. A cheap value; any number of processes use a store at once.
#[derive(Clone, Debug)]
pub struct Store {
    paths: Paths,
}

impl Store {
    /// Opens the store, making its directories when they are missing.
    ///
    /// # Errors
    /// [`StoreError::Version`] when another version of the program made it, [`StoreError::Io`] when directories cannot
    /// be made.
    pub fn open(root: &Path, run: &Path) -> Result<Store> {
        let paths = Paths::new(root, run);
        match files::read(&paths.version())? {
            Some(version) => check_version(root, &version)?,
            None => make_root(&paths)?,
        }
        // The run directory is usually gone after a reboot, the root is not; where it is on a disk it says of which
        // boot it tells.
        if files::read(&paths.boot_id())?.as_deref() != Some(run_state::boot_id().as_bytes()) {
            make_run(&paths)?;
        }
        Ok(Store { paths })
    }

    /// Where everything lies.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }
}

fn check_version(root: &Path, version: &[u8]) -> Result<()> {
    let text = String::from_utf8_lossy(version);
    let found = text.lines().next().unwrap_or_default();
    if found == VERSION {
        return Ok(());
    }
    Err(StoreError::Version { root: root.to_owned(), found: found.to_owned(), known: VERSION })
}

/// Makes all directories; VERSION comes last and says that they are there.
fn make_root(paths: &Paths) -> Result<()> {
    make_ancestors(paths.root())?;
    for (path, mode) in paths.directories() {
        files::make_directory(&path, mode)?;
    }
    files::write_atomic(&paths.version(), format!("{VERSION}\n").as_bytes(), Durability::Durable)
}

fn make_run(paths: &Paths) -> Result<()> {
    make_ancestors(paths.run())?;
    let _lock = files::Lock::take(&paths.run().join("boot.lock"), files::Mode::Exclusive)?;
    if files::read(&paths.boot_id())?.as_deref() == Some(run_state::boot_id().as_bytes()) {
        return Ok(());
    }
    files::make_directory(&paths.run_containers(), 0o711)?;
    files::make_directory(&paths.mountpoint(), 0o755)?;
    // Leases and the bridge's subnet of another boot mean nothing: no container of that boot runs.
    for stale in files::list(&paths.leases()).unwrap_or_default() {
        files::remove_file(&paths.leases().join(stale))?;
    }
    files::make_directory(&paths.leases(), 0o700)?;
    files::remove_file(&paths.bridge_subnet())?;
    files::write_atomic(&paths.boot_id(), run_state::boot_id().as_bytes(), Durability::Volatile)
}

/// Makes `path` and what is missing above it.
fn make_ancestors(path: &Path) -> Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(StoreError::io("create directory", parent))?;
    }
    files::make_directory(path, 0o711)
}
