//! The start: pipes, the clone, and waiting until the child has become the command or said why not.

use cais_plan::wire::{NO_STEP, detail};
use cais_plan::{Plan, RESTORED, Setup};

use crate::child::{self, Wiring};
use crate::{PLAN_FD, between, init, sys};

/// A command that runs, and our ends of its streams; -1 where there is none.
pub struct Launched {
    /// As the host sees it.
    pub pid: i32,
    /// Readable at its end.
    pub pidfd: i32,
    /// Master of its terminal.
    pub terminal: i32,
    /// Write end of its input.
    pub stdin: i32,
    /// Read end of its output.
    pub stdout: i32,
    /// Read end of its error output.
    pub stderr: i32,
    /// Nanoseconds since 1970.
    pub started_ns: u64,
}

/// Payload of a `FAILED` message.
pub type Message = [u8; 12];

fn failure(index: u32, errno: sys::Errno, word: u32) -> Message {
    let mut message = [0; 12];
    message[..4].copy_from_slice(&index.to_ne_bytes());
    message[4..8].copy_from_slice(&errno.0.to_ne_bytes());
    message[8..].copy_from_slice(&word.to_ne_bytes());
    message
}

/// Clones the child and waits until it has become the command or said why not.
///
/// # Errors
/// What to tell the owner.
pub fn launch(plan: &Plan<'_>) -> Result<Launched, Message> {
    let setup = &plan.setup;
    let mut own_pid_namespace = -1;
    let mut pipes = || -> sys::Result<_> {
        let error = sys::pipe()?;
        let terminal = if setup.tty { sys::packet_pair()? } else { (-1, -1) };
        let input = if setup.stdin && !setup.tty { sys::pipe()? } else { (-1, -1) };
        let output = if setup.tty { (-1, -1) } else { sys::pipe()? };
        let errors = if setup.tty { (-1, -1) } else { sys::pipe()? };
        sys::setsid()?;
        if setup.join_pid_fd >= 0 {
            own_pid_namespace = sys::open(c"/proc/self/ns/pid".to_bytes(), sys::O_RDONLY)?;
            sys::setns(setup.join_pid_fd, setup.join_flags)?;
        }
        Ok((error, terminal, input, output, errors))
    };
    let (error, terminal, input, output, errors) = pipes().map_err(|e| failure(NO_STEP, e, detail::CLONE))?;
    let wiring =
        Wiring { error: error.1, stdin: input.0, stdout: output.1, stderr: errors.1, terminal: terminal.1 };
    let ours = [error.0, terminal.0, input.1, output.0, errors.0];
    let report = if setup.outer > 0 { sys::pipe() } else { Ok((-1, -1)) };
    let report = report.map_err(|e| failure(NO_STEP, e, detail::CLONE))?;
    let namespaces = if setup.outer > 0 { 0 } else { setup.clone_flags };
    // SAFETY: one thread; the child runs the plan and never returns here.
    let cloned = unsafe { sys::clone3(namespaces, setup.cgroup_fd) };
    let (mut pid, mut pidfd) = cloned.map_err(|e| failure(NO_STEP, e, detail::CLONE))?;
    if pid == 0 {
        forget_monitor(setup, &ours);
        sys::close(own_pid_namespace);
        sys::close(report.0);
        if setup.outer > 0 { between::run(plan, wiring, report.1) } else { child::run(plan, wiring) }
    }
    // What the monitor starts later (the main program, probes) is none of the namespace that was joined. Not possible
    // after an exec has joined a user namespace, and not needed: its monitor starts nothing.
    if own_pid_namespace >= 0 {
        let _ = sys::setns(own_pid_namespace, sys::CLONE_NEWPID);
        sys::close(own_pid_namespace);
    }
    for fd in [error.1, terminal.1, input.0, output.1, errors.1, setup.join_pid_fd, setup.cgroup_fd, PLAN_FD]
    {
        if fd >= 0 {
            sys::close(fd);
        }
    }
    if setup.outer > 0 {
        sys::close(report.1);
        sys::close(pidfd);
        let between = pid;
        pid = reported_pid(report.0);
        let _ = sys::wait(between, true);
        if pid == 0 {
            wait_for_exec(error.0, between)?;
            return Err(failure(NO_STEP, sys::EIO, detail::DIED));
        }
        pidfd = sys::pidfd_open(pid).map_err(|e| failure(NO_STEP, e, detail::CLONE))?;
    }
    let master = if terminal.0 >= 0 { sys::recv_fd(terminal.0).ok().flatten().unwrap_or(-1) } else { -1 };
    sys::close(terminal.0);
    wait_for_exec(error.0, pid)?;
    let (pid, pidfd) = match setup.restored_fd {
        -1 => (pid, pidfd),
        directory => {
            sys::close(pidfd);
            restored(pid, directory)?
        }
    };
    Ok(Launched {
        pid,
        pidfd,
        terminal: master,
        stdin: input.1,
        stdout: if master >= 0 { master } else { output.0 },
        stderr: errors.0,
        started_ns: sys::now_ns(),
    })
}

