//! `attach`: take part in the output (and input) of a running container; and the talks with its shim.

use std::time::{Duration, Instant};

use cais_plan::wire;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::attach::{AttachStream, MESSAGE_BYTES, Message, broken, short};
use crate::{Engine, Error, ErrorKind, Result};

/// How long shims may take to say that their commands run; one that is launching says nothing.
const ANSWER_PATIENCE: Duration = Duration::from_millis(200);

impl Engine {
    /// Attaches to a running container; output from here on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn attach(&self, name: &str, stdin: bool) -> Result<AttachStream> {
        let id = self.store.resolve_container(name)?;
        let stream = self.talk(&id)?;
        stream.request(wire::ATTACH, &[u8::from(stdin)]).map_err(|e| broken(&id, e))?;
        if let Ok(record) = self.store.load_container(&id) {
            self.tell_container(&record, "attach", &[]);
        }
        Ok(stream)
    }

    /// Connects to a container's shim.
    pub(crate) fn talk(&self, id: &str) -> Result<AttachStream> {
        if self.store.is_running(id)?
            && self.store.read_exit(id)?.is_none()
            && let Ok(stream) = AttachStream::connect(&self.store.paths().run_ctl(id))
        {
            return Ok(stream);
        }
        Err(Error::new(ErrorKind::Conflict, format!("container {} is not running", short(id))))
    }

    /// The pid of the container's init, as the shim knows it.
    pub(crate) fn ask_pid(&self, id: &str) -> Result<Option<i32>> {
        let Ok(stream) = self.talk(id) else { return Ok(None) };
        stream.request(wire::QUERY, &[]).map_err(|e| broken(id, e))?;
        let mut buffer = vec![0; MESSAGE_BYTES];
        match stream.recv(&mut buffer) {
            Ok(Message::Started { pid }) => Ok(Some(pid)),
            _ => Ok(None),
        }
    }

    /// As [`Engine::ask_pid`] for many at once and without waiting for a launch that is under way: `None` for a shim that
    /// does not answer soon.
    pub(crate) fn ask_pids(&self, ids: &[&str]) -> Vec<Option<i32>> {
        let ask = |id: &&str| {
            let stream = AttachStream::connect_nonblocking(&self.store.paths().run_ctl(id)).ok()?;
            stream.request(wire::QUERY, &[]).ok().map(|()| stream)
        };
        let mut asked: Vec<Option<AttachStream>> = ids.iter().map(ask).collect();
        let mut pids = vec![None; ids.len()];
        let mut buffer = vec![0; MESSAGE_BYTES];
        let limit = Instant::now() + ANSWER_PATIENCE;
        while wait_for_any(&asked, limit) {
            for (stream, pid) in asked.iter_mut().zip(&mut pids) {
                let Some(open) = stream else { continue };
                match open.recv(&mut buffer) {
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
                    Ok(Message::Started { pid: told }) => *pid = Some(told),
                    _ => {}
                }
                *stream = None;
            }
        }
        pids
    }
}

/// Until one of the streams has something to read; false when none is left or the time is over.
fn wait_for_any(streams: &[Option<AttachStream>], limit: Instant) -> bool {
    let mut fds: Vec<PollFd<'_>> =
        streams.iter().flatten().map(|stream| PollFd::new(stream, PollFlags::IN)).collect();
    let left = limit.saturating_duration_since(Instant::now());
    if fds.is_empty() || left.is_zero() {
        return false;
    }
    let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
    match poll(&mut fds, Some(&timeout)) {
        Ok(ready) => ready > 0,
        Err(error) => error == rustix::io::Errno::INTR,
    }
}
