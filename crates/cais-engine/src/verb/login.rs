//! `login` and `logout`: who one is towards registries.
//!
//! A login is tried before it is kept. It goes to the helper that a file names for the registry, else into a file:
//! the one that was asked for, docker's when its directory was given, podman's `auth.json` otherwise. Files are
//! replaced as a whole, mode 0600, under a lock of their directory that is not held while a helper or a registry is
//! waited for.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use cais_registry::{Client, Credential, Entry, Keeper, LoginFile, LoginKey, Settings, Spelling};
use cais_store::{Durability, write_atomic};

use crate::{Engine, Error, ErrorKind, Result};

/// How a registry is to be reached, when it is not as the machine's files say.
#[derive(Clone, Debug, Default)]
pub struct RegistryAccess {
    /// The only file of logins.
    pub auth_file: Option<PathBuf>,
    /// Whether certificates are verified and plain HTTP is refused.
    pub tls_verify: Option<bool>,
    /// A directory with certificates and keys, instead of `certs.d`.
    pub cert_dir: Option<PathBuf>,
}

/// What became of a login.
#[derive(Clone, Debug)]
pub struct LoggedIn {
    /// The file or the helper that keeps it.
    pub keeper: String,
    /// What keeps it from being used.
    pub warnings: Vec<String>,
}

/// What became of logins that were not wanted any more.
#[derive(Clone, Debug, Default)]
pub struct LoggedOut {
    /// The registries whose logins are gone.
    pub registries: Vec<String>,
    /// What still lets one in.
    pub warnings: Vec<String>,
}

impl Engine {
    /// The login that is used for a registry now.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for what is no registry; when a file or a helper fails.
    pub fn current_login(&self, registry: &str, access: &RegistryAccess) -> Result<Option<Credential>> {
        let key = login_key(registry)?;
        Ok(self.settings_for(key.registry(), access)?.credentials.find(key.registry(), key.path())?)
    }

    /// Asks a registry whether it accepts a login, and keeps it if it does.
    ///
    /// The registry may give an identity token in place of a password, which is kept then.
    ///
    /// # Errors
    /// [`ErrorKind::Remote`] when it does not accept it or does not answer; [`ErrorKind::Invalid`];
    /// [`ErrorKind::System`] when the login cannot be kept.
    pub fn login(&self, registry: &str, credential: Credential, access: &RegistryAccess) -> Result<LoggedIn> {
        let key = login_key(registry)?;
        let settings = self.settings_for(key.registry(), access)?;
        let files = settings.credentials.files.clone();
        let helper_dirs = settings.credentials.helper_dirs.clone();
        let credential = check(&key, settings, &credential)?.unwrap_or(credential);
        let (path, spelling) = self.login_file(&key, &files, access)?;
        let keeper = read(&path)?.give(&key, &credential, &helper_dirs)?;
        change(&path, |file| {
            file.enter(&key, spelling, &keeper, &credential)?;
            Ok(true)
        })?;
        // An older login in a file that comes first would win.
        for earlier in files.iter().take_while(|file| **file != path) {
            if read(earlier)?.has_entry(&key) {
                change(earlier, |file| Ok(file.forget(&key)))?;
            }
        }
        let keeper = match keeper {
            Keeper::File => path.display().to_string(),
            Keeper::Helper(name) => format!("docker-credential-{name}"),
        };
        Ok(LoggedIn { keeper, warnings: self.environment_warnings(&key)? })
    }

    /// Asks a registry whether it accepts a login; keeps nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Remote`] when it does not accept it or does not answer; [`ErrorKind::Invalid`].
    pub fn check_login(&self, registry: &str, credential: Credential, access: &RegistryAccess) -> Result<()> {
        let key = login_key(registry)?;
        check(&key, self.settings_for(key.registry(), access)?, &credential).map(drop)
    }

    /// Forgets the login for a registry, or for all of them (`None`), wherever it is kept.
    ///
    /// # Errors
    /// When a file or a helper fails; [`ErrorKind::Invalid`].
    pub fn logout(&self, registry: Option<&str>, access: &RegistryAccess) -> Result<LoggedOut> {
        let key = registry.map(login_key).transpose()?;
        let settings = self.settings_for(key.as_ref().map_or("", LoginKey::registry), access)?;
        let helper_dirs = &settings.credentials.helper_dirs;
        let mut out = LoggedOut::default();
        for path in &settings.credentials.files {
            let file = read(path)?;
            match &key {
                None => {
                    out.registries.extend(file.take_back_all(helper_dirs)?);
                    change(path, |file| {
                        let forgotten = file.forget_all();
                        let is_changed = !forgotten.is_empty();
                        out.registries.extend(forgotten);
                        Ok(is_changed)
                    })?;
                }
                Some(key) => {
                    let mut was_there = file.take_back(key, helper_dirs)?;
                    if file.has_entry(key) {
                        change(path, |file| {
                            was_there |= file.forget(key);
                            Ok(true)
                        })?;
                    }
                    out.registries.extend(was_there.then(|| key.as_str().to_owned()));
                }
            }
        }
        out.registries.sort();
        out.registries.dedup();
        if let Some(key) = &key {
            out.warnings = self.environment_warnings(key)?;
        }
        Ok(out)
    }

