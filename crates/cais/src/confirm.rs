//! Asks before something is removed.

use std::io::{BufRead, stdin};

use crate::door::print_stderr;
use crate::failure::Failure;
use crate::terminal;

/// Tells what is about to happen and asks; true for `y` and `yes`.
///
/// # Errors
/// When nobody can be asked: standard input is no terminal.
pub fn confirm(warning: &str) -> Result<bool, Failure> {
    if !terminal::stdin_is_terminal() {
        return Err(Failure::usage("nobody can be asked: standard input is no terminal")
            .hint("--force does it without asking"));
    }
    print_stderr(&format!("WARNING! {warning}\nAre you sure you want to continue? [y/N] "));
    let mut line = String::new();
    stdin().lock().read_line(&mut line).map_err(|error| Failure::edge("read the answer", error))?;
    Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
