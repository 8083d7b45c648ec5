//! OCI layout, in a directory or an archive: `index.json` lists manifests, everything else lies in `blobs/`.
//!
//! Implements the OCI image specification, "Image Layout". Names come from `io.containerd.image.name` (complete) or
//! `org.opencontainers.image.ref.name` (complete, a repository, or only a tag, which names nothing).

use std::collections::BTreeMap;

use cais_oci::{Descriptor, Index, ManifestKind, Platform, Reference, media_type, parse_manifest};

use super::Found;
use super::source::Source;
use crate::error::chain;
use crate::verb::pull::{check_config_size, check_manifest, new_image};
use crate::{Error, ErrorKind, Result};

pub(super) const INDEX: &str = "index.json";

const CONTAINERD_NAME: &str = "io.containerd.image.name";
const OCI_NAME: &str = "org.opencontainers.image.ref.name";
/// An index may point to an index; deeper nesting is a trick.
const INDEX_DEPTH_MAX: usize = 3;

/// The images that `index.json` lists; of several with one name that for this machine.
pub(super) fn images(source: &Source, index: &[u8]) -> Result<Vec<Found>> {
    let ManifestKind::Index(index) = parse(index, INDEX)? else {
        return Err(Error::new(ErrorKind::Invalid, "index.json is no index"));
    };
    // In the order of the index, entries of one name together.
    let mut order: Vec<Option<Reference>> = Vec::new();
    let mut groups: BTreeMap<Option<Reference>, Vec<Descriptor>> = BTreeMap::new();
    for entry in index.manifests.into_iter().filter(|entry| !entry.is_attestation()) {
        let name = name_of(&entry);
        if !order.contains(&name) {
            order.push(name.clone());
        }
        groups.entry(name).or_default().push(entry);
    }
    let mut found = Vec::new();
    for name in order {
        let entries = groups.remove(&name).unwrap_or_default();
        for entry in for_this_machine(entries)? {
            let image = image(source, &entry, 0)?;
            found.push(Found { image, names: name.iter().cloned().collect() });
        }
    }
    Ok(found)
}

/// How many names with a registry and a repository the index gives.
pub(super) fn full_names(index: &[u8]) -> usize {
    let Ok(ManifestKind::Index(index)) = parse_manifest(index, None) else { return 0 };
    index.manifests.iter().filter(|entry| entry.annotations.contains_key(CONTAINERD_NAME)).count()
}

/// Of entries for different machines the one for this; entries that do not say are all taken.
fn for_this_machine(entries: Vec<Descriptor>) -> Result<Vec<Descriptor>> {
    if entries.len() < 2 || entries.iter().any(|entry| entry.platform.is_none()) {
        return Ok(entries);
    }
    let index = Index::new(entries);
    Ok(vec![select(&index)?.clone()])
}

fn select(index: &Index) -> Result<&Descriptor> {
    let host = Platform::host();
    index.select(&host).ok_or_else(|| {
        let offered: Vec<String> =
            index.manifests.iter().filter_map(|entry| Some(entry.platform.as_ref()?.to_string())).collect();
        let message = format!("the input has no image for {host}; it is for {}", offered.join(", "));
        Error::new(ErrorKind::NotFound, message)
    })
}

fn image(source: &Source, entry: &Descriptor, depth: usize) -> Result<cais_store::NewImage> {
    let bytes = source.document(&entry.digest)?;
    let shown = entry.digest.short();
    match parse(&bytes, shown)? {
        ManifestKind::Index(_) if depth >= INDEX_DEPTH_MAX => {
            Err(Error::new(ErrorKind::Invalid, format!("manifest {shown}: index within index")))
        }
        ManifestKind::Index(index) => image(source, select(&index)?, depth + 1),
        ManifestKind::Manifest(manifest) => {
            check_manifest(shown, &manifest)?;
            check_config_size(shown, manifest.config.size)?;
            let config = source.document(&manifest.config.digest)?;
            let own_type = manifest.media_type.clone().filter(|kind| media_type::is_manifest(kind));
            let kind = own_type.unwrap_or_else(|| media_type::OCI_MANIFEST.to_owned());
            new_image(shown, (bytes, kind), &manifest, config)
        }
    }
}

fn parse(bytes: &[u8], name: &str) -> Result<ManifestKind> {
    parse_manifest(bytes, None)
        .map_err(|error| Error::new(ErrorKind::Invalid, format!("{name}: {}", chain(&error))).source(error))
}

fn name_of(entry: &Descriptor) -> Option<Reference> {
    let annotation = |key: &str| entry.annotations.get(key).map(String::as_str);
    let text =
        annotation(CONTAINERD_NAME).or_else(|| annotation(OCI_NAME).filter(|text| !is_bare_tag(text)))?;
    Reference::parse(text).ok()
}

/// Whether a text without a repository is rather a tag (`latest`, `1.36`, `v2`) than a repository (`busybox`).
fn is_bare_tag(text: &str) -> bool {
    let digit_first = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    !text.contains([':', '/', '@'])
        && (text == "latest" || digit_first(text) || text.strip_prefix('v').is_some_and(digit_first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cais_oci::Digest;

    #[test]
    fn names_from_annotations() {
        let name = |annotations: &[(&str, &str)]| {
            let mut entry = Descriptor::new(media_type::OCI_MANIFEST, Digest::sha256(b""), 0);
            entry.annotations = annotations.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            name_of(&entry).map(|name| name.familiar())
        };
        assert_eq!(name(&[]), None);
        assert_eq!(name(&[(OCI_NAME, "latest")]), None);
        assert_eq!(name(&[(OCI_NAME, "1.36")]), None);
        assert_eq!(name(&[(OCI_NAME, "v2")]), None);
        assert_eq!(name(&[(OCI_NAME, "busybox")]).as_deref(), Some("busybox:latest"));
        assert_eq!(name(&[(OCI_NAME, "busybox:1")]).as_deref(), Some("busybox:1"));
        assert_eq!(name(&[(OCI_NAME, "quay.io/a/b:1")]).as_deref(), Some("quay.io/a/b:1"));
        let both = [(OCI_NAME, "1"), (CONTAINERD_NAME, "docker.io/library/x:1")];
        assert_eq!(name(&both).as_deref(), Some("x:1"));
        assert_eq!(name(&[(OCI_NAME, "Not A Name")]), None);
    }
}
