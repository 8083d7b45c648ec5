//! A destination with something precious beside it.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use cais_layer::{LayerError, Options, Unpacked};

use crate::mounted;

/// A temporary directory with an empty `layer` to unpack into and an `outside` that must never change.
pub struct Bed {
    dir: tempfile::TempDir,
    outside_before: BTreeMap<PathBuf, String>,
}

impl Bed {
    pub fn new() -> Bed {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("layer")).unwrap();
        let outside = dir.path().join("outside");
        fs::create_dir_all(outside.join("sub")).unwrap();
        fs::write(outside.join("canary"), "alive").unwrap();
        fs::write(outside.join("sub/canary"), "alive").unwrap();
        fs::set_permissions(outside.join("canary"), fs::Permissions::from_mode(0o640)).unwrap();
        let outside_before = describe(dir.path());
        Bed { dir, outside_before }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("layer").join(name)
    }

    pub fn outside(&self) -> PathBuf {
        self.dir.path().join("outside")
    }

    /// Unpacks, and checks that nothing beside the destination has changed, and that the layer's image is the same tree.
    pub fn try_unpack(&self, layer: &[u8], options: &Options) -> Result<Unpacked, LayerError> {
        let dest = fs::File::open(self.path("")).unwrap();
        let result = cais_layer::unpack(layer, dest.as_fd(), options);
        assert_eq!(describe(self.dir.path()), self.outside_before, "something outside was touched");
        mounted::compare(layer, options, &self.path(""), &result);
        result
    }

    pub fn unpack(&self, layer: &[u8]) -> Unpacked {
        self.try_unpack(layer, &Options::default()).unwrap()
    }

    /// Unpacks what must be refused, and returns why.
    pub fn refuse(&self, layer: &[u8]) -> LayerError {
        self.try_unpack(layer, &Options::default()).unwrap_err()
    }

    /// The content of a file of the layer, which is no symlink.
    pub fn read(&self, name: &str) -> String {
        assert!(self.stat(name).file_type().is_file(), "{name} is no file");
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub fn stat(&self, name: &str) -> fs::Metadata {
        fs::symlink_metadata(self.path(name)).unwrap()
    }

    pub fn exists(&self, name: &str) -> bool {
        fs::symlink_metadata(self.path(name)).is_ok()
    }

    pub fn is_whiteout(&self, name: &str) -> bool {
        fs::symlink_metadata(self.path(name))
            .is_ok_and(|stat| stat.mode() & 0o170_000 == 0o020_000 && stat.rdev() == 0)
    }

    pub fn is_opaque(&self, name: &str) -> bool {
        self.xattr(name, "trusted.overlay.opaque").as_deref() == Some(b"y")
    }

    pub fn xattr(&self, name: &str, xattr: &str) -> Option<Vec<u8>> {
        xattr_of(&self.path(name), xattr)
    }
}

pub fn xattr_of(path: &Path, xattr: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 70_000];
    let len = rustix::fs::lgetxattr(path, xattr, &mut value[..]).ok()?;
    value.truncate(len);
    Some(value)
}

/// Everything below `dir` but `layer` (and what changes when that is written to).
fn describe(dir: &Path) -> BTreeMap<PathBuf, String> {
    let mut seen = BTreeMap::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(next) = todo.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path == dir.join("layer") {
                continue;
            }
            let stat = fs::symlink_metadata(&path).unwrap();
            let mut text = format!(
                "{:o} {}:{} {} {} links {} ctime {}.{}",
                stat.mode(),
                stat.uid(),
                stat.gid(),
                stat.size(),
                stat.ino(),
                stat.nlink(),
                stat.ctime(),
                stat.ctime_nsec()
            );
            if stat.is_dir() {
                todo.push(path.clone());
            } else if stat.is_file() {
                text += &fs::read_to_string(&path).unwrap();
            }
            seen.insert(path, text);
        }
    }
    seen
}
