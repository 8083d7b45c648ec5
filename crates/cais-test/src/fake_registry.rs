//! A registry inside the test's own process that asks for tokens, stalls, truncates and lies.
//!
//! Implements the pull half of the distribution specification 1.1 and Docker's token authentication, plain HTTP, one
//! request per connection. Each request is noted, so that a test can count what was fetched.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use base64::Engine as _;
use serde_json::json;

use crate::image::{Built, index_of, sha256};

/// Something that goes wrong with blobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This many requests for blobs end after half of the bytes.
    Truncate(u32),
    /// Every blob has one byte changed.
    Corrupt,
    /// A blob's bytes stop coming and the connection stays open.
    Stall,
    /// This many requests of any kind are answered with this status.
    Status(u16, u32),
}

/// Who is let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// Everybody.
    Open,
    /// User and password with each request.
    Basic(String, String),
    /// A token, given to everybody who asks (`None`) or for user and password.
    Token(Option<(String, String)>),
}

#[derive(Debug)]
struct State {
    login: Login,
    fault: Option<Fault>,
    /// `repository/manifests/reference` to media type and bytes.
    manifests: BTreeMap<String, (String, Vec<u8>)>,
    blobs: BTreeMap<String, Vec<u8>>,
    /// Given to who asks for an identity token, and accepted from then on.
    identity: Option<String>,
    /// Path with its query to a JSON answer.
    documents: BTreeMap<String, String>,
    requests: Vec<String>,
}

/// A running registry; it ends with the process.
#[derive(Debug)]
pub struct FakeRegistry {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

const TOKEN: &str = "a-token-of-the-fake-registry";

impl FakeRegistry {
    /// Starts listening on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// When no port can be had.
    pub fn start(login: Login) -> FakeRegistry {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("bind");
        let address = listener.local_addr().expect("address");
        let state = State {
            login,
            fault: None,
            manifests: BTreeMap::new(),
            blobs: BTreeMap::new(),
            identity: None,
            documents: BTreeMap::new(),
            requests: Vec::new(),
        };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                // A client that hangs up early is not this side's trouble.
                std::thread::spawn(move || drop(answer(stream, address, &state)));
            }
        });
        FakeRegistry { address, state }
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Offers an image as `repository:tag` and by digest.
    pub fn add(&self, repository: &str, tag: &str, image: &Built) {
        let mut state = self.lock();
        for blob in &image.blobs {
            state.blobs.insert(sha256(blob), blob.clone());
        }
        for reference in [tag, &image.digest()] {
            let manifest = (image.manifest_type.to_owned(), image.manifest.clone());
            state.manifests.insert(format!("{repository}/manifests/{reference}"), manifest);
        }
    }

    /// Offers images of several platforms under one tag.
    pub fn add_index(&self, repository: &str, tag: &str, images: &[Built]) {
        for image in images {
            self.add(repository, &image.digest(), image);
        }
        let index = ("application/vnd.oci.image.index.v1+json".to_owned(), index_of(images));
        self.lock().manifests.insert(format!("{repository}/manifests/{tag}"), index);
    }

    /// The token service gives this identity token to who asks for one.
    pub fn give_identity(&self, token: &str) {
        self.lock().identity = Some(token.to_owned());
    }

    /// Offers a JSON document at a path (with its query): what a registry says beyond images.
    pub fn add_document(&self, path: &str, json: &str) {
        self.lock().documents.insert(path.to_owned(), json.to_owned());
    }

    /// From now on this goes wrong, or nothing.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.lock().fault = fault;
    }

    /// What was asked for since the last call: `METHOD PATH`, with ` Range…` when a range was wanted.
    pub fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().requests)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics with the lock")
    }
}

struct Request {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    body: String,
}

fn read_request(stream: &TcpStream) -> std::io::Result<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, mut path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    // A client that takes this for its proxy names the whole URL.
    if let Some(url) = path.strip_prefix("http://") {
        path = url.find('/').map_or_else(|| "/".to_owned(), |at| url[at..].to_owned());
    }
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((key, value)) => headers.insert(key.to_ascii_lowercase(), value.trim().to_owned()),
            None => break,
        };
    }
    let length = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = Vec::new();
    reader.take(length).read_to_end(&mut body)?;
    Ok(Request { method, path, headers, body: String::from_utf8_lossy(&body).into_owned() })
}

