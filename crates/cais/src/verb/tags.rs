//! `image tags`: the tags of a repository, one per line.

use std::ffi::OsString;

use clap::Args;

use crate::door::{Door, print_stdout};
use crate::failure::Outcome;
use crate::parse::parse;
use crate::registry_access::RegistryFlags;

#[derive(Debug, Args)]
struct TagsArgs {
    /// Print so many at most; 0 means all.
    #[arg(long, value_name = "N", default_value = "0")]
    limit: usize,
    #[command(flatten)]
    access: RegistryFlags,
    repository: String,
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: TagsArgs = parse(door.spec, argv)?;
    let limit = if args.limit == 0 { usize::MAX } else { args.limit };
    let (_, tags) = door.engine()?.tags(&args.repository, limit, &args.access.access())?;
    print_stdout(&tags.into_iter().map(|tag| tag + "\n").collect::<String>())?;
    Ok(0)
}
