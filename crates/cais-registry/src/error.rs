//! What can go wrong with a registry, in words for the person in front of the terminal.
//!
//! Two levels: an [`Error`] names what was wanted (an image, a file of settings), a [`Failure`] what one host
//! did. Text that came from a server is stripped of control characters and cut short before it is kept.

use std::fmt;
use std::io;
use std::path::PathBuf;

use cais_oci::{Digest, ManifestError, ReferenceError};

use crate::credentials::CredentialError;
use crate::names::NameError;

/// Why an operation of this crate failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of settings cannot be read.
    #[error("cannot read {}", path.display())]
    ReadSettings {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// A `registries.conf` is malformed.
    #[error("cannot parse {}", path.display())]
    ParseRegistries {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A `registries.conf` has a value that makes no sense.
    #[error("{}: {reason}: {value:?}", path.display())]
    RegistriesValue {
        /// The file.
        path: PathBuf,
        /// The value.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A proxy variable holds something that is no proxy that we can use.
    #[error("proxy {value:?} is not usable: expected http://host:port or https://host:port")]
    Proxy {
        /// The value, without user and password.
        value: String,
    },
    /// What the user typed is no image reference.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// `registries.conf` blocks the registry.
    #[error("{reference} is blocked by registries.conf (prefix {prefix:?})")]
    Blocked {
        /// The image.
        reference: String,
        /// The prefix of the blocking entry.
        prefix: String,
    },
    /// The only source of the image failed.
    #[error("cannot fetch {object}")]
    Fetch {
        /// What was wanted: `manifest of …`, `blob … of …`.
        object: String,
        /// What the registry did.
        source: Box<Failure>,
    },
    /// The registry does not take it.
    #[error("cannot push {object}")]
    Push {
        /// What was to go there.
        object: String,
        /// What the registry did.
        source: Box<Failure>,
    },
    /// A registry does not answer a question about itself.
    #[error("cannot {task}")]
    Ask {
        /// What was wanted: `log in to …`, `search …`, `list the tags of …`.
        task: String,
        /// What the registry did.
        source: Box<Failure>,
    },
    /// All mirrors and the registry itself failed; the registry's own failure comes last.
    #[error("cannot fetch {object} from any of {} sources: {}", failures.len(), joined(failures))]
    Sources {
        /// What was wanted.
        object: String,
        /// Every source with its failure, in the order of the attempts.
        failures: Vec<(String, Failure)>,
    },
}

impl Error {
    /// What the registry itself (not a mirror) did, if this is about a registry at all.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Error::Fetch { source, .. } | Error::Push { source, .. } | Error::Ask { source, .. } => {
                Some(source)
            }
            Error::Sources { failures, .. } => failures.last().map(|(_, failure)| failure),
            _ => None,
        }
    }

    /// Whether the registry answered that it does not have the image.
    pub fn is_not_found(&self) -> bool {
        matches!(self.failure(), Some(Failure::NotFound { .. }))
    }
}

fn joined(failures: &[(String, Failure)]) -> String {
    let texts: Vec<String> =
        failures.iter().map(|(source, failure)| format!("{source}: {}", Chain(failure))).collect();
    texts.join("; ")
}

/// Shows an error with all its sources, as `outer: inner: innermost`.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn std::error::Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(error) = next {
            write!(f, ": {error}")?;
            next = error.source();
        }
        Ok(())
    }
}

