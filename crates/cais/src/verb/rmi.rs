//! `rmi`: names of images go, and the images with their last one.

use std::ffi::OsString;

use cais_engine::ErrorKind;
use cais_engine::view::ImageRemoval;
use cais_oci::Reference;
use clap::Args;

use crate::door::{Door, print_stdout};
use crate::failure::{Failure, Outcome};
use crate::parse::parse;

#[derive(Debug, Args)]
struct RmiArgs {
    /// Remove all names of an image, and what stopped containers use; missing ones are no failure.
    #[arg(short, long)]
    force: bool,
    /// Keep untagged parents.
    #[arg(long)]
    no_prune: bool,
    #[arg(required = true)]
    images: Vec<String>,
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: RmiArgs = parse(door.spec, argv)?;
    let engine = door.engine()?;
    Ok(door.each(&args.images, |name| {
        let removals = match engine.remove_image(name, args.force, args.no_prune) {
            Err(error) if args.force && error.kind == ErrorKind::NotFound => {
                door.complain(&Failure::from(error));
                return Ok(());
            }
            other => other?,
        };
        print_stdout(&removals.iter().map(line).collect::<String>())
    }))
}

fn line(removal: &ImageRemoval) -> String {
    match removal {
        ImageRemoval::Untagged(name) => {
            let familiar =
                Reference::parse(name).map_or_else(|_| name.clone(), |reference| reference.familiar());
            format!("Untagged: {familiar}\n")
        }
        ImageRemoval::Deleted(digest) => format!("Deleted: {digest}\n"),
    }
}
