//! `load`: images from an archive or an OCI layout directory.
//!
//! Reads what `docker save`, `podman save`, skopeo, buildah and buildx write: docker-archive (`manifest.json`) and OCI
//! layout (`index.json`), several images each, plain or compressed by gzip or zstd. Of an archive with both the layout is
//! taken if it has all names in full, else the docker-archive. Nothing of an archive is written under a name of its own, see
//! [`source`].

mod docker;
mod oci;
mod source;

use std::io::Read;
use std::path::PathBuf;

use cais_oci::{Digest, Platform, Reference};
use cais_store::{Ingest, NewImage};

use crate::progress::{LayerEvent, Progress};
use crate::{Engine, Error, ErrorKind, Result};
use source::Source;

/// Where `load` reads from.
pub enum LoadInput {
    /// An archive as a stream, read once.
    Stdin(Box<dyn Read + Send>),
    /// An archive file, or an OCI layout directory.
    Path(PathBuf),
}

/// An image that was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Its id.
    pub id: Digest,
    /// The canonical references that it was given; may be empty.
    pub names: Vec<String>,
}

/// An image found in an archive, verified but for its layers.
struct Found {
    image: NewImage,
    names: Vec<Reference>,
}

/// Hears nothing.
struct Silent;

impl Progress for Silent {
    fn message(&self, _: &str) {}
    fn layer(&self, _: &Digest, _: LayerEvent) {}
    fn warn(&self, _: &str) {}
}

impl Engine {
    /// Loads every image of an archive or layout, in its order.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when the input is no archive that we know or is damaged. Images before the failing one stay.
    pub fn load(&self, input: LoadInput, progress: &dyn Progress) -> Result<Vec<Loaded>> {
        match input {
            LoadInput::Stdin(mut input) => self.load_stream(&mut *input, progress),
            LoadInput::Path(path) if path.is_dir() => {
                let ingest = self.store.ingest()?;
                self.load_source(&ingest, &Source::Directory(path), progress)
            }
            LoadInput::Path(path) => {
                let failed =
                    |error| Error::caused(ErrorKind::Invalid, format!("open {}", path.display()), error);
                let mut file = std::fs::File::open(&path).map_err(failed)?;
                self.load_stream(&mut file, progress)
            }
        }
    }

    /// Loads an archive from memory, such as the one in the binary; tells nobody about it.
    pub(crate) fn load_bytes(&self, mut archive: &[u8]) -> Result<Vec<Loaded>> {
        self.load_stream(&mut archive, &Silent)
    }

    fn load_stream(&self, input: &mut dyn Read, progress: &dyn Progress) -> Result<Vec<Loaded>> {
        let ingest = self.store.ingest()?;
        let source = Source::spool(input, ingest.scratch())?;
        self.load_source(&ingest, &source, progress)
    }

    fn load_source(
        &self,
        ingest: &Ingest<'_>,
        source: &Source,
        progress: &dyn Progress,
    ) -> Result<Vec<Loaded>> {
        let manifest = match source {
            // `docker save` writes both into one archive; unpacked it is a layout.
            Source::Directory(_) => None,
            Source::Spool(_) => source.read(docker::MANIFEST)?,
        };
        let found = match (manifest, source.read(oci::INDEX)?) {
            // The layout has the manifests themselves, and so the digests by which others know the images.
            (Some(manifest), Some(index)) if oci::full_names(&index) >= docker::names(&manifest) => {
                oci::images(source, &index)?
            }
            (Some(manifest), _) => docker::images(source, &manifest, progress)?,
            (None, Some(index)) => oci::images(source, &index)?,
            (None, None) => {
                let message = "the input holds no image: it has neither a manifest.json nor an index.json";
                return Err(Error::new(ErrorKind::Invalid, message)
                    .hint("a tar of a root file system is brought in by `cais import`"));
            }
        };
        if found.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "the archive lists no image"));
        }
        let mut loaded = Vec::new();
        for Found { image, names } in found {
            self.say_what_changes(&image, &names, progress)?;
            let record = self.bring_in(ingest, &image, &names, progress, |blob| source.layer(blob))?;
            let name = names.first().map_or_else(|| record.id.to_string(), Reference::familiar);
            self.tell("image", "load", &record.id.to_string(), &[("name", &name)]);
            loaded.push(Loaded { id: record.id, names: names.iter().map(Reference::to_string).collect() });
        }
        Ok(loaded)
    }

    /// Tells of names that move and of images for other machines.
    fn say_what_changes(&self, image: &NewImage, names: &[Reference], progress: &dyn Progress) -> Result<()> {
        let id = Digest::sha256(&image.config);
        for name in names {
            if let Some(before) = self.store.image_id(name)?.filter(|before| *before != id) {
                let name = name.familiar();
                progress.message(&format!(
                    "The image {name} already exists, renaming the old one with ID {before} to empty string"
                ));
            }
        }
        let config = &image.parsed;
        let platform = Platform::new(&config.os, &config.architecture, config.variant.as_deref());
        if !config.os.is_empty() && Platform::host().rank(&platform).is_none() {
            progress.warn(&format!("image {} is for {platform}, not for {}", id.short(), Platform::host()));
        }
        Ok(())
    }
}
