//! The root of the container: taken, entered by pivot_root(2), or moved over `/` where that is impossible.

use cais_plan::Str;

use crate::child::{Child, plain};
use crate::mounts::{self, Failure};
use crate::procfs;
use crate::sys;

/// Longest path.
const PATH: usize = 4096;

impl<'a> Child<'a> {
    pub(crate) fn bind_root(&mut self, at: Str<'a>, source: Str<'a>) -> Result<(), Failure> {
        let tree = plain(sys::open_tree(sys::AT_FDCWD, source.0, true))?;
        plain(sys::mount_setattr(tree, true, 0, sys::MS_PRIVATE))?;
        self.root = plain(mounts::attach_root(tree, at.0))?;
        Ok(())
    }

    /// The directory mounted over itself. `parent` and `propagation` are `MS_*`, 0 = leave.
    pub(crate) fn take_root(&mut self, path: Str<'a>, parent: u64, propagation: u64) -> sys::Result<()> {
        if parent != 0 {
            change_holder(path.0, parent as usize)?;
        }
        let tree = sys::open_tree(sys::AT_FDCWD, path.0, true)?;
        let recursive = propagation & sys::MS_REC as u64 != 0;
        let propagation = propagation & !(sys::MS_REC as u64);
        if propagation != 0 {
            sys::mount_setattr(tree, recursive, 0, propagation)?;
        }
        self.root = mounts::attach_root(tree, path.0)?;
        self.rootfs = path.0;
        Ok(())
    }

    /// Without a mount namespace.
    pub(crate) fn chroot(&mut self) -> sys::Result<()> {
        sys::fchdir(self.root)?;
        sys::chroot(c".".to_bytes())?;
        sys::chdir(c"/".to_bytes())?;
        self.entered = true;
        Ok(())
    }

    /// pivot_root(".", "."): the old root ends up beneath the new one at the same place, and is detached from there.
    pub(crate) fn pivot(&mut self) -> sys::Result<()> {
        let dot = c".".to_bytes();
        let old = if self.bundle { sys::open(c"/".to_bytes(), sys::O_PATH | sys::O_DIRECTORY)? } else { -1 };
        sys::fchdir(self.root)?;
        sys::pivot_root(dot, dot)?;
        if self.bundle {
            // A root that was asked to be shared must not take the host's mounts away.
            let none = c"".to_bytes();
            sys::fchdir(old)?;
            sys::mount(none, dot, none, sys::MS_SLAVE | sys::MS_REC, none)?;
            sys::close(old);
        }
        sys::umount(dot, sys::MNT_DETACH)?;
        sys::chdir(c"/".to_bytes())?;
        self.entered = true;
        Ok(())
    }

    /// The container's root over `/`. The host's mounts stay reachable for who knows how, so those are taken away
    /// whose presence would let the container mount procfs and sysfs without the masks.
    pub(crate) fn move_root(&mut self) -> Result<(), Failure> {
        let root = self.root()?;
        self.uncover_kernel()?;
        let (dot, none) = (c".".to_bytes(), c"".to_bytes());
        plain(sys::fchdir(root))?;
        plain(sys::mount(dot, c"/".to_bytes(), none, sys::MS_MOVE, none))?;
        plain(sys::chroot(dot).and_then(|()| sys::chdir(c"/".to_bytes())))?;
        self.entered = true;
        Ok(())
    }

    /// Detaches every whole procfs and sysfs outside the container's root, or covers it.
    fn uncover_kernel(&mut self) -> Result<(), Failure> {
        let proc = self.proc()?;
        let file = procfs::open_file(proc, c"self/mountinfo".to_bytes(), sys::O_RDONLY)?;
        let memory = plain(sys::map_bytes(1 << 20))?;
        let mut used = 0;
        while let Ok(got @ 1..) = sys::read(file, &mut memory[used..]) {
            used += got;
        }
        sys::close(file);
        for line in memory[..used].split(|b| *b == b'\n') {
            let mut path = [0_u8; PATH];
            if let Some(length) = kernel_mount(line, &mut path)
                && !is_beneath(&path[..length], self.rootfs)
            {
                plain(detach(&path[..length]))?;
            }
        }
        Ok(())
    }
}

