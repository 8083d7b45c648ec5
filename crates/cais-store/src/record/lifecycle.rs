//! What a request says about a container's life after its start: whether it runs again, how its health is probed, where
//! its output goes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cais_oci::Healthcheck;
use serde::{Deserialize, Serialize};

/// Whether a container runs again when it has ended (`--restart`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// When it has failed.
    OnFailure {
        /// So many times in a row at most; 0 = without limit.
        max_retries: u32,
    },
    /// Whatever its exit code.
    Always,
    /// As always, unless it was stopped by hand: then not at the next boot either.
    UnlessStopped,
}

impl RestartPolicy {
    /// Docker's word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            RestartPolicy::No => "no",
            RestartPolicy::OnFailure { .. } => "on-failure",
            RestartPolicy::Always => "always",
            RestartPolicy::UnlessStopped => "unless-stopped",
        }
    }
}

/// `--health-*` and `--no-healthcheck`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthRequest {
    /// No probes, whatever the image says.
    pub disabled: bool,
    /// Fields that are zero or empty are the image's.
    pub check: Healthcheck,
    /// What is done with a container that has become unhealthy.
    pub on_failure: HealthAction,
    /// The check before the first of those (`--health-startup-*`); without a test there is none.
    pub startup: StartupCheck,
    /// Probes that are kept; 0 = all, `None` = [`HealthRequest::KEPT`].
    pub kept_probes: Option<u32>,
    /// Bytes of a probe's output that are kept; 0 = all, `None` = [`HealthRequest::OUTPUT_BYTES`].
    pub kept_bytes: Option<u64>,
    /// The probes are also written into a file in this directory.
    pub log_directory: Option<PathBuf>,
}

impl HealthRequest {
    /// Probes that are kept when nothing is said, as in Docker.
    pub const KEPT: u32 = 5;
    /// Docker keeps so much of what a probe writes.
    pub const OUTPUT_BYTES: u64 = 4096;
}

/// A check that has to succeed before the container's health is probed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StartupCheck {
    /// Command, interval, timeout; after `retries` failures the container runs anew, 0 = never.
    pub check: Healthcheck,
    /// So often; 0 = once.
    pub successes: u32,
}

impl StartupCheck {
    /// There is one.
    #[must_use]
    pub fn is_some(&self) -> bool {
        !self.check.test.is_empty()
    }
}

/// What is done with a container that has become unhealthy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthAction {
    /// It is shown.
    #[default]
    None,
    /// It is killed; what comes then is the restart policy's.
    Kill,
    /// It is stopped and runs again.
    Restart,
    /// It is stopped, and stays so.
    Stop,
}

/// Where a container's output is kept, beside what goes to who is attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogDriver {
    /// In a file, in docker's format.
    #[default]
    #[serde(rename = "json-file")]
    JsonFile,
    /// In a file, in Kubernetes' format.
    #[serde(rename = "k8s-file")]
    K8sFile,
    /// In the journal of systemd.
    #[serde(rename = "journald")]
    Journald,
    /// Nowhere.
    #[serde(rename = "none")]
    None,
}

/// How much of a log is kept, where, and what each of its lines says beside the text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogOptions {
    /// Bytes of one file; -1 = without limit, `None` = [`LogOptions::MAX_BYTES`].
    pub max_bytes: Option<i64>,
    /// Files, the one that is written included; `None` = [`LogOptions::MAX_FILES`].
    pub max_files: Option<u32>,
    /// Full files are compressed.
    pub compress: bool,
    /// Another file than the one beside the container's record; it stays when the container goes.
    pub path: Option<PathBuf>,
    /// Words like `{{.Name}}` stand for the container's.
    pub tag: Option<String>,
    /// Names of labels that each line has.
    pub labels: Vec<String>,
    /// Names of variables that each line has.
    pub env: Vec<String>,
    /// As given, for `inspect`.
    pub given: BTreeMap<String, String>,
}

impl LogDriver {
    /// The output goes to files of ours.
    #[must_use]
    pub fn is_file(self) -> bool {
        matches!(self, LogDriver::JsonFile | LogDriver::K8sFile)
    }

    /// As `--log-driver` has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            LogDriver::JsonFile => "json-file",
            LogDriver::K8sFile => "k8s-file",
            LogDriver::Journald => "journald",
            LogDriver::None => "none",
        }
    }
}

impl LogOptions {
    /// Bytes of one file when nothing is said.
    pub const MAX_BYTES: i64 = 20 << 20;
    /// Files when nothing is said.
    pub const MAX_FILES: u32 = 5;
}

/// What `stop` or `kill` did to the present or last run; evidence for `why`, nothing else depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ending {
    /// RFC 3339 with nanoseconds, UTC.
    pub at: String,
    /// The signal that was sent first.
    pub signal: i32,
    /// Time given before SIGKILL; `None`: for ever, or `kill`, which sends one signal only.
    pub patience_ms: Option<u64>,
    /// It was asked to stop; else it was sent a signal by `kill`.
    pub stop: bool,
    /// The patience was over and SIGKILL followed.
    pub forced: bool,
    /// It was dumped by `checkpoint`.
    pub checkpoint: bool,
}

/// Whom the kernel killed for memory; keys as `inspect` shows them. Written by who tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct OomRecord {
    /// Name of the process; empty when the kernel's log does not tell (any more).
    pub victim: String,
    /// Its pid as the host saw it, 0 likewise.
    pub victim_pid: i32,
    /// Limit of the container's memory; `None` when it had none of its own.
    pub limit_bytes: Option<i64>,
    /// Kills in the run so far.
    pub kills: u64,
    /// When it was written down, RFC 3339.
    pub at: String,
}

/// How a run ended; written by the shim as one line of `key=value` words, see [`crate::run_state`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// 0–255; 128+n after signal n.
    pub code: i32,
    /// Signal that ended the process, 0 when it exited.
    pub signal: i32,
    /// RFC 3339 with nanoseconds; empty when it never ran.
    pub finished: String,
    /// The kernel killed in it for memory.
    pub oom_killed: bool,
    /// So often.
    #[serde(default)]
    pub oom_kills: u64,
    /// What the pid of its first process was, as the host saw it; 0 when nobody knows.
    #[serde(default)]
    pub pid: i32,
    /// Why the command could not be started; empty when it was.
    pub error: String,
    /// RFC 3339 of the start of that run; empty when its command could not be started and it had never run before.
    pub started: String,
}
