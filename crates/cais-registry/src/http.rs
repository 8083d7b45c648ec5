//! Requests over ureq: one agent per route and way of verification, redirects followed by hand.
//!
//! Invariants: an `Authorization` header never follows a redirect to another origin; nobody is led from HTTPS to
//! plain HTTP unless the registry is insecure; names are resolved by [`crate::names`] only; every wait has an end.
//! Knows nothing of tokens, mirrors or manifests.

use std::collections::HashMap;
use std::io::{self, Read as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ureq::http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, LOCATION, RANGE,
};
use ureq::http::{self, HeaderValue, Method, Uri};
use ureq::unversioned::transport::{ConnectProxyConnector, Connector as _, TcpConnector};
use ureq::{Agent, AsSendBody, Body, BodyReader, SendBody};

use crate::error::{Chain, Failure};
use crate::forward::ForwardConnector;
use crate::names::{NameError, Names};
use crate::proxy::{Proxies, Route};
use crate::settings::Settings;
use crate::tls::{Tls, TlsConnector};
use crate::words::clean;

/// Media type of the form that asks for a token.
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";
const REDIRECTS_MAX: u32 = 10;
const HEADERS_MAX_LEN: usize = 64 * 1024;
/// Idle connections kept per host: as many as layers are usually pulled at a time.
const IDLE_PER_HOST: usize = 8;

/// A registry may look at all of a large blob before it says that it has it: so many times the usual patience.
const PATIENCE_AFTER_UPLOAD: u64 = 10;

/// What goes along with a request.
#[derive(Clone, Copy)]
pub(crate) enum Content<'a> {
    /// Nothing.
    Nothing,
    /// A small document and its media type.
    Document { bytes: &'a [u8], media_type: &'a str },
    /// A stream, opened anew for each attempt.
    Stream(&'a Outgoing<'a>),
}

/// A piece of a blob on its way out.
pub(crate) struct Outgoing<'a> {
    /// Opens the piece at its beginning.
    pub(crate) open: &'a (dyn Fn() -> io::Result<Box<dyn io::Read + 'a>> + 'a),
    /// Its length; the stream may be longer.
    pub(crate) length: u64,
    /// First and last byte within the blob, if it is not all of it.
    pub(crate) range: Option<(u64, u64)>,
}

/// What to ask for.
#[derive(Clone)]
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    pub(crate) url: Uri,
    /// Media types, joined into one `Accept`.
    pub(crate) accept: &'a [&'a str],
    /// The whole header value.
    pub(crate) authorization: Option<String>,
    /// First byte wanted; 0 asks for everything.
    pub(crate) range_from: u64,
    pub(crate) content: Content<'a>,
    /// Whether certificates go unverified and redirects may leave TLS.
    pub(crate) insecure: bool,
    /// Whether a small document is expected, so that the whole exchange must be over after some time.
    pub(crate) small: bool,
}

/// An answer whose body is still to be read.
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    body: Body,
    /// The address that answered, after redirects.
    pub(crate) url: Uri,
    /// Host and port that answered, after redirects.
    pub(crate) host: String,
    /// Whether the answer came from another origin than the one that was asked.
    pub(crate) redirected: bool,
    idle_timeout_ms: u64,
}

#[derive(Debug)]
pub(crate) struct Http {
    tls: Arc<Tls>,
    names: Names,
    proxies: Proxies,
    user_agent: String,
    connect_timeout_ms: u64,
    idle_timeout_ms: u64,
    agents: Mutex<HashMap<(Route, bool), Agent>>,
}

