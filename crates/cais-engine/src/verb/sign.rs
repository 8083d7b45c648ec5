//! `image sign` and `image verify`: signatures by keys, kept beside the image at its registry as cosign does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cais_oci::{Digest, Reference};
use cais_registry::{Claim, Client, PrivateKey, PublicKey, Signature};
use serde_json::Value;

use crate::trust::{bad_key, read_key_file, signatures, verified};
use crate::verb::RegistryAccess;
use crate::verb::pull::first_found;
use crate::{Engine, Error, ErrorKind, Result};

/// What is to be signed, and how.
#[derive(Clone, Debug, Default)]
pub struct SignRequest {
    /// Name of the image at its registry.
    pub image: String,
    /// File with the private key, PEM.
    pub key: PathBuf,
    /// What the signature says beside the digest.
    pub annotations: BTreeMap<String, String>,
    /// How the registry is reached.
    pub access: RegistryAccess,
}

/// An image that has a signature now.
#[derive(Clone, Debug)]
pub struct Signed {
    /// Its name, by digest.
    pub image: String,
    /// The name under which its signatures are kept.
    pub place: String,
    /// It was there before.
    pub was_signed: bool,
}

impl Engine {
    /// Signs what a name means at its registry: the index, if there is one. To sign twice with one key is no error.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a key that cannot be used, [`ErrorKind::NotFound`], [`ErrorKind::Remote`].
    pub fn sign(&self, request: &SignRequest) -> Result<Signed> {
        let name = request.key.display().to_string();
        let key = PrivateKey::from_pem(&read_key_file(&request.key)?).map_err(|error| {
            let hint = "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out KEY makes one";
            bad_key(&name, error).hint(hint)
        })?;
        let (client, image, digest) = self.at_registry(&request.image, &request.access)?;
        let annotations =
            request.annotations.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str())));
        let payload = Claim::new(&image, &digest, annotations.collect()).to_bytes();
        let by_digest = image.with_digest(digest.clone());
        let public = key.public_key();
        let known = client.signatures(&image, &digest)?;
        let is_same =
            |known: &Signature| known.payload == payload && public.verifies(&known.payload, &known.signature);
        let was_signed = known.iter().any(is_same);
        let place = if was_signed {
            image.with_tag(&format!("{}-{}.sig", digest.algorithm(), digest.hex())).map_err(invalid)?
        } else {
            let signature = key.sign(&payload).map_err(|error| bad_key(&name, error))?;
            client.add_signature(&image, &digest, &Signature { payload, signature })?
        };
        Ok(Signed { image: by_digest.familiar(), place: place.familiar(), was_signed })
    }

    /// The payloads of the good signatures by a key (file with a public key, PEM) of what a name means at its registry.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] when there is none; otherwise as [`Engine::sign`].
    pub fn verify(&self, image: &str, key: &Path, access: &RegistryAccess) -> Result<Vec<String>> {
        let name = key.display().to_string();
        let key = PublicKey::from_pem(&read_key_file(key)?).map_err(|error| bad_key(&name, error))?;
        let (client, image, digest) = self.at_registry(image, access)?;
        let known = signatures(&client, &image, std::slice::from_ref(&digest))?;
        let good = known
            .iter()
            .filter(|(digest, signature)| verified(std::slice::from_ref(&key), digest, signature).is_some());
        let payloads: Vec<String> =
            good.map(|(_, signature)| String::from_utf8_lossy(&signature.payload).into_owned()).collect();
        if payloads.is_empty() {
            let image = image.with_digest(digest).familiar();
            let message = match known.is_empty() {
                true => format!("{image} has no signature"),
                false => format!("none of the signatures of {image} is by the key {name}"),
            };
            return Err(Error::new(ErrorKind::Denied, message));
        }
        Ok(payloads)
    }

    /// What a name means at its registry now.
    fn at_registry(&self, name: &str, access: &RegistryAccess) -> Result<(Client, Reference, Digest)> {
        let registry = Reference::parse(name).map(|reference| reference.registry).unwrap_or_default();
        let client = Client::new(&self.settings_for(&registry, access)?)?;
        let (reference, fetched) = first_found(&client, name)?;
        Ok((client, reference, fetched.digest))
    }
}

fn invalid(error: cais_oci::ReferenceError) -> Error {
    Error::new(ErrorKind::Invalid, error.to_string()).source(error)
}
