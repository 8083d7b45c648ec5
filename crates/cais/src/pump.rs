//! Carries bytes between our streams and a command's, until it ends or the user detaches: one thread, one poll(2).
//!
//! Nothing here waits but poll: not for the reader of our output, not for a command that does not read its input, so
//! that keys and signals are always obeyed. Output is read from the stream only when all earlier output is written;
//! thus nothing is lost, whatever its size, and at most one packet is held per stream.

use std::collections::VecDeque;
use std::io::{ErrorKind, stderr, stdin, stdout};
use std::os::fd::AsFd;
use std::time::Instant;

use cais_engine::attach::{AttachStream, MESSAGE_BYTES, Message};
use cais_sys::signal::SignalFd;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::Signal;

use crate::detach::{DetachKeys, PATIENCE};
use crate::failure::Failure;
use crate::outlet::Outlet;
use crate::terminal::{self, RawMode};

/// What the user wants of the command's streams.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// The command has a terminal.
    pub tty: bool,
    /// Our input is the command's.
    pub stdin: bool,
    /// The command's output is ours.
    pub stdout: bool,
    /// The command's error output is ours.
    pub stderr: bool,
    /// Signals sent to us go to the command.
    pub sig_proxy: bool,
    /// Keys that leave the command alone; empty for none.
    pub detach_keys: Vec<u8>,
    /// The command's terminal is to draw its screen anew: it is told another size first.
    pub redraw: bool,
}

/// Why the pump stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The command ended with this code, and all its output was written.
    Exit(i32),
    /// The user detached.
    Detached,
    /// Somebody ended us by this signal, or our reader went away (SIGPIPE); the command goes on.
    Killed(i32),
}

/// Most bytes read of our input at once; one packet takes them.
const INPUT_BYTES: usize = MESSAGE_BYTES - 1;
/// Messages taken between two looks at keys and signals.
const BURST: usize = 16;

/// Runs until the command ends or is left alone. The terminal is as before when this returns.
///
/// # Errors
/// When the command's monitor is gone without a word, or our streams fail.
pub fn pump(stream: &AttachStream, wishes: &Wishes) -> Result<End, Failure> {
    let raw = wishes.tty && wishes.stdin && terminal::stdin_is_terminal();
    let catch = signals_to_catch(wishes, raw);
    let signals = match catch.as_slice() {
        [] => None,
        list => Some(SignalFd::new(list).map_err(|error| Failure::edge("catch signals", error))?),
    };
    stream.set_nonblocking().map_err(lost)?;
    let _raw_mode = if raw { Some(RawMode::enter()?) } else { None };
    let (out, err) = (stdout(), stderr());
    let mut pump = Pump {
        stream,
        signals,
        raw,
        controls: VecDeque::new(),
        reading: wishes.stdin,
        end_owed: false,
        input: Vec::new(),
        keys: DetachKeys::new(if raw { wishes.detach_keys.clone() } else { Vec::new() }),
        held_since: None,
        out: Outlet::new(out.as_fd(), wishes.stdout),
        err: Outlet::new(err.as_fd(), wishes.stderr),
    };
    if wishes.tty {
        pump.tell_size();
        if let (true, Some(Control::Size(rows, columns))) = (wishes.redraw, pump.controls.front().copied()) {
            pump.controls.push_front(Control::Size(rows.saturating_add(1), columns));
        }
        pump.send();
    }
    let mut buffer = vec![0; MESSAGE_BYTES];
    loop {
        for source in pump.wait()? {
            if let Some(end) = pump.serve(source, &mut buffer)? {
                return Ok(end);
            }
        }
        pump.send();
    }
}

/// Signals by which users end programs.
const ENDING: [Signal; 4] = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM];

