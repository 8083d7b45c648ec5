//! Mounting inside the container's root by descriptors: no host path is walked after the root is open.
//!
//! Targets are found with openat2(2) inside the root, so links in the image cannot lead out; new mounts are made
//! detached and moved onto the descriptor of the target. Kernel ≥ 5.12 (mount_setattr).

use cais_plan::Strings;
use cais_plan::wire::detail;

use crate::sys::{self, Errno, Result};

/// Path buffers hold a path and its NUL.
const PATH: usize = 4096;
/// Dangling links that are followed for one path.
const LINKS: u32 = 8;

/// Why a mount step failed: errno, and a word of detail where the errno does not tell.
pub type Failure = (Errno, u32);

/// Opens `path` inside `root` as O_PATH, first making what is missing of it.
///
/// # Errors
/// The errno of the call that failed.
pub fn open_or_make(root: i32, path: &[u8], directory: bool, mode: u32) -> Result<i32> {
    open_or_make_by(root, path, directory, mode, LINKS)
}

/// `links` more dangling links may be followed.
fn open_or_make_by(root: i32, path: &[u8], directory: bool, mode: u32, links: u32) -> Result<i32> {
    match sys::open_in_root(root, path, sys::O_PATH) {
        Err(sys::ENOENT) => make(root, path, directory, mode, links),
        other => other,
    }
}

/// Makes `path` and its parents inside `root` and opens it as O_PATH.
fn make(root: i32, path: &[u8], directory: bool, mode: u32, links: u32) -> Result<i32> {
    let mut buffer = [0_u8; PATH];
    if path.len() >= PATH {
        return Err(sys::ENAMETOOLONG);
    }
    buffer[..path.len()].copy_from_slice(path);
    let (mut parent, mut start) = nearest(root, &mut buffer[..path.len() + 1])?;
    while start < path.len() {
        if buffer[start] == b'/' {
            start += 1;
            continue;
        }
        let end = buffer[start..path.len()].iter().position(|b| *b == b'/').map_or(path.len(), |n| start + n);
        let last = buffer[end..path.len()].iter().all(|b| *b == b'/');
        buffer[end] = 0;
        let mode = if last { mode } else { 0o755 };
        let made = enter(root, parent, &buffer[..end], start, !last || directory, mode);
        let made = match made {
            // It exists and leads nowhere: what it says is made, inside the root like everything.
            Err(sys::ENOENT) if links > 0 => follow(parent, &buffer[..end], start, |there| {
                open_or_make_by(root, there, !last || directory, mode, links - 1)
            }),
            other => other,
        };
        sys::close(parent);
        parent = made?;
        if end < path.len() {
            buffer[end] = b'/';
        }
        start = end + 1;
    }
    Ok(parent)
}

/// Where the making begins: the directory of the last component, which is usually there, or else the root; with the
/// offset of what is below it. `path` ends with a NUL.
fn nearest(root: i32, path: &mut [u8]) -> Result<(i32, usize)> {
    let length = path.iter().rposition(|b| !matches!(*b, 0 | b'/')).map_or(0, |n| n + 1);
    let start = path[..length].iter().rposition(|b| *b == b'/').map_or(0, |n| n + 1);
    if start > 1 {
        let first = core::mem::replace(&mut path[start - 1], 0);
        let parent = sys::open_in_root(root, &path[..start - 1], sys::O_PATH | sys::O_DIRECTORY);
        path[start - 1] = first;
        match parent {
            Err(sys::ENOENT) => {}
            other => return other.map(|fd| (fd, start)),
        }
    }
    sys::open_in_root(root, c".".to_bytes(), sys::O_PATH | sys::O_DIRECTORY).map(|fd| (fd, 0))
}

/// Opens the prefix `whole` (whose last component begins at `start`), making that component in `parent` if needed.
fn enter(root: i32, parent: i32, whole: &[u8], start: usize, directory: bool, mode: u32) -> Result<i32> {
    match sys::open_in_root(root, whole, sys::O_PATH) {
        Err(sys::ENOENT) => {}
        other => return other,
    }
    let name = &whole[start..];
    if directory {
        match sys::mkdirat(parent, name, mode) {
            Ok(()) | Err(sys::EEXIST) => {}
            Err(e) => return Err(e),
        }
    } else {
        let fd =
            sys::openat(parent, name, sys::O_CREAT | sys::O_EXCL | sys::O_NOFOLLOW | sys::O_WRONLY, mode);
        match fd {
            Ok(fd) => sys::close(fd),
            Err(sys::EEXIST) => {}
            Err(e) => return Err(e),
        }
    }
    sys::open_in_root(root, whole, sys::O_PATH)
}

