//! Mounting inside the container's root by descriptors: no host path is walked after the root is open.
//!
//! Targets are found with openat2(2) inside the root, so links in the image cannot lead out; new mounts are made
//! detached and moved onto the descriptor of the target. Kernel ≥ 5.12 (mount_setattr).

use cais_plan::Strings;
use cais_plan::wire::detail;

use crate::sys::{self, Errno, Result};

/// Path buffers hold a path and its NUL.
const PATH: usize = 4096;

/// Why a mount step failed: errno, and a word of detail where the errno does not tell.
pub type Failure = (Errno, u32);

/// Opens `path` inside `root` as O_PATH, first making what is missing of it.
///
/// # Errors
/// The errno of the call that failed.
pub fn open_or_make(root: i32, path: &[u8], directory: bool, mode: u32) -> Result<i32> {
    match sys::open_in_root(root, path, sys::O_PATH) {
        Err(sys::ENOENT) => make(root, path, directory, mode),
        other => other,
    }
}

/// Makes `path` and its parents inside `root` and opens it as O_PATH.
fn make(root: i32, path: &[u8], directory: bool, mode: u32) -> Result<i32> {
    let mut buffer = [0_u8; PATH];
    if path.len() >= PATH {
        return Err(sys::ENAMETOOLONG);
    }
    buffer[..path.len()].copy_from_slice(path);
    let mut parent = sys::open_in_root(root, c".".to_bytes(), sys::O_PATH | sys::O_DIRECTORY)?;
    let mut start = 0;
    while start < path.len() {
        if buffer[start] == b'/' {
            start += 1;
            continue;
        }
        let end = buffer[start..path.len()].iter().position(|b| *b == b'/').map_or(path.len(), |n| start + n);
        let last = buffer[end..path.len()].iter().all(|b| *b == b'/');
        buffer[end] = 0;
        let made = enter(root, parent, &buffer[..end], start, last, directory, mode);
        sys::close(parent);
        parent = made?;
        if end < path.len() {
            buffer[end] = b'/';
        }
        start = end + 1;
    }
    Ok(parent)
}

/// Opens the prefix `whole` (whose last component begins at `start`), making that component in `parent` if needed.
fn enter(
    root: i32,
    parent: i32,
    whole: &[u8],
    start: usize,
    last: bool,
    directory: bool,
    mode: u32,
) -> Result<i32> {
    match sys::open_in_root(root, whole, sys::O_PATH) {
        Err(sys::ENOENT) => {}
        other => return other,
    }
    let name = &whole[start..];
    if last && !directory {
        let fd =
            sys::openat(parent, name, sys::O_CREAT | sys::O_EXCL | sys::O_NOFOLLOW | sys::O_WRONLY, mode);
        match fd {
            Ok(fd) => sys::close(fd),
            Err(sys::EEXIST) => {}
            Err(e) => return Err(e),
        }
    } else {
        match sys::mkdirat(parent, name, if last { mode } else { 0o755 }) {
            Ok(()) | Err(sys::EEXIST) => {}
            Err(e) => return Err(e),
        }
    }
    sys::open_in_root(root, whole, sys::O_PATH)
}

/// Opens the directory that holds `path`, making it when missing; gives it and the start of the last component.
///
/// # Errors
/// The errno of the call that failed; EINVAL for the root itself.
pub fn open_parent(root: i32, path: &[u8]) -> Result<(i32, usize)> {
    let start = path.iter().rposition(|b| *b == b'/').map_or(0, |n| n + 1);
    if start == path.len() {
        return Err(sys::EINVAL);
    }
    let mut buffer = [0_u8; PATH];
    if path.len() >= PATH {
        return Err(sys::ENAMETOOLONG);
    }
    let prefix = if start == 0 { c".".to_bytes() } else { &path[..start] };
    buffer[..prefix.len()].copy_from_slice(prefix);
    Ok((open_or_make(root, &buffer[..prefix.len()], true, 0o755)?, start))
}

