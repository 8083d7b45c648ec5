//! Whether the kernel has the x32 ABI (`CONFIG_X86_X32_ABI`, and `syscall.x32=` where a distribution switches it off).

/// Whether x32 system calls are carried out. Asks with a harmless getpid(2), but only when no seccomp filter watches
/// this process, since a filter may kill for it; then, and on errors, the answer is `true`: "perhaps".
pub fn may_exist() -> bool {
    if !cfg!(target_arch = "x86_64") {
        return false;
    }
    const X32_GETPID: libc::c_long = 0x4000_0000 + 39;
    // SAFETY: both calls take and return integers only.
    unsafe {
        if libc::prctl(libc::PR_GET_SECCOMP, 0, 0, 0, 0) != 0 {
            return true;
        }
        libc::syscall(X32_GETPID) != -1 || *libc::__errno_location() != libc::ENOSYS
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn asking_does_no_harm() {
        let first = super::may_exist();
        assert_eq!(first, super::may_exist());
    }
}
