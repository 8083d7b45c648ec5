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
use ureq::http::Uri;

use crate::challenge::{self, Challenge};
use crate::credentials::{Credential, CredentialError, CredentialFiles};
use crate::error::{Error, Failure, clean};
use crate::http::{Http, Request, Response, absolute, host_of, query};
use crate::registries::Source;
use crate::settings::Settings;

const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_ENDPOINT: &str = "registry-1.docker.io";
const TOKEN_ANSWER_MAX: u64 = 1 << 20;
const ERROR_ANSWER_MAX: u64 = 16 << 10;
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
    /// The last good `Authorization` per registry and repository.
    grants: Mutex<HashMap<(String, String), Grant>>,
}

#[derive(Clone)]
struct Grant {
    authorization: String,
    /// `None` for what does not expire by itself.
    until: Option<Instant>,
    logged_in: bool,
}

impl std::fmt::Debug for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grant").field("logged_in", &self.logged_in).finish_non_exhaustive()
    }
}

/// What to get below `/v2/REPOSITORY/`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Get<'a> {
    pub(crate) path: &'a str,
    pub(crate) accept: &'a [&'a str],
    pub(crate) range_from: u64,
    /// Whether a small document is expected.
    pub(crate) small: bool,
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

    /// One request to the registry, with a token if it wants one; success is status 200 or 206.
    pub(crate) fn get(&self, source: &Source, get: Get<'_>) -> Result<Response, Failure> {
        let insecure = source.insecure || is_loopback(&source.registry);
        let is_plain = || {
            let plain = self.plain.lock().unwrap_or_else(PoisonError::into_inner);
            plain.contains(&source.registry)
        };
        if !insecure || !is_plain() {
            match self.get_by(source, "https", insecure, get) {
                Err(failure) if insecure && failure.is_before_http() => {}
                other => return other,
            }
        }
        let answer = self.get_by(source, "http", insecure, get)?;
        let mut plain = self.plain.lock().unwrap_or_else(PoisonError::into_inner);
        if !plain.contains(&source.registry) {
            plain.push(source.registry.clone());
        }
        Ok(answer)
    }

    fn get_by(
        &self,
        source: &Source,
        scheme: &str,
        insecure: bool,
        get: Get<'_>,
    ) -> Result<Response, Failure> {
        let host = if source.registry == DOCKER_HUB { DOCKER_HUB_ENDPOINT } else { &source.registry };
        let text = format!("{scheme}://{host}/v2/{}/{}", source.repository, get.path);
        let url: Uri = text.parse().map_err(|_| Failure::Protocol {
            host: host.to_owned(),
            reason: format!("{text:?} is no address"),
        })?;
        let send = |authorization| {
            let Get { accept, range_from, small, .. } = get;
            let url = url.clone();
            self.http.send(Request { url, accept, authorization, range_from, form: None, insecure, small })
        };
        let key = (source.registry.clone(), source.repository.clone());
        let known = self.known_grant(&key);
        let mut logged_in = known.as_ref().is_some_and(|grant| grant.logged_in);
        let mut response = send(known.map(|grant| grant.authorization))?;
        let mut lookup_failure = None;
        if response.status == 401 && !response.redirected {
            let values = response.headers.get_all("www-authenticate");
            let challenges = challenge::parse(values.iter().filter_map(|value| value.to_str().ok()));
            let credential = match self.find_credential(source) {
                Ok(credential) => credential,
                Err(failure) => {
                    lookup_failure = Some(failure);
                    None
                }
            };
            if let Some(grant) = self.authorize(source, &challenges, credential.as_ref(), insecure)? {
                logged_in = grant.logged_in;
                response = send(Some(grant.authorization.clone()))?;
                if response.status != 401 {
                    self.grants.lock().unwrap_or_else(PoisonError::into_inner).insert(key, grant);
                }
            }
        }
        if matches!(response.status, 200 | 206) {
            return Ok(response);
        }
        let is_denied = matches!(response.status, 401 | 403) && !response.redirected;
        match lookup_failure {
            Some(failure) if is_denied => {
                Err(Failure::Credentials { registry: source.registry.clone(), source: failure })
            }
            _ => Err(refusal(source, response, logged_in)),
        }
    }

    fn known_grant(&self, key: &(String, String)) -> Option<Grant> {
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
        insecure: bool,
    ) -> Result<Option<Grant>, Failure> {
        for challenge in challenges {
            match (challenge, credential) {
                (Challenge::Bearer { .. }, Some(Credential::RegistryToken(token))) => {
                    return Ok(Some(Grant {
                        authorization: format!("Bearer {token}"),
                        until: None,
                        logged_in: true,
                    }));
                }
                (Challenge::Bearer { realm, service, scope }, _) => {
                    let pull = format!("repository:{}:pull", source.repository);
                    let service = service.as_deref().unwrap_or("");
                    let wanted = Wanted { realm, service, scope: scope.as_deref().unwrap_or(&pull) };
                    return self.fetch_token(source, wanted, credential, insecure).map(Some);
                }
                (Challenge::Basic, Some(Credential::Password { user, password })) => {
                    return Ok(Some(Grant {
                        authorization: basic(user, password),
                        until: None,
                        logged_in: true,
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
        let mut request = Request {
            url: realm.clone(),
            accept: &["application/json"],
            authorization: None,
            range_from: 0,
            form: None,
            insecure,
            small: true,
        };
        if let Some(Credential::IdentityToken(token)) = credential {
            let service = if wanted.service.is_empty() { source.registry.as_str() } else { wanted.service };
            request.form = Some(query(&[
                ("grant_type", "refresh_token"),
                ("service", service),
                ("client_id", "cais"),
                ("scope", wanted.scope),
                ("refresh_token", token),
            ]));
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
            return Err(refusal(source, response, logged_in));
        }
        let answer = response.read_small(TOKEN_ANSWER_MAX)?;
        let answer: TokenAnswer =
            serde_json::from_slice(&answer).map_err(|_| unusable("its answer is not the expected JSON"))?;
        let token = [answer.token, answer.access_token].into_iter().flatten().find(|token| !token.is_empty());
        let token = token.ok_or_else(|| unusable("its answer has no token"))?;
        let life_s = answer.expires_in.unwrap_or(TOKEN_LIFE_S).max(TOKEN_LIFE_S) - TOKEN_MARGIN_S;
        let until = Instant::now().checked_add(Duration::from_secs(life_s));
        Ok(Grant { authorization: format!("Bearer {token}"), until, logged_in })
    }
}

struct Wanted<'a> {
    realm: &'a str,
    service: &'a str,
    scope: &'a str,
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
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

/// The failure behind a status that is no success.
fn refusal(source: &Source, response: Response, logged_in: bool) -> Failure {
    let registry = source.registry.clone();
    let repository = source.repository.clone();
    let host = response.host.clone();
    let status = response.status;
    let retry_after_s = retry_after(&response);
    let limit =
        response.header("ratelimit-limit").or(response.header("x-ratelimit-limit")).map(limit_in_words);
    let redirected = response.redirected;
    let message = response.read_small(ERROR_ANSWER_MAX).ok().and_then(|body| message(&body));
    match status {
        401 if !redirected => Failure::Unauthorized { registry, repository, logged_in, message },
        403 if !redirected => Failure::Forbidden { registry, repository, message },
        404 => Failure::NotFound { registry, message },
        429 => Failure::RateLimited { registry: host, retry_after_s, limit, message },
        _ => Failure::Status { host, status, message },
    }
}

/// `Retry-After` in seconds, whether the server gave a number or a date; else the reset of the rate limit.
fn retry_after(response: &Response) -> Option<u64> {
    if let Some(text) = response.header("retry-after") {
        let text = text.trim();
        if let Ok(seconds) = text.parse() {
            return Some(seconds);
        }
        let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
        return Some(u64::try_from(date.duration_since(jiff::Timestamp::now()).as_secs()).unwrap_or(0));
    }
    let reset: u64 =
        response.header("ratelimit-reset").or(response.header("x-ratelimit-reset"))?.trim().parse().ok()?;
    // Some registries give a point in time, others a span.
    let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0);
    Some(if reset > now { reset - now } else { reset })
}

/// `100;w=21600` as `100 requests in 6 h`.
fn limit_in_words(text: &str) -> String {
    match text.split_once(";w=").map(|(count, seconds)| (count, seconds.parse::<u64>())) {
        Some((count, Ok(seconds))) if seconds % 3600 == 0 => {
            format!("{} requests in {} h", clean(count), seconds / 3600)
        }
        Some((count, Ok(seconds))) => format!("{} requests in {seconds} s", clean(count)),
        _ => clean(text),
    }
}

/// What the registry says about itself: the first message of the specification's error document, if it is one.
fn message(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Document {
        #[serde(default)]
        errors: Vec<Item>,
        #[serde(default)]
        details: Option<String>,
        #[serde(default)]
        message: Option<String>,
    }
    #[derive(Deserialize)]
    struct Item {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let document: Document = serde_json::from_slice(body).ok()?;
    let first = document
        .errors
        .into_iter()
        .next()
        .map(|item| if item.message.is_empty() { item.code } else { item.message });
    first.or(document.details).or(document.message).map(|text| clean(&text)).filter(|text| !text.is_empty())
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

    #[test]
    fn messages_and_limits() {
        let text = |body: &str| message(body.as_bytes());
        assert_eq!(
            text(r#"{"errors":[{"code":"DENIED","message":"go \u001b[31maway"}]}"#).as_deref(),
            Some("go [31maway")
        );
        assert_eq!(text(r#"{"errors":[{"code":"DENIED"}]}"#).as_deref(), Some("DENIED"));
        assert_eq!(
            text(r#"{"details":"incorrect username or password"}"#).as_deref(),
            Some("incorrect username or password")
        );
        assert_eq!(text("<html>"), None);
        assert_eq!(limit_in_words("100;w=21600"), "100 requests in 6 h");
        assert_eq!(limit_in_words("5;w=90"), "5 requests in 90 s");
        assert_eq!(limit_in_words("7"), "7");
    }
}
