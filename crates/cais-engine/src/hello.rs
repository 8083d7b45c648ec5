//! The image `hello`: embedded in the program, put into the store at its first use, no network needed.

use std::io;

use cais_oci::{Digest, Platform};
use cais_runtime::embedded::HELLO;
use cais_store::ImageRecord;
use serde_json::json;

use crate::{Engine, Error, ErrorKind, Result};

/// Variable that tells the program the host's namespaces.
pub(crate) const HOST_NAMESPACES: &str = "CAIS_HELLO_HOST_NS";

/// Label that tells our image from a foreign one of the same name, and which program it holds.
const LABEL: &str = "cais.hello";
const NAME: &str = "hello";

/// The name may mean the embedded image.
pub(crate) fn is_hello(name: &str) -> bool {
    name == NAME || name == "hello:latest"
}

/// `mnt=4026531841,pid=…`: the caller's namespaces; those that it `left` are not this process's any more.
pub(crate) fn host_namespaces(left: &[String]) -> String {
    ["mnt", "pid", "net", "ipc", "uts", "cgroup", "user", "time"]
        .iter()
        .filter_map(|kind| {
            let key = format!("{kind}=");
            if let Some(before) = left.iter().find(|namespace| namespace.starts_with(&key)) {
                return Some(before.clone());
            }
            let link = std::fs::read_link(format!("/proc/self/ns/{kind}")).ok()?;
            let text = link.to_string_lossy().into_owned();
            let number = text.split_once('[')?.1.trim_end_matches(']').to_owned();
            Some(key + &number)
        })
        .collect::<Vec<_>>()
        .join(",")
}

/// The image in the store was made by another version of this program.
pub(crate) fn is_stale(record: &ImageRecord) -> bool {
    record.config.config.labels.get(LABEL).is_some_and(|build| *build != build_id())
}

impl Engine {
    /// Loads the embedded image into the store.
    pub(crate) fn load_hello(&self) -> Result<ImageRecord> {
        let archive = archive().map_err(|e| Error::caused(ErrorKind::System, "pack the image hello", e))?;
        self.load_bytes(&archive)?;
        self.image_record(NAME)
    }
}

fn build_id() -> String {
    Digest::sha256(HELLO).hex().to_owned()
}

/// A docker-archive of two layers: the program, and the files that a program expects.
fn archive() -> io::Result<Vec<u8>> {
    let program = layer(&[("hello", 0o755, HELLO)])?;
    let readme = b"This file is in the second layer of the image hello.\n";
    let files = layer(&[("etc/passwd", 0o644, b"root:x:0:0:root:/:/hello\n"), ("README", 0o644, readme)])?;
    let platform = Platform::host();
    let config = json!({
        "architecture": platform.architecture,
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "Cmd": ["/hello"],
            "Env": ["PATH=/"],
            "WorkingDir": "/",
            "Labels": { LABEL: build_id() },
        },
        "rootfs": { "type": "layers", "diff_ids": [Digest::sha256(&program), Digest::sha256(&files)] },
        "history": [
            { "created": "1970-01-01T00:00:00Z", "created_by": "COPY hello /hello" },
            { "created": "1970-01-01T00:00:00Z", "created_by": "COPY etc README /" },
        ],
    });
    let manifest = json!([{
        "Config": "config.json",
        "RepoTags": ["hello:latest"],
        "Layers": ["program.tar", "files.tar"],
    }]);
    let (manifest, config) = (manifest.to_string(), config.to_string());
    layer(&[
        ("manifest.json", 0o644, manifest.as_bytes()),
        ("config.json", 0o644, config.as_bytes()),
        ("program.tar", 0o644, &program),
        ("files.tar", 0o644, &files),
    ])
}

fn layer(files: &[(&str, u32, &[u8])]) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, mode, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(*mode);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        tar.append_data(&mut header, path, *content)?;
    }
    tar.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_the_same_every_time() {
        assert_eq!(archive().expect("packs"), archive().expect("packs"));
    }

    #[test]
    fn namespaces_are_listed() {
        assert!(host_namespaces(&[]).starts_with("mnt="));
        assert!(host_namespaces(&["user=7".to_owned()]).contains(",user=7"));
    }
}
