//! Tests of `explain`: each cause by the evidence that shows it, and what must not be claimed.

use std::collections::BTreeMap;

use cais_oci::Healthcheck;
use cais_store::{HealthState, HealthStatus, ProbeRecord};

use super::*;
use crate::{
    ContainerRecord, ContainerRequest, Ending, ExitRecord, MountKind, MountRecord, MountRequest,
    NetworkRequest, OomRecord, Ulimit,
};

fn evidence() -> Evidence {
    let record = ContainerRecord {
        id: "ab".repeat(32),
        name: "web".into(),
        created: String::new(),
        request: ContainerRequest::default(),
        image_id: None,
        image_name: "x".into(),
        layers: Vec::new(),
        args: vec!["/app".into()],
        entrypoint: Vec::new(),
        cmd: vec!["/app".into()],
        env: vec!["PATH=/bin".into()],
        workdir: "/".into(),
        user: String::new(),
        labels: BTreeMap::new(),
        stop_signal: 15,
        stop_signal_given: None,
        mounts: Vec::new(),
        exposed: Vec::new(),
        network: NetworkRequest::Bridge,
        health: None,
        shell: Vec::new(),
        hostname: "h".into(),
        ..ContainerRecord::default()
    };
    Evidence {
        record,
        state: State::Exited,
        exit: None,
        ending: None,
        log: Vec::new(),
        command: ("/app".into(), Look::Unknown),
        workdir: Look::Unknown,
        named: BTreeMap::new(),
        sources: BTreeMap::new(),
        holders: Vec::new(),
        health: None,
        oom: None,
        denied: None,
        init: None,
        machine: "amd64",
        image_architecture: None,
        rootless: false,
    }
}

/// A start that failed with this sentence.
fn start(error: &str) -> Evidence {
    let exit = ExitRecord { code: 128, error: error.into(), ..ExitRecord::default() };
    Evidence { state: State::Created, exit: Some(exit), ..evidence() }
}

/// A run that ended so, with these last lines.
fn end(code: i32, signal: i32, log: &[&str]) -> Evidence {
    let exit = ExitRecord {
        code,
        signal,
        finished: "2026-01-01T00:00:09.000000000Z".into(),
        started: "2026-01-01T00:00:00.000000000Z".into(),
        ..ExitRecord::default()
    };
    Evidence { exit: Some(exit), log: log.iter().map(|line| (*line).to_owned()).collect(), ..evidence() }
}

fn file(mode: u32, program: Program) -> (String, Look) {
    ("/app".into(), Look::File { mode, uid: 0, program })
}

fn mount(kind: MountKind, target: &str, read_only: bool) -> MountRecord {
    let request = MountRequest { kind, target: target.into(), read_only, ..MountRequest::default() };
    MountRecord { request, host_path: "/host".into(), ..MountRecord::default() }
}

#[track_caller]
fn first(evidence: &Evidence, cause: Cause, certainty: Certainty) {
    let findings = explain(evidence);
    assert_eq!((findings[0].cause, findings[0].certainty), (cause, certainty), "{findings:#?}");
    for finding in &findings {
        assert!(!finding.evidence.is_empty(), "{finding:?}");
    }
}

use Certainty::{Certain, Likely};

