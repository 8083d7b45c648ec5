//! `logs`: what a container wrote.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Write, stderr, stdout};
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};

use cais_engine::ContainerRecord;
use cais_engine::verb::{LogLine, LogOptions};
use cais_engine::view::Stream;
use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::door::Door;
use crate::failure::{Failure, Outcome};
use crate::parse::parse;
use crate::time::parse_instant;

#[derive(Debug, Args)]
struct LogsArgs {
    /// Show what --log-opt labels=, env= and tag= put into every line.
    #[arg(long)]
    details: bool,
    /// Go on with what is written from now on.
    #[arg(short, long)]
    follow: bool,
    /// Show nothing older (10m, unix seconds, 2026-01-02T15:04:05Z).
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Show the last so many lines only.
    #[arg(short = 'n', long, value_name = "NUMBER", default_value = "all")]
    tail: String,
    /// Show the time of every line.
    #[arg(short, long)]
    timestamps: bool,
    /// Show nothing newer.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    container: String,
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: LogsArgs = parse(door.spec, argv)?;
    let options = options(&args)?;
    let mut writer = LogWriter::new(&args, args.follow)?;
    let mut result = Ok(());
    door.engine()?.logs(&args.container, options, &mut |line| {
        result = writer.write(&line);
        if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    unless_broken(result.and_then(|()| writer.flush()))
}

/// A reader that went away is no failure.
fn unless_broken(result: io::Result<()>) -> Outcome {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::edge("write to standard output", error))
        }
        _ => Ok(0),
    }
}

fn options(args: &LogsArgs) -> Result<LogOptions, Failure> {
    let (now, zone) = (Timestamp::now(), TimeZone::system());
    let instant = |flag: &str, text: &Option<String>| match text {
        None => Ok(None),
        Some(text) => match parse_instant(text, now, &zone) {
            Ok(instant) => Ok(Some(instant)),
            Err(reason) => Err(Failure::usage(format!("--{flag}: {reason}"))),
        },
    };
    Ok(LogOptions {
        follow: args.follow,
        since: instant("since", &args.since)?,
        until: instant("until", &args.until)?,
        tail: parse_tail(&args.tail)?,
    })
}

#[derive(Debug, Args)]
struct PodLogsArgs {
    /// Only this container of the pod.
    #[arg(short = 'c', long = "container", value_name = "CONTAINER")]
    only: Option<String>,
    /// Begin lines with the names of the containers instead of their ids.
    #[arg(long)]
    names: bool,
    #[command(flatten)]
    logs: LogsArgs,
}

