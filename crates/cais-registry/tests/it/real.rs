//! Debian's docker-registry as a foreign registry, filled by skopeo.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cais_oci::{Descriptor, ManifestKind, Reference, media_type};
use cais_registry::{Client, Failure, Placed};

use crate::fake::{Image, settings};

const REGISTRY: &str = "/usr/bin/docker-registry";
const SKOPEO: &str = "/usr/bin/skopeo";

/// Stops the server when the test ends, however it ends.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(directory: &Path) -> (Server, SocketAddr) {
    let config = directory.join("registry.yml");
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        // Somebody else may take the port before the registry does: then it exits, and another port is tried.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{address}\"}}\n",
            directory.join("data").display()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new(REGISTRY);
        command.arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        let mut server = Server(command.spawn().unwrap());
        while server.0.try_wait().unwrap().is_none() {
            if TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok() {
                return (server, address);
            }
            assert!(Instant::now() < deadline, "the registry does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(Instant::now() < deadline, "the registry does not stay up");
    }
}

/// Writes the image as an OCI layout for skopeo.
fn write_layout(directory: &Path, image: &Image) {
    let blobs = directory.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    for bytes in [&image.manifest, &image.config, &image.layer] {
        std::fs::write(blobs.join(cais_oci::Digest::sha256(bytes).hex()), bytes).unwrap();
    }
    std::fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{}","size":{}}}]}}"#,
        image.digest,
        image.manifest.len()
    );
    std::fs::write(directory.join("index.json"), index).unwrap();
}

#[test]
fn what_skopeo_pushed_is_pulled() {
    if !Path::new(REGISTRY).exists() || !Path::new(SKOPEO).exists() {
        println!("skipped: docker-registry and skopeo are not both installed");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (_server, address) = start(directory.path());
    let image = Image::new();
    let layout = directory.path().join("layout");
    write_layout(&layout, &image);
    let status = Command::new(SKOPEO)
        .args(["copy", "--quiet", "--insecure-policy", "--preserve-digests", "--dest-tls-verify=false"])
        .arg(format!("oci:{}", layout.display()))
        .arg(format!("docker://{address}/team/app:1"))
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "skopeo could not push");

    let client = Client::new(&settings(directory.path())).unwrap();
    let name = Reference::parse(&format!("{address}/team/app:1")).unwrap();
    let fetched = client.manifest(&name, None).unwrap();
    assert_eq!(fetched.digest, image.digest);
    let ManifestKind::Manifest(manifest) = &fetched.kind else { panic!("an index") };
    let mut bytes = Vec::new();
    client.blob(&name, &manifest.layers[0]).unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, image.layer);

    let mut seen = manifest.layers[0].digest.hasher();
    seen.update(&image.layer[..12_345]);
    bytes.clear();
    client.blob_from(&name, &manifest.layers[0], 12_345, seen).unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, &image.layer[12_345..]);

    let error = client.manifest(&name.with_tag("absent").unwrap(), None).unwrap_err();
    assert!(error.is_not_found(), "{error:?}");
    let Some(Failure::NotFound { message, .. }) = error.failure() else { panic!("{error:?}") };
    assert_eq!(message.as_deref(), Some("manifest unknown"));
}

#[test]
fn what_is_pushed_is_copied_by_skopeo() {
    if !Path::new(REGISTRY).exists() || !Path::new(SKOPEO).exists() {
        println!("skipped: docker-registry and skopeo are not both installed");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (_server, address) = start(directory.path());
    let image = Image::new();
    let client = Client::new(&settings(directory.path())).unwrap();
    let push = |repository: &str, also_read: &[String]| {
        let name = Reference::parse(&format!("{address}/{repository}:1")).unwrap();
        let destination = client.destination(&name, also_read).unwrap();
        let mut placed = Vec::new();
        for bytes in [&image.layer, &image.config] {
            let blob = Descriptor::new("", cais_oci::Digest::sha256(bytes), bytes.len() as u64);
            let open = |offset: u64| {
                let rest = bytes[usize::try_from(offset).unwrap()..].to_vec();
                Ok(Box::new(std::io::Cursor::new(rest)) as Box<dyn Read>)
            };
            placed.push(destination.put_blob(&blob, also_read, &open, &|_| {}).unwrap());
        }
        for tag in [Some("1"), Some("2"), None] {
            destination.put_manifest(tag, &image.manifest, media_type::OCI_MANIFEST).unwrap();
        }
        placed
    };
    assert_eq!(push("team/app", &[]), [Placed::Sent, Placed::Sent]);
    assert_eq!(push("team/app", &[]), [Placed::Present, Placed::Present]);
    let from = "team/app".to_owned();
    let mounted = [Placed::Mounted(from.clone()), Placed::Mounted(from.clone())];
    assert_eq!(push("team/other", &[from]), mounted);

    for (repository, tag) in [("team/app", "2"), ("team/other", "1")] {
        let copy = directory.path().join(repository.replace('/', "-"));
        let status = Command::new(SKOPEO)
            .args(["copy", "--quiet", "--insecure-policy", "--preserve-digests", "--src-tls-verify=false"])
            .arg(format!("docker://{address}/{repository}:{tag}"))
            .arg(format!("dir:{}", copy.display()))
            .status()
            .unwrap();
        assert!(status.success(), "skopeo could not pull {repository}:{tag}");
        assert_eq!(std::fs::read(copy.join("manifest.json")).unwrap(), image.manifest);
        let layer = copy.join(image.layer_descriptor.digest.hex());
        assert_eq!(std::fs::read(layer).unwrap(), image.layer);
    }
}
