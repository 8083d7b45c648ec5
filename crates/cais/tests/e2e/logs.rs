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

/// Numbered lines from a container, and what is left of them on the disk.
fn files_of(cais: &cais_test::Cais, name: &str) -> Vec<(String, u64)> {
    let folder = cais.root().join("containers").join(cais.inspect(name, "{{.Id}}"));
    let mut files: Vec<(String, u64)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len()))
        .filter(|(name, _)| name.starts_with("log"))
        .collect();
    files.sort();
    files
}

#[test]
fn full_files_make_way_and_are_read_in_order() {
    e2e(|cais| {
        cais.ok("run --name l1 --log-opt max-size=10k --log-opt max-file=3 busybox seq 1 3000");
        let files = files_of(cais, "l1");
        assert_eq!(
            files.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["log", "log.1", "log.2"]
        );
        assert!(files.iter().all(|(_, bytes)| *bytes <= 10 << 10), "{files:?}");
        let all = cais.ok("logs l1");
        let first: u32 = all.lines().next().unwrap().parse().unwrap();
        assert!(first > 1, "the oldest lines are gone");
        assert_eq!(all, (first..=3000).map(|n| n.to_string()).collect::<Vec<_>>().join("\n"));
        for count in [1, 10, 400] {
            let last: Vec<String> = (3001 - count..=3000).map(|n| n.to_string()).collect();
            assert_eq!(cais.ok(&format!("logs --tail {count} l1")), last.join("\n"), "{count}");
        }
        assert_eq!(cais.ok("logs --since 1h l1"), all);
        assert_eq!(
            cais.inspect("l1", "{{json .HostConfig.LogConfig.Config}}"),
            r#"{"max-file":"3","max-size":"10k"}"#
        );
        cais.ok("run --name l2 --log-opt max-size=10k --log-opt max-file=1 busybox seq 1 3000");
        assert_eq!(files_of(cais, "l2").len(), 1);
        cais.ok("rm l1 l2");
    });
}

#[test]
fn a_log_does_not_grow_without_limit() {
    e2e(|cais| {
        // Twice what is kept by default: five files of 20 MiB.
        cais.ok("run --name l1 busybox sh -c 'yes 0123456789012345678901234567890123456789 | head -c 120m'");
        let files = files_of(cais, "l1");
        let bytes: u64 = files.iter().map(|(_, bytes)| bytes).sum();
        assert_eq!(files.len(), 5);
        assert!((80 << 20..=100 << 20).contains(&bytes), "{files:?}");
        cais.ok("rm l1");
    });
}

#[test]
fn a_follower_misses_nothing_of_a_writer_in_a_hurry() {
    e2e(|cais| {
        // As fast as the pipe takes it, in files that are full every few milliseconds.
        const LINES: u64 = 3_000_000;
        let go = cais.folder().join("go");
        std::fs::create_dir(&go).unwrap();
        cais.cmd("run -d --name l1 --log-opt max-size=4m -v")
            .arg(format!("{}:/go", go.display()))
            .args("busybox sh -c")
            .arg(format!("echo up; until [ -e /go/now ]; do sleep 0.01; done; seq 1 {LINES}"))
            .ok();
        let out = cais.folder().join("out");
        let follower =
            cais.cmd("logs -f l1").timeout_secs(240).piped_into(&format!("cat >{}", out.display())).spawn();
        cais_test::wait_until("the follower has begun", || {
            std::fs::read(&out).is_ok_and(|text| text.starts_with(b"up\n"))
        });
        std::fs::write(go.join("now"), "").unwrap();
        follower.wait().code(0);
        let text = std::fs::read(&out).unwrap();
        let mut expected = 0_u64;
        for line in text.split(|byte| *byte == b'\n').skip(1).filter(|line| !line.is_empty()) {
            expected += 1;
            assert_eq!(std::str::from_utf8(line).unwrap(), expected.to_string());
        }
        assert_eq!(expected, LINES);
        // Far more than is kept went through: about ten times the five files.
        assert!(files_of(cais, "l1").iter().map(|(_, bytes)| bytes).sum::<u64>() <= 20 << 20);
    });
}

