//! Tests: loading.

use std::io::Cursor;
use std::process::Command;

use cais_engine::progress::LayerEvent;
use cais_engine::verb::{LoadInput, Loaded};
use cais_engine::{ErrorKind, Result};
use cais_oci::{Digest, Platform};
use serde_json::{Value, json};

use super::archives::*;
use super::{Home, Recorder, home};

const REF_NAME: &str = "org.opencontainers.image.ref.name";

fn load(home: &Home, archive: &[u8], recorder: &Recorder) -> Result<Vec<Loaded>> {
    home.engine.load(LoadInput::Stdin(Box::new(Cursor::new(archive.to_vec()))), recorder)
}

#[test]
fn a_docker_archive_with_several_images() {
    let (one, two) = (Image::new("one", Packing::Plain), Image::new("two", Packing::Plain));
    let archive = docker_archive(&[(&one, &["app:1", "quay.io/x/app:one"]), (&two, &[])]);
    for packed in [archive.clone(), gzip(&archive), zstd(&archive)] {
        let home = home();
        let recorder = Recorder::default();
        let loaded = load(&home, &packed, &recorder).unwrap();
        assert_eq!(loaded[0].id, one.id());
        assert_eq!(loaded[0].names, ["docker.io/library/app:1", "quay.io/x/app:one"]);
        assert_eq!((loaded[1].id.clone(), loaded[1].names.len()), (two.id(), 0));
        assert_eq!(home.file(&one.id(), 1, "label"), "one");
        assert_eq!(home.file(&two.id(), 1, "label"), "two");
        assert_eq!(recorder.count(&LayerEvent::Done), 3);
        assert_eq!(recorder.count(&LayerEvent::Exists), 1, "the shared layer");
        assert_eq!(home.names(), ["docker.io/library/app:1", "quay.io/x/app:one"]);
        assert_eq!(home.store.check(false).unwrap(), []);
    }
}

#[test]
fn a_name_that_moves_is_told() {
    let home = home();
    let recorder = Recorder::default();
    let (one, two) = (Image::new("one", Packing::Plain), Image::new("two", Packing::Gzip));
    load(&home, &docker_archive(&[(&one, &["app"])]), &recorder).unwrap();
    assert!(recorder.messages().is_empty());
    load(&home, &docker_archive(&[(&two, &["app"])]), &recorder).unwrap();
    let expected = format!(
        "The image app:latest already exists, renaming the old one with ID {} to empty string",
        one.id()
    );
    assert_eq!(recorder.messages(), [expected]);
    let images = home.engine.images().unwrap();
    assert_eq!(images.iter().filter(|image| image.names.is_empty()).count(), 1, "the old one dangles");
    assert_eq!(home.engine.image("app").unwrap().id, two.id());
}

#[test]
fn an_oci_layout_as_archive_and_as_directory() {
    for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
        let image = Image::new("oci", packing);
        let index = index(vec![image.named(REF_NAME, "app:2")]);
        let blobs: Vec<&Vec<u8>> = image.blobs().collect();
        let recorder = Recorder::default();
        let from_archive = home();
        let loaded = load(&from_archive, &oci_archive(&blobs, &index), &recorder).unwrap();
        assert_eq!(loaded, [Loaded { id: image.id(), names: vec!["docker.io/library/app:2".into()] }]);
        assert_eq!(from_archive.file(&image.id(), 1, "label"), "oci");
        let record = from_archive.store.load_image(&image.id()).unwrap().unwrap();
        assert_eq!(record.manifest.digest, Digest::sha256(&image.manifest), "the manifest is kept as it is");
        let kept = std::fs::read(from_archive.store.paths().blob(&record.blobs[0].digest)).unwrap();
        assert!(kept == image.layers[0], "so are the blobs");
        assert_eq!(from_archive.store.check(false).unwrap(), []);

        let from_directory = home();
        let layout = from_directory.directory.path().join("layout");
        oci_directory(&layout, &blobs, &index);
        let loaded = from_directory.engine.load(LoadInput::Path(layout), &recorder).unwrap();
        assert_eq!(loaded[0].id, image.id());
        assert_eq!(from_directory.store.check(false).unwrap(), []);
        let file = from_directory.directory.path().join("archive.tar");
        std::fs::write(&file, oci_archive(&blobs, &index)).unwrap();
        assert_eq!(from_directory.engine.load(LoadInput::Path(file), &recorder).unwrap(), loaded);
    }
}