/// What one host did instead of answering.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// 401: the registry wants other credentials, or any.
    #[error("{registry} denies access{}: {}{}", to(repository), unauthorized(*logged_in, *pushing), said(message))]
    Unauthorized {
        /// The registry.
        registry: String,
        /// The repository; empty when the registry as a whole was asked.
        repository: String,
        /// Whether credentials were sent.
        logged_in: bool,
        /// Whether something was to be written there.
        pushing: bool,
        /// What the server said.
        message: Option<String>,
    },
    /// 403.
    #[error("{registry} forbids access{}{}", to(repository), said(message))]
    Forbidden {
        /// The registry.
        registry: String,
        /// The repository.
        repository: String,
        /// What the server said.
        message: Option<String>,
    },
    /// 401 or 403 to a login that is being tried.
    #[error("{registry} does not accept this user name and password{}", said(message))]
    LoginRefused {
        /// The registry.
        registry: String,
        /// What the server said.
        message: Option<String>,
    },
    /// 404.
    #[error("{registry} does not have it{}", said(message))]
    NotFound {
        /// The registry.
        registry: String,
        /// What the server said.
        message: Option<String>,
    },
    /// 429.
    #[error("{registry} refuses more requests for now{}{}: {}", limited(limit), said(message), later(*retry_after_s))]
    RateLimited {
        /// The registry.
        registry: String,
        /// Seconds until the registry would answer again, if it says so.
        retry_after_s: Option<u64>,
        /// The limit as the registry states it.
        limit: Option<String>,
        /// What the server said.
        message: Option<String>,
    },
    /// Any other status that is no success.
    #[error("{host} answered with status {status}{}", said(message))]
    Status {
        /// The host.
        host: String,
        /// The HTTP status.
        status: u16,
        /// What the server said.
        message: Option<String>,
    },
    /// The name has no address.
    #[error("cannot find the address of {host}")]
    Name {
        /// The host.
        host: String,
        /// What the resolver found out.
        source: NameError,
    },
    /// The connection was refused, or there is no route.
    #[error("cannot connect to {host}")]
    Connect {
        /// Host and port.
        host: String,
        /// What the kernel says.
        source: io::Error,
    },
    /// Nothing answered the connection.
    #[error("{host} did not answer within {timeout_ms} ms")]
    ConnectTimeout {
        /// Host and port.
        host: String,
        /// How long we waited.
        timeout_ms: u64,
    },
    /// The TLS handshake failed.
    #[error("cannot talk TLS with {host}: {}", crate::tls::problem(source))]
    Tls {
        /// Host and port.
        host: String,
        /// What rustls found.
        source: Box<rustls::Error>,
    },
    /// There are no root certificates at all, so nothing can be verified.
    #[error(
        "cannot verify the certificate of {host}: this machine has no bundle of CA certificates (install ca-certificates)"
    )]
    NoRoots {
        /// Host and port.
        host: String,
    },
    /// A certificate or key file of this machine is unusable.
    #[error("cannot use {}: {reason}", path.display())]
    CertificateFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The server answered HTTP to our HTTPS.
    #[error(
        "{host} speaks plain HTTP, not HTTPS (if that is meant, set insecure = true for it in registries.conf)"
    )]
    PlainHttp {
        /// Host and port.
        host: String,
    },
    /// The server went silent.
    #[error("{host} stalled: no data for {idle_ms} ms")]
    Stalled {
        /// Host and port.
        host: String,
        /// How long nothing came.
        idle_ms: u64,
    },
    /// The connection broke.
    #[error("the connection to {host} broke")]
    Cut {
        /// Host and port.
        host: String,
        /// What the kernel says.
        source: io::Error,
    },
    /// The proxy refused.
    #[error("the proxy refuses to connect to {host}: {reason}")]
    ProxyRefused {
        /// Host and port.
        host: String,
        /// What it said.
        reason: String,
    },
    /// The answer is no HTTP.
    #[error("{host} does not answer in proper HTTP: {reason}")]
    Protocol {
        /// Host and port.
        host: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Too many redirects.
    #[error("{host} redirects more than {limit} times")]
    TooManyRedirects {
        /// The first host.
        host: String,
        /// How many are followed.
        limit: u32,
    },
    /// A redirect that leads nowhere.
    #[error("{host} redirects to {location:?}, which is no HTTP address")]
    BadRedirect {
        /// The host.
        host: String,
        /// Its `Location`.
        location: String,
    },
    /// A redirect or a token service that would leave TLS.
    #[error("{host} leads from HTTPS to plain HTTP at {target}, which is not followed")]
    LeavesTls {
        /// The host.
        host: String,
        /// The host of the plain HTTP address.
        target: String,
    },
    /// An answer that is larger than anything sensible.
    #[error("{host} sent more than {limit_bytes} bytes where a small document was expected")]
    TooLarge {
        /// The host.
        host: String,
        /// The limit.
        limit_bytes: u64,
    },
    /// Some page instead of the registry's document.
    #[error(
        "{host} answered with {content_type} instead of a manifest: is this a registry, or is a login page in between?"
    )]
    NotManifest {
        /// The host.
        host: String,
        /// The type of the answer.
        content_type: String,
    },
    /// The manifest is not usable.
    #[error("{host} sent an unusable manifest")]
    Manifest {
        /// The host.
        host: String,
        /// What is wrong with it.
        source: ManifestError,
    },
    /// The content does not have the digest that was asked for.
    #[error("{host} sent other content than asked for: expected {expected}, found {found}")]
    Digest {
        /// The host.
        host: String,
        /// The digest that was asked for.
        expected: Digest,
        /// The digest of what came.
        found: Digest,
    },
    /// The content does not have the size that the manifest states.
    #[error(
        "{host} sent content of another size than the manifest states: expected {expected} bytes, found {found}"
    )]
    Size {
        /// The host.
        host: String,
        /// The size in the manifest.
        expected: u64,
        /// The size of what came, or `more`.
        found: String,
    },
    /// The answer to a ranged request is not the range that was asked for.
    #[error("{host} cannot continue the download at byte {offset}: {reason}")]
    Range {
        /// The host.
        host: String,
        /// Where the download stands.
        offset: u64,
        /// What came instead.
        reason: String,
    },
    /// The token service's answer is unusable.
    #[error("the token service {realm} gave no usable token: {reason}")]
    Token {
        /// The address of the service.
        realm: String,
        /// What is wrong.
        reason: String,
    },
    /// What is to be sent cannot be read on this machine.
    #[error("cannot read what is to be sent")]
    Content {
        /// What the kernel says.
        source: io::Error,
    },
    /// An upload was answered in a way that leaves it nowhere.
    #[error("{host} answered the upload in a way that cannot be: {reason}")]
    Upload {
        /// Host and port.
        host: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Looking up the credentials failed, and without them the registry denies access.
    #[error("{registry} wants a login, and looking up the credentials for it failed")]
    Credentials {
        /// The registry.
        registry: String,
        /// What failed.
        source: CredentialError,
    },
}

