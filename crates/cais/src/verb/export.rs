//! `export`: a container's files as an archive.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::stdout;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use rustix::termios::isatty;

use crate::door::Door;
use crate::failure::{Failure, Outcome};
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
    match args.output.as_deref().filter(|path| !path.is_empty()) {
        None if isatty(stdout()) => {
            let message = "refusing to write an archive to a terminal";
            return Err(Failure::usage(message).hint("name a file with -o, or redirect"));
        }
        None => door.engine()?.export(&args.container, &mut stdout())?,
        Some(path) => {
            let engine = door.engine()?;
            let output = Output::create(Path::new(path))?;
            engine.export(&args.container, &mut &output.file)?;
            output.keep()?;
        }
    }
    Ok(0)
}

/// A file that appears under its name when it is whole.
struct Output {
    file: File,
    /// Taken by [`Output::keep`].
    temporary: Option<PathBuf>,
    path: PathBuf,
}

impl Output {
    fn create(path: &Path) -> Result<Output, Failure> {
        let failed = |error| Failure::edge(format_args!("create {}", path.display()), error);
        if path.exists() && !path.is_file() {
            // A device or a pipe is written to as it is.
            let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
            return Ok(Output { file, temporary: None, path: path.to_owned() });
        }
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}", std::process::id()));
        let temporary = PathBuf::from(name);
        let file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).map_err(failed)?;
        Ok(Output { file, temporary: Some(temporary), path: path.to_owned() })
    }

    fn keep(mut self) -> Result<(), Failure> {
        let Some(temporary) = self.temporary.take() else { return Ok(()) };
        std::fs::rename(&temporary, &self.path)
            .map_err(|error| Failure::edge(format_args!("write {}", self.path.display()), error))
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // On the way of another error.
            let _ = std::fs::remove_file(temporary);
        }
    }
}
