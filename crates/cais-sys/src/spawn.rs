//! Starts a small program from a descriptor, whatever the caller's threads and heap: `clone(VM|VFORK)` and
//! `execveat(2)`. The caller waits only until the exec.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::fs::{MemfdFlags, SealFlags};

const STACK_BYTES: usize = 64 * 1024;

/// Copies `bytes` into a memfd that nobody can change any more. `executable` ones can be started.
pub fn sealed_memfd(name: &CStr, bytes: &[u8], executable: bool) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // MFD_EXEC and MFD_NOEXEC_SEAL, Linux ≥ 6.3; older kernels refuse the flags and need none.
    let mode = MemfdFlags::from_bits_retain(if executable { 0x10 } else { 0x08 });
    let fd =
        rustix::fs::memfd_create(name, flags | mode).or_else(|_| rustix::fs::memfd_create(name, flags))?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = rustix::io::write(&fd, rest)?;
        rest = &rest[written..];
    }
    rustix::fs::fcntl_add_seals(
        &fd,
        SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE,
    )?;
    Ok(fd)
}

struct Child<'a> {
    exe: RawFd,
    argv: &'a [*const c_char],
    envp: &'a [*const c_char],
    /// Descriptors with their targets.
    fds: &'a [(RawFd, RawFd)],
    /// Where each of them is while targets are being placed.
    parked: &'a mut [RawFd],
    last: RawFd,
    errno: c_int,
}

/// Starts the program in `exe` with `argv`, an empty environment, and exactly the descriptors `fds` (each at its target
/// number, targets ascending and unique); all others are closed at the exec. All signals are blocked in it.
///
/// Returns its pid; it is the caller's child and has to be waited for.
///
/// # Errors
/// Those of clone(2), dup(2) and execveat(2).
pub fn spawn(exe: BorrowedFd<'_>, argv: &[&CStr], fds: &[(BorrowedFd<'_>, RawFd)]) -> io::Result<i32> {
    start(exe, argv, fds, |top, child| {
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        // SAFETY: as `start` says: the child runs on its own stack while this thread waits.
        let pid = unsafe { libc::clone(become_program, top, flags, child) };
        if pid < 0 { Err(io::Error::last_os_error()) } else { Ok((pid, ())) }
    })
    .map(|(pid, ())| pid)
}

