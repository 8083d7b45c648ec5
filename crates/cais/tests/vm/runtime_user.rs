//! `cais runtime` as an ordinary user: bundles of `spec --rootless`, with one id and with ranges of them, in delegated
//! groups made by files and by the user's systemd; rootless podman calls it.

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::{Path, PathBuf};

use cais_test::process::{Finished, Invocation};
use cais_test::vm::{
    Check, TESTER_CGROUP_SYSTEMD, TESTER_HOME, TESTER_ID, TESTER_RUNTIME, as_tester, leave_out,
};
use serde_json::{Value, json};

use crate::rootless::Tester;

pub(crate) const CHECKS: &[Check<Tester>] = &[
    ("runtime: a bundle of `spec --rootless` with one id", one_id),
    ("runtime: a bundle with ranges of ids", ranges),
    ("runtime: create, start, exec, pause, kill, delete", life),
    ("runtime: limits are in the user's group", limits),
    ("runtime: rootless podman", podman),
    ("runtime: nothing is left", nothing_left),
];

/// Where the user has a systemd.
pub(crate) const CHECKS_OF_SYSTEMD: &[Check<Tester>] = &[
    ("runtime: a scope of the user's systemd", scope),
    ("runtime: rootless podman with scopes", podman_with_scopes),
    ("runtime: nothing is left", nothing_left),
];

/// The program under the name that makes it a runtime; unpacks the root file system, too.
fn program() -> PathBuf {
    let (link, rootfs) = (Path::new(TESTER_HOME).join("cais-runtime"), rootfs());
    if !link.exists() {
        symlink("cais", &link).unwrap();
        fs::create_dir(&rootfs).unwrap();
        chown(&rootfs, Some(TESTER_ID), Some(TESTER_ID)).unwrap();
        for tar in cais_test::rootfs::busybox().unwrap().build().tars {
            // Nodes of `quay` are none of its business.
            as_tester("tar".as_ref()).args("--no-same-owner -xf - -C").arg(&rootfs).stdin(tar).ok();
        }
    }
    link
}

fn rootfs() -> PathBuf {
    Path::new(TESTER_HOME).join("rootfs")
}

fn cmd(line: &str) -> Invocation {
    as_tester(&program()).args(line)
}

/// A command after which a container goes on: our streams are not its own.
fn detached(line: &str) -> Invocation {
    let script = "\"$@\" </dev/null >/dev/null 2>~/err; code=$?; cat ~/err >&2; exit $code";
    as_tester("sh".as_ref()).arg("-c").arg(script).arg("sh").arg(program()).args(line)
}

fn folder(id: &str) -> PathBuf {
    Path::new(TESTER_HOME).join("bundles").join(id)
}

/// What `spec --rootless` writes, with these changes. Every command is expensive here: it is asked once.
fn bundle(id: &str, args: &[&str], change: impl FnOnce(&mut Value)) {
    let (folder, template) = (folder(id), Path::new(TESTER_HOME).join("config.json"));
    if !template.exists() {
        cmd("spec --rootless --bundle").arg(TESTER_HOME).ok();
    }
    fs::create_dir_all(&folder).unwrap();
    chown(&folder, Some(TESTER_ID), Some(TESTER_ID)).unwrap();
    let mut config: Value = serde_json::from_slice(&fs::read(&template).unwrap()).unwrap();
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(args);
    config["root"]["path"] = json!(rootfs());
    change(&mut config);
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
}

fn run(id: &str) -> Finished {
    let finished = cmd("run --bundle").arg(folder(id)).arg(id).output();
    fs::remove_dir_all(folder(id)).unwrap();
    finished
}

fn state(id: &str) -> Value {
    serde_json::from_str(&cmd("state").arg(id).ok()).unwrap()
}

fn wait_for(id: &str, status: &str) {
    cais_test::wait_until(status, || state(id)["status"] == status);
}

/// The group that its first process is in.
fn group(id: &str) -> PathBuf {
    let text = fs::read_to_string(format!("/proc/{}/cgroup", state(id)["pid"])).unwrap();
    Path::new("/sys/fs/cgroup").join(text.trim().strip_prefix("0::/").unwrap())
}