    /// Settings of the client for one registry, changed as asked for.
    pub(crate) fn settings_for(&self, registry: &str, access: &RegistryAccess) -> Result<Settings> {
        let mut settings = self.registry_settings()?;
        if let Some(file) = &access.auth_file {
            settings.credentials.files = vec![file.clone()];
            settings.credentials.inline = None;
        }
        settings.cert_dir.clone_from(&access.cert_dir);
        if let Some(verify) = access.tls_verify {
            let entries = &mut settings.registries.entries;
            match entries.iter_mut().find(|entry| entry.prefix == registry) {
                Some(entry) => entry.insecure = !verify,
                None => {
                    entries.push(Entry { prefix: registry.to_owned(), insecure: !verify, ..Entry::default() })
                }
            }
        }
        Ok(settings)
    }

    /// The file that a login is entered in, and how it spells registries.
    fn login_file(
        &self,
        key: &LoginKey,
        files: &[PathBuf],
        access: &RegistryAccess,
    ) -> Result<(PathBuf, Spelling)> {
        if let Some(file) = access.auth_file.as_ref().or(self.config.auth_file.as_ref()) {
            return Ok((file.clone(), Spelling::Containers));
        }
        let has_helper = |path: &Path| -> Result<bool> { Ok(read(path)?.keeper(key) != Keeper::File) };
        let containers = files.first().filter(|file| file.ends_with("auth.json"));
        // Docker's file is the last one.
        let docker = files.last().filter(|file| file.ends_with("config.json"));
        match (containers, docker) {
            (Some(file), _) if has_helper(file)? => Ok((file.clone(), Spelling::Containers)),
            (_, Some(file)) if self.config.docker_config.is_some() || has_helper(file)? => {
                Ok((file.clone(), Spelling::Docker))
            }
            (Some(file), _) => Ok((file.clone(), Spelling::Containers)),
            (None, Some(file)) => Ok((file.clone(), Spelling::Docker)),
            (None, None) => Err(Error::new(
                ErrorKind::Invalid,
                "there is no place to keep logins: this user has no home directory",
            )
            .hint("set HOME, XDG_RUNTIME_DIR or REGISTRY_AUTH_FILE, or give --authfile")),
        }
    }

    fn environment_warnings(&self, key: &LoginKey) -> Result<Vec<String>> {
        let name = "DOCKER_AUTH_CONFIG";
        let Some(text) = &self.config.docker_auth_config else { return Ok(Vec::new()) };
        let file = LoginFile::parse(Path::new(name), text.0.as_bytes())?;
        let warning = format!("the login for {} in {name} is used before any other", key.as_str());
        Ok(file.has_entry(key).then_some(warning).into_iter().collect())
    }
}

/// Tries a login; gives the identity token that the registry may give in its place.
fn check(key: &LoginKey, mut settings: Settings, credential: &Credential) -> Result<Option<Credential>> {
    settings.credentials.given = Some((key.registry().to_owned(), credential.clone()));
    Ok(Client::new(&settings)?.check_login(key)?)
}

fn login_key(text: &str) -> Result<LoginKey> {
    LoginKey::parse(text).map_err(|error| Error::new(ErrorKind::Invalid, error.to_string()).source(error))
}

/// What a file says; an absent one says nothing.
fn read(path: &Path) -> Result<LoginFile> {
    let bytes = match std::fs::read(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Vec::new()
        }
        other => other.map_err(failed("read", path))?,
    };
    Ok(LoginFile::parse(path, &bytes)?)
}

/// Changes a file, when `edit` says that something has changed.
fn change(path: &Path, edit: impl FnOnce(&mut LoginFile) -> Result<bool>) -> Result<()> {
    // A link is not replaced but what it leads to.
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let directory = target.parent().unwrap_or(Path::new("/"));
    if !directory.exists() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(failed("create", directory))?;
    }
    let lock = File::open(directory).map_err(failed("open", directory))?;
    lock.lock().map_err(failed("lock", directory))?;
    let mut file = read(&target)?;
    if edit(&mut file)? {
        write_atomic(&target, &file.to_bytes(), Durability::Durable)?;
    }
    Ok(())
}

fn failed<'a>(operation: &'a str, path: &'a Path) -> impl Fn(io::Error) -> Error + 'a {
    move |error| {
        let kind = match error.kind() {
            io::ErrorKind::PermissionDenied => ErrorKind::Denied,
            _ => ErrorKind::System,
        };
        Error::caused(kind, format!("cannot {operation} {}", path.display()), error)
    }
}
