//! The caller's terminal: raw mode that is always undone, and its size.

use std::io::{stderr, stdin, stdout};
use std::os::fd::AsFd;
use std::panic;

use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

use crate::failure::Failure;

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
