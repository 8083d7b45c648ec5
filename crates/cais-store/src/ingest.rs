//! How images come in.
//!
//! An [`Ingest`] gathers layers out of sight: each is unpacked and verified below `ingest/` under a lock of its own, so
//! that of two processes that need one layer the second waits and then finds it. [`Ingest::commit`] makes all of it
//! durable with one syncfs (small images: file by file), renames it into place, and writes record and references last. So an image is there whole or
//! not at all, after kill -9 and after a power cut.
//!
//! Layers that are complete wait in `ingest/ready-<boot id>/`: a second attempt after a failure finds them. They are
//! not durable, so those of another boot are never used. What else is in `ingest/` belongs to whoever holds the shared
//! lock; when nobody does, it is left over and taken away by the next ingest or by `check`.

mod made;
mod packed;

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use cais_layer::LayerError;
use cais_oci::{Descriptor, Digest, ImageConfig, Platform, Reference};

use crate::Store;
use crate::blobs::{BlobWriter, check_key, verify};
use crate::error::{Result, StoreError};
use crate::files::{self, Durability, Lock, Mode, random_hex};
use crate::images::ImageRecord;
use crate::implied;
use crate::layers::LayerMeta;
use crate::paths::{LAYER_BLOB, LAYER_FS, LAYER_META};
use crate::run_state::{boot_id, now};
use crate::stack::stack;
use crate::trash::{Trash, remove_beneath};

pub use made::MadeLayer;

/// Images of so few files are synced file by file: syncfs(2) also waits for what everybody else has written.
const SYNC_ONE_BY_ONE_MAX: u64 = 64;

/// The work of one pull, load or import; what was not committed goes away with it.
#[derive(Debug)]
pub struct Ingest<'store> {
    store: &'store Store,
    _lock: Lock,
    /// Only this ingest's.
    scratch: PathBuf,
    /// Complete layers of this boot.
    ready: PathBuf,
}

/// What is known of a layer before it comes.
#[derive(Clone, Debug, Default)]
pub struct LayerWanted {
    /// Digest of the plain tar; `None` when only the content tells.
    pub diff_id: Option<Digest>,
    /// Digest and length of the blob; `None` when only the content tells.
    pub blob: Option<(Digest, u64)>,
}

/// Where the bytes of a layer come from.
#[derive(Debug)]
pub enum LayerInput<R> {
    /// A stream; its bytes are copied into a blob.
    Stream(R),
    /// A file in [`Ingest::scratch`] that the caller wrote, with the digest and length that it had then; it becomes
    /// the blob without being digested again.
    Spooled(PathBuf, (Digest, u64)),
}

/// A verified image document, ready to be committed.
#[derive(Clone, Debug)]
pub struct NewImage {
    /// The manifest, byte for byte.
    pub manifest: Vec<u8>,
    /// Its media type.
    pub manifest_type: String,
    /// The config, byte for byte; its digest is the image's id.
    pub config: Vec<u8>,
    /// The same, read.
    pub parsed: ImageConfig,
    /// The layers' blobs, bottom first.
    pub blobs: Vec<Descriptor>,
}

