//! What a command answers when it fails, and how the user is told: one line, a hint, on `--debug` the chain.

use std::error::Error;
use std::fmt::Display;

use cais_engine::{ErrorKind, Noun};
use clap::Command;

/// The exit code of a command, or why it failed.
pub type Outcome = Result<u8, Failure>;

/// Who is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// What was typed.
    Usage,
    /// The engine.
    Engine(ErrorKind),
    /// A file named on the command line, the user's environment, our own streams.
    Edge,
    /// A terminal is needed and there is none: 1 for every command, as in docker.
    Terminal,
}

/// Which exit codes a command has for failures; its own success is its own affair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codes {
    /// `run`, `exec`: 125, but 126 and 127 for a command that cannot be executed or does not exist.
    Program,
    /// `create`: 125 for what was typed, 1 for the rest.
    Create,
    /// Everything else: 1.
    Plain,
}

/// A failure, ready to be told.
#[derive(Debug)]
pub struct Failure {
    /// Decides the exit code.
    pub cause: Cause,
    /// Operation, object, reason; lower case, no full stop.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// Deeper causes, outermost first, for `--debug`.
    pub chain: Vec<String>,
    /// What was looked for and is not there, for "did you mean".
    pub missing: Option<(Noun, String)>,
    /// No failure: the answer to [`crate::parse::DESCRIBE`].
    pub described: Option<Box<Command>>,
}

impl Failure {
    fn new(cause: Cause, message: String) -> Failure {
        Failure { cause, message, hint: None, chain: Vec::new(), missing: None, described: None }
    }

    /// What was typed is wrong.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Cause::Usage, message.into())
    }

    /// Something at the edge failed: `operation: source`.
    pub fn edge(operation: impl Display, source: impl Error) -> Failure {
        let chain = chain(source.source());
        Failure { chain, ..Failure::new(Cause::Edge, format!("{operation}: {source}")) }
    }

    /// Adds the hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// The exit code of this failure for a kind of command.
    pub fn code(&self, codes: Codes) -> u8 {
        match (codes, self.cause) {
            (_, Cause::Terminal) => 1,
            (Codes::Program, Cause::Engine(ErrorKind::NotExecutable)) => 126,
            (Codes::Program, Cause::Engine(ErrorKind::CommandNotFound)) => 127,
            (Codes::Program, _) | (Codes::Create, Cause::Usage) => 125,
            (Codes::Create | Codes::Plain, _) => 1,
        }
    }

    /// The text for stderr, each line ended; `words` is the command, such as `image ls`.
    pub fn told(&self, words: &str, debug: bool) -> String {
        let prefix = if words.is_empty() { "cais".to_owned() } else { format!("cais: {words}") };
        let mut text = format!("{prefix}: {}\n", self.message);
        if let Some(hint) = &self.hint {
            text.push_str(&format!("hint: {hint}\n"));
        }
        if debug {
            for cause in &self.chain {
                text.push_str(&format!("caused by: {cause}\n"));
            }
        }
        text
    }
}

impl From<cais_engine::Error> for Failure {
    fn from(error: cais_engine::Error) -> Failure {
        let chain = chain(Error::source(&error));
        let missing = error.missing().map(|(noun, name)| (noun, name.to_owned()));
        let hint = error.hint;
        Failure { hint, chain, missing, ..Failure::new(Cause::Engine(error.kind), error.message) }
    }
}

fn chain(mut source: Option<&(dyn Error + 'static)>) -> Vec<String> {
    let mut chain = Vec::new();
    while let Some(error) = source {
        chain.push(error.to_string());
        source = error.source();
    }
    chain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_dockers() {
        let engine = |kind| Failure::from(cais_engine::Error::new(kind, "x"));
        let cases = [
            (engine(ErrorKind::NotExecutable), [126, 1, 1]),
            (engine(ErrorKind::CommandNotFound), [127, 1, 1]),
            (engine(ErrorKind::NotFound), [125, 1, 1]),
            (Failure::usage("x"), [125, 125, 1]),
            (Failure::edge("x", std::io::Error::other("y")), [125, 1, 1]),
        ];
        for (failure, codes) in cases {
            assert_eq!(
                [Codes::Program, Codes::Create, Codes::Plain].map(|c| failure.code(c)),
                codes,
                "{failure:?}"
            );
        }
    }

    #[test]
    fn tells_one_line_a_hint_and_the_chain() {
        let inner = std::io::Error::from_raw_os_error(2);
        let error = cais_engine::Error::caused(ErrorKind::System, "open x", inner).hint("look");
        let failure = Failure::from(error);
        assert_eq!(
            failure.told("image ls", false),
            "cais: image ls: open x: No such file or directory (os error 2)\nhint: look\n"
        );
        assert!(failure.told("", true).ends_with("caused by: No such file or directory (os error 2)\n"));
    }
}
