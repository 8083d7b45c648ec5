//! `pull`: an image from a registry.

use std::ffi::OsString;

use clap::Args;

use crate::door::{Door, print_stdout};
use crate::failure::Outcome;
use crate::parse::parse;
use crate::progress;

#[derive(Debug, Args)]
struct PullArgs {
    /// Platform of the image (os/arch[/variant]).
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    /// Print nothing but the name of the image.
    #[arg(short, long)]
    quiet: bool,
    image: String,
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: PullArgs = parse(door.spec, argv)?;
    let platform = args.platform.as_deref().or(door.surroundings.default_platform.as_deref());
    let engine = door.engine()?;
    let pulled = engine.pull(&args.image, platform, &*progress::choose(door, args.quiet))?;
    print_stdout(&format!("{}\n", pulled.reference))?;
    Ok(0)
}
