//! `--restart`: containers that run again, the pauses between their runs, and what ends them.

use std::fs;

use cais_test::{Cais, e2e, wait_until};
use rustix::process::{Pid, Signal, kill_process};

/// Waits until it has been restarted at least so many times.
fn wait_for_restarts(cais: &Cais, name: &str, count: u32) {
    wait_until(&format!("{name} was restarted {count} times"), || {
        cais.inspect(name, "{{.RestartCount}}").parse::<u32>().unwrap() >= count
    });
}

/// Waits for a pause long enough to do something in it.
fn wait_for_pause(cais: &Cais, name: &str) {
    wait_for_restarts(cais, name, 5);
    cais.wait_for_state(name, "restarting");
}

/// The monitor, as the run directory names it.
fn monitor_of(cais: &Cais, name: &str) -> u32 {
    let path = cais.run_root().join("containers").join(cais.inspect(name, "{{.Id}}")).join("facts.json");
    let mut pid = 0;
    // Not known while it is being started.
    wait_until("the monitor is known", || {
        let facts: serde_json::Value =
            fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        pid = facts["shim_pid"].as_u64().unwrap_or_default();
        pid != 0
    });
    pid.try_into().unwrap()
}

fn runs(cais: &Cais, name: &str) -> usize {
    cais.ok(&format!("logs {name}")).lines().filter(|line| *line == "run").count()
}

#[test]
fn a_failing_command_is_tried_again_so_many_times() {
    e2e(|cais| {
        cais.mark();
        cais.ok("run -d --name a1 --restart on-failure:3 -p 8080:80 busybox sh -c 'echo run; exit 7'");
        wait_until("the policy has given up", || {
            cais.inspect("a1", "{{.State.Status}} {{.RestartCount}}") == "exited 3"
        });
        assert_eq!(runs(cais, "a1"), 4);
        assert_eq!(cais.inspect("a1", "{{.State.ExitCode}}"), "7");
        assert_eq!(
            cais.inspect(
                "a1",
                "{{.HostConfig.RestartPolicy.Name}}:{{.HostConfig.RestartPolicy.MaximumRetryCount}}"
            ),
            "on-failure:3"
        );
        cais.ok("run -d --name b1 --restart on-failure busybox sh -c 'echo run; exit 0'");
        cais.ok("wait b1");
        cais.wait_for_state("b1", "exited");
        assert_eq!((runs(cais, "b1"), cais.inspect("b1", "{{.RestartCount}}").as_str()), (1, "0"));
        cais.ok("rm a1 b1");
        cais.assert_nothing_left();
    });
}

#[test]
fn always_means_always_until_it_is_stopped() {
    e2e(|cais| {
        cais.mark();
        cais.ok("run -d --name a1 --restart always busybox sh -c 'echo run; sleep 0.02'");
        wait_for_restarts(cais, "a1", 2);
        cais.ok("stop a1");
        assert_eq!(cais.inspect("a1", "{{.State.Status}}"), "exited");
        let (count, before) = (cais.inspect("a1", "{{.RestartCount}}"), runs(cais, "a1"));
        cais.ok("system check");
        assert_eq!((cais.inspect("a1", "{{.RestartCount}}"), runs(cais, "a1")), (count, before));
        // A start by hand begins anew.
        cais.ok("start a1");
        assert!(cais.inspect("a1", "{{.RestartCount}}").parse::<u32>().unwrap() < 2);
        wait_for_restarts(cais, "a1", 1);
        cais.ok("rm -f a1");
        cais.assert_nothing_left();
    });
}

#[test]
fn a_pause_is_shown_and_can_be_ended() {
    e2e(|cais| {
        cais.mark();
        let run = |name: &str| {
            cais.ok(&format!("run -d --name {name} --restart always -p 80 busybox sh -c 'exit 3'"));
            wait_for_pause(cais, name);
        };
        run("a1");
        assert_eq!(
            cais.inspect("a1", "{{.State.Restarting}} {{.State.Running}} {{.State.Pid}} {{.State.ExitCode}}"),
            "true true 0 3"
        );
        assert!(cais.ok("ps --format {{.Status}}").starts_with("Restarting (3) "));
        assert_eq!(cais.ok("ps --filter status=restarting --format {{.Names}}"), "a1");
        cais.fails(1, "rm a1").says("restarting");
        cais.fails(125, "exec a1 true").says("restarting");
        assert_eq!(cais.ok("start a1"), "a1", "it is up already, in Docker's eyes");
        cais.ok("stop a1");
        assert_eq!(cais.inspect("a1", "{{.State.Status}} {{.State.ExitCode}}"), "exited 3");
        run("b1");
        cais.ok("kill b1");
        assert_eq!(cais.inspect("b1", "{{.State.Status}}"), "exited");
        run("c1");
        cais.ok("rm -f c1");
        assert_eq!(cais.ok("ps -aq --filter name=c1"), "");
        cais.ok("rm a1 b1");
        cais.assert_nothing_left();
    });
}