impl Http {
    pub(crate) fn new(settings: &Settings) -> Result<Http, crate::Error> {
        Ok(Http {
            tls: Arc::new(Tls::new(
                settings.ca_bundles.clone(),
                settings.certs_dirs.clone(),
                settings.cert_dir.clone(),
            )),
            names: Names {
                hosts_file: settings.hosts_file.clone(),
                resolv_conf: settings.resolv_conf.clone(),
            },
            proxies: Proxies::new(&settings.proxies)?,
            user_agent: settings.user_agent.clone(),
            connect_timeout_ms: settings.connect_timeout_ms,
            idle_timeout_ms: settings.idle_timeout_ms,
            agents: Mutex::new(HashMap::new()),
        })
    }

    /// Sends the request and follows redirects; any status but a redirect's is an answer.
    ///
    /// What sends something is led elsewhere by 307 and 308 only, which keep the method (RFC 9110, section 15.4.8).
    pub(crate) fn send(&self, mut request: Request<'_>) -> Result<Response, Failure> {
        let first = request.url.clone();
        let redirects: &[u16] =
            if request.method.is_safe() { &[301, 302, 303, 307, 308] } else { &[307, 308] };
        for _ in 0..=REDIRECTS_MAX {
            let mut response = self.send_once(&request)?;
            if !redirects.contains(&response.status) {
                response.redirected = !same_origin(&request.url, &first);
                return Ok(response);
            }
            let location = response.header(LOCATION.as_str()).unwrap_or("");
            let target = self.follow(&request.url, location, request.insecure)?;
            if !same_origin(&target, &request.url) {
                request.authorization = None;
                if matches!(request.content, Content::Document { media_type: FORM, .. }) {
                    // A form holds a secret.
                    return Ok(response);
                }
            }
            request.url = target;
        }
        Err(Failure::TooManyRedirects { host: host_of(&first), limit: REDIRECTS_MAX })
    }

    /// Where an answer from `from` leads; never from TLS to plain HTTP, unless the registry is insecure.
    pub(crate) fn follow(&self, from: &Uri, location: &str, insecure: bool) -> Result<Uri, Failure> {
        let without_fragment = location.split('#').next().unwrap_or("");
        let target = join(from, without_fragment)
            .ok_or_else(|| Failure::BadRedirect { host: host_of(from), location: clean(location) })?;
        if from.scheme_str() == Some("https") && target.scheme_str() == Some("http") && !insecure {
            return Err(Failure::LeavesTls { host: host_of(from), target: host_of(&target) });
        }
        Ok(target)
    }

