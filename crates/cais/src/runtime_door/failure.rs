//! Why a command of the runtime failed, and with which status: one sentence, which callers search for known words.

use std::fmt::Display;
use std::io;

/// A command's exit status, or why it failed.
pub(super) type Outcome = Result<u8, Failure>;

/// A failure, ready to be logged.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// The sentence.
    pub(super) message: String,
    /// Exit status; 1 but for `exec`, whose failures are 255 as runc's are, to be told from a command that ended with 1.
    pub(super) code: u8,
}

impl Failure {
    /// What was typed is wrong.
    pub(super) fn usage(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), code: 1 }
    }

    /// Something at the edge failed: `operation: source`.
    pub(super) fn edge(operation: impl Display, source: impl Display) -> Failure {
        Failure { message: format!("{operation}: {source}"), code: 1 }
    }

    /// A call failed. The errno in the words that callers look for: "no such file or directory".
    pub(super) fn io(operation: impl Display, source: &io::Error) -> Failure {
        let text = source.to_string();
        let mut words = text.split(" (os error").next().unwrap_or(&text).chars();
        let reason: String =
            words.next().map(|first| first.to_lowercase().chain(words).collect()).unwrap_or_default();
        Failure::edge(operation, reason)
    }

    /// The same with another status.
    pub(super) fn with_code(self, code: u8) -> Failure {
        Failure { code, ..self }
    }
}

impl From<cais_bundle::Error> for Failure {
    fn from(error: cais_bundle::Error) -> Failure {
        Failure { message: error.to_string(), code: 1 }
    }
}

impl From<crate::failure::Failure> for Failure {
    fn from(failure: crate::failure::Failure) -> Failure {
        Failure { message: failure.message, code: 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errnos_are_spelled_as_callers_know_them() {
        let failure = Failure::io("open x", &io::Error::from_raw_os_error(2));
        assert_eq!(failure.message, "open x: no such file or directory");
        assert_eq!(failure.with_code(255).code, 255);
    }
}
