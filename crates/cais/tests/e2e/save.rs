//! `cais save`: what others read of it, and what comes back.

use std::process::{Command, Stdio};

use cais_test::process::Invocation;
use cais_test::registry::{Doors, Registry};
use cais_test::{Cais, Compression, Image, Layer, e2e, e2e_empty, skip};

fn id_of(cais: &Cais, name: &str) -> String {
    cais.cmd("image inspect --format {{.Id}}").arg(name).ok()
}

/// Whether skopeo copies the first image of an archive; every digest is verified by it.
fn skopeo_reads(cais: &Cais, source: &str) {
    let copy = cais.folder().join("copy");
    let target = format!("dir:{}", copy.display());
    let args = ["copy", "-q", "--insecure-policy", source, &target];
    match Command::new("skopeo").args(args).stdin(Stdio::null()).output() {
        Ok(output) => {
            assert!(output.status.success(), "{source}: {}", String::from_utf8_lossy(&output.stderr))
        }
        Err(_) => return skip("skopeo is not installed"),
    }
    std::fs::remove_dir_all(&copy).unwrap();
}

#[test]
fn a_pulled_image_keeps_its_digests() {
    e2e_empty(|cais| {
        let Some(registry) = Registry::start(&Doors::default()) else { return };
        let built = Image::new()
            .packed_layer(Layer::new().file("a", "1".repeat(5000)), Compression::Gzip)
            .packed_layer(Layer::new().file("b", "2".repeat(5000)), Compression::Zstd)
            .build();
        registry.push("team/app", "1", &built);
        let name = format!("{}/team/app:1", registry.address());
        cais.cmd("pull -q").arg(&name).ok();
        let archive = cais.folder().join("app.tar");
        cais.cmd("save -q -o").arg(&archive).arg(&name).ok();
        skopeo_reads(cais, &format!("docker-archive:{}:{name}", archive.display()));
        skopeo_reads(cais, &format!("oci-archive:{}", archive.display()));
        cais.cmd("rmi").arg(&name).ok();
        assert_eq!(cais.ok("images -aq"), "");
        cais.cmd("load -i").arg(&archive).ok();
        assert_eq!(id_of(cais, &name), built.id());
        let again = cais.cmd("push").arg(&name).ok();
        assert!(again.contains(&built.digest()), "the manifest came back byte for byte: {again}");
    });
}

#[test]
fn committed_images_several_names_and_every_format() {
    e2e(|cais| {
        cais.ok(
            "run --name maker --network none busybox sh -c 'seq 10000 >/made; ln /made /hard; rm /etc/group'",
        );
        cais.ok("commit maker made:1");
        cais.ok("tag made:1 made:2");
        let id = id_of(cais, "made:1");
        let folder = cais.folder().join("layout");
        let archive = cais.folder().join("made.tar");
        let bring_back = |load: Invocation, names: &[&str]| {
            cais.ok("rmi made:1 made:2");
            load.ok();
            for name in names {
                assert_eq!(id_of(cais, name), id);
            }
            let script = "tail -n1 /hard; stat -c %h /made; ls /etc";
            let seen = cais.cmd("run --rm --network none made:1 sh -c").arg(script).ok();
            assert!(seen.starts_with("10000\n2") && !seen.contains("group"), "{seen}");
            assert_eq!(cais.ok("system check"), "");
        };
        cais.ok("rm maker");
        cais.cmd("save -q -o").arg(&archive).args("made busybox made:1").ok();
        skopeo_reads(cais, &format!("docker-archive:{}:docker.io/library/made:2", archive.display()));
        bring_back(cais.cmd("load -i").arg(&archive), &["made:1", "made:2"]);
        cais.ok("tag made:1 made:2");
        cais.cmd("save -q --format oci-archive -o").arg(&archive).args("made:1 made:2").ok();
        bring_back(cais.cmd("load -i").arg(&archive), &["made:1", "made:2"]);
        cais.cmd("save -q --format oci-dir -o").arg(&folder).args("made:1 made:2").ok();
        skopeo_reads(cais, &format!("oci:{}:1", folder.display()));
        bring_back(cais.cmd("load -i").arg(&folder), &["made:1", "made:2"]);
        let piped = cais.cmd("save made:1").output().code(0);
        assert!(piped.stderr_text().contains(": Saved"), "{}", piped.stderr_text());
        cais.ok("tag made:1 made:2");
        bring_back(cais.cmd("load").stdin(piped.stdout), &["made:1"]);
    });
}

#[test]
fn what_cannot_be_saved_leaves_nothing() {
    e2e(|cais| {
        let archive = cais.folder().join("out.tar");
        let cases: [(&[&str], &str); 5] = [
            (&["save", "-o", "OUT", "no/such"], "no such image: no/such"),
            (&["save", "-o", "OUT", "busybox:none"], "no such image: busybox:none"),
            (&["save", "--platform", "linux/s390x", "-o", "OUT", "busybox"], "not for linux/s390x"),
            (&["save", "--format", "oci-dir", "busybox"], "needs a directory"),
            (&["save", "--format", "oci-dir", "-o", "/etc", "busybox"], "the directory is not empty"),
        ];
        for (args, words) in cases {
            let mut call = cais.cmd("");
            for arg in args {
                call = call.arg(if *arg == "OUT" { archive.to_str().unwrap() } else { arg });
            }
            let finished = call.output();
            let told = finished.stderr_text();
            assert!(finished.status() != 0 && told.contains(words), "{args:?}: {told}");
        }
        let left: Vec<_> = std::fs::read_dir(cais.folder())
            .unwrap()
            .flatten()
            .filter(|it| it.file_name().to_string_lossy().starts_with("out.tar"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
        let full = cais.cmd("save -q -o /dev/full busybox").output();
        assert!(full.status() != 0 && full.stderr_text().contains("No space left"), "{}", full.stderr_text());
    });
}

#[test]
fn docker_and_podman_load_it() {
    e2e(|cais| {
        cais.ok("run --name maker --network none busybox sh -c 'echo made >/made'");
        cais.ok("commit maker made:1");
        let archive = cais.folder().join("made.tar");
        cais.cmd("save -q -o").arg(&archive).args("made:1").ok();
        let storage = cais.folder().join("podman");
        let podman = |line: &str| {
            Invocation::new("podman", "--root")
                .arg(&storage)
                .args("--runroot /run/save-podman --storage-driver vfs")
                .args(line)
        };
        if Command::new("podman").arg("--version").output().is_err() {
            return skip("podman is not installed");
        }
        podman("load -q -i").arg(&archive).ok();
        assert_eq!(
            podman("image inspect --format {{.Id}} made:1").ok(),
            id_of(cais, "made:1")["sha256:".len()..]
        );
        cais.ok("rm maker");
    });
}