    fn send_once(&self, request: &Request<'_>) -> Result<Response, Failure> {
        let host = host_of(&request.url);
        let agent = self.agent(self.proxies.route(&request.url), request.insecure);
        let mut builder = http::Request::builder().method(&request.method).uri(&request.url);
        if !request.accept.is_empty() {
            builder = builder.header(ACCEPT, request.accept.join(", "));
        }
        if let Some(value) = secret(request, &host)? {
            builder = builder.header(AUTHORIZATION, value);
        }
        if request.range_from > 0 {
            builder = builder.header(RANGE, format!("bytes={}-", request.range_from));
        }
        let has_body = !matches!(request.method, Method::GET | Method::HEAD | Method::DELETE);
        let local = |source| Failure::Content { source };
        let mut reader: Box<dyn io::Read + '_> = match request.content {
            Content::Document { bytes, .. } => Box::new(bytes),
            Content::Stream(stream) => Box::new((stream.open)().map_err(local)?.take(stream.length)),
            Content::Nothing => Box::new(io::empty()),
        };
        let (length, media_type) = match request.content {
            Content::Document { bytes, media_type } => (bytes.len() as u64, Some(media_type)),
            Content::Stream(stream) => (stream.length, Some("application/octet-stream")),
            Content::Nothing => (0, None),
        };
        if has_body {
            // Said even of nothing: some servers refuse a POST without it.
            builder = builder.header(CONTENT_LENGTH, length);
        }
        if let Some(media_type) = media_type {
            builder = builder.header(CONTENT_TYPE, media_type);
        }
        if let Content::Stream(Outgoing { range: Some((first, last)), .. }) = request.content {
            builder = builder.header(CONTENT_RANGE, format!("{first}-{last}"));
        }
        let bad = |error: http::Error| Failure::Protocol { host: host.clone(), reason: error.to_string() };
        let answer = if has_body {
            let mut watched = Watched { reader: &mut *reader, error: None };
            let message = builder.body(SendBody::from_reader(&mut watched)).map_err(bad)?;
            let answer = self.exchange(&agent, message, request);
            if let Some(error) = watched.error {
                return Err(local(error));
            }
            answer
        } else {
            self.exchange(&agent, builder.body(()).map_err(bad)?, request)
        };
        let (parts, body) = answer.map_err(|error| self.failure(&host, error))?.into_parts();
        Ok(Response {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
            url: request.url.clone(),
            host,
            redirected: false,
            idle_timeout_ms: self.idle_timeout_ms,
        })
    }

    fn exchange(
        &self,
        agent: &Agent,
        message: http::Request<impl AsSendBody>,
        request: &Request<'_>,
    ) -> Result<http::Response<Body>, ureq::Error> {
        let mut message = agent.configure_request(message).timeout_per_call(self.whole_timeout(request));
        if matches!(request.content, Content::Stream(_)) {
            let patience = Duration::from_millis(self.idle_timeout_ms * PATIENCE_AFTER_UPLOAD);
            message = message.timeout_recv_response(Some(patience));
        }
        agent.run(message.build())
    }

    /// A small document may not trickle in for ever; a blob may take as long as it makes progress.
    fn whole_timeout(&self, request: &Request<'_>) -> Option<Duration> {
        request.small.then(|| Duration::from_millis(self.connect_timeout_ms + self.idle_timeout_ms))
    }

    fn agent(&self, route: Route, insecure: bool) -> Agent {
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let idle = Some(Duration::from_millis(self.idle_timeout_ms));
            let config = Agent::config_builder()
                .http_status_as_error(false)
                .max_redirects(0)
                .max_redirects_will_error(false)
                .proxy(self.proxies.proxy(route))
                .user_agent(&self.user_agent)
                .accept("*/*")
                .accept_encoding("identity")
                .max_response_header_size(HEADERS_MAX_LEN)
                .max_idle_connections_per_host(IDLE_PER_HOST)
                .timeout_resolve(Some(Duration::from_millis(2 * self.connect_timeout_ms)))
                .timeout_connect(Some(Duration::from_millis(self.connect_timeout_ms)))
                .timeout_recv_response(idle)
                .timeout_per_read(idle)
                .timeout_per_write(idle)
                .build();
            if let (Route::HttpProxy, Some(proxy)) = (route, self.proxies.proxy(route)) {
                let connector = ForwardConnector { proxy, tls: self.tls.clone() };
                return Agent::with_parts(config, connector, self.names.clone());
            }
            let tls = TlsConnector { tls: self.tls.clone(), insecure };
            let connector =
                ().chain(ConnectProxyConnector::default()).chain(TcpConnector::default()).chain(tls);
            Agent::with_parts(config, connector, self.names.clone())
        };
        agents.entry((route, insecure)).or_insert_with(make).clone()
    }

    fn failure(&self, host: &str, error: ureq::Error) -> Failure {
        failure(host, error, self.connect_timeout_ms, self.idle_timeout_ms)
    }
}

impl Response {
    /// A header as text, if it is there and is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The number in `Content-Length`.
    pub(crate) fn content_length(&self) -> Option<u64> {
        self.header("content-length").and_then(|text| text.trim().parse().ok())
    }

    /// The whole body, which must not be longer than `limit_bytes`.
    pub(crate) fn read_small(self, limit_bytes: u64) -> Result<Vec<u8>, Failure> {
        let too_large = |host: String| Failure::TooLarge { host, limit_bytes };
        if self.content_length().is_some_and(|length| length > limit_bytes) {
            return Err(too_large(self.host));
        }
        let mut bytes = Vec::new();
        let mut reader = self.body.into_reader().take(limit_bytes + 1);
        reader
            .read_to_end(&mut bytes)
            .map_err(|error| read_failure(&self.host, error, self.idle_timeout_ms))?;
        if bytes.len() as u64 > limit_bytes {
            return Err(too_large(self.host));
        }
        Ok(bytes)
    }

