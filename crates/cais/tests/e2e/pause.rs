//! `cais pause` and `cais unpause`, and what a paused container can do.

use cais_test::e2e;

/// Counts in its log, ten times a second.
const COUNTER: &str = "sh -c 'trap \"exit 7\" TERM; i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done'";

#[test]
fn a_paused_container_stands_still() {
    e2e(|cais| {
        cais.cmd("run -d --name p1 busybox").args(COUNTER).ok();
        cais.wait_for_log("p1", "2");
        assert_eq!(cais.ok("pause p1"), "p1");
        assert_eq!(
            cais.inspect("p1", "{{.State.Status}} {{.State.Paused}} {{.State.Running}}"),
            "paused true true"
        );
        assert!(cais.ok("ps --format {{.Status}}").ends_with(" (Paused)"));
        assert_eq!(cais.ok("ps -q -f status=paused").len(), 12);
        // What was written before the freeze may still be on its way into the log.
        let settled = cais.ok("top p1 pid state");
        assert!(settled.lines().count() >= 2, "{settled}");
        cais.fails(125, "exec p1 true")
            .one_clear_error()
            .says("is paused, unpause the container before exec");
        cais.fails(1, "pause p1").one_clear_error().says("already paused");
        let before = cais.ok("logs p1").lines().count();
        assert_eq!(cais.ok("unpause p1"), "p1");
        cais_test::wait_until("the counter goes on", || cais.ok("logs p1").lines().count() > before + 1);
        assert_eq!(cais.inspect("p1", "{{.State.Status}} {{.State.Paused}}"), "running false");
        cais.fails(1, "unpause p1").one_clear_error().says("not paused");
        assert_eq!(cais.ok("exec p1 echo again"), "again");
    });
}

#[test]
fn stop_lets_a_paused_one_hear_its_signal() {
    e2e(|cais| {
        cais.mark();
        cais.cmd("run -d --name s1 busybox").args(COUNTER).ok();
        cais.wait_for_log("s1", "2");
        cais.ok("pause s1");
        cais.ok("stop s1");
        assert_eq!(cais.inspect("s1", "{{.State.Status}} {{.State.ExitCode}}"), "exited 7");
        cais.ok("rm s1");
        cais.assert_nothing_left();
    });
}

#[test]
fn kill_and_rm_of_paused_ones() {
    e2e(|cais| {
        cais.mark();
        for name in ["k1", "k2", "k3", "r1"] {
            cais.cmd("run -d --name").arg(name).args("busybox").args(COUNTER).ok();
            cais.wait_for_log(name, "1");
        }
        cais.ok("pause k1 k2 k3 r1");
        cais.ok("kill k1");
        assert_eq!(cais.inspect("k1", "{{.State.Status}} {{.State.ExitCode}}"), "exited 137");
        // Without a stop signal of its own any signal wakes it, as in docker.
        cais.ok("kill -s TERM k2");
        assert_eq!(cais.ok("wait k2"), "7");
        cais.fails(1, "rm r1").one_clear_error().says("paused");
        assert_eq!(cais.ok("rm -f k1 k2 k3 r1"), "k1\nk2\nk3\nr1");
        cais.assert_nothing_left();
    });
}

#[test]
fn a_signal_that_is_not_the_stop_signal_does_not_wake() {
    e2e(|cais| {
        cais.ok("run -d --name k1 --stop-signal INT busybox sleep 1000");
        cais.ok("pause k1");
        cais.ok("kill -s USR1 k1");
        assert_eq!(cais.inspect("k1", "{{.State.Status}}"), "paused");
        cais.ok("kill -s INT k1");
        assert_eq!(cais.inspect("k1", "{{.State.Paused}}"), "false");
    });
}

#[test]
fn what_does_not_run_cannot_be_paused() {
    e2e(|cais| {
        cais.ok("create --name c1 busybox sleep 1000");
        cais.fails(1, "pause c1").one_clear_error().says("not running");
        cais.fails(1, "unpause c1").one_clear_error().says("not paused");
        cais.fails(1, "pause no-such-container").one_clear_error().says("no-such-container");
        cais.fails(1, "pause").one_clear_error().says("arguments are missing");
        cais.ok("start c1");
        cais.fails(1, "pause no-such-container c1").prints("c1");
        assert_eq!(cais.inspect("c1", "{{.State.Status}}"), "paused");
    });
}

#[test]
fn all_and_latest() {
    e2e(|cais| {
        let first = cais.ok("run -d --name a1 busybox sleep 1000");
        let second = cais.ok("run -d --name a2 --label x busybox sleep 1000");
        assert_eq!(cais.ok("pause --filter label=x"), second);
        assert_eq!(cais.ok("pause --all"), first, "the other one is paused already");
        assert_eq!(cais.ok("unpause -l"), second);
        assert_eq!(cais.ok("unpause -a"), first);
        assert_eq!(cais.ok("unpause -a"), "");
        cais.fails(1, "pause --all a1").one_clear_error().says("--all");
    });
}
