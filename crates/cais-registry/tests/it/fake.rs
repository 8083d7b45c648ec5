//! A made-up registry: a listener whose every answer is decided by the test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use cais_oci::{Descriptor, Digest, Manifest, Reference, media_type};
use cais_registry::{Client, CredentialFiles, ProxySettings, Registries, Settings};

/// What a client asked.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    pub target: String,
    headers: Vec<(String, String)>,
    pub body: String,
    /// The same as it came.
    pub bytes: Vec<u8>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The first byte of the range that is asked for.
    pub fn range(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// What the server does.
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub then: Then,
}

/// What happens after the body, which the headers announce as whole.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// All is well.
    Done,
    /// Only this many bytes of the body are sent, then the connection is closed.
    Cut(usize),
    /// Only this many bytes are sent, then nothing until the client goes away.
    Stall(usize),
    /// The body is sent without a length, in one chunk.
    Chunked,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Reply {
        Reply { status, headers: Vec::new(), body: body.into(), then: Then::Done }
    }

    pub fn with(mut self, name: &str, value: impl Into<String>) -> Reply {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub fn then(mut self, then: Then) -> Reply {
        self.then = then;
        self
    }
}

/// A running server; its threads end with the test's process.
pub struct Fake {
    pub address: SocketAddr,
    seen: Arc<Seen>,
}

/// What a server remembers.
#[derive(Default)]
struct Seen {
    log: Mutex<Vec<Asked>>,
    /// Of the next bodies only so many bytes are read, then the connection is closed.
    cuts: Mutex<Vec<usize>>,
}

impl Fake {
    /// A server that speaks plain HTTP.
    pub fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Fake {
        Fake::run(None, answer)
    }

    /// A server that speaks HTTPS.
    pub fn start_tls(
        config: Arc<rustls::ServerConfig>,
        answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Fake {
        Fake::run(Some(config), answer)
    }

    fn run(
        tls: Option<Arc<rustls::ServerConfig>>,
        answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let (shared, answer) = (seen.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (tls, seen, answer) = (tls.clone(), shared.clone(), answer.clone());
                thread::spawn(move || match tls {
                    // An error here is a client that went away, which many tests provoke.
                    Some(config) => drop(serve_tls(config, stream, &seen, &*answer)),
                    None => drop(serve(stream, &seen, &*answer)),
                });
            }
        });
        Fake { address, seen }
    }

    /// Everything that was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.seen.log.lock().unwrap().clone()
    }

    /// Of the next body only `bytes` are read, then the connection is closed without an answer.
    pub fn cut_next_body(&self, bytes: usize) {
        self.seen.cuts.lock().unwrap().push(bytes);
    }

    /// How many requests had a target that contains `part`.
    pub fn count(&self, part: &str) -> usize {
        self.asked().iter().filter(|asked| asked.target.contains(part)).count()
    }

    /// `127.0.0.1:PORT`
    pub fn host(&self) -> String {
        self.address.to_string()
    }
}

fn serve_tls(
    config: Arc<rustls::ServerConfig>,
    stream: TcpStream,
    seen: &Seen,
    answer: &dyn Fn(&Asked) -> Reply,
) -> std::io::Result<()> {
    let connection = rustls::ServerConnection::new(config).map_err(std::io::Error::other)?;
    serve_stream(BufReader::new(rustls::StreamOwned::new(connection, stream)), seen, answer)
}

fn serve(stream: TcpStream, seen: &Seen, answer: &dyn Fn(&Asked) -> Reply) -> std::io::Result<()> {
    let mut first = [0];
    if stream.peek(&mut first)? == 1 && first[0] == 0x16 {
        // A TLS handshake: answer as Go's server does.
        return (&stream)
            .write_all(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTPS request to an HTTP server.\n");
    }
    serve_stream(BufReader::new(stream), seen, answer)
}

fn serve_stream<S: Read + Write>(
    mut stream: BufReader<S>,
    seen: &Seen,
    answer: &dyn Fn(&Asked) -> Reply,
) -> std::io::Result<()> {
    while let Some(asked) = read_request(&mut stream, &seen.cuts)? {
        seen.log.lock().unwrap().push(asked.clone());
        let reply = answer(&asked);
        let length = asked.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        if asked.bytes.len() < length {
            return Ok(());
        }
        let mut head = format!("HTTP/1.1 {} X\r\n", reply.status);
        for (name, value) in &reply.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let has_length = reply.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        match reply.then {
            Then::Chunked => head.push_str("Transfer-Encoding: chunked\r\n\r\n"),
            _ if has_length => head.push_str("\r\n"),
            _ => head.push_str(&format!("Content-Length: {}\r\n\r\n", reply.body.len())),
        }
        let out = stream.get_mut();
        out.write_all(head.as_bytes())?;
        match reply.then {
            Then::Done => out.write_all(&reply.body)?,
            Then::Cut(length) => {
                out.write_all(&reply.body[..length])?;
                return out.flush();
            }
            Then::Stall(length) => {
                out.write_all(&reply.body[..length])?;
                out.flush()?;
                // Ends when the client closes the connection.
                return stream.read_until(0, &mut Vec::new()).map(drop);
            }
            Then::Chunked => {
                out.write_all(format!("{:x}\r\n", reply.body.len()).as_bytes())?;
                out.write_all(&reply.body)?;
                out.write_all(b"\r\n0\r\n\r\n")?;
            }
        }
        out.flush()?;
    }
    Ok(())
}

fn read_request(stream: &mut impl BufRead, cuts: &Mutex<Vec<usize>>) -> std::io::Result<Option<Asked>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.push((name.to_owned(), value.to_owned())),
            None => break,
        }
    }
    let mut asked = Asked { method, target, headers, body: String::new(), bytes: Vec::new() };
    let length: usize = asked.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let cut = if length > 0 { cuts.lock().unwrap().pop() } else { None };
    let mut body = vec![0; length.min(cut.unwrap_or(length))];
    stream.read_exact(&mut body)?;
    asked.body = String::from_utf8_lossy(&body).into_owned();
    asked.bytes = body;
    Ok(Some(asked))
}