impl Failure {
    /// Whether the same request may work a moment later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Failure::Cut { .. } | Failure::RateLimited { .. } => true,
            Failure::Status { status, .. } => matches!(status, 408 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }

    /// Whether the network failed, which is worth waiting for once it has worked.
    pub(crate) fn is_network(&self) -> bool {
        match self {
            Failure::Connect { .. } | Failure::ConnectTimeout { .. } | Failure::Stalled { .. } => true,
            Failure::Name { source, .. } => source.is_transient(),
            _ => false,
        }
    }

    /// Whether no HTTP was spoken at all, so that an insecure registry may be asked without TLS.
    pub(crate) fn is_before_http(&self) -> bool {
        matches!(
            self,
            Failure::Connect { .. }
                | Failure::ConnectTimeout { .. }
                | Failure::Tls { .. }
                | Failure::PlainHttp { .. }
                | Failure::NoRoots { .. }
                | Failure::Cut { .. }
                // Proxies that allow tunnels to some ports only still pass plain HTTP on.
                | Failure::ProxyRefused { .. }
        )
    }

    /// Whether the host is out of reach, so that other sources are better asked first from now on.
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Failure::Connect { .. }
                | Failure::ConnectTimeout { .. }
                | Failure::Name { .. }
                | Failure::Stalled { .. }
                | Failure::Tls { .. }
                | Failure::PlainHttp { .. }
        )
    }
}

fn unauthorized(logged_in: bool, pushing: bool) -> &'static str {
    match (logged_in, pushing) {
        (true, false) => "the stored login is not accepted, or has no right to it",
        (true, true) => "the stored login is not accepted, or has no right to write there",
        (false, false) => "it does not exist, or needs a login",
        (false, true) => "writing there needs a login",
    }
}

fn to(repository: &str) -> String {
    if repository.is_empty() { String::new() } else { format!(" to {repository}") }
}

fn said(message: &Option<String>) -> String {
    message.as_ref().map(|text| format!(" ({text})")).unwrap_or_default()
}

fn limited(limit: &Option<String>) -> String {
    limit.as_ref().map(|text| format!(", its limit is {text}")).unwrap_or_default()
}

fn later(retry_after_s: Option<u64>) -> String {
    match retry_after_s {
        Some(seconds) => format!("try again in {seconds} s"),
        None => "try again later, or log in for a higher limit".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_all_named() {
        let failure = || Failure::NotFound { registry: "r".into(), message: None };
        let error = Error::Sources {
            object: "manifest of x".into(),
            failures: vec![("mirror m".into(), failure()), ("r".into(), failure())],
        };
        assert!(error.is_not_found());
        let text = error.to_string();
        assert_eq!(
            text,
            "cannot fetch manifest of x from any of 2 sources: mirror m: r does not have it; r: r does not have it"
        );
    }
}
