//! Tests: removing.

use std::io::Cursor;

use cais_engine::verb::LoadInput;
use cais_engine::view::ImageRemoval;
use cais_engine::{ContainerRecord, ContainerRequest, ErrorKind, NetworkRequest};
use cais_store::{random_id, run_state};

use super::archives::*;
use super::{Home, Recorder, home};

fn with_images(images: &[(&Image, &[&str])]) -> Home {
    let home = home();
    let archive = docker_archive(images);
    home.engine.load(LoadInput::Stdin(Box::new(Cursor::new(archive))), &Recorder::default()).unwrap();
    home
}

fn put_container(home: &Home, image: &Image, name: &str) -> String {
    let image = home.store.load_image(&image.id()).unwrap().unwrap();
    let record = ContainerRecord {
        id: random_id(),
        name: name.into(),
        created: run_state::now(),
        request: ContainerRequest::default(),
        image_id: Some(image.id),
        image_name: String::new(),
        layers: image.layers,
        args: Vec::new(),
        entrypoint: Vec::new(),
        cmd: Vec::new(),
        env: Vec::new(),
        workdir: "/".into(),
        user: String::new(),
        labels: Default::default(),
        stop_signal: 15,
        stop_signal_given: None,
        mounts: Vec::new(),
        exposed: Vec::new(),
        network: NetworkRequest::None,
        hostname: String::new(),
        health: None,
        ..ContainerRecord::default()
    };
    home.store.put_container(&record, &home.store.hold().unwrap()).unwrap();
    record.id
}

fn untagged(name: &str) -> ImageRemoval {
    ImageRemoval::Untagged(name.into())
}

#[test]
fn names_go_one_by_one_and_the_image_with_the_last() {
    let (one, two) = (Image::new("one", Packing::Plain), Image::new("two", Packing::Plain));
    let home = with_images(&[(&one, &["app:1", "app:2"]), (&two, &["other"])]);
    home.engine.tag("app:1", "quay.io/copy").unwrap();
    assert!(
        home.engine
            .remove_image(one.id().short(), false, false)
            .is_err_and(|error| error.kind == ErrorKind::Conflict)
    );
    assert_eq!(home.engine.remove_image("app:1", false, false).unwrap(), [untagged("app:1")]);
    assert_eq!(home.engine.remove_image("app:2", false, false).unwrap(), [untagged("app:2")]);
    let last = home.engine.remove_image("quay.io/copy", false, false).unwrap();
    assert_eq!(last, [untagged("quay.io/copy:latest"), ImageRemoval::Deleted(one.id())]);
    assert_eq!(home.file(&two.id(), 0, "etc/os-release"), "NAME=base\n", "the shared layer stays");
    assert_eq!(home.store.check(false).unwrap(), [], "nothing that nobody needs");
    let error = home.engine.remove_image("app:1", true, false).unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::NotFound, "no such image: app:1"));
    assert!(
        home.engine
            .remove_image(two.id().hex(), false, false)
            .unwrap()
            .contains(&ImageRemoval::Deleted(two.id()))
    );
    assert_eq!(std::fs::read_dir(home.store.paths().layers()).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(home.store.paths().blobs()).unwrap().count(), 0);
}

#[test]
fn containers_hold_their_image() {
    let image = Image::new("one", Packing::Plain);
    let home = with_images(&[(&image, &["app"])]);
    let container = put_container(&home, &image, "user");
    let conflict = |force| {
        let error = home.engine.remove_image("app", force, false).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Conflict);
        assert!(error.message.contains(&container[..12]), "{error}");
        assert_eq!(home.names(), ["docker.io/library/app:latest"], "nothing was changed");
    };
    conflict(false);
    let lock = home.store.take_run_lock(&container).unwrap();
    conflict(false);
    conflict(true);
    drop(lock);
    home.engine.remove_image("app", true, false).unwrap();
    assert!(home.engine.images().unwrap().is_empty());
    let layers = home.store.load_container(&container).unwrap().layers;
    assert!(
        layers.iter().all(|layer| home.store.layer(layer).unwrap().is_some()),
        "the container keeps its layers"
    );
    assert_eq!(home.store.check(false).unwrap(), []);
    home.store.remove_container(&container).unwrap();
    assert_eq!(home.store.sweep().unwrap().layers.len(), 2);
}

#[test]
fn tags_and_lookups() {
    let image = Image::new("one", Packing::Plain);
    let home = with_images(&[(&image, &["localhost/built:dev"])]);
    let id = image.id();
    home.engine.tag(id.short(), "docker.io/library/again").unwrap();
    home.engine.tag("again:latest", "registry.example:5000/deep/er:v1").unwrap();
    assert_eq!(
        home.names(),
        ["docker.io/library/again:latest", "localhost/built:dev", "registry.example:5000/deep/er:v1"]
    );
    for name in ["again", "built:dev", "localhost/built:dev", id.as_str(), id.hex(), &id.hex()[..4]] {
        assert_eq!(home.engine.image(name).unwrap().id, id, "{name}");
    }
    for name in ["built", "nobody", "UPPER", "", "again@sha256:0"] {
        assert_eq!(home.engine.image(name).unwrap_err().kind, ErrorKind::NotFound, "{name:?}");
    }
    assert_eq!(home.engine.tag("nobody", "x").unwrap_err().kind, ErrorKind::NotFound);
    for target in ["UPPER", "x:", &format!("x@{id}")] {
        assert_eq!(home.engine.tag("again", target).unwrap_err().kind, ErrorKind::Invalid, "{target}");
    }
    let seen = home.engine.image_inspect("again").unwrap();
    assert_eq!(seen["RepoTags"].as_array().unwrap().len(), 3);
    assert_eq!(seen["Created"], "2026-02-03T04:05:06Z");
    assert_eq!(seen["Config"]["Cmd"][0], "/bin/tool");
    assert!(seen["GraphDriver"]["Data"]["LowerDir"].as_str().unwrap().ends_with("/fs"));
    assert!(seen["Config"].as_object().unwrap().contains_key("Volumes"));
}
