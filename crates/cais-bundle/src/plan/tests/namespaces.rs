//! Every combination of namespaces that is planned in its own way.

use serde_json::json;

use super::*;
use crate::plan::Wanted;

fn maps() -> Value {
    json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}])
}

/// The base with these namespaces; maps when a user namespace is made.
fn with(namespaces: Value, rest: Value) -> Value {
    let made =
        namespaces.as_array().expect("a list").iter().any(|n| n["type"] == "user" && n["path"].is_null());
    let mut change = json!({"linux": {"namespaces": namespaces}});
    if made {
        lay(&mut change, &json!({"linux": {"uidMappings": maps(), "gidMappings": maps()}}));
    }
    lay(&mut change, &rest);
    change
}

fn all(extra: Value) -> Value {
    let mut list = vec![
        json!({"type": "mount"}),
        json!({"type": "uts"}),
        json!({"type": "pid"}),
        json!({"type": "network"}),
        json!({"type": "ipc"}),
        json!({"type": "cgroup"}),
    ];
    list.extend(extra.as_array().expect("a list").iter().cloned());
    Value::Array(list)
}

fn outer_of(planned: &Planned) -> Vec<String> {
    steps(planned)[..planned.outer as usize].to_vec()
}

#[test]
fn joined_namespaces_without_a_user_namespace() {
    let namespaces = json!([
        {"type": "mount"}, {"type": "uts", "path": "/ns/uts"}, {"type": "network", "path": "/ns/net"},
        {"type": "ipc", "path": "/ns/ipc"}, {"type": "cgroup", "path": "/ns/cgroup"}
    ]);
    let planned = Case::new(with(namespaces, json!({}))).planned();
    assert_eq!((planned.role, planned.outer, planned.clone_flags), (1, 0, 0x2_0000));
    let steps = steps(&planned);
    assert_eq!(
        steps[..6],
        [
            "Undumpable",
            "Affinity { mask: '' }",
            "SetNs { fd: 7, flags: 134217728 }",
            "SetNs { fd: 8, flags: 67108864 }",
            "SetNs { fd: 9, flags: 1073741824 }",
            "SetNs { fd: 10, flags: 33554432 }",
        ]
    );
    assert!(!steps.iter().any(|step| step.starts_with("LoopbackUp") || step.starts_with("Unshare")));
    let namespace = |path: &str, kind| Wanted::Namespace { path: PathBuf::from(path), kind };
    assert_eq!(
        planned.fds,
        [
            (7, namespace("/ns/ipc", 0x0800_0000)),
            (8, namespace("/ns/uts", 0x0400_0000)),
            (9, namespace("/ns/net", 0x4000_0000)),
            (10, namespace("/ns/cgroup", 0x0200_0000)),
        ]
    );
}

#[test]
fn a_joined_mount_namespace_comes_last() {
    let namespaces = json!([{"type": "mount", "path": "/ns/mnt"}, {"type": "uts"}, {"type": "network", "path": "/ns/net"}]);
    let steps = Case::new(with(namespaces, json!({}))).steps();
    assert_eq!(steps[2..4], ["SetNs { fd: 7, flags: 1073741824 }", "SetNs { fd: 8, flags: 131072 }"]);
    the(&steps, "Rootfs");
}

#[test]
fn a_joined_pid_namespace_is_the_childs() {
    let namespaces = json!([{"type": "mount"}, {"type": "uts"}, {"type": "pid", "path": "/ns/pid"}]);
    let mut case = Case::new(with(namespaces, json!({})));
    case.tasks = 1;
    let planned = case.planned();
    assert_eq!((planned.role, planned.clone_flags), (2, 0x2_0000 | 0x0400_0000));
    assert_eq!(outer_of(&planned), ["Undumpable", "SetNs { fd: 7, flags: 536870912 }"]);
    assert_eq!(steps(&planned)[2], "JoinCgroup { fd: 9 }");
    assert_eq!(planned.fds[1], (8, Wanted::CgroupDirectory));
}

