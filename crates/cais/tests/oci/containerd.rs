//! containerd's shim calls the runtime (`BinaryName`, here by `ctr --runc-binary`).

use std::fs;
use std::time::Duration;

use cais_test::isolation::isolated;
use cais_test::process::{Running, wait_until_within};
use cais_test::{Invocation, skip};

use crate::bed::Bed;

const IMAGE: &str = "docker.io/library/busybox:latest";
const SOCKET: &str = "/run/containerd-test.sock";

/// A containerd of its own.
struct Containerd<'a> {
    bed: &'a Bed,
    _daemon: Running,
}

impl Containerd<'_> {
    /// `None`, with a word, when there is no containerd here.
    fn new(bed: &Bed) -> Option<Containerd<'_>> {
        for program in ["containerd", "ctr", "containerd-shim-runc-v2"] {
            if std::process::Command::new(program).arg("--version").output().is_err() {
                skip(format_args!("{program} is not installed"));
                return None;
            }
        }
        let folder = bed.folder();
        let configuration = folder.join("containerd.toml");
        let text = format!(
            "version = 2\nroot = \"{0}/containerd\"\nstate = \"/run/containerd-test\"\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = \"{SOCKET}\"\n",
            folder.display()
        );
        fs::write(&configuration, text).unwrap();
        let daemon = Invocation::new("containerd", "--config").arg(&configuration).spawn();
        let containerd = Containerd { bed, _daemon: daemon };
        wait_until_within(Duration::from_secs(60), "containerd answers", || {
            containerd.cmd("version").output().status() == 0
        });
        containerd.cmd("images import").arg(bed.archive()).ok();
        Some(containerd)
    }

    fn cmd(&self, line: &str) -> Invocation {
        Invocation::new("ctr", "--address").arg(SOCKET).args(line)
    }

    /// `run` for a container of that name.
    fn run(&self, flags: &str, id: &str, command: &str) -> Invocation {
        let group = format!("{}/{id}", self.bed.parent());
        let run = self.cmd("run --runc-binary").arg(self.bed.program()).arg("--cgroup").arg(group);
        run.args(flags).arg(IMAGE).arg(id).args(command)
    }

    #[track_caller]
    fn ok(&self, line: &str) -> String {
        self.cmd(line).ok()
    }

    fn status(&self, id: &str) -> String {
        let tasks = self.ok("task ls");
        let line = tasks.lines().find(|line| line.starts_with(&format!("{id} ")));
        line.and_then(|line| line.split_whitespace().nth(2)).unwrap_or_default().to_owned()
    }
}

#[test]
fn the_life_of_a_container() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let Some(containerd) = Containerd::new(&bed) else { return };
        let run = containerd.run("--rm", "t0", "sh -c 'echo out; echo bad >&2; exit 7'").output();
        run.code(7).says("bad").prints("out");

        containerd.run("-d", "t1", "sleep 1000").ok();
        assert_eq!(containerd.status("t1"), "RUNNING");
        // ctr does not always wait for the output of an exec.
        let exec = "task exec --exec-id e1 --cwd /tmp t1 sh -c 'test $(pwd) = /tmp && exit 3'";
        containerd.cmd(exec).output().code(3);
        assert!(containerd.ok("task ps t1").lines().count() >= 2);
        containerd.ok("task pause t1");
        assert_eq!(containerd.status("t1"), "PAUSED");
        containerd.ok("task resume t1");
        assert_eq!(containerd.status("t1"), "RUNNING");
        let metrics = containerd.ok("task metrics t1");
        assert!(metrics.contains("memory"), "{metrics}");
        containerd.ok("task kill --signal SIGKILL t1");
        cais_test::wait_until("it has ended", || containerd.status("t1") == "STOPPED");
        containerd.cmd("task rm t1").output();
        containerd.ok("container rm t1");
        assert_eq!(containerd.ok("container ls -q"), "");
        assert!(bed.groups().iter().all(|group| !group.ends_with("t1")), "its groups are gone");
    });
}

#[test]
fn a_terminal() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let Some(containerd) = Containerd::new(&bed) else { return };
        let run = containerd.run("--rm -t", "t1", "sh -c 'tty; exit 4'");
        let terminal = cais_test::pty::Terminal::start(&run, 33, 99);
        terminal.expect("/dev/pts/0");
        assert_eq!(terminal.wait(), 4);
    });
}

#[test]
fn what_cannot_be_executed_is_told() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let Some(containerd) = Containerd::new(&bed) else { return };
        let fails = |finished: cais_test::Finished, text: &str| {
            assert_ne!(finished.status(), 0);
            finished.says(text);
        };
        let text = "exec: \"no-such-command\": executable file not found in $PATH";
        fails(containerd.run("--rm", "t1", "no-such-command").output(), text);
        containerd.run("-d", "t2", "sleep 1000").ok();
        fails(containerd.cmd("task exec --exec-id e1 t2 no-such-command").output(), text);
        containerd.ok("task kill --signal SIGKILL t2");
        cais_test::wait_until("it has ended", || containerd.status("t2") == "STOPPED");
        containerd.cmd("task rm t2").output();
        containerd.ok("container rm t2");
    });
}
