//! A child process works on a store and is killed with SIGKILL at random points; afterwards the store must be true.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use cais_store::random_id;

use crate::sample::{container, home, open, reference, sample};

const DIRECTORY: &str = "CAIS_STORE_TEST_DIRECTORY";

/// What the child does until it is killed. Only runs when the parent test starts it.
#[test]
fn child_works_until_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let store = open(Path::new(&directory));
    println!("ready");
    for round in 0u32.. {
        let sample = sample(&(round % 3).to_string());
        let name = format!("app:{}", round % 3);
        let image = sample.store_as(&store, &[&name]);
        let mut record = container(&random_id(), "only");
        let hold = store.hold().unwrap();
        record.image_id = Some(image.id.clone());
        record.layers = image.layers.clone();
        if store.put_container(&record, &hold).is_err() {
            // The container of a killed predecessor.
            drop(hold);
            let predecessor = store.resolve_container("only").unwrap();
            store.remove_container(&predecessor).unwrap();
            continue;
        }
        drop(hold);
        store.create_volume(Some("vol"), Default::default(), Default::default()).unwrap();
        std::fs::create_dir_all(store.paths().container_upper(&record.id).join("a/b/c")).unwrap();
        store.remove_container(&record.id).unwrap();
        store.remove_volume("vol").unwrap();
        let mut exclusive = store.exclusive().unwrap();
        exclusive.untag(&reference(&name)).unwrap();
        exclusive.remove_image(&image.id).unwrap();
        exclusive.sweep().unwrap();
        exclusive.finish().unwrap();
    }
}

#[test]
fn killed_at_any_point_the_store_stays_true() {
    let home = home();
    let mut disturbed = 0;
    for round in 0..40u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::child_works_until_killed", "--nocapture", "--test-threads=1"])
            .env(DIRECTORY, home.directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        assert!(
            output.lines().map_while(Result::ok).any(|line| line.ends_with("ready")),
            "the child did not begin"
        );
        // Anywhere in its loop, which takes some tens of milliseconds; not a wait for anything.
        std::thread::sleep(Duration::from_micros(round * 1700 % 60_000));
        child.kill().unwrap();
        child.wait().unwrap();

        // True before any repair: whatever is visible is whole.
        for image in home.store.images().unwrap() {
            for layer in &image.record.layers {
                assert!(home.store.layer(layer).unwrap().is_some(), "layer of a visible image is missing");
            }
            let top = home.store.paths().layer_fs(&image.record.layers[1]).join("label");
            assert_eq!(std::fs::read_to_string(top).unwrap(), image.record.config.author);
        }
        for id in home.store.container_ids().unwrap() {
            assert!(!home.store.is_running(&id).unwrap());
        }
        let found = home.store.check(true).unwrap();
        disturbed += usize::from(!found.is_empty());
        let harmless = ["ingest", "trash", "layer", "blob", "file", "reference", "container", "name"];
        for finding in &found {
            assert!(finding.repaired && harmless.contains(&finding.kind), "{finding:?}");
        }
        assert_eq!(home.store.check(false).unwrap(), []);
    }
    println!("{disturbed} of 40 kills left something to repair");
    assert!(disturbed > 0, "no kill hit anything: the test does not test");
}
