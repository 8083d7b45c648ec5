//! Groups made for real, below a parent of each test's own, which its guard takes down whatever happens.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::device::{DeviceRule, default_rules};

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A parent group for one test.
struct Bed {
    layout: Layout,
    parent: String,
    children: Vec<Child>,
}

impl Bed {
    fn new(layout: Layout) -> Bed {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        Bed { layout, parent: format!("cais-test-{}-{number}", std::process::id()), children: Vec::new() }
    }

    /// `None`, after saying so, where no v1 groups can be made.
    fn v1() -> Option<Bed> {
        match Layout::detect() {
            Ok(layout) if layout.version() == 1 && rustix::process::geteuid().is_root() => {
                Some(Bed::new(layout))
            }
            _ => {
                println!("skipped: no cgroup v1, or not root");
                None
            }
        }
    }

    /// The v2 hierarchy of the machine, even an idle one beside v1.
    fn v2() -> Option<Bed> {
        let mount = match Layout::detect() {
            Ok(Layout::V2 { mount, .. } | Layout::Hybrid { unified: mount, .. }) => mount,
            _ => {
                println!("skipped: no cgroup v2");
                return None;
            }
        };
        let bed = Bed::new(Layout::V2 { mount, own: "/".into() });
        match fs::create_dir(bed.roots()[0].join(&bed.parent)) {
            Ok(()) => Some(bed),
            Err(error) => {
                println!("skipped: no cgroup v2 group can be made: {error}");
                None
            }
        }
    }

    fn place<'a>(&'a self, id: &'a str) -> Placement<'a> {
        Placement { parent: &self.parent, id, rootless: false }
    }

    fn create(&self, id: &str, resources: &Resources) -> (Cgroup, Vec<String>) {
        let mut warnings = Vec::new();
        let cgroup = Cgroup::create(&self.layout, self.place(id), resources, &mut warnings).unwrap();
        (cgroup, warnings)
    }

    fn roots(&self) -> Vec<PathBuf> {
        match &self.layout {
            Layout::V2 { mount, .. } => vec![mount.clone()],
            v1 => v1.hierarchies().iter().map(|hierarchy| hierarchy.mount.clone()).collect(),
        }
    }

    /// Starts a shell that enters the group by itself and then runs a script; waits until it is inside.
    fn run_inside(&mut self, cgroup: &Cgroup, script: &str) -> &mut Child {
        let file = if cgroup.unified { "cgroup.procs" } else { "tasks" };
        let enter: String = cgroup
            .groups
            .iter()
            .map(|group| format!("echo 0 > '{}' || exit 99; ", group.path.join(file).display()))
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

    fn read(&self, cgroup: &Cgroup, controller: Controller, file: &str) -> String {
        fs::read_to_string(cgroup.group(controller).unwrap().path.join(file)).unwrap().trim().to_owned()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
        }
        for id in leftovers(&self.layout, &self.parent, false) {
            if let Some(cgroup) = Cgroup::find(&self.layout, self.place(&id)) {
                let _ = cgroup.kill_all();
                // Killed children stay in their groups until they are waited for.
                self.children.iter_mut().for_each(|child| drop(child.wait()));
                let _ = cgroup.remove();
            }
        }
        self.children.iter_mut().for_each(|child| drop(child.wait()));
        for root in self.roots() {
            let _ = fs::remove_dir(root.join(&self.parent));
        }
    }
}

fn limits() -> Resources {
    Resources {
        memory_bytes: Some(64 << 20),
        memory_swap_bytes: Some(128 << 20),
        cpu_shares: Some(512),
        cpu_quota_us: Some(50_000),
        cpu_period_us: Some(100_000),
        cpuset_cpus: Some("0".to_owned()),
        pids_limit: Some(16),
        devices: default_rules(),
        ..Resources::default()
    }
}

