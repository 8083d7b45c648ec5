//! Changing what a file of logins says: docker's `config.json` and containers-auth.json(5) have the same form.
//!
//! Pure but for the helpers that such a file names, which are told to keep or to forget. Where the file lies, and how
//! it is replaced, is the caller's affair. What else stands in the file stays there, in its order.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cais_oci::Reference;
use serde::Serialize as _;
use serde_json::{Map, Value, json};

use crate::credentials::{Credential, CredentialError, DOCKER_HUB, DOCKER_HUB_KEY, bare, server_key};
use crate::helper::Helper;

/// What one logs in to: a registry, or a path within it (`quay.io/team`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginKey(String);

/// Why a text is not what one can log in to.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is no registry: expected HOST[:PORT], with a dot or a port in it")]
pub struct LoginKeyError {
    /// What was typed.
    text: String,
}

impl LoginKey {
    /// Reads what was typed: a host with an optional port and path; `https://` before it and `/v1/` behind it are docker's
    /// old spelling. Nothing at all means docker.io.
    ///
    /// # Errors
    /// When names of images cannot begin like this.
    pub fn parse(text: &str) -> Result<LoginKey, LoginKeyError> {
        let key = if text.is_empty() { DOCKER_HUB } else { bare(text) };
        let fail = || LoginKeyError { text: text.to_owned() };
        let probe = Reference::parse(&format!("{key}/x")).map_err(|_| fail())?;
        let host = key.split('/').next().unwrap_or_default();
        if probe.registry != host || probe.tag.as_deref() != Some("latest") {
            return Err(fail());
        }
        Ok(LoginKey(key.to_owned()))
    }

    /// The registry alone.
    pub fn registry(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }

    /// Registry and path, as files have it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path within the registry, empty for the whole of it.
    pub fn path(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, path)| path)
    }
}

/// Who keeps a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keeper {
    /// The file.
    File,
    /// This helper.
    Helper(String),
}

/// The content of a file of logins.
#[derive(Debug)]
pub struct LoginFile {
    path: PathBuf,
    content: Map<String, Value>,
}

impl LoginFile {
    /// Reads the content of the file at `path`, which is for messages only; nothing at all is an empty file.
    ///
    /// # Errors
    /// [`CredentialError::Parse`].
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<LoginFile, CredentialError> {
        let content = if bytes.iter().all(u8::is_ascii_whitespace) {
            Map::new()
        } else {
            serde_json::from_slice(bytes)
                .map_err(|source| CredentialError::Parse { path: path.to_owned(), source })?
        };
        Ok(LoginFile { path: path.to_owned(), content })
    }

