//! A mount namespace for one thread, mount_namespaces(7): what it mounts nobody else sees, and it goes with the thread.
//! Or a look into that of another process.
#![allow(unsafe_code)]

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::thread::{ThreadNameSpaceType, UnshareFlags, move_into_thread_name_spaces, unshare_unsafe};

/// Moves the calling thread, and no other, into a copy of its mount namespace (`unshare(CLONE_NEWNS)`, unshare(2)); its
/// root and working directory are its own from then on. Mounts still propagate until `/` is made private. Needs
/// `CAP_SYS_ADMIN`.
///
/// # Errors
/// Those of unshare(2).
pub fn unshare_mounts() -> Result<(), Errno> {
    // SAFETY: the hazard of unshare(2) is CLONE_FILES, which gives the thread another descriptor table; NEWNS
    // changes only which mounts this thread's later calls see.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }
}

/// A copy of the mount at a path of another process's tree, mounted nowhere; what is mounted beneath is left out. The
/// process is named by a pidfd, the path is resolved from the root of its mount namespace and never leaves it.
///
/// # Errors
/// Those of setns(2) and open_tree(2); `ENOENT` when there is no such path.
pub fn copy_of_mount(process: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    let there = || {
        // SAFETY: the hazard of unshare(2) is CLONE_FILES; FS gives this thread, which ends with the call, a root and a
        // working directory of its own, without which setns(2) refuses a mount namespace.
        unsafe { unshare_unsafe(UnshareFlags::FS) }?;
        move_into_thread_name_spaces(process, ThreadNameSpaceType::MOUNT)?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        open_tree(CWD, path, flags | OpenTreeFlags::AT_SYMLINK_NOFOLLOW)
    };
    let result = std::thread::scope(|scope| scope.spawn(there).join());
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_calling_thread_moves() {
        let link = |thread: &str| std::fs::read_link(format!("/proc/{thread}/ns/mnt")).expect("readlink");
        let before = link("thread-self");
        let inside =
            std::thread::spawn(move || unshare_mounts().map(|()| link("thread-self"))).join().expect("join");
        match inside {
            Ok(inside) => assert_ne!(inside, before),
            Err(Errno::PERM) => println!("skipped: needs CAP_SYS_ADMIN"),
            Err(error) => panic!("unshare: {error}"),
        }
        assert_eq!(link("thread-self"), before);
    }
}
