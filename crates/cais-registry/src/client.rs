//! The client: which sources to ask for a reference, in which order, and whether the answer is what was asked for.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use cais_oci::{Descriptor, Digest, Hasher, ManifestKind, Reference, media_type, parse_manifest};

use crate::blob::BlobReader;
use crate::error::{Error, Failure};
use crate::http::Response;
use crate::registries::{Registries, Source};
use crate::session::{Ask, Session};
use crate::settings::Settings;
use crate::words::clean;

const MANIFEST_MAX_LEN: u64 = 4 << 20;

/// Fetches manifests and blobs from registries.
///
/// Cheap to clone; clones share connections and tokens. Calls block, and may come from many threads at once.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) session: Arc<Session>,
    pub(crate) registries: Arc<Registries>,
    /// Registries that could not be reached, which are asked last from then on.
    unreachable: Arc<Mutex<HashSet<String>>>,
}

/// A manifest or an index, as the registry sent it.
#[derive(Debug, Clone)]
pub struct FetchedManifest {
    /// The exact bytes; their digest is the identity.
    pub bytes: Vec<u8>,
    /// The digest of the bytes.
    pub digest: Digest,
    /// Its media type, by the document itself, else by the registry, else by its content.
    pub media_type: String,
    /// What it says.
    pub kind: ManifestKind,
    /// Where it came from.
    pub source: Source,
}

impl Client {
    /// A client by the given settings; reads no file and opens no connection yet.
    pub fn new(settings: &Settings) -> Result<Client, Error> {
        Ok(Client {
            session: Arc::new(Session::new(settings)?),
            registries: Arc::new(settings.registries.clone()),
            unreachable: Arc::new(Mutex::new(HashSet::new())),
        })
    }

    /// The references that a typed name may mean, see [`Registries::candidates`].
    pub fn candidates(&self, typed: &str) -> Result<Vec<Reference>, Error> {
        self.registries.candidates(typed)
    }

    /// Fetches the manifest or index of `reference`, by its digest if it has one, else by its tag.
    ///
    /// Mirrors are tried first. For a manifest that an index names, give `reference.with_digest(…)` and the
    /// `descriptor` from the index, whose size is verified too. Fails unless the bytes have the wanted digest.
    pub fn manifest(
        &self,
        reference: &Reference,
        descriptor: Option<&Descriptor>,
    ) -> Result<FetchedManifest, Error> {
        let wanted = match (&reference.digest, &reference.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        };
        let path = format!("manifests/{wanted}");
        let object = format!("the manifest of {reference}");
        let digest = descriptor.map(|descriptor| &descriptor.digest).or(reference.digest.as_ref());
        let size = descriptor.map(|descriptor| descriptor.size);
        self.try_sources(reference, &object, |source| {
            self.session.with_retries(|| {
                let ask = Ask { accept: &media_type::MANIFESTS, small: true, ..Ask::get(&path) };
                check_manifest(self.session.ask(source, &ask)?, digest, size, source)
            })
        })
    }

    /// Opens the blob of `descriptor`, which belongs to the image `reference`.
    ///
    /// Connects at once, so that refusals come from here and not from the reader.
    pub fn blob(&self, reference: &Reference, descriptor: &Descriptor) -> Result<BlobReader, Error> {
        self.blob_from(reference, descriptor, 0, descriptor.digest.hasher())
    }

    /// Like [`Client::blob`], but begins at byte `offset`; `seen` must have taken in all bytes before it.
    ///
    /// `seen` must come from [`Digest::hasher`] of the descriptor's digest.
    pub fn blob_from(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        offset: u64,
        seen: Hasher,
    ) -> Result<BlobReader, Error> {
        let sources = self.sources(reference)?;
        let object = format!("blob {} of {}", descriptor.digest, reference.name());
        let mut reader = BlobReader::new(self.session.clone(), sources, object, descriptor, offset, seen);
        reader.open(|source, failure| self.note(source, failure))?;
        Ok(reader)
    }

