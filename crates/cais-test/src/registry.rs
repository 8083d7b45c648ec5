//! A real registry: Debian's docker-registry on a loopback port, plain or with TLS and basic authentication.
//!
//! Images go in over plain HTTP (distribution specification, "Push"), through a second instance over the same
//! storage when the visible one has TLS or passwords. Dropped, the processes are killed.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::image::{Built, index_of, sha256};
use crate::process::{Invocation, Running, wait_until};

/// Whom a protected registry lets in.
pub const USER: &str = "quay";
/// The password of [`USER`].
pub const PASSWORD: &str = "s3cret:with colon";
/// bcrypt of [`PASSWORD`], since htpasswd files of docker-registry hold nothing else.
const PASSWORD_HASH: &str = "$2b$05$nNV.PFQabWSKcpmzDEw2M.m/pB9I2obwrWTeqrrsFP.myjSEtENCG";

/// How a registry is to be reached.
#[derive(Clone, Debug, Default)]
pub struct Doors {
    /// Names in the TLS certificate; empty means plain HTTP.
    pub tls_names: Vec<String>,
    /// [`USER`] and [`PASSWORD`] are asked for.
    pub password: bool,
    /// Port to listen on; 0 chooses a free one.
    pub port: u16,
}

/// A running registry.
#[derive(Debug)]
pub struct Registry {
    folder: TempDir,
    port: u16,
    inner_port: u16,
    _processes: Vec<Running>,
}

