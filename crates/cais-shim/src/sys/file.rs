//! Files and directories, by descriptor.

use super::*;

pub const AT_FDCWD: i32 = -100;
pub const O_RDONLY: u32 = 0;
pub const O_WRONLY: u32 = 1;
pub const O_RDWR: u32 = 2;
pub const O_CREAT: u32 = 0o100;
pub const O_EXCL: u32 = 0o200;
pub const O_NOCTTY: u32 = 0o400;
pub const O_TRUNC: u32 = 0o1000;
pub const O_APPEND: u32 = 0o2000;
pub const O_NONBLOCK: u32 = 0o4000;
#[cfg(target_arch = "x86_64")]
pub const O_DIRECTORY: u32 = 0o200_000;
#[cfg(target_arch = "aarch64")]
pub const O_DIRECTORY: u32 = 0o40_000;
#[cfg(target_arch = "x86_64")]
pub const O_NOFOLLOW: u32 = 0o400_000;
#[cfg(target_arch = "aarch64")]
pub const O_NOFOLLOW: u32 = 0o100_000;
pub const O_PATH: u32 = 0o10_000_000;
pub const O_CLOEXEC: u32 = 0o2_000_000;

pub fn read(fd: i32, buf: &mut [u8]) -> Result<usize> {
    call!(nr::READ, fd, buf.as_mut_ptr(), buf.len())
}
pub fn write(fd: i32, buf: &[u8]) -> Result<usize> {
    call!(nr::WRITE, fd, buf.as_ptr(), buf.len())
}
pub fn pread(fd: i32, buf: &mut [u8], offset: u64) -> Result<usize> {
    call!(nr::PREAD64, fd, buf.as_mut_ptr(), buf.len(), offset)
}
/// Writes everything, also over short writes and interruptions.
pub fn write_all(fd: i32, mut buf: &[u8]) -> Result<()> {
    while !buf.is_empty() {
        match write(fd, buf) {
            Ok(0) => return Err(EIO),
            Ok(n) => buf = &buf[n..],
            Err(EINTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
pub fn close(fd: i32) {
    let _ = call!(nr::CLOSE, fd);
}
pub fn open(path: &[u8], flags: u32) -> Result<i32> {
    call!(nr::OPENAT, AT_FDCWD, p(path), flags | O_CLOEXEC, 0).map(|fd| fd as i32)
}
pub fn openat(dir: i32, path: &[u8], flags: u32, mode: u32) -> Result<i32> {
    call!(nr::OPENAT, dir, p(path), flags | O_CLOEXEC, mode).map(|fd| fd as i32)
}

#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}
pub const RESOLVE_NO_XDEV: u64 = 0x01;
pub const RESOLVE_NO_MAGICLINKS: u64 = 0x02;
pub const RESOLVE_NO_SYMLINKS: u64 = 0x04;
pub const RESOLVE_BENEATH: u64 = 0x08;
pub const RESOLVE_IN_ROOT: u64 = 0x10;

/// openat2(2) inside `root`: symbolic links and `..` never leave it. Retries when a rename raced the lookup.
pub fn open_in_root(root: i32, path: &[u8], flags: u32) -> Result<i32> {
    openat2(root, path, flags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
}

/// openat2(2), close-on-exec.
pub fn openat2(dir: i32, path: &[u8], flags: u32, resolve: u64) -> Result<i32> {
    let how = OpenHow { flags: u64::from(flags | O_CLOEXEC), mode: 0, resolve };
    let mut tries = 0;
    loop {
        match call!(OPENAT2, dir, p(path), &raw const how, size_of::<OpenHow>()) {
            Err(EAGAIN) if tries < 128 => tries += 1,
            Err(EINTR) => {}
            other => return other.map(|fd| fd as i32),
        }
    }
}

pub fn mkdirat(dir: i32, path: &[u8], mode: u32) -> Result<()> {
    call!(nr::MKDIRAT, dir, p(path), mode).map(drop)
}
pub fn mknodat(dir: i32, path: &[u8], mode: u32, device: u64) -> Result<()> {
    call!(nr::MKNODAT, dir, p(path), mode, device).map(drop)
}
pub fn fchownat(dir: i32, path: &[u8], uid: u32, gid: u32) -> Result<()> {
    const AT_SYMLINK_NOFOLLOW: u32 = 0x100;
    call!(nr::FCHOWNAT, dir, p(path), uid, gid, AT_SYMLINK_NOFOLLOW).map(drop)
}
pub fn chmodat(dir: i32, path: &[u8], mode: u32) -> Result<()> {
    call!(nr::FCHMODAT, dir, p(path), mode).map(drop)
}
/// `/proc/self/fd/N` with a NUL, and its length without.
#[must_use]
pub fn descriptor_path(fd: i32) -> ([u8; 25], usize) {
    let mut path = *b"/proc/self/fd/0000000000\0";
    let (mut rest, mut first) = (fd, path.len() - 1);
    while rest > 0 || first == path.len() - 1 {
        first -= 1;
        path[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    path.copy_within(first.., 14);
    (path, 14 + path.len() - 1 - first)
}
/// Of what is open as O_PATH. Before Linux 6.6 by way of /proc.
pub fn chmod_by_path(fd: i32, mode: u32) -> Result<()> {
    const AT_EMPTY_PATH: u32 = 0x1000;
    match call!(FCHMODAT2, fd, c"".as_ptr(), mode, AT_EMPTY_PATH) {
        Err(ENOSYS) => {
            let (path, length) = descriptor_path(fd);
            chmodat(AT_FDCWD, &path[..length], mode)
        }
        other => other.map(drop),
    }
}
pub fn fchown(fd: i32, uid: u32, gid: u32) -> Result<()> {
    const AT_EMPTY_PATH: u32 = 0x1000;
    call!(nr::FCHOWNAT, fd, c"".as_ptr(), uid, gid, AT_EMPTY_PATH).map(drop)
}
pub fn unlinkat(dir: i32, path: &[u8]) -> Result<()> {
    call!(nr::UNLINKAT, dir, p(path), 0).map(drop)
}
pub fn renameat(dir: i32, from: &[u8], to: &[u8]) -> Result<()> {
    call!(nr::RENAMEAT, dir, p(from), dir, p(to)).map(drop)
}
pub fn symlinkat(content: &[u8], dir: i32, path: &[u8]) -> Result<()> {
    call!(nr::SYMLINKAT, p(content), dir, p(path)).map(drop)
}
/// Makes a further name for an open file; needs CAP_DAC_READ_SEARCH.
pub fn link(file: i32, dir: i32, path: &[u8]) -> Result<()> {
    const AT_EMPTY_PATH: u32 = 0x1000;
    call!(nr::LINKAT, file, c"".as_ptr(), dir, p(path), AT_EMPTY_PATH).map(drop)
}
pub fn readlinkat(dir: i32, path: &[u8], buffer: &mut [u8]) -> Result<usize> {
    call!(nr::READLINKAT, dir, p(path), buffer.as_mut_ptr(), buffer.len())
}
pub fn fchmod(fd: i32, mode: u32) -> Result<()> {
    call!(nr::FCHMOD, fd, mode).map(drop)
}
/// Entries of a directory, as many as fit; 0 at the end.
pub fn getdents(fd: i32, buffer: &mut [u64]) -> Result<usize> {
    call!(nr::GETDENTS64, fd, buffer.as_mut_ptr(), buffer.len() * 8)
}
pub fn flistxattr(fd: i32, buffer: &mut [u8]) -> Result<usize> {
    call!(nr::FLISTXATTR, fd, buffer.as_mut_ptr(), buffer.len())
}
pub fn fgetxattr(fd: i32, name: &[u8], buffer: &mut [u8]) -> Result<usize> {
    call!(nr::FGETXATTR, fd, p(name), buffer.as_mut_ptr(), buffer.len())
}
pub fn fsetxattr(fd: i32, name: &[u8], value: &[u8]) -> Result<()> {
    call!(nr::FSETXATTR, fd, p(name), value.as_ptr(), value.len(), 0).map(drop)
}
/// Whether the effective user may execute what is open; kernels before 5.8 know only the real user.
pub fn may_execute(fd: i32, path: &[u8]) -> Result<()> {
    const X_OK: u32 = 1;
    const AT_EACCESS: u32 = 0x200;
    const AT_EMPTY_PATH: u32 = 0x1000;
    match call!(FACCESSAT2, fd, c"".as_ptr(), X_OK, AT_EACCESS | AT_EMPTY_PATH) {
        Err(ENOSYS) => call!(nr::FACCESSAT, AT_FDCWD, p(path), X_OK).map(drop),
        other => other.map(drop),
    }
}
/// Sets the umask; gives the one before.
pub fn umask(mode: u32) -> u32 {
    call!(nr::UMASK, mode).unwrap_or(0) as u32
}
/// A file in memory, close-on-exec.
pub fn memfd(name: &[u8]) -> Result<i32> {
    const CLOEXEC: u32 = 1;
    // Linux ≥ 6.3, where a sysctl may demand it; older kernels refuse the flag.
    const NOEXEC_SEAL: u32 = 8;
    call!(nr::MEMFD_CREATE, p(name), CLOEXEC | NOEXEC_SEAL)
        .or_else(|_| call!(nr::MEMFD_CREATE, p(name), CLOEXEC))
        .map(|fd| fd as i32)
}
/// Moves to an offset from the start.
pub fn seek(fd: i32, offset: u64) -> Result<()> {
    call!(nr::LSEEK, fd, offset, 0).map(drop)
}
/// Length of a file, by going to its end.
pub fn seek_end(fd: i32) -> Result<usize> {
    call!(nr::LSEEK, fd, 0, 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_as_paths() {
        for (fd, expected) in [
            (0, b"/proc/self/fd/0\0".as_slice()),
            (7, b"/proc/self/fd/7\0"),
            (1203, b"/proc/self/fd/1203\0"),
            (i32::MAX, b"/proc/self/fd/2147483647\0"),
        ] {
            let (path, length) = descriptor_path(fd);
            assert_eq!(&path[..=length], expected);
        }
    }
}
