//! A failed step as a sentence.

use std::io;

use cais_plan::wire::{NO_STEP, detail};
use rustix::io::Errno;

use super::conversation::Failed;
use crate::error::{Error, HookFailure};
use crate::plan::{Planned, Subject};
use crate::state::Late;

/// What is known of the steps.
pub(crate) struct Blame<'a> {
    command: &'a str,
    step: Box<dyn Fn(usize) -> (String, Subject) + 'a>,
}

impl<'a> Blame<'a> {
    /// By the plan itself.
    pub(crate) fn planned(planned: &'a Planned, command: &'a str) -> Blame<'a> {
        let step = |index| {
            let sentence = planned.steps.sentence(index).unwrap_or("set up the container");
            (sentence.to_owned(), planned.subject(index))
        };
        Blame { command, step: Box::new(step) }
    }

    /// By what `create` kept for `start`.
    pub(crate) fn kept(late: &'a Late) -> Blame<'a> {
        let step = |index: usize| {
            let at = index.checked_sub(late.first);
            let sentence =
                at.and_then(|at| late.sentences.get(at)).map_or("start the container", String::as_str);
            let last = at.is_some_and(|at| at + 1 == late.sentences.len());
            (sentence.to_owned(), if last { Subject::Exec } else { Subject::Process })
        };
        Blame { command: &late.command, step: Box::new(step) }
    }
}

/// The sentence for a failed step.
pub(crate) fn blame(failed: Failed, steps: &Blame<'_>) -> Error {
    let source = io::Error::from_raw_os_error(failed.errno);
    if failed.index == NO_STEP {
        return match failed.detail {
            detail::CLONE => Error::Clone { source },
            detail::DIED => Error::Died,
            _ => Error::Step { sentence: "read the launch plan".to_owned(), source },
        };
    }
    let (sentence, subject) = (steps.step)(failed.index as usize);
    if matches!(failed.detail, detail::HOOK | detail::HOOK_TIMEOUT) {
        return hook(&sentence, failed);
    }
    let reason = match failed.detail {
        detail::NO_USER => Some("no such user in the container's /etc/passwd"),
        detail::NO_GROUP => Some("no such group in the container's /etc/group"),
        detail::BAD_TARGET
            if ["mount proc on", "mount sysfs on"].iter().any(|is| sentence.starts_with(is)) =>
        {
            Some("must be mounted on ordinary directory")
        }
        detail::BAD_TARGET => Some("the path leads where nothing can be mounted safely"),
        detail::NOT_PROC => Some("what must be procfs is another file system"),
        _ => None,
    };
    if let Some(reason) = reason {
        return Error::StepRefused { sentence, reason };
    }
    match subject {
        Subject::FindExecutable | Subject::Exec => command(steps.command.to_owned(), failed, source),
        _ => Error::Step { sentence, source },
    }
}

/// The words that callers look for.
fn command(command: String, failed: Failed, source: io::Error) -> Error {
    match Errno::from_raw_os_error(failed.errno) {
        Errno::NOENT if failed.detail == detail::NO_INTERPRETER => Error::NoInterpreter { command },
        Errno::NOENT | Errno::NOTDIR if command.contains('/') => Error::NoCommand { command, source },
        Errno::NOENT | Errno::NOTDIR => Error::NotInPath { command },
        _ => Error::Command { command, source },
    }
}

/// The sentence of such a step is `createContainer hook #0`.
fn hook(sentence: &str, failed: Failed) -> Error {
    let (point, index) = sentence.split_once(" hook #").unwrap_or((sentence, "0"));
    let code = failed.errno;
    let output = match failed.said.as_str() {
        "" => String::new(),
        said => format!(", output: {said}"),
    };
    let failure = match failed.detail {
        detail::HOOK_TIMEOUT => HookFailure::TimedOut,
        _ if code > 128 => HookFailure::Signal { signal: code - 128, output },
        _ => HookFailure::Exit { code, output },
    };
    Error::Hook { point: point.to_owned(), index: index.parse().unwrap_or(0), failure }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(index: u32, errno: i32, detail: u32) -> Failed {
        Failed { index, errno, detail, said: String::new() }
    }

    #[test]
    fn late_failures_have_their_sentences() {
        let late = Late {
            command: "/bin/x".to_owned(),
            first: 10,
            sentences: ["startContainer hook #1", "load the seccomp filter", "execute /bin/x"]
                .map(str::to_owned)
                .to_vec(),
        };
        let say = |failure: Failed| blame(failure, &Blame::kept(&late)).to_string();
        assert_eq!(say(failed(10, 7, detail::HOOK)), "error running startContainer hook #1: exit status 7");
        let said = "cat: no file".to_owned();
        assert_eq!(
            say(Failed { said, ..failed(10, 1, detail::HOOK) }),
            "error running startContainer hook #1: exit status 1, output: cat: no file"
        );
        assert_eq!(
            say(failed(10, 137, detail::HOOK)),
            "error running startContainer hook #1: signal 9: killed"
        );
        assert_eq!(
            say(failed(10, 0, detail::HOOK_TIMEOUT)),
            "error running startContainer hook #1: hook ran past specified timeout"
        );
        assert_eq!(say(failed(11, 22, 0)), "load the seccomp filter: invalid argument");
        assert_eq!(say(failed(12, 2, 0)), "exec: \"/bin/x\": stat /bin/x: no such file or directory");
        assert_eq!(say(failed(12, 13, 0)), "exec: \"/bin/x\": permission denied");
        assert_eq!(say(failed(12, 8, 0)), "exec: \"/bin/x\": exec format error");
        assert_eq!(say(failed(3, 1, 0)), "start the container: operation not permitted");
        assert_eq!(
            say(failed(NO_STEP, 12, detail::CLONE)),
            "create the namespaces of the container's first process: cannot allocate memory"
        );
    }
}
