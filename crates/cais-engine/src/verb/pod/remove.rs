//! `pod rm` and `pod prune`.

use super::all::of_container;
use super::{PodState, PodView};
use crate::{ContainerRecord, Engine, Error, ErrorKind, Result};

/// What `pod prune` did with one pod.
#[derive(Debug)]
pub struct PodRemoval {
    /// Its id.
    pub id: String,
    /// Why it is still there.
    pub error: Option<Error>,
}

impl Engine {
    /// Removes a pod with its containers and their anonymous volumes; one with running containers only with `force`,
    /// which stops them (`timeout_secs`) or kills them. Gives its id.
    ///
    /// # Errors
    /// When a container runs and `force` is not given, or one cannot be removed.
    pub fn pod_remove(&self, name: &str, force: bool, timeout_secs: Option<i64>) -> Result<String> {
        // Who enters the pod meanwhile goes, too.
        const TRIES: u32 = 10;
        let pod = self.pod(name)?;
        let running = pod.containers.iter().filter(|view| !view.record.infra && view.is_alive());
        let running: Vec<&str> = running.map(|view| view.record.name.as_str()).collect();
        if !running.is_empty() && !force {
            let message = format!("pod {} has containers that run: {}", pod.record.name, running.join(", "));
            let hint = format!("stop it first, or `cais pod rm -f {}`", pod.record.name);
            return Err(Error::new(ErrorKind::Conflict, message).hint(hint));
        }
        let id = pod.record.id.clone();
        self.remove_members(&pod, timeout_secs)?;
        for _ in 0..TRIES {
            if self.store.remove_pod(&id)? {
                self.tell("pod", "remove", &id, &[("name", &pod.record.name)]);
                return Ok(id);
            }
            self.remove_members(&self.pod(&id)?, timeout_secs)?;
        }
        let message = format!("pod {} gets containers faster than they are removed", pod.record.name);
        Err(Error::new(ErrorKind::Conflict, message))
    }

    /// The container whose namespaces the others share goes last.
    fn remove_members(&self, pod: &PodView, timeout_secs: Option<i64>) -> Result<()> {
        if timeout_secs.is_some() {
            self.stop_all(pod, timeout_secs)?;
        }
        let remove = |record: &ContainerRecord| match self.remove_any(&record.id, &record.name, true, true) {
            // It was to be removed at its end.
            Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
            other => other.map_err(|error| of_container(record, error)),
        };
        pod.containers.iter().rev().map(|view| remove(&view.record)).fold(Ok(()), Result::and)
    }

    /// Removes the pods of which no container runs and that have run; gives each with what hindered it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn pod_prune(&self) -> Result<Vec<PodRemoval>> {
        let is_over = |pod: &PodView| matches!(pod.state, PodState::Exited | PodState::Stopped);
        let over = self.pods()?.into_iter().filter(is_over);
        Ok(over
            .map(|pod| {
                let id = pod.record.id;
                let error = self.pod_remove(&id, false, None).err();
                PodRemoval { id, error }
            })
            .collect())
    }
}