    /// The content as docker and podman write it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let form = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, form);
        // Writing to memory cannot fail, and the keys of a map are texts.
        let _ = Value::Object(self.content.clone()).serialize(&mut serializer);
        bytes
    }

    /// Who keeps the login by what the file says.
    pub fn keeper(&self, key: &LoginKey) -> Keeper {
        let own = self.object("credHelpers").and_then(|helpers| {
            helpers
                .iter()
                .find(|(server, _)| bare(server) == key.registry())
                .and_then(|(_, name)| name.as_str())
        });
        let name = own.or_else(|| self.content.get("credsStore")?.as_str()).unwrap_or_default();
        if name.is_empty() { Keeper::File } else { Keeper::Helper(name.to_owned()) }
    }

    /// Hands a login to the helper that the file names for it, if it names one; tells who is to keep it.
    ///
    /// # Errors
    /// When the helper fails, or cannot keep such a login.
    pub fn give(
        &self,
        key: &LoginKey,
        credential: &Credential,
        helper_dirs: &[PathBuf],
    ) -> Result<Keeper, CredentialError> {
        let keeper = self.keeper(key);
        if let Keeper::Helper(name) = &keeper {
            if !key.path().is_empty() {
                return Err(self.refuse("a credential helper cannot keep a login for a part of a registry"));
            }
            Helper::find(helper_dirs, name)?.store(server_key(key.registry()), credential)?;
        }
        Ok(keeper)
    }

    /// Enters a login in place of the one of the same key; of one that a helper keeps only that there is one.
    ///
    /// # Errors
    /// When the form of the file cannot hold such a login.
    pub fn enter(
        &mut self,
        key: &LoginKey,
        spelling: Spelling,
        keeper: &Keeper,
        credential: &Credential,
    ) -> Result<(), CredentialError> {
        let entry = match (keeper, credential) {
            (Keeper::Helper(_), _) => json!({}),
            (Keeper::File, Credential::Password { user, .. }) if user.contains(':') => {
                return Err(self.refuse("a user name with a colon cannot be kept"));
            }
            (Keeper::File, Credential::Password { user, password }) => {
                json!({ "auth": STANDARD.encode(format!("{user}:{password}")) })
            }
            (Keeper::File, Credential::IdentityToken(token)) => {
                json!({ "auth": STANDARD.encode("<token>:"), "identitytoken": token })
            }
            (Keeper::File, Credential::RegistryToken(token)) => json!({ "registrytoken": token }),
        };
        self.forget(key);
        let name = match spelling {
            Spelling::Docker if key.as_str() == DOCKER_HUB => DOCKER_HUB_KEY,
            _ => key.as_str(),
        };
        let auths = self.content.entry("auths").or_insert(Value::Null);
        if !auths.is_object() {
            *auths = json!({});
        }
        if let Some(auths) = auths.as_object_mut() {
            auths.insert(name.to_owned(), entry);
        }
        Ok(())
    }

    /// Lets the helper that the file names for a key forget its login; `false` when there is none.
    ///
    /// # Errors
    /// When the helper fails.
    pub fn take_back(&self, key: &LoginKey, helper_dirs: &[PathBuf]) -> Result<bool, CredentialError> {
        match self.keeper(key) {
            Keeper::Helper(name) if key.path().is_empty() => {
                Helper::find(helper_dirs, &name)?.erase(server_key(key.registry()))
            }
            _ => Ok(false),
        }
    }

    /// Lets all helpers that the file names forget their logins; gives for whom they were.
    ///
    /// # Errors
    /// When a helper fails.
    pub fn take_back_all(&self, helper_dirs: &[PathBuf]) -> Result<Vec<String>, CredentialError> {
        let mut forgotten = Vec::new();
        for (server, name) in self.object("credHelpers").into_iter().flatten() {
            let Some(name) = name.as_str().filter(|name| !name.is_empty()) else { continue };
            if Helper::find(helper_dirs, name)?.erase(server_key(bare(server)))? {
                forgotten.push(bare(server).to_owned());
            }
        }
        if let Some(name) =
            self.content.get("credsStore").and_then(Value::as_str).filter(|name| !name.is_empty())
        {
            let helper = Helper::find(helper_dirs, name)?;
            for server in helper.list()? {
                if helper.erase(&server)? {
                    forgotten.push(bare(&server).to_owned());
                }
            }
        }
        Ok(forgotten)
    }

    /// Removes all entries; gives for whom the logins among them were.
    pub fn forget_all(&mut self) -> Vec<String> {
        let Some(auths) = self.content.get_mut("auths").and_then(Value::as_object_mut) else {
            return Vec::new();
        };
        let held = auths.iter().filter(|(_, entry)| is_login(entry)).map(|(key, _)| bare(key).to_owned());
        let forgotten = held.collect();
        auths.clear();
        forgotten
    }

    fn refuse(&self, reason: &'static str) -> CredentialError {
        CredentialError::Keep { path: self.path.clone(), reason }
    }

    /// Whether the file itself has an entry for the key, in whatever spelling.
    pub fn has_entry(&self, key: &LoginKey) -> bool {
        let auths = self.object("auths").into_iter().flatten();
        auths.into_iter().any(|(name, _)| bare(name) == key.as_str())
    }

    /// Removes the entries of a key, in whatever spelling; `false` when none of them was a login.
    pub fn forget(&mut self, key: &LoginKey) -> bool {
        let Some(auths) = self.content.get_mut("auths").and_then(Value::as_object_mut) else { return false };
        let mut was_login = false;
        auths.retain(|name, entry| {
            let is_it = bare(name) == key.as_str();
            was_login |= is_it && is_login(entry);
            !is_it
        });
        was_login
    }

    fn object(&self, key: &str) -> Option<&Map<String, Value>> {
        self.content.get(key)?.as_object()
    }
}

