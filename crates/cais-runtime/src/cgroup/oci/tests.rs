//! Groups made for real, below a parent of each test's own, which its guard takes down whatever happens.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::systemd::Value;
use super::systemd::tests::Played;
use super::*;

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A parent group for one test, in every hierarchy.
struct Bed {
    trees: Trees,
    parent: String,
    children: Vec<Child>,
    annotations: BTreeMap<String, String>,
}

impl Bed {
    fn new(trees: Trees) -> Bed {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let parent = format!("cais-test-oci-{}-{number}", std::process::id());
        Bed { trees, parent, children: Vec::new(), annotations: BTreeMap::new() }
    }

    /// All of this machine; `None`, after saying so, where it is another version or may not be written.
    fn of(version: u8) -> Option<Bed> {
        match Trees::detect() {
            Ok(trees) if trees.version == version && rustix::process::geteuid().is_root() => {
                Some(Bed::new(trees))
            }
            _ => {
                println!("skipped: no cgroup v{version}, or not root");
                None
            }
        }
    }

    /// The v2 hierarchy of the machine, even an idle one beside v1.
    fn v2() -> Option<Bed> {
        let mut trees = Trees::detect().ok()?;
        trees.all.retain(|tree| tree.unified);
        for tree in trees.all.iter_mut().filter(|_| trees.version == 1) {
            tree.name.clear();
            // Nothing is passed on from the top of a machine that does not use it.
            tree.controllers.clear();
        }
        trees.version = 2;
        let Some(tree) = trees.all.first() else {
            println!("skipped: no cgroup v2");
            return None;
        };
        let probe = tree.mount.join(format!("cais-test-probe-{}", std::process::id()));
        if fs::create_dir(&probe).is_err() {
            println!("skipped: no cgroup v2 group can be made");
            return None;
        }
        let _ = fs::remove_dir(probe);
        Some(Bed::new(trees))
    }

    fn v1() -> Option<Bed> {
        Bed::of(1)
    }

    fn request<'a>(&'a self, path: &'a str, resources: &'a Resources) -> GroupRequest<'a> {
        GroupRequest {
            cgroups_path: Some(path),
            id: "id",
            manager: &Manager::Cgroupfs,
            // Devices of v2 need a right that is tested apart.
            rootless: self.trees.version == 2,
            resources,
            annotations: &self.annotations,
            pid: None,
            owner_uid: None,
            weights: Weights::Quadratic,
        }
    }

    fn path(&self, name: &str) -> String {
        format!("/{}/{name}", self.parent)
    }

    fn create(&self, name: &str, json: &str) -> Result<Group, GroupError> {
        let resources = resources(json);
        Group::create(&self.trees, &self.request(&self.path(name), &resources))
    }

    /// Where this test's parent would be.
    fn parents(&self) -> Vec<PathBuf> {
        self.trees.all.iter().map(|tree| tree.mount.join(&self.parent)).collect()
    }

    /// Starts a shell that enters the group by itself and then runs a script; waits until it is inside.
    fn run_inside(&mut self, group: &Group, script: &str) -> &mut Child {
        let enter: String = group
            .state
            .places
            .iter()
            .map(|place| (place, if place.unified { "cgroup.procs" } else { "tasks" }))
            .map(|(place, file)| format!("echo 0 > '{}' || exit 99; ", place.path.join(file).display()))
            .collect();
        let child = Command::new("sh")
            .args(["-c", &format!("{enter}echo inside; {script}")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.children.push(child);
        let child = self.children.last_mut().unwrap();
        let mut word = [0; 7];
        io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut word).expect("the shell did not get in");
        child
    }

    fn reap(&mut self) {
        for mut child in self.children.drain(..) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        for parent in self.parents() {
            let _ = fs::write(parent.join("frozen/freezer.state"), "THAWED");
        }
        self.reap();
        for parent in self.parents() {
            // What a shell left behind.
            let mut pids = Vec::new();
            let _ = processes::collect_pids(&parent, &mut pids);
            for pid in pids.into_iter().filter_map(Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
            let mut patience = processes::Patience::new(Duration::from_secs(5));
            while processes::is_busy(&processes::remove_tree(&parent)) && patience.wait() {}
        }
    }
}

fn resources(json: &str) -> Resources {
    serde_json::from_str(json).unwrap()
}

fn read(group: &Group, controller: &str, file: &str) -> String {
    let path = group.path(controller).unwrap_or_else(|| panic!("no {controller}")).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).trim().to_owned()
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

const LIMITS: &str = r#"{"memory": {"limit": 33554432, "swap": 67108864, "reservation": 25165824},
    "cpu": {"shares": 100, "quota": 50000, "period": 100000, "cpus": "0"}, "pids": {"limit": 20}}"#;

