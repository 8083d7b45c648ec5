//! `pull`: an image from a registry.
//!
//! Name → manifest or index → manifest of the platform → config → layers. The config comes before the layers, so those
//! that are here by diff_id are not downloaded. Layers come in parallel, biggest first, each in one pass: network →
//! blob file and digest → decompression → unpacking → digest of the diff. Nothing is visible before all is verified.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use cais_oci::{
    Descriptor, Digest, ImageConfig, Index, Manifest, ManifestKind, Platform, Reference, media_type,
};
use cais_registry::{Client, FetchedManifest};
use cais_store::{ImageRecord, Ingest, LayerInput, LayerWanted, NewImage, StoreError};

use crate::error::chain;
use crate::progress::{LayerEvent, Progress};
use crate::verb::images::wanted_platform;
use crate::view::ImageView;
use crate::{Engine, Error, ErrorKind, Result};

/// More connections do not make a line faster, and each costs a decompressor.
const WORKERS_MAX: usize = 4;
/// A config larger than this is no image config.
const CONFIG_MAX_BYTES: u64 = 8 << 20;
/// An index may point to an index; deeper nesting is a trick.
const INDEX_DEPTH_MAX: usize = 3;
/// Attempts to commit while somebody else removes the layers that we counted on.
const COMMIT_ATTEMPTS: usize = 3;
/// A download is reported when this much has come since the last report.
const REPORT_BYTES: u64 = 256 << 10;

/// A manifest, chosen and fetched, with its config.
struct Chosen {
    /// What the tag meant: digest of the manifest or of the index.
    digest: Digest,
    image: NewImage,
}

/// What a pull brought.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// The image as it is stored now.
    pub image: ImageView,
    /// By which name it was fetched and is stored: what was typed, completed or led elsewhere by `registries.conf`.
    pub reference: Reference,
}

impl Engine {
    /// Fetches an image and gives it the name by which it was asked for.
    ///
    /// A short name is looked for as `registries.conf` says. `platform` is `os/arch[/variant]`, the machine's if absent.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Remote`], [`ErrorKind::Invalid`], and [`ErrorKind::Denied`] when
    /// `policy.json` forbids it; nothing of the image is visible then,
    /// layers that are complete are used by the next attempt.
    pub fn pull(&self, name: &str, platform: Option<&str>, progress: &dyn Progress) -> Result<Pulled> {
        let wanted = wanted_platform(platform)?;
        let client = self.registry_client()?;
        let (reference, fetched) = first_found(&client, name)?;
        if reference.tag.as_deref() == Some("latest") && !name.ends_with(":latest") {
            progress.message("Using default tag: latest");
        }
        let shown = reference.digest.as_ref().map(Digest::to_string).or_else(|| reference.tag.clone());
        progress.message(&format!("{}: Pulling from {}", shown.unwrap_or_default(), reference.repository));
        let policy = self.policy()?;
        self.check_name(policy.as_ref(), &reference)?;
        let chosen = choose(&client, &reference, fetched, &wanted, platform.is_some(), progress)?;
        let digests = [chosen.digest.clone(), Digest::sha256(&chosen.image.manifest)];
        self.check_signatures(policy.as_ref(), &client, &reference, &digests)?;
        let id = Digest::sha256(&chosen.image.config);
        let was_here = self.store.image_id(&reference)?.as_ref() == Some(&id) && self.is_whole(&id)?;
        let references = [reference.clone(), reference.with_digest(chosen.digest.clone())];
        let ingest = self.store.ingest()?;
        let record = self.bring_in(&ingest, &chosen.image, &references, progress, |layer| {
            Ok(LayerInput::Stream(client.blob(&reference, layer)?))
        })?;
        progress.message(&format!("Digest: {}", chosen.digest));
        let status = if was_here { "Image is up to date for" } else { "Downloaded newer image for" };
        progress.message(&format!("Status: {status} {}", reference.familiar()));
        let name = reference.familiar();
        let repository = name.rsplit_once([':', '@']).map_or(name.as_str(), |(repository, _)| repository);
        self.tell("image", "pull", &name, &[("name", repository)]);
        Ok(Pulled { image: self.image_view(record)?, reference })
    }

