//! `container clone`: another container from the definition of one that is there.

use std::ffi::OsString;

use cais_engine::verb::CloneRequest;
use clap::Args;

use crate::door::{Door, print_stdout};
use crate::failure::{Failure, Outcome};
use crate::limit_args::LimitArgs;
use crate::parse::parse;
use crate::progress;

#[derive(Debug, Args)]
struct CloneArgs {
    #[command(flatten)]
    limits: LimitArgs,
    /// Remove the old container.
    #[arg(long)]
    destroy: bool,
    /// Remove the old container even when it runs.
    #[arg(short, long)]
    force: bool,
    /// Name of the new container.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Start the new container.
    #[arg(long)]
    run: bool,
    #[arg(required = true, num_args = 1..=3)]
    words: Vec<String>,
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: CloneArgs = parse(door.spec, argv)?;
    let [container, rest @ ..] = args.words.as_slice() else {
        return Err(Failure::usage("a container is missing"));
    };
    // With --name the image may follow the container directly, as in podman.
    let (name, image) = match (&args.name, rest) {
        (None, [name, rest @ ..]) => (Some(name), rest.first()),
        (Some(name), [image]) => (Some(name), Some(image)),
        (Some(_), [_, _, ..]) => {
            return Err(Failure::usage("two names: give one with --name or behind the container"));
        }
        (name, []) => (name.as_ref(), None),
    };
    if args.force && !args.destroy {
        return Err(Failure::usage("--force: only means something with --destroy"));
    }
    let wishes = CloneRequest {
        name: name.cloned(),
        image: image.cloned(),
        resources: args.limits.resources()?,
        destroy: args.destroy,
        force: args.force,
    };
    let engine = door.engine()?;
    let created = engine.clone_container(container, &wishes, &*progress::choose(door, false))?;
    door.warn(&created.warnings);
    if args.run {
        let started = engine.start(&created.id, false, false)?;
        door.warn(&started.warnings);
    }
    print_stdout(&format!("{}\n", created.id))?;
    Ok(0)
}