#[test]
fn commands_that_cannot_be_executed() {
    let exec = |error: &str, command| Evidence { command, ..start(error) };
    let script = |carriage_return, exists| Program::Script {
        interpreter: "/bin/bash".into(),
        carriage_return,
        exists,
    };
    let elf = |machine: &str, loader_exists| Program::Elf {
        machine: machine.into(),
        loader: Some("/lib/ld.so".into()),
        loader_exists,
    };
    let missing = "exec /app: no such file or directory";
    let loader = "exec /app: its interpreter or dynamic loader does not exist in the container";
    let format = "exec /app: exec format error";
    let denied = "exec /app: permission denied";
    let cases = [
        (missing, ("/app".to_owned(), Look::Missing), Cause::CommandMissing, Certain),
        (missing, ("/app".to_owned(), Look::Unknown), Cause::CommandMissing, Likely),
        (loader, file(0o755, script(false, false)), Cause::InterpreterMissing, Certain),
        (loader, file(0o755, script(true, false)), Cause::CarriageReturn, Certain),
        (loader, file(0o755, elf("amd64", false)), Cause::LoaderMissing, Certain),
        (format, file(0o755, elf("arm64", true)), Cause::WrongArchitecture, Certain),
        (format, file(0o755, elf("arm64", false)), Cause::WrongArchitecture, Certain),
        (format, file(0o755, Program::Text), Cause::NoInterpreterLine, Certain),
        (format, file(0o755, Program::Other), Cause::StartFailed, Certain),
        (denied, file(0o644, Program::Text), Cause::NotExecutable, Certain),
        (denied, file(0o644, script(true, false)), Cause::NotExecutable, Certain),
        (denied, file(0o644, elf("arm64", false)), Cause::NotExecutable, Certain),
        (denied, file(0o700, elf("amd64", true)), Cause::NotExecutable, Likely),
        (denied, ("/app".to_owned(), Look::Directory { mode: 0o755, uid: 0 }), Cause::IsDirectory, Certain),
        // What the file is now does not explain what was written down.
        (missing, file(0o755, elf("amd64", true)), Cause::StartFailed, Certain),
    ];
    for (error, command, cause, certainty) in cases {
        first(&exec(error, command), cause, certainty);
    }
    let mut on_tmpfs = exec(denied, ("/t/app".into(), Look::Unknown));
    on_tmpfs.record.mounts = vec![mount(MountKind::Tmpfs, "/t", false)];
    first(&on_tmpfs, Cause::MountedNoexec, Certain);
}

#[test]
fn starts_that_fail_before_the_command() {
    let cases = [
        ("find user x: no such user in the container's /etc/passwd", Cause::UserMissing),
        ("find user 0:x: no such group in the container's /etc/group", Cause::GroupMissing),
        ("change to the working directory /x: not a directory", Cause::WorkingDirectory),
        ("publish 0.0.0.0:80/tcp: the port is already in use", Cause::PortTaken),
        ("devices: /dev/x: no such file or directory", Cause::DeviceMissing),
        ("9 CPUs are more than there are: this machine has 2", Cause::LimitRefused),
        ("plan the launch: sysctl vm.x is not namespaced: it would change the host", Cause::SysctlRefused),
        ("apply the AppArmor profile x: no such file or directory", Cause::SecurityRefused),
        ("seccomp: unknown action", Cause::SecurityRefused),
        ("mount proc on /proc: operation not permitted", Cause::StartFailed),
    ];
    for (error, cause) in cases {
        first(&start(error), cause, Certain);
    }
    let mut bind = start("mount /host on /srv: No such file or directory (os error 2)");
    bind.record.mounts = vec![mount(MountKind::Bind, "/srv", false)];
    bind.sources.insert("/srv".into(), HostPath { path: "/host".into(), ..HostPath::default() });
    first(&bind, Cause::MountSourceMissing, Certain);
    bind.sources.clear();
    first(&bind, Cause::MountFailed, Certain);
    let mut joined = start("container cdcdcdcdcdcd is not running");
    joined.record.network = NetworkRequest::Container("cd".repeat(32));
    first(&joined, Cause::NetworkGone, Certain);
    joined.record.network = NetworkRequest::None;
    joined.record.namespaces.pid = crate::NamespaceSource::Container("cd".repeat(32));
    first(&joined, Cause::NamespaceGone, Certain);
    let mut port = start("publish 0.0.0.0:80/tcp: the port is already in use");
    port.holders = vec![PortHolder { port: 80, who: "container other".into() }];
    assert!(explain(&port)[0].evidence.iter().any(|seen| seen.what == "container other has port 80"));
}

