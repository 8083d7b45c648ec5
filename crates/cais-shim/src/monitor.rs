//! The monitor: starts the child, then one poll loop over its pidfd, its output, and the clients' sockets.
//!
//! Output is read only when the last piece has reached the log and every attached client: a slow reader slows the
//! container down, memory stays bounded, nothing is lost. After the end the exit record is written before anybody is
//! told; then an owner that is still connected cleans up, or the main program is spawned to do so.

use cais_plan::wire::{self, NO_STEP, PACKET_BYTES, detail};
use cais_plan::{Plan, Setup};

use crate::child::{self, Wiring};
use crate::log::Log;
use crate::sys::{self, POLLIN, POLLOUT, PollFd};
use crate::{PLAN_FD, init};

/// Clients at one time; further ones are refused by closing.
const CLIENTS: usize = 24;
/// Bytes of one piece of output.
const PIECE: usize = PACKET_BYTES - 1;
/// After the end a client other than the owner has this long to take what is left.
const PATIENCE_MS: i32 = 5000;

#[derive(Clone, Copy)]
struct Client {
    fd: i32,
    /// Gets output.
    attached: bool,
    /// Gives input.
    stdin: bool,
    /// Does what comes after the exit.
    owner: bool,
    /// Wants to hear of the exit.
    waits: bool,
    /// Has to be told of the exit as soon as its socket takes it.
    exit_due: bool,
}

const NOBODY: Client =
    Client { fd: -1, attached: false, stdin: false, owner: false, waits: false, exit_due: false };

/// One of the command's outputs, with the piece that is on its way to the clients.
struct Output {
    fd: i32,
    kind: u8,
    piece: &'static mut [u8],
    length: usize,
    /// Clients that have not got the piece yet, by bit.
    pending: u32,
}

/// Input on its way to the command.
struct Input {
    fd: i32,
    piece: &'static mut [u8],
    start: usize,
    end: usize,
    /// Close when the piece is written.
    ending: bool,
    tty: bool,
}

struct Monitor<'a> {
    setup: Setup<'a>,
    pid: i32,
    pidfd: i32,
    terminal: i32,
    clients: [Client; CLIENTS],
    outputs: [Output; 2],
    input: Input,
    log: Log,
    started_ns: u64,
    status: Option<i32>,
    reported: bool,
    done: bool,
    abandoned: bool,
}

/// Launches the plan and stays until everything is told; returns the shim's exit status.
pub fn run(plan: &Plan<'_>) -> i32 {
    let setup = plan.setup;
    match launch(plan) {
        Ok(launched) => Monitor::new(setup, launched).watch(),
        Err(message) => {
            if setup.owner_fd >= 0 {
                let _ = sys::send_parts(setup.owner_fd, &[wire::FAILED], &message);
            }
            1
        }
    }
}

struct Launched {
    pid: i32,
    pidfd: i32,
    terminal: i32,
    stdin: i32,
    stdout: i32,
    stderr: i32,
    started_ns: u64,
}

type Message = [u8; 12];

fn failure(index: u32, errno: sys::Errno, word: u32) -> Message {
    let mut message = [0; 12];
    message[..4].copy_from_slice(&index.to_ne_bytes());
    message[4..8].copy_from_slice(&errno.0.to_ne_bytes());
    message[8..].copy_from_slice(&word.to_ne_bytes());
    message
}

