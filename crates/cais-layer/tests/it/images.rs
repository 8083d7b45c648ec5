//! Layers as images: what only an image can get wrong. Everything else is compared by [`crate::bed`] in all other tests.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::process::Command;

use cais_layer::erofs::{ImageFault, check, read_head, write_image};
use cais_layer::{LayerError, Options};
use proptest::prelude::*;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use crate::bed::Bed;
use crate::forge::{Forge, Header};
use crate::mounted::{self, ImageFile, mount, path_of, write};

fn image(layer: &[u8]) -> ImageFile {
    write(layer, &Options::default()).unwrap()
}

/// Content that tells its place.
fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 7 + at / 4096) as u8).collect()
}

/// The second oracle, where it is installed: the tool that comes with the format.
fn fsck(image: &ImageFile) {
    match Command::new("fsck.erofs").arg(image.file.path()).output() {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => println!("skipped: fsck.erofs: {error}"),
    }
}

#[test]
fn directories_of_many_blocks_are_found_by_name() {
    let mut forge = Forge::new();
    forge.dir("many", 0o755);
    for number in 0..3000 {
        let name = format!("many/{number}{}", "x".repeat(number * 7 % 200));
        forge.pax(b'x', &[("path", name.as_bytes())]).file("x", name.as_bytes());
        // Before, between and behind the names of the directory itself and its parent.
        if number % 500 == 0 {
            forge.file(&format!("many/ {number}"), b"").file(&format!("many/.{number}"), b"");
            forge.dir(&format!("many/..{number}"), 0o700).file(&format!("many/-{number}"), b"");
        }
    }
    let layer = forge.end();
    Bed::new().unpack(&layer);
    fsck(&image(&layer));
}

#[test]
fn content_ends_everywhere_around_the_borders_of_blocks() {
    let mut forge = Forge::new();
    let sizes = [0, 1, 63, 64, 2047, 2048, 2049, 4032, 4095, 4096, 4097, 6144, 8191, 8192, 10_000, 1 << 20];
    for (number, size) in sizes.into_iter().enumerate() {
        forge.file(&format!("f{number}"), &content(size));
        let target = "t".repeat(size.clamp(1, 4095));
        forge.pax(b'x', &[("linkpath", target.as_bytes())]).symlink(&format!("s{number}"), "x");
        let value = content(size.min(3000));
        forge.pax(b'x', &[("SCHILY.xattr.user.large", &value)]).file(&format!("x{number}"), &content(size));
    }
    let layer = forge.end();
    Bed::new().unpack(&layer);
    fsck(&image(&layer));
}

#[test]
fn a_file_larger_than_what_is_written_at_once_is_whole() {
    let layer = Forge::new().file("a", b"1").file("large", &content(5_000_001)).file("b", b"2").end();
    Bed::new().unpack(&layer);
}

#[test]
fn names_that_come_late_count() {
    let mut forge = Forge::new();
    forge.pax(b'x', &[("SCHILY.xattr.user.mark", b"kept")]).file("early", &content(5000));
    forge.symlink("link", "early").device(b'3', "device", 1, 3).file("gone", b"gone");
    // Enough for their inodes to have been written long ago.
    for number in 0..400 {
        forge.file(&format!("fill/{number}"), &content(2048 - number));
    }
    for number in 0..40 {
        forge.hard_link(&format!("late/{number}"), "early");
    }
    forge.hard_link("late/link", "link").hard_link("late/device", "device").hard_link("late/gone", "gone");
    forge.hard_link("late/1/2", "late/0").file("gone", b"new").file("late/3", b"replaced");
    let layer = forge.end();
    Bed::new().unpack(&layer);
    fsck(&image(&layer));
}

#[test]
fn holes_stay_holes() {
    let layer = Forge::new()
        .pax(
            b'x',
            &[
                ("GNU.sparse.major", b"0"),
                ("GNU.sparse.minor", b"1"),
                ("GNU.sparse.name", b"sparse"),
                ("GNU.sparse.size", b"1099511627776"),
                ("GNU.sparse.numblocks", b"2"),
                ("GNU.sparse.map", b"1048577,3,1099511627770,4"),
            ],
        )
        .file("x", b"abcdefg")
        .file("behind", b"x")
        .end();
    let image = image(&layer);
    assert_eq!(image.written.image_bytes >> 40, 1);
    let stat = image.file.as_file().metadata().unwrap();
    assert!(stat.blocks() < 1000, "{} sectors", stat.blocks());
    let Some(mount) = mount(image.file.path()) else { return };
    let file = fs::File::open(path_of(&mount).join("sparse")).unwrap();
    let mut bytes = [1; 8];
    file.read_exact_at(&mut bytes, 1_048_575).unwrap();
    assert_eq!(&bytes, b"\0\0abc\0\0\0");
    let len = file.read_at(&mut bytes, 1_099_511_627_769).unwrap();
    assert_eq!(&bytes[..len], b"\0defg\0\0");
    assert_eq!(fs::read(path_of(&mount).join("behind")).unwrap(), b"x");
}