impl Store {
    /// Begins to bring something in.
    ///
    /// # Errors
    /// When `ingest/` is not writable.
    pub fn ingest(&self) -> Result<Ingest<'_>> {
        let ready = self.paths().ready(&boot_id());
        if let Some(lock) = Lock::try_exclusive(&self.paths().ingest_lock())? {
            self.clear_ingest(Some(&ready))?.empty()?;
            drop(lock);
        }
        let lock = self.lock_ingest()?;
        let scratch = self.paths().ingest().join(format!("tmp-{}", random_hex(8)));
        files::make_directory(&ready, 0o700)?;
        files::make_directory(&scratch, 0o700)?;
        Ok(Ingest { store: self, _lock: lock, scratch, ready })
    }

    /// Declares that something in `ingest/` is in use.
    pub(crate) fn lock_ingest(&self) -> Result<Lock> {
        Lock::take(&self.paths().ingest_lock(), Mode::Shared)
    }

    /// Moves leftovers of `ingest/` to the trash, except `keep`; the caller holds the lock exclusively.
    pub(crate) fn clear_ingest(&self, keep: Option<&Path>) -> Result<Trash> {
        let mut trash = Trash::open(self.paths().trash())?;
        for path in self.ingest_leftovers()? {
            if keep != Some(&path) {
                trash.take(&path)?;
            }
        }
        Ok(trash)
    }

    /// Everything in `ingest/` but its lock.
    pub(crate) fn ingest_leftovers(&self) -> Result<Vec<PathBuf>> {
        let (directory, lock) = (self.paths().ingest(), self.paths().ingest_lock());
        let paths = files::list_all(&directory)?.into_iter().map(|name| directory.join(name));
        Ok(paths.filter(|path| *path != lock).collect())
    }
}

