//! Where an archive is written to: a file that appears under its name when it is whole, or standard output.

use std::fs::{File, OpenOptions};
use std::io::{Write, stdout};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::termios::isatty;

use crate::failure::Failure;

/// Calls `write` with what `-o` names, or with standard output, which must not be a terminal.
pub fn write_archive(
    output: Option<&str>,
    write: impl FnOnce(&mut (dyn Write + Send)) -> Result<(), Failure>,
) -> Result<(), Failure> {
    match output.filter(|path| !path.is_empty() && *path != "-") {
        None if isatty(stdout()) => {
            let message = "refusing to write an archive to a terminal";
            Err(Failure::usage(message).hint("name a file with -o, or redirect"))
        }
        None => write(&mut stdout()),
        Some(path) => {
            let output = Output::create(Path::new(path))?;
            write(&mut output.file())?;
            output.keep()
        }
    }
}

/// A file that appears under its name when it is whole.
pub struct Output {
    file: File,
    /// Taken by [`Output::keep`].
    temporary: Option<PathBuf>,
    path: PathBuf,
}

impl Output {
    /// Beside its place, or the device or pipe itself.
    pub fn create(path: &Path) -> Result<Output, Failure> {
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

    /// What is written to.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Gives it its name.
    pub fn keep(mut self) -> Result<(), Failure> {
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
