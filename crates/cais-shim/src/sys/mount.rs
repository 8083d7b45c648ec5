//! Mounts, the old calls and the new, and what a descriptor says of its file system.

use super::*;

pub const MS_BIND: usize = 4096;
pub const MS_REC: usize = 16384;
pub const MS_MOVE: usize = 8192;
pub const MS_PRIVATE: u64 = 1 << 18;
pub const MS_SLAVE: usize = 1 << 19;
pub const MNT_DETACH: usize = 2;

pub fn mount(source: &[u8], target: &[u8], fstype: &[u8], flags: usize, data: &[u8]) -> Result<()> {
    call!(nr::MOUNT, p(source), p(target), p(fstype), flags, p(data)).map(drop)
}
pub fn umount(target: &[u8], flags: usize) -> Result<()> {
    call!(nr::UMOUNT2, p(target), flags).map(drop)
}
pub fn pivot_root(new: &[u8], old: &[u8]) -> Result<()> {
    call!(nr::PIVOT_ROOT, p(new), p(old)).map(drop)
}

pub const MOUNT_ATTR_RDONLY: u64 = 1;
pub const MOUNT_ATTR_NOSUID: u64 = 2;
pub const MOUNT_ATTR_NODEV: u64 = 4;
pub const MOUNT_ATTR_NOEXEC: u64 = 8;
/// All the ways of keeping access times: one field.
pub const MOUNT_ATTR_ATIME: u64 = 0x70;
pub const MOUNT_ATTR_NOATIME: u64 = 0x10;
pub const MOUNT_ATTR_STRICTATIME: u64 = 0x20;
pub const MOUNT_ATTR_NODIRATIME: u64 = 0x80;
pub const MOUNT_ATTR_IDMAP: u64 = 0x10_0000;
pub const MOUNT_ATTR_NOSYMFOLLOW: u64 = 0x20_0000;

pub fn fsopen(fstype: &[u8]) -> Result<i32> {
    call!(FSOPEN, p(fstype), 1).map(|fd| fd as i32)
}
pub fn fsconfig_string(fs: i32, key: &[u8], value: &[u8]) -> Result<()> {
    call!(FSCONFIG, fs, 1, p(key), p(value), 0).map(drop)
}
pub fn fsconfig_flag(fs: i32, key: &[u8]) -> Result<()> {
    call!(FSCONFIG, fs, 0, p(key), 0, 0).map(drop)
}
pub fn fspick(mounted: i32) -> Result<i32> {
    // FSPICK_CLOEXEC | FSPICK_EMPTY_PATH
    call!(FSPICK, mounted, p(c"".to_bytes()), 1 | 8).map(|fd| fd as i32)
}
pub fn fsconfig_reconfigure(fs: i32) -> Result<()> {
    call!(FSCONFIG, fs, 7, 0, 0, 0).map(drop)
}
pub fn fsconfig_create(fs: i32) -> Result<()> {
    call!(FSCONFIG, fs, 6, 0, 0, 0).map(drop)
}
pub fn fsmount(fs: i32, attributes: u64) -> Result<i32> {
    call!(FSMOUNT, fs, 1, attributes).map(|fd| fd as i32)
}
/// Clones the mount (tree) at `path` into a detached one.
pub fn open_tree(dir: i32, path: &[u8], recursive: bool) -> Result<i32> {
    const OPEN_TREE_CLONE: u32 = 1;
    const AT_RECURSIVE: u32 = 0x8000;
    const AT_EMPTY_PATH: u32 = 0x1000;
    let mut flags = OPEN_TREE_CLONE | O_CLOEXEC | AT_EMPTY_PATH;
    if recursive {
        flags |= AT_RECURSIVE;
    }
    call!(OPEN_TREE, dir, p(path), flags).map(|fd| fd as i32)
}
/// Attaches the detached mount `from` at the opened `target`.
pub fn move_mount_to(from: i32, target: i32) -> Result<()> {
    const F_EMPTY_PATH: u32 = 0x4;
    const T_EMPTY_PATH: u32 = 0x40;
    call!(MOVE_MOUNT, from, c"".as_ptr(), target, c"".as_ptr(), F_EMPTY_PATH | T_EMPTY_PATH).map(drop)
}
/// What mount_setattr(2) is asked for.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct MountAttr {
    /// `MOUNT_ATTR_*`.
    pub set: u64,
    /// `MOUNT_ATTR_*`.
    pub clear: u64,
    /// `MS_PRIVATE` and its like, 0 = leave.
    pub propagation: u64,
    /// For `MOUNT_ATTR_IDMAP`.
    pub userns_fd: u64,
}
pub fn mount_setattr(fd: i32, recursive: bool, set: u64, propagation: u64) -> Result<()> {
    change_mount(fd, recursive, MountAttr { set, propagation, ..MountAttr::default() })
}
pub fn change_mount(fd: i32, recursive: bool, attr: MountAttr) -> Result<()> {
    const AT_RECURSIVE: u32 = 0x8000;
    const AT_EMPTY_PATH: u32 = 0x1000;
    let flags = AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    call!(MOUNT_SETATTR, fd, c"".as_ptr(), flags, &raw const attr, size_of::<MountAttr>()).map(drop)
}

