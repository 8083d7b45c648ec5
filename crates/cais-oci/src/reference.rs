//! Image references: `[registry/]repository[:tag][@digest]`.
//!
//! Grammar of the distribution specification and normalisation of Docker: `busybox` means
//! `docker.io/library/busybox:latest`. A `Reference` is always canonical; it never holds the `index.docker.io`
//! alias, nor a Docker Hub repository without its `library/`. Knows nothing of `registries.conf`: short-name
//! aliases and search registries belong to the registry client.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, DigestError};

const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_TAG: &str = "latest";
const OFFICIAL_PREFIX: &str = "library/";
const NAME_MAX_LEN: usize = 255;
const TAG_MAX_LEN: usize = 128;

/// A canonical image reference; it has a tag, a digest, or both.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    /// Host name with an optional port, `docker.io` for Docker Hub.
    pub registry: String,
    /// Path within the registry, such as `library/busybox`.
    pub repository: String,
    /// The tag; `latest` when neither a tag nor a digest was given.
    pub tag: Option<String>,
    /// The manifest's digest, which wins over the tag.
    pub digest: Option<Digest>,
}

/// Why a text is not a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing was given.
    #[error("image reference is empty")]
    Empty,
    /// A URL was given.
    #[error("image reference {text:?} must not have a scheme: leave {scheme:?} out")]
    Scheme {
        /// What was parsed.
        text: String,
        /// The scheme with its slashes.
        scheme: String,
    },
    /// The repository holds upper-case letters.
    #[error("image reference {text:?}: the repository {repository:?} must be lower case")]
    UpperCase {
        /// What was parsed.
        text: String,
        /// The repository.
        repository: String,
    },
    /// A part of the repository breaks the grammar.
    #[error(
        "image reference {text:?}: {component:?} is no valid part of a repository (lower-case letters and digits, joined by '.', '_', '__' or dashes)"
    )]
    BadComponent {
        /// What was parsed.
        text: String,
        /// The part between two slashes.
        component: String,
    },
    /// The registry is no host name with an optional port.
    #[error("image reference {text:?}: {registry:?} is no valid registry (expected host[:port])")]
    BadRegistry {
        /// What was parsed.
        text: String,
        /// The part before the first slash.
        registry: String,
    },
    /// The tag breaks the grammar.
    #[error(
        "image reference {text:?}: {tag:?} is no valid tag (a letter, digit or '_', then up to 127 letters, digits, '_', '.' or '-')"
    )]
    BadTag {
        /// What was parsed.
        text: String,
        /// The tag.
        tag: String,
    },
    /// The digest is malformed.
    #[error("image reference {text:?} has a malformed digest")]
    BadDigest {
        /// What was parsed.
        text: String,
        /// What is wrong with it.
        source: DigestError,
    },
    /// Registry and repository are longer than the specification allows.
    #[error(
        "image reference {text:?}: registry and repository have {found} characters, at most {NAME_MAX_LEN} are allowed"
    )]
    TooLong {
        /// What was parsed.
        text: String,
        /// Characters found.
        found: usize,
    },
    /// The text is a bare image id, which cannot be looked up in a registry.
    #[error("image reference {text:?} is an image id, not a name")]
    ImageId {
        /// What was parsed.
        text: String,
    },
}

