//! Tests: pulling.

use std::process::Command;

use cais_engine::progress::LayerEvent;
use cais_engine::{ErrorKind, Result};
use cais_oci::{Digest, Platform, media_type};

use super::archives::*;
use super::registry::{DockerRegistry, Registry};
use super::{Home, Recorder, home};

fn pull(home: &Home, name: &str, recorder: &Recorder) -> Result<Digest> {
    home.engine.pull(name, None, recorder).map(|pulled| pulled.image.id)
}

#[test]
fn what_is_here_is_not_downloaded_again() {
    let (home, registry) = (home(), Registry::start());
    let (one, two) = (Image::new("one", Packing::Gzip), Image::new("two", Packing::Zstd));
    registry.put("1", &one);
    let recorder = Recorder::default();
    let view = home.engine.pull(&registry.name("1"), None, &recorder).unwrap().image;
    assert_eq!(view.id, one.id());
    assert_eq!(view.names, [registry.name("1")]);
    let digest = Digest::sha256(&one.manifest);
    assert_eq!(view.digests, [format!("{}/team/app@{digest}", registry.address)]);
    assert_eq!(view.size_bytes, 300_013);
    assert_eq!(view.labels["label"], "one");
    assert_eq!(home.file(&one.id(), 1, "label"), "one");
    assert_eq!(registry.asked(), 3, "config and two layers");
    assert_eq!(recorder.count(&LayerEvent::Done), 2);
    let messages = recorder.messages();
    assert_eq!(messages[0], "1: Pulling from team/app");
    assert_eq!(messages[1], format!("Digest: {digest}"));
    assert_eq!(messages[2], format!("Status: Downloaded newer image for {}", registry.name("1")));
    let record = home.store.load_image(&one.id()).unwrap().unwrap();
    assert!(std::fs::read(home.store.paths().blob(&record.blobs[0].digest)).unwrap() == one.layers[0]);

    let recorder = Recorder::default();
    pull(&home, &registry.name("1"), &recorder).unwrap();
    assert_eq!(recorder.messages()[2], format!("Status: Image is up to date for {}", registry.name("1")));
    assert_eq!(registry.asked(), 1, "only the config");
    assert_eq!(recorder.count(&LayerEvent::Exists), 2);

    // Other compression, same tar below: known by its diff_id.
    registry.put("1", &two);
    pull(&home, &registry.name("1"), &Recorder::default()).unwrap();
    assert_eq!(registry.asked(), 2, "config and the upper layer");
    assert_eq!(home.engine.image(&registry.name("1")).unwrap().id, two.id());
    assert_eq!(home.engine.image(one.id().short()).unwrap().names, [""; 0]);

    // By digest.
    let by_digest = format!("{}/team/app@{digest}", registry.address);
    assert_eq!(pull(&home, &by_digest, &Recorder::default()).unwrap(), one.id());
    assert_eq!(home.engine.image(&by_digest).unwrap().id, one.id());
    assert_eq!(home.store.check(false).unwrap(), []);
}

#[test]
fn an_index_gives_the_platform_that_is_asked_for() {
    let (home, registry) = (home(), Registry::start());
    let own = Image::new("own", Packing::Gzip);
    let other = Image::for_platform("other", Packing::Gzip, Platform::new("linux", "s390x", None));
    registry.put("own", &own);
    registry.put("other", &other);
    let both = index(vec![other.entry(), own.entry()]);
    registry.put_manifest("latest", media_type::OCI_INDEX, &both);
    let recorder = Recorder::default();
    let name = format!("{}/team/app", registry.address);
    assert_eq!(pull(&home, &name, &recorder).unwrap(), own.id());
    assert_eq!(recorder.messages()[0], "Using default tag: latest");
    let view = home.engine.image(&name).unwrap();
    assert_eq!(
        view.digests,
        [format!("{name}@{}", Digest::sha256(&both))],
        "what the tag meant is the index"
    );
    let forced = home.engine.pull(&name, Some("linux/s390x"), &recorder).unwrap().image;
    assert_eq!((forced.id, forced.platform.to_string()), (other.id(), "linux/s390x".to_owned()));
    let error = home.engine.pull(&name, Some("linux/riscv64"), &recorder).unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
    let host = Platform::host();
    assert!(
        error
            .message
            .ends_with(&format!("is not available for linux/riscv64; it is for {host}, linux/s390x")),
        "{error}"
    );
    // Without an index the config tells.
    let error = home.engine.pull(&registry.name("own"), Some("linux/s390x"), &recorder).unwrap_err();
    assert!(error.message.ends_with(&format!("is for {host}, not for linux/s390x")), "{error}");
    assert!(recorder.warnings.lock().unwrap().is_empty());
    pull(&home, &registry.name("other"), &recorder).unwrap();
    assert!(recorder.warnings.lock().unwrap()[0].contains("is for linux/s390x, not for"));
    assert!(home.engine.pull(&name, Some("toaster"), &recorder).is_err());
}

