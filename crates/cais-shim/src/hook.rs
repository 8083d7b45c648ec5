//! Hooks that run inside the container: `createContainer` and `startContainer` of the runtime specification.
//!
//! A hook gets the state on its standard input, nothing else of ours, and what it says is kept in memory: it is told
//! when the hook fails, and belongs to no stream of the container.

use core::sync::atomic::{AtomicUsize, Ordering};

use cais_plan::wire::detail;
use cais_plan::{Bytes, Str, Strings};

use crate::child::{Child, STREAMS, plain};
use crate::command::vectors;
use crate::mounts::Failure;
use crate::peer::Peer;
use crate::sys::{self, POLLIN, PollFd};
use crate::{init, listener, signals};

/// The fields of the step.
#[derive(Clone, Copy)]
pub(crate) struct Hook<'a> {
    pub(crate) path: Str<'a>,
    pub(crate) args: Strings<'a>,
    pub(crate) env: Strings<'a>,
    pub(crate) timeout_ms: u64,
    pub(crate) filter: Bytes<'a>,
    pub(crate) filter_flags: u32,
    pub(crate) listener: bool,
}

impl Child<'_> {
    pub(crate) fn hook(&mut self, hook: Hook<'_>) -> Result<(), Failure> {
        let input = plain(sys::memfd(c"state".to_bytes()))?;
        plain(sys::write_all(input, self.text).and_then(|()| sys::seek(input, 0)))?;
        let output = plain(sys::memfd(c"hook".to_bytes()))?;
        let trouble = plain(sys::map_shared_word())?;
        // SAFETY: one thread; the child only becomes the hook.
        match plain(unsafe { sys::clone3(0, -1) })? {
            (0, _) => {
                let errno = self.become_hook(hook, (input, output));
                trouble.store(errno.0 as usize, Ordering::SeqCst);
                sys::exit(127)
            }
            (pid, pidfd) => {
                sys::close(input);
                let ended = wait_for_hook(pid, pidfd, hook.timeout_ms, trouble);
                sys::close(pidfd);
                if ended.is_err() {
                    self.said = output;
                } else {
                    sys::close(output);
                }
                ended
            }
        }
    }

    /// In the clone: only returns when the hook cannot be executed. `streams` are its input and its output.
    fn become_hook(&self, hook: Hook<'_>, streams: (i32, i32)) -> sys::Errno {
        let home = self.home_variable();
        let prepared = || -> sys::Result<_> {
            if !self.entered && self.root >= 0 {
                sys::fchdir(self.root)?;
            }
            sys::dup_to(streams.0, 0)?;
            sys::dup_to(streams.1, 1)?;
            sys::dup_to(streams.1, 2)?;
            sys::dup_cloexec(self.peer.fd, STREAMS)?;
            sys::close_range(STREAMS as u32 + 1, u32::MAX);
            sys::umask(self.umask);
            signals::reset();
            let vectors = vectors(hook.args, hook.env, &home)?;
            self.filter_hook(hook)?;
            Ok(vectors)
        };
        match prepared() {
            Ok((argv, envp)) => sys::execve(hook.path.0, argv, envp),
            Err(errno) => errno,
        }
    }

    /// Each hook has a filter of its own: what surrounds it may need calls that the filter forbids.
    fn filter_hook(&self, hook: Hook<'_>) -> sys::Result<()> {
        if hook.filter.0.is_empty() {
            return Ok(());
        }
        if !hook.listener {
            return sys::seccomp_filter(hook.filter.0, hook.filter_flags).map(drop);
        }
        if !listener::load(Peer::socket(STREAMS), hook.filter.0, hook.filter_flags)? {
            sys::exit(1);
        }
        Ok(())
    }
}

fn wait_for_hook(pid: i32, pidfd: i32, timeout_ms: u64, trouble: &AtomicUsize) -> Result<(), Failure> {
    let start = sys::monotonic_ms();
    loop {
        let passed = sys::monotonic_ms().saturating_sub(start);
        if timeout_ms > 0 && passed >= timeout_ms {
            let _ = sys::pidfd_send_signal(pidfd, sys::SIGKILL);
            let _ = sys::wait(pid, true);
            return Err((sys::ETIMEDOUT, detail::HOOK_TIMEOUT));
        }
        let patience =
            if timeout_ms == 0 { -1 } else { i32::try_from(timeout_ms - passed).unwrap_or(i32::MAX) };
        let mut fds = [PollFd { fd: pidfd, events: POLLIN, revents: 0 }];
        if let Ok(1..) = sys::poll(&mut fds, patience) {
            break;
        }
    }
    let status = match plain(sys::wait(pid, true))? {
        Some((_, status)) => status,
        None => 0,
    };
    match (trouble.load(Ordering::SeqCst), init::exit_code(status)) {
        (0, 0) => Ok(()),
        (0, code) => Err((sys::Errno(code), detail::HOOK)),
        (errno, _) => Err((sys::Errno(errno as i32), detail::NONE)),
    }
}
