//! Mount targets that move while they are mounted on: CVE-2021-30465.

use std::fs;
use std::os::unix::fs::symlink;

use cais_test::isolation::isolated;
use cais_test::{Invocation, e2e};
use serde_json::json;

use super::{Canary, Exchange, STARTS, run_often};
use crate::bed::Bed;

/// Marks our mounts in mountinfo.
const MARK: &str = "marked-tmpfs";

/// CVE-2021-30465. The attacker has a container that shares a volume with those that are started, and mounts of these lie
/// inside of the volume: between the look at the target and the mount it is replaced by a link to the host's root, so
/// that the mount (or its mount point, made when missing) lands on the host. Seen must be: whatever wins, each mount is
/// in the container's root, and nothing is made on the host.
#[test]
fn cve_2021_30465_links_in_a_shared_volume() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        for (number, up) in ["", "../../../../../../../../../../.."].into_iter().enumerate() {
            let folder = bed.folder().join(format!("host{number}"));
            fs::create_dir(&folder).unwrap();
            let canary = Canary::new(&folder);
            let volume = folder.join("volume");
            fs::create_dir_all(volume.join("a")).unwrap();
            symlink(format!("{up}{}", canary.folder.display()), volume.join("link")).unwrap();
            let file = folder.join("file");
            fs::write(&file, "given").unwrap();
            let id = format!("c{number}");
            bed.bundle(&id, &["cat", "/proc/self/mountinfo"]).change(|config| {
                let mounts = config["mounts"].as_array_mut().unwrap();
                mounts.extend([
                    json!({"destination": "/vol", "type": "bind", "source": volume, "options": ["rbind"]}),
                    json!({"destination": "/vol/a/b/c", "type": "tmpfs", "source": MARK}),
                    json!({"destination": "/vol/a/f", "type": "bind", "source": file, "options": ["bind"]}),
                ]);
            });
            let exchange = Exchange::begin(volume.join("a"), volume.join("link"));
            let mut started = 0;
            run_often(&bed, &id, |finished| {
                canary.assert_whole();
                if finished.status() == 0 {
                    started += 1;
                    let said = finished.stdout_text();
                    let marked = said.lines().filter(|line| line.contains(MARK)).count();
                    assert_eq!(marked, 1, "the mount is not in the container: {said}");
                    assert!(said.lines().any(|line| line.contains("/file /")), "nor the file: {said}");
                }
            });
            exchange.end();
            canary.assert_whole();
            assert!(started > 0, "it always failed: nothing was seen");
        }
    });
}

/// CVE-2021-30465, as it was shown: the target itself is exchanged with a link to `/`, on which the next
/// volume is then mounted, so that the container's root is prepared on the host's.
#[test]
fn cve_2021_30465_the_target_is_the_hosts_root() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let canary = Canary::new(bed.folder());
        let volume = bed.folder().join("volume");
        fs::create_dir_all(volume.join("a")).unwrap();
        symlink("/", volume.join("link")).unwrap();
        let within = format!("/vol/a{}/new", canary.folder.display());
        bed.bundle("c1", &["sh", "-c", "cat /proc/self/mountinfo; ls /"]).change(|config| {
            let mounts = config["mounts"].as_array_mut().unwrap();
            let bind =
                |to: &str| json!({"destination": to, "type": "bind", "source": volume, "options": ["rbind"]});
            mounts.extend([
                bind("/vol"),
                bind("/vol/a"),
                bind(&within),
                json!({"destination": within, "type": "tmpfs", "source": MARK}),
            ]);
        });
        let exchange = Exchange::begin(volume.join("a"), volume.join("link"));
        run_often(&bed, "c1", |finished| {
            canary.assert_whole();
            if finished.status() == 0 {
                let said = finished.stdout_text();
                assert!(said.contains(MARK), "the mount is not in the container: {said}");
                assert!(said.lines().any(|line| line == "bin"), "the root is another one: {said}");
            }
        });
        exchange.end();
        canary.assert_whole();
    });
}

/// CVE-2021-30465 for what is made and not mounted: a device file in a shared volume gets its owner and its mode. The
/// attacker exchanges it with a link to a file of the host. Seen must be: the host's file keeps both.
#[test]
fn cve_2021_30465_devices_in_a_shared_volume() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let canary = Canary::new(bed.folder());
        let volume = bed.folder().join("volume");
        fs::create_dir(&volume).unwrap();
        // The attacker's containers may make the null device: it is on every list.
        Invocation::new("mknod", "-m 600").arg(volume.join("null")).args("c 1 3").ok();
        symlink(canary.file(), volume.join("link")).unwrap();
        bed.bundle("c1", &["true"]).change(|config| {
            let bind = json!({"destination": "/vol", "type": "bind", "source": volume, "options": ["rbind"]});
            config["mounts"].as_array_mut().unwrap().push(bind);
            // Many tries in one start.
            let device = json!({"path": "/vol/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666, "uid": 1000, "gid": 1000});
            config["linux"]["devices"] = json!(vec![device; 40]);
        });
        let exchange = Exchange::begin(volume.join("null"), volume.join("link"));
        run_often(&bed, "c1", |_| canary.assert_whole());
        exchange.end();
        canary.assert_whole();
    });
}

/// CVE-2021-30465 against `cais run`: a volume, and further mounts in it.
#[test]
fn cve_2021_30465_the_engine() {
    e2e(|cais| {
        let canary = Canary::new(cais.folder());
        let volume = cais.folder().join("volume");
        fs::create_dir_all(volume.join("a")).unwrap();
        symlink(&canary.folder, volume.join("link")).unwrap();
        let exchange = Exchange::begin(volume.join("a"), volume.join("link"));
        let mut started = 0;
        for _ in 0..STARTS / 2 {
            let run = cais.cmd("run --rm --network none --tmpfs /vol/a/b/c:mode=751 -v other:/vol/a/d -v");
            let run = run.arg(format!("{}:/vol", volume.display())).args("busybox cat /proc/self/mountinfo");
            let finished = run.output();
            canary.assert_whole();
            if finished.status() == 0 {
                started += 1;
                let said = finished.stdout_text();
                assert_eq!(said.matches("mode=751").count(), 1, "the mount is not in the container: {said}");
            }
        }
        exchange.end();
        canary.assert_whole();
        assert!(started > 0, "it always failed: nothing was seen");
    });
}