#[test]
fn v1_limits_are_in_force() {
    let Some(mut bed) = Bed::v1() else { return };
    let (cgroup, warnings) = bed.create("limited", &limits());
    println!("warnings: {warnings:?}");
    let controllers = |controller| cgroup.group(controller).is_some();
    if controllers(Controller::Memory) {
        assert_eq!(bed.read(&cgroup, Controller::Memory, "memory.limit_in_bytes"), "67108864");
        assert_eq!(cgroup.memory().limit_bytes, Some(64 << 20));
        assert!(cgroup.oom_counter().is_some());
    }
    if controllers(Controller::Cpu) {
        assert_eq!(bed.read(&cgroup, Controller::Cpu, "cpu.shares"), "512");
        assert_eq!(bed.read(&cgroup, Controller::Cpu, "cpu.cfs_quota_us"), "50000");
    }
    if controllers(Controller::Cpuset) {
        assert_eq!(bed.read(&cgroup, Controller::Cpuset, "cpuset.cpus"), "0");
        assert_ne!(bed.read(&cgroup, Controller::Cpuset, "cpuset.mems"), "");
    }
    if controllers(Controller::Pids) {
        assert_eq!(bed.read(&cgroup, Controller::Pids, "pids.max"), "16");
    }
    if controllers(Controller::Devices) {
        let list = bed.read(&cgroup, Controller::Devices, "devices.list");
        assert!(list.lines().any(|line| line == "c 1:3 rwm"), "{list}");
        assert!(!list.contains("a *:*"), "{list}");
        // The number of /dev/kmsg is in no rule.
        let child = bed.run_inside(
            &cgroup,
            "cat /dev/zero | head -c 1 >/dev/null || exit 1; true </dev/kmsg && exit 2; exit 7",
        );
        assert_eq!(child.wait().unwrap().code(), Some(7));
    }
    cgroup.remove().unwrap();
    assert!(Cgroup::find(&bed.layout, bed.place("limited")).is_none());
    cgroup.remove().unwrap();
}

#[test]
fn without_a_cpuset_none_is_made() {
    let Some(bed) = Bed::v1() else { return };
    let (cgroup, warnings) = bed.create("plain", &Resources::default());
    assert!(warnings.is_empty(), "{warnings:?}");
    let alone = |group: &Group| group.controllers == [Controller::Cpuset];
    assert!(!cgroup.groups.iter().any(alone));
    let join = cgroup.open_join().unwrap();
    assert_eq!(join.tasks.len(), cgroup.groups.len());
    assert!(join.directory.is_none());
    assert_eq!(leftovers(&bed.layout, &bed.parent, false), ["plain"]);
}

#[test]
fn processes_are_listed_frozen_killed() {
    for bed in [Bed::v1(), Bed::v2()] {
        let Some(mut bed) = bed else { continue };
        let (cgroup, _) = bed.create("busy", &Resources::default());
        assert!(cgroup.pids().unwrap().is_empty());
        // A group within, as a privileged container makes them, and children that go on being born.
        let pid = bed.run_inside(&cgroup, "while :; do sleep 0.01 & sleep 0.01; done").id() as i32;
        let nested = cgroup.group(Controller::Freezer).unwrap().path.join("nested");
        fs::create_dir(&nested).unwrap();
        assert!(cgroup.pids().unwrap().contains(&pid));
        assert!(!cgroup.is_frozen());
        cgroup.freeze().unwrap();
        assert!(cgroup.is_frozen());
        cgroup.thaw().unwrap();
        assert!(!cgroup.is_frozen());
        cgroup.freeze().unwrap();
        let killed = std::thread::scope(|scope| {
            let killing = scope.spawn(|| cgroup.kill_all());
            bed.children[0].wait().unwrap();
            killing.join().unwrap()
        });
        killed.unwrap();
        assert!(cgroup.pids().unwrap().is_empty());
        cgroup.remove().unwrap();
        assert!(!nested.exists());
        assert_eq!(leftovers(&bed.layout, &bed.parent, false), [] as [&str; 0]);
    }
}

#[test]
fn a_group_in_use_is_not_replaced_and_a_left_over_one_is() {
    let Some(mut bed) = Bed::v1() else { return };
    let (cgroup, _) = bed.create("twice", &Resources::default());
    drop(bed.create("twice", &Resources::default()));
    let pid = bed.run_inside(&cgroup, "exec sleep 1000").id() as i32;
    let again = Cgroup::create(&bed.layout, bed.place("twice"), &Resources::default(), &mut Vec::new());
    assert!(matches!(again, Err(CgroupError::Create { .. })), "{again:?}");
    assert_eq!(cgroup.pids().unwrap(), [pid], "the one in use was touched");
}

