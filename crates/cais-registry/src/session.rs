//! Talking with one registry: its endpoint, its scheme, its token, its refusals, and when to try again.
//!
//! Implements the distribution specification's error answers and the token authentication specification. Tokens
//! are kept per registry and repository for the life of the session. No lock is held while the network works.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use ureq::http::{Method, Uri};

use crate::challenge::{self, Challenge};
use crate::credentials::{Credential, CredentialError, CredentialFiles};
use crate::error::{Error, Failure};
use crate::http::{Content, FORM, Http, Request, Response, absolute, host_of, query, same_origin};
use crate::refusal::refusal;
use crate::registries::Source;
use crate::settings::Settings;
use crate::words::clean;

const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_ENDPOINT: &str = "registry-1.docker.io";
const TOKEN_ANSWER_MAX: u64 = 1 << 20;
/// The specification's default life of a token that does not state its own.
const TOKEN_LIFE_S: u64 = 60;
/// A token is renewed this long before its end, so that it does not expire on the way.
const TOKEN_MARGIN_S: u64 = 10;

#[derive(Debug)]
pub(crate) struct Session {
    http: Http,
    credentials: CredentialFiles,
    pub(crate) attempts: u32,
    pub(crate) idle_timeout_ms: u64,
    backoff_ms: u64,
    backoff_max_ms: u64,
    /// Insecure registries that were found to speak plain HTTP only.
    plain: Mutex<Vec<String>>,
    /// The last good `Authorization` per registry, repository and purpose.
    grants: Mutex<HashMap<(String, String, String), Grant>>,
}

#[derive(Clone)]
struct Grant {
    authorization: String,
    /// `None` for what does not expire by itself.
    until: Option<Instant>,
    logged_in: bool,
    /// What the token service gives in place of a password, when it was asked for that.
    identity: Option<String>,
}

impl std::fmt::Debug for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grant").field("logged_in", &self.logged_in).finish_non_exhaustive()
    }
}

/// What for a registry is asked; its tokens are for one purpose.
#[derive(Clone, Copy)]
pub(crate) enum Purpose<'a> {
    /// To read the repository.
    Pull,
    /// To write it, and to read other repositories of the registry.
    Push { also_read: &'a [String] },
    /// To find out whether a login is good, and to have an identity token for it.
    Login,
}

impl Purpose<'_> {
    /// The scopes to ask for (distribution's token specification), when they are not the registry's to say.
    fn scopes(self, repository: &str) -> Option<String> {
        let Purpose::Push { also_read } = self else { return None };
        let mut scopes = format!("repository:{repository}:pull,push");
        for other in also_read.iter().filter(|other| *other != repository) {
            scopes.push_str(&format!(" repository:{other}:pull"));
        }
        Some(scopes)
    }
}

/// Where a request goes.
#[derive(Clone, Copy)]
pub(crate) enum Target<'a> {
    /// Below `/v2/REPOSITORY/`.
    Path(&'a str),
    /// Below `/`: what belongs to the registry as a whole.
    Root(&'a str),
    /// An address that the registry gave.
    Address(&'a Uri),
}

/// A request to a registry.
#[derive(Clone)]
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    pub(crate) target: Target<'a>,
    pub(crate) accept: &'a [&'a str],
    pub(crate) range_from: u64,
    pub(crate) content: Content<'a>,
    /// Whether a small document is expected.
    pub(crate) small: bool,
    pub(crate) purpose: Purpose<'a>,
    /// The statuses that are no refusal.
    pub(crate) success: &'a [u16],
}

impl<'a> Ask<'a> {
    /// Gets what is below `/v2/REPOSITORY/`.
    pub(crate) fn get(path: &'a str) -> Ask<'a> {
        Ask {
            method: Method::GET,
            target: Target::Path(path),
            accept: &[],
            range_from: 0,
            content: Content::Nothing,
            small: false,
            purpose: Purpose::Pull,
            success: &[200, 206],
        }
    }
}

impl Session {
    pub(crate) fn new(settings: &Settings) -> Result<Session, Error> {
        Ok(Session {
            http: Http::new(settings)?,
            credentials: settings.credentials.clone(),
            attempts: settings.attempts.max(1),
            idle_timeout_ms: settings.idle_timeout_ms,
            backoff_ms: settings.backoff_ms,
            backoff_max_ms: settings.backoff_max_ms,
            plain: Mutex::new(Vec::new()),
            grants: Mutex::new(HashMap::new()),
        })
    }

