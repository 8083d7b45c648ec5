//! Finds what a crash, a full disk or a stranger's hand left behind, and repairs what can be repaired.
//!
//! Runs under the exclusive lock of [`crate::gc`], so that nothing is in the middle of becoming reachable. A leftover is
//! moved to the trash; an image that lacks a part is given up with its references, because it cannot be run and a pull
//! brings it back whole; what belongs to a user (containers, volumes, pods) is never thrown away, only reported.

mod pods;

use std::collections::BTreeSet;
use std::path::Path;

use cais_oci::Digest;

use crate::Store;
use crate::containers::Needs;
use crate::error::{Noun, Result, StoreError};
use crate::files::{self, Durability, Lock};
use crate::gc::{Exclusive, ImageNeeds};
use crate::images::{parse_reference_file, short};
use crate::names::{check_name, is_id};
use crate::paths::{LAYER_META, TEMPORARY_PREFIX, VOLUME_DATA, VOLUME_RECORD};
use crate::run_state::{boot_id, now};
use crate::trash::{Trash, remove_beneath};
use crate::volumes::VolumeRecord;

/// One thing that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreFinding {
    /// `ingest`, `trash`, `layer`, `blob`, `image`, `reference`, `container`, `pod`, `name`, `volume`, `run`, `file`.
    pub kind: &'static str,
    /// Which.
    pub object: String,
    /// What is wrong with it.
    pub problem: String,
    /// Whether it is so no longer.
    pub repaired: bool,
}

impl Store {
    /// Looks through the whole store; with `repair` puts right what can be.
    ///
    /// What other processes are at work on is left alone and not reported. Idempotent.
    ///
    /// # Errors
    /// When the store itself is unreadable, or a repair fails.
    pub fn check(&self, repair: bool) -> Result<Vec<StoreFinding>> {
        let mut exclusive = self.exclusive()?;
        let mut check = Check { store: self, repair, findings: Vec::new() };
        check.temporary_files()?;
        check.containers()?;
        check.names()?;
        pods::check(&mut check)?;
        check.volumes()?;
        check.images(&mut exclusive)?;
        check.references()?;
        check.content(&mut exclusive)?;
        exclusive.finish()?;
        check.ingest()?;
        check.run()?;
        check.trash()?;
        Ok(check.findings)
    }
}

struct Check<'store> {
    store: &'store Store,
    repair: bool,
    findings: Vec<StoreFinding>,
}

