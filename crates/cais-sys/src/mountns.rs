//! A mount namespace for one thread, mount_namespaces(7): what it mounts nobody else sees, and it goes with the thread.
#![allow(unsafe_code)]

use rustix::io::Errno;
use rustix::thread::{UnshareFlags, unshare_unsafe};

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