/// Calls `open` with the path that the link at the end of `whole` stands for.
fn follow(parent: i32, whole: &[u8], start: usize, open: impl FnOnce(&[u8]) -> Result<i32>) -> Result<i32> {
    let mut there = [0_u8; PATH];
    let mut content = [0_u8; PATH];
    let length = sys::readlinkat(parent, &whole[start..], &mut content).map_err(|_| sys::ENOENT)?;
    let before = if content[0] == b'/' { 0 } else { start };
    if before + length >= PATH {
        return Err(sys::ENAMETOOLONG);
    }
    there[..before].copy_from_slice(&whole[..before]);
    there[before..before + length].copy_from_slice(&content[..length]);
    open(&there[..before + length])
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
    outside_proc(fd)
}

/// The descriptor if it does not lie on procfs; else it is closed.
///
/// # Errors
/// The errno, or `BAD_TARGET`.
pub fn outside_proc(fd: i32) -> core::result::Result<i32, Failure> {
    match sys::fs_magic(fd) {
        Ok(sys::PROC_SUPER_MAGIC) => {
            sys::close(fd);
            Err((sys::EPERM, detail::BAD_TARGET))
        }
        other => other.map(|_| fd).map_err(|e| (e, detail::NONE)),
    }
}

/// As [`open_target`], for a plan whose targets in /proc were chosen with care: those go if the plan names them, and if
/// no link has a part in it.
///
/// # Errors
/// The errno, or `BAD_TARGET`.
pub fn open_planned(root: i32, path: &[u8], directory: bool) -> core::result::Result<i32, Failure> {
    let named = path.strip_prefix(b"/proc").is_some_and(|rest| rest.is_empty() || rest[0] == b'/');
    match open_target(root, path, directory) {
        Err((_, detail::BAD_TARGET)) if named => {
            let resolve = sys::RESOLVE_IN_ROOT | sys::RESOLVE_NO_SYMLINKS | sys::RESOLVE_NO_MAGICLINKS;
            sys::openat2(root, path, sys::O_PATH, resolve).map_err(|e| (e, detail::BAD_TARGET))
        }
        other => other,
    }
}