#[test]
fn time_namespaces() {
    let offsets = json!({"linux": {"timeOffsets": {"monotonic": {"secs": -5, "nanosecs": 7}, "boottime": {"secs": 10}}}});
    let planned = Case::new(with(all(json!([{"type": "time"}])), offsets)).planned();
    assert_eq!(planned.role, 2);
    assert_eq!(planned.clone_flags & 0x80, 0);
    assert_eq!(
        outer_of(&planned),
        [
            "Undumpable",
            "Unshare { flags: 128 }",
            "ProcHandle",
            r#"WriteProc { file: "self/timens_offsets", content: 'monotonic -5 7\nboottime 10 0\n', optional: false }"#,
        ]
    );
    let planned = Case::new(with(all(json!([{"type": "time"}])), json!({}))).planned();
    assert_eq!(outer_of(&planned), ["Undumpable", "Unshare { flags: 128 }"]);
    let planned = Case::new(with(all(json!([{"type": "time", "path": "/ns/time"}])), json!({}))).planned();
    assert_eq!(outer_of(&planned), ["Undumpable", "SetNs { fd: 7, flags: 128 }"]);
    let unprivileged = Case::on(with(all(json!([{"type": "time"}, {"type": "user"}])), json!({})), user());
    assert_eq!(unprivileged.error(), PlanError::TimeNamespace);
}