/// What the kernel says of a file, as far as we look.
#[derive(Clone, Copy)]
pub struct Stat {
    pub mode: u32,
    /// Number of a device node.
    pub device: u64,
    pub uid: u32,
    pub gid: u32,
    pub links: u32,
    /// Where it is: file system and number in it.
    pub place: (u64, u64),
}
impl Stat {
    #[must_use]
    pub fn is_dir(self) -> bool {
        self.kind() == S_IFDIR
    }
    #[must_use]
    pub fn is_regular(self) -> bool {
        self.kind() == S_IFREG
    }
    /// `S_IF*`.
    #[must_use]
    pub fn kind(self) -> u32 {
        self.mode & 0o170_000
    }
}
pub const S_IFCHR: u32 = 0o020_000;
pub const S_IFBLK: u32 = 0o060_000;
pub const S_IFDIR: u32 = 0o040_000;
pub const S_IFREG: u32 = 0o100_000;
pub const S_IFLNK: u32 = 0o120_000;

/// struct stat is 144 bytes on x86_64, 128 on arm64.
fn read_stat(raw: &[u64; 18]) -> Stat {
    let (low, high) = (|word: u64| (word & 0xffff_ffff) as u32, |word: u64| (word >> 32) as u32);
    let place = (raw[0], raw[1]);
    #[cfg(target_arch = "x86_64")]
    return Stat {
        mode: low(raw[3]),
        device: raw[5],
        uid: high(raw[3]),
        gid: low(raw[4]),
        links: low(raw[2]),
        place,
    };
    #[cfg(target_arch = "aarch64")]
    return Stat {
        mode: low(raw[2]),
        device: raw[4],
        uid: low(raw[3]),
        gid: high(raw[3]),
        links: high(raw[2]),
        place,
    };
}
pub fn fstat(fd: i32) -> Result<Stat> {
    let mut raw = [0_u64; 18];
    call!(nr::FSTAT, fd, raw.as_mut_ptr())?;
    Ok(read_stat(&raw))
}
/// Of a directory's entry itself, never of what a link points to.
pub fn fstatat(dir: i32, name: &[u8]) -> Result<Stat> {
    const AT_SYMLINK_NOFOLLOW: u32 = 0x100;
    let mut raw = [0_u64; 18];
    call!(nr::NEWFSTATAT, dir, p(name), raw.as_mut_ptr(), AT_SYMLINK_NOFOLLOW)?;
    Ok(read_stat(&raw))
}
/// `f_type` of the file system that holds `fd`.
pub fn fs_magic(fd: i32) -> Result<u64> {
    let mut raw = [0_u64; 16];
    call!(nr::FSTATFS, fd, raw.as_mut_ptr())?;
    Ok(raw[0])
}
pub const PROC_SUPER_MAGIC: u64 = 0x9fa0;
/// Mount options of `fd` that mount_setattr(2) knows, as `MOUNT_ATTR_*`.
pub fn mount_attributes(fd: i32) -> Result<u64> {
    let mut raw = [0_u64; 16];
    call!(nr::FSTATFS, fd, raw.as_mut_ptr())?;
    // f_flags is the 11th word; ST_RDONLY, ST_NOSUID, ST_NODEV and ST_NOEXEC have the same numbers there.
    let flags = raw[10];
    let atime = if flags & 0x400 != 0 { MOUNT_ATTR_NOATIME } else { 0 };
    let directories = if flags & 0x800 != 0 { MOUNT_ATTR_NODIRATIME } else { 0 };
    Ok(flags & 0xf | atime | directories)
}
