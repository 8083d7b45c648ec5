//! Dialects of tar, compressions, digests.

use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;

use cais_layer::{Compression, Decoder, EntryKind, Fault, LayerError, Limits, TarReader};
use cais_oci::Digest;

use crate::bed::Bed;
use crate::forge::{Forge, Header};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn one_digest_whatever_the_compression() {
    let content: Vec<u8> = (0..900_000u32).flat_map(u32::to_le_bytes).collect();
    let tar = Forge::new().file("small", b"s").file("big", &content).end();
    let (head, tail) = tar.split_at(1000);
    for (compression, layer) in [
        (Compression::None, tar.clone()),
        (Compression::Gzip, gzip(&tar)),
        (Compression::Gzip, [gzip(head), gzip(tail)].concat()),
        (Compression::Zstd, zstd::encode_all(&tar[..], 3).unwrap()),
    ] {
        let bed = Bed::new();
        let unpacked = bed.unpack(&layer);
        assert_eq!(unpacked.diff_id, Digest::sha256(&tar));
        assert_eq!(unpacked.compression, compression);
        assert_eq!(unpacked.tar_bytes, tar.len() as u64);
        assert_eq!(unpacked.content_bytes, content.len() as u64 + 1);
        assert_eq!(unpacked.entries, 2);
        assert!(std::fs::read(bed.path("big")).unwrap() == content);
    }
}

#[test]
fn what_follows_the_end_marker_is_digested_and_not_read() {
    let mut tar = Forge::new().file("a", b"x").end();
    tar.extend_from_slice(&Forge::new().file("b", b"y").open_end());
    tar.extend_from_slice(&[3; 700_001]);
    let bed = Bed::new();
    assert_eq!(bed.unpack(&tar).diff_id, Digest::sha256(&tar));
    assert!(bed.exists("a") && !bed.exists("b"));
    // One block of zeros at the end, and none at all.
    for tail in [512, 0] {
        let tar = [Forge::new().file("a", b"x").open_end(), vec![0; tail]].concat();
        assert_eq!(Bed::new().unpack(&tar).diff_id, Digest::sha256(&tar));
    }
    assert_eq!(Bed::new().unpack(b"").diff_id, Digest::sha256(b""));
}

#[test]
fn corrupt_and_truncated_compression_is_told_apart_from_tar() {
    let tar = Forge::new().file("a", &[7; 100_000]).end();
    for layer in [gzip(&tar), zstd::encode_all(&tar[..], 1).unwrap()] {
        let error = Bed::new().refuse(&layer[..layer.len() - 3]);
        assert!(matches!(error, LayerError::Decompress { .. }), "{error}");
    }
    let error = Bed::new().refuse(b"\xfd7zXZ\0abcdefgh");
    assert!(matches!(error, LayerError::UnsupportedCompression { name: "xz" }));
}

#[test]
fn old_tars_have_directories_by_slash() {
    let bed = Bed::new();
    let mut dir = Header::new(0, "dir/");
    let mut file = Header::new(0, "dir/file");
    for header in [&mut dir, &mut file] {
        header.set(257, &[0; 8]).set(345, b"garbage that is no prefix");
    }
    file.size(3);
    bed.unpack(&Forge::new().header(dir.mode(0o755)).header(&file).content(b"abc").end());
    assert_eq!(bed.read("dir/file"), "abc");
}

#[test]
fn sizes_of_entries_without_content_are_ignored() {
    let bed = Bed::new();
    let mut forge = Forge::new();
    forge.file("a", b"x");
    for (flag, path) in [(b'1', "hard"), (b'2', "soft"), (b'5', "dir"), (b'6', "fifo")] {
        forge.header(Header::new(flag, path).link("a").size(4096));
    }
    bed.unpack(&forge.file("last", b"l").end());
    assert_eq!(bed.read("last"), "l");
    assert_eq!(bed.stat("a").nlink(), 2);
}

