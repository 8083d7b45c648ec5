//! The shim: launches one container by its plan, stays as its monitor, is PID 1 for `--init`.
//!
//! No std, no libc, no allocator: a static program of some tens of kilobytes that the engine embeds and starts from a
//! sealed memfd. It is the only code of cais that ever runs inside a container. One thread, one poll loop, no wake-up
//! when idle. It never decides: what to do is in the plan, what needs thought is a spawn of the main program.

#![no_std]
#![allow(unsafe_code)]

pub mod aftermath;
pub mod between;
pub mod bind;
pub mod bundle;
pub mod child;
pub mod client;
pub mod command;
pub mod confine;
pub mod copy;
pub mod creds;
pub mod directory;
pub mod errand;
pub mod filesystem;
pub mod hook;
pub mod init;
pub mod input;
pub mod json;
pub mod launch;
pub mod line;
pub mod listener;
pub mod log;
pub mod mask;
pub mod monitor;
pub mod mounts;
pub mod node;
pub mod oom;
pub mod peer;
pub mod probe;
pub mod procfs;
pub mod report;
pub mod root;
pub mod rotation;
pub mod signals;
pub mod stdio;
pub mod sys;
pub mod time_limit;

use cais_plan::{Plan, role};

/// Descriptor of the plan, placed by the engine; another one is named by the first argument.
pub const PLAN_FD: i32 = 3;

/// Reads the plan, and launches and monitors, or is the container's first process; returns the shim's own exit status.
///
/// # Safety
/// Called once, from the program's entry, with nothing else in the process. `stack` is what the kernel left on the
/// stack of a new program: argc, then the arguments.
pub unsafe fn main(stack: *const usize) -> i32 {
    // SAFETY: argc is the first word; argv has argc elements.
    let argument = unsafe { if stack.read() > 1 { Some(*stack.add(2) as *const u8) } else { None } };
    signals::block_all();
    // SAFETY: arguments end with a NUL.
    let plan_fd = argument.map_or(PLAN_FD, |text| unsafe { number(text) });
    let Some(bytes) = sys::map_whole(plan_fd) else { return 121 };
    let Ok(plan) = Plan::parse(bytes) else { return 122 };
    let bundle = plan.setup.role != role::MONITOR;
    let name = if bundle { c"cais-init" } else { c"cais-shim" };
    let _ = sys::prctl(sys::PR_SET_NAME, name.as_ptr() as usize, 0, 0, 0);
    match plan.setup.role {
        role::MONITOR => monitor::run(&plan),
        role::FIRST | role::PARENT => {
            sys::close(plan_fd);
            if plan.setup.role == role::FIRST { bundle::first(&plan) } else { bundle::parent(&plan) }
        }
        _ => 122,
    }
}

/// A decimal number.
///
/// # Safety
/// `text` ends with a NUL.
unsafe fn number(text: *const u8) -> i32 {
    let mut value = 0_i32;
    for at in 0..9 {
        // SAFETY: no further than the NUL.
        let digit = unsafe { *text.add(at) };
        if !digit.is_ascii_digit() {
            break;
        }
        value = value * 10 + i32::from(digit - b'0');
    }
    value
}
