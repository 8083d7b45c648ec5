//! A plan that grows: steps with what they are about, descriptors, slots, warnings.
//!
//! Knows no rules; strings for the kernel are checked here for NULs.

use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use cais_plan::{PlanWriter, Step, Str, join_strings};

use super::error::{PlanError, Result};
use super::{FIRST_FREE, Planned, Subject, Wanted};

/// Slots of the shim.
pub const SLOTS: u32 = 512;

/// The slot of a tree that is attached by the step after the one that opens it.
pub const PASSING_SLOT: u32 = SLOTS - 1;

/// Most descriptors that anybody preserves; the kernel's own limit is lower by default.
const MOST_PRESERVED: u32 = 1 << 20;

/// A plan that grows.
pub struct Draft {
    steps: PlanWriter,
    subjects: Vec<Subject>,
    fds: Vec<(RawFd, Wanted)>,
    next_fd: RawFd,
    next_slot: u32,
    warnings: Vec<String>,
}

/// What of a plan is no step.
pub struct Frame {
    /// See [`Planned`].
    pub role: u32,
    /// See [`Planned`].
    pub outer: u32,
    /// See [`Planned`].
    pub clone_flags: u64,
    /// See [`Planned`].
    pub tty: bool,
    /// See [`Planned`].
    pub console_size: (u32, u32),
}

impl Draft {
    /// Nothing yet; descriptors are numbered behind the preserved ones.
    pub fn new(preserve: u32) -> Result<Draft> {
        if preserve > MOST_PRESERVED {
            return Err(PlanError::Preserve(preserve));
        }
        Ok(Draft {
            steps: PlanWriter::new(),
            subjects: Vec::new(),
            fds: Vec::new(),
            next_fd: FIRST_FREE + preserve as RawFd,
            next_slot: 0,
            warnings: Vec::new(),
        })
    }

    /// Appends a step that makes or joins the container.
    pub fn step(&mut self, sentence: impl Into<String>, step: &Step<'_>) {
        self.about(Subject::Setup, sentence, step);
    }

    /// Appends a step that is about something that errors are told of.
    pub fn about(&mut self, subject: Subject, sentence: impl Into<String>, step: &Step<'_>) {
        self.steps.push(sentence, step);
        self.subjects.push(subject);
    }

    /// How many steps there are.
    pub fn len(&self) -> u32 {
        self.subjects.len() as u32
    }

    /// The number where a descriptor will be; the same thing has one number.
    pub fn fd(&mut self, wanted: Wanted) -> RawFd {
        if let Some((number, _)) = self.fds.iter().find(|(_, known)| *known == wanted) {
            return *number;
        }
        let number = self.next_fd;
        self.next_fd += 1;
        self.fds.push((number, wanted));
        number
    }

    /// A slot that stays taken until the end.
    pub fn slot(&mut self) -> Result<u32> {
        if self.next_slot >= PASSING_SLOT {
            return Err(PlanError::TooMany);
        }
        self.next_slot += 1;
        Ok(self.next_slot - 1)
    }

    /// Notes what is done differently; the same sentence once.
    pub fn warn(&mut self, sentence: String) {
        if !self.warnings.contains(&sentence) {
            self.warnings.push(sentence);
        }
    }

    /// The plan.
    pub fn finish(self, frame: &Frame) -> Planned {
        Planned {
            steps: self.steps,
            subjects: self.subjects,
            role: frame.role,
            outer: frame.outer,
            clone_flags: frame.clone_flags,
            tty: frame.tty,
            console_size: frame.console_size,
            fds: self.fds,
            warnings: self.warnings,
        }
    }
}

/// A string for the kernel.
pub fn text<'a>(what: &'static str, value: &'a str) -> Result<Str<'a>> {
    bytes(what, value.as_bytes())
}

/// A path for the kernel.
pub fn path<'a>(what: &'static str, value: &'a Path) -> Result<Str<'a>> {
    bytes(what, value.as_os_str().as_bytes())
}

fn bytes<'a>(what: &'static str, value: &'a [u8]) -> Result<Str<'a>> {
    if value.contains(&0) { Err(PlanError::Nul { what }) } else { Ok(Str(value)) }
}

/// Strings for the kernel, one after another.
pub fn list<S: AsRef<[u8]>>(what: &'static str, values: &[S]) -> Result<Vec<u8>> {
    if values.iter().any(|value| value.as_ref().contains(&0)) {
        return Err(PlanError::Nul { what });
    }
    Ok(join_strings(values))
}

/// An absolute path without `.`, `..`, doubled and trailing slashes, by its letters alone. A relative one counts from
/// the root.
pub fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_by_their_letters() {
        for (path, want) in [
            ("/", "/"),
            ("", "/"),
            ("a", "/a"),
            ("/a//b/", "/a/b"),
            ("/../../a", "/a"),
            ("/a/./b/../c", "/a/c"),
            ("/proc/../etc", "/etc"),
        ] {
            assert_eq!(clean(path), want, "{path}");
        }
    }

    #[test]
    fn descriptors_have_one_number() {
        let mut draft = Draft::new(2).expect("few preserved");
        assert_eq!(draft.fd(Wanted::Tasks(0)), 9);
        assert_eq!(draft.fd(Wanted::Tasks(1)), 10);
        assert_eq!(draft.fd(Wanted::Tasks(0)), 9);
        assert!(matches!(Draft::new(u32::MAX), Err(PlanError::Preserve(_))));
    }

    #[test]
    fn slots_end() {
        let mut draft = Draft::new(0).expect("none preserved");
        for slot in 0..PASSING_SLOT {
            assert_eq!(draft.slot(), Ok(slot));
        }
        assert_eq!(draft.slot(), Err(PlanError::TooMany));
    }

    #[test]
    fn no_string_holds_a_nul() {
        assert_eq!(text("a name", "a\0b"), Err(PlanError::Nul { what: "a name" }));
        assert_eq!(list("names", &["a", "b\0"]), Err(PlanError::Nul { what: "names" }));
    }
}
