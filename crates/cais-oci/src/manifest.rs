//! Manifests and indexes: OCI image specification and Docker image manifest version 2, schema 2.
//!
//! The bytes of a manifest are its identity: this module reads them and never writes them back. Documents that
//! could be read both as a manifest and as an index are refused (CVE-2021-41190), so is schema 1.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::null_is_default;
use crate::digest::Digest;
use crate::platform::Platform;

/// The media types of both families, and what they say about a blob.
pub mod media_type {
    /// OCI image manifest.
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// OCI image index.
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// OCI image config.
    pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// OCI layer, plain tar.
    pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    /// OCI layer, gzip.
    pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// OCI layer, zstd.
    pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
    /// OCI empty JSON (`{}`), the config of artifacts.
    pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";
    /// Docker manifest, schema 2.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker manifest list.
    pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker image config.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    /// Docker layer, gzip.
    pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    /// Docker layer, plain tar.
    pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
    /// Docker manifest, schema 1, refused.
    pub const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
    /// Docker manifest, schema 1 signed, refused.
    pub const DOCKER_SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

    /// The four types that a manifest request accepts, best first.
    pub const MANIFESTS: [&str; 4] = [OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST];

    /// How a layer's tar is compressed.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Compression {
        /// Plain tar.
        None,
        /// gzip.
        Gzip,
        /// zstd.
        Zstd,
    }

    /// Whether the type is that of a filesystem layer, in any compression.
    pub fn is_layer(media_type: &str) -> bool {
        compression(media_type).is_some()
    }

    /// The compression that a layer's type announces, `None` if it is no layer type that we can read.
    ///
    /// Registries are full of layers whose bytes differ from their type; readers trust the magic bytes.
    pub fn compression(media_type: &str) -> Option<Compression> {
        let rest = media_type
            .strip_prefix("application/vnd.oci.image.layer.v1.tar")
            .or_else(|| media_type.strip_prefix("application/vnd.oci.image.layer.nondistributable.v1.tar"))
            .or_else(|| media_type.strip_prefix("application/vnd.docker.image.rootfs.diff.tar"))
            .or_else(|| media_type.strip_prefix("application/vnd.docker.image.rootfs.foreign.diff.tar"))?;
        match rest {
            "" => Some(Compression::None),
            "+gzip" | ".gzip" => Some(Compression::Gzip),
            "+zstd" | ".zstd" => Some(Compression::Zstd),
            _ => None,
        }
    }

    /// The type of a layer; Docker's family has none for zstd.
    pub fn layer(compression: Compression, docker: bool) -> &'static str {
        match (compression, docker) {
            (Compression::None, false) => OCI_LAYER,
            (Compression::None, true) => DOCKER_LAYER,
            (Compression::Gzip, true) => DOCKER_LAYER_GZIP,
            (Compression::Gzip, false) => OCI_LAYER_GZIP,
            (Compression::Zstd, _) => OCI_LAYER_ZSTD,
        }
    }

    /// Whether the type is that of a manifest of one image.
    pub fn is_manifest(media_type: &str) -> bool {
        matches!(media_type, OCI_MANIFEST | DOCKER_MANIFEST)
    }

    /// Whether the type is that of an index (manifest list).
    pub fn is_index(media_type: &str) -> bool {
        matches!(media_type, OCI_INDEX | DOCKER_INDEX)
    }
}

/// A pointer to a blob: what it is, its digest and its size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type of the blob, see [`media_type`].
    pub media_type: String,
    /// Digest of the blob.
    pub digest: Digest,
    /// Size of the blob in bytes.
    pub size: u64,
    /// The platform of the manifest, in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Free annotations.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Further places to download the blob from; only foreign layers have them.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Kind of artifact that the manifest stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The blob itself in base64, for small ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

impl Descriptor {
    /// A descriptor without any of the optional parts.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Descriptor {
        Descriptor {
            media_type: media_type.to_owned(),
            digest,
            size,
            platform: None,
            annotations: BTreeMap::new(),
            urls: Vec::new(),
            artifact_type: None,
            data: None,
        }
    }

    /// Whether this is a BuildKit attestation, which index selection skips.
    pub fn is_attestation(&self) -> bool {
        self.annotations.get("vnd.docker.reference.type").is_some_and(|kind| kind == "attestation-manifest")
            || self.platform.as_ref().is_some_and(Platform::is_unknown)
    }
}

