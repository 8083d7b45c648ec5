//! Root file systems out of Debian packages: busybox, dynamic programs, a single static program, many layers.
//!
//! Nothing is downloaded: the files are those that the packages have put on this machine.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::image::{Compression, Image};
use crate::layer::{Entry, EntryKind, Layer};

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/:/bin/false\n\
    quay:x:1000:1000:quay:/home/quay:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";
const GROUP: &str = "root:x:0:\ndaemon:x:1:\ncrane:x:1500:quay\nquay:x:1000:\nnogroup:x:65534:\n";

/// The layer of a small system: busybox with all its applets, users `root` and `quay` (1000), `/tmp`.
/// `None` without busybox-static.
pub fn busybox_layer() -> Option<Layer> {
    let program = fs::read("/bin/busybox").ok()?;
    let applets = Command::new("/bin/busybox").arg("--list").output().ok()?;
    let mut layer = Layer::new().dir("bin").program("bin/busybox", program);
    for applet in String::from_utf8_lossy(&applets.stdout).lines().filter(|name| *name != "busybox") {
        layer = layer.symlink(&format!("bin/{applet}"), "busybox");
    }
    let layer = layer
        .dir("etc")
        .file("etc/passwd", PASSWD)
        .file("etc/group", GROUP)
        .file("etc/hostname-of-image", "image\n")
        .dir("home")
        .entry(Entry::new("home/quay", EntryKind::Directory).owner(1000, 1000))
        .dir("root")
        .dir("usr")
        .symlink("usr/bin", "../bin")
        .dir("var")
        .entry(Entry::new("tmp", EntryKind::Directory).mode(0o1777));
    Some(layer)
}

/// The image `busybox`: one layer, runs `sh`. `None` without busybox-static.
pub fn busybox() -> Option<Image> {
    Some(Image::new().layer(busybox_layer()?).set("Cmd", json!(["sh"])))
}

/// An image with nothing but one static program, `/true`. `None` without busybox-static.
pub fn scratch() -> Option<Image> {
    let layer = Layer::new().program("true", fs::read("/bin/busybox").ok()?);
    Some(Image::new().layer(layer).set("Entrypoint", json!(["/true"])).set("Env", json!(null)))
}

/// busybox below, then changes of every kind in gzip and zstd layers:
///
/// | path | in the end |
/// |---|---|
/// | `/gone` | removed by a whiteout |
/// | `/opaque` | only `new`, the lower `old` hidden |
/// | `/swap` | a directory where a file was |
/// | `/flat` | a file where a directory was |
/// | `/again` | removed in one layer, back in the next |
/// | `/linked` | a hard link to `/data`, both `second` |
pub fn layered() -> Option<Image> {
    let base = Layer::new()
        .file("gone", "x")
        .dir("opaque")
        .file("opaque/old", "x")
        .file("swap", "x")
        .dir("flat")
        .file("flat/inside", "x")
        .file("again", "first")
        .file("data", "first");
    let middle = Layer::new()
        .whiteout("gone")
        .opaque("opaque")
        .file("opaque/new", "y")
        .whiteout("swap")
        .dir("swap")
        .file("swap/inside", "y")
        .whiteout("again")
        .file("data", "second")
        .hard_link("linked", "data");
    let top = Layer::new().whiteout("flat").file("flat", "z").file("again", "third");
    Some(
        Image::new()
            .layer(busybox_layer()?)
            .packed_layer(base, Compression::Gzip)
            .packed_layer(middle, Compression::Zstd)
            .packed_layer(top, Compression::None)
            .set("Cmd", json!(["sh"])),
    )
}

const DEBIAN_PACKAGES: [&str; 17] = [
    "base-files",
    "libc6",
    "libc-bin",
    "dash",
    "bash",
    "coreutils",
    "grep",
    "libtinfo6",
    "libselinux1",
    "libpcre2-8-0",
    "libacl1",
    "libattr1",
    "libgmp10",
    "libssl3",
    "libgcc-s1",
    "libcrypt1",
    "perl-base",
];