impl Ingest<'_> {
    /// A directory of this ingest alone, for spooling; removed with it.
    pub fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// What is known of a layer, committed or complete and waiting; `None` when it must be brought in.
    ///
    /// # Errors
    /// When its meta.json is damaged or unreadable.
    pub fn find_layer(&self, diff_id: &Digest) -> Result<Option<LayerMeta>> {
        if let Some(meta) = self.store.layer(diff_id)? {
            return Ok(Some(meta));
        }
        if !diff_id.is_store_key() {
            return Ok(None);
        }
        files::read_json(&self.ready_layer(diff_id).join(LAYER_META))
    }

    /// Brings a layer in unless it is there; `true` when it had to be.
    ///
    /// `open` is called at most once, when nobody else has brought the layer in meanwhile; its stream is read to the
    /// end, decompressed, unpacked and verified against `wanted`. The compressed bytes are kept.
    ///
    /// # Errors
    /// What `open` returns, [`StoreError::WrongDigest`], [`StoreError::WrongSize`], [`StoreError::Layer`]; nothing of
    /// the layer stays then.
    pub fn add_layer<R: Read, E: From<StoreError>>(
        &self,
        wanted: &LayerWanted,
        options: &cais_layer::Options,
        open: impl FnOnce() -> std::result::Result<LayerInput<R>, E>,
    ) -> std::result::Result<(LayerMeta, bool), E> {
        if let Some((digest, _)) = &wanted.blob {
            check_key("layer blob", digest)?;
        }
        let Some(diff_id) = &wanted.diff_id else {
            return Ok((self.unpack_unknown(wanted, options, open()?)?, true));
        };
        check_key("layer", diff_id)?;
        if let Some(meta) = self.find_layer(diff_id)? {
            return Ok((meta, false));
        }
        let lock_path = self.store.paths().layer_lock(diff_id);
        let lock = Lock::take_transient(&lock_path)?;
        let result = match self.find_layer(diff_id) {
            Ok(Some(meta)) => Ok((meta, false)),
            Ok(None) => open().and_then(|input| Ok((self.unpack_known(wanted, options, input)?, true))),
            Err(error) => Err(error.into()),
        };
        lock.unlink(&lock_path)?;
        result
    }

    fn unpack_known(
        &self,
        wanted: &LayerWanted,
        options: &cais_layer::Options,
        input: LayerInput<impl Read>,
    ) -> Result<LayerMeta> {
        let (staged, meta) = self.unpack(wanted, options, input)?;
        self.make_ready(&staged, &meta)?;
        Ok(meta)
    }

    /// As [`Ingest::unpack_known`], with the lock taken only once the diff_id is known.
    fn unpack_unknown(
        &self,
        wanted: &LayerWanted,
        options: &cais_layer::Options,
        input: LayerInput<impl Read>,
    ) -> Result<LayerMeta> {
        let (staged, meta) = self.unpack(wanted, options, input)?;
        let lock_path = self.store.paths().layer_lock(&meta.diff_id);
        let lock = Lock::take_transient(&lock_path)?;
        let result = match self.find_layer(&meta.diff_id) {
            Ok(Some(existing)) => self.discard(&staged).map(|()| existing),
            Ok(None) => self.make_ready(&staged, &meta).map(|()| meta),
            Err(error) => Err(error),
        };
        lock.unlink(&lock_path)?;
        result
    }

    /// Unpacks a stream into a directory of this ingest and verifies all that is known of it.
    fn unpack(
        &self,
        wanted: &LayerWanted,
        options: &cais_layer::Options,
        input: LayerInput<impl Read>,
    ) -> Result<(PathBuf, LayerMeta)> {
        let staged = self.scratch.join(random_hex(8));
        files::make_directory(&staged, 0o711)?;
        let unpacked = self.unpack_into(&staged, wanted, options, input);
        if unpacked.is_err() {
            // The first error is the one to report.
            let _ = self.discard(&staged);
        }
        unpacked.map(|meta| (staged, meta))
    }

    fn unpack_into(
        &self,
        staged: &Path,
        wanted: &LayerWanted,
        options: &cais_layer::Options,
        input: LayerInput<impl Read>,
    ) -> Result<LayerMeta> {
        let tree = staged.join(LAYER_FS);
        files::make_directory(&tree, 0o755)?;
        let directory = File::open(&tree).map_err(StoreError::io("open", &tree))?;
        let (path, expected) = (staged.join(LAYER_BLOB), wanted.blob.clone());
        let (unpacked, blob, blob_bytes) = match input {
            LayerInput::Stream(input) => unpack_copying(
                Copying { input, blob: BlobWriter::create(path, expected)? },
                &directory,
                options,
            )?,
            LayerInput::Spooled(from, known) => {
                if let Some((digest, size)) = &expected {
                    verify("blob", digest, *size, &known.0, known.1)?;
                }
                let input = File::open(&from).map_err(StoreError::io("open", &from))?;
                let blob = BlobWriter::adopt(from, path, known);
                unpack_copying(Copying { input, blob }, &directory, options)?
            }
        };
        if let Some(expected) = &wanted.diff_id
            && *expected != unpacked.diff_id
        {
            let (expected, found) = (expected.clone(), unpacked.diff_id);
            return Err(StoreError::WrongDigest { what: "unpacked layer", expected, found });
        }
        let meta = LayerMeta {
            diff_id: unpacked.diff_id,
            blob,
            blob_bytes,
            tar_bytes: unpacked.tar_bytes,
            content_bytes: unpacked.content_bytes,
            entries: unpacked.entries,
            hides_lower_layers: unpacked.hides_lower_layers,
        };
        implied::note(staged, &unpacked.implied_dirs)?;
        files::write_json(&staged.join(LAYER_META), &meta, Durability::Volatile)?;
        Ok(meta)
    }

    /// Shows a complete layer to other ingests; the caller holds the layer's lock.
    fn make_ready(&self, staged: &Path, meta: &LayerMeta) -> Result<()> {
        let ready = self.ready_layer(&meta.diff_id);
        std::fs::rename(staged, &ready).map_err(StoreError::io("move layer to", &ready))
    }

    fn discard(&self, staged: &Path) -> Result<()> {
        match staged.file_name().and_then(|name| name.to_str()) {
            Some(name) => remove_beneath(&self.scratch, name),
            None => Ok(()),
        }
    }

    fn ready_layer(&self, diff_id: &Digest) -> PathBuf {
        self.ready.join(diff_id.hex())
    }

    /// Makes an image and its references visible, durably; one that exists keeps its record and gets the references.
    ///
    /// # Errors
    /// [`StoreError::LayersVanished`] when a layer that was there has been swept since: bring it in again.
    pub fn commit(&self, image: &NewImage, references: &[Reference]) -> Result<ImageRecord> {
        let layers = &image.parsed.rootfs.diff_ids;
        let ready = self.sync_ready(layers)?;
        let hold = self.store.hold()?;
        let mut vanished = Vec::new();
        let mut metas = Vec::new();
        for layer in layers {
            match self.publish_layer(layer, ready.contains(layer))? {
                Some(meta) => metas.push(meta),
                None => vanished.push(layer.clone()),
            }
        }
        let id = Digest::sha256(&image.config);
        if !vanished.is_empty() {
            return Err(StoreError::LayersVanished { image: id, layers: vanished });
        }
        let earlier = match self.store.load_image(&id) {
            // A damaged record is replaced.
            Err(StoreError::Damaged { .. }) => None,
            other => other?,
        };
        let record = match earlier {
            Some(earlier) if self.is_whole(&earlier) => earlier,
            earlier => {
                let record = self.put_record(id, image, &metas)?;
                if let Some(old) = earlier.filter(|earlier| earlier.manifest.digest != record.manifest.digest)
                {
                    files::remove_file(&self.store.paths().blob(&old.manifest.digest))?;
                }
                record
            }
        };
        for reference in references {
            self.store.tag(reference, &record.id, &hold)?;
        }
        Ok(record)
    }

    /// Makes those of `layers` durable that wait to be published, and returns them.
    fn sync_ready(&self, layers: &[Digest]) -> Result<Vec<Digest>> {
        let (mut ready, mut entries) = (Vec::new(), 0);
        for layer in layers {
            if self.store.layer(layer)?.is_none()
                && let Some(meta) = files::read_json::<LayerMeta>(&self.ready_layer(layer).join(LAYER_META))?
            {
                entries += meta.entries;
                ready.push(layer.clone());
            }
        }
        if entries > SYNC_ONE_BY_ONE_MAX {
            files::sync_file_system(&self.ready)?;
        } else {
            ready.iter().try_for_each(|layer| self.sync_layer(layer))?;
        }
        Ok(ready)
    }

    fn sync_layer(&self, layer: &Digest) -> Result<()> {
        let path = self.ready_layer(layer);
        loop {
            match files::sync_tree(&path) {
                // Another ingest moves it to its place meanwhile: durable by then, or not yet wholly moved.
                Err(error) if error.io_kind() == Some(io::ErrorKind::NotFound) => {
                    if !path.exists() {
                        return Ok(());
                    }
                }
                other => return other,
            }
        }
    }

    /// One image may come with several manifests; one whose parts are all here can be pushed as it is, and stays.
    fn is_whole(&self, record: &ImageRecord) -> bool {
        let has_layer = |layer| matches!(self.store.layer(layer), Ok(Some(_)));
        let blobs = record.blobs.iter().chain([&record.manifest]).map(|blob| &blob.digest);
        blobs.chain([&record.id]).all(|blob| self.store.paths().blob(blob).exists())
            && record.layers.iter().all(has_layer)
    }

    /// Writes manifest, config and record of an image whose layers are in place, durably.
    fn put_record(&self, id: Digest, image: &NewImage, layers: &[LayerMeta]) -> Result<ImageRecord> {
        let paths = self.store.paths();
        let manifest = Digest::sha256(&image.manifest);
        let mut stack = stack(layers);
        implied::complete(self.store, &self.scratch, &mut stack)?;
        files::write_atomic(&paths.blob(&manifest), &image.manifest, Durability::Content)?;
        files::write_atomic(&paths.blob(&id), &image.config, Durability::Content)?;
        files::sync_directory(&paths.blobs())?;
        files::sync_directory(&paths.layers())?;
        let (os, architecture) = (&image.parsed.os, &image.parsed.architecture);
        let record = ImageRecord {
            manifest: Descriptor::new(&image.manifest_type, manifest, image.manifest.len() as u64),
            platform: Platform::new(os, architecture, image.parsed.variant.as_deref()),
            size_bytes: layers.iter().map(|layer| layer.content_bytes).sum(),
            layers: stack,
            blobs: image.blobs.clone(),
            stored: now(),
            config: image.parsed.clone(),
            id,
        };
        files::write_json(&paths.image(&record.id), &record, Durability::Durable)?;
        Ok(record)
    }

    /// Moves a layer and its blob to their places unless they are there; `None` when there is no such layer.
    fn publish_layer(&self, diff_id: &Digest, is_ready: bool) -> Result<Option<LayerMeta>> {
        if let Some(meta) = self.store.layer(diff_id)? {
            return Ok(Some(meta));
        }
        let ready = self.ready_layer(diff_id);
        let meta = match files::read_json::<LayerMeta>(&ready.join(LAYER_META))? {
            // What became ready after the sync is not durable yet.
            Some(meta) if is_ready => meta,
            // Another ingest published it between our two looks.
            _ => return self.store.layer(diff_id),
        };
        let paths = self.store.paths();
        // The blob first: a layer whose blob is missing would be taken for complete.
        rename_unless_gone(&ready.join(LAYER_BLOB), &paths.blob(&meta.blob))?;
        match std::fs::rename(&ready, paths.layer(diff_id)) {
            Ok(()) => Ok(Some(meta)),
            // Another ingest was quicker; what remains of ours goes with the next one.
            Err(_) if self.store.layer(diff_id)?.is_some() => Ok(Some(meta)),
            Err(error) => Err(StoreError::io("move layer to", &paths.layer(diff_id))(error)),
        }
    }
}