#[test]
fn lies_are_refused_and_leave_nothing() {
    let (home, registry) = (home(), Registry::start());
    let image = Image::new("x", Packing::Gzip);
    registry.put("1", &image);
    let refused = |name: &str, words: &str| {
        let error = pull(&home, name, &Recorder::default()).unwrap_err();
        assert!(error.message.contains(words), "expected {words:?} in {error}");
        home.assert_untouched();
        error.kind
    };
    let layer = Digest::sha256(&image.layers[0]);
    let mut changed = image.layers[0].clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    registry.forge(&layer, Some(changed));
    assert!(matches!(refused(&registry.name("1"), "expected"), ErrorKind::Remote | ErrorKind::Invalid));
    registry.forge(&layer, Some(image.layers[1].clone()));
    refused(&registry.name("1"), "expected");
    registry.forge(&layer, None);
    assert_eq!(refused(&registry.name("1"), "does not have it"), ErrorKind::NotFound);
    assert_eq!(refused(&registry.name("2"), "does not have it"), ErrorKind::NotFound);
    registry.forge(&layer, Some(image.layers[0].clone()));
    let config = Digest::sha256(&image.config);
    registry.forge(&config, Some(b"{}".to_vec()));
    assert_eq!(refused(&registry.name("1"), "expected"), ErrorKind::Remote);

    // A manifest whose layers do not belong to its config.
    let mut fewer: cais_oci::Manifest = serde_json::from_slice(&image.manifest).unwrap();
    registry.forge(&config, Some(image.config.clone()));
    fewer.layers.pop();
    registry.put_manifest("3", media_type::OCI_MANIFEST, &serde_json::to_vec(&fewer).unwrap());
    assert_eq!(refused(&registry.name("3"), "manifest has 1 layers, config has 2"), ErrorKind::Invalid);
    let mut swapped: cais_oci::Manifest = serde_json::from_slice(&image.manifest).unwrap();
    swapped.layers.reverse();
    registry.put_manifest("4", media_type::OCI_MANIFEST, &serde_json::to_vec(&swapped).unwrap());
    assert_eq!(refused(&registry.name("4"), "unpacked layer has the digest"), ErrorKind::Invalid);
    let mut artifact: cais_oci::Manifest = serde_json::from_slice(&image.manifest).unwrap();
    artifact.config.media_type = "application/vnd.cncf.helm.config.v1+json".into();
    registry.put_manifest("5", media_type::OCI_MANIFEST, &serde_json::to_vec(&artifact).unwrap());
    refused(&registry.name("5"), "no image but an artifact of type application/vnd.cncf.helm.config");
    let error = pull(&home, "127.0.0.1:1/x", &Recorder::default()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Remote);
    assert!(error.message.contains("cannot connect to 127.0.0.1:1"), "{error}");
}

#[test]
fn several_pulls_at_once_download_each_layer_once() {
    let (home, registry) = (home(), Registry::start());
    let images: Vec<Image> = (0..4).map(|n| Image::new(&n.to_string(), Packing::Gzip)).collect();
    for (number, image) in images.iter().enumerate() {
        registry.put(&number.to_string(), image);
    }
    std::thread::scope(|scope| {
        for number in 0..12 {
            let (home, registry) = (&home, &registry);
            scope.spawn(move || {
                pull(home, &registry.name(&(number % 4).to_string()), &Recorder::default()).unwrap();
            });
        }
    });
    assert_eq!(registry.asked(), 12 + 5, "each config for each pull, each layer once");
    assert_eq!(home.engine.images().unwrap().len(), 4);
    assert_eq!(home.store.check(false).unwrap(), []);
}

#[test]
fn from_docker_registry() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path();
    let Some(registry) = DockerRegistry::start(directory) else {
        println!("skipped: docker-registry is not installed");
        return;
    };
    let image = Image::new("real", Packing::Gzip);
    let layout = directory.join("layout");
    let blobs: Vec<&Vec<u8>> = image.blobs().collect();
    oci_directory(&layout, &blobs, &index(vec![image.named("org.opencontainers.image.ref.name", "x")]));
    let name = format!("{}/made/here:1", registry.address);
    for format in ["oci", "v2s2"] {
        let copied = Command::new("skopeo")
            .args(["copy", "--insecure-policy", "--dest-tls-verify=false", "--format", format])
            .arg(format!("oci:{}:x", layout.display()))
            .arg(format!("docker://{name}"))
            .output();
        let Ok(copied) = copied else {
            println!("skipped: skopeo is not installed");
            return;
        };
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
        let home = home();
        let id = pull(&home, &name, &Recorder::default()).unwrap();
        assert_eq!(home.file(&id, 1, "label"), "real");
        let record = home.store.load_image(&id).unwrap().unwrap();
        let expected = if format == "oci" { media_type::OCI_MANIFEST } else { media_type::DOCKER_MANIFEST };
        assert_eq!(record.manifest.media_type, expected);
        assert_eq!(home.store.check(false).unwrap(), []);
    }
}
