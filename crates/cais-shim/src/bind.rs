//! The steps `Bind` and `Remount`: attributes of mounts that exist, with everything that config-linux of the runtime
//! specification can ask of a bind mount.
//!
//! In a user namespace attributes of the host's mounts may be locked; clearing them is refused, and then they stay, as
//! everywhere: the mount allows less than asked for, never more.

use cais_plan::Str;
use cais_plan::wire::detail;

use crate::mounts::{self, Failure};
use crate::sys::{self, MountAttr, Result};

/// The fields of the step.
#[derive(Clone, Copy)]
pub struct Bind<'a> {
    /// Path in the container.
    pub target: Str<'a>,
    /// `MOUNT_ATTR_*` of the tree's root: set and cleared.
    pub own: (u64, u64),
    /// `MOUNT_ATTR_*` of all of the tree: set and cleared.
    pub all: (u64, u64),
    /// `MS_*`, with `MS_REC`.
    pub propagation: u64,
    /// Maps the owners, or -1.
    pub userns_fd: i32,
    /// Of all of the tree.
    pub recursive_map: bool,
}

/// Attaches the detached `tree`.
///
/// # Errors
/// `BAD_TARGET`, or the errno of the call that failed.
pub fn attach(root: i32, tree: i32, bind: Bind<'_>) -> core::result::Result<(), Failure> {
    let plain = |result: Result<()>| result.map_err(|e| (e, detail::NONE));
    let stat = sys::fstat(tree).map_err(|e| (e, detail::NONE))?;
    plain(shape(tree, bind))?;
    let at = mounts::open_planned(root, bind.target.0, stat.is_dir())?;
    let result = plain(sys::move_mount_to(tree, at));
    sys::close(at);
    result
}

/// Everything but the place.
fn shape(tree: i32, bind: Bind<'_>) -> Result<()> {
    if bind.userns_fd >= 0 {
        map_owners(tree, bind.userns_fd, bind.recursive_map)?;
    }
    change(tree, false, bind.own.0, bind.own.1)?;
    change(tree, true, bind.all.0, bind.all.1)?;
    let recursive = bind.propagation & sys::MS_REC as u64 != 0;
    match bind.propagation & !(sys::MS_REC as u64) {
        0 => Ok(()),
        propagation => sys::mount_setattr(tree, recursive, 0, propagation),
    }
}

/// Owners of a detached tree as a user namespace maps them.
///
/// # Errors
/// EINVAL for a file system that cannot, EPERM when it is mapped or attached already.
pub fn map_owners(tree: i32, userns_fd: i32, recursive: bool) -> Result<()> {
    let attr = MountAttr { set: sys::MOUNT_ATTR_IDMAP, userns_fd: userns_fd as u64, ..MountAttr::default() };
    sys::change_mount(tree, recursive, attr)
}

/// Mounts a directory over itself with owners as a user namespace maps them; what is mounted beneath is hidden.
///
/// # Errors
/// As for [`map_owners`], and those of open_tree(2) and move_mount(2).
pub fn map_directory(path: &[u8], userns_fd: i32) -> Result<()> {
    let tree = sys::open_tree(sys::AT_FDCWD, path, false)?;
    let result = map_owners(tree, userns_fd, false).and_then(|()| {
        let at = sys::open(path, sys::O_PATH | sys::O_DIRECTORY)?;
        let moved = sys::move_mount_to(tree, at);
        sys::close(at);
        moved
    });
    sys::close(tree);
    result
}

/// Changes attributes of a mount. Locked ones that should be cleared stay.
///
/// # Errors
/// The errno of mount_setattr(2).
pub fn change(fd: i32, recursive: bool, set: u64, clear: u64) -> Result<()> {
    if set == 0 && clear == 0 {
        return Ok(());
    }
    let attr = MountAttr { set, clear, ..MountAttr::default() };
    match sys::change_mount(fd, recursive, attr) {
        Err(sys::EPERM) if clear != 0 => {
            let (set, clear) = without_locked(set, clear, sys::mount_attributes(fd)?);
            sys::change_mount(fd, recursive, MountAttr { set, clear, ..MountAttr::default() })
        }
        other => other,
    }
}

/// Nothing that is `there` is cleared, and access times stay as they are.
fn without_locked(set: u64, clear: u64, there: u64) -> (u64, u64) {
    // Links may be followed again in any namespace.
    let kept = there & !sys::MOUNT_ATTR_ATIME & !sys::MOUNT_ATTR_NOSYMFOLLOW;
    (set & !sys::MOUNT_ATTR_ATIME, clear & !kept & !sys::MOUNT_ATTR_ATIME)
}

/// Changes attributes of what is mounted at a path.
///
/// # Errors
/// The errno of the call that failed; EINVAL when nothing is mounted there.
pub fn remount(root: i32, target: &[u8], recursive: bool, set: u64, clear: u64) -> Result<()> {
    let fd = sys::open_in_root(root, target, sys::O_PATH)?;
    let result = change(fd, recursive, set, clear);
    sys::close(fd);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locked_attributes_stay() {
        let there = sys::MOUNT_ATTR_NODEV | sys::MOUNT_ATTR_NOSUID | sys::MOUNT_ATTR_NOATIME;
        let clear = sys::MOUNT_ATTR_NODEV | sys::MOUNT_ATTR_NOEXEC | sys::MOUNT_ATTR_ATIME;
        let (set, clear) = without_locked(sys::MOUNT_ATTR_RDONLY | sys::MOUNT_ATTR_STRICTATIME, clear, there);
        assert_eq!((set, clear), (sys::MOUNT_ATTR_RDONLY, sys::MOUNT_ATTR_NOEXEC));
    }
}