#[test]
fn v1_limits_are_in_force_everywhere() {
    let Some(mut bed) = Bed::v1() else { return };
    let group = bed.create("a/b/limited", LIMITS).unwrap();
    assert_eq!(read(&group, "memory", "memory.limit_in_bytes"), "33554432");
    assert_eq!(read(&group, "memory", "memory.soft_limit_in_bytes"), "25165824");
    assert_eq!(read(&group, "cpu", "cpu.shares"), "100");
    assert_eq!(read(&group, "cpu", "cpu.cfs_quota_us"), "50000");
    assert_eq!(read(&group, "cpuset", "cpuset.cpus"), "0");
    assert_ne!(read(&group, "cpuset", "cpuset.mems"), "");
    assert_eq!(read(&group, "pids", "pids.max"), "20");
    let list = read(&group, "devices", "devices.list");
    assert!(list.lines().any(|line| line == "c 1:3 rwm") && !list.contains("a *:*"), "{list}");
    assert_eq!(group.state().places.len(), bed.trees.all.len(), "in every hierarchy");
    assert!(group.path("name=systemd").is_none_or(|path| path.ends_with("a/b/limited")));
    let join = group.open_join().unwrap();
    let unified = bed.trees.all.iter().filter(|tree| tree.unified).count();
    assert_eq!((join.tasks.len(), join.directory.is_some()), (bed.trees.all.len() - unified, unified == 1));
    // Only what is in the list is opened.
    let script = "head -c 1 /dev/zero >/dev/null || exit 1; true </dev/kmsg && exit 2; exit 7";
    assert_eq!(bed.run_inside(&group, script).wait().unwrap().code(), Some(7));
    let stats = group.stats().unwrap();
    assert!(stats.cpu.usage.total > 0 && stats.memory.usage.limit == 33_554_432, "{stats:?}");
    assert_eq!((stats.pids.limit, stats.cpuset.cpus), (20, vec![0]));
    // From what the state file has.
    let json = serde_json::to_string(group.state()).unwrap();
    let again = Group::from_state(serde_json::from_str(&json).unwrap());
    assert_eq!(again.state(), group.state());
    again.destroy().unwrap();
    assert!(bed.parents().iter().all(|parent| !parent.exists()), "what was made above is gone, too");
    again.destroy().unwrap();
}

#[test]
fn processes_are_listed_stopped_signalled_killed() {
    for bed in [Bed::v1(), Bed::v2()] {
        let Some(mut bed) = bed else { continue };
        let group = bed.create("busy", "{}").unwrap();
        assert!(group.pids(true).unwrap().is_empty());
        let pid = bed.run_inside(&group, "while :; do sleep 0.01 & sleep 0.01; done").id() as i32;
        assert!(group.pids(false).unwrap().contains(&pid));
        group.freeze().unwrap();
        assert!(group.is_frozen());
        // The group stays stopped.
        group.signal_all(Signal::TERM).unwrap();
        assert!(group.is_frozen());
        group.thaw().unwrap();
        assert!(bed.children[0].wait().unwrap().code().is_none(), "it ended by the signal");
        bed.reap();
        bed.run_inside(&group, "trap '' TERM; while :; do sleep 0.01 & sleep 0.01; done");
        group.signal_all(Signal::TERM).unwrap();
        group.freeze().unwrap();
        let result = std::thread::scope(|scope| {
            let killing = scope.spawn(|| {
                group.signal_all(Signal::KILL)?;
                group.kill_all()
            });
            bed.children[0].wait().unwrap();
            killing.join().unwrap()
        });
        result.unwrap();
        assert!(group.pids(true).unwrap().is_empty());
        // Groups that the container made.
        fs::create_dir_all(group.state.places[0].path.join("nested/deeper")).unwrap();
        group.destroy().unwrap();
        assert!(bed.parents().iter().all(|parent| !parent.exists()));
        assert!(group.pids(true).unwrap().is_empty());
    }
}

