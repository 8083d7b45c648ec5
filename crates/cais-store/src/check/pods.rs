//! Pods: their records, the containers that hold their namespaces, and members of pods that are gone.

use std::collections::BTreeSet;

use super::Check;
use crate::error::{Result, StoreError};
use crate::files;
use crate::record::PodRecord;

/// Looks at all pods.
pub(super) fn check(check: &mut Check<'_>) -> Result<()> {
    let store = check.store;
    // Nobody is in the middle of making one.
    let hold = store.hold_pods()?;
    let mut members = BTreeSet::new();
    for id in store.container_ids()? {
        // A damaged record is reported with its container.
        let Ok(record) = store.load_container(&id) else { continue };
        let Some(pod) = record.pod else { continue };
        if !store.paths().pod(&pod).exists() {
            let problem = format!("is in pod {}, which is gone: remove it", crate::images::short(&pod));
            check.found("container", &id, problem, false);
        }
        members.insert(pod);
    }
    for id in store.pod_ids()? {
        let (problem, is_empty) = match files::read_json::<PodRecord>(&store.paths().pod(&id)) {
            Ok(None) => continue,
            Ok(Some(pod)) => match pod.infra {
                Some(infra) if !store.paths().container_record(&infra).exists() => (
                    "has lost the container that holds its namespaces: remove it with `cais pod rm -f`",
                    !members.contains(&id),
                ),
                _ => continue,
            },
            Err(StoreError::Damaged { .. }) => ("has a damaged record", !members.contains(&id)),
            Err(error) => return Err(error),
        };
        // Its maker was killed, or there is nothing to lose.
        let repaired = check.repair && is_empty;
        if repaired {
            files::remove_file(&store.paths().pod(&id))?;
        }
        check.found("pod", &id, problem, repaired);
    }
    drop(hold);
    Ok(())
}
