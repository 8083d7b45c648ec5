//! Entries of the same path: the last one wins.

use std::os::unix::fs::MetadataExt;

use crate::bed::Bed;
use crate::forge::{Forge, Header};

#[test]
fn any_kind_replaces_any_other() {
    type Add = fn(&mut Forge);
    let kinds: [(&str, Add, u32); 6] = [
        ("file", |f| _ = f.file("x", b"new"), 0o100_000),
        ("dir", |f| _ = f.dir("x", 0o755).file("x/child", b""), 0o040_000),
        ("symlink", |f| _ = f.symlink("x", "../outside"), 0o120_000),
        ("hard link", |f| _ = f.hard_link("x", "target"), 0o100_000),
        ("device", |f| _ = f.device(b'4', "x", 7, 0), 0o060_000),
        ("fifo", |f| _ = f.header(&Header::new(b'6', "x")), 0o010_000),
    ];
    for (first_name, first, _) in &kinds {
        for (second_name, second, kind) in &kinds {
            let bed = Bed::new();
            let mut forge = Forge::new();
            forge.file("target", b"t");
            first(&mut forge);
            second(&mut forge);
            bed.unpack(&forge.end());
            let found = bed.stat("x").mode() & 0o170_000;
            assert_eq!(found, *kind, "{second_name} after {first_name}");
            assert_eq!(bed.read("target"), "t");
        }
    }
}

#[test]
fn a_second_file_does_not_change_other_names_of_the_first() {
    let bed = Bed::new();
    bed.unpack(&Forge::new().file("a", b"old").hard_link("b", "a").file("a", b"new").end());
    assert_eq!((bed.read("a"), bed.read("b")), ("new".into(), "old".into()));
}

#[test]
fn a_second_directory_keeps_the_children_and_takes_the_new_mode() {
    let bed = Bed::new();
    let mut forge = Forge::new();
    forge.pax(b'x', &[("SCHILY.xattr.user.old", b"1")]).dir("d", 0o700).file("d/f", b"x");
    forge.header(Header::new(b'5', "d").mode(0o1777).owner(3, 4));
    bed.unpack(&forge.end());
    assert_eq!(bed.read("d/f"), "x");
    assert_eq!(bed.stat("d").mode(), 0o041_777);
    assert_eq!((bed.stat("d").uid(), bed.stat("d").gid()), (3, 4));
    assert_eq!(bed.xattr("d", "user.old"), None);
}

#[test]
fn a_directory_that_comes_back_has_nothing_of_the_old_one() {
    let bed = Bed::new();
    let mut forge = Forge::new();
    forge.dir("d", 0o711).file("d/.wh..wh..opq", b"").dir("d/sub", 0o711).file("d/sub/old", b"");
    forge.dir("d-other", 0o711).file("d", b"file").file("d/sub/new", b"n");
    bed.unpack(&forge.end());
    assert!(!bed.exists("d/sub/old") && !bed.is_opaque("d"));
    assert_eq!(bed.stat("d/sub").mode(), 0o040_755);
    assert_eq!(bed.stat("d-other").mode(), 0o040_711);
    assert_eq!(bed.read("d/sub/new"), "n");
}

#[test]
fn a_directory_entry_replaces_a_symlink_but_its_children_follow_it() {
    let bed = Bed::new();
    let mut forge = Forge::new();
    forge.dir("usr/lib", 0o755).symlink("lib", "usr/lib").file("lib/x", b"x").dir("lib/d", 0o700);
    bed.unpack(&forge.end());
    assert_eq!(bed.read("usr/lib/x"), "x");
    assert_eq!(bed.stat("usr/lib/d").mode(), 0o040_700);
    assert!(bed.stat("lib").is_symlink());
    let bed = Bed::new();
    bed.unpack(&forge.dir("lib", 0o755).file("lib/y", b"y").end());
    assert_eq!(bed.read("lib/y"), "y");
    assert!(!bed.exists("usr/lib/y"));
}