impl Check<'_> {
    fn found(
        &mut self,
        kind: &'static str,
        object: impl Into<String>,
        problem: impl Into<String>,
        repaired: bool,
    ) {
        self.findings.push(StoreFinding { kind, object: object.into(), problem: problem.into(), repaired });
    }

    /// Files beside their final name, whose writer was killed.
    fn temporary_files(&mut self) -> Result<()> {
        let paths = self.store.paths();
        for directory in [paths.refs(), paths.images(), paths.names(), paths.blobs(), paths.root().to_owned()]
        {
            for name in files::list_all(&directory)? {
                if name.starts_with(TEMPORARY_PREFIX) {
                    let path = directory.join(name);
                    if self.repair {
                        files::remove_file(&path)?;
                    }
                    self.found("file", path.display().to_string(), "was left half written", self.repair);
                }
            }
        }
        Ok(())
    }

    fn containers(&mut self) -> Result<()> {
        for id in self.store.container_ids()? {
            match files::read_json::<Needs>(&self.store.paths().container_record(&id)) {
                Ok(Some(needs)) => self.container(&id, &needs)?,
                Ok(None) => {
                    let running = self.store.is_running(&id)?;
                    if self.repair && !running {
                        self.store.remove_container(&id)?;
                    }
                    self.found("container", &id, "has no record", self.repair && !running);
                }
                Err(StoreError::Damaged { source, .. }) => {
                    self.found(
                        "container",
                        &id,
                        format!("has a damaged record ({source}): remove it by its id"),
                        false,
                    );
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn container(&mut self, id: &str, needs: &Needs) -> Result<()> {
        for layer in &needs.layers {
            if self.store.layer(layer).ok().flatten().is_none() {
                let problem =
                    format!("needs layer {}, which is missing: it cannot be started", layer.short());
                self.found("container", id, problem, false);
            }
        }
        match self.store.name_owner(&needs.name)? {
            Some(owner) if owner == id => {}
            Some(owner) => {
                let problem =
                    format!("is called {:?}, but that name belongs to {}", needs.name, short(&owner));
                self.found("container", id, problem, false);
            }
            None => {
                let named = self.repair && check_name(Noun::Container, &needs.name).is_ok();
                if named {
                    files::remove_file(&self.store.paths().name(&needs.name))?;
                    self.store.reserve_name(&needs.name, id)?;
                }
                self.found("container", id, format!("has lost its name {:?}", needs.name), named);
            }
        }
        Ok(())
    }

    fn names(&mut self) -> Result<()> {
        for name in files::list(&self.store.paths().names())? {
            let owner = self.store.name_owner(&name)?;
            let record = owner.as_ref().map(|id| self.store.paths().container_record(id));
            let problem = match record.map(|path| files::read_json::<Needs>(&path)) {
                Some(Ok(Some(needs))) if needs.name == name => continue,
                // Reported with its container.
                Some(Err(StoreError::Damaged { .. })) => continue,
                Some(Err(error)) => return Err(error),
                Some(Ok(_)) => "names a container that does not exist or has another name",
                None => "does not hold a container id",
            };
            if self.repair {
                files::remove_file(&self.store.paths().name(&name))?;
            }
            self.found("name", name, problem, self.repair);
        }
        Ok(())
    }

    fn volumes(&mut self) -> Result<()> {
        for name in files::list(&self.store.paths().volumes())? {
            let path = self.store.paths().volume(&name);
            let record = files::read_json::<VolumeRecord>(&path.join(VOLUME_RECORD));
            let problem = match record {
                Ok(Some(_)) => continue,
                Ok(None) => "has no record",
                Err(StoreError::Damaged { .. }) => "has a damaged record",
                Err(error) => return Err(error),
            };
            // Labels are lost, the data is not.
            let repaired =
                self.repair && path.join(VOLUME_DATA).is_dir() && check_name(Noun::Volume, &name).is_ok();
            if repaired {
                let anonymous = is_id(&name);
                let (labels, options) = Default::default();
                let record = VolumeRecord { name: name.clone(), created: now(), labels, options, anonymous };
                files::write_json(&path.join(VOLUME_RECORD), &record, Durability::Durable)?;
            }
            self.found("volume", name, problem, repaired);
        }
        Ok(())
    }

    fn images(&mut self, exclusive: &mut Exclusive<'_>) -> Result<()> {
        for file in files::list(&self.store.paths().images())? {
            let path = self.store.paths().images().join(&file);
            let id = format!("sha256:{}", file.strip_suffix(".json").unwrap_or(&file));
            let problem = match files::read_json::<ImageNeeds>(&path) {
                Ok(None) => continue,
                Ok(Some(image)) if image.id.as_str() != id => "is stored under another id".to_owned(),
                Ok(Some(image)) => match self.missing_part(&image) {
                    None => continue,
                    Some(part) => format!("lacks {part}: pull or load it again"),
                },
                Err(StoreError::Damaged { source, .. }) => {
                    format!("has a damaged record ({source}): pull or load it again")
                }
                Err(error) => return Err(error),
            };
            if self.repair {
                match id.parse::<Digest>() {
                    Ok(id) => exclusive.remove_image(&id)?,
                    Err(_) => files::remove_file(&path)?,
                }
            }
            self.found("image", id, problem, self.repair);
        }
        Ok(())
    }

    /// A blob of a layer is no part of it: it may be absent when the layer came from another image.
    fn missing_part(&self, image: &ImageNeeds) -> Option<String> {
        let layer = image.layers().find(|layer| self.store.layer(layer).ok().flatten().is_none());
        if let Some(layer) = layer {
            return Some(format!("layer {}", layer.short()));
        }
        let blob =
            [&image.manifest.digest, &image.id].into_iter().find(|blob| self.store.read_blob(blob).is_err());
        blob.map(|blob| format!("a sound blob {}", blob.short()))
    }

    fn references(&mut self) -> Result<()> {
        let directory = self.store.paths().refs();
        for name in files::list(&directory)? {
            let path = directory.join(&name);
            let Some(bytes) = files::read(&path)? else { continue };
            let (object, problem) = match parse_reference_file(&bytes) {
                Some((id, _)) if self.store.paths().image(&id).exists() => continue,
                Some((_, reference)) => (reference.familiar(), "means an image that is not here"),
                None => (name, "is damaged"),
            };
            if self.repair {
                files::remove_file(&path)?;
            }
            self.found("reference", object, problem, self.repair);
        }
        Ok(())
    }

    /// Layers and blobs that nothing reaches, and layers that are not whole.
    fn content(&mut self, exclusive: &mut Exclusive<'_>) -> Result<()> {
        let reachable = match self.store.reachable() {
            Ok(reachable) => reachable,
            // Reported above; nothing may be swept while nobody knows what that record needs.
            Err(StoreError::Damaged { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        let paths = self.store.paths();
        for name in files::list(&paths.layers())? {
            let whole = paths.layers().join(&name).join(LAYER_META).exists();
            if !reachable.layers.contains(&name) {
                let problem = if whole { "is used by no image or container" } else { "is not complete" };
                self.found("layer", name, problem, self.repair);
            }
        }
        for name in files::list(&paths.blobs())? {
            if !reachable.blobs.contains(&name) {
                self.found("blob", name, "is used by no image", self.repair);
            }
        }
        if self.repair {
            exclusive.sweep()?;
        }
        Ok(())
    }

    /// What a killed pull left; nothing of it means anything when nobody holds the lock.
    fn ingest(&mut self) -> Result<()> {
        let Some(_lock) = Lock::try_exclusive(&self.store.paths().ingest_lock())? else { return Ok(()) };
        let leftovers = self.store.ingest_leftovers()?;
        for path in &leftovers {
            // The directory for complete layers stays after every ingest; only its content is a leftover.
            let is_ready = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ready-"));
            if is_ready && files::list_all(path)?.is_empty() {
                continue;
            }
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            self.found("ingest", name, "was left by an interrupted pull, load or import", self.repair);
        }
        if self.repair {
            self.store.clear_ingest(None)?.empty()?;
        }
        Ok(())
    }

    /// Run directories of containers that are gone, and of another boot.
    fn run(&mut self) -> Result<()> {
        let paths = self.store.paths();
        let this_boot = boot_id();
        let made_in = files::read(&paths.boot_id())?.unwrap_or_default();
        let is_stale = !this_boot.is_empty() && made_in != this_boot.as_bytes();
        // In this order: a container is there before its run directory.
        let run_directories = files::list(&paths.run_containers())?;
        let known: BTreeSet<String> = self.store.container_ids()?.into_iter().collect();
        for id in run_directories {
            if known.contains(&id) && !is_stale || self.store.is_running(&id)? {
                continue;
            }
            if self.repair {
                remove_beneath(&paths.run_containers(), &id)?;
            }
            let problem = if is_stale { "is from before the last boot" } else { "belongs to no container" };
            self.found("run", id, problem, self.repair);
        }
        if is_stale && self.repair {
            files::write_atomic(&paths.boot_id(), this_boot.as_bytes(), Durability::Volatile)?;
        }
        Ok(())
    }

    fn trash(&mut self) -> Result<()> {
        let path: &Path = &self.store.paths().trash();
        let Some(trash) = Trash::open_leftovers(path.to_owned())? else { return Ok(()) };
        for name in trash.names().to_vec() {
            self.found("trash", name, "was removed, but not yet unlinked", self.repair);
        }
        if self.repair { trash.empty() } else { Ok(()) }
    }
}
