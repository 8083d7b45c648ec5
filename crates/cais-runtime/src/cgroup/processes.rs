//! What is done with the processes of a group, and its end. All waiting has a deadline.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use super::layout::Controller;
use super::{Cgroup, CgroupError, Group, put, read_text, write_text};

const KILL_TIME: Duration = Duration::from_secs(5);
const FREEZE_TIME: Duration = Duration::from_secs(2);
/// Before killing: long enough for a stable list, but dying is what matters.
const SHORT_FREEZE_TIME: Duration = Duration::from_millis(200);
pub(super) const REMOVE_TIME: Duration = Duration::from_secs(2);

/// Pauses that grow from 0.5 to 20 ms until a deadline.
pub(super) struct Patience {
    since: Instant,
    limit: Duration,
    pause: Duration,
}

impl Patience {
    pub(super) fn new(limit: Duration) -> Patience {
        Patience { since: Instant::now(), limit, pause: Duration::from_micros(500) }
    }

    /// Waits a little; false when the time is over.
    pub(super) fn wait(&mut self) -> bool {
        if self.since.elapsed() >= self.limit {
            return false;
        }
        thread::sleep(self.pause);
        self.pause = (self.pause * 2).min(Duration::from_millis(20));
        true
    }

    fn waited_ms(&self) -> u128 {
        self.since.elapsed().as_millis()
    }
}

impl Cgroup {
    /// Processes of the group and of those that the container made below it, ascending; none when it is gone.
    ///
    /// # Errors
    /// When a group that is there cannot be read.
    pub fn pids(&self) -> Result<Vec<i32>, CgroupError> {
        let mut pids = Vec::new();
        if let Some(group) = self.main() {
            collect_pids(&group.path, &mut pids)?;
        }
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// Kills all processes of the group, nested groups too, frozen or not, and waits at most 5 s until they are gone.
    ///
    /// # Errors
    /// [`CgroupError::StillRunning`] when the time is over, [`CgroupError::Kill`] when one may not be killed.
    pub fn kill_all(&self) -> Result<(), CgroupError> {
        let Some(group) = self.main() else { return Ok(()) };
        let mut patience = Patience::new(KILL_TIME);
        loop {
            let pids = self.pids()?;
            if pids.is_empty() {
                return Ok(());
            }
            // Linux ≥ 5.14; frozen processes die as well.
            if !self.unified || write_text(&group.path.join("cgroup.kill"), "1").is_err() {
                self.kill_frozen(group)?;
            }
            if !patience.wait() {
                let count = self.pids()?.len();
                let (path, waited_ms) = (group.path.clone(), patience.waited_ms());
                return if count == 0 {
                    Ok(())
                } else {
                    Err(CgroupError::StillRunning { path, count, waited_ms })
                };
            }
        }
    }

    /// Frozen processes neither fork nor exit: the list stays true while it is gone through. Without a freezer, the
    /// caller's repetition has to do.
    fn kill_frozen(&self, group: &Group) -> Result<(), CgroupError> {
        // Failing to freeze is no reason not to kill.
        let _ = self.set_frozen(true, SHORT_FREEZE_TIME);
        let killed = self.pids().and_then(|pids| pids.into_iter().try_for_each(|pid| kill(group, pid)));
        match self.set_frozen(false, SHORT_FREEZE_TIME) {
            Ok(()) | Err(CgroupError::NoFreezer) => killed,
            Err(error) => killed.and(Err(error)),
        }
    }

    /// Stops all processes of the group; waits at most 2 s until they have stopped. Idempotent.
    ///
    /// # Errors
    /// When there is no freezer or the time is over; then nothing stays frozen.
    pub fn freeze(&self) -> Result<(), CgroupError> {
        let result = self.set_frozen(true, FREEZE_TIME);
        if matches!(result, Err(CgroupError::NotFrozen { .. })) {
            self.thaw()?;
        }
        result
    }

    /// Lets the processes of the group go on. Idempotent.
    ///
    /// # Errors
    /// When there is no freezer or it cannot be written.
    pub fn thaw(&self) -> Result<(), CgroupError> {
        self.set_frozen(false, FREEZE_TIME)
    }

    /// Whether all processes of the group have been stopped by [`Cgroup::freeze`].
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        let Some(group) = self.group(Controller::Freezer) else { return false };
        if self.unified {
            return read_text(&group.path.join("cgroup.events"))
                .is_ok_and(|text| text.lines().any(|line| line == "frozen 1"));
        }
        read_text(&group.path.join("freezer.state")).is_ok_and(|text| text.trim() == "FROZEN")
    }

