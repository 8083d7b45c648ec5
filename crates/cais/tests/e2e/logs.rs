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
        let log = cais.root().join("containers").join(&id).join("log");
        assert_eq!(std::fs::metadata(log).unwrap().len(), 0, "it only marks that the container has run");
        assert_eq!(cais.ok("start -a n1"), "seen", "who is attached sees it");
    });
}

/// What journalctl has to say, by a program in its place.
fn read_from_a_journal(cais: &cais_test::Cais, id: &str) {
    use std::os::unix::fs::PermissionsExt;
    let folder = cais.folder().join("programs");
    std::fs::create_dir(&folder).unwrap();
    let script = r#"#!/bin/sh
echo "$@" >>"$(dirname "$0")/asked"
entry() { printf '{"__CURSOR":"s=%s","__REALTIME_TIMESTAMP":"179516984512345%s","PRIORITY":"%s","MESSAGE":%s}\n' "$@"; }
case "$*" in
  *--sync*) ;;
  *--after-cursor=s=2*) entry 3 3 6 '"last"' ;;
  *) entry 1 1 6 '"out"'; entry 2 2 3 '[255,101]' ;;
esac
case "$*" in *--follow*) exec sleep 100 ;; esac
"#;
    let program = folder.join("journalctl");
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let shown =
        cais.cmd("logs -t --tail 7 --since 2026-01-01T00:00:00.5Z j1").env("PATH", &path).output().code(0);
    assert_eq!(shown.stdout_text(), "2026-11-20T10:17:25.123451000Z out");
    assert_eq!(shown.stderr, b"2026-11-20T10:17:25.123452000Z \xffe\n");
    let asked = || std::fs::read_to_string(folder.join("asked")).unwrap();
    let words = asked();
    for word in ["--lines=7", "--since=@1767225600 ", &format!(" CONTAINER_ID_FULL={id}")] {
        assert!(words.contains(word), "{words}");
    }
    let follower = cais.cmd("logs -f j1").env("PATH", &path).spawn();
    cais_test::wait_until("the journal is followed", || asked().contains("--follow"));
    cais.ok("stop -t 0 j1");
    assert_eq!(follower.wait().code(0).stdout_text(), "out\nlast");
    std::fs::write(&program, "#!/bin/sh\necho no such journal >&2; exit 1\n").unwrap();
    cais.cmd("logs j1").env("PATH", &path).output().code(1).one_clear_error().says("no such journal");
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
        let missing = cais.cmd("logs j1").env("PATH", "/nowhere").output().code(1).one_clear_error();
        missing.says("journalctl is not installed");
        read_from_a_journal(cais, &id);
        assert_eq!(cais.inspect("j1", "{{.HostConfig.LogConfig.Type}}"), "journald");
        cais.ok("rm -f j1");
        std::fs::remove_file(path).unwrap();
    });
}
