//! The monitor: starts the child, then one poll loop over its pidfd, its output, and the clients' sockets.
//!
//! Output is read only when the last piece has reached the log and every attached client: a slow reader slows the
//! container down, memory stays bounded, nothing is lost. After the end the exit record is written before anybody is
//! told; then an owner that is still connected cleans up, or the main program is called to do so. When there may be
//! another run, the monitor stays until the main program has said so and the time has come: who ends the wait is a client.

use cais_plan::wire::{self, PACKET_BYTES};
use cais_plan::{Plan, Setup};

use crate::aftermath::Aftermath;
use crate::client::{Client, NOBODY};
use crate::init;
use crate::input::Input;
use crate::launch::{Launched, launch};
use crate::log::{self, Log};
use crate::oom::{self, Oom};
use crate::probe::Probe;
use crate::report;
use crate::sys::{self, POLLIN, POLLOUT, PollFd};
use crate::time_limit::TimeLimit;

/// Clients at one time; further ones are refused by closing.
const CLIENTS: usize = 24;
/// Bytes of one piece of output.
const PIECE: usize = PACKET_BYTES - 1;
/// Descriptors in the poll before those of the clients.
const FIXED: usize = 9;
/// After the end a client other than the owner has this long to take what is left.
const PATIENCE_MS: i32 = 5000;

/// One of the command's outputs, with the piece that is on its way to the clients.
struct Output {
    fd: i32,
    kind: u8,
    piece: &'static mut [u8],
    length: usize,
    /// Clients that have not got the piece yet, by bit.
    pending: u32,
}

