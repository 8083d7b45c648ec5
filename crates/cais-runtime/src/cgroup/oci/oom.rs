//! Tells when a process of a group was killed because memory was out: an eventfd(2) by `cgroup.event_control` (v1) or an
//! inotify(7) of `memory.events` (v2).

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::event::EventfdFlags;
use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags};
use rustix::io::Errno;

use super::GroupState;
use super::error::GroupError;
use crate::cgroup::{read_text, write_text};

/// What a watch has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oom {
    /// Nothing yet.
    None,
    /// At least one process was killed since the last time.
    Killed,
    /// The group is empty or gone: nothing more will come.
    Ended,
}

/// A watch on a group; it ends when it is dropped.
#[derive(Debug)]
pub struct OomWatch {
    /// Readable when there is something to see; does not block.
    events: OwnedFd,
    /// v1: has to stay open.
    _control: Option<File>,
    group: PathBuf,
    /// v2: how many were killed so far.
    killed: u64,
    unified: bool,
}

/// See [`super::Group::oom_watch`].
pub(super) fn watch(state: &GroupState) -> Result<OomWatch, GroupError> {
    let place =
        state.place("memory").ok_or_else(|| GroupError::NoController { controller: "memory".to_owned() })?;
    let group = place.path.clone();
    let file = if place.unified { "memory.events" } else { "memory.oom_control" };
    let failed = |source| GroupError::Watch { path: group.join(file), source };
    if place.unified {
        let events = watch_files(&group).map_err(failed)?;
        let killed = kills(&group).unwrap_or(0);
        return Ok(OomWatch { events, _control: None, group, killed, unified: true });
    }
    let (events, control) = register(&group).map_err(failed)?;
    Ok(OomWatch { events, _control: Some(control), group, killed: 0, unified: false })
}

fn watch_files(group: &Path) -> io::Result<OwnedFd> {
    let events = rustix::fs::inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    for file in ["memory.events", "cgroup.events"] {
        rustix::fs::inotify::add_watch(&events, group.join(file), WatchFlags::MODIFY)?;
    }
    Ok(events)
}

/// admin-guide/cgroup-v1/memory.rst, "OOM Control".
fn register(group: &Path) -> io::Result<(OwnedFd, File)> {
    let events = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let control = File::open(group.join("memory.oom_control"))?;
    let text = format!("{} {}", events.as_raw_fd(), control.as_raw_fd());
    write_text(&group.join("cgroup.event_control"), &text)?;
    Ok((events, control))
}

/// The file may have lines that are newer than this.
fn kills(group: &Path) -> Option<u64> {
    line(&group.join("memory.events"), "oom_kill")
}

fn line(path: &Path, key: &str) -> Option<u64> {
    let text = read_text(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
}

impl OomWatch {
    /// Looks, without waiting.
    ///
    /// # Errors
    /// When the watch cannot be read.
    pub fn look(&mut self) -> Result<Oom, GroupError> {
        let failed = |error: Errno| GroupError::Watch { path: self.group.clone(), source: error.into() };
        if !self.unified {
            let mut count = [0; 8];
            return match rustix::io::read(&self.events, &mut count) {
                // The end of the group is told as well.
                Ok(_) if !self.group.join("memory.oom_control").exists() => Ok(Oom::Ended),
                Ok(_) => Ok(Oom::Killed),
                Err(Errno::AGAIN | Errno::INTR) => Ok(Oom::None),
                Err(error) => Err(failed(error)),
            };
        }
        let mut room = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.events, &mut room);
        loop {
            match reader.next() {
                Ok(_) => {}
                Err(Errno::AGAIN | Errno::INTR) => break,
                Err(error) => return Err(failed(error)),
            }
        }
        let killed = kills(&self.group);
        if killed.is_some_and(|killed| killed > self.killed) {
            self.killed = killed.unwrap_or(self.killed);
            return Ok(Oom::Killed);
        }
        let populated = line(&self.group.join("cgroup.events"), "populated");
        Ok(if killed.is_none() || populated != Some(1) { Oom::Ended } else { Oom::None })
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }
}
