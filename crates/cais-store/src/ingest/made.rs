//! Layers that are made here and come from no archive: the caller fills a directory, as overlayfs wants to see it.
//!
//! Such a layer has no blob: its tar is a function of its tree and is made again when somebody wants it, so that a commit
//! writes every byte once. Until then the digest of the plain tar stands for the blob's.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use cais_oci::Digest;

use super::Ingest;
use crate::error::{Result, StoreError};
use crate::files::{self, Durability, Lock, random_hex};
use crate::layers::LayerMeta;
use crate::paths::{LAYER_FS, LAYER_META};

/// What the caller knows of the tree that it made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeLayer {
    /// Digest of its tar.
    pub diff_id: Digest,
    /// Length of its tar.
    pub tar_bytes: u64,
    /// Sum of the lengths of its files.
    pub content_bytes: u64,
    /// Number of entries of its tar.
    pub entries: u64,
}

impl Ingest<'_> {
    /// Calls `make` with an empty directory to fill, and keeps the result as a layer that waits for
    /// [`Ingest::commit`].
    ///
    /// # Errors
    /// Those of `make`, and when the disk refuses; nothing is left behind then.
    pub fn make_layer<E: From<StoreError>>(
        &self,
        make: impl FnOnce(BorrowedFd<'_>) -> std::result::Result<MadeLayer, E>,
    ) -> std::result::Result<LayerMeta, E> {
        let staged = self.scratch.join(random_hex(8));
        let tree = staged.join(LAYER_FS);
        files::make_directory(&staged, 0o711)?;
        files::make_directory(&tree, 0o755)?;
        let directory = File::open(&tree).map_err(StoreError::io("open", &tree))?;
        let made = match make(directory.as_fd()) {
            Ok(made) => made,
            Err(error) => {
                // The first error is the one to report.
                let _ = self.discard(&staged);
                return Err(error);
            }
        };
        let meta = LayerMeta {
            blob: made.diff_id.clone(),
            blob_bytes: made.tar_bytes,
            diff_id: made.diff_id,
            tar_bytes: made.tar_bytes,
            content_bytes: made.content_bytes,
            entries: made.entries,
            hides_lower_layers: false,
        };
        files::write_json(&staged.join(LAYER_META), &meta, Durability::Volatile)?;
        Ok(self.settle_made(&staged, meta)?)
    }

    fn settle_made(&self, staged: &std::path::Path, meta: LayerMeta) -> Result<LayerMeta> {
        let lock_path = self.store.paths().layer_lock(&meta.diff_id);
        let lock = Lock::take_transient(&lock_path)?;
        let result = match self.find_layer(&meta.diff_id) {
            Ok(Some(existing)) => self.discard(staged).map(|()| existing),
            Ok(None) => self.make_ready(staged, &meta).map(|()| meta),
            Err(error) => Err(error),
        };
        lock.unlink(&lock_path)?;
        result
    }
}