/// Clones the child and waits until it has become the command or said why not.
fn launch(plan: &Plan<'_>) -> Result<Launched, Message> {
    let setup = &plan.setup;
    let pipes = || -> sys::Result<_> {
        let error = sys::pipe()?;
        let terminal = if setup.tty { sys::packet_pair()? } else { (-1, -1) };
        let input = if setup.stdin && !setup.tty { sys::pipe()? } else { (-1, -1) };
        let output = if setup.tty { (-1, -1) } else { sys::pipe()? };
        let errors = if setup.tty { (-1, -1) } else { sys::pipe()? };
        sys::setsid()?;
        if setup.join_pid_fd >= 0 {
            sys::setns(setup.join_pid_fd, setup.join_flags)?;
        }
        Ok((error, terminal, input, output, errors))
    };
    let (error, terminal, input, output, errors) = pipes().map_err(|e| failure(NO_STEP, e, detail::CLONE))?;
    // SAFETY: one thread; the child runs the plan and never returns here.
    let cloned = unsafe { sys::clone3(setup.clone_flags, setup.cgroup_fd) };
    let (pid, pidfd) = cloned.map_err(|e| failure(NO_STEP, e, detail::CLONE))?;
    if pid == 0 {
        // What only the monitor needs must not reach the container, not even until the exec.
        for fd in [
            setup.owner_fd,
            setup.listen_fd,
            setup.log_fd,
            setup.exit_dir_fd,
            setup.oom_fd,
            setup.cgroup_fd,
            PLAN_FD,
        ] {
            sys::close(fd);
        }
        for fd in [error.0, terminal.0, input.1, output.0, errors.0] {
            sys::close(fd);
        }
        child::run(
            plan,
            Wiring {
                error: error.1,
                stdin: input.0,
                stdout: output.1,
                stderr: errors.1,
                terminal: terminal.1,
            },
        );
    }
    for fd in [error.1, terminal.1, input.0, output.1, errors.1, setup.join_pid_fd, setup.cgroup_fd, PLAN_FD]
    {
        if fd >= 0 {
            sys::close(fd);
        }
    }
    let master = if terminal.0 >= 0 { sys::recv_fd(terminal.0).ok().flatten().unwrap_or(-1) } else { -1 };
    sys::close(terminal.0);
    wait_for_exec(error.0, pid)?;
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

/// A fresh buffer; without memory for it the shim could not have started either.
fn buffer(length: usize) -> &'static mut [u8] {
    match sys::map_memory(length) {
        // SAFETY: the same memory seen as bytes; any bit pattern is valid.
        Ok(words) => unsafe { core::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), length) },
        Err(_) => sys::exit(119),
    }
}

