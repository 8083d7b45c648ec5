//! `cais wait`.

use cais_test::e2e;

#[test]
fn wait_prints_the_status_of_each() {
    e2e(|cais| {
        cais.ok("run -d --name a1 busybox sh -c 'sleep 0.3; exit 4'");
        cais.ok("run -d --name b1 busybox sh -c 'exit 5'");
        assert_eq!(cais.ok("wait a1 b1"), "4\n5");
        assert_eq!(cais.ok("wait a1"), "4", "an ended one answers at once");
        cais.fails(1, "wait no-such-container").one_clear_error().says("no-such-container");
    });
}

#[test]
fn a_killed_container_is_waited_for() {
    e2e(|cais| {
        cais.ok("run -d --name a1 busybox sleep 1000");
        let waiter = cais.cmd("wait a1").spawn();
        cais.ok("kill a1");
        waiter.wait().code(0).prints("137");
    });
}
