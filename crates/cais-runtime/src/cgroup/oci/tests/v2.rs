//! The unified hierarchy: limits, devices, owners, threaded groups.

use super::*;

#[test]
fn v2_devices_are_guarded_by_a_program() {
    let Some(mut bed) = Bed::v2() else { return };
    let asked = resources(
        r#"{"devices": [{"allow": true, "type": "c", "major": 1, "access": "rw"},
            {"allow": false, "type": "c", "major": 1, "minor": 11, "access": "r"}]}"#,
    );
    let path = bed.path("guarded");
    let request = GroupRequest { rootless: false, ..bed.request(&path, &asked) };
    let group = match Group::create(&bed.trees, &request) {
        Err(GroupError::Cgroup(CgroupError::Devices { .. })) => {
            println!("skipped: bpf(2) is not permitted");
            assert!(bed.parents().iter().all(|parent| !parent.exists()));
            return;
        }
        group => group.unwrap(),
    };
    let script = "head -c 1 /dev/zero >/dev/null || exit 1; true </dev/kmsg && exit 2; exit 7";
    assert_eq!(bed.run_inside(&group, script).wait().unwrap().code(), Some(7));
    group.destroy().unwrap();
}

#[test]
fn v2_is_given_to_its_owner() {
    let Some(bed) = Bed::v2() else { return };
    let nothing = Resources::default();
    let path = bed.path("given");
    let request = GroupRequest { owner_uid: Some(12_345), ..bed.request(&path, &nothing) };
    let group = Group::create(&bed.trees, &request).unwrap();
    let owner = |file: &str| fs::metadata(group.state().places[0].path.join(file)).unwrap().uid();
    for file in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
        assert_eq!(owner(file), 12_345, "{file:?}");
    }
    assert_eq!(owner("cgroup.max.depth"), 0);
    group.destroy().unwrap();
}

#[test]
fn v2_commands_go_where_the_container_has_gone() {
    let Some(mut bed) = Bed::v2() else { return };
    let group = bed.create("moved", "{}").unwrap();
    let path = group.state().places[0].path.clone();
    let pid = bed.run_inside(&group, "exec sleep 1000").id();
    let ends = |join: Join| {
        let directory = join.directory.unwrap();
        let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&directory));
        fs::read_link(link).unwrap().strip_prefix(&path).unwrap().to_owned()
    };
    fs::create_dir(path.join("foo")).unwrap();
    fs::write(path.join("foo/cgroup.procs"), pid.to_string()).unwrap();
    let exec = |sub| group.open_join_exec(pid as i32, sub);
    assert_eq!(ends(exec(None).unwrap()), PathBuf::new());
    assert_eq!(ends(exec(Some("/foo")).unwrap()), PathBuf::from("foo"));
    for sub in ["..", "foo/../..", "bar"] {
        assert!(exec(Some(sub)).is_err(), "{sub}");
    }
    let offered = fs::read_to_string(path.join("cgroup.controllers")).unwrap();
    let Some(controller) = offered.split_ascii_whitespace().find(|name| ["memory", "hugetlb"].contains(name))
    else {
        println!("skipped: no controller to pass on");
        return;
    };
    fs::write(path.join("cgroup.subtree_control"), format!("+{controller}")).unwrap();
    assert_eq!(ends(exec(None).unwrap()), PathBuf::from("foo"));
    // From there on up nobody may live.
    let error = bed.create("moved/foo/threads", "{}");
    assert!(error.is_ok() || matches!(error, Err(GroupError::Threaded { .. })));
}

#[test]
fn v2_threaded_groups_are_avoided() {
    let Some(bed) = Bed::v2() else { return };
    let parent = bed.parents()[0].join("domain");
    fs::create_dir_all(parent.join("threads")).unwrap();
    if fs::write(parent.join("threads/cgroup.type"), "threaded").is_err() {
        println!("skipped: no group can be made threaded");
        return;
    }
    for (name, kind) in
        [("domain", "domain threaded"), ("domain/threads", "threaded"), ("domain/new", "domain invalid")]
    {
        let error = bed.create(name, "{}").unwrap_err().to_string();
        assert!(error.ends_with(&format!("with domain controllers -- it is in {kind} mode")), "{error}");
    }
    assert!(!parent.join("new").exists() && parent.join("threads").exists());
}

#[test]
fn v2_limits_are_in_force() {
    let Some(bed) = Bed::of(2) else { return };
    let json = r#"{"memory": {"limit": 33554432, "reservation": 25165824}, "pids": {"limit": 20},
        "cpu": {"shares": 1024, "quota": 50000, "period": 100000, "cpus": "0"}, "unified": {"memory.high": "30000000"}}"#;
    let group = bed.create("a/limited", json).unwrap();
    for (file, value) in [
        ("memory.max", "33554432"),
        ("memory.low", "25165824"),
        ("memory.high", "29999104"),
        ("pids.max", "20"),
        ("cpu.weight", "100"),
        ("cpu.max", "50000 100000"),
        ("cpuset.cpus", "0"),
    ] {
        assert_eq!(read(&group, "memory", file), value, "{file}");
    }
    group.update(&resources(r#"{"cpu": {"period": 10000, "burst": 0}, "pids": {"limit": -1}}"#)).unwrap();
    assert_eq!(read(&group, "cpu", "cpu.max"), "max 10000");
    assert_eq!(read(&group, "pids", "pids.max"), "max");
    let error = group.update(&resources(r#"{"unified": {"nothing.max": "1"}}"#)).unwrap_err().to_string();
    assert_eq!(error, "unified resource \"nothing.max\" can't be set: controller \"nothing\" not available");
    assert_eq!(group.stats().unwrap().memory.usage.limit, 33_554_432);
    group.destroy().unwrap();
    assert!(!bed.parents()[0].exists());
}

#[test]
fn huge_pages_are_limited_in_v2_beside_v1() {
    let Some(bed) = Bed::v1() else { return };
    let tree = bed.trees.all.iter().find(|tree| tree.unified && tree.has("hugetlb"));
    let passed_on = tree.is_some_and(|tree| {
        let text = fs::read_to_string(tree.mount.join("cgroup.subtree_control")).unwrap_or_default();
        text.contains("hugetlb")
    });
    if !passed_on {
        println!("skipped: no hybrid layout that passes huge pages on");
        return;
    }
    let group =
        bed.create("a/huge", r#"{"hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}]}"#).unwrap();
    assert_eq!(read(&group, "hugetlb", "hugetlb.2MB.max"), "4194304");
    assert_eq!(read(&group, "hugetlb", "hugetlb.2MB.rsvd.max"), "4194304");
    assert!(group.stats().unwrap().hugetlb.contains_key("2MB"));
    group.destroy().unwrap();
}
