//! Volumes, bind mounts and tmpfs: `cais volume …`, `-v`, `--mount`, `--tmpfs`, `--read-only`.

use std::fs;

use cais_test::{Entry, EntryKind, Image, e2e};

#[test]
fn volumes_are_made_listed_inspected_and_removed() {
    e2e(|cais| {
        assert_eq!(cais.ok("volume create --label a=1 data"), "data");
        let anonymous = cais.ok("volume create");
        assert_eq!(anonymous.len(), 64);
        assert_eq!(cais.ok("volume ls -q -f name=data"), "data");
        assert!(cais.ok("volume ls").starts_with("DRIVER"));
        let json: serde_json::Value = serde_json::from_str(&cais.ok("volume inspect data")).unwrap();
        assert_eq!(json[0]["Name"], "data");
        assert_eq!(json[0]["Labels"]["a"], "1");
        assert!(std::path::Path::new(json[0]["Mountpoint"].as_str().unwrap()).is_dir());
        cais.ok("run -d --name user -v data:/d busybox sleep 1000");
        cais.fails(1, "volume rm data").one_clear_error().says("data");
        cais.ok("rm -f user");
        assert_eq!(cais.ok("volume rm data"), "data");
        cais.fails(1, "volume rm data").one_clear_error();
        cais.fails(1, "volume create ../evil").one_clear_error();
    });
}

#[test]
fn a_named_volume_outlives_containers() {
    e2e(|cais| {
        cais.ok("run --rm -v keep:/d busybox sh -c 'echo kept >/d/file'");
        assert_eq!(cais.ok("run --rm -v keep:/other:ro busybox cat /other/file"), "kept");
        assert_ne!(cais.cmd("run --rm -v keep:/other:ro busybox touch /other/x").output().status(), 0);
        assert_eq!(cais.ok("run --rm --mount type=volume,src=keep,dst=/m busybox cat /m/file"), "kept");
    });
}

#[test]
fn an_empty_volume_gets_the_images_content() {
    e2e(|cais| {
        let Some(layer) = cais_test::rootfs::busybox_layer() else { return };
        let layer = layer
            .entry(Entry::new("srv", EntryKind::Directory).owner(1000, 1000).mode(0o750))
            .entry(Entry::new("srv/seed", EntryKind::File(b"seed".to_vec())).owner(1000, 1000).mode(0o600))
            .symlink("srv/link", "seed");
        let image = Image::new().layer(layer).set("Volumes", serde_json::json!({"/srv": {}}));
        let archive = cais.folder().join("v.tar");
        image.build().write_docker_archive(&archive, &["seeded:1"]).unwrap();
        cais.cmd("load -q -i").arg(&archive).ok();
        let look = "stat -c '%u:%g %a' /srv /srv/seed; cat /srv/seed; readlink /srv/link";
        assert_eq!(
            cais.cmd("run --rm -v new:/srv seeded:1 sh -c").arg(look).ok(),
            "1000:1000 750\n1000:1000 600\nseedseed"
        );
        assert_eq!(
            cais.cmd("run --rm seeded:1 sh -c").arg(look).ok(),
            "1000:1000 750\n1000:1000 600\nseedseed"
        );
        // What is there already is not touched, and nocopy copies nothing.
        cais.ok("run --rm -v new:/x busybox rm /x/seed");
        assert_eq!(cais.ok("run --rm -v new:/srv seeded:1 ls /srv"), "link");
        assert_eq!(cais.ok("run --rm -v blank:/srv:nocopy seeded:1 ls /srv"), "");
    });
}

#[test]
fn volumes_of_the_image_are_anonymous() {
    e2e(|cais| {
        let Some(layer) = cais_test::rootfs::busybox_layer() else { return };
        let image = Image::new().layer(layer).set("Volumes", serde_json::json!({"/srv": {}}));
        let archive = cais.folder().join("v.tar");
        image.build().write_docker_archive(&archive, &["vol:1"]).unwrap();
        cais.cmd("load -q -i").arg(&archive).ok();
        cais.ok("run --name a1 vol:1 touch /srv/x");
        assert_eq!(cais.ok("volume ls -q").lines().count(), 1);
        cais.ok("rm a1");
        assert_eq!(cais.ok("volume ls -q").lines().count(), 1, "rm without -v keeps it");
        cais.ok("run --rm vol:1 touch /srv/x");
        assert_eq!(cais.ok("volume ls -q").lines().count(), 1, "--rm takes its own away");
    });
}

