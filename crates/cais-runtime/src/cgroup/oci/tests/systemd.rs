//! Groups that systemd makes: one that is played, and the machine's and a user's own where there are any.

use super::*;

#[test]
fn systemd_is_told_everything_about_a_unit() {
    let Some(bed) = Bed::v2() else { return };
    let directory = tempfile::tempdir().unwrap();
    let played = Played::direct(directory.path(), false, "DATA\r\n");
    let asked = resources(r#"{"unified": {"cgroup.max.depth": "7"}}"#);
    let annotations: BTreeMap<_, _> =
        [("org.systemd.property.TimeoutStopSec".to_owned(), "uint32 5".to_owned())].into();
    let path = format!("{}.slice:cri:x", bed.parent.replace('-', "_"));
    let request = GroupRequest {
        manager: &Manager::Systemd(played.systemd.clone()),
        annotations: &annotations,
        pid: Some(77),
        ..bed.request(&path, &asked)
    };
    let group = Group::create(&bed.trees, &request).unwrap();
    let below = PathBuf::from(format!("{}.slice/cri-x.scope", bed.parent.replace('-', "_")));
    assert!(group.state().places[0].path.ends_with(&below));
    assert_eq!(group.state().unit.as_deref(), Some("cri-x.scope"));
    assert_eq!(
        fs::read_to_string(group.state().places[0].path.join("cgroup.max.depth")).unwrap().trim(),
        "7"
    );
    let calls = played.calls.lock().unwrap().clone();
    let start = calls.iter().find(|(member, _)| member == "StartTransientUnit").unwrap();
    let Value::Array(_, properties) = &start.1[1] else { panic!("{start:?}") };
    let names: Vec<&str> = properties
        .iter()
        .map(|property| match property {
            Value::Struct(fields) => match &fields[0] {
                Value::Text(name) => name.as_str(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        names,
        [
            "Description",
            "Slice",
            "Delegate",
            "PIDs",
            "MemoryAccounting",
            "CPUAccounting",
            "IOAccounting",
            "TasksAccounting",
            "DefaultDependencies",
            "TimeoutStopUSec",
        ]
    );
    group.update(&resources(r#"{"unified": {"cgroup.max.depth": "8"}}"#)).unwrap();
    group.destroy().unwrap();
    let slice = group.state().places[0].path.parent().unwrap().to_owned();
    assert!(!slice.exists());
    assert_eq!(played.members().last().map(String::as_str), Some("ResetFailedUnit"));
    let without = GroupRequest { pid: None, ..request.clone() };
    let error = Group::create(&bed.trees, &without).unwrap_err().to_string();
    assert_eq!(error, "start the systemd unit cri-x.scope: a scope needs a process to begin with");
    let v1 = Trees { version: 1, ..bed.trees.clone() };
    let user = Manager::Systemd(Systemd { user: true, ..played.systemd.clone() });
    let error = Group::create(&v1, &GroupRequest { manager: &user, ..request }).unwrap_err();
    assert!(matches!(error, GroupError::UserSystemdV1), "{error}");
}

#[test]
fn a_scope_of_this_machines_systemd() {
    if !std::path::Path::new("/run/systemd/private").exists() || !rustix::process::geteuid().is_root() {
        println!("skipped: systemd does not run here, or not root");
        return;
    }
    let Some(mut bed) = Bed::of(2) else { return };
    let nothing = Resources::default();
    let asked = resources(LIMITS);
    for systemd in
        [Systemd::system(), Systemd { user: false, addresses: vec![Systemd::system().addresses[1].clone()] }]
    {
        let first = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = first.id();
        bed.children.push(first);
        let path = format!("system.slice:cais:{}", bed.parent);
        let manager = Manager::Systemd(systemd);
        let annotations: BTreeMap<_, _> =
            [("org.systemd.property.TimeoutStopSec".to_owned(), "7".to_owned())].into();
        let request = GroupRequest {
            manager: &manager,
            pid: Some(pid as i32),
            rootless: false,
            annotations: &annotations,
            ..bed.request(&path, &asked)
        };
        let group = Group::create(&bed.trees, &request).unwrap();
        let unit = group.state().unit.clone().unwrap();
        assert_eq!(group.pids(false).unwrap(), [pid as i32], "systemd moved it");
        assert_eq!(read(&group, "memory", "memory.max"), "33554432");
        assert_eq!(read(&group, "pids", "pids.max"), "20");
        let show = |property: &str| {
            let output =
                Command::new("systemctl").args(["show", "-p", property, "--value", &unit]).output().unwrap();
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        for (property, value) in [
            ("MemoryMax", "33554432"),
            ("MemoryLow", "25165824"),
            ("TasksMax", "20"),
            ("CPUQuotaPerSecUSec", "500ms"),
            ("AllowedCPUs", "0"),
            ("DevicePolicy", "strict"),
            ("Delegate", "yes"),
            ("TimeoutStopUSec", "7s"),
            ("Slice", "system.slice"),
        ] {
            assert_eq!(show(property), value, "{property}");
        }
        assert!(matches!(
            Group::create(&bed.trees, &GroupRequest { resources: &nothing, ..request }),
            Err(GroupError::NotEmpty { .. })
        ));
        // The guard of devices is in force for who enters.
        let script = "head -c 1 /dev/zero >/dev/null || exit 1; true </dev/kmsg && exit 2; exit 7";
        assert_eq!(bed.run_inside(&group, script).wait().unwrap().code(), Some(7));
        group.update(&resources(r#"{"memory": {"limit": 67108864}, "pids": {"limit": 30}}"#)).unwrap();
        assert_eq!((show("MemoryMax"), show("TasksMax")), ("67108864".to_owned(), "30".to_owned()));
        assert_eq!(read(&group, "memory", "memory.max"), "67108864");
        group.signal_all(Signal::KILL).unwrap();
        bed.reap();
        group.destroy().unwrap();
        assert!(!group.state().places[0].path.exists());
        assert_eq!(show("LoadState"), "not-found");
    }
}

/// An ordinary user with a systemd of its own, also as root of a user namespace; `None`, after saying so, without.
fn user_bed() -> Option<(Bed, Systemd)> {
    let directory = std::env::var("XDG_RUNTIME_DIR").unwrap_or_default();
    let bus = std::path::Path::new(&directory).join("bus").exists();
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let root =
        rustix::process::geteuid().is_root() && map.split_ascii_whitespace().eq(["0", "0", "4294967295"]);
    match Trees::detect() {
        Ok(trees) if !root && trees.version == 2 && bus => {
            Some((Bed::new(trees), Systemd::user(None, Some(&directory))))
        }
        _ => {
            println!("skipped: no ordinary user with a systemd and cgroup v2");
            None
        }
    }
}

#[test]
fn a_scope_of_a_users_systemd() {
    let Some((mut bed, systemd)) = user_bed() else { return };
    let asked = resources(r#"{"memory": {"limit": 33554432}, "pids": {"limit": 20}}"#);
    let first = Command::new("sleep").arg("1000").spawn().unwrap();
    let pid = first.id() as i32;
    bed.children.push(first);
    let path = format!(":cais:{}", bed.parent);
    let manager = Manager::Systemd(systemd);
    let request = GroupRequest { manager: &manager, pid: Some(pid), ..bed.request(&path, &asked) };
    let group = Group::create(&bed.trees, &request).unwrap();
    let place = &group.state().places[0].path;
    assert!(place.ends_with(format!("user.slice/cais-{}.scope", bed.parent)), "{}", place.display());
    assert_eq!(group.pids(false).unwrap(), [pid]);
    assert_eq!(read(&group, "memory", "memory.max"), "33554432");
    group.update(&resources(r#"{"pids": {"limit": 30}}"#)).unwrap();
    assert_eq!(read(&group, "pids", "pids.max"), "30");
    group.freeze().unwrap();
    group.signal_all(Signal::KILL).unwrap();
    bed.reap();
    group.destroy().unwrap();
    assert!(!place.exists());
}

#[test]
fn a_users_group_is_beside_its_own() {
    let Some((mut bed, _)) = user_bed() else { return };
    let asked = resources(r#"{"memory": {"limit": 33554432}, "pids": {"limit": 20}}"#);
    let id = bed.parent.clone();
    let request = GroupRequest { cgroups_path: None, id: &id, ..bed.request("", &asked) };
    let group = Group::create(&bed.trees, &request).unwrap();
    let tree = &bed.trees.all[0];
    assert_eq!(group.state().places[0].path, tree.mount.join(tree.own.parent().unwrap()).join(&id));
    assert_eq!(read(&group, "memory", "memory.max"), "33554432");
    let pid = bed.run_inside(&group, "exec sleep 1000").id() as i32;
    assert_eq!(group.pids(false).unwrap(), [pid]);
    group.signal_all(Signal::KILL).unwrap();
    bed.reap();
    group.destroy().unwrap();
    // Elsewhere a user has no rights.
    let request = GroupRequest { id: &id, ..bed.request("/elsewhere", &asked) };
    let error = Group::create(&bed.trees, &request).unwrap_err().to_string();
    assert!(
        error.starts_with("unable to apply cgroup configuration") && error.ends_with("permission denied"),
        "{error}"
    );
}