/// Whose spelling of keys a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// Docker's: Docker Hub is `https://index.docker.io/v1/`.
    Docker,
    /// That of containers-auth.json(5): Docker Hub is `docker.io`.
    Containers,
}

/// Docker leaves `{}` behind when a helper keeps the login.
fn is_login(entry: &Value) -> bool {
    entry.as_object().is_some_and(|fields| !fields.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> LoginKey {
        LoginKey::parse(text).unwrap()
    }

    fn file(text: &str) -> LoginFile {
        LoginFile::parse(Path::new("/auth.json"), text.as_bytes()).unwrap()
    }

    fn text(file: &LoginFile) -> String {
        String::from_utf8(file.to_bytes()).unwrap()
    }

    fn password(user: &str, password: &str) -> Credential {
        Credential::Password { user: user.into(), password: password.into() }
    }

    #[test]
    fn keys() {
        for (typed, expected) in [
            ("", "docker.io"),
            ("docker.io", "docker.io"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("registry-1.docker.io", "docker.io"),
            ("quay.io", "quay.io"),
            ("https://quay.io/", "quay.io"),
            ("quay.io/team", "quay.io/team"),
            ("localhost:5000", "localhost:5000"),
            ("[::1]:5000", "[::1]:5000"),
        ] {
            assert_eq!(key(typed).as_str(), expected, "{typed}");
        }
        assert_eq!((key("quay.io/team").registry(), key("quay.io/team").path()), ("quay.io", "team"));
        for typed in ["team", "team/app", "a b.test", "quay.io/a:b", "-x.test/..", "quay.io/A"] {
            assert!(LoginKey::parse(typed).is_err(), "{typed}");
        }
    }

    /// What the engine does with one file.
    fn keep(
        file: &mut LoginFile,
        typed: &str,
        spelling: Spelling,
        credential: &Credential,
        directories: &[PathBuf],
    ) -> Result<Keeper, CredentialError> {
        let keeper = file.give(&key(typed), credential, directories)?;
        file.enter(&key(typed), spelling, &keeper, credential)?;
        Ok(keeper)
    }

    #[test]
    fn the_rest_of_the_file_stays() {
        let mut file = file(
            r#"{"psFormat":"{{.ID}}","auths":{"b.test":{"auth":"eDp5","more":1},"https://index.docker.io/v1/":{"auth":"b2xk"}},"zz":[1.5,null]}"#,
        );
        let kept = keep(&mut file, "docker.io", Spelling::Containers, &password("u", "p:q"), &[]);
        assert_eq!(kept.unwrap(), Keeper::File);
        assert_eq!(
            text(&file),
            "{\n\t\"psFormat\": \"{{.ID}}\",\n\t\"auths\": {\n\t\t\"b.test\": {\n\t\t\t\"auth\": \"eDp5\",\n\t\t\t\"more\": 1\n\t\t},\n\t\t\"docker.io\": {\n\t\t\t\"auth\": \"dTpwOnE=\"\n\t\t}\n\t},\n\t\"zz\": [\n\t\t1.5,\n\t\tnull\n\t]\n}"
        );
        keep(&mut file, "", Spelling::Docker, &password("u", "p"), &[]).unwrap();
        assert!(
            text(&file).contains("https://index.docker.io/v1/") && !text(&file).contains("\"docker.io\"")
        );
    }

    #[test]
    fn entries_come_and_go() {
        let mut empty = file("");
        assert!(!empty.forget(&key("a.test")));
        keep(&mut empty, "a.test", Spelling::Containers, &password("u", "p"), &[]).unwrap();
        keep(&mut empty, "a.test/x", Spelling::Containers, &Credential::IdentityToken("t".into()), &[])
            .unwrap();
        assert!(empty.has_entry(&key("a.test")) && !empty.has_entry(&key("b.test")));
        assert!(empty.forget(&key("a.test")));
        assert!(!empty.has_entry(&key("a.test")) && empty.has_entry(&key("a.test/x")));
        assert_eq!(empty.forget_all(), ["a.test/x"]);
        assert_eq!(text(&empty), "{\n\t\"auths\": {}\n}");
        let mut null = file(r#"{"auths":null}"#);
        assert!(keep(&mut null, "a.test", Spelling::Docker, &password("u:v", "p"), &[]).is_err());
        keep(&mut null, "a.test", Spelling::Docker, &password("u", "p"), &[]).unwrap();
        assert!(LoginFile::parse(Path::new("/x"), b"[]").is_err());
    }

    #[test]
    fn helpers_keep_and_forget() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let vault = directory.path().join("vault");
        let program = directory.path().join("docker-credential-box");
        let script = format!(
            "#!/bin/sh\ncase $1 in\nstore) cat > {0};;\nget) cat {0} 2>/dev/null || {{ echo 'credentials not found in native keychain'; exit 1; }};;\n\
             erase) rm {0};;\nlist) echo '{{\"a.test\":\"u\"}}';;\nesac\n",
            vault.display()
        );
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let directories = [directory.path().to_owned()];
        let mut file = file(r#"{"credHelpers":{"a.test":"box","c.test":"none"}}"#);
        let kept = keep(&mut file, "a.test", Spelling::Docker, &password("u", "p\"q"), &directories).unwrap();
        assert_eq!(kept, Keeper::Helper("box".into()));
        assert_eq!(
            std::fs::read_to_string(&vault).unwrap(),
            r#"{"ServerURL":"a.test","Username":"u","Secret":"p\"q"}"#
        );
        assert!(text(&file).contains("\"a.test\": {}"), "{}", text(&file));
        assert!(keep(&mut file, "a.test/x", Spelling::Docker, &password("u", "p"), &directories).is_err());
        assert!(keep(&mut file, "c.test", Spelling::Docker, &password("u", "p"), &directories).is_err());
        assert!(file.take_back(&key("a.test"), &directories).unwrap());
        assert!(!vault.exists() && !file.forget(&key("a.test")) && !file.has_entry(&key("a.test")));
        assert!(!file.take_back(&key("a.test"), &directories).unwrap());

        let mut all = super::tests::file(r#"{"credsStore":"box","auths":{"b.test":{"auth":"eDp5"}}}"#);
        keep(&mut all, "a.test", Spelling::Docker, &Credential::IdentityToken("t".into()), &directories)
            .unwrap();
        assert!(std::fs::read_to_string(&vault).unwrap().contains("<token>"));
        assert_eq!(all.take_back_all(&directories).unwrap(), ["a.test"]);
        assert_eq!(all.forget_all(), ["b.test"]);
        assert!(!vault.exists());
    }

    #[test]
    fn a_failing_helper_does_not_tell_the_secret() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("docker-credential-loud");
        std::fs::write(&program, "#!/bin/sh\ncat\nexit 1\n").unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut file = file(r#"{"credsStore":"loud"}"#);
        let directories = [directory.path().to_owned()];
        let error =
            keep(&mut file, "a.test", Spelling::Docker, &password("u", "hunter2"), &directories).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        assert!(error.to_string().contains("did not keep"), "{error}");
    }
}
