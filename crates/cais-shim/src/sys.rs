//! System calls without libc. Each wrapper returns the kernel's answer or the errno.
//!
//! Numbers are those of the target's ABI; pointers handed over must live for the call, which the wrappers ensure by
//! taking references.

#![allow(missing_docs)]

use core::arch::asm;
use core::sync::atomic::AtomicUsize;

/// An errno.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Errno(pub i32);

pub type Result<T> = core::result::Result<T, Errno>;

pub const EPERM: Errno = Errno(1);
pub const ENOENT: Errno = Errno(2);
pub const EINTR: Errno = Errno(4);
pub const EIO: Errno = Errno(5);
pub const EACCES: Errno = Errno(13);
pub const EEXIST: Errno = Errno(17);
pub const ENOTDIR: Errno = Errno(20);
pub const EINVAL: Errno = Errno(22);
pub const EAGAIN: Errno = Errno(11);
pub const ELOOP: Errno = Errno(40);
pub const ENOSYS: Errno = Errno(38);
pub const E2BIG: Errno = Errno(7);
pub const ENOMEM: Errno = Errno(12);
pub const ENAMETOOLONG: Errno = Errno(36);
pub const EXDEV: Errno = Errno(18);
pub const ECONNABORTED: Errno = Errno(103);
pub const ETIMEDOUT: Errno = Errno(110);

#[cfg(target_arch = "x86_64")]
mod nr {
    pub const READ: usize = 0;
    pub const WRITE: usize = 1;
    pub const CLOSE: usize = 3;
    pub const PPOLL: usize = 271;
    pub const MMAP: usize = 9;
    pub const RT_SIGACTION: usize = 13;
    pub const RT_SIGPROCMASK: usize = 14;
    pub const IOCTL: usize = 16;
    pub const PREAD64: usize = 17;
    pub const SOCKET: usize = 41;
    pub const SENDMSG: usize = 46;
    pub const RECVMSG: usize = 47;
    pub const RECVFROM: usize = 45;
    pub const SOCKETPAIR: usize = 53;
    pub const ACCEPT4: usize = 288;
    pub const CLONE: usize = 56;
    pub const EXECVE: usize = 59;
    pub const EXIT_GROUP: usize = 231;
    pub const WAIT4: usize = 61;
    pub const KILL: usize = 62;
    pub const FCNTL: usize = 72;
    pub const FCHDIR: usize = 81;
    pub const CHDIR: usize = 80;
    pub const GETPID: usize = 39;
    pub const SETSID: usize = 112;
    pub const SETGROUPS: usize = 116;
    pub const SETRESUID: usize = 117;
    pub const SETRESGID: usize = 119;
    pub const CAPSET: usize = 126;
    pub const RT_SIGTIMEDWAIT: usize = 128;
    pub const PIVOT_ROOT: usize = 155;
    pub const PRCTL: usize = 157;
    pub const MOUNT: usize = 165;
    pub const UMOUNT2: usize = 166;
    pub const SETHOSTNAME: usize = 170;
    pub const SETDOMAINNAME: usize = 171;
    pub const CLOCK_GETTIME: usize = 228;
    pub const OPENAT: usize = 257;
    pub const MKDIRAT: usize = 258;
    pub const MKNODAT: usize = 259;
    pub const FCHOWNAT: usize = 260;
    pub const UNLINKAT: usize = 263;
    pub const RENAMEAT: usize = 264;
    pub const SYMLINKAT: usize = 266;
    pub const FCHMODAT: usize = 268;
    pub const UNSHARE: usize = 272;
    pub const DUP3: usize = 292;
    pub const PIPE2: usize = 293;
    pub const PRLIMIT64: usize = 302;
    pub const SETNS: usize = 308;
    pub const SECCOMP: usize = 317;
    pub const FSTAT: usize = 5;
    pub const FSTATFS: usize = 138;
    pub const CHROOT: usize = 161;
    pub const EXIT: usize = 60;
    pub const FACCESSAT: usize = 269;
    pub const FCHMOD: usize = 91;
    pub const FGETXATTR: usize = 193;
    pub const FLISTXATTR: usize = 196;
    pub const FSETXATTR: usize = 190;
    pub const GETDENTS64: usize = 217;
    pub const IOPRIO_SET: usize = 251;
    pub const KEYCTL: usize = 250;
    pub const LINKAT: usize = 265;
    pub const LSEEK: usize = 8;
    pub const MEMFD_CREATE: usize = 319;
    pub const NEWFSTATAT: usize = 262;
    pub const PERSONALITY: usize = 135;
    pub const READLINKAT: usize = 267;
    pub const SCHED_SETAFFINITY: usize = 203;
    pub const SCHED_SETATTR: usize = 314;
    pub const SCHED_YIELD: usize = 24;
    pub const SET_MEMPOLICY: usize = 238;
    pub const SIGNALFD4: usize = 289;
    pub const UMASK: usize = 95;
}

