//! Verbs on all containers of a pod: start, stop, restart, kill, pause, unpause.
//!
//! One that fails does not keep the others from it; the first failure is told.

use super::PodView;
use crate::verb::boot::in_order;
use crate::view::{ContainerView, State};
use crate::{ContainerRecord, Engine, Error, Result};

impl Engine {
    /// Starts the containers of a pod that do not run, in order of dependence.
    ///
    /// # Errors
    /// The first failure; the others were started all the same.
    pub fn pod_start(&self, name: &str) -> Result<Vec<String>> {
        let pod = self.pod(name)?;
        let down: Vec<ContainerRecord> =
            pod.containers.into_iter().filter(|view| !view.is_alive()).map(|view| view.record).collect();
        let (infra, others): (Vec<_>, Vec<_>) = down.into_iter().partition(|record| record.infra);
        let mut warnings = Vec::new();
        let mut first = Ok(());
        for record in infra.into_iter().chain(in_order(others)) {
            match self.start(&record.id, false, false) {
                Ok(started) => warnings.extend(started.warnings),
                Err(error) => first = first.and(Err(of_container(&record, error))),
            }
        }
        self.tell("pod", "start", &pod.record.id, &[("name", &pod.record.name)]);
        first.map(|()| warnings)
    }

    /// Stops the containers of a pod, all at once, then the one whose namespaces they share.
    ///
    /// # Errors
    /// The first failure; the others were stopped all the same.
    pub fn pod_stop(&self, name: &str, timeout_secs: Option<i64>) -> Result<()> {
        let pod = self.pod(name)?;
        self.stop_all(&pod, timeout_secs)?;
        self.tell("pod", "stop", &pod.record.id, &[("name", &pod.record.name)]);
        Ok(())
    }

    pub(super) fn stop_all(&self, pod: &PodView, timeout_secs: Option<i64>) -> Result<()> {
        let stop = |record: &ContainerRecord| {
            // The one that holds the namespaces ends at once, and by itself.
            let patience = timeout_secs.filter(|_| !record.infra);
            self.stop(&record.id, patience, None).map_err(|error| of_container(record, error))
        };
        let others = pod.containers.iter().map(|view| &view.record).filter(|record| !record.infra);
        let stopped = std::thread::scope(|scope| {
            let threads: Vec<_> = others.map(|record| scope.spawn(move || stop(record))).collect();
            let results = threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            results.fold(Ok(()), Result::and)
        });
        stopped.and(pod.infra().map_or(Ok(()), |view| stop(&view.record)))
    }

    /// Stops a pod and starts it.
    ///
    /// # Errors
    /// As for both.
    pub fn pod_restart(&self, name: &str) -> Result<Vec<String>> {
        self.pod_stop(name, None)?;
        self.pod_start(name)
    }

    /// Sends a signal to all containers of a pod that run.
    ///
    /// # Errors
    /// The first failure.
    pub fn pod_kill(&self, name: &str, signal: &str) -> Result<()> {
        let pod = self.pod(name)?;
        // The one that holds the namespaces last: with it end the others where processes are shared.
        let running = pod.containers.iter().rev().filter(|view| view.is_alive());
        self.each(running, |id| self.kill(id, signal))?;
        self.tell("pod", "kill", &pod.record.id, &[("name", &pod.record.name)]);
        Ok(())
    }

    /// Lets all containers of a pod stand still.
    ///
    /// # Errors
    /// The first failure.
    pub fn pod_pause(&self, name: &str) -> Result<()> {
        let pod = self.pod(name)?;
        let running = pod.containers.iter().filter(|view| view.state == State::Running);
        self.each(running, |id| self.pause(id))?;
        self.tell("pod", "pause", &pod.record.id, &[("name", &pod.record.name)]);
        Ok(())
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// The first failure.
    pub fn pod_unpause(&self, name: &str) -> Result<()> {
        let pod = self.pod(name)?;
        let paused = pod.containers.iter().filter(|view| view.state == State::Paused);
        self.each(paused, |id| self.unpause(id))?;
        self.tell("pod", "unpause", &pod.record.id, &[("name", &pod.record.name)]);
        Ok(())
    }

    fn each<'a>(
        &self,
        views: impl Iterator<Item = &'a ContainerView>,
        act: impl Fn(&str) -> Result<()>,
    ) -> Result<()> {
        views
            .map(|view| act(&view.record.id).map_err(|error| of_container(&view.record, error)))
            .fold(Ok(()), Result::and)
    }
}

pub(super) fn of_container(record: &ContainerRecord, error: Error) -> Error {
    let Error { kind, message, hint, source } = error;
    Error { kind, message: format!("container {}: {message}", record.name), hint, source }
}