#[test]
fn a_group_that_was_there_stays() {
    for bed in [Bed::v1(), Bed::v2()] {
        let Some(mut bed) = bed else { continue };
        let leaves: Vec<PathBuf> = bed.parents().iter().map(|parent| parent.join("mine")).collect();
        for leaf in &leaves {
            // A v1 list of devices cannot begin anew in a group that has others within.
            fs::create_dir_all(leaf).unwrap();
            if !leaf.join("devices.list").exists() {
                fs::create_dir(leaf.join("before")).unwrap();
            }
        }
        let group = bed.create("mine", "{}").unwrap();
        leaves.iter().for_each(|leaf| fs::create_dir(leaf.join("since")).unwrap());
        let pid = bed.run_inside(&group, "exec sleep 1000").id() as i32;
        let error = bed.create("mine", "{}").unwrap_err().to_string();
        assert!(error.starts_with("container's cgroup is not empty: 1 process(es) found"), "{error}");
        assert_eq!(group.pids(false).unwrap(), [pid], "the one in use was touched");
        bed.reap();
        group.destroy().unwrap();
        for leaf in leaves {
            let devices = leaf.join("devices.list").exists();
            assert!(devices || leaf.join("before").is_dir(), "{}", leaf.display());
            assert!(leaf.is_dir() && !leaf.join("since").exists(), "{}", leaf.display());
        }
    }
}

#[test]
fn a_frozen_group_is_refused() {
    for bed in [Bed::v1(), Bed::v2()] {
        let Some(bed) = bed else { continue };
        let freezer =
            bed.trees.all.iter().find(|tree| tree.has("freezer") || bed.trees.version == 2).unwrap();
        let leaf = freezer.mount.join(&bed.parent).join("frozen");
        fs::create_dir_all(&leaf).unwrap();
        let (file, frozen) =
            if freezer.unified { ("cgroup.freeze", "1") } else { ("freezer.state", "FROZEN") };
        fs::write(leaf.join(file), frozen).unwrap();
        let error = bed.create("frozen", "{}").unwrap_err().to_string();
        assert!(error.starts_with("container's cgroup unexpectedly frozen"), "{error}");
        assert!(leaf.is_dir(), "it was not ours");
        // Below a frozen one, everything would stand still, too.
        let error = bed.create("frozen/below", "{}").unwrap_err();
        assert!(matches!(error, GroupError::Frozen { .. }), "{error}");
        assert!(!leaf.join("below").exists());
    }
}

