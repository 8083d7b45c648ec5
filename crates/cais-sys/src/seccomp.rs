//! Which flags of seccomp(2) the kernel knows; no filter is ever loaded here.

/// Whether the kernel takes these `SECCOMP_FILTER_FLAG_*`. Asks with a program at address 0: the kernel looks at flags
/// first and says `EINVAL` for those it does not know, and `EFAULT` otherwise. A filter that forbids the call is `false`.
pub fn knows_flags(flags: u32) -> bool {
    const SECCOMP_SET_MODE_FILTER: libc::c_uint = 1;
    let no_program = std::ptr::null::<libc::sock_fprog>();
    // SAFETY: the kernel reads the program and finds none; nothing is changed and nothing of ours is written.
    unsafe {
        libc::syscall(libc::SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, no_program) == -1
            && *libc::__errno_location() == libc::EFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::knows_flags;

    #[test]
    fn flags_are_told_apart_and_nothing_is_loaded() {
        let status = || std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let mode = |status: &str| status.lines().find(|line| line.starts_with("Seccomp:")).map(str::to_owned);
        let before = mode(&status());
        if !knows_flags(0) {
            println!("skipped: seccomp(2) is not allowed here");
            return;
        }
        assert!(knows_flags(1 << 1) && knows_flags(1 << 2), "log and spec_allow");
        assert!(!knows_flags(1 << 31));
        // Only with a listener.
        assert!(!knows_flags(1 << 5));
        assert_eq!(mode(&status()), before);
    }
}
