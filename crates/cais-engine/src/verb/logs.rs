//! `logs`: what a container wrote, from its log file; with `follow` until it ends.
//!
//! A log is a file and those that were full before it (`files`). Reading never disturbs the container: the shim appends, readers only read. Following waits in one poll(2) on an
//! inotify watch of the file and on the shim's pidfd. What the shim wrote before it died is never lost, because whether it lives is asked
//! before the file is read to its end, not after.

mod compressed;
mod files;
mod journal;
mod json;
mod line;
mod reader;

use std::io;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;

use crate::view::Stream;
use crate::{Engine, Error, ErrorKind, LogDriver, Result};
pub use compressed::compress as compress_log;
use files::Files;
use line::{Moment, Record};
use reader::Reader;

/// What to show of a log.
#[derive(Clone, Debug, Default)]
pub struct LogOptions {
    /// Go on with what is written from now on, until the container ends.
    pub follow: bool,
    /// Nothing older.
    pub since: Option<Timestamp>,
    /// Nothing newer; ends `follow`, too.
    pub until: Option<Timestamp>,
    /// Only the last so many lines of what `since` and `until` leave.
    pub tail: Option<u64>,
}

/// One record of a log: a line, or a piece of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLine<'a> {
    /// Where it was written to.
    pub stream: Stream,
    /// RFC 3339 with nanoseconds, UTC.
    pub time: &'a str,
    /// No newline belongs to the data: more of the line follows, or the line was never ended.
    pub partial: bool,
    /// Bytes as written, without newline; docker's format has U+FFFD for what is no UTF-8.
    pub data: &'a [u8],
    /// An object of JSON: what `--log-opt labels=…`, `env=…` and `tag=…` ask for; empty for none.
    pub attrs: &'a [u8],
}

/// Receives the records in order; breaks to end the reading.
pub type LogSink<'a> = dyn FnMut(LogLine<'_>) -> ControlFlow<()> + 'a;

/// A look for further files costs one system call.
const RECORDS_BETWEEN_LOOKS: u32 = 512;
/// How long `follow` sleeps at most while it can watch file and shim.
const WATCHED_PAUSE: Duration = Duration::from_secs(5);
/// How long it sleeps where it cannot (no inotify instance left, or the shim is not known yet).
const UNWATCHED_PAUSE: Duration = Duration::from_millis(100);

impl Engine {
    /// Hands the records of a container's log to `sink`, in order, with memory bounded whatever the log's size.
    ///
    /// Following a container that does not run ends at once. Lines that are damaged are skipped.
    ///
    /// # Errors
    /// When there is no such container, no log is kept of it, or the log cannot be read.
    pub fn logs(&self, name: &str, options: LogOptions, sink: &mut LogSink<'_>) -> Result<()> {
        let id = self.store.resolve_container(name)?;
        // A damaged record is no reason to hide the log.
        let record = self.store.load_container(&id).ok();
        match record.as_ref().map(|record| record.request.log) {
            Some(LogDriver::Journald) => {
                return self.journal_logs(&id, &options, &Window::new(&options), &mut |line| sink(line));
            }
            Some(LogDriver::None) => {
                let message = "configured logging driver does not support reading";
                let hint = "the container was made with --log-driver none: no log is kept";
                return Err(Error::new(ErrorKind::Unsupported, message).hint(hint));
            }
            Some(LogDriver::JsonFile | LogDriver::K8sFile) | None => {}
        }
        let own = || self.store.paths().container_log(&id);
        let path = record.as_ref().map_or_else(own, |record| self.log_path(record));
        let failed = |error: io::Error| {
            Error::caused(ErrorKind::System, format_args!("cannot read the log of container {name}"), error)
        };
        let mut watch = Watch::default();
        if options.follow {
            watch.file = path.parent().and_then(watch_directory);
        }
        let window = Window::new(&options);
        let (mut files, start) = Files::open(path, &options, &window).map_err(failed)?;
        // Never started.
        let Some(first) = files.next().map_err(failed)? else { return Ok(()) };
        let mut reader = Reader::new(first, start).map_err(failed)?;
        loop {
            let alive = self.store.is_running(&id)?;
            let mut count = 0_u32;
            while let Some(record) = reader.next().map_err(failed)? {
                if window.hand_over(record, sink).is_break() {
                    return Ok(());
                }
                // A writer in a hurry fills files faster than they are read: those that come are opened in time.
                count = count.wrapping_add(1);
                if count.is_multiple_of(RECORDS_BETWEEN_LOOKS) {
                    files.look().map_err(failed)?;
                }
            }
            // A file that has a successor does not grow any more, but may have grown since.
            files.look().map_err(failed)?;
            if !files.is_last() {
                while let Some(record) = reader.next().map_err(failed)? {
                    if window.hand_over(record, sink).is_break() {
                        return Ok(());
                    }
                }
                if let Some(next) = files.next().map_err(failed)? {
                    reader = Reader::new(next, 0).map_err(failed)?;
                }
                continue;
            }
            if !alive {
                if let Some(record) = reader.torn() {
                    let _ = window.hand_over(record, sink);
                }
                return Ok(());
            }
            let left = options.until.map(|until| until.duration_since(Timestamp::now()));
            if !options.follow || left.is_some_and(|left| !left.is_positive()) {
                return Ok(());
            }
            if watch.shim.is_none() {
                let facts = self.store.read_facts(&id)?;
                watch.shim = facts.and_then(|facts| pidfd(facts.shim_pid));
            }
            watch.wait(left.map(|left| left.unsigned_abs())).map_err(failed)?;
        }
    }
}

