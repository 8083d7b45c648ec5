//! `events`: what happened, from what is kept on disk, and what happens from now on.
//!
//! A follower sleeps in poll(2) on an inotify watch of the directory of the events.

use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use crate::event::EventMessage;
use crate::{Engine, Error, ErrorKind, Result};

/// Which events.
#[derive(Clone, Copy, Debug, Default)]
pub struct EventOptions {
    /// Nothing older; `None` = all that is kept when `until` is given or nothing is followed, else from now on.
    pub since: Option<Timestamp>,
    /// Nothing newer; a time that is over ends the following.
    pub until: Option<Timestamp>,
    /// Go on with what happens from now on.
    pub follow: bool,
}

/// Receives events in their order; breaks to end the reading.
pub type EventSink<'a> = dyn FnMut(&EventMessage) -> ControlFlow<()> + 'a;

/// How long a follower sleeps at most without a watch.
const UNWATCHED_PAUSE: Duration = Duration::from_millis(100);

impl Engine {
    /// Hands events to `sink`, the oldest first. Damaged lines are skipped.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn events(&self, options: EventOptions, sink: &mut EventSink<'_>) -> Result<()> {
        let from_now = options.follow && options.until.is_none();
        let since = options.since.or(from_now.then(Timestamp::now));
        let mut reader = self.store.events()?;
        // Before the first look, so that nothing that comes after it is missed.
        let watch = if options.follow { watch(&reader.directory()) } else { None };
        loop {
            while let Some(line) = reader.next_event()? {
                let Ok(event) = serde_json::from_slice::<EventMessage>(line) else { continue };
                let Ok(time) = Timestamp::from_nanosecond(event.time_nano.into()) else { continue };
                let is_outside = since.is_some_and(|since| time < since)
                    || options.until.is_some_and(|until| time > until);
                if !is_outside && sink(&event).is_break() {
                    return Ok(());
                }
            }
            let left = options.until.map(|until| until.duration_since(Timestamp::now()));
            if !options.follow || left.is_some_and(|left| !left.is_positive()) {
                return Ok(());
            }
            wait(watch.as_ref(), left.map(|left| left.unsigned_abs()))?;
        }
    }
}

/// Readable when something in the directory changes; `None` where there are no watches left.
fn watch(directory: &Path) -> Option<OwnedFd> {
    let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()?;
    inotify::add_watch(&fd, directory, WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVE).ok()?;
    Some(fd)
}

fn wait(watch: Option<&OwnedFd>, left: Option<Duration>) -> Result<()> {
    let failed = |error: rustix::io::Errno| {
        Error::caused(ErrorKind::System, "wait for events", std::io::Error::from(error))
    };
    let mut fds: Vec<PollFd<'_>> = watch.iter().map(|fd| PollFd::new(*fd, PollFlags::IN)).collect();
    let pause = if fds.is_empty() {
        Some(left.map_or(UNWATCHED_PAUSE, |left| left.min(UNWATCHED_PAUSE)))
    } else {
        left
    };
    let timeout = pause
        .map(|pause| Timespec { tv_sec: pause.as_secs() as i64, tv_nsec: i64::from(pause.subsec_nanos()) });
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(failed(error)),
    }
    if let Some(fd) = watch {
        let mut events = [0_u8; 4096];
        while matches!(rustix::io::read(fd, &mut events), Ok(count) if count > 0) {}
    }
    Ok(())
}
