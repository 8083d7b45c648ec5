//! Tests: check.

use std::fs;

use cais_store::{StoreFinding, random_id};

use crate::sample::{Home, container, home, reference, sample};

/// What `check` finds: the same with and without repair, and nothing afterwards but what cannot be repaired.
fn findings(home: &Home) -> Vec<StoreFinding> {
    let seen = home.store.check(false).unwrap();
    assert!(seen.iter().all(|finding| !finding.repaired));
    let repaired = home.store.check(true).unwrap();
    let objects = |findings: &[StoreFinding]| -> Vec<(&str, String)> {
        findings.iter().map(|finding| (finding.kind, finding.object.clone())).collect()
    };
    assert!(objects(&seen).iter().all(|object| objects(&repaired).contains(object)), "{seen:?} {repaired:?}");
    let left: Vec<_> = repaired.iter().filter(|finding| !finding.repaired).cloned().collect();
    assert_eq!(home.store.check(true).unwrap(), left);
    repaired
}

fn kinds(findings: &[StoreFinding]) -> Vec<&str> {
    findings.iter().map(|finding| finding.kind).collect()
}

#[test]
fn leftovers_are_taken_away() {
    let home = home();
    let paths = home.store.paths();
    let root = paths.root();
    sample("one").store_as(&home.store, &["one"]);
    fs::create_dir_all(root.join("ingest/tmp-1/fs")).unwrap();
    fs::create_dir_all(root.join("trash/x/y")).unwrap();
    fs::create_dir_all(root.join(format!("layers/{}/fs", "1".repeat(64)))).unwrap();
    fs::write(root.join(format!("blobs/sha256/{}", "2".repeat(64))), "x").unwrap();
    fs::write(root.join("refs/.new-12"), "x").unwrap();
    std::os::unix::fs::symlink("3".repeat(64), root.join("names/stale")).unwrap();
    fs::write(root.join("names/foreign"), "x").unwrap();
    fs::create_dir_all(paths.container(&"4".repeat(64))).unwrap();
    fs::create_dir_all(paths.run_container(&"5".repeat(64))).unwrap();
    let found = findings(&home);
    assert!(found.iter().all(|finding| finding.repaired), "{found:?}");
    let mut found = kinds(&found);
    found.sort_unstable();
    assert_eq!(found, ["blob", "container", "file", "ingest", "layer", "name", "name", "run", "trash"]);
    assert!(home.store.find_image("one", &[reference("one")]).is_ok());
}

#[test]
fn an_image_that_lacks_a_part_is_given_up() {
    let home = home();
    let paths = home.store.paths();
    let [no_layer, no_config, damaged, good] = ["one", "two", "three", "four"].map(|name| {
        let sample = sample(name);
        sample.store_as(&home.store, &[name])
    });
    fs::remove_dir_all(paths.layers().join(no_layer.layers[1].hex())).unwrap();
    fs::write(paths.blob(&no_config.id), "{}").unwrap();
    fs::write(paths.images().join(format!("{}.json", damaged.id.hex())), "{").unwrap();
    let found = findings(&home);
    assert!(found.iter().all(|finding| finding.repaired), "{found:?}");
    assert_eq!(kinds(&found).iter().filter(|kind| **kind == "image").count(), 3);
    let left: Vec<_> = home.store.images().unwrap().into_iter().map(|image| image.record).collect();
    assert_eq!(left, [good]);
    assert_eq!(home.store.image_id(&reference("one")).unwrap(), None);
}

#[test]
fn what_is_the_users_is_kept() {
    let home = home();
    let paths = home.store.paths();
    let image = sample("one").store_as(&home.store, &["one"]);
    let put = |name: &str| {
        let mut record = container(&random_id(), name);
        record.layers = image.layers.clone();
        home.store.put_container(&record, &home.store.hold().unwrap()).unwrap();
        record
    };
    let (nameless, damaged) = (put("nameless"), put("damaged"));
    fs::remove_file(paths.root().join("names/nameless")).unwrap();
    fs::write(paths.container_record(&damaged.id), "{").unwrap();
    home.store.create_volume(Some("data"), Default::default(), Default::default()).unwrap();
    fs::write(home.store.volume_path("data").join("precious"), "x").unwrap();
    fs::remove_file(paths.volume("data").join("volume.json")).unwrap();
    let found = findings(&home);
    let unrepaired: Vec<_> = found.iter().filter(|finding| !finding.repaired).collect();
    assert!(unrepaired.len() == 1 && unrepaired[0].object == damaged.id, "{found:?}");
    assert_eq!(home.store.resolve_container("nameless").unwrap(), nameless.id);
    assert!(home.store.volume_path("data").join("precious").exists());
    assert_eq!(home.store.load_volume("data").unwrap().name, "data");
    // While nobody knows what the damaged container needs, nothing is swept.
    assert!(home.store.sweep().is_err());
    home.store.remove_container(&damaged.id).unwrap();
    assert!(home.store.name_available("damaged").unwrap());
    assert_eq!(home.store.check(false).unwrap(), []);
}

#[test]
fn what_others_work_on_is_left_alone() {
    let home = home();
    let ingest = home.store.ingest().unwrap();
    let sample = sample("one");
    sample.add_layers(&ingest).unwrap();
    fs::write(ingest.scratch().join("spool"), "x").unwrap();
    assert_eq!(home.store.check(true).unwrap(), []);
    assert!(ingest.scratch().join("spool").exists());
    ingest.commit(&sample.new, &[reference("one")]).unwrap();
    let record = container(&random_id(), "runs");
    home.store.put_container(&record, &home.store.hold().unwrap()).unwrap();
    let lock = home.store.take_run_lock(&record.id).unwrap();
    fs::write(home.store.paths().run().join("boot-id"), "an earlier boot").unwrap();
    assert_eq!(home.store.check(true).unwrap(), [], "somebody holds the lock");
    fs::write(home.store.paths().run().join("boot-id"), "an earlier boot").unwrap();
    drop(lock);
    let found = home.store.check(true).unwrap();
    assert_eq!(kinds(&found), ["run"]);
    assert!(!home.store.paths().run_container(&record.id).exists());
}
