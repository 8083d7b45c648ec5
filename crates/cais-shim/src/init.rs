//! PID 1 for `--init`: forwards signals to the command, reaps orphans, ends with the command's status. Without a command
//! (the container whose namespaces a pod shares) it only stays and reaps.

use crate::{signals, sys};

/// Stays until `command` has ended; all signals are blocked and waited for.
pub fn run(command: i32) -> ! {
    become_init(c"cais-init");
    loop {
        match sys::sigwait(signals::ALL) {
            Ok(sys::SIGCHLD) => {
                while let Ok(Some((pid, status))) = sys::wait(-1, false) {
                    if pid == command {
                        sys::exit(exit_code(status));
                    }
                }
            }
            Ok(signal) => {
                let _ = sys::kill(command, signal);
            }
            Err(_) => {}
        }
    }
}

/// Stays until it is asked to end; all signals are blocked and waited for.
pub fn stay() -> ! {
    const SIGINT: i32 = 2;
    const SIGTERM: i32 = 15;
    become_init(c"cais-pod");
    loop {
        match sys::sigwait(signals::ALL) {
            Ok(sys::SIGCHLD) => while let Ok(Some(_)) = sys::wait(-1, false) {},
            Ok(SIGTERM | SIGINT) => sys::exit(0),
            _ => {}
        }
    }
}

/// Nothing of the launch may stay open: the error pipe above all, whose end tells of the successful exec.
fn become_init(name: &core::ffi::CStr) {
    sys::close_range(0, u32::MAX);
    let _ = sys::prctl(sys::PR_SET_NAME, name.as_ptr() as usize, 0, 0, 0);
}

/// A shell's view of a wait status: the exit code, or 128 plus the signal.
#[must_use]
pub fn exit_code(status: i32) -> i32 {
    let signal = status & 0x7f;
    if signal == 0 { (status >> 8) & 0xff } else { 128 + signal }
}

#[cfg(test)]
mod tests {
    use super::exit_code;

    #[test]
    fn codes() {
        assert_eq!(exit_code(3 << 8), 3);
        assert_eq!(exit_code(9), 137);
        assert_eq!(exit_code(0x80 | 11), 139);
    }
}