struct Monitor<'a> {
    setup: Setup<'a>,
    pid: i32,
    pidfd: i32,
    terminal: i32,
    clients: [Client; CLIENTS],
    outputs: [Output; 2],
    input: Input,
    log: Log<'a>,
    started_ns: u64,
    status: Option<i32>,
    reported: bool,
    aftermath: Aftermath<'a>,
    probe: Probe<'a>,
    oom: Oom<'a>,
    limit: TimeLimit,
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
        let input = Input::new(stdin, buffer(PACKET_BYTES), tty);
        let mut monitor = Monitor {
            setup,
            pid: launched.pid,
            pidfd: launched.pidfd,
            terminal: launched.terminal,
            clients: [NOBODY; CLIENTS],
            outputs,
            input,
            log: Log::new(&setup, buffer(log::buffer_bytes(&setup))),
            started_ns: launched.started_ns,
            status: None,
            reported: false,
            aftermath: Aftermath::new(setup),
            probe: Probe::new(setup),
            oom: Oom::new(setup),
            limit: TimeLimit::new(&setup),
        };
        if setup.owner_fd >= 0 {
            monitor.clients[0] = Client {
                fd: setup.owner_fd,
                attached: setup.attached,
                stdin: setup.attached && setup.stdin,
                starter: true,
                owner: setup.attached && !setup.stays,
                waits: setup.attached,
                exit_due: false,
            };
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
            let mut fds = [PollFd { fd: -1, events: POLLIN, revents: 0 }; FIXED + CLIENTS];
            self.fill(&mut fds);
            let timeout = self.timeout();
            if let Ok(0) = sys::poll(&mut fds, timeout)
                && self.is_telling()
            {
                self.drop_slow_clients();
            }
            if fds[0].revents != 0 {
                self.reap();
            }
            if fds[1].revents != 0 {
                self.accept();
            }
            for (index, fd) in fds[FIXED..].iter().enumerate() {
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
            if fds[8].revents != 0 {
                self.oom.heard(self.status.is_some());
            }
            if self.status.is_some() && !self.reported {
                self.drain();
            }
            if fds[5].revents != 0 {
                self.aftermath.heard();
            }
            if fds[7].revents != 0 {
                self.log.heard();
            }
            if self.status.is_none() {
                self.probe.go_on(fds[6].revents != 0);
                self.limit.go_on(self.pidfd);
            }
            if self.reported
                && !self.someone_cleans()
                && let Some(status) = self.aftermath.go_on()
            {
                return status;
            }
        }
    }

    /// Clients have something to take before the monitor may go.
    fn is_telling(&self) -> bool {
        self.status.is_some() && (!self.reported || self.clients.iter().any(|c| c.fd >= 0 && c.exit_due))
    }

    /// Until when the loop may sleep; -1 for ever, which is the rule.
    fn timeout(&self) -> i32 {
        if self.is_telling() {
            return PATIENCE_MS;
        }
        let deadline = match self.status {
            None => [self.probe.deadline(), self.limit.deadline()].into_iter().flatten().min(),
            Some(_) => self.aftermath.deadline(),
        };
        let Some(deadline) = deadline else { return -1 };
        deadline.saturating_sub(sys::monotonic_ms()).min(i32::MAX as u64) as i32
    }

    fn fill(&self, fds: &mut [PollFd; FIXED + CLIENTS]) {
        if self.status.is_none() {
            fds[0].fd = self.pidfd;
        }
        fds[1].fd = self.setup.listen_fd;
        for (index, output) in self.outputs.iter().enumerate() {
            if output.pending == 0 {
                fds[2 + index].fd = output.fd;
            }
        }
        if self.input.is_pending() {
            fds[4] = PollFd { fd: self.input.descriptor(), events: POLLOUT, revents: 0 };
        }
        fds[5].fd = self.aftermath.pidfd();
        if self.status.is_none() {
            fds[6].fd = self.probe.pidfd();
        }
        fds[7].fd = self.log.pidfd();
        fds[8] = self.oom.poll(self.status.is_some());
        let pending = self.outputs[0].pending | self.outputs[1].pending;
        for (index, client) in self.clients.iter().enumerate() {
            let fd = &mut fds[FIXED + index];
            fd.fd = client.fd;
            fd.events = 0;
            if pending >> index & 1 == 1 || client.exit_due {
                fd.events |= POLLOUT;
            }
            if !(client.stdin && self.input.is_pending()) {
                fd.events |= POLLIN;
            }
            if fd.events == 0 {
                fd.fd = -1;
            }
        }
    }

    fn reap(&mut self) {
        if let Ok(Some((_, status))) = sys::wait(self.pid, false) {
            self.status = Some(self.limit.status(status));
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
        // Who leaves a terminal by the detach keys comes back to a shell that still listens.
        if client.starter && client.stdin && self.setup.stdin_once && !self.input.is_terminal() {
            self.end_input();
        }
    }

    fn drop_slow_clients(&mut self) {
        for index in 0..CLIENTS {
            let pending = (self.outputs[0].pending | self.outputs[1].pending) >> index & 1 == 1;
            if (pending || self.clients[index].exit_due) && !self.clients[index].owner {
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
        if self.clients[index].stdin && !self.input.is_pending() {
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
        match self.input.take(fd) {
            Ok(true) => self.feed(),
            Ok(false) => self.drop_client(index),
            Err(_) => {}
        }
    }

    fn obey(&mut self, index: usize, kind: u8, payload: &[u8]) {
        let word =
            |at: usize| payload.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_ne_bytes);
        let long =
            |at: usize| payload.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_ne_bytes);
        match kind {
            wire::ATTACH => {
                self.clients[index].attached = true;
                self.clients[index].waits = true;
                self.clients[index].stdin = payload.first() == Some(&1) && self.input.is_open();
                self.send_started(index);
            }
            wire::STDIN_END if self.clients[index].stdin => {
                self.clients[index].stdin = false;
                if self.setup.stdin_once || self.input.is_terminal() {
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
                self.aftermath.cancel();
                self.clients[index].owner = false;
            }
            wire::PROBES => self.probe.retime([long(0), long(8), long(16)]),
            wire::AGAIN if self.reported => self.aftermath.again_in(word(0)),
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
        self.log.end(self.outputs[index].kind == wire::STDOUT);
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
        if self.input.feed() {
            self.end_input();
        }
    }

    fn end_input(&mut self) {
        if self.input.end() {
            for client in &mut self.clients {
                client.stdin = false;
            }
        }
    }

    /// The command has ended: takes what is left of its output; when all is delivered, tells.
    fn drain(&mut self) {
        self.input.discard();
        for index in 0..2 {
            while self.outputs[index].fd >= 0 && self.outputs[index].pending == 0 {
                self.read_output(index);
            }
        }
        if !self.oom.is_telling() && self.outputs.iter().all(|o| o.fd < 0 && o.pending == 0) {
            self.log.stop();
            report::write(&self.setup, self.status.unwrap_or(0), self.started_ns, self.pid);
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
        payload[8..].copy_from_slice(&u32::from(oom::kills(self.setup.oom_fd) > 0).to_ne_bytes());
        match sys::send_parts(self.clients[index].fd, &[wire::EXITED], &payload) {
            Ok(_) => self.clients[index].exit_due = false,
            // It still reads the last output.
            Err(sys::EAGAIN | sys::EINTR) => self.clients[index].exit_due = true,
            Err(_) => self.drop_client(index),
        }
    }

    fn someone_cleans(&self) -> bool {
        self.clients.iter().any(|c| c.fd >= 0 && (c.owner || c.exit_due))
    }
}