#[test]
fn small_archives_do_not_fill_a_disk() {
    // A piece of one byte every 20 KiB.
    let pieces = 2000;
    let map: Vec<String> = (0..pieces).map(|piece| format!("{},1", piece * 20_480)).collect();
    let size = (pieces * 20_480).to_string();
    let mut forge = Forge::new();
    forge.pax(
        b'x',
        &[
            ("GNU.sparse.major", b"0"),
            ("GNU.sparse.minor", b"1"),
            ("GNU.sparse.name", b"sparse"),
            ("GNU.sparse.size", size.as_bytes()),
            ("GNU.sparse.numblocks", pieces.to_string().as_bytes()),
            ("GNU.sparse.map", map.join(",").as_bytes()),
        ],
    );
    let layer = forge.file("x", &vec![b'x'; pieces]).end();
    Bed::new().unpack(&layer);
    let blocks = image(&layer).file.as_file().metadata().unwrap().blocks();
    assert!(blocks * 512 < (pieces * 3 * 4096) as u64, "{blocks} sectors");

    // Attributes for every entry, said once.
    let mut forge = Forge::new();
    let value = vec![b'x'; 60_000];
    let names = ["a", "b", "c", "d"].map(|name| format!("SCHILY.xattr.user.{name}"));
    let records: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &value[..])).collect();
    forge.pax(b'g', &records);
    for number in 0..1200 {
        forge.file(&number.to_string(), b"");
    }
    let error = write(&forge.end(), &Options::default()).err().unwrap();
    assert!(matches!(error, LayerError::Limit { .. }), "{error}");
}

#[test]
fn the_same_tar_gives_the_same_bytes() {
    let mut forge = Forge::new();
    forge
        .file("a/b/c", &content(9000))
        .hard_link("d", "a/b/c")
        .file(".wh.e", b"")
        .file("f/.wh..wh..opq", b"");
    let layer = forge.end();
    let bytes = |dont_cache| {
        let file = tempfile::NamedTempFile::new().unwrap();
        write_image(&layer[..], file.as_fd(), dont_cache, &Options::default()).unwrap();
        fs::read(file.path()).unwrap()
    };
    assert_eq!(bytes(false), bytes(true));
}

#[test]
fn every_damage_is_found() {
    let layer = Forge::new().file("a", &content(100_000)).dir("b", 0o755).file("b/c", b"x").end();
    let image = image(&layer);
    let file = image.file.as_file();
    let whole = fs::read(image.file.path()).unwrap();
    assert_eq!(read_head(file.as_fd()).unwrap().diff_id, image.written.unpacked.diff_id);
    for at in [0, 20, 33, 1030, 1200, 4095, 4096, 50_000, whole.len() - 1] {
        file.write_all_at(&[!whole[at]], at as u64).unwrap();
        assert!(check(file.as_fd()).is_err(), "{at}");
        assert_eq!(read_head(file.as_fd()).is_err(), at < 4096, "{at}");
        file.write_all_at(&[whole[at]], at as u64).unwrap();
    }
    check(file.as_fd()).unwrap();
    // What a crash leaves: less than the whole, or the right size and zeros.
    for len in [whole.len() - 1, 50_000, 4096] {
        file.set_len(len as u64).unwrap();
        assert!(matches!(read_head(file.as_fd()), Err(ImageFault::Size { .. })), "{len}");
    }
    file.set_len(whole.len() as u64).unwrap();
    assert!(matches!(check(file.as_fd()), Err(ImageFault::Content)));
    file.set_len(100).unwrap();
    assert!(matches!(read_head(file.as_fd()), Err(ImageFault::Unknown)));
}

#[test]
fn a_layer_that_is_refused_leaves_no_image() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let layer = Forge::new().file("a", &content(3_000_000)).file("../b", b"").end();
    let result = write_image(&layer[..], file.as_fd(), false, &Options::default());
    assert!(matches!(result, Err(LayerError::ParentComponent { .. })));
    assert!(matches!(read_head(file.as_fd()), Err(ImageFault::Unknown)));
}