    /// Whether an image is here with all its layers.
    fn is_whole(&self, id: &Digest) -> Result<bool> {
        let Some(record) = self.store.load_image(id)? else { return Ok(false) };
        for layer in &record.config.rootfs.diff_ids {
            if self.store.layer(layer)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Brings in the layers that are not here and commits the image; shared by `pull` and `load`.
    ///
    /// `open` gives the bytes of a layer by the descriptor of its blob.
    pub(crate) fn bring_in<R: Read>(
        &self,
        ingest: &Ingest<'_>,
        image: &NewImage,
        references: &[Reference],
        progress: &dyn Progress,
        open: impl Fn(&Descriptor) -> Result<LayerInput<R>> + Sync,
    ) -> Result<ImageRecord> {
        let mut attempt = 1;
        loop {
            let fetch = Fetch {
                ingest,
                options: &self.layer_options(),
                progress,
                open: &open,
                failed: AtomicBool::new(false),
                error: Mutex::new(None),
            };
            fetch.all(image)?;
            match ingest.commit(image, references) {
                // Somebody removed them between our look and the commit.
                Err(StoreError::LayersVanished { .. }) if attempt < COMMIT_ATTEMPTS => attempt += 1,
                other => return Ok(other?),
            }
        }
    }
}

/// The first of the references that a name may mean which a registry has.
pub(crate) fn first_found(client: &Client, name: &str) -> Result<(Reference, FetchedManifest)> {
    let candidates = client.candidates(name)?;
    let mut failures = Vec::new();
    for reference in &candidates {
        match client.manifest(reference, None) {
            Ok(fetched) => return Ok((reference.clone(), fetched)),
            Err(error) => failures.push(Error::from(error)),
        }
    }
    if failures.len() > 1 {
        let kind = if failures.iter().all(|error| error.kind == ErrorKind::NotFound) {
            ErrorKind::NotFound
        } else {
            ErrorKind::Remote
        };
        let texts: Vec<&str> = failures.iter().map(|error| error.message.as_str()).collect();
        return Err(Error::new(kind, format!("cannot find {name} anywhere: {}", texts.join("; "))));
    }
    let none =
        || Error::new(ErrorKind::Invalid, format!("{name} means no image: registries.conf leaves none"));
    Err(failures.pop().unwrap_or_else(none))
}

/// Goes from what the name meant to the manifest of the platform and its config.
fn choose(
    client: &Client,
    reference: &Reference,
    fetched: FetchedManifest,
    wanted: &Platform,
    explicit: bool,
    progress: &dyn Progress,
) -> Result<Chosen> {
    let digest = fetched.digest.clone();
    let mut current = fetched;
    let mut depth = 0;
    let manifest = loop {
        let index = match current.kind {
            ManifestKind::Manifest(manifest) => break manifest,
            ManifestKind::Index(index) => index,
        };
        depth += 1;
        let entry = index.select(wanted).ok_or_else(|| no_platform(reference, wanted, &index))?;
        if depth > INDEX_DEPTH_MAX {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("{}: index within index", reference.familiar()),
            ));
        }
        current = client.manifest(&reference.with_digest(entry.digest.clone()), Some(entry))?;
    };
    check_manifest(&reference.familiar(), &manifest)?;
    let config = read_config(client, reference, &manifest.config)?;
    let image = new_image(&reference.familiar(), (current.bytes, current.media_type), &manifest, config)?;
    check_platform(reference, &image.parsed, wanted, explicit, progress)?;
    Ok(Chosen { digest, image })
}

fn no_platform(reference: &Reference, wanted: &Platform, index: &Index) -> Error {
    let entries = index.manifests.iter().filter(|entry| !entry.is_attestation());
    let offered: BTreeSet<String> =
        entries.filter_map(|entry| Some(entry.platform.as_ref()?.to_string())).collect();
    let offered: Vec<String> = offered.into_iter().collect();
    let message =
        format!("{} is not available for {wanted}; it is for {}", reference.familiar(), offered.join(", "));
    Error::new(ErrorKind::NotFound, message).hint("choose one of these with --platform")
}

/// An image without an index says in its config what it is for.
fn check_platform(
    reference: &Reference,
    config: &ImageConfig,
    wanted: &Platform,
    explicit: bool,
    progress: &dyn Progress,
) -> Result<()> {
    if config.os.is_empty() || config.architecture.is_empty() {
        return Ok(());
    }
    let offered = Platform::new(&config.os, &config.architecture, config.variant.as_deref());
    if wanted.rank(&offered).is_some() {
        return Ok(());
    }
    let message = format!("{} is for {offered}, not for {wanted}", reference.familiar());
    if explicit {
        return Err(Error::new(ErrorKind::NotFound, message));
    }
    progress.warn(&message);
    Ok(())
}

