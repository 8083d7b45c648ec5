//! Many containers: started at once, left behind, listed, and in the way of others, created or running.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cais_test::world::World;

use crate::Effort;
use crate::contender::{Contender, IMAGE};
use crate::sample::{Times, WARM_UP_ROUNDS, alternate, once};
use crate::table::{Cell, Table};

/// Rows of starting, removing, listing.
pub fn rows(contenders: &[Contender], effort: Effort, table: &mut Table) {
    started_at_once(contenders, effort, table);
    in_the_way(contenders, effort, table);
    running_in_the_way(contenders, effort, table);
}

fn started_at_once(contenders: &[Contender], effort: Effort, table: &mut Table) {
    let title = format!("{} × `run -d` from {} clients", effort.crowd, effort.clients);
    let mut rows: [Vec<Cell>; 5] = Default::default();
    for contender in contenders {
        eprintln!("{title}: {}", contender.name);
        let folders: Vec<&Path> = contender.folders.iter().map(|folder| folder.as_path()).collect();
        let before = World::look(&folders);
        let line = format!("run -d {IMAGE} sleep 100000");
        let single = Times::new((0..5).filter_map(|_| once(contender, &line)).collect()).percentile(50);
        contender.clear();
        let began = Instant::now();
        let (times, errors) = flood(contender, &line, effort.crowd, effort.clients);
        let wall = began.elapsed();
        let running = contender.run("ps -q").lines().count();
        let p99 = times.percentile(99).as_secs_f64() / single.as_secs_f64();
        rows[0].push(Cell::Text(format!("{running} running, {errors} errors, {:.1} s", wall.as_secs_f64())));
        rows[1].push(Cell::Times(times.clone()));
        rows[2].push(Cell::Text(format!(
            "{:.0} ms = {p99:.1} × a single one",
            times.percentile(99).as_secs_f64() * 1000.0
        )));
        let began = Instant::now();
        contender.clear();
        rows[3].push(Cell::Text(format!("{:.1} s", began.elapsed().as_secs_f64())));
        rows[4].push(Cell::Text(left(&before, &folders)));
    }
    let titles = [title.as_str(), "… one of them", "… p99", "… `rm -f` of all", "… left behind"];
    for (title, cells) in titles.into_iter().zip(rows) {
        table.row(title, cells);
    }
}

/// Runs `line` `count` times from `clients` threads.
pub fn flood(contender: &Contender, line: &str, count: usize, clients: usize) -> (Times, usize) {
    let next = AtomicUsize::new(0);
    let results: Vec<Option<Duration>> = std::thread::scope(|scope| {
        let client = || {
            let mut results = Vec::new();
            while next.fetch_add(1, Ordering::Relaxed) < count {
                results.push(once(contender, line));
            }
            results
        };
        let clients: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        clients.into_iter().flat_map(|client| client.join().expect("a client")).collect()
    });
    let errors = results.iter().filter(|result| result.is_none()).count();
    (Times::new(results.into_iter().flatten().collect()), errors)
}

/// What stays although all containers are gone, by kind; the kernel has some seconds to clean up.
fn left(before: &World, folders: &[&Path]) -> String {
    let mut things = Vec::new();
    for _ in 0..50 {
        things = World::look(folders).since(before);
        if things.is_empty() {
            return "nothing".to_owned();
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for thing in &things {
        *kinds.entry(thing.split(' ').next().unwrap_or_default().to_owned()).or_default() += 1;
    }
    for thing in things.iter().take(20) {
        eprintln!("left: {thing}");
    }
    kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect::<Vec<_>>().join(", ")
}

fn in_the_way(contenders: &[Contender], effort: Effort, table: &mut Table) {
    let run = format!("run --rm --network none {IMAGE} true");
    let rounds = effort.rounds.min(20);
    let alone = alternate(contenders, "`run --network none` with no container present", &run, rounds, table);
    for contender in contenders {
        eprintln!("{} containers: {}", effort.present, contender.name);
        let (_, errors) = flood(contender, &format!("create {IMAGE} true"), effort.present, 8);
        if errors > 0 {
            table.note(format!("{}: {errors} of {} creates failed", contender.name, effort.present));
        }
    }
    alternate(contenders, &format!("`ps -a` with {} containers", effort.present), "ps -a", rounds, table);
    let title = format!("`run --network none` with {} containers", effort.present);
    let crowded = alternate(contenders, &title, &run, rounds, table);
    let cells = alone.iter().zip(&crowded).map(|(alone, crowded)| match (alone, crowded) {
        (Some(alone), Some(crowded)) => {
            Cell::Text(format!("{:.2}×", crowded.as_secs_f64() / alone.as_secs_f64()))
        }
        _ => Cell::Text("–".to_owned()),
    });
    table.row("… by that with none", cells.collect());
    for contender in contenders {
        contender.clear();
    }
}

/// The same with containers that run, for the first engine alone: monitors of others take gigabytes for so many.
fn running_in_the_way(contenders: &[Contender], effort: Effort, table: &mut Table) {
    let Some(contender) = contenders.first() else { return };
    let run = format!("run --rm --network none {IMAGE} true");
    let measure = |line: &str| {
        let times = (0..WARM_UP_ROUNDS + effort.rounds.min(20)).filter_map(|_| once(contender, line));
        Times::new(times.skip(WARM_UP_ROUNDS).collect())
    };
    let alone = measure(&run);
    eprintln!("{} running containers: {}", effort.present, contender.name);
    let began = Instant::now();
    let sleep = format!("run -d --network none {IMAGE} sleep 100000");
    let (_, errors) = flood(contender, &sleep, effort.present, 8);
    let wall = began.elapsed().as_secs_f64();
    let running = contender.run("ps -q").lines().count();
    let (ps, crowded) = (measure("ps"), measure(&run));
    let ratio = crowded.percentile(50).as_secs_f64() / alone.percentile(50).as_secs_f64();
    contender.clear();
    let mut row = |title: String, cell: Cell| {
        let mut cells = vec![cell];
        cells.resize_with(contenders.len(), || Cell::Text("not measured".to_owned()));
        table.row(&title, cells);
    };
    let present = effort.present;
    row(
        format!("{present} × `run -d --network none` from 8 clients"),
        Cell::Text(format!("{running} running, {errors} errors, {wall:.1} s")),
    );
    row(format!("`ps` with {present} running containers"), Cell::Times(ps));
    row(format!("`run --network none` with {present} running containers"), Cell::Times(crowded));
    row("… by that with none".to_owned(), Cell::Text(format!("{ratio:.2}×")));
}
