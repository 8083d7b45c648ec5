//! Running programs in tests: captured streams, an end to waiting, conditions instead of sleeps.
//!
//! Streams are read by threads until their end, so that nothing is lost and no pipe fills up. A program that
//! outlives its time is killed and fails the test with all that it said.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

/// Time that any program of a test has unless it says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// A program about to be run.
#[derive(Debug)]
pub struct Invocation {
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(String, Option<String>)>,
    folder: Option<PathBuf>,
    stdin: Input,
    timeout: Duration,
}

#[derive(Debug, Default)]
enum Input {
    #[default]
    Null,
    Bytes(Vec<u8>),
    File(File),
    Pipe,
}

impl Invocation {
    /// `program` with the arguments of `line`, split as a shell splits words.
    pub fn new(program: impl Into<PathBuf>, line: &str) -> Invocation {
        Invocation {
            program: program.into(),
            args: words(line).into_iter().map(OsString::from).collect(),
            env: Vec::new(),
            folder: None,
            stdin: Input::Null,
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// Adds one argument as it is.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Invocation {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds further arguments, split as a shell splits words.
    #[must_use]
    pub fn args(mut self, line: &str) -> Invocation {
        self.args.extend(words(line).into_iter().map(OsString::from));
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, key: &str, value: impl AsRef<Path>) -> Invocation {
        self.env.push((key.to_owned(), Some(value.as_ref().to_string_lossy().into_owned())));
        self
    }

    /// Removes a variable.
    #[must_use]
    pub fn without_env(mut self, key: &str) -> Invocation {
        self.env.push((key.to_owned(), None));
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Invocation {
        self.folder = Some(folder.into());
        self
    }

    /// Gives these bytes on standard input, then its end.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Invocation {
        self.stdin = Input::Bytes(bytes.into());
        self
    }

    /// Gives a file as standard input.
    #[must_use]
    pub fn stdin_file(mut self, file: File) -> Invocation {
        self.stdin = Input::File(file);
        self
    }

    /// Leaves standard input open, to be written through [`Running::stdin`].
    #[must_use]
    pub fn stdin_pipe(mut self) -> Invocation {
        self.stdin = Input::Pipe;
        self
    }

    /// Sets how long it may take.
    #[must_use]
    pub fn timeout_secs(mut self, secs: u64) -> Invocation {
        self.timeout = Duration::from_secs(secs);
        self
    }

    /// The words of the command line, for messages.
    pub fn line(&self) -> String {
        let mut line = self.program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for arg in &self.args {
            line.push(' ');
            line.push_str(&arg.to_string_lossy());
        }
        line
    }

    /// The same as a standard command, streams not yet set.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args);
        for (key, value) in &self.env {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        command
    }

    /// The same with its standard output given to a filter of the shell, such as `wc -c`; the status is the first
    /// failure of the two.
    #[must_use]
    pub fn piped_into(self, filter: &str) -> Invocation {
        let script = format!("set -o pipefail; \"$@\" | {filter}");
        let args = [OsString::from("-c"), script.into(), "bash".into(), self.program.into_os_string()];
        Invocation { program: "bash".into(), args: args.into_iter().chain(self.args).collect(), ..self }
    }

    /// Starts it with all three streams captured.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn(self) -> Running {
        let line = self.line();
        let mut command = self.command();
        let (stdin, bytes) = match self.stdin {
            Input::Null => (Stdio::null(), None),
            Input::File(file) => (Stdio::from(file), None),
            Input::Pipe => (Stdio::piped(), None),
            Input::Bytes(bytes) => (Stdio::piped(), Some(bytes)),
        };
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("starting {line}: {error}"));
        let mut stdin = child.stdin.take();
        if let Some(bytes) = bytes
            && let Some(mut pipe) = stdin.take()
        {
            // A program may end without reading: a broken pipe is not a failure of the test.
            std::thread::spawn(move || drop(pipe.write_all(&bytes)));
        }
        let stdout = reader(child.stdout.take());
        let stderr = reader(child.stderr.take());
        Running {
            line,
            child: Some(child),
            stdin,
            stdout: Some(stdout),
            stderr: Some(stderr),
            timeout: self.timeout,
        }
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When it cannot be started or takes too long.
    pub fn output(self) -> Finished {
        self.spawn().wait()
    }

    /// Runs it, expects status 0 and returns standard output without the white space at its end.
    ///
    /// # Panics
    /// When it fails.
    pub fn ok(self) -> String {
        self.output().code(0).stdout_text()
    }
}

fn reader(stream: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // What was read before an error is still worth showing.
            let _ = stream.read_to_end(&mut bytes);
        }
        bytes
    })
}

/// Splits as a shell does: white space, single and double quotes, no expansion.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match quote {
            Some(q) if c == q => quote = None,
            Some(_) => word.get_or_insert_default().push(c),
            None if c == '\'' || c == '"' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            None => word.get_or_insert_default().push(c),
        }
    }
    assert!(quote.is_none(), "unbalanced quote in {line:?}");
    words.extend(word);
    words
}

/// A program that runs; dropped, it is killed.
#[derive(Debug)]
pub struct Running {
    line: String,
    child: Option<Child>,
    stdin: Option<ChildStdin>,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
    timeout: Duration,
}

