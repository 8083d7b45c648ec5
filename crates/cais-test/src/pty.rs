//! A pseudo terminal for tests of `-t`: the program under test gets it as controlling terminal.
//!
//! `setsid --ctty` of util-linux makes it so, because setting a controlling terminal between fork and exec would
//! need unsafe code. See `man 7 pty`.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::process::{Invocation, wait_until};

/// A program running on a pseudo terminal.
#[derive(Debug)]
pub struct Terminal {
    master: File,
    child: Child,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// Starts a program with the terminal as all its streams.
    ///
    /// # Panics
    /// When no terminal can be had or the program cannot be started.
    pub fn start(invocation: &Invocation, rows: u16, columns: u16) -> Terminal {
        let master: OwnedFd =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("openpt");
        grantpt(&master).expect("grantpt");
        unlockpt(&master).expect("unlockpt");
        let peer = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
            .expect("TIOCGPTPEER");
        tcsetwinsize(&master, size(rows, columns)).expect("TIOCSWINSZ");
        let inner = invocation.command();
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait"]).arg(inner.get_program()).args(inner.get_args());
        for (key, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        command
            .stdin(Stdio::from(peer.try_clone().expect("dup")))
            .stdout(Stdio::from(peer.try_clone().expect("dup")))
            .stderr(Stdio::from(peer));
        let child = command.spawn().expect("setsid of util-linux");
        drop(command);
        let master = File::from(master);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (mut source, sink) = (master.try_clone().expect("dup"), Arc::clone(&seen));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // EIO is how a terminal says that its last user has gone.
            while let Ok(count @ 1..) = source.read(&mut buffer) {
                sink.lock().expect("lock").extend_from_slice(&buffer[..count]);
            }
        });
        Terminal { master, child, seen }
    }

    /// Types this.
    ///
    /// # Panics
    /// When the terminal is gone.
    pub fn send(&mut self, keys: impl AsRef<[u8]>) {
        self.master.write_all(keys.as_ref()).expect("writing to the terminal");
    }

    /// Changes the size; the program gets SIGWINCH.
    ///
    /// # Panics
    /// When the terminal is gone.
    pub fn resize(&self, rows: u16, columns: u16) {
        tcsetwinsize(&self.master, size(rows, columns)).expect("TIOCSWINSZ");
    }

    /// All that has been shown.
    ///
    /// # Panics
    /// Never.
    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().expect("lock")).into_owned()
    }

    /// Waits until this text has been shown.
    ///
    /// # Panics
    /// When it does not come.
    #[track_caller]
    pub fn expect(&self, text: &str) {
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while !self.screen().contains(text) {
            assert!(std::time::Instant::now() < deadline, "no {text:?} on the terminal: {:?}", self.screen());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for the program's end and returns its exit status.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn wait(mut self) -> i32 {
        let mut status = None;
        wait_until("the program on the terminal ends", || {
            status = self.child.try_wait().expect("waitpid");
            status.is_some()
        });
        status.and_then(|status| status.code()).unwrap_or(-1)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_sees_a_terminal_of_that_size() {
        let mut terminal =
            Terminal::start(&Invocation::new("sh", "-c 'tty; stty size; read x; stty size; exit 5'"), 33, 99);
        terminal.expect("33 99");
        assert!(terminal.screen().contains("/dev/pts/"));
        terminal.resize(44, 111);
        terminal.send("\n");
        terminal.expect("44 111");
        assert_eq!(terminal.wait(), 5);
    }
}
