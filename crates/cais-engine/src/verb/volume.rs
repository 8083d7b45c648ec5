//! `volume create`, `ls`, `inspect`, `rm`.

use std::collections::BTreeMap;

use cais_store::{StoreError, VolumeRecord};

use crate::view::VolumeView;
use crate::{Engine, Result};

impl Engine {
    /// Makes a volume; one that exists is returned as it is. `None` makes an anonymous one.
    ///
    /// # Errors
    /// When the name breaks the grammar or an option is not supported.
    pub fn volume_create(
        &self,
        name: Option<&str>,
        labels: BTreeMap<String, String>,
        options: BTreeMap<String, String>,
    ) -> Result<VolumeView> {
        crate::local_driver::parse(&options)?;
        let (record, fresh) = self.store.create_volume(name, labels, options)?;
        if fresh {
            self.tell("volume", "create", &record.name, &[("driver", "local")]);
        }
        Ok(self.volume_view(record))
    }

    /// All volumes by name.
    ///
    /// # Errors
    /// When the store is unreadable.
    pub fn volumes(&self) -> Result<Vec<VolumeView>> {
        let records = self.store.volumes()?;
        Ok(records.into_iter().map(|record| self.volume_view(record)).collect())
    }

    /// One volume by name.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`].
    pub fn volume(&self, name: &str) -> Result<VolumeView> {
        Ok(self.volume_view(self.store.load_volume(name)?))
    }

    /// Removes a volume that no container mounts; with `force` a missing one is no error.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`], [`crate::ErrorKind::Conflict`] when a container mounts it.
    pub fn volume_remove(&self, name: &str, force: bool) -> Result<()> {
        if self.store.load_volume(name).is_ok_and(|volume| !volume.options.is_empty())
            && self.store.containers_using_volume(name)?.is_empty()
        {
            // Left by a run whose traces were lost: what is mounted is not the volume's to remove.
            self.unmount_volume(name)?;
        }
        match self.store.remove_volume(name) {
            Err(StoreError::NoSuch { .. }) if force => return Ok(()),
            other => other?,
        }
        self.tell("volume", "destroy", name, &[("driver", "local")]);
        Ok(())
    }

    fn volume_view(&self, record: VolumeRecord) -> VolumeView {
        VolumeView {
            mountpoint: self.store.volume_path(&record.name),
            name: record.name,
            driver: "local".into(),
            created: record.created,
            labels: record.labels,
            options: record.options,
            scope: "local".into(),
            anonymous: record.anonymous,
        }
    }
}
