//! `cais-bench launch|lifecycle|images`: cais beside docker and podman; `cais-bench runtime`: its OCI runtime beside crun and runc.
//! Whole processes, side by side; a table for `docs/performance.md` on standard output, progress on standard error.
//!
//! Started by `cargo xtask bench`. Needs root: everything runs in namespaces of its own, see
//! [`cais_test::isolation`]. A peer that is missing or does not start is reported and its column stays empty.

mod contender;
mod crowd;
mod images;
mod lifecycle;
mod monitor;
mod runtime;
mod sample;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use cais_test::isolation::{Disk, disk, enclosed, is_inside};
use cais_test::rootfs::busybox;

use contender::Contender;
use table::Table;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Effort {
    rounds: usize,
    crowd: usize,
    clients: usize,
    present: usize,
    /// Repetitions of pulling the large image.
    pulls: usize,
    /// The large image is made this many times smaller.
    image_part: u64,
    /// Small images beside it.
    images: usize,
}

const FULL: Effort =
    Effort { rounds: 40, crowd: 500, clients: 50, present: 1000, pulls: 3, image_part: 1, images: 500 };
const QUICK: Effort =
    Effort { rounds: 8, crowd: 50, clients: 10, present: 100, pulls: 3, image_part: 5, images: 100 };

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut words = args.iter().map(String::as_str);
    let (mut effort, mut binary, mut peers) = (FULL, None, true);
    let mut runtimes = Vec::new();
    let mut cache = None;
    let Some(what @ ("launch" | "lifecycle" | "images" | "runtime")) = words.next() else { return usage() };
    while let Some(word) = words.next() {
        match word {
            "--quick" => effort = QUICK,
            "--no-peers" => peers = false,
            "--cache" => cache = words.next().map(PathBuf::from),
            "--binary" => binary = words.next().map(PathBuf::from),
            "--crun" => runtimes.extend(words.next().map(|path| ("crun", PathBuf::from(path)))),
            "--runc" => runtimes.extend(words.next().map(|path| ("runc", PathBuf::from(path)))),
            _ => return usage(),
        }
    }
    let Some(binary) = binary else { return usage() };
    if !is_inside() {
        let disk = Disk::create();
        let status =
            enclosed(&std::env::current_exe().expect("own path"), &disk).command().args(&args).status();
        return if status.is_ok_and(|status| status.success()) {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        };
    }
    if what != "runtime" {
        engines(what, binary, effort, peers, cache);
        return ExitCode::SUCCESS;
    }
    for name in ["crun", "runc"] {
        if peers && !runtimes.iter().any(|(known, _)| *known == name) {
            runtimes.push((name, PathBuf::from(name)));
        }
    }
    let folder = disk().expect("made by the outer process");
    println!("{}", runtime::rows(&folder, &binary, &runtimes, effort.rounds));
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("cais-bench launch|lifecycle --binary FILE [--quick] [--no-peers]");
    eprintln!("cais-bench images --binary FILE [--cache FOLDER] [--quick] [--no-peers]");
    eprintln!("cais-bench runtime --binary FILE [--quick] [--no-peers] [--crun FILE] [--runc FILE]");
    ExitCode::from(2)
}

fn engines(what: &str, binary: PathBuf, effort: Effort, peers: bool, cache: Option<PathBuf>) {
    let folder = disk().expect("made by the outer process");
    let archive = folder.join("busybox.tar");
    let image = busybox().expect("busybox-static is needed for the image").build();
    image.write_docker_archive(&archive, &["bench/busybox:latest"]).expect("writing the image");
    let mut table = Table::new();
    let mut contenders = Vec::new();
    let mut candidates: Vec<Result<Contender, String>> = vec![contender::cais(folder.as_path(), binary)];
    if peers {
        candidates.push(contender::docker(folder.as_path()));
        candidates.push(contender::podman(folder.as_path()));
    }
    for candidate in candidates {
        match candidate.and_then(|contender| contender.load(&archive).map(|()| contender)) {
            Ok(contender) => {
                table.note(format!("{}: {}", contender.name, contender.about));
                contenders.push(contender);
            }
            Err(reason) => table.note(reason),
        }
    }
    if what == "images" && peers {
        match contender::containerd(&folder) {
            Ok(contender) => {
                table.note(format!("containerd: {}", contender.about));
                contenders.push(contender);
            }
            Err(reason) => table.note(reason),
        }
    }
    table.columns(contenders.iter().map(|contender| contender.name).collect());
    if what == "images" {
        let cache = cache.unwrap_or_else(|| folder.join("images"));
        images::rows(&contenders, effort, &folder, &cache, &mut table);
    } else if what == "lifecycle" {
        lifecycle::rows(&contenders, effort, &folder, &mut table);
    } else {
        sample::rows(&contenders, effort.rounds, &mut table);
        monitor::rows(&contenders, &mut table);
        crowd::rows(&contenders, effort, &mut table);
    }
    println!("{table}");
}
