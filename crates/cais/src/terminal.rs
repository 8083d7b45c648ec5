//! The caller's terminal: raw mode that is always undone, and its size.

use std::io::{BufRead, stderr, stdin, stdout};
use std::os::fd::AsFd;
use std::panic;

use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

use crate::door::print_stderr;
use crate::failure::Failure;

// Keys as a terminal sends them.
const INTERRUPT: u8 = 0x03;
const END_OF_FILE: u8 = 0x04;
const BACKSPACE: u8 = 0x08;
const KILL_LINE: u8 = 0x15;
const ERASE: u8 = 0x7f;

/// Whether standard input is a terminal.
pub fn stdin_is_terminal() -> bool {
    isatty(stdin())
}

/// Raw mode of standard input; undone when dropped, and by the panic hook, because a panic aborts.
pub struct RawMode {
    before: Termios,
}

impl RawMode {
    /// Passes every key on as it is, without echo and without signals.
    ///
    /// # Errors
    /// When the terminal refuses.
    pub fn enter() -> Result<RawMode, Failure> {
        let fail = |error: rustix::io::Errno| Failure::edge("put the terminal into raw mode", error);
        let before = tcgetattr(stdin()).map_err(fail)?;
        let mut raw = before.clone();
        raw.make_raw();
        let for_panics = before.clone();
        let told_as_usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let _ = tcsetattr(stdin(), OptionalActions::Now, &for_panics);
            told_as_usual(info);
        }));
        tcsetattr(stdin(), OptionalActions::Now, &raw).map_err(fail)?;
        Ok(RawMode { before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.before);
    }
}

/// Asks for a line that is not shown while it is typed.
///
/// # Errors
/// When the terminal refuses, its end comes first, or the user gives up (Ctrl-C).
pub fn ask_hidden(prompt: &str) -> Result<String, Failure> {
    // In this order: who answers at once must not be shown either.
    let raw = RawMode::enter()?;
    print_stderr(prompt);
    let typed = read_hidden(stdin().lock());
    drop(raw);
    print_stderr("\n");
    typed
}

/// Reads keys of a raw terminal up to the end of the line.
fn read_hidden(input: impl BufRead) -> Result<String, Failure> {
    let mut typed = Vec::new();
    for key in input.bytes() {
        match key.map_err(|error| Failure::edge("read from the terminal", error))? {
            b'\r' | b'\n' => {
                return String::from_utf8(typed).map_err(|_| Failure::usage("what was typed is not UTF-8"));
            }
            INTERRUPT => break,
            END_OF_FILE if typed.is_empty() => break,
            KILL_LINE => typed.clear(),
            ERASE | BACKSPACE => while typed.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
            byte => typed.push(byte),
        }
    }
    Err(Failure::usage("given up"))
}

/// Columns of standard output; `None` when it is no terminal.
pub fn width() -> Option<usize> {
    let size = tcgetwinsize(stdout()).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// Rows and columns of the first of our streams that is a terminal.
pub fn size() -> Option<(u16, u16)> {
    let (input, output, error) = (stdin(), stdout(), stderr());
    let size =
        [input.as_fd(), output.as_fd(), error.as_fd()].into_iter().find_map(|fd| tcgetwinsize(fd).ok())?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_lines_can_be_mended() {
        let typed = |keys: &str| read_hidden(keys.as_bytes()).ok();
        assert_eq!(typed("secret\r").as_deref(), Some("secret"));
        assert_eq!(typed("sä\x7fee\x08\x7f\x7f\x7fok\n").as_deref(), Some("ok"));
        assert_eq!(typed("wrong\x15right\r").as_deref(), Some("right"));
        assert_eq!(typed("\r").as_deref(), Some(""));
        assert_eq!(typed("secret\x03\r"), None);
        assert_eq!(typed("\x04"), None);
        assert_eq!(typed("no end"), None);
    }
}
