//! `--health-*`, HEALTHCHECK of images, `healthcheck run`.

use std::fs;

use cais_test::{Cais, e2e, e2e_empty, wait_until};
use serde_json::{Value, json};

fn wait_for_health(cais: &Cais, name: &str, status: &str) {
    wait_until(&format!("{name} is {status}"), || cais.inspect(name, "{{.State.Health.Status}}") == status);
}

fn health(cais: &Cais, name: &str) -> Value {
    serde_json::from_str(&cais.inspect(name, "{{json .State.Health}}")).unwrap()
}

#[test]
fn a_container_becomes_healthy_and_unhealthy() {
    e2e(|cais| {
        cais.mark();
        cais.ok(
            "run -d --name a1 --health-cmd 'echo looked; test -e /ok' --health-interval 20ms --health-retries 2 \
             busybox sleep 1000",
        );
        assert_eq!(
            cais.inspect("a1", "{{json .Config.Healthcheck.Test}}"),
            r#"["CMD-SHELL","echo looked; test -e /ok"]"#
        );
        wait_for_health(cais, "a1", "unhealthy");
        assert!(cais.ok("ps --format {{.Status}}").ends_with("(unhealthy)"));
        assert_eq!(cais.ok("ps -q --filter health=healthy"), "");
        let state = health(cais, "a1");
        assert!(state["FailingStreak"].as_u64().unwrap() >= 2);
        let last = &state["Log"].as_array().unwrap()[0];
        assert_eq!((&last["ExitCode"], &last["Output"]), (&json!(1), &json!("looked\n")));
        assert!(last["Start"].as_str().unwrap() < last["End"].as_str().unwrap());
        cais.ok("exec a1 touch /ok");
        wait_for_health(cais, "a1", "healthy");
        assert!(cais.ok("ps --format {{.Status}}").ends_with("(healthy)"));
        assert_eq!(cais.ok("ps --filter health=healthy --format {{.Names}}"), "a1");
        wait_until("the last probes are kept", || {
            let state = health(cais, "a1");
            state["FailingStreak"] == 0 && state["Log"].as_array().unwrap().len() == 5
        });
        cais.ok("rm -f a1");
        cais.assert_nothing_left();
    });
}

#[test]
fn a_thousand_probes_leave_two_lines_in_the_log() {
    e2e(|cais| {
        cais.mark();
        // Each probe shouts and leaves a mark; the container says something at its start and at its end.
        let marks = cais.folder().join("marks");
        fs::create_dir(&marks).unwrap();
        cais.cmd("run -d --name a1 --health-interval 1ms -v")
            .arg(format!("{}:/marks", marks.display()))
            .args("--health-cmd")
            .arg("echo probe; echo probe >&2; echo >> /marks/probes")
            .args("busybox sh -c 'echo begin; until [ -e /end ]; do sleep 0.05; done; echo end'")
            .ok();
        cais_test::process::wait_until_within(
            std::time::Duration::from_secs(240),
            "a thousand probes were made",
            || fs::metadata(marks.join("probes")).is_ok_and(|probes| probes.len() >= 1000),
        );
        assert_eq!(cais.inspect("a1", "{{.State.Health.Status}}"), "healthy");
        cais.ok("exec a1 touch /end");
        cais.ok("wait a1");
        assert_eq!(cais.ok("logs a1"), "begin\nend");
        let id = cais.inspect("a1", "{{.Id}}");
        let log = fs::read_to_string(cais.root().join("containers").join(id).join("log")).unwrap();
        assert_eq!(log.lines().count(), 2, "{log}");
        cais.ok("rm -f a1");
        cais.assert_nothing_left();
    });
}

#[test]
fn probes_never_pile_up_and_a_late_one_is_a_failure() {
    e2e(|cais| {
        cais.mark();
        cais.cmd(
            "run -d --name a1 --health-interval 1ms --health-timeout 300ms --health-retries 2 --health-cmd",
        )
        .arg("echo one >> /begun; exec sleep 1000")
        .args("busybox sleep 1000")
        .ok();
        wait_until("a probe is at work", || cais.cmd("exec a1 test -e /begun").output().status() == 0);
        for _ in 0..20 {
            let sleepers = cais.ok("exec a1 sh -c 'ps | grep -c \"[s]leep 1000\"'");
            // The container's own command, and a probe at most; one that is being killed counts as well.
            assert!(sleepers.parse::<u32>().unwrap() <= 2, "{sleepers}");
        }
        wait_for_health(cais, "a1", "unhealthy");
        let last = &health(cais, "a1")["Log"][0];
        assert_eq!(last["ExitCode"], -1);
        assert_eq!(last["Output"], "Health check exceeded timeout (0.3s)");
        cais.ok("rm -f a1");
        cais.assert_nothing_left();
    });
}

