//! `save`: images as an archive or a directory.

use std::ffi::OsString;
use std::path::Path;

use cais_engine::verb::{SaveForm, SaveRequest};
use clap::{Args, ValueEnum};

use crate::archive_file::write_archive;
use crate::door::Door;
use crate::failure::{Failure, Outcome};
use crate::parse::parse;
use crate::progress;

#[derive(Debug, Args)]
struct SaveArgs {
    /// Format: docker-archive (also an OCI layout), oci-archive, oci-dir.
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "docker-archive")]
    format: Format,
    /// Several images in one archive (as is possible anyway).
    #[arg(short, long)]
    multi_image_archive: bool,
    /// Write to a file, or for oci-dir a directory, instead of standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<String>,
    /// Platform of the images (os/arch[/variant]); it must be the one that is here.
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    /// Tell nothing of the progress.
    #[arg(short, long)]
    quiet: bool,
    #[arg(required = true)]
    images: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    DockerArchive,
    OciArchive,
    OciDir,
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: SaveArgs = parse(door.spec, argv)?;
    let form = if args.format == Format::DockerArchive { SaveForm::Docker } else { SaveForm::Oci };
    let request = SaveRequest { images: args.images, form, platform: args.platform };
    let progress = progress::choose(door, args.quiet);
    if args.format == Format::OciDir {
        let Some(directory) = args.output.filter(|path| !path.is_empty()) else {
            return Err(Failure::usage("--format oci-dir needs a directory").hint("name it with -o"));
        };
        door.engine()?.save_layout(&request, Path::new(&directory), &*progress)?;
        return Ok(0);
    }
    write_archive(args.output.as_deref(), |output| Ok(door.engine()?.save(&request, output, &*progress)?))?;
    Ok(0)
}
