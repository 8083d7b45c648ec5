//! `container prune`, `image prune`, `volume prune`: what nobody uses goes.
//!
//! What is in use is decided under the lock under which it is taken away. What is reclaimed is measured before it goes,
//! in the same units as `system df`: blocks on the disk.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::view::ImageRemoval;
use crate::{Engine, Result};

/// What may go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PruneFilter {
    /// Made before this instant.
    pub until: Option<Timestamp>,
    /// `key` or `key=value`, all of which it has.
    pub labels: Vec<String>,
    /// `key` or `key=value`, none of which it has.
    pub not_labels: Vec<String>,
}

/// What went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pruned<T> {
    /// In order.
    pub removed: Vec<T>,
    /// Bytes on the disk.
    pub reclaimed_bytes: u64,
    /// What could not be removed, and why.
    pub failures: Vec<String>,
}

impl<T> Default for Pruned<T> {
    fn default() -> Pruned<T> {
        Pruned { removed: Vec::new(), reclaimed_bytes: 0, failures: Vec::new() }
    }
}

impl PruneFilter {
    fn passes(&self, created: Option<&str>, labels: &std::collections::BTreeMap<String, String>) -> bool {
        let has = |wanted: &String| match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|found| found == value),
            None => labels.contains_key(wanted),
        };
        let early = self.until.is_none_or(|until| {
            created.and_then(|text| text.parse::<Timestamp>().ok()).is_some_and(|created| created < until)
        });
        early && self.labels.iter().all(has) && !self.not_labels.iter().any(has)
    }
}

impl Engine {
    /// Removes the containers that do not run; their anonymous volumes stay, as with Docker.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn prune_containers(&self, filter: &PruneFilter) -> Result<Pruned<String>> {
        let mut pruned = Pruned::default();
        let usage = self.store.usage()?;
        for view in self.containers(true)? {
            let record = &view.record;
            if view.is_alive() || record.infra || !filter.passes(Some(&record.created), &record.labels) {
                continue;
            }
            match self.remove(&record.id, false, false) {
                Ok(()) => {
                    pruned.reclaimed_bytes += usage.containers.get(&record.id).copied().unwrap_or(0);
                    pruned.removed.push(record.id.clone());
                }
                // Started meanwhile, or half gone: the others go all the same.
                Err(error) => pruned.failures.push(error.message),
            }
        }
        self.tell_pruned("container", pruned.reclaimed_bytes);
        Ok(pruned)
    }

    /// Removes images without a name (`all`: all) that no container was made from, with the names that they have.
    ///
    /// # Errors
    /// When the store cannot be read, or a record is damaged.
    pub fn prune_images(&self, all: bool, filter: &PruneFilter) -> Result<Pruned<ImageRemoval>> {
        let usage = self.store.usage()?;
        let mut exclusive = self.store.exclusive()?;
        let mut pruned = Pruned::default();
        for image in self.store.images()? {
            let record = &image.record;
            let named = !image.tags.is_empty() || !image.digests.is_empty();
            let wanted = (all || !named)
                && filter.passes(record.config.created.as_deref(), &record.config.config.labels)
                && self.store.containers_using_image(&record.id)?.is_empty();
            if !wanted {
                continue;
            }
            for reference in image.tags.iter().chain(&image.digests) {
                if exclusive.untag(reference)? {
                    pruned.removed.push(ImageRemoval::Untagged(reference.familiar()));
                }
            }
            exclusive.remove_image(&record.id)?;
            pruned.removed.push(ImageRemoval::Deleted(record.id.clone()));
        }
        if !pruned.removed.is_empty() {
            let swept = exclusive.sweep()?;
            pruned.reclaimed_bytes =
                swept.blob_digests.iter().filter_map(|it| usage.blobs.get(it)).sum::<u64>()
                    + swept.layers.iter().filter_map(|it| usage.layers.get(it.hex())).sum::<u64>();
        }
        exclusive.finish()?;
        for removed in &pruned.removed {
            if let ImageRemoval::Deleted(id) = removed {
                self.tell("image", "delete", id.as_str(), &[]);
            }
        }
        self.tell_pruned("image", pruned.reclaimed_bytes);
        Ok(pruned)
    }

    /// Removes anonymous volumes (`all`: all) that no container mounts.
    ///
    /// # Errors
    /// When the store cannot be read, or a record is damaged.
    pub fn prune_volumes(&self, all: bool, filter: &PruneFilter) -> Result<Pruned<String>> {
        let usage = self.store.usage()?;
        let mut exclusive = self.store.exclusive()?;
        let mut pruned = Pruned::default();
        for volume in self.store.volumes()? {
            let wanted = (all || volume.anonymous)
                && filter.passes(Some(&volume.created), &volume.labels)
                && self.store.containers_using_volume(&volume.name)?.is_empty();
            if wanted && !volume.options.is_empty() {
                self.unmount_volume(&volume.name)?;
            }
            if wanted && exclusive.remove_volume(&volume.name)? {
                pruned.reclaimed_bytes += usage.volumes.get(&volume.name).copied().unwrap_or(0);
                pruned.removed.push(volume.name);
            }
        }
        exclusive.finish()?;
        for name in &pruned.removed {
            self.tell("volume", "destroy", name, &[("driver", "local")]);
        }
        self.tell_pruned("volume", pruned.reclaimed_bytes);
        Ok(pruned)
    }

    fn tell_pruned(&self, kind: &str, reclaimed_bytes: u64) {
        self.tell(kind, "prune", "", &[("reclaimed", &reclaimed_bytes.to_string())]);
    }
}

/// Ids of the images that containers were made from.
pub(super) fn used_images(records: &[crate::view::ContainerView]) -> BTreeSet<String> {
    records.iter().filter_map(|view| Some(view.record.image_id.as_ref()?.to_string())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        let labels = [("a".to_owned(), "1".to_owned())].into();
        let passes = |until: Option<&str>, with: &[&str], without: &[&str]| {
            let texts = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
            let until = until.map(|text| text.parse().unwrap());
            let filter = PruneFilter { until, labels: texts(with), not_labels: texts(without) };
            filter.passes(Some("2026-01-01T00:00:00Z"), &labels)
        };
        assert!(passes(None, &[], &[]) && passes(None, &["a"], &["b"]) && passes(None, &["a=1"], &["a=2"]));
        assert!(!passes(None, &["b"], &[]) && !passes(None, &["a", "b"], &[]) && !passes(None, &[], &["a"]));
        assert!(
            passes(Some("2026-01-02T00:00:00Z"), &[], &[]) && !passes(Some("2025-12-31T00:00:00Z"), &[], &[])
        );
    }
}
