//! Directories that a layer implies: it has something in `tmp` but no entry for `tmp` itself.
//!
//! In an image such a directory looks (mode, owner, times, attributes) as the next layer beneath says that has an entry for it. A layer
//! lies here once for all images, unpacked without knowing on what it will be stacked, with 0755 for what it implies; and
//! overlayfs shows a merged directory as its topmost layer has it. So a stack in which that is wrong gets one
//! more layer on top: nothing but those directories and the ones that lead there, as they shall look. It is content like
//! any other, named by the digest of what it says, shared by stacks that need the same, and swept when none does.
//!
//! Nothing is followed: directories are opened beneath the layer without any symlink.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use cais_oci::{Digest, Hasher};
use rustix::fs::{Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use crate::Store;
use crate::error::{Result, StoreError};
use crate::files::{self, Durability, random_hex};
use crate::layers::LayerMeta;
use crate::paths::{LAYER_FS, LAYER_IMPLIED, LAYER_META};

/// How a directory looks, whatever is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Look {
    mode: u32,
    uid: u32,
    gid: u32,
    /// Name and value, in order of names; overlayfs' own left out.
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Seconds and nanoseconds; no reason to correct anything by itself.
    mtime: (i64, i64),
}

/// A layer of the stack.
struct Level {
    fs: OwnedFd,
    implied: BTreeSet<Vec<u8>>,
}

/// Where a directory of the merged tree comes from, as indices of levels.
#[derive(Clone, Debug, Default)]
struct Sources {
    /// Those whose entries are seen, topmost first; empty when there is no such directory.
    content: Vec<usize>,
    /// The topmost that has an entry for it.
    look: Option<usize>,
}

/// Notes what a layer implies, in its directory, for [`complete`].
pub(crate) fn note(layer: &Path, implied: &[Vec<u8>]) -> Result<()> {
    if implied.is_empty() {
        return Ok(());
    }
    let path = layer.join(LAYER_IMPLIED);
    std::fs::write(&path, implied.join(&0)).map_err(StoreError::io("write", &path))
}

/// Puts the layer on top of a stack (bottom first) that makes implied directories look right, where one is needed.
///
/// All layers are in place and nothing is swept meanwhile; `scratch` is the caller's, on the same file system. The
/// layer is durable but for its directory entry.
pub(crate) fn complete(store: &Store, scratch: &Path, stack: &mut Vec<Digest>) -> Result<()> {
    let mut levels = Vec::new();
    for layer in stack.iter().rev() {
        let path = store.paths().layer(layer).join(LAYER_IMPLIED);
        let implied = files::read(&path)?.unwrap_or_default();
        levels.push((layer, implied.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect::<BTreeSet<_>>()));
    }
    // The bottom has nothing beneath that could tell.
    if levels.iter().rev().skip(1).all(|(_, implied)| implied.iter().all(Vec::is_empty)) {
        return Ok(());
    }
    let open = |(layer, implied)| {
        let path = store.paths().layer_fs(layer);
        let fs = File::open(&path).map_err(StoreError::io("open", &path))?.into();
        Ok(Level { fs, implied })
    };
    let levels = levels.into_iter().map(open).collect::<Result<Vec<_>>>()?;
    let directory = store.paths().layers();
    let failed = StoreError::io("read the directories of layers in", &directory);
    let looks = Merged::of(levels).corrections().map_err(failed)?;
    if !looks.is_empty() {
        stack.push(add_layer(store, scratch, &looks)?);
    }
    Ok(())
}

/// The merged tree of a stack, as far as it was looked at.
struct Merged {
    /// Topmost first.
    levels: Vec<Level>,
    seen: BTreeMap<Vec<u8>, Sources>,
}

impl Merged {
    fn of(levels: Vec<Level>) -> Merged {
        let root = Sources { content: (0..levels.len()).collect(), look: None };
        Merged { levels, seen: BTreeMap::from([(Vec::new(), root)]) }
    }