#[test]
fn of_several_platforms_the_machines_own_is_loaded() {
    let home = home();
    let own = Image::new("own", Packing::Gzip);
    let other = Image::for_platform("other", Packing::Gzip, Platform::new("linux", "s390x", None));
    let inner = index(vec![other.entry(), own.entry()]);
    let mut entry = descriptor(cais_oci::media_type::OCI_INDEX, &inner);
    entry.annotations.insert(REF_NAME.into(), "multi".into());
    let blobs: Vec<&Vec<u8>> = own.blobs().chain(other.blobs()).chain([&inner]).collect();
    let nested = oci_archive(&blobs, &index(vec![entry]));
    let flat = oci_archive(&blobs, &index(vec![other.entry(), own.entry()]));
    for archive in [nested, flat] {
        let loaded = load(&home, &archive, &Recorder::default()).unwrap();
        assert_eq!(loaded.iter().map(|it| it.id.clone()).collect::<Vec<_>>(), [own.id()]);
    }
    // The only one there is: loaded, with a warning.
    let recorder = Recorder::default();
    let blobs: Vec<&Vec<u8>> = other.blobs().collect();
    load(&home, &oci_archive(&blobs, &index(vec![other.entry()])), &recorder).unwrap();
    assert!(recorder.warnings.lock().unwrap()[0].contains("linux/s390x"));
    // None for this machine among several.
    let third = Image::for_platform("third", Packing::Plain, Platform::new("linux", "riscv64", None));
    let blobs: Vec<&Vec<u8>> = other.blobs().chain(third.blobs()).collect();
    let error =
        load(&home, &oci_archive(&blobs, &index(vec![other.entry(), third.entry()])), &recorder).unwrap_err();
    assert!(error.message.contains("linux/s390x, linux/riscv64"), "{error}");
}