#[test]
fn after_a_full_disk_the_log_goes_on_with_a_new_line() {
    e2e(|cais| {
        let go = cais.folder().join("go");
        std::fs::create_dir(&go).unwrap();
        let id = cais
            .cmd("create --name l1 -v")
            .arg(format!("{}:/go", go.display()))
            .args("busybox sh -c")
            .arg("head -c 3000000 /dev/zero | tr '\\0' x; echo; until [ -e /go/now ]; do sleep 0.01; done; echo last")
            .ok();
        // The container's folder on a disk of its own, which its first words fill.
        let folder = cais.root().join("containers").join(&id);
        let copy = cais.folder().join("copy");
        cais_test::process::Invocation::new("cp", "-a").arg(&folder).arg(&copy).ok();
        cais_test::process::Invocation::new("mount", "-t tmpfs -o size=1m tmpfs").arg(&folder).ok();
        cais_test::process::Invocation::new("cp", "-aT").arg(&copy).arg(&folder).ok();
        cais.ok("start l1");
        let log = folder.join("log");
        cais_test::wait_until("the disk is full", || {
            std::fs::metadata(&log).is_ok_and(|log| log.len() > 500_000)
        });
        std::fs::write(go.join("now"), "").unwrap();
        cais_test::process::Invocation::new("mount", "-o remount,size=8m").arg(&folder).ok();
        cais.wait_for_log("l1", "last");
        let text = String::from_utf8(std::fs::read(&log).unwrap()).unwrap();
        let last = text.lines().last().unwrap();
        assert!(last.ends_with(" stdout F last") && last.len() < 60, "{last}");
        cais.ok("stop -t 0 l1");
        cais_test::process::Invocation::new("umount", "-l").arg(&folder).ok();
    });
}

#[test]
fn the_journal_gets_every_line_or_is_refused() {
    e2e(|cais| {
        let path = std::path::Path::new("/run/systemd/journal/socket");
        if path.exists() {
            return cais_test::skip("this machine has a journal of its own");
        }
        cais.fails(125, "run --rm --log-driver journald busybox true").says("no journal listens");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let journal = std::os::unix::net::UnixDatagram::bind(path).unwrap();
        journal.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
        cais.ok("run -d --name j1 --log-driver journald busybox sh -c 'echo out; echo err >&2; printf half; sleep 1000'");
        let mut entries = Vec::new();
        for _ in 0..3 {
            let mut entry = [0; 4096];
            let length = journal.recv(&mut entry).unwrap();
            entries.push(String::from_utf8_lossy(&entry[..length]).into_owned());
        }
        entries.sort_by_key(|entry| !entry.contains("PRIORITY=3"));
        let id = cais.inspect("j1", "{{.Id}}");
        assert!(entries[0].contains("MESSAGE\n\u{3}\0\0\0\0\0\0\0err\n"), "{entries:?}");
        for entry in &entries {
            assert!(
                entry.contains(&format!("CONTAINER_ID_FULL={id}\n")) && entry.contains("CONTAINER_NAME=j1\n")
            );
        }
        assert!(entries.iter().any(|entry| entry.contains("out\n") && entry.contains("PRIORITY=6\n")));
        assert!(
            entries
                .iter()
                .any(|entry| entry.contains("half\n") && entry.contains("CONTAINER_PARTIAL_MESSAGE=true\n"))
        );
        cais.fails(1, "logs j1").says("journalctl");
        assert_eq!(cais.inspect("j1", "{{.HostConfig.LogConfig.Type}}"), "journald");
        cais.ok("rm -f j1");
        std::fs::remove_file(path).unwrap();
    });
}