/// Whether the manifest is that of an image that can be unpacked.
pub(crate) fn check_manifest(name: &str, manifest: &Manifest) -> Result<()> {
    let config_type = manifest.config.media_type.as_str();
    if !matches!(config_type, media_type::OCI_CONFIG | media_type::DOCKER_CONFIG) {
        let kind = manifest.artifact_type.as_deref().unwrap_or(config_type);
        return Err(Error::new(
            ErrorKind::Invalid,
            format!("{name} is no image but an artifact of type {kind}"),
        ));
    }
    for layer in &manifest.layers {
        if !media_type::is_layer(&layer.media_type) {
            let message =
                format!("{name}: layer {} has the unknown type {}", layer.digest.short(), layer.media_type);
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
    }
    Ok(())
}

fn read_config(client: &Client, reference: &Reference, descriptor: &Descriptor) -> Result<Vec<u8>> {
    check_config_size(&reference.familiar(), descriptor.size)?;
    let mut bytes = Vec::with_capacity(descriptor.size as usize);
    client.blob(reference, descriptor)?.read_to_end(&mut bytes).map_err(|error| {
        let remote = error.get_ref().and_then(|inner| inner.downcast_ref::<cais_registry::Error>());
        let text = remote.map_or_else(|| chain(&error), |remote| chain(remote));
        Error::new(ErrorKind::Remote, text).source(error)
    })?;
    Ok(bytes)
}

pub(crate) fn check_config_size(name: &str, size_bytes: u64) -> Result<()> {
    if size_bytes <= CONFIG_MAX_BYTES {
        return Ok(());
    }
    let message = format!(
        "{name}: config of {size_bytes} bytes is larger than the {CONFIG_MAX_BYTES} that are allowed"
    );
    Err(Error::new(ErrorKind::Invalid, message))
}

/// Puts manifest and config together, checking that they agree.
pub(crate) fn new_image(
    name: &str,
    (bytes, manifest_type): (Vec<u8>, String),
    manifest: &Manifest,
    config: Vec<u8>,
) -> Result<NewImage> {
    let parsed = parse_config(name, &config)?;
    let (layers, diff_ids) = (manifest.layers.len(), parsed.rootfs.diff_ids.len());
    if layers != diff_ids {
        let message = format!("{name}: manifest has {layers} layers, config has {diff_ids}");
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    Ok(NewImage { manifest: bytes, manifest_type, config, parsed, blobs: manifest.layers.clone() })
}

pub(crate) fn parse_config(name: &str, bytes: &[u8]) -> Result<ImageConfig> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::caused(ErrorKind::Invalid, format!("{name}: config is malformed"), error))
}

/// Fetching the layers of one image.
struct Fetch<'a, F> {
    ingest: &'a Ingest<'a>,
    options: &'a cais_layer::Options,
    progress: &'a dyn Progress,
    open: &'a F,
    /// Stops the other workers.
    failed: AtomicBool,
    error: Mutex<Option<Error>>,
}

impl<R: Read, F: Fn(&Descriptor) -> Result<LayerInput<R>> + Sync> Fetch<'_, F> {
    /// Brings in every layer that is not here; the first error ends it.
    fn all(&self, image: &NewImage) -> Result<()> {
        let mut missing: BTreeMap<&Digest, &Descriptor> = BTreeMap::new();
        for (diff_id, blob) in image.parsed.rootfs.diff_ids.iter().zip(&image.blobs) {
            let is_here = self.ingest.find_layer(diff_id)?.is_some();
            self.progress.layer(&blob.digest, if is_here { LayerEvent::Exists } else { LayerEvent::Waiting });
            if !is_here {
                missing.insert(diff_id, blob);
            }
        }
        let mut queue: Vec<(&Digest, &Descriptor)> = missing.into_iter().collect();
        // Taken from the end: the biggest first.
        queue.sort_by_key(|(_, blob)| blob.size);
        let workers = WORKERS_MAX.min(queue.len());
        let queue = Mutex::new(queue);
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| self.work(&queue));
            }
        });
        match self.error.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn work(&self, queue: &Mutex<Vec<(&Digest, &Descriptor)>>) {
        while !self.failed.load(Ordering::Acquire) {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some((diff_id, blob)) = next else { return };
            if let Err(error) = self.layer(diff_id, blob) {
                // In this order: the others fail because of this error, and must not report theirs.
                self.error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                self.failed.store(true, Ordering::Release);
            }
        }
    }

    fn layer(&self, diff_id: &Digest, blob: &Descriptor) -> Result<()> {
        let wanted =
            LayerWanted { diff_id: Some(diff_id.clone()), blob: Some((blob.digest.clone(), blob.size)) };
        let (_, is_new) = self.ingest.add_layer(&wanted, self.options, || {
            Ok::<_, Error>(match (self.open)(blob)? {
                LayerInput::Stream(input) => LayerInput::Stream(self.watch(blob, input)),
                LayerInput::Spooled(path, known) => LayerInput::Spooled(path, known),
            })
        })?;
        self.progress.layer(&blob.digest, if is_new { LayerEvent::Done } else { LayerEvent::Exists });
        Ok(())
    }

    fn watch<'b>(&'b self, blob: &'b Descriptor, input: R) -> Watched<'b, R> {
        Watched {
            input,
            blob,
            progress: self.progress,
            failed: &self.failed,
            done_bytes: 0,
            reported_bytes: 0,
        }
    }
}

/// A download that reports how far it is, and ends when another one has failed.
struct Watched<'a, R> {
    input: R,
    blob: &'a Descriptor,
    progress: &'a dyn Progress,
    failed: &'a AtomicBool,
    done_bytes: u64,
    reported_bytes: u64,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.failed.load(Ordering::Acquire) {
            return Err(io::Error::other("another layer failed"));
        }
        let count = self.input.read(buffer)?;
        self.done_bytes += count as u64;
        if self.done_bytes >= self.reported_bytes + REPORT_BYTES
            || (count == 0 && self.done_bytes > self.reported_bytes)
        {
            self.reported_bytes = self.done_bytes;
            let event = LayerEvent::Downloading { done_bytes: self.done_bytes, total_bytes: self.blob.size };
            self.progress.layer(&self.blob.digest, event);
        }
        Ok(count)
    }
}
