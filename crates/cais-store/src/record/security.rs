//! `--security-opt` of a request.

use serde::{Deserialize, Serialize};

/// `--security-opt` taken apart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SecurityRequest {
    /// Which seccomp filter.
    pub seccomp: SeccompRequest,
    /// `no-new-privileges`.
    pub no_new_privileges: bool,
    /// `apparmor=PROFILE`.
    pub apparmor: Option<String>,
    /// `label=disable`: no SELinux label.
    pub label_disable: bool,
    /// `label=user:…` and its like.
    pub label: LabelRequest,
    /// `systempaths=unconfined`: nothing masked or read-only but what `masked` says.
    pub unmask: bool,
    /// `mask=PATH`: hidden beside what is hidden anyway, absolute.
    pub masked: Vec<String>,
    /// `unmask=PATTERN`: of what is hidden or read-only anyway, not these.
    pub unmasked: Vec<String>,
}

/// Parts of SELinux labels that are asked for; all empty is no label.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LabelRequest {
    /// Of the process and the files.
    pub user: Option<String>,
    /// Of the process.
    pub role: Option<String>,
    /// Type of the process.
    pub kind: Option<String>,
    /// Of the process and the files.
    pub level: Option<String>,
    /// Type of the files.
    pub file_kind: Option<String>,
}

impl LabelRequest {
    /// The part with this name in `label=NAME:VALUE`; `None` for another name.
    pub fn part(&mut self, name: &str) -> Option<&mut Option<String>> {
        match name {
            "user" => Some(&mut self.user),
            "role" => Some(&mut self.role),
            "type" => Some(&mut self.kind),
            "level" => Some(&mut self.level),
            "filetype" => Some(&mut self.file_kind),
            _ => None,
        }
    }
}

/// Which seccomp filter a container gets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SeccompRequest {
    /// The built-in profile.
    #[default]
    Default,
    /// None.
    Unconfined,
    /// The text of a profile file in Docker's JSON format.
    Profile(String),
}

impl LabelRequest {
    /// As they are given to `--security-opt`: `label=user:…` and its like.
    #[must_use]
    pub fn options(&self) -> Vec<String> {
        let parts = [
            ("user", &self.user),
            ("role", &self.role),
            ("type", &self.kind),
            ("level", &self.level),
            ("filetype", &self.file_kind),
        ];
        parts.iter().filter_map(|(name, value)| Some(format!("label={name}:{}", value.as_ref()?))).collect()
    }
}

impl SecurityRequest {
    /// Masked and unmasked paths as they are given to `--security-opt`.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        let option =
            |name: &str, paths: &[String]| (!paths.is_empty()).then(|| format!("{name}={}", paths.join(":")));
        option("mask", &self.masked).into_iter().chain(option("unmask", &self.unmasked)).collect()
    }
}
