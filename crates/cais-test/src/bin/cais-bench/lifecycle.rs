//! What people do with containers that run: look at many, copy into and out of them, take a snapshot, write logs.

use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::Effort;
use crate::contender::{Contender, IMAGE};
use crate::crowd::flood;
use crate::sample::{alternate, alternate_by, once};
use crate::table::{Cell, Table};

const MIB: usize = 1 << 20;
/// One file that is copied.
const COPIED_MIB: usize = 1024;
/// Files of one MiB in the writable layer that is committed.
const COMMITTED_MIB: usize = 200;
/// What a container writes, in lines of [`LINE`] bytes with their ends.
const LOGGED_MIB: usize = 256;
const LINE: usize = 100;

/// Rows of `stats`, `cp`, `commit` and the log.
pub fn rows(contenders: &[Contender], effort: Effort, folder: &Path, table: &mut Table) {
    // Each of these moves a gigabyte or waits for seconds.
    let rounds = effort.rounds.div_ceil(4);
    stats(contenders, effort, table);
    copies(contenders, rounds, folder, table);
    commits(contenders, rounds, folder, table);
    logs(contenders, rounds, folder, table);
}

fn stats(contenders: &[Contender], effort: Effort, table: &mut Table) {
    let count = effort.present.div_ceil(5);
    for contender in contenders {
        eprintln!("{count} running containers: {}", contender.name);
        let (_, errors) = flood(
            contender,
            &format!("run -d --network none {IMAGE} sleep 100000"),
            count,
            effort.clients.min(8),
        );
        if errors > 0 {
            table.note(format!("{}: {errors} of {count} starts failed", contender.name));
        }
    }
    let title = format!("`stats --no-stream` of {count} running containers");
    alternate(contenders, &title, "stats --no-stream", effort.rounds.div_ceil(4), table);
    contenders.iter().for_each(Contender::clear);
}

fn copies(contenders: &[Contender], rounds: usize, folder: &Path, table: &mut Table) {
    let [source, target] = ["gibibyte", "copy"].map(|name| folder.join(name));
    noise(&source, COPIED_MIB);
    let mut host = Vec::new();
    for contender in contenders {
        contender.run(&format!("run -d --name bench-cp --network none {IMAGE} sleep 100000"));
    }
    let (from, to) = (source.display(), target.display());
    let into = alternate_by(contenders, "`cp` of 1 GiB into a container", rounds, table, |contender| {
        if contender.name == "cais" {
            host.push(host_cp(&source, &target));
        }
        let took = once(contender, &format!("cp {from} bench-cp:/gibibyte"));
        contender.run("exec bench-cp rm /gibibyte");
        took
    });
    against(&host, &into, table);
    for contender in contenders {
        contender.run(&format!("cp {from} bench-cp:/gibibyte"));
    }
    host.clear();
    let out = alternate_by(contenders, "`cp` of 1 GiB out of a container", rounds, table, |contender| {
        if contender.name == "cais" {
            host.push(host_cp(&source, &target));
        }
        let took = once(contender, &format!("cp bench-cp:/gibibyte {to}"));
        remove(&target);
        took
    });
    against(&host, &out, table);
    contenders.iter().for_each(Contender::clear);
    remove(&source);
}

/// `cp` of the host, of the same file onto the same disk.
fn host_cp(source: &Path, target: &Path) -> Duration {
    let began = Instant::now();
    let status = Command::new("cp").args([source, target]).status();
    let took = began.elapsed();
    assert!(status.is_ok_and(|status| status.success()), "the host's cp failed");
    remove(target);
    took
}

/// The row below: how fast that was by the host's `cp`.
fn against(host: &[Duration], engines: &[Option<Duration>], table: &mut Table) {
    let mut host = host.to_vec();
    host.sort();
    let Some(host) = host.get(host.len() / 2) else { return };
    let cells = engines.iter().map(|engine| match engine {
        Some(engine) => Cell::Text(format!("{:.2}×", host.as_secs_f64() / engine.as_secs_f64())),
        None => Cell::Text("–".to_owned()),
    });
    table.row(
        &format!("… its rate by that of the host's `cp` ({:.0} ms)", host.as_secs_f64() * 1e3),
        cells.collect(),
    );
}

fn commits(contenders: &[Contender], rounds: usize, folder: &Path, table: &mut Table) {
    let tree = folder.join("tree");
    fs::create_dir(&tree).expect("a folder of our own");
    (0..COMMITTED_MIB).for_each(|number| noise(&tree.join(format!("file-{number}")), 1));
    for contender in contenders {
        contender.run(&format!("run -d --name bench-commit --network none {IMAGE} sleep 100000"));
        contender.run(&format!("cp {} bench-commit:/tree", tree.display()));
    }
    let title = format!("`commit` of {COMMITTED_MIB} files of 1 MiB");
    alternate_by(contenders, &title, rounds, table, |contender| {
        // Docker pauses by itself, podman does not; nothing runs that a pause would wait for.
        let took = once(contender, "commit bench-commit bench/committed:latest");
        contender.run("rmi bench/committed:latest");
        took
    });
    contenders.iter().for_each(Contender::clear);
    fs::remove_dir_all(&tree).expect("what was made above");
}

fn logs(contenders: &[Contender], rounds: usize, folder: &Path, table: &mut Table) {
    let lines = folder.join("lines");
    let mut file = BufWriter::new(File::create(&lines).expect("a file of our own"));
    let count = LOGGED_MIB * MIB / LINE;
    for number in 0..count {
        writeln!(file, "{number:0width$}", width = LINE - 1).expect("room for the lines");
    }
    drop(file);
    let flags = "--network none --log-driver json-file --log-opt max-size=20m --log-opt max-file=5";
    let title =
        format!("log of {} MB in lines of {LINE} bytes, json-file 5 × 20 MiB", count * LINE / 1_000_000);
    let mount = lines.display();
    let medians = alternate_by(contenders, &title, rounds, table, |contender| {
        let line = format!("run -d --name bench-log {flags} -v {mount}:/lines:ro {IMAGE} cat /lines");
        let began = Instant::now();
        let done = contender.try_run(&line).and_then(|_| contender.try_run("wait bench-log"));
        let took = began.elapsed();
        contender.run(&format!("{} bench-log", contender.remove));
        match done {
            Ok(status) if status == "0" => Some(took),
            other => {
                eprintln!("{}: {other:?}", contender.name);
                None
            }
        }
    });
    let rate = |took: &Option<Duration>| match took {
        Some(took) => Cell::Text(format!("{:.0} MB/s", (count * LINE) as f64 / 1e6 / took.as_secs_f64())),
        None => Cell::Text("–".to_owned()),
    };
    table.row("… from `run -d` to the end of `wait`", medians.iter().map(rate).collect());
    remove(&lines);
}

/// A file that no layer below can share and no compressor can shrink.
fn noise(file: &Path, mib: usize) {
    let mut target = File::create(file).expect("a file of our own");
    let mut random = File::open("/dev/urandom").expect("the random device");
    let mut block = vec![0; MIB];
    for _ in 0..mib {
        random.read_exact(&mut block).expect("random bytes");
        target.write_all(&block).expect("room for the file");
    }
}

fn remove(file: &Path) {
    if let Err(error) = fs::remove_file(PathBuf::from(file)) {
        eprintln!("{}: {error}", file.display());
    }
}
