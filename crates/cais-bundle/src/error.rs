//! Why an operation on a container did not succeed.
//!
//! Engines above a runtime tell failures apart by words in its log: the sentences here hold the words that they look
//! for, source included, whatever [`std::error::Error::source`] gives beside.

use std::io;
use std::path::PathBuf;

use cais_oci::runtime::{SpecError, Status};
use cais_runtime::cgroup::oci::GroupError;
use cais_runtime::seccomp::SeccompError;

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// There is no such container.
    NotFound,
    /// There is one already.
    Exists,
    /// The container must be running and is not.
    NotRunning,
    /// The process has ended already.
    AlreadyFinished,
    /// The container must have ended and has not.
    NotStopped,
    /// The container is frozen.
    Paused,
    /// The command does not exist in the container.
    CommandNotFound,
    /// The command cannot be executed.
    CommandNotExecutable,
    /// What was asked for is wrong.
    Invalid,
    /// A hook failed.
    Hook,
    /// The machine lacks something.
    Unsupported,
    /// The kernel refused.
    System,
}

/// A failed operation on a container.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No state directory.
    #[error("container does not exist")]
    NotFound,
    /// The state directory is there.
    #[error("container with given ID already exists")]
    Exists,
    /// Not a name that a container can have.
    #[error("invalid container ID format")]
    Id,
    /// Its first process has ended, or never was.
    #[error("container not running")]
    NotRunning,
    /// It is not frozen.
    #[error("container not paused")]
    NotPaused,
    /// It is frozen.
    #[error("container paused")]
    Paused,
    /// The process ended between looking and acting.
    #[error("os: process already finished")]
    Finished,
    /// `start` a second time.
    #[error("cannot start an already running container")]
    AlreadyRunning,
    /// `start` after the end.
    #[error("cannot start a container that has stopped")]
    StartStopped,
    /// `start` at another moment.
    #[error("cannot start a container in the {0} state")]
    StartState(Status),
    /// `delete` without force.
    #[error("cannot delete container {id} that is not stopped: {status}")]
    NotStopped {
        /// Which one.
        id: String,
        /// What it is.
        status: Status,
    },
    /// The kill had no effect in time.
    #[error("container init still running")]
    StillRunning,
    /// `events` after the end.
    #[error("container with id {id} is not running")]
    NoEvents {
        /// Which one.
        id: String,
    },
    /// `exec` after the end.
    #[error("cannot exec in a stopped container")]
    ExecStopped,
    /// `exec` while frozen.
    #[error("cannot exec in a paused container (use --ignore-paused to override)")]
    ExecPaused,
    /// What was asked for contradicts itself or lacks something.
    #[error("{0}")]
    Request(&'static str),
    /// No config.json.
    #[error("JSON specification file {} not found", path.display())]
    NoConfig {
        /// Where it should be.
        path: PathBuf,
    },
    /// config.json or process.json.
    #[error("{0}")]
    Spec(#[from] SpecError),
    /// The steps could not be planned.
    #[error("{0}")]
    Plan(#[from] crate::plan::PlanError),
    /// The filter of system calls.
    #[error("{0}")]
    Seccomp(#[from] SeccompError),
    /// The control group.
    #[error("{0}")]
    Cgroup(#[from] GroupError),
    /// Groups of `exec --cgroup` that cannot be understood.
    #[error("{problem}: {argument}")]
    CgroupArgument {
        /// In runc's words.
        problem: &'static str,
        /// As given.
        argument: String,
    },
    /// The new process cannot enter the group.
    #[error("error adding pid of the new process to cgroups: {operation}{}", plain(.source))]
    CgroupEntry {
        /// `open FILE: `, or nothing.
        operation: String,
        /// Why.
        source: io::Error,
    },
    /// A network device could not be moved.
    #[error("{}", chain(.0))]
    Network(#[from] cais_net::Error),
    /// A file or system call.
    #[error("{operation}: {}", plain(.source))]
    System {
        /// What on what.
        operation: String,
        /// Why.
        source: io::Error,
    },
    /// State that cannot be read.
    #[error("read {}: {source}", path.display())]
    State {
        /// File.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A path with bytes that JSON cannot hold.
    #[error("{} is not UTF-8", path.display())]
    NotText {
        /// The path.
        path: PathBuf,
    },
    /// A namespace of another type.
    #[error("namespace path {} is no {wanted} namespace", path.display())]
    WrongNamespace {
        /// As configured.
        path: PathBuf,
        /// As configured.
        wanted: &'static str,
    },
    /// A descriptor to pass on is missing.
    #[error("unable to stat preserved-fd {index} (of {count}): {}", plain(.source))]
    Preserved {
        /// Counted from the first preserved one.
        index: u32,
        /// How many were asked for.
        count: u32,
        /// Why.
        source: io::Error,
    },
    /// A program for id maps failed.
    #[error("{program} failed: {reason}")]
    IdTool {
        /// Which.
        program: &'static str,
        /// What it said.
        reason: String,
    },
    /// No first process.
    #[error("create the namespaces of the container's first process: {}", plain(.source))]
    Clone {
        /// Why.
        source: io::Error,
    },
    /// A step of the first process.
    #[error("{sentence}: {}", plain(.source))]
    Step {
        /// What it does.
        sentence: String,
        /// Why.
        source: io::Error,
    },
    /// A step that an errno does not explain.
    #[error("{sentence}: {reason}")]
    StepRefused {
        /// What it does.
        sentence: String,
        /// Why.
        reason: &'static str,
    },
    /// The command is in none of the directories.
    #[error("exec: {command:?}: executable file not found in $PATH")]
    NotInPath {
        /// As configured.
        command: String,
    },
    /// The command's path leads nowhere.
    #[error("exec: {command:?}: stat {command}: {}", plain(.source))]
    NoCommand {
        /// As configured.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// The command cannot be executed.
    #[error("exec: {command:?}: {}", plain(.source))]
    Command {
        /// As configured.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// The command exists, what it needs does not.
    #[error("exec {command}: no such file or directory")]
    NoInterpreter {
        /// As configured.
        command: String,
    },
    /// The first process went away without a word.
    #[error("the container's first process died while it was set up")]
    Died,
    /// The first process was killed by the kernel for memory.
    #[error("container init was OOM-killed (memory limit too low?)")]
    OutOfMemory,
    /// A message that is none of ours.
    #[error("the container's first process sent a message that cannot be understood")]
    Message,
    /// A hook.
    #[error("error running {point} hook #{index}: {failure}")]
    Hook {
        /// `prestart`, `createRuntime`, ….
        point: String,
        /// Its place in the list, from 0.
        index: usize,
        /// What happened.
        failure: HookFailure,
    },
    /// What a hook reads is too long to be sent.
    #[error("send the container's state to hooks inside: {}", plain(.0))]
    Text(io::Error),
    /// `checkpoint` of one that does not run.
    #[error("container cannot be checkpointed in {0} state")]
    CheckpointState(Status),
    /// resctrl is not there.
    #[error("intelRdt is specified in config, but Intel RDT is not enabled")]
    NoResctrl,
    /// No CRIU.
    #[error("checkpoint and restore need the program criu, which is not installed")]
    NoCriu,
    /// CRIU does not work on this machine.
    #[error("criu {action} is not possible here: `criu check` says: {lack}")]
    CriuLacks {
        /// `dump`, `restore`.
        action: &'static str,
        /// What it misses.
        lack: String,
    },
    /// CRIU failed.
    #[error("criu {action} failed: {reason} (see {})", log.display())]
    Criu {
        /// `dump`, `restore`.
        action: &'static str,
        /// How it ended.
        reason: String,
        /// Its log.
        log: PathBuf,
    },
}

/// What happened to a hook.
#[derive(Debug, thiserror::Error)]
pub enum HookFailure {
    /// It could not be started.
    #[error("fork/exec {path}: {}", plain(.source))]
    Start {
        /// The program.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// It ended with another code than 0.
    #[error("exit status {code}{output}")]
    Exit {
        /// The code.
        code: i32,
        /// What it wrote, as `, stdout: …, stderr: …`, or `, output: …` of hooks inside; empty where it was silent.
        output: String,
    },
    /// A signal ended it.
    #[error("signal {signal}{}{output}", signal_words(*.signal))]
    Signal {
        /// The number.
        signal: i32,
        /// What it wrote, as above.
        output: String,
    },
    /// It took too long.
    #[error("hook ran past specified timeout of {seconds:.1}s")]
    Timeout {
        /// The limit.
        seconds: f64,
    },
    /// It took too long, inside the container.
    #[error("hook ran past specified timeout")]
    TimedOut,
}

/// The result of an operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// For a file or system call.
    pub(crate) fn system(operation: impl Into<String>, source: impl Into<io::Error>) -> Error {
        Error::System { operation: operation.into(), source: source.into() }
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::NotFound => ErrorKind::NotFound,
            Error::Exists => ErrorKind::Exists,
            Error::NotRunning | Error::StartStopped | Error::ExecStopped | Error::NoEvents { .. } => {
                ErrorKind::NotRunning
            }
            Error::Finished => ErrorKind::AlreadyFinished,
            Error::NotStopped { .. } | Error::StillRunning | Error::AlreadyRunning => ErrorKind::NotStopped,
            Error::Paused | Error::ExecPaused => ErrorKind::Paused,
            Error::NotInPath { .. } | Error::NoCommand { .. } | Error::NoInterpreter { .. } => {
                ErrorKind::CommandNotFound
            }
            Error::Command { .. } => ErrorKind::CommandNotExecutable,
            Error::Hook { .. } => ErrorKind::Hook,
            Error::NoResctrl | Error::NoCriu => ErrorKind::Unsupported,
            Error::Id
            | Error::NotPaused
            | Error::StartState(_)
            | Error::CheckpointState(_)
            | Error::Request(_)
            | Error::Spec(_)
            | Error::Plan(_)
            | Error::Seccomp(_)
            | Error::CgroupArgument { .. }
            | Error::NoConfig { .. }
            | Error::NotText { .. }
            | Error::WrongNamespace { .. }
            | Error::Preserved { .. } => ErrorKind::Invalid,
            _ => ErrorKind::System,
        }
    }
}

/// The errno in words, without Rust's "(os error N)", as callers look for it: "no such file or directory".
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = words.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

/// The signals that end a hook, in the words of Go, which callers know from runc.
fn signal_words(signal: i32) -> &'static str {
    match signal {
        6 => ": aborted",
        9 => ": killed",
        11 => ": segmentation fault",
        15 => ": terminated",
        31 => ": bad system call",
        _ => "",
    }
}

/// An error with all its sources.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_find_their_words() {
        let missing = Error::NotInPath { command: "nope".to_owned() };
        assert_eq!(missing.to_string(), "exec: \"nope\": executable file not found in $PATH");
        assert_eq!(missing.kind(), ErrorKind::CommandNotFound);
        let source = io::Error::from_raw_os_error(2);
        let missing = Error::NoCommand { command: "/nope".to_owned(), source };
        assert_eq!(missing.to_string(), "exec: \"/nope\": stat /nope: no such file or directory");
        let denied = Error::Command { command: "/x".to_owned(), source: io::Error::from_raw_os_error(13) };
        assert_eq!(denied.to_string(), "exec: \"/x\": permission denied");
        let error = Error::NotStopped { id: "c1".to_owned(), status: Status::Running };
        assert_eq!(error.to_string(), "cannot delete container c1 that is not stopped: running");
        let failure = HookFailure::Exit { code: 1, output: String::new() };
        let error = Error::Hook { point: "createRuntime".to_owned(), index: 1, failure };
        assert_eq!(error.to_string(), "error running createRuntime hook #1: exit status 1");
        assert_eq!(error.kind(), ErrorKind::Hook);
    }

    #[test]
    fn network_errors_tell_their_cause() {
        let error = Error::from(cais_net::Error::NoInterface {
            name: "x0".to_owned(),
            source: rustix::io::Errno::NODEV,
        });
        assert!(error.to_string().starts_with("there is no network interface x0: "), "{error}");
    }
}
