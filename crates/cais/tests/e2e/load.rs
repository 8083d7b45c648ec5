//! `cais load`: archives and layouts, honest and hostile.

use cais_test::image::sha256;
use cais_test::process::Invocation;
use cais_test::{Entry, EntryKind, Image, Layer, Layout, e2e_empty, skip};

fn image() -> Image {
    Image::new().layer(Layer::new().file("a", "1")).layer(Layer::new().file("b", "2"))
}

#[test]
fn a_docker_archive_from_file_and_stdin_packed_or_not() {
    e2e_empty(|cais| {
        let archive = cais.folder().join("i.tar");
        image().build().write_docker_archive(&archive, &["one:1", "two:2"]).unwrap();
        let text = cais.cmd("load -i").arg(&archive).ok();
        assert!(text.contains("Loaded image: one:1") && text.contains("Loaded image: two:2"), "{text}");
        for packer in ["gzip", "zstd"] {
            cais.ok("rmi one:1 two:2");
            let packed = Invocation::new(packer, "-c").arg(&archive).output();
            if packed.status() != 0 {
                return skip(format_args!("{packer} does not work here"));
            }
            cais.cmd("load").stdin(packed.stdout).ok();
            assert_eq!(cais.ok("image inspect --format {{.Id}} two:2"), image().build().id());
        }
    });
}

#[test]
fn an_oci_archive_and_a_layout_folder() {
    e2e_empty(|cais| {
        let mut layout = Layout::create(&cais.folder().join("layout")).unwrap();
        layout.add("example.test/x:v1", &image().build()).unwrap();
        let archive = cais.folder().join("oci.tar");
        layout.write_archive(&archive).unwrap();
        for source in [archive.as_path(), layout.path()] {
            let text = cais.cmd("load -i").arg(source).ok();
            assert!(text.contains("example.test/x:v1"), "{text}");
            assert_eq!(cais.ok("image inspect --format {{.Id}} example.test/x:v1"), image().build().id());
            cais.ok("rmi example.test/x:v1");
            assert_eq!(cais.ok("images -aq"), "");
        }
    });
}

#[test]
fn rubbish_is_refused_and_leaves_nothing() {
    e2e_empty(|cais| {
        let bad = |bytes: &[u8]| {
            let file = cais.folder().join("bad");
            std::fs::write(&file, bytes).unwrap();
            cais.cmd("load -i").arg(&file).output().code(1).one_clear_error();
            assert_eq!(cais.ok("images -aq"), "");
        };
        bad(b"");
        bad(b"this is not an archive at all");
        bad(&Layer::new().file("manifest.json", "{").tar());
        bad(&Layer::new()
            .file("manifest.json", r#"[{"Config":"x.json","RepoTags":["a:1"],"Layers":["gone.tar"]}]"#)
            .tar());
        bad(&Layer::new()
            .file("manifest.json", r#"[{"Config":"../../etc/passwd","RepoTags":["a:1"],"Layers":[]}]"#)
            .tar());
        bad(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3]);
        let archive = cais.folder().join("good.tar");
        image().build().write_docker_archive(&archive, &["a:1"]).unwrap();
        let whole = std::fs::read(&archive).unwrap();
        bad(&whole[..whole.len() / 2]);
        cais.fails(1, "load -i /no/such/file").one_clear_error().says("/no/such/file");
    });
}

#[test]
fn blobs_that_do_not_match_their_digest_are_refused() {
    e2e_empty(|cais| {
        let mut layout = Layout::create(&cais.folder().join("layout")).unwrap();
        let built = image().build();
        layout.add("x:v1", &built).unwrap();
        let blob =
            layout.path().join("blobs/sha256").join(sha256(&built.blobs[0]).strip_prefix("sha256:").unwrap());
        let mut bytes = std::fs::read(&blob).unwrap();
        bytes[600] ^= 1;
        std::fs::write(&blob, bytes).unwrap();
        cais.cmd("load -i").arg(layout.path()).output().code(1).one_clear_error();
        assert_eq!(cais.ok("images -aq"), "");
    });
}

#[test]
fn a_hostile_layer_cannot_write_outside() {
    e2e_empty(|cais| {
        let mark = cais.folder().join("outside");
        std::fs::create_dir(&mark).unwrap();
        let target = mark.to_str().unwrap();
        let file = |path: String| Layer::new().file(&path, "evil");
        let hostile = [
            file(format!("../../../../../../../../../../..{target}/x")),
            file(format!("{target}/x")),
            Layer::new().symlink("out", target).file("out/x", "evil"),
            Layer::new()
                .symlink("out", "../../../../../../../../../..")
                .file(&format!("out{target}/x"), "evil"),
            Layer::new().symlink("a", target).hard_link("b", "a/../x").file("b", "evil"),
            Layer::new().dir("d").whiteout(&format!("d/../../../../../../../../../../..{target}")),
            Layer::new().entry(Entry::new(".wh...", EntryKind::File(Vec::new()))),
            Layer::new().hard_link("h", "/etc/passwd").file("h", "evil"),
        ];
        let passwd = std::fs::read("/etc/passwd").unwrap();
        for (number, layer) in hostile.into_iter().enumerate() {
            let archive = cais.folder().join("hostile.tar");
            Image::new().layer(layer).build().write_docker_archive(&archive, &["hostile:1"]).unwrap();
            // Refused or tamed inside its own root: both are right, writing outside is not.
            let status = cais.cmd("load -q -i").arg(&archive).output().status();
            assert!(status == 0 || status == 1, "layer {number}: {status}");
            assert!(mark.is_dir(), "layer {number} removed a folder outside");
            assert_eq!(std::fs::read_dir(&mark).unwrap().count(), 0, "layer {number} wrote outside");
            assert_eq!(std::fs::read("/etc/passwd").unwrap(), passwd, "layer {number}");
        }
    });
}

#[test]
fn directories_without_an_entry_look_as_in_the_layer_beneath() {
    e2e_empty(|cais| {
        let Some(busybox) = cais_test::rootfs::busybox() else { return skip("busybox-static is missing") };
        let base = Layer::new()
            .entry(Entry::new("tmp", EntryKind::Directory).mode(0o1777))
            .entry(Entry::new("home", EntryKind::Directory).mode(0o755))
            .entry(Entry::new("home/user", EntryKind::Directory).mode(0o700).owner(1000, 1000));
        let image =
            busybox.layer(base).layer(Layer::new().file("tmp/x", "x").file("home/user/.profile", "y"));
        let archive = cais.folder().join("image.tar");
        image.build().write_docker_archive(&archive, &["implied:latest"]).unwrap();
        cais.cmd("load -q -i").arg(&archive).ok();
        let stat = "run --rm --network none implied stat -c '%a %u' /tmp /home/user";
        assert_eq!(cais.ok(stat), "1777 0\n700 1000");
        // An ordinary user may write there, and a volume takes it over.
        cais.ok("run --rm --network none -u 7 implied touch /tmp/mine");
        assert_eq!(
            cais.ok("run --rm --network none -v vol:/home/user implied stat -c '%a %u' /home/user"),
            "700 1000"
        );
        assert_eq!(cais.ok("system check"), "");
        cais.ok("rmi implied");
        cais.ok("volume rm vol");
        assert_eq!(std::fs::read_dir(cais.root().join("layers")).unwrap().count(), 0);
    });
}
