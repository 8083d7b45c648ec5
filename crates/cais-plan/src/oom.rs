//! The kernel's count of kills for memory in a cgroup: `memory.events` (v2) and `memory.oom_control` (v1, Linux 4.13).

/// Kills so far, from the line `oom_kill N`; 0 without one.
#[must_use]
pub fn kills(text: &[u8]) -> u64 {
    let count = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"oom_kill "));
    let digits = count.unwrap_or_default().iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0_u64, |value, digit| value.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions() {
        assert_eq!(kills(b"low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n"), 2);
        assert_eq!(kills(b"oom_kill_disable 0\nunder_oom 0\noom_kill 10\n"), 10);
        assert_eq!(kills(b""), 0);
    }
}
