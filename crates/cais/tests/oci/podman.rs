//! podman and conmon call the runtime.

use std::fs;
use std::path::PathBuf;

use cais_test::Invocation;
use cais_test::isolation::isolated;
use cais_test::skip;

use crate::bed::{Bed, clear, groups};

/// podman with storage of its own.
struct Podman<'a> {
    bed: &'a Bed,
    configuration: PathBuf,
    had_group: bool,
}

/// Where conmon goes for `exec`, whatever the container's parent is.
const OWN_GROUP: &str = "libpod_parent";

impl Drop for Podman<'_> {
    fn drop(&mut self) {
        if !self.had_group {
            clear(OWN_GROUP);
        }
    }
}

impl Podman<'_> {
    /// `None`, with a word, when there is no podman here.
    fn new(bed: &Bed) -> Option<Podman<'_>> {
        for program in ["podman", "conmon"] {
            if std::process::Command::new(program).arg("--version").output().is_err() {
                skip(format_args!("{program} is not installed"));
                return None;
            }
        }
        let configuration = bed.folder().join("containers.conf");
        let text = "[containers]\ndefault_ulimits=[\"nofile=1024:1024\",\"nproc=1024:1024\"]\n\
                    [engine]\nevents_logger=\"none\"\ncgroup_manager=\"cgroupfs\"\n";
        fs::write(&configuration, text).unwrap();
        let podman = Podman { bed, configuration, had_group: !groups(OWN_GROUP).is_empty() };
        podman.cmd("load -q -i").arg(bed.archive()).ok();
        Some(podman)
    }

    fn cmd(&self, line: &str) -> Invocation {
        let folder = self.bed.folder();
        Invocation::new("podman", "--root")
            .arg(folder.join("podman"))
            .args("--runroot /run/podman --runtime")
            .arg(self.bed.program())
            .args(line)
            .env("CONTAINERS_CONF", &self.configuration)
            .env("HOME", folder)
            .without_env("XDG_RUNTIME_DIR")
    }

    /// `run` or `create` with what every container here has.
    fn run(&self, line: &str) -> Invocation {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        self.cmd(command).args("--network none --cgroup-parent").arg(self.bed.parent()).args(rest)
    }

    #[track_caller]
    fn ok(&self, line: &str) -> String {
        self.cmd(line).ok()
    }
}

#[test]
fn streams_and_status() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let Some(podman) = Podman::new(&bed) else { return };
        let run = podman
            .run("run --rm -i busybox sh -c 'cat; echo bad >&2; exit 7'")
            .stdin("some\nlines\n")
            .output();
        run.code(7).says("bad").prints("some\nlines");
        podman.run("run --rm busybox no-such-command").output().code(127).says("no-such-command");
        podman.run("run --rm busybox /no/such/command").output().code(127).says("/no/such/command");
        podman.run("run --rm busybox /etc/passwd").output().code(126).says("ermission denied");
        assert!(podman.run("run --rm -t busybox tty").ok().contains("/dev/pts/0"));
        assert_eq!(
            podman.run("run --rm --read-only --user 1000:1000 -w /tmp busybox sh -c 'id -u; pwd'").ok(),
            "1000\n/tmp"
        );
        assert_eq!(podman.ok("ps -aq"), "");
    });
}

#[test]
fn the_life_of_a_container() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let Some(podman) = Podman::new(&bed) else { return };
        podman.run("run -d --name p1 busybox sh -c 'echo first; while :; do sleep 0.1; done'").ok();
        assert_eq!(podman.ok("inspect --format {{.State.Status}} p1"), "running");
        assert_eq!(podman.ok("inspect --format {{.OCIRuntime}} p1"), bed.program().to_string_lossy());
        cais_test::wait_until("the log has a line", || podman.ok("logs p1") == "first");
        assert_eq!(
            podman.ok("exec -e X=1 -w /tmp p1 sh -c 'echo $X $(pwd) $(hostname)'").split(' ').count(),
            3
        );
        podman.cmd("exec p1 sh -c 'exit 9'").output().code(9);
        podman.cmd("exec p1 no-such-command").output().code(127);
        podman.cmd("exec p1 /etc/passwd").output().code(126);
        assert!(podman.ok("exec -t p1 tty").starts_with("/dev/pts/"));
        assert!(podman.ok("top p1 pid args").contains("while :"));
        podman.ok("pause p1");
        assert_eq!(podman.ok("inspect --format {{.State.Status}} p1"), "paused");
        podman.ok("unpause p1");
        podman.ok("exec p1 true");
        podman.ok("kill --signal KILL p1");
        cais_test::wait_until("it has ended", || {
            podman.ok("inspect --format {{.State.Status}} p1") == "exited"
        });
        assert_eq!(podman.ok("inspect --format {{.State.ExitCode}} p1"), "137");
        podman.ok("start p1");
        podman.ok("stop -t 0 p1");
        podman.ok("rm p1");
        assert_eq!(podman.ok("ps -aq"), "");
    });
}

#[test]
fn limits_are_changed() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let Some(podman) = Podman::new(&bed) else { return };
        podman.run("run -d --name p1 busybox sleep 1000").ok();
        let pid = podman.ok("inspect --format {{.State.Pid}} p1");
        let updated = podman.cmd("update --memory 64m p1").output();
        if updated.status() != 0 && updated.stderr_text().contains("crun") {
            skip("this podman updates with crun only");
        } else {
            updated.code(0);
            assert_eq!(bed.limit_of(&pid, "memory", "memory.limit_in_bytes", "memory.max"), "67108864");
        }
        podman.ok("rm -f -t 0 p1");
    });
}

#[test]
fn a_pod_shares_namespaces_by_path() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let Some(podman) = Podman::new(&bed) else { return };
        podman.run("run -d --name p1 --hostname ship busybox sleep 1000").ok();
        let joined = "run --rm --pid container:p1 --ipc container:p1 --uts container:p1 busybox sh -c 'hostname; ps -o args'";
        let text = podman.run(joined).ok();
        assert!(text.starts_with("ship\n") && text.contains("sleep 1000"), "{text}");
        podman.ok("rm -f -t 0 p1");
    });
}
