//! Credential helpers: programs `docker-credential-NAME` that keep logins (the docker-credential-helpers protocol).
//!
//! Implements `get`, `store`, `erase` and `list`. Secrets go through standard input and output only, never through
//! arguments, and no error quotes what a helper wrote where that may hold one.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use serde::{Deserialize, Serialize};

use crate::credentials::{Credential, CredentialError};
use crate::words::clean;

/// User name that marks a secret as an identity token.
const TOKEN_USER: &str = "<token>";
const OUTPUT_MAX_BYTES: u64 = 1 << 20;
/// How all helpers begin to say that they have no such login.
const NOT_FOUND: &str = "credentials not found";

/// One installed helper.
#[derive(Debug)]
pub(crate) struct Helper {
    name: String,
    program: PathBuf,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

#[derive(Serialize)]
struct Kept<'a> {
    #[serde(rename = "ServerURL")]
    server: &'a str,
    #[serde(rename = "Username")]
    user: &'a str,
    #[serde(rename = "Secret")]
    secret: &'a str,
}

impl Helper {
    /// Looks for `docker-credential-NAME` in the directories.
    pub(crate) fn find(directories: &[PathBuf], name: &str) -> Result<Helper, CredentialError> {
        let helper = format!("docker-credential-{name}");
        let failed =
            |reason: &str| CredentialError::Helper { helper: helper.clone(), reason: reason.to_owned() };
        if name.contains('/') {
            return Err(failed("its name must not contain a slash"));
        }
        let found = directories.iter().map(|directory| directory.join(&helper)).find(|file| file.is_file());
        let program = found.ok_or_else(|| failed("it is not installed in any directory of PATH"))?;
        Ok(Helper { name: helper, program })
    }

    /// The login for a server; `None` when the helper knows none.
    pub(crate) fn get(&self, server: &str) -> Result<Option<Credential>, CredentialError> {
        let Some(output) = self.ask("get", server.as_bytes())? else { return Ok(None) };
        // The parser's message would quote the secret.
        let answer: Answer = serde_json::from_str(&output).map_err(|_| self.malformed())?;
        if answer.secret.is_empty() {
            return Ok(None);
        }
        Ok(Some(if answer.username == TOKEN_USER {
            Credential::IdentityToken(answer.secret)
        } else {
            Credential::Password { user: answer.username, password: answer.secret }
        }))
    }

    /// Gives the helper a login to keep, in place of the one that it may have.
    pub(crate) fn store(&self, server: &str, credential: &Credential) -> Result<(), CredentialError> {
        let (user, secret) = match credential {
            Credential::Password { user, password } => (user.as_str(), password.as_str()),
            Credential::IdentityToken(token) => (TOKEN_USER, token.as_str()),
            Credential::RegistryToken(_) => {
                return Err(self.failed("it cannot keep tokens of registries".into()));
            }
        };
        let kept = serde_json::to_vec(&Kept { server, user, secret }).map_err(|_| self.malformed())?;
        let (status, _) = self.run("store", &kept)?;
        // What it says may quote what it was given.
        if status.success() {
            Ok(())
        } else {
            Err(self.failed(format!("it did not keep the login ({status})")))
        }
    }

    /// Lets the helper forget a login; `false` when it had none.
    pub(crate) fn erase(&self, server: &str) -> Result<bool, CredentialError> {
        if self.get(server)?.is_none() {
            return Ok(false);
        }
        Ok(self.ask("erase", server.as_bytes())?.is_some())
    }

    /// The servers that it has logins for.
    pub(crate) fn list(&self) -> Result<Vec<String>, CredentialError> {
        let Some(output) = self.ask("list", b"")? else { return Ok(Vec::new()) };
        let servers: BTreeMap<String, String> =
            serde_json::from_str(&output).map_err(|_| self.malformed())?;
        Ok(servers.into_keys().collect())
    }

    fn ask(&self, verb: &str, input: &[u8]) -> Result<Option<String>, CredentialError> {
        let (status, output) = self.run(verb, input)?;
        if status.success() {
            return Ok(Some(output));
        }
        let text = output.trim();
        if text.starts_with(NOT_FOUND) {
            return Ok(None);
        }
        Err(self.failed(if text.is_empty() { status.to_string() } else { clean(text) }))
    }

    fn run(&self, verb: &str, input: &[u8]) -> Result<(ExitStatus, String), CredentialError> {
        run(&self.program, verb, input)
            .map_err(|source| CredentialError::RunHelper { helper: self.name.clone(), source })
    }

    fn failed(&self, reason: String) -> CredentialError {
        CredentialError::Helper { helper: self.name.clone(), reason }
    }

    fn malformed(&self) -> CredentialError {
        self.failed("its answer is malformed".to_owned())
    }
}

/// Starts the program with this input; gives how it ended and what it wrote.
fn run(program: &Path, verb: &str, input: &[u8]) -> io::Result<(ExitStatus, String)> {
    let mut child = Command::new(program)
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read its input closes the pipe; its answer tells what it thinks.
        let _ = stdin.write_all(input);
    }
    let mut output = Vec::new();
    let read = match child.stdout.take() {
        Some(stdout) => stdout.take(OUTPUT_MAX_BYTES).read_to_end(&mut output),
        None => Ok(0),
    };
    let status = child.wait()?;
    read?;
    Ok((status, String::from_utf8_lossy(&output).into_owned()))
}
