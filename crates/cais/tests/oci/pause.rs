//! `pause` and `resume`.

use cais_test::isolation::isolated;

use crate::bed::Bed;

#[test]
fn nothing_runs_while_paused() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        bed.bundle(
            "c1",
            &["sh", "-c", "trap 'echo woke; exit' TERM; echo >/tmp/up; while :; do sleep 0.01; done"],
        );
        bed.run_detached("c1");
        cais_test::wait_until("it is up", || bed.folder().join("rootfs/tmp/up").exists());
        bed.ok("pause c1");
        assert_eq!(bed.status("c1"), "paused");
        bed.ok("kill c1 TERM");
        assert_eq!(bed.status("c1"), "paused");
        assert_eq!(bed.output(), "");
        bed.refuses("delete c1", "cannot delete container c1 that is not stopped: paused");
        bed.ok("resume c1");
        bed.wait_for("c1", "stopped");
        assert_eq!(bed.output(), "woke\n");
    });
}

#[test]
fn what_is_refused() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        bed.refuses("pause c1", "container does not exist");
        bed.refuses("resume c1", "container does not exist");
        bed.sleeper("c1");
        bed.refuses("resume c1", "not paused");
        bed.ok("kill c1 KILL");
        bed.wait_for("c1", "stopped");
        bed.refuses("pause c1", "not running");
    });
}
