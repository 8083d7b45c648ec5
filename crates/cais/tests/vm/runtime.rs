//! `cais runtime` as root on a unified tree: what its groups hold, what its containers may do. The rest of its tests, and
//! the engines that call it, run in guests of their own (`guest` in `crates/cais/tests/oci` and in other crates).

use std::fs;
use std::path::{Path, PathBuf};

use cais_test::vm::{Check, leave_out};
use serde_json::{Value, json};

use crate::bed::Bed;

pub(crate) const CHECKS: &[Check<Bed>] = &[
    ("runtime: every limit is in a file of the group, and is changed there", limits),
    ("runtime: unified keys, and those that the kernel has not got", unified),
    ("runtime: device rules are a program of the group", devices),
    ("runtime: the group is frozen, and dies frozen", freezer),
    ("runtime: a group dies at once, whatever runs in it", whole_group),
    ("runtime: a cgroup namespace, and the host's view", views),
    ("runtime: root of a user namespace owns its group", given_away),
    ("runtime: lack of memory is told", out_of_memory),
    ("runtime: a seccomp profile holds", seccomp),
    ("runtime: what a machine may lack", raised),
];

fn value(group: &Path, file: &str) -> String {
    let path = group.join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).trim().to_owned()
}

/// A sleeping container with these resources.
fn sleeper(bed: &Bed, id: &str, change: impl FnOnce(&mut Value)) -> PathBuf {
    bed.bundle(id, &["sleep", "1000"]).change(change);
    bed.run_detached(id);
    bed.group("memory", id)
}

fn delete(bed: &Bed, id: &str) {
    bed.cmd("delete --force").arg(id).ok();
    bed.assert_gone(id);
    fs::remove_dir_all(bed.folder().join(id)).unwrap();
}

/// The guest's disk.
fn disk() -> (u64, u64) {
    let text = fs::read_to_string("/sys/block/vda/dev").unwrap();
    let (major, minor) = text.trim().split_once(':').unwrap();
    (major.parse().unwrap(), minor.parse().unwrap())
}

fn limits(bed: &Bed) {
    let (major, minor) = disk();
    let group = sleeper(bed, "limits", |config| {
        config["linux"]["resources"] = json!({
            "memory": {"limit": 64 << 20, "reservation": 32 << 20, "swap": 96 << 20},
            "cpu": {"shares": 512, "quota": 50_000, "period": 100_000, "cpus": "1", "mems": "0"},
            "pids": {"limit": 40},
            "blockIO": {"throttleReadBpsDevice": [{"major": major, "minor": minor, "rate": 1 << 20}]},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}],
        });
    });
    for (file, expected) in [
        ("memory.max", "67108864".to_owned()),
        ("memory.low", "33554432".to_owned()),
        ("memory.swap.max", "33554432".to_owned()),
        ("cpu.max", "50000 100000".to_owned()),
        ("cpuset.cpus", "1".to_owned()),
        ("cpuset.mems", "0".to_owned()),
        ("pids.max", "40".to_owned()),
        ("io.max", format!("{major}:{minor} rbps=1048576 wbps=max riops=max wiops=max")),
        ("hugetlb.2MB.max", "4194304".to_owned()),
        ("hugetlb.2MB.rsvd.max", "4194304".to_owned()),
    ] {
        assert_eq!(value(&group, file), expected, "{file}");
    }
    let weight = value(&group, "cpu.weight");
    assert!(["20", "59"].contains(&weight.as_str()), "512 shares: {weight}");
    bed.ok(
        "update --memory 128m --memory-swap 128m --pids-limit 50 --cpu-quota 25000 --cpuset-cpus 0-1 limits",
    );
    for (file, expected) in [
        ("memory.max", "134217728"),
        ("memory.swap.max", "0"),
        ("pids.max", "50"),
        ("cpu.max", "25000 100000"),
        ("cpuset.cpus", "0-1"),
        ("memory.low", "33554432"),
    ] {
        assert_eq!(value(&group, file), expected, "{file} after the update");
    }
    let event: Value = serde_json::from_str(&bed.ok("events --stats limits")).unwrap();
    let data = &event["data"];
    assert_eq!(data["memory"]["usage"]["limit"], 128 << 20, "{event}");
    assert_eq!(data["pids"]["limit"], 50, "{event}");
    assert!(data["cpu"]["usage"]["total"].as_u64() > Some(0), "{event}");
    delete(bed, "limits");
}

