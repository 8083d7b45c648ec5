//! `import`: an image from a tar archive of a file system.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, stdin};

use clap::Args;

use crate::door::{Door, print_stdout};
use crate::failure::{Failure, Outcome};
use crate::parse::parse;

#[derive(Debug, Args)]
struct ImportArgs {
    /// Apply an instruction of a Dockerfile (CMD, ENV, ENTRYPOINT, EXPOSE, …).
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// Comment of the image.
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Platform of the image (os/arch[/variant]).
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    file: String,
    name: Option<String>,
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: ImportArgs = parse(door.spec, argv)?;
    let input: Box<dyn Read + Send> = match args.file.as_str() {
        "-" => Box::new(stdin()),
        url if url.starts_with("http://") || url.starts_with("https://") => {
            let message = format!("{url}: importing from a URL is not supported yet");
            return Err(Failure::usage(message).hint("curl -fsSL URL | cais import -"));
        }
        path => {
            Box::new(File::open(path).map_err(|error| Failure::edge(format_args!("open {path}"), error))?)
        }
    };
    let id = door.engine()?.import(
        input,
        args.name.as_deref(),
        args.message.as_deref(),
        &args.change,
        args.platform.as_deref(),
    )?;
    print_stdout(&format!("{id}\n"))?;
    Ok(0)
}
