//! Where logins come from: the text of `DOCKER_AUTH_CONFIG`, `~/.docker/config.json`, `auth.json`, and credential
//! helpers.
//!
//! Implements the readable part of docker's configuration file and of containers-auth.json(5); helpers are asked by
//! `helper`, what is written is in `logins`. Files are read at each lookup, so that a login is seen at once.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::helper::Helper;

pub(crate) const DOCKER_HUB: &str = "docker.io";
/// How errors name what is in the environment.
const INLINE_NAME: &str = "DOCKER_AUTH_CONFIG";
/// The key under which Docker keeps the login of Docker Hub.
pub(crate) const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// Text that no message and no debug output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What may hold logins, the first that has one for a registry wins.
#[derive(Debug, Clone, Default)]
pub struct CredentialFiles {
    /// The value of `DOCKER_AUTH_CONFIG`: as a file that comes before all others.
    pub inline: Option<Secret>,
    /// The files, each in Docker's or Podman's format (they are the same for reading).
    pub files: Vec<PathBuf>,
    /// Directories in which credential helpers are looked for, as in `PATH`.
    pub helper_dirs: Vec<PathBuf>,
    /// A registry with the login to use for it, whatever the others say.
    pub given: Option<(String, Credential)>,
}

/// A login.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// User and password.
    Password {
        /// The user.
        user: String,
        /// The password or personal token.
        password: String,
    },
    /// An OAuth2 refresh token, to be exchanged at the token service.
    IdentityToken(String),
    /// A bearer token for the registry itself.
    RegistryToken(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credential::Password { .. } => "Password(…)",
            Credential::IdentityToken(_) => "IdentityToken(…)",
            Credential::RegistryToken(_) => "RegistryToken(…)",
        })
    }
}