fn answer(mut stream: TcpStream, address: SocketAddr, state: &Mutex<State>) -> std::io::Result<()> {
    let mut request = read_request(&stream);
    if request.as_ref().is_ok_and(|request| request.method == "CONNECT") {
        // Taken for a proxy: whatever host was asked for, it is this one.
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
        request = read_request(&stream);
    }
    let Some(request) = request.ok().filter(|request| request.path.starts_with('/')) else {
        // A client that tries TLS first is told so in the way of most servers.
        return stream
            .write_all(b"HTTP/1.0 400 Bad Request\r\n\r\nclient sent an HTTPS request to an HTTP server\n");
    };
    let range = request.headers.get("range").map(|range| format!(" {range}")).unwrap_or_default();
    let mut state = state.lock().expect("no thread panics with the lock");
    state.requests.push(format!("{} {}{range}", request.method, request.path));
    if let Some(Fault::Status(status, left)) = state.fault.filter(|_| !request.path.starts_with("/token")) {
        state.fault = (left > 1).then_some(Fault::Status(status, left - 1));
        return reply(
            &mut stream,
            status,
            "Retry-After: 0\r\n",
            "application/json",
            &error("TOOMANYREQUESTS"),
            false,
        );
    }
    if request.path.starts_with("/token") {
        let by_identity = request.method == "POST"
            && state
                .identity
                .as_ref()
                .is_some_and(|token| request.body.contains(&format!("refresh_token={token}")));
        let let_in = match &state.login {
            Login::Token(Some(pair)) => {
                by_identity || request.headers.get("authorization") == Some(&basic(pair))
            }
            _ => true,
        };
        let identity = state.identity.as_ref().filter(|_| request.path.contains("offline_token=true"));
        let (status, body) = if let_in {
            (200, json!({"token": TOKEN, "refresh_token": identity}).to_string())
        } else {
            (401, String::from_utf8_lossy(&error("UNAUTHORIZED")).into_owned())
        };
        return reply(&mut stream, status, "", "application/json", body.as_bytes(), false);
    }
    if let Some(challenge) = challenge(&state.login, &request, address) {
        return reply(&mut stream, 401, &challenge, "application/json", &error("UNAUTHORIZED"), false);
    }
    let is_head = request.method == "HEAD";
    if let Some(document) = state.documents.get(&request.path) {
        return reply(&mut stream, 200, "", "application/json", document.as_bytes(), is_head);
    }
    let Some(path) = request.path.strip_prefix("/v2/") else {
        return reply(&mut stream, 404, "", "text/plain", b"no such page", is_head);
    };
    if path.is_empty() {
        return reply(&mut stream, 200, "", "application/json", b"{}", is_head);
    }
    if let Some((media_type, manifest)) = state.manifests.get(path) {
        let digest = format!("Docker-Content-Digest: {}\r\n", sha256(manifest));
        return reply(&mut stream, 200, &digest, media_type, manifest, is_head);
    }
    let digest = path.rsplit('/').next().unwrap_or_default();
    let Some(blob) = state.blobs.get(digest).filter(|_| path.contains("/blobs/")).cloned() else {
        let code = if path.contains("/blobs/") { "BLOB_UNKNOWN" } else { "MANIFEST_UNKNOWN" };
        return reply(&mut stream, 404, "", "application/json", &error(code), is_head);
    };
    let fault = state.fault;
    if let Some(Fault::Truncate(left)) = fault {
        state.fault = (left > 1).then_some(Fault::Truncate(left - 1));
    }
    drop(state);
    send_blob(&mut stream, &request, &blob, fault)
}

fn send_blob(
    stream: &mut TcpStream,
    request: &Request,
    blob: &[u8],
    fault: Option<Fault>,
) -> std::io::Result<()> {
    let start = request
        .headers
        .get("range")
        .and_then(|range| range.strip_prefix("bytes=")?.split('-').next()?.parse().ok());
    let start: usize = start.unwrap_or(0).min(blob.len());
    let (status, range) = match start {
        0 => (200, String::new()),
        _ => (206, format!("Content-Range: bytes {start}-{}/{}\r\n", blob.len() - 1, blob.len())),
    };
    let mut body = blob[start..].to_vec();
    if fault == Some(Fault::Corrupt)
        && let Some(byte) = body.last_mut()
    {
        *byte ^= 1;
    }
    let head = head(status, &range, "application/octet-stream", body.len());
    stream.write_all(head.as_bytes())?;
    match fault {
        Some(Fault::Truncate(_)) => stream.write_all(&body[..body.len() / 2]),
        Some(Fault::Stall) => {
            stream.write_all(&body[..body.len() / 2])?;
            stream.flush()?;
            // Longer than any client should be patient; the process ends before.
            std::thread::sleep(Duration::from_secs(600));
            Ok(())
        }
        _ => stream.write_all(&body),
    }
}

fn basic((user, password): &(String, String)) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

