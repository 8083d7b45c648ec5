//! `kill`.

use cais_test::isolation::isolated;
use cais_test::skip;
use serde_json::json;

use crate::bed::Bed;

#[test]
fn signals_by_name_and_number() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let script = "for s in HUP USR1 USR2 TERM; do trap \"echo $s >>/tmp/got\" $s; done; echo >/tmp/got; \
                      while :; do sleep 0.01; done";
        bed.bundle("c1", &["sh", "-c", script]);
        bed.run_detached("c1");
        let path = bed.folder().join("rootfs/tmp/got");
        let got = || std::fs::read_to_string(&path).unwrap_or_default();
        cais_test::wait_until("traps are set", || got().contains('\n'));
        for (line, name) in
            [("kill c1 1", "HUP"), ("kill c1 SIGUSR1", "USR1"), ("kill c1 usr2", "USR2"), ("kill c1", "TERM")]
        {
            bed.ok(line);
            cais_test::wait_until(line, || got().lines().next_back() == Some(name));
        }
        bed.ok("kill c1 0");
        bed.refuses("kill c1 NOPE", "unknown signal");
        bed.refuses("kill c2 TERM", "container does not exist");
        bed.refuses("kill", "kill");
        bed.ok("kill c1 9");
        bed.wait_for("c1", "stopped");
        bed.refuses("kill c1 TERM", "container not running");
    });
}

#[test]
fn a_created_container_can_be_killed() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        bed.bundle("c1", &["true"]);
        bed.create("c1");
        bed.ok("kill c1 KILL");
        bed.wait_for("c1", "stopped");
        bed.ok("delete c1");
        bed.assert_gone("c1");
    });
}

#[test]
fn all_processes_of_a_container_without_a_pid_namespace() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        bed.bundle("c1", &["sh", "-c", "sleep 1000 & sleep 1000 & wait"]).change(|config| {
            let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
            namespaces.retain(|namespace| namespace["type"] != "pid");
        });
        bed.run_detached("c1");
        let pids = || serde_json::from_str::<Vec<i32>>(&bed.ok("ps --format json c1")).unwrap();
        cais_test::wait_until("three processes", || pids().len() == 3);
        bed.ok("kill --all c1 KILL");
        bed.wait_for("c1", "stopped");
        cais_test::wait_until("no process", || {
            std::fs::read_to_string(bed.group("memory", "c1").join("cgroup.procs"))
                .unwrap_or_default()
                .is_empty()
        });
        // What shims say when they clean up.
        bed.cmd("kill --all c1 KILL").output();
        bed.ok("delete c1");
        bed.assert_gone("c1");
    });
}

#[test]
fn several_by_a_regular_expression() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        if !bed.is_ours() {
            skip("runc has no --regex");
            return;
        }
        for id in ["a1", "a2", "b1"] {
            bed.sleeper(id);
        }
        bed.ok("kill --regex ^a KILL");
        bed.wait_for("a1", "stopped");
        bed.wait_for("a2", "stopped");
        assert_eq!(bed.status("b1"), "running");
        bed.ok("delete -r ^a");
        assert_eq!(bed.ok("list -q"), "b1");
        bed.ok("delete --regex --force .");
        assert_eq!(bed.ok("list --format json"), json!([]).to_string());
        bed.refuses("kill --regex ( KILL", "regular expression");
    });
}