/// As [`spawn`], into new namespaces (`CLONE_NEW*`) and a cgroup v2 directory, clone3(2). The program is the first
/// process of a new PID namespace at once.
///
/// Returns its pid and a pidfd; it is the caller's child and has to be waited for.
///
/// # Errors
/// Those of clone3(2), dup(2) and execveat(2); also when the cgroup refuses it (frozen, threaded, no permission).
pub fn spawn_into(
    exe: BorrowedFd<'_>,
    argv: &[&CStr],
    fds: &[(BorrowedFd<'_>, RawFd)],
    namespaces: u64,
    cgroup: Option<BorrowedFd<'_>>,
) -> io::Result<(i32, OwnedFd)> {
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    let shared = (libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD) as u64;
    start(exe, argv, fds, |top, child| {
        let mut pidfd: RawFd = -1;
        let mut request = CloneArgs {
            flags: namespaces | shared,
            pidfd: &raw mut pidfd as u64,
            exit_signal: libc::SIGCHLD as u64,
            stack: top as u64 - STACK_BYTES as u64,
            stack_size: STACK_BYTES as u64,
            ..CloneArgs::default()
        };
        if let Some(cgroup) = cgroup {
            request.flags |= CLONE_INTO_CGROUP;
            request.cgroup = cgroup.as_raw_fd() as u64;
        }
        // SAFETY: as `start` says; the kernel writes `pidfd` before it returns here.
        let pid = unsafe { clone3(&request, child) }?;
        // SAFETY: written by the kernel through the pointer in `request`.
        let pidfd = own(unsafe { std::ptr::read_volatile(&raw const pidfd) })?;
        Ok((pid, pidfd))
    })
}

/// clone3(2)'s argument, as of Linux 5.7.
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

/// The call, with [`become_program`] on the new stack in the child. The C library has no wrapper, and its `syscall`
/// cannot return on another stack.
///
/// # Safety
/// As for [`start`]; `request` names a stack and asks for `CLONE_VM` and `CLONE_VFORK`.
unsafe fn clone3(request: &CloneArgs, child: *mut c_void) -> io::Result<i32> {
    let entry = become_program as extern "C" fn(*mut c_void) -> c_int as usize;
    let result: isize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the clobbers are those of a system call; the child never comes out of the block: it calls `entry`, which
    // ends in exec or exit. The stack's top is 16-byte aligned, as the call wants it.
    unsafe {
        std::arch::asm!(
            "syscall", "test rax, rax", "jnz 2f", "xor ebp, ebp", "mov rdi, r12", "call r13", "ud2", "2:",
            inlateout("rax") libc::SYS_clone3 as isize => result,
            in("rdi") request, in("rsi") size_of::<CloneArgs>(), in("r12") child, in("r13") entry,
            lateout("rcx") _, lateout("r11") _,
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        std::arch::asm!(
            "svc 0", "cbnz x0, 2f", "mov x29, xzr", "mov x0, x20", "blr x21", "brk #1", "2:",
            in("x8") libc::SYS_clone3, inlateout("x0") request as *const CloneArgs as isize => result,
            in("x1") size_of::<CloneArgs>(), in("x20") child, in("x21") entry,
        );
    }
    if result < 0 { Err(io::Error::from_raw_os_error(-result as i32)) } else { Ok(result as i32) }
}

/// Prepares everything that the child needs, lets `clone` make it, and reports what stopped it before its exec.
///
/// `clone` is given the top of a fresh stack and the argument of [`become_program`]; it must make a child that shares
/// memory and return only when that has executed or ended (`CLONE_VFORK`).
fn start<T>(
    exe: BorrowedFd<'_>,
    argv: &[&CStr],
    fds: &[(BorrowedFd<'_>, RawFd)],
    clone: impl FnOnce(*mut c_void, *mut c_void) -> io::Result<(i32, T)>,
) -> io::Result<(i32, T)> {
    let mut pointers: Vec<*const c_char> = argv.iter().map(|a| a.as_ptr()).collect();
    pointers.push(std::ptr::null());
    let fds: Vec<(RawFd, RawFd)> = fds.iter().map(|(fd, target)| (fd.as_raw_fd(), *target)).collect();
    let last = fds.iter().map(|(_, target)| *target).max().unwrap_or(2).max(2);
    let mut parked = vec![-1; fds.len()];
    let mut child = Child {
        exe: exe.as_raw_fd(),
        argv: &pointers,
        envp: &[std::ptr::null()],
        fds: &fds,
        parked: &mut parked,
        last,
        errno: 0,
    };
    // Not filled: the child touches a page or two of it.
    let mut stack = Vec::<u128>::with_capacity(STACK_BYTES / 16);
    let mut old = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the sets are written before they are read. The child runs on its own stack in our memory while this
    // thread waits (CLONE_VFORK); with all signals blocked no handler runs in it; it makes only raw syscalls on its
    // own descriptor table (no CLONE_FILES) and touches nothing but `child`, which outlives it here.
    let cloned = unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), old.as_mut_ptr());
        let top = stack.as_mut_ptr().add(STACK_BYTES / 16).cast::<c_void>();
        let cloned = clone(top, (&raw mut child).cast());
        libc::pthread_sigmask(libc::SIG_SETMASK, old.as_ptr(), std::ptr::null_mut());
        cloned
    };
    let (pid, more) = cloned?;
    // SAFETY: a read of what the child may have written before it ended.
    let errno = unsafe { std::ptr::read_volatile(&raw const child.errno) };
    if errno != 0 {
        reap(pid);
        return Err(io::Error::from_raw_os_error(errno));
    }
    Ok((pid, more))
}

/// Waits for a child that ends by itself.
pub fn reap(pid: i32) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid) {
        while let Err(rustix::io::Errno::INTR) =
            rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty())
        {}
    }
}