/// Why a login cannot be looked up.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// A file is malformed.
    #[error("cannot parse {}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// An `auth` field is not base64 of `user:password`.
    #[error("{}: the login for {key:?} is not base64 of user:password", path.display())]
    Auth {
        /// The file.
        path: PathBuf,
        /// The registry's key.
        key: String,
    },
    /// A credential helper cannot be started.
    #[error("cannot run the credential helper {helper}")]
    RunHelper {
        /// The program.
        helper: String,
        /// What the kernel says.
        source: io::Error,
    },
    /// A login cannot be written the way logins are.
    #[error("{}: {reason}", path.display())]
    Keep {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: &'static str,
    },
    /// A credential helper failed.
    #[error("the credential helper {helper} failed: {reason}")]
    Helper {
        /// The program.
        helper: String,
        /// What it said.
        reason: String,
    },
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct File {
    auths: Option<std::collections::BTreeMap<String, Auth>>,
    cred_helpers: Option<std::collections::BTreeMap<String, String>>,
    creds_store: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Auth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl CredentialFiles {
    /// The login for `registry/repository`, if any file or helper has one.
    ///
    /// Keys with a path (`quay.io/team`) win over the bare registry, as in containers-auth.json(5).
    pub fn find(&self, registry: &str, repository: &str) -> Result<Option<Credential>, CredentialError> {
        if let Some((_, credential)) = self.given.as_ref().filter(|(given, _)| given == registry) {
            return Ok(Some(credential.clone()));
        }
        if let Some(Secret(text)) = &self.inline
            && let Some(found) =
                self.find_in_text(text.as_bytes(), Path::new(INLINE_NAME), registry, repository)?
        {
            return Ok(Some(found));
        }
        for path in &self.files {
            let bytes = match std::fs::read(path) {
                Ok(bytes) => bytes,
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
                {
                    continue;
                }
                Err(source) => return Err(CredentialError::Read { path: path.clone(), source }),
            };
            if let Some(found) = self.find_in_text(&bytes, path, registry, repository)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn find_in_text(
        &self,
        bytes: &[u8],
        path: &Path,
        registry: &str,
        repository: &str,
    ) -> Result<Option<Credential>, CredentialError> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        let file: File = serde_json::from_slice(bytes)
            .map_err(|source| CredentialError::Parse { path: path.to_owned(), source })?;
        self.find_in(&file, path, registry, repository)
    }

    fn find_in(
        &self,
        file: &File,
        path: &Path,
        registry: &str,
        repository: &str,
    ) -> Result<Option<Credential>, CredentialError> {
        let own_helper = file.cred_helpers.iter().flatten().find(|(key, _)| bare(key) == registry);
        let helper = own_helper.map(|(_, helper)| helper).or(file.creds_store.as_ref());
        if let Some(helper) = helper.filter(|helper| !helper.is_empty())
            && let Some(found) = Helper::find(&self.helper_dirs, helper)?.get(server_key(registry))?
        {
            return Ok(Some(found));
        }
        let Some(auths) = &file.auths else { return Ok(None) };
        let name = format!("{registry}/{repository}");
        let applies =
            |key: &str| name.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let best = auths.iter().filter(|(key, _)| applies(bare(key))).max_by_key(|(key, _)| bare(key).len());
        match best {
            Some((key, auth)) => read_auth(auth, path, key),
            None => Ok(None),
        }
    }
}

/// `https://host/v1/` and its kin without scheme and API version; the Hub's many names become one.
pub(crate) fn bare(key: &str) -> &str {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let key = key.trim_end_matches('/');
    let key = key.strip_suffix("/v1").or_else(|| key.strip_suffix("/v2")).unwrap_or(key);
    match key {
        "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB,
        other => other,
    }
}

pub(crate) fn server_key(registry: &str) -> &str {
    if registry == DOCKER_HUB { DOCKER_HUB_KEY } else { registry }
}

/// An entry without any secret (Docker leaves `{}` behind when a helper keeps it) is none.
fn read_auth(auth: &Auth, path: &Path, key: &str) -> Result<Option<Credential>, CredentialError> {
    let given = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
    if let Some(token) = given(&auth.identitytoken) {
        return Ok(Some(Credential::IdentityToken(token)));
    }
    if let Some(token) = given(&auth.registrytoken) {
        return Ok(Some(Credential::RegistryToken(token)));
    }
    if let Some(encoded) = given(&auth.auth) {
        let malformed = || CredentialError::Auth { path: path.to_owned(), key: key.to_owned() };
        let decoded = STANDARD.decode(encoded.trim()).map_err(|_| malformed())?;
        let text = String::from_utf8(decoded).map_err(|_| malformed())?;
        let (user, password) = text.split_once(':').ok_or_else(malformed)?;
        // Some old tools padded the password with NULs.
        return Ok(Some(Credential::Password {
            user: user.to_owned(),
            password: password.trim_matches('\0').to_owned(),
        }));
    }
    match (given(&auth.username), given(&auth.password)) {
        (Some(user), Some(password)) => Ok(Some(Credential::Password { user, password })),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(json: &str, registry: &str, repository: &str) -> Result<Option<Credential>, CredentialError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        std::fs::write(&path, json).unwrap();
        let files = vec![directory.path().join("absent"), path];
        CredentialFiles { files, ..CredentialFiles::default() }.find(registry, repository)
    }

    fn user(json: &str, registry: &str, repository: &str) -> Option<String> {
        match find(json, registry, repository).unwrap()? {
            Credential::Password { user, password } => Some(format!("{user}:{password}")),
            Credential::IdentityToken(token) => Some(format!("identity {token}")),
            Credential::RegistryToken(token) => Some(format!("bearer {token}")),
        }
    }

    #[test]
    fn keys_in_all_their_forms() {
        // dTpw is u:p, djpxOnI= is v:q:r
        let json = r#"{"auths":{
            "https://index.docker.io/v1/":{"auth":"dTpw"},
            "quay.io":{"auth":"dTpw"},
            "quay.io/team/app":{"auth":"djpxOnI="},
            "http://plain.test:5000/v2/":{"username":"a","password":"b"},
            "empty.test":{},
            "token.test":{"auth":"dTpw","identitytoken":"t"},
            "bearer.test":{"registrytoken":"t"}}}"#;
        assert_eq!(user(json, "docker.io", "library/x").as_deref(), Some("u:p"));
        assert_eq!(user(json, "quay.io", "other").as_deref(), Some("u:p"));
        assert_eq!(user(json, "quay.io", "team/app").as_deref(), Some("v:q:r"));
        assert_eq!(user(json, "quay.io", "team/apple").as_deref(), Some("u:p"));
        assert_eq!(user(json, "plain.test:5000", "x").as_deref(), Some("a:b"));
        assert_eq!(user(json, "plain.test", "x"), None);
        assert_eq!(user(json, "empty.test", "x"), None);
        assert_eq!(user(json, "token.test", "x").as_deref(), Some("identity t"));
        assert_eq!(user(json, "bearer.test", "x").as_deref(), Some("bearer t"));
        assert_eq!(user(json, "index.docker.io.evil.test", "x"), None);
    }

    #[test]
    fn what_is_in_the_environment_comes_first() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.json");
        std::fs::write(&file, r#"{"auths":{"a.test":{"auth":"dTpw"},"b.test":{"auth":"dTpw"}}}"#).unwrap();
        let with = |text: &str| CredentialFiles {
            inline: Some(Secret(text.to_owned())),
            files: vec![file.clone()],
            ..CredentialFiles::default()
        };
        let logins = with(r#"{"auths":{"a.test":{"auth":"djpxOnI="}}}"#);
        let user = |user: &str, password: &str| {
            Some(Credential::Password { user: user.into(), password: password.into() })
        };
        assert_eq!(logins.find("a.test", "x").unwrap(), user("v", "q:r"));
        assert_eq!(logins.find("b.test", "x").unwrap(), user("u", "p"));
        assert_eq!(with("").find("a.test", "x").unwrap(), user("u", "p"));
        assert_eq!(with("{").find("a.test", "x").unwrap_err().to_string(), "cannot parse DOCKER_AUTH_CONFIG");
        assert!(!format!("{logins:?}").contains("djpx"));
    }

    #[test]
    fn malformed_files_are_named() {
        assert!(matches!(find("{", "a.test", "x"), Err(CredentialError::Parse { .. })));
        assert!(matches!(
            find(r#"{"auths":{"a.test":{"auth":"%%"}}}"#, "a.test", "x"),
            Err(CredentialError::Auth { .. })
        ));
        assert!(find("\n", "a.test", "x").unwrap().is_none());
        assert!(
            find(r#"{"auths":null,"credHelpers":null,"credsStore":""}"#, "a.test", "x").unwrap().is_none()
        );
    }

    #[test]
    fn absent_helper_is_an_error() {
        let json = r#"{"credHelpers":{"a.test":"cais-no-such-helper"}}"#;
        assert!(find(json, "a.test", "x").unwrap_err().to_string().contains("not installed"));
        assert!(find(json, "b.test", "x").unwrap().is_none());
        assert!(matches!(
            find(r#"{"credsStore":"../x"}"#, "b.test", "x"),
            Err(CredentialError::Helper { .. })
        ));
    }

    #[test]
    fn helpers_are_asked_by_their_protocol() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("config.json");
        std::fs::write(
            &config,
            r#"{"credsStore":"all","credHelpers":{"a.test":"one"},"auths":{"c.test":{"auth":"dTpw"}}}"#,
        )
        .unwrap();
        let write = |name: &str, script: &str| {
            let path = directory.path().join(format!("docker-credential-{name}"));
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        write("one", r#"read -r s; echo "{\"Username\":\"$1\",\"Secret\":\"for $s\"}""#);
        write(
            "all",
            r#"read -r s
            case "$s" in
              https://index.docker.io/v1/) echo '{"Username":"<token>","Secret":"t"}';;
              c.test) echo 'credentials not found in native keychain'; exit 1;;
              *) echo 'the vault is locked'; exit 1;;
            esac"#,
        );
        let helper_dirs = vec![directory.path().to_owned()];
        let files = CredentialFiles { files: vec![config], helper_dirs, ..CredentialFiles::default() };
        let password = |user: &str, password: &str| Credential::Password {
            user: user.into(),
            password: password.into(),
        };
        assert_eq!(files.find("a.test", "x").unwrap(), Some(password("get", "for a.test")));
        assert_eq!(files.find("docker.io", "x").unwrap(), Some(Credential::IdentityToken("t".into())));
        assert_eq!(
            files.find("c.test", "x").unwrap(),
            Some(password("u", "p")),
            "not found falls back to auths"
        );
        assert!(files.find("d.test", "x").unwrap_err().to_string().contains("vault is locked"));
    }

    #[test]
    fn secrets_are_not_printed() {
        let credential = Credential::Password { user: "u".into(), password: "hunter2".into() };
        assert!(!format!("{credential:?}").contains("hunter2"));
    }
}