/// Waits for the command that restores the container; the process that it has left to us, whose pid is in a file.
fn restored(command: i32, directory: i32) -> Result<(i32, i32), Message> {
    let failed = |errno| failure(NO_STEP, errno, detail::RESTORE);
    let status = sys::wait(command, true).map_err(failed)?;
    let code = status.map_or(0, |(_, status)| init::exit_code(status));
    if code != 0 {
        return Err(failed(sys::Errno(code)));
    }
    let mut text = [0_u8; 16];
    let file = sys::openat(directory, RESTORED.to_bytes(), 0, 0).map_err(failed)?;
    let length = sys::read(file, &mut text).map_err(failed)?;
    let digits = text[..length].iter().take_while(|byte| byte.is_ascii_digit());
    let pid = digits.fold(0_i32, |pid, digit| pid.wrapping_mul(10).wrapping_add(i32::from(digit - b'0')));
    sys::close(file);
    sys::close(directory);
    if pid <= 0 {
        return Err(failed(sys::EIO));
    }
    Ok((pid, sys::pidfd_open(pid).map_err(failed)?))
}

/// What only the monitor needs must not reach the container, not even until the exec.
fn forget_monitor(setup: &Setup<'_>, ours: &[i32]) {
    for fd in [
        setup.owner_fd,
        setup.lock_fd,
        setup.listen_fd,
        setup.log_fd,
        setup.log_dir_fd,
        setup.exit_dir_fd,
        setup.oom_fd,
        setup.oom_control_fd,
        setup.cgroup_fd,
        setup.restored_fd,
        PLAN_FD,
    ] {
        sys::close(fd);
    }
    for fd in ours {
        sys::close(*fd);
    }
}

/// The pid of the container's first process, which the process in between made as its own sibling; 0 when it failed.
fn reported_pid(pipe: i32) -> i32 {
    let mut word = [0_u8; 4];
    // Written at once: there are four bytes or none.
    let got = loop {
        match sys::read(pipe, &mut word) {
            Err(sys::EINTR) => {}
            other => break other,
        }
    };
    sys::close(pipe);
    if got == Ok(word.len()) { i32::from_ne_bytes(word) } else { 0 }
}

/// The error pipe ends at the exec; bytes on it are the child's last words.
fn wait_for_exec(pipe: i32, pid: i32) -> Result<(), Message> {
    let mut words = [0_u8; 12];
    let mut got = 0;
    while got < words.len() {
        match sys::read(pipe, &mut words[got..]) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(sys::EINTR) => {}
            Err(_) => break,
        }
    }
    sys::close(pipe);
    if got == 0 {
        return Ok(());
    }
    let _ = sys::wait(pid, true);
    if got < words.len() {
        return Err(failure(NO_STEP, sys::EIO, detail::DIED));
    }
    Err(words)
}
