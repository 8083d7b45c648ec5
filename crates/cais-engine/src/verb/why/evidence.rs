//! What is known of a container when it is asked why: plain data, collected by `collect`, judged by `explain`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cais_store::HealthState;

use super::file::Program;
use crate::view::State;
use crate::{ContainerRecord, Ending, ExitRecord, OomRecord};

/// A path as the container would see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Look {
    /// Not looked at, or it lies where only a running container sees something.
    #[default]
    Unknown,
    /// Not there.
    Missing,
    /// A directory with its mode and owner.
    Directory {
        /// Permission bits.
        mode: u32,
        /// Owner.
        uid: u32,
    },
    /// A file with its mode and owner, and what kind of program it is.
    File {
        /// Permission bits.
        mode: u32,
        /// Owner.
        uid: u32,
        /// What the kernel would make of it.
        program: Program,
    },
}

/// The host's side of a mount.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostPath {
    /// Path on the host.
    pub path: PathBuf,
    /// It is there.
    pub exists: bool,
    /// Permission bits.
    pub mode: u32,
    /// Owner, as the engine sees it.
    pub uid: u32,
    /// Group, as the engine sees it.
    pub gid: u32,
}

/// Who has a port of the host now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortHolder {
    /// The port.
    pub port: u16,
    /// `container web`, `process nginx (pid 12)`.
    pub who: String,
}

/// A system call for which a seccomp filter killed a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeniedCall {
    /// Its name, or `number N`.
    pub name: String,
    /// Its number on that machine.
    pub number: u32,
    /// Whom it killed, as the host saw it.
    pub pid: i32,
    /// Name of that process.
    pub comm: String,
    /// It was the container's first process; else one that died in the time of the run.
    pub own: bool,
}

/// Signals of a running container's init, as bit n-1 for signal n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InitSignals {
    /// It has a handler.
    pub caught: u64,
    /// It ignores them.
    pub ignored: u64,
}

/// All that the rules may look at.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The container's description.
    pub record: ContainerRecord,
    /// Derived state.
    pub state: State,
    /// How the last run ended, or why it could not start.
    pub exit: Option<ExitRecord>,
    /// What `stop` or `kill` did to that run.
    pub ending: Option<Ending>,
    /// The end of the log, oldest first, without colours.
    pub log: Vec<String>,
    /// The first word of the command, found as the kernel would find it; the path at which it was found.
    pub command: (String, Look),
    /// The working directory.
    pub workdir: Look,
    /// Absolute paths that the log speaks of.
    pub named: BTreeMap<String, Look>,
    /// Sources of binds by their targets.
    pub sources: BTreeMap<String, HostPath>,
    /// Who has the ports that are to be published.
    pub holders: Vec<PortHolder>,
    /// What the probes of the present or last run said.
    pub health: Option<HealthState>,
    /// Whom the kernel killed for memory in the present or last run.
    pub oom: Option<OomRecord>,
    /// From the kernel's log, when something ended by SIGSYS.
    pub denied: Option<DeniedCall>,
    /// Of a running container.
    pub init: Option<InitSignals>,
    /// This machine, as GOARCH names it.
    pub machine: &'static str,
    /// For which machine the image is, when it is still here.
    pub image_architecture: Option<String>,
    /// Containers are those of an ordinary user.
    pub rootless: bool,
}

impl Evidence {
    /// The exit record of a run that began and ended.
    pub fn ended(&self) -> Option<&ExitRecord> {
        self.exit.as_ref().filter(|exit| self.state == State::Exited && exit.error.is_empty())
    }

    /// The sentence of a start that failed.
    pub fn start_error(&self) -> Option<&str> {
        let over = matches!(self.state, State::Created | State::Exited);
        self.exit.as_ref().filter(|_| over).map(|exit| exit.error.as_str()).filter(|text| !text.is_empty())
    }

    /// It ended by itself, not by a signal and not well.
    pub fn failed(&self) -> Option<&ExitRecord> {
        self.ended().filter(|exit| exit.code != 0)
    }

    /// The last log line that holds all the texts of one of the alternatives, compared without case.
    pub fn log_line(&self, alternatives: &[&[&str]]) -> Option<&str> {
        self.log.iter().rev().map(String::as_str).find(|line| {
            let line = line.to_ascii_lowercase();
            alternatives.iter().any(|texts| texts.iter().all(|text| line.contains(text)))
        })
    }

    /// The mount that holds a path of the container: the deepest.
    pub fn mount_at(&self, path: &str) -> Option<&crate::MountRecord> {
        let within = |mount: &&crate::MountRecord| is_within(path, &mount.request.target);
        self.record.mounts.iter().filter(within).max_by_key(|mount| mount.request.target.len())
    }

    /// The user is root as the container sees it.
    pub fn is_root(&self) -> bool {
        matches!(self.record.user.split(':').next(), None | Some("" | "0" | "root"))
    }
}

/// Whether a path is a directory or lies beneath it, by its text.
pub(super) fn is_within(path: &str, directory: &str) -> bool {
    let directory = directory.trim_end_matches('/');
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Absolute paths in a line of text, without the punctuation around them.
pub(super) fn paths_in(line: &str) -> Vec<String> {
    let cut = |c: char| c.is_whitespace() || "'\"`‘’“”(),;<>[]=|".contains(c);
    let mut found = Vec::new();
    for word in line.split(cut) {
        let word = word.trim_end_matches([':', '.', '!', '?']);
        // `file:line` and `open:/path` both occur.
        for part in word.split(':') {
            let is_path = part.starts_with('/') && part.len() > 1 && !part.starts_with("//");
            if is_path && !found.iter().any(|f| f == part) {
                found.push(part.to_owned());
            }
        }
    }
    found
}
