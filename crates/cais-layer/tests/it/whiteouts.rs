//! Whiteouts as overlayfs wants them, and against everything that they should not touch.

use std::fs;
use std::process::Command;

use cais_layer::{LayerError, Options};

use crate::bed::{Bed, xattr_of};
use crate::forge::{Forge, Header};

#[test]
fn whiteouts_become_devices_and_opaque_attributes() {
    let bed = Bed::new();
    let layer = Forge::new()
        .dir("dir", 0o755)
        .file("dir/.wh.gone", b"")
        .file("dir/.wh..wh..opq", b"")
        .file(".wh.top", b"with content")
        .file("after", b"x")
        .end();
    let unpacked = bed.unpack(&layer);
    assert!(bed.is_whiteout("dir/gone") && bed.is_whiteout("top") && bed.is_opaque("dir"));
    assert!(!bed.exists("dir/.wh.gone") && !bed.exists("dir/.wh..wh..opq"));
    assert_eq!(bed.read("after"), "x");
    assert!(!unpacked.hides_lower_layers);
}

#[test]
fn rootless_uses_the_attributes_of_users() {
    let bed = Bed::new();
    let options = Options { rootless: true, ..Options::default() };
    let layer = Forge::new().dir("dir", 0o755).file("dir/.wh..wh..opq", b"").file(".wh.gone", b"").end();
    bed.try_unpack(&layer, &options).unwrap();
    assert_eq!(bed.xattr("dir", "user.overlay.opaque").as_deref(), Some(&b"y"[..]));
    assert_eq!(bed.xattr("dir", "trusted.overlay.opaque"), None);
    assert!(bed.is_whiteout("gone"));
}

#[test]
fn whiteouts_without_a_name_are_refused() {
    for path in [".wh.", ".wh..", ".wh...", "dir/.wh.", "dir/.wh..", "dir/.wh...", "./.wh..", "/.wh..."] {
        let bed = Bed::new();
        let layer = Forge::new().dir("dir", 0o755).file(path, b"").end();
        assert!(matches!(bed.refuse(&layer), LayerError::NamelessWhiteout { .. }), "{path}");
    }
}

#[test]
fn a_slash_within_a_whiteout_is_an_ordinary_separator() {
    let bed = Bed::new();
    bed.unpack(&Forge::new().file(".wh.a/b", b"x").file(".wh.c/", b"").end());
    assert_eq!(bed.read(".wh.a/b"), "x");
    assert!(bed.is_whiteout("c"));
}

#[test]
fn an_opaque_root_is_reported() {
    let bed = Bed::new();
    assert!(bed.unpack(&Forge::new().file(".wh..wh..opq", b"").file("a", b"").end()).hides_lower_layers);
}

#[test]
fn whiteouts_do_not_follow_a_symlink_of_their_name() {
    let bed = Bed::new();
    let mut forge = Forge::new();
    forge.symlink("canary", "../outside/canary").file(".wh.canary", b"");
    forge.symlink("sub", "../outside/sub").file(".wh.sub", b"");
    bed.unpack(&forge.end());
    assert!(bed.is_whiteout("canary") && bed.is_whiteout("sub"));
}

#[test]
fn the_later_of_whiteout_and_object_wins() {
    let bed = Bed::new();
    let mut forge = Forge::new();
    forge.file(".wh.file", b"").file("file", b"back");
    forge.file("gone", b"x").file(".wh.gone", b"");
    forge.file("tree/a/b/c", b"x").symlink("tree/s", "../../outside").file(".wh.tree", b"");
    forge.file(".wh.twice", b"").file(".wh.twice", b"");
    bed.unpack(&forge.end());
    assert_eq!(bed.read("file"), "back");
    assert!(bed.is_whiteout("gone") && bed.is_whiteout("tree") && bed.is_whiteout("twice"));
}

#[test]
fn a_directory_after_its_whiteout_still_hides_the_lower_one() {
    let bed = Bed::new();
    let mut forge = Forge::new();
    forge.file(".wh.explicit", b"").dir("explicit", 0o750);
    forge.file(".wh.implied", b"").file("implied/file", b"x");
    forge.dir("plain", 0o755);
    bed.unpack(&forge.end());
    assert!(bed.is_opaque("explicit") && bed.is_opaque("implied") && !bed.is_opaque("plain"));
}