#[test]
fn the_monitor_is_killed_in_a_pause() {
    e2e(|cais| {
        cais.mark();
        cais.ok("run -d --name a1 --restart always -p 8080:80 busybox sh -c 'echo run; exit 3'");
        wait_for_pause(cais, "a1");
        let monitor = monitor_of(cais, "a1");
        assert_eq!(cais.inspect("a1", "{{.State.Status}}"), "restarting", "it is still the same pause");
        kill_process(Pid::from_raw(monitor.cast_signed()).unwrap(), Signal::KILL).unwrap();
        // Nobody is left who could run it again, and everything says so.
        cais.wait_for_state("a1", "exited");
        assert_eq!(cais.inspect("a1", "{{.State.ExitCode}} {{.State.Restarting}}"), "3 false");
        assert_eq!(cais.ok("ps -q"), "");
        let found = cais.fails(1, "system check").stdout_text();
        assert!(found.contains("killed while it waited to run again"), "{found}");
        // It is brought back by a repair, by hand, or goes.
        let before = runs(cais, "a1");
        cais.ok("system check --repair");
        wait_until("it runs again", || runs(cais, "a1") > before);
        wait_for_pause(cais, "a1");
        kill_process(Pid::from_raw(monitor_of(cais, "a1").cast_signed()).unwrap(), Signal::KILL).unwrap();
        cais.wait_for_state("a1", "exited");
        let before = runs(cais, "a1");
        cais.ok("start a1");
        wait_until("it runs again", || runs(cais, "a1") > before);
        cais.ok("rm -f a1");
        cais.ok("system check");
        cais.assert_nothing_left();
    });
}

#[test]
fn the_monitor_is_killed_at_any_point_of_a_loop() {
    e2e(|cais| {
        cais.mark();
        for delay_ms in (0..240).step_by(8) {
            cais.ok("run -d --name a1 --restart always -p 8080:80 busybox true");
            let monitor = monitor_of(cais, "a1");
            std::thread::sleep(std::time::Duration::from_millis(delay_ms));
            // It may have made way for the program that it calls.
            let _ = kill_process(Pid::from_raw(monitor.cast_signed()).unwrap(), Signal::KILL);
            let state = cais.inspect("a1", "{{.State.Status}}");
            assert!(
                ["created", "running", "exited", "dead", "restarting"].contains(&state.as_str()),
                "after {delay_ms} ms: {state}"
            );
            cais.ok("rm -f a1");
            cais.ok("system check --repair");
            cais.ok("system check");
        }
        cais.assert_nothing_left();
    });
}

#[test]
fn who_was_stopped_stays_down_and_who_was_killed_by_another_comes_back() {
    e2e(|cais| {
        cais.ok("run -d --name a1 --restart unless-stopped busybox sleep 1000");
        let pid: i32 = cais.inspect("a1", "{{.State.Pid}}").parse().unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
        wait_for_restarts(cais, "a1", 1);
        cais.wait_for_state("a1", "running");
        assert_ne!(cais.inspect("a1", "{{.State.Pid}}"), pid.to_string());
        cais.ok("kill a1");
        cais.wait_for_state("a1", "exited");
        assert_eq!(cais.inspect("a1", "{{.RestartCount}}"), "1");
    });
}

#[test]
fn any_signal_by_hand_ends_a_policy_unless_there_is_a_stop_signal() {
    e2e(|cais| {
        let script = "trap : HUP; while ! test -e /tmp/end; do sleep 0.1; done; rm /tmp/end; exit 3";
        for (name, flags) in [
            ("plain", "--restart always"),
            ("named", "--restart always --stop-signal TERM"),
            ("unless", "--restart unless-stopped --stop-signal TERM"),
        ] {
            cais.cmd(&format!("run -d --name {name} {flags} busybox sh -c")).arg(script).ok();
            cais.ok(&format!("kill -s HUP {name}"));
            cais.ok(&format!("exec {name} touch /tmp/end"));
        }
        cais.wait_for_state("plain", "exited");
        cais.wait_for_state("unless", "exited");
        wait_for_restarts(cais, "named", 1);
        for (name, count) in [("plain", "0"), ("unless", "0"), ("named", "1")] {
            assert_eq!(cais.inspect(name, "{{.RestartCount}}"), count, "{name}");
        }
    });
}

#[test]
fn an_attached_run_ends_with_its_first_run() {
    e2e(|cais| {
        cais.mark();
        cais.fails(5, "run --name a1 --restart on-failure:1 busybox sh -c 'echo run; exit 5'").prints("run");
        wait_until("the policy has given up", || {
            cais.inspect("a1", "{{.State.Status}} {{.RestartCount}}") == "exited 1"
        });
        assert_eq!(runs(cais, "a1"), 2);
        cais.ok("rm a1");
        cais.assert_nothing_left();
    });
}

#[test]
fn a_start_that_fails_is_not_repeated() {
    e2e(|cais| {
        cais.mark();
        cais.fails(127, "run -d --name a1 --restart always busybox no-such-command");
        assert_eq!(cais.inspect("a1", "{{.State.Status}} {{.RestartCount}}"), "created 0");
        cais.ok("rm a1");
        cais.assert_nothing_left();
    });
}

#[test]
fn policies_that_make_no_sense_are_refused() {
    e2e(|cais| {
        cais.fails(125, "run --rm --restart always busybox true")
            .says("cannot specify both --restart and --rm");
        cais.fails(125, "run --restart sometimes busybox true").says("unknown policy");
        cais.fails(125, "run --restart always:2 busybox true").says("can only be used with \"on-failure\"");
        cais.ok("run --rm --restart no busybox true");
    });
}