#[test]
fn the_start_period_forgives() {
    e2e(|cais| {
        cais.cmd("run -d --name a1 --health-start-period 1h --health-start-interval 5ms --health-interval 1h --health-retries 1 --health-cmd")
            .arg("echo >> /probes; test -e /ok")
            .args("busybox sleep 1000")
            .ok();
        wait_until("some probes have failed", || {
            health(cais, "a1")["Log"].as_array().is_some_and(|log| log.len() == 5)
        });
        assert_eq!(health(cais, "a1")["Status"], "starting");
        assert!(cais.ok("ps --format {{.Status}}").ends_with("(health: starting)"));
        cais.ok("exec a1 touch /ok");
        wait_for_health(cais, "a1", "healthy");
    });
}

#[test]
fn an_unhealthy_container_is_killed_stopped_or_restarted() {
    e2e(|cais| {
        cais.mark();
        let run = |name: &str, action: &str, more: &str| {
            cais.cmd(&format!("run -d --name {name} {more} --health-on-failure {action} --health-retries 1 --health-interval 20ms --stop-timeout 0 --health-cmd"))
                .arg("test ! -e /sick")
                .args("busybox sh -c 'echo run; [ -e /once ] || touch /once /sick; sleep 1000'")
                .ok();
        };
        run("k1", "kill", "");
        cais.wait_for_state("k1", "exited");
        assert_eq!(cais.inspect("k1", "{{.State.ExitCode}}"), "137");
        run("s1", "stop", "--restart always");
        cais.wait_for_state("s1", "exited");
        assert_eq!(cais.inspect("s1", "{{.RestartCount}}"), "0", "who is stopped stays down");
        run("r1", "restart", "");
        wait_until("r1 was restarted", || cais.inspect("r1", "{{.RestartCount}}") != "0");
        cais.wait_for_state("r1", "running");
        cais.ok("stop r1");
        assert_eq!(cais.inspect("r1", "{{.State.Status}}"), "exited");
        run("p1", "kill", "--restart always");
        wait_until("p1 was restarted", || cais.inspect("p1", "{{.RestartCount}}") != "0");
        cais.ok("rm -f k1 s1 r1 p1");
        cais.assert_nothing_left();
    });
}

#[test]
fn a_paused_or_ended_container_is_not_probed() {
    e2e(|cais| {
        cais.ok("run -d --name a1 --health-cmd true --health-interval 10ms busybox sleep 1000");
        wait_for_health(cais, "a1", "healthy");
        cais.ok("stop -t 0 a1");
        let before = health(cais, "a1");
        assert_eq!(before["Status"], "healthy", "a probe that dies with its container says nothing");
        assert!(!cais.ok("ps -a --format {{.Status}}").contains("healthy"));
        cais.fails(125, "healthcheck run a1").says("is not running");
        assert_eq!(health(cais, "a1"), before);
        cais.ok("start a1");
        wait_for_health(cais, "a1", "healthy");
    });
}

