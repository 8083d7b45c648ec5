//! Images in memory and their forms on disk: OCI image layout, OCI archive, Docker archive.
//!
//! Implements the OCI image specification 1.1 ("Image Manifest", "Image Index", "Image Layout") and the
//! `manifest.json` of `docker save`. Written from plain JSON, without the product's own nouns.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::layer::Layer;

/// How a layer is packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Plain tar.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

impl Compression {
    fn pack(self, tar: &[u8]) -> Vec<u8> {
        match self {
            Compression::None => tar.to_vec(),
            Compression::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(tar).expect("writing to memory");
                encoder.finish().expect("writing to memory")
            }
            Compression::Zstd => zstd::encode_all(tar, 3).expect("writing to memory"),
        }
    }

    fn media_type(self, docker: bool) -> &'static str {
        match (self, docker) {
            (Compression::None, false) => "application/vnd.oci.image.layer.v1.tar",
            (Compression::Gzip, false) => "application/vnd.oci.image.layer.v1.tar+gzip",
            (Compression::Zstd, _) => "application/vnd.oci.image.layer.v1.tar+zstd",
            (Compression::None, true) => "application/vnd.docker.image.rootfs.diff.tar",
            (Compression::Gzip, true) => "application/vnd.docker.image.rootfs.diff.tar.gzip",
        }
    }
}

/// An image to be: layers and the `config` object of its configuration.
#[derive(Clone, Debug)]
pub struct Image {
    layers: Vec<(Layer, Compression)>,
    config: Value,
    architecture: String,
    docker: bool,
}

impl Default for Image {
    fn default() -> Image {
        Image {
            layers: Vec::new(),
            config: json!({"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}),
            architecture: host_architecture().to_owned(),
            docker: false,
        }
    }
}

/// The machine's architecture as GOARCH names it.
pub fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

impl Image {
    /// An image without layers that sets `PATH`.
    pub fn new() -> Image {
        Image::default()
    }

    /// Adds a layer on top, uncompressed.
    #[must_use]
    pub fn layer(self, layer: Layer) -> Image {
        self.packed_layer(layer, Compression::None)
    }

    /// Adds a layer on top.
    #[must_use]
    pub fn packed_layer(mut self, layer: Layer, compression: Compression) -> Image {
        self.layers.push((layer, compression));
        self
    }

    /// Sets one key of the configuration, such as `Cmd`.
    #[must_use]
    pub fn set(mut self, key: &str, value: Value) -> Image {
        self.config[key] = value;
        self
    }

    /// Says for which machine it is; the default is this one.
    #[must_use]
    pub fn architecture(mut self, architecture: &str) -> Image {
        architecture.clone_into(&mut self.architecture);
        self
    }

    /// Uses Docker's schema 2 media types instead of OCI's.
    #[must_use]
    pub fn docker(mut self) -> Image {
        self.docker = true;
        self
    }

    /// Packs the layers and computes every digest.
    pub fn build(&self) -> Built {
        let mut blobs = Vec::new();
        let mut diff_ids = Vec::new();
        let mut tars = Vec::new();
        let mut layers = Vec::new();
        for (layer, compression) in &self.layers {
            let tar = layer.tar();
            let packed = compression.pack(&tar);
            diff_ids.push(json!(sha256(&tar)));
            layers.push(descriptor(compression.media_type(self.docker), &packed));
            blobs.push(packed);
            tars.push(tar);
        }
        let config = serde_json::to_vec(&json!({
            "created": "2026-01-02T03:04:05Z",
            "architecture": self.architecture,
            "os": "linux",
            "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": diff_ids.iter().map(|_| json!({"created_by": "cais-test"})).collect::<Vec<_>>(),
        }))
        .expect("a JSON value");
        let config_type = if self.docker {
            "application/vnd.docker.container.image.v1+json"
        } else {
            "application/vnd.oci.image.config.v1+json"
        };
        let manifest_type = if self.docker {
            "application/vnd.docker.distribution.manifest.v2+json"
        } else {
            "application/vnd.oci.image.manifest.v1+json"
        };
        let manifest = serde_json::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": manifest_type,
            "config": descriptor(config_type, &config),
            "layers": layers,
        }))
        .expect("a JSON value");
        blobs.push(config.clone());
        Built { manifest, manifest_type, config, blobs, tars, architecture: self.architecture.clone() }
    }
}

