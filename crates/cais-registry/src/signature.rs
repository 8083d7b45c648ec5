//! Signatures of images as cosign keeps them: beside the image, under the tag `sha256-HEX.sig` of its repository.
//!
//! What is signed is a small document that names the image by digest (cosign's "simple signing" specification): a layer of
//! a manifest whose annotation is the signature in base64. Who may have signed what is for `policy` to say.

use std::collections::BTreeMap;
use std::io::Read;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cais_oci::{Descriptor, Digest, Manifest, ManifestKind, Reference, media_type};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::client::Client;
use crate::error::{Error, Failure};

const PAYLOAD_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const SIGNATURE_KEY: &str = "dev.cosignproject.cosign/signature";
const CLAIM_TYPE: &str = "cosign container image signature";
const PAYLOAD_MAX_BYTES: u64 = 1 << 20;
/// More signatures of one image than anybody needs; the rest is not looked at.
const SIGNATURES_MAX: usize = 100;

/// What a signature says: this digest is that image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    critical: Critical,
    /// Annotations, and who made it when.
    #[serde(default)]
    pub optional: Option<BTreeMap<String, Value>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Critical {
    identity: Identity,
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Identity {
    docker_reference: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Image {
    docker_manifest_digest: Digest,
}

impl Claim {
    /// That `digest` is what `reference` names: with its tag, or the repository when it has none.
    pub fn new(reference: &Reference, digest: &Digest, annotations: BTreeMap<String, Value>) -> Claim {
        let tag = reference.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
        Claim {
            critical: Critical {
                identity: Identity { docker_reference: format!("{}{tag}", reference.name()) },
                image: Image { docker_manifest_digest: digest.clone() },
                kind: CLAIM_TYPE.to_owned(),
            },
            optional: Some(annotations).filter(|annotations| !annotations.is_empty()),
        }
    }

    /// Reads a payload; `None` when it is no claim about an image.
    pub fn parse(payload: &[u8]) -> Option<Claim> {
        let claim: Claim = serde_json::from_slice(payload).ok()?;
        (claim.critical.kind == CLAIM_TYPE).then_some(claim)
    }

    /// The payload that is signed.
    pub fn to_bytes(&self) -> Vec<u8> {
        // A structure of texts can always be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The name that it claims.
    pub fn identity(&self) -> &str {
        &self.critical.identity.docker_reference
    }

    /// The manifest or index that it is about.
    pub fn digest(&self) -> &Digest {
        &self.critical.image.docker_manifest_digest
    }
}

/// A signature as it was found; nothing about it is verified but its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// What is signed.
    pub payload: Vec<u8>,
    /// ASN.1.
    pub signature: Vec<u8>,
}

impl Client {
    /// The signatures that a registry has of a manifest or index of an image's repository.
    ///
    /// # Errors
    /// [`Error::Fetch`] and its kin; to have none is no error.
    pub fn signatures(&self, image: &Reference, digest: &Digest) -> Result<Vec<Signature>, Error> {
        let place = place(image, digest)?;
        let Some(manifest) = self.signature_manifest(&place)? else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for layer in manifest.layers.iter().take(SIGNATURES_MAX) {
            let Some(signature) = layer.annotations.get(SIGNATURE_KEY) else { continue };
            let Ok(signature) = STANDARD.decode(signature.trim()) else { continue };
            if layer.media_type != PAYLOAD_TYPE || layer.size > PAYLOAD_MAX_BYTES {
                continue;
            }
            let mut payload = Vec::new();
            let mut reader = self.blob(&place, layer)?;
            reader.read_to_end(&mut payload).map_err(|error| unread(&place, error))?;
            found.push(Signature { payload, signature });
        }
        Ok(found)
    }

    /// Adds a signature to those that the registry has of a manifest or index; gives the name that it has now.
    ///
    /// # Errors
    /// [`Error::Push`], [`Error::Fetch`] and its kin.
    pub fn add_signature(
        &self,
        image: &Reference,
        digest: &Digest,
        signature: &Signature,
    ) -> Result<Reference, Error> {
        let place = place(image, digest)?;
        let mut layers = self.signature_manifest(&place)?.map(|manifest| manifest.layers).unwrap_or_default();
        let mut layer = describe(PAYLOAD_TYPE, &signature.payload);
        layer.annotations.insert(SIGNATURE_KEY.to_owned(), STANDARD.encode(&signature.signature));
        layers.push(layer.clone());
        let config = config_of(&layers);
        let config_descriptor = describe(media_type::OCI_CONFIG, &config);
        let destination = self.destination(&place, &[])?;
        for (descriptor, bytes) in [(&layer, &signature.payload), (&config_descriptor, &config)] {
            let bytes = bytes.clone();
            let open = move |from: u64| -> std::io::Result<Box<dyn Read>> {
                let rest = bytes.get(usize::try_from(from).unwrap_or(usize::MAX)..).unwrap_or_default();
                Ok(Box::new(std::io::Cursor::new(rest.to_vec())))
            };
            destination.put_blob(descriptor, &[], &open, &|_| {})?;
        }
        // A structure of texts can always be written.
        let manifest = serde_json::to_vec(&Manifest::new(config_descriptor, layers)).unwrap_or_default();
        destination.put_manifest(place.tag.as_deref(), &manifest, media_type::OCI_MANIFEST)?;
        Ok(place)
    }

    fn signature_manifest(&self, place: &Reference) -> Result<Option<Manifest>, Error> {
        match self.manifest(place, None) {
            Ok(fetched) => Ok(match fetched.kind {
                ManifestKind::Manifest(manifest) => Some(manifest),
                ManifestKind::Index(_) => None,
            }),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Where cosign keeps the signatures of a digest.
fn place(image: &Reference, digest: &Digest) -> Result<Reference, Error> {
    Ok(image.with_tag(&format!("{}-{}.sig", digest.algorithm(), digest.hex()))?)
}

/// The registry's error behind one of its readers.
fn unread(place: &Reference, error: std::io::Error) -> Error {
    error.downcast::<Error>().unwrap_or_else(|source| Error::Fetch {
        object: place.to_string(),
        source: Box::new(Failure::Cut { host: place.registry.clone(), source }),
    })
}

fn describe(media_type: &str, bytes: &[u8]) -> Descriptor {
    Descriptor::new(media_type, Digest::sha256(bytes), bytes.len() as u64)
}

/// What cosign puts where an image has its config.
fn config_of(layers: &[Descriptor]) -> Vec<u8> {
    let never = "0001-01-01T00:00:00Z";
    let diff_ids: Vec<&Digest> = layers.iter().map(|layer| &layer.digest).collect();
    let config = json!({
        "architecture": "", "created": never, "history": [{"created": never}], "os": "",
        "rootfs": {"type": "layers", "diff_ids": diff_ids}, "config": {},
    });
    config.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_have_cosigns_form() {
        let digest = Digest::sha256(b"manifest");
        let image = Reference::parse("registry.test/team/app:1").unwrap();
        let claim = Claim::new(&image, &digest, BTreeMap::new());
        let text = String::from_utf8(claim.to_bytes()).unwrap();
        assert_eq!(
            text,
            format!(
                r#"{{"critical":{{"identity":{{"docker-reference":"registry.test/team/app:1"}},"image":{{"docker-manifest-digest":"{digest}"}},"type":"cosign container image signature"}},"optional":null}}"#
            )
        );
        assert_eq!(Claim::parse(text.as_bytes()), Some(claim));
        let by_digest = Claim::new(&image.with_digest(digest.clone()), &digest, BTreeMap::new());
        assert_eq!(by_digest.identity(), "registry.test/team/app");
        let place = place(&image, &digest).unwrap();
        assert_eq!(place.to_string(), format!("registry.test/team/app:sha256-{}.sig", digest.hex()));
    }

    #[test]
    fn other_documents_are_no_claims() {
        let digest = Digest::sha256(b"manifest");
        let critical = |kind: &str, more: &str| {
            format!(
                r#"{{"critical":{{"identity":{{"docker-reference":"a.test/b"}},"image":{{"docker-manifest-digest":"{digest}"}},"type":"{kind}"{more}}},"optional":{{"x":1}}}}"#
            )
        };
        assert!(Claim::parse(critical(CLAIM_TYPE, "").as_bytes()).is_some());
        assert!(Claim::parse(critical("atomic container signature", "").as_bytes()).is_none());
        assert!(Claim::parse(critical(CLAIM_TYPE, r#","unless":"moon""#).as_bytes()).is_none());
        assert!(Claim::parse(b"{}").is_none());
    }
}