/// Every signal that a program may catch, but for those that job control and the kernel need for ourselves.
fn signals_to_catch(wishes: &Wishes, raw: bool) -> Vec<i32> {
    let named = |list: &[Signal]| list.iter().map(|signal| signal.as_raw()).collect::<Vec<_>>();
    if raw {
        return named(&[Signal::WINCH, Signal::TERM, Signal::HUP, Signal::INT, Signal::QUIT]);
    }
    if wishes.sig_proxy {
        let mut list = named(&[
            Signal::HUP,
            Signal::INT,
            Signal::QUIT,
            Signal::ABORT,
            Signal::USR1,
            Signal::USR2,
            Signal::ALARM,
            Signal::TERM,
            Signal::TSTP,
            Signal::VTALARM,
            Signal::PROF,
            Signal::WINCH,
            Signal::IO,
            Signal::POWER,
        ]);
        list.extend(34..=64);
        return list;
    }
    if wishes.tty { named(&[Signal::WINCH]) } else { Vec::new() }
}

fn lost(error: std::io::Error) -> Failure {
    Failure::edge("talk to the command's monitor", error)
}

/// What poll(2) reports on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Stream,
    Signals,
    Stdin,
    Out,
    Err,
}

/// A small message to the command's monitor.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Control {
    Size(u16, u16),
    Signal(i32),
}

struct Pump<'a> {
    stream: &'a AttachStream,
    signals: Option<SignalFd>,
    raw: bool,
    /// Not sent yet.
    controls: VecDeque<Control>,
    /// Our input has not ended.
    reading: bool,
    /// It has ended, and the monitor does not know it.
    end_owed: bool,
    /// Input that the monitor has not taken yet.
    input: Vec<u8>,
    keys: DetachKeys,
    held_since: Option<Instant>,
    out: Outlet<'a>,
    err: Outlet<'a>,
}

