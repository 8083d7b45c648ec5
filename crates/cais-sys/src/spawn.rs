//! Starts a small program from a descriptor, whatever the caller's threads and heap: `clone(VM|VFORK)` and
//! `execveat(2)`. The caller waits only until the exec.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::fs::{MemfdFlags, SealFlags};

/// Descriptors above this number are used while they are being placed.
const PARKING: RawFd = 512;
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
    fds: &'a [(RawFd, RawFd)],
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
    let mut pointers: Vec<*const c_char> = argv.iter().map(|a| a.as_ptr()).collect();
    pointers.push(std::ptr::null());
    let fds: Vec<(RawFd, RawFd)> = fds.iter().map(|(fd, target)| (fd.as_raw_fd(), *target)).collect();
    let last = fds.iter().map(|(_, target)| *target).max().unwrap_or(2);
    let mut child =
        Child { exe: exe.as_raw_fd(), argv: &pointers, envp: &[std::ptr::null()], fds: &fds, last, errno: 0 };
    let mut stack = vec![0_u128; STACK_BYTES / 16];
    let mut old = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the sets are written before they are read. The child runs on its own stack in our memory while this
    // thread waits (CLONE_VFORK); with all signals blocked no handler runs in it; it makes only raw syscalls on its
    // own descriptor table (no CLONE_FILES) and touches nothing but `child`, which outlives it here.
    let pid = unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), old.as_mut_ptr());
        let top = stack.as_mut_ptr().add(stack.len()).cast::<c_void>();
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        let pid = libc::clone(become_program, top, flags, (&raw mut child).cast());
        let error = io::Error::last_os_error();
        libc::pthread_sigmask(libc::SIG_SETMASK, old.as_ptr(), std::ptr::null_mut());
        if pid < 0 {
            return Err(error);
        }
        pid
    };
    // SAFETY: a read of what the child may have written before it ended.
    let errno = unsafe { std::ptr::read_volatile(&raw const child.errno) };
    if errno != 0 {
        reap(pid);
        return Err(io::Error::from_raw_os_error(errno));
    }
    Ok(pid)
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
        let place = || -> Result<(), ()> {
            let exe = call(libc::syscall(libc::SYS_fcntl, child.exe, libc::F_DUPFD_CLOEXEC, PARKING))?;
            for (index, (fd, _)) in child.fds.iter().enumerate() {
                let parked = PARKING + 1 + index as RawFd;
                call(libc::syscall(libc::SYS_dup3, *fd, parked, libc::O_CLOEXEC))?;
            }
            for (index, (_, target)) in child.fds.iter().enumerate() {
                let parked = PARKING + 1 + index as RawFd;
                call(libc::syscall(libc::SYS_dup3, parked, *target, 0))?;
            }
            let above = child.last + 1;
            call(libc::syscall(libc::SYS_close_range, above, u32::MAX, libc::CLOSE_RANGE_CLOEXEC))?;
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
