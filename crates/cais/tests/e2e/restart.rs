//! `cais restart`.

use cais_test::e2e;

#[test]
fn restart_stops_and_starts() {
    e2e(|cais| {
        cais.mark();
        let script = "sh -c 'trap \"echo bye; exit 3\" TERM; echo up; while :; do sleep 0.1; done'";
        cais.cmd("run -d --name r1 -p 8080:80 busybox").args(script).ok();
        cais.wait_for_log("r1", "up");
        let (pid, started) =
            (cais.inspect("r1", "{{.State.Pid}}"), cais.inspect("r1", "{{.State.StartedAt}}"));
        assert_eq!(cais.ok("restart r1"), "r1");
        assert_eq!(cais.inspect("r1", "{{.State.Status}}"), "running");
        assert_ne!(cais.inspect("r1", "{{.State.Pid}}"), pid);
        assert_ne!(cais.inspect("r1", "{{.State.StartedAt}}"), started);
        cais_test::wait_until("both runs are in the log", || cais.ok("logs r1") == "up\nbye\nup");
        cais.ok("rm -f r1");
        cais.assert_nothing_left();
    });
}

#[test]
fn what_does_not_run_is_started() {
    e2e(|cais| {
        cais.ok("create --name c1 busybox sleep 1000");
        assert_eq!(cais.ok("restart -t 0 c1"), "c1");
        assert_eq!(cais.inspect("c1", "{{.State.Status}}"), "running");
        cais.ok("pause c1");
        cais.ok("restart --time 0 c1");
        assert_eq!(cais.inspect("c1", "{{.State.Status}}"), "running");
        cais.fails(1, "restart no-such-container c1 -t 0").prints("c1").says("no-such-container");
        cais.fails(1, "restart").one_clear_error();
    });
}

#[test]
fn the_signal_can_be_chosen() {
    e2e(|cais| {
        let script = "sh -c 'trap \"echo int; exit\" INT; echo up; while :; do sleep 0.1; done'";
        cais.cmd("run -d --name r1 busybox").args(script).ok();
        cais.wait_for_log("r1", "up");
        cais.ok("restart -s INT r1");
        cais.wait_for_log("r1", "int");
    });
}

#[test]
fn one_that_removes_itself_survives_a_restart() {
    e2e(|cais| {
        cais.mark();
        cais.ok("run -d --rm --name r1 busybox sleep 1000");
        cais.ok("restart -t 0 r1");
        assert_eq!(cais.inspect("r1", "{{.State.Status}} {{.HostConfig.AutoRemove}}"), "running true");
        // With somebody attached, who cleans up as well.
        let attached = cais.cmd("run --rm --name r2 busybox sleep 1000").spawn();
        cais.wait_for_state("r2", "running");
        cais.ok("restart -t 0 r2");
        attached.wait().code(137);
        assert_eq!(cais.inspect("r2", "{{.State.Status}}"), "running");
        cais.ok("stop -t 0 r1 r2");
        cais_test::wait_until("both are removed", || cais.ok("ps -aq").is_empty());
        cais.assert_nothing_left();
    });
}

#[test]
fn all_or_only_running_ones() {
    e2e(|cais| {
        cais.ok("create --name c1 busybox sleep 1000");
        let up = cais.ok("run -d --name r1 busybox sleep 1000");
        assert_eq!(cais.ok("restart --running -t 0"), up);
        assert_eq!(cais.inspect("c1", "{{.State.Status}}"), "created");
        assert_eq!(cais.ok("restart --all -t 0").lines().count(), 2);
        assert_eq!(cais.inspect("c1", "{{.State.Status}}"), "running");
    });
}