impl Drop for Ingest<'_> {
    fn drop(&mut self) {
        if let Some(name) = self.scratch.file_name().and_then(|name| name.to_str()) {
            // Nobody to report to; the next ingest takes away what stays.
            let _ = remove_beneath(&self.store.paths().ingest(), name);
        }
    }
}

fn rename_unless_gone(from: &Path, to: &Path) -> Result<()> {
    match std::fs::rename(from, to) {
        Err(error) if !files::is_absent(&error) => Err(StoreError::io("move blob to", to)(error)),
        _ => Ok(()),
    }
}

/// Unpacks a stream into a directory and verifies its bytes: what came out, digest and length of the blob.
fn unpack_copying<R: Read>(
    mut copying: Copying<R>,
    directory: &File,
    options: &cais_layer::Options,
) -> Result<(cais_layer::Unpacked, Digest, u64)> {
    match cais_layer::unpack(&mut copying, directory.as_fd(), options) {
        Ok(unpacked) => {
            let (blob, blob_bytes) = copying.finish()?;
            Ok((unpacked, blob, blob_bytes))
        }
        Err(source) => {
            let layer = copying.blob.name();
            // Wrong bytes look like a broken archive: say so if they are wrong.
            if !matches!(source, LayerError::Read { .. }) || copying.blob.is_too_long() {
                copying.finish()?;
            }
            Err(StoreError::Layer { layer, source })
        }
    }
}

/// Passes a stream on and keeps a copy of its bytes.
struct Copying<R> {
    input: R,
    blob: BlobWriter,
}

impl<R: Read> Copying<R> {
    /// Reads what the unpacker left, then verifies.
    fn finish(mut self) -> Result<(Digest, u64)> {
        let layer = self.blob.name();
        let rest = io::copy(&mut self, &mut io::sink());
        if let Err(source) = rest
            && !self.blob.is_too_long()
        {
            return Err(StoreError::Layer { layer, source: LayerError::Read { source } });
        }
        self.blob.finish()
    }
}

impl<R: Read> Read for Copying<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.blob.write_all(&buffer[..count])?;
        if self.blob.is_too_long() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "more bytes came than were announced"));
        }
        Ok(count)
    }
}