    /// Runs `operation` until it succeeds, fails for good, or the attempts are used up.
    pub(crate) fn with_retries<T>(
        &self,
        mut operation: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut attempt = 1;
        loop {
            let failure = match operation() {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            };
            match self.pause(&failure, attempt, false) {
                Some(pause) => std::thread::sleep(pause),
                None => return Err(failure),
            }
            attempt += 1;
        }
    }

    /// How long to wait before another try after the given number of tries; `None` means to give up.
    ///
    /// `has_worked` tells that the source gave something before, so that a dead network may come back. Without
    /// it, waits that were long already are not repeated.
    pub(crate) fn pause(&self, failure: &Failure, attempts_made: u32, has_worked: bool) -> Option<Duration> {
        let is_worth_it = failure.is_transient() || (has_worked && failure.is_network());
        if attempts_made >= self.attempts || !is_worth_it {
            return None;
        }
        let own_ms =
            self.backoff_ms.saturating_mul(1 << (attempts_made - 1).min(16)).min(self.backoff_max_ms);
        let asked_ms = match failure {
            Failure::RateLimited { retry_after_s: Some(seconds), .. } => seconds.saturating_mul(1000),
            _ => 0,
        };
        // Asking earlier than the registry allows would only lengthen the ban.
        (asked_ms <= self.backoff_max_ms).then(|| Duration::from_millis(own_ms.max(asked_ms)))
    }

    /// One request to the registry, with a token if it wants one.
    pub(crate) fn ask(&self, source: &Source, ask: &Ask<'_>) -> Result<Response, Failure> {
        let insecure = source.insecure || is_loopback(&source.registry);
        let path = match ask.target {
            Target::Path(path) => format!("v2/{}/{path}", source.repository),
            Target::Root(path) => path.to_owned(),
            Target::Address(url) => return self.ask_at(source, url, insecure, ask),
        };
        let is_plain = || {
            let plain = self.plain.lock().unwrap_or_else(PoisonError::into_inner);
            plain.contains(&source.registry)
        };
        if !insecure || !is_plain() {
            match self.ask_at(source, &endpoint(source, "https", &path)?, insecure, ask) {
                Err(failure) if insecure && failure.is_before_http() => {}
                other => return other,
            }
        }
        let answer = self.ask_at(source, &endpoint(source, "http", &path)?, insecure, ask)?;
        let mut plain = self.plain.lock().unwrap_or_else(PoisonError::into_inner);
        if !plain.contains(&source.registry) {
            plain.push(source.registry.clone());
        }
        Ok(answer)
    }

    /// The address to which an answer of the registry leads.
    pub(crate) fn follow(&self, source: &Source, from: &Uri, location: &str) -> Result<Uri, Failure> {
        self.http.follow(from, location, source.insecure || is_loopback(&source.registry))
    }