impl Pump<'_> {
    /// Waits until something can be done without waiting.
    fn wait(&mut self) -> Result<Vec<Source>, Failure> {
        let stdin = stdin();
        let blocked = self.out.is_blocked() || self.err.is_blocked();
        let mut stream_events = PollFlags::empty();
        stream_events.set(PollFlags::IN, !blocked);
        stream_events.set(PollFlags::OUT, self.owes());
        let mut sources = Vec::with_capacity(5);
        let mut fds: Vec<PollFd<'_>> = Vec::with_capacity(5);
        if !stream_events.is_empty() {
            sources.push(Source::Stream);
            fds.push(PollFd::new(self.stream, stream_events));
        }
        if let Some(signals) = &self.signals {
            sources.push(Source::Signals);
            fds.push(PollFd::new(signals, PollFlags::IN));
        }
        if self.reading && self.input.is_empty() {
            sources.push(Source::Stdin);
            fds.push(PollFd::new(&stdin, PollFlags::IN));
        }
        for (source, outlet) in [(Source::Out, &self.out), (Source::Err, &self.err)] {
            if outlet.is_blocked() {
                sources.push(source);
                fds.push(PollFd::new(outlet, PollFlags::OUT));
            }
        }
        let timeout = self.held_since.map(|since| {
            let left = PATIENCE.saturating_sub(since.elapsed());
            Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() }
        });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(Failure::edge("wait for input and output", error)),
        }
        let mut ready: Vec<Source> = sources
            .into_iter()
            .zip(&fds)
            .filter(|(_, fd)| !fd.revents().is_empty())
            .map(|(source, _)| source)
            .collect();
        drop(fds);
        if self.held_since.is_some_and(|since| since.elapsed() >= PATIENCE) {
            self.keys.give_up(&mut self.input);
            self.held_since = None;
        }
        // The command's end comes last: whatever else is ready belongs to the time before it.
        ready.sort_by_key(|source| *source == Source::Stream);
        Ok(ready)
    }

    fn serve(&mut self, source: Source, buffer: &mut [u8]) -> Result<Option<End>, Failure> {
        match source {
            Source::Stream => self.receive(buffer),
            Source::Signals => Ok(self.take_signals()),
            Source::Stdin => Ok(self.read_input(buffer)),
            Source::Out => {
                let result = self.out.flush();
                self.output_result(result)
            }
            Source::Err => {
                // Errors that nobody reads are no reason to leave the command.
                let _ = self.err.flush();
                Ok(None)
            }
        }
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Result<Option<End>, Failure> {
        for _ in 0..BURST {
            if self.out.is_blocked() || self.err.is_blocked() {
                break;
            }
            match self.stream.recv(buffer) {
                Ok(Message::Stdout(bytes)) => {
                    let result = self.out.push(bytes);
                    if let Some(end) = self.output_result(result)? {
                        return Ok(Some(end));
                    }
                }
                Ok(Message::Stderr(bytes)) => {
                    let _ = self.err.push(bytes);
                }
                Ok(Message::Exit { code, .. }) => return Ok(Some(End::Exit(code))),
                Ok(Message::Started { .. } | Message::Failed { .. }) => {}
                Ok(Message::Closed) => {
                    let kind = std::io::Error::from(ErrorKind::ConnectionReset);
                    return Err(Failure::edge("the monitor of the command is gone", kind));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(lost(error)),
            }
        }
        Ok(None)
    }

    /// Our reader went away: we end as any program does that is told so, and the command goes on.
    fn output_result(&mut self, result: Result<(), Errno>) -> Result<Option<End>, Failure> {
        match result {
            Ok(()) => Ok(None),
            Err(Errno::PIPE | Errno::CONNRESET) => {
                let signal = Signal::PIPE.as_raw();
                let _ = self.stream.signal(signal);
                Ok(Some(End::Killed(signal)))
            }
            Err(error) => Err(Failure::edge("write to standard output", error)),
        }
    }

    fn take_signals(&mut self) -> Option<End> {
        let winch = Signal::WINCH.as_raw();
        while let Some(signal) = self.signals.as_ref().and_then(SignalFd::read) {
            if signal == winch {
                self.tell_size();
            }
            if self.raw && signal != winch {
                return Some(End::Killed(signal));
            }
            if !self.raw && (signal != winch || self.controls.is_empty()) {
                self.controls.push_back(Control::Signal(signal));
            }
            // Nobody reads our output, so the command's end would never be seen.
            if (self.out.is_blocked() || self.err.is_blocked())
                && ENDING.map(Signal::as_raw).contains(&signal)
            {
                self.send();
                return Some(End::Killed(signal));
            }
        }
        None
    }

    fn tell_size(&mut self) {
        if let Some((rows, columns)) = terminal::size() {
            self.controls.retain(|control| !matches!(control, Control::Size(..)));
            self.controls.push_back(Control::Size(rows, columns));
        }
    }

    fn read_input(&mut self, buffer: &mut [u8]) -> Option<End> {
        match rustix::io::read(stdin(), &mut buffer[..INPUT_BYTES]) {
            Err(Errno::INTR | Errno::AGAIN) => None,
            // A terminal that is gone (EIO) has as little to say as the end of a file.
            Ok(0) | Err(_) => {
                self.reading = false;
                self.end_owed = true;
                self.keys.give_up(&mut self.input);
                None
            }
            Ok(count) => {
                let detached = self.keys.feed(&buffer[..count], &mut self.input);
                self.held_since = self.keys.holds().then(Instant::now);
                detached.then_some(End::Detached)
            }
        }
    }

    fn owes(&self) -> bool {
        !self.controls.is_empty() || !self.input.is_empty() || self.end_owed
    }

    /// Sends what the monitor takes without waiting.
    fn send(&mut self) {
        while self.owes() {
            let sent = if let Some(control) = self.controls.front() {
                let sent = match *control {
                    Control::Size(rows, columns) => self.stream.resize(rows, columns),
                    Control::Signal(signal) => self.stream.signal(signal),
                };
                sent.map(|()| self.controls.pop_front()).map(|_| ())
            } else if self.input.is_empty() {
                self.stream.close_stdin().map(|()| self.end_owed = false)
            } else {
                self.stream.send_stdin(&self.input).map(|count| drop(self.input.drain(..count)))
            };
            match sent {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // The monitor does not listen any more; why is in what it says, which is read next.
                Err(_) => {
                    self.controls.clear();
                    self.input.clear();
                    (self.reading, self.end_owed) = (false, false);
                }
            }
        }
    }
}
