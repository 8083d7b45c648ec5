//! `cais why`: seeded failures. The first finding names the cause; nothing that is certain is wrong.

use cais_test::layer::{Entry, EntryKind, Layer};
use cais_test::rootfs::busybox_layer;
use cais_test::{Cais, Image, e2e};
use serde_json::Value;

/// One way to fail: flags of `run`, the image, the command, the expected cause.
struct Case {
    name: &'static str,
    flags: &'static str,
    image: &'static str,
    command: &'static [&'static str],
    cause: &'static str,
}

const fn case(
    name: &'static str,
    flags: &'static str,
    image: &'static str,
    command: &'static [&'static str],
    cause: &'static str,
) -> Case {
    Case { name, flags, image, command, cause }
}

/// What is true of any container that ended by itself may be said with certainty beside the cause.
const FACTS: [&str; 4] = ["exit-code", "finished", "running", "never-started"];

fn explanation(cais: &Cais, name: &str) -> Value {
    let text = cais.cmd("why --format json").arg(name).ok();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}: {text}"))
}

/// How many of the cases are named rightly; panics when one is named wrongly with certainty.
fn rightly(cais: &Cais, cases: &[Case]) -> usize {
    let mut right = 0;
    for case in cases {
        let run = cais.cmd("run --name").arg(case.name).args(case.flags).arg(case.image);
        let run = case.command.iter().fold(run, |run, word| run.arg(word));
        drop(run.output());
        right += usize::from(is_right(&explanation(cais, case.name), case.name, case.cause));
    }
    right
}

fn is_right(explanation: &Value, name: &str, cause: &str) -> bool {
    let findings = explanation["findings"].as_array().expect("findings");
    for finding in findings {
        let found = finding["cause"].as_str().unwrap_or_default();
        let wrong = found != cause && !FACTS.contains(&found);
        assert!(!(wrong && finding["certainty"] == "certain"), "{name}: wrong and certain: {explanation}");
        assert!(!finding["evidence"].as_array().expect("evidence").is_empty(), "{name}: {finding}");
    }
    let right = findings[0]["cause"] == cause;
    if !right {
        println!("{name}: expected {cause}: {explanation:#}");
    }
    right
}

/// An ELF file for another machine: a header is enough.
fn foreign() -> Vec<u8> {
    let mut file = vec![0_u8; 64];
    file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    file[16] = 2;
    file[18] = if cfg!(target_arch = "aarch64") { 62 } else { 183 };
    file[20] = 1;
    file
}

/// This machine's `sh`-like program, dynamically linked, without its loader.
fn dynamic() -> Vec<u8> {
    std::fs::read("/usr/bin/env").expect("coreutils")
}

/// busybox with files that cannot be executed in many ways.
fn load_broken(cais: &Cais) {
    let layer = Layer::new()
        .dir("b")
        .program("b/crlf", "#!/bin/sh\r\necho x\r\n")
        .program("b/nointerpreter", "#!/usr/bin/nopython\nprint(1)\n")
        .program("b/noline", "echo x\n")
        .program("b/empty", "")
        .program("b/foreign", foreign())
        .program("b/dynamic", dynamic())
        .file("b/plain", "#!/bin/sh\n")
        .dir("b/directory")
        .file("b/file", "x")
        .entry(Entry::new("private", EntryKind::Directory).mode(0o700));
    let image = Image::new().layer(busybox_layer().expect("busybox-static")).layer(layer);
    let archive = cais.folder().join("broken.tar");
    image.build().write_docker_archive(&archive, &["broken:latest"]).expect("an archive");
    cais.cmd("load -q -i").arg(&archive).ok();
}

