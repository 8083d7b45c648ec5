//! Modes, owners, times, attributes and device nodes.

use std::os::unix::fs::MetadataExt;

use cais_layer::{LayerError, Options};

use crate::bed::Bed;
use crate::forge::{Forge, Header};

/// `cap_net_raw=ep`, as setcap writes it.
const CAP_NET_RAW: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn setuid_survives_the_change_of_owner() {
    let bed = Bed::new();
    let layer = Forge::new()
        .header(Header::new(b'0', "su").mode(0o4755).owner(0, 0))
        .header(Header::new(b'0', "sgid").mode(0o6711).owner(33, 44))
        .header(Header::new(b'5', "dir").mode(0o2775).owner(33, 44))
        .file("dir/child", b"")
        .header(Header::new(b'0', "all").mode(0o777))
        .header(Header::new(b'0', "none").mode(0))
        .header(Header::new(b'5', "closed").mode(0))
        .file("closed/child", b"x")
        .end();
    bed.unpack(&layer);
    let look = |name: &str| (bed.stat(name).mode() & 0o7777, bed.stat(name).uid(), bed.stat(name).gid());
    assert_eq!(look("su"), (0o4755, 0, 0));
    assert_eq!(look("sgid"), (0o6711, 33, 44));
    assert_eq!(look("dir"), (0o2775, 33, 44));
    assert_eq!(look("dir/child"), (0o644, 0, 0));
    assert_eq!(look("all"), (0o777, 0, 0));
    assert_eq!(look("none"), (0, 0, 0));
    assert_eq!(look("closed"), (0, 0, 0));
    assert_eq!(bed.read("closed/child"), "x");
}

#[test]
fn a_setgid_destination_changes_nothing() {
    let bed = Bed::new();
    let dest = bed.path("");
    std::os::unix::fs::chown(&dest, Some(0), Some(55)).unwrap();
    std::fs::set_permissions(&dest, std::os::unix::fs::PermissionsExt::from_mode(0o2755)).unwrap();
    bed.unpack(&Forge::new().dir("d", 0o755).file("d/f", b"").symlink("s", "x").end());
    for name in ["d", "d/f", "s"] {
        assert_eq!((bed.stat(name).uid(), bed.stat(name).gid()), (0, 0), "{name}");
    }
    assert_eq!(bed.stat("d").mode(), 0o040_755);
}

#[test]
fn times_are_exact_and_directories_keep_theirs() {
    let bed = Bed::new();
    let layer = Forge::new()
        .pax(b'x', &[("mtime", b"1234567890.123456789")])
        .dir("d", 0o755)
        .pax(b'x', &[("mtime", b"-1.25")])
        .file("d/old", b"x")
        .dir("d/sub", 0o755)
        .end();
    bed.unpack(&layer);
    assert_eq!((bed.stat("d").mtime(), bed.stat("d").mtime_nsec()), (1_234_567_890, 123_456_789));
    assert_eq!((bed.stat("d/old").mtime(), bed.stat("d/old").mtime_nsec()), (-2, 750_000_000));
    assert_eq!(bed.stat("d/sub").mtime(), 1_000_000_000);
}

#[test]
fn the_root_takes_the_mode_of_its_entry_or_keeps_its_own() {
    let bed = Bed::new();
    bed.unpack(&Forge::new().header(Header::new(b'5', "./").mode(0o1777).owner(5, 6)).file("a", b"").end());
    assert_eq!(bed.stat("").mode(), 0o041_777);
    assert_eq!((bed.stat("").uid(), bed.stat("").gid(), bed.stat("").mtime()), (5, 6, 1_000_000_000));
    let bed = Bed::new();
    std::fs::set_permissions(bed.path(""), std::os::unix::fs::PermissionsExt::from_mode(0o710)).unwrap();
    bed.unpack(&Forge::new().file("a", b"").end());
    assert_eq!(bed.stat("").mode(), 0o040_710);
}

#[test]
fn missing_parents_are_ordinary_directories() {
    let bed = Bed::new();
    bed.unpack(&Forge::new().file("a/b/c", b"x").end());
    assert_eq!((bed.stat("a/b").mode(), bed.stat("a/b").uid()), (0o040_755, 0));
}

#[test]
fn attributes_are_set_capabilities_too() {
    let bed = Bed::new();
    let records: [(&str, &[u8]); 6] = [
        ("SCHILY.xattr.security.capability", &CAP_NET_RAW),
        ("SCHILY.xattr.user.binary", b"a\0b=c\nd"),
        ("SCHILY.xattr.user.empty", b""),
        ("SCHILY.xattr.trusted.mine", b"1"),
        ("SCHILY.xattr.security.selinux", b"system_u:object_r:shadow_t:s0"),
        ("SCHILY.xattr.com.apple.provenance", b"1"),
    ];
    let layer = Forge::new()
        .pax(b'x', &records)
        .header(Header::new(b'0', "ping").mode(0o755).owner(7, 7))
        .pax(b'x', &records[1..])
        .dir("dir", 0o755)
        .file("plain", b"")
        .end();
    bed.unpack(&layer);
    assert_eq!(bed.xattr("ping", "security.capability").as_deref(), Some(&CAP_NET_RAW[..]));
    for name in ["ping", "dir"] {
        assert_eq!(bed.xattr(name, "user.binary").as_deref(), Some(&b"a\0b=c\nd"[..]));
        assert_eq!(bed.xattr(name, "user.empty").as_deref(), Some(&b""[..]));
        assert_eq!(bed.xattr(name, "trusted.mine").as_deref(), Some(&b"1"[..]));
        assert_eq!(bed.xattr(name, "com.apple.provenance"), None);
        assert_ne!(
            bed.xattr(name, "security.selinux").as_deref(),
            Some(&b"system_u:object_r:shadow_t:s0"[..])
        );
    }
    assert_eq!(bed.xattr("plain", "user.binary"), None);
}

