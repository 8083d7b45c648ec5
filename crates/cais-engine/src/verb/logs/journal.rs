//! The log of a container that writes to systemd's journal: read by `journalctl`, one JSON object for each entry.
//!
//! Following runs a second journalctl until the container has ended, and asks then for what came behind the last entry that
//! was seen: the journal takes a moment to store what it was sent.

use std::io::Read;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;

use super::line::Record;
use super::{LogOptions, LogSink, WATCHED_PAUSE, Window, pidfd};
use crate::view::Stream;
use crate::{Engine, Error, ErrorKind, Result};

/// Fields that are asked for; the journal adds those of the entry itself.
const FIELDS: &str = "MESSAGE,PRIORITY,CONTAINER_PARTIAL_MESSAGE";
/// docker writes standard error with the priority of an error.
const ERROR: &str = "3";

/// One reading of the journal.
struct Reading<'a> {
    program: PathBuf,
    id: &'a str,
    window: &'a Window,
    sink: &'a mut LogSink<'a>,
    /// Of the last entry.
    cursor: Option<String>,
}

/// An entry of the journal.
struct Entry {
    cursor: String,
    time: String,
    stream: Stream,
    partial: bool,
    data: Vec<u8>,
}

impl Engine {
    /// Hands over what the journal has of a container.
    pub(super) fn journal_logs<'a>(
        &self,
        id: &'a str,
        options: &LogOptions,
        window: &'a Window,
        sink: &'a mut LogSink<'a>,
    ) -> Result<()> {
        let program = self.find_program("journalctl").ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, "the log is in the journal, and journalctl is not installed")
                .hint("it belongs to systemd; --log-driver json-file keeps logs that cais reads itself")
        })?;
        let mut reading = Reading { program, id, window, sink, cursor: None };
        let mut arguments = Vec::new();
        if let Some(lines) = options.tail {
            arguments.push(format!("--lines={lines}"));
        }
        for (name, time) in [("since", options.since), ("until", options.until)] {
            if let Some(time) = time {
                // Whole seconds are exact in every version; the rest is looked at here.
                let second = time.as_second() + i64::from(name == "until");
                arguments.push(format!("--{name}=@{second}"));
            }
        }
        let follow = options.follow && options.until.is_none_or(|until| until > Timestamp::now());
        if !follow || !self.store.is_running(id)? {
            return reading.whole(&arguments).map(drop);
        }
        arguments.push("--follow".to_owned());
        if options.tail.is_none() {
            arguments.push("--no-tail".to_owned());
        }
        if self.follow_journal(&mut reading, &arguments, options.until)?.is_break() {
            return Ok(());
        }
        // What the journal was sent and has not stored; only root may ask for it.
        let _ = reading.command(&["--sync".to_owned()]).stdout(Stdio::null()).status();
        let behind = reading.cursor.clone().map(|cursor| format!("--after-cursor={cursor}"));
        let arguments: Vec<String> =
            behind.map_or_else(|| arguments[..arguments.len() - 2].to_vec(), |text| vec![text]);
        reading.whole(&arguments).map(drop)
    }

    /// Hands entries over until the container has ended, or `until` is over.
    fn follow_journal(
        &self,
        reading: &mut Reading<'_>,
        arguments: &[String],
        until: Option<Timestamp>,
    ) -> Result<ControlFlow<()>> {
        let mut running = Running::start(reading, arguments)?;
        let mut shim: Option<OwnedFd> = None;
        loop {
            if shim.is_none() {
                shim = self.store.read_facts(reading.id)?.and_then(|facts| pidfd(facts.shim_pid));
            }
            let left = until.map(|until| until.duration_since(Timestamp::now()));
            if left.is_some_and(|left| !left.is_positive()) {
                return Ok(ControlFlow::Break(()));
            }
            let pause = left.map_or(WATCHED_PAUSE, |left| left.unsigned_abs().min(WATCHED_PAUSE));
            let timeout =
                Timespec { tv_sec: pause.as_secs() as i64, tv_nsec: i64::from(pause.subsec_nanos()) };
            let mut fds = vec![PollFd::new(&running.output, PollFlags::IN)];
            fds.extend(shim.as_ref().map(|shim| PollFd::new(shim, PollFlags::IN)));
            match poll(&mut fds, Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(failed(error.into())),
            }
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            if ready[0] {
                match running.read(reading)? {
                    Some(flow) if flow.is_break() => return Ok(flow),
                    Some(_) => {}
                    None => return running.end().map(|()| ControlFlow::Continue(())),
                }
            } else if !self.store.is_running(reading.id)? {
                return Ok(ControlFlow::Continue(()));
            }
            if ready.get(1) == Some(&true) {
                // It may run again, with another monitor.
                shim = None;
            }
        }
    }
}

