//! `system df`: what the store takes on the disk, and what of it nobody uses. The parts add up to what du(1) says.

use std::collections::{BTreeMap, BTreeSet};

use cais_oci::Digest;
use cais_store::ImageOutline;

use crate::verb::images::outline_view;
use crate::verb::prune::used_images;
use crate::view::{ContainerView, ImageView, VolumeView};
use crate::{Engine, Result};

/// The whole account.
#[derive(Clone, Debug)]
pub struct DiskUsage {
    /// One for each image.
    pub images: Vec<ImageUsage>,
    /// Bytes of everything that belongs to images.
    pub images_bytes: u64,
    /// Of those, the bytes of what no container needs.
    pub images_reclaimable_bytes: u64,
    /// One for each container, newest first.
    pub containers: Vec<ContainerUsage>,
    /// Bytes of everything that belongs to containers.
    pub containers_bytes: u64,
    /// One for each volume.
    pub volumes: Vec<VolumeUsage>,
    /// Bytes of everything that belongs to volumes.
    pub volumes_bytes: u64,
    /// Left by interrupted work; `system check --repair` takes it away.
    pub leftover_bytes: u64,
    /// Locks and the like.
    pub other_bytes: u64,
}

/// An image's share.
#[derive(Clone, Debug)]
pub struct ImageUsage {
    /// The image.
    pub view: ImageView,
    /// Bytes of its layers and blobs that other images have as well.
    pub shared_bytes: u64,
    /// Bytes of its layers and blobs that only it has.
    pub unique_bytes: u64,
    /// Containers made from it.
    pub containers: usize,
}

/// A container's share.
#[derive(Clone, Debug)]
pub struct ContainerUsage {
    /// The container.
    pub view: ContainerView,
    /// Bytes of its directory: writable layer, log, records.
    pub bytes: u64,
}

/// A volume's share.
#[derive(Clone, Debug)]
pub struct VolumeUsage {
    /// The volume.
    pub view: VolumeView,
    /// Bytes of its directory.
    pub bytes: u64,
    /// Containers that mount it.
    pub links: usize,
}

impl DiskUsage {
    /// All of it.
    pub fn total_bytes(&self) -> u64 {
        self.images_bytes
            + self.containers_bytes
            + self.volumes_bytes
            + self.leftover_bytes
            + self.other_bytes
    }
}

impl Engine {
    /// Measures the store; takes time in proportion to the number of images, and of files in containers and volumes. Layers are
    /// measured once.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn disk_usage(&self) -> Result<DiskUsage> {
        let usage = self.store.usage()?;
        let views = self.containers(true)?;
        let mut blobs = BTreeMap::new();
        let mut images = Vec::new();
        let mut owners: BTreeMap<String, usize> = BTreeMap::new();
        for image in self.store.image_outlines()? {
            let parts = self.parts(&image, &mut blobs)?;
            for part in &parts {
                *owners.entry(part.clone()).or_default() += 1;
            }
            images.push((image, parts));
        }
        let bytes_of = |part: &String| {
            usage.layers.get(part).copied().unwrap_or(0) + usage.blobs.get(part).copied().unwrap_or(0)
        };
        let used = used_images(&views);
        let mut needed: BTreeSet<String> = views
            .iter()
            .flat_map(|view| view.record.layers.iter().map(|layer| layer.hex().to_owned()))
            .collect();
        let mut rows = Vec::new();
        for (image, parts) in images {
            if used.contains(image.id.as_str()) {
                needed.extend(parts.iter().cloned());
            }
            let is_shared = |part: &&String| owners.get(*part).copied().unwrap_or(0) > 1;
            let shared_bytes = parts.iter().filter(is_shared).map(bytes_of).sum();
            let unique_bytes = parts.iter().filter(|part| !is_shared(part)).map(bytes_of).sum();
            let containers =
                views.iter().filter(|view| view.record.image_id.as_ref() == Some(&image.id)).count();
            let view = outline_view(image);
            rows.push(ImageUsage { view, shared_bytes, unique_bytes, containers });
        }
        let content: BTreeSet<&String> = usage.layers.keys().chain(usage.blobs.keys()).collect();
        let free: u64 = content.into_iter().filter(|part| !needed.contains(*part)).map(bytes_of).sum();
        let everything: u64 = usage.layers.values().chain(usage.blobs.values()).sum();
        let containers = views.iter().map(|view| ContainerUsage {
            bytes: usage.containers.get(&view.record.id).copied().unwrap_or(0),
            view: view.clone(),
        });
        let volumes = self.volumes()?.into_iter().map(|view| VolumeUsage {
            bytes: usage.volumes.get(&view.name).copied().unwrap_or(0),
            links: views
                .iter()
                .filter(|it| it.record.mounts.iter().any(|mount| mount.volume == view.name))
                .count(),
            view,
        });
        Ok(DiskUsage {
            images: rows,
            images_bytes: everything + usage.image_records_bytes,
            images_reclaimable_bytes: free,
            containers: containers.collect(),
            containers_bytes: usage.containers.values().sum::<u64>() + usage.container_records_bytes,
            volumes: volumes.collect(),
            volumes_bytes: usage.volumes.values().sum::<u64>() + usage.volume_records_bytes,
            leftover_bytes: usage.transit_bytes,
            other_bytes: usage.other_bytes,
        })
    }

    /// Layers and blobs of an image, by the hex digits of their digests; each once. `blobs` are those of layers seen before.
    fn parts(
        &self,
        image: &ImageOutline,
        blobs: &mut BTreeMap<Digest, Vec<Digest>>,
    ) -> Result<BTreeSet<String>> {
        let mut parts = BTreeSet::from([image.id.hex().to_owned(), image.manifest.hex().to_owned()]);
        for layer in &image.layers {
            parts.insert(layer.hex().to_owned());
            if !blobs.contains_key(layer) {
                blobs.insert(layer.clone(), self.blobs_of(layer)?);
            }
            if let Some(blobs) = blobs.get(layer) {
                parts.extend(blobs.iter().map(|blob| blob.hex().to_owned()));
            }
        }
        Ok(parts)
    }

    /// The blob that a layer came from, and those that were made of it: they stay as long as it does.
    fn blobs_of(&self, layer: &Digest) -> Result<Vec<Digest>> {
        let Some(meta) = self.store.layer(layer)? else { return Ok(Vec::new()) };
        let packed = self.store.packed(layer)?.into_iter().map(|blob| blob.digest);
        Ok(std::iter::once(meta.blob).chain(packed).collect())
    }
}
