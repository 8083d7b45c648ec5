//! `policy.json`: which images are trusted (containers-policy.json(5)). Pure: reads no file and asks no registry.
//!
//! The scopes of the transport `docker` are understood; of the requirements `insecureAcceptAnything`, `reject`, and
//! `sigstoreSigned` with keys. What cannot be checked here is kept as such and refused when an image needs it, never
//! taken for fulfilled. A file that is not understood in every part is no policy at all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cais_oci::Reference;
use serde::Deserialize;

/// Why a `policy.json` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It is malformed.
    #[error("cannot parse {}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// It says something that makes no sense.
    #[error("{}: {reason}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// Which images are trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    default: Vec<Requirement>,
    /// By scope; the empty one is for all of the transport.
    docker: BTreeMap<String, Vec<Requirement>>,
}

/// One of the requirements that an image has to fulfil, all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requirement {
    /// Fulfilled.
    AcceptAnything,
    /// Never fulfilled.
    Reject,
    /// A signature by one of the keys, for a name that matches.
    Signed {
        /// The keys, any of which will do.
        keys: Vec<KeySource>,
        /// Which names match.
        identity: Identity,
    },
    /// Something that cannot be checked here.
    Unsupported {
        /// What stands in the file.
        kind: String,
        /// Why not.
        reason: &'static str,
    },
}

/// Where a public key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// In a file.
    File(PathBuf),
    /// Here, PEM.
    Pem(Vec<u8>),
}

/// Which name in a signature is good for an image (`signedIdentity`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Identity {
    /// The same name and tag.
    MatchExact,
    /// The same, or for an image by digest the same repository.
    MatchRepoDigestOrExact,
    /// The same repository.
    MatchRepository,
    /// This name and tag.
    ExactReference {
        /// The name.
        docker_reference: String,
    },
    /// This repository.
    ExactRepository {
        /// The repository.
        docker_repository: String,
    },
    /// As `MatchRepoDigestOrExact`, after the beginning of the image's name has been replaced.
    RemapIdentity {
        /// What is replaced.
        prefix: String,
        /// By what.
        signed_prefix: String,
    },
}

impl Identity {
    /// Whether a signature for the name `signed` is good for `image`.
    pub fn matches(&self, image: &Reference, signed: &str) -> bool {
        let Ok(parsed) = Reference::parse(signed) else { return false };
        // Without this a name alone would mean the tag `latest`.
        let is_bare = !signed.rsplit('/').next().unwrap_or_default().contains([':', '@']);
        let same_name = parsed.name() == image.name();
        let exact = |other: &Reference| {
            !is_bare
                && parsed.name() == other.name()
                && parsed.tag == other.tag
                && parsed.digest == other.digest
        };
        match self {
            Identity::MatchExact => exact(image),
            Identity::MatchRepoDigestOrExact if image.tag.is_none() => !is_bare && same_name,
            Identity::MatchRepoDigestOrExact => exact(image),
            Identity::MatchRepository => same_name,
            Identity::ExactReference { docker_reference } => {
                Reference::parse(docker_reference).is_ok_and(|wanted| exact(&wanted))
            }
            Identity::ExactRepository { docker_repository } => {
                Reference::parse(docker_repository).is_ok_and(|wanted| wanted.name() == parsed.name())
            }
            Identity::RemapIdentity { prefix, signed_prefix } => {
                let name = image.to_string();
                let rest = name
                    .strip_prefix(prefix.as_str())
                    .filter(|rest| rest.is_empty() || rest.starts_with(['/', ':', '@']));
                let remapped = rest.map_or(name.clone(), |rest| format!("{signed_prefix}{rest}"));
                Reference::parse(&remapped)
                    .is_ok_and(|image| Identity::MatchRepoDigestOrExact.matches(&image, signed))
            }
        }
    }
}

impl Policy {
    /// Reads the text of the file at `path`, which is for messages only.
    ///
    /// # Errors
    /// For anything that is not understood.
    pub fn parse(path: &Path, text: &[u8]) -> Result<Policy, PolicyError> {
        let file: File = serde_json::from_slice(text)
            .map_err(|source| PolicyError::Parse { path: path.to_owned(), source })?;
        let read = |scope: &str, list: Vec<FileRequirement>| {
            let bad = |reason: String| PolicyError::Value { path: path.to_owned(), reason };
            if list.is_empty() {
                return Err(bad(format!("the list of requirements for {scope} is empty")));
            }
            list.into_iter()
                .map(|requirement| requirement.read().map_err(|reason| bad(format!("{scope}: {reason}"))))
                .collect::<Result<Vec<_>, _>>()
        };
        let mut docker = BTreeMap::new();
        for (scope, list) in
            file.transports.into_iter().filter(|(name, _)| name == "docker").flat_map(|(_, scopes)| scopes)
        {
            let requirements = read(&format!("{scope:?}"), list)?;
            docker.insert(scope, requirements);
        }
        Ok(Policy { default: read("\"default\"", file.default)?, docker })
    }

