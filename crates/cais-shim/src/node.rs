//! Device nodes.

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
    let result = make_in(parent, &path[start..], node);
    sys::close(parent);
    result
}

/// Makes a node. The same one that is there stays and gets mode and owner; anything else that is there is an error:
/// the path may lie in a directory of the host.
///
/// # Errors
/// EEXIST, or the errno of the call that failed.
pub fn make_or_keep(root: i32, path: &[u8], node: Node) -> Result<()> {
    let (parent, start) = mounts::open_parent(root, path)?;
    let name = &path[start..];
    let made = match sys::mknodat(parent, name, node.mode, node.device) {
        Err(sys::EEXIST) => sys::fstatat(parent, name)
            .and_then(|there| if node.is(there) { Ok(()) } else { Err(sys::EEXIST) }),
        other => other,
    };
    let result = made.and_then(|()| {
        sys::fchownat(parent, name, node.uid, node.gid)?;
        sys::chmodat(parent, name, node.mode & 0o7777)
    });
    sys::close(parent);
    result
}

fn make_in(parent: i32, name: &[u8], node: Node) -> Result<()> {
    match sys::mknodat(parent, name, node.mode, node.device) {
        Err(sys::EEXIST) => {
            let resolve = sys::RESOLVE_NO_XDEV | sys::RESOLVE_NO_MAGICLINKS;
            match sys::openat2(parent, name, sys::O_PATH | sys::O_NOFOLLOW, resolve) {
                Err(sys::EXDEV) => return Ok(()),
                Err(errno) => return Err(errno),
                Ok(fd) => {
                    let there = sys::fstat(fd);
                    sys::close(fd);
                    if !node.is(there?) {
                        sys::unlinkat(parent, name)?;
                        sys::mknodat(parent, name, node.mode, node.device)?;
                        return own(parent, name, node);
                    }
                }
            }
            sys::fchownat(parent, name, node.uid, node.gid)?;
            sys::chmodat(parent, name, node.mode & 0o7777)
        }
        other => other.and_then(|()| own(parent, name, node)),
    }
}

fn own(parent: i32, name: &[u8], node: Node) -> Result<()> {
    if node.uid == 0 && node.gid == 0 { Ok(()) } else { sys::fchownat(parent, name, node.uid, node.gid) }
}
