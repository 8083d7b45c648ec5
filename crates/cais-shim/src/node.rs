//! Device nodes. What gets an owner and a mode is reached by its descriptor, never again by its name (CVE-2021-30465).

use crate::mounts;
use crate::sys::{self, Result, Stat};

/// What a node is to be; see the step `MakeNode`.
#[derive(Clone, Copy)]
pub struct Node {
    /// Type and permissions.
    pub mode: u32,
    /// Number as in `st_rdev`.
    pub device: u64,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl Node {
    /// Same type and number.
    fn is(self, there: Stat) -> bool {
        let numbered = matches!(there.kind(), sys::S_IFCHR | sys::S_IFBLK);
        there.kind() == self.mode & 0o170_000 && (!numbered || there.device == self.device)
    }
}

/// Makes a node. The same one that is there stays and gets mode and owner; anything else is replaced, unless something
/// was mounted at that very place: that was asked for, and lies outside the container.
///
/// # Errors
/// The errno of the call that failed.
pub fn make(root: i32, path: &[u8], node: Node) -> Result<()> {
    let (parent, start) = mounts::open_parent(root, path)?;
    let name = &path[start..];
    let made = match make_in(parent, name, node) {
        Err(sys::EEXIST) => sys::unlinkat(parent, name).and_then(|()| make_in(parent, name, node)),
        Err(sys::EXDEV) => Ok(()),
        other => other,
    };
    sys::close(parent);
    made
}

/// Makes a node. The same one that is there stays and gets mode and owner, unless it was mounted there; anything else
/// that is there is an error: the path may lie in a directory of the host.
///
/// # Errors
/// EEXIST, or the errno of the call that failed.
pub fn make_or_keep(root: i32, path: &[u8], node: Node) -> Result<()> {
    let (parent, start) = mounts::open_parent(root, path)?;
    let name = &path[start..];
    let result = match make_in(parent, name, node) {
        Err(sys::EXDEV) if sys::fstatat(parent, name).is_ok_and(|there| node.is(there)) => Ok(()),
        Err(sys::EXDEV) => Err(sys::EEXIST),
        other => other,
    };
    sys::close(parent);
    result
}

/// Others may write to the directory, and replace what was made by a link to anything before it gets its owner and
/// mode: so what gets them is opened without following it, and looked at. EEXIST when it is something else, EXDEV when
/// something is mounted there.
fn make_in(parent: i32, name: &[u8], node: Node) -> Result<()> {
    match sys::mknodat(parent, name, node.mode, node.device) {
        Ok(()) | Err(sys::EEXIST) => {}
        Err(errno) => return Err(errno),
    }
    let resolve = sys::RESOLVE_NO_XDEV | sys::RESOLVE_NO_MAGICLINKS;
    let fd = sys::openat2(parent, name, sys::O_PATH | sys::O_NOFOLLOW, resolve)?;
    let result = sys::fstat(fd).and_then(|there| own(fd, there, node));
    sys::close(fd);
    result
}

fn own(fd: i32, there: Stat, node: Node) -> Result<()> {
    if !node.is(there) {
        return Err(sys::EEXIST);
    }
    if (there.uid, there.gid) != (node.uid, node.gid) {
        sys::fchown(fd, node.uid, node.gid)?;
    }
    let mode = node.mode & 0o7777;
    if there.mode & 0o7777 == mode { Ok(()) } else { sys::chmod_by_path(fd, mode) }
}