#[test]
fn a_default_acl_of_a_directory_does_not_reach_its_children() {
    // Version 2; user::rwx, group::rwx, other::rwx.
    let mut acl = vec![2, 0, 0, 0];
    for tag in [1u16, 4, 0x20] {
        acl.extend([&tag.to_le_bytes()[..], &7u16.to_le_bytes(), &u32::MAX.to_le_bytes()].concat());
    }
    let bed = Bed::new();
    let layer = Forge::new()
        .pax(b'x', &[("SCHILY.xattr.system.posix_acl_default", &acl)])
        .dir("d", 0o755)
        .dir("d/sub", 0o755)
        .file("d/f", b"")
        .end();
    bed.unpack(&layer);
    let Some(found) = bed.xattr("d", "system.posix_acl_default") else {
        println!("skipped: the file system has no ACLs");
        return;
    };
    assert_eq!(found, acl);
    assert_eq!(bed.xattr("d/sub", "system.posix_acl_default"), None);
    assert_eq!(bed.stat("d/f").mode() & 0o777, 0o644);
}

#[test]
fn an_attribute_that_the_kernel_refuses_is_an_error_with_its_name() {
    let bed = Bed::new();
    let layer =
        Forge::new().pax(b'x', &[("SCHILY.xattr.security.capability", b"nonsense")]).file("a", b"").end();
    let error = bed.refuse(&layer);
    assert_eq!(error.to_string(), "set the extended attribute \"security.capability\" of \"a\"");
}

#[test]
fn devices_and_pipes_are_made_as_root() {
    let bed = Bed::new();
    let layer = Forge::new()
        .header(Header::new(b'3', "null").device(1, 3).mode(0o666).owner(0, 5))
        .header(Header::new(b'4', "loop").device(7, 300).mode(0o660))
        .header(Header::new(b'6', "fifo").mode(0o622).owner(9, 9))
        .end();
    assert_eq!(bed.unpack(&layer).skipped_devices, 0);
    let null = bed.stat("null");
    assert_eq!((null.mode(), null.gid(), null.rdev()), (0o020_666, 5, rustix::fs::makedev(1, 3)));
    let block = bed.stat("loop");
    assert_eq!((block.mode(), block.rdev()), (0o060_660, rustix::fs::makedev(7, 300)));
    let fifo = bed.stat("fifo");
    assert_eq!((fifo.mode(), fifo.uid(), fifo.mtime()), (0o010_622, 9, 1_000_000_000));
}

#[test]
fn rootless_skips_devices_and_their_links_and_counts_them() {
    let bed = Bed::new();
    let options = Options { rootless: true, ..Options::default() };
    let layer = Forge::new()
        .file("dev/null", b"old")
        .device(b'3', "dev/null", 1, 3)
        .device(b'4', "dev/sda", 8, 0)
        .hard_link("dev/nul", "dev/null")
        .hard_link("dev/nil", "dev/nul")
        .header(&Header::new(b'6', "dev/fifo"))
        .end();
    assert_eq!(bed.try_unpack(&layer, &options).unwrap().skipped_devices, 4);
    assert!(!bed.exists("dev/null") && !bed.exists("dev/sda") && !bed.exists("dev/nul"));
    assert!(bed.exists("dev/fifo"));
    let layer = Forge::new().device(b'3', "dev/null", 1, 3).hard_link("x", "dev/zero").end();
    assert!(matches!(Bed::new().try_unpack(&layer, &options), Err(LayerError::HardLink { .. })));
}

#[test]
fn squashed_ids_are_those_of_the_caller() {
    let bed = Bed::new();
    let options = Options { rootless: true, squash_ids: true, ..Options::default() };
    let mut forge = Forge::new();
    forge.header(Header::new(b'5', "./").mode(0o755).owner(1, 1));
    for (flag, name) in [(b'0', "file"), (b'5', "dir"), (b'2', "link"), (b'6', "fifo")] {
        forge.header(Header::new(flag, name).owner(1000, 1000).mode(0o4755).link("x"));
    }
    bed.try_unpack(&forge.end(), &options).unwrap();
    for name in ["", "file", "dir", "link", "fifo"] {
        assert_eq!((bed.stat(name).uid(), bed.stat(name).gid()), (0, 0), "{name}");
    }
    assert_eq!(bed.stat("file").mode(), 0o104_755);
}

#[test]
fn directories_without_an_entry_are_named() {
    let bed = Bed::new();
    let layer = Forge::new()
        .file("tmp/a/x", b"")
        .file("late/x", b"")
        .dir("late", 0o711)
        .file("only/.wh.gone", b"")
        .file("opaque/.wh..wh..opq", b"")
        .file(".wh.new", b"")
        .file("new/x", b"")
        .dir("told", 0o700)
        .file("dropped/x", b"")
        .file("dropped", b"a file")
        .end();
    let implied: Vec<String> =
        bed.unpack(&layer).implied_dirs.into_iter().map(|path| String::from_utf8(path).unwrap()).collect();
    // Behind the whiteout is a new directory, that hides the old one.
    assert_eq!(implied, ["only", "opaque", "tmp", "tmp/a"]);
    assert_eq!(bed.stat("tmp/a").mode(), 0o040_755);
}