#[test]
fn a_new_user_namespace_made_by_root() {
    let rest = json!({"process": {"oomScoreAdj": 10}, "mounts": [
        {"destination": "/a", "source": "/a", "options": ["rbind", "ridmap"]},
        {"destination": "/b", "source": "/b", "options": ["bind", "rprivate"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]}
    ]});
    let planned = Case::new(with(all(json!([{"type": "user"}])), rest)).planned();
    assert_eq!(planned.role, 2);
    assert_ne!(planned.clone_flags & 0x1000_0000, 0);
    let outer = outer_of(&planned);
    assert_eq!(
        outer[..4],
        [
            "Undumpable",
            r#"OpenTree { source: "/a", slot: 0, recursive: true }"#,
            "MapTree { slot: 0, userns_fd: 7, recursive: true }",
            r#"OpenTree { source: "/b", slot: 1, recursive: false }"#,
        ]
    );
    assert_eq!(outer.len(), 4 + 6, "and the devices");
    let steps = steps(&planned);
    let child = &steps[outer.len()..];
    assert_eq!(
        child[..5],
        [
            "Affinity { mask: '' }",
            "Sync { word: 1 }",
            "Ids { uid: 0, gid: 0, groups: '', home: false }",
            "SwitchUser { groups: true }",
            "Unshare { flags: 33554432 }",
        ]
    );
    assert!(the(child, r#"target: "/a""#).contains("slot: 0,"));
    assert!(
        the(child, r#"target: "/a""#).contains("propagation: 540672, userns_fd: -1"),
        "a slave of the host's"
    );
    assert!(the(child, r#"target: "/b""#).contains("propagation: 278528"));
    the(child, r#"BindNode { slot: 2, path: "/dev/null" }"#);
    assert!(!child.iter().any(|step| step.starts_with("Device")));
    the(child, r#"fstype: "sysfs""#);
    assert!(
        !child.iter().any(|step| step.starts_with("Limit") || step.contains("oom_score_adj")),
        "the runtime's"
    );
    let (uids, gids) = (planned_maps(), planned_maps());
    assert_eq!(planned.fds[0], (7, Wanted::IdMap { uids, gids }));
    // Whatever the runtime's own bounding set is, the container's root has all in its namespace.
    let mut case = Case::new(with(all(json!([{"type": "user"}])), json!({})));
    case.machine.bounding = CapSet::EMPTY;
    the(&case.steps(), "Bounding { keep: 536871968 }");
}

fn planned_maps() -> Vec<cais_oci::runtime::IdMapping> {
    serde_json::from_value(maps()).expect("maps")
}

#[test]
fn privileged_callers_join_before_the_user_namespace_and_others_after() {
    let namespaces = json!([{"type": "mount"}, {"type": "uts"}, {"type": "network", "path": "/ns/net"},
        {"type": "user", "path": "/ns/user"}, {"type": "pid", "path": "/ns/pid"}]);
    let change = with(
        namespaces,
        json!({"mounts": [{"destination": "/a", "source": "/a", "options": ["rbind", "idmap"]}]}),
    );
    let planned = Case::new(change.clone()).planned();
    let outer = outer_of(&planned);
    assert_eq!(
        outer[..5],
        [
            "Undumpable",
            "SetNs { fd: 7, flags: 1073741824 }",
            "SetNs { fd: 8, flags: 536870912 }",
            r#"OpenTree { source: "/a", slot: 0, recursive: true }"#,
            "MapTree { slot: 0, userns_fd: 9, recursive: false }",
        ]
    );
    assert_eq!(outer.last().map(String::as_str), Some("SetNs { fd: 9, flags: 268435456 }"), "the same file");
    assert_eq!(planned.clone_flags, 0x2_0000 | 0x0400_0000);
    assert_eq!(steps(&planned)[outer.len() + 1], "Sync { word: 1 }", "for limits");
    let mut change = change;
    change["mounts"] = json!([]);
    let planned = Case::on(change, user()).planned();
    assert_eq!(
        outer_of(&planned),
        [
            "Undumpable",
            "SetNs { fd: 7, flags: 268435456 }",
            "SetNs { fd: 8, flags: 1073741824 }",
            "SetNs { fd: 9, flags: 536870912 }",
        ]
    );
    assert!(!steps(&planned).iter().any(|step| step.starts_with("Sync { word: 1")), "nothing to do outside");
}

#[test]
fn an_unprivileged_caller_hides_after_the_maps() {
    let planned = Case::on(with(all(json!([{"type": "user"}])), json!({})), user()).planned();
    assert_eq!(planned.outer, 0);
    let steps = steps(&planned);
    assert_eq!(
        steps[..5],
        [
            "Affinity { mask: '' }",
            "Sync { word: 1 }",
            "Ids { uid: 0, gid: 0, groups: '', home: false }",
            "SwitchUser { groups: false }",
            "Undumpable",
        ]
    );
    let at = place(&steps, r#"OpenTree { source: "/dev/null", slot: 511, recursive: false }"#);
    assert_eq!(steps[at + 1], r#"BindNode { slot: 511, path: "/dev/null" }"#);
    the(&steps, "Limit");
    assert_eq!(Case::on(json!({}), user()).error(), PlanError::NeedsUserNamespace);
}

#[test]
fn a_user_namespace_without_root() {
    let map = json!([{"containerID": 1000, "hostID": 5, "size": 1}]);
    let change = json!({
        "process": {"user": {"uid": 1000, "gid": 1000}},
        "linux": {"namespaces": all(json!([{"type": "user"}])), "uidMappings": map, "gidMappings": map}
    });
    let steps = Case::new(change).steps();
    let switches: Vec<&String> = steps.iter().filter(|step| step.starts_with("Ids")).collect();
    assert_eq!(switches.len(), 2);
    assert!(switches[0].contains("uid: 1000, gid: 1000, groups: '', home: false"));
}

#[test]
fn sysfs_shows_a_network_namespace() {
    let sysfs = json!({"mounts": [{"destination": "/sys", "type": "sysfs", "source": "sysfs",
        "options": ["nosuid", "noexec", "nodev", "ro"]}]});
    let own = json!({"type": "network"});
    let joined = json!({"type": "network", "path": "/ns/net"});
    let (new_user, old_user) = (json!({"type": "user"}), json!({"type": "user", "path": "/ns/user"}));
    let foreign = Machine { owns_network: false, ..inner_root() };
    for (namespaces, machine, bound) in [
        (vec![], root(), false),
        (vec![own.clone()], root(), false),
        (vec![joined.clone()], root(), false),
        (vec![new_user.clone(), own.clone()], root(), false),
        (vec![new_user.clone()], root(), true),
        (vec![new_user, joined.clone()], root(), true),
        (vec![old_user.clone(), joined.clone()], root(), false),
        (vec![old_user], root(), true),
        (vec![], inner_root(), false),
        (vec![], foreign.clone(), true),
        (vec![own], foreign.clone(), false),
        (vec![joined], foreign, false),
    ] {
        let mut list = vec![json!({"type": "mount"}), json!({"type": "uts"})];
        list.extend(namespaces);
        let change = with(Value::Array(list), sysfs.clone());
        let steps = Case::on(change.clone(), machine).steps();
        assert_eq!(steps.iter().any(|step| step.contains("sysfs")), !bound, "{change}");
        if bound {
            let at = place(&steps, r#"OpenTree { source: "/sys", slot: 511, recursive: true }"#);
            assert!(steps[at + 1].contains(r#"target: "/sys", set: 0, clear: 0, recursive_set: 15, "#));
        }
    }
}

#[test]
fn without_a_mount_namespace_nothing_is_mounted() {
    let spaces = json!({"mounts": [], "linux": {"namespaces": [{"type": "uts"}, {"type": "pid"}],
        "maskedPaths": [], "readonlyPaths": []}});
    let steps = Case::new(spaces.clone()).steps();
    the(&steps, r#"OpenRoot { path: "/bundle/rootfs" }"#);
    the(&steps, "Chroot");
    for word in ["Propagate", "Rootfs", "Device", "Symlink", "Pivot", "RootAttributes", "ReopenNull"] {
        assert!(!steps.iter().any(|step| step.starts_with(word)), "{word}");
    }
    let mut change = spaces;
    change["mounts"] = json!([{"destination": "/a", "source": "/a", "options": ["bind"]}]);
    let planned = Case::new(change).planned();
    assert_eq!(planned.warnings, ["mount on /a: left out, there is no mount namespace for it"]);
    assert!(!super::steps(&planned).iter().any(|step| step.starts_with("Bind")));
}

#[test]
fn what_the_runtime_does_from_outside() {
    let waits = |case: &Case| case.steps().iter().any(|step| step == "Sync { word: 1 }");
    assert!(!waits(&Case::new(json!({}))));
    assert!(waits(&Case { moved_by_manager: true, ..Case::new(json!({})) }));
    let devices = json!({"linux": {"netDevices": {"eth0": {}},
        "namespaces": [{"type": "mount"}, {"type": "uts"}, {"type": "network", "path": "/ns/net"}]}});
    let steps = Case::new(devices).steps();
    assert!(place(&steps, "SetNs") < place(&steps, "Sync { word: 1 }"));
}

#[test]
fn kernel_parameters() {
    let case = |change: Value, own: bool| Case { joins_own_network: own, ..Case::new(change) };
    let sysctl = |name: &str| json!({"linux": {"sysctl": {name: "1"}}});
    let steps = case(sysctl("net/ipv4/conf/eno2.100/rp_filter"), false).steps();
    the(
        &steps,
        r#"WriteProc { file: "sys/net/ipv4/conf/eno2.100/rp_filter", content: '1', optional: false }"#,
    );
    let opened = place(&steps, "ProcHandle");
    assert!(
        opened < place(&steps, "WriteProc") && place(&steps, "WriteProc") < place(&steps, "ReadOnlyPath")
    );
    assert_eq!(
        case(sysctl("net.core.somaxconn"), true).error().to_string(),
        "sysctl \"net.core.somaxconn\" not allowed in host network namespace"
    );
    assert!(case(sysctl("kernel.shmmax"), true).container().is_ok());
}

#[test]
fn descriptors_come_after_the_preserved_ones() {
    let mut case = Case::new(json!({}));
    (case.preserve, case.tasks) = (3, 2);
    let planned = case.planned();
    assert_eq!(planned.fds, [(10, Wanted::Tasks(0)), (11, Wanted::Tasks(1))]);
    case.preserve = u32::MAX;
    assert_eq!(case.error(), PlanError::Preserve(u32::MAX));
}

#[test]
fn too_many_trees_in_a_user_namespace() {
    let mounts: Vec<Value> = (0..600)
        .map(|n| json!({"destination": format!("/m{n}"), "source": "/s", "options": ["bind"]}))
        .collect();
    let many = with(all(json!([{"type": "user"}])), json!({"mounts": mounts}));
    assert_eq!(Case::new(many).error(), PlanError::TooMany);
    let without = Case::new(json!({"mounts": mounts}));
    assert!(without.container().is_ok(), "else each tree has the same slot");
}
