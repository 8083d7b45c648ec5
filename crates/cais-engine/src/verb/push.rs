//! `push`: an image to a registry.
//!
//! Only what the registry lacks is sent: it is asked for each blob, then to take it from another of its repositories that
//! the image is known to come from. Layers go in parallel, then the config, the manifest last, so that nobody there sees an
//! image that is not whole.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Mutex, PoisonError};

use cais_layer::Compression;
use cais_oci::{Descriptor, Digest, Reference};
use cais_registry::{Destination, Placed};
use cais_store::ImageRecord;

use crate::outgoing::{Form, Outgoing};
use crate::progress::{LayerEvent, Progress};
use crate::verb::images::wanted_platform;
use crate::verb::tag::parse_target;
use crate::{Engine, Error, ErrorKind, Result};

/// More connections do not make a line faster.
const WORKERS_MAX: usize = 4;
/// So many other repositories are asked for one blob.
const MOUNTS_MAX: usize = 2;
/// An upload is reported when this much has gone since the last report.
const REPORT_BYTES: u64 = 256 << 10;

/// What to push, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushRequest {
    /// The image by name, or by id with a `destination`.
    pub image: String,
    /// Where to, if not where its name says.
    pub destination: Option<String>,
    /// Every tag of the name's repository.
    pub all_tags: bool,
    /// Must be that of the image, `os/arch[/variant]`; any if absent.
    pub platform: Option<String>,
    /// Compression of all layers; otherwise compressed ones stay as they are, and others are compressed by gzip.
    pub compression: Option<PushCompression>,
    /// Docker's manifest format (`true`) or OCI's; otherwise the one that the image has.
    pub docker_format: Option<bool>,
}

/// How layers are compressed on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushCompression {
    /// gzip, which everybody reads.
    Gzip,
    /// zstd, which is smaller and quicker; makes the manifest an OCI one.
    Zstd,
}

/// A manifest that is there now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// Its name there.
    pub reference: Reference,
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub manifest_bytes: u64,
}

impl Engine {
    /// Pushes an image under a name, or all tags of a repository.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when it is not here, [`ErrorKind::Remote`] when the registry does not take it: then nothing
    /// that is visible has changed there, and what it took already is not sent again.
    pub fn push(&self, request: &PushRequest, progress: &dyn Progress) -> Result<Vec<Pushed>> {
        let images = self.chosen_for_push(request)?;
        for (name, record) in &images {
            check_platform(&name.familiar(), record, request.platform.as_deref())?;
        }
        let Some((first, _)) = images.first() else { return Ok(Vec::new()) };
        progress.message(&format!("The push refers to repository [{}]", first.name()));
        let client = self.registry_client()?;
        let mut pushed = Vec::new();
        for (reference, record) in &images {
            let mounts = self.mounts(record, reference)?;
            let also_read: BTreeSet<String> = mounts.values().flatten().cloned().collect();
            let also_read: Vec<String> = also_read.into_iter().collect();
            let destination = client.destination(reference, &also_read)?;
            let form = Form {
                compression: request.compression.map(|compression| match compression {
                    PushCompression::Gzip => Compression::Gzip,
                    PushCompression::Zstd => Compression::Zstd,
                }),
                docker: request.docker_format,
                plain: false,
            };
            let outgoing =
                self.outgoing(record, form, progress, &|blob| Ok(destination.has_blob(&blob.digest)?))?;
            let upload = Upload { engine: self, destination: &destination, mounts: &mounts, progress };
            upload.all(&outgoing)?;
            let tag = reference.tag.as_deref().unwrap_or("latest");
            let digest = destination.put_manifest(Some(tag), &outgoing.manifest, &outgoing.manifest_type)?;
            self.note_pushed(record, reference, &digest)?;
            let manifest_bytes = outgoing.manifest.len() as u64;
            pushed.push(Pushed { reference: reference.clone(), digest, manifest_bytes });
        }
        Ok(pushed)
    }

    /// The images to push, with the names that they get there.
    fn chosen_for_push(&self, request: &PushRequest) -> Result<Vec<(Reference, ImageRecord)>> {
        if request.all_tags {
            return self.all_tags(request);
        }
        let found = self.find_image(&request.image)?;
        let reference = match (&request.destination, found.reference) {
            (Some(text), _) => destination_name(text)?,
            (None, Some(reference)) if reference.digest.is_none() => reference,
            (None, Some(reference)) => {
                let message = format!("cannot push {}: a push needs a tag", reference.familiar());
                return Err(Error::new(ErrorKind::Invalid, message));
            }
            (None, None) => {
                let message = format!("cannot push {}: an id does not say where to", request.image);
                return Err(Error::new(ErrorKind::Invalid, message)
                    .hint("name the destination after it: push IMAGE HOST/REPOSITORY:TAG"));
            }
        };
        Ok(vec![(reference, found.record)])
    }