/// Opens a mount's target and refuses one inside /proc: mounting over /proc/self and the like undoes the isolation.
///
/// # Errors
/// The errno, or `BAD_TARGET`.
pub fn open_target(root: i32, path: &[u8], directory: bool) -> core::result::Result<i32, Failure> {
    let fd = open_or_make(root, path, directory, if directory { 0o755 } else { 0o644 })
        .map_err(|e| (e, detail::NONE))?;
    if sys::fs_magic(fd).map_err(|e| (e, detail::NONE))? == sys::PROC_SUPER_MAGIC {
        sys::close(fd);
        return Err((sys::EPERM, detail::BAD_TARGET));
    }
    Ok(fd)
}

/// Configures and mounts a new file system, detached.
///
/// # Errors
/// The errno of the call that failed.
pub fn new_filesystem(fstype: &[u8], source: &[u8], options: Strings<'_>, attributes: u64) -> Result<i32> {
    let fs = sys::fsopen(fstype)?;
    let result = configure(fs, source, options, attributes);
    sys::close(fs);
    result
}

fn configure(fs: i32, source: &[u8], options: Strings<'_>, attributes: u64) -> Result<i32> {
    if !source.is_empty() {
        sys::fsconfig_string(fs, c"source".to_bytes(), source)?;
    }
    for option in options.iter() {
        let Some(equals) = option.iter().position(|b| *b == b'=') else {
            sys::fsconfig_flag(fs, option)?;
            continue;
        };
        let mut key = [0_u8; 64];
        if equals >= key.len() {
            return Err(sys::EINVAL);
        }
        key[..equals].copy_from_slice(&option[..equals]);
        sys::fsconfig_string(fs, &key[..equals], &option[equals + 1..])?;
    }
    sys::fsconfig_create(fs)?;
    sys::fsmount(fs, attributes)
}

/// What an overlay root is made of; see the step of that name.
#[derive(Clone, Copy)]
pub struct Overlay<'a> {
    /// Topmost first.
    pub lowers: Strings<'a>,
    /// Empty = read-only stack.
    pub upper: &'a [u8],
    /// Work directory.
    pub work: &'a [u8],
    /// No syncing.
    pub volatile_upper: bool,
    /// `user.overlay.` attributes.
    pub userxattr: bool,
}

/// Mounts an overlay on the host directory `at` and opens its root. Kernels before 6.5 lack `lowerdir+`: there
/// mount(2) takes all layers in one string of a page.
///
/// # Errors
/// The errno of the call that failed; E2BIG for too many layers on an old kernel.
pub fn overlay_at(at: &[u8], stack: Overlay<'_>) -> Result<i32> {
    match overlay(stack) {
        Ok(tree) => attach_root(tree, at),
        Err(sys::EINVAL | sys::ENOSYS) => {
            overlay_by_mount(at, stack)?;
            sys::open(at, sys::O_PATH | sys::O_DIRECTORY)
        }
        Err(e) => Err(e),
    }
}

/// Attaches a detached tree on the host directory `at`; gives the tree's own descriptor.
///
/// # Errors
/// The errno of the call that failed.
pub fn attach_root(tree: i32, at: &[u8]) -> Result<i32> {
    let target = sys::open(at, sys::O_PATH | sys::O_DIRECTORY)?;
    let moved = sys::move_mount_to(tree, target);
    sys::close(target);
    moved.map(|()| tree)
}

fn overlay(stack: Overlay<'_>) -> Result<i32> {
    let fs = sys::fsopen(c"overlay".to_bytes())?;
    let result = configure_overlay(fs, stack);
    sys::close(fs);
    result
}

fn configure_overlay(fs: i32, stack: Overlay<'_>) -> Result<i32> {
    sys::fsconfig_string(fs, c"source".to_bytes(), c"overlay".to_bytes())?;
    for lower in stack.lowers.iter() {
        sys::fsconfig_string(fs, c"lowerdir+".to_bytes(), lower)?;
    }
    if !stack.upper.is_empty() {
        sys::fsconfig_string(fs, c"upperdir".to_bytes(), stack.upper)?;
        sys::fsconfig_string(fs, c"workdir".to_bytes(), stack.work)?;
        if stack.volatile_upper {
            sys::fsconfig_flag(fs, c"volatile".to_bytes())?;
        }
    }
    if stack.userxattr {
        sys::fsconfig_flag(fs, c"userxattr".to_bytes())?;
    }
    sys::fsconfig_create(fs)?;
    sys::fsmount(fs, 0)
}

