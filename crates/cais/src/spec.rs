//! What is known of a command before its flags are read: names, usage, help, exit codes.

use std::ffi::OsString;

use clap::Command;

use crate::door::Door;
use crate::failure::{Codes, Outcome};
use crate::parse::DESCRIBE;
use crate::refused::Refused;

/// One command.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// The name it is known by, then its aliases; two words for a management command (`image ls`).
    pub names: &'static [&'static str],
    /// What follows the name in its usage line.
    pub usage: &'static str,
    /// One sentence.
    pub about: &'static str,
    /// Shown at the end of its help, one per line; may be empty.
    pub examples: &'static [&'static str],
    /// Exit codes of failures.
    pub codes: Codes,
    /// Needs the ids of the user namespace when an ordinary user calls it.
    pub needs_ids: bool,
    /// Flags that are refused by name.
    pub refused: &'static [Refused],
    /// Parses the words after the name and does it.
    pub main: fn(&Door, Vec<OsString>) -> Outcome,
}

impl Spec {
    /// The name it is known by.
    pub fn name(&self) -> &'static str {
        self.names.first().copied().unwrap_or_default()
    }

    /// Its flags, refused ones hidden, as its own parser has them: the one source of completion and man pages.
    pub fn flags(&self, door: &Door) -> Option<Command> {
        let described = (self.main)(door, vec![DESCRIBE.into()]).err()?.described?;
        Some(*described)
    }
}
