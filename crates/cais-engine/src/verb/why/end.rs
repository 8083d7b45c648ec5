//! Causes told by how a run ended: the exit record, what `stop` and `kill` noted; and what is to be said of a container
//! that has not ended.

use super::evidence::Evidence;
use super::{Cause, Certainty, Finding, Rule, health, start};
use crate::view::State;
use crate::{Ending, ExitRecord};

/// Causes; at most a few apply.
pub(super) const SPECIAL: &[Rule] = &[
    never_started,
    out_of_memory,
    out_of_memory_within,
    denied_syscall,
    stopped,
    killed,
    killed_by_unknown,
    crashed,
    other_signal,
    child_signal,
    lost,
];

/// What is true in any case; makes sure that something is said.
pub(super) const GENERAL: &[Rule] =
    &[start::failed, running, paused, ignores_stop_signal, finished, exit_code];

const RECORD: &str = "exit record";
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;
const SIGSYS: i32 = 31;
/// Signals that a program gets for what it does itself.
const CRASHES: [(i32, &str); 7] = [
    (4, "an instruction that this processor does not have, or a failed check"),
    (5, "a trap"),
    (6, "aborting themselves: a failed assertion, an uncaught exception, a corrupted heap"),
    (7, "an access to memory that is not there: a truncated mapped file, or a full /dev/shm"),
    (8, "a division by zero"),
    (11, "an access to memory that is not its own"),
    (25, "a file that grew beyond its limit"),
];

