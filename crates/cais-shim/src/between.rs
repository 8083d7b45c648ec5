//! A process between the monitor and the container's first one, for a container with a user namespace of its own: it has
//! the engine's rights, and the host's files in reach, until it has joined that namespace, user_namespaces(7).

use cais_plan::Plan;
use cais_plan::wire::{NO_STEP, detail};

use crate::child::{Child, Wiring};
use crate::peer::Peer;
use crate::sys;

/// The child in between: carries out the first steps, makes the container's first process as its own sibling, tells its
/// pid on the pipe `report` and ends.
pub fn run(plan: &Plan<'_>, wiring: Wiring, report: i32) -> ! {
    let setup = &plan.setup;
    let mut child = Child::new(setup, wiring, Peer::pipe(wiring.error));
    let mut steps = plan.steps();
    for _ in 0..setup.outer {
        let step = steps.next();
        child.take(step);
    }
    // SAFETY: one thread; parent and child go separate ways.
    match unsafe { sys::clone3(setup.clone_flags | sys::CLONE_PARENT, -1) } {
        Err(errno) => child.peer.fail(NO_STEP, errno, detail::CLONE, -1),
        Ok((0, _)) => {
            sys::close(report);
            // It may show the processes of another PID namespace.
            child.forget_proc();
            child.carry_out(steps)
        }
        Ok((pid, _)) => {
            let _ = sys::write_all(report, &pid.to_ne_bytes());
            sys::exit(0)
        }
    }
}
