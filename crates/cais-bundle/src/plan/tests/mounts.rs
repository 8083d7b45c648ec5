//! Mounts: what each kind becomes, what is refused, and the views of the control group.

use serde_json::json;

use super::*;

/// The steps of one mount, on this machine.
fn steps_of(entry: Value, case: impl Fn(&mut Case)) -> Vec<String> {
    let mut with = Case::new(mount(entry));
    case(&mut with);
    let mut without = Case::new(json!({"mounts": []}));
    case(&mut without);
    difference(&without.steps(), &with.steps()).0
}

fn plain(entry: Value) -> Vec<String> {
    steps_of(entry, |_| {})
}

fn refused(entry: Value) -> String {
    Case::new(mount(entry)).error().to_string()
}

#[test]
fn bind_mounts() {
    let open = r#"OpenTree { source: "/src", slot: 511, recursive: true }"#;
    let bind = |target: &str, rest: &str| {
        format!(r#"Bind {{ slot: 511, target: "{target}", {rest}, userns_fd: -1, recursive_map: false }}"#)
    };
    let none = "set: 0, clear: 0, recursive_set: 0, recursive_clear: 0, propagation: 0";
    for kind in [json!(null), json!("none"), json!("bind"), json!("ext4")] {
        let entry = json!({"destination": "/dst", "type": kind, "source": "/src", "options": ["rbind"]});
        assert_eq!(plain(entry), [open.to_owned(), bind("/dst", none)]);
    }
    for (options, rest) in [
        // What is not asked for goes, links (0x20_0000) included.
        (
            json!(["rbind", "ro"]),
            "set: 1, clear: 2097166, recursive_set: 0, recursive_clear: 0, propagation: 0",
        ),
        (
            json!(["rbind", "rw", "exec"]),
            "set: 0, clear: 2097167, recursive_set: 0, recursive_clear: 0, propagation: 0",
        ),
        (
            json!(["rbind", "rro", "rprivate"]),
            "set: 0, clear: 0, recursive_set: 1, recursive_clear: 0, propagation: 278528",
        ),
        (
            json!(["rbind", "atime", "norelatime", "nostrictatime"]),
            "set: 0, clear: 0, recursive_set: 0, recursive_clear: 0, propagation: 0",
        ),
        (
            json!(["rbind", "nodiratime"]),
            "set: 128, clear: 2097279, recursive_set: 0, recursive_clear: 0, propagation: 0",
        ),
        (
            json!(["rbind", "noatime"]),
            "set: 16, clear: 2097407, recursive_set: 0, recursive_clear: 0, propagation: 0",
        ),
        (
            json!(["rbind", "shared", "sync"]),
            "set: 0, clear: 0, recursive_set: 0, recursive_clear: 0, propagation: 1048576",
        ),
    ] {
        let entry = json!({"destination": "/dst", "source": "/src", "options": options});
        assert_eq!(plain(entry), [open.to_owned(), bind("/dst", rest)]);
    }
    let relative = json!({"destination": "a/../dst/", "type": "bind", "source": "src"});
    let want =
        [r#"OpenTree { source: "/bundle/src", slot: 511, recursive: false }"#.to_owned(), bind("/dst", none)];
    assert_eq!(plain(relative), want);
}

#[test]
fn new_file_systems() {
    let filesystem = |fstype: &str, rest: &str| {
        format!(
            r#"Filesystem {{ fstype: "{fstype}", {rest}, userns_fd: -1, copy_up: false, optional: false }}"#
        )
    };
    for (entry, want) in [
        (
            json!({"destination": "/t", "type": "tmpfs", "options": ["noexec", "size=1k", "rslave", "lazytime"]}),
            filesystem(
                "tmpfs",
                r#"source: "tmpfs", target: "/t", attributes: 8, options: [lazytime size=1k], propagation: 524288"#,
            ),
        ),
        (
            json!({"destination": "/o", "type": "overlay", "source": "overlay", "options": ["lowerdir=/a:/b", "upperdir=/u,workdir=/w", "ro"]}),
            filesystem(
                "overlay",
                r#"source: "overlay", target: "/o", attributes: 1, options: [lowerdir=/a:/b upperdir=/u workdir=/w], propagation: 0"#,
            ),
        ),
        (
            json!({"destination": "/d", "type": "ext4", "source": "/dev/sda1", "options": ["ro", "nodev"]}),
            filesystem(
                "ext4",
                r#"source: "/dev/sda1", target: "/d", attributes: 5, options: [ro], propagation: 0"#,
            ),
        ),
        (
            json!({"destination": "/c", "type": "cgroup2", "source": "x", "options": ["ro", "nsdelegate"]}),
            filesystem(
                "cgroup2",
                r#"source: "x", target: "/c", attributes: 1, options: [nsdelegate], propagation: 0"#,
            ),
        ),
    ] {
        assert_eq!(plain(entry), [want]);
    }
    let copied = json!({"destination": "/t", "type": "tmpfs", "source": "t", "options": ["tmpcopyup"]});
    assert!(the(&plain(copied), "Filesystem").contains("copy_up: true"));
}

#[test]
fn a_tmpfs_becomes_read_only_when_all_is_mounted() {
    let change = json!({"mounts": [
        {"destination": "/t", "type": "tmpfs", "options": ["ro", "nosuid"]},
        {"destination": "/t/sub", "source": "/src", "options": ["bind"]},
        {"destination": "/covered", "type": "tmpfs", "options": ["ro"]},
        {"destination": "/covered/", "source": "/src", "options": ["bind"]},
        {"destination": "/dev", "type": "devtmpfs", "options": ["ro"]}
    ]});
    let steps = Case::new(change).steps();
    assert!(the(&steps, r#"target: "/t", attributes"#).contains("attributes: 2,"));
    let remounts: Vec<&String> = steps.iter().filter(|step| step.starts_with("Remount")).collect();
    let remount =
        |target: &str| format!(r#"Remount {{ target: "{target}", set: 1, clear: 0, recursive: false }}"#);
    assert_eq!(remounts, [&remount("/t"), &remount("/dev")]);
    let first = place(&steps, "Remount");
    assert!(first > place(&steps, "/dev/core") && first < place(&steps, "Pivot"));
}

#[test]
fn remounts() {
    let entry =
        |options: Value| json!({"destination": "/t", "type": "tmpfs", "source": "t", "options": options});
    let remount = |rest: &str| format!(r#"Remount {{ target: "/t", {rest} }}"#);
    assert_eq!(
        plain(entry(json!(["remount", "ro", "dev"]))),
        [remount("set: 1, clear: 4, recursive: false")]
    );
    assert_eq!(
        plain(entry(json!(["bind", "remount", "rnosuid"]))),
        [remount("set: 2, clear: 0, recursive: true")]
    );
    assert_eq!(plain(entry(json!(["remount"]))), [""; 0]);
    assert_eq!(
        plain(entry(json!(["remount", "nodev", "size=1k", "sync"]))),
        [
            r#"Reconfigure { target: "/t", options: [sync size=1k] }"#.to_owned(),
            remount("set: 4, clear: 0, recursive: false")
        ]
    );
    assert_eq!(plain(entry(json!(["bind", "remount", "size=1k"]))), [""; 0]);
}

#[test]
fn a_symbolic_link_can_be_copied() {
    let entry = json!({"destination": "/l", "source": "/src", "options": ["rbind", "copy-symlink"]});
    let found = |symlink: Option<&str>| vec![Found { symlink: symlink.map(PathBuf::from), procfs: false }];
    let steps = steps_of(entry.clone(), |case| case.found = found(Some("../x")));
    assert_eq!(steps, [r#"Symlink { content: "../x", path: "/l" }"#]);
    assert_eq!(steps_of(entry, |case| case.found = found(None)).len(), 2);
    let without = json!({"destination": "/l", "source": "/src", "options": ["rbind"]});
    assert_eq!(steps_of(without, |case| case.found = found(Some("../x"))).len(), 2);
}

#[test]
fn proc_belongs_to_the_kernel() {
    let proc = |destination: &str| json!({"destination": destination, "type": "proc", "source": "proc"});
    let bind = |destination: &str| json!({"destination": destination, "source": "/src", "options": ["bind"]});
    let tmpfs = |destination: &str| json!({"destination": destination, "type": "tmpfs"});
    for fine in [
        proc("/proc"),
        proc("/proc/"),
        proc("/x/proc"),
        bind("/proc/cpuinfo"),
        bind("/proc/sys/kernel/ns_last_pid"),
        bind("/process"),
    ] {
        assert!(!plain(fine).is_empty());
    }
    for inside in [bind("/proc/sys"), bind("/x/../proc/self/attr"), tmpfs("/proc//acpi"), proc("/proc/1")] {
        assert!(refused(inside).contains("cannot be mounted because it is inside /proc"));
    }
    for over in [bind("/proc"), tmpfs("/proc"), tmpfs("proc")] {
        assert_eq!(refused(over), "\"/proc\" cannot be mounted because it is not of type proc");
    }
    let found = vec![Found { symlink: None, procfs: true }];
    assert_eq!(steps_of(bind("/proc"), |case| case.found.clone_from(&found)).len(), 2);
}

#[test]
fn what_cannot_be_mounted() {
    for (entry, want) in [
        (json!({"destination": "/d", "source": "/s"}), "it has no type"),
        (json!({"destination": "/d", "type": "none", "source": "/s"}), "it has no type"),
        (json!({"destination": "/d", "options": ["bind"]}), "a bind mount needs a source"),
        (json!({"destination": "/", "source": "/s", "options": ["bind"]}), "is on the top of rootfs"),
        (json!({"destination": "/a/..", "type": "tmpfs"}), "is on the top of rootfs"),
        (
            json!({"destination": "/d", "type": "ramfs", "options": ["tmpcopyup"]}),
            "only with tmpfs, not ramfs",
        ),
    ] {
        let text = refused(entry.clone());
        assert!(text.contains(want), "{entry}: {text}");
    }
}

#[test]
fn warnings_about_mounts() {
    let options = json!(["bind", "slave", "rshared", "mode=755"]);
    let change = mount(json!({"destination": "d", "source": "/s", "options": options}));
    let planned = Case::new(change).planned();
    assert_eq!(
        planned.warnings,
        [
            "mount destination d is not absolute: it counts from the root",
            "mount on /d: of several propagations the last one counts",
            "mount on /d: \"mode=755\" does nothing on a bind mount",
        ]
    );
    assert!(the(&steps(&planned), "Bind {").contains("propagation: 1064960"));
}

#[test]
fn id_mapped_mounts() {
    let maps = json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
    let entry = |options: Value, maps: Value| json!({"destination": "/d", "source": "/s", "options": options, "uidMappings": maps, "gidMappings": maps});
    for (options, recursive) in
        [(json!(["rbind", "ridmap"]), true), (json!(["bind", "idmap"]), false), (json!(["bind"]), false)]
    {
        let planned = Case::new(mount(entry(options, maps.clone()))).planned();
        let steps = steps(&planned);
        assert!(the(&steps, "Bind {").contains(&format!("userns_fd: 7, recursive_map: {recursive}")));
        assert_eq!(planned.fds.len(), 1);
    }
    let crun =
        json!({"destination": "/d", "source": "/s", "options": ["bind", "idmap=uids=0-1-2;gids=0-1-2"]});
    assert!(the(&plain(crun), "Bind {").contains("userns_fd: 7"));
    let wrong = json!({"destination": "/d", "source": "/s", "options": ["bind", "idmap=uids=x"]});
    assert!(refused(wrong).contains("invalid mapping specified \"uids=x\""));
    assert!(
        refused(entry(json!(["bind", "idmap"]), json!([]))).contains("must have both uid and gid mappings")
    );
    let rootless = Case::on(
        json!({
            "mounts": [entry(json!(["bind", "idmap"]), maps.clone())],
            "linux": {"namespaces": [{"type": "user"}, {"type": "mount"}, {"type": "uts"}, {"type": "network"}],
                "uidMappings": maps, "gidMappings": maps}
        }),
        user(),
    );
    assert!(rootless.error().to_string().contains("not supported for rootless containers"));
    let tmpfs = json!({"destination": "/t", "type": "tmpfs", "options": ["idmap"], "uidMappings": maps, "gidMappings": maps});
    assert!(the(&plain(tmpfs), "Filesystem").contains("userns_fd: 7"));
}

#[test]
fn labels_of_mounts() {
    let change = json!({"linux": {"mountLabel": "a:b:c0,c1"}});
    let plain = Case::new(change.clone()).steps();
    assert!(!plain.iter().any(|step| step.contains("context=")), "without SELinux there is no such option");
    let mut case = Case::new(change);
    case.machine.selinux = true;
    let steps = case.steps();
    let labelled: Vec<&String> = steps.iter().filter(|step| step.contains("context=a:b:c0,c1")).collect();
    assert_eq!(labelled.len(), 3, "two tmpfs and devpts: {labelled:?}");
    let own = json!({"mounts": [{"destination": "/t", "type": "tmpfs", "options": ["context=\"x:y,z\""]}],
        "linux": {"mountLabel": "l"}});
    let mut case = Case::new(own);
    case.machine.selinux = true;
    assert!(the(&case.steps(), "Filesystem").contains("options: [context=x:y,z]"));
}

fn cgroup_mount() -> Value {
    json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro", "nosuid"]})
}

#[test]
fn groups_of_version_2() {
    let own = |case: &mut Case| case.own_group = Some(PathBuf::from("/sys/fs/cgroup/c1"));
    let steps = steps_of(cgroup_mount(), own);
    assert!(
        the(&steps, "Filesystem").contains(r#"fstype: "cgroup2""#),
        "its namespace makes the group the root"
    );
    let without = |change: Value| {
        let mut change = change;
        lay(&mut change, &json!({"mounts": [cgroup_mount()]}));
        Case::new(change)
    };
    let spaces = json!({"linux": {"namespaces": [{"type": "mount"}, {"type": "uts"}]}});
    let mut case = without(spaces.clone());
    assert!(the(&case.steps(), "cgroup2").contains("attributes: 3"));
    own(&mut case);
    let steps = case.steps();
    the(&steps, r#"OpenTree { source: "/sys/fs/cgroup/c1", slot: 511, recursive: true }"#);
    assert!(the(&steps, "Bind {").contains("set: 3"));
    let map = json!([{"containerID": 0, "hostID": 1, "size": 1}]);
    let in_user = json!({"linux": {"namespaces": [{"type": "mount"}, {"type": "uts"}, {"type": "user"}],
        "uidMappings": map, "gidMappings": map}});
    let steps = without(in_user).steps();
    the(&steps, r#"OpenTree { source: "/sys/fs/cgroup", "#);
}

#[test]
fn groups_of_version_1() {
    let steps = steps_of(cgroup_mount(), |case| {
        case.unified = false;
        case.views = vec![
            ("cpu,cpuacct".to_owned(), PathBuf::from("/sys/fs/cgroup/cpu,cpuacct/c1")),
            ("memory".to_owned(), PathBuf::from("/sys/fs/cgroup/memory/c1")),
        ];
    });
    let bind = |target: &str| {
        format!(
            r#"Bind {{ slot: 511, target: "/sys/fs/cgroup/{target}", set: 3, clear: 0, recursive_set: 0, recursive_clear: 0, propagation: 0, userns_fd: -1, recursive_map: false }}"#
        )
    };
    let want = [
        r#"Filesystem { fstype: "tmpfs", source: "tmpfs", target: "/sys/fs/cgroup", attributes: 14, options: [mode=755], propagation: 0, userns_fd: -1, copy_up: false, optional: false }"#.to_owned(),
        r#"OpenTree { source: "/sys/fs/cgroup/cpu,cpuacct/c1", slot: 511, recursive: true }"#.to_owned(),
        bind("cpu,cpuacct"),
        r#"OpenTree { source: "/sys/fs/cgroup/memory/c1", slot: 511, recursive: true }"#.to_owned(),
        bind("memory"),
        r#"Symlink { content: "cpu,cpuacct", path: "/sys/fs/cgroup/cpu" }"#.to_owned(),
        r#"Symlink { content: "cpu,cpuacct", path: "/sys/fs/cgroup/cpuacct" }"#.to_owned(),
    ];
    assert_eq!(steps, want);
}

#[test]
fn propagation_of_the_root() {
    for (word, flags, parent, own, last) in [
        (json!(null), 540_672, 524_288, 540_672, None),
        (json!("rslave"), 540_672, 524_288, 540_672, None),
        (json!("slave"), 524_288, 524_288, 524_288, None),
        (json!("private"), 262_144, 262_144, 262_144, None),
        (json!("rprivate"), 278_528, 262_144, 278_528, None),
        (json!("shared"), 1_048_576, 262_144, 262_144, Some(1_048_576)),
        (json!("rshared"), 1_064_960, 262_144, 278_528, Some(1_064_960)),
        (json!("unbindable"), 131_072, 262_144, 262_144, Some(131_072)),
        (json!("runbindable"), 147_456, 262_144, 278_528, Some(147_456)),
    ] {
        let steps = Case::new(json!({"linux": {"rootfsPropagation": word}})).steps();
        let found: Vec<&String> = steps.iter().filter(|step| step.starts_with("Propagate")).collect();
        let want: Vec<String> = [Some(flags), last]
            .into_iter()
            .flatten()
            .map(|flags| format!("Propagate {{ flags: {flags} }}"))
            .collect();
        assert_eq!(found, want.iter().collect::<Vec<_>>(), "{word}");
        assert!(the(&steps, "Rootfs").contains(&format!("parent: {parent}, propagation: {own} ")), "{word}");
    }
}

#[test]
fn without_pivot() {
    let mut case = Case::new(json!({}));
    case.no_pivot = true;
    let steps = case.steps();
    the(&steps, "MoveRoot");
    assert!(!steps.iter().any(|step| step.starts_with("Pivot")));
    let mut case = Case::new(json!({"linux": {"rootfsPropagation": "rprivate"}}));
    case.no_pivot = true;
    assert_eq!(case.error(), PlanError::PrivateWithoutPivot);
}