/// The manifest of one image: its config and its layers, lowest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// Its own media type; OCI documents may leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Kind of artifact, if this is no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The image config.
    pub config: Descriptor,
    /// The layers, lowest first.
    #[serde(deserialize_with = "null_is_default")]
    pub layers: Vec<Descriptor>,
    /// The manifest that this one refers to (signatures, SBOMs).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Free annotations.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// Gives every part the media type that it has in the one family or the other; the bytes of the parts are the same
    /// in both. Types that are no image's stay.
    pub fn in_family(mut self, docker: bool) -> Manifest {
        let manifest = if docker { media_type::DOCKER_MANIFEST } else { media_type::OCI_MANIFEST };
        self.media_type = Some(manifest.to_owned());
        if matches!(self.config.media_type.as_str(), media_type::OCI_CONFIG | media_type::DOCKER_CONFIG) {
            let config = if docker { media_type::DOCKER_CONFIG } else { media_type::OCI_CONFIG };
            self.config.media_type = config.to_owned();
        }
        for layer in &mut self.layers {
            if let Some(compression) = media_type::compression(&layer.media_type) {
                layer.media_type = media_type::layer(compression, docker).to_owned();
            }
        }
        self
    }

    /// An image manifest of the given config and layers, in the OCI form.
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Manifest {
        Manifest {
            schema_version: 2,
            media_type: Some(media_type::OCI_MANIFEST.to_owned()),
            artifact_type: None,
            config,
            layers,
            subject: None,
            annotations: BTreeMap::new(),
        }
    }
}

/// An index: one manifest per platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// Its own media type; OCI documents may leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The manifests, in the publisher's order of preference.
    #[serde(deserialize_with = "null_is_default")]
    pub manifests: Vec<Descriptor>,
    /// Free annotations.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Index {
    /// An index of the given manifests, in the OCI form.
    pub fn new(manifests: Vec<Descriptor>) -> Index {
        Index {
            schema_version: 2,
            media_type: Some(media_type::OCI_INDEX.to_owned()),
            manifests,
            annotations: BTreeMap::new(),
        }
    }

    /// The manifest that serves `platform` best, the first among equals; attestations are skipped.
    ///
    /// A sole manifest without a platform is taken as it is, as Docker does.
    pub fn select(&self, platform: &Platform) -> Option<&Descriptor> {
        let offered: Vec<&Descriptor> =
            self.manifests.iter().filter(|entry| !entry.is_attestation()).collect();
        if let [only] = offered[..]
            && only.platform.is_none()
        {
            return Some(only);
        }
        offered
            .into_iter()
            .filter_map(|entry| Some((platform.rank(entry.platform.as_ref()?)?, entry)))
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, entry)| entry)
    }
}

/// What a manifest request can answer with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManifestKind {
    /// One image.
    Manifest(Manifest),
    /// A choice of platforms.
    Index(Index),
}

/// Why a document is no manifest that we can use.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The document is not JSON, or a field has the wrong form.
    #[error("manifest is malformed")]
    Malformed {
        /// What the JSON reader says.
        source: serde_json::Error,
    },
    /// Docker's first manifest format.
    #[error(
        "manifest has Docker schema 1, which was retired and is not supported: push the image again with a current tool"
    )]
    Schema1,
    /// Another schema version than 2.
    #[error("manifest has the unknown schemaVersion {version}")]
    UnknownSchema {
        /// What the document says.
        version: u64,
    },
    /// The document can be read as a manifest and as an index.
    #[error("manifest is ambiguous: it has both manifests and layers or config")]
    Ambiguous,
    /// Neither a manifest nor an index.
    #[error("manifest has neither manifests nor a config with layers{}", media_type.as_ref().map(|kind| format!(" (its media type is {kind})")).unwrap_or_default())]
    Neither {
        /// The media type that it claims.
        media_type: Option<String>,
    },
    /// The media type in the document or in the HTTP header contradicts the content.
    #[error("manifest claims the media type {claimed}, but its content is {found}")]
    Contradiction {
        /// The claimed type.
        claimed: String,
        /// `an index` or `an image manifest`.
        found: &'static str,
    },
}

/// Only the fields that decide how to read the document.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    #[serde(default)]
    schema_version: Option<u64>,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    manifests: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    layers: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    config: Option<serde::de::IgnoredAny>,
    #[serde(default, rename = "fsLayers")]
    fs_layers: Option<serde::de::IgnoredAny>,
}

