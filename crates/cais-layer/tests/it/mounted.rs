//! Images of layers, mounted where nobody sees them, and compared with trees of directories.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use cais_layer::erofs::{WrittenImage, check, write_image};
use cais_layer::{LayerError, Limit, Options, Unpacked};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use rustix::mount::{fsconfig_create, fsconfig_set_string, fsmount, fsopen};

/// An image in a file.
pub struct ImageFile {
    pub file: tempfile::NamedTempFile,
    pub written: WrittenImage,
}

/// Writes the image of a layer, and checks that it is whole.
pub fn write(layer: &[u8], options: &Options) -> Result<ImageFile, LayerError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    let written = write_image(layer, file.as_fd(), false, options)?;
    let head = check(file.as_fd()).unwrap();
    assert_eq!((&head.diff_id, head.image_bytes), (&written.unpacked.diff_id, written.image_bytes));
    Ok(ImageFile { file, written })
}

/// Mounts an image; `None`, with a word, where the machine cannot.
pub fn mount(path: &Path) -> Option<OwnedFd> {
    let mounted = fsopen("erofs", FsOpenFlags::FSOPEN_CLOEXEC).and_then(|fs| {
        fsconfig_set_string(fs.as_fd(), "source", path)?;
        fsconfig_create(fs.as_fd())?;
        fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY)
    });
    match mounted {
        Ok(mount) => Some(mount),
        Err(errno @ (Errno::NODEV | Errno::NOTBLK | Errno::PERM)) => {
            println!("skipped: cannot mount an EROFS file here: {errno}");
            None
        }
        Err(errno) => panic!("the kernel refuses the image: {errno}"),
    }
}

/// Where the tree of a mount can be looked at.
pub fn path_of(mount: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/", mount.as_raw_fd()))
}

/// How one object looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    pub mode: u32,
    owner: (u32, u32),
    mtime: (i64, i64),
    /// Names that are in the tree.
    names: BTreeSet<PathBuf>,
    links: u64,
    device: u64,
    size: u64,
    pub content: Vec<u8>,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Deeper down nothing is looked at: that takes the square of the depth.
const MAX_DEPTH: usize = 100;

/// How everything in a tree looks, by path.
pub fn looks(root: &Path) -> BTreeMap<PathBuf, Look> {
    let mut looks = BTreeMap::new();
    let mut names: BTreeMap<u64, BTreeSet<PathBuf>> = BTreeMap::new();
    let mut inodes = BTreeMap::new();
    let mut todo = vec![PathBuf::new()];
    while let Some(path) = todo.pop() {
        let full = root.join(&path);
        // A slash behind the root leads through the link that it is.
        let full = if path.as_os_str().is_empty() { full.join(".") } else { full };
        let stat = fs::symlink_metadata(&full).unwrap();
        let mut content = Vec::new();
        if stat.is_dir() && path.components().count() < MAX_DEPTH {
            for entry in fs::read_dir(&full).unwrap() {
                let entry = entry.unwrap();
                let child = path.join(entry.file_name());
                let kind = fs::symlink_metadata(root.join(&child)).unwrap().file_type();
                assert_eq!(entry.file_type().unwrap(), kind, "{}", child.display());
                todo.push(child);
            }
        } else if stat.is_file() {
            content = ends_of(&full, stat.size());
        } else if stat.is_symlink() {
            content = fs::read_link(&full).unwrap().as_os_str().as_bytes().to_vec();
        }
        let size = if stat.is_file() || stat.is_symlink() { stat.size() } else { 0 };
        names.entry(stat.ino()).or_default().insert(path.clone());
        inodes.insert(path.clone(), stat.ino());
        let look = Look {
            mode: stat.mode(),
            owner: (stat.uid(), stat.gid()),
            mtime: (stat.mtime(), stat.mtime_nsec()),
            names: BTreeSet::new(),
            links: stat.nlink(),
            device: if stat.file_type().is_char_device() || stat.file_type().is_block_device() {
                stat.rdev()
            } else {
                0
            },
            size,
            content,
            xattrs: xattrs(&full),
        };
        looks.insert(path, look);
    }
    for (path, look) in &mut looks {
        look.names = names[&inodes[path]].clone();
    }
    looks
}

