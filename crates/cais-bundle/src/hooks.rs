//! Hooks that run in the runtime's namespaces: `prestart`, `createRuntime`, `poststart`, `poststop`, config.md "POSIX-platform
//! Hooks". Those of the container's namespaces are steps of its first process.
//!
//! A hook gets the state on standard input, exactly the environment that the configuration has, and what it writes is
//! shown only when it fails. Input and output are memory files: whether it reads or not, or leaves a daemon
//! behind that keeps them open, nobody is held up.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use cais_oci::runtime::{Hook, State};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::error::{Error, HookFailure, Result};

/// Most bytes of a failed hook's output that are told.
const OUTPUT_BYTES: u64 = 4096;

/// Where a list of hooks runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point<'a> {
    /// As config.json calls it.
    pub(crate) name: &'static str,
    /// Working directory; the caller's when `None`.
    pub(crate) directory: Option<&'a Path>,
}

/// Runs hooks in order; the first failure ends it.
pub(crate) fn run(hooks: &[Hook], point: Point<'_>, state: &State) -> Result<()> {
    run_each(hooks, point, state, Err)
}

/// Runs all hooks; failures become warnings.
pub(crate) fn run_all(hooks: &[Hook], point: Point<'_>, state: &State, warnings: &mut Vec<String>) {
    // It cannot fail: every failure is taken.
    let _ = run_each(hooks, point, state, |error| {
        warnings.push(error.to_string());
        Ok(())
    });
}

fn run_each(
    hooks: &[Hook],
    point: Point<'_>,
    state: &State,
    mut on_failure: impl FnMut(Error) -> Result<()>,
) -> Result<()> {
    if hooks.is_empty() {
        return Ok(());
    }
    let text = state_text(state)?;
    for (index, hook) in hooks.iter().enumerate() {
        if let Err(failure) = run_one(hook, point.directory, &text) {
            on_failure(Error::Hook { point: point.name.to_owned(), index, failure })?;
        }
    }
    Ok(())
}

/// The state as hooks read it.
pub(crate) fn state_text(state: &State) -> Result<Vec<u8>> {
    serde_json::to_vec(state).map_err(|source| Error::State { path: "state".into(), source })
}

fn run_one(hook: &Hook, directory: Option<&Path>, text: &[u8]) -> Result<(), HookFailure> {
    let failed = |source: io::Error| HookFailure::Start { path: hook.path.clone(), source };
    let (stdout, stderr) = (memory().map_err(failed)?, memory().map_err(failed)?);
    let mut child = start(hook, directory, text, (&stdout, &stderr)).map_err(failed)?;
    let status = match hook.timeout.and_then(|seconds| u64::try_from(seconds).ok()) {
        Some(seconds) if !ends_within(&child, Duration::from_secs(seconds)).map_err(failed)? => {
            // It may have ended at the last moment: both are fine.
            let _ = child.kill();
            let _ = child.wait();
            return Err(HookFailure::Timeout { seconds: seconds as f64 });
        }
        _ => child.wait().map_err(failed)?,
    };
    outcome(status, || output(stdout, stderr))
}

fn start(
    hook: &Hook,
    directory: Option<&Path>,
    text: &[u8],
    (stdout, stderr): (&File, &File),
) -> io::Result<Child> {
    let mut stdin = memory()?;
    io::Write::write_all(&mut stdin, text)?;
    stdin.rewind()?;
    let mut command = Command::new(&hook.path);
    if let Some((name, arguments)) = hook.args.split_first() {
        command.arg0(name).args(arguments);
    }
    command.env_clear().envs(hook.env.iter().filter_map(|entry| entry.split_once('=')));
    command.stdin(stdin).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
    if let Some(directory) = directory {
        command.current_dir(directory);
    }
    command.spawn()
}

fn memory() -> io::Result<File> {
    Ok(memfd_create("hook", MemfdFlags::CLOEXEC)?.into())
}

