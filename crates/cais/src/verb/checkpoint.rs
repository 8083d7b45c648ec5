//! `checkpoint` and `container checkpoint`: the processes of containers become files.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

use cais_engine::verb::{CheckpointRequest, Compression, CriuStats};
use clap::Args;
use serde_json::{Value, json};

use crate::archive_file::Output;
use crate::chosen::Chosen;
use crate::door::{Door, print_stdout};
use crate::failure::{Failure, Outcome};
use crate::parse::parse;
use crate::refused;
use crate::spec::Spec;
use crate::verb::table::{PLAIN, READER};

pub(super) const CONTAINER: Spec = Spec {
    names: &["container checkpoint"],
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Turn the processes of containers into files, by CRIU",
    examples: &["cais container checkpoint web", "cais container checkpoint -R -e web.tar.zst web"],
    refused: refused::CHECKPOINT,
    main: container,
    ..PLAIN
};

pub(super) const CREATE: Spec = Spec {
    names: &["checkpoint create"],
    usage: "[OPTIONS] CONTAINER CHECKPOINT",
    about: "Make a checkpoint with a name; `start --checkpoint` goes on from it",
    main: create,
    ..PLAIN
};

pub(super) const LS: Spec = Spec {
    names: &["checkpoint ls", "checkpoint list"],
    usage: "[OPTIONS] CONTAINER",
    about: "List the checkpoints of a container",
    main: ls,
    ..READER
};

pub(super) const RM: Spec = Spec {
    names: &["checkpoint rm", "checkpoint remove"],
    usage: "[OPTIONS] CONTAINER CHECKPOINT",
    about: "Remove a checkpoint",
    main: rm,
    ..PLAIN
};

#[derive(Debug, Args)]
struct CheckpointArgs {
    /// All containers that run.
    #[arg(short, long)]
    all: bool,
    /// How the archive is compressed: gzip, zstd (the usual) or none.
    #[arg(short, long, value_name = "KIND", requires = "export", value_parser = compression)]
    compress: Option<Compression>,
    /// Write all that a restore elsewhere needs to an archive, and keep nothing here.
    #[arg(short, long, value_name = "FILE")]
    export: Option<PathBuf>,
    /// Dump locks of files, too.
    #[arg(long)]
    file_locks: bool,
    /// Leave what the container has changed in its image's files out of the archive.
    #[arg(long)]
    ignore_rootfs: bool,
    /// Leave the content of volumes out of the archive.
    #[arg(long)]
    ignore_volumes: bool,
    /// Keep the log and figures of CRIU.
    #[arg(short, long)]
    keep: bool,
    /// The container that was created last.
    #[arg(short, long)]
    latest: bool,
    /// Let the container go on.
    #[arg(short = 'R', long)]
    leave_running: bool,
    /// Print what CRIU has counted, as JSON.
    #[arg(long)]
    print_stats: bool,
    /// Dump established TCP connections, too.
    #[arg(long)]
    tcp_established: bool,
    containers: Vec<String>,
}

/// podman's `container checkpoint`.
fn container(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: CheckpointArgs = parse(door.spec, argv)?;
    let chosen = Chosen { all: args.all, latest: args.latest, ..Chosen::default() };
    let names = chosen.names(door, &args.containers, &[], |view| view.is_up())?;
    if args.export.is_none() {
        let given = [("--ignore-rootfs", args.ignore_rootfs), ("--ignore-volumes", args.ignore_volumes)];
        if let Some((flag, _)) = given.iter().find(|(_, given)| *given) {
            return Err(Failure::usage(format!("{flag}: only means something with --export")));
        }
    } else if names.len() > 1 {
        return Err(Failure::usage("--export: takes one container"));
    }
    let request = CheckpointRequest {
        name: None,
        directory: None,
        leave_running: args.leave_running,
        keep: args.keep,
        tcp_established: args.tcp_established,
        file_locks: args.file_locks,
        compression: args.compress,
        ignore_rootfs: args.ignore_rootfs,
        ignore_volumes: args.ignore_volumes,
    };
    let mut counted = Counted::new("checkpoint", args.print_stats);
    let code = door.each(&names, |name| {
        let began = Instant::now();
        let engine = door.engine()?;
        let made = match &args.export {
            None => engine.checkpoint(name, &request, None)?,
            Some(path) => {
                let output = Output::create(path)?;
                let made = engine.checkpoint(name, &request, Some(&mut output.file()))?;
                output.keep()?;
                made
            }
        };
        door.warn(&made.warnings);
        counted.add(name, &made.id, began, &made.stats)
    });
    counted.print()?;
    Ok(code)
}

