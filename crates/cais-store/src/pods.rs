//! Pod records. Which containers are in a pod is in their records, so that nothing is written twice.
//!
//! A pod is removed when it has no container any more: that, the making of a pod and the making of a member exclude each
//! other by one lock, on the directory, held for the moment of a scan and a write.

use std::fs::File;

use rustix::fs::FlockOperation;

use crate::Store;
use crate::error::{Noun, Result, StoreError};
use crate::files::{self, Durability};
use crate::images::{short, unique_prefix};
use crate::names::{check_name, is_id};
use crate::record::PodRecord;

/// The right to add to a pod or to make one; others wait.
#[derive(Debug)]
pub struct PodHold {
    _directory: File,
}

impl Store {
    /// Waits for the right to change which pods there are and who is in them. Never held while waiting for a process.
    ///
    /// # Errors
    /// When the store is not writable.
    pub fn hold_pods(&self) -> Result<PodHold> {
        let path = self.paths().pods();
        // A store that was made before there were pods has no such directory.
        files::make_directory(&path, 0o700)?;
        let directory = File::open(&path).map_err(StoreError::io("open", &path))?;
        files::lock(&directory, &path, FlockOperation::LockExclusive)?;
        Ok(PodHold { _directory: directory })
    }

    /// Writes a new pod.
    ///
    /// # Errors
    /// [`StoreError::NameTaken`], [`StoreError::BadName`].
    pub fn put_pod(&self, record: &PodRecord, _hold: &PodHold) -> Result<()> {
        check_name(Noun::Pod, &record.name)?;
        if let Some(owner) = self.pods()?.into_iter().find(|pod| pod.name == record.name) {
            let (noun, name, owner) = (Noun::Pod, record.name.clone(), short(&owner.id).to_owned());
            return Err(StoreError::NameTaken { noun, name, owner });
        }
        files::write_json(&self.paths().pod(&record.id), record, Durability::Volatile)
    }

    /// All pods, in no order.
    ///
    /// # Errors
    /// When the store is unreadable or a record is damaged.
    pub fn pods(&self) -> Result<Vec<PodRecord>> {
        let mut all = Vec::new();
        for id in self.pod_ids()? {
            all.extend(files::read_json(&self.paths().pod(&id))?);
        }
        Ok(all)
    }

    pub(crate) fn pod_ids(&self) -> Result<Vec<String>> {
        let names = files::list(&self.paths().pods())?;
        let ids = names.iter().filter_map(|name| name.strip_suffix(".json")).filter(|id| is_id(id));
        Ok(ids.map(str::to_owned).collect())
    }

    /// The record of a pod, by full id.
    ///
    /// # Errors
    /// [`StoreError::NoSuch`] when it is gone, [`StoreError::Damaged`].
    pub fn load_pod(&self, id: &str) -> Result<PodRecord> {
        files::read_json(&self.paths().pod(id))?.ok_or_else(|| no_pod(id))
    }

    /// Finds a pod by what a user typed: full id, name, unique prefix of an id.
    ///
    /// # Errors
    /// [`StoreError::NoSuch`] or [`StoreError::Ambiguous`].
    pub fn find_pod(&self, text: &str) -> Result<PodRecord> {
        let mut pods = self.pods()?;
        let by_name = pods.iter().position(|pod| pod.id == text || pod.name == text);
        if let Some(at) = by_name {
            return Ok(pods.swap_remove(at));
        }
        let found =
            unique_prefix(Noun::Pod, text, pods.iter().map(|pod| pod.id.as_str()))?.map(str::to_owned);
        pods.into_iter().find(|pod| found.as_deref() == Some(&pod.id)).ok_or_else(|| no_pod(text))
    }

    /// Ids of the containers of a pod, in no order.
    ///
    /// # Errors
    /// When a record is damaged or unreadable.
    pub fn pod_members(&self, id: &str) -> Result<Vec<String>> {
        let members = self.container_needs()?.into_iter().filter(|needs| needs.pod.as_deref() == Some(id));
        Ok(members.map(|needs| needs.id).collect())
    }

    /// Takes a pod away that has no container; false when it has one. Idempotent.
    ///
    /// # Errors
    /// When the store is not writable.
    pub fn remove_pod(&self, id: &str) -> Result<bool> {
        let _hold = self.hold_pods()?;
        if !self.pod_members(id)?.is_empty() {
            return Ok(false);
        }
        files::remove_file(&self.paths().pod(id))?;
        Ok(true)
    }
}

fn no_pod(name: &str) -> StoreError {
    StoreError::NoSuch { noun: Noun::Pod, name: name.to_owned() }
}
