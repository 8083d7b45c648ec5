//! System calls without libc. Each wrapper returns the kernel's answer or the errno.
//!
//! Numbers are those of the target's ABI; pointers handed over must live for the call, which the wrappers ensure by
//! taking references.

#![allow(missing_docs)]

use core::arch::asm;
use core::sync::atomic::AtomicUsize;

mod number;

use number::*;

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

mod file;
mod mount;
mod socket;

pub use file::*;
pub use mount::*;
pub use socket::*;

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
/// Flag of setns(2).
pub const CLONE_NEWPID: u64 = 0x2000_0000;
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
pub fn pidfd_open(pid: i32) -> Result<i32> {
    call!(PIDFD_OPEN, pid, 0).map(|fd| fd as i32)
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
pub const POLLPRI: i16 = 2;
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
/// A descriptor that becomes readable when the kernel counts an event; reading it does not wait.
pub fn eventfd() -> Result<i32> {
    call!(nr::EVENTFD2, 0, O_CLOEXEC | O_NONBLOCK).map(|fd| fd as i32)
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
