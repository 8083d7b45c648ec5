//! What of the kernel's file systems a container does not see, or may not write: masked and read-only paths of the
//! runtime specification (config-linux.md). Paths are found inside the root; what covers is verified before it does.

use cais_plan::Strings;

use crate::mounts::new_filesystem;
use crate::sys::{self, Result};

/// Number of /dev/null.
pub const NULL_DEVICE: u64 = 0x103;

/// The empty read-only directory that covers masked ones. One file system serves all: making one costs several times
/// as much as cloning its mount.
pub struct Cover {
    first: i32,
}

impl Default for Cover {
    fn default() -> Cover {
        Cover { first: -1 }
    }
}

impl Cover {
    /// A mount to attach; it is to be closed then, but the first one must stay open.
    fn mount(&mut self) -> Result<i32> {
        if self.first >= 0
            && let Ok(tree) = sys::open_tree(self.first, c"".to_bytes(), false)
        {
            return Ok(tree);
        }
        let tree = new_filesystem(
            c"tmpfs".to_bytes(),
            c"tmpfs".to_bytes(),
            Strings(b"size=0\0nr_inodes=1\0mode=755\0"),
            sys::MOUNT_ATTR_RDONLY | sys::MOUNT_ATTR_NOSUID | sys::MOUNT_ATTR_NODEV | sys::MOUNT_ATTR_NOEXEC,
        )?;
        if self.first < 0 {
            self.first = tree;
        }
        Ok(tree)
    }
}

/// Hides a path: a directory beneath an empty read-only tmpfs, anything else beneath /dev/null.
///
/// # Errors
/// The errno of the call that failed; a missing path is no error.
pub fn mask(root: i32, path: &[u8], cover: &mut Cover) -> Result<()> {
    let target = match sys::open_in_root(root, path, sys::O_PATH) {
        Err(sys::ENOENT | sys::ENOTDIR) => return Ok(()),
        other => other?,
    };
    let made = if sys::fstat(target)?.is_dir() { cover.mount() } else { null_device(root) };
    let result = made.and_then(|tree| {
        let moved = sys::move_mount_to(tree, target);
        if tree != cover.first {
            sys::close(tree);
        }
        moved
    });
    sys::close(target);
    result
}

/// A detached mount of the container's /dev/null. Verified on the descriptor that is cloned: what covers is the null
/// device and nothing that anybody put in its place (CVE-2025-31133).
fn null_device(root: i32) -> Result<i32> {
    let null = sys::open_in_root(root, c"dev/null".to_bytes(), sys::O_PATH)?;
    let tree = match sys::fstat(null) {
        Ok(stat) if stat.kind() == sys::S_IFCHR && stat.device == NULL_DEVICE => {
            sys::open_tree(null, c"".to_bytes(), false)
        }
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
