//! The order of everything: runc's default configuration, and one that asks for as much as it can.

use serde_json::json;

use super::*;
use crate::plan::Subject;

#[test]
fn the_default_configuration() {
    let planned = Case::new(json!({})).planned();
    assert_eq!((planned.role, planned.outer, planned.tty), (1, 0, false));
    assert_eq!(planned.clone_flags, 0x2000_0000 | 0x4000_0000 | 0x0800_0000 | 0x0400_0000 | 0x0002_0000);
    assert_eq!(planned.fds, []);
    assert_eq!(planned.warnings, [""; 0]);
    let want = r#"
Undumpable
Affinity { mask: '' }
Unshare { flags: 33554432 }
LoopbackUp
Keyring { name: "_ses.c1" }
Propagate { flags: 540672 }
Rootfs { path: "/bundle/rootfs", parent: 524288, propagation: 540672 }
Filesystem { fstype: "proc", source: "proc", target: "/proc", attributes: 0, options: [], propagation: 0, userns_fd: -1, copy_up: false, optional: false }
Filesystem { fstype: "tmpfs", source: "tmpfs", target: "/dev", attributes: 34, options: [mode=755 size=65536k], propagation: 0, userns_fd: -1, copy_up: false, optional: false }
Filesystem { fstype: "devpts", source: "devpts", target: "/dev/pts", attributes: 10, options: [newinstance ptmxmode=0666 mode=0620 gid=5], propagation: 0, userns_fd: -1, copy_up: false, optional: false }
Filesystem { fstype: "tmpfs", source: "shm", target: "/dev/shm", attributes: 14, options: [mode=1777 size=65536k], propagation: 0, userns_fd: -1, copy_up: false, optional: false }
Filesystem { fstype: "mqueue", source: "mqueue", target: "/dev/mqueue", attributes: 14, options: [], propagation: 0, userns_fd: -1, copy_up: false, optional: false }
Filesystem { fstype: "sysfs", source: "sysfs", target: "/sys", attributes: 15, options: [], propagation: 0, userns_fd: -1, copy_up: false, optional: false }
Filesystem { fstype: "cgroup2", source: "cgroup", target: "/sys/fs/cgroup", attributes: 15, options: [], propagation: 0, userns_fd: -1, copy_up: false, optional: false }
Device { path: "/dev/null", mode: 8630, device: 259, uid: 0, gid: 0 }
Device { path: "/dev/random", mode: 8630, device: 264, uid: 0, gid: 0 }
Device { path: "/dev/full", mode: 8630, device: 263, uid: 0, gid: 0 }
Device { path: "/dev/tty", mode: 8630, device: 1280, uid: 0, gid: 0 }
Device { path: "/dev/zero", mode: 8630, device: 261, uid: 0, gid: 0 }
Device { path: "/dev/urandom", mode: 8630, device: 265, uid: 0, gid: 0 }
Symlink { content: "pts/ptmx", path: "/dev/ptmx" }
Symlink { content: "/proc/self/fd", path: "/dev/fd" }
Symlink { content: "/proc/self/fd/0", path: "/dev/stdin" }
Symlink { content: "/proc/self/fd/1", path: "/dev/stdout" }
Symlink { content: "/proc/self/fd/2", path: "/dev/stderr" }
Symlink { content: "/proc/kcore", path: "/dev/core" }
Hostname { name: "runc" }
ReadOnlyPath { path: "/proc/bus" }
ReadOnlyPath { path: "/proc/sys" }
Mask { path: "/proc/acpi" }
Mask { path: "/proc/kcore" }
RootAttributes { set: 1 }
Pivot
ReopenNull
NewSession
Limit { resource: 7, soft: 1024, hard: 1024 }
Chdir { path: "/", create: false }
Umask { mode: 18 }
Ids { uid: 0, gid: 0, groups: '', home: true }
Bounding { keep: 536871968 }
SwitchUser { groups: true }
Capabilities { effective: 536871968, permitted: 536871968, inheritable: 0, ambient: 0 }
NoNewPrivileges
FindExecutable { paths: [/usr/bin/sh /bin/sh] }
Sync { word: 3 }
WaitStart
Exec { paths: [/usr/bin/sh /bin/sh], args: [sh], env: [PATH=/usr/bin:/bin TERM=xterm] }
"#;
    assert_eq!(steps(&planned).join("\n"), want.trim());
}

/// A configuration with nearly everything that stands side by side.
fn rich() -> Case {
    let mut case = Case::new(json!({
        "process": {
            "terminal": true, "consoleSize": {"height": 25, "width": 80},
            "user": {"uid": 1000, "gid": 100, "umask": 63, "additionalGids": [5, 6]},
            "cwd": "/work/dir",
            "noNewPrivileges": false,
            "oomScoreAdj": 100,
            "apparmorProfile": "confined",
            "selinuxLabel": "a:b:c",
            "scheduler": {"policy": "SCHED_IDLE"},
            "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4}
        },
        "domainname": "example",
        "hooks": {
            "createRuntime": [{"path": "/bin/outside"}],
            "createContainer": [{"path": "/bin/inside", "args": ["inside", "x"], "env": ["A=1"], "timeout": 2}],
            "startContainer": [{"path": "/bin/late"}]
        },
        "annotations": {"org.cais.landlock.connect": "443"},
        "linux": {
            "rootfsPropagation": "shared",
            "sysctl": {"net.ipv4.ip_forward": "1"},
            "netDevices": {"eth7": {}},
            "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]},
            "personality": {"domain": "LINUX32"}
        }
    }));
    case.seccomp = Some(b"filter00".to_vec());
    case.machine.apparmor = Some("attr/apparmor/exec");
    case.machine.selinux = true;
    case.tasks = 2;
    case.clone_into = false;
    case
}