/// Propagation of the mount that holds `path`: pivot_root(2) wants it not shared, and the host must not see the
/// container's mounts.
fn change_holder(path: &[u8], flags: usize) -> sys::Result<()> {
    let none = c"".to_bytes();
    let mut prefix = [0_u8; PATH];
    if path.len() >= PATH {
        return Err(sys::ENAMETOOLONG);
    }
    prefix[..path.len()].copy_from_slice(path);
    let mut length = path.len();
    loop {
        let at: &[u8] = if length == 0 { c"/".to_bytes() } else { &prefix[..length] };
        match sys::mount(none, at, none, flags, none) {
            // Not a mount point: the one that holds it is further up.
            Err(sys::EINVAL) if length > 0 => {}
            other => return other,
        }
        let slash = prefix[..length].iter().rposition(|b| *b == b'/').unwrap_or(0);
        prefix[slash..length].fill(0);
        length = slash;
    }
}

/// The mount point of a line of mountinfo, when it is a whole procfs or sysfs.
fn kernel_mount(line: &[u8], path: &mut [u8; PATH]) -> Option<usize> {
    let mut fields = line.split(|b| *b == b' ');
    let root = fields.nth(3)?;
    let point = fields.next()?;
    let fstype = fields.skip_while(|field| *field != b"-").nth(1)?;
    if root != b"/" || (fstype != b"proc" && fstype != b"sysfs") {
        return None;
    }
    // Blanks and the like are written as a backslash and three octal digits.
    let (mut from, mut to) = (0, 0);
    while from < point.len() && to < PATH - 1 {
        if point[from] == b'\\' && from + 3 < point.len() {
            path[to] =
                point[from + 1..from + 4].iter().fold(0, |byte: u8, digit| byte << 3 | (digit - b'0') & 7);
            from += 4;
        } else {
            path[to] = point[from];
            from += 1;
        }
        to += 1;
    }
    Some(to)
}

fn is_beneath(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

fn detach(path: &[u8]) -> sys::Result<()> {
    let none = c"".to_bytes();
    match sys::mount(none, path, none, sys::MS_SLAVE | sys::MS_REC, none) {
        Ok(()) => {}
        // Gone with another one, or covered.
        Err(sys::ENOENT | sys::EINVAL) => return Ok(()),
        Err(errno) => return Err(errno),
    }
    match sys::umount(path, sys::MNT_DETACH) {
        Err(sys::EINVAL | sys::EPERM) => {
            let tmpfs = c"tmpfs".to_bytes();
            sys::mount(tmpfs, path, tmpfs, 0, none)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_kernel_file_systems() {
        let mut path = [0; PATH];
        let mut point = |line: &[u8]| kernel_mount(line, &mut path).map(|n| path[..n].to_vec());
        let line = b"22 1 0:20 / /proc\\040x rw,nosuid shared:5 master:1 - proc proc rw";
        assert_eq!(point(line), Some(b"/proc x".to_vec()));
        assert_eq!(point(b"22 1 0:20 /sys /proc/sys rw - proc proc rw"), None, "a part of it");
        assert_eq!(point(b"23 1 0:21 / /sys rw - sysfs sysfs rw"), Some(b"/sys".to_vec()));
        assert_eq!(point(b"24 1 8:1 / / rw - ext4 /dev/sda rw"), None);
        assert_eq!(point(b""), None);
    }

    #[test]
    fn beneath() {
        assert!(is_beneath(b"/a/b", b"/a"));
        assert!(is_beneath(b"/a", b"/a"));
        assert!(!is_beneath(b"/ab", b"/a"));
    }
}
