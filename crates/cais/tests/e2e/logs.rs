//! `cais logs`.

use cais_test::e2e;

#[test]
fn streams_are_kept_apart_and_whole() {
    e2e(|cais| {
        cais.ok("run -d --name l1 busybox sh -c 'echo one; echo two >&2; printf \"no newline\"; head -c 100000 /dev/zero >&2'");
        cais.ok("wait l1");
        let finished = cais.cmd("logs l1").output().code(0);
        assert_eq!(finished.stdout, b"one\nno newline");
        assert_eq!(finished.stderr.len(), 4 + 100_000);
        assert!(finished.stderr.starts_with(b"two\n\0\0"));
    });
}

#[test]
fn tail_counts_lines() {
    e2e(|cais| {
        cais.ok("run --name l1 busybox sh -c 'for i in 1 2 3 4 5; do echo $i; done'");
        assert_eq!(cais.ok("logs --tail 2 l1"), "4\n5");
        assert_eq!(cais.ok("logs -n 0 l1"), "");
        assert_eq!(cais.ok("logs --tail all l1"), "1\n2\n3\n4\n5");
        assert_eq!(cais.ok("logs --tail 99 l1"), "1\n2\n3\n4\n5");
    });
}

#[test]
fn timestamps_bound_since_and_until() {
    e2e(|cais| {
        cais.ok("run --name l1 busybox sh -c 'echo early; sleep 1.2; echo late'");
        let stamped = cais.ok("logs -t l1");
        let lines: Vec<&str> = stamped.lines().collect();
        assert_eq!(lines.len(), 2);
        let (time, text) = lines[1].split_once(' ').unwrap();
        assert_eq!(text, "late");
        assert!(time.len() >= 20 && time.contains('T') && time.ends_with('Z'), "{time}");
        assert_eq!(cais.ok(&format!("logs --since {time} l1")), "late");
        let early = lines[0].split(' ').next().unwrap();
        assert_eq!(cais.ok(&format!("logs --until {early} l1")), "early");
        assert_eq!(cais.ok("logs --since 1h l1"), "early\nlate");
        assert_eq!(cais.ok("logs --until 1h l1"), "");
        cais.fails(1, "logs --since yesterday-ish l1").one_clear_error().says("yesterday-ish");
    });
}

#[test]
fn following_ends_with_the_container() {
    e2e(|cais| {
        cais.ok("run -d -i --name l1 busybox sh -c 'echo begin; while [ ! -e /go ]; do sleep 0.05; done; echo end'");
        cais.wait_for_log("l1", "begin");
        let follower = cais.cmd("logs -f l1").spawn();
        let late = cais.cmd("logs -f --tail 0 l1").spawn();
        // Both must be reading before the last line is written: they hold the log open.
        for running in [&follower, &late] {
            let fds = format!("/proc/{}/fd", running.pid());
            cais_test::wait_until("the log is open", || {
                std::fs::read_dir(&fds)
                    .into_iter()
                    .flatten()
                    .flatten()
                    .any(|fd| std::fs::read_link(fd.path()).is_ok_and(|path| path.starts_with(cais.folder())))
            });
        }
        cais.ok("exec l1 touch /go");
        follower.wait().code(0).prints("begin\nend");
        late.wait().code(0).prints("end");
    });
}

#[test]
fn logs_of_nothing_are_an_error() {
    e2e(|cais| {
        cais.fails(1, "logs no-such-container").one_clear_error().says("no-such-container");
        cais.ok("create --name c1 busybox");
        assert_eq!(cais.ok("logs c1"), "");
    });
}

#[test]
fn a_terminal_is_logged_as_one_stream() {
    e2e(|cais| {
        cais.ok("run -d -t --name l1 busybox sh -c 'echo out; echo err >&2'");
        cais.ok("wait l1");
        let finished = cais.cmd("logs l1").output().code(0);
        assert_eq!(finished.stdout, b"out\r\nerr\r\n");
        assert_eq!(finished.stderr, b"");
    });
}

#[test]
fn no_log_is_kept_when_none_is_wanted() {
    e2e(|cais| {
        cais.cmd("run --name n1 --log-driver none busybox sh -c 'echo seen'").ok();
        let refused = cais.fails(1, "logs n1").one_clear_error();
        refused.says("configured logging driver does not support reading");
        assert_eq!(cais.inspect("n1", "{{.HostConfig.LogConfig.Type}}|{{.LogPath}}"), "none|");
        let id = cais.inspect("n1", "{{.Id}}");
        assert!(!cais.root().join("containers").join(&id).join("log").exists());
        assert_eq!(cais.ok("start -a n1"), "seen", "who is attached sees it");

        let finished = cais.cmd("run --name j1 --log-driver json-file busybox true").output().code(0);
        assert!(finished.stderr_text().contains("k8s-file"), "{finished}");
        assert_eq!(cais.inspect("j1", "{{.HostConfig.LogConfig.Type}}"), "k8s-file");
    });
}
