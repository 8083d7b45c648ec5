//! `exec`.

use std::fs::{self, File};
use std::io::Read;

use cais_test::isolation::isolated;
use cais_test::pty::Terminal;
use serde_json::{Value, json};

use crate::bed::Bed;
use crate::socket::Receiver;

#[test]
fn beside_the_first_process() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        bed.sleeper("c1");
        bed.cmd("exec c1 sh -c 'cat; hostname; echo bad >&2; exit 9'")
            .stdin("in\n")
            .output()
            .code(9)
            .says("bad")
            .prints("in\nship");
        assert!(bed.ok("exec c1 ps -o args").contains("sleep 1000"));
        for kind in ["mnt", "pid", "net", "ipc", "uts"] {
            let links = bed
                .cmd("exec c1 sh -c")
                .arg(format!("readlink /proc/1/ns/{kind}; readlink /proc/self/ns/{kind}"))
                .ok();
            let (first, second) = links.split_once('\n').unwrap_or_default();
            assert!(first.starts_with(kind) && first == second, "{links}");
        }
        let groups = bed.ok("exec c1 cat /proc/self/cgroup");
        assert_eq!(groups, bed.ok("exec c1 cat /proc/1/cgroup"), "the same groups");
        assert!(groups.contains("cais-test-"), "{groups}");
    });
}

#[test]
fn every_flag() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        bed.sleeper("c1");
        let cases = [
            ("exec --cwd /tmp c1 pwd", "/tmp"),
            ("exec -e A=1 -e B=2 c1 sh -c 'echo $A $B $TERM'", "1 2 xterm"),
            ("exec --user 1000 c1 sh -c 'echo $(id -u):$(id -g)'", "1000:0"),
            ("exec -u 1000:1001 -g 7 -g 8 c1 sh -c 'echo $(id -u):$(id -g) $(id -G)'", "1000:1001 1001 7 8"),
            ("exec --no-new-privs=false c1 grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t0"),
            ("exec --no-new-privs c1 grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1"),
            ("exec c1 sh -c 'grep CapEff /proc/self/status'", "CapEff:\t00000000a80425fb"),
            (
                "exec -c CAP_SYS_NICE -c CAP_SYS_TTY_CONFIG c1 sh -c 'grep CapEff /proc/self/status'",
                "CapEff:\t00000000ac8425fb",
            ),
        ];
        for (line, expected) in cases {
            assert_eq!(bed.ok(line), expected, "{line}");
        }
    });
}

#[test]
fn a_process_from_a_file() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        bed.sleeper("c1");
        let path = bed.folder().join("process.json");
        let process = json!({
            "cwd": "/tmp", "args": ["sh", "-c", "echo $(pwd) $(id -u) $X"], "env": ["PATH=/bin", "X=file"],
            "user": {"uid": 1000, "gid": 1000},
        });
        fs::write(&path, process.to_string()).unwrap();
        for flag in ["--process", "-p"] {
            let exec = bed.cmd("exec").arg(flag).arg(&path).args("--env X=flag c1").output();
            exec.code(0).prints("/tmp 1000 file");
        }
        let refused = |document: &str| {
            fs::write(&path, document).unwrap();
            bed.cmd("exec -p").arg(&path).arg("c1").output().code(255)
        };
        refused("{");
        refused("{\"cwd\": \"tmp\", \"args\": [\"true\"]}").says("absolute");
        refused("{\"cwd\": \"/\", \"args\": []}").says("args");
        fs::remove_file(&path).unwrap();
        bed.cmd("exec -p").arg(&path).arg("c1").output().code(255).says("o such file or directory");
    });
}

#[test]
fn in_the_background_with_a_pid_file() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        bed.sleeper("c1");
        let pid_file = bed.folder().join("pid");
        bed.detached("exec --detach --pid-file").arg(&pid_file).args("c1 sleep 1001").ok();
        let pid: i64 = fs::read_to_string(&pid_file).unwrap().parse().unwrap();
        let pids: Vec<i64> = serde_json::from_str(&bed.ok("ps -f json c1")).unwrap();
        assert!(pids.contains(&pid) && pids.len() == 2, "{pids:?} {pid}");
        bed.ok("delete --force c1");
        bed.assert_gone("c1");
    });
}

