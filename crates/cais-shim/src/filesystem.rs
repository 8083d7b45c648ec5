//! The step `Filesystem`: a new file system with everything that config-linux of the runtime specification can ask of
//! one. Detached until it is complete; where the kernel wants mount(2) (long or odd options), mounted by it.

use cais_plan::wire::detail;
use cais_plan::{Str, Strings};

use crate::copy;
use crate::mounts::{self, Failure};
use crate::sys::{self, MountAttr, Result};

/// The fields of the step.
#[derive(Clone, Copy)]
pub struct Filesystem<'a> {
    /// Type.
    pub fstype: Str<'a>,
    /// Shown as source, or the device.
    pub source: Str<'a>,
    /// Path in the container.
    pub target: Str<'a>,
    /// `MOUNT_ATTR_*`.
    pub attributes: u64,
    /// `key=value` and flags.
    pub options: Strings<'a>,
    /// `MS_*`, 0 = leave.
    pub propagation: u64,
    /// Maps the owners, or -1.
    pub userns_fd: i32,
    /// Begins with what the target holds.
    pub copy_up: bool,
}

fn plain<T>(result: Result<T>) -> core::result::Result<T, Failure> {
    result.map_err(|e| (e, detail::NONE))
}

/// Mounts it.
///
/// # Errors
/// `BAD_TARGET`, or the errno of the call that failed.
pub fn mount(root: i32, what: Filesystem<'_>) -> core::result::Result<(), Failure> {
    // A tmpfs takes over the permissions of the directory that it covers, but only of one that was there.
    let before = match what.fstype.0 {
        b"tmpfs" => sys::open_in_root(root, what.target.0, sys::O_RDONLY | sys::O_DIRECTORY).unwrap_or(-1),
        _ => -1,
    };
    let target = match what.fstype.0 {
        b"proc" | b"sysfs" => mounts::open_plain(root, what.target.0, true),
        _ => mounts::open_planned(root, what.target.0, true),
    };
    let result = target.and_then(|at| {
        let done = mount_at(root, at, before, what);
        sys::close(at);
        done
    });
    sys::close(before);
    result
}

fn mount_at(root: i32, at: i32, before: i32, what: Filesystem<'_>) -> core::result::Result<(), Failure> {
    let first = what.attributes & !sys::MOUNT_ATTR_RDONLY;
    let made = match sys::fstat(before) {
        Ok(stat) if what.fstype.0 == b"tmpfs" => {
            mounts::new_tmpfs(stat.mode & 0o7777, what.source.0, what.options, first)
        }
        _ => mounts::new_filesystem(what.fstype.0, what.source.0, what.options, first),
    };
    let (tree, attached) = match made {
        Ok(tree) => (tree, false),
        Err(errno @ (sys::EINVAL | sys::ENOSYS | sys::E2BIG)) => {
            // What only a detached mount can do is not tried again.
            if what.userns_fd >= 0 {
                return Err((errno, detail::NONE));
            }
            (plain(mount_by_name(root, at, what))?, true)
        }
        Err(errno) => return Err((errno, detail::NONE)),
    };
    let result = complete(tree, before, what)
        .and_then(|()| if attached { Ok(()) } else { plain(sys::move_mount_to(tree, at)) });
    sys::close(tree);
    result
}

/// All that comes between the making and the attaching.
fn complete(tree: i32, before: i32, what: Filesystem<'_>) -> core::result::Result<(), Failure> {
    if what.fstype.0 == b"tmpfs" && before >= 0 {
        plain(take_over(tree, before, what))?;
    }
    if what.userns_fd >= 0 {
        let attr = MountAttr {
            set: sys::MOUNT_ATTR_IDMAP,
            userns_fd: what.userns_fd as u64,
            ..MountAttr::default()
        };
        plain(sys::change_mount(tree, false, attr))?;
    }
    let set = what.attributes & sys::MOUNT_ATTR_RDONLY;
    if set != 0 || what.propagation != 0 {
        plain(sys::mount_setattr(tree, false, set, what.propagation))?;
    }
    Ok(())
}

/// The directory's mode, and with `copy_up` its owner and content.
fn take_over(tree: i32, before: i32, what: Filesystem<'_>) -> Result<()> {
    let has = |key: &[u8]| what.options.iter().any(|option| option.starts_with(key));
    let stat = sys::fstat(before)?;
    if what.copy_up {
        if !has(b"uid=") && !has(b"gid=") {
            sys::fchown(tree, stat.uid, stat.gid)?;
        }
        copy::directory(before, tree)?;
    }
    if !has(b"mode=") {
        sys::chmodat(tree, c".".to_bytes(), stat.mode & 0o7777)?;
    }
    Ok(())
}

/// mount(2) onto an open directory, by way of the working directory; gives the new mount. For options that are too
/// long for fsconfig(2), which takes 255 bytes each, or that hold commas.
fn mount_by_name(root: i32, at: i32, what: Filesystem<'_>) -> Result<i32> {
    let mut data = mounts::Page::new();
    let mut before: &[u8] = b"";
    for option in what.options.iter() {
        data.put(before)?;
        data.put(option)?;
        before = b",";
    }
    let dot = c".".to_bytes();
    let old = sys::open(dot, sys::O_PATH | sys::O_DIRECTORY)?;
    let mounted = sys::fchdir(at)
        .and_then(|()| {
            let flags = mount_flags(what.attributes & !sys::MOUNT_ATTR_RDONLY);
            sys::mount(what.source.0, dot, what.fstype.0, flags, data.text())
        })
        .and_then(|()| sys::open_in_root(root, what.target.0, sys::O_PATH | sys::O_DIRECTORY));
    let back = sys::fchdir(old);
    sys::close(old);
    let mounted = mounted?;
    back?;
    Ok(mounted)
}

/// `MOUNT_ATTR_*` as `MS_*`.
fn mount_flags(attributes: u64) -> usize {
    const PAIRS: [(u64, usize); 6] = [
        (sys::MOUNT_ATTR_NOSUID, 2),
        (sys::MOUNT_ATTR_NODEV, 4),
        (sys::MOUNT_ATTR_NOEXEC, 8),
        (sys::MOUNT_ATTR_NODIRATIME, 2048),
        (sys::MOUNT_ATTR_STRICTATIME, 1 << 24),
        (sys::MOUNT_ATTR_NOSYMFOLLOW, 256),
    ];
    let mut flags =
        PAIRS.iter().filter(|(attr, _)| attributes & attr != 0).fold(0, |flags, (_, flag)| flags | flag);
    if attributes & sys::MOUNT_ATTR_ATIME == sys::MOUNT_ATTR_NOATIME {
        flags |= 1024;
    }
    flags
}
