//! `why`: how a container ended, or why it does not start, from evidence only.
//!
//! [`Engine::why`] collects the [`Evidence`] (record, exit record, what `stop` and `kill` noted, the end of the log, the
//! files that it speaks of as the container sees them) and changes nothing. [`explain`] is pure: each cause is one small
//! function. A finding is [`Certainty::Certain`] only when the kernel, the monitor or the engine itself wrote down what
//! it says; what a program printed never makes more than a likely cause.

mod collect;
mod denied;
mod end;
mod evidence;
mod file;
mod health;
mod log;
mod start;
mod tree;

use serde::Serialize;

pub use evidence::{DeniedCall, Evidence, HostPath, InitSignals, Look, PortHolder};
pub use file::Program;

use crate::view::State;
use crate::{Engine, Result};

/// How much is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Certainty {
    /// Written down by the kernel, the monitor or the engine.
    Certain,
    /// Two things agree, or a text that hardly has another meaning.
    Likely,
    /// Worth a look.
    Hint,
}

/// A piece of evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// What is there.
    pub what: String,
    /// Where it was seen: `exit record`, `log`, a path, …
    pub place: String,
}

/// What is wrong, or that nothing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(
    missing_docs,
    reason = "the names are what users and scripts see; the sentences stand in the findings"
)]
pub enum Cause {
    NeverStarted,
    Running,
    Paused,
    Lost,
    Finished,
    ExitCode,
    CommandMissing,
    InterpreterMissing,
    LoaderMissing,
    CarriageReturn,
    WrongArchitecture,
    NoInterpreterLine,
    NotExecutable,
    IsDirectory,
    MountedNoexec,
    UserMissing,
    GroupMissing,
    WorkingDirectory,
    PortTaken,
    MountSourceMissing,
    MountFailed,
    DeviceMissing,
    LimitRefused,
    SysctlRefused,
    SecurityRefused,
    NetworkGone,
    NamespaceGone,
    StartFailed,
    OutOfMemory,
    DeniedSyscall,
    Unhealthy,
    Stopped,
    StoppedByForce,
    Killed,
    KilledByUnknown,
    Crashed,
    Signal,
    ReadOnlyPath,
    PermissionDenied,
    MissingCapability,
    AddressInUse,
    DiskFull,
    TooManyFiles,
    TooManyProcesses,
    NameResolution,
    ConnectionRefused,
    MissingVariable,
    MissingFile,
    CommandNotFound,
    LibraryMissing,
    NoInput,
    IgnoresStopSignal,
}

/// One cause with its evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// For scripts.
    pub cause: Cause,
    /// How much is known.
    pub certainty: Certainty,
    /// One sentence, lower case, no full stop.
    pub summary: String,
    /// By what it is known.
    pub evidence: Vec<Seen>,
    /// What to do, in one line.
    pub fix: Option<String>,
}

impl Finding {
    fn new(cause: Cause, certainty: Certainty, summary: impl Into<String>) -> Finding {
        Finding { cause, certainty, summary: summary.into(), evidence: Vec::new(), fix: None }
    }

    fn seen(mut self, place: impl Into<String>, what: impl Into<String>) -> Finding {
        self.evidence.push(Seen { what: what.into(), place: place.into() });
        self
    }

    fn fix(mut self, fix: impl Into<String>) -> Finding {
        self.fix = Some(fix.into());
        self
    }
}

/// The answer of `why`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Full id.
    pub id: String,
    /// Name.
    pub name: String,
    /// State at the time of the look.
    pub state: State,
    /// Exit code; `None` when it never ran or still runs.
    pub exit_code: Option<i32>,
    /// The best first; never empty.
    pub findings: Vec<Finding>,
}

impl Engine {
    /// Explains how a container ended or why it does not start; one that runs, what is known of it.
    ///
    /// # Errors
    /// When there is no such container or its record cannot be read. What else cannot be read is no evidence.
    pub fn why(&self, name: &str) -> Result<Explanation> {
        let evidence = self.evidence(name)?;
        Ok(Explanation {
            id: evidence.record.id.clone(),
            name: evidence.record.name.clone(),
            state: evidence.state,
            exit_code: evidence.ended().map(|exit| exit.code),
            findings: explain(&evidence),
        })
    }
}

type Rule = fn(&Evidence) -> Option<Finding>;

/// All causes that the evidence supports, the best first: what is special before what is general, hints last.
pub fn explain(evidence: &Evidence) -> Vec<Finding> {
    let special = [start::RULES, health::RULES, end::SPECIAL, log::RULES].concat();
    let mut findings: Vec<Finding> = special.iter().filter_map(|rule| rule(evidence)).collect();
    let mut hints: Vec<Finding> = Vec::new();
    findings.retain(|finding| match finding.certainty {
        Certainty::Hint => {
            hints.push(finding.clone());
            false
        }
        _ => true,
    });
    findings.sort_by_key(|finding| finding.certainty);
    findings.extend(end::GENERAL.iter().filter_map(|rule: &Rule| rule(evidence)));
    findings.extend(hints);
    if findings.is_empty() {
        findings.push(end::unknown(evidence));
    }
    findings
}

#[cfg(test)]
mod tests;