#[test]
fn host_folders_and_files_are_bound() {
    e2e(|cais| {
        let host = cais.folder().join("host");
        fs::create_dir(&host).unwrap();
        fs::write(host.join("file"), "from the host").unwrap();
        let bind = format!("{}:/b", host.display());
        assert_eq!(cais.cmd("run --rm -v").arg(&bind).args("busybox cat /b/file").ok(), "from the host");
        cais.cmd("run --rm -v").arg(&bind).args("busybox sh -c 'echo back >/b/new'").ok();
        assert_eq!(fs::read_to_string(host.join("new")).unwrap(), "back\n");
        let refused = cais.cmd("run --rm -v").arg(format!("{bind}:ro")).args("busybox touch /b/x").output();
        assert!(refused.status() == 1 && refused.stderr_text().contains("Read-only"), "{refused}");
        let file = format!("{}/file:/etc/one:ro", host.display());
        assert_eq!(cais.cmd("run --rm -v").arg(file).args("busybox cat /etc/one").ok(), "from the host");
        // -v makes a missing folder, --mount refuses it.
        cais.cmd("run --rm -v").arg(format!("{}/made:/m", host.display())).args("busybox touch /m/x").ok();
        assert!(host.join("made/x").exists());
        let mount = format!("type=bind,src={}/missing,dst=/m", host.display());
        cais.cmd("run --rm --mount")
            .arg(mount)
            .args("busybox true")
            .output()
            .code(125)
            .one_clear_error()
            .says("missing");
        assert!(!host.join("missing").exists());
    });
}

#[test]
fn read_only_binds_hold_for_what_is_mounted_below() {
    e2e(|cais| {
        let host = cais.folder().join("host");
        fs::create_dir_all(host.join("sub")).unwrap();
        cais_test::process::Invocation::new("mount", "-t tmpfs tmpfs").arg(host.join("sub")).ok();
        let bind = format!("type=bind,src={},dst=/b,ro", host.display());
        let finished = cais.cmd("run --rm --mount").arg(&bind).args("busybox touch /b/sub/x").output();
        assert_ne!(finished.status(), 0);
        assert!(!host.join("sub/x").exists());
        cais_test::process::Invocation::new("umount", "").arg(host.join("sub")).ok();
    });
}

#[test]
fn propagation_can_be_asked_for() {
    e2e(|cais| {
        let host = cais.folder().join("host");
        fs::create_dir(&host).unwrap();
        cais_test::process::Invocation::new("mount", "-t tmpfs tmpfs").arg(&host).ok();
        cais_test::process::Invocation::new("mount", "--make-shared").arg(&host).ok();
        let field = |option: &str| {
            let bind = format!("{}:/b:{option}", host.display());
            let info =
                cais.cmd("run --rm -v").arg(bind).args("busybox grep ' /b ' /proc/self/mountinfo").ok();
            info.split(" - ").next().unwrap().to_owned()
        };
        assert!(
            !field("rw").contains("master:") && !field("rw").contains("shared:"),
            "private is the default"
        );
        assert!(field("rslave").contains("master:"), "{}", field("rslave"));
        assert!(field("rshared").contains("shared:"), "{}", field("rshared"));
        cais_test::process::Invocation::new("umount", "").arg(&host).ok();
    });
}

#[test]
fn tmpfs_has_size_and_mode() {
    e2e(|cais| {
        let info = cais
            .ok("run --rm --tmpfs /t:size=1m,mode=0700 busybox sh -c 'stat -c %a /t; df -k /t | tail -1'");
        assert!(info.starts_with("700\n") && info.contains(" 1024 "), "{info}");
        let options = cais.ok("run --rm --tmpfs /t busybox grep ' /t ' /proc/mounts");
        for word in ["nosuid", "nodev", "noexec"] {
            assert!(options.contains(word), "{word} in {options}");
        }
        let info = cais.ok("run --rm --mount type=tmpfs,dst=/t,tmpfs-size=2m busybox df -k /t");
        assert!(info.contains(" 2048 "), "{info}");
        let shm = cais.ok("run --rm --shm-size 3m busybox df -k /dev/shm");
        assert!(shm.contains(" 3072 "), "{shm}");
        assert!(cais.ok("run --rm busybox df -k /dev/shm").contains(" 65536 "));
    });
}

#[test]
fn a_read_only_root_keeps_its_mounts_writable() {
    e2e(|cais| {
        let script = "touch /x 2>/dev/null && exit 9; touch /t/x /d/x /dev/shm/x";
        cais.cmd("run --rm --read-only --tmpfs /t -v /d busybox sh -c").arg(script).ok();
    });
}

#[test]
fn mounts_do_not_follow_links_out_of_the_container() {
    e2e(|cais| {
        let host = cais.folder().join("host");
        fs::create_dir(&host).unwrap();
        let outside = cais.folder().join("outside");
        fs::create_dir(&outside).unwrap();
        let Some(layer) = cais_test::rootfs::busybox_layer() else { return };
        let image = Image::new()
            .layer(layer.symlink("way", outside.to_str().unwrap()).symlink("up", "../../../../.."));
        let archive = cais.folder().join("l.tar");
        image.build().write_docker_archive(&archive, &["links:1"]).unwrap();
        cais.cmd("load -q -i").arg(&archive).ok();
        for target in ["/way", "/way/deeper", "/up/escape"] {
            let bind = format!("{}:{target}", host.display());
            cais.cmd("run --rm -v")
                .arg(bind)
                .args("links:1 sh -c")
                .arg(format!("touch {target}/file"))
                .output();
        }
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "nothing was made outside");
        assert!(!std::path::Path::new("/escape").exists());
    });
}