    /// What an image has to fulfil, with the scope that says so.
    pub fn requirements(&self, image: &Reference) -> (String, &[Requirement]) {
        for scope in scopes(image) {
            if let Some(requirements) = self.docker.get(&scope) {
                return (format!("docker {scope:?}"), requirements);
            }
        }
        ("default".to_owned(), &self.default)
    }
}

/// The scopes that an image is in, the narrowest first.
fn scopes(image: &Reference) -> Vec<String> {
    let mut scopes = vec![image.to_string()];
    let mut name = image.name();
    loop {
        scopes.push(name.clone());
        match name.rfind('/') {
            Some(at) => name.truncate(at),
            None => break,
        }
    }
    let host = image.registry.split(':').next().unwrap_or_default();
    let dots = host.match_indices('.').map(|(at, _)| format!("*{}", &host[at..]));
    scopes.extend(dots);
    scopes.push(String::new());
    scopes
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    default: Vec<FileRequirement>,
    #[serde(default)]
    transports: BTreeMap<String, BTreeMap<String, Vec<FileRequirement>>>,
}

/// A requirement, whatever its type; which fields there may be is looked at by [`FileRequirement::read`].
#[derive(Deserialize)]
struct FileRequirement {
    #[serde(rename = "type")]
    kind: String,
    #[serde(flatten)]
    fields: BTreeMap<String, serde_json::Value>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Sigstore {
    key_path: Option<PathBuf>,
    key_paths: Option<Vec<PathBuf>>,
    key_data: Option<String>,
    key_datas: Option<Vec<String>>,
    fulcio: Option<serde_json::Value>,
    pki: Option<serde_json::Value>,
    rekor_public_key_path: Option<serde_json::Value>,
    rekor_public_key_paths: Option<serde_json::Value>,
    rekor_public_key_data: Option<serde_json::Value>,
    rekor_public_key_datas: Option<serde_json::Value>,
    signed_identity: Option<Identity>,
}

impl FileRequirement {
    fn read(self) -> Result<Requirement, String> {
        let kind = self.kind.as_str();
        let plain = |requirement| match self.fields.keys().next() {
            Some(field) => Err(format!("{kind} has no field {field:?}")),
            None => Ok(requirement),
        };
        match kind {
            "insecureAcceptAnything" => plain(Requirement::AcceptAnything),
            "reject" => plain(Requirement::Reject),
            "signedBy" => Ok(unsupported(kind, "signatures by GnuPG cannot be verified; use sigstoreSigned")),
            "signedBaseLayer" => Ok(unsupported(kind, "signatures of base layers cannot be verified")),
            "sigstoreSigned" => {
                let fields = self.fields.into_iter().collect();
                let sigstore: Sigstore = serde_json::from_value(serde_json::Value::Object(fields))
                    .map_err(|error| format!("sigstoreSigned: {error}"))?;
                sigstore.read()
            }
            other => Err(format!("unknown type of requirement {other:?}")),
        }
    }
}

impl Sigstore {
    fn read(self) -> Result<Requirement, String> {
        if self.fulcio.is_some() || self.pki.is_some() {
            let kind =
                if self.pki.is_some() { "sigstoreSigned with pki" } else { "sigstoreSigned with fulcio" };
            return Ok(unsupported(kind, "only signatures by keys can be verified"));
        }
        let has_rekor = [
            &self.rekor_public_key_path,
            &self.rekor_public_key_paths,
            &self.rekor_public_key_data,
            &self.rekor_public_key_datas,
        ];
        if has_rekor.iter().any(|field| field.is_some()) {
            return Ok(unsupported(
                "sigstoreSigned with rekor",
                "entries of transparency logs cannot be verified",
            ));
        }
        let mut keys: Vec<KeySource> = Vec::new();
        keys.extend(self.key_path.into_iter().map(KeySource::File));
        keys.extend(self.key_paths.into_iter().flatten().map(KeySource::File));
        for data in self.key_data.into_iter().chain(self.key_datas.into_iter().flatten()) {
            let pem = STANDARD.decode(data.trim()).map_err(|_| "sigstoreSigned: keyData is not base64")?;
            keys.push(KeySource::Pem(pem));
        }
        if keys.is_empty() {
            return Err("sigstoreSigned names no key (keyPath, keyPaths, keyData or keyDatas)".to_owned());
        }
        let identity = self.signed_identity.unwrap_or(Identity::MatchRepoDigestOrExact);
        Ok(Requirement::Signed { keys, identity })
    }
}

fn unsupported(kind: &str, reason: &'static str) -> Requirement {
    Requirement::Unsupported { kind: kind.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> Result<Policy, PolicyError> {
        Policy::parse(Path::new("/policy.json"), text.as_bytes())
    }

    fn image(text: &str) -> Reference {
        Reference::parse(text).unwrap()
    }

    #[test]
    fn the_narrowest_scope_decides() {
        let accept = r#"[{"type":"insecureAcceptAnything"}]"#;
        let scopes =
            ["a.test/x/y:1", "a.test/x/y", "a.test/x", "a.test:5000", "*.b.test", "docker.io/library", ""];
        let entries: Vec<String> = scopes.iter().map(|scope| format!("{scope:?}:{accept}")).collect();
        let text = format!(
            r#"{{"default":[{{"type":"reject"}}],"transports":{{"docker-daemon":{{"":{accept}}},"docker":{{{}}}}}}}"#,
            entries.join(",")
        );
        let policy = policy(&text).unwrap();
        for (name, scope) in [
            ("a.test/x/y:1", "a.test/x/y:1"),
            ("a.test/x/y:2", "a.test/x/y"),
            ("a.test/x/z", "a.test/x"),
            ("a.test/xx", ""),
            ("a.test:5000/q", "a.test:5000"),
            ("c.b.test:1/q", "*.b.test"),
            ("b.test/q", ""),
            ("busybox", "docker.io/library"),
        ] {
            assert_eq!(policy.requirements(&image(name)).0, format!("docker {scope:?}"), "{name}");
        }
        let bare = self::policy(r#"{"default":[{"type":"reject"}]}"#).unwrap();
        assert_eq!(bare.requirements(&image("x")), ("default".to_owned(), [Requirement::Reject].as_slice()));
    }

    #[test]
    fn what_is_not_understood_is_no_policy() {
        for text in [
            "",
            "{}",
            r#"{"default":[]}"#,
            r#"{"default":[{"type":"trustMe"}]}"#,
            r#"{"default":[{"type":"reject","unless":"x"}]}"#,
            r#"{"default":[{"type":"reject"}],"more":1}"#,
            r#"{"default":[{"type":"sigstoreSigned"}]}"#,
            r#"{"default":[{"type":"sigstoreSigned","keyPath":"/k","colour":"red"}]}"#,
            r#"{"default":[{"type":"sigstoreSigned","keyData":"%"}]}"#,
            r#"{"default":[{"type":"sigstoreSigned","keyPath":"/k","signedIdentity":{"type":"matchMoon"}}]}"#,
        ] {
            assert!(policy(text).is_err(), "{text}");
        }
        for fields in [
            r#""type":"signedBy","keyType":"GPGKeys","keyPath":"/k""#,
            r#""type":"sigstoreSigned","fulcio":{}"#,
            r#""type":"sigstoreSigned","keyPath":"/k","rekorPublicKeyPath":"/r""#,
        ] {
            let policy = policy(&format!(r#"{{"default":[{{{fields}}}]}}"#)).unwrap();
            let (_, requirements) = policy.requirements(&image("x"));
            assert!(matches!(requirements, [Requirement::Unsupported { .. }]), "{fields}");
        }
        let signed = policy(
            r#"{"default":[{"type":"sigstoreSigned","keyPaths":["/k"],"keyData":"eA==","signedIdentity":{"type":"remapIdentity","prefix":"a","signedPrefix":"b"}}]}"#,
        );
        let identity = Identity::RemapIdentity { prefix: "a".into(), signed_prefix: "b".into() };
        let keys = vec![KeySource::File("/k".into()), KeySource::Pem(b"x".to_vec())];
        assert_eq!(signed.unwrap().default, [Requirement::Signed { keys, identity }]);
    }

    #[test]
    fn identities() {
        let digest = format!("a.test/x@sha256:{}", "0".repeat(64));
        let remap = Identity::RemapIdentity { prefix: "mirror.test".into(), signed_prefix: "a.test".into() };
        let exact = Identity::ExactReference { docker_reference: "b.test/y:2".into() };
        let repository = Identity::ExactRepository { docker_repository: "b.test/y".into() };
        for (identity, name, signed, expected) in [
            (&Identity::MatchExact, "a.test/x:1", "a.test/x:1", true),
            (&Identity::MatchExact, "a.test/x:1", "a.test/x:2", false),
            (&Identity::MatchExact, "a.test/x:latest", "a.test/x", false),
            (&Identity::MatchExact, digest.as_str(), "a.test/x:1", false),
            (&Identity::MatchRepoDigestOrExact, "a.test/x:1", "a.test/x:1", true),
            (&Identity::MatchRepoDigestOrExact, "a.test/x:1", "a.test/x:2", false),
            (&Identity::MatchRepoDigestOrExact, digest.as_str(), "a.test/x:2", true),
            (&Identity::MatchRepoDigestOrExact, digest.as_str(), "a.test/z:2", false),
            (&Identity::MatchRepository, "a.test/x:1", "a.test/x", true),
            (&Identity::MatchRepository, "a.test/x:1", "b.test/x", false),
            (&Identity::MatchRepository, "a.test/x:1", "not a name", false),
            (&exact, "a.test/x:1", "b.test/y:2", true),
            (&exact, "a.test/x:1", "b.test/y:1", false),
            (&repository, "a.test/x:1", "b.test/y:7", true),
            (&repository, "a.test/x:1", "b.test/z:7", false),
            (&remap, "mirror.test/x:1", "a.test/x:1", true),
            (&remap, "mirror.test/x:1", "mirror.test/x:1", false),
            (&remap, "c.test/x:1", "c.test/x:1", true),
        ] {
            assert_eq!(identity.matches(&image(name), signed), expected, "{identity:?} {name} {signed}");
        }
    }
}