#[test]
fn names_too_long_for_the_format_are_refused() {
    for (path, link) in [("x".repeat(256), "a".to_owned()), ("s".to_owned(), "t".repeat(4096))] {
        let layer = Forge::new()
            .pax(b'x', &[("path", path.as_bytes()), ("linkpath", link.as_bytes())])
            .symlink("x", "x")
            .end();
        let error = write(&layer, &Options::default()).err().unwrap();
        assert!(matches!(error, LayerError::Io { .. }), "{error}");
    }
}

/// The layers as one tree, topmost first.
fn overlay(layers: &[ImageFile]) -> Option<BTreeMap<std::path::PathBuf, Vec<u8>>> {
    use std::os::fd::AsRawFd;
    let mounts: Vec<_> = layers.iter().map(|layer| mount(layer.file.path())).collect::<Option<_>>()?;
    let fs = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
    for layer in &mounts {
        let path = format!("/proc/self/fd/{}", layer.as_raw_fd());
        rustix::mount::fsconfig_set_string(fs.as_fd(), "lowerdir+", path).unwrap();
    }
    rustix::mount::fsconfig_create(fs.as_fd()).unwrap();
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY;
    let merged = rustix::mount::fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes).unwrap();
    let looks = mounted::looks(&path_of(&merged));
    Some(looks.into_iter().map(|(path, look)| (path, look.content)).collect())
}

#[test]
fn overlayfs_reads_images_as_they_were_meant() {
    let mut base = Forge::new();
    base.file("dir/hidden", b"old").file("dir/kept", b"old").file("opaque/old", b"").file("over", b"old");
    base.file("both/old", b"").symlink("link", "dir");
    let mut top = Forge::new();
    top.file("dir/.wh.hidden", b"")
        .file("opaque/.wh..wh..opq", b"")
        .file("opaque/new", b"")
        .file("over", b"new");
    top.file(".wh.both", b"").file("both/new", b"").file(".wh.link", b"");
    let Some(merged) = overlay(&[image(&top.end()), image(&base.end())]) else { return };
    let paths: Vec<&str> = merged.keys().map(|path| path.to_str().unwrap()).collect();
    assert_eq!(paths, ["", "both", "both/new", "dir", "dir/kept", "opaque", "opaque/new", "over"]);
    assert_eq!(merged[std::path::Path::new("over")], b"new");
}

#[test]
fn forty_images_make_one_tree() {
    let layers: Vec<ImageFile> = (0..40)
        .map(|number| image(&Forge::new().file(&format!("f{number}"), b"x").file("top", &[number]).end()))
        .collect();
    let Some(merged) = overlay(&layers) else { return };
    assert_eq!(merged.len(), 42);
    assert_eq!(merged[std::path::Path::new("top")], [0]);
}

/// One object of a random tree.
#[derive(Debug, Clone)]
enum Object {
    File { size: usize, attribute: usize },
    Dir,
    Symlink(usize),
    HardLink(prop::sample::Index),
    Device(u64, u64),
    Whiteout,
    Opaque,
}

fn object() -> impl Strategy<Value = Object> {
    prop_oneof![
        8 => (prop_oneof![0..6000usize, 0..20usize, 60_000..70_000usize], prop_oneof![4 => Just(0), 1 => 1..3500usize])
            .prop_map(|(size, attribute)| Object::File { size, attribute }),
        3 => Just(Object::Dir),
        2 => (1..3000usize).prop_map(Object::Symlink),
        2 => any::<prop::sample::Index>().prop_map(Object::HardLink),
        1 => (0..5000u64, 0..2_000_000u64).prop_map(|(major, minor)| Object::Device(major, minor)),
        1 => Just(Object::Whiteout),
        1 => Just(Object::Opaque),
    ]
}