/// An image with one layer, and the answers of a well-behaved registry for it.
#[derive(Clone)]
pub struct Image {
    pub manifest: Vec<u8>,
    pub digest: Digest,
    pub config: Vec<u8>,
    pub layer: Vec<u8>,
    pub layer_descriptor: Descriptor,
}

impl Image {
    pub fn new() -> Image {
        let config = b"{\"architecture\":\"amd64\",\"os\":\"linux\"}".to_vec();
        let layer: Vec<u8> = (0..200_000_u32).flat_map(|n| n.to_le_bytes()).collect();
        let describe =
            |kind: &str, bytes: &[u8]| Descriptor::new(kind, Digest::sha256(bytes), bytes.len() as u64);
        let layer_descriptor = describe(media_type::OCI_LAYER, &layer);
        let manifest =
            Manifest::new(describe(media_type::OCI_CONFIG, &config), vec![layer_descriptor.clone()]);
        let manifest = serde_json::to_vec(&manifest).unwrap();
        Image { digest: Digest::sha256(&manifest), manifest, config, layer, layer_descriptor }
    }

    /// What a registry answers that does everything right.
    pub fn answer(&self, asked: &Asked) -> Reply {
        let target = asked.target.split('?').next().unwrap_or("");
        if target.contains("/manifests/") {
            return Reply::new(200, self.manifest.clone())
                .with("Content-Type", media_type::OCI_MANIFEST)
                .with("Docker-Content-Digest", self.digest.to_string());
        }
        if target.ends_with(self.layer_descriptor.digest.as_str()) {
            return self.layer_reply(asked);
        }
        if target.ends_with(Digest::sha256(&self.config).as_str()) {
            return Reply::new(200, self.config.clone());
        }
        Reply::new(404, r#"{"errors":[{"code":"NAME_UNKNOWN","message":"no such thing"}]}"#)
    }

    /// The layer, or the range of it that was asked for.
    pub fn layer_reply(&self, asked: &Asked) -> Reply {
        match asked.range() {
            None => Reply::new(200, self.layer.clone()),
            Some(start) => Reply::new(206, &self.layer[start..]).with(
                "Content-Range",
                format!("bytes {start}-{}/{}", self.layer.len() - 1, self.layer.len()),
            ),
        }
    }
}

/// Settings that touch nothing of the machine, with short waits.
pub fn settings(directory: &Path) -> Settings {
    Settings {
        registries: Registries::default(),
        credentials: CredentialFiles::default(),
        certs_dirs: vec![directory.join("certs.d")],
        cert_dir: None,
        ca_bundles: vec![directory.join("ca.pem")],
        hosts_file: directory.join("hosts"),
        resolv_conf: directory.join("resolv.conf"),
        proxies: ProxySettings::default(),
        user_agent: "cais-test/1".to_owned(),
        connect_timeout_ms: 10_000,
        idle_timeout_ms: 10_000,
        attempts: 4,
        backoff_ms: 1,
        backoff_max_ms: 2_000,
    }
}

/// A client without any files.
pub fn client() -> Client {
    Client::new(&settings(Path::new("/nonexistent"))).unwrap()
}

/// The image `app:1` at the given registry.
pub fn reference(registry: &str) -> Reference {
    Reference::parse(&format!("{registry}/team/app:1")).unwrap()
}

/// Settings whose `registries.conf` has the given text.
pub fn with_registries(directory: &Path, text: &str) -> Settings {
    let mut settings = settings(directory);
    settings.registries.merge(Path::new("registries.conf"), text).unwrap();
    settings
}

/// Writes a login for `registry` (user `user`, password `secret`) and gives the settings that use it.
pub fn with_login(directory: &Path, registry: &str) -> Settings {
    let file = directory.join("auth.json");
    std::fs::write(&file, format!(r#"{{"auths":{{"{registry}":{{"auth":"dXNlcjpzZWNyZXQ="}}}}}}"#)).unwrap();
    let mut settings = settings(directory);
    settings.credentials.files = vec![file];
    settings
}

/// `user:secret` as a header.
pub const LOGIN: &str = "Basic dXNlcjpzZWNyZXQ=";