#[test]
fn ends_by_the_kernel_and_by_hands() {
    let mut oom = end(137, 9, &[]);
    oom.exit.as_mut().expect("an end").oom_killed = true;
    oom.record.request.resources.memory_bytes = Some(32 << 20);
    first(&oom, Cause::OutOfMemory, Certain);
    // A child was killed, and the command's own code says nothing about it.
    let mut part = end(1, 0, &[]);
    part.exit.as_mut().expect("an end").oom_killed = true;
    first(&part, Cause::OutOfMemory, Likely);
    first(&end(159, 31, &[]), Cause::DeniedSyscall, Certain);
    first(&end(159, 0, &[]), Cause::DeniedSyscall, Likely);
    first(&end(139, 11, &[]), Cause::Crashed, Certain);
    first(&end(139, 0, &[]), Cause::Crashed, Likely);
    first(&end(137, 9, &[]), Cause::KilledByUnknown, Certain);
    first(&end(143, 15, &[]), Cause::Signal, Certain);
    let with = |code, signal, ending: Ending| Evidence {
        ending: Some(Ending { at: "2026-01-01T00:00:05Z".into(), ..ending }),
        ..end(code, signal, &[])
    };
    let stop = Ending { signal: 15, patience_ms: Some(1000), stop: true, ..Ending::default() };
    first(&with(143, 15, stop.clone()), Cause::Stopped, Certain);
    first(&with(0, 0, stop.clone()), Cause::Stopped, Certain);
    first(&with(137, 9, Ending { forced: true, ..stop.clone() }), Cause::StoppedByForce, Certain);
    first(&with(139, 11, stop.clone()), Cause::Crashed, Certain);
    first(&with(129, 1, Ending { signal: 1, ..Ending::default() }), Cause::Killed, Certain);
    let mut both = with(137, 9, Ending { signal: 9, ..Ending::default() });
    both.exit.as_mut().expect("an end").oom_killed = true;
    first(&both, Cause::Killed, Certain);
    let mut long_ago = with(137, 9, Ending { signal: 9, ..Ending::default() });
    long_ago.ending.as_mut().expect("an ending").at = "2026-01-01T00:00:01Z".into();
    first(&long_ago, Cause::Killed, Likely);
    // A signal that had no effect is no cause.
    first(&with(3, 0, Ending { signal: 1, ..Ending::default() }), Cause::ExitCode, Certain);
    // Nor is one that came after the end.
    let mut late = with(137, 9, stop);
    late.ending.as_mut().expect("an ending").at = "2026-01-01T00:00:10Z".into();
    first(&late, Cause::KilledByUnknown, Certain);
}

#[test]
fn containers_that_have_not_ended() {
    first(&Evidence { state: State::Created, ..evidence() }, Cause::NeverStarted, Certain);
    first(&Evidence { state: State::Paused, ..evidence() }, Cause::Paused, Certain);
    first(&Evidence { state: State::Dead, ..evidence() }, Cause::Lost, Certain);
    let running = |caught| {
        let init = Some(InitSignals { caught, ignored: 0 });
        explain(&Evidence { state: State::Running, init, ..evidence() })
    };
    assert_eq!(
        running(0).iter().map(|f| f.cause).collect::<Vec<_>>(),
        [Cause::Running, Cause::IgnoresStopSignal]
    );
    assert_eq!(running(1 << 14).len(), 1);
}

