//! `export`: a container's files as an archive.

use std::ffi::OsString;

use clap::Args;

use crate::archive_file::write_archive;
use crate::door::Door;
use crate::failure::Outcome;
use crate::parse::parse;

#[derive(Debug, Args)]
struct ExportArgs {
    /// Write to a file instead of standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<String>,
    container: String,
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: ExportArgs = parse(door.spec, argv)?;
    write_archive(args.output.as_deref(), |output| Ok(door.engine()?.export(&args.container, output)?))?;
    Ok(0)
}
