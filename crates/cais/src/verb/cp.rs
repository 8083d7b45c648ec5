//! `cp`: files between the host and containers.

use std::ffi::OsString;
use std::io::{stdin, stdout};
use std::path::PathBuf;

use cais_engine::verb::CopyOptions;
use clap::Args;
use rustix::termios::isatty;

use crate::door::{Door, print_stderr};
use crate::failure::{Failure, Outcome};
use crate::parse::parse;
use crate::size;

#[derive(Debug, Args)]
struct CpArgs {
    /// Keep the owners of what is copied to the host (in containers they are always kept).
    #[arg(short, long)]
    archive: bool,
    /// Follow SRC_PATH when it is a symbolic link.
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Do not tell what was copied; without a terminal nothing is told anyway.
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_parser = crate::parse::parse_bool)]
    quiet: Option<bool>,
    /// podman's; directories and files never replace each other here.
    #[arg(long, hide = true)]
    overwrite: bool,
    #[arg(required = true, value_name = "SOURCE")]
    source: String,
    #[arg(required = true, value_name = "TARGET")]
    target: String,
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: CpArgs = parse(door.spec, argv)?;
    if args.overwrite {
        let message =
            "--overwrite: replacing a directory by a file, or a file by a directory, is not supported";
        return Err(Failure::usage(message).hint("remove the old one first"));
    }
    let options = CopyOptions { follow_link: args.follow_link, archive: args.archive };
    let (source, target) = (End::parse(&args.source), End::parse(&args.target));
    let engine = door.engine()?;
    let beside = |name: &str| engine.beside(name);
    let bytes = match (&source, &target) {
        (End::Stream, End::Stream)
        | (End::Stream | End::Host(_), End::Host(_))
        | (End::Host(_), End::Stream) => {
            return Err(Failure::usage("must specify at least one container source")
                .hint("a container's path is written CONTAINER:PATH"));
        }
        (End::Container(name, path), End::Stream) => {
            beside(name)?.archive_out(name, path, &mut stdout(), options)?;
            return Ok(0);
        }
        (End::Stream, End::Container(name, path)) => {
            beside(name)?.archive_in(name, &mut stdin(), path)?;
            return Ok(0);
        }
        (End::Container(name, path), End::Host(to)) => {
            beside(name)?.copy_out(name, path, &absolute(to)?, options)?
        }
        (End::Host(from), End::Container(name, path)) => {
            beside(name)?.copy_in(name, &absolute(from)?, path, options)?
        }
        (End::Container(from, source), End::Container(to, target)) => {
            beside(from)?.copy_across((from, source), (to, target), options)?
        }
    };
    if !args.quiet.unwrap_or_else(|| !isatty(stdout())) {
        let to = match &target {
            End::Host(path) => absolute(path)?.display().to_string(),
            _ => args.target.clone(),
        };
        print_stderr(&format!("Successfully copied {} to {to}\n", size::human(bytes)));
    }
    Ok(0)
}

/// One of the two ends.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Container(String, String),
    Host(String),
    /// `-`: an archive.
    Stream,
}

impl End {
    /// As docker: `/x`, `./x:y` and everything without a colon is a path of the host.
    fn parse(text: &str) -> End {
        match text.split_once(':') {
            _ if text == "-" => End::Stream,
            Some((name, path)) if !text.starts_with('/') && !name.starts_with('.') && !name.is_empty() => {
                End::Container(name.to_owned(), path.to_owned())
            }
            _ => End::Host(text.to_owned()),
        }
    }
}

/// With what the end of the path says: a slash, or `/.`.
fn absolute(text: &str) -> Result<PathBuf, Failure> {
    if text.is_empty() {
        return Err(Failure::usage("a path is empty"));
    }
    if text.starts_with('/') {
        return Ok(text.into());
    }
    let here = std::env::current_dir().map_err(|error| Failure::edge("find the working directory", error))?;
    let mut path = here.into_os_string();
    path.push("/");
    path.push(text);
    Ok(path.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends() {
        let host = |text: &str| End::Host(text.to_owned());
        let container = |name: &str, path: &str| End::Container(name.to_owned(), path.to_owned());
        for (text, expected) in [
            ("-", End::Stream),
            ("a", host("a")),
            ("/a:b", host("/a:b")),
            ("./a:b", host("./a:b")),
            ("..:b", host("..:b")),
            (":b", host(":b")),
            ("c1:/x", container("c1", "/x")),
            ("c1:x:y", container("c1", "x:y")),
            ("c1:", container("c1", "")),
        ] {
            assert_eq!(End::parse(text), expected, "{text}");
        }
    }
}