extern "C" fn become_program(argument: *mut c_void) -> c_int {
    // SAFETY: `argument` is the `Child` of `spawn`, which waits for us.
    let child = unsafe { &mut *argument.cast::<Child<'_>>() };
    // SAFETY: raw calls with numbers and pointers that outlive them.
    unsafe {
        let call = |result: libc::c_long| if result < 0 { Err(()) } else { Ok(result as RawFd) };
        let mut place = || -> Result<(), ()> {
            // First out of the way of all targets, then nothing survives the exec but what gets its number now.
            let above = child.last + 1;
            let exe = call(libc::syscall(libc::SYS_fcntl, child.exe, libc::F_DUPFD_CLOEXEC, above))?;
            for ((fd, _), place) in child.fds.iter().zip(child.parked.iter_mut()) {
                *place = call(libc::syscall(libc::SYS_fcntl, *fd, libc::F_DUPFD_CLOEXEC, above))?;
            }
            call(libc::syscall(libc::SYS_close_range, 0, u32::MAX, libc::CLOSE_RANGE_CLOEXEC))?;
            for ((_, target), place) in child.fds.iter().zip(child.parked.iter()) {
                call(libc::syscall(libc::SYS_dup3, *place, *target, 0))?;
            }
            let empty = c"".as_ptr();
            call(libc::syscall(
                libc::SYS_execveat,
                exe,
                empty,
                child.argv.as_ptr(),
                child.envp.as_ptr(),
                libc::AT_EMPTY_PATH,
            ))?;
            Ok(())
        };
        let _ = place();
        child.errno = *libc::__errno_location();
        libc::syscall(libc::SYS_exit, 127);
    }
    127
}

/// An owned descriptor from a number that a syscall of this crate returned.
pub(crate) fn own(fd: RawFd) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave us this number; nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsFd;

    #[test]
    fn starts_a_program_with_chosen_descriptors() {
        let exe = std::fs::File::open("/bin/sh").expect("sh");
        let (mut reader, writer) = std::io::pipe().expect("pipe");
        let null = std::fs::File::open("/dev/null").expect("null");
        let script = c"echo here >&7; ls -x /proc/self/fd >&7";
        let pid = spawn(
            exe.as_fd(),
            &[c"sh", c"-c", script],
            &[(null.as_fd(), 0), (null.as_fd(), 1), (null.as_fd(), 2), (writer.as_fd(), 7)],
        )
        .expect("spawn");
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("read");
        reap(pid);
        assert!(text.starts_with("here\n"), "{text}");
        // `ls` adds its own directory descriptor, as 3.
        assert_eq!(text.lines().nth(1).map(str::split_whitespace).map(Iterator::count), Some(5), "{text}");
    }

    #[test]
    fn a_program_in_new_namespaces() {
        let exe = std::fs::File::open("/bin/sh").expect("sh");
        let (mut reader, writer) = std::io::pipe().expect("pipe");
        let null = std::fs::File::open("/dev/null").expect("null");
        let spawned = spawn_into(
            exe.as_fd(),
            &[c"sh", c"-c", c"echo $$ >&3; exit 7"],
            &[(null.as_fd(), 0), (null.as_fd(), 1), (null.as_fd(), 2), (writer.as_fd(), 3)],
            (libc::CLONE_NEWPID | libc::CLONE_NEWNS) as u64,
            None,
        );
        let (pid, pidfd) = match spawned {
            Ok(child) => child,
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                println!("skipped: needs CAP_SYS_ADMIN");
                return;
            }
            Err(error) => panic!("{error}"),
        };
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("read");
        assert!(text.starts_with("1\n"), "the first process of its namespace: {text}");
        let options = rustix::process::WaitIdOptions::EXITED;
        let status = rustix::process::waitid(rustix::process::WaitId::PidFd(pidfd.as_fd()), options);
        assert_eq!(status.expect("wait").and_then(|s| s.exit_status()), Some(7));
        assert!(pid > 1);
    }

    #[test]
    fn a_refusing_cgroup_is_told() {
        let exe = std::fs::File::open("/bin/sh").expect("sh");
        let directory = std::fs::File::open("/").expect("no cgroup");
        let error = spawn_into(exe.as_fd(), &[c"sh"], &[], 0, Some(directory.as_fd())).expect_err("refused");
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    }

    #[test]
    fn targets_may_be_anything() {
        let exe = std::fs::File::open("/bin/sh").expect("sh");
        let (mut reader, writer) = std::io::pipe().expect("pipe");
        let null = std::fs::File::open("/dev/null").expect("null");
        // The source of one is the target of another, and an inherited one in a gap is closed.
        let inherited = rustix::io::dup(&null).expect("dup");
        rustix::io::fcntl_setfd(&inherited, rustix::io::FdFlags::empty()).expect("flags");
        let gap = inherited.as_raw_fd();
        let target = gap + 1;
        let script =
            std::ffi::CString::new(format!("(: >&{gap}) 2>/dev/null && echo open; echo done >&{target}"))
                .expect("no NUL");
        let fds = [(writer.as_fd(), 1), (null.as_fd(), 2), (writer.as_fd(), target)];
        let pid = spawn(exe.as_fd(), &[c"sh", c"-c", &script], &fds).expect("spawn");
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("read");
        reap(pid);
        assert_eq!(text, "done\n");
    }

    #[test]
    fn a_failing_exec_is_told() {
        let null = std::fs::File::open("/dev/null").expect("null");
        let error = spawn(null.as_fd(), &[c"x"], &[]).expect_err("not a program");
        assert_eq!(error.raw_os_error(), Some(libc::EACCES));
    }

    #[test]
    fn memfds_cannot_be_changed() {
        let fd = sealed_memfd(c"plan", b"abc", false).expect("memfd");
        assert!(rustix::io::pwrite(&fd, b"x", 0).is_err());
        assert!(rustix::fs::ftruncate(&fd, 0).is_err());
    }
}