/// The digest of `bytes`, `sha256:<hex>`.
pub fn sha256(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// The hex part of a digest.
fn hex(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap_or(digest)
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": sha256(bytes), "size": bytes.len()})
}

/// A packed image.
#[derive(Clone, Debug)]
pub struct Built {
    /// The manifest's bytes.
    pub manifest: Vec<u8>,
    /// Its media type.
    pub manifest_type: &'static str,
    /// The configuration's bytes.
    pub config: Vec<u8>,
    /// Packed layers, lowest first, then the configuration.
    pub blobs: Vec<Vec<u8>>,
    /// Plain tars of the layers, lowest first.
    pub tars: Vec<Vec<u8>>,
    /// GOARCH.
    pub architecture: String,
}

impl Built {
    /// Digest of the manifest.
    pub fn digest(&self) -> String {
        sha256(&self.manifest)
    }

    /// The image id: digest of the configuration.
    pub fn id(&self) -> String {
        sha256(&self.config)
    }

    fn descriptor(&self) -> Value {
        let mut descriptor = descriptor(self.manifest_type, &self.manifest);
        descriptor["platform"] = json!({"os": "linux", "architecture": self.architecture});
        descriptor
    }

    /// Writes the archive that `docker save` would write, with these `name:tag`s.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_docker_archive(&self, path: &Path, tags: &[&str]) -> io::Result<()> {
        let mut archive = Layer::new();
        let mut names = Vec::new();
        for tar in &self.tars {
            let name = format!("{}/layer.tar", hex(&sha256(tar)));
            if !names.contains(&name) {
                archive = archive.file(&name, tar);
            }
            names.push(name);
        }
        let config = format!("{}.json", hex(&self.id()));
        let manifest = json!([{"Config": config, "RepoTags": tags, "Layers": names}]);
        archive = archive.file(&config, &self.config).file("manifest.json", manifest.to_string());
        fs::write(path, archive.tar())
    }
}

/// An OCI image layout in a directory.
#[derive(Clone, Debug)]
pub struct Layout {
    path: PathBuf,
    index: Vec<Value>,
}

impl Layout {
    /// Makes an empty layout at `path`.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn create(path: &Path) -> io::Result<Layout> {
        fs::create_dir_all(path.join("blobs/sha256"))?;
        fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        let layout = Layout { path: path.to_owned(), index: Vec::new() };
        layout.write_index()?;
        Ok(layout)
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds an image under a reference name (`org.opencontainers.image.ref.name`).
    ///
    /// # Errors
    /// When a blob cannot be written.
    pub fn add(&mut self, name: &str, image: &Built) -> io::Result<()> {
        self.add_blobs(image)?;
        let mut descriptor = image.descriptor();
        descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        self.index.push(descriptor);
        self.write_index()
    }

    /// Adds one name for several platforms: a nested index.
    ///
    /// # Errors
    /// When a blob cannot be written.
    pub fn add_index(&mut self, name: &str, images: &[Built]) -> io::Result<String> {
        for image in images {
            self.add_blobs(image)?;
        }
        let index = index_of(images);
        self.write_blob(&index)?;
        let mut descriptor = descriptor("application/vnd.oci.image.index.v1+json", &index);
        descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        self.index.push(descriptor);
        self.write_index()?;
        Ok(sha256(&index))
    }

    /// Packs the whole layout as one tar (`oci-archive`).
    ///
    /// # Errors
    /// When something cannot be read or written.
    pub fn write_archive(&self, path: &Path) -> io::Result<()> {
        fs::write(path, Layer::new().tree(&self.path)?.tar())
    }

    fn add_blobs(&self, image: &Built) -> io::Result<()> {
        for blob in &image.blobs {
            self.write_blob(blob)?;
        }
        self.write_blob(&image.manifest)
    }

    fn write_blob(&self, bytes: &[u8]) -> io::Result<()> {
        fs::write(self.path.join("blobs/sha256").join(hex(&sha256(bytes))), bytes)
    }

    fn write_index(&self) -> io::Result<()> {
        let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": self.index});
        fs::write(self.path.join("index.json"), index.to_string())
    }
}

/// The bytes of an index over images of several platforms.
pub fn index_of(images: &[Built]) -> Vec<u8> {
    let manifests: Vec<Value> = images.iter().map(Built::descriptor).collect();
    let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": manifests});
    serde_json::to_vec(&index).expect("a JSON value")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Image {
        Image::new()
            .packed_layer(Layer::new().file("a", "1"), Compression::Gzip)
            .packed_layer(Layer::new().whiteout("a").file("b", "2"), Compression::Zstd)
            .set("Cmd", json!(["/b"]))
    }

    #[test]
    fn every_descriptor_names_a_blob_of_its_size() {
        let built = sample().build();
        let manifest: Value = serde_json::from_slice(&built.manifest).unwrap();
        let mut descriptors = manifest["layers"].as_array().unwrap().clone();
        descriptors.push(manifest["config"].clone());
        assert_eq!(descriptors.len(), built.blobs.len());
        for (descriptor, blob) in descriptors.iter().zip(&built.blobs) {
            assert_eq!(descriptor["digest"], sha256(blob));
            assert_eq!(descriptor["size"], blob.len());
        }
        let config: Value = serde_json::from_slice(&built.config).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][1], sha256(&built.tars[1]));
        assert_eq!(config["config"]["Cmd"][0], "/b");
    }

    #[test]
    fn skopeo_accepts_layout_and_archives() {
        if std::process::Command::new("skopeo").arg("--version").output().is_err() {
            crate::skip("skopeo is not installed");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let mut layout = Layout::create(&folder.path().join("l")).unwrap();
        layout.add("v1", &sample().build()).unwrap();
        layout.write_archive(&folder.path().join("oci.tar")).unwrap();
        sample().docker().build().write_docker_archive(&folder.path().join("d.tar"), &["x:1"]).unwrap();
        for source in ["oci:l:v1", "oci-archive:oci.tar:v1", "docker-archive:d.tar:x:1"] {
            let output = std::process::Command::new("skopeo")
                .args(["--insecure-policy", "copy", source, "dir:out"])
                .current_dir(folder.path())
                .output()
                .unwrap();
            assert!(output.status.success(), "{source}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}
