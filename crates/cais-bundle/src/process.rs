//! A process that cannot be mistaken for another one: its pid with the time of its start, proc_pid_stat(5).
//!
//! Pids are used again. What is signalled here is opened as a pidfd first and compared after that, so that between
//! looking and acting it cannot have become somebody else.

use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

use crate::machine::read_kernel;

/// A process by pid and start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// As the host sees it.
    pub(crate) pid: i32,
    /// Clock ticks after the boot, field 22 of `/proc/PID/stat`.
    pub(crate) start: u64,
}

/// What `/proc/PID/stat` says of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    state: u8,
    start: u64,
}

impl Identity {
    /// Of a process that is there.
    ///
    /// # Errors
    /// When it is not.
    pub(crate) fn of(pid: i32) -> io::Result<Identity> {
        let text = read_kernel(&format!("/proc/{pid}/stat"))?;
        let stat = parse(&text).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        Ok(Identity { pid, start: stat.start })
    }

    /// It has not ended; a zombie has.
    pub(crate) fn is_alive(&self) -> bool {
        let Ok(text) = read_kernel(&format!("/proc/{}/stat", self.pid)) else { return false };
        parse(&text).is_some_and(|stat| stat.start == self.start && !matches!(stat.state, b'Z' | b'X' | b'x'))
    }

    /// A pidfd of it; `None` when it has ended.
    pub(crate) fn open(&self) -> Option<OwnedFd> {
        let fd = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()?;
        self.is_alive().then_some(fd)
    }
}

/// The name in parentheses may hold anything, parentheses and line ends too: the last one counts.
pub(crate) fn parse(text: &[u8]) -> Option<Stat> {
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(text.get(end + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    // The state is field 3.
    let start = fields.nth(22 - 4)?.parse().ok()?;
    Some(Stat { state, start })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_lines() {
        let line = b"77 (a) b (c) S 1 77 77 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 1 2 3";
        assert_eq!(parse(line), Some(Stat { state: b'S', start: 987_654 }));
        assert_eq!(parse(b"77 (x"), None);
        assert_eq!(parse(b"77 (x) Z 1"), None);
        for cut in 0..line.len() {
            let _ = parse(&line[..cut]);
        }
    }

    #[test]
    fn another_start_is_another_process() {
        let me = Identity::of(std::process::id() as i32).unwrap();
        assert!(me.is_alive());
        assert!(me.open().is_some());
        let other = Identity { start: me.start + 1, ..me };
        assert!(!other.is_alive());
        assert!(other.open().is_none());
        assert!(Identity::of(i32::MAX).is_err());
    }
}