/// Text for mount(2), in a page.
struct Page {
    bytes: [u8; PATH],
    used: usize,
}

impl Page {
    fn put(&mut self, text: &[u8]) -> Result<()> {
        let end = self.used + text.len();
        if end >= PATH {
            return Err(sys::E2BIG);
        }
        self.bytes[self.used..end].copy_from_slice(text);
        self.used = end;
        Ok(())
    }
}

fn overlay_by_mount(at: &[u8], stack: Overlay<'_>) -> Result<()> {
    let mut data = Page { bytes: [0; PATH], used: 0 };
    let mut before = b"lowerdir=".as_slice();
    for lower in stack.lowers.iter() {
        data.put(before)?;
        data.put(lower)?;
        before = b":";
    }
    if !stack.upper.is_empty() {
        data.put(b",upperdir=")?;
        data.put(stack.upper)?;
        data.put(b",workdir=")?;
        data.put(stack.work)?;
        if stack.volatile_upper {
            data.put(b",volatile")?;
        }
    }
    if stack.userxattr {
        data.put(b",userxattr")?;
    }
    let overlay = c"overlay".to_bytes();
    sys::mount(overlay, at, overlay, 0, &data.bytes[..data.used])
}

/// Hides a path: a directory beneath an empty read-only tmpfs, anything else beneath /dev/null.
///
/// # Errors
/// The errno of the call that failed; a missing path is no error.
pub fn mask(root: i32, path: &[u8]) -> Result<()> {
    let target = match sys::open_in_root(root, path, sys::O_PATH) {
        Err(sys::ENOENT | sys::ENOTDIR) => return Ok(()),
        other => other?,
    };
    let cover = if sys::fstat(target)?.is_dir() {
        new_filesystem(
            c"tmpfs".to_bytes(),
            c"tmpfs".to_bytes(),
            Strings(b"size=0\0nr_inodes=1\0mode=755\0"),
            sys::MOUNT_ATTR_RDONLY | sys::MOUNT_ATTR_NOSUID | sys::MOUNT_ATTR_NODEV | sys::MOUNT_ATTR_NOEXEC,
        )
    } else {
        null_device(root)
    };
    let result = cover.and_then(|cover| {
        let moved = sys::move_mount_to(cover, target);
        sys::close(cover);
        moved
    });
    sys::close(target);
    result
}

/// A detached mount of the container's /dev/null. Verified on the descriptor that is cloned: what covers is the null
/// device and nothing that anybody put in its place (CVE-2025-31133).
fn null_device(root: i32) -> Result<i32> {
    const NULL_DEVICE: u64 = 0x103;
    let null = sys::open_in_root(root, c"dev/null".to_bytes(), sys::O_PATH)?;
    let tree = match sys::fstat(null) {
        Ok(stat) if stat.device == NULL_DEVICE => sys::open_tree(null, c"".to_bytes(), false),
        Ok(_) => Err(sys::EINVAL),
        Err(errno) => Err(errno),
    };
    sys::close(null);
    tree
}

/// Makes a path read-only by mounting it over itself.
///
/// # Errors
/// The errno of the call that failed; a missing path is no error.
pub fn read_only(root: i32, path: &[u8]) -> Result<()> {
    let target = match sys::open_in_root(root, path, sys::O_PATH) {
        Err(sys::ENOENT | sys::ENOTDIR) => return Ok(()),
        other => other?,
    };
    let tree = sys::open_tree(target, c"".to_bytes(), true)?;
    let result = sys::mount_setattr(tree, true, sys::MOUNT_ATTR_RDONLY, 0)
        .and_then(|()| sys::move_mount_to(tree, target));
    sys::close(tree);
    sys::close(target);
    result
}
