//! `save`: images as an archive or a directory, for `load` here, in docker, podman and skopeo.
//!
//! The archive is an OCI image layout (image-layout.md: `oci-layout`, `index.json`, `blobs/`) and, unless only that is wanted,
//! a docker-archive at the same time: its `manifest.json` names the same blobs, as docker 25 and later write it. Blobs that are here leave
//! byte for byte; the plain tar of a committed layer is made on the way.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use cais_layer::{Entry, EntryKind, TarWriter};
use cais_oci::{Descriptor, Digest, Index, Reference};
use serde_json::{Value, json};

use crate::outgoing::{Form, Outgoing};
use crate::progress::{LayerEvent, Progress};
use crate::verb::push::check_platform;
use crate::{Engine, Error, ErrorKind, Result};

const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
const BLOBS: &str = "blobs/sha256";

/// What readers the archive is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SaveForm {
    /// An OCI layout that is a docker-archive, too.
    #[default]
    Docker,
    /// An OCI layout.
    Oci,
}

/// What to save, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SaveRequest {
    /// By name or id; a name without a tag means all tags of the repository, as in docker, when there is no `latest`.
    pub images: Vec<String>,
    /// For whom.
    pub form: SaveForm,
    /// Must be that of the images, `os/arch[/variant]`; any if absent.
    pub platform: Option<String>,
}

/// An image and the names that it has in the archive.
struct Saved {
    id: Digest,
    names: Vec<Reference>,
    outgoing: Outgoing,
}

impl Engine {
    /// Writes images as an archive.
    ///
    /// # Errors
    /// When there is no such image, a part of it is damaged, or the output takes no more: the archive is not whole then.
    pub fn save(&self, request: &SaveRequest, output: &mut dyn Write, progress: &dyn Progress) -> Result<()> {
        let images = self.to_save(request, progress)?;
        let mut archive = TarWriter::new(output);
        self.write_images(&images, request.form, progress, &mut |name, size, fill| {
            let kind = if fill.is_some() { EntryKind::File } else { EntryKind::Directory };
            let mode = if fill.is_some() { 0o644 } else { 0o755 };
            let entry =
                Entry { kind, path: name.as_bytes().to_vec(), size_bytes: size, ..Entry::plain(mode) };
            match fill {
                Some(fill) => archive.append_written(&entry, unwritable, fill),
                None => archive.append(&entry, None::<io::Stdin>).map_err(unwritable),
            }
        })?;
        archive.finish().map_err(unwritable)?;
        self.tell_saved(&images);
        Ok(())
    }

