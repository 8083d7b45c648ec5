//! The command's standard input: one packet of a client at a time, written as the command takes it.

use crate::sys::{self, Result};

/// Input on its way to the command.
pub struct Input {
    fd: i32,
    piece: &'static mut [u8],
    start: usize,
    end: usize,
    /// Close when the piece is written.
    ending: bool,
    tty: bool,
}

impl Input {
    /// `fd` is the write end of a pipe or a terminal's master, -1 for none; `piece` takes one packet.
    pub fn new(fd: i32, piece: &'static mut [u8], tty: bool) -> Input {
        Input { fd, piece, start: 0, end: 0, ending: false, tty }
    }

    /// Something waits to be written.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.start < self.end
    }

    /// The command can still be given something.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.fd >= 0
    }

    /// It goes to a terminal.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.tty
    }

    /// What to poll.
    #[must_use]
    pub fn descriptor(&self) -> i32 {
        self.fd
    }

    /// Forgets what was not written: the command has ended.
    pub fn discard(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Receives a packet straight into the piece: its first byte is the kind, which is skipped. False at the end of
    /// the client.
    ///
    /// # Errors
    /// EAGAIN when there is none.
    pub fn take(&mut self, client: i32) -> Result<bool> {
        let length = sys::recv(client, self.piece)?;
        self.start = 1.min(length);
        self.end = length;
        Ok(length > 0)
    }

    /// Writes what is pending; true when the input is to end now.
    pub fn feed(&mut self) -> bool {
        while self.start < self.end {
            match sys::write(self.fd, &self.piece[self.start..self.end]) {
                Ok(n) => self.start += n,
                Err(sys::EINTR) => {}
                Err(sys::EAGAIN) => return false,
                Err(_) => {
                    // Nobody reads any more.
                    self.start = self.end;
                    self.ending = true;
                }
            }
        }
        self.ending
    }

    /// Ends the input, after what is pending; true when its descriptor was closed.
    pub fn end(&mut self) -> bool {
        if self.fd < 0 {
            return false;
        }
        if self.is_pending() {
            self.ending = true;
            return false;
        }
        self.ending = false;
        if self.tty {
            // End of input on a terminal is its end-of-file character.
            const EOF_CHARACTER: u8 = 4;
            let _ = sys::write(self.fd, &[EOF_CHARACTER]);
            return false;
        }
        sys::close(self.fd);
        self.fd = -1;
        true
    }
}