    fn all_tags(&self, request: &PushRequest) -> Result<Vec<(Reference, ImageRecord)>> {
        let invalid = |message: String| Error::new(ErrorKind::Invalid, message);
        let name = parse_target(&request.image)?;
        let last = request.image.rsplit('/').next().unwrap_or_default();
        if last.contains(':') || request.destination.is_some() {
            return Err(invalid("tag can't be used with --all-tags/-a".to_owned()));
        }
        let mut images = Vec::new();
        for image in self.store.images()? {
            let tags = image.tags.iter().filter(|tag| tag.name() == name.name());
            images.extend(tags.map(|tag| (tag.clone(), image.record.clone())));
        }
        images.sort_by(|(one, _), (other, _)| one.tag.cmp(&other.tag));
        if images.is_empty() {
            let message = format!("no image here has a tag of {}", name.name());
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        Ok(images)
    }

    /// For each layer the repositories of the same registry that an image with it was pulled from or pushed to.
    fn mounts(&self, record: &ImageRecord, to: &Reference) -> Result<BTreeMap<Digest, Vec<String>>> {
        let wanted: BTreeSet<&Digest> = record.config.rootfs.diff_ids.iter().collect();
        let mut mounts: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
        for image in self.store.images()? {
            let repositories = image
                .digests
                .iter()
                .filter(|name| name.registry == to.registry && name.repository != to.repository)
                .map(|name| name.repository.clone());
            let repositories: BTreeSet<String> = repositories.collect();
            let layers = image.record.config.rootfs.diff_ids.iter().zip(&image.record.blobs);
            for (_, blob) in layers.filter(|(diff_id, _)| wanted.contains(diff_id)) {
                let known = mounts.entry(blob.digest.clone()).or_default();
                for repository in &repositories {
                    if known.len() < MOUNTS_MAX && !known.contains(repository) {
                        known.push(repository.clone());
                    }
                }
            }
        }
        mounts.retain(|_, repositories| !repositories.is_empty());
        Ok(mounts)
    }

    /// Remembers under which digest the image is there, and tells of it.
    fn note_pushed(&self, record: &ImageRecord, reference: &Reference, digest: &Digest) -> Result<()> {
        let hold = self.store.hold()?;
        // It may have been removed meanwhile; then there is nothing to name.
        if self.store.load_image(&record.id)?.is_some() {
            self.store.tag(&reference.with_digest(digest.clone()), &record.id, &hold)?;
        }
        drop(hold);
        let name = reference.familiar();
        self.tell("image", "push", &name, &[("name", &name)]);
        Ok(())
    }
}

/// Refuses an image that is for another platform than the one that was asked for.
pub(super) fn check_platform(name: &str, record: &ImageRecord, asked: Option<&str>) -> Result<()> {
    let Some(text) = asked else { return Ok(()) };
    let wanted = wanted_platform(Some(text))?;
    if wanted.rank(&record.platform).is_some() {
        return Ok(());
    }
    let message = format!("{name} is here for {}, not for {wanted}", record.platform);
    Err(Error::new(ErrorKind::NotFound, message))
}

/// `HOST/REPOSITORY:TAG`, with or without podman's `docker://`.
fn destination_name(text: &str) -> Result<Reference> {
    let name = text.strip_prefix("docker://").unwrap_or(text);
    let transports = ["dir", "docker-archive", "docker-daemon", "oci", "oci-archive", "containers-storage"];
    if let Some((transport, _)) = name.split_once(':').filter(|(word, _)| transports.contains(word)) {
        let message = format!("cannot push to {text}: {transport}: is no registry");
        return Err(Error::new(ErrorKind::Unsupported, message).hint("`cais save` writes archives"));
    }
    parse_target(name)
}

/// The blobs of one image on their way.
struct Upload<'a> {
    engine: &'a Engine,
    destination: &'a Destination,
    mounts: &'a BTreeMap<Digest, Vec<String>>,
    progress: &'a dyn Progress,
}

impl Upload<'_> {
    /// Brings every blob there; the first error ends it.
    fn all(&self, outgoing: &Outgoing) -> Result<()> {
        let mut queue: Vec<&Descriptor> = Vec::new();
        for layer in &outgoing.layers {
            if !queue.iter().any(|known| known.digest == layer.digest) {
                self.progress.layer(&layer.digest, LayerEvent::Waiting);
                queue.push(layer);
            }
        }
        // Taken from the end: the biggest first.
        queue.sort_by_key(|layer| layer.size);
        let workers = WORKERS_MAX.min(queue.len());
        let queue = Mutex::new(queue);
        let error = Mutex::new(None);
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| self.work(&queue, &error));
            }
        });
        if let Some(error) = error.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        self.blob(&outgoing.config, &|_| {}).map(drop)
    }

    fn work(&self, queue: &Mutex<Vec<&Descriptor>>, error: &Mutex<Option<Error>>) {
        loop {
            let mut waiting = queue.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(layer) = waiting.pop() else { return };
            drop(waiting);
            if let Err(failed) = self.layer(layer) {
                error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failed);
                queue.lock().unwrap_or_else(PoisonError::into_inner).clear();
            }
        }
    }

    fn layer(&self, layer: &Descriptor) -> Result<()> {
        let reported = std::cell::Cell::new(0);
        let placed = self.blob(layer, &|done_bytes| {
            if done_bytes < reported.get() || done_bytes >= reported.get() + REPORT_BYTES {
                reported.set(done_bytes);
                let event = LayerEvent::Uploading { done_bytes, total_bytes: layer.size };
                self.progress.layer(&layer.digest, event);
            }
        })?;
        let event = match placed {
            Placed::Present => LayerEvent::Present,
            Placed::Mounted(from) => LayerEvent::Mounted { from },
            Placed::Sent => LayerEvent::Pushed,
        };
        self.progress.layer(&layer.digest, event);
        Ok(())
    }

    fn blob(&self, blob: &Descriptor, sent: &dyn Fn(u64)) -> Result<Placed> {
        let store = &self.engine.store;
        let open = |offset: u64| {
            let mut file = store.open_blob(&blob.digest).map_err(io::Error::other)?;
            file.seek(SeekFrom::Start(offset))?;
            Ok(Box::new(file) as Box<dyn Read>)
        };
        let mounts = self.mounts.get(&blob.digest).map(Vec::as_slice).unwrap_or_default();
        Ok(self.destination.put_blob(blob, mounts, &open, sent)?)
    }
}