fn value(group: &Path, file: &str) -> String {
    let path = group.join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).trim().to_owned()
}

fn forget(id: &str) {
    cmd("delete --force").arg(id).ok();
    fs::remove_dir_all(folder(id)).unwrap();
}

/// Maps of all that the user has.
fn all_ids(config: &mut Value) {
    let own = json!({"containerID": 0, "hostID": TESTER_ID, "size": 1});
    let map = json!([own, {"containerID": 1, "hostID": 100_000, "size": 65_536}]);
    config["linux"]["uidMappings"] = map.clone();
    config["linux"]["gidMappings"] = map;
}

fn one_id(_: &Tester) {
    let script = "id -u; awk '{print $1, $2, $3}' /proc/self/uid_map; hostname; touch /tmp/x; exit 7";
    bundle("r1", &["sh", "-c", script], |_| ());
    let finished = run("r1").code(7).says("Read-only");
    assert_eq!(finished.stdout_text(), format!("0\n0 {TESTER_ID} 1\ncais"));
    bundle("r1", &["true"], |config| config["process"]["user"]["uid"] = json!(1000));
    run("r1").code(1).says("1000");
    bundle("r1", &["no-such-command"], |_| ());
    run("r1").code(1).says("executable file not found in $PATH");
    assert_eq!(cmd("list -q").ok(), "");
}

fn ranges(_: &Tester) {
    let script = "id -u; id -g; awk '{print $1, $2, $3}' /proc/self/uid_map";
    bundle("r2", &["sh", "-c", script], |config| {
        all_ids(config);
        config["process"]["user"] = json!({"uid": 1000, "gid": 1001, "additionalGids": [7]});
    });
    let text = run("r2").code(0).stdout_text();
    assert_eq!(text, format!("1000\n1001\n0 {TESTER_ID} 1\n1 100000 65536"));
}

fn life(_: &Tester) {
    bundle("r3", &["sleep", "1000"], all_ids);
    detached("create --pid-file")
        .arg(folder("r3").join("pid"))
        .arg("--bundle")
        .arg(folder("r3"))
        .arg("r3")
        .ok();
    assert_eq!(state("r3")["status"], "created");
    assert_eq!(fs::read_to_string(folder("r3").join("pid")).unwrap(), state("r3")["pid"].to_string());
    cmd("start r3").ok();
    assert_eq!(state("r3")["status"], "running");
    cmd("exec r3 sh -c 'echo $(id -u) $(hostname); exit 5'").output().code(5).prints("0 cais");
    assert_eq!(cmd("exec -u 1000:1000 r3 id -u").ok(), "1000");
    assert_eq!(cmd("ps --format json r3").ok(), format!("[{}]", state("r3")["pid"]));
    cmd("pause r3").ok();
    assert_eq!(state("r3")["status"], "paused");
    cmd("resume r3").ok();
    cmd("delete r3").output().code(1).says("is not stopped: running");
    cmd("kill r3 KILL").ok();
    wait_for("r3", "stopped");
    cmd("delete r3").ok();
    fs::remove_dir_all(folder("r3")).unwrap();
}

fn limits(tester: &Tester) {
    bundle("r4", &["sleep", "1000"], |config| {
        config["linux"]["resources"] = json!({"memory": {"limit": 64 << 20}, "pids": {"limit": 40},
            "cpu": {"quota": 50_000, "period": 100_000, "cpus": "1"}});
    });
    detached("run --detach --bundle").arg(folder("r4")).arg("r4").ok();
    let group = group("r4");
    assert!(group.starts_with(tester.cgroup()) && group.ends_with("r4"), "{}", group.display());
    for (file, expected) in
        [("memory.max", "67108864"), ("pids.max", "40"), ("cpu.max", "50000 100000"), ("cpuset.cpus", "1")]
    {
        assert_eq!(value(&group, file), expected, "{file}");
    }
    cmd("update --memory 32m --pids-limit 30 r4").ok();
    assert_eq!([value(&group, "memory.max"), value(&group, "pids.max")], ["33554432", "30"]);
    let event: Value = serde_json::from_str(&cmd("events --stats r4").ok()).unwrap();
    assert_eq!(event["data"]["pids"]["limit"], 30, "{event}");
    forget("r4");
    assert!(!group.exists(), "the group goes with the container");
}