    /// The body as a stream, with the host that sends it.
    pub(crate) fn into_reader(self) -> (BodyReader<'static>, String) {
        (self.body.into_reader(), self.host)
    }
}

/// The failure behind an error that a body's reader gave.
pub(crate) fn read_failure(host: &str, error: io::Error, idle_timeout_ms: u64) -> Failure {
    failure(host, ureq::Error::from(error), idle_timeout_ms, idle_timeout_ms)
}

fn secret(request: &Request<'_>, host: &str) -> Result<Option<HeaderValue>, Failure> {
    let Some(text) = &request.authorization else { return Ok(None) };
    let mut value = HeaderValue::from_str(text).map_err(|_| Failure::Protocol {
        host: host.to_owned(),
        reason: "the login for it holds characters that HTTP headers cannot carry".to_owned(),
    })?;
    value.set_sensitive(true);
    Ok(Some(value))
}

fn failure(host: &str, error: ureq::Error, connect_timeout_ms: u64, idle_timeout_ms: u64) -> Failure {
    let host = host.to_owned();
    match error {
        ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => {
            Failure::ConnectTimeout { host, timeout_ms: connect_timeout_ms }
        }
        ureq::Error::Timeout(_) => Failure::Stalled { host, idle_ms: idle_timeout_ms },
        ureq::Error::Rustls(source) => tls_failure(host, source),
        ureq::Error::Io(source) => io_failure(host, source),
        ureq::Error::ConnectProxyFailed(reason) => Failure::ProxyRefused { host, reason: clean(&reason) },
        ureq::Error::Other(inner) => match inner.downcast::<NameError>() {
            Ok(source) => Failure::Name { host, source: *source },
            Err(inner) => match inner.downcast::<Failure>() {
                Ok(failure) => *failure,
                Err(inner) => Failure::Protocol { host, reason: clean(&Chain(&*inner).to_string()) },
            },
        },
        other => Failure::Protocol { host, reason: clean(&other.to_string()) },
    }
}

fn io_failure(host: String, source: io::Error) -> Failure {
    let tls = source.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).cloned();
    if let Some(tls) = tls {
        return tls_failure(host, tls);
    }
    match source.kind() {
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::NetworkDown
        | io::ErrorKind::AddrNotAvailable
        | io::ErrorKind::PermissionDenied => Failure::Connect { host, source },
        _ => Failure::Cut { host, source },
    }
}

fn tls_failure(host: String, source: rustls::Error) -> Failure {
    match source {
        // The server's first bytes are no TLS record: as good as always an HTTP server.
        rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => {
            Failure::PlainHttp { host }
        }
        source => Failure::Tls { host, source: Box::new(source) },
    }
}

/// Host with its port, if it was given.
pub(crate) fn host_of(url: &Uri) -> String {
    match (url.host(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (host, _) => host.unwrap_or("").to_owned(),
    }
}

/// What must be equal for two addresses to share credentials.
fn origin(url: &Uri) -> (Option<&str>, Option<String>, u16) {
    let port = url.port_u16().unwrap_or(if url.scheme_str() == Some("https") { 443 } else { 80 });
    (url.scheme_str(), url.host().map(str::to_ascii_lowercase), port)
}

/// Whether two addresses may share credentials.
pub(crate) fn same_origin(one: &Uri, other: &Uri) -> bool {
    origin(one) == origin(other)
}

/// A stream of this machine that remembers why it broke, which is not the network's fault.
struct Watched<'a> {
    reader: &'a mut dyn io::Read,
    error: Option<io::Error>,
}

