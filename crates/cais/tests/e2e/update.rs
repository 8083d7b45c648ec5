//! `cais update`.

use cais_test::{Cais, e2e, has_controller, wait_until};

/// The value of the first file that exists, of version 1 and of version 2.
fn value(cais: &Cais, name: &str, version_1: &str, version_2: &str) -> String {
    let script = format!("cat /sys/fs/cgroup/{version_1} 2>/dev/null || cat /sys/fs/cgroup/{version_2}");
    cais.cmd("exec").arg(name).args("sh -c").arg(script).ok()
}

#[test]
fn limits_reach_a_running_container() {
    e2e(|cais| {
        cais.ok("run -d --name u1 -m 64m busybox sleep 1000");
        if has_controller("memory") {
            let limit = || value(cais, "u1", "memory/memory.limit_in_bytes", "memory.max");
            assert_eq!(cais.ok("update -m 100m u1"), "u1");
            assert_eq!(limit(), (100 << 20).to_string());
            // The limit of memory and swap stayed at twice the first one.
            cais.fails(1, "update -m 200m u1").one_clear_error().says("--memory-swap");
            assert_eq!(limit(), (100 << 20).to_string());
            cais.ok("update -m 200m --memory-swap 300m u1");
            assert_eq!(limit(), (200 << 20).to_string());
            cais.ok("update -m 32m --memory-swap 32m u1");
            assert_eq!(limit(), (32 << 20).to_string());
            assert_eq!(
                cais.inspect("u1", "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}}"),
                format!("{0} {0}", 32 << 20)
            );
            cais.ok("update --memory-swap -1 --memory-reservation 16m u1");
        }
        if has_controller("pids") {
            cais.ok("update --pids-limit 9 u1");
            assert_eq!(value(cais, "u1", "pids/pids.max", "pids.max"), "9");
            cais.ok("update --pids-limit -1 u1");
            assert_eq!(value(cais, "u1", "pids/pids.max", "pids.max"), "max");
        }
        if has_controller("cpu") {
            cais.ok("update --cpus 0.5 -c 512 u1");
            let quota = value(cais, "u1", "cpu/cpu.cfs_quota_us", "cpu.max");
            assert!(quota == "50000" || quota == "50000 100000", "{quota}");
            assert_eq!(
                cais.inspect("u1", "{{.HostConfig.NanoCpus}} {{.HostConfig.CpuShares}}"),
                "500000000 512"
            );
            cais.fails(1, "update --cpu-quota 20000 u1").one_clear_error().says("--cpus");
            cais.fails(1, "update --cpus 100000 u1").one_clear_error();
        }
    });
}

#[test]
fn a_running_container_is_given_a_cpu_set() {
    e2e(|cais| {
        if has_controller("cpuset") {
            cais.mark();
            cais.ok("run -d --name u1 busybox sh -c 'sleep 1000 & wait'");
            cais.ok("update --cpuset-cpus 0 u1");
            let allowed = |pid: &str| {
                let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
                let line = status.lines().find(|line| line.starts_with("Cpus_allowed_list")).unwrap();
                line.split_whitespace().last().unwrap().to_owned()
            };
            let pids = cais.ok("top u1 -o pid");
            for pid in pids.lines().skip(1) {
                assert_eq!(allowed(pid.trim()), "0");
            }
            assert_eq!(pids.lines().count(), 3);
            let inside = cais.ok("exec u1 grep Cpus_allowed_list /proc/self/status");
            assert_eq!(inside.split_whitespace().last(), Some("0"));
            cais.fails(1, "update --cpuset-cpus 4000 u1").one_clear_error();
            assert_eq!(cais.inspect("u1", "{{.HostConfig.CpusetCpus}}"), "0");
            cais.ok("rm -f u1");
            cais.assert_nothing_left();
        }
    });
}

#[test]
fn what_does_not_run_has_them_at_its_start() {
    e2e(|cais| {
        cais.ok("create --name u1 busybox sleep 1000");
        cais.ok("update --pids-limit 7 --env A=1 -e B=2 u1");
        cais.ok("start u1");
        if has_controller("pids") {
            assert_eq!(value(cais, "u1", "pids/pids.max", "pids.max"), "7");
        }
        assert_eq!(cais.cmd("exec u1 sh -c").arg("echo $A $B").ok(), "1 2");
        cais.ok("update --unsetenv A --env B=3 u1");
        assert_eq!(cais.cmd("exec u1 sh -c").arg("echo $A-$B").ok(), "-3");
    });
}

#[test]
fn nonsense_is_refused() {
    e2e(|cais| {
        cais.ok("create --name u1 busybox");
        cais.fails(1, "update u1").one_clear_error().says("nothing to update");
        cais.fails(1, "update -m 1k u1").one_clear_error();
        cais.fails(1, "update --pids-limit 5 no-such-container").one_clear_error().says("no-such-container");
        cais.fails(1, "update --pids-limit 5").one_clear_error();
        cais.fails(1, "update --device-read-bps /dev/sda:1m u1").one_clear_error().says("--device-read-bps");
        assert_eq!(cais.inspect("u1", "{{.HostConfig.Memory}}"), "0");
    });
}

#[test]
fn a_policy_reaches_the_run_that_is_going_on() {
    e2e(|cais| {
        cais.ok("run -d --name u1 busybox sleep 1000");
        cais.ok("update --restart always u1");
        assert_eq!(cais.inspect("u1", "{{.HostConfig.RestartPolicy.Name}}"), "always");
        let first = cais.inspect("u1", "{{.State.Pid}}");
        let pid: i32 = first.parse().unwrap();
        // From outside: no command of ours ended it.
        let _ = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
        wait_until("it runs again", || {
            let pid = cais.inspect("u1", "{{.State.Pid}}");
            pid != "0" && pid != first && cais.inspect("u1", "{{.State.Status}}") == "running"
        });
        cais.ok("update --restart no u1");
        cais.ok("rm -f u1");
        cais.ok("run -d --rm --name u2 busybox sleep 1000");
        cais.fails(1, "update --restart always u2").one_clear_error().says("removed when it ends");
        cais.fails(1, "update --restart sometimes u2").one_clear_error().says("--restart");
        cais.ok("rm -f u2");
    });
}
