//! Image records and the references that name them.
//!
//! An image is known by its id, the digest of its config. Its record holds the whole config, so that one file answers
//! `run`, `images` and `inspect`. A reference file holds the id that the reference means; what is tagged, and what
//! was pulled by which repository digest, is only there. A record without references is a dangling image.
//! Knows nothing of registries; which references a short name may mean is the caller's business.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use cais_oci::{Descriptor, Digest, ImageConfig, Platform, Reference};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Store;
use crate::error::{Noun, Result, StoreError};
use crate::files::{self, Durability};
use crate::gc::Hold;

/// An ambiguous prefix lists at most so many candidates.
const CANDIDATES_MAX: usize = 10;

/// What the store knows of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// Digest of the config blob.
    pub id: Digest,
    /// Descriptor of the manifest blob: digest, media type and size.
    pub manifest: Descriptor,
    /// For which machines.
    pub platform: Platform,
    /// Unpacked bytes of all layers.
    pub size_bytes: u64,
    /// Diff ids of the layers that a container's root is mounted from, bottom first: those of the config without what is
    /// hidden by an opaque root above it, and none twice; sometimes one more on top (see `implied.rs`).
    pub layers: Vec<Digest>,
    /// The blobs of the config's layers as the manifest has them, in the same order; a blob may be absent from the store when its layer
    /// came from another one (see [`crate::LayerMeta::blob`]).
    pub blobs: Vec<Descriptor>,
    /// When it came here, RFC 3339.
    pub stored: String,
    /// The image's config.
    pub config: ImageConfig,
}

/// An image with the references that name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its record.
    pub record: ImageRecord,
    /// References with a tag, in order.
    pub tags: Vec<Reference>,
    /// References by manifest digest, as pulled, in order.
    pub digests: Vec<Reference>,
}

/// An image, and how it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundImage {
    /// Its record.
    pub record: ImageRecord,
    /// The reference that meant it; `None` when it was found by its id.
    pub reference: Option<Reference>,
}

/// The references of one image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    /// With a tag, in order.
    pub tags: Vec<Reference>,
    /// By manifest digest, in order.
    pub digests: Vec<Reference>,
}

impl Store {
    /// The image that a reference means; `None` when it means nothing here.
    ///
    /// With tag and digest only the digest counts, as in Docker.
    ///
    /// # Errors
    /// When the file of the reference is damaged or unreadable.
    pub fn image_id(&self, reference: &Reference) -> Result<Option<Digest>> {
        let path = self.paths().reference(&key(reference));
        let Some(bytes) = files::read(&path)? else { return Ok(None) };
        let damaged = |problem| StoreError::DamagedText { path: path.clone(), problem };
        let (id, _) =
            parse_reference_file(&bytes).ok_or_else(|| damaged("expected an image id and a reference"))?;
        Ok(Some(id))
    }

    /// The record of an image; `None` when there is none.
    ///
    /// # Errors
    /// When the record is damaged or unreadable.
    pub fn load_image(&self, id: &Digest) -> Result<Option<ImageRecord>> {
        files::read_json(&self.paths().image(id))
    }

