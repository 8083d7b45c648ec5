//! `commit`: an image of a container.

use std::ffi::OsString;

use cais_engine::verb::CommitRequest;
use clap::Args;

use crate::door::{Door, print_stdout};
use crate::failure::{Failure, Outcome};
use crate::parse::{parse, parse_bool};

#[derive(Debug, Args)]
struct CommitArgs {
    /// Author of the image.
    #[arg(short, long, value_name = "TEXT")]
    author: Option<String>,
    /// Apply an instruction of a Dockerfile (CMD, ENV, ENTRYPOINT, EXPOSE, …).
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// Remark in the image's history.
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Let a running container stand still meanwhile (true unless told otherwise).
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value = "true", value_parser = parse_bool)]
    pause: Option<bool>,
    /// Do not let it stand still.
    #[arg(long)]
    no_pause: bool,
    /// Nothing but the id is told anyway.
    #[arg(short, long)]
    quiet: bool,
    /// Also write the image's id to a file.
    #[arg(long, value_name = "FILE")]
    iidfile: Option<String>,
    container: String,
    name: Option<String>,
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: CommitArgs = parse(door.spec, argv)?;
    let request = CommitRequest {
        container: args.container,
        name: args.name.filter(|name| !name.is_empty()),
        changes: args.change,
        message: args.message.unwrap_or_default(),
        author: args.author.unwrap_or_default(),
        pause: args.pause.unwrap_or(true) && !args.no_pause,
    };
    let (id, warnings) = door.engine()?.commit(&request)?;
    door.warn(&warnings);
    if let Some(path) = &args.iidfile {
        std::fs::write(path, id.to_string())
            .map_err(|error| Failure::edge(format_args!("write {path}"), error))?;
    }
    print_stdout(&format!("{id}\n"))?;
    Ok(0)
}
