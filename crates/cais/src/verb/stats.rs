//! `stats`: what containers use, once or again and again.
//!
//! CPU % is the share of one CPU between two moments, as in docker: a second apart in a stream, and at least
//! [`WINDOW`] apart in the first sample, which is the only one with `--no-stream`. That is long enough for the kernel's
//! nanoseconds, and nobody waits for two seconds.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{ErrorKind, IsTerminal, Write, stdout};
use std::thread::sleep;
use std::time::{Duration, Instant};

use cais_engine::Engine;
use cais_engine::verb::CpuTime;
use cais_engine::view::ContainerView;
use clap::Args;

use crate::chosen::Chosen;
use crate::docker_config;
use crate::door::Door;
use crate::failure::{Failure, Outcome};
use crate::list::{Format, Row};
use crate::parse::parse;
use crate::stats_row::{COLUMNS, Used, cpu_percent, row};

/// Least time between the two readings of the first sample.
const WINDOW: Duration = Duration::from_millis(50);

#[derive(Debug, Args)]
struct StatsArgs {
    /// Show all containers, not only running ones.
    #[arg(short, long)]
    all: bool,
    /// table, json, 'table TEMPLATE', or a Go template.
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Seconds between samples.
    #[arg(short, long, value_name = "SECONDS", default_value = "1")]
    interval: u64,
    /// The container that was created last.
    #[arg(short, long)]
    latest: bool,
    /// Do not clear the terminal between samples.
    #[arg(long)]
    no_reset: bool,
    /// Show one sample; CPU % is that of the last 50 ms.
    #[arg(long)]
    no_stream: bool,
    /// Do not shorten.
    #[arg(long)]
    no_trunc: bool,
    containers: Vec<String>,
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: StatsArgs = parse(door.spec, argv)?;
    let named = match args.latest || !args.containers.is_empty() {
        true => {
            let chosen = Chosen { latest: args.latest, ..Chosen::default() };
            Some(chosen.names(door, &args.containers, &[], |_| false)?)
        }
        false => None,
    };
    show(door, &args, named)
}

/// The same of the containers of pods; of all pods that run when none is named.
pub(super) fn pods(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: StatsArgs = parse(door.spec, argv)?;
    let engine = door.engine()?;
    let pods = match args.containers.is_empty() {
        true => engine.pods()?.into_iter().take(if args.latest { 1 } else { usize::MAX }).collect(),
        false => {
            args.containers.iter().map(|name| engine.pod(name)).collect::<cais_engine::Result<Vec<_>>>()?
        }
    };
    let containers = pods.into_iter().flat_map(|pod| pod.containers);
    let wanted = containers.filter(|view| args.all || view.is_alive()).map(|view| view.record.id);
    let named = wanted.collect();
    show(door, &StatsArgs { containers: Vec::new(), ..args }, Some(named))
}

fn show(door: &Door, args: &StatsArgs, named: Option<Vec<String>>) -> Outcome {
    let configured = docker_config::text(door, "statsFormat");
    let format = Format::choose(&COLUMNS, false, args.format.as_deref(), configured.as_deref())?;
    if args.interval == 0 {
        return Err(Failure::usage("--interval: at least one second"));
    }
    if args.all && !args.containers.is_empty() {
        return Err(Failure::usage("conflicting options: use names or --all"));
    }
    let engine = door.engine()?;
    let mut samples =
        Samples { engine, named, all: args.all, truncate: !args.no_trunc, last: BTreeMap::new() };
    samples.check()?;
    let clears = !args.no_stream && !args.no_reset && can_clear();
    let mut began = Instant::now();
    while let Some(rows) = samples.next()? {
        let text = format.render(&COLUMNS, &rows)?;
        if !print(&frame(&text, clears))? || args.no_stream {
            break;
        }
        sleep(Duration::from_secs(args.interval).saturating_sub(began.elapsed()));
        began = Instant::now();
    }
    Ok(0)
}

/// Whether standard output is a terminal that can be written over.
fn can_clear() -> bool {
    stdout().is_terminal() && std::env::var("TERM").is_ok_and(|term| term != "dumb")
}

/// On a terminal over what was there: home, the end of each line cleared, and everything below.
fn frame(text: &str, clears: bool) -> String {
    if clears { format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n")) } else { text.to_owned() }
}

/// False when nobody reads any more.
fn print(text: &str) -> Result<bool, Failure> {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::edge("write to standard output", error)),
    }
}

/// Samples, one after the other.
struct Samples<'a> {
    engine: &'a Engine,
    /// As typed; otherwise all that run, or all.
    named: Option<Vec<String>>,
    all: bool,
    truncate: bool,
    /// CPU times of the last sample, by id and pid.
    last: BTreeMap<(String, i32), CpuTime>,
}

impl Samples<'_> {
    /// Those that were named have to be there at the beginning.
    fn check(&self) -> Result<(), Failure> {
        for name in self.named.iter().flatten() {
            self.engine.container(name)?;
        }
        Ok(())
    }

    /// `None` when all that were named are gone.
    fn next(&mut self) -> Result<Option<Vec<Row>>, Failure> {
        let (called, views) = self.views()?;
        if views.is_empty() && self.named.is_some() {
            return Ok(None);
        }
        let is_first = self.last.is_empty();
        let mut before = self.engine.cpu_times(&views)?;
        let usages = self.engine.usages(&views)?;
        let last_read = before.iter().flatten().map(|time| time.at).max();
        let after = match last_read {
            Some(last_read) if is_first => {
                sleep(WINDOW.saturating_sub(last_read.elapsed()));
                self.engine.cpu_times(&views)?
            }
            _ => before.clone(),
        };
        if !is_first {
            before = views.iter().map(|view| self.last.get(&key(view)).copied()).collect();
        }
        let rows = views.iter().enumerate().map(|(at, view)| {
            let percent = before[at].zip(after[at]).and_then(|(before, after)| cpu_percent(before, after));
            row(&Used { view, called: &called[at], cpu_percent: percent, usage: usages[at] }, self.truncate)
        });
        let rows = rows.collect();
        let times = views.iter().zip(&after).filter_map(|(view, time)| Some((key(view), (*time)?)));
        self.last = times.collect();
        Ok(Some(rows))
    }

    /// What to sample, and what each was called.
    fn views(&self) -> Result<(Vec<String>, Vec<ContainerView>), Failure> {
        let Some(named) = &self.named else {
            let views = self.engine.containers(self.all)?;
            let called = views.iter().map(|view| view.record.id.chars().take(12).collect()).collect();
            return Ok((called, views));
        };
        let found = named.iter().filter_map(|name| match self.engine.container(name) {
            Ok(view) => Some(Ok((name.clone(), view))),
            // Removed since the beginning.
            Err(error) if error.kind == cais_engine::ErrorKind::NotFound => None,
            Err(error) => Some(Err(error)),
        });
        Ok(found.collect::<Result<Vec<_>, _>>()?.into_iter().unzip())
    }
}

/// One run of one container.
fn key(view: &ContainerView) -> (String, i32) {
    (view.record.id.clone(), view.run.as_ref().map_or(0, |run| run.pid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_terminals_are_cleared() {
        assert_eq!(frame("a\nb\n", false), "a\nb\n");
        assert_eq!(frame("a\nb\n", true), "\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J");
    }
}