#[test]
fn what_cannot_be_executed() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        bed.sleeper("c1");
        let fails = |line: &str, text: &str| drop(bed.cmd(line).output().code(255).says(text));
        fails("exec c1 no-such-command", "executable file not found in $PATH");
        fails("exec c1 /no/such/command", "no such file or directory");
        fails("exec c1 /etc/passwd", "permission denied");
        fails("exec --cwd /no/such/folder c1 true", "/no/such/folder");
        fails("exec --user root c1 true", "uid");
        fails("exec c2 true", "container does not exist");
        fails("exec c1", "args");
        bed.refuses("exec", "exec");
        let log = bed.folder().join("log");
        let exec = bed.bare("--log-format json --log").arg(&log).arg("--root").arg(bed.root());
        exec.args("exec c1 no-such-command").output().code(255).says("executable file not found in $PATH");
        let text = fs::read_to_string(&log).unwrap();
        let last: Value = serde_json::from_str(text.lines().next_back().unwrap()).unwrap();
        assert_eq!(last["level"], "error");
        assert!(
            last["msg"].as_str().is_some_and(|text| text.contains("executable file not found in $PATH")),
            "{last}"
        );
    });
}

#[test]
fn only_where_something_runs() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        bed.bundle("c1", &["sleep", "1000"]);
        bed.create("c1");
        assert_eq!(
            bed.ok("exec c1 echo early"),
            "early",
            "runc lets a created container have more processes"
        );
        bed.ok("start c1");
        bed.ok("pause c1");
        bed.cmd("exec c1 true").output().code(255).says("paused");
        let waiting = bed.cmd("exec --ignore-paused c1 echo late").spawn();
        bed.ok("resume c1");
        waiting.wait().code(0).prints("late");
        bed.ok("kill c1 KILL");
        bed.wait_for("c1", "stopped");
        bed.cmd("exec c1 true").output().code(255).says("cannot exec in a stopped container");
    });
}

#[test]
fn terminals() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        bed.sleeper("c1");
        let mut terminal = Terminal::start(
            &bed.cmd(
                "exec -t c1 sh -c 'tty; until stty size 2>&1 | grep ^[1-9]; do sleep 0.01; done; read x; echo got $x; exit 4'",
            ),
            33,
            99,
        );
        terminal.expect("/dev/pts/");
        terminal.expect("33 99");
        terminal.send("word\n");
        terminal.expect("got word");
        assert_eq!(terminal.wait(), 4);

        let socket = bed.folder().join("console");
        let receiver = Receiver::listen(&socket);
        bed.cmd("exec -d -t --console-socket").arg(&socket).args("c1 sh -c 'tty; echo done'").ok();
        let (master, _) = receiver.received();
        let (mut screen, mut buffer) = (String::new(), [0; 512]);
        while !screen.contains("done") {
            let count = File::from(master.try_clone().unwrap()).read(&mut buffer).unwrap();
            screen.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
        assert!(screen.contains("/dev/pts/"), "{screen}");
        bed.cmd("exec -d -t c1 true").output().code(255).says("console socket");
    });
}

#[test]
fn a_group_below_the_containers() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        bed.sleeper("c1");
        let below = bed.group("memory", "c1").join("below");
        fs::create_dir(&below).unwrap();
        let flag = if bed.group("memory", "c1").starts_with("/sys/fs/cgroup/memory") {
            "memory:below"
        } else {
            "below"
        };
        let groups = bed.cmd("exec --cgroup").arg(flag).args("c1 cat /proc/self/cgroup").ok();
        assert!(groups.lines().any(|line| line.ends_with("/c1/below")), "{groups}");
        fs::remove_dir(&below).unwrap();
        bed.cmd("exec --cgroup").arg(flag).args("c1 true").output().code(255);
    });
}
