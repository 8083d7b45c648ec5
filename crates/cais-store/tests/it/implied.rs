//! Tests: directories that a layer has no entry for look as the layers beneath say.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};

use cais_store::{ImageRecord, Store};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use crate::sample::{Sample, container, home};

/// One entry of a layer: a directory with mode and owner, or an empty file.
enum Entry<'a> {
    Dir(&'a str, u32, u64),
    File(&'a str),
    Symlink(&'a str, &'a str),
}
use Entry::{Dir, File, Symlink};

fn layer(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = tar::Header::new_ustar();
        let (path, kind, mode, owner) = match entry {
            Dir(path, mode, owner) => (path, tar::EntryType::Directory, *mode, *owner),
            File(path) => (path, tar::EntryType::Regular, 0o644, 0),
            Symlink(path, target) => {
                header.set_link_name(target).unwrap();
                (path, tar::EntryType::Symlink, 0o777, 0)
            }
        };
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(owner);
        header.set_gid(owner);
        header.set_size(0);
        header.set_mtime(77);
        header.set_path(path).unwrap();
        header.set_cksum();
        builder.append(&header, &[][..]).unwrap();
    }
    builder.into_inner().unwrap()
}

fn store_image(store: &Store, layers: &[&[Entry<'_>]]) -> ImageRecord {
    let layers: Vec<Vec<u8>> = layers.iter().map(|entries| layer(entries)).collect();
    Sample::new(layers, "implied").store_as(store, &[])
}

/// The image's layers as overlayfs shows them.
fn merged(store: &Store, image: &ImageRecord) -> OwnedFd {
    let fs = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
    for layer in image.layers.iter().rev() {
        rustix::mount::fsconfig_set_string(fs.as_fd(), "lowerdir+", store.paths().layer_fs(layer)).unwrap();
    }
    rustix::mount::fsconfig_create(fs.as_fd()).unwrap();
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY;
    rustix::mount::fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes).unwrap()
}

fn looks<'p>(root: &OwnedFd, paths: &[&'p str]) -> BTreeMap<&'p str, (u32, u32)> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let look = |path: &&'p str| {
        let file = rustix::fs::openat(root, *path, flags, Mode::empty()).unwrap();
        let stat = rustix::fs::fstat(&file).unwrap();
        (*path, (stat.st_mode & 0o7777, stat.st_uid))
    };
    paths.iter().map(look).collect()
}

#[test]
fn they_look_as_the_next_layer_beneath_that_has_an_entry() {
    let home = home();
    let base: &[Entry<'_>] = &[
        Dir("tmp", 0o1777, 0),
        Dir("home", 0o755, 0),
        Dir("home/user", 0o700, 1000),
        Dir("home/user/mail", 0o2770, 1000),
        Dir("srv", 0o711, 5),
    ];
    let image = store_image(
        &home.store,
        &[
            base,
            &[File("tmp/one"), File("home/user/mail/first"), Dir("srv", 0o750, 6), Dir("opt", 0o700, 9)],
            &[File("tmp/two"), File("srv/x"), File("opt/x"), File("home/user/file"), File("fresh/x")],
        ],
    );
    assert_eq!(image.layers.len(), 4, "one more on top");
    let root = merged(&home.store, &image);
    let found = looks(&root, &["tmp", "home", "home/user", "home/user/mail", "srv", "opt", "fresh"]);
    let expected = BTreeMap::from([
        ("tmp", (0o1777, 0)),
        ("home", (0o755, 0)),
        ("home/user", (0o700, 1000)),
        ("home/user/mail", (0o2770, 1000)),
        ("srv", (0o750, 6)),
        ("opt", (0o700, 9)),
        ("fresh", (0o755, 0)),
    ]);
    assert_eq!(found, expected);
    for file in ["tmp/one", "tmp/two", "home/user/mail/first", "srv/x", "opt/x"] {
        assert!(rustix::fs::statat(&root, file, rustix::fs::AtFlags::empty()).is_ok(), "{file} is hidden");
    }
}

#[test]
fn a_layer_on_another_base_looks_otherwise() {
    let home = home();
    let top: &[Entry<'_>] = &[File("tmp/x")];
    for mode in [0o1777, 0o700, 0o755] {
        let image = store_image(&home.store, &[&[Dir("tmp", mode, 0)], top]);
        let found = looks(&merged(&home.store, &image), &["tmp"]);
        assert_eq!(found["tmp"], (mode, 0));
        assert_eq!(image.layers.len(), if mode == 0o755 { 2 } else { 3 });
    }
}

#[test]
fn what_a_layer_hides_says_nothing() {
    let home = home();
    let base: &[Entry<'_>] = &[
        Dir("replaced", 0o700, 1),
        Dir("opaque", 0o700, 2),
        Dir("opaque/in", 0o700, 2),
        Dir("removed", 0o700, 3),
        Dir("real", 0o700, 4),
        Symlink("link", "real"),
    ];
    let image = store_image(
        &home.store,
        &[
            base,
            &[File("replaced"), File("opaque/.wh..wh..opq"), File("opaque/in/x"), File(".wh.removed")],
            &[File("replaced/x"), File("removed/x"), File("link/x")],
        ],
    );
    let found = looks(&merged(&home.store, &image), &["replaced", "opaque", "opaque/in", "removed", "link"]);
    let new = (0o755, 0);
    // What is opaque has lost what was in it, not its own look.
    let expected = [("opaque", (0o700, 2)), ("opaque/in", new), ("replaced", new), ("removed", new)];
    assert_eq!(found, expected.into_iter().chain([("link", new)]).collect());
}

#[test]
fn the_layer_on_top_lives_as_long_as_it_is_needed() {
    let home = home();
    let layers: [&[Entry<'_>]; 2] = [&[Dir("tmp", 0o1777, 0)], &[File("tmp/x")]];
    let image = store_image(&home.store, &layers);
    assert_eq!(store_image(&home.store, &layers), image, "the same again");
    let on_top = home.store.paths().layer_fs(&image.layers[2]);
    assert!(home.store.sweep().unwrap().layers.is_empty());
    assert_eq!(home.store.check(true).unwrap(), []);
    let mut user = container(&cais_store::random_id(), "user");
    user.layers = image.layers.clone();
    home.store.put_container(&user, &home.store.hold().unwrap()).unwrap();
    let mut exclusive = home.store.exclusive().unwrap();
    exclusive.remove_image(&image.id).unwrap();
    assert!(exclusive.sweep().unwrap().layers.is_empty(), "the container needs it");
    exclusive.finish().unwrap();

    // Without its directory the image is not whole, and comes back so.
    let image = store_image(&home.store, &layers);
    std::fs::remove_dir_all(on_top.parent().unwrap()).unwrap();
    let findings = home.store.check(false).unwrap();
    assert!(findings.iter().any(|finding| finding.kind == "image"), "{findings:?}");
    let again = store_image(&home.store, &layers);
    assert_eq!((again.layers, on_top.exists()), (image.layers, true));
    assert_eq!(home.store.check(false).unwrap(), []);

    home.store.remove_container(&user.id).unwrap();
    let mut exclusive = home.store.exclusive().unwrap();
    exclusive.remove_image(&image.id).unwrap();
    assert_eq!(exclusive.sweep().unwrap().layers.len(), 3);
    exclusive.finish().unwrap();
}