/// Reads a manifest or an index.
///
/// `content_type` is the HTTP header, if there was one; generic types such as `application/json` are ignored,
/// but one of the known manifest types must agree with the content.
pub fn parse_manifest(bytes: &[u8], content_type: Option<&str>) -> Result<ManifestKind, ManifestError> {
    let malformed = |source| ManifestError::Malformed { source };
    let shape: Shape = serde_json::from_slice(bytes).map_err(malformed)?;
    let header = content_type.map(|value| value.split(';').next().unwrap_or("").trim());
    let claims: Vec<&str> = shape.media_type.as_deref().into_iter().chain(header).collect();
    let schema1 = [media_type::DOCKER_SCHEMA1, media_type::DOCKER_SCHEMA1_SIGNED];
    if shape.schema_version == Some(1)
        || shape.fs_layers.is_some()
        || claims.iter().any(|claim| schema1.contains(claim))
    {
        return Err(ManifestError::Schema1);
    }
    if let Some(version) = shape.schema_version.filter(|version| *version != 2) {
        return Err(ManifestError::UnknownSchema { version });
    }
    let is_index = match (shape.manifests, shape.layers, shape.config) {
        (Some(_), None, None) => true,
        (None, Some(_), Some(_)) => false,
        (Some(_), _, _) => return Err(ManifestError::Ambiguous),
        _ => {
            return Err(ManifestError::Neither {
                media_type: claims.first().map(|claim| (*claim).to_owned()),
            });
        }
    };
    for claim in claims {
        if is_index && media_type::is_manifest(claim) {
            return Err(ManifestError::Contradiction { claimed: claim.to_owned(), found: "an index" });
        }
        if !is_index && media_type::is_index(claim) {
            return Err(ManifestError::Contradiction {
                claimed: claim.to_owned(),
                found: "an image manifest",
            });
        }
    }
    if is_index {
        serde_json::from_slice(bytes).map(ManifestKind::Index).map_err(malformed)
    } else {
        serde_json::from_slice(bytes).map(ManifestKind::Manifest).map_err(malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn entry(extra: &str) -> String {
        format!(r#"{{"mediaType":"{}","digest":"{D}","size":3{extra}}}"#, media_type::OCI_MANIFEST)
    }

    fn manifest(extra: &str) -> String {
        format!(r#"{{"schemaVersion":2,"config":{},"layers":[{}]{extra}}}"#, entry(""), entry(""))
    }

    #[test]
    fn both_families_are_read() {
        for kind in [media_type::OCI_MANIFEST, media_type::DOCKER_MANIFEST] {
            let text = manifest(&format!(r#","mediaType":"{kind}","annotations":null"#));
            for header in [None, Some(kind), Some("application/json; charset=utf-8")] {
                let ManifestKind::Manifest(read) = parse_manifest(text.as_bytes(), header).unwrap() else {
                    panic!()
                };
                assert_eq!(read.layers.len(), 1);
                assert_eq!(read.config.size, 3);
            }
        }
        let text = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entry(""));
        assert!(matches!(
            parse_manifest(text.as_bytes(), Some(media_type::DOCKER_INDEX)),
            Ok(ManifestKind::Index(_))
        ));
    }

    #[test]
    fn what_is_refused() {
        use ManifestError::*;
        let parse = |text: &str| parse_manifest(text.as_bytes(), None);
        assert!(matches!(parse("<html>"), Err(Malformed { .. })));
        assert!(matches!(parse(r#"{"schemaVersion":1,"fsLayers":[]}"#), Err(Schema1)));
        assert!(matches!(parse(r#"{"schemaVersion":7}"#), Err(UnknownSchema { version: 7 })));
        assert!(matches!(parse(r#"{"schemaVersion":2}"#), Err(Neither { .. })));
        assert!(matches!(parse(r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#), Err(Ambiguous)));
        assert!(matches!(parse(&manifest(r#","manifests":[]"#)), Err(Ambiguous)));
        let index_type = format!(r#","mediaType":"{}""#, media_type::OCI_INDEX);
        assert!(matches!(parse(&manifest(&index_type)), Err(Contradiction { .. })));
        let header = Some(media_type::DOCKER_INDEX);
        assert!(matches!(parse_manifest(manifest("").as_bytes(), header), Err(Contradiction { .. })));
        assert!(matches!(parse(&manifest("").replace(":3", ":-3")), Err(Malformed { .. })));
    }

    #[test]
    fn selection() {
        let platform = |text: &str, os: &str, variant: &str| {
            entry(&format!(r#","platform":{{"architecture":"{text}","os":"{os}"{variant}}}"#))
                .replace(":3", &format!(":{}", text.len()))
        };
        let text = format!(
            r#"{{"schemaVersion":2,"manifests":[{},{},{},{}]}}"#,
            platform("unknown", "unknown", ""),
            platform("arm", "linux", r#","variant":"v6""#),
            platform("arm64", "linux", ""),
            platform("s390x", "windows", ""),
        );
        let ManifestKind::Index(index) = parse_manifest(text.as_bytes(), None).unwrap() else { panic!() };
        let pick = |text: &str| {
            index.select(&text.parse().unwrap()).map(|entry| entry.platform.clone().unwrap().architecture)
        };
        assert_eq!(pick("linux/arm64/v8").as_deref(), Some("arm64"));
        assert_eq!(pick("linux/arm/v7").as_deref(), Some("arm"));
        assert_eq!(pick("linux/amd64"), None);
        assert_eq!(pick("linux/s390x"), None);
        let single = Index::new(vec![Descriptor::new(media_type::OCI_MANIFEST, D.parse().unwrap(), 1)]);
        assert!(single.select(&Platform::host()).is_some());
    }

    #[test]
    fn layer_types() {
        use media_type::*;
        assert_eq!(compression(OCI_LAYER), Some(Compression::None));
        assert_eq!(compression(OCI_LAYER_ZSTD), Some(Compression::Zstd));
        assert_eq!(compression(DOCKER_LAYER_GZIP), Some(Compression::Gzip));
        assert_eq!(
            compression("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
            Some(Compression::Gzip)
        );
        assert!(!is_layer(OCI_CONFIG));
        assert!(!is_layer("application/vnd.oci.image.layer.v1.tar+encrypted"));
    }
}
