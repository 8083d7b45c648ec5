//! `pod ps`, `pod inspect`: pods with their containers and states.

use super::NEW;
use crate::view::{ContainerView, State};
use crate::{Engine, PodRecord, Result};

/// State of a pod: that of its containers, the one with the namespaces included. Podman's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PodState {
    /// None of them has run.
    Created,
    /// All run.
    Running,
    /// Some run, some have ended.
    Degraded,
    /// All stand still.
    Paused,
    /// Some have ended, none runs.
    Stopped,
    /// All have ended.
    Exited,
    /// The monitor of one was killed.
    Error,
}

impl PodState {
    /// All of them, in order.
    pub const ALL: [PodState; 7] = [
        PodState::Created,
        PodState::Running,
        PodState::Degraded,
        PodState::Paused,
        PodState::Stopped,
        PodState::Exited,
        PodState::Error,
    ];

    /// Podman's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            PodState::Created => "Created",
            PodState::Running => "Running",
            PodState::Degraded => "Degraded",
            PodState::Paused => "Paused",
            PodState::Stopped => "Stopped",
            PodState::Exited => "Exited",
            PodState::Error => "Error",
        }
    }

    fn of(states: &[State]) -> PodState {
        let count = |wanted: &[State]| states.iter().filter(|state| wanted.contains(state)).count();
        let all = states.len();
        let running = count(&[State::Running, State::Restarting]);
        let ended = count(&[State::Exited]);
        match () {
            () if all == 0 => PodState::Created,
            () if running == all => PodState::Running,
            () if count(&[State::Paused]) == all => PodState::Paused,
            () if ended == all => PodState::Exited,
            () if ended > 0 && running == 0 => PodState::Stopped,
            () if running > 0 => PodState::Degraded,
            () if count(&[State::Dead]) > 0 => PodState::Error,
            () => PodState::Created,
        }
    }
}

/// A pod: record, containers, state.
#[derive(Clone, Debug)]
pub struct PodView {
    /// The durable description.
    pub record: PodRecord,
    /// The one with the namespaces first, then the older ones.
    pub containers: Vec<ContainerView>,
    /// Derived.
    pub state: PodState,
}

impl PodView {
    /// The container with the namespaces.
    #[must_use]
    pub fn infra(&self) -> Option<&ContainerView> {
        self.containers.iter().find(|view| view.record.infra)
    }
}

impl Engine {
    /// The pods' records, in no order.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn pod_records(&self) -> Result<Vec<PodRecord>> {
        Ok(self.store.pods()?)
    }

    /// All pods, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn pods(&self) -> Result<Vec<PodView>> {
        let mut pods = self.store.pods()?;
        pods.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
        if pods.is_empty() {
            return Ok(Vec::new());
        }
        let mut containers = self.containers(true)?;
        let view = |record: PodRecord| {
            let is_in = |view: &mut ContainerView| view.record.pod.as_deref() == Some(&record.id);
            let mine = containers.extract_if(.., is_in).collect();
            pod_view(record, mine)
        };
        Ok(pods.into_iter().map(view).collect())
    }

    /// One pod by name, id or unique prefix of an id.
    ///
    /// # Errors
    /// When there is none or something of it cannot be read.
    pub fn pod(&self, name: &str) -> Result<PodView> {
        let record = self.store.find_pod(name.strip_prefix(NEW).unwrap_or(name))?;
        let members = self.store.pod_members(&record.id)?;
        let containers = members.iter().filter_map(|id| self.container(id).ok()).collect();
        Ok(pod_view(record, containers))
    }
}

fn pod_view(record: PodRecord, mut containers: Vec<ContainerView>) -> PodView {
    containers.sort_by(|a, b| {
        let key = |view: &ContainerView| (!view.record.infra, view.record.created.clone());
        key(a).cmp(&key(b))
    });
    let states: Vec<State> = containers.iter().map(|view| view.state).collect();
    PodView { record, containers, state: PodState::of(&states) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_podmans() {
        use State::{Created, Dead, Exited, Paused, Running};
        for (states, expected) in [
            (&[][..], PodState::Created),
            (&[Created], PodState::Created),
            (&[Created, Created], PodState::Created),
            (&[Running, Running], PodState::Running),
            (&[Running, Exited], PodState::Degraded),
            (&[Running, Created], PodState::Degraded),
            (&[Running, Paused], PodState::Degraded),
            (&[Paused, Paused], PodState::Paused),
            (&[Exited, Exited], PodState::Exited),
            (&[Exited, Created], PodState::Stopped),
            (&[Dead, Created], PodState::Error),
        ] {
            assert_eq!(PodState::of(states), expected, "{states:?}");
        }
    }
}