impl<'a> Monitor<'a> {
    fn new(setup: Setup<'a>, launched: Launched) -> Monitor<'a> {
        let output = |fd: i32, kind| {
            if fd >= 0 {
                let _ = sys::set_nonblocking(fd);
                sys::widen_pipe(fd);
            }
            Output { fd, kind, piece: buffer(PIECE), length: 0, pending: 0 }
        };
        let outputs = [output(launched.stdout, wire::STDOUT), output(launched.stderr, wire::STDERR)];
        let tty = launched.terminal >= 0;
        let stdin = if tty { launched.terminal } else { launched.stdin };
        if stdin >= 0 {
            let _ = sys::set_nonblocking(stdin);
        }
        let input = Input { fd: stdin, piece: buffer(PACKET_BYTES), start: 0, end: 0, ending: false, tty };
        let mut clients = [NOBODY; CLIENTS];
        let mut monitor = Monitor {
            setup,
            pid: launched.pid,
            pidfd: launched.pidfd,
            terminal: launched.terminal,
            clients,
            outputs,
            input,
            log: Log::new(setup.log_fd, buffer(128 * 1024)),
            started_ns: launched.started_ns,
            status: None,
            reported: false,
            done: false,
            abandoned: false,
        };
        if setup.owner_fd >= 0 {
            clients[0] = Client {
                fd: setup.owner_fd,
                attached: setup.attached,
                stdin: setup.attached && setup.stdin,
                owner: setup.attached,
                waits: setup.attached,
                exit_due: false,
            };
            monitor.clients = clients;
            monitor.resize(setup.rows, setup.cols);
            monitor.send_started(0);
            if !setup.attached {
                monitor.drop_client(0);
            }
        }
        monitor
    }

    /// The loop. Descriptors that wait for something else are -1, which poll(2) ignores.
    fn watch(&mut self) -> i32 {
        loop {
            let mut fds = [PollFd { fd: -1, events: POLLIN, revents: 0 }; 5 + CLIENTS];
            self.fill(&mut fds);
            let timeout = if self.status.is_some() && !self.reported { PATIENCE_MS } else { -1 };
            if let Ok(0) = sys::poll(&mut fds, timeout) {
                self.drop_slow_clients();
            }
            if fds[0].revents != 0 {
                self.reap();
            }
            if fds[1].revents != 0 {
                self.accept();
            }
            for (index, fd) in fds[5..].iter().enumerate() {
                if fd.revents != 0 {
                    self.serve(index, fd.revents);
                }
            }
            for index in 0..2 {
                if fds[2 + index].revents != 0 {
                    self.read_output(index);
                }
            }
            if fds[4].revents != 0 {
                self.feed();
            }
            if self.status.is_some() && !self.reported {
                self.drain();
            }
            if self.reported && !self.someone_cleans() {
                return self.leave();
            }
        }
    }

    fn fill(&self, fds: &mut [PollFd; 5 + CLIENTS]) {
        if self.status.is_none() {
            fds[0].fd = self.pidfd;
        }
        fds[1].fd = self.setup.listen_fd;
        for (index, output) in self.outputs.iter().enumerate() {
            if output.pending == 0 {
                fds[2 + index].fd = output.fd;
            }
        }
        if self.input.start < self.input.end {
            fds[4] = PollFd { fd: self.input.fd, events: POLLOUT, revents: 0 };
        }
        let pending = self.outputs[0].pending | self.outputs[1].pending;
        for (index, client) in self.clients.iter().enumerate() {
            let fd = &mut fds[5 + index];
            fd.fd = client.fd;
            fd.events = 0;
            if pending >> index & 1 == 1 || client.exit_due {
                fd.events |= POLLOUT;
            }
            if !(client.stdin && self.input.start < self.input.end) {
                fd.events |= POLLIN;
            }
            if fd.events == 0 {
                fd.fd = -1;
            }
        }
    }

    fn reap(&mut self) {
        if let Ok(Some((_, status))) = sys::wait(self.pid, false) {
            self.status = Some(status);
            sys::close(self.pidfd);
            self.pidfd = -1;
        }
    }

    fn accept(&mut self) {
        let Ok(fd) = sys::accept(self.setup.listen_fd) else { return };
        match self.clients.iter_mut().find(|c| c.fd < 0) {
            Some(place) => *place = Client { fd, ..NOBODY },
            None => sys::close(fd),
        }
    }

    fn drop_client(&mut self, index: usize) {
        let client = self.clients[index];
        if client.fd < 0 {
            return;
        }
        sys::close(client.fd);
        self.clients[index] = NOBODY;
        for output in &mut self.outputs {
            output.pending &= !(1 << index);
        }
        if client.owner {
            self.abandoned = true;
            // Who leaves a terminal by the detach keys comes back to a shell that still listens.
            if client.stdin && self.setup.stdin_once && !self.input.tty {
                self.end_input();
            }
        }
    }

    fn drop_slow_clients(&mut self) {
        for index in 0..CLIENTS {
            let pending = (self.outputs[0].pending | self.outputs[1].pending) >> index & 1 == 1;
            if pending && !self.clients[index].owner {
                self.drop_client(index);
            }
        }
    }

    /// Takes one packet of a client, or gives it the piece it waits for.
    fn serve(&mut self, index: usize, events: i16) {
        if events & POLLOUT != 0 {
            self.deliver(index);
            if self.clients[index].exit_due {
                self.send_exited(index);
            }
        }
        if events & !POLLOUT == 0 {
            return;
        }
        if events & POLLIN == 0 {
            self.drop_client(index);
            return;
        }
        let fd = self.clients[index].fd;
        if self.clients[index].stdin && self.input.start == self.input.end {
            let mut kind = [0_u8; 1];
            match sys::peek(fd, &mut kind) {
                Ok(1) if kind[0] == wire::STDIN => return self.take_input(index),
                _ => {}
            }
        }
        let mut packet = [0_u8; 64];
        match sys::recv(fd, &mut packet) {
            Ok(0) => self.drop_client(index),
            Ok(n) => self.obey(index, packet[0], &packet[1..n]),
            Err(sys::EAGAIN | sys::EINTR) => {}
            Err(_) => self.drop_client(index),
        }
    }

    /// Receives a packet of input straight into the piece: its first byte is the kind, which is skipped.
    fn take_input(&mut self, index: usize) {
        let fd = self.clients[index].fd;
        match sys::recv(fd, self.input.piece) {
            Ok(n) if n > 0 => {
                self.input.start = 1;
                self.input.end = n;
                self.feed();
            }
            Ok(_) => self.drop_client(index),
            Err(_) => {}
        }
    }

    fn obey(&mut self, index: usize, kind: u8, payload: &[u8]) {
        let word =
            |at: usize| payload.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_ne_bytes);
        match kind {
            wire::ATTACH => {
                self.clients[index].attached = true;
                self.clients[index].waits = true;
                self.clients[index].stdin = payload.first() == Some(&1) && self.input.fd >= 0;
                self.send_started(index);
            }
            wire::STDIN_END if self.clients[index].stdin => {
                self.clients[index].stdin = false;
                if self.setup.stdin_once || self.input.tty {
                    self.end_input();
                }
            }
            wire::RESIZE => self.resize(word(0), word(4)),
            wire::SIGNAL if self.pidfd >= 0 => {
                let _ = sys::pidfd_send_signal(self.pidfd, word(0) as i32);
            }
            wire::QUERY => self.send_started(index),
            wire::OWN => self.clients[index].owner = true,
            wire::WAIT => {
                self.clients[index].waits = true;
                self.send_started(index);
            }
            wire::DONE => {
                self.done = true;
                self.clients[index].owner = false;
            }
            _ => {}
        }
        if self.reported && matches!(kind, wire::ATTACH | wire::WAIT) {
            self.send_exited(index);
        }
    }

