//! The working directory.

use cais_plan::Str;

use crate::child::{Child, plain};
use crate::mounts::{self, Failure};
use crate::sys;

impl<'a> Child<'a> {
    /// As runc does: a directory that root may not enter (on a network file system) may be its user's.
    pub(crate) fn enter_directory(&mut self, path: Str<'a>, create: bool) -> Result<(), Failure> {
        match self.chdir(path, create) {
            Err(sys::EACCES) if self.bundle => {
                self.late = Some((path, self.index));
                Ok(())
            }
            other => plain(other),
        }
    }

    pub(crate) fn enter_late(&mut self) -> Result<(), Failure> {
        let Some((path, index)) = self.late.take() else { return Ok(()) };
        let now = self.index;
        self.index = index;
        plain(self.chdir(path, false))?;
        self.index = now;
        Ok(())
    }

    /// Resolved inside the root and without /proc's magic links, which could lead through a descriptor of the host
    /// (CVE-2024-21626).
    fn chdir(&mut self, path: Str<'_>, create: bool) -> sys::Result<()> {
        let root = self.root().map_err(|(e, _)| e)?;
        let fd = if create {
            mounts::open_or_make(root, path.0, true, 0o755)?
        } else {
            sys::open_in_root(root, path.0, sys::O_PATH | sys::O_DIRECTORY)?
        };
        let result = sys::fchdir(fd);
        sys::close(fd);
        result
    }
}
