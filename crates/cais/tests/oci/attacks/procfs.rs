//! A procfs that is none: CVE-2019-16884, CVE-2019-19921, CVE-2023-27561.

use std::fs;
use std::os::unix::fs::symlink;

use cais_test::isolation::isolated;
use cais_test::{e2e, skip};
use serde_json::{Value, json};

use super::{Canary, foreign_in_proc, load_image};
use crate::bed::Bed;

fn mount(config: &mut Value, mount: Value) {
    config["mounts"].as_array_mut().unwrap().push(mount);
}

/// CVE-2019-16884. A volume over `/proc` or a part of it (an image says `VOLUME /proc`): the runtime wrote the AppArmor
/// label into an ordinary file, and the command ran unconfined. The attacker has the mount targets, by name or through
/// links of the image. Seen must be: no such container starts, and nothing is written into the volume.
#[test]
fn cve_2019_16884_volume_over_proc() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let volume = bed.folder().join("volume");
        fs::create_dir_all(volume.join("self/attr/apparmor")).unwrap();
        for file in ["self/attr/exec", "self/attr/apparmor/exec", "kcore"] {
            fs::write(volume.join(file), "").unwrap();
        }
        let rootfs = bed.folder().join("rootfs");
        symlink("proc", rootfs.join("link")).unwrap();
        symlink("/proc/self", rootfs.join("deep")).unwrap();
        symlink("/proc/self/fd/../..", rootfs.join("odd")).unwrap();
        let targets = [
            "/proc",
            "/proc/",
            "/./proc",
            "/x/../proc",
            "/proc/self",
            "/proc/self/attr",
            "/proc/self/attr/exec",
            "/proc/sys",
            "/proc/sys/kernel",
            "/proc/1",
            "/link",
            "/link/self/attr",
            "/deep",
            "/deep/attr/exec",
            "/odd/attr",
            "/proc/kcore",
        ];
        for (number, target) in targets.into_iter().enumerate() {
            let id = format!("c{number}");
            bed.bundle(&id, &["cat", "/proc/self/mountinfo"]).change(|config| {
                let file = ["exec", "kcore"].iter().any(|name| target.ends_with(name));
                let source = if file { volume.join("kcore") } else { volume.clone() };
                mount(
                    config,
                    json!({"destination": target, "type": "bind", "source": source, "options": ["bind"]}),
                );
            });
            let finished = bed.run(&id);
            assert_ne!(finished.status(), 0, "{target}: {finished}");
            bed.assert_gone(&id);
        }
        bed.bundle("tmpfs", &["true"]).change(|config| {
            mount(config, json!({"destination": "/proc", "type": "tmpfs", "source": "tmpfs"}));
        });
        assert_ne!(bed.run("tmpfs").status(), 0);
        assert_eq!(fs::read_to_string(volume.join("self/attr/exec")).unwrap(), "");
    });
}

/// CVE-2019-16884 against the engine: `VOLUME` of an image, `-v` and `--tmpfs`.
#[test]
fn cve_2019_16884_the_engine() {
    e2e(|cais| {
        load_image(cais, "links", |image, layer| {
            image.layer(layer.symlink("link", "/proc").symlink("deep", "proc/self"))
        });
        for (name, place) in
            [("v1", "/proc"), ("v2", "/proc/self/attr"), ("v3", "/link"), ("v4", "/deep/attr")]
        {
            load_image(cais, name, |image, layer| {
                let layer = layer.symlink("link", "/proc").symlink("deep", "proc/self");
                image.layer(layer).set("Volumes", json!({place: {}}))
            });
            let finished = cais.cmd("run --rm").arg(name).arg("true").output();
            assert_eq!(finished.status(), 125, "{place}: {finished}");
            for flag in ["-v", "--tmpfs"] {
                let value = if flag == "-v" { format!("data:{place}") } else { place.to_owned() };
                let finished = cais.cmd("run --rm").arg(flag).arg(value).args("links true").output();
                assert_eq!(finished.status(), 125, "{flag} {place}: {finished}");
            }
        }
    });
}

/// Roots whose `/proc` or `/sys` is no directory, and where a shared volume is mounted on what they stand for.
const LINKS: [(&str, &str); 5] = [
    ("proc", "vol/proc"),
    ("proc", "/vol/proc"),
    ("proc", "../vol/proc/../proc"),
    ("sys", "/vol/sys"),
    ("proc", "/dev/shm"),
];

