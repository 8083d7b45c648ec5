//! A registry that answers from memory and counts, and docker-registry where it is installed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cais_oci::{Digest, media_type};

use super::archives::Image;

#[derive(Default)]
struct Content {
    /// By tag or digest: type and bytes.
    manifests: BTreeMap<String, (String, Vec<u8>)>,
    blobs: BTreeMap<String, Vec<u8>>,
    /// Requests for blobs, in order.
    asked: Vec<String>,
}

/// Serves one repository, whatever it is called, until the test ends.
pub struct Registry {
    pub address: String,
    content: Arc<Mutex<Content>>,
}

impl Registry {
    pub fn start() -> Registry {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let content: Arc<Mutex<Content>> = Arc::default();
        let shared = content.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = shared.clone();
                std::thread::spawn(move || serve(&stream, &shared));
            }
        });
        Registry { address, content }
    }

    pub fn name(&self, tag: &str) -> String {
        format!("{}/team/app:{tag}", self.address)
    }

    pub fn put(&self, tag: &str, image: &Image) {
        let mut content = self.content.lock().unwrap();
        for blob in image.layers.iter().chain([&image.config]) {
            content.blobs.insert(Digest::sha256(blob).to_string(), blob.clone());
        }
        drop(content);
        self.put_manifest(tag, media_type::OCI_MANIFEST, &image.manifest);
    }

    pub fn put_manifest(&self, tag: &str, kind: &str, bytes: &[u8]) {
        let mut content = self.content.lock().unwrap();
        for name in [tag.to_owned(), Digest::sha256(bytes).to_string()] {
            content.manifests.insert(name, (kind.to_owned(), bytes.to_vec()));
        }
    }

    /// Replaces or removes the bytes that a digest names.
    pub fn forge(&self, digest: &Digest, bytes: Option<Vec<u8>>) {
        let mut content = self.content.lock().unwrap();
        match bytes {
            Some(bytes) => content.blobs.insert(digest.to_string(), bytes),
            None => content.blobs.remove(digest.as_str()),
        };
    }

    /// How many blobs were asked for since the last call.
    pub fn asked(&self) -> usize {
        std::mem::take(&mut self.content.lock().unwrap().asked).len()
    }
}

fn serve(stream: &TcpStream, content: &Mutex<Content>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut request = String::new();
        // The client tries TLS first: that is no text, and ends the connection.
        if reader.read_line(&mut request).unwrap_or(0) == 0 {
            return;
        }
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|count| count > 2) {
            line.clear();
        }
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        let answer = answer(&path, &mut content.lock().unwrap());
        let (status, kind, body) = answer.unwrap_or((404, "application/json".into(), b"{}".to_vec()));
        let head =
            format!("HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len());
        let mut writer = stream;
        if writer.write_all(head.as_bytes()).and_then(|()| writer.write_all(&body)).is_err() {
            return;
        }
    }
}

fn answer(path: &str, content: &mut Content) -> Option<(u16, String, Vec<u8>)> {
    let (before, name) = path.rsplit_once('/')?;
    if before.ends_with("/manifests") {
        let (kind, bytes) = content.manifests.get(name)?;
        return Some((200, kind.clone(), bytes.clone()));
    }
    if before.ends_with("/blobs") {
        content.asked.push(name.to_owned());
        return Some((200, "application/octet-stream".into(), content.blobs.get(name)?.clone()));
    }
    (path == "/v2/").then(|| (200, "application/json".into(), b"{}".to_vec()))
}

/// Debian's docker-registry on loopback; ends with the value.
pub struct DockerRegistry {
    child: Child,
    pub address: SocketAddr,
}

impl DockerRegistry {
    /// `None` where it is not installed.
    pub fn start(directory: &Path) -> Option<DockerRegistry> {
        // Free at this moment; nobody else on the machine hurries for it.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = directory.join("registry.yml");
        let text = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n",
            directory.join("registry").display()
        );
        std::fs::write(&config, text).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let registry = DockerRegistry { child, address };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
            assert!(Instant::now() < deadline, "docker-registry did not begin to listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(registry)
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
