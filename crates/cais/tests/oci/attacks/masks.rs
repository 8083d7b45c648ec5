//! What hides files replaced by something else: CVE-2025-31133.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use cais_test::isolation::isolated;
use cais_test::process::Finished;
use cais_test::{Invocation, e2e};
use serde_json::{Value, json};

use super::{Exchange, run_often};
use crate::bed::{Bed, Bundle};

/// Of procfs, and harmless to read: what an attacker would take `core_pattern` for.
const WANTED: &str = "/proc/sys/kernel/hostname";
/// What the masked file says.
const HIDDEN: &str = "hidden words";

/// A folder of the host that attackers share, to be /dev.
fn shared_dev(bed: &Bed) -> PathBuf {
    let dev = bed.folder().join("dev");
    fs::create_dir_all(dev.join("pts")).unwrap();
    Invocation::new("mknod", "-m 666").arg(dev.join("null")).args("c 1 3").ok();
    symlink(WANTED, dev.join("link")).unwrap();
    fs::write(bed.folder().join("rootfs/masked"), HIDDEN).unwrap();
    dev
}

/// A container with that /dev, where `/masked` is masked.
pub(super) fn with_dev(bed: &Bed, id: &str, dev: &PathBuf, args: &[&str]) -> Bundle {
    bed.bundle(id, args).change(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
        mounts.push(json!({"destination": "/dev", "type": "bind", "source": dev, "options": ["rbind"]}));
        mounts.push(json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts",
            "options": ["newinstance", "ptmxmode=0666", "mode=0620"]}));
        config["linux"]["maskedPaths"] = json!(["/masked", "/proc/kcore", "/proc/version"]);
    })
}

const LOOK: [&str; 3] =
    ["sh", "-c", "cat /masked /proc/version; stat -c '%F %t:%T' /masked /proc/version; echo end"];

/// Either not started, or both files are the null device.
#[track_caller]
fn assert_masked(finished: &Finished) -> bool {
    let said = finished.stdout_text();
    assert!(!said.contains(HIDDEN) && !said.contains("Linux"), "not masked: {said}");
    assert!(!said.lines().any(|line| line == "ship"), "masked by a file of procfs: {said}");
    if finished.status() == 0 {
        assert_eq!(said.matches("character special file 1:3").count(), 2, "{said}");
    }
    finished.status() == 0
}

/// CVE-2025-31133. Files are masked by the container's `/dev/null`, bound over them. The attacker shares what is mounted
/// as /dev and replaces `null` by a link to a file of procfs: the masked path becomes a writable `core_pattern`, outside
/// of the read-only `/proc/sys`. Or `null` is missing, and the mask was left out. Seen must be: what covers is
/// the null device, or the start is refused.
#[test]
fn cve_2025_31133_null_is_something_else() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let dev = shared_dev(&bed);
        with_dev(&bed, "c1", &dev, &LOOK);
        assert!(assert_masked(&bed.run("c1")), "the real null device serves");
        let null = dev.join("null");
        fs::remove_file(&null).unwrap();
        assert!(!assert_masked(&bed.run("c1")), "missing");
        for content in [WANTED, "link", "/proc/sysrq-trigger", "/masked", "/proc/self/fd/1"] {
            symlink(content, &null).unwrap();
            assert!(!assert_masked(&bed.run("c1")), "a link to {content}");
            fs::remove_file(&null).unwrap();
        }
        fs::write(&null, "a file").unwrap();
        assert!(!assert_masked(&bed.run("c1")), "a file");
        for node in ["c 1 5", "b 1 3", "p"] {
            fs::remove_file(&null).unwrap();
            Invocation::new("mknod", "-m 666").arg(&null).args(node).ok();
            assert!(!assert_masked(&bed.run("c1")), "mknod {node}");
        }
    });
}

/// CVE-2025-31133, the race: `null` is the real device and a link by turns, while containers start.
#[test]
fn cve_2025_31133_null_is_exchanged() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let dev = shared_dev(&bed);
        with_dev(&bed, "c1", &dev, &LOOK);
        let mut started = 0;
        let exchange = Exchange::begin(dev.join("null"), dev.join("link"));
        run_often(&bed, "c1", |finished| started += usize::from(assert_masked(finished)));
        exchange.end();
        assert!(started > 0, "it always failed: nothing was seen");
    });
}

/// CVE-2025-31133 without a shared /dev: the image brings `/dev/null`, and nothing is mounted there.
#[test]
fn cve_2025_31133_null_of_the_image() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let dev = bed.folder().join("rootfs/dev");
        fs::create_dir_all(&dev).unwrap();
        fs::write(bed.folder().join("rootfs/masked"), HIDDEN).unwrap();
        bed.bundle("c1", &LOOK).change(|config| {
            config["mounts"] = json!([{"destination": "/proc", "type": "proc", "source": "proc"}]);
            config["linux"]["maskedPaths"] = json!(["/masked", "/proc/version"]);
        });
        let null = dev.join("null");
        for content in [WANTED, "/masked", "/bin/busybox"] {
            symlink(content, &null).unwrap();
            assert_masked(&bed.run("c1"));
            drop(fs::remove_file(&null));
        }
        Invocation::new("mknod", "-m 666").arg(&null).args("c 1 5").ok();
        assert_masked(&bed.run("c1"));
    });
}

/// CVE-2025-31133 against `cais run`: a /dev of the image's is never used, one that is mounted may be hostile.
#[test]
fn cve_2025_31133_the_engine() {
    e2e(|cais| {
        let read = "cat /proc/kcore /proc/keys /proc/timer_list 2>&- | wc -c; hostname";
        super::load_image(cais, "evil", |image, layer| {
            image.layer(layer.dir("dev").symlink("dev/null", WANTED).symlink("dev/console", WANTED))
        });
        let said = cais.cmd("run --rm --hostname ship evil sh -c").arg(read).ok();
        assert_eq!(said, "0\nship");
        let dev = cais.folder().join("dev");
        fs::create_dir(&dev).unwrap();
        Invocation::new("mknod", "-m 666").arg(dev.join("null")).args("c 1 3").ok();
        symlink(WANTED, dev.join("link")).unwrap();
        let run = || {
            let finished = cais
                .cmd("run --rm --network none --hostname ship -i -v")
                .arg(format!("{}:/dev", dev.display()))
                .args("busybox sh -c")
                .arg(read)
                .output();
            let said = finished.stdout_text();
            assert!(finished.status() != 0 || said == "0\nship", "not masked: {finished}");
            finished.status() == 0
        };
        assert!(run(), "the real null device serves");
        let exchange = Exchange::begin(dev.join("null"), dev.join("link"));
        (0..20).for_each(|_| _ = run());
        exchange.end();
        for name in ["null", "link"] {
            fs::remove_file(dev.join(name)).unwrap();
        }
        assert!(!run(), "missing");
        symlink(WANTED, dev.join("null")).unwrap();
        assert!(!run(), "a link");
    });
}

/// A container that others may share the /dev of must not have it made over: what is bound is left as it is.
#[test]
fn cve_2025_31133_a_shared_dev_is_left_alone() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let dev = shared_dev(&bed);
        let names = || {
            let mut names: Vec<_> =
                fs::read_dir(&dev).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let before = names();
        with_dev(&bed, "c1", &dev, &["true"]).change(|config: &mut Value| {
            config["linux"]["devices"] = json!([{"path": "/dev/zero", "type": "c", "major": 1, "minor": 5}]);
        });
        bed.run("c1").code(0);
        assert_eq!(names(), before);
    });
}