#[test]
fn the_order_of_everything() {
    let planned = rich().planned();
    let sentences = sentences(&planned);
    let without_mounts: Vec<&str> = sentences
        .iter()
        .map(String::as_str)
        .filter(|sentence| {
            !["mount ", "make the device", "make the link", "make /proc", "mask "]
                .iter()
                .any(|common| sentence.starts_with(common))
        })
        .collect();
    let want = "
hide from the container
join the cgroup
join the cgroup
reset the CPU affinity
wait for the setup from outside
create a cgroup namespace
open procfs
raise the loopback interface
label keys a:b:c
join a session keyring
make / shared
use /bundle/rootfs as the root
make the working directory /work/dir
wait for the hooks outside
createContainer hook #0
set the host name runc
set the domain name example
set the sysctl net.ipv4.ip_forward to 1
open a terminal
make the root read-only
enter the root
make the root shared
use the container's null device
set RLIMIT_NOFILE to 1024:1024
set oom_score_adj to 100
set the scheduler SCHED_IDLE
set the I/O priority IOPRIO_CLASS_BE 4
set the memory policy MPOL_BIND
set the execution domain LINUX32
chdir to cwd (\"/work/dir\") set in config.json
set the umask 0077
look up user 1000
apply the AppArmor profile confined
set the SELinux label a:b:c
drop capabilities from the bounding set
begin a Landlock ruleset
allow to connect to the TCP port 443
enforce the Landlock ruleset
become user 1000 and group 100
apply the capabilities
find the command \"sh\"
tell that the container is created
wait for the start
startContainer hook #0
load the seccomp filter
apply the capabilities
execute \"sh\"
";
    assert_eq!(without_mounts.join("\n"), want.trim());
    assert!(planned.tty);
    assert_eq!(planned.console_size, (25, 80));
    let subject = |sentence: &str| planned.subject(place(&sentences, sentence));
    assert_eq!(subject("mount proc"), Subject::Mount(0));
    assert_eq!(subject("createContainer"), Subject::CreateContainerHook(0));
    assert_eq!(subject("startContainer"), Subject::StartContainerHook(0));
    assert_eq!(subject("chdir"), Subject::Chdir);
    assert_eq!(subject("find the"), Subject::FindExecutable);
    assert_eq!(subject("execute"), Subject::Exec);
    assert_eq!(subject("load the seccomp"), Subject::Seccomp);
    assert_eq!(planned.subject(9999), Subject::Setup);
}

#[test]
fn what_the_rich_steps_say() {
    let steps = rich().steps();
    for want in [
        r#"Hook { path: "/bin/inside", args: [inside x], env: [A=1], timeout_ms: 2000, filter: '', filter_flags: 0, listener: false }"#,
        r#"Hook { path: "/bin/late", args: [/bin/late], env: [PATH=/usr/bin:/bin TERM=xterm HOME], timeout_ms: 0, filter: 'filter00', filter_flags: 4, listener: false }"#,
        r#"WriteProc { file: "sys/net/ipv4/ip_forward", content: '1', optional: false }"#,
        r#"WriteProc { file: "self/oom_score_adj", content: '100', optional: false }"#,
        r#"WriteProc { file: "self/attr/apparmor/exec", content: 'exec confined', optional: false }"#,
        r#"WriteProc { file: "self/attr/exec", content: 'a:b:c', optional: false }"#,
        r#"WriteProc { file: "self/attr/keycreate", content: 'a:b:c', optional: false }"#,
        r#"MakeDir { path: "/work/dir", mode: 493 }"#,
        "Umask { mode: 63 }",
        "Ids { uid: 1000, gid: 100, groups: [05, 00, 00, 00, 06, 00, 00, 00], home: true }",
        "IoPriority { value: 16388 }",
        "MemoryPolicy { mode: 32770, nodes: [01, 00, 00, 00, 00, 00, 00, 00] }",
        "Personality { persona: 8 }",
        "Stdio { console: true }",
        "SeccompFilter { filter: 'filter00', flags: 4, listener: false }",
        "Sync { word: 1 }",
        "Sync { word: 2 }",
        "JoinCgroup { fd: 7 }",
        "JoinCgroup { fd: 8 }",
        "Rootfs { path: \"/bundle/rootfs\", parent: 262144, propagation: 262144 }",
    ] {
        assert!(steps.iter().any(|step| step == want), "{want}: {steps:#?}");
    }
    // CAP_SYS_ADMIN only until the filter is loaded.
    let capabilities: Vec<&String> = steps.iter().filter(|step| step.starts_with("Capabilities")).collect();
    assert_eq!(capabilities.len(), 2);
    let with = 536_871_968_u64 | 1 << 21;
    assert!(capabilities[0].contains(&format!("effective: {with}, permitted: {with}")));
    assert!(capabilities[1].contains("effective: 536871968, permitted: 536871968"));
}

#[test]
fn the_same_input_gives_the_same_steps() {
    let (once, again) = (rich(), rich());
    assert_eq!(once.steps(), again.steps());
}
