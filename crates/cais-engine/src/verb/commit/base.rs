//! What a committed image is built on: the container's image or, when that was removed, the layers that the container
//! still keeps.
//!
//! Of an image that is gone nothing but its layers is known; what a container made of its config is in the record.

use std::fs::File;
use std::io::Read;

use cais_layer::{Compression, Decoder};
use cais_oci::{Descriptor, History, ImageConfig, Platform, ProcessConfig, Rootfs, media_type};
use cais_store::LayerMeta;

use crate::attach::short;
use crate::{ContainerRecord, Engine, Error, ErrorKind, Result};

/// Config and blobs on which the new layer is put.
pub(super) struct Base {
    pub(super) config: ImageConfig,
    pub(super) blobs: Vec<Descriptor>,
}

impl Engine {
    pub(super) fn base_of(&self, record: &ContainerRecord) -> Result<Base> {
        let Some(image) = &record.image_id else {
            let name = short(&record.id);
            let message =
                format!("container {name} runs a plain directory (--rootfs) and has no image to build on");
            return Err(Error::new(ErrorKind::Unsupported, message));
        };
        match self.store.load_image(image)? {
            Some(image) => Ok(Base { config: image.config, blobs: image.blobs }),
            None => self.base_of_layers(record),
        }
    }

    fn base_of_layers(&self, record: &ContainerRecord) -> Result<Base> {
        let (mut blobs, mut history) = (Vec::new(), Vec::new());
        for diff_id in &record.layers {
            let layer = self.store.layer(diff_id)?.ok_or_else(|| {
                let message =
                    format!("layer {} of container {} is missing", diff_id.short(), short(&record.id));
                Error::new(ErrorKind::NotFound, message)
                    .hint("pull or load its image again; `cais system check` looks for more")
            })?;
            blobs.push(Descriptor::new(self.media_type_of(&layer)?, layer.blob.clone(), layer.blob_bytes));
            history.push(History {
                created_by: format!("layer of the removed image {}", record.image_name),
                ..History::default()
            });
        }
        let host = Platform::host();
        let platform = record.request.platform.as_deref().and_then(|text| text.parse().ok()).unwrap_or(host);
        let config = ImageConfig {
            architecture: platform.architecture,
            variant: platform.variant,
            os: platform.os,
            config: ProcessConfig { healthcheck: record.health.clone(), ..ProcessConfig::default() },
            rootfs: Rootfs { diff_ids: record.layers.clone(), ..Rootfs::default() },
            history,
            ..ImageConfig::default()
        };
        Ok(Base { config, blobs })
    }

    /// Of a layer's blob, by its first bytes; one that can be made again from the layer is a plain tar.
    fn media_type_of(&self, layer: &LayerMeta) -> Result<&'static str> {
        if layer.blob == layer.diff_id {
            return Ok(media_type::OCI_LAYER);
        }
        let path = self.store.paths().blob(&layer.blob);
        let failed = |error| Error::caused(ErrorKind::System, format!("read {}", path.display()), error);
        let file = File::open(&path).map_err(failed)?;
        let decoder = Decoder::new(file.take(64)).map_err(crate::verb::copy::failed)?;
        Ok(match decoder.compression() {
            Compression::None => media_type::OCI_LAYER,
            Compression::Gzip => media_type::OCI_LAYER_GZIP,
            Compression::Zstd => media_type::OCI_LAYER_ZSTD,
        })
    }
}