/// The same of all containers of a pod, each line begun with the short id of its container.
pub(super) fn pod(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: PodLogsArgs = parse(door.spec, argv)?;
    let options = options(&args.logs)?;
    let engine = door.engine()?;
    let pod = engine.pod(&args.logs.container)?;
    let only =
        args.only.as_deref().map(|name| engine.container(name)).transpose()?.map(|view| view.record.id);
    let wanted = pod.containers.iter().map(|view| &view.record).filter(|record| match &only {
        Some(only) => record.id == *only,
        None => !record.infra,
    });
    let wanted: Vec<_> = wanted.collect();
    if wanted.is_empty() {
        return Err(Failure::usage(format!("no such container in pod {}", pod.record.name)));
    }
    let writer = Mutex::new(LogWriter::new(&args.logs, true)?);
    let show = |record: &ContainerRecord| -> Outcome {
        let name = if args.names { record.name.clone() } else { record.id.chars().take(12).collect() };
        let head = if only.is_some() { String::new() } else { format!("{name} ") };
        let mut result = Ok(());
        engine.logs(&record.id, options.clone(), &mut |line| {
            let data = [head.as_bytes(), line.data].concat();
            // Nobody panics with the lock in hand.
            let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
            result = writer.write(&LogLine { data: &data, partial: false, ..line });
            if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        unless_broken(result)
    };
    if !args.logs.follow {
        return wanted.into_iter().try_fold(0, |_, record| show(record));
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> = wanted.into_iter().map(|record| scope.spawn(move || show(record))).collect();
        let ends = threads.into_iter().map(|one| one.join().unwrap_or_else(|panic| resume_unwind(panic)));
        let ends: Vec<Outcome> = ends.collect();
        ends.into_iter().find(Result::is_err).unwrap_or(Ok(0))
    })
}

impl LogWriter<BufWriter<File>, BufWriter<File>> {
    fn new(args: &LogsArgs, eager: bool) -> Result<Self, Failure> {
        let open = |fd: io::Result<std::os::fd::OwnedFd>| {
            fd.map(File::from).map_err(|error| Failure::edge("open standard output", error))
        };
        Ok(LogWriter {
            out: BufWriter::with_capacity(64 << 10, open(stdout().as_fd().try_clone_to_owned())?),
            err: BufWriter::new(open(stderr().as_fd().try_clone_to_owned())?),
            timestamps: args.timestamps,
            details: args.details,
            eager,
            last: None,
            mid_line: [false; 2],
        })
    }
}

/// `all`, or a number; a negative one means all, as in docker.
fn parse_tail(text: &str) -> Result<Option<u64>, Failure> {
    if text == "all" {
        return Ok(None);
    }
    let number: i64 = text
        .parse()
        .map_err(|_| Failure::usage(format!("--tail: {text:?} is not a number of lines nor \"all\"")))?;
    Ok(u64::try_from(number).ok())
}

/// Puts records on the stream to which they were written, in their order.
struct LogWriter<O: Write, E: Write> {
    out: O,
    err: E,
    timestamps: bool,
    details: bool,
    /// Every record is to be seen at once.
    eager: bool,
    last: Option<Stream>,
    /// Per stream: the last record did not end its line.
    mid_line: [bool; 2],
}

impl<O: Write, E: Write> LogWriter<O, E> {
    fn write(&mut self, line: &LogLine<'_>) -> io::Result<()> {
        if self.last.is_some_and(|last| last != line.stream) {
            // On a terminal both streams are one.
            self.flush()?;
        }
        self.last = Some(line.stream);
        let (sink, place): (&mut dyn Write, usize) = match line.stream {
            Stream::Stdout => (&mut self.out, 0),
            Stream::Stderr => (&mut self.err, 1),
        };
        if self.timestamps && !self.mid_line[place] {
            write!(sink, "{} ", line.time)?;
        }
        if self.details && !self.mid_line[place] {
            write!(sink, "{} ", details(line.attrs))?;
        }
        sink.write_all(line.data)?;
        if !line.partial {
            sink.write_all(b"\n")?;
        }
        self.mid_line[place] = line.partial;
        if self.eager { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()?;
        self.err.flush()
    }
}

/// Attributes as docker shows them: `name=value`, sorted, with commas between and everything odd escaped.
fn details(attrs: &[u8]) -> String {
    let attrs: BTreeMap<String, String> = serde_json::from_slice(attrs).unwrap_or_default();
    let escaped = |text: &str| -> String {
        text.bytes()
            .map(|byte| match byte {
                b' ' => "+".to_owned(),
                b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
                _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
                _ => format!("%{byte:02X}"),
            })
            .collect()
    };
    let pairs: Vec<String> =
        attrs.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value))).collect();
    pairs.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_records_make_one_line() {
        let mut writer = LogWriter {
            out: Vec::new(),
            err: Vec::new(),
            timestamps: true,
            details: false,
            eager: false,
            last: None,
            mid_line: [false; 2],
        };
        let records = [
            (Stream::Stdout, true, "on"),
            (Stream::Stderr, false, "err"),
            (Stream::Stdout, false, "e"),
            (Stream::Stdout, true, "end"),
        ];
        for (stream, partial, data) in records {
            writer
                .write(&LogLine { stream, time: "T", partial, data: data.as_bytes(), attrs: b"" })
                .expect("a vector");
        }
        assert_eq!(writer.out, b"T one\nT end");
        assert_eq!(writer.err, b"T err\n");
    }

    #[test]
    fn attributes_are_escaped_as_in_a_query() {
        assert_eq!(details(b""), "");
        assert_eq!(details(br#"{"tag":"a b/c","A":"1=2,3"}"#), "A=1%3D2%2C3,tag=a+b%2Fc");
    }

    #[test]
    fn tails() {
        assert_eq!(parse_tail("all").ok(), Some(None));
        assert_eq!(parse_tail("-1").ok(), Some(None));
        assert_eq!(parse_tail("0").ok(), Some(Some(0)));
        assert!(parse_tail("some").is_err());
    }
}
