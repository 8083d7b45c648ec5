//! The nouns and verbs of cais; the public Rust interface that every door translates to.
//!
//! One file per verb under `verb/`. Synchronous; never prints, never reads the environment (the door passes a
//! [`Config`]). State is on disk: an [`Engine`] is a cheap value that any number of processes hold at once.

mod assemble;
pub mod attach;
mod copy_up;
mod criu;
mod entries;
pub mod error;
mod event;
mod health;
mod hello;
mod journal;
mod kernel_log;
mod launch;
mod limits;
mod local_driver;
mod log_sink;
mod names;
mod network;
mod oom;
mod outgoing;
mod overlay;
mod owners;
mod pasta;
mod path_pattern;
pub mod progress;
mod requested_mount;
mod resolve;
mod restart;
mod restoration;
mod root_view;
mod selinux;
mod sharing;
mod shim;
mod systemd;
mod teardown;
mod trust;
mod userns;
mod users;
pub mod verb;
pub mod view;

use std::path::PathBuf;

pub use cais_oci::runtime::IdMapping;
pub use cais_registry::{Credential, Secret};
pub use cais_store::Noun;
pub use cais_store::record::*;
pub use error::{Error, ErrorKind, Result};
pub use event::{EventActor, EventMessage};
pub use log_sink::unknown_tag_word;

/// What a door tells the engine about its surroundings; nothing here is read from the environment by the engine.
#[derive(Clone, Debug)]
pub struct Config {
    /// Durable state, `/var/lib/cais` or `$XDG_DATA_HOME/cais`.
    pub root: PathBuf,
    /// Run-time state, `/run/cais` or `$XDG_RUNTIME_DIR/cais`.
    pub run: PathBuf,
    /// The caller is an ordinary user (possibly root of its own user namespace by now).
    pub rootless: bool,
    /// Only one id is mapped in the user namespace.
    pub single_id: bool,
    /// Namespaces that the caller left to become root of its own, as `user=4026531837`.
    pub left_namespaces: Vec<String>,
    /// The caller's home, for credentials.
    pub home: Option<PathBuf>,
    /// `REGISTRY_AUTH_FILE`.
    pub auth_file: Option<PathBuf>,
    /// `DOCKER_CONFIG` directory.
    pub docker_config: Option<PathBuf>,
    /// `DOCKER_AUTH_CONFIG`: logins in the format of docker's `config.json`, before those of all files.
    pub docker_auth_config: Option<Secret>,
    /// `XDG_RUNTIME_DIR`, where podman keeps `containers/auth.json`.
    pub runtime_dir: Option<PathBuf>,
    /// `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`.
    pub proxies: Proxies,
    /// `SSL_CERT_FILE`.
    pub ca_bundle: Option<PathBuf>,
    /// `NOTIFY_SOCKET`: where systemd waits for the word that a container runs.
    pub notify_socket: Option<std::ffi::OsString>,
    /// `PATH`, to find `pasta` and credential helpers.
    pub path: Vec<PathBuf>,
    /// For tests of what a failed start leaves behind: this step of the launch plan fails.
    pub failing_step: Option<usize>,
}

impl Config {
    /// Root's engine with its state in these two directories and nothing else of the surroundings known.
    #[must_use]
    pub fn at(root: PathBuf, run: PathBuf) -> Config {
        Config {
            root,
            run,
            rootless: false,
            single_id: false,
            left_namespaces: Vec::new(),
            home: None,
            auth_file: None,
            docker_config: None,
            docker_auth_config: None,
            runtime_dir: None,
            proxies: Proxies::default(),
            ca_bundle: None,
            notify_socket: None,
            path: Vec::new(),
            failing_step: None,
        }
    }
}

/// Proxy variables as the door found them.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// For http URLs.
    pub http: Option<String>,
    /// For https URLs.
    pub https: Option<String>,
    /// Comma-separated hosts that bypass.
    pub no_proxy: Option<String>,
}

/// The engine: configuration and the open store.
#[derive(Clone, Debug)]
pub struct Engine {
    pub(crate) config: Config,
    pub(crate) store: cais_store::Store,
    /// How this machine's cgroups are laid out; a fact that does not change while we live.
    pub(crate) layout: std::sync::OnceLock<cais_runtime::cgroup::Layout>,
    /// What of them freezes.
    pub(crate) freezer: std::sync::OnceLock<cais_runtime::cgroup::Layout>,
}

impl Engine {
    /// Opens the store, making its directories when they are missing.
    ///
    /// # Errors
    /// When the directories cannot be made or have another format version.
    pub fn open(config: Config) -> Result<Engine> {
        let store = cais_store::Store::open(&config.root, &config.run)?;
        Ok(Engine { config, store, layout: Default::default(), freezer: Default::default() })
    }
}