    /// Mirrors first, the registry last; those that could not be reached before go to the end.
    fn sources(&self, reference: &Reference) -> Result<Vec<Source>, Error> {
        let mut sources = self.registries.sources(reference)?;
        let unreachable = self.unreachable.lock().unwrap_or_else(PoisonError::into_inner);
        sources.sort_by_key(|source| unreachable.contains(&source.registry));
        Ok(sources)
    }

    fn note(&self, source: &Source, failure: &Failure) {
        if failure.is_unreachable() {
            let mut unreachable = self.unreachable.lock().unwrap_or_else(PoisonError::into_inner);
            unreachable.insert(source.registry.clone());
        }
    }

    fn try_sources<T>(
        &self,
        reference: &Reference,
        object: &str,
        mut ask: impl FnMut(&Source) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        let mut failures = Vec::new();
        for source in self.sources(reference)? {
            match ask(&source) {
                Ok(value) => return Ok(value),
                Err(failure) => {
                    self.note(&source, &failure);
                    failures.push((source, failure));
                }
            }
        }
        Err(all_failed(object, failures))
    }
}

/// One error out of all sources' failures, the registry's own last.
pub(crate) fn all_failed(object: &str, mut failures: Vec<(Source, Failure)>) -> Error {
    let object = object.to_owned();
    if failures.len() == 1
        && let Some((_, failure)) = failures.pop()
    {
        return Error::Fetch { object, source: Box::new(failure) };
    }
    failures.sort_by_key(|(source, _)| !source.mirror);
    let failures = failures
        .into_iter()
        .map(|(source, failure)| {
            let kind = if source.mirror { "mirror" } else { "registry" };
            (format!("{kind} {}/{}", source.registry, source.repository), failure)
        })
        .collect();
    Error::Sources { object, failures }
}

/// Reads and verifies a manifest.
fn check_manifest(
    response: Response,
    digest: Option<&Digest>,
    size: Option<u64>,
    source: &Source,
) -> Result<FetchedManifest, Failure> {
    let host = response.host.clone();
    let content_type = response.header("content-type").map(str::to_owned);
    let stated = response.header("docker-content-digest").and_then(|text| text.parse::<Digest>().ok());
    let bytes = response.read_small(MANIFEST_MAX_LEN)?;
    if content_type.as_deref().is_some_and(|kind| kind.starts_with("text/html")) || bytes.starts_with(b"<") {
        let content_type = clean(content_type.as_deref().unwrap_or("a page"));
        return Err(Failure::NotManifest { host, content_type });
    }
    // Without a wanted digest the stated one still tells a mangled answer from a whole one.
    if let Some(expected) = digest.or(stated.as_ref()) {
        let mut hasher = expected.hasher();
        hasher.update(&bytes);
        let found = hasher.finish();
        if found != *expected {
            return Err(Failure::Digest { host, expected: expected.clone(), found });
        }
    }
    if let Some(expected) = size.filter(|size| *size != bytes.len() as u64) {
        return Err(Failure::Size { host, expected, found: bytes.len().to_string() });
    }
    let kind = parse_manifest(&bytes, content_type.as_deref())
        .map_err(|source| Failure::Manifest { host, source })?;
    let (own_type, default_type) = match &kind {
        ManifestKind::Manifest(manifest) => (&manifest.media_type, media_type::OCI_MANIFEST),
        ManifestKind::Index(index) => (&index.media_type, media_type::OCI_INDEX),
    };
    let known = |kind: &String| media_type::MANIFESTS.contains(&kind.as_str());
    let header_type = content_type.map(|text| text.split(';').next().unwrap_or("").trim().to_owned());
    let media_type =
        own_type.clone().or(header_type.filter(known)).unwrap_or_else(|| default_type.to_owned());
    Ok(FetchedManifest { digest: Digest::sha256(&bytes), bytes, media_type, kind, source: source.clone() })
}
