//! The trash: what is removed disappears from its place by one rename and is unlinked afterwards, outside of any other
//! lock. Whoever has something in it holds a shared lock on its directory, so that `check` can tell leftovers apart.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::FlockOperation;

use crate::error::{Result, StoreError};
use crate::files::{self, random_hex};
use crate::tree::remove_tree;

/// A file system has one journal: more threads only wait for each other.
const WORKERS_MAX: usize = 4;

/// Things on their way out; dropping it without [`Trash::empty`] leaves them to `check`.
#[derive(Debug)]
pub(crate) struct Trash {
    path: PathBuf,
    directory: File,
    names: Vec<String>,
}

impl Trash {
    /// Opens the trash for new entries.
    pub(crate) fn open(path: PathBuf) -> Result<Trash> {
        let directory = File::open(&path).map_err(StoreError::io("open", &path))?;
        files::lock(&directory, &path, FlockOperation::LockShared)?;
        Ok(Trash { path, directory, names: Vec::new() })
    }

    /// Opens the trash with everything in it, if nobody is at work there.
    pub(crate) fn open_leftovers(path: PathBuf) -> Result<Option<Trash>> {
        let directory = File::open(&path).map_err(StoreError::io("open", &path))?;
        if !files::try_lock_exclusive(&directory, &path)? {
            return Ok(None);
        }
        let names = files::list_all(&path)?;
        Ok(Some(Trash { path, directory, names }))
    }

    /// What is in it.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// Moves a file or directory in; `false` when it is already gone.
    pub(crate) fn take(&mut self, path: &Path) -> Result<bool> {
        let name = random_hex(12);
        match std::fs::rename(path, self.path.join(&name)) {
            Ok(()) => {
                self.names.push(name);
                Ok(true)
            }
            Err(error) if files::is_absent(&error) => Ok(false),
            Err(error) => Err(StoreError::io("move to the trash", path)(error)),
        }
    }

    /// Unlinks what was moved in, several things at a time; everything is tried, the first error is returned.
    pub(crate) fn empty(self) -> Result<()> {
        let left = AtomicUsize::new(0);
        let work = || {
            let mut result = Ok(());
            while let Some(name) = self.names.get(left.fetch_add(1, Ordering::Relaxed)) {
                result = result.and(remove_named(&self.directory, &self.path, name));
            }
            result
        };
        let others = workers().min(self.names.len()).saturating_sub(1);
        std::thread::scope(|scope| {
            let others: Vec<_> = (0..others).map(|_| scope.spawn(work)).collect();
            let own = work();
            others.into_iter().fold(own, |result, other| {
                result.and(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            })
        })
    }
}

fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(WORKERS_MAX)
}

/// Removes `name` in `directory` with all that it holds; a missing one is no error.
pub(crate) fn remove_beneath(directory: &Path, name: &str) -> Result<()> {
    match File::open(directory) {
        Ok(parent) => remove_named(&parent, directory, name),
        Err(error) if files::is_absent(&error) => Ok(()),
        Err(error) => Err(StoreError::io("open", directory)(error)),
    }
}

fn remove_named(parent: &File, path: &Path, name: &str) -> Result<()> {
    let path = path.join(name);
    let name =
        CString::new(name).map_err(|error| StoreError::io("remove", &path)(std::io::Error::from(error)))?;
    remove_tree(parent.as_fd(), &name).map_err(StoreError::io("remove", &path))
}
