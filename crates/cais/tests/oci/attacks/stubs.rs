//! What is made in and removed from a root file system: the classes of CVE-2024-23651, CVE-2024-23652 and
//! CVE-2024-23653, which were BuildKit's.
//!
//! There is no build here yet: no cache mounts of a `RUN`, no frontends, no clean-up of a builder. What we do have of
//! these classes is copying between an image and a volume, making mount points, taking containers and volumes down, and
//! a second way into a container.

use std::fs;
use std::os::unix::fs::symlink;

use cais_test::e2e;
use cais_test::isolation::isolated;
use serde_json::json;

use super::{Canary, Exchange, load_image, run_often};
use crate::bed::Bed;

/// CVE-2024-23651. Two steps of a build shared a cache, and one replaced a directory of it, which the other one mounted
/// a part of, by a link to the host. Here, what is taken out of a place that somebody else writes to: the content of an image
/// that a new volume begins with, and (in the test after this) the content that a tmpfs begins with. The attacker
/// has the image. Seen must be: nothing of the host is copied into the volume.
#[test]
fn cve_2024_23651_a_volume_begins_with_the_images_content() {
    e2e(|cais| {
        let canary = Canary::new(cais.folder());
        let up = format!("../../../../../../../..{}", canary.folder.display());
        let cases = [
            ("i1", canary.folder.display().to_string(), "data"),
            ("i2", up, "data"),
            ("i3", "/proc/self/root/run".to_owned(), "data/c/canary"),
        ];
        for (name, content, place) in cases {
            let place = format!("/{place}");
            load_image(cais, name, |image, layer| {
                image.layer(layer.symlink("data", &content)).set("Volumes", json!({&place: {}}))
            });
            for flag in [String::new(), format!("-v {name}:{place}")] {
                let finished = cais
                    .cmd("run --rm")
                    .args(&flag)
                    .arg(name)
                    .args("sh -c")
                    .arg(format!("find {place}/; cat {place}/secret {}", canary.climb()))
                    .output();
                canary.assert_unseen(&finished);
                assert!(!finished.stdout_text().contains("secret"), "{content}: {finished}");
            }
        }
        // The user's file is a link, too: who is who is not read from the host.
        fs::write(cais.folder().join("passwd"), "evil:x:0:0::/:/bin/sh\n").unwrap();
        load_image(cais, "i4", |image, layer| image.layer(layer.symlink("etc/passwd", "/run/c/passwd")));
        cais.cmd("run --rm -u evil i4 id").output().code(125).says("evil");
    });
}

/// CVE-2024-23651, the race, where a tmpfs begins with what its target holds (`tmpcopyup`) and the target lies in a volume that
/// the attacker shares.
#[test]
fn cve_2024_23651_a_tmpfs_begins_with_its_targets_content() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let canary = Canary::new(bed.folder());
        let volume = bed.folder().join("volume");
        fs::create_dir_all(volume.join("a")).unwrap();
        fs::write(volume.join("a/file"), "own").unwrap();
        symlink(&canary.folder, volume.join("link")).unwrap();
        bed.bundle("c1", &["sh", "-c", "cat /vol/a/* /vol/link/*; true"]).change(|config| {
            let mounts = config["mounts"].as_array_mut().unwrap();
            mounts.push(json!({"destination": "/vol", "type": "bind", "source": volume, "options": ["rbind"]}));
            mounts.push(json!({"destination": "/vol/a", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]}));
        });
        let exchange = Exchange::begin(volume.join("a"), volume.join("link"));
        run_often(&bed, "c1", |finished| canary.assert_unseen(finished));
        exchange.end();
    });
}

/// What a container does to the places that were made for mounts, before it ends.
const REPLACE: &str =
    "for d in /made /deep /seed; do mv $d $d.gone && ln -s \"$CANARY\" $d; done; ln -s \"$CANARY\" /also";

/// CVE-2024-23652. BuildKit removed the empty files and directories that it had made as mount points when a step had ended, by
/// paths: the container had replaced their parents by links, and files of the host went. Seen must be: whatever the
/// container has left in its root, `delete` removes nothing of the host, and nothing of the root, which is not ours.
#[test]
fn cve_2024_23652_mount_points_of_a_bundle() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let canary = Canary::new(bed.folder());
        fs::create_dir(bed.folder().join("rootfs/seed")).unwrap();
        bed.bundle("c1", &["sh", "-c", REPLACE]).change(|config| {
            let mounts = config["mounts"].as_array_mut().unwrap();
            let file = bed.folder().join("c1/config.json");
            mounts.push(
                json!({"destination": "/other/secret", "type": "bind", "source": file, "options": ["bind"]}),
            );
            config["process"]["env"]
                .as_array_mut()
                .unwrap()
                .push(json!(format!("CANARY={}", canary.folder.display())));
            config["process"]["cwd"] = json!("/deep/secret");
        });
        fs::create_dir(bed.folder().join("rootfs/made")).unwrap();
        for line in ["run -b", "run -b", "create -b"] {
            bed.detached(line).arg(bed.folder().join("c1")).arg("c1").output();
            canary.assert_whole();
            bed.cmd("delete --force c1").output();
            canary.assert_whole();
            bed.assert_gone("c1");
        }
        let inside = fs::read_link(bed.folder().join("rootfs/made")).unwrap();
        assert_eq!(inside, canary.folder, "the container has done what it should do");
        assert!(
            bed.folder().join("rootfs/other/secret").exists(),
            "a mount point stays: the root is the caller's"
        );
    });
}

