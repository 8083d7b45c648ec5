//! `cais push`: to a real registry, and what others find there.

use std::path::Path;
use std::process::{Command, Stdio};

use cais_test::image::sha256;
use cais_test::process::wait_until;
use cais_test::registry::{Doors, PASSWORD, Registry, USER};
use cais_test::{Compression, Image, Layer, e2e, e2e_empty, skip};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::pull::write_login;

fn image() -> Image {
    Image::new()
        .packed_layer(Layer::new().dir("a").file("a/one", "1".repeat(20_000)), Compression::Gzip)
        .packed_layer(Layer::new().file("a/two", "2".repeat(30_000)), Compression::Zstd)
        .set("Cmd", json!(["/nothing"]))
}

/// What a program prints; `None`, with a word, when it is not installed.
fn foreign(program: &str, args: &[&str]) -> Option<String> {
    let output = match Command::new(program).args(args).stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            skip(format_args!("{program} is not installed"));
            return None;
        }
        Err(error) => panic!("{program}: {error}"),
    };
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {error}");
    Some(String::from_utf8(output.stdout).unwrap())
}

fn manifest_of(name: &str) -> Option<(String, Value)> {
    let text = foreign("skopeo", &["inspect", "--raw", "--tls-verify=false", &format!("docker://{name}")])?;
    Some((sha256(text.as_bytes()), serde_json::from_str(&text).unwrap()))
}

fn layer_types(manifest: &Value) -> Vec<&str> {
    manifest["layers"].as_array().unwrap().iter().map(|it| it["mediaType"].as_str().unwrap()).collect()
}

/// The digest in `TAG: digest: sha256:… size: N`.
fn told_digest(stdout: &str) -> String {
    stdout.split_whitespace().find(|word| word.starts_with("sha256:")).expect(stdout).to_owned()
}

#[test]
fn a_pulled_image_leaves_as_it_came() {
    e2e_empty(|cais| {
        let Some(registry) = Registry::start(&Doors::default()) else { return };
        let built = image().build();
        registry.push("team/base", "1", &built);
        let [from, to] = ["team/base:1", "team/other:2"].map(|it| format!("{}/{it}", registry.address()));
        cais.cmd("pull -q").arg(&from).ok();
        cais.cmd("tag").arg(&from).arg(&to).ok();
        let pushed = cais.cmd("push").arg(&to).output().code(0);
        assert_eq!(told_digest(&pushed.stdout_text()), built.digest());
        let told = pushed.stderr_text();
        let head = format!("The push refers to repository [{}/team/other]", registry.address());
        assert!(told.starts_with(&head), "{told}");
        assert_eq!(told.matches("Mounted from team/base").count(), 2, "{told}");
        let Some((digest, _)) = manifest_of(&to) else { return };
        assert_eq!(digest, built.digest());
        let digests = cais.cmd("image inspect --format {{.RepoDigests}}").arg(&to).ok();
        assert!(digests.contains(&format!("{}/team/other@{digest}", registry.address())), "{digests}");
        let again = cais.cmd("push").arg(&to).output().code(0).stderr_text();
        assert_eq!(again.matches("Layer already exists").count(), 2, "{again}");
        assert_eq!(cais.cmd("push -q").arg(&to).ok(), to);
    });
}

