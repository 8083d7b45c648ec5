//! There and back: the tar of a tree is a function of the tree, and applying it gives the same tree.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use cais_layer::{
    Entry, EntryKind, Ground, LayerError, Object, Options, Placer, Source, TarWriter, Timestamp,
};
use cais_layer::{WalkOptions, Xattr, unpack, walk};
use proptest::prelude::*;

/// The tar of a tree as a layer has it.
fn tar_of(tree: &Path) -> Vec<u8> {
    let directory = fs::File::open(tree).unwrap();
    let mut writer = TarWriter::new(Vec::new());
    walk(directory.as_fd(), c".", b"", WalkOptions::default(), &mut |object: Object| {
        writer.append(&object.entry.in_layer(), object.content.as_ref()).unwrap();
        Ok::<(), LayerError>(())
    })
    .unwrap();
    writer.finish().unwrap().0
}

/// Every object with its looks and its content.
fn describe(tree: &Path) -> BTreeMap<String, String> {
    let directory = fs::File::open(tree).unwrap();
    let mut found = BTreeMap::new();
    walk(directory.as_fd(), c".", b"", WalkOptions::default(), &mut |object: Object| {
        let mut entry = object.entry;
        entry.mtime.nanos = 0;
        let whiteout = entry.kind == EntryKind::CharDevice && entry.device == (0, 0);
        let content = if entry.kind == EntryKind::File {
            let path = tree.join(String::from_utf8(entry.path.clone()).unwrap());
            String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()
        } else {
            String::new()
        };
        let path = String::from_utf8(entry.path.clone()).unwrap();
        // Of a whiteout only the place counts.
        let text = if whiteout { "whiteout".to_owned() } else { format!("{entry:?} {content}") };
        found.insert(path, text);
        Ok::<(), LayerError>(())
    })
    .unwrap();
    found
}

fn object() -> impl Strategy<Value = (EntryKind, u32, u8, Vec<u8>, u32)> {
    let kind = prop_oneof![
        3 => Just(EntryKind::File),
        2 => Just(EntryKind::Directory),
        1 => Just(EntryKind::Symlink),
        1 => Just(EntryKind::Fifo),
        1 => Just(EntryKind::CharDevice),
        1 => Just(EntryKind::BlockDevice),
        1 => Just(EntryKind::HardLink),
    ];
    (kind, 0..0o10000_u32, 0..6_u8, proptest::collection::vec(any::<u8>(), 0..2000), 0..3_u32)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn applying_a_tree_s_tar_gives_the_tree(objects in proptest::collection::vec(object(), 1..20)) {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: owners and devices need root");
            return Ok(());
        }
        let bed = tempfile::tempdir().unwrap();
        let [first, second] = ["first", "second"].map(|name| bed.path().join(name));
        fs::create_dir(&first).unwrap();
        fs::create_dir(&second).unwrap();
        let directory = fs::File::open(&first).unwrap();
        let mut placer = Placer::new(Ground::Directory(directory.as_fd()), Options::default());
        let (mut folder, mut file) = (String::new(), None::<String>);
        for (number, (kind, mode, user, content, device)) in objects.into_iter().enumerate() {
            let path = format!("{folder}{number}");
            let mut entry = Entry {
                kind,
                path: path.clone().into_bytes(),
                uid: u64::from(user) * 1000,
                gid: u64::from(user),
                mtime: Timestamp { seconds: 1_000_000_000 + i64::from(mode), nanos: 0 },
                device: (device, device),
                ..Entry::plain(mode)
            };
            match kind {
                // A kernel without user attributes on this file system leaves them out.
                EntryKind::File => {
                    entry.size_bytes = content.len() as u64;
                    entry.xattrs = vec![Xattr { name: b"trusted.k".to_vec(), value: vec![user] }];
                    file = Some(path);
                }
                EntryKind::Directory => folder = format!("{path}/"),
                EntryKind::Symlink => { entry.link = b"../somewhere".to_vec(); entry.mode = 0o777; }
                EntryKind::HardLink => match &file {
                    Some(target) => entry.link = target.clone().into_bytes(),
                    None => continue,
                },
                EntryKind::CharDevice | EntryKind::BlockDevice if device == 0 => entry.kind = EntryKind::CharDevice,
                _ => {}
            }
            if entry.kind == EntryKind::CharDevice && device == 0 {
                entry = Entry::whiteout(entry.path);
            }
            let mut source = tempfile::tempfile().unwrap();
            std::io::Write::write_all(&mut source, &content).unwrap();
            let has_content = kind == EntryKind::File && !content.is_empty();
            let source = if has_content { Source::File(source.as_fd()) } else { Source::Nothing };
            placer.place(&entry, source).unwrap();
        }
        placer.finish().unwrap();
        let tar = tar_of(&first);
        prop_assert_eq!(&tar, &tar_of(&first), "the same tar again");
        let unpacked = unpack(&tar[..], fs::File::open(&second).unwrap().as_fd(), &Options::default()).unwrap();
        prop_assert_eq!(describe(&first), describe(&second));
        prop_assert_eq!(unpacked.diff_id, cais_oci::Digest::sha256(&tar));
        prop_assert_eq!(&tar_of(&second), &tar, "of the tree that was made of it, too");
    }
}

#[test]
fn what_stands_in_the_way() {
    let bed = tempfile::tempdir().unwrap();
    fs::create_dir(bed.path().join("dir")).unwrap();
    fs::write(bed.path().join("file"), "old").unwrap();
    fs::write(bed.path().join("outside"), "safe").unwrap();
    std::os::unix::fs::symlink("outside", bed.path().join("link")).unwrap();
    let directory = fs::File::open(bed.path()).unwrap();
    let options = Options { squash_ids: true, ..Options::default() };
    let mut placer = Placer::new(Ground::Directory(directory.as_fd()), options);
    let file = |path: &str| Entry { path: path.into(), size_bytes: 3, ..Entry::plain(0o600) };
    let folder = |path: &str| Entry { kind: EntryKind::Directory, path: path.into(), ..Entry::plain(0o700) };
    assert!(matches!(placer.place(&file("dir"), Source::Nothing), Err(LayerError::Overwrites { .. })));
    assert!(matches!(placer.place(&folder("file"), Source::Nothing), Err(LayerError::Overwrites { .. })));
    assert!(matches!(placer.place(&folder("link"), Source::Nothing), Err(LayerError::Overwrites { .. })));
    assert!(placer.place(&file("link/x"), Source::Nothing).is_err(), "a link in the middle is not followed");
    assert!(matches!(placer.place(&file("../x"), Source::Nothing), Err(LayerError::ParentComponent { .. })));
    placer.place(&file("link"), Source::Nothing).unwrap();
    placer.place(&file("made/for/it"), Source::Nothing).unwrap();
    placer.place(&folder("dir"), Source::Nothing).unwrap();
    placer.finish().unwrap();
    assert_eq!(fs::read(bed.path().join("outside")).unwrap(), b"safe", "a link is replaced, not followed");
    assert_eq!(fs::read(bed.path().join("link")).unwrap(), [0, 0, 0]);
    assert!(bed.path().join("made/for/it").exists());
}