/// The header of a refusal, `None` when the request may pass.
fn challenge(login: &Login, request: &Request, address: SocketAddr) -> Option<String> {
    let given = request.headers.get("authorization");
    match login {
        Login::Open => None,
        Login::Basic(user, password) => (given != Some(&basic(&(user.clone(), password.clone()))))
            .then(|| "WWW-Authenticate: Basic realm=\"fake\"\r\n".to_owned()),
        Login::Token(_) => (given != Some(&format!("Bearer {TOKEN}"))).then(|| {
            let repository = request.path.strip_prefix("/v2/").unwrap_or_default();
            let repository = repository.split("/manifests/").next().unwrap_or_default();
            let repository = repository.split("/blobs/").next().unwrap_or_default();
            format!(
                "WWW-Authenticate: Bearer realm=\"http://{address}/token\",service=\"fake\",scope=\"repository:{repository}:pull\"\r\n"
            )
        }),
    }
}

fn error(code: &str) -> Vec<u8> {
    json!({"errors": [{"code": code, "message": "the fake registry says no"}]}).to_string().into_bytes()
}

fn head(status: u16, headers: &str, media_type: &str, length: usize) -> String {
    format!(
        "HTTP/1.1 {status} Status\r\nConnection: close\r\nDocker-Distribution-Api-Version: registry/2.0\r\n{headers}Content-Type: {media_type}\r\nContent-Length: {length}\r\n\r\n"
    )
}

fn reply(
    stream: &mut TcpStream,
    status: u16,
    headers: &str,
    media_type: &str,
    body: &[u8],
    is_head: bool,
) -> std::io::Result<()> {
    stream.write_all(head(status, headers, media_type, body.len()).as_bytes())?;
    if is_head { Ok(()) } else { stream.write_all(body) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Image, sha256};
    use crate::layer::Layer;
    use crate::process::{Finished, Invocation};

    fn registry(login: Login) -> (FakeRegistry, Built) {
        let image = Image::new().layer(Layer::new().file("a", "b".repeat(5000))).build();
        let registry = FakeRegistry::start(login);
        registry.add("r", "v1", &image);
        (registry, image)
    }

    fn curl(registry: &FakeRegistry, args: &str, path: &str) -> Finished {
        Invocation::new("curl", "-sS -m 5")
            .args(args)
            .arg(format!("http://{}{path}", registry.address()))
            .output()
    }

    #[test]
    fn manifests_and_blobs_are_served_by_tag_and_digest() {
        let (registry, image) = registry(Login::Open);
        assert_eq!(curl(&registry, "-f", "/v2/r/manifests/v1").code(0).stdout, image.manifest);
        assert_eq!(
            curl(&registry, "-f", &format!("/v2/r/manifests/{}", image.digest())).code(0).stdout,
            image.manifest
        );
        let blob = format!("/v2/r/blobs/{}", sha256(&image.blobs[0]));
        assert_eq!(curl(&registry, "-f", &blob).code(0).stdout, image.blobs[0]);
        assert_eq!(curl(&registry, "-f -r 100-", &blob).code(0).stdout, image.blobs[0][100..]);
        curl(&registry, "-f", "/v2/r/manifests/v2").code(22);
        assert_eq!(registry.take_requests().len(), 5);
    }

    #[test]
    fn faults_do_what_they_say() {
        let (registry, image) = registry(Login::Open);
        let blob = format!("/v2/r/blobs/{}", sha256(&image.blobs[0]));
        registry.set_fault(Some(Fault::Truncate(1)));
        curl(&registry, "-f", &blob).code(18);
        curl(&registry, "-f", &blob).code(0);
        registry.set_fault(Some(Fault::Corrupt));
        assert_ne!(curl(&registry, "-f", &blob).code(0).stdout, image.blobs[0]);
        registry.set_fault(Some(Fault::Stall));
        curl(&registry, "-f -m 1", &blob).code(28);
        registry.set_fault(Some(Fault::Status(503, 1)));
        curl(&registry, "-f", &blob).code(22);
        curl(&registry, "-f", &blob).code(0);
    }

    #[test]
    fn tokens_are_asked_for_and_given() {
        let pair = ("u".to_owned(), "p".to_owned());
        let (registry, _) = registry(Login::Token(Some(pair)));
        let refused = curl(&registry, "-i", "/v2/r/manifests/v1").code(0).stdout_text();
        assert!(refused.contains("401") && refused.contains("scope=\"repository:r:pull\""), "{refused}");
        curl(&registry, "-f", "/token?service=fake").code(22);
        curl(&registry, "-f -u u:p", "/token?service=fake").code(0);
        curl(&registry, &format!("-f -H 'Authorization: Bearer {TOKEN}'"), "/v2/r/manifests/v1").code(0);
    }
}