    /// The directories that overlayfs would show wrongly, and those on the way to them.
    fn corrections(mut self) -> io::Result<BTreeMap<Vec<u8>, Look>> {
        let last = self.levels.len().saturating_sub(1);
        let implied = self.levels[..last].iter().flat_map(|level| level.implied.iter().cloned());
        let implied: BTreeSet<Vec<u8>> = implied.filter(|path| !path.is_empty()).collect();
        let mut looks = BTreeMap::new();
        for path in implied {
            let sources = self.sources(&path)?;
            let (Some(&shown), Some(right)) = (sources.content.first(), sources.look) else { continue };
            if shown == right {
                continue;
            }
            let (shown, right) = (self.look(shown, &path)?, self.look(right, &path)?);
            if (Look { mtime: right.mtime, ..shown }) != right {
                self.add_ancestors(&path, &mut looks)?;
                looks.insert(path, right);
            }
        }
        Ok(looks)
    }

    /// The layer on top decides for them as well.
    fn add_ancestors(&self, path: &[u8], looks: &mut BTreeMap<Vec<u8>, Look>) -> io::Result<()> {
        for ancestor in prefixes(path).filter(|prefix| prefix.len() < path.len()) {
            let Some(sources) = self.seen.get(ancestor) else { continue };
            if let Some(level) = sources.look.or(sources.content.first().copied())
                && !looks.contains_key(ancestor)
            {
                looks.insert(ancestor.to_vec(), self.look(level, ancestor)?);
            }
        }
        Ok(())
    }

    fn sources(&mut self, path: &[u8]) -> io::Result<Sources> {
        let mut sources = self.seen.get(&b""[..]).cloned().unwrap_or_default();
        for prefix in prefixes(path) {
            sources = match self.seen.get(prefix) {
                Some(known) => known.clone(),
                None => self.find(prefix, &sources.content)?,
            };
            self.seen.insert(prefix.to_vec(), sources.clone());
        }
        Ok(sources)
    }

    /// Goes down through the levels that the parent's content comes from.
    fn find(&self, path: &[u8], parent: &[usize]) -> io::Result<Sources> {
        let mut sources = Sources::default();
        let mut is_closed = false;
        for &level in parent {
            let directory = match self.open(level, path) {
                Ok(directory) => directory,
                Err(Errno::NOENT) => continue,
                // A whiteout, or something else of this name.
                Err(Errno::NOTDIR | Errno::LOOP) => break,
                Err(error) => return Err(error.into()),
            };
            if !is_closed {
                sources.content.push(level);
            }
            if sources.look.is_none() && !self.levels[level].implied.contains(path) {
                sources.look = Some(level);
            }
            // An opaque mark hides what is in the lower directories, not how the directory looks.
            is_closed |= is_opaque(&directory)?;
            if is_closed && sources.look.is_some() {
                break;
            }
        }
        Ok(sources)
    }

    fn open(&self, level: usize, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        open_beneath(&self.levels[level].fs, path)
    }

    fn look(&self, level: usize, path: &[u8]) -> io::Result<Look> {
        let directory = self.open(level, path)?;
        let stat = rustix::fs::fstat(&directory)?;
        Ok(Look {
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            xattrs: xattrs(&directory)?,
            mtime: (stat.st_mtime, stat.st_mtime_nsec as i64),
        })
    }
}

/// `a`, `a/b`, `a/b/c` of `a/b/c`.
fn prefixes(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    ends.chain([path.len()]).map(|end| &path[..end])
}

fn open_beneath(root: &OwnedFd, path: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    rustix::fs::openat2(root, path, flags, Mode::empty(), within)
}

