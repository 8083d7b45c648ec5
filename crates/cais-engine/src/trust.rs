//! Whether an image may be pulled: `policy.json` says what it has to fulfil, this module finds out whether it does.
//!
//! The user's file comes before the machine's; without any, everything may be pulled. An image is taken for signed when
//! the manifest or index that its name means, or the manifest of the platform, has a good signature.

use std::path::{Path, PathBuf};

use cais_oci::{Digest, Reference};
use cais_registry::{Claim, Client, KeySource, Policy, PublicKey, Requirement, Signature};

use crate::error::chain;
use crate::{Engine, Error, ErrorKind, Result};

const MACHINES_FILE: &str = "/etc/containers/policy.json";

impl Engine {
    /// The policy in force; `None` when there is no file.
    pub(crate) fn policy(&self) -> Result<Option<Policy>> {
        let own = self.config.home.as_ref().map(|home| home.join(".config/containers/policy.json"));
        for path in own.into_iter().chain([PathBuf::from(MACHINES_FILE)]) {
            let text = match std::fs::read(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => {
                    let message = format!("cannot read {}", path.display());
                    return Err(Error::caused(ErrorKind::System, message, error));
                }
            };
            let policy = Policy::parse(&path, &text)
                .map_err(|error| Error::new(ErrorKind::Invalid, chain(&error)).source(error))?;
            return Ok(Some(policy));
        }
        Ok(None)
    }

    /// Whether an image may be pulled, as far as its name decides that.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] when it may not.
    pub(crate) fn check_name(&self, policy: Option<&Policy>, image: &Reference) -> Result<()> {
        let Some(policy) = policy else { return Ok(()) };
        let (scope, requirements) = policy.requirements(image);
        for requirement in requirements {
            match requirement {
                Requirement::AcceptAnything | Requirement::Signed { .. } => {}
                Requirement::Reject => return Err(refused(image, &scope, "it is rejected")),
                Requirement::Unsupported { kind, reason } => {
                    return Err(refused(image, &scope, &format!("it has to be {kind}: {reason}")));
                }
            }
        }
        Ok(())
    }

    /// Whether the image with one of these digests has the signatures that it needs.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] when it has not; when the registry does not answer or a key cannot be read.
    pub(crate) fn check_signatures(
        &self,
        policy: Option<&Policy>,
        client: &Client,
        image: &Reference,
        digests: &[Digest],
    ) -> Result<()> {
        let Some(policy) = policy else { return Ok(()) };
        let (scope, requirements) = policy.requirements(image);
        let mut known: Option<Vec<(Digest, Signature)>> = None;
        for requirement in requirements {
            let Requirement::Signed { keys, identity } = requirement else { continue };
            let keys = keys.iter().map(read_key).collect::<Result<Vec<_>>>()?;
            if known.is_none() {
                known = Some(signatures(client, image, digests)?);
            }
            let known = known.as_deref().unwrap_or_default();
            let by_key = |(digest, signature): &&(Digest, Signature)| {
                let claim = verified(&keys, digest, signature)?;
                Some(claim.identity().to_owned())
            };
            let names: Vec<String> = known.iter().filter_map(|entry| by_key(&entry)).collect();
            if names.iter().any(|name| identity.matches(image, name)) {
                continue;
            }
            let reason = match (known.is_empty(), names.first()) {
                (true, _) => "it has no signature".to_owned(),
                (false, None) => "none of its signatures is by a key that is trusted".to_owned(),
                (false, Some(name)) => format!("it is signed as {name}, not as {}", image.familiar()),
            };
            return Err(refused(image, &scope, &reason));
        }
        Ok(())
    }
}

/// The claim of a signature, if one of the keys made it and it is about this digest.
pub(crate) fn verified(keys: &[PublicKey], digest: &Digest, signature: &Signature) -> Option<Claim> {
    if !keys.iter().any(|key| key.verifies(&signature.payload, &signature.signature)) {
        return None;
    }
    Claim::parse(&signature.payload).filter(|claim| claim.digest() == digest)
}

/// The signatures of each of the digests.
pub(crate) fn signatures(
    client: &Client,
    image: &Reference,
    digests: &[Digest],
) -> Result<Vec<(Digest, Signature)>> {
    let mut found = Vec::new();
    for (at, digest) in digests.iter().enumerate() {
        if !digests[..at].contains(digest) {
            let of_digest = client.signatures(image, digest)?;
            found.extend(of_digest.into_iter().map(|signature| (digest.clone(), signature)));
        }
    }
    Ok(found)
}

/// The content of a key's file.
pub(crate) fn read_key_file(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| {
        Error::caused(ErrorKind::Invalid, format!("cannot read the key {}", path.display()), error)
    })
}

/// A key that cannot be used.
pub(crate) fn bad_key(name: &str, error: cais_registry::KeyError) -> Error {
    let message = format!("cannot use the key {name}: {error}");
    Error::new(ErrorKind::Invalid, message).source(error)
}

fn read_key(source: &KeySource) -> Result<PublicKey> {
    let (pem, name) = match source {
        KeySource::File(path) => (read_key_file(path)?, path.display().to_string()),
        KeySource::Pem(pem) => (pem.clone(), "in policy.json".to_owned()),
    };
    PublicKey::from_pem(&pem).map_err(|error| bad_key(&name, error))
}

fn refused(image: &Reference, scope: &str, reason: &str) -> Error {
    let message = format!("{} is refused by policy.json ({scope}): {reason}", image.familiar());
    Error::new(ErrorKind::Denied, message)
}
