//! Garbage collection by reachability.
//!
//! Who makes something reachable (create, tag, the commit of a pull) holds [`Hold`], a shared lock, for milliseconds
//! and never while it waits for a network or a user. Who takes something away holds [`Exclusive`] while it decides and
//! renames; the unlinking comes after the lock. So no content disappears between being found and being referred to.

use std::collections::BTreeSet;

use cais_oci::{Descriptor, Digest, Reference, Rootfs};
use serde::Deserialize;

use crate::Store;
use crate::error::Result;
use crate::files::{self, Lock, Mode};
use crate::layers::LayerMeta;
use crate::paths::LAYER_META;
use crate::trash::Trash;

/// Shared right to make content reachable; nothing is swept while it lives.
#[derive(Debug)]
pub struct Hold {
    _lock: Lock,
}

/// Exclusive right to take references, images, volumes and unreachable content away.
///
/// Dropping it without [`Exclusive::finish`] leaves what was moved in the trash, for `check`.
#[derive(Debug)]
pub struct Exclusive<'store> {
    store: &'store Store,
    lock: Lock,
    trash: Trash,
}

/// What a sweep took away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Diff ids of layers.
    pub layers: Vec<Digest>,
    /// Number of blobs.
    pub blobs: u64,
    /// Their digests, as hex digits.
    pub blob_digests: Vec<String>,
    /// Unpacked bytes of the layers plus bytes of the blobs.
    pub freed_bytes: u64,
}

/// The parts of an image record that reachability needs.
#[derive(Debug, Deserialize)]
pub(crate) struct ImageNeeds {
    pub(crate) id: Digest,
    pub(crate) manifest: Descriptor,
    layers: Vec<Digest>,
    config: NeedsConfig,
}

#[derive(Debug, Deserialize)]
struct NeedsConfig {
    rootfs: Rootfs,
}

impl ImageNeeds {
    /// All layers: those of the config, also when they are not mounted, and those that are mounted.
    pub(crate) fn layers(&self) -> impl Iterator<Item = &Digest> {
        self.config.rootfs.diff_ids.iter().chain(&self.layers)
    }
}

/// Everything that images and containers reach.
#[derive(Debug, Default)]
pub(crate) struct Reachable {
    pub(crate) layers: BTreeSet<String>,
    pub(crate) blobs: BTreeSet<String>,
}

impl Store {
    /// Waits for the right to make content reachable; it is short.
    ///
    /// # Errors
    /// When the lock file is unusable.
    pub fn hold(&self) -> Result<Hold> {
        Ok(Hold { _lock: Lock::take(&self.paths().gc_lock(), Mode::Shared)? })
    }

    /// Waits for the right to take content away. Never call it while holding a [`Hold`].
    ///
    /// # Errors
    /// When the lock file is unusable.
    pub fn exclusive(&self) -> Result<Exclusive<'_>> {
        let lock = Lock::take(&self.paths().gc_lock(), Mode::Exclusive)?;
        Ok(Exclusive { store: self, lock, trash: Trash::open(self.paths().trash())? })
    }

    /// Marks from image records and container records.
    ///
    /// # Errors
    /// A damaged record is an error: nothing can be swept while nobody knows what it needs.
    pub(crate) fn reachable(&self) -> Result<Reachable> {
        let mut reachable = Reachable::default();
        for name in files::list(&self.paths().images())? {
            let Some(image) = files::read_json::<ImageNeeds>(&self.paths().images().join(name))? else {
                continue;
            };
            reachable.layers.extend(image.layers().map(|layer| layer.hex().to_owned()));
            reachable.blobs.extend([&image.id, &image.manifest.digest].map(|blob| blob.hex().to_owned()));
        }
        for container in self.container_needs()? {
            let mounted = container.mounts.iter().flat_map(|mount| &mount.layers);
            let layers = container.layers.iter().chain(mounted);
            reachable.layers.extend(layers.map(|layer| layer.hex().to_owned()));
        }
        // A layer keeps the blob that it came from.
        for layer in &reachable.layers {
            let path = self.paths().layers().join(layer).join(LAYER_META);
            // One without a readable meta.json is missing, for whoever needs it.
            if let Ok(Some(meta)) = files::read_json::<LayerMeta>(&path) {
                reachable.blobs.insert(meta.blob.hex().to_owned());
                // And those that were made of it.
                let packed = self.packed(&meta.diff_id).unwrap_or_default();
                reachable.blobs.extend(packed.iter().map(|blob| blob.digest.hex().to_owned()));
            }
        }
        Ok(reachable)
    }

    /// Takes away every layer and blob that nothing reaches.
    ///
    /// # Errors
    /// When a record is damaged or something cannot be removed.
    pub fn sweep(&self) -> Result<Swept> {
        let mut exclusive = self.exclusive()?;
        let swept = exclusive.sweep()?;
        exclusive.finish()?;
        Ok(swept)
    }
}

impl Exclusive<'_> {
    /// Takes a reference away; `false` when there was none.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn untag(&mut self, reference: &Reference) -> Result<bool> {
        let path = self.store.paths().reference(&crate::images::key(reference));
        let existed = path.exists();
        files::remove_file(&path)?;
        Ok(existed)
    }

    /// Takes an image's record away; its layers and blobs go with the next [`Exclusive::sweep`].
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove_image(&mut self, id: &Digest) -> Result<()> {
        files::remove_file(&self.store.paths().image(id))
    }

    /// Takes a volume and its data away; `false` when there was none.
    ///
    /// # Errors
    /// When it cannot be moved.
    pub fn remove_volume(&mut self, name: &str) -> Result<bool> {
        self.trash.take(&self.store.paths().volume(name))
    }

    /// Moves every layer and blob that nothing reaches into the trash.
    ///
    /// # Errors
    /// When a record is damaged or a directory is unreadable.
    pub fn sweep(&mut self) -> Result<Swept> {
        let reachable = self.store.reachable()?;
        let paths = self.store.paths();
        let mut swept = Swept::default();
        for name in files::list(&paths.layers())? {
            if reachable.layers.contains(&name) {
                continue;
            }
            let directory = paths.layers().join(&name);
            // A layer without a readable meta.json goes as well, only its size is unknown.
            if let Ok(Some(meta)) = files::read_json::<LayerMeta>(&directory.join(LAYER_META)) {
                swept.freed_bytes += meta.content_bytes;
            }
            swept.layers.extend(format!("sha256:{name}").parse::<Digest>());
            self.trash.take(&directory)?;
        }
        for name in files::list(&paths.blobs())? {
            if reachable.blobs.contains(&name) {
                continue;
            }
            let path = paths.blobs().join(&name);
            swept.freed_bytes += std::fs::metadata(&path).map(|it| it.len()).unwrap_or_default();
            swept.blobs += 1;
            self.trash.take(&path)?;
            swept.blob_digests.push(name);
        }
        Ok(swept)
    }

    /// Gives the lock up, then unlinks what was moved to the trash.
    ///
    /// # Errors
    /// When something cannot be unlinked; it stays in the trash.
    pub fn finish(self) -> Result<()> {
        drop(self.lock);
        self.trash.empty()
    }
}
