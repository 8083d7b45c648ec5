//! A store in a temporary directory, and images made for it.

use std::io;

use cais_oci::{Descriptor, Digest, ImageConfig, Manifest, Reference, media_type};
use cais_store::record::ContainerRecord;
use cais_store::{ImageRecord, Ingest, LayerInput, LayerWanted, NewImage, Store, StoreError, run_state};
use tempfile::TempDir;

pub struct Home {
    pub store: Store,
    pub directory: TempDir,
}

pub fn home() -> Home {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    Home { store, directory }
}

pub fn open(directory: &std::path::Path) -> Store {
    Store::open(&directory.join("lib/cais"), &directory.join("run/cais")).unwrap()
}

/// A plain tar of files `(path, content)`.
pub fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        builder.append_data(&mut header, path, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

/// An image of plain tars.
#[derive(Clone)]
pub struct Sample {
    pub layers: Vec<Vec<u8>>,
    pub new: NewImage,
}

impl Sample {
    pub fn new(layers: Vec<Vec<u8>>, label: &str) -> Sample {
        let mut parsed = ImageConfig {
            architecture: "amd64".into(),
            os: "linux".into(),
            created: Some("2026-01-01T00:00:00Z".into()),
            author: label.into(),
            ..ImageConfig::default()
        };
        parsed.rootfs.diff_ids = layers.iter().map(|layer| Digest::sha256(layer)).collect();
        let config = serde_json::to_vec(&parsed).unwrap();
        let blobs: Vec<Descriptor> = layers
            .iter()
            .map(|layer| Descriptor::new(media_type::OCI_LAYER, Digest::sha256(layer), layer.len() as u64))
            .collect();
        let of_config = Descriptor::new(media_type::OCI_CONFIG, Digest::sha256(&config), config.len() as u64);
        let manifest = serde_json::to_vec(&Manifest::new(of_config, blobs.clone())).unwrap();
        let manifest_type = media_type::OCI_MANIFEST.to_owned();
        Sample { layers, new: NewImage { manifest, manifest_type, config, parsed, blobs } }
    }

    pub fn id(&self) -> Digest {
        Digest::sha256(&self.new.config)
    }

    pub fn wanted(&self, index: usize) -> LayerWanted {
        let blob = &self.new.blobs[index];
        LayerWanted {
            diff_id: Some(self.new.parsed.rootfs.diff_ids[index].clone()),
            blob: Some((blob.digest.clone(), blob.size)),
        }
    }

    /// Brings all layers in; returns how many streams were opened.
    pub fn add_layers(&self, ingest: &Ingest<'_>) -> Result<usize, StoreError> {
        let mut opened = 0;
        for (index, layer) in self.layers.iter().enumerate() {
            ingest.add_layer(&self.wanted(index), &Default::default(), || {
                opened += 1;
                Ok::<_, StoreError>(LayerInput::Stream(io::Cursor::new(layer)))
            })?;
        }
        Ok(opened)
    }

    pub fn store_as(&self, store: &Store, names: &[&str]) -> ImageRecord {
        let ingest = store.ingest().unwrap();
        self.add_layers(&ingest).unwrap();
        let references: Vec<Reference> = names.iter().map(|name| Reference::parse(name).unwrap()).collect();
        ingest.commit(&self.new, &references).unwrap()
    }
}

/// A two-layer image whose upper layer depends on `label`; the lower one is shared.
pub fn sample(label: &str) -> Sample {
    let base = tar_of(&[("etc/os-release", b"NAME=sample\n"), ("bin/sh", &[7; 70_000])]);
    let top = tar_of(&[("label", label.as_bytes())]);
    Sample::new(vec![base, top], label)
}

pub fn reference(text: &str) -> Reference {
    Reference::parse(text).unwrap()
}

pub fn container(id: &str, name: &str) -> ContainerRecord {
    ContainerRecord {
        id: id.into(),
        name: name.into(),
        created: run_state::now(),
        request: Default::default(),
        image_id: None,
        image_name: String::new(),
        layers: Vec::new(),
        args: vec!["true".into()],
        entrypoint: Vec::new(),
        cmd: vec!["true".into()],
        env: Vec::new(),
        workdir: "/".into(),
        user: String::new(),
        labels: Default::default(),
        stop_signal: 15,
        stop_signal_given: None,
        mounts: Vec::new(),
        exposed: Vec::new(),
        network: Default::default(),
        hostname: "h".into(),
        health: None,
        ..ContainerRecord::default()
    }
}
