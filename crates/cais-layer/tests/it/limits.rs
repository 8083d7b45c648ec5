//! Absurd sizes, numbers and bombs.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use cais_layer::{Fault, LayerError, Limit, Limits, Options};

use crate::bed::Bed;
use crate::forge::{Forge, Header};

fn limit_of(layer: &[u8], limits: Limits) -> Limit {
    let options = Options { limits, ..Options::default() };
    match Bed::new().try_unpack(layer, &options) {
        Err(LayerError::Limit { limit, .. }) => limit,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_limit_holds() {
    let default = Limits::default;
    let three = Forge::new().file("a", b"").file("b", b"").file("c", b"").end();
    assert_eq!(limit_of(&three, Limits { max_entries: 2, ..default() }), Limit::Entries);
    assert_eq!(limit_of(&three, Limits { max_bytes: 1000, ..default() }), Limit::Bytes);
    let file = Forge::new().file("a", &[1; 2000]).end();
    assert_eq!(limit_of(&file, Limits { max_file_bytes: 1999, ..default() }), Limit::FileBytes);
    let path = Forge::new().pax(b'x', &[("path", &[b'a'; 5000])]).file("a", b"").end();
    assert_eq!(limit_of(&path, default()), Limit::PathBytes);
    let link = Forge::new().pax(b'x', &[("linkpath", &[b'a'; 5000])]).symlink("a", "b").end();
    assert_eq!(limit_of(&link, default()), Limit::PathBytes);
    let header = Forge::new().pax(b'x', &[("comment", &[b'a'; 1 << 20])]).file("a", b"").end();
    assert_eq!(limit_of(&header, default()), Limit::HeaderBytes);
    let name = Forge::new().extended(b'L', &[b'a'; (1 << 20) + 1]).file("a", b"").end();
    assert_eq!(limit_of(&name, default()), Limit::HeaderBytes);
    let value = [1; (1 << 16) + 1];
    let xattr = Forge::new().pax(b'x', &[("SCHILY.xattr.user.a", &value)]).file("a", b"").end();
    assert_eq!(limit_of(&xattr, default()), Limit::XattrBytes);
    let key = format!("SCHILY.xattr.user.{}", "a".repeat(300));
    let xattr = Forge::new().pax(b'x', &[(&key, b"1")]).file("a", b"").end();
    assert_eq!(limit_of(&xattr, default()), Limit::XattrBytes);
}

#[test]
fn declared_sizes_are_judged_before_anything_is_read() {
    let mut forge = Forge::new();
    let layer = forge.pax(b'x', &[("size", b"18446744073709551615")]).file("a", b"").end();
    assert_eq!(limit_of(&layer, Limits::default()), Limit::FileBytes);
    let mut header = Header::new(b'0', "a");
    header.set(124, b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff");
    let layer = Forge::new().header(&header).end();
    assert_eq!(limit_of(&layer, Limits::default()), Limit::FileBytes);
    let layer = Forge::new().header(Header::new(b'0', "a").size(2 << 30)).end();
    assert_eq!(limit_of(&layer, Limits { max_bytes: 1 << 30, ..Limits::default() }), Limit::Bytes);
    // No limit at all must not overflow either.
    let limits = Limits { max_bytes: u64::MAX, max_file_bytes: u64::MAX, ..Limits::default() };
    let layer = Forge::new().pax(b'x', &[("size", b"18446744073709551615")]).file("a", b"").end();
    let options = Options { limits, ..Options::default() };
    assert!(matches!(Bed::new().try_unpack(&layer, &options), Err(LayerError::Truncated { .. })));
}

#[test]
fn impossible_numbers_are_refused() {
    for (at, len) in [(100, 8), (108, 8), (116, 8), (124, 12), (136, 12)] {
        let bed = Bed::new();
        let layer = Forge::new().header(Header::new(b'0', "a").set(at, &vec![b'9'; len])).end();
        assert!(matches!(bed.refuse(&layer), LayerError::Malformed { fault: Fault::Number(_), .. }));
    }
    for (at, len) in [(108, 8), (116, 8), (124, 12)] {
        let bed = Bed::new();
        let layer = Forge::new().header(Header::new(b'0', "a").set(at, &vec![0xff; len])).end();
        assert!(matches!(bed.refuse(&layer), LayerError::Malformed { fault: Fault::Number(_), .. }));
    }
}

#[test]
fn ids_that_mean_no_change_are_refused() {
    for id in ["4294967295", "4294967296", "18446744073709551615"] {
        for key in ["uid", "gid"] {
            let bed = Bed::new();
            let layer = Forge::new().pax(b'x', &[(key, id.as_bytes())]).file("a", b"").end();
            assert!(matches!(bed.refuse(&layer), LayerError::Owner { .. }), "{key} {id}");
            let options = Options { squash_ids: true, ..Options::default() };
            Bed::new().try_unpack(&layer, &options).unwrap();
        }
    }
}

#[test]
fn attributes_may_not_pile_up() {
    let keys: Vec<String> = (0..1100).map(|n| format!("SCHILY.xattr.user.{n}")).collect();
    let records: Vec<(&str, &[u8])> = keys.iter().map(|key| (key.as_str(), &b"1"[..])).collect();
    let layer = Forge::new().pax(b'x', &records).file("a", b"").end();
    let error = Bed::new().refuse(&layer);
    assert!(matches!(error, LayerError::Malformed { fault: Fault::TooManyXattrs, .. }), "{error}");
    let mut forge = Forge::new();
    for key in &keys[..20] {
        forge.pax(b'g', &[(key, &[1; 60_000])]);
    }
    assert_eq!(limit_of(&forge.file("a", b"").end(), Limits::default()), Limit::HeaderBytes);
}

#[test]
fn a_decompression_bomb_stops_at_the_limit() {
    // 64 MiB of zeros behind a header that declares them.
    let size = 64 << 20;
    let header = Forge::new().header(Header::new(b'0', "bomb").size(8 << 20)).open_end();
    let bomb = header.chain(io::repeat(0).take(size));
    let bomb = zstd::encode_all(bomb, 1).unwrap();
    assert!(bomb.len() < 20_000);
    let limits = Limits { max_bytes: 16 << 20, ..Limits::default() };
    // What follows the file is two blocks of zeros, and then more than there may be.
    assert_eq!(limit_of(&bomb, limits), Limit::Bytes);
}

#[test]
fn a_full_disk_is_told_from_other_errors() {
    let dir = tempfile::tempdir().unwrap();
    let mount =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(dir.path()).output();
    if !mount.as_ref().is_ok_and(|output| output.status.success()) {
        println!("skipped: tmpfs cannot be mounted here: {mount:?}");
        return;
    }
    let layer = Forge::new().file("big", &vec![1; 1 << 20]).end();
    let dest = std::fs::File::open(dir.path()).unwrap();
    let result = cais_layer::unpack(&layer[..], dest.as_fd(), &Options::default());
    drop(dest);
    assert!(Command::new("umount").arg(dir.path()).status().unwrap().success());
    let error = result.unwrap_err();
    assert!(error.is_disk_full(), "{error}");
    assert_eq!(error.to_string(), "no space left on the device while unpacking \"big\"");
}

#[test]
fn a_sparse_file_takes_no_space_for_its_holes() {
    let bed = Bed::new();
    let map = format!("{},0", 1u64 << 40);
    let layer = Forge::new()
        .pax(
            b'x',
            &[("GNU.sparse.major", b"0"), ("GNU.sparse.minor", b"1"), ("GNU.sparse.map", map.as_bytes())],
        )
        .file("never", b"")
        .end();
    assert!(matches!(bed.refuse(&layer), LayerError::Malformed { fault: Fault::SparseMap, .. }));
    let bed = Bed::new();
    let size = (1u64 << 40).to_string();
    let layer = Forge::new()
        .pax(
            b'x',
            &[
                ("GNU.sparse.major", b"0"),
                ("GNU.sparse.minor", b"1"),
                ("GNU.sparse.name", b"huge"),
                ("GNU.sparse.size", size.as_bytes()),
                ("GNU.sparse.map", map.as_bytes()),
            ],
        )
        .file("other", b"")
        .end();
    let unpacked = bed.unpack(&layer);
    assert_eq!(unpacked.content_bytes, 1 << 40);
    assert_eq!(bed.stat("huge").size(), 1 << 40);
    assert!(bed.stat("huge").blocks() < 100);
}
