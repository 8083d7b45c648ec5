//! The runtime as a whole: where its containers are, who calls, and what there is to say beside results.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use cais_oci::runtime::State;

use crate::error::Result;
use crate::machine::Caller;
use crate::request::Config;
use crate::state::Container;

/// Carries out operations on the containers below one directory. Each operation is a file in [`crate::verb`].
#[derive(Debug)]
pub struct Runtime {
    pub(crate) config: Config,
    pub(crate) caller: Caller,
    warnings: Mutex<Vec<String>>,
    notes: Mutex<Vec<String>>,
}

/// A container, for lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// As the specification has it.
    pub state: State,
    /// RFC 3339, UTC.
    pub created: String,
    /// Name of the owner, `#1000` for a user without one.
    pub owner: String,
    /// Root file system on the host.
    pub rootfs: PathBuf,
}

impl Runtime {
    /// Looks at the caller; makes nothing yet.
    ///
    /// # Errors
    /// Without procfs.
    pub fn new(config: Config) -> Result<Runtime> {
        Ok(Runtime { config, caller: Caller::look()?, warnings: Mutex::default(), notes: Mutex::default() })
    }

    /// Sentences about what was done differently than asked for, since the last call.
    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut *self.warnings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What was reached on the way, since the last call. The words are runc's, whose log is searched for them.
    pub fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut *self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn note(&self, note: impl Into<String>) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(note.into());
    }

    pub(crate) fn warn(&self, warnings: impl IntoIterator<Item = String>) {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).extend(warnings);
    }

    pub(crate) fn load(&self, id: &str) -> Result<Container> {
        Container::load(&self.config.root, id)
    }
}
