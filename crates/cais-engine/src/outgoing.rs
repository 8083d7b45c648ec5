//! An image on its way out: the manifest that will stand there, and blobs of which every one can be read here or is
//! there already. Shared by `push` and `save`.
//!
//! An image whose blobs are all here leaves byte for byte as it came. A layer without a blob that may be sent (committed,
//! imported as a plain tar, or unpacked from another image's blob) gets one, made once and kept beside it; then the manifest
//! is another one, and says so.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

use cais_layer::{Compression, Decoder, LayerError, Object, TarWriter, WalkOptions, pack, walk};
use cais_oci::{Descriptor, Digest, Hasher, Manifest, ManifestKind, media_type, parse_manifest};
use cais_store::{ImageRecord, Ingest, LayerMeta};

use crate::progress::{LayerEvent, Progress};
use crate::{Engine, Error, ErrorKind, Result};

/// How an image shall look outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Form {
    /// Compression of every layer; `None` keeps compressed ones as they are and compresses the others by gzip.
    pub(crate) compression: Option<Compression>,
    /// Docker's media types or OCI's; `None` keeps the family of the manifest.
    pub(crate) docker: Option<bool>,
    /// Plain layers stay plain, unless a compression is wanted.
    pub(crate) plain: bool,
}

/// An image that can leave.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    /// The bytes of the manifest.
    pub(crate) manifest: Vec<u8>,
    pub(crate) manifest_type: String,
    /// The config, whose bytes are a blob of the store.
    pub(crate) config: Descriptor,
    /// The layers' blobs, bottom first.
    pub(crate) layers: Vec<Descriptor>,
}

