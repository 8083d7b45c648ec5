//! Keys that images are signed with: ECDSA on P-256 with SHA-256, as cosign makes them (FIPS 186-5; RFC 5480, 5958).
//!
//! Public keys are PEM `PUBLIC KEY`, private ones PEM `PRIVATE KEY` (PKCS #8 without a password). cosign's own encrypted
//! private keys are recognised and refused. Nothing shows a private key.

use std::fmt;

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};

/// What stands before the point in the SubjectPublicKeyInfo of every key on P-256.
const SPKI_P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// Length of an uncompressed point.
const POINT_BYTES: usize = 65;

/// Why a key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No PEM, or another kind of PEM.
    #[error("it holds no {0} in PEM form")]
    Pem(&'static str),
    /// A key of another kind.
    #[error("it is no ECDSA key on the curve P-256")]
    Kind,
    /// A private key under a password.
    #[error("it is encrypted; a key without a password is needed (PEM \"PRIVATE KEY\", PKCS #8)")]
    Encrypted,
    /// The machine has no random numbers.
    #[error("it cannot be used without random numbers")]
    Random,
}

/// A key to verify with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(Vec<u8>);

impl PublicKey {
    /// Reads a PEM `PUBLIC KEY`.
    ///
    /// # Errors
    /// When there is none, or it is not on P-256.
    pub fn from_pem(pem: &[u8]) -> Result<PublicKey, KeyError> {
        let info =
            SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| KeyError::Pem("\"PUBLIC KEY\""))?;
        let point = info.as_ref().strip_prefix(SPKI_P256.as_slice()).ok_or(KeyError::Kind)?;
        if point.len() == POINT_BYTES { Ok(PublicKey(point.to_vec())) } else { Err(KeyError::Kind) }
    }

    /// Whether this is a signature (ASN.1) over the message by the owner of the key.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.0).verify(message, signature).is_ok()
    }
}

/// A key to sign with.
pub struct PrivateKey {
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(…)")
    }
}

impl PrivateKey {
    /// Reads a PEM `PRIVATE KEY`.
    ///
    /// # Errors
    /// When there is none, it has a password, or is not on P-256.
    pub fn from_pem(pem: &[u8]) -> Result<PrivateKey, KeyError> {
        let is_encrypted = String::from_utf8_lossy(pem).lines().any(|line| {
            line.starts_with("-----BEGIN ENCRYPTED ") || line.starts_with("Proc-Type: 4,ENCRYPTED")
        });
        if is_encrypted {
            return Err(KeyError::Encrypted);
        }
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| KeyError::Pem("\"PRIVATE KEY\""))?;
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der.secret_pkcs8_der(), &random)
            .map_err(|_| KeyError::Kind)?;
        Ok(PrivateKey { pair, random })
    }

    /// Signs a message; ASN.1.
    ///
    /// # Errors
    /// [`KeyError::Random`].
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let signature = self.pair.sign(&self.random, message).map_err(|_| KeyError::Random)?;
        Ok(signature.as_ref().to_vec())
    }

    /// The key that verifies what this one signs.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.pair.public_key().as_ref().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(kind: &str, der: &[u8]) -> String {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN {kind}-----\n{text}\n-----END {kind}-----\n")
    }

    /// A new private key and its public one.
    fn pair() -> (String, String) {
        let private =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new()).unwrap();
        let private = pem("PRIVATE KEY", private.as_ref());
        let point = PrivateKey::from_pem(private.as_bytes()).unwrap().public_key().0;
        let public = pem("PUBLIC KEY", &[SPKI_P256.as_slice(), &point].concat());
        (private, public)
    }

    #[test]
    fn what_is_signed_is_verified() {
        let (private, public) = pair();
        let private = PrivateKey::from_pem(private.as_bytes()).unwrap();
        let public = PublicKey::from_pem(public.as_bytes()).unwrap();
        assert_eq!(private.public_key(), public);
        let signature = private.sign(b"message").unwrap();
        assert!(public.verifies(b"message", &signature));
        assert!(!public.verifies(b"massage", &signature));
        assert!(!public.verifies(b"message", &signature[1..]));
        assert!(!public.verifies(b"message", b""));
        let other = PublicKey::from_pem(pair().1.as_bytes()).unwrap();
        assert!(!other.verifies(b"message", &signature));
    }

    #[test]
    fn other_keys_are_named() {
        let (private, public) = pair();
        let kind = |pem: &str| PrivateKey::from_pem(pem.as_bytes()).unwrap_err();
        assert_eq!(kind(&public), KeyError::Pem("\"PRIVATE KEY\""));
        assert_eq!(kind(""), KeyError::Pem("\"PRIVATE KEY\""));
        let encrypted = "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n";
        assert_eq!(kind(encrypted), KeyError::Encrypted);
        assert_eq!(kind("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), KeyError::Kind);
        assert_eq!(PublicKey::from_pem(private.as_bytes()), Err(KeyError::Pem("\"PUBLIC KEY\"")));
        assert_eq!(
            PublicKey::from_pem(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"),
            Err(KeyError::Kind)
        );
    }
}
