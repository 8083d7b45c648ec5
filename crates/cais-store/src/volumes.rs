//! Volumes: directories that outlive containers.
//!
//! `volumes/<name>/` holds `volume.json` and the data in `_data/`; it appears by one rename with both in it. Which
//! containers use a volume is in their records. Copying an image's content into a new volume is the launch's business.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::Store;
use crate::error::{Noun, Result, StoreError};
use crate::files::{self, Durability, random_hex};
use crate::images::short;
use crate::names::check_name;
use crate::paths::{VOLUME_DATA, VOLUME_RECORD};
use crate::run_state::now;
use crate::trash::remove_beneath;

/// What is known of a volume beside its data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeRecord {
    /// Unique name; 64 hex digits when anonymous.
    pub name: String,
    /// RFC 3339 with nanoseconds, UTC.
    pub created: String,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Driver options as given.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// Made for one container and removed with it.
    #[serde(default)]
    pub anonymous: bool,
}

impl Store {
    /// Makes a volume; one that exists is returned as it is. `None` makes an anonymous one.
    ///
    /// `true` when it is new, so that its first user copies the image's content up.
    ///
    /// # Errors
    /// [`StoreError::BadName`], or when the disk refuses; nothing is left behind then.
    pub fn create_volume(
        &self,
        name: Option<&str>,
        labels: BTreeMap<String, String>,
        options: BTreeMap<String, String>,
    ) -> Result<(VolumeRecord, bool)> {
        let anonymous = name.is_none();
        let name = name.map_or_else(|| random_hex(32), str::to_owned);
        self.make_volume(name, anonymous, labels, options)
    }

    /// Makes an anonymous volume under a name from [`crate::random_hex`] that a container's record already has: so a
    /// crash in between leaves nothing that no record names.
    ///
    /// # Errors
    /// As for [`Store::create_volume`].
    pub fn create_anonymous_volume(
        &self,
        name: &str,
        labels: BTreeMap<String, String>,
        options: BTreeMap<String, String>,
    ) -> Result<(VolumeRecord, bool)> {
        self.make_volume(name.to_owned(), true, labels, options)
    }

    fn make_volume(
        &self,
        name: String,
        anonymous: bool,
        labels: BTreeMap<String, String>,
        options: BTreeMap<String, String>,
    ) -> Result<(VolumeRecord, bool)> {
        check_name(Noun::Volume, &name)?;
        if let Some(existing) = self.find_volume(&name)? {
            return Ok((existing, false));
        }
        let record = VolumeRecord { name, created: now(), labels, options, anonymous };
        // An anonymous one lives and dies with its container, which a power cut takes as well.
        let durability = if anonymous { Durability::Volatile } else { Durability::Durable };
        let staged_name = format!("volume-{}", random_hex(8));
        let staged = self.paths().ingest().join(&staged_name);
        let path = self.paths().volume(&record.name);
        // The shared lock keeps `check` from taking the staged directory for a leftover.
        let lock = self.lock_ingest()?;
        let made = files::make_directory(&staged, 0o701)
            .and_then(|()| files::make_directory(&staged.join(VOLUME_DATA), 0o755))
            .and_then(|()| files::write_json(&staged.join(VOLUME_RECORD), &record, durability))
            .and_then(|()| match renameat_with(CWD, &staged, CWD, &path, RenameFlags::NOREPLACE) {
                Ok(()) => Ok(true),
                Err(Errno::EXIST) => Ok(false),
                Err(error) => Err(StoreError::io("create", &path)(error)),
            });
        if !matches!(made, Ok(true)) {
            // The first error is the one to report.
            let _ = remove_beneath(&self.paths().ingest(), &staged_name);
        }
        drop(lock);
        if made? {
            if !anonymous {
                files::sync_parent(&path)?;
            }
            return Ok((record, true));
        }
        // Somebody else made it meanwhile.
        Ok((self.load_volume(&record.name)?, false))
    }

    /// The volume of this name.
    ///
    /// # Errors
    /// [`StoreError::NoSuch`], [`StoreError::Damaged`].
    pub fn load_volume(&self, name: &str) -> Result<VolumeRecord> {
        let missing = || StoreError::NoSuch { noun: Noun::Volume, name: name.to_owned() };
        check_name(Noun::Volume, name).map_err(|_| missing())?;
        self.find_volume(name)?.ok_or_else(missing)
    }

    fn find_volume(&self, name: &str) -> Result<Option<VolumeRecord>> {
        files::read_json(&self.paths().volume(name).join(VOLUME_RECORD))
    }

    /// All volumes by name.
    ///
    /// # Errors
    /// When a record is damaged or unreadable.
    pub fn volumes(&self) -> Result<Vec<VolumeRecord>> {
        let mut volumes = Vec::new();
        for name in files::list(&self.paths().volumes())? {
            volumes.extend(self.find_volume(&name)?);
        }
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(volumes)
    }

    /// Where a volume's data lies on the host.
    pub fn volume_path(&self, name: &str) -> PathBuf {
        self.paths().volume_data(name)
    }

    /// Whether nothing is in a volume.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn volume_is_empty(&self, name: &str) -> Result<bool> {
        let path = self.paths().volume_data(name);
        let mut entries = std::fs::read_dir(&path).map_err(StoreError::io("list", &path))?;
        Ok(entries.next().is_none())
    }

    /// Removes a volume that no container mounts.
    ///
    /// # Errors
    /// [`StoreError::NoSuch`] or [`StoreError::InUse`].
    pub fn remove_volume(&self, name: &str) -> Result<()> {
        self.remove_volume_unless_used(name, None)
    }

    /// Removes a volume that no container mounts but `container`, which is about to go: the record goes last, so that a
    /// crash in between leaves nothing that no record names.
    ///
    /// # Errors
    /// As for [`Store::remove_volume`].
    pub fn remove_volume_of(&self, name: &str, container: &str) -> Result<()> {
        self.remove_volume_unless_used(name, Some(container))
    }

    fn remove_volume_unless_used(&self, name: &str, but_by: Option<&str>) -> Result<()> {
        let missing = || StoreError::NoSuch { noun: Noun::Volume, name: name.to_owned() };
        check_name(Noun::Volume, name).map_err(|_| missing())?;
        let mut exclusive = self.exclusive()?;
        let mut users = self.containers_using_volume(name)?;
        users.retain(|id| Some(id.as_str()) != but_by);
        if !users.is_empty() {
            let containers = users.iter().map(|id| short(id).to_owned()).collect();
            return Err(StoreError::InUse { noun: Noun::Volume, name: name.to_owned(), containers });
        }
        let existed = exclusive.remove_volume(name)?;
        exclusive.finish()?;
        if existed { Ok(()) } else { Err(missing()) }
    }
}