impl Engine {
    /// Makes everything ready that an image needs outside. `is_there` tells whether the other place has a blob that is not here.
    pub(crate) fn outgoing(
        &self,
        record: &ImageRecord,
        form: Form,
        progress: &dyn Progress,
        is_there: &dyn Fn(&Descriptor) -> Result<bool>,
    ) -> Result<Outgoing> {
        let bytes = self.store.read_blob(&record.manifest.digest)?;
        let stored = match parse_manifest(&bytes, Some(&record.manifest.media_type)) {
            Ok(ManifestKind::Manifest(manifest)) => manifest,
            Ok(ManifestKind::Index(_)) => return Err(damaged(record, "its manifest is an index")),
            Err(error) => return Err(damaged(record, &crate::error::chain(&error))),
        };
        let known = self.store.references_of(&record.id)?.digests;
        let came_from_elsewhere =
            known.iter().any(|name| name.digest.as_ref() == Some(&record.manifest.digest));
        let ingest = self.store.ingest()?;
        let mut layers = Vec::with_capacity(stored.layers.len());
        for (diff_id, blob) in record.config.rootfs.diff_ids.iter().zip(&stored.layers) {
            let fits = match (form.compression, media_type::compression(&blob.media_type)) {
                (None, Some(media_type::Compression::None)) => came_from_elsewhere || form.plain,
                (None, _) => true,
                (Some(wanted), found) => found == Some(announced(wanted)),
            };
            // The plain tar can be made of the layer at any time.
            let is_here = self.store.has_blob(&blob.digest) || (form.plain && blob.digest == *diff_id);
            let is_usable = fits && (is_here || is_there(blob)?);
            layers.push(if is_usable {
                blob.clone()
            } else {
                self.other_blob(&ingest, diff_id, blob, form.compression, progress)?
            });
        }
        let is_docker = stored.media_type.as_deref() == Some(media_type::DOCKER_MANIFEST);
        if form.docker.is_none_or(|docker| docker == is_docker) && layers == stored.layers {
            let (manifest, manifest_type) = (bytes, record.manifest.media_type.clone());
            return Ok(Outgoing { manifest, manifest_type, config: stored.config, layers });
        }
        let is_zstd = |layer: &Descriptor| layer.media_type == media_type::OCI_LAYER_ZSTD;
        let has_zstd = layers.iter().any(is_zstd);
        if has_zstd && form.docker == Some(true) {
            let message = "Docker's image format has no layers compressed by zstd: use the OCI format";
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let docker = form.docker.unwrap_or(is_docker) && !has_zstd;
        let manifest = Manifest { layers, ..stored }.in_family(docker);
        let written = serde_json::to_vec(&manifest)
            .map_err(|error| Error::caused(ErrorKind::Invalid, "write the image's manifest", error))?;
        Ok(Outgoing {
            manifest: written,
            manifest_type: manifest.media_type.unwrap_or_default(),
            config: manifest.config,
            layers: manifest.layers,
        })
    }

    /// Another blob of the same layer than the one that the manifest names: one that is here, or a new one.
    fn other_blob(
        &self,
        ingest: &Ingest<'_>,
        diff_id: &Digest,
        named: &Descriptor,
        compression: Option<Compression>,
        progress: &dyn Progress,
    ) -> Result<Descriptor> {
        let missing = || {
            let message = format!("layer {} is not here any more", diff_id.short());
            Error::new(ErrorKind::NotFound, message).hint("pull or load the image again")
        };
        let meta = self.store.layer(diff_id)?.ok_or_else(missing)?;
        if let Some(found) = self.own_compression(&meta)?
            && (compression == Some(found) || (compression.is_none() && found != Compression::None))
        {
            let kind = media_type::layer(announced(found), false);
            return Ok(Descriptor::new(kind, meta.blob, meta.blob_bytes));
        }
        let compression = compression.unwrap_or(Compression::Gzip);
        let kind = media_type::layer(announced(compression), false);
        progress.layer(&named.digest, LayerEvent::Packing);
        ingest.pack_layer(diff_id, kind, |output| {
            pack(output, compression, |error| unreadable(&meta, error), |tar| self.write_tar(&meta, tar))
                .map(drop)
        })
    }

    /// Writes the bytes of a blob of an image that is ready, and verifies them.
    pub(crate) fn write_blob(&self, blob: &Descriptor, output: &mut dyn Write) -> Result<()> {
        if !self.store.has_blob(&blob.digest)
            && let Some(meta) = self.store.layer(&blob.digest)?
        {
            return self.write_tar(&meta, output);
        }
        let failed =
            |error| Error::caused(ErrorKind::System, format!("copy blob {}", blob.digest.short()), error);
        let mut digesting = Digesting { output, hasher: blob.digest.hasher() };
        io::copy(&mut self.store.open_blob(&blob.digest)?, &mut digesting).map_err(failed)?;
        if digesting.hasher.finish() == blob.digest {
            return Ok(());
        }
        let message = format!("blob {} has changed on the disk", blob.digest.short());
        Err(Error::new(ErrorKind::Invalid, message).hint("pull or load the image again"))
    }

    /// How the blob is compressed that a layer was unpacked from; `None` when it is not here.
    fn own_compression(&self, meta: &LayerMeta) -> Result<Option<Compression>> {
        if !self.store.has_blob(&meta.blob) {
            return Ok(None);
        }
        let decoder =
            Decoder::new(self.store.open_blob(&meta.blob)?).map_err(|error| unreadable(meta, error))?;
        Ok(Some(decoder.compression()))
    }

    /// Writes the plain tar of a layer, from its blob or from its tree, and verifies that it is that.
    fn write_tar(&self, meta: &LayerMeta, output: &mut dyn Write) -> Result<()> {
        let mut digesting = Digesting { output, hasher: Hasher::new() };
        if self.store.has_blob(&meta.blob) {
            let mut decoder =
                Decoder::new(self.store.open_blob(&meta.blob)?).map_err(|error| unreadable(meta, error))?;
            io::copy(&mut decoder, &mut digesting).map_err(|error| unreadable(meta, error))?;
        } else {
            let path = self.store.paths().layer_fs(&meta.diff_id);
            let tree = File::open(&path).map_err(|error| unreadable(meta, error))?;
            let mut writer = TarWriter::new(&mut digesting);
            walk(tree.as_fd(), c".", b"", WalkOptions::default(), &mut |object: Object| {
                writer
                    .append(&object.entry.in_layer(), object.content)
                    .map_err(|source| LayerError::Read { source })
            })
            .map_err(|error| unreadable(meta, error))?;
            writer.finish().map_err(|error| unreadable(meta, error))?;
        }
        let found = digesting.hasher.finish();
        if found == meta.diff_id {
            return Ok(());
        }
        let message =
            format!("layer {} has changed on the disk: its digest is {found}", meta.diff_id.short());
        Err(Error::new(ErrorKind::Invalid, message).hint("pull or load the image again"))
    }
}

fn announced(compression: Compression) -> media_type::Compression {
    match compression {
        Compression::None => media_type::Compression::None,
        Compression::Gzip => media_type::Compression::Gzip,
        Compression::Zstd => media_type::Compression::Zstd,
    }
}

/// Reading it, or writing its blob, has failed.
fn unreadable(meta: &LayerMeta, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::caused(ErrorKind::System, format!("pack layer {}", meta.diff_id.short()), error)
}

fn damaged(record: &ImageRecord, reason: &str) -> Error {
    let message = format!("image {} cannot leave as it is: {reason}", record.id.short());
    Error::new(ErrorKind::Invalid, message).hint("pull or load it again")
}

struct Digesting<'a> {
    output: &'a mut dyn Write,
    hasher: Hasher,
}

impl Write for Digesting<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.output.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}
