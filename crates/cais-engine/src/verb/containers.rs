//! `ps`: the containers and their states, derived from disk and locks; nothing is stored. Only a monitor whose starter
//! has not noted that it runs, and may never do so, is asked.
//!
//! One pass with a few syscalls for each container. Without `all` only run directories are looked at, so that stopped
//! containers cost nothing.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use cais_store::{StoreError, run_state};

use crate::verb::boot;
use crate::view::{ContainerView, State};
use crate::{Engine, Error, ErrorKind, ExitRecord, Result, RunFacts};

/// From this many containers on another thread saves more than it costs.
const THREAD_WORTH_CONTAINERS: usize = 64;

impl Engine {
    /// The containers that run (`all`: all of them), newest first.
    ///
    /// A container that vanishes meanwhile is left out, and so is one whose record is damaged: `check` reports it.
    ///
    /// # Errors
    /// When the store's directories cannot be read.
    pub fn containers(&self, all: bool) -> Result<Vec<ContainerView>> {
        let run: HashSet<String> = self.run_directories()?.into_iter().collect();
        let ids = if all { self.store.container_ids()? } else { run.iter().cloned().collect() };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let share = ids.len().div_ceil(threads).max(THREAD_WORTH_CONTAINERS);
        let mut found = std::thread::scope(|scope| {
            let (first, rest) = ids.split_at(share.min(ids.len()));
            let workers: Vec<_> =
                rest.chunks(share).map(|ids| scope.spawn(|| self.views(ids, &run, all))).collect();
            let mut found = self.views(first, &run, all)?;
            for worker in workers {
                found.extend(worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
            }
            Ok::<_, Error>(found)
        })?;
        self.ask_about(&mut found);
        found.retain(|view| all || view.is_up());
        found.sort_by(|a, b| {
            b.record.created.cmp(&a.record.created).then_with(|| a.record.id.cmp(&b.record.id))
        });
        Ok(found)
    }

    /// The views of some containers; without `all` only of those that run or may run.
    fn views(&self, ids: &[String], run: &HashSet<String>, all: bool) -> Result<Vec<ContainerView>> {
        let mut found = Vec::new();
        for id in ids {
            let has_run_directory = run.contains(id);
            // The lock before the record: a run that ends meanwhile is then seen as ended or as running, never as lost.
            let locked = has_run_directory && self.store.is_running(id)?;
            if !all && !locked {
                continue;
            }
            match self.view(id, has_run_directory, locked) {
                Ok(view) if all || view.is_up() || is_unsure(&view) => found.push(view),
                Ok(_) | Err(StoreError::NoSuch { .. } | StoreError::Damaged { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(found)
    }

    /// One container by name, id or unique prefix of an id.
    ///
    /// # Errors
    /// When there is none or its record cannot be read.
    pub fn container(&self, name: &str) -> Result<ContainerView> {
        let id = self.store.resolve_container(name)?;
        let locked = self.store.is_running(&id)?;
        let mut view = self.view(&id, true, locked)?;
        self.ask_about(std::slice::from_mut(&mut view));
        Ok(view)
    }

    /// Asks the monitors of containers that look as if they were being launched: their starters may have been killed
    /// before they could write down that they run.
    fn ask_about(&self, views: &mut [ContainerView]) {
        let mut unsure: Vec<&mut ContainerView> = views.iter_mut().filter(|view| is_unsure(view)).collect();
        let ids: Vec<String> = unsure.iter().map(|view| view.record.id.clone()).collect();
        let pids = self.ask_pids(&ids.iter().map(String::as_str).collect::<Vec<_>>());
        for (view, pid) in unsure.iter_mut().zip(pids) {
            let (Some(pid), Some(run)) = (pid, &mut view.run) else { continue };
            run.pid = pid;
            // A monitor answers until it goes, also after the end.
            view.exit = self.store.read_exit(&view.record.id).ok().flatten();
            run.restarting = false;
            let may_run_again = view.record.may_run_again();
            let signs =
                Signs { locked: true, run: view.run.as_ref(), exit: view.exit.as_ref(), may_run_again };
            view.state = state(&signs, |_| self.is_frozen(&view.record.id));
        }
    }

    /// Names of the run directories, which are ids.
    pub(super) fn run_directories(&self) -> Result<Vec<String>> {
        names(&self.store.paths().run_containers())
    }

    /// Record, signs and state of a container, by full id; `locked` was true some moments ago.
    fn view(
        &self,
        id: &str,
        mut has_run_directory: bool,
        mut locked: bool,
    ) -> cais_store::Result<ContainerView> {
        let record = self.store.load_container(id)?;
        loop {
            let run = if has_run_directory { self.store.read_facts(id)? } else { None };
            let exit = match self.store.read_exit(id) {
                // Nobody knows any more how it ended.
                Err(StoreError::DamagedText { .. }) => None,
                other => other?,
            };
            let gone = !locked && run.is_none() && exit.is_none();
            let lost = if gone { self.lost_with_the_machine(id) } else { None };
            let is_lost = lost.is_some();
            let exit = exit.or(lost);
            let may_run_again = record.may_run_again();
            let signs = Signs { locked, run: run.as_ref(), exit: exit.as_ref(), may_run_again };
            let state = state(&signs, |_| self.is_frozen(id));
            // Seen as lost, it may have been started since the look at the lock.
            if (is_lost || state == State::Dead) && self.store.is_running(id)? {
                (has_run_directory, locked) = (true, true);
                continue;
            }
            let alive = matches!(state, State::Running | State::Paused);
            let probed = record.health.is_some() && alive;
            let health = if probed { self.store.read_health(id)?.map(|health| health.status) } else { None };
            let killed = exit.as_ref().is_some_and(|exit| exit.oom_killed);
            let oom = if killed { self.store.read_oom(id)? } else { None };
            return Ok(ContainerView { record, state, run, exit, size_bytes: None, oom, health });
        }
    }

    /// The end of a run of which nothing is left but the log that every start makes: the machine went down. The log tells
    /// when it was made and last written to.
    fn lost_with_the_machine(&self, id: &str) -> Option<ExitRecord> {
        let log = std::fs::metadata(self.store.paths().container_log(id)).ok()?;
        let written = log.modified().ok()?;
        let started = run_state::timestamp(log.created().unwrap_or(written))?;
        Some(boot::machine_went_down(started, run_state::timestamp(written)?))
    }
}

/// What the files say, before it is put into one word.
struct Signs<'a> {
    /// Somebody holds the lock of the run directory.
    locked: bool,
    /// Facts of a run that was not tidied up.
    run: Option<&'a RunFacts>,
    /// Exit record of the last run; removed before the next one begins.
    exit: Option<&'a ExitRecord>,
    /// The record says that the end of a run need not be the end.
    may_run_again: bool,
}

impl Signs<'_> {
    /// The facts are those of a pause between two runs, or of the launch that ends it.
    fn is_waiting(&self) -> bool {
        self.run.is_some_and(|run| run.restarting)
    }

    fn has_ended(&self) -> bool {
        self.exit.is_some_and(|exit| !exit.started.is_empty())
    }
}

/// The state that the signs amount to; `frozen` is asked only where it matters.
///
/// Facts without a pid are those of a launch that has not come to its end, or never will.
fn state(signs: &Signs<'_>, frozen: impl FnOnce(&RunFacts) -> bool) -> State {
    let run = signs.run.filter(|run| run.pid != 0);
    match (signs.locked, run) {
        // Also while nobody has decided yet.
        _ if signs.locked && signs.may_run_again && (signs.is_waiting() || signs.has_ended()) => {
            State::Restarting
        }
        // Docker's word for a container that has never run although somebody tried to start it.
        _ if signs.exit.is_some_and(|exit| exit.started.is_empty()) => State::Created,
        // Ended, even when its monitor still waits for someone to tidy up.
        _ if signs.exit.is_some() => State::Exited,
        (true, Some(run)) if frozen(run) => State::Paused,
        (true, Some(_)) => State::Running,
        (true, None) => State::Created,
        // Its monitor was killed, or the run directory outlived the machine's end.
        (false, Some(_)) => State::Dead,
        (false, None) => State::Created,
    }
}

/// There is a monitor, or was, and nobody has noted what came of its launch.
fn is_unsure(view: &ContainerView) -> bool {
    match view.state {
        State::Created => view.run.is_some(),
        State::Restarting => view.exit.is_none(),
        _ => false,
    }
}

/// Names in a directory; none when it is not there.
pub(super) fn names(directory: &Path) -> Result<Vec<String>> {
    let failed = |error: io::Error| {
        Error::caused(ErrorKind::System, format_args!("cannot list {}", directory.display()), error)
    };
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(failed)?.file_name().into_string());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(locked: bool, run: bool, exit: bool, frozen: bool) -> State {
        let facts = RunFacts { pid: 7, ..RunFacts::default() };
        let record = ExitRecord { started: "2026-11-20T10:00:00Z".into(), ..ExitRecord::default() };
        let (run, exit) = (run.then_some(&facts), exit.then_some(&record));
        let signs = Signs { locked, run, exit, may_run_again: false };
        state(&signs, |_| frozen)
    }

    #[test]
    fn states() {
        // locked, facts, exit record, frozen
        assert_eq!(of(false, false, false, false), State::Created);
        assert_eq!(of(true, false, false, true), State::Created, "being launched");
        assert_eq!(of(true, true, false, false), State::Running);
        assert_eq!(of(true, true, false, true), State::Paused);
        assert_eq!(of(true, true, true, true), State::Exited, "its monitor waits for the teardown");
        assert_eq!(of(false, true, true, false), State::Exited, "not torn down");
        assert_eq!(of(false, false, true, false), State::Exited);
        let waiting = RunFacts { restarting: true, ..RunFacts::default() };
        let ended = ExitRecord { started: "2026-11-20T10:00:00Z".into(), ..ExitRecord::default() };
        let signs = Signs { locked: true, run: Some(&waiting), exit: Some(&ended), may_run_again: true };
        assert_eq!(state(&signs, |_| false), State::Restarting);
        let signs = Signs { locked: false, ..signs };
        assert_eq!(state(&signs, |_| false), State::Exited, "its monitor was killed");
        let facts = RunFacts::default();
        let unborn = Signs { locked: true, run: Some(&facts), exit: None, may_run_again: false };
        assert_eq!(state(&unborn, |_| false), State::Created, "the shim has not answered yet");
        assert_eq!(state(&Signs { locked: false, ..unborn }, |_| false), State::Created, "it never will");
        let never = ExitRecord::default();
        let failed = Signs { locked: false, run: None, exit: Some(&never), may_run_again: false };
        assert_eq!(state(&failed, |_| false), State::Created, "it could not be started");
        assert_eq!(of(false, true, false, false), State::Dead, "its monitor was killed");
    }
}
