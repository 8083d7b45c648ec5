//! dockerd, through containerd's shim, calls the runtime (`--add-runtime`).

use std::time::Duration;

use cais_test::isolation::isolated;
use cais_test::process::{Running, wait_until_within};
use cais_test::{Invocation, skip};

use crate::bed::Bed;

const SOCKET: &str = "unix:///run/docker-test.sock";

/// A dockerd of its own, which starts a containerd of its own.
struct Docker<'a> {
    bed: &'a Bed,
    _daemon: Running,
}

impl Docker<'_> {
    /// `None`, with a word, when there is no dockerd here.
    fn new(bed: &Bed) -> Option<Docker<'_>> {
        for program in ["dockerd", "docker", "containerd", "containerd-shim-runc-v2"] {
            if std::process::Command::new(program).arg("--version").output().is_err() {
                skip(format_args!("{program} is not installed"));
                return None;
            }
        }
        let daemon =
            Invocation::new("dockerd", "--exec-root /run/docker-test --pidfile /run/docker-test.pid -H")
                .args(SOCKET)
                .args("--bridge none --iptables=false --ip-masq=false --data-root")
                .arg(bed.folder().join("docker"))
                .arg("--add-runtime")
                .arg(format!("judged={}", bed.program().display()))
                .args("--default-runtime judged --cgroup-parent")
                .arg(bed.parent())
                .spawn();
        let docker = Docker { bed, _daemon: daemon };
        wait_until_within(Duration::from_secs(60), "dockerd answers", || {
            docker.cmd("info").output().status() == 0
        });
        docker.cmd("load -q -i").arg(bed.archive()).ok();
        Some(docker)
    }

    fn cmd(&self, line: &str) -> Invocation {
        let docker = Invocation::new("docker", "-H").args(SOCKET).args(line).timeout_secs(120);
        docker.env("HOME", self.bed.folder()).without_env("DOCKER_HOST").without_env("DOCKER_CONTEXT")
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
        let Some(docker) = Docker::new(&bed) else { return };
        assert_eq!(docker.ok("info --format {{.DefaultRuntime}}"), "judged");
        let run = docker
            .cmd("run --rm -i busybox sh -c 'cat; echo bad >&2; exit 7'")
            .stdin("some\nlines\n")
            .output();
        run.code(7).says("bad").prints("some\nlines");
        let text = "exec: \"no-such-command\": executable file not found in $PATH";
        docker.cmd("run --rm busybox no-such-command").output().code(127).says(text);
        docker.cmd("run --rm busybox /no/such/command").output().code(127).says("no such file or directory");
        docker.cmd("run --rm busybox /etc/passwd").output().code(126).says("permission denied");
        assert_eq!(
            docker.ok("run --rm --read-only --user 1000:1000 -w /tmp busybox sh -c 'id -u; pwd'"),
            "1000\n/tmp"
        );
        assert_eq!(docker.ok("ps -aq"), "");
    });
}

#[test]
fn the_life_of_a_container() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let Some(docker) = Docker::new(&bed) else { return };
        docker.ok("run -d --name d1 busybox sh -c 'echo first; while :; do sleep 0.1; done'");
        assert_eq!(docker.ok("inspect --format {{.State.Status}} d1"), "running");
        cais_test::wait_until("the log has a line", || docker.ok("logs d1") == "first");
        assert_eq!(
            docker.ok("exec -e X=1 -w /tmp -u 1000 d1 sh -c 'echo $X $(pwd) $(id -u)'"),
            "1 /tmp 1000"
        );
        docker.cmd("exec d1 sh -c 'exit 9'").output().code(9);
        // 126 with older daemons, whatever the runtime.
        let missing = docker.cmd("exec d1 no-such-command").output();
        assert!([126, 127].contains(&missing.status()), "{missing}");
        docker.cmd("exec d1 /etc/passwd").output().code(126);
        assert!(docker.ok("top d1").contains("while :"));
        let pid = docker.ok("inspect --format {{.State.Pid}} d1");
        docker.ok("pause d1");
        assert_eq!(docker.ok("inspect --format {{.State.Status}} d1"), "paused");
        docker.ok("unpause d1");
        docker.ok("exec d1 true");
        docker.ok("update --memory 64m --memory-swap 64m --pids-limit 50 d1");
        assert_eq!(bed.limit_of(&pid, "memory", "memory.limit_in_bytes", "memory.max"), "67108864");
        assert_eq!(bed.limit_of(&pid, "pids", "pids.max", "pids.max"), "50");
        assert!(
            docker.ok("stats --no-stream --format {{.PIDs}} d1").parse::<u32>().is_ok_and(|pids| pids >= 1)
        );
        docker.ok("kill d1");
        cais_test::wait_until("it has ended", || {
            docker.ok("inspect --format {{.State.Status}} d1") == "exited"
        });
        assert_eq!(docker.ok("inspect --format {{.State.ExitCode}} d1"), "137");
        docker.ok("start d1");
        docker.ok("restart -t 0 d1");
        docker.ok("stop -t 0 d1");
        docker.ok("rm d1");
        assert_eq!(docker.ok("ps -aq"), "");
        let left: Vec<_> = bed
            .groups()
            .into_iter()
            .filter(|group| !group.ends_with(bed.parent().trim_start_matches('/')))
            .collect();
        assert!(left.is_empty(), "groups are left: {left:?}");
    });
}

#[test]
fn terminals() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let Some(docker) = Docker::new(&bed) else { return };
        let terminal =
            cais_test::pty::Terminal::start(&docker.cmd("run --rm -it busybox sh -c 'tty; exit 4'"), 33, 99);
        terminal.expect("/dev/pts/0");
        assert_eq!(terminal.wait(), 4);
        docker.ok("run -d --name d1 busybox sleep 1000");
        let mut terminal = cais_test::pty::Terminal::start(
            &docker.cmd("exec -it d1 sh -c 'tty; read x; echo got $x; exit 5'"),
            33,
            99,
        );
        terminal.expect("/dev/pts/");
        terminal.send("word\n");
        terminal.expect("got word");
        assert_eq!(terminal.wait(), 5);
        docker.ok("rm -f d1");
    });
}

#[test]
fn init_privileges_and_shared_namespaces() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let Some(docker) = Docker::new(&bed) else { return };
        assert!(docker.ok("run --rm --init busybox ps -o args").contains("docker-init"));
        let caps =
            |flags: &str| docker.ok(&format!("run --rm {flags} busybox grep CapEff /proc/self/status"));
        assert_eq!(caps(""), "CapEff:\t00000000a80425fb");
        assert_eq!(caps("--cap-drop ALL"), "CapEff:\t0000000000000000");
        assert_eq!(
            docker.ok("run --rm --security-opt no-new-privileges busybox grep NoNewPrivs /proc/self/status"),
            "NoNewPrivs:\t1"
        );
        assert_eq!(docker.ok("run --rm --tmpfs /t:size=4m --shm-size 8m busybox sh -c 'df -m /t /dev/shm | grep -c tmpfs'").as_str(), "1");
        docker.ok("run -d --name d1 busybox sleep 1000");
        let text = docker.ok("run --rm --pid container:d1 --network container:d1 busybox ps -o args");
        assert!(text.contains("sleep 1000"), "{text}");
        docker.ok("rm -f d1");
    });
}
