//! The log of one command, in the two forms of runc's log library, which callers parse.
//!
//! Callers take the last line of level `error` for what went wrong. A line is one write to a file opened for appending,
//! so that commands of several processes do not mix theirs. Without a file the lines go to standard error, but an
//! error in text form is then `error: ` and its sentence. With a file the sentence of an error goes to standard error, too.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use jiff::{Timestamp, Unit};
use serde_json::json;

use super::failure::Failure;
use crate::door::print_stderr;

/// How much is told; each level includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// What made the command fail.
    Error,
    /// What was done differently from what was asked for.
    #[default]
    Warning,
    /// What is done.
    Debug,
}

/// How a line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Format {
    /// `time="…" level=… msg="…"`
    #[default]
    Text,
    /// `{"level":…,"msg":…,"time":…}`
    Json,
}

/// Where lines go.
#[derive(Debug, Default)]
pub(super) struct Log {
    file: Option<File>,
    format: Format,
    level: Level,
}

impl Log {
    /// Opens the log; the file is made when it is missing.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(super) fn open(path: Option<&Path>, format: Format, level: Level) -> Result<Log, Failure> {
        let open = |path: &Path| {
            let opened = OpenOptions::new().append(true).create(true).mode(0o644).open(path);
            opened.map_err(|error| Failure::io(format!("open log file {}", path.display()), &error))
        };
        Ok(Log { file: path.map(open).transpose()?, format, level })
    }

    /// What made the command fail.
    pub(super) fn error(&self, message: &str) {
        if self.file.is_some() {
            self.put(Level::Error, message);
        }
        if self.file.is_some() {
            print_stderr(&format!("{message}\n"));
        } else if self.format == Format::Text {
            // What runc's first process says itself, when it cannot become the command, has no level.
            let level = if message.starts_with("exec ") { "" } else { "error: " };
            print_stderr(&format!("{level}{message}\n"));
        } else {
            self.put(Level::Error, message);
        }
    }

    /// What was done differently from what was asked for.
    pub(super) fn warning(&self, message: &str) {
        self.put(Level::Warning, message);
    }

    /// What is done.
    pub(super) fn debug(&self, message: impl FnOnce() -> String) {
        if self.level >= Level::Debug {
            self.put(Level::Debug, &message());
        }
    }

    fn put(&self, level: Level, message: &str) {
        if level > self.level {
            return;
        }
        let now = Timestamp::now().round(Unit::Second).unwrap_or_default();
        let line = line(self.format, level, message, now);
        match &self.file {
            // A log that cannot be written must not make the command fail.
            Some(file) => drop((&mut &*file).write_all(line.as_bytes())),
            None => print_stderr(&line),
        }
    }
}

fn line(format: Format, level: Level, message: &str, now: Timestamp) -> String {
    let level = match level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Debug => "debug",
    };
    match format {
        Format::Json => {
            format!("{}\n", json!({"level": level, "msg": message, "time": now.to_string()}))
        }
        Format::Text => format!("time=\"{now}\" level={level} msg={}\n", quoted(message)),
    }
}

/// A text as it is when every character is harmless, otherwise in quotes.
fn quoted(text: &str) -> String {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "-._/@^+".contains(c);
    if !text.is_empty() && text.chars().all(harmless) { text.to_owned() } else { format!("{text:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("in range")
    }

    #[test]
    fn lines_are_those_of_runc() {
        assert_eq!(
            line(Format::Text, Level::Error, "exec: \"x\": not\nfound", at(1_700_000_000)),
            "time=\"2023-11-14T22:13:20Z\" level=error msg=\"exec: \\\"x\\\": not\\nfound\"\n"
        );
        assert_eq!(
            line(Format::Text, Level::Warning, "plain", at(0)),
            "time=\"1970-01-01T00:00:00Z\" level=warning msg=plain\n"
        );
        assert_eq!(
            line(Format::Json, Level::Debug, "a \"b\"", at(0)),
            "{\"level\":\"debug\",\"msg\":\"a \\\"b\\\"\",\"time\":\"1970-01-01T00:00:00Z\"}\n"
        );
    }

    #[test]
    fn appends_what_the_level_lets_through() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        std::fs::write(&path, "before\n").expect("written");
        let log = Log::open(Some(&path), Format::Json, Level::Warning).expect("opened");
        log.debug(|| "no".to_owned());
        log.warning("yes");
        let text = std::fs::read_to_string(&path).expect("read");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[0]), (2, "before"));
        let value: serde_json::Value = serde_json::from_str(lines[1]).expect("one JSON document");
        assert_eq!((&value["level"], &value["msg"]), (&"warning".into(), &"yes".into()));
        let quiet = Log::open(Some(&path), Format::Json, Level::Error).expect("opened");
        quiet.warning("no");
        assert_eq!(std::fs::read_to_string(&path).expect("read"), text);
        assert!(Log::open(Some(folder.path()), Format::Text, Level::Warning).is_err(), "a folder is no log");
    }
}
