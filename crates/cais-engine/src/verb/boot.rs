//! `system boot`: after the machine came up, what ran when it went down runs again, as far as its policy wants that.
//!
//! Nothing of a run survives a reboot but the container's directory: who has no exit record and had been started was
//! running. A container that shares the network of another one starts after it.

use std::collections::{BTreeMap, BTreeSet};

use cais_store::run_state;

use crate::view::State;
use crate::{ContainerRecord, Engine, Error, ExitRecord, RestartPolicy, Result};

/// Of a run whose end nobody saw, as Docker has it.
pub(crate) const LOST_EXIT_CODE: i32 = 255;

/// A container that was to be started.
#[derive(Debug)]
pub struct Booted {
    /// Its name.
    pub name: String,
    /// Why it could not be started.
    pub error: Option<Error>,
}

impl Engine {
    /// Notes that the runs of another boot are over, then starts what should run, in order of dependence. Containers that
    /// run are left alone: to be called at any time.
    ///
    /// # Errors
    /// When the store cannot be read; what a single container fails with is told with it.
    pub fn boot(&self) -> Result<Vec<Booted>> {
        let mut wanted = Vec::new();
        for view in self.containers(true)? {
            if view.is_up() {
                continue;
            }
            let id = view.record.id.as_str();
            let state = self.store.read_restart(id)?;
            // A monitor that was killed is no reboot: `system check --repair` looks into it.
            let unseen = !matches!(self.store.read_exit(id), Ok(Some(_)));
            let was_started = state.is_some() || unseen && matches!(view.state, State::Dead | State::Exited);
            let lost = unseen && was_started;
            if lost && !self.store.is_running(id)? {
                let started = view.run.as_ref().map_or(&view.record.created, |run| &run.started);
                self.note_lost_run(id, started)?;
            }
            let code = if lost { LOST_EXIT_CODE } else { view.exit.as_ref().map_or(0, |exit| exit.code) };
            let count = state.as_ref().map_or(0, |state| state.count);
            let stopped = self.store.is_marked_stopped(id);
            if was_started && should_run(view.record.request.restart, stopped, code, count) {
                wanted.push(view.record);
            }
        }
        let start = |record: ContainerRecord| {
            let error = self.start(&record.id, false, false).err();
            Booted { name: record.name, error }
        };
        Ok(in_order(wanted).into_iter().map(start).collect())
    }

    /// The end of a run that nobody saw.
    fn note_lost_run(&self, id: &str, started: &str) -> Result<()> {
        let exit = machine_went_down(started.to_owned(), run_state::now());
        self.store.write_exit(id, &exit)?;
        self.tear_down(id)
    }
}

/// What is written down of a run that ended with the machine.
pub(crate) fn machine_went_down(started: String, finished: String) -> ExitRecord {
    let error = "the machine went down while it ran".to_owned();
    ExitRecord { code: LOST_EXIT_CODE, started, finished, error, ..ExitRecord::default() }
}

/// Docker's rule at the start of its daemon.
fn should_run(policy: RestartPolicy, stopped: bool, code: i32, count: u32) -> bool {
    match policy {
        RestartPolicy::No => false,
        RestartPolicy::Always => true,
        RestartPolicy::UnlessStopped => !stopped,
        RestartPolicy::OnFailure { max_retries } => {
            !stopped && code != 0 && (max_retries == 0 || count < max_retries)
        }
    }
}

/// Those on which others depend first, else the older ones first.
pub(super) fn in_order(mut records: Vec<ContainerRecord>) -> Vec<ContainerRecord> {
    records.sort_by(|a, b| a.created.cmp(&b.created).then_with(|| a.id.cmp(&b.id)));
    let mut waiting: BTreeMap<String, ContainerRecord> = BTreeMap::new();
    let order: Vec<String> = records.iter().map(|record| record.id.clone()).collect();
    waiting.extend(records.into_iter().map(|record| (record.id.clone(), record)));
    let mut done = Vec::new();
    let mut met = BTreeSet::new();
    for id in order {
        take(&id, &mut waiting, &mut met, &mut done);
    }
    done
}

/// Takes a container after those that it needs. A circle is cut where it is met.
fn take(
    id: &str,
    waiting: &mut BTreeMap<String, ContainerRecord>,
    met: &mut BTreeSet<String>,
    done: &mut Vec<ContainerRecord>,
) {
    if !met.insert(id.to_owned()) {
        return;
    }
    let others = waiting.get(id).map(ContainerRecord::depends_on).unwrap_or_default();
    for other in others {
        take(&other, waiting, met, done);
    }
    done.extend(waiting.remove(id));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NetworkRequest;

    fn record(id: &str, created: u32, network: NetworkRequest) -> ContainerRecord {
        let text = serde_json::json!({
            "id": id, "name": id, "created": format!("2026-11-20T10:00:{created:02}Z"), "request": {}, "image_id": null,
            "image_name": "", "layers": [], "args": [], "entrypoint": [], "cmd": [], "env": [], "workdir": "/", "user": "",
            "labels": {}, "stop_signal": 15, "mounts": [], "exposed": [], "network": network, "hostname": ""
        });
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn an_owner_of_a_network_goes_first_whatever_its_age() {
        let of = |id: &str| NetworkRequest::Container(id.to_owned());
        let records = vec![
            record("d", 1, of("c")),
            record("c", 2, of("a")),
            record("b", 3, NetworkRequest::None),
            record("a", 4, NetworkRequest::Bridge),
            record("e", 5, of("gone")),
            record("f", 6, of("f")),
        ];
        let order: Vec<String> = in_order(records).into_iter().map(|record| record.id).collect();
        assert_eq!(order, ["a", "c", "d", "b", "e", "f"]);
    }

    #[test]
    fn policies_at_boot() {
        use RestartPolicy::{Always, No, OnFailure, UnlessStopped};
        let runs = |policy, stopped, code| should_run(policy, stopped, code, 2);
        assert!(!runs(No, false, 255));
        assert!(runs(Always, true, 0), "as in Docker, also who was stopped by hand");
        assert!(runs(UnlessStopped, false, 0) && !runs(UnlessStopped, true, 0));
        let failing = |max_retries| OnFailure { max_retries };
        assert!(runs(failing(0), false, 255) && !runs(failing(0), false, 0) && !runs(failing(0), true, 1));
        assert!(runs(failing(3), false, 1) && !runs(failing(2), false, 1));
    }
}
