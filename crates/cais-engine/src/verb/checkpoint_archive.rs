//! One archive with everything that another store needs to restore a container: CRIU's images, the container's
//! definition, what it has changed in its image's files, its volumes.
//!
//! ```text
//! checkpoint.json      what restoring needs beside the images
//! definition.json      the container's record, and by which names its image can be had
//! images/              what CRIU wrote
//! rootfs-diff.tar      changed files, as a layer
//! volumes/<name>.tar   what is in a volume
//! ```
//!
//! The image itself is not in it. An archive can come from anywhere: nothing is placed outside of the directory that it
//! is unpacked into, and what it says is looked at like a request.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::Path;

use cais_layer::{Compression, Ground, TarWriter, pack, unpack};
use cais_oci::{Digest, Reference};
use cais_store::{CheckpointPlace, ImageRecord, Ingest};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::attach::short;
use crate::owners::Ids;
use crate::progress::Progress;
use crate::verb::changed_objects::each_object;
use crate::verb::checkpoint::CheckpointRequest;
use crate::verb::copy::{archive_tree, failed, place_archive};
use crate::verb::restore::RestoreRequest;
use crate::{ContainerRecord, Engine, Error, ErrorKind, MountKind, Result};

const DEFINITION: &str = "definition.json";
const ROOTFS: &str = "rootfs-diff.tar";
const VOLUMES: &str = "volumes";
/// Changes when an older program would misread it.
const VERSION: u32 = 1;

/// Whose checkpoint it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Definition {
    version: u32,
    /// The container as it was.
    pub(super) record: ContainerRecord,
    /// Names by digest under which the image was pulled.
    #[serde(default)]
    image_references: Vec<String>,
}

impl Engine {
    /// Completes a draft and writes it to `out`.
    pub(super) fn write_archive(
        &self,
        record: &ContainerRecord,
        place: &CheckpointPlace,
        request: &CheckpointRequest,
        out: &mut (dyn Write + Send),
    ) -> Result<()> {
        let draft = place.draft();
        let failed =
            |error: std::io::Error| Error::caused(ErrorKind::System, "write the checkpoint's archive", error);
        let references = match &record.image_id {
            Some(id) => self.store.references_of(id)?.digests.iter().map(ToString::to_string).collect(),
            None => Vec::new(),
        };
        let definition =
            Definition { version: VERSION, record: record.clone(), image_references: references };
        let text = serde_json::to_vec(&definition).map_err(|error| failed(error.into()))?;
        std::fs::write(draft.join(DEFINITION), text).map_err(failed)?;
        if !request.ignore_rootfs {
            self.write_changes(record, &draft.join(ROOTFS))?;
        }
        if !request.ignore_volumes {
            std::fs::create_dir(draft.join(VOLUMES)).map_err(failed)?;
            for mount in volumes(record) {
                let path = draft.join(VOLUMES).join(format!("{}.tar", mount.volume));
                let mut file = File::create_new(path).map_err(failed)?;
                archive_tree(open_directory(&mount.host_path)?.as_fd(), Ids(None), &mut file)?;
            }
        }
        let compression = request.compression.unwrap_or(Compression::Zstd);
        let draft = open_directory(&draft)?;
        pack(out, compression, failed, |out| archive_tree(draft.as_fd(), Ids(None), out)).map(drop)
    }

    /// What a container has changed, places of mounts included: CRIU mounts where they are.
    fn write_changes(&self, record: &ContainerRecord, path: &Path) -> Result<()> {
        let output = |error: std::io::Error| {
            Error::caused(ErrorKind::System, format!("write {}", path.display()), error)
        };
        let mut writer = TarWriter::new(File::create_new(path).map_err(output)?);
        if let Some((upper, changes, _)) = self.all_changes(record)? {
            each_object(upper.as_fd(), &changes, |entry, content| {
                writer
                    .append(&entry.in_layer(), content)
                    .map(|()| true)
                    .map_err(|source| cais_layer::LayerError::Read { source })
            })
            .map_err(failed)?;
        }
        writer.finish().map(drop).map_err(output)
    }
}

/// An archive that was unpacked where things come in; its files go with it.
pub(super) struct Unpacked<'e> {
    ingest: Ingest<'e>,
    pub(super) definition: Definition,
}

