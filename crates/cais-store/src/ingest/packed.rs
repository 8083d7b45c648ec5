//! Blobs that are made of layers here, for other places: the tar of a layer, compressed once, lazily.
//!
//! A layer that was pulled has the blob that it came from; one that was committed has none, and one that was imported may
//! have the plain tar. What is made of such a layer is noted beside it and reachable as long as the layer is.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use cais_oci::{Descriptor, Digest};

use super::Ingest;
use crate::Store;
use crate::blobs::BlobWriter;
use crate::error::{Noun, Result, StoreError};
use crate::files::{self, Durability, Lock, random_hex};
use crate::paths::{LAYER_DISK, LAYER_PACKED};

impl Store {
    /// The blobs that were made of a layer here and are still there.
    ///
    /// # Errors
    /// When the note is damaged or unreadable.
    pub fn packed(&self, diff_id: &Digest) -> Result<Vec<Descriptor>> {
        let path = self.packed_note(diff_id);
        let mut packed = files::read_json::<Vec<Descriptor>>(&path)?.unwrap_or_default();
        packed.retain(|blob| blob.digest.is_store_key() && self.has_blob(&blob.digest));
        Ok(packed)
    }

    /// Whether a blob is here.
    pub fn has_blob(&self, digest: &Digest) -> bool {
        digest.is_store_key() && self.paths().blob(digest).exists()
    }

    /// Opens a blob; whoever reads it verifies it.
    ///
    /// # Errors
    /// [`StoreError::NoSuch`], or what the kernel says.
    pub fn open_blob(&self, digest: &Digest) -> Result<File> {
        let missing = || StoreError::NoSuch { noun: Noun::Blob, name: digest.to_string() };
        if !self.has_blob(digest) {
            return Err(missing());
        }
        let path = self.paths().blob(digest);
        File::open(&path).map_err(StoreError::io("open", &path))
    }

    fn packed_note(&self, diff_id: &Digest) -> PathBuf {
        self.paths().layer(diff_id).join(LAYER_PACKED)
    }
}

impl Ingest<'_> {
    /// Makes a blob of type `media_type` of a layer, unless there is one; `write` writes its bytes.
    ///
    /// Who wants the same of the same layer meanwhile waits and then finds it.
    ///
    /// # Errors
    /// Those of `write`, [`StoreError::NoSuch`] when the layer is gone, and when the disk refuses.
    pub fn pack_layer<E: From<StoreError>>(
        &self,
        diff_id: &Digest,
        media_type: &str,
        write: impl FnOnce(&mut dyn Write) -> std::result::Result<(), E>,
    ) -> std::result::Result<Descriptor, E> {
        let lock_path = self.store.paths().layer_lock(diff_id);
        let lock = Lock::take_transient(&lock_path)?;
        let packed = self.pack_locked(diff_id, media_type, write);
        lock.unlink(&lock_path)?;
        packed
    }

    fn pack_locked<E: From<StoreError>>(
        &self,
        diff_id: &Digest,
        media_type: &str,
        write: impl FnOnce(&mut dyn Write) -> std::result::Result<(), E>,
    ) -> std::result::Result<Descriptor, E> {
        let is_wanted = |blob: &Descriptor| blob.media_type == media_type;
        if let Some(blob) = self.store.packed(diff_id)?.into_iter().find(is_wanted) {
            return Ok(blob);
        }
        let path = self.scratch.join(random_hex(8));
        let mut writer = BlobWriter::create(path.clone(), None)?;
        write(&mut writer)?;
        let (digest, bytes) = writer.finish()?;
        File::open(&path).and_then(|file| file.sync_data()).map_err(StoreError::io("sync", &path))?;
        let blob = Descriptor::new(media_type, digest, bytes);
        Ok(self.publish_packed(diff_id, &path, blob)?)
    }

    fn publish_packed(
        &self,
        diff_id: &Digest,
        from: &std::path::Path,
        blob: Descriptor,
    ) -> Result<Descriptor> {
        let _hold = self.store.hold()?;
        if self.store.layer(diff_id)?.is_none() {
            return Err(StoreError::NoSuch { noun: Noun::Layer, name: diff_id.to_string() });
        }
        let path = self.store.paths().blob(&blob.digest);
        std::fs::rename(from, &path).map_err(StoreError::io("move blob to", &path))?;
        let mut packed = self.store.packed(diff_id)?;
        packed.retain(|other| other.media_type != blob.media_type);
        packed.push(blob.clone());
        // The blob before the note: a note without its blob is made again, a blob without a note is swept.
        files::sync_directory(&self.store.paths().blobs())?;
        files::write_json(&self.store.packed_note(diff_id), &packed, Durability::Durable)?;
        // The layer's directory has grown.
        files::remove_file(&self.store.paths().layer(diff_id).join(LAYER_DISK))?;
        Ok(blob)
    }
}