    fn send_started(&mut self, index: usize) {
        let pid = self.pid.to_ne_bytes();
        if sys::send_parts(self.clients[index].fd, &[wire::STARTED], &pid).is_err() {
            self.drop_client(index);
        }
    }

    fn resize(&self, rows: u32, cols: u32) {
        const TIOCSWINSZ: usize = 0x5414;
        if self.terminal >= 0 && rows > 0 && cols > 0 {
            let size = [rows as u16, cols as u16, 0, 0];
            let _ = sys::ioctl(self.terminal, TIOCSWINSZ, size.as_ptr() as usize);
        }
    }

    /// Reads one piece, logs it, and begins to give it to the attached clients.
    fn read_output(&mut self, index: usize) {
        let output = &mut self.outputs[index];
        if output.fd < 0 || output.pending != 0 {
            return;
        }
        match sys::read(output.fd, output.piece) {
            Ok(n) if n > 0 => output.length = n,
            Err(sys::EINTR) => return,
            Err(sys::EAGAIN) if self.status.is_none() => return,
            // The end; after the command's own end "nothing there" is the end, too: someone may hold the pipe for ever.
            _ => return self.close_output(index),
        }
        self.log.append(output.kind == wire::STDOUT, &output.piece[..output.length]);
        for (bit, client) in self.clients.iter().enumerate() {
            if client.fd >= 0 && client.attached {
                output.pending |= 1 << bit;
            }
        }
        for bit in 0..CLIENTS {
            self.deliver(bit);
        }
    }

    fn close_output(&mut self, index: usize) {
        let fd = self.outputs[index].fd;
        // A terminal's master is input as well; it goes with the process.
        if fd != self.terminal {
            sys::close(fd);
        }
        self.outputs[index].fd = -1;
    }

    fn deliver(&mut self, client: usize) {
        let bit = 1 << client;
        for index in 0..2 {
            let output = &mut self.outputs[index];
            if output.pending & bit == 0 {
                continue;
            }
            match sys::send_parts(self.clients[client].fd, &[output.kind], &output.piece[..output.length]) {
                Ok(_) => output.pending &= !bit,
                Err(sys::EAGAIN | sys::EINTR) => {}
                Err(_) => return self.drop_client(client),
            }
        }
    }

    /// Writes pending input to the command.
    fn feed(&mut self) {
        let input = &mut self.input;
        while input.start < input.end {
            match sys::write(input.fd, &input.piece[input.start..input.end]) {
                Ok(n) => input.start += n,
                Err(sys::EINTR) => {}
                Err(sys::EAGAIN) => return,
                Err(_) => {
                    input.start = input.end;
                    input.ending = true;
                }
            }
        }
        if input.ending {
            self.end_input();
        }
    }

    fn end_input(&mut self) {
        let input = &mut self.input;
        if input.fd < 0 {
            return;
        }
        if input.start < input.end {
            input.ending = true;
            return;
        }
        if input.tty {
            // End of input on a terminal is its end-of-file character.
            const EOF_CHARACTER: u8 = 4;
            let _ = sys::write(input.fd, &[EOF_CHARACTER]);
        } else {
            sys::close(input.fd);
            input.fd = -1;
            for client in &mut self.clients {
                client.stdin = false;
            }
        }
        input.ending = false;
    }

    /// The command has ended: takes what is left of its output; when all is delivered, tells.
    fn drain(&mut self) {
        self.input.start = 0;
        self.input.end = 0;
        for index in 0..2 {
            while self.outputs[index].fd >= 0 && self.outputs[index].pending == 0 {
                self.read_output(index);
            }
        }
        if self.outputs.iter().all(|o| o.fd < 0 && o.pending == 0) {
            self.write_exit_record();
            self.reported = true;
            for index in 0..CLIENTS {
                if self.clients[index].waits {
                    self.send_exited(index);
                }
            }
        }
    }

