//! Limits by cgroup: memory, CPU, processes. Works on version 1, hybrid and version 2.

use cais_test::{Cais, e2e, has_controller};

/// The value of the first file that exists, of version 1 and of version 2.
fn value(cais: &Cais, flags: &str, version_1: &str, version_2: &str) -> String {
    let script = format!("cat /sys/fs/cgroup/{version_1} 2>/dev/null || cat /sys/fs/cgroup/{version_2}");
    cais.cmd("run --rm").args(flags).args("busybox sh -c").arg(script).ok()
}

#[test]
fn the_memory_limit_is_visible() {
    e2e(|cais| {
        if has_controller("memory") {
            assert_eq!(
                value(cais, "-m 64m", "memory/memory.limit_in_bytes", "memory.max"),
                (64 << 20).to_string()
            );
            assert_eq!(
                value(
                    cais,
                    "-m 64m --memory-reservation 32m",
                    "memory/memory.soft_limit_in_bytes",
                    "memory.low"
                ),
                (32 << 20).to_string()
            );
            cais.fails(125, "run --rm -m 64m --memory-swap 32m busybox true").one_clear_error();
            cais.fails(125, "run --rm -m 1k busybox true").one_clear_error();
        }
    });
}

#[test]
fn too_much_memory_is_137_and_told() {
    e2e(|cais| {
        if has_controller("memory") {
            let flags = "run --name oom -m 32m --memory-swap 32m busybox";
            cais.fails(137, &format!("{flags} dd if=/dev/zero of=/dev/null bs=200M count=1"));
            assert_eq!(cais.inspect("oom", "{{.State.OOMKilled}} {{.State.ExitCode}}"), "true 137");
            let oom = cais.inspect("oom", "{{.State.OOM.Victim}} {{.State.OOM.LimitBytes}}");
            let status = cais.ok("ps -a --filter name=^oom --format {{.Status}}");
            let line = "events --stream=false --filter event=oom --format";
            let event = cais.cmd(line).arg("{{.Name}} {{.Actor.Attributes.limit}}").ok();
            assert_eq!(event, "oom 33554432");
            // Only the kernel's log knows the victim, and not every machine lets it be read.
            if std::fs::File::open("/dev/kmsg").is_ok() {
                assert_eq!(oom, "dd 33554432");
                assert!(status.ends_with(" (OOM killed dd at 32MiB)"), "{status}");
            } else {
                assert!(status.ends_with(" (OOM at 32MiB)"), "{status}");
            }
            cais.fails(137, "run --name no-oom --init busybox sh -c 'kill -9 $$'");
            assert_eq!(cais.inspect("no-oom", "{{.State.OOMKilled}}"), "false");
            assert!(!cais.ok("ps -a --filter name=no-oom --format {{.Status}}").contains("OOM"));
        }
    });
}

#[test]
fn a_kill_for_memory_is_told_while_the_container_runs() {
    e2e(|cais| {
        if !has_controller("memory") {
            return;
        }
        let eat = "dd if=/dev/zero of=/dev/null bs=200M count=1";
        cais.cmd("run -d --name o1 -m 32m --memory-swap 32m busybox sh -c")
            .arg(format!("{eat}; echo survived; sleep 1000"))
            .ok();
        let kills =
            || cais.ok("events --stream=false --filter event=oom --filter container=o1").lines().count();
        cais_test::wait_until("the kill is told", || kills() == 1);
        assert_eq!(cais.inspect("o1", "{{.State.Status}}"), "running");
        cais.fails(137, &format!("exec o1 {eat}"));
        cais_test::wait_until("the second is told", || kills() == 2);
        cais.ok("stop -t 0 o1");
        assert_eq!(cais.inspect("o1", "{{.State.OOMKilled}} {{.State.OOM.Kills}}"), "true 2");
        let actions = cais.ok("events --stream=false --filter container=o1 --format {{.Action}}");
        assert_eq!(actions.lines().filter(|action| *action == "oom").count(), 2, "{actions}");
        assert!(actions.find("oom") < actions.find("die"), "{actions}");
        // The same again, and the last victim is the container itself.
        cais.ok("start o1");
        cais_test::wait_until("that of the next run, too", || kills() == 3);
        cais.ok("rm -f o1");
        cais.fails(137, &format!("run --name o2 -m 32m --memory-swap 32m busybox {eat}"));
        let events = cais.ok("events --stream=false --filter event=oom --filter container=o2");
        assert_eq!(events.lines().count(), 1, "{events}");
    });
}

#[test]
fn processes_are_limited() {
    e2e(|cais| {
        if has_controller("pids") {
            assert_eq!(value(cais, "--pids-limit 9", "pids/pids.max", "pids.max"), "9");
            let script = "for i in 1 2 3 4 5 6 7 8 9; do sleep 100 & done; true";
            let finished = cais.cmd("run --rm --pids-limit 5 busybox sh -c").arg(script).output();
            assert!(finished.stderr_text().contains("can't fork"), "{finished}");
        }
    });
}

#[test]
fn cpu_quota_shares_and_set() {
    e2e(|cais| {
        if has_controller("cpu") {
            let quota = value(cais, "--cpus 0.5", "cpu/cpu.cfs_quota_us", "cpu.max");
            assert!(quota == "50000" || quota == "50000 100000", "{quota}");
            let quota =
                value(cais, "--cpu-quota 20000 --cpu-period 50000", "cpu/cpu.cfs_quota_us", "cpu.max");
            assert!(quota == "20000" || quota == "20000 50000", "{quota}");
            let shares = value(cais, "--cpu-shares 512", "cpu/cpu.shares", "cpu.weight");
            assert!(shares == "512" || shares == "20" || shares == "59", "{shares}");
            cais.fails(125, "run --rm --cpus 100000 busybox true").one_clear_error();
        }
        if has_controller("cpuset") {
            let allowed =
                cais.ok("run --rm --cpuset-cpus 0 busybox grep Cpus_allowed_list /proc/self/status");
            assert_eq!(allowed.split_whitespace().last(), Some("0"));
            cais.fails(125, "run --rm --cpuset-cpus 4000 busybox true").one_clear_error();
        }
    });
}

#[test]
fn exec_counts_with_its_container() {
    e2e(|cais| {
        if has_controller("pids") {
            cais.ok("run -d --name e1 --pids-limit 20 busybox sleep 1000");
            let current = || {
                let script =
                    "cat /sys/fs/cgroup/pids/pids.current 2>/dev/null || cat /sys/fs/cgroup/pids.current";
                cais.cmd("exec e1 sh -c").arg(script).ok().parse::<u32>().unwrap()
            };
            assert!(current() >= 2, "init and exec'd shell");
        }
    });
}

#[test]
fn the_oom_score_can_be_raised() {
    e2e(|cais| {
        assert_eq!(cais.ok("run --rm --oom-score-adj 500 busybox cat /proc/self/oom_score_adj"), "500");
    });
}
