//! The shim: launches one container by its plan, stays as its monitor, is PID 1 for `--init`.
//!
//! No std, no libc, no allocator: a static program of some tens of kilobytes that the engine embeds and starts from a
//! sealed memfd. It is the only code of cais that ever runs inside a container. One thread, one poll loop, no wake-up
//! when idle. It never decides: what to do is in the plan, what needs thought is a spawn of the main program.

#![no_std]
#![allow(unsafe_code)]

pub mod child;
pub mod creds;
pub mod init;
pub mod input;
pub mod launch;
pub mod line;
pub mod log;
pub mod monitor;
pub mod mounts;
pub mod signals;
pub mod sys;

use cais_plan::Plan;

/// Descriptor of the plan, placed by the engine.
pub const PLAN_FD: i32 = 3;

/// Reads the plan, launches, monitors; returns the shim's own exit status.
///
/// # Safety
/// Called once, from the program's entry, with nothing else in the process.
pub unsafe fn main() -> i32 {
    let _ = sys::prctl(sys::PR_SET_NAME, c"cais-shim".as_ptr() as usize, 0, 0, 0);
    signals::block_all();
    let Some(bytes) = sys::map_whole(PLAN_FD) else { return 121 };
    let Ok(plan) = Plan::parse(bytes) else { return 122 };
    monitor::run(&plan)
}
