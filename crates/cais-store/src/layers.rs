//! Layers that are there: what is known of each, by diff_id.

use cais_oci::Digest;
use serde::{Deserialize, Serialize};

use crate::Store;
use crate::error::Result;
use crate::files;
use crate::paths::LAYER_META;

/// What is known of an unpacked layer; its `meta.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerMeta {
    /// Digest of the plain tar.
    pub diff_id: Digest,
    /// Digest of the blob that it was unpacked from, byte for byte as received.
    pub blob: Digest,
    /// Length of that blob.
    pub blob_bytes: u64,
    /// Length of the plain tar.
    pub tar_bytes: u64,
    /// Sum of the lengths of its files.
    pub content_bytes: u64,
    /// Number of entries of the tar.
    pub entries: u64,
    /// Its root is opaque; overlayfs ignores that mark on a root, so the layers below must not be mounted.
    #[serde(default)]
    pub hides_lower_layers: bool,
}

impl Store {
    /// What is known of a layer; `None` when it is not here.
    ///
    /// # Errors
    /// When its meta.json is damaged or unreadable.
    pub fn layer(&self, diff_id: &Digest) -> Result<Option<LayerMeta>> {
        if !diff_id.is_store_key() {
            return Ok(None);
        }
        files::read_json(&self.paths().layer(diff_id).join(LAYER_META))
    }
}
