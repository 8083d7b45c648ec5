//! Content digests: `algorithm:hex`, as in the OCI image specification, "Digests".
//!
//! A `Digest` is always well formed: a known algorithm, lower-case hex of exactly its length. So its text is
//! safe as a file name once the colon is dealt with. Only sha256 can be computed here; sha512 is parsed
//! because registries may name content by it, see [`Digest::is_store_key`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256, Sha512};

const SHA256_PREFIX: &str = "sha256:";
const SHA256_HEX_LEN: usize = 64;
const SHA512_PREFIX: &str = "sha512:";
const SHA512_HEX_LEN: usize = 128;

/// The digest of some content, for instance `sha256:e3b0c442…`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest {
    text: String,
}

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// There is no `algorithm:` before the hex.
    #[error("digest {text:?} has no algorithm (expected sha256:<64 hex digits>)")]
    NoAlgorithm {
        /// What was parsed.
        text: String,
    },
    /// The algorithm is neither sha256 nor sha512.
    #[error("digest {text:?} uses the unknown algorithm {algorithm:?} (known: sha256, sha512)")]
    UnknownAlgorithm {
        /// What was parsed.
        text: String,
        /// The word before the colon.
        algorithm: String,
    },
    /// The hex part has the wrong length.
    #[error("digest {text:?} has {found} hex digits, expected {expected}")]
    WrongLength {
        /// What was parsed.
        text: String,
        /// Digits that the algorithm needs.
        expected: usize,
        /// Digits that were given.
        found: usize,
    },
    /// The hex part holds something other than 0-9 and a-f.
    #[error("digest {text:?} holds something other than lower-case hex digits")]
    NotHex {
        /// What was parsed.
        text: String,
    },
}

impl Digest {
    /// Computes the sha256 digest of `bytes`.
    pub fn sha256(bytes: &[u8]) -> Digest {
        let mut hasher = Hasher::new();
        hasher.update(bytes);
        hasher.finish()
    }

    /// The algorithm: `sha256` or `sha512`.
    pub fn algorithm(&self) -> &str {
        if self.text.starts_with(SHA512_PREFIX) { "sha512" } else { "sha256" }
    }

    /// The hex digits after the colon.
    pub fn hex(&self) -> &str {
        // Both prefixes have the same length.
        &self.text[SHA256_PREFIX.len()..]
    }

    /// The first twelve hex digits, as lists show them.
    pub fn short(&self) -> &str {
        &self.hex()[..12]
    }

    /// The whole text, `algorithm:hex`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the store may keep content under this digest: only sha256, so that one content has one key.
    pub fn is_store_key(&self) -> bool {
        self.text.starts_with(SHA256_PREFIX)
    }

    /// A hasher of this digest's own algorithm, to verify content against it.
    pub fn hasher(&self) -> Hasher {
        if self.is_store_key() { Hasher::new() } else { Hasher { state: State::Sha512(Sha512::new()) } }
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Digest, DigestError> {
        let Some((algorithm, hex)) = text.split_once(':') else {
            return Err(DigestError::NoAlgorithm { text: text.into() });
        };
        let expected = match algorithm {
            "sha256" => SHA256_HEX_LEN,
            "sha512" => SHA512_HEX_LEN,
            _ => {
                return Err(DigestError::UnknownAlgorithm { text: text.into(), algorithm: algorithm.into() });
            }
        };
        if !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(DigestError::NotHex { text: text.into() });
        }
        if hex.len() != expected {
            return Err(DigestError::WrongLength { text: text.into(), expected, found: hex.len() });
        }
        Ok(Digest { text: text.into() })
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Digest, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.text
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Computes a digest piece by piece.
#[derive(Clone, Debug)]
pub struct Hasher {
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    /// A sha256 hasher that has seen nothing yet.
    pub fn new() -> Hasher {
        Hasher { state: State::Sha256(Sha256::new()) }
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Sha256(hasher) => hasher.update(bytes),
            State::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// The digest of all bytes so far.
    pub fn finish(self) -> Digest {
        let (prefix, hash) = match self.state {
            State::Sha256(hasher) => (SHA256_PREFIX, hasher.finalize().to_vec()),
            State::Sha512(hasher) => (SHA512_PREFIX, hasher.finalize().to_vec()),
        };
        let mut text = String::with_capacity(prefix.len() + 2 * hash.len());
        text.push_str(prefix);
        for byte in hash {
            text.push(char::from(b"0123456789abcdef"[usize::from(byte >> 4)]));
            text.push(char::from(b"0123456789abcdef"[usize::from(byte & 15)]));
        }
        Digest { text }
    }
}

impl Default for Hasher {
    fn default() -> Hasher {
        Hasher::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn known_values() {
        let empty = Digest::sha256(b"");
        assert_eq!(empty.to_string(), EMPTY);
        assert_eq!(empty.algorithm(), "sha256");
        assert_eq!(empty.short(), "e3b0c44298fc");
        assert_eq!(empty.hex().len(), 64);
        assert!(empty.is_store_key());
        let mut hasher = Hasher::new();
        hasher.update(b"hel");
        hasher.update(b"lo");
        assert_eq!(hasher.finish(), Digest::sha256(b"hello"));
    }

    #[test]
    fn sha512_is_parsed_and_verified_but_no_store_key() {
        let text = format!(
            "sha512:{}",
            "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"
        );
        let digest: Digest = text.parse().unwrap();
        assert_eq!(digest.algorithm(), "sha512");
        assert!(!digest.is_store_key());
        assert_eq!(digest.hasher().finish(), digest);
    }

    #[test]
    fn malformed_texts_are_refused() {
        let parse = |text: &str| text.parse::<Digest>();
        assert!(matches!(parse("e3b0"), Err(DigestError::NoAlgorithm { .. })));
        assert!(matches!(parse("md5:e3b0"), Err(DigestError::UnknownAlgorithm { .. })));
        assert!(matches!(parse("sha256:e3b0"), Err(DigestError::WrongLength { .. })));
        assert!(matches!(
            parse(&EMPTY.to_uppercase().replace("SHA", "sha")),
            Err(DigestError::NotHex { .. })
        ));
        assert!(matches!(parse("sha256:../../etc/passwd"), Err(DigestError::NotHex { .. })));
        assert!(parse(&format!("{EMPTY} ")).is_err());
    }

    #[test]
    fn serde_is_the_plain_text() {
        let digest: Digest = serde_json::from_str(&format!("\"{EMPTY}\"")).unwrap();
        assert_eq!(serde_json::to_string(&digest).unwrap(), format!("\"{EMPTY}\""));
        assert!(serde_json::from_str::<Digest>("\"sha256:00\"").is_err());
    }

    proptest! {
        #[test]
        fn round_trip(bytes: Vec<u8>) {
            let digest = Digest::sha256(&bytes);
            prop_assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        }

        #[test]
        fn never_panics(text: String) {
            if let Ok(digest) = text.parse::<Digest>() {
                prop_assert_eq!(digest.as_str(), text);
            }
        }
    }
}
