//! `container restore`: containers go on from their checkpoints, or from an archive.

use std::ffi::OsString;
use std::fs::File;
use std::path::PathBuf;
use std::time::Instant;

use cais_engine::verb::RestoreRequest;
use clap::Args;

use crate::chosen::Chosen;
use crate::door::Door;
use crate::failure::{Failure, Outcome};
use crate::parse::parse;
use crate::progress;
use crate::refused;
use crate::request::published_ports;
use crate::spec::Spec;
use crate::verb::checkpoint::Counted;
use crate::verb::table::PLAIN;

pub(super) const SPEC: Spec = Spec {
    names: &["container restore"],
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Let containers go on from their checkpoints, or from an archive",
    examples: &["cais container restore web", "cais container restore -i web.tar.zst -n web2"],
    refused: refused::RESTORE,
    main,
    ..PLAIN
};

#[derive(Debug, Args)]
struct RestoreArgs {
    /// All containers that have a checkpoint and do not run.
    #[arg(short, long)]
    all: bool,
    /// Restore locks of files, too.
    #[arg(long)]
    file_locks: bool,
    /// Leave changed files in the archive.
    #[arg(long)]
    ignore_rootfs: bool,
    /// Give the container another address than it had.
    #[arg(long)]
    ignore_static_ip: bool,
    /// Give the container another Ethernet address than it had.
    #[arg(long)]
    ignore_static_mac: bool,
    /// Leave the content of volumes in the archive; volumes that are here are used as they are.
    #[arg(long)]
    ignore_volumes: bool,
    /// Restore from an archive of `checkpoint --export`.
    #[arg(short, long, value_name = "FILE")]
    import: Option<PathBuf>,
    /// Keep the checkpoint, and the log and figures of CRIU.
    #[arg(short, long)]
    keep: bool,
    /// The container that was created last.
    #[arg(short, long)]
    latest: bool,
    /// Restore a copy of this name, with an id and addresses of its own.
    #[arg(short, long, value_name = "NAME", requires = "import")]
    name: Option<String>,
    /// Print what CRIU has counted, as JSON.
    #[arg(long)]
    print_stats: bool,
    /// Publish these ports instead, written as for run -p.
    #[arg(short, long, value_name = "PORTS", requires = "import")]
    publish: Vec<String>,
    /// Restore established TCP connections, too.
    #[arg(long)]
    tcp_established: bool,
    containers: Vec<String>,
}

fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: RestoreArgs = parse(door.spec, argv)?;
    let request = RestoreRequest {
        checkpoint: None,
        directory: None,
        keep: args.keep,
        tcp_established: args.tcp_established,
        file_locks: args.file_locks,
        ignore_ip: args.ignore_static_ip,
        ignore_mac: args.ignore_static_mac,
        ignore_rootfs: args.ignore_rootfs,
        ignore_volumes: args.ignore_volumes,
        name: args.name.clone(),
        publish: published_ports(&args.publish)?,
    };
    let mut counted = Counted::new("restore", args.print_stats);
    if let Some(path) = &args.import {
        if !args.containers.is_empty() || args.all || args.latest {
            return Err(Failure::usage("--import: the container is in the archive; give no other"));
        }
        let began = Instant::now();
        let engine = door.engine()?;
        let mut file = File::open(path)
            .map_err(|error| Failure::edge(format_args!("open {}", path.display()), error))?;
        let restored = engine.restore_archive(&mut file, &request, &*progress::choose(door, false))?;
        door.warn(&restored.warnings);
        counted.add(&restored.id, &restored.id, began, &restored.stats)?;
        counted.print()?;
        return Ok(0);
    }
    let has_one = |name: &str| {
        door.engine().is_ok_and(|engine| engine.checkpoints(name, None).is_ok_and(|all| !all.is_empty()))
    };
    let chosen = Chosen { all: args.all, latest: args.latest, ..Chosen::default() };
    let names =
        chosen.names(door, &args.containers, &[], |view| !view.is_alive() && has_one(&view.record.id))?;
    let code = door.each(&names, |name| {
        let began = Instant::now();
        let restored = door.engine()?.restore(name, &request)?;
        door.warn(&restored.warnings);
        counted.add(name, &restored.id, began, &restored.stats)
    });
    counted.print()?;
    Ok(code)
}