#[test]
fn logs_make_likely_causes_and_never_certain_ones() {
    let named = |mut evidence: Evidence, path: &str, look| {
        evidence.named.insert(path.to_owned(), look);
        evidence
    };
    let mut limited = end(1, 0, &["sh: can't fork: Resource temporarily unavailable"]);
    limited.record.request.resources.pids_limit = Some(5);
    let mut full = end(1, 0, &["dd: error writing '/t/x': No space left on device"]);
    full.record.mounts = vec![mount(MountKind::Tmpfs, "/t", false)];
    let mut read_only = end(1, 0, &["touch: /etc/x: Read-only file system"]);
    read_only.record.request.read_only = true;
    let mut mounted = end(1, 0, &["touch: /in/x: Read-only file system"]);
    mounted.record.mounts = vec![mount(MountKind::Bind, "/in", true)];
    let mut bind = end(1, 0, &["touch: /in/x: Permission denied"]);
    bind.record.mounts = vec![mount(MountKind::Bind, "/in", false)];
    bind.sources.insert("/in".into(), HostPath { path: "/host".into(), exists: true, ..HostPath::default() });
    let mut alone = end(6, 0, &["curl: (6) Could not resolve host: db"]);
    alone.record.network = NetworkRequest::None;
    let mut files = end(1, 0, &["accept: Too many open files"]);
    files.record.request.ulimits = vec![Ulimit { name: "nofile".into(), soft: 10, hard: 10 }];
    let cases = [
        (
            end(127, 0, &["app: error while loading shared libraries: libx.so.1: cannot open"]),
            Cause::LibraryMissing,
        ),
        (end(127, 0, &["/app: line 2: tool: not found"]), Cause::CommandNotFound),
        (end(126, 0, &["sh: /b/x: Permission denied"]), Cause::CommandNotFound),
        (read_only, Cause::ReadOnlyPath),
        (mounted, Cause::ReadOnlyPath),
        (end(1, 0, &["bind: Address already in use"]), Cause::AddressInUse),
        (end(1, 0, &["KeyError: 'DB_HOST'"]), Cause::MissingVariable),
        (limited, Cause::TooManyProcesses),
        (files, Cause::TooManyFiles),
        (full, Cause::DiskFull),
        (alone, Cause::NameResolution),
        (end(1, 0, &["connect 127.0.0.1:5432: Connection refused"]), Cause::ConnectionRefused),
        (bind, Cause::PermissionDenied),
        (end(1, 0, &["mount: permission denied? mount: Operation not permitted"]), Cause::MissingCapability),
        (
            named(end(1, 0, &["cat: /etc/x.yml: No such file or directory"]), "/etc/x.yml", Look::Missing),
            Cause::MissingFile,
        ),
    ];
    for (evidence, cause) in cases {
        first(&evidence, cause, Likely);
        let certain: Vec<Cause> =
            explain(&evidence).iter().filter(|f| f.certainty == Certain).map(|f| f.cause).collect();
        assert_eq!(certain, [Cause::ExitCode]);
    }
    let mut shell = end(0, 0, &[]);
    shell.record.args = vec!["/bin/sh".into()];
    first(&shell, Cause::NoInput, Likely);
}

#[test]
fn a_success_has_no_cause_whatever_was_printed() {
    let good = end(0, 0, &["Permission denied", "KeyError: 'DB_HOST'", "Read-only file system"]);
    let causes: Vec<Cause> = explain(&good).iter().map(|finding| finding.cause).collect();
    assert_eq!(causes, [Cause::Finished]);
}

#[test]
fn variables_that_are_set_are_not_missing() {
    assert_eq!(log::variable("error: DB_HOST is not set").as_deref(), Some("DB_HOST"));
    assert_eq!(log::variable("x: line 1: TOKEN: unbound variable").as_deref(), Some("TOKEN"));
    assert_eq!(log::variable("ERROR: it is missing"), None);
    assert_eq!(log::variable("DB_HOST=1"), None);
    let mut set = end(1, 0, &["KeyError: 'DB_HOST'"]);
    set.record.env.push("DB_HOST=x".into());
    first(&set, Cause::ExitCode, Certain);
}