impl Reference {
    /// Parses what a user types, as Docker does.
    ///
    /// The first part is a registry if it holds a dot or a colon, is `localhost`, or has upper-case letters.
    pub fn parse(text: &str) -> Result<Reference, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if let Some((scheme, _)) = text.split_once("://") {
            return Err(ReferenceError::Scheme { text: text.into(), scheme: format!("{scheme}://") });
        }
        if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ReferenceError::ImageId { text: text.into() });
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let digest = digest
                    .parse()
                    .map_err(|source| ReferenceError::BadDigest { text: text.into(), source })?;
                (rest, Some(digest))
            }
            None => (text, None),
        };
        let (registry, path) = split_registry(rest);
        let (repository, tag) = match path.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (path, None),
        };
        if let Some(tag) = tag {
            check_tag(text, tag)?;
        }
        let registry = match registry {
            None | Some("index.docker.io") => DEFAULT_REGISTRY,
            Some(registry) => registry,
        };
        check_registry(text, registry)?;
        check_repository(text, repository)?;
        let official = registry == DEFAULT_REGISTRY && !repository.contains('/');
        let repository =
            if official { format!("{OFFICIAL_PREFIX}{repository}") } else { repository.to_owned() };
        let length = registry.len() + 1 + repository.len();
        if length > NAME_MAX_LEN {
            return Err(ReferenceError::TooLong { text: text.into(), found: length });
        }
        let tag = match (tag, &digest) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, Some(_)) => None,
            (None, None) => Some(DEFAULT_TAG.to_owned()),
        };
        Ok(Reference { registry: registry.to_owned(), repository, tag, digest })
    }

    /// Whether the text names no registry, so that aliases and search registries apply to it.
    pub fn is_short_name(text: &str) -> bool {
        split_registry(text.split_once('@').map_or(text, |(rest, _)| rest)).0.is_none()
    }

    /// `registry/repository`, without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The short form that Docker shows: `busybox:latest`, `quay.io/a/b:1`.
    pub fn familiar(&self) -> String {
        let mut text = self.familiar_name();
        self.push_suffix(&mut text);
        text
    }

    /// The short form without tag and digest: `busybox`, `quay.io/a/b`.
    pub fn familiar_name(&self) -> String {
        if self.registry != DEFAULT_REGISTRY {
            return self.name();
        }
        match self.repository.strip_prefix(OFFICIAL_PREFIX) {
            Some(short) if !short.contains('/') => short.to_owned(),
            // `docker.io/a.b/c` must keep its registry, or `a.b` would be read as one.
            _ if !Reference::is_short_name(&self.repository) => self.name(),
            _ => self.repository.clone(),
        }
    }

    /// The same repository under another tag, without digest.
    pub fn with_tag(&self, tag: &str) -> Result<Reference, ReferenceError> {
        check_tag(&format!("{}:{tag}", self.name()), tag)?;
        Ok(Reference { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// The same repository by digest, without tag.
    pub fn with_digest(&self, digest: Digest) -> Reference {
        Reference { tag: None, digest: Some(digest), ..self.clone() }
    }

    fn push_suffix(&self, text: &mut String) {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(digest.as_str());
        }
    }
}

/// Splits off the registry if the first part of `text` looks like one.
fn split_registry(text: &str) -> (Option<&str>, &str) {
    match text.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (Some(first), rest)
        }
        _ => (None, text),
    }
}

fn check_tag(text: &str, tag: &str) -> Result<(), ReferenceError> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let valid = tag.len() <= TAG_MAX_LEN
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'));
    if valid { Ok(()) } else { Err(ReferenceError::BadTag { text: text.into(), tag: tag.into() }) }
}

fn check_registry(text: &str, registry: &str) -> Result<(), ReferenceError> {
    let bad = || ReferenceError::BadRegistry { text: text.into(), registry: registry.into() };
    let (host, port) = if let Some(rest) = registry.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or_else(bad)?;
        if address.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(bad());
        }
        match port {
            "" => (None, None),
            port => (None, Some(port.strip_prefix(':').ok_or_else(bad)?)),
        }
    } else {
        match registry.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(registry), None),
        }
    };
    if port.is_some_and(|port| !port.bytes().all(|b| b.is_ascii_digit()) || port.parse::<u16>().is_err()) {
        return Err(bad());
    }
    let label_is_valid = |label: &str| {
        label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if host.is_some_and(|host| !host.split('.').all(label_is_valid)) {
        return Err(bad());
    }
    Ok(())
}

