//! `cais system boot`, `cais boot enable|disable|status`.

use std::fs;
use std::path::Path;

use cais_test::process::Invocation;
use cais_test::{Cais, e2e, skip, wait_until};
use rustix::process::{Pid, Signal, kill_process};

/// The machine goes down at once: all processes of containers, their mounts, and the run directory. Tells the names of
/// what ran.
fn reboot(cais: &Cais) {
    let ids = cais.ok("ps -q --no-trunc");
    let mut pids = Vec::new();
    for id in ids.lines() {
        let init: u32 = cais.inspect(id, "{{.State.Pid}}").parse().unwrap();
        let stat = fs::read_to_string(format!("/proc/{init}/stat")).unwrap();
        let monitor: u32 =
            stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap().parse().unwrap();
        pids.extend([monitor, init]);
    }
    for pid in &pids {
        let _ = kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL);
    }
    for pid in pids {
        wait_until("a process is gone", || !Path::new(&format!("/proc/{pid}")).exists());
    }
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    for line in mounts.lines().rev() {
        let point = line.split(' ').nth(1).unwrap();
        if point.starts_with(&format!("{}/", cais.run_root().display())) {
            Invocation::new("umount", "-l").arg(point).ok();
        }
    }
    fs::remove_dir_all(cais.run_root()).unwrap();
}

#[test]
fn what_should_run_runs_after_a_reboot() {
    e2e(|cais| {
        let run = |name: &str, flags: &str| {
            cais.ok(&format!("run -d --name {name} {flags} busybox sleep 1000"));
        };
        run("never", "");
        run("always", "--restart always");
        run("stopped-always", "--restart always");
        run("kept", "--restart unless-stopped");
        run("stopped", "--restart unless-stopped");
        run("failing", "--restart on-failure:3");
        cais.ok("create --name unborn --restart always busybox sleep 1000");
        cais.ok("run --name done --restart on-failure busybox true");
        cais.ok("stop -t 0 stopped stopped-always");
        run("mute", "--log-driver none");
        reboot(cais);
        assert_eq!(cais.ok("ps -q"), "");
        let told = "{{.State.Status}} {{.State.ExitCode}} {{.State.Error}}";
        for name in ["never", "always", "mute"] {
            assert_eq!(cais.inspect(name, told), "exited 255 the machine went down while it ran", "{name}");
        }
        assert_eq!(cais.inspect("unborn", told), "created 0");
        let mut started: Vec<String> = cais.ok("system boot").lines().map(str::to_owned).collect();
        assert_eq!(started, ["always", "stopped-always", "kept", "failing"], "the older ones first");
        let mut running: Vec<String> = cais.ok("ps --format {{.Names}}").lines().map(str::to_owned).collect();
        started.sort();
        running.sort();
        assert_eq!(running, started);
        for name in ["never", "mute"] {
            assert_eq!(cais.inspect(name, told), "exited 255 the machine went down while it ran", "{name}");
        }
        assert_eq!(cais.inspect("unborn", "{{.State.Status}}"), "created");
        assert_eq!(cais.ok("system boot"), "", "what runs is left alone");
        cais.ok("system check --repair");
        cais.ok("system check");
    });
}

#[test]
fn who_shares_a_network_starts_after_its_owner() {
    e2e(|cais| {
        cais.ok("run -d --name first --restart always busybox sleep 1000");
        cais.ok("run -d --name owner --restart always busybox sleep 1000");
        cais.ok("run -d --name guest --restart always --network container:owner busybox sleep 1000");
        reboot(cais);
        assert_eq!(cais.ok("system boot"), "first\nowner\nguest");
        let namespace = |name: &str| {
            let pid = cais.inspect(name, "{{.State.Pid}}");
            fs::read_link(format!("/proc/{pid}/ns/net")).unwrap()
        };
        assert_eq!(namespace("owner"), namespace("guest"));
    });
}

#[test]
fn a_pod_comes_back_with_its_members() {
    e2e(|cais| {
        cais.ok("pod create --name shop --restart always");
        cais.ok("run -d --name web --pod shop busybox sleep 1000");
        assert_eq!(cais.inspect("web", "{{.HostConfig.RestartPolicy.Name}}"), "always", "the pod's");
        cais.ok("pod create --name other");
        cais.ok("run -d --name db --restart always --requires web --pod other busybox sleep 1000");
        cais.ok("run -d --name once --pod other busybox sleep 1000");
        reboot(cais);
        let started = cais.ok("system boot");
        assert!(started.ends_with("web\ndb"), "{started}");
        let state = |pod: &str| cais.cmd("pod inspect --format {{.State}}").arg(pod).ok();
        assert_eq!(state("shop"), "Running");
        assert_eq!(cais.inspect("once", "{{.State.Running}}"), "false");
        assert_eq!(state("other"), "Degraded", "its infra container, and the one with a policy");
    });
}

#[test]
fn a_container_that_cannot_start_does_not_keep_the_others_down() {
    e2e(|cais| {
        cais.ok("run -d --name owner busybox sleep 1000");
        cais.ok("run -d --name guest --restart always --network container:owner busybox sleep 1000");
        cais.ok("run -d --name other --restart always busybox sleep 1000");
        reboot(cais);
        cais.fails(1, "system boot").prints("other").says("container guest:");
        assert_eq!(cais.ok("ps --format {{.Names}}"), "other");
    });
}

#[test]
fn the_run_directory_may_survive() {
    e2e(|cais| {
        cais.ok("run -d --name a1 --restart always -p 8080:80 busybox sleep 1000");
        let copy = cais.folder().join("copy");
        Invocation::new("cp", "-a").arg(cais.run_root()).arg(&copy).ok();
        reboot(cais);
        Invocation::new("cp", "-a").arg(&copy).arg(cais.run_root()).ok();
        fs::write(cais.run_root().join("boot-id"), "another-boot").unwrap();
        assert_eq!(cais.ok("system boot"), "a1");
        assert_eq!(cais.inspect("a1", "{{.State.Status}}"), "running");
        cais.ok("system check");
    });
}

#[test]
fn the_unit_comes_and_goes() {
    e2e(|cais| {
        let units = Path::new("/etc/systemd/system");
        if !units.is_dir() {
            return skip("there is no /etc/systemd/system to put a file system on");
        }
        // Whatever the machine has: this namespace sees an empty directory.
        Invocation::new("mount", "-t tmpfs tmpfs").arg(units).ok();
        let booted = Path::new("/run/systemd/system");
        if !booted.exists() {
            cais.fails(1, "boot enable").says("not booted by systemd");
            fs::create_dir_all(booted).unwrap();
        }
        cais.fails(1, "boot status").prints("disabled /etc/systemd/system/cais-boot.service");
        cais.ok("boot enable");
        assert_eq!(cais.ok("boot status"), "enabled /etc/systemd/system/cais-boot.service");
        let unit = fs::read_to_string(units.join("cais-boot.service")).unwrap();
        let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
        assert!(line.ends_with(" system boot") && line.contains(&*cais.root().to_string_lossy()), "{line}");
        let wanted = units.join("multi-user.target.wants/cais-boot.service");
        assert_eq!(fs::read_link(wanted).unwrap(), units.join("cais-boot.service"));
        // The command of the unit is one that works.
        assert_eq!(Invocation::new("sh", "-c").arg(line).ok(), "");
        cais.ok("boot enable");
        cais.ok("boot disable");
        cais.ok("boot disable");
        assert!(!units.join("cais-boot.service").exists());
        cais.fails(1, "boot status");
        Invocation::new("umount", "-l").arg(units).ok();
    });
}
