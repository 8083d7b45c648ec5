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

#[test]
fn other_states_can_be_waited_for() {
    e2e(|cais| {
        cais.ok("create --name a1 busybox sh -c 'sleep 0.3; exit 6'");
        let running = cais.cmd("wait --condition running --interval 10ms a1").spawn();
        let next = cais.cmd("wait --condition=next-exit -i 10 a1").spawn();
        let removed = cais.cmd("wait --condition removed a1").spawn();
        assert_eq!(cais.ok("wait --condition created a1"), "-1", "podman's code of what is no end");
        // Each of them has to have looked before it starts.
        for waiter in [&running, &next, &removed] {
            cais_test::wait_until("the waiter sleeps", || {
                let stat =
                    std::fs::read_to_string(format!("/proc/{}/syscall", waiter.pid())).unwrap_or_default();
                stat.starts_with(&format!("{} ", if cfg!(target_arch = "x86_64") { 230 } else { 115 }))
            });
        }
        cais.ok("start a1");
        running.wait().code(0).prints("-1");
        next.wait().code(0).prints("6");
        assert_eq!(cais.ok("wait --condition stopped,paused a1"), "6");
        cais.ok("rm a1");
        removed.wait().code(0).prints("6");
        cais.fails(1, "wait --condition happy a1").one_clear_error().says("happy");
        assert_eq!(cais.ok("wait --ignore a1"), "-1");
    });
}