/// `since` and `until`.
struct Window {
    since: Option<Moment>,
    until: Option<Moment>,
}

impl Window {
    fn new(options: &LogOptions) -> Window {
        Window { since: options.since.map(Moment::new), until: options.until.map(Moment::new) }
    }

    /// Hands a record over that lies in the window.
    fn hand_over(&self, record: Record<'_>, sink: &mut LogSink<'_>) -> ControlFlow<()> {
        let Record { time, stream, partial, data, attrs } = record;
        let too_old = self.since.as_ref().is_some_and(|since| since.is_after(time));
        // Skipped and not the end: the clock may have been set back since.
        let too_new = self.until.as_ref().is_some_and(|until| until.is_before(time));
        if too_old || too_new {
            return ControlFlow::Continue(());
        }
        sink(LogLine { stream, time, partial, data, attrs })
    }
}

/// What tells that there is more to read, or that nothing will come.
#[derive(Default)]
struct Watch {
    /// inotify on the log's directory.
    file: Option<OwnedFd>,
    /// Readable when the shim has ended.
    shim: Option<OwnedFd>,
}

impl Watch {
    /// Sleeps until something happened, at most until `left` is over.
    fn wait(&mut self, left: Option<Duration>) -> io::Result<()> {
        let watched = self.file.is_some() && self.shim.is_some();
        // The upper bound matters only when the shim's pid was recycled in the moment between reading and opening it.
        let pause = if watched { WATCHED_PAUSE } else { UNWATCHED_PAUSE };
        let pause = left.map_or(pause, |left| left.min(pause));
        let mut fds: Vec<PollFd<'_>> =
            self.file.iter().chain(&self.shim).map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        let timeout = Timespec { tv_sec: pause.as_secs() as i64, tv_nsec: i64::from(pause.subsec_nanos()) };
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ended = self.file.is_some() as usize;
        if fds.get(ended).is_some_and(|shim| !shim.revents().is_empty()) {
            // It may run again, with another monitor.
            self.shim = None;
        }
        if let Some(file) = &self.file {
            // What happened does not matter, only that it is not reported again.
            let mut events = [0_u8; 4096];
            while matches!(rustix::io::read(file, &mut events), Ok(count) if count > 0) {}
        }
        Ok(())
    }
}

/// An inotify descriptor that is readable when a file in the directory was written to or renamed; `None` where there is
/// none left.
fn watch_directory(path: &Path) -> Option<OwnedFd> {
    let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).ok()?;
    let changes = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVE;
    inotify::add_watch(&fd, path, changes).ok()?;
    Some(fd)
}

/// A descriptor that is readable when the process has ended.
fn pidfd(pid: i32) -> Option<OwnedFd> {
    let pid = rustix::process::Pid::from_raw(pid)?;
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()
}
