//! The attach stream: messages between a door and a container's shim over one SEQPACKET socket.
//!
//! Each message is one packet: first byte the kind, the rest its payload (at most 32 KiB). The shim sends output
//! and the exit status, a door sends input, window sizes and signals. See [`cais_plan::wire`] for the numbers.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use cais_plan::wire;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv, send,
    socket_with, socketpair,
};

use crate::{ContainerRecord, Engine, Error, ErrorKind, Result};

/// A message from the shim.
#[derive(Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Standard output, or everything of a terminal.
    Stdout(&'a [u8]),
    /// Standard error.
    Stderr(&'a [u8]),
    /// The command ended and all its output has been sent.
    Exit {
        /// Exit code; 128+n after signal n.
        code: i32,
        /// The signal, 0 when it exited.
        signal: i32,
        /// The kernel killed something in the container for memory.
        oom_killed: bool,
    },
    /// The command runs.
    Started {
        /// Its pid as the host sees it.
        pid: i32,
    },
    /// The launch failed at a step of the plan.
    Failed {
        /// Step index, or `wire::NO_STEP`.
        step: u32,
        /// errno.
        errno: i32,
        /// `wire::detail`.
        detail: u32,
    },
    /// The shim is gone.
    Closed,
}

/// What is to be done when the command has ended.
pub(crate) struct AfterExit {
    pub(crate) engine: Engine,
    pub(crate) id: String,
    /// Our child, to be waited for; 0 when another process started it.
    pub(crate) shim_pid: i32,
}

/// The monitor of an `exec`: our child, to be waited for.
pub(crate) struct AfterExec {
    pub(crate) shim_pid: i32,
    /// Who tells of the end.
    pub(crate) event: Option<ExecEvent>,
}

/// What is told of the end of an `exec`.
pub(crate) struct ExecEvent {
    engine: Engine,
    record: ContainerRecord,
    exec_id: String,
}

/// A connection to a command's shim: its input, output and end.
pub struct AttachStream {
    socket: OwnedFd,
    after_exit: Option<AfterExit>,
    after_exec: Option<AfterExec>,
    /// Exit code, once it was told.
    code: Cell<i32>,
}

/// Size of a buffer that takes any message.
pub const MESSAGE_BYTES: usize = wire::PACKET_BYTES;

impl AttachStream {
    pub(crate) fn new(socket: OwnedFd, after_exit: Option<AfterExit>) -> AttachStream {
        AttachStream { socket, after_exit, after_exec: None, code: Cell::new(0) }
    }

    pub(crate) fn for_exec(socket: OwnedFd, after: AfterExec) -> AttachStream {
        AttachStream { socket, after_exit: None, after_exec: Some(after), code: Cell::new(0) }
    }

    /// The end of this `exec` is to be told.
    pub(crate) fn tell_exec(&mut self, engine: Engine, record: ContainerRecord, exec_id: String) {
        if let Some(after) = &mut self.after_exec {
            after.event = Some(ExecEvent { engine, record, exec_id });
        }
    }

    /// Makes the two ends of a stream: ours, and the one that the shim gets.
    pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
        Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
    }

    /// Connects to a container's control socket. The path may be longer than a socket address: it is reached through
    /// its directory's descriptor.
    pub(crate) fn connect(ctl: &Path) -> io::Result<AttachStream> {
        AttachStream::connect_with(ctl, SocketFlags::CLOEXEC)
    }

    /// As [`AttachStream::connect`], non-blocking from the beginning: a shim that many others wait for is an error.
    pub(crate) fn connect_nonblocking(ctl: &Path) -> io::Result<AttachStream> {
        AttachStream::connect_with(ctl, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)
    }

    fn connect_with(ctl: &Path, flags: SocketFlags) -> io::Result<AttachStream> {
        let directory = std::fs::File::open(ctl.parent().unwrap_or(Path::new("/")))?;
        let name = ctl.file_name().unwrap_or_default();
        let short = Path::new("/proc/self/fd")
            .join(std::os::fd::AsRawFd::as_raw_fd(&directory).to_string())
            .join(name);
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        connect(&socket, &SocketAddrUnix::new(short)?)?;
        Ok(AttachStream::new(socket, None))
    }

    /// Makes operations return `WouldBlock` instead of waiting.
    ///
    /// # Errors
    /// Never in practice.
    pub fn set_nonblocking(&self) -> io::Result<()> {
        Ok(rustix::io::ioctl_fionbio(&self.socket, true)?)
    }

    /// The next message; `buffer` must have [`MESSAGE_BYTES`]. Unknown messages are skipped.
    ///
    /// # Errors
    /// `WouldBlock` when non-blocking and nothing is there.
    pub fn recv<'b>(&self, buffer: &'b mut [u8]) -> io::Result<Message<'b>> {
        let length = loop {
            match recv(&self.socket, &mut *buffer, RecvFlags::empty()) {
                Ok((_, 0)) | Err(Errno::CONNRESET) => return Ok(Message::Closed),
                Ok((_, length)) if known(buffer[0]) => break length.min(buffer.len()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        };
        let payload = &buffer[1..length];
        let word =
            |at: usize| payload.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, i32::from_ne_bytes);
        Ok(match buffer[0] {
            wire::STDOUT => Message::Stdout(payload),
            wire::STDERR => Message::Stderr(payload),
            wire::STARTED => Message::Started { pid: word(0) },
            wire::FAILED => Message::Failed { step: word(0) as u32, errno: word(4), detail: word(8) as u32 },
            _ => {
                self.code.set(word(0));
                Message::Exit { code: word(0), signal: word(4), oom_killed: word(8) != 0 }
            }
        })
    }

    fn send(&self, kind: u8, payload: &[u8]) -> io::Result<usize> {
        let mut packet = Vec::with_capacity(payload.len() + 1);
        packet.push(kind);
        packet.extend_from_slice(payload);
        loop {
            match send(&self.socket, &packet, SendFlags::NOSIGNAL) {
                Ok(_) => return Ok(payload.len()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Gives input to the command; sends at most 32 KiB and says how much.
    ///
    /// # Errors
    /// `WouldBlock` when non-blocking and the command does not read; `BrokenPipe` when the shim is gone.
    pub fn send_stdin(&self, data: &[u8]) -> io::Result<usize> {
        self.send(wire::STDIN, &data[..data.len().min(wire::PACKET_BYTES - 1)])
    }

    /// Ends the command's input.
    ///
    /// # Errors
    /// As for [`AttachStream::send_stdin`].
    pub fn close_stdin(&self) -> io::Result<()> {
        self.send(wire::STDIN_END, &[]).map(drop)
    }

    /// Tells the terminal's size.
    ///
    /// # Errors
    /// When the shim is gone.
    pub fn resize(&self, rows: u16, cols: u16) -> io::Result<()> {
        let words = [u32::from(rows).to_ne_bytes(), u32::from(cols).to_ne_bytes()];
        self.send(wire::RESIZE, words.as_flattened()).map(drop)
    }

    /// Sends a signal to the command.
    ///
    /// # Errors
    /// When the shim is gone.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        self.send(wire::SIGNAL, &signal.to_ne_bytes()).map(drop)
    }

    pub(crate) fn request(&self, kind: u8, payload: &[u8]) -> io::Result<()> {
        self.send(kind, payload).map(drop)
    }

    /// Must be called after [`Message::Exit`]: takes down what is left of the run, and the container itself when it was
    /// to be removed. For a stream that did not start the container it only closes.
    ///
    /// # Errors
    /// When something could not be taken down; the rest was.
    pub fn finish(self) -> Result<()> {
        if let Some(after) = self.after_exec {
            drop(self.socket);
            cais_sys::spawn::reap(after.shim_pid);
            if let Some(ExecEvent { engine, record, exec_id }) = after.event {
                let code = self.code.get().to_string();
                engine.tell_container(&record, "exec_die", &[("execID", &exec_id), ("exitCode", &code)]);
            }
            return Ok(());
        }
        let Some(after) = self.after_exit else { return Ok(()) };
        let record = after.engine.store.load_container(&after.id);
        if record.as_ref().is_ok_and(|record| record.may_run_again()) {
            // Its policy was changed while it ran: its monitor, left alone, calls who knows of policies.
            return Ok(());
        }
        let result = after.engine.after_exit_of(&after.id, record.ok().as_ref());
        // The shim goes when it hears that we have done its work, and we wait for it: it is our child.
        let told = send(&self.socket, &[wire::DONE], SendFlags::NOSIGNAL);
        drop(self.socket);
        if after.shim_pid > 0 && told.is_ok() {
            cais_sys::spawn::reap(after.shim_pid);
        }
        result
    }
}

fn known(kind: u8) -> bool {
    matches!(kind, wire::STDOUT | wire::STDERR | wire::STARTED | wire::FAILED | wire::EXITED)
}

impl AsFd for AttachStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The stream's socket failed.
pub(crate) fn broken(id: &str, source: io::Error) -> Error {
    Error::caused(ErrorKind::System, format!("talk to the monitor of container {}", short(id)), source)
}

/// First 12 digits of an id.
pub(crate) fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
