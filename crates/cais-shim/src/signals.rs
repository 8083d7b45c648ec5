//! Signal masks and dispositions: all blocked in the shim, all default and open in the command.

use crate::sys;

/// Every signal.
pub const ALL: u64 = u64::MAX;

/// Blocks all signals: the monitor is told of everything by descriptors.
pub fn block_all() {
    sys::sigmask(ALL);
}

/// Default actions and no blocked signal, as a program expects at its start.
pub fn reset() {
    const SIGKILL: i32 = 9;
    const SIGSTOP: i32 = 19;
    for signal in 1..=64 {
        if signal != SIGKILL && signal != SIGSTOP {
            sys::sigaction_default(signal);
        }
    }
    sys::sigmask(0);
}