fn scope(_: &Tester) {
    bundle("r5", &["sleep", "1000"], |config| {
        config["linux"]["cgroupsPath"] = json!("user.slice:cais:r5");
        config["linux"]["resources"] = json!({"memory": {"limit": 64 << 20}, "pids": {"limit": 40}});
    });
    detached("--systemd-cgroup run --detach --bundle").arg(folder("r5")).arg("r5").ok();
    let group = group("r5");
    assert_eq!(group, Path::new(TESTER_CGROUP_SYSTEMD).join("user.slice/cais-r5.scope"));
    let show = |properties: &str| {
        as_tester("systemctl".as_ref()).args("--user show cais-r5.scope --value -p").arg(properties).ok()
    };
    assert_eq!([value(&group, "memory.max"), value(&group, "pids.max")], ["67108864", "40"]);
    cmd("update --memory 32m r5").ok();
    assert_eq!(value(&group, "memory.max"), "33554432");
    let shown = show("MemoryMax,TasksMax,Slice");
    assert!(
        ["33554432", "40", "user.slice"].iter().all(|value| shown.lines().any(|line| line == *value)),
        "{shown}"
    );
    assert_eq!(cmd("exec r5 cat /proc/self/cgroup").ok(), "0::/");
    forget("r5");
    assert!(!group.exists(), "the group goes with the container");
    assert_eq!(show("LoadState"), "not-found");
}

fn podman(_: &Tester) {
    podman_by("cgroupfs");
}

fn podman_with_scopes(_: &Tester) {
    podman_by("systemd");
}

fn podman_by(groups: &str) {
    if ["podman", "conmon", "newuidmap"].iter().any(|name| !Path::new("/usr/bin").join(name).exists()) {
        return leave_out("podman or newuidmap is not installed");
    }
    let configuration = Path::new(TESTER_HOME).join("containers.conf");
    let text = "[containers]\ndefault_ulimits=[\"nofile=1024:1024\",\"nproc=1024:1024\"]\n[engine]\nevents_logger=\"none\"\n";
    fs::write(&configuration, text).unwrap();
    let podman = |line: &str| {
        let podman = as_tester("env".as_ref()).arg(format!("CONTAINERS_CONF={}", configuration.display()));
        let podman = podman.args("podman --storage-driver overlay --runtime").arg(program());
        podman.arg(format!("--cgroup-manager={groups}")).args(line).timeout_secs(120)
    };
    // Loading an image would take as long as all the rest.
    let run = |flags: &str| {
        podman("run --network none --memory 64m --pids-limit 40").args(flags).arg("--rootfs").arg(rootfs())
    };
    let limits = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max";
    if groups == "systemd" {
        return assert_eq!(run("--rm").args(limits).ok(), "67108864\n40");
    }
    run("-d --name p1").args("sh -c 'echo first; while :; do sleep 0.1; done'").ok();
    let exec = format!("exec -u 1000 p1 sh -c 'id -u; {limits}; exit 9'");
    podman(&exec).output().code(9).prints("1000\n67108864\n40");
    cais_test::wait_until("the log has a line", || podman("logs p1").ok() == "first");
    podman("pause p1").ok();
    assert_eq!(podman("inspect --format {{.State.Status}} p1").ok(), "paused");
    podman("unpause p1").ok();
    podman("rm -f -t 0 p1").ok();
}

fn nothing_left(_: &Tester) {
    assert_eq!(cmd("list -q").ok(), "");
    let states = fs::read_dir(Path::new(TESTER_RUNTIME).join("cais-runtime")).into_iter().flatten();
    assert_eq!(states.count(), 0);
    let sleeps = || {
        let all = Invocation::new("ps", "-o args= -u").arg(TESTER_ID.to_string()).output().stdout_text();
        all.lines().filter(|line| line.starts_with("sleep")).count()
    };
    cais_test::wait_until("no process is left", || sleeps() == 0);
}
