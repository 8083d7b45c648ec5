//! GNU tar as the oracle: what it packs is unpacked as it would do itself.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use cais_oci::Digest;

use crate::bed::Bed;

/// A tree like a small Debian: merged /usr, hard links, setuid, sparse and many ordinary files.
fn make_tree(root: &Path) {
    for dir in ["usr/bin", "usr/lib/x86_64", "etc/empty", "var/log", "tmp", "home/user"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    for (name, len) in [("empty", 0), ("one", 1), ("block", 512), ("odd", 513), ("large", 3_000_001)] {
        let content: Vec<u8> = (0..len).map(|n| (n * 7 % 251) as u8).collect();
        fs::write(root.join("usr/lib/x86_64").join(name), content).unwrap();
    }
    for number in 0..200 {
        fs::write(root.join(format!("usr/lib/{number}.py")), format!("print({number})\n").repeat(number))
            .unwrap();
    }
    symlink("usr/lib", root.join("lib")).unwrap();
    symlink("/usr/bin", root.join("bin")).unwrap();
    symlink("../../nowhere", root.join("etc/dangling")).unwrap();
    for (name, mode) in [("usr/bin/su", 0o4755), ("usr/bin/wall", 0o2755), ("etc/shadow", 0o600)] {
        fs::write(root.join(name), name).unwrap();
        chown(root.join(name), Some(0), Some(42)).unwrap();
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::hard_link(root.join("usr/bin/su"), root.join("usr/bin/su2")).unwrap();
    fs::hard_link(root.join("usr/bin/su"), root.join("etc/su3")).unwrap();
    chown(root.join("home/user"), Some(1000), Some(1000)).unwrap();
    for (name, seconds) in
        [("usr/lib/3.py", 1_234_567_890), ("home/user", 1_000_000_000), ("usr", 999_999_999)]
    {
        let time = std::time::UNIX_EPOCH + std::time::Duration::new(seconds, 123_456_789);
        fs::File::open(root.join(name)).unwrap().set_modified(time).unwrap();
    }
}

/// What not every format can hold.
fn add_rarities(root: &Path) {
    let deep = root.join("d".repeat(60)).join("e".repeat(70)).join("f".repeat(80));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("ü".repeat(60)), "long").unwrap();
    symlink("t".repeat(180), root.join("longlink")).unwrap();
    fs::hard_link(deep.join("ü".repeat(60)), root.join("short")).unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(root.join("short"), "user.colour", b"red\0\n=", flags).unwrap();
    rustix::fs::setxattr(root.join("tmp"), "user.dir", b"yes", flags).unwrap();
    for (name, kind) in
        [("fifo", rustix::fs::FileType::Fifo), ("null", rustix::fs::FileType::CharacterDevice)]
    {
        let path = root.join(name);
        let mode = rustix::fs::Mode::from_raw_mode(0o640);
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, rustix::fs::makedev(1, 3)).unwrap();
    }
    chown(root.join("etc/shadow"), Some(3_000_000), Some(3_000_001)).unwrap();
    add_sparse(root);
}

/// Files with holes: few pieces, more than one header block of them, only a hole, a hole at the end.
fn add_sparse(root: &Path) {
    for (name, pieces, size) in [("few", 2u64, 3_000_000), ("many", 60, 9_000_000), ("hole", 0, 5_000_000)] {
        let file = fs::File::create(root.join(name)).unwrap();
        for piece in 0..pieces {
            file.write_all_at(&[piece as u8 + 1; 5000], piece * 131_072 + 70).unwrap();
        }
        file.set_len(size).unwrap();
    }
}

#[derive(Debug, PartialEq)]
struct Seen {
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, i64),
    rdev: u64,
    size: u64,
    blocks_are_fewer: bool,
    content: String,
    names_of_inode: Vec<PathBuf>,
    xattrs: Vec<(String, Option<Vec<u8>>)>,
}

fn look(root: &Path) -> BTreeMap<PathBuf, Seen> {
    let mut seen = BTreeMap::new();
    let mut inodes: BTreeMap<u64, Vec<PathBuf>> = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(path) = todo.pop() {
        let stat = fs::symlink_metadata(&path).unwrap();
        let name = path.strip_prefix(root).unwrap().to_owned();
        let kind = stat.file_type();
        let content = if kind.is_symlink() {
            fs::read_link(&path).unwrap().to_str().unwrap().to_owned()
        } else if kind.is_file() {
            Digest::sha256(&fs::read(&path).unwrap()).to_string()
        } else {
            String::new()
        };
        if kind.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            inodes.entry(stat.ino()).or_default().push(name.clone());
        }
        let xattrs =
            ["user.colour", "user.dir"].map(|key| (key.to_owned(), crate::bed::xattr_of(&path, key)));
        seen.insert(
            name,
            Seen {
                mode: stat.mode(),
                owner: (stat.uid(), stat.gid()),
                mtime: (stat.mtime(), stat.mtime_nsec()),
                rdev: stat.rdev(),
                size: if kind.is_dir() { 0 } else { stat.size() },
                blocks_are_fewer: kind.is_file() && stat.blocks() * 512 < stat.size() / 2,
                content,
                names_of_inode: Vec::new(),
                xattrs: xattrs.to_vec(),
            },
        );
    }
    for mut names in inodes.into_values().filter(|names| names.len() > 1) {
        names.sort();
        for name in &names {
            seen.get_mut(name).unwrap().names_of_inode = names.clone();
        }
    }
    seen
}

/// Packs `tree` with `flags`, unpacks it by both, compares. `tar` may print warnings, not fail.
fn compare(tree: &Path, flags: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("a.tar");
    let reference = dir.path().join("reference");
    fs::create_dir(&reference).unwrap();
    let run = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{flags:?} {}", String::from_utf8_lossy(&output.stderr));
    };
    run(Command::new("tar").arg("-cf").arg(&archive).args(flags).arg("-C").arg(tree).arg("."));
    run(Command::new("tar")
        .args(["-xpf"])
        .arg(&archive)
        .args(["--numeric-owner", "--xattrs", "--xattrs-include=*", "-C"])
        .arg(&reference));
    let bed = Bed::new();
    let bytes = fs::read(&archive).unwrap();
    let unpacked = bed.unpack(&bytes);
    let expected = look(&reference);
    let found = look(&bed.path(""));
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{flags:?}");
    for (name, seen) in &expected {
        assert_eq!(&found[name], seen, "{flags:?} {name:?}");
    }
    assert_eq!(unpacked.diff_id, Digest::sha256(&bytes));
    assert_eq!(unpacked.entries, found.len() as u64);
}

#[test]
fn every_format_of_gnu_tar_is_read_like_it_does() {
    if Command::new("tar").arg("--version").output().is_err() {
        println!("skipped: there is no tar");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    make_tree(dir.path());
    for format in ["v7", "oldgnu", "gnu", "ustar", "pax"] {
        compare(dir.path(), &["--numeric-owner", &format!("--format={format}")]);
    }
    add_rarities(dir.path());
    for format in ["oldgnu", "gnu", "pax"] {
        let xattrs = if format == "pax" { "--xattrs" } else { "--no-xattrs" };
        let format = format!("--format={format}");
        compare(dir.path(), &["--numeric-owner", &format, xattrs]);
        compare(dir.path(), &["--numeric-owner", &format, xattrs, "--sparse"]);
    }
    for version in ["0.0", "0.1", "1.0"] {
        let version = format!("--sparse-version={version}");
        compare(dir.path(), &["--numeric-owner", "--format=pax", "--xattrs", "--sparse", &version]);
    }
}