    /// The directory where the group is frozen; `None` where there is no freezer.
    #[must_use]
    pub fn freezer(&self) -> Option<&Path> {
        self.group(Controller::Freezer).map(|group| group.path.as_path())
    }

    fn set_frozen(&self, frozen: bool, limit: Duration) -> Result<(), CgroupError> {
        let group = self.group(Controller::Freezer).ok_or(CgroupError::NoFreezer)?;
        let (file, value) = match (self.unified, frozen) {
            (true, true) => ("cgroup.freeze", "1"),
            (true, false) => ("cgroup.freeze", "0"),
            (false, true) => ("freezer.state", "FROZEN"),
            (false, false) => ("freezer.state", "THAWED"),
        };
        let mut patience = Patience::new(limit);
        loop {
            // Again each time: v1 misses processes that were forked meanwhile.
            match put(group.path.join(file), value) {
                Ok(()) => {}
                Err(CgroupError::Write { source, .. }) if is_gone(&source) && group.path.is_dir() => {
                    return Err(CgroupError::NoFreezer);
                }
                Err(error) => return Err(error),
            }
            if !frozen || self.is_frozen() {
                return Ok(());
            }
            if !patience.wait() {
                return Err(CgroupError::NotFrozen {
                    path: group.path.clone(),
                    waited_ms: patience.waited_ms(),
                });
            }
        }
    }

    /// Removes the group and those that the container made below it; processes have to be gone. Goes on after a
    /// failure and reports the first; idempotent; waits at most 2 s for a group that is busy.
    ///
    /// # Errors
    /// When processes are left.
    pub fn remove(&self) -> Result<(), CgroupError> {
        let mut patience = Patience::new(REMOVE_TIME);
        let mut result = Ok(());
        for group in &self.groups {
            let mut removed = remove_one(&group.path);
            while is_busy(&removed) {
                removed = remove_tree(&group.path);
                if is_busy(&removed) && !patience.wait() {
                    break;
                }
            }
            result = result.and(removed);
        }
        result
    }

    /// The directory by which processes are listed: the freezer's, because killing freezes it.
    pub(super) fn main(&self) -> Option<&Group> {
        self.group(Controller::Freezer).or_else(|| self.groups.first())
    }
}

fn kill(group: &Group, pid: i32) -> Result<(), CgroupError> {
    // Zero is a process outside of our PID namespace.
    let Some(known) = Pid::from_raw(pid) else { return Ok(()) };
    match rustix::process::kill_process(known, Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(error) => Err(CgroupError::Kill { path: group.path.clone(), pid, source: error.into() }),
    }
}

/// The group was removed while we looked.
fn is_gone(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::NODEV))
}

/// Without groups within; none when it is gone.
pub(super) fn own_pids(group: &Path) -> Result<Vec<i32>, CgroupError> {
    let path = group.join("cgroup.procs");
    match read_text(&path) {
        Ok(text) => Ok(text.lines().filter_map(|line| line.parse::<i32>().ok()).collect()),
        Err(error) if is_gone(&error) => Ok(Vec::new()),
        // A threaded group of v2: its domain above lists its processes.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::OPNOTSUPP) => Ok(Vec::new()),
        Err(source) => Err(CgroupError::Read { path, source }),
    }
}

pub(super) fn collect_pids(group: &Path, pids: &mut Vec<i32>) -> Result<(), CgroupError> {
    pids.extend(own_pids(group)?);
    children(group).iter().try_for_each(|child| collect_pids(child, pids))
}

/// The groups directly below; none when it is gone.
pub(super) fn children(group: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(group) else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

pub(super) fn is_busy(result: &Result<(), CgroupError>) -> bool {
    let Err(CgroupError::Remove { source, .. }) = result else { return false };
    matches!(Errno::from_io_error(source), Some(Errno::BUSY | Errno::NOTEMPTY))
}

pub(super) fn remove_one(path: &Path) -> Result<(), CgroupError> {
    match rustix::fs::rmdir(path) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(CgroupError::Remove { path: path.to_owned(), source: error.into() }),
    }
}

/// Depth first.
pub(super) fn remove_tree(path: &Path) -> Result<(), CgroupError> {
    for child in children(path) {
        remove_tree(&child)?;
    }
    remove_one(path)
}