/// As [`open_target`], for what the kernel's own file systems and the terminal go on: no link may have a part in it, or
/// the image decided where they are (CVE-2019-19921, CVE-2023-27561, CVE-2025-52565). It is opened once and mounted on as it
/// is, whatever its name stands for by then.
///
/// # Errors
/// The errno, or `BAD_TARGET`.
pub fn open_plain(root: i32, path: &[u8], directory: bool) -> core::result::Result<i32, Failure> {
    let resolve = sys::RESOLVE_IN_ROOT | sys::RESOLVE_NO_SYMLINKS | sys::RESOLVE_NO_MAGICLINKS;
    let flags = if directory { sys::O_PATH | sys::O_DIRECTORY } else { sys::O_PATH };
    let opened = match sys::openat2(root, path, flags, resolve) {
        Err(sys::ENOENT) => {
            let mode = if directory { 0o755 } else { 0o600 };
            let made = open_or_make(root, path, directory, mode).map_err(|e| (e, detail::NONE))?;
            sys::close(made);
            sys::openat2(root, path, flags, resolve)
        }
        other => other,
    };
    opened.map_err(|e| (e, detail::BAD_TARGET))
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

/// The same with a tmpfs whose root has this mode, unless an option says otherwise.
///
/// # Errors
/// The errno of the call that failed.
pub fn new_tmpfs(mode: u32, source: &[u8], options: Strings<'_>, attributes: u64) -> Result<i32> {
    let mut digits = [0_u8; 5];
    for (place, digit) in digits[..4].iter_mut().enumerate() {
        *digit = b'0' + (mode >> (9 - 3 * place) & 7) as u8;
    }
    let fs = sys::fsopen(c"tmpfs".to_bytes())?;
    let result = sys::fsconfig_string(fs, c"mode".to_bytes(), &digits[..4])
        .and_then(|()| configure(fs, source, options, attributes));
    sys::close(fs);
    result
}

/// Changes options of the file system that is mounted on `target`.
///
/// # Errors
/// The errno of the call that failed; EINVAL where nothing is mounted.
pub fn reconfigure(root: i32, target: &[u8], options: Strings<'_>) -> Result<()> {
    let at = sys::open_in_root(root, target, sys::O_PATH)?;
    let picked = sys::fspick(at);
    sys::close(at);
    let fs = picked?;
    let result = choose(fs, options).and_then(|()| sys::fsconfig_reconfigure(fs));
    sys::close(fs);
    result
}

fn configure(fs: i32, source: &[u8], options: Strings<'_>, attributes: u64) -> Result<i32> {
    if !source.is_empty() {
        sys::fsconfig_string(fs, c"source".to_bytes(), source)?;
    }
    choose(fs, options)?;
    sys::fsconfig_create(fs)?;
    sys::fsmount(fs, attributes)
}

fn choose(fs: i32, options: Strings<'_>) -> Result<()> {
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
    Ok(())
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
    /// SELinux label of everything, empty = none.
    pub context: &'a [u8],
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

/// Clones what is at `subpath` of the directory `source`, with what is mounted beneath; links lead nowhere else.
///
/// # Errors
/// The errno of the call that failed; ENOENT when there is nothing.
pub fn open_beneath(source: &[u8], subpath: &[u8]) -> Result<i32> {
    let directory = sys::open(source, sys::O_PATH | sys::O_DIRECTORY)?;
    let there = sys::open_in_root(directory, subpath, sys::O_PATH);
    sys::close(directory);
    let there = there?;
    let tree = sys::open_tree(there, c"".to_bytes(), true);
    sys::close(there);
    tree
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
    if !stack.context.is_empty() {
        sys::fsconfig_string(fs, c"context".to_bytes(), stack.context)?;
    }
    sys::fsconfig_create(fs)?;
    sys::fsmount(fs, 0)
}

/// Layers that mount(2) can name in a page.
const NAMED: usize = 240;

/// Text for mount(2), which takes a page of it and a NUL.
pub struct Page {
    bytes: [u8; PATH],
    used: usize,
}

impl Page {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Page {
        Page { bytes: [0; PATH], used: 0 }
    }

    /// Appends text.
    ///
    /// # Errors
    /// E2BIG when the page is full.
    pub fn put(&mut self, text: &[u8]) -> Result<()> {
        let end = self.used + text.len();
        if end >= PATH {
            return Err(sys::E2BIG);
        }
        self.bytes[self.used..end].copy_from_slice(text);
        self.used = end;
        Ok(())
    }

    /// What was put; a NUL follows.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.bytes[..self.used]
    }
}

impl Default for Page {
    fn default() -> Page {
        Page::new()
    }
}

/// Options for mount(2). Paths stand there as descriptors: `/proc/self/fd/7` is short and has none of the characters
/// that separate layers and options.
struct Options {
    page: Page,
    fds: [i32; NAMED + 2],
    opened: usize,
}

impl Options {
    fn put(&mut self, text: &[u8]) -> Result<()> {
        self.page.put(text)
    }

    fn put_path(&mut self, before: &[u8], path: &[u8]) -> Result<()> {
        let slot = self.fds.get_mut(self.opened).ok_or(sys::E2BIG)?;
        let fd = sys::open(path, sys::O_PATH | sys::O_DIRECTORY)?;
        *slot = fd;
        self.opened += 1;
        self.put(before)?;
        let (path, length) = sys::descriptor_path(fd);
        self.put(&path[..length])
    }

    fn put_stack(&mut self, stack: Overlay<'_>) -> Result<()> {
        let mut before = b"lowerdir=".as_slice();
        for lower in stack.lowers.iter() {
            self.put_path(before, lower)?;
            before = b":";
        }
        if !stack.upper.is_empty() {
            self.put_path(b",upperdir=", stack.upper)?;
            self.put_path(b",workdir=", stack.work)?;
            if stack.volatile_upper {
                self.put(b",volatile")?;
            }
        }
        if stack.userxattr {
            self.put(b",userxattr")?;
        }
        if !stack.context.is_empty() {
            // A level has commas.
            self.put(b",context=\"")?;
            self.put(stack.context)?;
            self.put(b"\"")?;
        }
        Ok(())
    }
}

impl Drop for Options {
    fn drop(&mut self) {
        self.fds[..self.opened].iter().for_each(|fd| sys::close(*fd));
    }
}

fn overlay_by_mount(at: &[u8], stack: Overlay<'_>) -> Result<()> {
    let mut options = Options { page: Page::new(), fds: [-1; NAMED + 2], opened: 0 };
    options.put_stack(stack)?;
    let overlay = c"overlay".to_bytes();
    sys::mount(overlay, at, overlay, 0, options.page.text())
}