impl Running {
    /// Its process id.
    ///
    /// # Panics
    /// Never while it is running.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("running").id()
    }

    /// Its standard input, when it was asked for with [`Invocation::stdin_pipe`].
    ///
    /// # Panics
    /// When there is none or it was closed.
    pub fn stdin(&mut self) -> &mut ChildStdin {
        self.stdin.as_mut().expect("standard input was not kept open")
    }

    /// Closes its standard input.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.pid().cast_signed()).expect("a pid"), signal).expect("signal");
    }

    /// Whether it has not ended.
    ///
    /// # Panics
    /// When the kernel refuses to say.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().expect("running").try_wait().expect("waitpid").is_none()
    }

    /// Waits for its end and for the end of its streams.
    ///
    /// # Panics
    /// When it takes longer than its time; it is killed then.
    pub fn wait(mut self) -> Finished {
        self.stdin = None;
        let deadline = Instant::now() + self.timeout;
        let mut child = self.child.take().expect("running");
        let timed_out = !ended_by(&child, deadline);
        if timed_out {
            drop(child.kill());
        }
        let status = child.wait().expect("waitpid");
        // A grandchild that kept a stream open would hold the readers for ever.
        let streams = [self.stdout.take(), self.stderr.take()].map(|handle| {
            let handle = handle.expect("not joined before");
            let open = !timed_out && !join_by(&handle, deadline);
            (
                if open || (timed_out && !handle.is_finished()) {
                    Vec::new()
                } else {
                    handle.join().expect("reader")
                },
                open,
            )
        });
        let [(stdout, stdout_open), (stderr, stderr_open)] = streams;
        let finished = Finished { line: std::mem::take(&mut self.line), status, stdout, stderr };
        assert!(!timed_out, "took longer than {:?}: {finished}", self.timeout);
        assert!(!stdout_open && !stderr_open, "somebody kept its output open after its end: {finished}");
        finished
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn join_by(handle: &JoinHandle<Vec<u8>>, deadline: Instant) -> bool {
    while !handle.is_finished() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

/// Waits for the end of a child without reaping it; false when `deadline` came first.
fn ended_by(child: &Child, deadline: Instant) -> bool {
    let pid = Pid::from_raw(child.id().cast_signed()).expect("a pid");
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).expect("pidfd_open of an unreaped child");
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        let left = Timespec::try_from(left).expect("a short time");
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&left)) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("poll: {error}"),
        }
    }
}

/// A program that has ended.
#[derive(Clone, Debug)]
pub struct Finished {
    line: String,
    status: ExitStatus,
    /// What it wrote on standard output.
    pub stdout: Vec<u8>,
    /// What it wrote on standard error.
    pub stderr: Vec<u8>,
}

impl Finished {
    /// Its exit status, or 128 + n when signal n ended it.
    pub fn status(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    /// Expects this exit status.
    ///
    /// # Panics
    /// When it was another one.
    #[track_caller]
    pub fn code(self, expected: i32) -> Finished {
        assert!(self.status() == expected, "expected status {expected}: {self}");
        self
    }

    /// Expects this text somewhere in standard error.
    ///
    /// # Panics
    /// When it is not there.
    #[track_caller]
    pub fn says(self, text: &str) -> Finished {
        assert!(self.stderr_text().contains(text), "expected {text:?} on standard error: {self}");
        self
    }

    /// Expects exactly this standard output, white space at the end aside.
    ///
    /// # Panics
    /// When it differs.
    #[track_caller]
    pub fn prints(self, text: &str) -> Finished {
        assert!(self.stdout_text() == text, "expected {text:?} on standard output: {self}");
        self
    }

    /// Standard output without the white space at its end.
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_owned()
    }

    /// Standard error without the white space at its end.
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).trim_end().to_owned()
    }

    /// Expects one line of human error: `PROGRAM: …`, perhaps with hints below, and no trace of a crash.
    ///
    /// # Panics
    /// When standard error is empty or looks like a crash.
    #[track_caller]
    pub fn one_clear_error(self) -> Finished {
        let text = self.stderr_text();
        let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
        let crash = text.contains("panicked at") || text.contains("RUST_BACKTRACE");
        assert!((1..=4).contains(&lines) && !crash, "expected one clear error: {self}");
        self
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4000)]).into_owned();
            if bytes.len() > 4000 { format!("{text}… ({} bytes)", bytes.len()) } else { text }
        };
        writeln!(f, "`{}` ended with {}", self.line, self.status())?;
        writeln!(f, "--- standard output\n{}", shown(&self.stdout))?;
        write!(f, "--- standard error\n{}", shown(&self.stderr))
    }
}

/// Waits until `condition` holds, at most [`DEFAULT_TIMEOUT`].
///
/// # Panics
/// When it does not hold in time.
#[track_caller]
pub fn wait_until(what: &str, condition: impl FnMut() -> bool) {
    wait_until_within(DEFAULT_TIMEOUT, what, condition);
}

/// Waits until `condition` holds, at most `limit`.
///
/// # Panics
/// When it does not hold in time.
#[track_caller]
pub fn wait_until_within(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {limit:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_by_a_shell() {
        assert_eq!(
            words("run  --rm bb sh -c 'exit 3; echo \"x\"' \"a b\" ''"),
            ["run", "--rm", "bb", "sh", "-c", "exit 3; echo \"x\"", "a b", ""]
        );
    }

    #[test]
    fn streams_and_status_are_kept_apart() {
        let finished = Invocation::new("sh", "-c 'cat; echo err >&2; exit 7'").stdin("in").output();
        assert_eq!((finished.status(), finished.stdout.as_slice()), (7, &b"in"[..]));
        assert_eq!(finished.stderr_text(), "err");
    }

    #[test]
    fn death_by_signal_counts_as_a_shell_counts() {
        assert_eq!(Invocation::new("sh", "-c 'kill -9 $$'").output().status(), 137);
    }

    #[test]
    #[should_panic(expected = "took longer than 1s")]
    fn time_limits_are_kept() {
        Invocation::new("sleep", "1000").timeout_secs(1).output();
    }

    #[test]
    #[should_panic(expected = "expected status 0")]
    fn a_wrong_status_fails() {
        Invocation::new("false", "").ok();
    }
}
