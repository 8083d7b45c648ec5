//! `run`: create and start in one.

use std::fs;

use cais_test::isolation::isolated;
use cais_test::pty::Terminal;
use rustix::process::Signal;
use serde_json::json;

use crate::bed::Bed;

#[test]
fn streams_and_status_are_the_containers() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let bundle = bed.bundle("c1", &["sh", "-c", "cat; echo bad >&2; exit 7"]);
        let run = bed.cmd("run -b").arg(bundle.folder()).arg("c1").stdin("some\nlines\n").output();
        run.code(7).says("bad").prints("some\nlines");
        bed.assert_gone("c1");
        let bundle = bed.bundle("c2", &["sleep", "1000"]);
        let running = bed.cmd("run -b").arg(bundle.folder()).arg("c2").spawn();
        cais_test::wait_until("it runs", || {
            bed.cmd("state c2").output().stdout_text().contains("\"running\"")
        });
        bed.ok("kill c2 KILL");
        running.wait().code(137);
        bed.bundle("c3", &["true"]);
        bed.run("c3").code(0).prints("");
    });
}

#[test]
fn signals_and_streams_are_as_a_program_wants_them() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        bed.bundle("c1", &["grep", "-E", "Sig(Blk|Ign|Cgt)", "/proc/self/status"]);
        let text = bed.run("c1").code(0).stdout_text();
        for line in text.lines() {
            // SIGPIPE above all. What lies beyond the named signals may be the caller's own.
            let set = u64::from_str_radix(line.split('\t').nth(1).unwrap_or_default(), 16).unwrap();
            assert_eq!(set & 0x7fff_ffff, 0, "{line}");
        }
        assert_eq!(text.lines().count(), 3, "{text}");
    });
}

#[test]
fn in_the_background() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let bundle = bed.bundle("c1", &["sleep", "1000"]);
        let pid_file = bed.folder().join("pid");
        bed.detached("run -d --pid-file").arg(&pid_file).arg("-b").arg(bundle.folder()).arg("c1").ok();
        assert_eq!(fs::read_to_string(&pid_file).unwrap(), bed.pid("c1").to_string());
        assert_eq!(bed.status("c1"), "running");
        bed.ok("kill c1 KILL");
        bed.wait_for("c1", "stopped");
        bed.ok("delete c1");
        bed.assert_gone("c1");
    });
}

#[test]
fn it_can_be_kept() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let bundle = bed.bundle("c1", &["true"]);
        bed.cmd("run --keep -b").arg(bundle.folder()).arg("c1").ok();
        assert_eq!(bed.status("c1"), "stopped");
        bed.ok("delete c1");
        bed.assert_gone("c1");
    });
}

#[test]
fn signals_are_forwarded() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let script = "trap 'echo hup' HUP; trap 'echo term; exit 3' TERM; echo ready >/tmp/ready; \
                      while :; do sleep 0.01; done";
        let bundle = bed.bundle("c1", &["sh", "-c", script]);
        let running = bed.cmd("run -b").arg(bundle.folder()).arg("c1").spawn();
        cais_test::wait_until("traps are set", || bed.folder().join("rootfs/tmp/ready").exists());
        running.signal(Signal::HUP);
        running.signal(Signal::TERM);
        let finished = running.wait();
        assert_eq!((finished.status(), finished.stdout_text().as_str()), (3, "hup\nterm"));
        bed.assert_gone("c1");
    });
}

#[test]
fn a_terminal_of_the_caller_is_relayed() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let script = "tty; until stty size 2>&1 | grep ^[1-9]; do sleep 0.01; done; read x; echo got $x; read x; stty size; exit 5";
        let bundle = bed
            .bundle("c1", &["sh", "-c", script])
            .change(|config| config["process"]["terminal"] = json!(true));
        let mut terminal = Terminal::start(&bed.cmd("run -b").arg(bundle.folder()).arg("c1"), 33, 99);
        terminal.expect("/dev/pts/0");
        terminal.expect("33 99");
        terminal.send("word\n");
        terminal.expect("got word");
        terminal.resize(44, 111);
        // The size is passed on in its own time: the container is asked again until it has come.
        cais_test::wait_until("the container knows the new size", || {
            bed.cmd("exec c1 sh -c 'stty size </dev/pts/0'").output().stdout_text() == "44 111"
        });
        terminal.send("\n");
        terminal.expect("44 111");
        assert_eq!(terminal.wait(), 5);
        bed.assert_gone("c1");
    });
}

#[test]
fn a_command_that_is_not_there() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        bed.bundle("c1", &["no-such-command"]);
        bed.run("c1").code(1).says("executable file not found in $PATH");
        bed.assert_gone("c1");
    });
}

#[test]
fn the_number_that_stands_for_no_user() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let none = json!(u32::MAX);
        for (id, user) in [("c1", json!({"uid": none, "gid": 0})), ("c2", json!({"uid": 0, "gid": none}))] {
            bed.bundle(id, &["id"]).change(|config| config["process"]["user"] = user);
            // The kernel takes it as "as before": the command would run as root.
            bed.run(id).code(1).says("invalid argument").prints("");
            bed.assert_gone(id);
        }
    });
}
