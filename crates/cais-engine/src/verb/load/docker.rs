//! docker-archive: `manifest.json` lists configs, names and layer files, as `docker save` and `podman save` write it.
//!
//! Such an archive has no image manifest; one is made of what is there, so that the image has all parts of an OCI image.

use cais_oci::{Descriptor, Digest, Manifest, Reference, media_type};
use serde::Deserialize;

use super::Found;
use super::source::Source;
use crate::progress::Progress;
use crate::verb::pull::{new_image, parse_config};
use crate::{Error, ErrorKind, Result};

pub(super) const MANIFEST: &str = "manifest.json";

/// One image of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// How many names `manifest.json` gives.
pub(super) fn names(manifest: &[u8]) -> usize {
    let listed: Vec<Listed> = serde_json::from_slice(manifest).unwrap_or_default();
    listed.iter().flat_map(|listed| listed.repo_tags.iter().flatten()).count()
}

/// The images that `manifest.json` lists.
pub(super) fn images(source: &Source, manifest: &[u8], progress: &dyn Progress) -> Result<Vec<Found>> {
    let listed: Vec<Listed> = serde_json::from_slice(manifest).map_err(|error| {
        Error::caused(ErrorKind::Invalid, "the archive's manifest.json is malformed", error)
    })?;
    listed.iter().map(|listed| image(source, listed, progress)).collect()
}

fn image(source: &Source, listed: &Listed, progress: &dyn Progress) -> Result<Found> {
    let lacks = |name: &str| Error::new(ErrorKind::Invalid, format!("the archive lacks {name:?}"));
    let config = source.read(&listed.config)?.ok_or_else(|| lacks(&listed.config))?;
    let mut layers = Vec::new();
    for name in listed.layers.iter().flatten() {
        layers.push(source.describe(name, media_type::OCI_LAYER)?.ok_or_else(|| lacks(name))?);
    }
    let name = listed.config.strip_suffix(".json").unwrap_or(&listed.config);
    // The layer files are plain tars or, from some writers, compressed: the type follows the digests.
    let diff_ids = parse_config(name, &config)?.rootfs.diff_ids;
    for (layer, diff_id) in layers.iter_mut().zip(&diff_ids) {
        if layer.digest != *diff_id {
            layer.media_type = media_type::OCI_LAYER_GZIP.to_owned();
        }
    }
    let descriptor = Descriptor::new(media_type::OCI_CONFIG, Digest::sha256(&config), config.len() as u64);
    let manifest = Manifest::new(descriptor, layers);
    let bytes = serde_json::to_vec(&manifest).map_err(|error| {
        Error::caused(ErrorKind::Invalid, "make a manifest of the archive's image", error)
    })?;
    let image = new_image(name, (bytes, media_type::OCI_MANIFEST.to_owned()), &manifest, config)?;
    let mut names = Vec::new();
    for text in listed.repo_tags.iter().flatten() {
        match Reference::parse(text) {
            Ok(name) => names.push(name),
            Err(error) => progress.warn(&format!("the archive's name {text:?} is left out: {error}")),
        }
    }
    Ok(Found { image, names })
}
