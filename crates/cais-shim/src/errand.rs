//! The main program, called for what needs thought: in place of the monitor, or beside it.

use core::ffi::CStr;

use cais_plan::{Setup, Strings, errand};

use crate::{signals, sys};

/// Words of a command line, at most.
const WORDS: usize = 16;
/// Variables of an environment, at most.
const VARIABLES: usize = 8;

/// A call of the main program that has not come to its end.
pub struct Errand {
    pid: i32,
    /// Readable at its end.
    pub pidfd: i32,
}

impl Errand {
    /// Calls the main program with a word (`cais_plan::errand`); `None` when that is not possible.
    #[must_use]
    pub fn start(setup: &Setup<'_>, word: &CStr) -> Option<Errand> {
        Errand::with_streams(setup, word, [-1; 2])
    }

    /// The same with descriptors for its input and output, -1 for none.
    #[must_use]
    pub fn with_streams(setup: &Setup<'_>, word: &CStr, streams: [i32; 2]) -> Option<Errand> {
        // SAFETY: one thread; the child becomes another program or ends.
        let (pid, pidfd) = unsafe { sys::clone3(0, -1) }.ok()?;
        if pid == 0 {
            sys::exit(execute(setup, word, streams));
        }
        Some(Errand { pid, pidfd })
    }

    /// Waits for its end.
    pub fn wait(self) {
        let _ = sys::wait(self.pid, true);
        sys::close(self.pidfd);
    }

    /// Its exit status, once it has ended.
    #[must_use]
    pub fn end(&self) -> Option<i32> {
        let status = match sys::wait(self.pid, false) {
            Ok(Some((_, status))) => crate::init::exit_code(status),
            Ok(None) => return None,
            Err(_) => 1,
        };
        sys::close(self.pidfd);
        Some(status)
    }
}

/// Becomes the main program with a word; returns an exit status when there is none or it cannot be executed.
///
/// The lock goes with the monitor, and what was locked is free from here on, but for the word that begins another run.
#[must_use]
pub fn become_program(setup: &Setup<'_>, word: &CStr) -> i32 {
    execute(setup, word, [-1; 2])
}

/// Executes the main program with a word and these as input and output.
fn execute(setup: &Setup<'_>, word: &CStr, streams: [i32; 2]) -> i32 {
    let Some(path) = setup.program.iter().next() else { return 0 };
    let mut argv = [core::ptr::null::<u8>(); WORDS + 1];
    let count = pointers(&mut argv[..WORDS - 1], setup.program);
    argv[count] = argv[count - 1];
    argv[count - 1] = word.as_ptr().cast();
    let mut environment = [core::ptr::null::<u8>(); VARIABLES + 1];
    pointers(&mut environment[..VARIABLES], setup.environment);
    signals::reset();
    let null = sys::open(c"/dev/null".to_bytes(), sys::O_RDWR).unwrap_or(-1);
    // Those of others lie behind the first three, which are open.
    for (target, fd) in (0..).zip([streams[0], streams[1], -1]) {
        let _ = sys::dup_to(if fd < 0 { null } else { fd }, target);
    }
    let _ = sys::cloexec_from(3);
    if word == errand::AGAIN {
        let _ = sys::dup_to(setup.lock_fd, errand::LOCK_FD);
    }
    let _ = sys::execve(path, argv.as_ptr(), environment.as_ptr());
    1
}

/// Pointers to strings; how many.
fn pointers(places: &mut [*const u8], strings: Strings<'_>) -> usize {
    let mut count = 0;
    for (place, string) in places.iter_mut().zip(strings.iter()) {
        *place = string.as_ptr();
        count += 1;
    }
    count
}
