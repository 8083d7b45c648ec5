//! `cais kill`.

use cais_test::e2e;

#[test]
fn kill_sends_sigkill_or_what_was_asked() {
    e2e(|cais| {
        cais.ok("run -d --name k1 busybox sleep 1000");
        assert_eq!(cais.ok("kill k1"), "k1");
        cais.wait_for_state("k1", "exited");
        assert_eq!(cais.inspect("k1", "{{.State.ExitCode}}"), "137");
        let script =
            "sh -c 'trap \"echo hup\" HUP; trap \"exit 5\" USR2; echo up; while :; do sleep 0.1; done'";
        cais.cmd("run -d --name l1 busybox").args(script).ok();
        cais.wait_for_log("l1", "up");
        cais.ok("kill -s HUP l1");
        cais.wait_for_log("l1", "hup");
        cais.ok("kill --signal 12 l1");
        cais.wait_for_state("l1", "exited");
        assert_eq!(cais.inspect("l1", "{{.State.ExitCode}}"), "5");
    });
}

#[test]
fn what_does_not_run_cannot_be_killed() {
    e2e(|cais| {
        cais.ok("create --name c1 busybox");
        cais.fails(1, "kill c1").one_clear_error().says("not running");
        cais.fails(1, "kill no-such-container").one_clear_error();
        cais.ok("run -d --name r1 busybox sleep 1000");
        cais.fails(1, "kill -s NO_SUCH_SIGNAL r1").one_clear_error().says("NO_SUCH_SIGNAL");
    });
}