#[cfg(target_arch = "aarch64")]
mod nr {
    pub const READ: usize = 63;
    pub const WRITE: usize = 64;
    pub const CLOSE: usize = 57;
    pub const PPOLL: usize = 73;
    pub const MMAP: usize = 222;
    pub const RT_SIGACTION: usize = 134;
    pub const RT_SIGPROCMASK: usize = 135;
    pub const IOCTL: usize = 29;
    pub const PREAD64: usize = 67;
    pub const SOCKET: usize = 198;
    pub const SENDMSG: usize = 211;
    pub const RECVMSG: usize = 212;
    pub const RECVFROM: usize = 207;
    pub const SOCKETPAIR: usize = 199;
    pub const ACCEPT4: usize = 242;
    pub const CLONE: usize = 220;
    pub const EXECVE: usize = 221;
    pub const EXIT_GROUP: usize = 94;
    pub const WAIT4: usize = 260;
    pub const KILL: usize = 129;
    pub const FCNTL: usize = 25;
    pub const FCHDIR: usize = 50;
    pub const CHDIR: usize = 49;
    pub const GETPID: usize = 172;
    pub const SETSID: usize = 157;
    pub const SETGROUPS: usize = 159;
    pub const SETRESUID: usize = 147;
    pub const SETRESGID: usize = 149;
    pub const CAPSET: usize = 91;
    pub const RT_SIGTIMEDWAIT: usize = 137;
    pub const PIVOT_ROOT: usize = 41;
    pub const PRCTL: usize = 167;
    pub const MOUNT: usize = 40;
    pub const UMOUNT2: usize = 39;
    pub const SETHOSTNAME: usize = 161;
    pub const SETDOMAINNAME: usize = 162;
    pub const CLOCK_GETTIME: usize = 113;
    pub const OPENAT: usize = 56;
    pub const MKDIRAT: usize = 34;
    pub const MKNODAT: usize = 33;
    pub const FCHOWNAT: usize = 54;
    pub const UNLINKAT: usize = 35;
    pub const RENAMEAT: usize = 38;
    pub const SYMLINKAT: usize = 36;
    pub const FCHMODAT: usize = 53;
    pub const UNSHARE: usize = 97;
    pub const DUP3: usize = 24;
    pub const PIPE2: usize = 59;
    pub const PRLIMIT64: usize = 261;
    pub const SETNS: usize = 268;
    pub const SECCOMP: usize = 277;
    pub const FSTAT: usize = 80;
    pub const FSTATFS: usize = 44;
    pub const CHROOT: usize = 51;
    pub const EXIT: usize = 93;
    pub const FACCESSAT: usize = 48;
    pub const FCHMOD: usize = 52;
    pub const FGETXATTR: usize = 10;
    pub const FLISTXATTR: usize = 13;
    pub const FSETXATTR: usize = 7;
    pub const GETDENTS64: usize = 61;
    pub const IOPRIO_SET: usize = 30;
    pub const KEYCTL: usize = 219;
    pub const LINKAT: usize = 37;
    pub const LSEEK: usize = 62;
    pub const MEMFD_CREATE: usize = 279;
    pub const NEWFSTATAT: usize = 79;
    pub const PERSONALITY: usize = 92;
    pub const READLINKAT: usize = 78;
    pub const SCHED_SETAFFINITY: usize = 122;
    pub const SCHED_SETATTR: usize = 274;
    pub const SCHED_YIELD: usize = 124;
    pub const SET_MEMPOLICY: usize = 237;
    pub const SIGNALFD4: usize = 74;
    pub const UMASK: usize = 166;
}

