//! Everything that the client needs to know about this machine and its user.
//!
//! The library reads neither the environment nor fixed paths: the caller passes both. [`Settings::standard`] knows
//! which files and variables Docker and Podman use, so that the knowledge lives in one place.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::credentials::{CredentialFiles, Secret};
use crate::error::Error;
use crate::proxy::ProxySettings;
use crate::registries::Registries;

/// Bundles of root certificates relative to `/etc`, the first that exists is used.
const CA_BUNDLES: [&str; 6] = [
    "ssl/certs/ca-certificates.crt",
    "pki/tls/certs/ca-bundle.crt",
    "ssl/ca-bundle.pem",
    "pki/tls/cacert.pem",
    "pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "ssl/cert.pem",
];

/// The settings of a [`crate::Client`].
#[derive(Debug, Clone)]
pub struct Settings {
    /// What `registries.conf` says.
    pub registries: Registries,
    /// Where logins come from.
    pub credentials: CredentialFiles,
    /// Directories with `HOST[:PORT]/*.crt`, `*.cert` and `*.key`.
    pub certs_dirs: Vec<PathBuf>,
    /// A directory with such files for every host, instead of those (`--cert-dir`).
    pub cert_dir: Option<PathBuf>,
    /// Files with the root certificates; the first that exists is used.
    pub ca_bundles: Vec<PathBuf>,
    /// The machine's hosts file.
    pub hosts_file: PathBuf,
    /// The machine's resolver settings.
    pub resolv_conf: PathBuf,
    /// The values of the proxy variables.
    pub proxies: ProxySettings,
    /// How the client names itself.
    pub user_agent: String,
    /// How long a connection, its proxy and its TLS handshake may take together.
    pub connect_timeout_ms: u64,
    /// How long a server may be silent.
    pub idle_timeout_ms: u64,
    /// How often a request is tried; a download may also break and go on as often without progress.
    pub attempts: u32,
    /// Pause before the second try; doubles with each further one.
    pub backoff_ms: u64,
    /// Longest pause, also when a server asks for more by `Retry-After`: then the operation fails.
    pub backoff_max_ms: u64,
}

