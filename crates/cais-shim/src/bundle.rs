//! The shim under an OCI runtime: it is the container's first process, or makes it and ends.
//!
//! The conversation (`cais_plan::wire`): at its points the first process tells the runtime and waits for the go; then
//! it closes that socket and waits for whoever starts the container. The end of the stream without a word of failure
//! means that the command was executed. A runtime that is gone while we wait for it ends us: nobody would ever know of
//! this container. While the start is awaited nothing is open but standard streams, what the command keeps, and the
//! listening socket.

use cais_plan::wire::{self, NO_STEP, detail};
use cais_plan::{Plan, Steps};

use crate::child::{Child, plain};
use crate::mounts::Failure;
use crate::peer::Peer;
use crate::signals;
use crate::sys::{self, POLLIN, PollFd};

/// Role `FIRST`: the namespaces are there, all steps are ours.
pub fn first(plan: &Plan<'_>) -> ! {
    let mut child = Child::of_bundle(plan);
    child.carry_out(plan.steps())
}

/// Role `PARENT`: the first steps are ours, the rest is the clone's, whose pid we tell.
pub fn parent(plan: &Plan<'_>) -> ! {
    let setup = &plan.setup;
    let mut child = Child::of_bundle(plan);
    let mut steps = plan.steps();
    for _ in 0..setup.outer {
        let step = steps.next();
        child.take(step);
    }
    let peer = child.peer;
    // The clone waits for a byte, so that our word of it comes before any of its own.
    let gate = sys::pipe();
    let Ok((ready, open)) = gate else { peer.fail(NO_STEP, sys::ENOMEM, detail::CLONE, -1) };
    // SAFETY: one thread; parent and child go separate ways.
    match unsafe { sys::clone3(setup.clone_flags | sys::CLONE_PARENT, setup.cgroup_fd) } {
        Err(errno) => peer.fail(NO_STEP, errno, detail::CLONE, -1),
        Ok((0, _)) => go_on(child, steps, ready, open),
        Ok((pid, pidfd)) => {
            let mut message = [wire::CLONED; 5];
            message[1..].copy_from_slice(&pid.to_ne_bytes());
            if sys::send_fd(peer.fd, &message, pidfd).is_err() {
                sys::exit(1);
            }
            let _ = sys::write_all(open, b"g");
            sys::exit(0)
        }
    }
}

fn go_on<'a>(mut child: Child<'a>, steps: Steps<'a>, ready: i32, open: i32) -> ! {
    sys::close(open);
    if sys::read(ready, &mut [0; 1]) != Ok(1) {
        sys::exit(1);
    }
    sys::close(ready);
    // It may show the processes of another PID namespace.
    child.forget_proc();
    child.carry_out(steps)
}

impl Child<'_> {
    pub(crate) fn sync(&mut self, word: u32) -> Result<(), Failure> {
        // Without the runtime there is nobody to tell a failure to.
        if self.peer.point(word).is_err() {
            sys::exit(1);
        }
        self.take_go()
    }

    pub(crate) fn take_go(&mut self) -> Result<(), Failure> {
        match plain(self.peer.wait_for_go())? {
            Some(text) => {
                self.text = text;
                Ok(())
            }
            None => sys::exit(1),
        }
    }

    pub(crate) fn wait_start(&mut self) -> Result<(), Failure> {
        if self.start_fd < 0 {
            return Err((sys::EINVAL, detail::PLAN));
        }
        // Nothing of the host stays open in a process that may wait here for days.
        plain(sys::dup_cloexec(self.start_fd, self.kept))?;
        let listener = self.kept;
        sys::close_range(listener as u32 + 1, u32::MAX);
        self.forget_descriptors();
        let (starter, text) = wait_for_starter(listener);
        sys::close(listener);
        self.peer = Peer::socket(starter);
        self.text = text;
        Ok(())
    }
}

/// The first connection whose first word is the go; others are closed. One at a time: only the container's owner can
/// connect. A signal that ends programs ends us, as it would end the command.
fn wait_for_starter(listener: i32) -> (i32, &'static [u8]) {
    let signals = sys::signalfd(signals::ENDING).unwrap_or(-1);
    let mut starter = -1;
    loop {
        let waits_on = if starter < 0 { listener } else { starter };
        let mut fds = [waits_on, signals].map(|fd| PollFd { fd, events: POLLIN, revents: 0 });
        let _ = sys::poll(&mut fds, -1);
        if fds[1].revents != 0 {
            signals::end_by_pending(signals);
        }
        if fds[0].revents == 0 {
            continue;
        }
        if starter < 0 {
            starter = match sys::accept_waiting(listener) {
                Ok(fd) => fd,
                Err(sys::EINTR | sys::EAGAIN | sys::ECONNABORTED) => -1,
                // Nobody could ever start this container.
                Err(_) => sys::exit(1),
            };
            continue;
        }
        if let Ok(Some(text)) = Peer::socket(starter).wait_for_go() {
            sys::close(signals);
            return (starter, text);
        }
        sys::close(starter);
        starter = -1;
    }
}
