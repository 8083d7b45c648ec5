//! Container records and names.
//!
//! A container exists when `containers/<id>/record.json` exists; its name is a symlink whose text is the id, made by one
//! symlink(2), so of two creators with one name exactly one wins. Order of creation: directory, record under a draft name, name,
//! record. Order of removal: name, then the whole directory by one rename into the trash. A crash in between leaves
//! what `check` finds. Knows nothing of processes: what must be unmounted or killed is gone before a removal.

use std::fs::File;
use std::path::PathBuf;

use cais_oci::Digest;
use rustix::fs::FlockOperation;
use serde::Deserialize;

use crate::Store;
use crate::error::{Noun, Result, StoreError};
use crate::files::{self, Durability};
use crate::gc::Hold;
use crate::images::{short, unique_prefix};
use crate::names::{check_name, is_id, random_name};
use crate::record::ContainerRecord;
use crate::trash::{Trash, remove_beneath};

/// The parts of a record that reachability needs.
#[derive(Debug, Deserialize)]
pub(crate) struct Needs {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) image_id: Option<Digest>,
    #[serde(default)]
    pub(crate) layers: Vec<Digest>,
    #[serde(default)]
    pub(crate) pod: Option<String>,
    #[serde(default)]
    pub(crate) mounts: Vec<NeedsMount>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct NeedsMount {
    #[serde(default)]
    volume: String,
    #[serde(default)]
    pub(crate) layers: Vec<Digest>,
}

impl Store {
    /// Writes a new container: reserves its name, makes its directory and record.
    ///
    /// Not durable: a container that a power cut takes never ran.
    ///
    /// # Errors
    /// [`StoreError::NameTaken`], [`StoreError::BadName`], and [`StoreError::NoSuch`] when its image was removed
    /// meanwhile; nothing is left behind then.
    pub fn put_container(&self, record: &ContainerRecord, _hold: &Hold) -> Result<()> {
        check_name(Noun::Container, &record.name)?;
        if let Some(image) = &record.image_id
            && !self.paths().image(image).exists()
        {
            return Err(StoreError::NoSuch { noun: Noun::Image, name: image.to_string() });
        }
        if let Some(owner) = self.name_owner(&record.name)? {
            return Err(name_taken(&record.name, &owner));
        }
        let (directory, draft) =
            (self.paths().container(&record.id), self.paths().container_draft(&record.id));
        files::make_directory(&directory, 0o711)?;
        let written = files::write_draft(&draft, record)
            .and_then(|()| self.reserve_name(&record.name, &record.id))
            .and_then(|()| {
                let path = self.paths().container_record(&record.id);
                std::fs::rename(&draft, &path).map_err(StoreError::io("write", &path))
            });
        if let Err(error) = written {
            // The first error is the one to report.
            let _ = self.remove_container(&record.id);
            return Err(error);
        }
        Ok(())
    }

    /// Replaces the record of a container whose definition changed.
    ///
    /// # Errors
    /// [`StoreError::NoSuch`] when the container is gone.
    pub fn update_container(&self, record: &ContainerRecord) -> Result<()> {
        let path = self.paths().container_record(&record.id);
        if !path.exists() {
            return Err(no_container(&record.id));
        }
        files::write_json(&path, record, Durability::Volatile)
    }

    /// Reads the record of a container, changes it and writes it back, alone under the container's lock.
    ///
    /// # Errors
    /// [`StoreError::NoSuch`] when it is gone; what `change` fails with, and then nothing is written.
    pub fn change_container<T, E: From<StoreError>>(
        &self,
        id: &str,
        change: impl FnOnce(&mut ContainerRecord) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let _handle = self.lock_container(id)?.ok_or_else(|| no_container(id))?;
        let mut record = self.load_container(id)?;
        let result = change(&mut record)?;
        self.update_container(&record)?;
        Ok(result)
    }

