//! Signals to processes by number, real-time ones and 0 included, for which rustix has no safe form; and processes that
//! only keep a place.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use crate::spawn::{own, reap};

/// Sends a signal to the process of a pidfd, which cannot be another one; 0 only asks whether it is there.
///
/// # Errors
/// `ESRCH` when it has ended and was waited for, `EINVAL` for a number that is no signal; those of
/// pidfd_send_signal(2).
pub fn signal(process: impl AsFd, number: i32) -> io::Result<()> {
    let fd = process.as_fd().as_raw_fd();
    let nothing = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the descriptor is borrowed for the call; without information the kernel reads no memory of ours.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, number, nothing, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A process that does nothing, until it is dropped or its maker ends: somebody to hold a namespace, or to be named to
/// systemd.
#[derive(Debug)]
pub struct Placeholder {
    pid: i32,
    pidfd: OwnedFd,
}

impl Placeholder {
    /// Starts one; `namespaces` are `CLONE_NEW*`, 0 = none of its own.
    ///
    /// # Errors
    /// Those of clone3(2).
    pub fn start(namespaces: u64) -> io::Result<Placeholder> {
        let mut pidfd: i32 = -1;
        let parent = std::process::id();
        let flags = namespaces | libc::CLONE_PIDFD as u64;
        let request = [flags, &raw mut pidfd as u64, 0, 0, libc::SIGCHLD as u64, 0, 0, 0];
        // SAFETY: a copy of this process; the child, which may come from a process with threads, makes only the raw
        // calls of `wait_for_death`. `request` has the layout of the first 64 bytes of `struct clone_args`, and both
        // it and `pidfd` outlive the call.
        let pid = unsafe { libc::syscall(libc::SYS_clone3, request.as_ptr(), size_of_val(&request)) } as i32;
        match pid {
            0 => wait_for_death(parent),
            1.. => Ok(Placeholder { pid, pidfd: own(pidfd)? }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Starts one in a user namespace that is there, with new namespaces (`CLONE_NEW*`) that belong to it.
    ///
    /// # Errors
    /// Those of setns(2) and unshare(2).
    pub fn start_in(user: impl AsFd, namespaces: u64) -> io::Result<Placeholder> {
        let user = user.as_fd().as_raw_fd();
        let (answer, told) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let mut pidfd: i32 = -1;
        let parent = std::process::id();
        let request = [libc::CLONE_PIDFD as u64, &raw mut pidfd as u64, 0, 0, libc::SIGCHLD as u64, 0, 0, 0];
        // SAFETY: as in `start`; the child makes only raw calls.
        let pid = unsafe { libc::syscall(libc::SYS_clone3, request.as_ptr(), size_of_val(&request)) } as i32;
        if pid < 0 {
            return Err(io::Error::last_os_error());
        }
        if pid == 0 {
            // SAFETY: raw calls; the only memory they touch is a number on the stack.
            unsafe {
                let mut result = libc::syscall(libc::SYS_setns, user, libc::CLONE_NEWUSER);
                if result == 0 {
                    result = libc::syscall(libc::SYS_unshare, namespaces);
                }
                let errno: i32 = if result == 0 { 0 } else { *libc::__errno_location() };
                libc::syscall(libc::SYS_write, told.as_raw_fd(), &raw const errno, size_of::<i32>());
            }
            wait_for_death(parent);
        }
        drop(told);
        let holder = Placeholder { pid, pidfd: own(pidfd)? };
        let mut word = [0_u8; 4];
        match rustix::io::read(&answer, &mut word)? {
            4 if word == [0; 4] => Ok(holder),
            4 => Err(io::Error::from_raw_os_error(i32::from_ne_bytes(word))),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }
}

impl Drop for Placeholder {
    fn drop(&mut self) {
        // Killed by somebody already: it is still to be waited for.
        let _ = signal(&self.pidfd, libc::SIGKILL);
        reap(self.pid);
    }
}

fn wait_for_death(parent: u32) -> ! {
    loop {
        // SAFETY: raw calls without pointers to our memory.
        unsafe {
            libc::syscall(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
            if libc::syscall(libc::SYS_getppid) != libc::c_long::from(parent) {
                libc::syscall(libc::SYS_exit, 0);
            }
            libc::syscall(libc::SYS_ppoll, 0, 0, 0, 0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{PidfdFlags, getpid, pidfd_open};

    #[test]
    fn a_place_is_kept_until_it_is_dropped() {
        let one = Placeholder::start(0).expect("start");
        let path = format!("/proc/{}", one.pid());
        assert!(std::path::Path::new(&path).exists());
        drop(one);
        assert!(!std::path::Path::new(&path).exists());
    }

    #[test]
    fn a_place_in_a_user_namespace_that_is_there() {
        let maker = match Placeholder::start(libc::CLONE_NEWUSER as u64) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOSPC)) => {
                return println!("skipped: no user namespaces");
            }
            other => other.expect("start"),
        };
        let open =
            |pid: i32, kind: &str| std::fs::File::open(format!("/proc/{pid}/ns/{kind}")).expect("open");
        let user = open(maker.pid(), "user");
        let one = match Placeholder::start_in(&user, libc::CLONE_NEWNET as u64) {
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                return println!("skipped: needs CAP_SYS_ADMIN");
            }
            other => other.expect("start in it"),
        };
        let owner = crate::namespace::owner_of(open(one.pid(), "net")).expect("owner");
        let inode = |file: std::fs::File| {
            file.metadata().map(|m| std::os::unix::fs::MetadataExt::ino(&m)).expect("stat")
        };
        assert_eq!(inode(owner.into()), inode(user));
        let file = std::fs::File::open("/proc/self/status").expect("open");
        assert!(Placeholder::start_in(file, 0).is_err());
    }

    #[test]
    fn signals_by_number() {
        let me = pidfd_open(getpid(), PidfdFlags::empty()).expect("pidfd");
        signal(&me, 0).expect("we are here");
        assert_eq!(signal(&me, 1000).expect_err("no signal").raw_os_error(), Some(libc::EINVAL));
        let child = std::process::Command::new("sleep").arg("60").spawn();
        let Ok(mut child) = child else { return println!("skipped: no sleep") };
        let pid = rustix::process::Pid::from_child(&child);
        let fd = pidfd_open(pid, PidfdFlags::empty()).expect("pidfd");
        signal(&fd, libc::SIGRTMIN() + 3).expect("signal");
        let status = child.wait().expect("wait");
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(libc::SIGRTMIN() + 3));
        assert_eq!(signal(&fd, 0).expect_err("gone").raw_os_error(), Some(libc::ESRCH));
    }
}
