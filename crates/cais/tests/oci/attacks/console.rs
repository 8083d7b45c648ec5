//! The terminal's device put somewhere else: CVE-2025-52565.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use cais_test::isolation::isolated;
use cais_test::process::Finished;
use cais_test::{Invocation, e2e};
use serde_json::{Value, json};

use super::masks::with_dev;
use super::{Canary, Exchange, foreign_in_proc, run_often};
use crate::bed::Bed;

const LOOK: [&str; 3] = ["sh", "-c", "cat /proc/self/mountinfo; stat -c '%F %t' /dev/console; tty"];

fn with_terminal(config: &mut Value) {
    config["process"]["terminal"] = json!(true);
}

/// A terminal is shown nowhere but in /dev; whether the container started.
#[track_caller]
fn assert_places(finished: &Finished) -> bool {
    let said = finished.stdout_text();
    for line in said.lines().filter(|line| line.contains(" - devpts ")) {
        let point = line.split(' ').nth(4).unwrap_or_default();
        assert!(point.starts_with("/dev/"), "a terminal on {point}: {said}");
    }
    assert_eq!(foreign_in_proc(&said), Vec::<&str>::new(), "{said}");
    finished.status() == 0
}

/// And `/dev/console` is a terminal.
#[track_caller]
fn assert_console(finished: &Finished) -> bool {
    let started = assert_places(finished);
    let said = finished.stdout_text();
    assert!(!started || said.contains("character special file 88"), "/dev/console is no terminal: {said}");
    started
}

/// CVE-2025-52565. `/dev/pts/N` was bound to `/dev/console` by paths, before masks and read-only paths: with links
/// in a /dev that the attacker shares, a file of procfs appeared as `/dev/console`, or the terminal covered one.
/// Seen must be: `/dev/console` is the terminal and no link; nothing is made on the host.
#[test]
fn cve_2025_52565_console_is_a_link() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let canary = Canary::new(bed.folder());
        let dev = dev(&bed);
        let new = canary.folder.join("new");
        let targets = [
            "/proc/sysrq-trigger",
            "/proc/sys/kernel/core_pattern",
            "/proc/self/attr/exec",
            "../proc/1/oom_score_adj",
            new.to_str().unwrap(),
            canary.file().to_str().unwrap(),
        ]
        .map(str::to_owned);
        with_dev(&bed, "c1", &dev, &LOOK).change(with_terminal);
        assert!(assert_console(&bed.run("c1")), "without an attack");
        for target in targets {
            fs::remove_file(dev.join("console")).unwrap();
            symlink(&target, dev.join("console")).unwrap();
            let finished = bed.run("c1");
            canary.assert_unseen(&finished);
            assert!(!assert_places(&finished), "{target}: {finished}");
        }
    });
}

fn dev(bed: &Bed) -> std::path::PathBuf {
    let dev = bed.folder().join("dev");
    fs::create_dir_all(dev.join("pts")).unwrap();
    Invocation::new("mknod", "-m 666").arg(dev.join("null")).args("c 1 3").ok();
    fs::write(dev.join("console"), "").unwrap();
    dev
}

/// CVE-2025-52565, the race: `console` is a file and a link by turns.
#[test]
fn cve_2025_52565_console_is_exchanged() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let canary = Canary::new(bed.folder());
        let dev = dev(&bed);
        with_dev(&bed, "c1", &dev, &LOOK).change(with_terminal);
        for target in [Path::new("/proc/sysrq-trigger"), &canary.folder.join("new")] {
            for name in ["console", "link"] {
                drop(fs::remove_file(dev.join(name)));
            }
            fs::write(dev.join("console"), "").unwrap();
            symlink(target, dev.join("link")).unwrap();
            let mut started = 0;
            let exchange = Exchange::begin(dev.join("console"), dev.join("link"));
            run_often(&bed, "c1", |finished| {
                started += usize::from(assert_places(finished));
                canary.assert_whole();
            });
            exchange.end();
            assert!(started > 0, "it always failed: nothing was seen");
        }
    });
}

/// CVE-2025-52565, the other end: what is opened as the multiplexer is the attacker's. It is no terminal, so nothing
/// starts, and nothing hangs.
#[test]
fn cve_2025_52565_no_multiplexer() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let dev = dev(&bed);
        with_dev(&bed, "c1", &dev, &LOOK).change(with_terminal).change(|config| {
            let mounts = config["mounts"].as_array_mut().unwrap();
            mounts.retain(|mount| mount["destination"] != "/dev/pts");
        });
        let ptmx = dev.join("pts/ptmx");
        let refused = |what: &str| {
            assert_ne!(bed.run("c1").status(), 0, "{what}");
            fs::remove_file(&ptmx).unwrap();
        };
        for target in ["/proc/sysrq-trigger", "/proc/self/fd/0", "../null", "/tmp"] {
            symlink(target, &ptmx).unwrap();
            refused(target);
        }
        fs::write(&ptmx, "").unwrap();
        refused("a file");
        for node in ["p", "c 1 5", "c 1 11"] {
            Invocation::new("mknod", "-m 666").arg(&ptmx).args(node).ok();
            refused(node);
        }
    });
}

/// CVE-2025-52565 against `cais run -t`: with an image that brings a link, and with a hostile folder as /dev.
#[test]
fn cve_2025_52565_the_engine() {
    e2e(|cais| {
        let canary = Canary::new(cais.folder());
        super::load_image(cais, "evil", |image, layer| {
            image.layer(
                layer
                    .dir("dev")
                    .symlink("dev/console", "/proc/sysrq-trigger")
                    .symlink("dev/ptmx", "/proc/kcore"),
            )
        });
        let run = |flags: &str, dev: Option<&Path>, image: &str| {
            let mut run = cais.cmd("run --rm --network none -t").args(flags);
            if let Some(dev) = dev {
                run = run.arg("-v").arg(format!("{}:/dev", dev.display()));
            }
            let run = run.arg(image).args("sh -c").arg(LOOK[2]);
            let finished = run.output();
            canary.assert_unseen(&finished);
            assert_console(&finished)
        };
        assert!(run("", None, "busybox") && run("", None, "evil"), "a /dev of its own");
        let dev = cais.folder().join("dev");
        fs::create_dir_all(dev.join("pts")).unwrap();
        Invocation::new("mknod", "-m 666").arg(dev.join("null")).args("c 1 3").ok();
        let pts = "-v /dev/pts:/dev/pts";
        for target in ["/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern"] {
            symlink(target, dev.join("console")).unwrap();
            assert!(!run(pts, Some(&dev), "busybox"), "{target}");
            fs::remove_file(dev.join("console")).unwrap();
        }
        symlink(canary.folder.join("new"), dev.join("console")).unwrap();
        assert!(!run(pts, Some(&dev), "busybox"), "a link to the host");
    });
}