#[test]
fn starts_that_fail() {
    e2e(|cais| {
        load_broken(cais);
        std::fs::create_dir(cais.folder().join("gone")).expect("a folder");
        let taken = std::net::TcpListener::bind("0.0.0.0:18080").expect("a port");
        let cases = [
            case("command", "", "broken", &["no-such-program"], "command-missing"),
            case("path", "", "broken", &["/opt/none", "x"], "command-missing"),
            case("line", "", "broken", &["echo hello world"], "command-missing"),
            case("crlf", "", "broken", &["/b/crlf"], "carriage-return"),
            case("interpreter", "", "broken", &["/b/nointerpreter"], "interpreter-missing"),
            case("noline", "", "broken", &["/b/noline"], "no-interpreter-line"),
            case("empty", "", "broken", &["/b/empty"], "no-interpreter-line"),
            case("foreign", "", "broken", &["/b/foreign"], "wrong-architecture"),
            case("loader", "", "broken", &["/b/dynamic"], "loader-missing"),
            case("mode", "", "broken", &["/b/plain"], "not-executable"),
            case("directory", "", "broken", &["/b/directory"], "is-directory"),
            case("user", "-u nobodyknows", "broken", &["true"], "user-missing"),
            case("group", "-u 0:nogroupknows", "broken", &["true"], "group-missing"),
            case("workdir", "-w /b/file", "broken", &["true"], "working-directory"),
            case("port", "-p 18080:80", "broken", &["true"], "port-taken"),
            case("kind", "-v /run/c/gone:/b/file", "broken", &["true"], "mount-failed"),
        ];
        let mut right = rightly(cais, &cases);
        assert!(cais.ok("why port").contains("pid"), "who has the port");
        drop(taken);
        // A source that goes after the container was made.
        cais.ok("create --name source -v /run/c/gone:/srv busybox true");
        std::fs::remove_dir(cais.folder().join("gone")).expect("removable");
        drop(cais.cmd("start source").output());
        right += usize::from(is_right(&explanation(cais, "source"), "source", "mount-source-missing"));
        cais.ok("run -d --name net busybox sleep 1000");
        cais.ok("create --name joined --network container:net busybox true");
        cais.ok("stop -t 0 net");
        drop(cais.cmd("start joined").output());
        right += usize::from(is_right(&explanation(cais, "joined"), "joined", "network-gone"));
        assert!(right == 18, "{right} of 18");
    });
}

#[test]
fn runs_that_fail() {
    e2e(|cais| {
        load_broken(cais);
        std::fs::create_dir(cais.folder().join("theirs")).expect("a folder");
        const BUSY: &str =
            "nc -l -p 80 & sleep 0.5; nc -l -p 80; echo 'bind: Address already in use'; exit 1";
        let cases = [
            case("code", "", "busybox", &["sh", "-c", "echo oh dear; exit 3"], "exit-code"),
            case("good", "", "busybox", &["echo", "done"], "finished"),
            case("shell", "", "busybox", &["sh"], "no-input"),
            case("script", "", "busybox", &["sh", "-c", "nosuchtool --now"], "command-not-found"),
            case("readonly", "--read-only", "busybox", &["touch", "/etc/x"], "read-only-path"),
            case("romount", "-v /run/c/theirs:/in:ro", "busybox", &["touch", "/in/x"], "read-only-path"),
            case("denied", "-u quay", "broken", &["ls", "/private"], "permission-denied"),
            case(
                "theirs",
                "-u quay -v /run/c/theirs:/in",
                "busybox",
                &["touch", "/in/x"],
                "permission-denied",
            ),
            case(
                "variable",
                "",
                "busybox",
                &["sh", "-c", ": ${DB_HOST:?parameter not set}"],
                "missing-variable",
            ),
            case("file", "", "busybox", &["cat", "/etc/app/config.yml"], "missing-file"),
            case(
                "full",
                "--tmpfs /t:size=64k",
                "busybox",
                &["dd", "if=/dev/zero", "of=/t/x", "bs=1M", "count=1"],
                "disk-full",
            ),
            case(
                "dns",
                "--network none",
                "busybox",
                &["sh", "-c", "echo \"wget: bad address 'db'\"; exit 1"],
                "name-resolution",
            ),
            case("mount", "", "busybox", &["mount", "-t", "tmpfs", "x", "/tmp"], "missing-capability"),
            case("busy", "--network none", "busybox", &["sh", "-c", BUSY], "address-in-use"),
            case("segv", "--init", "busybox", &["sh", "-c", "kill -SEGV $$"], "crashed"),
        ];
        let right = rightly(cais, &cases);
        assert!(right == cases.len(), "{right} of {}", cases.len());
    });
}