/// `SIGKILL` and the like; only what ends processes.
pub(super) fn signal_name(number: i32) -> String {
    let name = match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        10 => "SIGUSR1",
        11 => "SIGSEGV",
        12 => "SIGUSR2",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

fn record(exit: &ExitRecord) -> String {
    let ExitRecord { code, signal, oom_killed, .. } = exit;
    format!("code={code} signal={signal} oom={}", u8::from(*oom_killed))
}

/// The signal that an exit status tells of: the process's own, or, by 128+n, that of a child of a shell or init.
fn told_signal(exit: &ExitRecord) -> Option<i32> {
    match exit {
        ExitRecord { signal: 0, code: code @ 129..=192, .. } => Some(code - 128),
        ExitRecord { signal: 0, .. } => None,
        ExitRecord { signal, .. } => Some(*signal),
    }
}

fn bytes(bytes: i64) -> String {
    match bytes {
        n if n >= 1 << 30 && n % (1 << 30) == 0 => format!("{} GiB", n >> 30),
        n if n >= 1 << 20 => format!("{} MiB", n >> 20),
        n => format!("{n} bytes"),
    }
}

fn never_started(evidence: &Evidence) -> Option<Finding> {
    (evidence.state == State::Created && evidence.exit.is_none()).then(|| {
        Finding::new(Cause::NeverStarted, Certainty::Certain, "it was created and never started")
            .seen(RECORD, "there is none")
            .fix(format!("cais start {}", evidence.record.name))
    })
}

fn out_of_memory(evidence: &Evidence) -> Option<Finding> {
    let exit = evidence.ended().filter(|exit| exit.oom_killed)?;
    let limit = evidence.record.request.resources.memory_bytes.filter(|limit| *limit > 0);
    let whole = told_signal(exit) == Some(SIGKILL);
    let within = match limit {
        Some(limit) => format!("its limit of {}", bytes(limit)),
        None => "the memory that there was (it has no limit of its own)".to_owned(),
    };
    // Who was killed by hand did not end for memory, even when another process had before.
    let by_hand = stopped(evidence).is_some() || killed(evidence).is_some();
    let (certainty, summary) = if by_hand {
        (
            Certainty::Hint,
            format!("the kernel killed a process in it for memory: they needed more than {within}"),
        )
    } else if whole && exit.signal == SIGKILL {
        (Certainty::Certain, format!("the kernel killed it for memory: it needed more than {within}"))
    } else {
        let summary = format!("the kernel killed a process in it for memory: they needed more than {within}");
        (if exit.code == 0 { Certainty::Hint } else { Certainty::Likely }, summary)
    };
    let mut finding = Finding::new(Cause::OutOfMemory, certainty, summary)
        .seen(RECORD, record(exit))
        .seen("cgroup", "the counter of kills for memory grew during the run");
    finding = match limit {
        Some(limit) => finding
            .seen("record", format!("memory limit {limit} bytes"))
            .fix(format!("give it more (-m {}m), or let it use less", limit >> 19)),
        None => finding.fix("let it use less, or give the machine more memory; -m LIMIT protects the others"),
    };
    Some(finding)
}

/// It, or something in it, was killed for a denied system call.
pub(super) fn is_sigsys(exit: &ExitRecord) -> bool {
    told_signal(exit) == Some(SIGSYS)
}

/// A process that was killed while the container ran on.
fn out_of_memory_within(evidence: &Evidence) -> Option<Finding> {
    let oom = evidence.oom.as_ref().filter(|_| evidence.state == State::Running)?;
    let who = if oom.victim.is_empty() { "a process".to_owned() } else { oom.victim.clone() };
    let limit = oom.limit_bytes.map(|limit| format!(" at its limit of {}", bytes(limit))).unwrap_or_default();
    let summary = format!("it runs, but the kernel killed {who} in it for memory{limit}");
    let finding = Finding::new(Cause::OutOfMemory, Certainty::Certain, summary)
        .seen("cgroup", format!("kills for memory in this run: {}, the last told at {}", oom.kills, oom.at));
    Some(finding.fix("give it more (cais update -m), or let it use less"))
}

fn denied_syscall(evidence: &Evidence) -> Option<Finding> {
    let exit = evidence.ended().filter(|exit| is_sigsys(exit))?;
    if killed(evidence).is_some() {
        return None;
    }
    let own = exit.signal == SIGSYS;
    let certainty = if own { Certainty::Certain } else { Certainty::Likely };
    let who = if own { "its command" } else { "a process in it" };
    let profile = match &evidence.record.request.security.seccomp {
        _ if evidence.record.request.privileged => "none: it is privileged",
        crate::SeccompRequest::Default => "the built-in one",
        crate::SeccompRequest::Unconfined => "none",
        crate::SeccompRequest::Profile(_) => "one of its own",
    };
    let denied = evidence.denied.as_ref();
    let call = match denied.filter(|call| call.own) {
        Some(call) => format!("the system call {}, which", call.name),
        None => "a system call that".to_owned(),
    };
    let summary = format!("{who} was killed for {call} a seccomp filter denies (SIGSYS)");
    let finding = Finding::new(Cause::DeniedSyscall, certainty, summary)
        .seen(RECORD, record(exit))
        .seen("record", format!("seccomp profile: {profile}"));
    Some(match denied {
        Some(call) => {
            let killed = format!("process {} ({}): {} (number {})", call.pid, call.comm, call.name, call.number);
            let perhaps = if call.own { "" } else { "perhaps " };
            let fix = format!("allow {perhaps}{} in the profile, or seccomp=unconfined to try", call.name);
            finding.seen("kernel log, in that time", killed).fix(fix)
        }
        None => finding.fix(
            "allow the call in the profile (the kernel's log names its number where it keeps such records: dmesg, \
             type=1326), or seccomp=unconfined to try",
        ),
    })
}

/// What `stop` or `kill` noted, with the run's end after it.
fn ending(evidence: &Evidence) -> Option<(&Ending, &ExitRecord)> {
    let exit = evidence.ended()?;
    evidence.ending.as_ref().filter(|ending| ending.at <= exit.finished).map(|ending| (ending, exit))
}

fn note(ending: &Ending) -> String {
    let signal = signal_name(ending.signal);
    match (ending.stop, ending.patience_ms) {
        (false, _) => format!("{}: cais kill sent {signal}", ending.at),
        (true, Some(patience)) => {
            format!(
                "{}: asked to stop by {signal}, with {} s before SIGKILL",
                ending.at,
                patience as f64 / 1e3
            )
        }
        (true, None) => format!("{}: asked to stop by {signal}, without SIGKILL", ending.at),
    }
}

fn stopped(evidence: &Evidence) -> Option<Finding> {
    if health::was_acted_upon(evidence).is_some() {
        return None;
    }
    let (ending, exit) = ending(evidence).filter(|(ending, _)| ending.stop)?;
    let signal = signal_name(ending.signal);
    if ending.forced && told_signal(exit) == Some(SIGKILL) {
        let summary = format!("it was stopped, did not end by {signal} in time, and was then killed");
        let finding = Finding::new(Cause::StoppedByForce, Certainty::Certain, summary)
            .seen("ending", note(ending))
            .seen(RECORD, record(exit));
        let shell = evidence.record.args.first().is_some_and(|word| word.ends_with("sh"));
        return Some(match (evidence.record.request.init, shell) {
            (false, true) => finding.fix(
                "PID 1 without a handler gets no signals, and a shell passes none on: use `exec PROGRAM` in the script, or --init",
            ),
            (false, false) => finding
                .fix("PID 1 without a handler gets no signals: handle the signal, --init, --stop-signal, or a longer --stop-timeout"),
            (true, _) => finding.fix("let the program end by its stop signal (--stop-signal), or give it longer: --stop-timeout"),
        });
    }
    let by_signal = told_signal(exit) == Some(ending.signal);
    let end = match (by_signal, exit.code) {
        (true, _) => format!("ended by {signal}"),
        (false, 0) => "ended in order".to_owned(),
        (false, code) => format!("ended with exit code {code}"),
    };
    // A crash after the request is not the request's doing.
    let crash = told_signal(exit).is_some_and(|signal| CRASHES.iter().any(|(crash, _)| *crash == signal));
    let certainty = if by_signal || exit.code == 0 { Certainty::Certain } else { Certainty::Likely };
    (!crash).then(|| {
        Finding::new(Cause::Stopped, certainty, format!("it was asked to stop and {end}"))
            .seen("ending", note(ending))
            .seen(RECORD, record(exit))
    })
}

/// The end came within seconds: later it may have had another reason.
fn is_soon(ending: &Ending, exit: &ExitRecord) -> bool {
    const SECONDS: i64 = 5;
    let time = |text: &str| text.parse::<jiff::Timestamp>().ok();
    let (Some(at), Some(finished)) = (time(&ending.at), time(&exit.finished)) else { return false };
    finished.as_second() - at.as_second() <= SECONDS
}

fn killed(evidence: &Evidence) -> Option<Finding> {
    let (ending, exit) = ending(evidence).filter(|(ending, _)| !ending.stop)?;
    if ending.checkpoint {
        let summary = "it was dumped by `cais checkpoint`, with which its run ends";
        return Some(
            Finding::new(Cause::Stopped, Certainty::Certain, summary)
                .seen(RECORD, record(exit))
                .fix("`cais container restore` lets it go on"),
        );
    }
    (told_signal(exit) == Some(ending.signal)).then(|| {
        let signal = signal_name(ending.signal);
        let certainty =
            if exit.signal != 0 && is_soon(ending, exit) { Certainty::Certain } else { Certainty::Likely };
        Finding::new(Cause::Killed, certainty, format!("it was ended by `cais kill` with {signal}"))
            .seen("ending", note(ending))
            .seen(RECORD, record(exit))
    })
}

/// The signal did not come from `stop` or `kill`.
fn unexplained(evidence: &Evidence) -> Option<(&ExitRecord, i32)> {
    let exit = evidence.ended().filter(|exit| exit.signal != 0 && !exit.oom_killed)?;
    let by_health = health::was_acted_upon(evidence).is_some();
    let explained = by_health || stopped(evidence).is_some() || killed(evidence).is_some();
    (!explained).then_some((exit, exit.signal))
}

fn killed_by_unknown(evidence: &Evidence) -> Option<Finding> {
    let (exit, _) = unexplained(evidence).filter(|(_, signal)| *signal == SIGKILL)?;
    Some(
        Finding::new(Cause::KilledByUnknown, Certainty::Certain, "it was killed by SIGKILL, and not by cais stop or kill")
            .seen(RECORD, record(exit))
            .seen("cgroup", "no kill for memory was counted in its group")
            .seen("ending", "there is none")
            .fix("who could have: kill -9 by root on the host, the memory of the whole machine (dmesg), its own monitor's end"),
    )
}

fn crashed(evidence: &Evidence) -> Option<Finding> {
    let (exit, signal) = unexplained(evidence)?;
    let (_, text) = CRASHES.iter().find(|(number, _)| *number == signal)?;
    let fix = match signal {
        4 => "use a build for this processor (an older x86-64 level)",
        7 => "give it more shared memory (--shm-size), or look for the file that was cut short",
        _ => "look at the last lines of the log; cais debug beside a running one has room for a debugger",
    };
    let summary = format!("its command was ended by {}, as programs are by {text}", signal_name(signal));
    Some(Finding::new(Cause::Crashed, Certainty::Certain, summary).seen(RECORD, record(exit)).fix(fix))
}

fn other_signal(evidence: &Evidence) -> Option<Finding> {
    let (exit, signal) = unexplained(evidence)?;
    if matches!(signal, SIGKILL | SIGSYS) || CRASHES.iter().any(|(number, _)| *number == signal) {
        return None;
    }
    let name = signal_name(signal);
    let summary = format!("its command was ended by {name}, which was not sent by cais stop or kill");
    let finding = Finding::new(Cause::Signal, Certainty::Certain, summary).seen(RECORD, record(exit));
    Some(match signal {
        2 | 3 => finding.fix("a key at its terminal does this (Ctrl-C)"),
        SIGTERM => {
            finding.fix("a process in it or root on the host has sent it, or a `cais run` in the foreground passed it on; at a shutdown the host does")
        }
        13 => finding.fix("it wrote to a pipe or socket whose reader had gone"),
        _ => finding,
    })
}

/// 128+n without a signal: a shell or an init tells how its child ended.
fn child_signal(evidence: &Evidence) -> Option<Finding> {
    let exit = evidence.ended().filter(|exit| exit.signal == 0 && !exit.oom_killed)?;
    let signal = told_signal(exit).filter(|signal| (1..=15).contains(signal) || *signal == 25)?;
    if stopped(evidence).is_some() || killed(evidence).is_some() {
        return None;
    }
    let name = signal_name(signal);
    let (cause, text) = match CRASHES.iter().find(|(number, _)| *number == signal) {
        Some((_, text)) => {
            (Cause::Crashed, format!("a process in it was ended by {name}, as programs are by {text}"))
        }
        None if signal == SIGKILL => (Cause::KilledByUnknown, format!("a process in it was ended by {name}")),
        None => (Cause::Signal, format!("a process in it was ended by {name}")),
    };
    Some(
        Finding::new(cause, Certainty::Likely, text)
            .seen(RECORD, format!("{}: 128 + {signal}", record(exit))),
    )
}

/// Neither an end nor anything that runs: said when no rule has anything to say.
pub(super) fn unknown(evidence: &Evidence) -> Finding {
    Finding::new(Cause::Lost, Certainty::Likely, "nothing is known of how it ended")
        .seen(RECORD, "there is none, or it tells nothing")
        .fix(format!("cais logs {}; cais system check", evidence.record.name))
}

fn lost(evidence: &Evidence) -> Option<Finding> {
    (evidence.state == State::Dead).then(|| {
        let summary = "its monitor was killed or the machine went down: nobody knows how it ended";
        Finding::new(Cause::Lost, Certainty::Certain, summary)
            .seen("run directory", "nobody holds the lock of its run")
            .seen(RECORD, "there is none of that run")
            .fix(format!(
                "cais start {}; and look in the host's log for a shutdown or a kill",
                evidence.record.name
            ))
    })
}

fn running(evidence: &Evidence) -> Option<Finding> {
    (evidence.state == State::Running).then(|| {
        Finding::new(Cause::Running, Certainty::Certain, "it runs")
            .seen("run directory", "its monitor holds the lock")
    })
}

fn paused(evidence: &Evidence) -> Option<Finding> {
    (evidence.state == State::Paused).then(|| {
        Finding::new(Cause::Paused, Certainty::Certain, "it is paused: its processes are frozen")
            .seen("cgroup", "frozen")
            .fix(format!("cais unpause {}", evidence.record.name))
    })
}

fn ignores_stop_signal(evidence: &Evidence) -> Option<Finding> {
    let init = evidence.init.filter(|_| evidence.state == State::Running)?;
    let signal = evidence.record.stop_signal;
    let bit = 1_u64.checked_shl(u32::try_from(signal - 1).ok()?)?;
    if init.caught & bit != 0 || evidence.record.request.init || matches!(signal, SIGKILL | 19) {
        return None;
    }
    let name = signal_name(signal);
    let summary = format!("its PID 1 has no handler for {name}: `cais stop` will have to wait and kill it");
    Some(
        Finding::new(Cause::IgnoresStopSignal, Certainty::Likely, summary)
            .seen("/proc/PID/status", format!("SigCgt {:016x}", init.caught))
            .fix("--init, a handler, or --stop-signal with one that it handles"),
    )
}

fn finished(evidence: &Evidence) -> Option<Finding> {
    let exit = evidence.ended().filter(|exit| exit.code == 0)?;
    if stopped(evidence).is_some() {
        return None;
    }
    let summary = "its command came to its end and reported success";
    let finding = Finding::new(Cause::Finished, Certainty::Certain, summary).seen(RECORD, record(exit));
    Some(finding.fix("a container lives as long as its command: a server must stay in the foreground"))
}

fn exit_code(evidence: &Evidence) -> Option<Finding> {
    let exit = evidence.failed().filter(|exit| exit.signal == 0)?;
    let word = evidence.record.args.first().map_or("its command", String::as_str);
    let summary = format!("{word} ended by itself with exit code {}", exit.code);
    let mut finding = Finding::new(Cause::ExitCode, Certainty::Certain, summary).seen(RECORD, record(exit));
    let last = evidence.log.len().saturating_sub(5);
    for line in &evidence.log[last..] {
        finding = finding.seen("log", line.as_str());
    }
    if evidence.log.is_empty() {
        finding = finding.seen("log", "empty");
    }
    Some(finding.fix(format!("its own messages say more: cais logs {}", evidence.record.name)))
}
