//! `spec`: a config.json to begin with.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Door;
use super::failure::{Failure, Outcome};
use super::flags::Words;

pub(super) fn main(_door: &Door, words: &Words) -> Outcome {
    let template = cais_bundle::template(words.switch("rootless"));
    let folder = words.path("bundle").unwrap_or_else(|| PathBuf::from("."));
    let name = words.path("file").unwrap_or_else(|| PathBuf::from("config.json"));
    write(&folder.join(name), &template)?;
    Ok(0)
}

/// Writes a new file; what is there already stays.
fn write(path: &Path, document: &impl Serialize) -> Result<(), Failure> {
    let mut text = Vec::new();
    let tabs = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, tabs);
    document.serialize(&mut serializer).map_err(|error| Failure::edge("write JSON", error))?;
    text.push(b'\n');
    let name = path.display();
    let mut file =
        OpenOptions::new().write(true).create_new(true).open(path).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => Failure::usage(format!("file {name} exists; remove it first")),
            _ => Failure::io(format!("create {name}"), &error),
        })?;
    file.write_all(&text).map_err(|error| Failure::io(format!("write {name}"), &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_overwrites() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config.json");
        write(&path, &serde_json::json!({"a": [1]})).expect("written");
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "{\n\t\"a\": [\n\t\t1\n\t]\n}\n");
        let refusal = write(&path, &1).expect_err("it exists").message;
        assert!(refusal.ends_with("config.json exists; remove it first"), "{refusal}");
        assert!(write(&folder.path().join("no/config.json"), &1).is_err());
    }
}