/// CVE-2019-19921. Two containers share a volume; the image of the second one has a link `/proc` that points into it.
/// procfs is mounted in the volume, where the first container puts something else in its place: labels go
/// nowhere, masks hide nothing. Seen must be: a `/proc` (and `/sys`) that is no directory of the root itself is refused.
#[test]
fn cve_2019_19921_proc_is_a_link_into_a_volume() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        proc_through_link(&bed, "c", |config, volume| {
            let mounts = config["mounts"].as_array_mut().unwrap();
            mounts.insert(0, volume);
        });
    });
}

/// CVE-2023-27561: the repair of CVE-2019-19921 was lost in runc 1.0.0-rc95, when a mount's target was resolved before it
/// was looked at. The same roots, with the volume mounted after procfs.
#[test]
fn cve_2023_27561_proc_is_a_link_again() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        proc_through_link(&bed, "d", mount);
    });
}

fn proc_through_link(bed: &Bed, prefix: &str, add: impl Fn(&mut Value, Value)) {
    let volume = bed.folder().join("volume");
    fs::create_dir_all(volume.join("proc/self/attr")).unwrap();
    fs::create_dir_all(volume.join("sys")).unwrap();
    fs::write(volume.join("proc/kcore"), "not hidden").unwrap();
    let rootfs = bed.folder().join("rootfs");
    for (number, (name, content)) in LINKS.into_iter().enumerate() {
        let link = rootfs.join(name);
        drop(fs::remove_dir(&link));
        symlink(content, &link).unwrap();
        let id = format!("{prefix}{number}");
        bed.bundle(&id, &["sh", "-c", "cat /proc/kcore /proc/self/mountinfo"]).change(|config| {
            add(
                config,
                json!({"destination": "/vol", "type": "bind", "source": volume, "options": ["rbind"]}),
            );
        });
        let finished = bed.run(&id);
        assert_ne!(finished.status(), 0, "/{name} -> {content}: {finished}");
        bed.assert_gone(&id);
        fs::remove_file(&link).unwrap();
    }
}

/// CVE-2019-19921 and CVE-2023-27561 against `cais run`, where volumes always come after procfs.
#[test]
fn cve_2019_19921_the_engine() {
    e2e(|cais| {
        let canary = Canary::new(cais.folder());
        let prepare = "mkdir -p /vol/proc/sys/net/ipv4 /vol/sys; echo open >/vol/proc/kcore
            cd /vol/proc/sys/net/ipv4; touch ping_group_range ip_unprivileged_port_start";
        cais.cmd("run --rm -v shared:/vol busybox sh -c").arg(prepare).ok();
        for (number, (name, content)) in LINKS.into_iter().enumerate() {
            let image = format!("evil{number}");
            load_image(cais, &image, |image, layer| image.layer(layer.symlink(name, content)));
            let script = format!("cat /proc/kcore; cat {}", canary.climb());
            let finished = cais.cmd("run --rm -v shared:/vol").arg(&image).args("sh -c").arg(script).output();
            canary.assert_unseen(&finished);
            assert!(
                !finished.stdout_text().contains("open"),
                "/{name} -> {content} is not masked: {finished}"
            );
            assert_eq!(finished.status(), 125, "/{name} -> {content}: {finished}");
        }
    });
}

/// CVE-2019-19921, the race itself: the root is shared with somebody who replaces `/proc` by a link during the
/// start. The container starts with procfs on /proc, or not at all.
#[test]
fn cve_2019_19921_proc_is_replaced_meanwhile() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        if !bed.is_ours() {
            skip("other runtimes do not promise this");
            return;
        }
        let rootfs = bed.folder().join("rootfs");
        fs::create_dir_all(rootfs.join("proc")).unwrap();
        fs::create_dir_all(rootfs.join("fake")).unwrap();
        fs::write(rootfs.join("fake/version"), "fake").unwrap();
        symlink("fake", rootfs.join("other")).unwrap();
        bed.bundle("c1", &["/bin/busybox", "cat", "/proc/self/mountinfo"]);
        let exchange = super::Exchange::begin(rootfs.join("proc"), rootfs.join("other"));
        super::run_often(&bed, "c1", |finished| {
            let said = finished.stdout_text();
            let points: Vec<&str> = said.lines().filter_map(|line| line.split(' ').nth(4)).collect();
            assert!(!points.iter().any(|point| point.starts_with("/fake")), "procfs is elsewhere: {said}");
            assert_eq!(foreign_in_proc(&said), Vec::<&str>::new());
        });
        exchange.end();
    });
}