#[test]
fn a_refused_limit_leaves_nothing() {
    let Some(bed) = Bed::v1() else { return };
    let impossible = Resources { cpuset_cpus: Some("4000".to_owned()), ..Resources::default() };
    let refused = Cgroup::create(&bed.layout, bed.place("bad"), &impossible, &mut Vec::new());
    if let Err(error) = refused {
        let text = error.to_string();
        assert!(text.contains("4000") && text.contains("cpuset.cpus"), "{text}");
        assert_eq!(leftovers(&bed.layout, &bed.parent, false), [] as [&str; 0]);
    }
    let unnamed = Cgroup::create(&bed.layout, bed.place(".."), &Resources::default(), &mut Vec::new());
    assert!(matches!(unnamed, Err(CgroupError::Name { .. })));
}

#[test]
fn v2_devices_are_guarded_by_a_program() {
    let Some(mut bed) = Bed::v2() else { return };
    let mut rules = default_rules();
    rules.push(DeviceRule { allow: false, .."c 1:5 r".parse().unwrap() });
    let (cgroup, warnings) = bed.create("guarded", &Resources { devices: rules, ..Resources::default() });
    if warnings.iter().any(|warning| warning.contains("not permitted")) {
        println!("skipped: bpf(2) is not permitted");
        return;
    }
    assert!(cgroup.open_join().unwrap().directory.is_some());
    // urandom may be read, zero only written, kmsg is in no rule.
    let script = "head -c 1 /dev/urandom >/dev/null || exit 1; true </dev/zero && exit 2; true >/dev/zero || exit 3; \
                  true </dev/kmsg && exit 4; exit 7";
    let child = bed.run_inside(&cgroup, script);
    assert_eq!(child.wait().unwrap().code(), Some(7));
    cgroup.remove().unwrap();
}

#[test]
fn a_limit_without_its_controller_is_a_warning() {
    let Some(bed) = Bed::v2() else { return };
    let Layout::V2 { mount, .. } = &bed.layout else { return };
    if fs::read_to_string(mount.join("cgroup.controllers")).unwrap().contains("memory") {
        println!("skipped: this v2 hierarchy has its controllers");
        return;
    }
    let resources = Resources { memory_bytes: Some(64 << 20), pids_limit: Some(5), ..Resources::default() };
    let (cgroup, warnings) = bed.create("weak", &resources);
    assert!(warnings.len() >= 2, "{warnings:?}");
    assert_eq!(cgroup.memory(), MemoryUse::default());
}

#[test]
fn a_group_that_is_gone_has_no_processes() {
    let Some(bed) = Bed::v1() else { return };
    let (cgroup, _) = bed.create("gone", &Resources::default());
    cgroup.remove().unwrap();
    assert!(cgroup.pids().unwrap().is_empty());
    cgroup.kill_all().unwrap();
    assert!(cgroup.freeze().is_err());
}

#[test]
fn many_at_once_share_a_parent_that_is_not_there_yet() {
    let Some(bed) = Bed::v1() else { return };
    let resources = Resources { cpuset_cpus: Some("0".to_owned()), ..Resources::default() };
    std::thread::scope(|scope| {
        for number in 0..16 {
            let (bed, resources) = (&bed, &resources);
            scope.spawn(move || {
                let (cgroup, _) = bed.create(&format!("many-{number}"), resources);
                cgroup.open_join().unwrap();
                cgroup.remove().unwrap();
            });
        }
    });
    assert_eq!(leftovers(&bed.layout, &bed.parent, false), [] as [&str; 0]);
}

#[test]
fn where_nothing_may_be_written_nothing_is_delegated() {
    // sysfs refuses new directories to everyone.
    let hierarchy = |controller: Controller| Hierarchy {
        name: controller.name(false).to_owned(),
        controllers: vec![controller],
        mount: "/sys".into(),
    };
    let hierarchies = vec![hierarchy(Controller::Memory), hierarchy(Controller::Pids)];
    for layout in [Layout::V1 { hierarchies }, Layout::V2 { mount: "/sys".into(), own: "/".into() }] {
        for rootless in [false, true] {
            let place = Placement { parent: "cais-test-refused", id: "a", rootless };
            let refused = Cgroup::create(&layout, place, &Resources::default(), &mut Vec::new());
            assert!(matches!(refused, Err(CgroupError::NotDelegated { .. })), "{refused:?}");
            assert!(Cgroup::find(&layout, place).is_none());
        }
    }
}
