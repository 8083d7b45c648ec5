//! Signal masks and dispositions: all blocked in the shim, all default and open in the command.

use crate::sys;

/// Every signal.
pub const ALL: u64 = u64::MAX;

/// Signals whose default action ends a program and that can be caught: all but CHLD, CONT, STOP, TSTP, TTIN, TTOU, URG,
/// WINCH and KILL.
pub const ENDING: u64 =
    !(bit(9) | bit(17) | bit(18) | bit(19) | bit(20) | bit(21) | bit(22) | bit(23) | bit(28));

const fn bit(signal: u32) -> u64 {
    1 << (signal - 1)
}

/// Ends by the signal that is pending on `signalfd`; PID 1 of a namespace, which signals do not end, exits as a shell
/// would report it.
pub fn end_by_pending(signalfd: i32) {
    // struct signalfd_siginfo begins with the signal's number.
    let mut information = [0_u8; 128];
    let Ok(128) = sys::read(signalfd, &mut information) else { return };
    let signal = i32::from(information[0]);
    reset();
    let _ = sys::kill(sys::getpid(), signal);
    sys::exit(128 + signal)
}

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