#[test]
fn a_whiteout_below_a_whiteout_is_skipped() {
    // Some tools write this for `rm -r foo/bar`.
    let bed = Bed::new();
    let mut forge = Forge::new();
    forge.file(".wh.foo", b"").file("foo/.wh.bar", b"").file("foo/.wh..wh..opq", b"");
    forge.file("file", b"x").file("file/.wh.bar", b"");
    bed.unpack(&forge.end());
    assert!(bed.is_whiteout("foo"));
    assert_eq!(bed.read("file"), "x");
}

#[test]
fn aufs_leftovers_are_skipped_but_its_hard_links_work() {
    let bed = Bed::new();
    let mut forge = Forge::new();
    forge.dir(".wh..wh.plnk", 0o700).file(".wh..wh.plnk/12.34", b"shared").file(".wh..wh.aufs", b"");
    forge.dir(".wh..wh.orph", 0o700).file(".wh..wh.orph/x", b"");
    forge.hard_link("a", ".wh..wh.plnk/12.34").hard_link("dir/b", ".wh..wh.plnk/12.34");
    bed.unpack(&forge.end());
    assert_eq!(bed.read("a"), "shared");
    assert_eq!(bed.read("dir/b"), "shared");
    let names = fs::read_dir(bed.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.collect();
    names.sort();
    assert_eq!(names, ["a", "dir"]);
}

#[test]
fn attributes_of_overlayfs_cannot_be_forged() {
    let bed = Bed::new();
    let forged: [(&str, &[u8]); 7] = [
        ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
        ("SCHILY.xattr.user.overlay.opaque", b"y"),
        ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
        ("SCHILY.xattr.trusted.overlay.metacopy", b""),
        ("SCHILY.xattr.trusted.overlay.overlay.opaque", b"y"),
        ("SCHILY.xattr.user.overlay.whiteout", b"y"),
        ("SCHILY.xattr.user.honest", b"yes"),
    ];
    let layer = Forge::new().pax(b'x', &forged).dir("dir", 0o755).pax(b'x', &forged).file("file", b"").end();
    bed.unpack(&layer);
    for name in ["dir", "file"] {
        for (key, _) in &forged[..6] {
            assert_eq!(bed.xattr(name, key.trim_start_matches("SCHILY.xattr.")), None, "{name} {key}");
        }
        assert_eq!(bed.xattr(name, "user.honest").as_deref(), Some(&b"yes"[..]));
    }
}

#[test]
fn a_raw_whiteout_device_counts_as_one() {
    let bed = Bed::new();
    let layer = Forge::new().device(b'3', "gone", 0, 0).file("gone/child", b"x").end();
    bed.unpack(&layer);
    assert!(bed.is_opaque("gone"));
}

#[test]
fn overlayfs_reads_the_layer_as_it_was_meant() {
    let lower = Bed::new();
    lower.unpack(
        &Forge::new().file("a/one", b"1").file("a/two", b"2").file("b/one", b"1").file("c/one", b"1").end(),
    );
    let upper = Bed::new();
    let mut forge = Forge::new();
    forge.file("a/.wh.one", b"").file("a/three", b"3");
    forge.dir("b", 0o755).file("b/.wh..wh..opq", b"").file("b/two", b"2");
    forge.file(".wh.c", b"").header(Header::new(b'5', "c").mode(0o700));
    upper.unpack(&forge.end());
    let merged = tempfile::tempdir().unwrap();
    let layers = format!("lowerdir={}:{}", upper.path("").display(), lower.path("").display());
    let mounted =
        Command::new("mount").args(["-t", "overlay", "overlay", "-o", &layers]).arg(merged.path()).output();
    if !mounted.as_ref().is_ok_and(|output| output.status.success()) {
        println!("skipped: overlayfs cannot be mounted here: {mounted:?}");
        return;
    }
    let list = |dir: &str| {
        let names = fs::read_dir(merged.path().join(dir)).unwrap();
        let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let seen = (list("a"), list("b"), list("c"));
    assert!(Command::new("umount").arg(merged.path()).status().unwrap().success());
    assert_eq!(seen.0, ["three", "two"]);
    assert_eq!(seen.1, ["two"]);
    assert!(seen.2.is_empty());
    assert_eq!(xattr_of(&upper.path("a"), "trusted.overlay.opaque"), None);
}