    /// Gives a container another name, and returns the old one. The new name is there before the old one goes; a crash
    /// in between leaves a second name, which `check` finds.
    ///
    /// # Errors
    /// [`StoreError::NameTaken`], [`StoreError::BadName`], [`StoreError::NoSuch`]; the old name stays then.
    pub fn rename_container(&self, id: &str, name: &str) -> Result<String> {
        check_name(Noun::Container, name)?;
        let old = self.change_container(id, |record| {
            self.reserve_name(name, id)?;
            Ok::<_, StoreError>(std::mem::replace(&mut record.name, name.to_owned()))
        });
        match old {
            Ok(old) => {
                if self.name_owner(&old)?.as_deref() == Some(id) {
                    files::remove_file(&self.paths().name(&old))?;
                }
                Ok(old)
            }
            Err(error) => {
                // Only a name that was made here and did not get into the record is taken back.
                let recorded = self.recorded_name(id)?;
                if recorded.is_some_and(|recorded| recorded != name)
                    && self.name_owner(name)?.as_deref() == Some(id)
                {
                    files::remove_file(&self.paths().name(name))?;
                }
                Err(error)
            }
        }
    }

    /// Makes the name; of two makers exactly one wins.
    pub(crate) fn reserve_name(&self, name: &str, id: &str) -> Result<()> {
        let path = self.paths().name(name);
        match std::os::unix::fs::symlink(id, &path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Err(name_taken(name, &self.name_owner(name)?.unwrap_or_default()))
            }
            other => other.map_err(StoreError::io("make the name", &path)),
        }
    }

    /// Id of the container of this name.
    pub(crate) fn name_owner(&self, name: &str) -> Result<Option<String>> {
        let path = self.paths().name(name);
        match std::fs::read_link(&path) {
            Ok(target) => Ok(target.into_os_string().into_string().ok().filter(|id| is_id(id))),
            // EINVAL: there is something, but no symlink.
            Err(error) if files::is_absent(&error) || error.kind() == std::io::ErrorKind::InvalidInput => {
                Ok(None)
            }
            Err(error) => Err(StoreError::io("read", &path)(error)),
        }
    }

    /// Whether no container has this name.
    ///
    /// # Errors
    /// When the store is unreadable.
    pub fn name_available(&self, name: &str) -> Result<bool> {
        Ok(self.name_owner(name)?.is_none())
    }

    /// A random name that no container has at this moment.
    ///
    /// # Errors
    /// When the store is unreadable.
    pub fn free_name(&self) -> Result<String> {
        let mut attempt = 0;
        loop {
            let name = random_name(attempt);
            if self.name_available(&name)? {
                return Ok(name);
            }
            attempt += 1;
        }
    }

    /// Ids of all containers, in no order.
    ///
    /// # Errors
    /// When the store is unreadable.
    pub fn container_ids(&self) -> Result<Vec<String>> {
        let mut ids = files::list(&self.paths().containers())?;
        ids.retain(|id| is_id(id));
        Ok(ids)
    }

    /// Finds a container by what a user typed: full id, name (a leading `/` is allowed), unique prefix of an id.
    ///
    /// # Errors
    /// [`StoreError::NoSuch`] or [`StoreError::Ambiguous`].
    pub fn resolve_container(&self, text: &str) -> Result<String> {
        if is_id(text) && self.paths().container(text).exists() {
            return Ok(text.to_owned());
        }
        let name = text.strip_prefix('/').unwrap_or(text);
        if check_name(Noun::Container, name).is_ok()
            && let Some(id) = self.name_owner(name)?
        {
            return Ok(id);
        }
        let ids = self.container_ids()?;
        let found = unique_prefix(Noun::Container, text, ids.iter().map(String::as_str))?;
        found.map(str::to_owned).ok_or_else(|| no_container(text))
    }

    /// The id of the container of exactly this name.
    ///
    /// # Errors
    /// [`StoreError::NoSuch`].
    pub fn resolve_name(&self, name: &str) -> Result<String> {
        self.name_owner(name)?.ok_or_else(|| no_container(name))
    }

    /// The record of a container, by full id.
    ///
    /// # Errors
    /// [`StoreError::NoSuch`] when it is gone, [`StoreError::Damaged`].
    pub fn load_container(&self, id: &str) -> Result<ContainerRecord> {
        files::read_json(&self.paths().container_record(id))?.ok_or_else(|| no_container(id))
    }

    /// Takes a container away: name, record, files, run directory. Idempotent.
    ///
    /// # Errors
    /// When something cannot be removed; what is left is in the trash, where `check` finds it.
    pub fn remove_container(&self, id: &str) -> Result<()> {
        if let Some(handle) = self.lock_container(id)? {
            // Only the holder of the lock takes the name away, and only if it is still this container's.
            if let Some(name) = self.recorded_name(id)?
                && self.name_owner(&name)?.as_deref() == Some(id)
            {
                files::remove_file(&self.paths().name(&name))?;
            }
            let mut trash = Trash::open(self.paths().trash())?;
            trash.take(&self.paths().container(id))?;
            drop(handle);
            trash.empty()?;
        }
        remove_beneath(&self.paths().run_containers(), id)
    }

    /// Locks the directory of a container against other removers; `None` when it is gone.
    fn lock_container(&self, id: &str) -> Result<Option<File>> {
        let path: PathBuf = self.paths().container(id);
        let handle = match File::open(&path) {
            Ok(handle) => handle,
            Err(error) if files::is_absent(&error) => return Ok(None),
            Err(error) => return Err(StoreError::io("open", &path)(error)),
        };
        files::lock(&handle, &path, FlockOperation::LockExclusive)?;
        // Another remover may have moved it away while we waited.
        Ok(path.exists().then_some(handle))
    }

    /// Name in the record or in its draft; `None` when neither is readable.
    fn recorded_name(&self, id: &str) -> Result<Option<String>> {
        for path in [self.paths().container_record(id), self.paths().container_draft(id)] {
            match files::read_json::<Needs>(&path) {
                Ok(Some(needs)) if check_name(Noun::Container, &needs.name).is_ok() => {
                    return Ok(Some(needs.name));
                }
                // A damaged record must not prevent its removal; its name is looked for below.
                Ok(_) | Err(StoreError::Damaged { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        for name in files::list(&self.paths().names())? {
            if self.name_owner(&name)?.as_deref() == Some(id) {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// Notes that another container requires this one, so that [`Store::may_be_required`] need not look at all records.
    ///
    /// # Errors
    /// When its directory is not writable.
    pub fn note_required(&self, id: &str) -> Result<()> {
        files::write_atomic(&self.paths().container_required(id), b"", Durability::Volatile)
    }

    /// Whether another container ever required this one.
    #[must_use]
    pub fn may_be_required(&self, id: &str) -> bool {
        self.paths().container_required(id).exists()
    }

    /// Ids of the containers made from an image.
    ///
    /// # Errors
    /// When a record is damaged or unreadable.
    pub fn containers_using_image(&self, image: &Digest) -> Result<Vec<String>> {
        let needs = self.container_needs()?;
        Ok(needs
            .into_iter()
            .filter(|needs| needs.image_id.as_ref() == Some(image))
            .map(|needs| needs.id)
            .collect())
    }

    /// Ids of the containers that mount a volume.
    ///
    /// # Errors
    /// When a record is damaged or unreadable.
    pub fn containers_using_volume(&self, volume: &str) -> Result<Vec<String>> {
        let uses = |needs: &Needs| needs.mounts.iter().any(|mount| mount.volume == volume);
        Ok(self.container_needs()?.into_iter().filter(uses).map(|needs| needs.id).collect())
    }

    /// What each container needs; damaged records are errors, because nothing may be swept then.
    pub(crate) fn container_needs(&self) -> Result<Vec<Needs>> {
        let mut all = Vec::new();
        for id in self.container_ids()? {
            all.extend(files::read_json::<Needs>(&self.paths().container_record(&id))?);
        }
        Ok(all)
    }
}

fn no_container(name: &str) -> StoreError {
    StoreError::NoSuch { noun: Noun::Container, name: name.to_owned() }
}

fn name_taken(name: &str, owner: &str) -> StoreError {
    StoreError::NameTaken { noun: Noun::Container, name: name.to_owned(), owner: short(owner).to_owned() }
}
