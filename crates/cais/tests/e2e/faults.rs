//! When things go wrong: processes killed at any point, full and read-only disks, broken state.

use std::fs;
use std::path::Path;
use std::time::Duration;

use cais_test::fake_registry::{FakeRegistry, Fault, Login};
use cais_test::process::Invocation;
use cais_test::{Cais, Compression, Image, Layer, Layout, e2e, e2e_empty};
use rustix::process::{Pid, Signal, kill_process};

fn parent_of(pid: u32) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn kill(pid: u32) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
}

/// Brings the engine back to nothing by its own means: repair, then forced removal of what is known.
fn recover(cais: &Cais) {
    cais.ok("system check --repair");
    let ids = cais.ok("ps -aq --no-trunc");
    if !ids.is_empty() {
        cais.ok(&format!("rm -f -v {}", ids.replace('\n', " ")));
    }
    cais.ok("system check");
}

#[test]
fn the_command_line_is_killed_at_any_point_of_run() {
    e2e(|cais| {
        cais.mark();
        // From before the first system call of the engine to after its end: a run takes some milliseconds.
        for delay_ms in 0..40 {
            let run = cais.cmd("run -d -p 8080:80 -v /data busybox sleep 1000").spawn();
            std::thread::sleep(Duration::from_millis(delay_ms));
            run.signal(Signal::KILL);
            run.wait();
            for line in cais.ok("ps -a --format '{{.ID}} {{.State}}'").lines() {
                let state = line.split(' ').nth(1).unwrap();
                assert!(
                    ["created", "running", "exited", "dead"].contains(&state),
                    "after {delay_ms} ms: {line}"
                );
            }
            recover(cais);
            assert_eq!(cais.ok("ps -aq"), "");
        }
        cais.assert_nothing_left();
        cais.ok("run --rm -p 8080:80 busybox true");
    });
}

#[test]
fn the_command_line_is_killed_while_attached() {
    e2e(|cais| {
        cais.mark();
        let run = cais.cmd("run --name a1 busybox sh -c 'echo up; sleep 1000'").spawn();
        cais.wait_for_log("a1", "up");
        run.signal(Signal::KILL);
        run.wait();
        assert_eq!(cais.inspect("a1", "{{.State.Status}}"), "running", "the container goes on");
        cais.ok("rm -f a1");
        cais.assert_nothing_left();
    });
}

#[test]
fn the_monitor_is_killed() {
    e2e(|cais| {
        cais.mark();
        cais.ok("run -d --name m1 -p 8080:80 busybox sleep 1000");
        let init: u32 = cais.inspect("m1", "{{.State.Pid}}").parse().unwrap();
        kill(parent_of(init));
        cais_test::wait_until("the next look tells the truth", || {
            cais.inspect("m1", "{{.State.Running}}") == "false"
        });
        assert!(!cais.ok("ps --format {{.Names}}").contains("m1"));
        cais.ok("system check --repair");
        cais_test::wait_until("its init is gone", || !Path::new(&format!("/proc/{init}")).exists());
        cais.ok("start m1");
        assert_eq!(cais.inspect("m1", "{{.State.Running}}"), "true");
        cais.ok("rm -f m1");
        cais.assert_nothing_left();
    });
}

#[test]
fn rm_is_killed_at_any_point() {
    e2e(|cais| {
        cais.mark();
        for delay_ms in 0..20 {
            let id = cais.ok("run -d -v /data -p 8080:80 busybox sleep 1000");
            let rm = cais.cmd("rm -f -v").arg(&id).spawn();
            std::thread::sleep(Duration::from_millis(delay_ms));
            rm.signal(Signal::KILL);
            rm.wait();
            cais.cmd("rm -f -v").arg(&id).ok();
            assert_eq!(cais.ok("ps -aq"), "");
        }
        cais.ok("system check --repair");
        cais.assert_nothing_left();
    });
}

