//! A further process: what it joins, what it inherits, and where its processors come from.

use serde_json::json;

use super::*;
use crate::plan::Wanted;

fn exec(case: &Case, process: Value) -> Planned {
    case.exec(&process).expect("can be planned")
}

#[test]
fn the_order_of_an_exec() {
    let mut case = Case::new(json!({}));
    case.seccomp = Some(b"01234567".to_vec());
    let planned =
        exec(&case, json!({"args": ["id", "-u"], "env": ["PATH=/bin"], "cwd": "/", "noNewPrivileges": true}));
    assert_eq!((planned.role, planned.outer, planned.clone_flags), (2, 2, 0));
    assert_eq!(planned.fds, [(7, Wanted::CgroupDirectory), (8, Wanted::Process(77))]);
    let want = r#"
Undumpable
SetNs { fd: 8, flags: 536870912 }
Affinity { mask: '' }
SetNs { fd: 8, flags: 1308753920 }
Keyring { name: "_ses.c1" }
NewSession
Limit { resource: 7, soft: 1024, hard: 1024 }
Chdir { path: "/", create: false }
Umask { mode: 18 }
Ids { uid: 0, gid: 0, groups: '', home: true }
Bounding { keep: 536871968 }
SwitchUser { groups: true }
Capabilities { effective: 536871968, permitted: 536871968, inheritable: 0, ambient: 0 }
NoNewPrivileges
FindExecutable { paths: [/bin/id] }
SeccompFilter { filter: '01234567', flags: 4, listener: false }
Exec { paths: [/bin/id], args: [id -u], env: [PATH=/bin] }
"#;
    assert_eq!(steps(&planned).join("\n"), want.trim());
}

#[test]
fn without_a_pid_namespace_the_shim_is_the_process() {
    let case =
        Case::new(json!({"linux": {"namespaces": [{"type": "mount"}, {"type": "uts", "path": "/ns/uts"}]}}));
    let planned = exec(&case, json!({"args": ["x"], "cwd": "/"}));
    assert_eq!((planned.role, planned.outer), (1, 0));
    the(&steps(&planned), "SetNs { fd: 7, flags: 67239936 }");
    let case = Case::new(
        json!({"hostname": null, "mounts": [], "linux": {"namespaces": [], "maskedPaths": [], "readonlyPaths": []}}),
    );
    let steps = steps(&exec(&case, json!({"args": ["x"], "cwd": "/"})));
    assert!(!steps.iter().any(|step| step.starts_with("SetNs")));
}

#[test]
fn what_is_left_open_is_the_containers() {
    let mut case = Case::new(json!({"process": {
        "user": {"umask": 7}, "apparmorProfile": "a", "scheduler": {"policy": "SCHED_BATCH"},
        "ioPriority": {"class": "IOPRIO_CLASS_IDLE"}, "execCPUAffinity": {"final": "1"}, "oomScoreAdj": 5
    }}));
    case.machine.apparmor = Some("attr/exec");
    let open = steps(&exec(&case, json!({"args": ["x"], "cwd": "/"})));
    for word in [
        "Umask { mode: 7 }",
        "exec a",
        "Scheduler",
        "IoPriority { value: 24576 }",
        "Affinity",
        "Limit {",
        "keep: 536871968",
    ] {
        assert!(open.iter().any(|step| step.contains(word)), "{word}: {open:#?}");
    }
    assert!(!open.iter().any(|step| step.contains("oom_score_adj")), "that is nobody's but the process's");
    assert!(!open.iter().any(|step| step == "NoNewPrivileges"));
    let own = steps(&exec(
        &case,
        json!({
            "args": ["x"], "cwd": "/", "user": {"uid": 0, "gid": 0, "umask": 2}, "apparmorProfile": "b", "oomScoreAdj": 6,
            "capabilities": {"bounding": ["CAP_KILL"]}, "rlimits": [{"type": "RLIMIT_CORE", "hard": 0, "soft": 0}],
            "noNewPrivileges": true
        }),
    ));
    for word in [
        "Umask { mode: 2 }",
        "exec b",
        "content: '6'",
        "keep: 32 ",
        "Limit { resource: 4, soft: 0, hard: 0 }",
        "NoNewPrivileges",
    ] {
        assert_eq!(own.iter().filter(|step| step.contains(word)).count(), 1, "{word}: {own:#?}");
    }
    assert_eq!(own.iter().filter(|step| step.starts_with("Limit")).count(), 1);
}

