//! Pods: containers that share namespaces, and the verbs on all of them at once.
//!
//! What is shared is held by one more container, the infra container: a record like others, without an image, whose first
//! process executes nothing, stays and reaps. It starts before the others do. Who is in a pod is in the containers'
//! records; the state of a pod is that of its containers.

mod all;
mod create;
mod list;
mod remove;

use cais_store::PodHold;

pub(super) use create::{in_pod_namespaces, in_pod_network};
pub use list::{PodState, PodView};
pub use remove::PodRemoval;

use crate::{ContainerRecord, ContainerRequest, Engine, PodExitPolicy, PodRecord, Result};

/// `--pod` with this before the name makes the pod.
const NEW: &str = "new:";

impl Engine {
    /// The pod that a request names.
    pub(super) fn pod_of(&self, request: &ContainerRequest) -> Result<Option<PodRecord>> {
        Ok(request.pod.as_deref().map(|name| self.store.find_pod(name)).transpose()?)
    }

    /// As long as it is held the pod of a record stays.
    pub(super) fn hold_pod_of(&self, record: &ContainerRecord) -> Result<Option<PodHold>> {
        let Some(pod) = &record.pod else { return Ok(None) };
        let hold = self.store.hold_pods()?;
        self.store.load_pod(pod)?;
        Ok(Some(hold))
    }

    /// Ids of the containers that are started before this one.
    pub(super) fn required(&self, request: &ContainerRequest) -> Result<Vec<String>> {
        let mut ids = Vec::new();
        for name in &request.requires {
            let id = self.store.resolve_container(name)?;
            self.store.note_required(&id)?;
            ids.push(id);
        }
        Ok(ids)
    }

    /// A container of the pod has ended: where the pod wants it so, the last one ends the pod.
    pub(crate) fn leave_pod(&self, id: &str) -> Result<()> {
        let Ok(pod) = self.store.load_pod(id) else { return Ok(()) };
        let (PodExitPolicy::Stop, Some(infra)) = (pod.request.exit_policy, &pod.infra) else { return Ok(()) };
        for member in self.store.pod_members(id)? {
            if member != *infra && self.store.is_running(&member)? && self.store.read_exit(&member)?.is_none()
            {
                return Ok(());
            }
        }
        self.stop(infra, None, None)
    }

    /// All containers' records, in no order; those that go meanwhile are left out.
    pub(super) fn records(&self) -> Result<Vec<ContainerRecord>> {
        let ids = self.store.container_ids()?;
        Ok(ids.iter().filter_map(|id| self.store.load_container(id).ok()).collect())
    }
}