#[test]
fn ends_by_signals_limits_and_hands() {
    e2e(|cais| {
        let mut right = 0;
        let mut total = 0;
        let mut judge = |name: &str, cause: &str| {
            total += 1;
            right += usize::from(is_right(&explanation(cais, name), name, cause));
        };
        cais.ok("create --name never busybox true");
        judge("never", "never-started");
        cais.ok("run -d --name deaf busybox sleep 1000");
        assert!(cais.ok("why deaf").contains("has no handler for SIGTERM"));
        judge("deaf", "running");
        cais.ok("stop -t 1 deaf");
        judge("deaf", "stopped-by-force");
        cais.ok("run -d --name polite --init busybox sleep 1000");
        cais.ok("stop polite");
        judge("polite", "stopped");
        cais.ok("run -d --name victim busybox sleep 1000");
        cais.ok("kill victim");
        judge("victim", "killed");
        cais.ok("run -d --name murdered busybox sleep 1000");
        let pid = cais.inspect("murdered", "{{.State.Pid}}");
        cais_test::Invocation::new("kill", "-9").arg(&pid).ok();
        cais.wait_for_state("murdered", "exited");
        judge("murdered", "killed-by-unknown");
        cais.ok("run -d --name lost busybox sleep 1000");
        if std::path::Path::new("/sys/fs/cgroup/memory").is_dir() || v2_has("memory") {
            let dd = "run --name hungry -m 32m --memory-swap 32m busybox dd if=/dev/zero of=/dev/null bs=200M count=1";
            cais.fails(137, dd);
            judge("hungry", "out-of-memory");
            let script = "dd if=/dev/zero of=/dev/null bs=200M count=1; sleep 1000";
            cais.cmd("run -d --name bitten -m 32m --memory-swap 32m busybox sh -c").arg(script).ok();
            let told = || cais.ok("events --stream=false --filter event=oom --filter container=bitten");
            cais_test::wait_until("the kill is told", || !told().is_empty());
            judge("bitten", "out-of-memory");
        }
        if std::path::Path::new("/sys/fs/cgroup/pids").is_dir() || v2_has("pids") {
            let script = "for i in 1 2 3 4 5 6 7 8 9; do sleep 100 & done; exit 1";
            drop(cais.cmd("run --name crowded --pids-limit 5 busybox sh -c").arg(script).output());
            judge("crowded", "too-many-processes");
        }
        let profile = cais.folder().join("kill.json");
        let text = r#"{"defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["sethostname"], "action": "SCMP_ACT_KILL_PROCESS"}]}"#;
        std::fs::write(&profile, text).expect("a profile");
        let run = cais.cmd("run --name syscall --cap-add SYS_ADMIN --security-opt");
        drop(run.arg(format!("seccomp={}", profile.display())).args("busybox hostname other").output());
        judge("syscall", "denied-syscall");
        let probed = "--health-interval 20ms --health-retries 2 --health-cmd";
        cais.cmd(&format!("run -d --name sick {probed}"))
            .arg("wget http://x")
            .args("busybox sleep 1000")
            .ok();
        cais.ok("wait --condition unhealthy sick");
        judge("sick", "unhealthy");
        cais.cmd(&format!("run -d --name mercy --health-on-failure kill {probed}"))
            .arg("test -e /ok")
            .args("busybox sleep 1000")
            .ok();
        cais.wait_for_state("mercy", "exited");
        judge("mercy", "unhealthy");
        assert!(right == total, "{right} of {total}");
    });
}

fn v2_has(controller: &str) -> bool {
    let text = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    text.split_whitespace().any(|word| word == controller)
}

#[test]
fn answers_are_for_people_and_for_scripts() {
    e2e(|cais| {
        cais.fails(3, "run --name w1 busybox sh -c 'echo last words; exit 3'");
        let text = cais.ok("why w1");
        for part in [
            "w1: exited, exit code 3",
            "certain  sh ended by itself with exit code 3",
            "log: last words",
            "  fix ",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(cais.cmd("why --format").arg("{{(index .findings 0).cause}}").arg("w1").ok(), "exit-code");
        cais.fails(1, "why no-such-container").one_clear_error().says("no-such-container");
    });
}