    fn ask_at(&self, source: &Source, url: &Uri, insecure: bool, ask: &Ask<'_>) -> Result<Response, Failure> {
        let is_own = match ask.target {
            Target::Path(_) | Target::Root(_) => true,
            Target::Address(_) => {
                let scheme = url.scheme_str().unwrap_or("https");
                endpoint(source, scheme, "").is_ok_and(|own| same_origin(&own, url))
            }
        };
        let send = |authorization: Option<String>| {
            self.http.send(Request {
                method: ask.method.clone(),
                url: url.clone(),
                accept: ask.accept,
                // Other hosts are given an address that holds all they need.
                authorization: authorization.filter(|_| is_own),
                range_from: ask.range_from,
                content: ask.content,
                insecure,
                small: ask.small,
            })
        };
        let scopes = ask.purpose.scopes(&source.repository);
        let key = (source.registry.clone(), source.repository.clone(), scopes.unwrap_or_default());
        let known = self.known_grant(&key);
        let mut logged_in = known.as_ref().is_some_and(|grant| grant.logged_in);
        let mut response = send(known.map(|grant| grant.authorization))?;
        let mut lookup_failure = None;
        if response.status == 401 && !response.redirected && is_own {
            let values = response.headers.get_all("www-authenticate");
            let challenges = challenge::parse(values.iter().filter_map(|value| value.to_str().ok()));
            let credential = match self.find_credential(source) {
                Ok(credential) => credential,
                Err(failure) => {
                    lookup_failure = Some(failure);
                    None
                }
            };
            let grant = self.authorize(source, &challenges, credential.as_ref(), ask.purpose, insecure)?;
            if let Some(grant) = grant {
                logged_in = grant.logged_in;
                response = send(Some(grant.authorization.clone()))?;
                if response.status != 401 {
                    self.grants.lock().unwrap_or_else(PoisonError::into_inner).insert(key, grant);
                }
            }
        }
        if ask.success.contains(&response.status) {
            return Ok(response);
        }
        let is_denied = matches!(response.status, 401 | 403) && !response.redirected;
        match lookup_failure {
            Some(failure) if is_denied => {
                Err(Failure::Credentials { registry: source.registry.clone(), source: failure })
            }
            _ => {
                let pushing = matches!(ask.purpose, Purpose::Push { .. });
                Err(refusal(source, response, logged_in, pushing))
            }
        }
    }

    /// The identity token that came with the login to the registry as a whole.
    pub(crate) fn identity(&self, source: &Source) -> Option<String> {
        let key = (source.registry.clone(), source.repository.clone(), String::new());
        self.known_grant(&key)?.identity
    }

    fn known_grant(&self, key: &(String, String, String)) -> Option<Grant> {
        let grants = self.grants.lock().unwrap_or_else(PoisonError::into_inner);
        let grant = grants.get(key)?;
        grant.until.is_none_or(|until| Instant::now() < until).then(|| grant.clone())
    }

    fn find_credential(&self, source: &Source) -> Result<Option<Credential>, CredentialError> {
        let registry = match source.registry.as_str() {
            DOCKER_HUB_ENDPOINT | "index.docker.io" => DOCKER_HUB,
            other => other,
        };
        self.credentials.find(registry, &source.repository)
    }

    /// Answers the first challenge that can be answered; `None` if there is none.
    fn authorize(
        &self,
        source: &Source,
        challenges: &[Challenge],
        credential: Option<&Credential>,
        purpose: Purpose<'_>,
        insecure: bool,
    ) -> Result<Option<Grant>, Failure> {
        for challenge in challenges {
            match (challenge, credential) {
                (Challenge::Bearer { .. }, Some(Credential::RegistryToken(token))) => {
                    return Ok(Some(Grant {
                        authorization: format!("Bearer {token}"),
                        until: None,
                        logged_in: true,
                        identity: None,
                    }));
                }
                (Challenge::Bearer { realm, service, scope }, _) => {
                    let usual = || match source.repository.as_str() {
                        "" => String::new(),
                        repository => format!("repository:{repository}:pull"),
                    };
                    let scope = purpose.scopes(&source.repository).or_else(|| scope.clone());
                    let scope = scope.unwrap_or_else(usual);
                    let service = service.as_deref().unwrap_or("");
                    let identity = matches!(purpose, Purpose::Login);
                    let wanted = Wanted { realm, service, scope: &scope, identity };
                    return self.fetch_token(source, wanted, credential, insecure).map(Some);
                }
                (Challenge::Basic, Some(Credential::Password { user, password })) => {
                    return Ok(Some(Grant {
                        authorization: basic(user, password),
                        until: None,
                        logged_in: true,
                        identity: None,
                    }));
                }
                (Challenge::Basic, _) => {}
            }
        }
        Ok(None)
    }