fn check_repository(text: &str, repository: &str) -> Result<(), ReferenceError> {
    if repository.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(ReferenceError::UpperCase { text: text.into(), repository: repository.into() });
    }
    match repository.split('/').find(|component| !component_is_valid(component)) {
        Some(component) => {
            Err(ReferenceError::BadComponent { text: text.into(), component: component.into() })
        }
        None => Ok(()),
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn component_is_valid(component: &str) -> bool {
    let word = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    if !word(first) || !word(last) {
        return false;
    }
    bytes
        .split(|b| word(b))
        .filter(|separator| !separator.is_empty())
        .all(|separator| matches!(separator, b"." | b"_" | b"__") || separator.iter().all(|b| *b == b'-'))
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Reference, ReferenceError> {
        Reference::parse(text)
    }
}

impl TryFrom<String> for Reference {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Reference, ReferenceError> {
        Reference::parse(&text)
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> String {
        reference.to_string()
    }
}

impl fmt::Display for Reference {
    /// The full canonical form: `docker.io/library/busybox:latest`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.name();
        self.push_suffix(&mut text);
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn docker_normalisation() {
        for (typed, canonical, familiar) in [
            ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
            ("index.docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("library/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("user/app:v1", "docker.io/user/app:v1", "user/app:v1"),
            ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
            ("localhost:5000/app", "localhost:5000/app:latest", "localhost:5000/app:latest"),
            ("host:5000/x/y:t", "host:5000/x/y:t", "host:5000/x/y:t"),
            ("[::1]:5000/app", "[::1]:5000/app:latest", "[::1]:5000/app:latest"),
            ("quay.io/a/b:1", "quay.io/a/b:1", "quay.io/a/b:1"),
            ("Foo/bar", "Foo/bar:latest", "Foo/bar:latest"),
            ("a.b-c__d---e/f", "a.b-c__d---e/f:latest", ""),
        ] {
            let Ok(reference) = Reference::parse(typed) else {
                assert_eq!(familiar, "", "{typed}");
                continue;
            };
            assert_eq!(reference.to_string(), canonical, "{typed}");
            assert_eq!(reference.familiar(), familiar, "{typed}");
        }
    }

    #[test]
    fn digests() {
        let by_digest = Reference::parse(&format!("busybox@sha256:{HEX}")).unwrap();
        assert_eq!(by_digest.tag, None);
        assert_eq!(by_digest.to_string(), format!("docker.io/library/busybox@sha256:{HEX}"));
        let both = Reference::parse(&format!("h.io/b:t@sha256:{HEX}")).unwrap();
        assert_eq!(both.tag.as_deref(), Some("t"));
        assert_eq!(both.to_string(), format!("h.io/b:t@sha256:{HEX}"));
        assert!(matches!(Reference::parse("b@sha256:12"), Err(ReferenceError::BadDigest { .. })));
        assert_eq!(both.with_tag("u").unwrap().to_string(), "h.io/b:u");
        assert!(both.with_tag("-u").is_err());
    }

    #[test]
    fn one_clear_error_each() {
        use ReferenceError::*;
        assert_eq!(Reference::parse(""), Err(Empty));
        assert!(matches!(Reference::parse("https://a.b/c"), Err(Scheme { .. })));
        assert!(matches!(Reference::parse("Busybox"), Err(UpperCase { .. })));
        assert!(matches!(Reference::parse("a/b_-c"), Err(BadComponent { .. })));
        assert!(matches!(Reference::parse("a/../b"), Err(BadComponent { .. })));
        assert!(matches!(Reference::parse("a___b"), Err(BadComponent { .. })));
        assert!(matches!(Reference::parse("a//b"), Err(BadComponent { .. })));
        assert!(matches!(Reference::parse("/b"), Err(BadComponent { .. })));
        assert!(matches!(Reference::parse("quay.io/"), Err(BadComponent { .. })));
        assert!(matches!(Reference::parse("b "), Err(BadComponent { .. })));
        assert!(matches!(Reference::parse("a..b/c"), Err(BadRegistry { .. })));
        assert!(matches!(Reference::parse("h:99999/c"), Err(BadRegistry { .. })));
        assert!(matches!(Reference::parse("h:/c"), Err(BadRegistry { .. })));
        assert!(matches!(Reference::parse("b:"), Err(BadTag { .. })));
        assert!(matches!(Reference::parse("b:-x"), Err(BadTag { .. })));
        assert!(matches!(Reference::parse(&format!("b:{}", "t".repeat(129))), Err(BadTag { .. })));
        assert!(Reference::parse(&format!("b:{}", "t".repeat(128))).is_ok());
        assert!(matches!(Reference::parse(&"a".repeat(300)), Err(TooLong { .. })));
        assert!(matches!(Reference::parse(HEX), Err(ImageId { .. })));
    }

    #[test]
    fn short_names() {
        assert!(Reference::is_short_name("busybox"));
        assert!(Reference::is_short_name("a/b:1"));
        assert!(Reference::is_short_name(&format!("a@sha256:{HEX}")));
        assert!(!Reference::is_short_name("quay.io/a"));
        assert!(!Reference::is_short_name("localhost/a"));
    }

    proptest! {
        #[test]
        fn round_trip(text in "(([a-z]{1,8}\\.io|localhost|h:[1-9][0-9]{1,3})/)?[a-z0-9]{1,9}([._-][a-z0-9]{1,4}){0,2}(/[a-z0-9]{1,5}){0,3}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,9})?(@sha256:[0-9a-f]{64})?") {
            let Ok(reference) = Reference::parse(&text) else {
                // `a.b/c…` may turn out to be a bad registry name, nothing else may fail.
                return Ok(());
            };
            prop_assert_eq!(&Reference::parse(&reference.to_string()).unwrap(), &reference);
            prop_assert_eq!(&Reference::parse(&reference.familiar()).unwrap(), &reference);
        }

        #[test]
        fn never_panics(text: String) {
            if let Ok(reference) = Reference::parse(&text) {
                prop_assert_eq!(&Reference::parse(&reference.to_string()).unwrap(), &reference);
            }
        }
    }
}