impl io::Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer).inspect_err(|error| {
            self.error = Some(io::Error::new(error.kind(), error.to_string()));
        })
    }
}

/// Resolves a reference against an address (RFC 3986, section 5.2, without dot segments).
fn join(base: &Uri, reference: &str) -> Option<Uri> {
    let authority = base.authority()?;
    let scheme = base.scheme_str()?;
    let absolute = if reference.is_empty() {
        return None;
    } else if reference.contains("://") && !reference.starts_with(['/', '?']) {
        reference.to_owned()
    } else if let Some(rest) = reference.strip_prefix("//") {
        format!("{scheme}://{rest}")
    } else if reference.starts_with('/') {
        format!("{scheme}://{authority}{reference}")
    } else if reference.starts_with('?') {
        format!("{scheme}://{authority}{}{reference}", base.path())
    } else {
        let directory = base.path().rsplit_once('/').map_or("", |(directory, _)| directory);
        format!("{scheme}://{authority}{directory}/{reference}")
    };
    let uri: Uri = absolute.parse().ok()?;
    let parts = uri.clone().into_parts();
    let has_user = parts.authority.as_ref().is_none_or(|authority| authority.as_str().contains('@'));
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    (is_http && !has_user && uri.host().is_some_and(|host| !host.is_empty())).then_some(uri)
}

/// The query string of a form, escaped.
pub(crate) fn query(pairs: &[(&str, &str)]) -> String {
    let escape = |text: &str| {
        let mut escaped = String::with_capacity(text.len());
        for byte in text.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    escaped.push(char::from(byte))
                }
                _ => escaped.push_str(&format!("%{byte:02X}")),
            }
        }
        escaped
    };
    let pairs: Vec<String> =
        pairs.iter().map(|(key, value)| format!("{}={}", escape(key), escape(value))).collect();
    pairs.join("&")
}

/// Parses an address that must be absolute HTTP(S) without user and password.
pub(crate) fn absolute(text: &str) -> Option<Uri> {
    let base = http::Uri::from_static("https://none.invalid/");
    join(&base, text).filter(|uri| uri.host() != Some("none.invalid"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_joined() {
        let base: Uri = "https://r.test:5000/v2/a/blobs/x?y=1".parse().unwrap();
        for (reference, joined) in [
            ("https://cdn.test/x?sig=a%2Fb", Some("https://cdn.test/x?sig=a%2Fb")),
            ("http://cdn.test", Some("http://cdn.test/")),
            ("//cdn.test/x", Some("https://cdn.test/x")),
            ("/x?u=http://y", Some("https://r.test:5000/x?u=http://y")),
            ("z", Some("https://r.test:5000/v2/a/blobs/z")),
            ("?q", Some("https://r.test:5000/v2/a/blobs/x?q")),
            ("", None),
            ("ftp://x/", None),
            ("file:///etc/passwd", None),
            ("https://user@evil.test/", None),
            ("https:// /", None),
        ] {
            assert_eq!(join(&base, reference).map(|uri| uri.to_string()).as_deref(), joined, "{reference}");
        }
        assert!(absolute("/token").is_none());
        assert!(absolute("https://auth.test/token?a=b").is_some());
    }

    #[test]
    fn origins() {
        let same = |a: &str, b: &str| origin(&a.parse().unwrap()) == origin(&b.parse().unwrap());
        assert!(same("https://A.test/x", "https://a.test:443/y"));
        assert!(!same("https://a.test/", "http://a.test/"));
        assert!(!same("https://a.test/", "https://a.test:444/"));
        assert!(!same("https://a.test/", "https://b.test/"));
    }

    #[test]
    fn queries_are_escaped() {
        assert_eq!(
            query(&[("scope", "repository:a/b:pull"), ("x", "ä&")]),
            "scope=repository%3Aa%2Fb%3Apull&x=%C3%A4%26"
        );
    }
}