impl<'e> Unpacked<'e> {
    /// Unpacks an archive, plain or compressed.
    pub(super) fn new(engine: &'e Engine, input: &mut (dyn Read + Send)) -> Result<Unpacked<'e>> {
        let ingest = engine.store.ingest()?;
        let directory = open_directory(ingest.scratch())?;
        place_archive(input, Ground::Directory(directory.as_fd()), engine.layer_options(), Ids(None))?;
        let text = std::fs::read(ingest.scratch().join(DEFINITION)).map_err(|error| {
            Error::caused(ErrorKind::Invalid, "the archive holds no checkpoint: definition.json", error)
        })?;
        let definition: Definition = serde_json::from_slice(&text)
            .map_err(|error| Error::caused(ErrorKind::Invalid, "definition.json of the archive", error))?;
        if definition.version != VERSION {
            let message = format!("the archive has format {}, known is {VERSION}", definition.version);
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        Ok(Unpacked { ingest, definition })
    }

    /// Puts changed files, volumes and images where they belong to a new container.
    pub(super) fn distribute(
        &self,
        engine: &Engine,
        record: &ContainerRecord,
        place: &CheckpointPlace,
        request: &RestoreRequest,
    ) -> Result<()> {
        let system = |what: String| move |error| Error::caused(ErrorKind::System, what, error);
        let rootfs = self.ingest.scratch().join(ROOTFS);
        let options = engine.layer_options();
        if rootfs.exists() && !request.ignore_rootfs {
            let upper = engine.store.paths().container_upper(&record.id);
            std::fs::create_dir_all(&upper).map_err(system(format!("create {}", upper.display())))?;
            let file = File::open(&rootfs).map_err(system(format!("open {}", rootfs.display())))?;
            unpack(file, open_directory(&upper)?.as_fd(), &options).map_err(failed)?;
        }
        for mount in volumes(record).filter(|_| !request.ignore_volumes) {
            let path = self.ingest.scratch().join(VOLUMES).join(format!("{}.tar", mount.volume));
            if let Ok(mut file) = File::open(&path) {
                let ground = open_directory(&mount.host_path)?;
                place_archive(&mut file, Ground::Directory(ground.as_fd()), options.clone(), Ids(None))?;
            }
        }
        let draft = place.draft();
        for name in ["checkpoint.json", "images"] {
            let target = draft.join(name);
            let _ = std::fs::remove_dir(&target);
            std::fs::rename(self.ingest.scratch().join(name), &target)
                .map_err(system(format!("the archive holds no checkpoint: {name}")))?;
        }
        Ok(place.finish()?)
    }

    /// Names of volumes whose content comes along.
    pub(super) fn brings_volume(&self, name: &str) -> bool {
        self.ingest.scratch().join(VOLUMES).join(format!("{name}.tar")).exists()
    }

    /// The image of the container, pulled by digest when it is not here.
    pub(super) fn image(&self, engine: &Engine, progress: &dyn Progress) -> Result<Option<ImageRecord>> {
        let record = &self.definition.record;
        let Some(id) = &record.image_id else { return Ok(None) };
        if let Some(image) = engine.store.load_image(id)? {
            return Ok(Some(image));
        }
        let mut reason = "the archive names no registry that has it".to_owned();
        for text in &self.definition.image_references {
            if Reference::parse(text).is_err() {
                continue;
            }
            match engine.pull(text, record.request.platform.as_deref(), progress) {
                Ok(_) => {}
                Err(error) => reason = error.message,
            }
            if let Some(image) = engine.store.load_image(id)? {
                return Ok(Some(image));
            }
        }
        Err(no_image(record, id, &reason))
    }
}

fn no_image(record: &ContainerRecord, id: &Digest, reason: &str) -> Error {
    let message = format!(
        "restore container {}: its image {} ({id}) is not here: {reason}",
        short(&record.id),
        record.image_name
    );
    Error::new(ErrorKind::NotFound, message)
        .hint("bring the very same image here with pull or load, then restore again")
}

/// Mounts of volumes.
fn volumes(record: &ContainerRecord) -> impl Iterator<Item = &crate::MountRecord> {
    record.mounts.iter().filter(|mount| mount.request.kind == MountKind::Volume)
}

fn open_directory(path: &Path) -> Result<std::os::fd::OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|error| {
        Error::caused(ErrorKind::System, format!("open {}", path.display()), std::io::Error::from(error))
    })
}
