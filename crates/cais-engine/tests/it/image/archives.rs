//! Makes images and the archives that hold them.

use std::io::Write;
use std::path::Path;

use cais_oci::{Descriptor, Digest, ImageConfig, Index, Manifest, Platform, media_type};
use serde_json::json;

/// A plain tar of files.
pub fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        append(&mut builder, path, content);
    }
    builder.into_inner().unwrap()
}

pub fn append(builder: &mut tar::Builder<Vec<u8>>, path: &str, content: &[u8]) {
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1);
    // By bytes: the builder refuses hostile names otherwise.
    header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
    header.set_cksum();
    builder.append(&header, content).unwrap();
}

pub fn append_symlink(builder: &mut tar::Builder<Vec<u8>>, path: &str, target: &str) {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    header.set_mode(0o777);
    header.set_mtime(1);
    builder.append_link(&mut header, path, target).unwrap();
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// How the layers of an image are packed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// An image with all its blobs.
#[derive(Clone)]
pub struct Image {
    pub config: Vec<u8>,
    pub manifest: Vec<u8>,
    /// Layer blobs, bottom first.
    pub layers: Vec<Vec<u8>>,
    pub platform: Platform,
}

impl Image {
    /// Two layers, the upper one depends on `label`, the lower one does not.
    pub fn new(label: &str, packing: Packing) -> Image {
        Image::for_platform(label, packing, Platform::host())
    }

    pub fn for_platform(label: &str, packing: Packing, platform: Platform) -> Image {
        let base = tar_of(&[("etc/os-release", b"NAME=base\n"), ("bin/tool", &[7; 300_000])]);
        let top = tar_of(&[("label", label.as_bytes())]);
        Image::of_tars(&[base, top], label, packing, platform)
    }

    pub fn of_tars(tars: &[Vec<u8>], label: &str, packing: Packing, platform: Platform) -> Image {
        let mut config = ImageConfig {
            created: Some("2026-02-03T04:05:06Z".into()),
            architecture: platform.architecture.clone(),
            variant: platform.variant.clone(),
            os: platform.os.clone(),
            ..ImageConfig::default()
        };
        config.config.cmd = Some(vec!["/bin/tool".into()]);
        config.config.env = vec!["PATH=/bin".into()];
        config.config.labels.insert("label".into(), label.into());
        config.rootfs.diff_ids = tars.iter().map(|tar| Digest::sha256(tar)).collect();
        let config = serde_json::to_vec(&config).unwrap();
        let kind = match packing {
            Packing::Plain => media_type::OCI_LAYER,
            Packing::Gzip => media_type::OCI_LAYER_GZIP,
            Packing::Zstd => media_type::OCI_LAYER_ZSTD,
        };
        let pack = |tar: &Vec<u8>| match packing {
            Packing::Plain => tar.clone(),
            Packing::Gzip => gzip(tar),
            Packing::Zstd => zstd(tar),
        };
        let layers: Vec<Vec<u8>> = tars.iter().map(pack).collect();
        let blobs = layers.iter().map(|layer| descriptor(kind, layer)).collect();
        let manifest = Manifest::new(descriptor(media_type::OCI_CONFIG, &config), blobs);
        Image { manifest: serde_json::to_vec(&manifest).unwrap(), config, layers, platform }
    }

    pub fn id(&self) -> Digest {
        Digest::sha256(&self.config)
    }

    /// Config, layers, manifest: all that a registry or layout has.
    pub fn blobs(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.layers.iter().chain([&self.config, &self.manifest])
    }

    pub fn entry(&self) -> Descriptor {
        Descriptor {
            platform: Some(self.platform.clone()),
            ..descriptor(media_type::OCI_MANIFEST, &self.manifest)
        }
    }

    pub fn named(&self, annotation: &str, name: &str) -> Descriptor {
        let mut entry = descriptor(media_type::OCI_MANIFEST, &self.manifest);
        entry.annotations.insert(annotation.into(), name.into());
        entry
    }
}

pub fn descriptor(kind: &str, bytes: &[u8]) -> Descriptor {
    Descriptor::new(kind, Digest::sha256(bytes), bytes.len() as u64)
}

pub fn index(entries: Vec<Descriptor>) -> Vec<u8> {
    serde_json::to_vec(&Index::new(entries)).unwrap()
}

/// `docker save` of older versions: `<id>.json`, `<layer>/layer.tar`, `manifest.json` last; a layer that an earlier image
/// has is a symlink to it.
pub fn docker_archive(images: &[(&Image, &[&str])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut listed = Vec::new();
    let mut seen: Vec<(Digest, String)> = Vec::new();
    for (number, (image, tags)) in images.iter().enumerate() {
        let config = format!("{}.json", image.id().hex());
        append(&mut builder, &config, &image.config);
        let mut layers = Vec::new();
        for (index, layer) in image.layers.iter().enumerate() {
            let name = format!("{number}{index}/layer.tar");
            let digest = Digest::sha256(layer);
            match seen.iter().find(|(other, _)| *other == digest) {
                Some((_, path)) => append_symlink(&mut builder, &name, &format!("../{path}")),
                None => {
                    append(&mut builder, &name, layer);
                    seen.push((digest, name.clone()));
                }
            }
            layers.push(name);
        }
        let tags = if tags.is_empty() { None } else { Some(tags) };
        listed.push(json!({ "Config": config, "RepoTags": tags, "Layers": layers }));
    }
    append(&mut builder, "manifest.json", json!(listed).to_string().as_bytes());
    append(&mut builder, "repositories", b"{}");
    builder.into_inner().unwrap()
}

/// A tar of an OCI layout.
pub fn oci_archive(blobs: &[&Vec<u8>], index: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for blob in blobs {
        append(&mut builder, &format!("blobs/sha256/{}", Digest::sha256(blob).hex()), blob);
    }
    append(&mut builder, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
    append(&mut builder, "./index.json", index);
    builder.into_inner().unwrap()
}

pub fn oci_directory(directory: &Path, blobs: &[&Vec<u8>], index: &[u8]) {
    let target = directory.join("blobs/sha256");
    std::fs::create_dir_all(&target).unwrap();
    for blob in blobs {
        std::fs::write(target.join(Digest::sha256(blob).hex()), blob).unwrap();
    }
    std::fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    std::fs::write(directory.join("index.json"), index).unwrap();
}