fn unified(bed: &Bed) {
    let group = sleeper(bed, "unified", |config| {
        config["linux"]["resources"]["unified"] =
            json!({"memory.high": "50331648", "pids.max": "17", "cpu.weight": "42"});
    });
    assert_eq!(
        ["memory.high", "pids.max", "cpu.weight"].map(|file| value(&group, file)),
        ["50331648", "17", "42"]
    );
    bed.cmd("update --resources - unified").stdin(r#"{"unified": {"pids.max": "18"}}"#).ok();
    assert_eq!(value(&group, "pids.max"), "18");
    delete(bed, "unified");
    for key in ["no.such", "memory.no-such", "../memory.max"] {
        bed.bundle("unified", &["true"]).change(|config| {
            config["linux"]["resources"]["unified"] = json!({key: "1"});
        });
        bed.run("unified").code(1).says(key);
        bed.assert_gone("unified");
        fs::remove_dir_all(bed.folder().join("unified")).unwrap();
    }
}

fn devices(bed: &Bed) {
    let (major, minor) = disk();
    let script = "head -c 4 /dev/disk | wc -c; (: >/dev/disk); mknod /tmp/other b $0 && (: >/tmp/other); \
                  head -c 1 /dev/zero | wc -c; rm -f /tmp/other";
    bed.bundle("devices", &["sh", "-c", script, &format!("{major} {minor}")]).change(|config| {
        let device = json!({"type": "b", "major": major, "minor": minor, "access": "r", "allow": true});
        config["linux"]["devices"] =
            json!([{"path": "/dev/disk", "type": "b", "major": major, "minor": minor, "fileMode": 0o666}]);
        config["linux"]["resources"]["devices"].as_array_mut().unwrap().push(device);
    });
    let finished = bed.run("devices");
    assert_eq!(finished.stdout_text(), "4\n1", "read, and the default ones: {finished}");
    let refused = finished.stderr_text().matches("ot permitted").count();
    assert_eq!(refused, 2, "not written, whatever its name: {finished}");
    fs::remove_dir_all(bed.folder().join("devices")).unwrap();
    // A further process is held by the same rules; all devices are there when all are allowed.
    sleeper(bed, "devices", |_| ());
    let make = format!("mknod /tmp/disk b {major} {minor} && head -c 4 /tmp/disk | wc -c; rm -f /tmp/disk");
    let finished = bed.cmd("exec devices sh -c").arg(&make).output();
    assert!(finished.stderr_text().contains("ot permitted"), "{finished}");
    delete(bed, "devices");
    sleeper(bed, "devices", |config| {
        config["linux"]["resources"]["devices"] = json!([{"allow": true, "access": "rwm"}]);
    });
    assert_eq!(bed.cmd("exec devices sh -c").arg(&make).ok(), "4");
    delete(bed, "devices");
}

fn freezer(bed: &Bed) {
    let group = sleeper(bed, "frozen", |_| ());
    bed.ok("pause frozen");
    assert_eq!((value(&group, "cgroup.freeze").as_str(), bed.status("frozen").as_str()), ("1", "paused"));
    assert!(value(&group, "cgroup.events").contains("frozen 1"));
    bed.cmd("exec frozen true").output().code(255).says("paused");
    bed.ok("resume frozen");
    assert_eq!((value(&group, "cgroup.freeze").as_str(), bed.status("frozen").as_str()), ("0", "running"));
    bed.ok("exec frozen true");
    bed.ok("pause frozen");
    delete(bed, "frozen");
}

fn whole_group(bed: &Bed) {
    let script = "for i in 1 2 3 4 5; do setsid sleep 3000 & done; echo up >/tmp/up; wait";
    bed.bundle("family", &["sh", "-c", script]).change(|config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "pid");
    });
    bed.run_detached("family");
    let group = bed.group("memory", "family");
    let count = || value(&group, "cgroup.procs").lines().count();
    cais_test::wait_until("the family is there", || count() == 6);
    let pids: Vec<i32> = serde_json::from_str(&bed.ok("ps --format json family")).unwrap();
    assert_eq!(pids.len(), 6);
    bed.ok("kill --all family KILL");
    bed.wait_for("family", "stopped");
    cais_test::wait_until("nobody is left", || count() == 0);
    delete(bed, "family");
}

fn views(bed: &Bed) {
    let script = "cat /proc/self/cgroup; ls /sys/fs/cgroup | grep -c memory.max; \
                  sed -n 's,.* /sys/fs/cgroup \\([^ ]*\\) .*- \\([^ ]*\\) .*,\\1 \\2,p' /proc/self/mountinfo";
    let run = |own: bool, option: &str| {
        bed.bundle("views", &["sh", "-c", script]).change(|config| {
            let mount = json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                "options": ["nosuid", "noexec", "nodev", "relatime", option]});
            config["mounts"].as_array_mut().unwrap().push(mount);
            if own {
                config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "cgroup"}));
            }
        });
        let text = bed.run("views").code(0).stdout_text();
        fs::remove_dir_all(bed.folder().join("views")).unwrap();
        text
    };
    let text = run(true, "ro");
    assert!(text.starts_with("0::/\n1\nro,") && text.ends_with(" cgroup2"), "{text}");
    assert!(run(true, "rw").starts_with("0::/\n1\nrw,"));
    let text = run(false, "ro");
    assert!(text.starts_with(&format!("0::{}/views\n1\nro,", bed.parent())), "its own group only: {text}");
}