impl Settings {
    /// Settings for files below `etc` (usually `/etc`) and variables that `env` looks up.
    ///
    /// Reads `registries.conf` now; the other files are read when they are needed. Understands `HOME`, `PATH`,
    /// `XDG_CONFIG_HOME`, `XDG_RUNTIME_DIR`, `CONTAINERS_REGISTRIES_CONF`, `REGISTRY_AUTH_FILE`, `DOCKER_CONFIG`,
    /// `DOCKER_AUTH_CONFIG`, `SSL_CERT_FILE` and the proxy variables in both cases.
    pub fn standard(etc: &Path, env: &dyn Fn(&str) -> Option<OsString>) -> Result<Settings, Error> {
        let path = |name: &str| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let text = |names: [&str; 2]| {
            names
                .iter()
                .find_map(|name| env(name))
                .and_then(|value| value.into_string().ok())
                .filter(|value| !value.is_empty())
        };
        let home = path("HOME");
        let config_home = path("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|home| home.join(".config")));
        let containers = config_home.as_ref().map(|directory| directory.join("containers"));
        let mut certs_dirs: Vec<PathBuf> =
            containers.iter().map(|directory| directory.join("certs.d")).collect();
        certs_dirs.extend([etc.join("containers/certs.d"), etc.join("docker/certs.d")]);
        let ca_bundles = match path("SSL_CERT_FILE") {
            Some(file) => vec![file],
            None => CA_BUNDLES.iter().map(|file| etc.join(file)).collect(),
        };
        Ok(Settings {
            registries: load_registries(etc, path("CONTAINERS_REGISTRIES_CONF"), containers.as_deref())?,
            credentials: CredentialFiles {
                inline: text(["DOCKER_AUTH_CONFIG"; 2]).map(Secret),
                files: credential_files(&path, containers.as_deref(), home.as_deref()),
                helper_dirs: env("PATH")
                    .map(|value| std::env::split_paths(&value).collect())
                    .unwrap_or_default(),
                given: None,
            },
            certs_dirs,
            cert_dir: None,
            ca_bundles,
            hosts_file: etc.join("hosts"),
            resolv_conf: etc.join("resolv.conf"),
            proxies: ProxySettings {
                http: text(["http_proxy", "HTTP_PROXY"]),
                https: text(["https_proxy", "HTTPS_PROXY"]),
                no_proxy: text(["no_proxy", "NO_PROXY"]),
            },
            user_agent: concat!("cais/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout_ms: 15_000,
            idle_timeout_ms: 60_000,
            attempts: 5,
            backoff_ms: 500,
            backoff_max_ms: 30_000,
        })
    }
}

/// `CONTAINERS_REGISTRIES_CONF` alone if it is set; else the user's file, or the machine's without one; then drop-ins.
fn load_registries(
    etc: &Path,
    chosen: Option<PathBuf>,
    containers: Option<&Path>,
) -> Result<Registries, Error> {
    if let Some(file) = chosen {
        return Registries::load(&file, &[]);
    }
    let own = containers.map(|directory| directory.join("registries.conf")).filter(|file| file.exists());
    let main = own.unwrap_or_else(|| etc.join("containers/registries.conf"));
    let mut drop_ins = vec![etc.join("containers/registries.conf.d")];
    drop_ins.extend(containers.map(|directory| directory.join("registries.conf.d")));
    Registries::load(&main, &drop_ins)
}

/// Podman's files first, then Docker's, as podman reads them.
fn credential_files(
    path: &dyn Fn(&str) -> Option<PathBuf>,
    containers: Option<&Path>,
    home: Option<&Path>,
) -> Vec<PathBuf> {
    if let Some(file) = path("REGISTRY_AUTH_FILE") {
        return vec![file];
    }
    let mut files: Vec<PathBuf> =
        path("XDG_RUNTIME_DIR").iter().map(|directory| directory.join("containers/auth.json")).collect();
    files.extend(containers.map(|directory| directory.join("auth.json")));
    match path("DOCKER_CONFIG") {
        Some(directory) => files.push(directory.join("config.json")),
        None => files.extend(home.map(|home| home.join(".docker/config.json"))),
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_files_and_variables() {
        let directory = tempfile::tempdir().unwrap();
        let etc = directory.path().join("etc");
        let home = directory.path().join("home");
        std::fs::create_dir_all(etc.join("containers")).unwrap();
        std::fs::create_dir_all(home.join(".config/containers")).unwrap();
        std::fs::write(etc.join("containers/registries.conf"), "unqualified-search-registries=['a.test']")
            .unwrap();
        let with = |variables: &[(&str, &str)]| {
            let mut all: Vec<(String, OsString)> = vec![("HOME".into(), home.clone().into())];
            all.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(*value))));
            Settings::standard(&etc, &|name| {
                all.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
            })
            .unwrap()
        };
        let plain = with(&[]);
        assert_eq!(plain.registries.search, ["a.test"]);
        assert_eq!(
            plain.credentials.files,
            [home.join(".config/containers/auth.json"), home.join(".docker/config.json")]
        );
        assert_eq!(plain.ca_bundles.len(), 6);
        let set = with(&[
            ("REGISTRY_AUTH_FILE", "/a.json"),
            ("SSL_CERT_FILE", "/ca.pem"),
            ("HTTPS_PROXY", "http://p:1"),
            ("no_proxy", "x"),
            ("NO_PROXY", "y"),
        ]);
        assert_eq!(set.credentials.files, [PathBuf::from("/a.json")]);
        assert_eq!(set.ca_bundles, [PathBuf::from("/ca.pem")]);
        assert_eq!(set.proxies.https.as_deref(), Some("http://p:1"));
        assert_eq!(set.proxies.no_proxy.as_deref(), Some("x"));
        std::fs::write(
            home.join(".config/containers/registries.conf"),
            "unqualified-search-registries=['b.test']",
        )
        .unwrap();
        assert_eq!(with(&[]).registries.search, ["b.test"]);
    }
}