#[test]
fn extended_headers_override() {
    let long = format!("{}/{}", "d".repeat(200), "f".repeat(200));
    let bed = Bed::new();
    let mut forge = Forge::new();
    forge.pax(b'g', &[("uid", b"11"), ("path", b"ignored"), ("comment", b"by git")]);
    forge.pax(b'x', &[("path", long.as_bytes()), ("size", b"3"), ("gid", b"70000")]);
    forge.header(Header::new(b'0', "short").size(1)).content(b"abc");
    forge.extended(b'L', format!("{long}2\0").as_bytes()).extended(b'K', b"far/away\0");
    forge.symlink("short", "short");
    forge.pax(b'g', &[("uid", b"")]).file("later", b"");
    bed.unpack(&forge.end());
    assert_eq!(bed.read(&long), "abc");
    assert_eq!((bed.stat(&long).uid(), bed.stat(&long).gid()), (11, 70_000));
    let link = std::fs::read_link(bed.path(&format!("{long}2"))).unwrap();
    assert_eq!(link.to_str(), Some("far/away"));
    assert_eq!(bed.stat("later").uid(), 0);
    assert!(!bed.exists("short") && !bed.exists("ignored"));
}

#[test]
fn big_numbers_may_be_binary() {
    let bed = Bed::new();
    let mut header = Header::new(b'0', "a");
    header.set(108, b"\x80\0\0\0\x7f\xff\xff\xff").set(136, &[0xff; 12]);
    bed.unpack(&Forge::new().header(&header).end());
    assert_eq!((bed.stat("a").uid(), bed.stat("a").mtime()), (0x7fff_ffff, -1));
}

#[test]
fn broken_sparse_maps_are_refused() {
    let broken = |records: &[(&str, &[u8])], content: &[u8]| {
        let layer = Forge::new().pax(b'x', records).file("a", content).end();
        match Bed::new().refuse(&layer) {
            LayerError::Malformed { fault, .. } => fault,
            other => panic!("{other}"),
        }
    };
    let v1: [(&str, &[u8]); 3] =
        [("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"1000")];
    let map = |text: &str| [text.as_bytes(), &vec![0; 512 - text.len()]].concat();
    assert_eq!(broken(&v1, &map("1\n0\n5\n")), Fault::SparseMap);
    assert_eq!(broken(&v1, &map("2\n0\n5\n3\n5\n")), Fault::SparseMap);
    assert_eq!(broken(&v1, &map("1\n996\n5\n")), Fault::SparseMap);
    assert_eq!(broken(&v1, &map("x\n")), Fault::SparseMap);
    assert_eq!(broken(&v1, b""), Fault::SparseMap);
    assert_eq!(broken(&v1[..2], &map("0\n")), Fault::SparseMap);
    assert_eq!(broken(&[("GNU.sparse.major", b"2"), ("GNU.sparse.minor", b"0")], b""), Fault::SparseVersion);
    let many = format!("99999999\n{}", "0\n".repeat(251));
    let announced = Forge::new().pax(b'x', &v1).file("a", &map(&many)).end();
    assert!(matches!(Bed::new().refuse(&announced), LayerError::Limit { .. }));
}

#[test]
fn the_reader_gives_content_as_a_stream_with_its_holes() {
    let mut forge = Forge::new();
    forge.pax(
        b'x',
        &[
            ("GNU.sparse.major", b"0"),
            ("GNU.sparse.minor", b"1"),
            ("GNU.sparse.size", b"12"),
            ("GNU.sparse.map", b"2,3,8,1"),
        ],
    );
    let tar = forge.file("holes", b"abcd").file("plain", b"whole").file("skipped", &[1; 5000]).end();
    let mut reader = TarReader::new(Decoder::new(&tar[..]).unwrap(), &Limits::default());
    let entry = reader.next_entry().unwrap().unwrap();
    assert_eq!((entry.kind, entry.size_bytes), (EntryKind::File, 12));
    let mut content = Vec::new();
    reader.content().read_to_end(&mut content).unwrap();
    assert_eq!(content, b"\0\0abc\0\0\0d\0\0\0");
    reader.next_entry().unwrap().unwrap();
    let mut two = [0; 2];
    reader.content().read_exact(&mut two).unwrap();
    let mut rest = String::new();
    reader.content().read_to_string(&mut rest).unwrap();
    assert_eq!((&two, rest.as_str()), (b"wh", "ole"));
    assert_eq!(reader.next_entry().unwrap().unwrap().path, b"skipped");
    assert!(reader.next_entry().unwrap().is_none());
    assert!(reader.next_entry().unwrap().is_none());
    assert_eq!(reader.finish().unwrap().digest, Digest::sha256(&tar));
}