fn given_away(bed: &Bed) {
    let group = sleeper(bed, "given", |config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.extend([json!({"type": "user"}), json!({"type": "cgroup"})]);
        let map = json!([{"containerID": 0, "hostID": 200_000, "size": 65_536}]);
        config["linux"]["uidMappings"] = map.clone();
        config["linux"]["gidMappings"] = map;
        let mount =
            json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw"]});
        config["mounts"].as_array_mut().unwrap().push(mount);
    });
    use std::os::unix::fs::MetadataExt;
    for file in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
        assert_eq!(fs::metadata(group.join(file)).unwrap().uid(), 200_000, "{file:?}");
    }
    assert_eq!(fs::metadata(group.join("memory.max")).unwrap().uid(), 0, "the limit is not its own");
    let script =
        "mkdir /sys/fs/cgroup/below && echo 0 >/sys/fs/cgroup/below/cgroup.procs && cat /proc/self/cgroup";
    assert_eq!(bed.cmd("exec given sh -c").arg(script).ok(), "0::/below");
    assert!(bed.cmd("exec given sh -c 'echo max >/sys/fs/cgroup/memory.max'").output().status() != 0);
    delete(bed, "given");
}

fn out_of_memory(bed: &Bed) {
    let script = "read go </tmp/go; dd if=/dev/zero of=/dev/null bs=200M count=1; sleep 1000";
    let fifo = bed.folder().join("rootfs/tmp/go");
    cais_test::Invocation::new("mkfifo", "-m 666").arg(&fifo).ok();
    bed.bundle("oom", &["sh", "-c", script]).change(|config| {
        config["linux"]["resources"]["memory"] = json!({"limit": 32 << 20, "swap": 32 << 20});
    });
    bed.run_detached("oom");
    let told = bed.folder().join("told");
    let inner = bed.cmd("events --interval 200ms oom").command();
    let shell = cais_test::Invocation::new("sh", "-c 'exec \"$@\" >\"$OUT\"' sh").env("OUT", &told);
    let events = inner.get_args().fold(shell.arg(inner.get_program()), |shell, arg| shell.arg(arg)).spawn();
    cais_test::wait_until("events are watched", || {
        fs::read_to_string(&told).is_ok_and(|text| text.contains("{\"type\":\"stats\""))
    });
    fs::write(&fifo, "go\n").unwrap();
    cais_test::wait_until("it is told", || fs::read_to_string(&told).unwrap().contains("{\"type\":\"oom\""));
    let counts = value(&bed.group("memory", "oom"), "memory.events");
    assert!(counts.contains("oom_kill ") && !counts.contains("oom_kill 0"), "{counts}");
    delete(bed, "oom");
    events.wait().code(0);
    fs::remove_file(fifo).unwrap();
}

fn seccomp(bed: &Bed) {
    let script = "mkdir /tmp/x || echo refused; chmod 700 /tmp && echo allowed";
    bed.bundle("seccomp", &["sh", "-c", script]).change(|config| {
        config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 122}]});
    });
    let finished = bed.run("seccomp").code(0).says("uota exceeded");
    assert_eq!(finished.stdout_text(), "refused\nallowed");
    fs::remove_dir_all(bed.folder().join("seccomp")).unwrap();
}

fn raised(bed: &Bed) {
    bed.bundle("raised", &["sh", "-c", "ulimit -Hn; cat /proc/self/oom_score_adj; uname -n"]).change(
        |config| {
            config["process"]["rlimits"] =
                json!([{"type": "RLIMIT_NOFILE", "hard": 1_000_000, "soft": 1_000_000}]);
            config["process"]["oomScoreAdj"] = json!(-500);
            config["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
        },
    );
    assert_eq!(bed.run("raised").code(0).stdout_text(), "1000000\n-500\nship");
    fs::remove_dir_all(bed.folder().join("raised")).unwrap();
    if !fs::exists("/sys/fs/cgroup/cgroup.controllers").is_ok_and(|there| there)
        || !value(Path::new("/sys/fs/cgroup"), "cgroup.controllers").contains("rdma")
    {
        leave_out("limits of rdma: the kernel has no such controller");
        return;
    }
    bed.bundle("raised", &["true"]).change(|config| {
        config["linux"]["resources"]["rdma"] = json!({"mlx5_0": {"hcaHandles": 3}});
    });
    // No such device: the kernel says so, which it would not about a file that is not written.
    bed.run("raised").code(1).says("rdma.max");
    bed.assert_gone("raised");
    fs::remove_dir_all(bed.folder().join("raised")).unwrap();
}