#[test]
fn an_image_brings_its_own_check() {
    e2e_empty(|cais| {
        let Some(busybox) = cais_test::rootfs::busybox() else {
            return cais_test::skip("busybox-static is missing");
        };
        let archive = cais.folder().join("image.tar");
        let check = json!({"Test": ["CMD", "test", "-e", "/etc"], "Interval": 20_000_000, "Retries": 7});
        let shell = busybox.clone().set("Shell", json!(["/bin/sh", "-exc"])).build();
        busybox.set("Healthcheck", check).build().write_docker_archive(&archive, &["probed:latest"]).unwrap();
        cais.cmd("load -q -i").arg(&archive).ok();
        cais.ok("run -d --name a1 probed sleep 1000");
        wait_for_health(cais, "a1", "healthy");
        assert_eq!(cais.inspect("a1", "{{.Config.Healthcheck.Retries}}"), "7");
        cais.ok("run -d --name b1 --no-healthcheck probed sleep 1000");
        assert!(!cais.inspect("b1", "{{json .State}}").contains("Health"));
        cais.ok("run -d --name c1 --health-cmd 'exit 3' --health-retries 1 probed sleep 1000");
        wait_for_health(cais, "c1", "unhealthy");
        assert_eq!(health(cais, "c1")["Log"][0]["ExitCode"], 3);

        shell.write_docker_archive(&archive, &["shell:latest"]).unwrap();
        cais.cmd("load -q -i").arg(&archive).ok();
        cais.ok("run -d --name d1 --health-cmd 'echo a' --health-interval 1h shell sleep 1000");
        assert_eq!(cais.inspect("d1", "{{json .Config.Shell}}"), r#"["/bin/sh","-exc"]"#);
        cais.ok("healthcheck run d1");
        let output = health(cais, "d1")["Log"][0]["Output"].to_string();
        assert!(output.contains("+ echo a"), "{output}");
    });
}

#[test]
fn a_probe_by_hand() {
    e2e(|cais| {
        cais.ok("run -d --name a1 --health-cmd 'test -e /ok' --health-interval 1h --health-retries 1 busybox sleep 1000");
        assert_eq!(health(cais, "a1")["Status"], "starting");
        cais.fails(1, "healthcheck run a1").prints("unhealthy");
        assert_eq!(health(cais, "a1")["Status"], "unhealthy");
        cais.ok("exec a1 touch /ok");
        assert_eq!(cais.ok("healthcheck run a1"), "");
        assert_eq!(health(cais, "a1")["Status"], "healthy");
        cais.ok("run -d --name b1 busybox sleep 1000");
        cais.fails(125, "healthcheck run b1").says("no health check");
        cais.ok(
            "run -d --name c1 --health-cmd '[\"no-such-program\"]' --health-interval 1h busybox sleep 1000",
        );
        cais.fails(1, "healthcheck run c1");
        assert_eq!(health(cais, "c1")["Log"][0]["ExitCode"], 127);
    });
}

#[test]
fn a_check_is_changed_while_the_container_runs() {
    e2e(|cais| {
        cais.mark();
        cais.ok("run -d --name a1 --health-cmd 'test -e /ok' --health-interval 1h busybox sleep 1000");
        cais.ok("update --health-interval 20ms --health-retries 1 --health-max-log-count 2 a1");
        assert_eq!(cais.ok("wait --condition unhealthy a1"), "-1");
        wait_until("two probes are kept", || {
            health(cais, "a1")["Log"].as_array().is_some_and(|log| log.len() == 2)
        });
        cais.ok("update --health-cmd 'echo 123456; true' --health-max-log-size 3 a1");
        cais.ok("wait --condition healthy,removed a1");
        wait_until("less is kept", || health(cais, "a1")["Log"][1]["Output"] == "123");
        let config = cais.inspect("a1", "{{json .Config.Healthcheck}}");
        assert_eq!(config, r#"{"Test":["CMD-SHELL","echo 123456; true"],"Interval":20000000,"Retries":1}"#);
        cais.ok("update --no-healthcheck a1");
        assert!(!cais.inspect("a1", "{{json .State}}").contains("Health"));
        cais.fails(1, "wait --condition healthy a1").one_clear_error().says("no health check");

        // One that never had a check gets one.
        cais.ok("run -d --name b1 busybox sleep 1000");
        cais.ok("update --health-cmd true --health-interval 20ms --health-on-failure kill b1");
        wait_for_health(cais, "b1", "healthy");
        cais.ok("update --health-cmd false --health-retries 1 b1");
        cais.wait_for_state("b1", "exited");
        cais.fails(1, "wait --condition healthy b1").one_clear_error().says("has ended");
        cais.fails(1, "update --no-healthcheck --health-cmd true b1").one_clear_error();
        cais.ok("rm -f a1 b1");
        cais.assert_nothing_left();
    });
}

#[test]
fn a_check_at_the_start_comes_before_the_others() {
    e2e(|cais| {
        cais.mark();
        let logs = cais.folder().join("probes");
        fs::create_dir(&logs).unwrap();
        cais.cmd("run -d --name a1 --health-cmd 'echo regular; test -e /ok' --health-interval 20ms --health-retries 1")
            .args("--health-startup-cmd 'echo startup; test -e /up' --health-startup-interval 20ms")
            .args("--health-startup-success 2 --health-log-destination")
            .arg(&logs)
            .args("busybox sleep 1000")
            .ok();
        wait_until("it was looked at", || {
            health(cais, "a1")["Log"].as_array().is_some_and(|log| log.len() == 5)
        });
        assert_eq!(health(cais, "a1")["Status"], "starting");
        assert_eq!(health(cais, "a1")["Log"][4]["Output"], "startup\n");
        cais.ok("exec a1 touch /up");
        wait_for_health(cais, "a1", "unhealthy");
        assert_eq!(health(cais, "a1")["Log"][4]["Output"], "regular\n");
        let file = logs.join(format!("{}-healthcheck.log", cais.inspect("a1", "{{.Id}}")));
        let written: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        assert_eq!(written["Status"], "unhealthy");

        cais.cmd(
            "run -d --name r1 --health-cmd true --health-startup-cmd false --health-startup-interval 20ms",
        )
        .args("--health-startup-retries 2 --stop-timeout 0 busybox sleep 1000")
        .ok();
        wait_until("r1 was started anew", || cais.inspect("r1", "{{.RestartCount}}") != "0");
        cais.fails(125, "run --health-startup-cmd true busybox true")
            .one_clear_error()
            .says("--health-startup-cmd");
        cais.ok("rm -f a1 r1");
        cais.assert_nothing_left();
    });
}
