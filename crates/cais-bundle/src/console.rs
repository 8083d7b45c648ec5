//! Terminals: who gets the master of a process's pseudo terminal, and what becomes of the caller's own meanwhile.
//!
//! A caller that does not stay gives a socket, over which the first process sends the master itself (`SCM_RIGHTS`, the
//! name of the file as data). For a caller that stays we hold the other end of such a socket, and its terminal is raw as long
//! as [`RawTerminal`] lives.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::termios::{
    OptionalActions, OutputModes, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize,
};

use crate::descriptor::{connect_to, receive};
use crate::error::{Error, Result};

/// Who gets the terminal of a new process.
#[derive(Debug)]
pub(crate) enum Console {
    /// There is no terminal.
    None,
    /// Whoever listens there.
    Caller(OwnedFd),
    /// This program: our end, and the process's.
    Ours(OwnedFd, OwnedFd),
}

impl Console {
    /// As asked for.
    ///
    /// # Errors
    /// When a socket is given and nobody would use it, or none is given to a caller that does not stay.
    pub(crate) fn new(terminal: bool, stays: bool, socket: Option<&Path>) -> Result<Console> {
        match (terminal, stays, socket) {
            (true, false, None) => Err(Error::Request(
                "cannot allocate tty if the runtime will detach without setting console socket",
            )),
            (true, true, Some(_)) | (false, _, Some(_)) => Err(Error::Request(
                "cannot use console socket if the runtime will not detach or allocate tty",
            )),
            (true, false, Some(path)) => connect_to(path, SocketType::STREAM)
                .map(Console::Caller)
                .map_err(|e| Error::system(format!("connect to the console socket {}", path.display()), e)),
            (true, true, None) => {
                let pair = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
                let (ours, other) = pair.map_err(|e| Error::system("make a console socket", e))?;
                Ok(Console::Ours(ours, other))
            }
            (false, _, None) => Ok(Console::None),
        }
    }

    /// The end that the process gets.
    pub(crate) fn for_process(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Console::None => None,
            Console::Caller(socket) | Console::Ours(_, socket) => Some(socket.as_fd()),
        }
    }

    /// The master, once the process has sent it; `None` when it is not for us.
    ///
    /// # Errors
    /// When the process ended without sending it.
    pub(crate) fn master(self) -> Result<Option<OwnedFd>> {
        let Console::Ours(ours, other) = self else { return Ok(None) };
        drop(other);
        let mut name = [0; 256];
        let failed = |e: io::Error| Error::system("receive the terminal", e);
        let (_, master) = receive(&ours, &mut name).map_err(failed)?;
        let master = master.ok_or_else(|| failed(io::ErrorKind::UnexpectedEof.into()))?;
        // The caller's terminal, or whatever its output is, has its own idea of line ends.
        let mut modes = tcgetattr(&master).map_err(|e| failed(e.into()))?;
        modes.output_modes.remove(OutputModes::ONLCR);
        tcsetattr(&master, OptionalActions::Now, &modes).map_err(|e| failed(e.into()))?;
        rustix::io::ioctl_fionbio(&master, true).map_err(|e| failed(e.into()))?;
        Ok(Some(master))
    }
}

/// Sends a pidfd of a process to a socket, with the word that runc sends.
pub(crate) fn send_pidfd(path: &Path, word: &str, pidfd: BorrowedFd<'_>) -> Result<()> {
    let failed = |e| Error::system(format!("send a pidfd to {}", path.display()), e);
    let socket = connect_to(path, SocketType::STREAM).map_err(failed)?;
    crate::descriptor::send_with(&socket, word.as_bytes(), &[pidfd]).map_err(failed)
}

/// The caller's terminal in raw mode, until it is dropped.
pub(crate) struct RawTerminal {
    terminal: File,
    before: Termios,
}

impl RawTerminal {
    /// The terminal of the standard streams or of the session; `None` without one.
    pub(crate) fn enter() -> Option<RawTerminal> {
        let terminal = host_terminal()?;
        let before = tcgetattr(&terminal).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        // Line ends are still made here: see `Console::master`.
        raw.output_modes.insert(OutputModes::OPOST);
        tcsetattr(&terminal, OptionalActions::Now, &raw).ok()?;
        Some(RawTerminal { terminal, before })
    }