#[test]
fn a_committed_image_is_compressed_once_and_comes_back() {
    e2e(|cais| {
        let Some(registry) = Registry::start(&Doors::default()) else { return };
        let name = format!("{}/team/made:1", registry.address());
        cais.ok("run --name maker --network none busybox sh -c 'mkdir /made; seq 100000 >/made/file; rm /etc/passwd'");
        cais.cmd("commit maker").arg(&name).ok();
        let id = cais.cmd("image inspect --format {{.Id}}").arg(&name).ok();
        let first = cais.cmd("push").arg(&name).output().code(0);
        assert!(first.stderr_text().matches(": Pushed").count() >= 2, "{}", first.stderr_text());
        let blobs = || std::fs::read_dir(cais.root().join("blobs/sha256")).unwrap().count();
        let known = blobs();
        let second = cais.cmd("push").arg(&name).output().code(0);
        assert_eq!(told_digest(&first.stdout_text()), told_digest(&second.stdout_text()));
        assert_eq!(blobs(), known, "nothing is compressed again");
        cais.ok("system check");
        if let Some((_, manifest)) = manifest_of(&name) {
            let types = layer_types(&manifest);
            assert!(types.iter().all(|it| *it == "application/vnd.oci.image.layer.v1.tar+gzip"), "{types:?}");
        }

        cais.ok("rm maker");
        cais.cmd("rmi -f").arg(&id).ok();
        cais.ok("rmi -f busybox");
        assert_eq!(blobs(), 0, "the blob goes with its layer");
        cais.cmd("pull -q").arg(&name).ok();
        assert_eq!(cais.cmd("image inspect --format {{.Id}}").arg(&name).ok(), id);
        let seen = cais
            .cmd("run --rm --network none")
            .arg(&name)
            .args("sh -c")
            .arg("tail -n1 /made/file; ls /etc")
            .ok();
        assert!(seen.starts_with("100000") && !seen.contains("passwd"), "{seen}");
    });
}

#[test]
fn layers_change_their_compression_on_demand() {
    e2e_empty(|cais| {
        let Some(registry) = Registry::start(&Doors::default()) else { return };
        registry.push("mixed", "1", &image().docker().build());
        let name = |tag: &str| format!("{}/mixed:{tag}", registry.address());
        cais.cmd("pull -q").arg(name("1")).ok();
        cais.cmd("push --compression-format zstd")
            .arg(name("1"))
            .arg(format!("docker://{}", name("zstd")))
            .ok();
        cais.cmd("push --compression-format gzip --format v2s2").arg(name("1")).arg(name("gzip")).ok();
        let refused =
            cais.cmd("push --compression-format zstd --format v2s2").arg(name("1")).arg(name("x")).output();
        assert!(refused.code(1).stderr_text().contains("use the OCI format"));
        let Some((_, zstd)) = manifest_of(&name("zstd")) else { return };
        assert_eq!(layer_types(&zstd), ["application/vnd.oci.image.layer.v1.tar+zstd"; 2]);
        let (_, gzip) = manifest_of(&name("gzip")).unwrap();
        assert_eq!(layer_types(&gzip), ["application/vnd.docker.image.rootfs.diff.tar.gzip"; 2]);
        assert_eq!(zstd["config"]["digest"], gzip["config"]["digest"], "the image is the same");
        // Whoever reads it verifies every digest.
        for tag in ["zstd", "gzip"] {
            let copy = cais.folder().join(format!("copy-{tag}"));
            let (from, to) = (format!("docker://{}", name(tag)), format!("dir:{}", copy.display()));
            foreign("skopeo", &["copy", "-q", "--insecure-policy", "--src-tls-verify=false", &from, &to]);
        }
    });
}

#[test]
fn an_imported_tar_is_compressed() {
    e2e(|cais| {
        let Some(registry) = Registry::start(&Doors::default()) else { return };
        let tar = cais.folder().join("root.tar");
        cais.ok("create --name source --network none busybox true");
        cais.cmd("export -o").arg(&tar).args("source").ok();
        let name = format!("{}/imported:1", registry.address());
        cais.cmd("import").arg(&tar).arg(&name).ok();
        cais.cmd("push").arg(&name).ok();
        let Some((_, manifest)) = manifest_of(&name) else { return };
        assert_eq!(layer_types(&manifest), ["application/vnd.oci.image.layer.v1.tar+gzip"]);
        let size = manifest["layers"][0]["size"].as_u64().unwrap();
        assert!(size < std::fs::metadata(&tar).unwrap().len() * 3 / 4, "{size}");
        cais.ok("rm source");
    });
}