#[test]
fn bad_input_is_refused_in_words_and_leaves_nothing() {
    let home = home();
    let image = Image::new("x", Packing::Plain);
    let good = docker_archive(&[(&image, &["x"])]);
    let refused = |archive: &[u8], words: &str| {
        let error = load(&home, archive, &Recorder::default()).unwrap_err();
        assert!(matches!(error.kind, ErrorKind::Invalid | ErrorKind::Unsupported), "{error:?}");
        assert!(error.message.contains(words), "expected {words:?} in {error}");
        home.assert_untouched();
    };
    refused(b"", "neither a manifest.json nor an index.json");
    refused(&tar_of(&[("etc/passwd", b"x")]), "neither a manifest.json");
    refused(&[b'x'; 2000], "the input is no tar archive");
    refused(b"\xfd7zXZ\0 and so on", "xz");
    refused(&gzip(&good)[..1000], "decompress");
    refused(&good[..good.len() / 2], "ends in the middle");
    refused(&tar_of(&[("manifest.json", b"[{]")]), "manifest.json is malformed");
    refused(&tar_of(&[("manifest.json", b"[]")]), "lists no image");
    refused(&tar_of(&[("manifest.json", br#"[{"Config":"../../etc/passwd"}]"#)]), "lacks");
    refused(&tar_of(&[("index.json", b"{}")]), "index.json");

    let mut other_config = image.clone();
    other_config.layers[1] = tar_of(&[("label", b"forged")]);
    refused(&docker_archive(&[(&other_config, &["x"])]), "expected sha256:");
    let mut fewer = image.clone();
    fewer.layers.pop();
    refused(&docker_archive(&[(&fewer, &["x"])]), "manifest has 1 layers, config has 2");

    let entry = index(vec![image.entry()]);
    let without_layer: Vec<&Vec<u8>> = image.blobs().skip(1).collect();
    refused(&oci_archive(&without_layer, &entry), "lacks blob");
    let mut forged = image.clone();
    forged.layers[0][600] ^= 1;
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in image.blobs().zip(forged.blobs()) {
        append(&mut builder, &format!("blobs/sha256/{}", Digest::sha256(name).hex()), content);
    }
    append(&mut builder, "index.json", &entry);
    refused(&builder.into_inner().unwrap(), "lacks blob");
}

#[test]
fn a_forged_blob_in_a_directory_is_refused() {
    let home = home();
    let image = Image::new("x", Packing::Gzip);
    let layout = home.directory.path().join("layout");
    let blobs: Vec<&Vec<u8>> = image.blobs().collect();
    oci_directory(&layout, &blobs, &index(vec![image.entry()]));
    let blob = layout.join("blobs/sha256").join(Digest::sha256(&image.layers[0]).hex());
    let load = || {
        home.engine.load(LoadInput::Path(layout.clone()), &Recorder::default()).map_err(|error| error.message)
    };
    for content in [gzip(b"something else"), image.layers[1].clone(), Vec::new()] {
        std::fs::write(&blob, content).unwrap();
        let error = load().unwrap_err();
        assert!(error.contains("expected"), "{error}");
        home.assert_untouched();
    }
    std::fs::remove_file(&blob).unwrap();
    assert!(load().unwrap_err().contains("lacks blob"));
    rustix::fs::mknodat(rustix::fs::CWD, &blob, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
        .unwrap();
    assert!(load().unwrap_err().contains("no regular file"));
    home.assert_untouched();
}

#[test]
fn names_of_an_archive_never_reach_the_host() {
    let home = home();
    let image = Image::new("x", Packing::Plain);
    let canary = home.directory.path().join("canary");
    std::fs::write(&canary, "untouched").unwrap();
    let mut builder = tar::Builder::new(Vec::new());
    for path in ["../canary", "../../canary", canary.to_str().unwrap(), "a/../../canary"] {
        append(&mut builder, path, b"overwritten");
    }
    append_symlink(&mut builder, "dir", home.directory.path().to_str().unwrap());
    append(&mut builder, "dir/canary", b"overwritten");
    append_symlink(&mut builder, "blobs/loop", "loop");
    let inner = docker_archive(&[(&image, &["x"])]);
    let mut archive = builder.into_inner().unwrap();
    archive.truncate(archive.len() - 1024);
    archive.extend(inner);
    load(&home, &archive, &Recorder::default()).unwrap();
    assert_eq!(std::fs::read_to_string(&canary).unwrap(), "untouched");
    let mut present: Vec<_> =
        std::fs::read_dir(home.directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    present.sort();
    assert_eq!(present, ["canary", "lib", "run"]);
    assert_eq!(home.store.check(false).unwrap(), []);

    // A config that is a loop of links.
    let mut builder = tar::Builder::new(Vec::new());
    append_symlink(&mut builder, "a", "b");
    append_symlink(&mut builder, "b", "a");
    append(&mut builder, "manifest.json", br#"[{"Config":"a","Layers":[]}]"#);
    let error = load(&home, &builder.into_inner().unwrap(), &Recorder::default()).unwrap_err();
    assert!(error.message.contains("too many links"), "{error}");
}

#[test]
fn archives_of_other_tools() {
    let home = home();
    if Command::new("skopeo").arg("--version").output().is_err() {
        println!("skipped: skopeo is not installed");
        return;
    }
    let image = Image::new("foreign", Packing::Gzip);
    let layout = home.directory.path().join("layout");
    let blobs: Vec<&Vec<u8>> = image.blobs().collect();
    oci_directory(&layout, &blobs, &index(vec![image.named(REF_NAME, "x")]));
    let from = format!("oci:{}:x", layout.display());
    for kind in ["docker-archive", "oci-archive"] {
        let file = home.directory.path().join(kind);
        let to = format!("{kind}:{}:example.org/made/by:skopeo", file.display());
        let copied = Command::new("skopeo").args(["copy", "--insecure-policy", &from, &to]).output().unwrap();
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
        let loaded = home.engine.load(LoadInput::Path(file), &Recorder::default()).unwrap();
        assert_eq!(loaded[0].names, ["example.org/made/by:skopeo"], "{kind}");
        assert_eq!(home.file(&loaded[0].id, 1, "label"), "foreign");
        assert_eq!(loaded[0].id, image.id(), "{kind}");
    }
    assert_eq!(home.store.check(false).unwrap(), []);
}

#[test]
fn an_imported_tar_is_an_image() {
    let home = home();
    let tar = tar_of(&[("etc/motd", b"hi"), ("bin/sh", &[1; 5000])]);
    let changes =
        ["CMD [\"/bin/sh\"]", "ENV A=b", "EXPOSE 80", "LABEL k=v", "WORKDIR /srv"].map(str::to_owned);
    for packed in [tar.clone(), gzip(&tar), zstd(&tar)] {
        let id = home
            .engine
            .import(Box::new(Cursor::new(packed)), Some("rootfs:1"), Some("by hand"), &changes, None)
            .unwrap();
        assert_eq!(home.file(&id, 0, "etc/motd"), "hi");
        let record = home.store.load_image(&id).unwrap().unwrap();
        assert_eq!(record.layers, [Digest::sha256(&tar)]);
        assert!(
            std::fs::read(home.store.paths().blob(&record.blobs[0].digest)).unwrap() == tar,
            "the plain tar is kept"
        );
        let seen = home.engine.image_inspect("rootfs:1").unwrap();
        assert_eq!(seen["Id"], json!(id));
        assert_eq!(seen["RepoTags"], json!(["rootfs:1"]));
        assert_eq!(seen["Comment"], "by hand");
        assert_eq!(seen["Config"]["Cmd"], json!(["/bin/sh"]));
        assert_eq!(seen["Config"]["Env"], json!(["A=b"]));
        assert_eq!(seen["Config"]["ExposedPorts"], json!({ "80/tcp": {} }));
        assert_eq!(seen["Config"]["WorkingDir"], "/srv");
        assert_eq!(seen["Config"]["Entrypoint"], Value::Null);
        assert_eq!(seen["Size"], 5002);
        assert_eq!(seen["Os"], "linux");
        assert_eq!(seen["RootFS"], json!({ "Type": "layers", "Layers": [Digest::sha256(&tar)] }));
    }
    assert_eq!(home.names(), ["docker.io/library/rootfs:1"]);
    let none =
        home.engine.import(Box::new(Cursor::new(tar.clone())), None, None, &[], Some("linux/s390x")).unwrap();
    assert_eq!(home.engine.image(none.as_str()).unwrap().platform.to_string(), "linux/s390x");
    assert_eq!(home.store.check(false).unwrap(), []);

    let refused = |input: &[u8], name, changes: &[&str], words: &str| {
        let changes: Vec<String> = changes.iter().map(|line| (*line).to_owned()).collect();
        let error = home
            .engine
            .import(Box::new(Cursor::new(input.to_vec())), name, None, &changes, None)
            .unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert!(error.message.contains(words), "{error}");
    };
    let before = home.engine.images().unwrap().len();
    refused(
        b"rubbish that is no tar at all, but long enough to be one",
        None,
        &[],
        "cannot unpack layer archive",
    );
    refused(b"", None, &[], "no files");
    refused(&tar, Some("UPPER"), &[], "lower case");
    refused(&tar, None, &["RUN make"], "RUN is not possible here");
    refused(&tar_of(&[("../evil", b"x")]), None, &[], "\"..\"");
    assert_eq!(home.engine.images().unwrap().len(), before);
}