/// CVE-2024-23652 against the engine: a container's writable layer, its volumes and its image are removed, full of
/// links to the host; and a name on a volume's way is exchanged meanwhile.
#[test]
fn cve_2024_23652_the_engine_takes_down() {
    e2e(|cais| {
        let canary = Canary::new(cais.folder());
        let variable = format!("CANARY={}", canary.folder.display());
        load_image(cais, "evil", |image, layer| {
            let layer = layer.dir("seed").dir("links").symlink("links/a", &canary.folder.to_string_lossy());
            image
                .layer(layer.symlink("seed/secret", &canary.file().to_string_lossy()))
                .set("Volumes", json!({"/anon": {}}))
        });
        let fill = "cd $d; ln -s \"$CANARY\" up; mkdir -p deep/er; ln -s \"$CANARY/secret\" deep/er/secret; ln -s / root";
        let script = format!("{REPLACE}; for d in /anon /named /; do {fill}; done");
        let run = |flags: &str| {
            let run = cais
                .cmd("run --network none -e")
                .arg(&variable)
                .args("-v named:/named --tmpfs /made/secret -w /deep/secret");
            run.args(flags).args("evil sh -c").arg(&script).output()
        };
        run("--rm");
        canary.assert_whole();
        run("--name c1");
        canary.assert_whole();
        let volume = cais.inspect("c1", "{{range .Mounts}}{{.Source}} {{end}}");
        let place =
            volume.split(' ').find(|path| path.contains("named")).map(std::path::PathBuf::from).unwrap();
        assert!(place.join("up").is_symlink(), "the container has done what it should do");
        // Somebody who still has the volume goes on while it is removed.
        let exchange = Exchange::begin(place.join("deep"), place.join("up"));
        cais.ok("rm -f -v c1");
        drop(cais.cmd("volume rm named").output());
        exchange.end();
        canary.assert_whole();
        drop(cais.cmd("volume rm named").output());
        cais.ok("rmi -f evil");
        canary.assert_whole();
    });
}

/// CVE-2024-23653. BuildKit had a second way to run a container, which did not check what the first one did: a frontend
/// got a privileged one. Here the second way is `exec`. Seen must be: who is not given more gets no more by `exec` than the
/// container has, of capabilities, system calls, privileges to be gained and masked files.
#[test]
fn cve_2024_23653_exec_gets_no_more_than_run() {
    let look = "grep -E 'Cap|NoNewPrivs|Seccomp:' /proc/self/status; wc -c </proc/kcore; wc -c </proc/keys; cat /proc/self/cgroup; readlink /proc/self/ns/user";
    e2e(|cais| {
        for flags in [
            "",
            "--cap-drop ALL",
            "--security-opt no-new-privileges --cap-drop CHOWN",
            "--user 1000",
            "--cap-drop ALL --cap-add KILL -u 1000:1000",
        ] {
            let first = cais
                .cmd("run -d --name c1")
                .args(flags)
                .args("busybox sh -c")
                .arg(format!("({look}) >/tmp/look; sleep 1000"))
                .output();
            assert_eq!(first.status(), 0, "{first}");
            cais_test::wait_until("it has looked", || cais.cmd("exec c1 pidof sleep").output().status() == 0);
            let first = cais.ok("exec c1 cat /tmp/look");
            let second = cais.cmd("exec c1 sh -c").arg(look).ok();
            assert_eq!(second, first.trim_end(), "{flags}");
            cais.ok("rm -f c1");
        }
    });
}

/// CVE-2024-23653 for bundles: `exec` without flags has what the configuration gives.
#[test]
fn cve_2024_23653_exec_gets_no_more_than_the_bundle() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let look = "grep -E 'Cap|NoNewPrivs|Seccomp:' /proc/self/status; ulimit -n";
        bed.bundle("c1", &["sh", "-c", &format!("({look}) >/look; echo >/ready; sleep 1000")]).change(|config| {
            let few = json!(["CAP_KILL", "CAP_AUDIT_WRITE"]);
            config["process"]["capabilities"] = json!({"bounding": few, "effective": few, "permitted": few});
            config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_ERRNO"}]});
        });
        bed.run_detached("c1");
        cais_test::wait_until("it has looked", || bed.folder().join("rootfs/ready").exists());
        let second = bed.cmd("exec c1 sh -c").arg(look).ok();
        assert_eq!(second, bed.ok("exec c1 cat /look"));
        assert!(second.contains("Seccomp:\t2"), "{second}");
    });
}
