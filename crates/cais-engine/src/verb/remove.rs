//! `rm`: a container and everything of it goes.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::attach::short;
use crate::{ContainerRecord, Engine, Error, ErrorKind, Result};

impl Engine {
    /// Removes those that depend on a container (`--depend`), then it.
    ///
    /// # Errors
    /// As for [`Engine::remove`]; what was removed until then is gone.
    pub fn remove_with_dependents(&self, name: &str, force: bool, volumes: bool) -> Result<()> {
        let id = self.store.resolve_container(name)?;
        let mut order = Vec::new();
        dependents_first(&id, &self.records()?, &mut BTreeSet::new(), &mut order);
        for id in &order {
            self.remove(id, force, volumes)?;
        }
        Ok(())
    }

    /// What a pod or another container needs stays. Namespaces need nobody: who shares them keeps them.
    fn check_removable(&self, record: &ContainerRecord) -> Result<()> {
        let id = record.id.as_str();
        if let Some(pod) = record.pod.as_deref().filter(|_| record.infra)
            && let Ok(pod) = self.store.load_pod(pod)
        {
            let message =
                format!("container {} holds the namespaces of pod {} and goes with it", short(id), pod.name);
            return Err(Error::new(ErrorKind::Conflict, message)
                .hint(format!("remove the pod: cais pod rm {}", pod.name)));
        }
        if !self.store.may_be_required(id) {
            return Ok(());
        }
        let needs_it = |other: &ContainerRecord| other.requires.iter().any(|needed| needed == id);
        let mut others: Vec<String> =
            self.records()?.into_iter().filter(needs_it).map(|other| other.name).collect();
        others.sort();
        if !others.is_empty() {
            let message = format!("container {} is required by {}", record.name, others.join(", "));
            return Err(Error::new(ErrorKind::Conflict, message)
                .hint(format!("remove those first, or `cais rm --depend {}`", record.name)));
        }
        Ok(())
    }

    /// Removes a container; a running one only with `force`, which kills it. `volumes` takes its anonymous volumes, too.
    ///
    /// # Errors
    /// When it runs and `force` is not given, or something of it cannot be removed.
    pub fn remove(&self, name: &str, force: bool, volumes: bool) -> Result<()> {
        let id = self.store.resolve_container(name)?;
        if let Ok(record) = self.store.load_container(&id) {
            self.check_removable(&record)?;
        }
        self.remove_any(&id, name, force, volumes)
    }

    /// As [`Engine::remove`] by full id, also of what a pod or another container needs.
    pub(super) fn remove_any(&self, id: &str, name: &str, force: bool, volumes: bool) -> Result<()> {
        let id = id.to_owned();
        let record = self.store.load_container(&id);
        if !force && record.as_ref().is_ok_and(|record| self.is_restarting(record).unwrap_or(false)) {
            let message = format!("cannot remove container {name}: it is restarting");
            return Err(Error::new(ErrorKind::Conflict, message)
                .hint(format!("stop it first, or `cais rm -f {name}`")));
        }
        let running = self.store.is_running(&id)? && self.store.read_exit(&id)?.is_none();
        if running && !force {
            let (state, first) = match self.is_frozen(&id) {
                true => ("paused", "unpause and stop it first"),
                false => ("running", "stop it first"),
            };
            let message = format!("cannot remove container {name}: it is {state}");
            return Err(
                Error::new(ErrorKind::Conflict, message).hint(format!("{first}, or `cais rm -f {name}`"))
            );
        }
        if let Ok(record) = &record
            && self.store.is_running(&id)?
        {
            const SIGKILL: i32 = 9;
            if record.may_run_again() {
                self.store.mark_stopped(&id)?;
            }
            self.end(record, SIGKILL, Some(Duration::from_secs(30)))?;
        }
        if self.store.is_running(&id)? {
            let message = format!("container {} is still ending", short(&id));
            return Err(Error::new(ErrorKind::Conflict, message).hint("try again in a moment"));
        }
        self.tear_down(&id)?;
        if let (Ok(record), true) = (&record, volumes) {
            self.remove_anonymous_volumes(record);
        }
        // One that was to be removed at its end is gone by now, and that is told.
        let is_there = self.store.paths().container_record(&id).exists();
        self.store.remove_container(&id)?;
        if let (Ok(record), true) = (&record, is_there) {
            self.tell_container(record, "destroy", &[]);
        }
        Ok(())
    }
}

/// A container after all that depend on it, at whatever remove. A circle is cut where it is met.
fn dependents_first(
    id: &str,
    records: &[ContainerRecord],
    met: &mut BTreeSet<String>,
    order: &mut Vec<String>,
) {
    if !met.insert(id.to_owned()) {
        return;
    }
    for record in records.iter().filter(|record| record.depends_on().iter().any(|needed| needed == id)) {
        dependents_first(&record.id, records, met, order);
    }
    order.push(id.to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_depends_goes_first_in_whatever_order_they_are_listed() {
        let record = |id: &str, requires: &[&str]| ContainerRecord {
            id: id.into(),
            requires: requires.iter().map(|&id| id.into()).collect(),
            ..ContainerRecord::default()
        };
        let mut records =
            vec![record("db", &["circle"]), record("web", &["cache", "db"]), record("cache", &["db"])];
        records.extend([record("other", &[]), record("circle", &["web"])]);
        for _ in 0..records.len() {
            records.rotate_left(1);
            let mut order = Vec::new();
            dependents_first("db", &records, &mut BTreeSet::new(), &mut order);
            let at = |id: &str| order.iter().position(|found| found == id).expect(id);
            assert!(at("web") < at("cache") && at("cache") < at("db"), "{order:?}");
            assert_eq!(order.len(), 4, "{order:?}");
        }
    }
}