#[test]
fn all_tags_and_what_has_no_place() {
    e2e(|cais| {
        let Some(registry) = Registry::start(&Doors::default()) else { return };
        let repository = format!("{}/many", registry.address());
        for tag in ["b", "a"] {
            cais.cmd("tag busybox").arg(format!("{repository}:{tag}")).ok();
        }
        let file = cais.folder().join("digest");
        let pushed = cais.cmd("push --all-tags --digestfile").arg(&file).arg(&repository).ok();
        let lines: Vec<&str> = pushed.lines().collect();
        assert!(lines.len() == 2 && lines[0].starts_with("a: digest:") && lines[1].starts_with("b: digest:"));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), told_digest(lines[1]));

        let id = cais.ok("image inspect --format {{.Id}} busybox");
        for (args, words) in [
            (vec!["push", &id], "an id does not say where to"),
            (vec!["push", "no/such"], "no such image: no/such"),
            (vec!["push", "-a", "no/such"], "no image here has a tag of docker.io/no/such"),
            (vec!["push", "-a", "busybox:latest"], "tag can't be used with --all-tags/-a"),
            (vec!["push", "busybox", "oci:/tmp/x"], "oci: is no registry"),
            (vec!["push", "--platform", "linux/s390x", "busybox"], "not for linux/s390x"),
            (vec!["push", "--creds", "a:b", "busybox"], "--creds: put credentials into"),
        ] {
            let mut call = cais.cmd("");
            for arg in &args {
                call = call.arg(arg);
            }
            let finished = call.output();
            let told = finished.stderr_text();
            assert!(finished.status() != 0 && told.contains(words), "{args:?}: {told}");
        }
        let to = format!("{repository}:by-id");
        cais.cmd("push").arg(&id).arg(&to).ok();
        assert!(manifest_of(&to).is_none_or(|(_, it)| it["config"]["digest"] == id));
    });
}

#[test]
fn a_protected_registry_wants_a_login() {
    e2e(|cais| {
        let Some(registry) = Registry::start(&Doors { password: true, ..Doors::default() }) else { return };
        let name = format!("{}/mine:1", registry.address());
        cais.cmd("tag busybox").arg(&name).ok();
        let refused = cais.cmd("push").arg(&name).output().code(1).stderr_text();
        assert!(refused.contains("writing there needs a login"), "{refused}");
        write_login(cais, &registry.address(), USER, "wrong");
        let refused = cais.cmd("push").arg(&name).output().code(1).stderr_text();
        assert!(
            refused.contains("the stored login is not accepted, or has no right to write there"),
            "{refused}"
        );
        write_login(cais, &registry.address(), USER, PASSWORD);
        cais.cmd("push").arg(&name).ok();
        cais.ok("system check");
    });
}

#[test]
fn a_killed_push_leaves_nothing() {
    e2e(|cais| {
        let Some(registry) = Registry::start(&Doors::default()) else { return };
        let name = format!("{}/killed:1", registry.address());
        cais.ok("run --name maker --network none busybox sh -c 'head -c 60000000 /dev/urandom >/noise'");
        cais.cmd("commit maker").arg(&name).ok();
        let packing = || {
            let ingest = std::fs::read_dir(cais.root().join("ingest")).unwrap().flatten();
            ingest
                .filter(|it| it.file_name().to_string_lossy().starts_with("tmp-"))
                .any(|it| has_file(&it.path()))
        };
        let mut push = cais.cmd("push").arg(&name).spawn();
        wait_until("it compresses", || packing() || !push.is_running());
        push.signal(Signal::KILL);
        assert!(push.wait().status() != 0, "it was killed before its end");
        cais.ok("system check --repair");
        cais.ok("system check");
        cais.cmd("push").arg(&name).ok();
        assert!(!packing());
        cais.ok("rm maker");
    });
}

fn has_file(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}