    /// Finds an image by what a user typed: a full id, a name, or a unique prefix of an id, in this order.
    ///
    /// `meanings` are the references that the text can mean, best first (short names have several); empty when the
    /// text is no reference.
    ///
    /// # Errors
    /// [`StoreError::NoSuch`] or [`StoreError::Ambiguous`], or when files are unreadable.
    pub fn find_image(&self, text: &str, meanings: &[Reference]) -> Result<FoundImage> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        if let Ok(id) = format!("sha256:{hex}").parse::<Digest>()
            && let Some(record) = self.load_image(&id)?
        {
            return Ok(FoundImage { record, reference: None });
        }
        for reference in meanings {
            if let Some(id) = self.image_id(reference)?
                && let Some(record) = self.load_image(&id)?
            {
                return Ok(FoundImage { record, reference: Some(reference.clone()) });
            }
        }
        let ids = files::list(&self.paths().images())?;
        let ids = ids.iter().filter_map(|name| name.strip_suffix(".json"));
        let missing = || StoreError::NoSuch { noun: Noun::Image, name: text.to_owned() };
        let found = unique_prefix(Noun::Image, hex, ids)?.ok_or_else(missing)?;
        let id = format!("sha256:{found}").parse().map_err(|_| missing())?;
        let record = self.load_image(&id)?.ok_or_else(missing)?;
        Ok(FoundImage { record, reference: None })
    }

    /// All images with their references, newest first, dangling ones too.
    ///
    /// # Errors
    /// When a file is damaged or unreadable.
    pub fn images(&self) -> Result<Vec<Image>> {
        let mut references = self.references()?;
        let mut images = Vec::new();
        for name in files::list(&self.paths().images())? {
            // Removed since the directory was read: not there any more.
            let path = self.paths().images().join(&name);
            let Some(record) = files::read_json::<ImageRecord>(&path)? else { continue };
            let References { tags, digests } = references.remove(&record.id).unwrap_or_default();
            images.push(Image { record, tags, digests });
        }
        images.sort_by_cached_key(|image| {
            let created =
                image.record.config.created.as_ref().and_then(|text| text.parse::<Timestamp>().ok());
            (Reverse(created), image.record.id.clone())
        });
        Ok(images)
    }

    /// All references by the image that they mean.
    ///
    /// # Errors
    /// When a file is damaged or unreadable.
    pub fn references(&self) -> Result<BTreeMap<Digest, References>> {
        let directory = self.paths().refs();
        let mut all: BTreeMap<Digest, References> = BTreeMap::new();
        for name in files::list(&directory)? {
            let path = directory.join(&name);
            let Some(bytes) = files::read(&path)? else { continue };
            let (id, reference) = parse_reference_file(&bytes)
                .ok_or(StoreError::DamagedText { path, problem: "expected an image id and a reference" })?;
            let of_image = all.entry(id).or_default();
            if reference.digest.is_some() {
                of_image.digests.push(reference);
            } else {
                of_image.tags.push(reference);
            }
        }
        for of_image in all.values_mut() {
            of_image.tags.sort();
            of_image.digests.sort();
        }
        Ok(all)
    }

    /// The references of one image.
    ///
    /// # Errors
    /// When a file is damaged or unreadable.
    pub fn references_of(&self, id: &Digest) -> Result<References> {
        Ok(self.references()?.remove(id).unwrap_or_default())
    }

    /// Makes `reference` mean the image `id`, durably; what it meant before may dangle then.
    ///
    /// # Errors
    /// [`StoreError::NoSuch`] when there is no such image.
    pub fn tag(&self, reference: &Reference, id: &Digest, _hold: &Hold) -> Result<()> {
        if !self.paths().image(id).exists() {
            return Err(StoreError::NoSuch { noun: Noun::Image, name: id.to_string() });
        }
        let reference = key(reference);
        let text = format!("{id}\n{reference}\n");
        files::write_atomic(&self.paths().reference(&reference), text.as_bytes(), Durability::Durable)
    }

    /// Reads a blob (manifest or config) and verifies it.
    ///
    /// # Errors
    /// [`StoreError::NoSuch`], [`StoreError::WrongDigest`], or when it is unreadable.
    pub fn read_blob(&self, digest: &Digest) -> Result<Vec<u8>> {
        crate::blobs::read(self.paths(), digest)
    }
}

/// The reference under which a file is kept: by tag or by digest, never both.
pub(crate) fn key(reference: &Reference) -> Reference {
    match &reference.digest {
        Some(digest) => reference.with_digest(digest.clone()),
        None => reference.clone(),
    }
}

/// `sha256:…\nname\n`
pub(crate) fn parse_reference_file(bytes: &[u8]) -> Option<(Digest, Reference)> {
    let mut lines = std::str::from_utf8(bytes).ok()?.lines();
    let id = lines.next()?.parse().ok()?;
    let reference = Reference::parse(lines.next()?).ok()?;
    Some((id, reference))
}

/// The one of `ids` that begins with `prefix`; `None` when none does or the prefix is no hex.
pub(crate) fn unique_prefix<'a>(
    noun: Noun,
    prefix: &str,
    ids: impl Iterator<Item = &'a str>,
) -> Result<Option<&'a str>> {
    if prefix.is_empty() || !prefix.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Ok(None);
    }
    let mut found: Vec<&str> = ids.filter(|id| id.starts_with(prefix)).collect();
    if found.len() > 1 {
        found.sort_unstable();
        let candidates = found.iter().take(CANDIDATES_MAX).map(|id| short(id).to_owned()).collect();
        return Err(StoreError::Ambiguous { noun, prefix: prefix.to_owned(), candidates });
    }
    Ok(found.pop())
}

/// The first twelve digits of an id.
pub(crate) fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