fn is_opaque(directory: &OwnedFd) -> rustix::io::Result<bool> {
    for name in [c"trusted.overlay.opaque", c"user.overlay.opaque"] {
        let mut value = [0_u8; 8];
        match rustix::fs::fgetxattr(directory, name, &mut value) {
            Ok(length) if value[..length] == *b"y" => return Ok(true),
            Ok(_) | Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// What a layer brought; labels of the host's policy and overlayfs' own marks belong to a place, not to a look.
fn xattrs(directory: &OwnedFd) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut names = vec![0_u8; 65_536];
    let length = match rustix::fs::flistxattr(directory, &mut names) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => 0,
        Err(error) => return Err(error.into()),
    };
    let mut found = Vec::new();
    for name in names[..length].split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        let text = name.to_bytes();
        if [&b"trusted.overlay."[..], b"user.overlay.", b"security."].iter().any(|it| text.starts_with(it)) {
            continue;
        }
        let mut value = vec![0_u8; 65_536];
        let length = rustix::fs::fgetxattr(directory, name, &mut value)?;
        value.truncate(length);
        found.push((text.to_vec(), value));
    }
    found.sort();
    Ok(found)
}

/// Makes the layer of these directories unless it is there; its name.
fn add_layer(store: &Store, scratch: &Path, looks: &BTreeMap<Vec<u8>, Look>) -> Result<Digest> {
    let id = name(looks);
    if store.layer(&id)?.is_some() {
        return Ok(id);
    }
    let staged = scratch.join(random_hex(8));
    let tree = staged.join(LAYER_FS);
    files::make_directory(&staged, 0o711)?;
    files::make_directory(&tree, 0o755)?;
    let root = File::open(&tree).map_err(StoreError::io("open", &tree))?.into();
    make_tree(&root, looks).map_err(StoreError::io("make directories in", &tree))?;
    let meta = LayerMeta {
        diff_id: id.clone(),
        // It came from no blob.
        blob: id.clone(),
        blob_bytes: 0,
        tar_bytes: 0,
        content_bytes: 0,
        entries: looks.len() as u64,
        hides_lower_layers: false,
    };
    files::write_json(&staged.join(LAYER_META), &meta, Durability::Volatile)?;
    files::sync_tree(&staged)?;
    let place = store.paths().layer(&id);
    match std::fs::rename(&staged, &place) {
        // Another ingest was quicker; ours goes with the scratch directory.
        Err(_) if store.layer(&id)?.is_some() => Ok(id),
        other => other.map(|()| id).map_err(StoreError::io("move layer to", &place)),
    }
}

/// The digest of what the layer says.
fn name(looks: &BTreeMap<Vec<u8>, Look>) -> Digest {
    let mut hasher = Hasher::new();
    let mut add = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    add(b"cais: directories that layers imply");
    for (path, look) in looks {
        add(path);
        let (seconds, nanos) = look.mtime;
        add(format!("{:o} {}:{} {seconds}.{nanos}", look.mode, look.uid, look.gid).as_bytes());
        add(&(look.xattrs.len() as u64).to_le_bytes());
        for (name, value) in &look.xattrs {
            add(name);
            add(value);
        }
    }
    hasher.finish()
}

/// Makes all first and describes them from the leaves up: what a directory gets could stick to its children, or be changed
/// by them.
fn make_tree(root: &OwnedFd, looks: &BTreeMap<Vec<u8>, Look>) -> io::Result<()> {
    for path in looks.keys() {
        rustix::fs::mkdirat(root, path.as_slice(), Mode::RWXU)?;
    }
    for (path, look) in looks.iter().rev() {
        let directory = open_beneath(root, path)?;
        // Rootless with one id everything is the caller's, and looks so already.
        let stat = rustix::fs::fstat(&directory)?;
        if (stat.st_uid, stat.st_gid) != (look.uid, look.gid) {
            let owner = (Some(Uid::from_raw(look.uid)), Some(Gid::from_raw(look.gid)));
            rustix::fs::fchown(&directory, owner.0, owner.1)?;
        }
        rustix::fs::fchmod(&directory, Mode::from_raw_mode(look.mode))?;
        for (name, value) in &look.xattrs {
            rustix::fs::fsetxattr(directory.as_fd(), name.as_slice(), value, XattrFlags::empty())?;
        }
        let time = Timespec { tv_sec: look.mtime.0, tv_nsec: look.mtime.1 };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::futimens(&directory, &times)?;
    }
    Ok(())
}