/// Names on standard output, or podman's figures.
pub(super) struct Counted {
    what: &'static str,
    wanted: bool,
    began: Instant,
    all: Vec<Value>,
}

impl Counted {
    pub(super) fn new(what: &'static str, wanted: bool) -> Counted {
        Counted { what, wanted, began: Instant::now(), all: Vec::new() }
    }

    /// A container that is done.
    pub(super) fn add(
        &mut self,
        name: &str,
        id: &str,
        began: Instant,
        stats: &CriuStats,
    ) -> Result<(), Failure> {
        if !self.wanted {
            return print_stdout(&format!("{name}\n"));
        }
        let key = format!("runtime_{}_duration", self.what);
        let mut value = json!({"Id": id, "criu_statistics": stats});
        value[key] = json!(microseconds(began));
        self.all.push(value);
        Ok(())
    }

    pub(super) fn print(self) -> Result<(), Failure> {
        if !self.wanted {
            return Ok(());
        }
        let mut value = json!({"container_statistics": self.all});
        value[format!("podman_{}_duration", self.what)] = json!(microseconds(self.began));
        print_stdout(&format!("{value:#}\n"))
    }
}

fn microseconds(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX)
}

fn compression(text: &str) -> Result<Compression, String> {
    match text {
        "gzip" => Ok(Compression::Gzip),
        "zstd" => Ok(Compression::Zstd),
        "none" => Ok(Compression::None),
        _ => Err("one of gzip, zstd, none".to_owned()),
    }
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// Where the checkpoint is to lie (with the container, if nothing is said).
    #[arg(long, value_name = "DIR")]
    checkpoint_dir: Option<PathBuf>,
    /// Let the container go on.
    #[arg(long)]
    leave_running: bool,
    container: String,
    checkpoint: String,
}

/// docker's `checkpoint create`.
fn create(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: CreateArgs = parse(door.spec, argv)?;
    let request = CheckpointRequest {
        name: Some(args.checkpoint.clone()),
        directory: absolute(args.checkpoint_dir.as_deref())?,
        leave_running: args.leave_running,
        ..CheckpointRequest::default()
    };
    let made = door.engine()?.checkpoint(&args.container, &request, None)?;
    door.warn(&made.warnings);
    print_stdout(&format!("{}\n", args.checkpoint))?;
    Ok(0)
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Where the checkpoints lie.
    #[arg(long, value_name = "DIR")]
    checkpoint_dir: Option<PathBuf>,
    container: String,
}

/// docker's `checkpoint ls`.
fn ls(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: ListArgs = parse(door.spec, argv)?;
    let directory = absolute(args.checkpoint_dir.as_deref())?;
    let names = door.engine()?.checkpoints(&args.container, directory.as_deref())?;
    let mut text = "CHECKPOINT NAME\n".to_owned();
    names.iter().for_each(|name| text.push_str(&format!("{name}\n")));
    print_stdout(&text)?;
    Ok(0)
}

#[derive(Debug, Args)]
struct RemoveArgs {
    /// Where the checkpoint lies.
    #[arg(long, value_name = "DIR")]
    checkpoint_dir: Option<PathBuf>,
    container: String,
    checkpoint: String,
}

/// docker's `checkpoint rm`.
fn rm(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: RemoveArgs = parse(door.spec, argv)?;
    let directory = absolute(args.checkpoint_dir.as_deref())?;
    door.engine()?.remove_checkpoint(&args.container, &args.checkpoint, directory.as_deref())?;
    Ok(0)
}

/// CRIU works in directories of its own.
pub(super) fn absolute(path: Option<&Path>) -> Result<Option<PathBuf>, Failure> {
    let path = path.filter(|path| !path.as_os_str().is_empty());
    path.map(std::path::absolute)
        .transpose()
        .map_err(|error| Failure::edge("find the directory of checkpoints", error))
}