/// Every object goes into one of the directories before it.
fn tree() -> impl Strategy<Value = Vec<u8>> {
    let entry = (object(), any::<prop::sample::Index>(), 1..240usize, 0..0o10000u32, any::<(u16, u16)>());
    prop::collection::vec(entry, 1..120).prop_map(|entries| {
        let mut forge = Forge::new();
        let (mut dirs, mut files) = (vec![String::new()], vec!["first".to_owned()]);
        forge.file("first", b"first");
        for (number, (object, parent, len, mode, (uid, gid))) in entries.into_iter().enumerate() {
            let parent = dirs[parent.index(dirs.len())].clone();
            let name = format!("{}{number}", "n".repeat(len));
            let path = format!("{parent}{name}");
            if path.len() > 3000 {
                continue;
            }
            let mtime = format!("{}.{:09}", i64::from(mode) * 1_000_003 - 1_000_000_000, number * 1_000_001);
            let attribute = if let Object::File { attribute, .. } = object { attribute } else { 0 };
            let value = content(attribute);
            let mut records = vec![("path", path.as_bytes()), ("mtime", mtime.as_bytes())];
            if attribute > 0 {
                records.push(("SCHILY.xattr.user.attribute", &value));
            }
            match object {
                Object::File { size, .. } => {
                    let mut header = Header::new(b'0', "x");
                    header.size(size as u64).mode(mode).owner(uid.into(), gid.into());
                    forge.pax(b'x', &records).header(&header).content(&content(size));
                    files.push(path);
                }
                Object::Dir => {
                    let mut header = Header::new(b'5', "x");
                    forge.pax(b'x', &records).header(header.mode(mode).owner(uid.into(), gid.into()));
                    dirs.push(format!("{path}/"));
                }
                Object::Symlink(len) => {
                    let target = "../".repeat(len / 3 + 1);
                    records.push(("linkpath", target.as_bytes()));
                    forge.pax(b'x', &records).symlink("x", "x");
                }
                Object::HardLink(target) => {
                    let target = files[target.index(files.len())].clone();
                    records.push(("linkpath", target.as_bytes()));
                    forge.pax(b'x', &records).hard_link("x", "x");
                }
                Object::Device(major, minor) => {
                    forge.pax(b'x', &records).device(b'4', "x", major, minor);
                }
                Object::Whiteout => {
                    forge.pax(b'x', &[("path", format!("{parent}.wh.{name}").as_bytes())]).file("x", b"");
                }
                Object::Opaque => {
                    forge.pax(b'x', &[("path", format!("{parent}.wh..wh..opq").as_bytes())]).file("x", b"");
                }
            }
        }
        forge.end()
    })
}

/// Values of attributes that the kernel looks into: mostly right, since others are refused at once.
fn judged_value() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    let tag = prop_oneof![20 => prop::sample::select(vec![2u16, 2, 4, 8, 8]), 1 => prop::sample::select(vec![0, 1, 3, 16, 32, 64])];
    let id = prop_oneof![1 => Just(u32::MAX), 9 => 0..3u32];
    let entries = prop::collection::vec((tag, prop_oneof![40 => 0..8u16, 1 => any::<u16>()], id), 0..7);
    let acl = (entries, 0..4usize, 0..8usize, 0..8usize).prop_map(|(mut entries, order, extra, swapped)| {
        if order > 0 {
            entries.extend([(1, 7, u32::MAX), (4, 5, u32::MAX), (32, 0, u32::MAX)]);
            if extra > 1 {
                entries.push((16, 6, u32::MAX));
            }
            entries.sort_by_key(|(tag, _, id)| (*tag, *id));
            entries.dedup_by_key(|(tag, _, id)| if matches!(tag, 2 | 8) { (*tag, *id) } else { (*tag, 0) });
        }
        if order == 1 {
            let last = entries.len() - 1;
            entries.swap(swapped.min(last), last);
        }
        let mut value = vec![2, 0, 0, 0];
        for (tag, bits, id) in entries {
            value.extend([tag.to_le_bytes(), bits.to_le_bytes()].concat());
            value.extend(id.to_le_bytes());
        }
        value.extend(vec![0; extra / 7]);
        value
    });
    let capability = (
        prop::sample::select(vec![1u8, 2, 3, 3]),
        prop::sample::select(vec![12, 20, 24, 24, 28]),
        prop::sample::select(vec![0u8, 1, 0xff]),
    )
        .prop_map(|(revision, len, fill)| {
            let mut value = vec![fill; len];
            value[..4].copy_from_slice(&[1, 0, 0, revision]);
            value
        });
    prop_oneof![
        2 => acl.clone().prop_map(|value| ("system.posix_acl_access", value)),
        1 => acl.prop_map(|value| ("system.posix_acl_default", value)),
        1 => capability.prop_map(|value| ("security.capability", value)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_trees_are_the_same_in_both_forms(layer in tree()) {
        let bed = Bed::new();
        bed.try_unpack(&layer, &Options::default()).unwrap();
        fsck(&image(&layer));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn attributes_are_judged_as_the_kernel_does((name, value) in judged_value(), is_dir: bool, mode in 0..0o10000u32) {
        let mut header = Header::new(if is_dir { b'5' } else { b'0' }, "x");
        let mut forge = Forge::new();
        forge.pax(b'x', &[(&format!("SCHILY.xattr.{name}"), &value)]).header(header.mode(mode));
        let _ = Bed::new().try_unpack(&forge.end(), &Options::default());
    }
}
