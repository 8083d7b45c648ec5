//! `import`: the tar of a root file system becomes an image of one layer.

pub(super) mod change;

use std::io::Read;

use cais_layer::Decoder;
use cais_oci::{
    Descriptor, Digest, History, ImageConfig, Manifest, ProcessConfig, Reference, Rootfs, media_type,
};
use cais_store::{LayerInput, LayerWanted, NewImage, StoreError, run_state};

use crate::error::chain;
use crate::verb::images::wanted_platform;
use crate::verb::tag::parse_target;
use crate::{Engine, Error, ErrorKind, Result};

impl Engine {
    /// Makes an image of a tar, plain or compressed, and names it; returns its id.
    ///
    /// `changes` are Dockerfile instructions for its config: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL,
    /// STOPSIGNAL, USER, VOLUME, WORKDIR.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when the input is no tar, or a change or name is malformed; nothing stays then.
    pub fn import(
        &self,
        input: Box<dyn Read + Send>,
        name: Option<&str>,
        message: Option<&str>,
        changes: &[String],
        platform: Option<&str>,
    ) -> Result<Digest> {
        let references: Vec<Reference> = name.map(parse_target).transpose()?.into_iter().collect();
        let platform = wanted_platform(platform)?;
        let mut process = ProcessConfig::default();
        for line in changes {
            change::apply(&mut process, line)?;
        }
        let ingest = self.store.ingest()?;
        let tar = Decoder::new(input)
            .map_err(|error| Error::new(ErrorKind::Invalid, chain(&error)).source(error))?;
        // The plain tar is kept: its digest is the diff_id.
        let wanted = LayerWanted::default();
        let open = || Ok::<_, StoreError>(LayerInput::Stream(tar));
        let (layer, _) = ingest.add_layer(&wanted, &self.layer_options(), open)?;
        if layer.entries == 0 {
            return Err(Error::new(ErrorKind::Invalid, "the input holds no files"));
        }
        let created = run_state::now();
        let comment = message.unwrap_or("Imported from -").to_owned();
        let parsed = ImageConfig {
            created: Some(created.clone()),
            architecture: platform.architecture,
            variant: platform.variant,
            os: platform.os,
            config: process,
            rootfs: Rootfs { diff_ids: vec![layer.diff_id.clone()], ..Rootfs::default() },
            history: vec![History { created: Some(created), comment, ..History::default() }],
            ..ImageConfig::default()
        };
        let blob = Descriptor::new(media_type::OCI_LAYER, layer.blob, layer.blob_bytes);
        let image = make_image(parsed, vec![blob])?;
        let id = ingest.commit(&image, &references)?.id;
        let name = references.first().map_or_else(|| id.to_string(), Reference::familiar);
        self.tell("image", "import", &id.to_string(), &[("name", &name)]);
        Ok(id)
    }
}

/// Writes config and manifest of a new image.
pub(super) fn make_image(parsed: ImageConfig, blobs: Vec<Descriptor>) -> Result<NewImage> {
    let failed = |error| Error::caused(ErrorKind::Invalid, "write the image's config", error);
    let config = serde_json::to_vec(&parsed).map_err(failed)?;
    let descriptor = Descriptor::new(media_type::OCI_CONFIG, Digest::sha256(&config), config.len() as u64);
    // The base's may be of Docker's family.
    let manifest = Manifest::new(descriptor, blobs).in_family(false);
    let blobs = manifest.layers.clone();
    let manifest = serde_json::to_vec(&manifest).map_err(failed)?;
    Ok(NewImage { manifest, manifest_type: media_type::OCI_MANIFEST.to_owned(), config, parsed, blobs })
}