#[test]
fn something_is_always_said() {
    for state in [State::Created, State::Running, State::Paused, State::Exited, State::Dead] {
        for (code, signal) in [(0, 0), (1, 0), (125, 0), (137, 9), (200, 0), (255, 0), (192, 64)] {
            for error in ["", "x: y"] {
                let mut evidence = Evidence { state, ..end(code, signal, &[]) };
                evidence.exit.as_mut().expect("an end").error = error.into();
                assert!(!explain(&evidence).is_empty(), "{state:?} {code} {signal} {error}");
            }
        }
        assert!(!explain(&Evidence { state, ..evidence() }).is_empty(), "{state:?}");
    }
}

#[test]
fn paths_are_found_in_lines() {
    let cases = [
        ("cat: can't open '/etc/x': No such file", vec!["/etc/x"]),
        ("open /a/b: denied (/c/d).", vec!["/a/b", "/c/d"]),
        ("/app/x.py:12: error at https://host/x", vec!["/app/x.py"]),
        ("and / alone", vec![]),
    ];
    for (line, expected) in cases {
        assert_eq!(evidence::paths_in(line), expected, "{line}");
    }
}

#[test]
fn probes_tell_why_they_fail() {
    let probed = |state, status, exit_code, output: &str| {
        let mut evidence = Evidence { state, ..evidence() };
        let check =
            Healthcheck { test: vec!["CMD-SHELL".into(), "wget -q x".into()], ..Healthcheck::default() };
        evidence.record.health = Some(check);
        let probe = ProbeRecord { exit_code, output: output.into(), ..ProbeRecord::default() };
        evidence.health =
            Some(HealthState { status, failing_streak: 3, log: vec![probe], ..HealthState::default() });
        evidence
    };
    let sick = |code, output| probed(State::Running, HealthStatus::Unhealthy, code, output);
    for (code, output, advice) in [
        (127, "sh: wget: not found", "not in the container"),
        (-1, "Health check exceeded timeout (30s)", "--health-timeout"),
        (1, "wget: can't connect to remote host: Connection refused", "nothing listens"),
        (1, "", "cais exec web wget -q x"),
    ] {
        let evidence = sick(code, output);
        first(&evidence, Cause::Unhealthy, Certain);
        let fix = explain(&evidence)[0].fix.clone().unwrap();
        assert!(fix.contains(advice), "{code} {output}: {fix}");
    }
    first(&probed(State::Running, HealthStatus::Starting, 1, "x"), Cause::Unhealthy, Likely);
    first(&probed(State::Running, HealthStatus::Healthy, 0, ""), Cause::Running, Certain);

    // What the engine did because of it is no kill by somebody else.
    let mut killed = Evidence { exit: end(137, 9, &[]).exit, ..sick(1, "x") };
    killed.state = State::Exited;
    first(&killed, Cause::KilledByUnknown, Certain);
    killed.health.as_mut().unwrap().acted = "2026-01-01T00:00:08.000000000Z".into();
    first(&killed, Cause::Unhealthy, Certain);
    assert!(explain(&killed).iter().all(|finding| finding.cause != Cause::KilledByUnknown));
}

#[test]
fn the_denied_call_is_named_where_the_kernel_named_it() {
    let call = |own| DeniedCall { name: "sethostname".into(), number: 170, pid: 7, comm: "x".into(), own };
    let own = Evidence { denied: Some(call(true)), ..end(159, 31, &[]) };
    first(&own, Cause::DeniedSyscall, Certain);
    assert!(explain(&own)[0].summary.contains("sethostname"));
    // By another process in the same time: evidence, no claim.
    let child = Evidence { denied: Some(call(false)), ..end(159, 0, &[]) };
    first(&child, Cause::DeniedSyscall, Likely);
    assert!(!explain(&child)[0].summary.contains("sethostname"));
}

#[test]
fn a_kill_for_memory_within_a_running_container() {
    let oom = OomRecord { victim: "dd".into(), kills: 2, ..OomRecord::default() };
    first(&Evidence { state: State::Running, oom: Some(oom), ..evidence() }, Cause::OutOfMemory, Certain);
}
