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

mod guest;
mod systemd;
mod v1;
mod v2;

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
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

const LIMITS: &str = r#"{"memory": {"limit": 33554432, "swap": 67108864, "reservation": 25165824},
    "cpu": {"shares": 100, "quota": 50000, "period": 100000, "cpus": "0"}, "pids": {"limit": 20}}"#;

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