/// Whether a child ends before the time is over.
fn ends_within(child: &Child, limit: Duration) -> io::Result<bool> {
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let until = std::time::Instant::now() + limit;
    loop {
        let left = until.saturating_duration_since(std::time::Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout)) {
            Ok(count) => return Ok(count > 0),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn outcome(status: ExitStatus, output: impl FnOnce() -> String) -> Result<(), HookFailure> {
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err(HookFailure::Exit { code, output: output() }),
        (None, signal) => Err(HookFailure::Signal { signal: signal.unwrap_or(0), output: output() }),
    }
}

fn output(stdout: File, stderr: File) -> String {
    let text = |mut file: File| {
        let mut bytes = Vec::new();
        // What cannot be read is not told.
        let _ = file.rewind().and_then(|()| file.take(OUTPUT_BYTES).read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    };
    format!(", stdout: {}, stderr: {}", text(stdout).trim_end(), text(stderr).trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cais_oci::runtime::Status;
    use std::collections::BTreeMap;

    fn state() -> State {
        State {
            oci_version: "1.2.0".to_owned(),
            id: "c1".to_owned(),
            status: Status::Creating,
            pid: Some(7),
            bundle: "/b".to_owned(),
            annotations: BTreeMap::new(),
        }
    }

    fn shell(script: &str) -> Hook {
        Hook {
            path: "/bin/sh".to_owned(),
            args: vec!["hook".to_owned(), "-c".to_owned(), script.to_owned()],
            ..Hook::default()
        }
    }

    const POINT: Point<'static> = Point { name: "prestart", directory: None };

    fn failure(hook: Hook) -> String {
        run(&[shell("exit 0"), hook], POINT, &state()).unwrap_err().to_string()
    }

    #[test]
    fn hooks_get_the_state_and_only_their_environment() {
        let directory = tempfile::tempdir().unwrap();
        let mut hook = shell("cat > in; /usr/bin/env > env; echo $0 > name; pwd > pwd");
        hook.env = vec!["A=1".to_owned(), "B=x=y".to_owned()];
        let point = Point { name: "prestart", directory: Some(directory.path()) };
        run(&[hook], point, &state()).unwrap();
        let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
        assert_eq!(serde_json::from_str::<State>(&read("in")).unwrap(), state());
        let environment = read("env");
        for line in environment.lines() {
            // The shell adds some of its own.
            assert!(["A=1", "B=x=y"].contains(&line) || line.starts_with("PWD=") || line.starts_with("_="));
        }
        assert!(environment.contains("B=x=y"));
        assert_eq!(read("name"), "hook\n");
        assert_eq!(read("pwd").trim_end(), directory.path().to_str().unwrap());
    }

    #[test]
    fn failures_are_told() {
        assert_eq!(
            failure(shell("echo out; echo err >&2; exit 3")),
            "error running prestart hook #1: exit status 3, stdout: out, stderr: err"
        );
        assert_eq!(
            failure(shell("kill -9 $$")),
            "error running prestart hook #1: signal 9: killed, stdout: , stderr: "
        );
        let missing = Hook { path: "/no/such/hook".to_owned(), ..Hook::default() };
        assert_eq!(
            failure(missing),
            "error running prestart hook #1: fork/exec /no/such/hook: no such file or directory"
        );
        let slow = Hook { timeout: Some(1), ..shell("exec sleep 1000") };
        assert_eq!(failure(slow), "error running prestart hook #1: hook ran past specified timeout of 1.0s");
    }

    #[test]
    fn nobody_is_held_up() {
        let mut large = state();
        large.annotations.insert("a".to_owned(), "x".repeat(300_000));
        // It neither reads, nor closes its output when it ends.
        let hook = Hook { timeout: Some(60), ..shell("(exec sleep 5) & exit 0") };
        run(&[hook], POINT, &large).unwrap();
    }

    #[test]
    fn all_run_whatever_fails() {
        let directory = tempfile::tempdir().unwrap();
        let point = Point { name: "poststop", directory: Some(directory.path()) };
        let mut warnings = Vec::new();
        run_all(&[shell("exit 1"), shell("> ran")], point, &state(), &mut warnings);
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].starts_with("error running poststop hook #0: exit status 1"), "{warnings:?}");
        assert!(directory.path().join("ran").exists());
    }
}