#[test]
fn a_killed_pull_leaves_no_half_image() {
    e2e_empty(|cais| {
        let registry = FakeRegistry::start(Login::Open);
        let noise: Vec<u8> =
            (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let image = Image::new()
            .layer(Layer::new().file("small", "x"))
            .layer(Layer::new().file("big", noise))
            .build();
        registry.add("r", "v1", &image);
        registry.set_fault(Some(Fault::Stall));
        let name = format!("{}/r:v1", registry.address());
        let pull = cais.cmd("pull").arg(&name).spawn();
        let mut seen = Vec::new();
        cais_test::wait_until("layers are being fetched", || {
            seen.extend(registry.take_requests());
            seen.iter().any(|request| request.contains("/blobs/"))
        });
        pull.signal(Signal::KILL);
        pull.wait();
        assert_eq!(cais.ok("images -aq"), "");
        registry.set_fault(None);
        cais.cmd("pull -q").arg(&name).ok();
        assert_eq!(cais.cmd("image inspect --format {{.Id}}").arg(&name).ok(), image.id());
        cais.cmd("rmi").arg(&name).ok();
        cais.ok("system check --repair");
        let left = Invocation::new("find", "").arg(cais.root()).args("-type f -size +100k").ok();
        assert_eq!(left, "", "the bytes of the image are gone from the disk");
    });
}

#[test]
fn a_full_disk_is_one_error_and_no_image() {
    e2e_empty(|cais| {
        fs::create_dir_all(cais.root()).unwrap();
        Invocation::new("mount", "-t tmpfs -o size=2m tmpfs").arg(cais.root()).ok();
        let big = || Layer::new().file("big", vec![b'x'; 8 << 20]);
        let archive = cais.folder().join("big.tar");
        Image::new().layer(big()).build().write_docker_archive(&archive, &["big:1"]).unwrap();
        cais.cmd("load -i").arg(&archive).output().code(1).one_clear_error().says("free");
        // Packed it fits, so that the disk is full in the middle of unpacking.
        let mut layout = Layout::create(&cais.folder().join("layout")).unwrap();
        layout.add("big:2", &Image::new().packed_layer(big(), Compression::Gzip).build()).unwrap();
        cais.cmd("load -i").arg(layout.path()).output().code(1).one_clear_error().says("space");
        assert_eq!(cais.ok("images -aq"), "");
        let used = Invocation::new("du", "-sk").arg(cais.root()).ok();
        let kib: u64 = used.split_whitespace().next().unwrap().parse().unwrap();
        assert!(kib < 500, "what was written has been taken back: {used}");
        Invocation::new("umount", "").arg(cais.root()).ok();
    });
}

#[test]
fn a_read_only_store_can_still_be_read() {
    e2e(|cais| {
        cais.ok("create --name c1 busybox");
        Invocation::new("mount", "--bind").arg(cais.root()).arg(cais.root()).ok();
        Invocation::new("mount", "-o remount,bind,ro").arg(cais.root()).ok();
        assert_eq!(cais.ok("ps -a --format {{.Names}}"), "c1");
        assert_eq!(cais.ok("images -q").lines().count(), 1);
        cais.fails(125, "run --rm busybox true").one_clear_error();
        Invocation::new("umount", "").arg(cais.root()).ok();
    });
}

#[test]
fn after_a_reboot_everything_is_rebuilt() {
    e2e(|cais| {
        cais.ok("run -d --name b1 -v keep:/d busybox sh -c 'echo $$ >/d/pid; sleep 1000'");
        let init: u32 = cais.inspect("b1", "{{.State.Pid}}").parse().unwrap();
        // A reboot takes all processes, mounts and the run directory.
        let shim = parent_of(init);
        kill(shim);
        kill(init);
        cais_test::wait_until("the container is gone", || !Path::new(&format!("/proc/{init}")).exists());
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        for line in mounts.lines().rev() {
            let point = line.split(' ').nth(1).unwrap();
            if point.starts_with(&format!("{}/", cais.folder().display())) {
                Invocation::new("umount", "-l").arg(point).ok();
            }
        }
        fs::remove_dir_all(cais.run_root()).unwrap();
        assert_eq!(cais.inspect("b1", "{{.State.Running}}"), "false");
        cais.ok("start b1");
        assert_eq!(cais.ok("exec b1 cat /d/pid"), "1");
    });
}

#[test]
fn a_broken_record_does_not_hide_the_others() {
    e2e(|cais| {
        let broken = cais.ok("create --name broken busybox");
        cais.ok("create --name whole busybox");
        let files = Invocation::new("find", "")
            .arg(cais.root())
            .args("-type f -path")
            .arg(format!("*{broken}*"))
            .ok();
        assert!(!files.is_empty());
        for file in files.lines() {
            fs::write(file, "{ not json").unwrap();
        }
        let finished = cais.cmd("ps -a --format {{.Names}}").output();
        assert!(finished.stdout_text().lines().any(|name| name == "whole"), "{finished}");
        let found = cais.cmd("system check").output();
        assert!(found.stdout_text().contains(&broken[..12]), "{found}");
        cais.cmd("rm -f").arg(&broken).output();
        cais.ok("system check --repair");
        assert_eq!(cais.ok("ps -a --format {{.Names}}"), "whole");
    });
}

#[test]
fn fifty_at_once() {
    e2e(|cais| {
        cais.mark();
        let runs: Vec<_> =
            (0..50).map(|_| cais.cmd("run -d busybox sleep 1000").timeout_secs(120).spawn()).collect();
        for run in runs {
            run.wait().code(0);
        }
        assert_eq!(cais.ok("ps -q").lines().count(), 50);
        let addresses = cais
            .ok("ps -q")
            .lines()
            .map(|id| cais.inspect(id, "{{.NetworkSettings.Networks.bridge.IPAddress}}"))
            .collect::<std::collections::BTreeSet<_>>();
        assert_eq!(addresses.len(), 50, "no address twice");
        cais.ok(&format!("rm -f {}", cais.ok("ps -aq").replace('\n', " ")));
        cais.assert_nothing_left();
    });
}

#[test]
fn a_starter_that_was_killed_before_its_last_word() {
    e2e(|cais| {
        let id = cais.ok("run -d --name orphan -p 127.0.0.1:8080:80 busybox sh -c 'echo up; sleep 1000'");
        let pid = cais.inspect("orphan", "{{.State.Pid}}");
        // What the starter writes before it starts the monitor; the rest it would have written after.
        let path = cais.run_root().join("containers").join(&id).join("facts.json");
        let mut facts: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        (facts["pid"], facts["shim_pid"]) = (0.into(), 0.into());
        fs::write(&path, facts.to_string()).unwrap();
        assert_eq!(
            cais.ok("ps --format '{{.Names}} {{.State}} {{.Ports}}'"),
            "orphan running 127.0.0.1:8080->80/tcp"
        );
        assert_eq!(cais.inspect("orphan", "{{.State.Status}} {{.State.Pid}}"), format!("running {pid}"));
        assert_eq!(cais.ok("system check"), "");
        cais.ok("exec orphan true");
        cais.ok("stop -t 0 orphan");
        assert_eq!(cais.inspect("orphan", "{{.State.Status}} {{.State.ExitCode}}"), "exited 137");
        cais.ok("rm orphan");
    });
}

#[test]
fn another_store_in_the_same_network_namespace_is_left_alone() {
    e2e(|cais| {
        cais.ok(
            "run -d --name web -p 127.0.0.1:8080:80 busybox sh -c 'while :; do echo web | nc -l -p 80; done'",
        );
        let other = |line: &str| {
            let mut other = Invocation::new(cais.binary(), "--root").arg(cais.folder().join("other"));
            other = other.args("--run-root").arg(cais.folder().join("other-run"));
            other.args(line).ok()
        };
        assert_eq!(other("system check --repair"), "");
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut cais.connect("127.0.0.1:8080"), &mut answer).unwrap();
        assert_eq!(answer, "web\n");
        assert_eq!(cais.ok("system check"), "");
    });
}
