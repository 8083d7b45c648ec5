//! `cais runtime --systemd-cgroup` as root: groups are scopes in slices, made by the machine's systemd.

use std::fs;
use std::path::{Path, PathBuf};

use cais_test::Invocation;
use cais_test::vm::Check;
use serde_json::json;

use crate::bed::Bed;

pub(crate) const CHECKS: &[Check<Bed>] = &[
    ("runtime: a scope in a slice", scope),
    ("runtime: slices in slices come and go", nested),
    ("runtime: create, kill and delete of a scope", created),
    ("runtime: engines with scopes: podman", podman),
];

fn value(group: &Path, file: &str) -> String {
    let path = group.join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).trim().to_owned()
}

fn show(unit: &str, property: &str) -> String {
    Invocation::new("systemctl", "show --value -p").arg(property).arg(unit).ok()
}

/// The group of a running container.
fn group(bed: &Bed, id: &str) -> PathBuf {
    let text = fs::read_to_string(format!("/proc/{}/cgroup", bed.pid(id))).unwrap();
    Path::new("/sys/fs/cgroup").join(text.trim().strip_prefix("0::/").unwrap())
}

fn run_detached(bed: &Bed, id: &str, path: &str) {
    bed.bundle(id, &["sleep", "1000"]).change(|config| {
        config["linux"]["cgroupsPath"] = json!(path);
        config["linux"]["resources"]["memory"] = json!({"limit": 64 << 20, "reservation": 32 << 20});
        config["linux"]["resources"]["pids"] = json!({"limit": 40});
        config["linux"]["resources"]["cpu"] = json!({"quota": 50_000, "period": 100_000, "cpus": "1"});
        config["annotations"]["org.systemd.property.TimeoutStopUSec"] = json!("uint64 7000000");
    });
    bed.detached("--systemd-cgroup run --detach --bundle").arg(bed.folder().join(id)).arg(id).ok();
}

fn scope(bed: &Bed) {
    run_detached(bed, "s1", "system.slice:cais:s1");
    let (unit, group) = ("cais-s1.scope", group(bed, "s1"));
    assert_eq!(group, Path::new("/sys/fs/cgroup/system.slice").join(unit));
    for (property, expected) in [
        ("MemoryMax", "67108864"),
        ("MemoryLow", "33554432"),
        ("TasksMax", "40"),
        ("CPUQuotaPerSecUSec", "500ms"),
        ("AllowedCPUs", "1"),
        ("Slice", "system.slice"),
        ("Delegate", "yes"),
        ("DevicePolicy", "strict"),
        ("TimeoutStopUSec", "7s"),
        ("ActiveState", "active"),
    ] {
        assert_eq!(show(unit, property), expected, "{property}");
    }
    assert_eq!([value(&group, "memory.max"), value(&group, "pids.max")], ["67108864", "40"]);
    // A reload has systemd write all that it knows: what it was not told would be lost.
    bed.ok("update --memory 32m --pids-limit 30 s1");
    Invocation::new("systemctl", "daemon-reload").ok();
    assert_eq!([value(&group, "memory.max"), value(&group, "pids.max")], ["33554432", "30"]);
    let refused =
        bed.cmd("exec s1 sh -c 'mknod /tmp/disk b 254 0; head -c 1 /tmp/disk; rm -f /tmp/disk'").output();
    assert!(refused.stderr_text().contains("ot permitted"), "device rules hold: {refused}");
    let own = fs::read_to_string(format!("/proc/{}/cgroup", bed.pid("s1"))).unwrap();
    assert_eq!(bed.ok("exec s1 cat /proc/self/cgroup"), own.trim());
    bed.ok("pause s1");
    assert_eq!(value(&group, "cgroup.freeze"), "1");
    bed.ok("resume s1");
    bed.ok("delete --force s1");
    assert!(!group.exists());
    assert_eq!(show(unit, "LoadState"), "not-found");
}

fn nested(bed: &Bed) {
    run_detached(bed, "s2", "cais-deep.slice:cais:s2");
    let group = group(bed, "s2");
    assert_eq!(group, Path::new("/sys/fs/cgroup/cais.slice/cais-deep.slice/cais-s2.scope"));
    bed.ok("kill s2 KILL");
    bed.wait_for("s2", "stopped");
    bed.ok("delete s2");
    assert!(!group.exists());
    // What is not of the form `slice:prefix:name` is refused.
    bed.bundle("s3", &["true"]);
    bed.cmd("--systemd-cgroup run --bundle")
        .arg(bed.folder().join("s3"))
        .arg("s3")
        .output()
        .code(1)
        .says("slice:prefix:name");
    bed.assert_gone("s3");
}

fn created(bed: &Bed) {
    bed.bundle("s4", &["true"]).change(|config| config["linux"]["cgroupsPath"] = json!(":cais:s4"));
    bed.detached("--systemd-cgroup create --bundle").arg(bed.folder().join("s4")).arg("s4").ok();
    let group = group(bed, "s4");
    assert_eq!(group, Path::new("/sys/fs/cgroup/system.slice/cais-s4.scope"), "the default slice");
    assert_eq!(bed.status("s4"), "created");
    // In use, by its name.
    bed.bundle("s5", &["true"]).change(|config| config["linux"]["cgroupsPath"] = json!(":cais:s4"));
    bed.cmd("--systemd-cgroup run --bundle").arg(bed.folder().join("s5")).arg("s5").output().code(1);
    bed.assert_gone("s5");
    assert_eq!(bed.status("s4"), "created", "left alone");
    bed.ok("start s4");
    bed.wait_for("s4", "stopped");
    bed.ok("delete s4");
    assert!(!group.exists());
}

fn podman(bed: &Bed) {
    if !Path::new("/usr/bin/podman").exists() {
        return cais_test::vm::leave_out("podman is not installed");
    }
    let configuration = bed.folder().join("containers.conf");
    let text = "[containers]\ndefault_ulimits=[\"nofile=1024:1024\",\"nproc=1024:1024\"]\n[engine]\nevents_logger=\"none\"\n";
    fs::write(&configuration, text).unwrap();
    let podman = |line: &str| {
        Invocation::new("podman", "--cgroup-manager systemd --runroot /run/podman --root")
            .arg(bed.folder().join("podman"))
            .arg("--runtime")
            .arg(bed.program())
            .args(line)
            .env("CONTAINERS_CONF", &configuration)
            .timeout_secs(120)
    };
    // Loading an image would take as long as all the rest.
    podman("run -d --name p1 --network none --memory 64m --rootfs")
        .arg(bed.folder().join("rootfs"))
        .args("sleep 1000")
        .ok();
    let state = podman("inspect --format").arg("{{.Id}} {{.State.Pid}}").arg("p1").ok();
    let (id, pid) = state.split_once(' ').unwrap();
    let group = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert!(group.contains(&format!("/machine.slice/libpod-{id}.scope")), "{group}");
    assert_eq!(show(&format!("libpod-{id}.scope"), "MemoryMax"), "67108864");
    assert_eq!(podman("exec p1 cat /sys/fs/cgroup/memory.max").ok(), "67108864");
    podman("rm -f -t 0 p1").ok();
    assert_eq!(show(&format!("libpod-{id}.scope"), "LoadState"), "not-found");
}