#[test]
fn processors_before_and_after_the_group() {
    let affinity = json!({"initial": "0", "final": "0-1"});
    let process = json!({"args": ["x"], "cwd": "/", "execCPUAffinity": affinity});
    let mut case = Case::new(json!({}));
    (case.tasks, case.clone_into) = (1, false);
    let planned = exec(&case, process.clone());
    let found = steps(&planned);
    assert_eq!(found[1], "Affinity { mask: [01, 00, 00, 00, 00, 00, 00, 00] }");
    assert_eq!((planned.outer, found[3].as_str()), (3, "JoinCgroup { fd: 8 }"));
    assert_eq!(found[4], "Affinity { mask: [03, 00, 00, 00, 00, 00, 00, 00] }");
    // A process that is cloned into its group must have them before.
    let case = Case::new(json!({"hostname": null, "linux": {"namespaces": [{"type": "mount"}]}}));
    assert_eq!(exec(&case, process).role, 2);
    assert_eq!(exec(&case, json!({"args": ["x"], "cwd": "/"})).role, 1);
    let container = Case::new(json!({"process": {"execCPUAffinity": affinity}})).steps();
    let set = |step: &&String| step.starts_with("Affinity") && *step != "Affinity { mask: '' }";
    assert_eq!(container.iter().find(set), None, "not for the first process");
}

#[test]
fn into_a_user_namespace() {
    let map = json!([{"containerID": 0, "hostID": 9, "size": 10}]);
    let change = json!({"linux": {"namespaces": [{"type": "mount"}, {"type": "uts"}, {"type": "pid"}, {"type": "user"}],
        "uidMappings": map, "gidMappings": map}});
    let planned = exec(
        &Case::new(change.clone()),
        json!({"args": ["x"], "cwd": "/", "oomScoreAdj": 1, "terminal": true}),
    );
    let steps_by_root = steps(&planned);
    assert_eq!(
        steps_by_root[2..7],
        [
            "Sync { word: 1 }",
            "Affinity { mask: '' }",
            "SetNs { fd: 8, flags: 335675392 }",
            "Ids { uid: 0, gid: 0, groups: '', home: false }",
            "SwitchUser { groups: true }",
        ]
    );
    the(&steps_by_root, "Stdio { console: false }");
    assert!(!steps_by_root.iter().any(|step| step.starts_with("Limit") || step.contains("oom")));
    let by_user =
        steps(&exec(&Case::on(change, user()), json!({"args": ["x"], "cwd": "/", "oomScoreAdj": 1})));
    assert!(!by_user.iter().any(|step| step.starts_with("Sync")));
    // Without rights outside, both at once: the one gives the right to the other.
    assert_eq!(by_user[1], "SetNs { fd: 8, flags: 805306368 }");
    the(&by_user, "SetNs { fd: 8, flags: 67239936 }");
    the(&by_user, "Limit");
    the(&by_user, "oom_score_adj");
}

#[test]
fn an_exec_needs_a_command() {
    let case = Case::new(json!({}));
    assert_eq!(case.exec(&json!({"cwd": "/"})).err(), Some(PlanError::NoCommand));
    let variable = json!({"args": ["x"], "cwd": "/", "env": ["x"]});
    assert_eq!(case.exec(&variable).err(), Some(PlanError::Variable("x".to_owned())));
}
