//! The engine's one error type: what kind (for exit codes and API status), what failed, and a hint.

use std::fmt;
use std::io;

use cais_store::{Noun, StoreError};

/// Result of every verb.
pub type Result<T> = std::result::Result<T, Error>;

/// What a door decides by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// No such container, image, volume.
    NotFound,
    /// Name, port, state in the way.
    Conflict,
    /// The request itself is wrong.
    Invalid,
    /// The machine or the kernel lacks something.
    Unsupported,
    /// Not allowed to this user.
    Denied,
    /// Another machine did not answer or refused.
    Remote,
    /// The command exists and cannot be executed: exit 126.
    NotExecutable,
    /// The command does not exist in the container: exit 127.
    CommandNotFound,
    /// The kernel or the disk refused.
    System,
}

/// Operation, object, reason and hint; `Display` is one line without the hint.
#[derive(Debug)]
pub struct Error {
    /// For exit codes.
    pub kind: ErrorKind,
    /// Operation, object and reason, lower case, no full stop.
    pub message: String,
    /// What to do, when we know it.
    pub hint: Option<String>,
    /// The chain for `--debug`.
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error without hint or source.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into(), hint: None, source: None }
    }
    /// Adds the hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = Some(hint.into());
        self
    }
    /// Adds the cause.
    #[must_use]
    pub fn source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Error {
        self.source = Some(Box::new(source));
        self
    }
    /// `message: source: its source …`, keeping the source; a text that is already said is not said again.
    pub fn caused(
        kind: ErrorKind,
        message: impl fmt::Display,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Error {
        Error::new(kind, format!("{message}: {}", chain(&source))).source(source)
    }
}

impl Error {
    /// What was looked for by a name that nothing has.
    #[must_use]
    pub fn missing(&self) -> Option<(Noun, &str)> {
        match self.source.as_deref()?.downcast_ref()? {
            StoreError::NoSuch { noun, name } => Some((*noun, name)),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}

impl From<StoreError> for Error {
    /// The store's sentence with its causes; its variant becomes the kind.
    fn from(error: StoreError) -> Error {
        if let Some(remote) = registry_error(&error) {
            return Error::new(ErrorKind::Remote, chain(remote)).source(error);
        }
        let kind = match &error {
            StoreError::NoSuch { .. } => ErrorKind::NotFound,
            StoreError::NameTaken { .. } | StoreError::InUse { .. } | StoreError::Running { .. } => {
                ErrorKind::Conflict
            }
            StoreError::Ambiguous { .. } | StoreError::BadName { .. } | StoreError::BadReference(_) => {
                ErrorKind::Invalid
            }
            StoreError::WrongDigest { .. } | StoreError::WrongSize { .. } => ErrorKind::Invalid,
            StoreError::Layer { source, .. } if !source.is_disk_full() => ErrorKind::Invalid,
            StoreError::UnsupportedDigest { .. } => ErrorKind::Unsupported,
            other if other.io_kind() == Some(io::ErrorKind::PermissionDenied) => ErrorKind::Denied,
            _ => ErrorKind::System,
        };
        Error::new(kind, chain(&error)).source(error)
    }
}

impl From<cais_registry::Error> for Error {
    fn from(error: cais_registry::Error) -> Error {
        use cais_registry::Error as Registry;
        let kind = match &error {
            Registry::Reference(_) => ErrorKind::Invalid,
            Registry::Blocked { .. } => ErrorKind::Denied,
            error if error.is_not_found() => ErrorKind::NotFound,
            Registry::Fetch { .. }
            | Registry::Sources { .. }
            | Registry::Ask { .. }
            | Registry::Push { .. } => ErrorKind::Remote,
            _ => ErrorKind::Invalid,
        };
        Error::new(kind, chain(&error)).source(error)
    }
}

impl From<cais_registry::CredentialError> for Error {
    fn from(error: cais_registry::CredentialError) -> Error {
        Error::new(ErrorKind::System, chain(&error)).source(error)
    }
}

/// The registry's error within a layer that could not be read to its end.
fn registry_error(error: &StoreError) -> Option<&cais_registry::Error> {
    let StoreError::Layer { source: cais_layer::LayerError::Read { source }, .. } = error else {
        return None;
    };
    source.get_ref()?.downcast_ref()
}

/// An error with all its causes in one line: `outer: inner: innermost`; causes that repeat it are left out.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