#[test]
fn v1_updates_in_either_direction() {
    let Some(bed) = Bed::v1() else { return };
    let group = bed.create("updated", LIMITS).unwrap();
    let update = |json: &str| group.update(&resources(json));
    let memory = |file: &str| read(&group, "memory", &format!("memory.{file}limit_in_bytes"));
    let swap = group.path("memory").unwrap().join("memory.memsw.limit_in_bytes").exists();
    for (limit, both) in [(30 << 20, 50 << 20), (60 << 20, 80 << 20), (20 << 20, 40 << 20)] {
        update(&format!(r#"{{"memory": {{"limit": {limit}, "swap": {both}}}}}"#)).unwrap();
        assert_eq!(memory(""), limit.to_string());
        assert!(!swap || memory("memsw.") == both.to_string());
    }
    update(r#"{"memory": {"limit": -1}}"#).unwrap();
    assert!(memory("").parse::<u64>().unwrap() > 1 << 60);
    assert!(!swap || memory("memsw.").parse::<u64>().unwrap() > 1 << 60);
    for (quota, period) in [(600_000, 900_000), (3000, 10_000), (-1, 100_000), (50_000, 100_000)] {
        update(&format!(r#"{{"cpu": {{"quota": {quota}, "period": {period}}}}}"#)).unwrap();
        assert_eq!(read(&group, "cpu", "cpu.cfs_quota_us"), quota.to_string());
        assert_eq!(read(&group, "cpu", "cpu.cfs_period_us"), period.to_string());
    }
    // The parent has half a processor: less in a shorter period fits only when both are written.
    let parent = group.path("cpu").unwrap().parent().unwrap();
    update(r#"{"cpu": {"quota": 20000, "period": 100000}}"#).unwrap();
    fs::write(parent.join("cpu.cfs_quota_us"), "50000").unwrap();
    update(r#"{"cpu": {"quota": 3000, "period": 10000}}"#).unwrap();
    assert_eq!(read(&group, "cpu", "cpu.cfs_period_us"), "10000");
    let error = update(r#"{"cpu": {"quota": 60000, "period": 100000}}"#).unwrap_err().to_string();
    assert!(error.contains("cpu.cfs_"), "{error}");
    update(r#"{"pids": {"limit": 0}}"#).unwrap();
    assert_eq!(read(&group, "pids", "pids.max"), "1");
    let list = read(&group, "devices", "devices.list");
    assert!(list.contains("c 1:3 rwm"), "devices stay: {list}");
    let error = update(r#"{"cpu": {"shares": 1}}"#).unwrap_err().to_string();
    assert_eq!(error, "the minimum allowed cpu-shares is 2");
}

#[test]
fn v1_refuses_less_memory_than_is_used() {
    let Some(mut bed) = Bed::v1() else { return };
    let group = bed.create("full", r#"{"memory": {"limit": 67108864}}"#).unwrap();
    // A shell that holds 16 MiB.
    bed.run_inside(&group, "x=$(head -c 16777216 /dev/zero | tr '\\0' x); while :; do sleep 0.1; done");
    let used = || group.stats().unwrap().memory.raw["rss"] > 16 << 20;
    until("the use of memory", used);
    let error = group.update(&resources(r#"{"memory": {"limit": 4096}}"#)).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("unable to set memory limit to 4096 (current usage: "), "{text}");
    assert!(
        text.contains(", peak usage: ") && matches!(error, GroupError::MemoryInUse { usage: 4097.., .. })
    );
}

#[test]
fn lack_of_memory_is_told() {
    let (Some(mut bed), controller) = (Bed::v1().or_else(Bed::v2), "memory") else { return };
    if !bed.trees.all.iter().any(|tree| tree.has(controller)) {
        println!("skipped: no memory controller");
        return;
    }
    let group = bed.create("hungry", r#"{"memory": {"limit": 16777216, "swap": 16777216}}"#).unwrap();
    bed.run_inside(&group, "sleep 1000");
    let mut watch = group.oom_watch().unwrap();
    assert_eq!(watch.look().unwrap(), Oom::None);
    bed.run_inside(&group, "x=$(head -c 100000000 /dev/zero | tr '\\0' x)");
    let poll = |watch: &OomWatch| {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let deadline = Timespec { tv_sec: 10, tv_nsec: 0 };
        assert_eq!(
            poll(&mut [PollFd::new(watch, PollFlags::IN)], Some(&deadline)).unwrap(),
            1,
            "nothing was told"
        );
    };
    let mut next = || loop {
        poll(&watch);
        match watch.look().unwrap() {
            Oom::None => {}
            seen => return seen,
        }
    };
    assert_eq!(next(), Oom::Killed);
    bed.reap();
    group.kill_all().unwrap();
    group.destroy().unwrap();
    let mut seen = next();
    while seen == Oom::Killed {
        seen = next();
    }
    assert_eq!(seen, Oom::Ended);
}

#[test]
fn a_refused_limit_leaves_nothing() {
    let Some(bed) = Bed::v1() else { return };
    for (json, text) in [
        (r#"{"cpu": {"cpus": "4000"}}"#, "cpuset.cpus"),
        (r#"{"cpu": {"period": 100}}"#, "cpu.cfs_period_us"),
        (r#"{"unified": {"memory.min": "1"}}"#, "invalid configuration"),
        (r#"{"rdma": {"none": {"hcaHandles": 1}}}"#, "rdma"),
        (
            r#"{"devices": [{"allow": true, "type": "c", "major": 10, "access": "rw"},
                {"allow": false, "type": "c", "major": 10, "minor": 200, "access": "r"}]}"#,
            "deny \"deny c 10:200 r\"",
        ),
    ] {
        let error = bed.create("refused", json).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
        assert!(bed.parents().iter().all(|parent| !parent.exists()), "{json}");
    }
}

#[test]
fn a_user_without_rights_needs_no_group_until_something_is_asked() {
    // sysfs refuses new directories to everyone.
    let tree = |unified| Tree {
        name: "memory".to_owned(),
        controllers: vec!["memory".to_owned(), "devices".to_owned()],
        mount: "/sys".into(),
        own: "a/b".into(),
        unified,
    };
    for version in [1, 2] {
        let bed = Bed::new(Trees { all: vec![tree(version == 2)], version });
        let nothing = Resources::default();
        let without_path = |resources| {
            let request = GroupRequest { cgroups_path: None, rootless: true, ..bed.request("", resources) };
            Group::create(&bed.trees, &request)
        };
        let group = without_path(&nothing).unwrap();
        assert!(group.state().places.is_empty());
        assert!(group.open_join().unwrap().tasks.is_empty() && group.pids(true).unwrap().is_empty());
        assert!(group.views().is_empty() && group.freeze().is_err());
        group.kill_all().unwrap();
        group.destroy().unwrap();
        let error = without_path(&resources(r#"{"memory": {"limit": 5}}"#)).unwrap_err().to_string();
        assert!(
            error.starts_with(
                "rootless needs no limits + no cgrouppath when no permission is granted for cgroups"
            ) || error == "cannot set memory limit: container could not join or create cgroup",
            "{error}"
        );
        for rootless in [true, false] {
            let request = GroupRequest { rootless, ..bed.request("/x", &nothing) };
            let error = Group::create(&bed.trees, &request).unwrap_err().to_string();
            assert!(
                error.starts_with("unable to apply cgroup configuration: create the cgroup /sys/"),
                "{error}"
            );
            assert!(error.ends_with("permission denied") || error.ends_with("not permitted"), "{error}");
        }
    }
    let bed = Bed::new(Trees { all: vec![tree(false)], version: 1 });
    let nothing = Resources::default();
    let request = GroupRequest { manager: &Manager::Disabled, ..bed.request("/x", &nothing) };
    assert!(Group::create(&bed.trees, &request).unwrap().state().places.is_empty());
}

#[test]
fn relative_paths_are_beside_or_below_the_runtime() {
    for bed in [Bed::v1(), Bed::v2()] {
        let Some(mut bed) = bed else { continue };
        let own = PathBuf::from(&bed.parent).join("runtime");
        bed.trees.all.iter_mut().for_each(|tree| tree.own = own.clone());
        let nothing = Resources::default();
        let group = Group::create(&bed.trees, &bed.request("sub/x", &nothing)).unwrap();
        let place = &group.state().places[0];
        let want = if place.unified { "sub/x" } else { "runtime/sub/x" };
        assert!(place.path.ends_with(PathBuf::from(&bed.parent).join(want)), "{}", place.path.display());
        group.destroy().unwrap();
    }
}

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
fn many_share_parents_that_come_and_go() {
    let Some(bed) = Bed::v1().or_else(Bed::v2) else { return };
    std::thread::scope(|scope| {
        for number in 0..8 {
            let bed = &bed;
            scope.spawn(move || {
                for round in 0..8 {
                    let group = bed.create(&format!("shared/{number}-{round}"), "{}").unwrap();
                    group.open_join().unwrap();
                    group.destroy().unwrap();
                }
            });
        }
    });
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

#[test]
fn views_of_hierarchies() {
    let place = |name: &str, controllers: &[&str], unified| Place {
        name: name.to_owned(),
        controllers: controllers.iter().map(|&name| name.to_owned()).collect(),
        unified,
        path: PathBuf::from("/c").join(name).join("x"),
        made: Vec::new(),
        kept: Vec::new(),
    };
    let view = |name: &str, kind, data: &str, links: &[&str]| View {
        name: name.to_owned(),
        path: PathBuf::from("/c").join(name).join("x"),
        kind,
        data: data.to_owned(),
        links: links.iter().map(|&link| link.to_owned()).collect(),
    };
    let state = GroupState {
        version: 1,
        manager: Manager::Cgroupfs,
        unit: None,
        rootless: false,
        weights: Weights::Quadratic,
        places: vec![
            place("cpu,cpuacct", &["cpu", "cpuacct"], false),
            place("memory", &["memory"], false),
            place("systemd", &["name=systemd"], false),
            place("unified", &["hugetlb", "misc"], true),
        ],
    };
    let want = [
        view("cpu,cpuacct", "cgroup", "cpu,cpuacct", &["cpu", "cpuacct"]),
        view("memory", "cgroup", "memory", &[]),
        view("systemd", "cgroup", "none,name=systemd", &[]),
        view("unified", "cgroup2", "", &[]),
    ];
    assert_eq!(Group::from_state(state).views(), want);
}

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
