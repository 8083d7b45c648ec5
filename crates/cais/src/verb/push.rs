//! `push`: an image to a registry.

use std::ffi::OsString;
use std::path::PathBuf;

use cais_engine::verb::{PushCompression, PushRequest, Pushed};
use clap::{Args, ValueEnum};

use crate::door::{Door, print_stdout};
use crate::failure::{Failure, Outcome};
use crate::parse::parse;
use crate::progress;

#[derive(Debug, Args)]
struct PushArgs {
    /// Push every tag of the repository.
    #[arg(short, long)]
    all_tags: bool,
    /// Compression of the layers; compressed ones stay as they are otherwise.
    #[arg(long, value_name = "FORMAT", value_enum)]
    compression_format: Option<Compression>,
    /// Write the digest of the manifest into this file.
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,
    /// Compress layers anew even if the registry has them in another compression (as happens anyway).
    #[arg(long, requires = "compression_format")]
    force_compression: bool,
    /// Format of the manifest: oci or v2s2 (Docker's).
    #[arg(short, long, value_name = "FORMAT", value_parser = ["oci", "v2s2", "docker"])]
    format: Option<String>,
    /// Platform of the image (os/arch[/variant]); it must be the one that is here.
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    /// Print nothing but the name of the image.
    #[arg(short, long)]
    quiet: bool,
    image: String,
    destination: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Compression {
    Gzip,
    Zstd,
    #[value(name = "zstd:chunked")]
    ZstdChunked,
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: PushArgs = parse(door.spec, argv)?;
    let engine = door.engine()?;
    let compression = match args.compression_format {
        None => None,
        Some(Compression::Gzip) => Some(PushCompression::Gzip),
        Some(Compression::Zstd) => Some(PushCompression::Zstd),
        Some(Compression::ZstdChunked) => {
            let message = "--compression-format zstd:chunked: its table of contents is not written";
            return Err(Failure::usage(message).hint("use zstd, which the same readers read"));
        }
    };
    let request = PushRequest {
        image: args.image,
        destination: args.destination,
        all_tags: args.all_tags,
        platform: args.platform,
        compression,
        docker_format: args.format.map(|format| format != "oci"),
    };
    let pushed = engine.push(&request, &*progress::choose(door, args.quiet))?;
    if let (Some(file), Some(last)) = (&args.digestfile, pushed.last()) {
        std::fs::write(file, last.digest.as_str())
            .map_err(|error| Failure::edge(format_args!("write {}", file.display()), error))?;
    }
    for Pushed { reference, digest, manifest_bytes } in &pushed {
        let tag = reference.tag.as_deref().unwrap_or("latest");
        let line = if args.quiet {
            format!("{reference}\n")
        } else {
            format!("{tag}: digest: {digest} size: {manifest_bytes}\n")
        };
        print_stdout(&line)?;
    }
    Ok(0)
}
