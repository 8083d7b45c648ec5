//! Which version of Landlock's interface the kernel has, landlock(7).
#![allow(unsafe_code)]

/// The version, 0 without Landlock.
#[must_use]
pub fn version() -> u32 {
    const LANDLOCK_CREATE_RULESET_VERSION: u32 = 1;
    // SAFETY: asking for the version takes no structure: a null pointer of size 0.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<u8>(),
            0_usize,
            LANDLOCK_CREATE_RULESET_VERSION,
        )
    };
    u32::try_from(version).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn asking_does_no_harm() {
        assert!(super::version() < 1000);
    }
}