    fn send_exited(&mut self, index: usize) {
        let status = self.status.unwrap_or(0);
        let mut payload = [0_u8; 12];
        payload[..4].copy_from_slice(&init::exit_code(status).to_ne_bytes());
        payload[4..8].copy_from_slice(&(status & 0x7f).to_ne_bytes());
        payload[8..].copy_from_slice(&u32::from(self.oom_killed()).to_ne_bytes());
        match sys::send_parts(self.clients[index].fd, &[wire::EXITED], &payload) {
            Ok(_) => self.clients[index].exit_due = false,
            // It still reads the last output.
            Err(sys::EAGAIN | sys::EINTR) => self.clients[index].exit_due = true,
            Err(_) => self.drop_client(index),
        }
    }

    /// The cgroup counts a kill for memory.
    fn oom_killed(&self) -> bool {
        let mut text = [0_u8; 512];
        let Ok(n) = sys::pread(self.setup.oom_fd, &mut text, 0) else { return false };
        text[..n]
            .split(|b| *b == b'\n')
            .filter_map(|line| line.strip_prefix(b"oom_kill "))
            .any(|count| count != b"0")
    }

    /// `code=0 signal=0 oom=0 started=… finished=…`, beside and renamed: never half there.
    fn write_exit_record(&self) {
        if self.setup.exit_dir_fd < 0 {
            return;
        }
        let status = self.status.unwrap_or(0);
        let mut line = Line { bytes: [0; 160], used: 0 };
        line.field(b"code=", init::exit_code(status) as u64);
        line.field(b" signal=", (status & 0x7f) as u64);
        line.field(b" oom=", u64::from(self.oom_killed()));
        line.field(b" started=", self.started_ns);
        line.field(b" finished=", sys::now_ns());
        line.put(b"\n");
        let (temporary, name) = (c"exit.new".to_bytes(), c"exit".to_bytes());
        let dir = self.setup.exit_dir_fd;
        let flags = sys::O_WRONLY | sys::O_CREAT | sys::O_TRUNC;
        let Ok(fd) = sys::openat(dir, temporary, flags, 0o600) else { return };
        let written = sys::write_all(fd, &line.bytes[..line.used]);
        sys::close(fd);
        if written.is_ok() {
            let _ = sys::renameat(dir, temporary, name);
        }
    }

    fn someone_cleans(&self) -> bool {
        self.clients.iter().any(|c| c.fd >= 0 && (c.owner || c.exit_due))
    }

    /// Nobody is left who cleans up: spawns the main program for it, unless an owner said that it is done.
    fn leave(&self) -> i32 {
        if self.done || self.setup.cleanup.is_empty() {
            return 0;
        }
        let Some(path) = self.setup.cleanup.iter().next() else { return 0 };
        let mut argv = [core::ptr::null::<u8>(); 16];
        for (place, argument) in argv[..15].iter_mut().zip(self.setup.cleanup.iter()) {
            *place = argument.as_ptr();
        }
        let environment = [core::ptr::null::<u8>()];
        crate::signals::reset();
        let null = sys::open(c"/dev/null".to_bytes(), sys::O_RDWR).unwrap_or(-1);
        for fd in 0..3 {
            let _ = sys::dup_to(null, fd);
        }
        // The lock goes with this process: the cleaner is the same process, so the container stays "ending" till then.
        let _ = sys::cloexec_from(3);
        let _ = sys::execve(path, argv.as_ptr(), environment.as_ptr());
        1
    }
}

/// A short text under construction.
struct Line {
    bytes: [u8; 160],
    used: usize,
}

impl Line {
    fn put(&mut self, text: &[u8]) {
        if let Some(place) = self.bytes.get_mut(self.used..self.used + text.len()) {
            place.copy_from_slice(text);
            self.used += text.len();
        }
    }

    fn field(&mut self, name: &[u8], mut value: u64) {
        self.put(name);
        let mut digits = [0_u8; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (value % 10) as u8;
            value /= 10;
            if value == 0 {
                break;
            }
        }
        self.put(&digits[at..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let mut line = Line { bytes: [0; 160], used: 0 };
        line.field(b"code=", 0);
        line.field(b" started=", 1_795_169_845_123_456_789);
        assert_eq!(&line.bytes[..line.used], b"code=0 started=1795169845123456789");
    }
}