    /// Gives its size to another terminal; nothing to be done where it has none.
    pub(crate) fn resize(&self, master: &OwnedFd) {
        if let Ok(size) = tcgetwinsize(&self.terminal) {
            let _ = tcsetwinsize(master, size);
        }
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}

fn host_terminal() -> Option<File> {
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    let streams = [stderr.as_fd(), stdout.as_fd(), stdin.as_fd()];
    match streams.into_iter().find(|stream| isatty(stream)) {
        Some(stream) => stream.try_clone_to_owned().ok().map(File::from),
        None => File::open("/dev/tty").ok(),
    }
}

/// Bytes on their way from the caller to the terminal, and from there to the caller.
pub(crate) struct Pump {
    master: OwnedFd,
    /// Read from the caller and not yet taken by the terminal.
    waiting: Vec<u8>,
    input_ended: bool,
    pub(crate) output_ended: bool,
}

impl Pump {
    pub(crate) fn new(master: OwnedFd) -> Pump {
        Pump { master, waiting: Vec::new(), input_ended: false, output_ended: false }
    }

    /// The terminal.
    pub(crate) fn master(&self) -> &OwnedFd {
        &self.master
    }

    /// Whether more input is wanted.
    pub(crate) fn wants_input(&self) -> bool {
        !self.input_ended && self.waiting.is_empty()
    }

    /// What to poll the terminal for.
    pub(crate) fn interest(&self) -> PollFlags {
        let output = if self.output_ended { PollFlags::empty() } else { PollFlags::IN };
        if self.waiting.is_empty() { output } else { output | PollFlags::OUT }
    }

    /// Takes what the caller wrote.
    pub(crate) fn take_input(&mut self) {
        let mut buffer = [0_u8; 8192];
        match rustix::io::read(io::stdin().as_fd(), &mut buffer) {
            Ok(0) => self.input_ended = true,
            Ok(count) => self.waiting.extend_from_slice(&buffer[..count]),
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Err(_) => self.input_ended = true,
        }
        self.give_input();
    }

    /// Gives the terminal what it takes.
    pub(crate) fn give_input(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        match rustix::io::write(&self.master, &self.waiting) {
            Ok(count) => drop(self.waiting.drain(..count)),
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            // Nobody is there to read it.
            Err(_) => self.waiting.clear(),
        }
    }

    /// Passes on what the terminal shows, until it shows nothing more for now.
    pub(crate) fn show_output(&mut self) {
        let mut buffer = [0_u8; 8192];
        loop {
            match rustix::io::read(&self.master, &mut buffer) {
                Ok(count @ 1..) => write_all(&buffer[..count]),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return,
                // EIO: the last process that had it open is gone.
                Ok(_) | Err(_) => {
                    self.output_ended = true;
                    return;
                }
            }
        }
    }
}

/// A caller that does not listen any more loses what it would have heard.
fn write_all(mut bytes: &[u8]) {
    let stdout = io::stdout();
    while !bytes.is_empty() {
        match rustix::io::write(stdout.as_fd(), bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::OUT)], None);
            }
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_exactly_where_one_is_used() {
        let socket = Path::new("/no/such/socket");
        let text = |result: Result<Console>| result.unwrap_err().to_string();
        assert!(text(Console::new(true, false, None)).starts_with("cannot allocate tty"));
        for (terminal, stays) in [(true, true), (false, true), (false, false)] {
            let refusal = text(Console::new(terminal, stays, Some(socket)));
            assert!(refusal.starts_with("cannot use console socket"), "{refusal}");
        }
        assert!(text(Console::new(true, false, Some(socket))).ends_with("no such file or directory"));
        assert!(matches!(Console::new(false, true, None), Ok(Console::None)));
    }

    #[test]
    fn the_master_comes_over_our_socket() {
        let console = Console::new(true, true, None).unwrap();
        let pty = rustix::pty::openpt(rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY);
        let pty = pty.unwrap();
        crate::descriptor::send_with(console.for_process().unwrap(), b"/dev/ptmx", &[pty.as_fd()]).unwrap();
        let master = console.master().unwrap().unwrap();
        assert!(!tcgetattr(&master).unwrap().output_modes.contains(OutputModes::ONLCR));
        let console = Console::new(true, true, None).unwrap();
        assert!(console.master().is_err(), "the process ended");
    }
}
