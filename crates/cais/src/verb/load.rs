//! `load`: images from an archive or an OCI layout.

use std::ffi::OsString;
use std::io::stdin;

use cais_engine::verb::LoadInput;
use cais_oci::Reference;
use clap::Args;

use crate::door::{Door, print_stdout};
use crate::failure::{Failure, Outcome};
use crate::parse::parse;
use crate::progress;

#[derive(Debug, Args)]
struct LoadArgs {
    /// Archive or directory to read instead of stdin.
    #[arg(short, long, value_name = "PATH")]
    input: Option<String>,
    /// Tell nothing of the progress.
    #[arg(short, long)]
    quiet: bool,
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: LoadArgs = parse(door.spec, argv)?;
    let input = match args.input.as_deref() {
        Some(path) if path != "-" => LoadInput::Path(path.into()),
        _ if rustix::termios::isatty(stdin()) => {
            return Err(Failure::usage("standard input is a terminal")
                .hint("name an archive with -i, or redirect one"));
        }
        _ => LoadInput::Stdin(Box::new(stdin())),
    };
    let engine = door.engine()?;
    for loaded in engine.load(input, &*progress::choose(door, args.quiet))? {
        for name in &loaded.names {
            let familiar =
                Reference::parse(name).map_or_else(|_| name.clone(), |reference| reference.familiar());
            print_stdout(&format!("Loaded image: {familiar}\n"))?;
        }
        if loaded.names.is_empty() {
            print_stdout(&format!("Loaded image ID: {}\n", loaded.id))?;
        }
    }
    Ok(0)
}