/// The content of a file; of a large one, which has holes, only both ends.
fn ends_of(path: &Path, size: u64) -> Vec<u8> {
    const MAX_BYTES: u64 = 6 << 20;
    const END_BYTES: u64 = 1 << 18;
    if size <= MAX_BYTES {
        return fs::read(path).unwrap();
    }
    let file = fs::File::open(path).unwrap();
    let mut bytes = vec![0; 2 * END_BYTES as usize];
    let (first, last) = bytes.split_at_mut(END_BYTES as usize);
    file.read_exact_at(first, 0).unwrap();
    file.read_exact_at(last, size - END_BYTES).unwrap();
    bytes
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 1 << 16];
    let len = rustix::fs::llistxattr(path, &mut names[..]).unwrap();
    let names = names[..len].split(|&byte| byte == 0).filter(|name| !name.is_empty());
    let value = |name: &[u8]| {
        let mut value = vec![0; 1 << 16];
        let len = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
        value.truncate(len);
        value
    };
    names.map(|name| (name.to_vec(), value(name))).collect()
}

/// The image of what was unpacked into `dir` must be the same tree.
pub fn assert_same(dir: &Path, unpacked: &Unpacked, image: &ImageFile) {
    assert_eq!(unpacked, &image.written.unpacked);
    let Some(mount) = mount(image.file.path()) else { return };
    let mut expected = looks(dir);
    let mut found = looks(&path_of(&mount));
    let implied: Vec<&Path> =
        unpacked.implied_dirs.iter().map(|path| Path::new(OsStr::from_bytes(path))).collect();
    for (path, look) in &mut found {
        let was_said = look.mtime != (0, 0);
        assert!(!was_said || !implied.contains(&path.as_path()), "{}", path.display());
        // Times that nobody said are those of the making elsewhere; and not every file system can say all.
        let is_extreme = !(-(1 << 31)..15_032_385_536).contains(&look.mtime.0);
        if let Some(expected) = expected.get(path).filter(|_| !was_said || is_extreme) {
            look.mtime = expected.mtime;
        }
    }
    // Its entry may be missing.
    let (top, made) = (expected.remove(Path::new("")).unwrap(), found.remove(Path::new("")).unwrap());
    assert_eq!((top.xattrs, top.links), (made.xattrs, made.links));
    for (path, look) in &expected {
        // By name, since an assertion about a map says nothing to a reader.
        assert_eq!(Some(look), found.get(path), "{}", path.display());
    }
    assert_eq!(expected.len(), found.len());
    if found.keys().all(|path| path.components().count() < MAX_DEPTH) {
        assert_eq!(image.written.inodes as usize, 1 + distinct(&found));
    }
}

fn distinct(looks: &BTreeMap<PathBuf, Look>) -> usize {
    looks.values().map(|look| look.names.first().unwrap()).collect::<BTreeSet<_>>().len()
}

/// Writes the image of the same layer, which must be possible if the directories were, for the same reasons.
pub fn compare(layer: &[u8], options: &Options, dir: &Path, unpacked: &Result<Unpacked, LayerError>) {
    match (unpacked, write(layer, options)) {
        (Ok(unpacked), Ok(image)) => assert_same(dir, unpacked, &image),
        // What the file system below the directories could not do.
        (Err(LayerError::Io { .. } | LayerError::Owner { .. } | LayerError::DiskFull { .. }), _) => {}
        // Other than for want of room.
        (Err(LayerError::Xattr { source, .. }), written) => {
            let refused = matches!(
                source.raw_os_error().map(Errno::from_raw_os_error),
                Some(Errno::INVAL | Errno::ACCESS)
            );
            assert!(!refused || written.is_err(), "only the directories are refused: {source}");
        }
        (Err(LayerError::NotEmpty), _) | (_, Err(LayerError::Limit { limit: Limit::ImageBytes, .. })) => {}
        (Err(expected), Err(found)) => assert_eq!(expected.to_string(), found.to_string()),
        (Ok(_), Err(error)) => panic!("only the image is refused: {error}"),
        (Err(error), Ok(_)) => panic!("only the directories are refused: {error}"),
    }
}
