//! `cais stop`.

use std::time::Instant;

use cais_test::{e2e, e2e_empty};

#[test]
fn a_program_that_obeys_ends_by_its_own_status() {
    e2e(|cais| {
        cais.ok(
            "run -d --name s1 busybox sh -c 'trap \"exit 143\" TERM; echo up; while :; do sleep 0.1; done'",
        );
        cais.wait_for_log("s1", "up");
        assert_eq!(cais.ok("stop s1"), "s1");
        assert_eq!(cais.inspect("s1", "{{.State.Status}} {{.State.ExitCode}}"), "exited 143");
        assert_eq!(cais.ok("stop s1"), "s1", "stopping what has ended is no error");
    });
}

#[test]
fn a_program_that_does_not_obey_is_killed() {
    e2e(|cais| {
        // sleep as PID 1 has no handler, so the kernel drops its SIGTERM.
        cais.ok("run -d --name s1 busybox sleep 1000");
        let began = Instant::now();
        cais.ok("stop -t 1 s1");
        assert!(began.elapsed().as_millis() >= 900, "it was given its second");
        assert_eq!(cais.inspect("s1", "{{.State.ExitCode}}"), "137");
    });
}

#[test]
fn the_stop_signal_can_be_chosen() {
    e2e(|cais| {
        let script = "sh -c 'trap \"exit 21\" INT; echo up; while :; do sleep 0.1; done'";
        cais.cmd("run -d --name s1 --stop-signal SIGINT busybox").args(script).ok();
        cais.wait_for_log("s1", "up");
        cais.ok("stop s1");
        assert_eq!(cais.inspect("s1", "{{.State.ExitCode}}"), "21");
        cais.ok("run -d --name t1 --stop-timeout 0 busybox sleep 1000");
        cais.ok("stop t1");
        assert_eq!(cais.inspect("t1", "{{.State.ExitCode}}"), "137");
    });
}

#[test]
fn stop_of_many_goes_on_after_a_failure() {
    e2e(|cais| {
        cais.ok("run -d --name a1 --stop-timeout 0 busybox sleep 1000");
        cais.fails(1, "stop no-such-container a1").prints("a1").says("no-such-container");
        assert_eq!(cais.inspect("a1", "{{.State.Status}}"), "exited");
    });
}

#[test]
fn the_stop_signal_is_told_as_it_was_given() {
    e2e_empty(|cais| {
        let Some(busybox) = cais_test::rootfs::busybox() else {
            return cais_test::skip("busybox-static is missing");
        };
        let archive = cais.folder().join("image.tar");
        let image = busybox.set("StopSignal", serde_json::json!("SIGQUIT"));
        image.build().write_docker_archive(&archive, &["quits:latest"]).unwrap();
        cais.cmd("load -q -i").arg(&archive).ok();
        cais.ok("create --name a1 quits");
        cais.ok("create --name b1 --stop-signal 10 quits");
        assert_eq!(cais.inspect("a1", "{{.Config.StopSignal}}"), "SIGQUIT");
        assert_eq!(cais.inspect("b1", "{{.Config.StopSignal}}"), "10");
    });
}

#[test]
fn all_that_run_are_stopped_and_all_that_do_not_are_started() {
    e2e(|cais| {
        let ids: Vec<String> = (0..3).map(|_| cais.ok("run -d busybox sleep 1000")).collect();
        cais.ok(&format!("kill {}", ids[0]));
        let stopped = cais.ok("stop -a -t 0");
        assert_eq!(stopped.lines().collect::<Vec<_>>(), [&ids[2], &ids[1]], "newest first");
        assert_eq!(cais.ok("stop -a"), "");
        assert_eq!(cais.ok("start --all").lines().count(), 3);
        std::fs::write(cais.folder().join("id"), &ids[1]).unwrap();
        assert_eq!(cais.cmd("stop -t 0 --cidfile").arg(cais.folder().join("id")).ok(), ids[1]);
        assert_eq!(cais.ok("start --latest"), ids[2]);
        assert_eq!(cais.ok("kill -a").lines().count(), 2);
        cais.cmd("stop --ignore no-such-container").output().code(0);
        cais.fails(1, "stop -a x").one_clear_error();
    });
}
