//! What lists and sums need of every image: its record without what a container of it would run.
//!
//! Reading five hundred of them is the whole cost of `images`; so most of each record is skipped, not built, and names are read
//! beside records.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use cais_oci::{Descriptor, Digest, Platform, Reference, Rootfs};
use jiff::Timestamp;
use serde::Deserialize;

use crate::Store;
use crate::error::Result;
use crate::files;
use crate::images::References;

/// An image in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageOutline {
    /// Digest of the config blob.
    pub id: Digest,
    /// Digest of the manifest blob.
    pub manifest: Digest,
    /// For which machines.
    pub platform: Platform,
    /// Unpacked bytes of all layers.
    pub size_bytes: u64,
    /// Diff ids of all its layers: those of the config, then those that are mounted.
    pub layers: Vec<Digest>,
    /// When it was made, RFC 3339, as its config says.
    pub created: Option<String>,
    /// Labels of the config.
    pub labels: BTreeMap<String, String>,
    /// References with a tag, in order.
    pub tags: Vec<Reference>,
    /// References by manifest digest, as pulled, in order.
    pub digests: Vec<Reference>,
}

/// The parts of a record that are read.
#[derive(Deserialize)]
struct Stored {
    id: Digest,
    manifest: Descriptor,
    platform: Platform,
    size_bytes: u64,
    layers: Vec<Digest>,
    config: StoredConfig,
}

#[derive(Deserialize)]
struct StoredConfig {
    #[serde(default)]
    created: Option<String>,
    #[serde(default)]
    config: StoredProcess,
    #[serde(default)]
    rootfs: Rootfs,
}

#[derive(Default, Deserialize)]
struct StoredProcess {
    #[serde(default, rename = "Labels")]
    labels: BTreeMap<String, String>,
}

impl Store {
    /// Outlines of all images, newest first, dangling ones too.
    ///
    /// # Errors
    /// When a file is damaged or unreadable.
    pub fn image_outlines(&self) -> Result<Vec<ImageOutline>> {
        let (records, references) = std::thread::scope(|scope| {
            let references = scope.spawn(|| self.references());
            let records = self.stored_images();
            (records, references.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        let mut references = references?;
        let mut outlines: Vec<ImageOutline> = records?
            .into_iter()
            .map(|record| {
                let names = references.remove(&record.id).unwrap_or_default();
                outline(record, names)
            })
            .collect();
        outlines.sort_by_cached_key(|image| {
            let created = image.created.as_ref().and_then(|text| text.parse::<Timestamp>().ok());
            (Reverse(created), image.id.clone())
        });
        Ok(outlines)
    }

    fn stored_images(&self) -> Result<Vec<Stored>> {
        let directory = self.paths().images();
        let names = files::list(&directory)?;
        // Removed since the directory was read: not there any more.
        names.iter().filter_map(|name| files::read_json(&directory.join(name)).transpose()).collect()
    }
}

fn outline(record: Stored, names: References) -> ImageOutline {
    let mut layers = record.config.rootfs.diff_ids;
    layers.extend(record.layers);
    ImageOutline {
        id: record.id,
        manifest: record.manifest.digest,
        platform: record.platform,
        size_bytes: record.size_bytes,
        layers,
        created: record.config.created,
        labels: record.config.config.labels,
        tags: names.tags,
        digests: names.digests,
    }
}