/// An image of dynamically linked programs (bash, coreutils, perl) as a Debian container has them. `None` elsewhere
/// than on Debian.
pub fn debian() -> Option<Image> {
    let mut layer = Layer::new();
    let mut made = BTreeSet::new();
    for folder in
        ["usr", "usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "etc", "root", "var", "proc", "sys", "dev"]
    {
        made.insert(folder.to_owned());
        layer = layer.dir(folder);
    }
    layer = layer.entry(Entry::new("tmp", EntryKind::Directory).mode(0o1777));
    made.insert("tmp".to_owned());
    for name in ["bin", "sbin", "lib", "lib64"] {
        made.insert(name.to_owned());
        layer = layer.symlink(name, &format!("usr/{name}"));
    }
    let mut found = false;
    for package in DEBIAN_PACKAGES {
        let list = Command::new("dpkg-query").args(["-L", package]).output().ok()?;
        for path in String::from_utf8_lossy(&list.stdout).lines() {
            if let Some(entry) = debian_entry(path) {
                let name = String::from_utf8_lossy(&entry.path).into_owned();
                found |= name == "usr/bin/bash";
                if made.insert(name) {
                    layer = layer.entry(entry);
                }
            }
        }
    }
    let layer = layer.file("etc/passwd", PASSWD).file("etc/group", GROUP);
    found.then(|| Image::new().packed_layer(layer, Compression::Zstd).set("Cmd", json!(["bash"])))
}

/// The entry for a path of a package; `None` for documentation and what this machine lacks.
fn debian_entry(path: &str) -> Option<Entry> {
    let unneeded =
        ["/usr/share/doc", "/usr/share/man", "/usr/share/locale", "/usr/share/info", "/usr/share/lintian"];
    let is_heavy = path.contains("/gconv/") || path.contains("/audit/");
    if is_heavy || unneeded.iter().any(|prefix| path.starts_with(prefix)) {
        return None;
    }
    let name = path.strip_prefix('/').filter(|name| !name.is_empty())?;
    let moved = ["bin", "sbin", "lib", "lib64"]
        .iter()
        .any(|top| name == *top || name.starts_with(&format!("{top}/")));
    let name = if moved { format!("usr/{name}") } else { name.to_owned() };
    let meta = Path::new(path).symlink_metadata().ok()?;
    let kind = if meta.is_dir() {
        EntryKind::Directory
    } else if meta.is_symlink() {
        EntryKind::Symlink(fs::read_link(path).ok()?.into_os_string().into_encoded_bytes())
    } else if meta.is_file() {
        EntryKind::File(fs::read(path).ok()?)
    } else {
        return None;
    };
    // `/lib` itself is a symbolic link on a merged system and must not replace the folder.
    if meta.is_symlink() && ["usr/bin", "usr/sbin", "usr/lib", "usr/lib64"].contains(&name.as_str()) {
        return None;
    }
    Some(Entry::new(name, kind).mode(meta.permissions().mode() & 0o7777))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isolation::isolated;
    use crate::process::Invocation;

    /// Unpacks with GNU tar and runs a command with the tree as root.
    fn runs(image: Option<Image>, command: &str, expected: &str) {
        let Some(image) = image else {
            crate::skip("not the packages for this image");
            return;
        };
        let root = tempfile::tempdir().unwrap();
        for tar in image.build().tars {
            Invocation::new("tar", "-xf - -C").arg(root.path()).stdin(tar).ok();
        }
        let output = Invocation::new("chroot", "").arg(root.path()).args(command).ok();
        assert_eq!(output, expected);
    }

    #[test]
    fn busybox_runs_from_its_image() {
        isolated(|| runs(busybox(), "/bin/sh -c 'id -un; echo hello | cat'", "root\nhello"));
    }

    #[test]
    fn debian_programs_find_their_libraries() {
        isolated(|| {
            runs(
                debian(),
                "/bin/bash -c 'ls /etc/passwd; perl -v | grep -c \"This is perl\"'",
                "/etc/passwd\n1",
            )
        });
    }

    #[test]
    fn no_name_comes_twice() {
        for image in [busybox(), debian()].into_iter().flatten() {
            let tar = Invocation::new("tar", "-tf -").stdin(image.build().tars.remove(0)).ok();
            let names: BTreeSet<&str> = tar.lines().map(|name| name.trim_end_matches('/')).collect();
            assert_eq!(names.len(), tar.lines().count());
        }
    }

    #[test]
    fn scratch_is_one_program() {
        isolated(|| runs(scratch(), "/true", ""));
    }
}