impl Reading<'_> {
    fn command(&self, arguments: &[String]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["--quiet", "--no-pager"]).args(arguments);
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// Hands over what there is.
    fn whole(&mut self, arguments: &[String]) -> Result<ControlFlow<()>> {
        let mut running = Running::start(self, arguments)?;
        while let Some(flow) = running.read(self)? {
            if flow.is_break() {
                return Ok(flow);
            }
        }
        running.end().map(|()| ControlFlow::Continue(()))
    }

    /// Hands one entry over; what is none is left out.
    fn take(&mut self, line: &[u8]) -> ControlFlow<()> {
        let Some(entry) = entry(line) else { return ControlFlow::Continue(()) };
        let Entry { cursor, time, stream, partial, data } = &entry;
        let record = Record { time, stream: *stream, partial: *partial, data, attrs: b"" };
        let flow = self.window.hand_over(record, self.sink);
        self.cursor = Some(cursor.clone());
        flow
    }
}

/// A journalctl at work; it ends with this.
struct Running {
    child: Child,
    output: ChildStdout,
    /// The beginning of a line.
    line: Vec<u8>,
}

impl Running {
    fn start(reading: &Reading<'_>, arguments: &[String]) -> Result<Running> {
        let mut command = reading.command(arguments);
        command.args(["--output=json", "--all"]).arg(format!("--output-fields={FIELDS}"));
        command.arg(format!("CONTAINER_ID_FULL={}", reading.id));
        let mut child = command.stdout(Stdio::piped()).spawn().map_err(failed)?;
        let Some(output) = child.stdout.take() else {
            return Err(failed(std::io::Error::from(std::io::ErrorKind::BrokenPipe)));
        };
        Ok(Running { child, output, line: Vec::new() })
    }

    /// Reads once, waiting if need be; `None` at the end.
    fn read(&mut self, reading: &mut Reading<'_>) -> Result<Option<ControlFlow<()>>> {
        let mut bytes = [0; 64 << 10];
        let count = match rustix::io::read(self.output.as_fd(), &mut bytes) {
            Ok(0) => return Ok(None),
            Ok(count) => count,
            Err(rustix::io::Errno::INTR) => return Ok(Some(ControlFlow::Continue(()))),
            Err(error) => return Err(failed(error.into())),
        };
        for piece in bytes[..count].split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                if reading.take(&self.line).is_break() {
                    return Ok(Some(ControlFlow::Break(())));
                }
                self.line.clear();
            }
        }
        Ok(Some(ControlFlow::Continue(())))
    }

    /// It has ended: how.
    fn end(mut self) -> Result<()> {
        let status = self.child.wait().map_err(failed)?;
        let mut words = String::new();
        if let Some(errors) = &mut self.child.stderr {
            // What it says is a courtesy.
            let _ = errors.take(1024).read_to_string(&mut words);
        }
        // A journal that nobody has written to yet is an error to it, without words.
        if status.success() || words.trim().is_empty() {
            return Ok(());
        }
        let message = format!("journalctl: {}", words.trim().lines().last().unwrap_or_default());
        Err(Error::new(ErrorKind::System, message))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An object as journalctl writes it.
fn entry(line: &[u8]) -> Option<Entry> {
    let object: Value = serde_json::from_slice(line).ok()?;
    let word = |name: &str| object.get(name).and_then(Value::as_str);
    let time = Timestamp::from_microsecond(word("__REALTIME_TIMESTAMP")?.parse().ok()?).ok()?;
    let data = match object.get("MESSAGE")? {
        Value::String(text) => text.clone().into_bytes(),
        // What is no text.
        Value::Array(bytes) => bytes.iter().filter_map(Value::as_u64).map(|byte| byte as u8).collect(),
        _ => Vec::new(),
    };
    Some(Entry {
        cursor: word("__CURSOR")?.to_owned(),
        time: format!("{time:.9}"),
        stream: if word("PRIORITY") == Some(ERROR) { Stream::Stderr } else { Stream::Stdout },
        partial: word("CONTAINER_PARTIAL_MESSAGE") == Some("true"),
        data,
    })
}

fn failed(error: std::io::Error) -> Error {
    Error::caused(ErrorKind::System, "read the journal by journalctl", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries() {
        let line =
            br#"{"__CURSOR":"s=1","__REALTIME_TIMESTAMP":"1795169845123456","PRIORITY":"3","MESSAGE":"a"}"#;
        let found = entry(line).unwrap();
        assert_eq!((found.time.as_str(), found.cursor.as_str()), ("2026-11-20T10:17:25.123456000Z", "s=1"));
        assert_eq!((found.stream, found.partial, &found.data[..]), (Stream::Stderr, false, &b"a"[..]));
        let bytes = r#"{"__CURSOR":"s=2","__REALTIME_TIMESTAMP":"1","PRIORITY":"6","MESSAGE":[255,10],"CONTAINER_PARTIAL_MESSAGE":"true"}"#;
        let found = entry(bytes.as_bytes()).unwrap();
        assert_eq!((found.stream, found.partial, &found.data[..]), (Stream::Stdout, true, &b"\xff\n"[..]));
        assert!(entry(b"{}").is_none() && entry(b"-- Logs begin").is_none());
    }
}
