//! Whoever waits for the first process: the monitor at the other end of a pipe, or the runtime and then the starter at
//! the other end of a SEQPACKET socket (`cais_plan::wire`).
//!
//! Every word is one write(2): the call that a seccomp filter is least likely to forbid.

use cais_plan::wire;

use crate::sys::{self, Errno, Result};

/// Most bytes of a failed hook's output that are passed on: the last ones.
const SAID: usize = 2048;

/// The other end.
#[derive(Clone, Copy)]
pub struct Peer {
    /// Pipe or socket.
    pub fd: i32,
    /// A socket: packets with their kind.
    packets: bool,
}

impl Peer {
    /// The monitor's pipe.
    #[must_use]
    pub fn pipe(fd: i32) -> Peer {
        Peer { fd, packets: false }
    }

    /// The runtime's or the starter's socket.
    #[must_use]
    pub fn socket(fd: i32) -> Peer {
        Peer { fd, packets: true }
    }

    /// Tells what failed and ends. `output` is a file with what a hook said, or -1.
    pub fn fail(self, index: u32, errno: Errno, word: u32, output: i32) -> ! {
        let mut message = [0_u8; 13 + SAID];
        message[0] = wire::FAILED;
        message[1..5].copy_from_slice(&index.to_ne_bytes());
        message[5..9].copy_from_slice(&errno.0.to_ne_bytes());
        message[9..13].copy_from_slice(&word.to_ne_bytes());
        if !self.packets {
            let _ = sys::write_all(self.fd, &message[1..13]);
            sys::exit(127)
        }
        let said = if output < 0 { 0 } else { tail(output, &mut message[13..]) };
        let _ = sys::write_all(self.fd, &message[..13 + said]);
        sys::exit(127)
    }

    /// Tells that a point is reached.
    ///
    /// # Errors
    /// EPIPE when nobody is there any more.
    pub fn point(self, word: u32) -> Result<()> {
        let mut message = [wire::POINT; 5];
        message[1..].copy_from_slice(&word.to_ne_bytes());
        sys::write_all(self.fd, &message)
    }

    /// Waits for the go; gives the text that came with it, in the packet or, when it is long, as a file. `None` when
    /// the other end is gone or says something else.
    ///
    /// # Errors
    /// ENOMEM.
    pub fn wait_for_go(self) -> Result<Option<&'static [u8]>> {
        let length = match sys::packet_length(self.fd) {
            Ok(0) | Err(_) => return Ok(None),
            Ok(length) => length,
        };
        let packet = sys::map_bytes(length)?;
        let Ok((got, file)) = sys::recv_with_fd(self.fd, packet) else { return Ok(None) };
        if got != length || packet[0] != wire::GO {
            sys::close(file);
            return Ok(None);
        }
        if file < 0 {
            return Ok(Some(&packet[1..]));
        }
        let text = sys::map_whole(file);
        sys::close(file);
        Ok(Some(text.unwrap_or(b"")))
    }
}

/// The last bytes of a file; how many.
fn tail(file: i32, buffer: &mut [u8]) -> usize {
    let Ok(length) = sys::seek_end(file) else { return 0 };
    let from = length.saturating_sub(buffer.len());
    sys::pread(file, buffer, from as u64).unwrap_or(0)
}
