//! `events`: what a container uses, and when the kernel kills for memory.

use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use cais_oci::runtime::Status;
use cais_runtime::cgroup::oci::{Group, Oom, OomWatch, Stats};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::runtime::Runtime;

/// One line of `events`, in runc's shape.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// `stats` or `oom`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The container.
    pub id: String,
    /// What it uses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Stats>,
}

impl Runtime {
    /// Tells of a container until it has ended or `tell` breaks: its use each `interval`, and kills for memory when they
    /// happen. `once`: its use, now, and no more.
    ///
    /// # Errors
    /// After the end; when the group cannot be read.
    pub fn events(
        &self,
        id: &str,
        interval: Duration,
        once: bool,
        tell: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<()> {
        let container = self.load(id)?;
        if container.status() == Status::Stopped {
            return Err(Error::NoEvents { id: id.to_owned() });
        }
        let group =
            container.group().ok_or(Error::Request("the container has no cgroup that could be read"))?;
        let stats = |group: &Group| -> Result<Event> {
            Ok(Event { kind: "stats", id: id.to_owned(), data: Some(group.stats()?) })
        };
        if once {
            // Whoever breaks is done anyway.
            let _ = tell(stats(&group)?);
            return Ok(());
        }
        let Some(end) = container.record.init.and_then(|init| init.open()) else { return Ok(()) };
        // Without a memory controller nobody is killed by it.
        let mut watch = group.oom_watch().ok();
        let mut next = Instant::now() + interval;
        loop {
            let heard = wait(watch.as_ref(), &end, next.saturating_duration_since(Instant::now()))?;
            while let Some(seen) = watch.as_mut().map(OomWatch::look).transpose()? {
                match seen {
                    Oom::None => break,
                    Oom::Ended => watch = None,
                    Oom::Killed => {
                        if tell(Event { kind: "oom", id: id.to_owned(), data: None }).is_break() {
                            return Ok(());
                        }
                    }
                }
            }
            match heard {
                Heard::End => return Ok(()),
                Heard::Memory => {}
                Heard::Nothing => {
                    next += interval;
                    if tell(stats(&group)?).is_break() {
                        return Ok(());
                    }
                }
            }
        }
    }
}

enum Heard {
    Nothing,
    Memory,
    End,
}

fn wait(watch: Option<&OomWatch>, end: &OwnedFd, limit: Duration) -> Result<Heard> {
    let timeout = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
    let mut fds = vec![PollFd::new(end, PollFlags::IN)];
    fds.extend(watch.map(|watch| PollFd::from_borrowed_fd(watch.as_fd(), PollFlags::IN)));
    match poll(&mut fds, Some(&timeout)) {
        Ok(0) => Ok(Heard::Nothing),
        Ok(_) if !fds[0].revents().is_empty() => Ok(Heard::End),
        Ok(_) | Err(Errno::INTR) => Ok(Heard::Memory),
        Err(e) => Err(Error::system("wait for events of the container", e)),
    }
}