    fn fetch_token(
        &self,
        source: &Source,
        wanted: Wanted<'_>,
        credential: Option<&Credential>,
        insecure: bool,
    ) -> Result<Grant, Failure> {
        let unusable =
            |reason: &str| Failure::Token { realm: clean(wanted.realm), reason: reason.to_owned() };
        let realm = absolute(wanted.realm).ok_or_else(|| unusable("its address is no HTTP address"))?;
        if realm.scheme_str() == Some("http") && !insecure {
            return Err(Failure::LeavesTls { host: source.registry.clone(), target: host_of(&realm) });
        }
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        if !wanted.service.is_empty() {
            pairs.push(("service", wanted.service));
        }
        // The registry may ask for several scopes at once, separated by blanks.
        pairs.extend(wanted.scope.split(' ').filter(|scope| !scope.is_empty()).map(|scope| ("scope", scope)));
        if let (true, Some(Credential::Password { user, .. })) = (wanted.identity, credential) {
            pairs.extend([("account", user.as_str()), ("client_id", "cais"), ("offline_token", "true")]);
        }
        let form;
        let mut request = Request {
            method: Method::GET,
            url: realm.clone(),
            accept: &["application/json"],
            authorization: None,
            range_from: 0,
            content: Content::Nothing,
            insecure,
            small: true,
        };
        if let Some(Credential::IdentityToken(token)) = credential {
            let service = if wanted.service.is_empty() { source.registry.as_str() } else { wanted.service };
            form = query(&[
                ("grant_type", "refresh_token"),
                ("service", service),
                ("client_id", "cais"),
                ("scope", wanted.scope),
                ("refresh_token", token),
            ]);
            request.method = Method::POST;
            request.content = Content::Document { bytes: form.as_bytes(), media_type: FORM };
        } else {
            let separator = if realm.query().is_some() { '&' } else { '?' };
            let address = format!("{realm}{separator}{}", query(&pairs));
            request.url = address.parse().map_err(|_| unusable("its address is no HTTP address"))?;
        }
        if let Some(Credential::Password { user, password }) = credential {
            request.authorization = Some(basic(user, password));
        }
        let logged_in = credential.is_some();
        let response = self.http.send(request)?;
        if response.status != 200 {
            return Err(refusal(source, response, logged_in, false));
        }
        let answer = response.read_small(TOKEN_ANSWER_MAX)?;
        let answer: TokenAnswer =
            serde_json::from_slice(&answer).map_err(|_| unusable("its answer is not the expected JSON"))?;
        let token = [answer.token, answer.access_token].into_iter().flatten().find(|token| !token.is_empty());
        let token = token.ok_or_else(|| unusable("its answer has no token"))?;
        let life_s = answer.expires_in.unwrap_or(TOKEN_LIFE_S).max(TOKEN_LIFE_S) - TOKEN_MARGIN_S;
        let until = Instant::now().checked_add(Duration::from_secs(life_s));
        let identity = answer.refresh_token.filter(|token| wanted.identity && !token.is_empty());
        Ok(Grant { authorization: format!("Bearer {token}"), until, logged_in, identity })
    }
}

/// The address of something below `/`.
fn endpoint(source: &Source, scheme: &str, path: &str) -> Result<Uri, Failure> {
    let host = if source.registry == DOCKER_HUB { DOCKER_HUB_ENDPOINT } else { &source.registry };
    let text = format!("{scheme}://{host}/{path}");
    text.parse()
        .map_err(|_| Failure::Protocol { host: host.to_owned(), reason: format!("{text:?} is no address") })
}

struct Wanted<'a> {
    realm: &'a str,
    service: &'a str,
    scope: &'a str,
    /// Whether an identity token is wanted beside the token.
    identity: bool,
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    refresh_token: Option<String>,
    expires_in: Option<u64>,
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// Whether the registry is on this machine by its very name; a name that only resolves to it does not count.
fn is_loopback(registry: &str) -> bool {
    let host = match registry.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => registry.split(':').next().unwrap_or(""),
    };
    host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_by_name_only() {
        for registry in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000"] {
            assert!(is_loopback(registry), "{registry}");
        }
        for registry in ["localhost.test", "quay.io", "10.0.0.1:5000", "127.0.0.1.nip.test", "[2001:db8::1]"]
        {
            assert!(!is_loopback(registry), "{registry}");
        }
    }
}