// The newer calls have one number everywhere.
const OPEN_TREE: usize = 428;
const MOVE_MOUNT: usize = 429;
const FSOPEN: usize = 430;
const FSCONFIG: usize = 431;
const FSMOUNT: usize = 432;
const PIDFD_SEND_SIGNAL: usize = 424;
const CLONE3: usize = 435;
const CLOSE_RANGE: usize = 436;
const OPENAT2: usize = 437;
const FACCESSAT2: usize = 439;
const MOUNT_SETATTR: usize = 442;
const LANDLOCK_CREATE_RULESET: usize = 444;
const LANDLOCK_ADD_RULE: usize = 445;
const LANDLOCK_RESTRICT_SELF: usize = 446;

/// The raw call.
///
/// # Safety
/// Arguments must be what call `n` expects; pointers valid for its duration.
#[inline(always)]
pub unsafe fn syscall(n: usize, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> isize {
    let ret: isize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the caller vouches for the arguments; the clobbers are those of the x86_64 ABI.
    unsafe {
        asm!("syscall", inlateout("rax") n as isize => ret, in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d,
             in("r8") e, in("r9") f, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the caller vouches for the arguments; the clobbers are those of the arm64 ABI.
    unsafe {
        asm!("svc 0", in("x8") n, inlateout("x0") a as isize => ret, in("x1") b, in("x2") c, in("x3") d,
             in("x4") e, in("x5") f, options(nostack));
    }
    ret
}

fn check(ret: isize) -> Result<usize> {
    if (-4095..0).contains(&ret) { Err(Errno(-ret as i32)) } else { Ok(ret as usize) }
}

macro_rules! call {
    ($n:expr) => { call!($n, 0, 0, 0, 0, 0, 0) };
    ($n:expr, $a:expr) => { call!($n, $a, 0, 0, 0, 0, 0) };
    ($n:expr, $a:expr, $b:expr) => { call!($n, $a, $b, 0, 0, 0, 0) };
    ($n:expr, $a:expr, $b:expr, $c:expr) => { call!($n, $a, $b, $c, 0, 0, 0) };
    ($n:expr, $a:expr, $b:expr, $c:expr, $d:expr) => { call!($n, $a, $b, $c, $d, 0, 0) };
    ($n:expr, $a:expr, $b:expr, $c:expr, $d:expr, $e:expr) => { call!($n, $a, $b, $c, $d, $e, 0) };
    ($n:expr, $a:expr, $b:expr, $c:expr, $d:expr, $e:expr, $f:expr) => {
        // SAFETY: every use below passes what the call expects, pointers come from references that outlive it.
        check(unsafe { syscall($n, $a as usize, $b as usize, $c as usize, $d as usize, $e as usize, $f as usize) })
    };
}

/// Pointer to a plan's string, which is followed by a NUL (see `cais_plan::Str`).
fn p(text: &[u8]) -> *const u8 {
    debug_assert!(!text.contains(&0));
    text.as_ptr()
}

pub const AT_FDCWD: i32 = -100;
pub const O_RDONLY: u32 = 0;
pub const O_WRONLY: u32 = 1;
pub const O_RDWR: u32 = 2;
pub const O_CREAT: u32 = 0o100;
pub const O_EXCL: u32 = 0o200;
pub const O_NOCTTY: u32 = 0o400;
pub const O_TRUNC: u32 = 0o1000;
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
pub fn personality(persona: u64) -> Result<()> {
    call!(nr::PERSONALITY, persona).map(drop)
}
pub fn sched_setattr(attributes: &[u8]) -> Result<()> {
    call!(nr::SCHED_SETATTR, 0, attributes.as_ptr(), 0).map(drop)
}
/// Lets others run first.
pub fn sched_yield() {
    let _ = call!(nr::SCHED_YIELD);
}
pub fn ioprio_set(value: u32) -> Result<()> {
    const WHO_PROCESS: u32 = 1;
    call!(nr::IOPRIO_SET, WHO_PROCESS, 0, value).map(drop)
}
pub fn sched_setaffinity(mask: &[u8]) -> Result<()> {
    call!(nr::SCHED_SETAFFINITY, 0, mask.len(), mask.as_ptr()).map(drop)
}
pub fn set_mempolicy(mode: u32, nodes: &[u8]) -> Result<()> {
    if nodes.is_empty() {
        return call!(nr::SET_MEMPOLICY, mode, 0, 0).map(drop);
    }
    // The kernel looks at one bit less than it is told.
    call!(nr::SET_MEMPOLICY, mode, nodes.as_ptr(), nodes.len() * 8 + 1).map(drop)
}
/// Joins the session keyring of that name, a new one when there is none; its number.
pub fn join_session_keyring(name: &[u8]) -> Result<usize> {
    call!(nr::KEYCTL, 1, p(name))
}
pub fn set_key_permissions(key: usize, permissions: u32) -> Result<()> {
    call!(nr::KEYCTL, 5, key, permissions).map(drop)
}
pub fn landlock_ruleset(files: u64, network: u64, scoped: u64) -> Result<i32> {
    let attr = [files, network, scoped];
    call!(LANDLOCK_CREATE_RULESET, attr.as_ptr(), size_of_val(&attr), 0).map(|fd| fd as i32)
}
pub fn landlock_path(ruleset: i32, access: u64, fd: i32) -> Result<()> {
    // Access, then the descriptor; the kernel's struct is packed and 12 bytes long.
    let rule = [access, u64::from(fd as u32)];
    call!(LANDLOCK_ADD_RULE, ruleset, 1, rule.as_ptr(), 0).map(drop)
}
pub fn landlock_port(ruleset: i32, access: u64, port: u64) -> Result<()> {
    let rule = [access, port];
    call!(LANDLOCK_ADD_RULE, ruleset, 2, rule.as_ptr(), 0).map(drop)
}
pub fn landlock_restrict(ruleset: i32) -> Result<()> {
    call!(LANDLOCK_RESTRICT_SELF, ruleset, 0).map(drop)
}
pub fn chroot(path: &[u8]) -> Result<()> {
    call!(nr::CHROOT, p(path)).map(drop)
}
pub fn chdir(path: &[u8]) -> Result<()> {
    call!(nr::CHDIR, p(path)).map(drop)
}
pub fn fchdir(fd: i32) -> Result<()> {
    call!(nr::FCHDIR, fd).map(drop)
}
pub fn pipe() -> Result<(i32, i32)> {
    let mut fds = [0_i32; 2];
    call!(nr::PIPE2, fds.as_mut_ptr(), O_CLOEXEC)?;
    Ok((fds[0], fds[1]))
}
pub fn dup_to(fd: i32, target: i32) -> Result<()> {
    if fd == target {
        // dup3 refuses equal numbers; all we want is the missing close-on-exec flag.
        const F_SETFD: i32 = 2;
        return call!(nr::FCNTL, fd, F_SETFD, 0).map(drop);
    }
    call!(nr::DUP3, fd, target, 0).map(drop)
}
pub fn dup_cloexec(fd: i32, target: i32) -> Result<()> {
    if fd == target {
        const F_SETFD: i32 = 2;
        const FD_CLOEXEC: i32 = 1;
        return call!(nr::FCNTL, fd, F_SETFD, FD_CLOEXEC).map(drop);
    }
    call!(nr::DUP3, fd, target, O_CLOEXEC).map(drop)
}
pub fn set_nonblocking(fd: i32) -> Result<()> {
    const F_SETFL: i32 = 4;
    const F_GETFL: i32 = 3;
    let flags = call!(nr::FCNTL, fd, F_GETFL)?;
    call!(nr::FCNTL, fd, F_SETFL, flags | O_NONBLOCK as usize).map(drop)
}
/// Gives a pipe a larger buffer; failure costs only speed.
pub fn widen_pipe(fd: i32) {
    const F_SETPIPE_SZ: i32 = 1031;
    let _ = call!(nr::FCNTL, fd, F_SETPIPE_SZ, 1 << 18);
}
/// Marks all descriptors from `first` close-on-exec.
pub fn cloexec_from(first: u32) -> Result<()> {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    call!(CLOSE_RANGE, first, u32::MAX, CLOSE_RANGE_CLOEXEC).map(drop)
}
/// Closes the descriptors of a range.
pub fn close_range(first: u32, last: u32) {
    if first <= last {
        let _ = call!(CLOSE_RANGE, first, last, 0);
    }
}

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

pub fn prctl(op: i32, a: usize, b: usize, c: usize, d: usize) -> Result<usize> {
    call!(nr::PRCTL, op, a, b, c, d)
}
pub const PR_SET_PDEATHSIG: i32 = 1;
pub const PR_GET_DUMPABLE: i32 = 3;
pub const PR_SET_DUMPABLE: i32 = 4;
pub const PR_SET_KEEPCAPS: i32 = 8;
pub const PR_SET_NAME: i32 = 15;
pub const PR_CAPBSET_DROP: i32 = 24;
pub const PR_SET_NO_NEW_PRIVS: i32 = 38;
pub const PR_CAP_AMBIENT: i32 = 47;

pub fn capset(effective: u64, permitted: u64, inheritable: u64) -> Result<()> {
    // _LINUX_CAPABILITY_VERSION_3, this thread.
    let header = [0x2008_0522_u32, 0];
    let low = |set: u64| (set & 0xffff_ffff) as u32;
    let high = |set: u64| (set >> 32) as u32;
    let data = [
        low(effective),
        low(permitted),
        low(inheritable),
        high(effective),
        high(permitted),
        high(inheritable),
    ];
    call!(nr::CAPSET, header.as_ptr(), data.as_ptr()).map(drop)
}
/// An array of u32.
pub fn setgroups(groups: &[u8]) -> Result<()> {
    call!(nr::SETGROUPS, groups.len() / 4, groups.as_ptr()).map(drop)
}
pub fn setresgid(gid: u32) -> Result<()> {
    call!(nr::SETRESGID, gid, gid, gid).map(drop)
}
pub fn setresuid(uid: u32) -> Result<()> {
    call!(nr::SETRESUID, uid, uid, uid).map(drop)
}
#[repr(C)]
struct FilterProgram {
    length: u16,
    filter: *const u8,
}
/// Installs a filter: an array of 8-byte instructions. Gives what the kernel gives: a listener when the flags ask for it.
pub fn seccomp_filter(filter: &[u8], flags: u32) -> Result<usize> {
    let Ok(length) = u16::try_from(filter.len() / 8) else { return Err(E2BIG) };
    let program = FilterProgram { length, filter: filter.as_ptr() };
    call!(nr::SECCOMP, 1, flags, &raw const program)
}
pub fn prlimit(resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit = [soft, hard];
    call!(nr::PRLIMIT64, 0, resource, limit.as_ptr(), 0).map(drop)
}
pub fn sethostname(name: &[u8]) -> Result<()> {
    call!(nr::SETHOSTNAME, name.as_ptr(), name.len()).map(drop)
}
pub fn setdomainname(name: &[u8]) -> Result<()> {
    call!(nr::SETDOMAINNAME, name.as_ptr(), name.len()).map(drop)
}
pub fn unshare(flags: u64) -> Result<()> {
    call!(nr::UNSHARE, flags).map(drop)
}
pub fn setns(fd: i32, flags: u64) -> Result<()> {
    call!(nr::SETNS, fd, flags).map(drop)
}
pub const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
pub const CLONE_PIDFD: u64 = 0x1000;
pub const CLONE_PARENT: u64 = 0x8000;
pub const CLONE_NEWUSER: u64 = 0x1000_0000;
pub const SIGCHLD: i32 = 17;
pub const SIGKILL: i32 = 9;

#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}
/// clone3(2) without shared memory: 0 in the child, pid and pidfd in the parent.
///
/// # Safety
/// Both sides run on from here with their own copy of memory; the process has one thread.
pub unsafe fn clone3(flags: u64, cgroup: i32) -> Result<(i32, i32)> {
    let mut pidfd = -1_i32;
    let mut args = CloneArgs {
        flags: flags | CLONE_PIDFD,
        pidfd: (&raw mut pidfd) as u64,
        // A sibling takes over our own.
        exit_signal: if flags & CLONE_PARENT == 0 { SIGCHLD as u64 } else { 0 },
        ..CloneArgs::default()
    };
    if cgroup >= 0 {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup as u64;
    }
    let pid = call!(CLONE3, &raw mut args, size_of::<CloneArgs>())?;
    // The kernel wrote pidfd through the pointer in args.
    // SAFETY: plain read of an initialised local.
    let pidfd = unsafe { core::ptr::read_volatile(&raw const pidfd) };
    Ok((pid as i32, pidfd))
}
/// fork(2).
///
/// # Safety
/// As for [`clone3`].
pub unsafe fn fork() -> Result<i32> {
    call!(nr::CLONE, SIGCHLD, 0, 0, 0, 0).map(|pid| pid as i32)
}
/// Starts a thread of this process on its own stack: it shares everything but credentials and seccomp filters.
///
/// # Safety
/// `entry` ends by [`exit_thread`], and what both touch is made for two threads.
pub unsafe fn thread(
    stack: &'static mut [usize],
    entry: extern "C" fn(usize) -> !,
    argument: usize,
) -> Result<()> {
    // VM, FS, FILES, SIGHAND, THREAD, SYSVSEM.
    const FLAGS: usize = 0x100 | 0x200 | 0x400 | 0x800 | 0x1_0000 | 0x4_0000;
    let top = stack.as_mut_ptr_range().end as usize & !15;
    let ret: isize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: clone(2) with a fresh stack, where the new thread calls `entry` and never comes back; for us it is an
    // ordinary system call.
    unsafe {
        asm!("syscall", "test rax, rax", "jnz 2f", "xor ebp, ebp", "mov rdi, r12", "call r13", "ud2", "2:",
             inlateout("rax") nr::CLONE as isize => ret, in("rdi") FLAGS, in("rsi") top, in("rdx") 0_usize,
             in("r10") 0_usize, in("r8") 0_usize, in("r12") argument, in("r13") entry,
             lateout("rcx") _, lateout("r11") _);
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        asm!("svc 0", "cbnz x0, 2f", "mov x29, xzr", "mov x0, x20", "blr x21", "brk #1", "2:",
             in("x8") nr::CLONE, inlateout("x0") FLAGS as isize => ret, in("x1") top, in("x2") 0_usize,
             in("x3") 0_usize, in("x4") 0_usize, in("x20") argument, in("x21") entry);
    }
    check(ret).map(drop)
}
/// Ends the calling thread only.
pub fn exit_thread() -> ! {
    loop {
        let _ = call!(nr::EXIT, 0);
    }
}
/// execve(2): returns only an error.
pub fn execve(path: &[u8], argv: *const *const u8, envp: *const *const u8) -> Errno {
    match call!(nr::EXECVE, p(path), argv, envp) {
        Ok(_) => EIO,
        Err(e) => e,
    }
}
pub fn exit(code: i32) -> ! {
    loop {
        let _ = call!(nr::EXIT_GROUP, code);
    }
}
pub fn getpid() -> i32 {
    call!(nr::GETPID).unwrap_or(0) as i32
}
pub fn kill(pid: i32, signal: i32) -> Result<()> {
    call!(nr::KILL, pid, signal).map(drop)
}
pub fn pidfd_send_signal(pidfd: i32, signal: i32) -> Result<()> {
    call!(PIDFD_SEND_SIGNAL, pidfd, signal, 0, 0).map(drop)
}
/// wait4(2): pid and status, or `None` when nothing has ended and `block` is false.
pub fn wait(pid: i32, block: bool) -> Result<Option<(i32, i32)>> {
    const WNOHANG: u32 = 1;
    const WALL: u32 = 0x4000_0000;
    let mut status = 0_i32;
    loop {
        match call!(nr::WAIT4, pid, &raw mut status, WALL | if block { 0 } else { WNOHANG }, 0) {
            Ok(0) => return Ok(None),
            Ok(got) => return Ok(Some((got as i32, status))),
            Err(EINTR) => {}
            Err(e) => return Err(e),
        }
    }
}
pub fn setsid() -> Result<()> {
    call!(nr::SETSID).map(drop)
}
pub fn ioctl(fd: i32, request: usize, argument: usize) -> Result<usize> {
    call!(nr::IOCTL, fd, request, argument)
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct PollFd {
    pub fd: i32,
    pub events: i16,
    pub revents: i16,
}
pub const POLLIN: i16 = 1;
pub const POLLOUT: i16 = 4;
pub const POLLERR: i16 = 8;
pub const POLLHUP: i16 = 16;
/// ppoll(2); `timeout_ms` < 0 waits for ever.
pub fn poll(fds: &mut [PollFd], timeout_ms: i32) -> Result<usize> {
    let time = [i64::from(timeout_ms / 1000), i64::from(timeout_ms % 1000) * 1_000_000];
    let pointer = if timeout_ms < 0 { core::ptr::null() } else { time.as_ptr() };
    call!(nr::PPOLL, fds.as_mut_ptr(), fds.len(), pointer, 0, 8)
}

/// Nanoseconds since 1970.
pub fn now_ns() -> u64 {
    let mut time = [0_i64; 2];
    let _ = call!(nr::CLOCK_GETTIME, 0, time.as_mut_ptr());
    (time[0] as u64).wrapping_mul(1_000_000_000).wrapping_add(time[1] as u64)
}

/// Milliseconds of a clock that nobody sets.
pub fn monotonic_ms() -> u64 {
    let mut time = [0_i64; 2];
    let _ = call!(nr::CLOCK_GETTIME, 1, time.as_mut_ptr());
    (time[0] as u64).wrapping_mul(1000).wrapping_add(time[1] as u64 / 1_000_000)
}

const MSG_DONTWAIT: u32 = 0x40;
const MSG_NOSIGNAL: u32 = 0x4000;
const MSG_CMSG_CLOEXEC: u32 = 0x4000_0000;

pub fn accept(fd: i32) -> Result<i32> {
    call!(nr::ACCEPT4, fd, 0, 0, O_CLOEXEC | O_NONBLOCK).map(|fd| fd as i32)
}
/// As [`accept`], for a socket whose reader waits.
pub fn accept_waiting(fd: i32) -> Result<i32> {
    call!(nr::ACCEPT4, fd, 0, 0, O_CLOEXEC).map(|fd| fd as i32)
}
pub fn socket_inet_datagram() -> Result<i32> {
    call!(nr::SOCKET, 2, 2 | O_CLOEXEC, 0).map(|fd| fd as i32)
}
/// A connected pair that carries packets.
pub fn packet_pair() -> Result<(i32, i32)> {
    const AF_UNIX: i32 = 1;
    const SOCK_SEQPACKET: u32 = 5;
    let mut fds = [0_i32; 2];
    call!(nr::SOCKETPAIR, AF_UNIX, SOCK_SEQPACKET | O_CLOEXEC, 0, fds.as_mut_ptr())?;
    Ok((fds[0], fds[1]))
}
/// Receives one packet without waiting.
pub fn recv(fd: i32, buf: &mut [u8]) -> Result<usize> {
    call!(nr::RECVFROM, fd, buf.as_mut_ptr(), buf.len(), MSG_DONTWAIT, 0, 0)
}

/// Looks at the first bytes of the next packet without taking it.
pub fn peek(fd: i32, buf: &mut [u8]) -> Result<usize> {
    const MSG_PEEK: u32 = 2;
    call!(nr::RECVFROM, fd, buf.as_mut_ptr(), buf.len(), MSG_DONTWAIT | MSG_PEEK, 0, 0)
}

/// Length of the next packet, which stays; waits for one. 0 at the end of the stream.
pub fn packet_length(fd: i32) -> Result<usize> {
    const MSG_PEEK: u32 = 2;
    const MSG_TRUNC: u32 = 0x20;
    let mut byte = [0_u8; 1];
    call!(nr::RECVFROM, fd, byte.as_mut_ptr(), byte.len(), MSG_PEEK | MSG_TRUNC, 0, 0)
}

#[repr(C)]
struct MsgHdr {
    name: *const u8,
    name_len: u32,
    iov: *const IoVec,
    iov_len: usize,
    control: *mut u8,
    control_len: usize,
    flags: i32,
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct IoVec {
    base: *const u8,
    len: usize,
}
/// Sends one packet of two parts without waiting and without SIGPIPE.
pub fn send_parts(fd: i32, head: &[u8], body: &[u8]) -> Result<usize> {
    let iov =
        [IoVec { base: head.as_ptr(), len: head.len() }, IoVec { base: body.as_ptr(), len: body.len() }];
    let message = MsgHdr {
        name: core::ptr::null(),
        name_len: 0,
        iov: iov.as_ptr(),
        iov_len: 2,
        control: core::ptr::null_mut(),
        control_len: 0,
        flags: 0,
    };
    call!(nr::SENDMSG, fd, &raw const message, MSG_DONTWAIT | MSG_NOSIGNAL)
}
#[repr(C, align(8))]
struct Control {
    len: usize,
    level: i32,
    kind: i32,
    fd: i32,
    pad: i32,
}
/// Sends bytes with a descriptor, SCM_RIGHTS.
pub fn send_fd(socket: i32, bytes: &[u8], fd: i32) -> Result<()> {
    let mut control = Control { len: 20, level: 1, kind: 1, fd, pad: 0 };
    let iov = [IoVec { base: bytes.as_ptr(), len: bytes.len() }];
    let message = MsgHdr {
        name: core::ptr::null(),
        name_len: 0,
        iov: iov.as_ptr(),
        iov_len: 1,
        control: (&raw mut control).cast(),
        control_len: size_of::<Control>(),
        flags: 0,
    };
    call!(nr::SENDMSG, socket, &raw const message, MSG_NOSIGNAL).map(drop)
}
/// Receives what [`send_fd`] sent; `None` at the end of the stream.
pub fn recv_fd(socket: i32) -> Result<Option<i32>> {
    let (got, fd) = recv_with_fd(socket, &mut [0_u8; 16])?;
    Ok(if got == 0 || fd < 0 { None } else { Some(fd) })
}
/// Waits for a packet; its length, and the descriptor that came with it or -1.
pub fn recv_with_fd(socket: i32, buffer: &mut [u8]) -> Result<(usize, i32)> {
    let mut control = Control { len: 0, level: 0, kind: 0, fd: -1, pad: 0 };
    let iov = [IoVec { base: buffer.as_mut_ptr(), len: buffer.len() }];
    let mut message = MsgHdr {
        name: core::ptr::null(),
        name_len: 0,
        iov: iov.as_ptr(),
        iov_len: 1,
        control: (&raw mut control).cast(),
        control_len: size_of::<Control>(),
        flags: 0,
    };
    let got = call!(nr::RECVMSG, socket, &raw mut message, MSG_CMSG_CLOEXEC)?;
    // SAFETY: plain reads of locals that the kernel wrote through the pointers in `message`.
    let (length, fd) = unsafe {
        (
            core::ptr::read_volatile(&raw const message.control_len),
            core::ptr::read_volatile(&raw const control.fd),
        )
    };
    Ok((got, if length < 20 { -1 } else { fd }))
}

pub fn sigaction_default(signal: i32) {
    // struct sigaction: handler, flags, restorer, mask; SIG_DFL is all zero.
    let action = [0_u64; 4];
    let _ = call!(nr::RT_SIGACTION, signal, action.as_ptr(), 0, 8);
}
/// Sets the mask of blocked signals; bit n-1 is signal n.
pub fn sigmask(mask: u64) {
    const SIG_SETMASK: i32 = 2;
    let _ = call!(nr::RT_SIGPROCMASK, SIG_SETMASK, &raw const mask, 0, 8);
}
/// Waits for one of the signals; returns its number.
pub fn sigwait(mask: u64) -> Result<i32> {
    call!(nr::RT_SIGTIMEDWAIT, &raw const mask, 0, 0, 8).map(|s| s as i32)
}

/// A descriptor that becomes readable when one of the signals, which must be blocked, is pending.
pub fn signalfd(mask: u64) -> Result<i32> {
    call!(nr::SIGNALFD4, -1_isize, &raw const mask, 8, O_CLOEXEC).map(|fd| fd as i32)
}

const PROT_READ: usize = 1;
const PROT_WRITE: usize = 2;
/// Maps a whole file for reading; it stays for the process's life.
pub fn map_whole(fd: i32) -> Option<&'static [u8]> {
    const SEEK_END: i32 = 2;
    let length = call!(nr::LSEEK, fd, 0, SEEK_END).ok()?;
    if length == 0 {
        return None;
    }
    let base = call!(nr::MMAP, 0, length, PROT_READ, 2, fd, 0).ok()?;
    // SAFETY: a fresh private mapping of `length` bytes, never unmapped; the memfd is sealed against change.
    Some(unsafe { core::slice::from_raw_parts(base as *const u8, length) })
}
/// Fresh zeroed memory that stays for the process's life.
pub fn map_memory(length: usize) -> Result<&'static mut [usize]> {
    const MAP_PRIVATE_ANONYMOUS: usize = 0x22;
    map_words(length, MAP_PRIVATE_ANONYMOUS)
}
/// The same in bytes.
pub fn map_bytes(length: usize) -> Result<&'static mut [u8]> {
    let words = map_memory(length)?;
    // SAFETY: the same memory seen as bytes; any bit pattern is valid.
    Ok(unsafe { core::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), length) })
}
/// A zeroed word that clones share with us.
pub fn map_shared_word() -> Result<&'static AtomicUsize> {
    const MAP_SHARED_ANONYMOUS: usize = 0x21;
    let words = map_words(size_of::<usize>(), MAP_SHARED_ANONYMOUS)?;
    // SAFETY: a word of a fresh mapping that stays; all access is by this reference.
    Ok(unsafe { AtomicUsize::from_ptr(words.as_mut_ptr()) })
}
fn map_words(length: usize, flags: usize) -> Result<&'static mut [usize]> {
    let words = length.div_ceil(8).max(1);
    let base = call!(nr::MMAP, 0, words * 8, PROT_READ | PROT_WRITE, flags, -1_isize, 0)?;
    // SAFETY: a fresh mapping of that size, page-aligned, handed out once.
    Ok(unsafe { core::slice::from_raw_parts_mut(base as *mut usize, words) })
}
