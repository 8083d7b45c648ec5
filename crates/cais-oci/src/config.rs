//! The image config: what a container of the image runs, and the diff_ids of its layers.
//!
//! Implements the OCI image specification, "Image Configuration", with Docker's additions (`Healthcheck`,
//! `Shell`, `OnBuild`, `ArgsEscaped`). Every `null` that Docker or buildah writes for an empty list is read as the
//! empty list; what is written back is a valid OCI config. Fields that this module does not know are dropped:
//! a pulled config keeps its identity by its bytes in the store, never by being written again.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::digest::Digest;

/// The config blob of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// When the image was made, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made the image.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// The processor as GOARCH names it; empty in a few very old images.
    #[serde(default, deserialize_with = "null_is_default")]
    pub architecture: String,
    /// Variant of the processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The operating system as GOOS names it.
    #[serde(default, deserialize_with = "null_is_default")]
    pub os: String,
    /// What a container runs by default.
    #[serde(default, deserialize_with = "null_is_default")]
    pub config: ProcessConfig,
    /// The layers by the digests of their plain tars, lowest first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub rootfs: Rootfs,
    /// How each layer came to be.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
}

impl ImageConfig {
    /// The chain_id of each layer, lowest first: the identity of the stack up to and including it.
    ///
    /// `chain(1) = diff_id(1)`, `chain(n) = sha256(chain(n-1) + " " + diff_id(n))`.
    pub fn chain_ids(&self) -> Vec<Digest> {
        let mut chain: Vec<Digest> = Vec::with_capacity(self.rootfs.diff_ids.len());
        for diff_id in &self.rootfs.diff_ids {
            let next = match chain.last() {
                None => diff_id.clone(),
                Some(below) => Digest::sha256(format!("{below} {diff_id}").as_bytes()),
            };
            chain.push(next);
        }
        chain
    }

    /// The chain_id of the whole image, `None` without layers.
    pub fn chain_id(&self) -> Option<Digest> {
        self.chain_ids().pop()
    }
}

/// What a container of the image runs by default (`config` in the document).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ProcessConfig {
    /// `user[:group]` by name or number; empty is root.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Ports, `80/tcp`, as keys.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Present>,
    /// Environment, `NAME=value` each.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The command's beginning, which arguments do not replace.
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// The default arguments.
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Paths that become anonymous volumes, as keys.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, Present>,
    /// Working directory; empty is `/`.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Labels.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Signal that stops the container, by name or number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Seconds between the stop signal and SIGKILL (Docker's addition).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    /// How to see whether the container is well (Docker's addition).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Shell for the shell forms of a Dockerfile (Docker's addition).
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub shell: Vec<String>,
    /// Whether the command is already escaped; Windows only.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "std::ops::Not::not")]
    pub args_escaped: bool,
    /// Instructions for images built on this one (Docker's addition).
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
}

/// The empty object `{}` that sets such as `ExposedPorts` have as values; anything is accepted on reading.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Present;

impl Serialize for Present {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde::ser::SerializeMap::end(serializer.serialize_map(Some(0))?)
    }
}

impl<'de> Deserialize<'de> for Present {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Present, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Present)
    }
}

/// A health probe; durations in nanoseconds, 0 means the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", line]`; empty inherits.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    /// Time between two probes, in nanoseconds.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// Time a probe may take, in nanoseconds.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// Time after the start in which failures do not count, in nanoseconds.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// Time between two probes during the start period, in nanoseconds.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// Failures in a row that make the container unhealthy.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_zero")]
    pub retries: i64,
}

/// The layers by the digests of their plain tars.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rootfs {
    /// Always `layers`.
    #[serde(rename = "type", default = "layers_kind")]
    pub kind: String,
    /// Digests of the plain tars, lowest first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub diff_ids: Vec<Digest>,
}

impl Default for Rootfs {
    fn default() -> Rootfs {
        Rootfs { kind: layers_kind(), diff_ids: Vec::new() }
    }
}

/// How one layer, or one instruction without a layer, came to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// When, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By which instruction.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    /// By whom.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// A remark.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// Whether the instruction made no layer.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

fn layers_kind() -> String {
    "layers".to_owned()
}

fn is_zero(value: &i64) -> bool {
    *value == 0
}

/// Reads `null` as the default value.
pub(crate) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Reads a list of words, a single word (very old images), or `null`.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        One(String),
        Many(Vec<String>),
    }
    Ok(Option::<Words>::deserialize(deserializer)?.map(|words| match words {
        Words::One(word) => vec![word],
        Words::Many(words) => words,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_are_tolerated_everywhere() {
        let json = r#"{"architecture":"amd64","os":"linux","author":null,"created":null,"variant":null,"history":null,
            "config":{"User":null,"ExposedPorts":null,"Env":null,"Entrypoint":null,"Cmd":null,"Volumes":null,
              "WorkingDir":null,"Labels":null,"StopSignal":null,"Healthcheck":null,"Shell":null,"ArgsEscaped":null,
              "OnBuild":null,"Unknown":{"x":1}},
            "rootfs":{"type":"layers","diff_ids":null}}"#;
        let config: ImageConfig = serde_json::from_str(json).unwrap();
        assert_eq!(config.config, ProcessConfig::default());
        assert_eq!(config.rootfs, Rootfs::default());
        let bare: ImageConfig = serde_json::from_str(r#"{"config":null,"rootfs":null}"#).unwrap();
        assert_eq!(bare, ImageConfig::default());
    }

    #[test]
    fn docker_config_round_trips() {
        let json = serde_json::json!({
            "created": "2024-01-02T03:04:05Z",
            "architecture": "arm64",
            "variant": "v8",
            "os": "linux",
            "config": {
                "User": "1000:1000",
                "ExposedPorts": {"80/tcp": {}},
                "Env": ["PATH=/bin"],
                "Entrypoint": ["/e"],
                "Cmd": ["a", "b"],
                "Volumes": {"/data": {}},
                "WorkingDir": "/w",
                "Labels": {"k": "v"},
                "StopSignal": "SIGQUIT",
                "Healthcheck": {"Test": ["CMD", "true"], "Interval": 5_000_000_000_i64, "Retries": 3},
                "Shell": ["/bin/ash", "-c"],
                "ArgsEscaped": true,
                "OnBuild": ["RUN x"]
            },
            "rootfs": {"type": "layers", "diff_ids": [Digest::sha256(b"1")]},
            "history": [{"created_by": "x"}, {"created_by": "y", "empty_layer": true}]
        });
        let config: ImageConfig = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(serde_json::to_value(&config).unwrap(), json);
    }

    #[test]
    fn empty_command_differs_from_none() {
        let config: ProcessConfig = serde_json::from_str(r#"{"Entrypoint":[],"Cmd":"sh"}"#).unwrap();
        assert_eq!(config.entrypoint, Some(vec![]));
        assert_eq!(config.cmd, Some(vec!["sh".to_owned()]));
    }

    #[test]
    fn chain_ids_follow_the_specification() {
        let diff_ids: Vec<Digest> = (0_u8..3).map(|n| Digest::sha256(&[n])).collect();
        let mut config = ImageConfig::default();
        assert_eq!(config.chain_id(), None);
        config.rootfs.diff_ids = diff_ids.clone();
        let chain = config.chain_ids();
        assert_eq!(chain[0], diff_ids[0]);
        assert_eq!(chain[1], Digest::sha256(format!("{} {}", diff_ids[0], diff_ids[1]).as_bytes()));
        assert_eq!(config.chain_id().as_ref(), Some(&chain[2]));
        assert_ne!(chain[2], chain[1]);
    }
}