impl Registry {
    /// Starts it; `None`, with a word, when docker-registry (or openssl for TLS) is missing.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(doors: &Doors) -> Option<Registry> {
        let needed: &[&str] =
            if doors.tls_names.is_empty() { &["docker-registry"] } else { &["docker-registry", "openssl"] };
        for program in needed {
            let path = std::env::var_os("PATH").unwrap_or_default();
            if !std::env::split_paths(&path).any(|folder| folder.join(program).is_file()) {
                crate::skip(format_args!("{program} is not installed"));
                return None;
            }
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = if doors.port == 0 { free_port() } else { doors.port };
        let mut processes = vec![serve(folder.path(), port, doors)];
        let mut inner_port = port;
        if doors.password || !doors.tls_names.is_empty() {
            inner_port = free_port();
            processes.push(serve(folder.path(), inner_port, &Doors::default()));
        }
        for port in [port, inner_port] {
            wait_until("docker-registry listens", || {
                TcpStream::connect_timeout(&local(port), Duration::from_secs(1)).is_ok()
            });
        }
        Some(Registry { folder, port, inner_port, _processes: processes })
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        local(self.port).to_string()
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate authority of a TLS registry, PEM.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// Pushes one image as `repository:tag`.
    ///
    /// # Panics
    /// When the registry refuses.
    pub fn push(&self, repository: &str, tag: &str, image: &Built) {
        for blob in &image.blobs {
            self.push_blob(repository, blob);
        }
        self.push_manifest(repository, tag, image.manifest_type, &image.manifest);
    }

    /// Pushes images of several platforms under one tag and returns the digest of the index.
    ///
    /// # Panics
    /// When the registry refuses.
    pub fn push_index(&self, repository: &str, tag: &str, images: &[Built]) -> String {
        for image in images {
            self.push(repository, &image.digest(), image);
        }
        let index = index_of(images);
        self.push_manifest(repository, tag, "application/vnd.oci.image.index.v1+json", &index);
        sha256(&index)
    }

    /// Pushes one blob.
    ///
    /// # Panics
    /// When the registry refuses.
    pub fn push_blob(&self, repository: &str, blob: &[u8]) {
        self.push_stream(repository, &mut &blob[..], &sha256(blob), blob.len() as u64);
    }

    /// Pushes the blob that is in a file, unless the repository has it.
    ///
    /// # Panics
    /// When the file cannot be read or the registry refuses.
    pub fn push_file(&self, repository: &str, file: &Path, digest: &str, size_bytes: u64) {
        let path = format!("/v2/{repository}/blobs/{digest}");
        if self.request("HEAD", &path, "", &mut io::empty(), 0).status == 200 {
            return;
        }
        let mut content = fs::File::open(file).expect("the blob");
        self.push_stream(repository, &mut content, digest, size_bytes);
    }

    fn push_stream(&self, repository: &str, blob: &mut dyn Read, digest: &str, size_bytes: u64) {
        let begun =
            self.request("POST", &format!("/v2/{repository}/blobs/uploads/"), "", &mut io::empty(), 0);
        assert_eq!(begun.status, 202, "{begun:?}");
        let location = &begun.headers["location"];
        let path = location.find("/v2/").map_or(location.as_str(), |at| &location[at..]);
        let joint = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{joint}digest={digest}");
        let done = self.request("PUT", &path, "application/octet-stream", blob, size_bytes);
        assert_eq!(done.status, 201, "{done:?}");
    }

    /// Pushes a manifest whose blobs are there.
    ///
    /// # Panics
    /// When the registry refuses.
    pub fn push_manifest(&self, repository: &str, reference: &str, media_type: &str, manifest: &[u8]) {
        let (path, size) = (format!("/v2/{repository}/manifests/{reference}"), manifest.len() as u64);
        let done = self.request("PUT", &path, media_type, &mut &manifest[..], size);
        assert_eq!(done.status, 201, "{done:?}");
    }

    fn request(
        &self,
        method: &str,
        path: &str,
        media_type: &str,
        body: &mut dyn Read,
        size_bytes: u64,
    ) -> Response {
        let mut stream =
            TcpStream::connect_timeout(&local(self.inner_port), Duration::from_secs(5)).expect("connect");
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {size_bytes}\r\n",
        );
        if !media_type.is_empty() {
            head.push_str(&format!("Content-Type: {media_type}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).expect("send");
        io::copy(&mut body.take(size_bytes), &mut stream).expect("send");
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("receive");
        Response::parse(&String::from_utf8_lossy(&bytes))
    }
}

#[derive(Debug)]
struct Response {
    status: u16,
    headers: BTreeMap<String, String>,
}

impl Response {
    fn parse(text: &str) -> Response {
        let head = text.split("\r\n\r\n").next().unwrap_or_default();
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|word| word.parse().ok());
        let headers = lines.filter_map(|line| line.split_once(": "));
        Response {
            status: status.unwrap_or(0),
            headers: headers.map(|(key, value)| (key.to_ascii_lowercase(), value.to_owned())).collect(),
        }
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A port that is free now; nobody else picks it in the namespaces of a test.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(local(0)).expect("bind");
    listener.local_addr().expect("address").port()
}

fn serve(folder: &Path, port: u16, doors: &Doors) -> Running {
    let mut http = format!("http: {{addr: \"127.0.0.1:{port}\"");
    if !doors.tls_names.is_empty() {
        make_certificates(folder, &doors.tls_names);
        http.push_str(&format!(
            ", tls: {{certificate: {0}/server.crt, key: {0}/server.key}}",
            folder.display()
        ));
    }
    http.push('}');
    let mut auth = String::new();
    if doors.password {
        let passwords = folder.join("htpasswd");
        fs::write(&passwords, format!("{USER}:{PASSWORD_HASH}\n")).expect("htpasswd");
        auth = format!("auth: {{htpasswd: {{realm: cais, path: {}}}}}\n", passwords.display());
    }
    let config = folder.join(format!("{port}.yml"));
    let storage = folder.join("storage");
    let text = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n{auth}{http}\n",
        storage.display()
    );
    fs::write(&config, text).expect("configuration");
    Invocation::new("docker-registry", "serve").arg(config).spawn()
}

/// A certificate authority of its own and a server certificate for `names` and 127.0.0.1.
fn make_certificates(folder: &Path, names: &[String]) {
    let request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365";
    Invocation::new("openssl", request)
        .args("-keyout ca.key -out ca.crt -subj '/CN=cais test authority' -addext keyUsage=keyCertSign")
        .folder(folder)
        .ok();
    let names: Vec<String> = names.iter().map(|name| format!("DNS:{name}")).collect();
    Invocation::new("openssl", request)
        .args("-keyout server.key -out server.crt -subj '/CN=cais test registry' -CA ca.crt -CAkey ca.key")
        .args("-addext basicConstraints=critical,CA:FALSE -addext")
        .arg(format!("subjectAltName={},IP:127.0.0.1", names.join(",")))
        .folder(folder)
        .ok();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Image;
    use crate::layer::Layer;

    fn image() -> Built {
        Image::new().layer(Layer::new().file("a", "b")).build()
    }

    #[test]
    fn what_is_pushed_can_be_fetched() {
        let Some(registry) = Registry::start(&Doors::default()) else { return };
        registry.push("some/thing", "v1", &image());
        let url = format!("http://{}/v2/some/thing/manifests/v1", registry.address());
        let fetched = Invocation::new("curl", "-fsS -H 'Accept: application/vnd.oci.image.manifest.v1+json'")
            .arg(url)
            .output();
        assert_eq!(fetched.code(0).stdout, image().manifest);
        let digest =
            registry.push_index("some/multi", "v1", &[image(), Image::new().architecture("s390x").build()]);
        assert!(digest.starts_with("sha256:"));
    }

    #[test]
    fn tls_and_password_are_asked_for() {
        let doors = Doors { tls_names: vec!["registry.test".to_owned()], password: true, port: 0 };
        let Some(registry) = Registry::start(&doors) else { return };
        registry.push("p", "v1", &image());
        let url = format!("https://registry.test:{}/v2/p/tags/list", registry.port());
        let resolve = format!("registry.test:{}:127.0.0.1", registry.port());
        let curl = |extra: &str| {
            Invocation::new("curl", "-sS -o /dev/null -w %{http_code} --resolve")
                .arg(&resolve)
                .args(extra)
                .arg(&url)
                .output()
        };
        curl("").code(60);
        let ca = format!("--cacert {}", registry.ca().display());
        curl(&ca).code(0).prints("401");
        curl(&format!("{ca} -u '{USER}:{PASSWORD}'")).code(0).prints("200");
    }
}
