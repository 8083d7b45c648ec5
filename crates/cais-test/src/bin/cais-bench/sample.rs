//! Wall times of single commands, the engines taking turns.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::contender::{Contender, IMAGE};
use crate::table::{Cell, Table};

/// Thrown away.
pub const WARM_UP_ROUNDS: usize = 3;

/// Sorted times of one command.
#[derive(Clone, Debug, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    /// Sorts them.
    pub fn new(mut times: Vec<Duration>) -> Times {
        times.sort();
        Times(times)
    }

    /// The time below which `percent` of them lie; zero when there are none.
    pub fn percentile(&self, percent: usize) -> Duration {
        let last = self.0.len().saturating_sub(1);
        self.0.get((last * percent).div_ceil(100)).copied().unwrap_or_default()
    }
}

/// Runs a command of an engine once; `None` when it fails.
pub fn once(contender: &Contender, line: &str) -> Option<Duration> {
    let mut command = contender.command(line);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let began = Instant::now();
    let status = command.status().ok()?;
    let took = began.elapsed();
    status.success().then_some(took)
}

/// Runs `line` in each engine in turn and adds a row; returns the medians.
pub fn alternate(
    contenders: &[Contender],
    title: &str,
    line: &str,
    rounds: usize,
    table: &mut Table,
) -> Vec<Option<Duration>> {
    alternate_by(contenders, title, rounds, table, |contender| once(contender, line))
}

/// Lets each engine in turn do what `measure` does, which says how long the interesting part of it took, and adds a row;
/// returns the medians.
pub fn alternate_by(
    contenders: &[Contender],
    title: &str,
    rounds: usize,
    table: &mut Table,
    mut measure: impl FnMut(&Contender) -> Option<Duration>,
) -> Vec<Option<Duration>> {
    eprintln!("{title}");
    let warm_up = WARM_UP_ROUNDS.min(rounds);
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); contenders.len()];
    let mut failures = vec![0; contenders.len()];
    for round in 0..warm_up + rounds {
        for (index, contender) in contenders.iter().enumerate() {
            match measure(contender) {
                Some(took) if round >= warm_up => times[index].push(took),
                Some(_) => {}
                None => failures[index] += 1,
            }
        }
    }
    let mut cells = Vec::new();
    let mut medians = Vec::new();
    for (times, failures) in times.into_iter().zip(failures) {
        if failures > 0 {
            cells.push(Cell::Text(format!("{failures} failed")));
            medians.push(None);
            continue;
        }
        let times = Times::new(times);
        medians.push(Some(times.percentile(50)));
        cells.push(Cell::Times(times));
    }
    table.row(title, cells);
    medians
}

/// The first rows: runs and execs.
pub fn rows(contenders: &[Contender], rounds: usize, table: &mut Table) {
    alternate(
        contenders,
        "`run --rm IMG true`, default bridge",
        &format!("run --rm {IMAGE} true"),
        rounds,
        table,
    );
    alternate(
        contenders,
        "`run --rm --network none IMG true`",
        &format!("run --rm --network none {IMAGE} true"),
        rounds,
        table,
    );
    for contender in contenders {
        contender.run(&format!("run -d --name bench-exec {IMAGE} sleep 100000"));
    }
    alternate(contenders, "`exec C true`", "exec bench-exec true", rounds, table);
    for contender in contenders {
        contender.run(&format!("{} bench-exec", contender.remove));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        let times = Times::new((1..=101).rev().map(Duration::from_millis).collect());
        let at = |percent| times.percentile(percent).as_millis();
        assert_eq!((at(0), at(10), at(50), at(99), at(100)), (1, 11, 51, 100, 101));
        assert_eq!(Times::default().percentile(50), Duration::ZERO);
    }
}