    /// Writes images as an OCI layout into a directory, which is made and must be empty if it is there.
    ///
    /// # Errors
    /// As [`Engine::save`].
    pub fn save_layout(
        &self,
        request: &SaveRequest,
        directory: &Path,
        progress: &dyn Progress,
    ) -> Result<()> {
        let failed = |error| {
            Error::caused(ErrorKind::Invalid, format!("write the layout {}", directory.display()), error)
        };
        fs::create_dir_all(directory).map_err(failed)?;
        if fs::read_dir(directory).map_err(failed)?.next().is_some() {
            let message = format!("cannot save to {}: the directory is not empty", directory.display());
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        let images = self.to_save(request, progress)?;
        self.write_images(&images, request.form, progress, &mut |name, _, fill| {
            let path = directory.join(name);
            match fill {
                Some(fill) => fill(&mut fs::File::create_new(&path).map_err(failed)?),
                None => fs::create_dir_all(&path).map_err(failed),
            }
        })?;
        self.tell_saved(&images);
        Ok(())
    }

    fn tell_saved(&self, images: &[Saved]) {
        for image in images {
            let name = image.names.first().map(Reference::familiar).unwrap_or_default();
            self.tell("image", "save", image.id.as_str(), &[("name", &name)]);
        }
    }

    /// Finds the images and makes them ready; each comes once, with all names by which it was asked for.
    fn to_save(&self, request: &SaveRequest, progress: &dyn Progress) -> Result<Vec<Saved>> {
        let mut images: Vec<Saved> = Vec::new();
        for text in &request.images {
            for (id, name) in self.named(text)? {
                if let Some(known) = images.iter_mut().find(|known| known.id == id) {
                    known.names.extend(name.filter(|name| !known.names.contains(name)));
                    continue;
                }
                let record = self.image_record(id.as_str())?;
                check_platform(text, &record, request.platform.as_deref())?;
                let form = Form { plain: true, ..Form::default() };
                let outgoing = self.outgoing(&record, form, progress, &|_| Ok(false))?;
                images.push(Saved { id, names: name.into_iter().collect(), outgoing });
            }
        }
        Ok(images)
    }

    /// What a word means: one image, or all tags of a repository.
    fn named(&self, text: &str) -> Result<Vec<(Digest, Option<Reference>)>> {
        let not_found = match self.find_image(text) {
            Ok(found) => return Ok(vec![(found.record.id, found.reference)]),
            Err(error) if error.kind == ErrorKind::NotFound => error,
            Err(error) => return Err(error),
        };
        let has_tag = text.rsplit('/').next().is_some_and(|last| last.contains([':', '@']));
        let Ok(repository) = Reference::parse(text) else { return Err(not_found) };
        let mut found = Vec::new();
        for image in self.store.images()?.into_iter().filter(|_| !has_tag) {
            let tags = image.tags.into_iter().filter(|tag| tag.name() == repository.name());
            found.extend(tags.map(|tag| (image.record.id.clone(), Some(tag))));
        }
        if found.is_empty() { Err(not_found) } else { Ok(found) }
    }

    /// Writes directories, blobs and lists, in an order that readers can take from a pipe; every blob once.
    fn write_images(
        &self,
        images: &[Saved],
        form: SaveForm,
        progress: &dyn Progress,
        write: &mut Put<'_>,
    ) -> Result<()> {
        write("blobs", 0, None)?;
        write(BLOBS, 0, None)?;
        let mut written = BTreeSet::new();
        let mut index = Vec::new();
        for Saved { names, outgoing, .. } in images {
            for layer in &outgoing.layers {
                if written.insert(layer.digest.clone()) {
                    self.put_blob(layer, write)?;
                    progress.layer(&layer.digest, LayerEvent::Saved);
                }
            }
            if written.insert(outgoing.config.digest.clone()) {
                self.put_blob(&outgoing.config, write)?;
            }
            let digest = Digest::sha256(&outgoing.manifest);
            let size = outgoing.manifest.len() as u64;
            if written.insert(digest.clone()) {
                put_bytes(&blob_path(&digest), &outgoing.manifest, write)?;
            }
            let plain = Descriptor::new(&outgoing.manifest_type, digest, size);
            if names.is_empty() {
                index.push(plain.clone());
            }
            for name in names {
                let mut entry = plain.clone();
                // Containerd's key has the whole name; the specification's only what is left of it within one layout.
                entry.annotations.insert("io.containerd.image.name".to_owned(), name.to_string());
                let tag = name.tag.clone().unwrap_or_default();
                entry.annotations.insert("org.opencontainers.image.ref.name".to_owned(), tag);
                index.push(entry);
            }
        }
        let failed = |error| Error::caused(ErrorKind::Invalid, "write the archive's list", error);
        put_bytes("index.json", &serde_json::to_vec(&Index::new(index)).map_err(failed)?, write)?;
        if form == SaveForm::Docker {
            let listed: Vec<Value> = images.iter().map(listed).collect();
            put_bytes("manifest.json", &serde_json::to_vec(&listed).map_err(failed)?, write)?;
        }
        put_bytes("oci-layout", LAYOUT, write)
    }

    fn put_blob(&self, blob: &Descriptor, write: &mut Put<'_>) -> Result<()> {
        write(&blob_path(&blob.digest), blob.size, Some(&mut |output| self.write_blob(blob, output)))
    }
}

/// Writes something by name, size and content; without content a directory.
type Put<'a> = dyn FnMut(&str, u64, Option<&mut dyn FnMut(&mut dyn Write) -> Result<()>>) -> Result<()> + 'a;

fn put_bytes(name: &str, bytes: &[u8], write: &mut Put<'_>) -> Result<()> {
    write(name, bytes.len() as u64, Some(&mut |output| output.write_all(bytes).map_err(unwritable)))
}

fn blob_path(digest: &Digest) -> String {
    format!("{BLOBS}/{}", digest.hex())
}

/// An image in docker's list.
fn listed(image: &Saved) -> Value {
    let names: Vec<String> = image.names.iter().map(Reference::familiar).collect();
    let layers: Vec<String> = image.outgoing.layers.iter().map(|layer| blob_path(&layer.digest)).collect();
    json!({"Config": blob_path(&image.outgoing.config.digest), "RepoTags": names, "Layers": layers})
}

fn unwritable(error: io::Error) -> Error {
    Error::caused(ErrorKind::System, "write the archive", error)
}
