//! Tests of the planner: the order of steps is the security argument, so it is what is tested.

use std::path::PathBuf;

use cais_plan::{Plan, Setup, Step};

use super::process::candidates;
use super::*;
use crate::capability::{CapSet, Capabilities};
use crate::launch::{CgroupPlan, Limit, MappedLayers, Namespaces, Node, Process, UserNamespace};
use crate::seccomp::{Instruction, Program};

fn process() -> Process {
    let caps = CapSet::from_bits(0b11);
    Process {
        stays: false,
        args: vec!["true".into()],
        env: vec!["PATH=/bin:/usr/bin".into()],
        workdir: "/srv".into(),
        user: "app:staff".into(),
        groups: vec!["10".into()],
        capabilities: Capabilities {
            bounding: caps,
            effective: caps,
            permitted: caps,
            ..Capabilities::default()
        },
        no_new_privileges: false,
        seccomp: Some(Program {
            instructions: vec![Instruction { code: 6, jt: 0, jf: 0, k: 0x7fff_0000 }],
            flags: 0,
            listener: false,
        }),
        apparmor: None,
        selinux: None,
        limits: vec![Limit { resource: 7, soft: 10, hard: 20 }],
        umask: None,
        personality: None,
        init: true,
        set_groups: true,
    }
}

fn bind(source: &str, target: &str) -> MountPlan {
    MountPlan::Bind {
        source: source.into(),
        target: target.into(),
        directory: true,
        read_only: true,
        recursive: true,
        subpath: None,
        writable_beneath: false,
        propagation: 1 << 18,
    }
}

fn launch() -> Launch {
    Launch {
        mountpoint: "/run/cais/root".into(),
        root: Root::Overlay {
            lowers: vec!["/l/b".into(), "/l/a".into()],
            upper: "/c/upper".into(),
            work: "/c/work".into(),
            volatile_upper: true,
        },
        read_only: true,
        mount_label: None,
        hostname: "box".into(),
        domainname: None,
        namespaces: Namespaces::default(),
        cgroup: CgroupPlan {
            join: vec![12, 13],
            views: vec![("memory".into(), "/g/memory".into())],
            unified: false,
            writable: false,
        },
        mounts: vec![bind("/h/deep", "/data/deep"), bind("/h/data", "/data")],
        nodes: vec![Node {
            source: PathBuf::from("/dev/zero"),
            path: "/dev/zero".into(),
            mode: 0o020_666,
            device: 0x105,
            uid: 0,
            gid: 0,
        }],
        shm_size_bytes: Some(1 << 20),
        tty: false,
        masked: MASKED.map(str::to_owned).to_vec(),
        read_only_paths: READ_ONLY.map(str::to_owned).to_vec(),
        writable_sys: false,
        sysctls: vec![("net.ipv4.ip_forward".into(), "1".into())],
        oom_score_adj: Some(100),
        rootless: false,
        users: None,
        foreign_network: false,
        appended: Vec::new(),
        mapped_binds: Vec::new(),
        tty_group: true,
        process: process(),
        failing_step: None,
    }
}

fn network(network: Namespace) -> Namespaces {
    Namespaces { network, ..Namespaces::default() }
}

/// The steps as short words, in order.
fn words(steps: &PlanWriter) -> Vec<String> {
    let setup = Setup::NONE;
    let bytes = steps.finish(&setup);
    let plan = Plan::parse(&bytes).expect("decodes");
    plan.steps()
        .map(|step| {
            let step = step.expect("decodes");
            let name = format!("{step:?}").split([' ', '{']).next().unwrap_or_default().to_owned();
            let text = |s: Str<'_>| String::from_utf8_lossy(s.0).into_owned();
            match step {
                Step::Attach { target, .. } | Step::Mount { target, .. } => {
                    format!("{name} {}", text(target))
                }
                Step::MakeNode { path, .. } | Step::BindNode { path, .. } => format!("{name} {}", text(path)),
                Step::WriteFile { path, .. } | Step::Chdir { path, .. } => format!("{name} {}", text(path)),
                _ => name,
            }
        })
        .collect()
}

fn position(words: &[String], word: &str) -> usize {
    words.iter().position(|w| w == word).unwrap_or_else(|| panic!("no {word} in {words:#?}"))
}

fn assert_order(words: &[String], order: &[&str]) {
    for pair in order.windows(2) {
        assert!(
            position(words, pair[0]) < position(words, pair[1]),
            "{} before {}: {words:#?}",
            pair[0],
            pair[1]
        );
    }
}

#[test]
fn a_container_is_set_up_in_the_only_safe_order() {
    let planned = container(&launch()).expect("plans");
    let words = words(&planned.steps);
    assert_order(
        &words,
        &[
            "JoinCgroup",
            "Unshare",
            "LoopbackUp",
            "OpenTree",
            "PrivateMounts",
            "OverlayRoot",
            "Mount /proc",
            "Mount /dev",
            "Mount /sys",
            "MakeNode /dev/zero",
            "Attach /data",
            "Attach /data/deep",
            "WriteFile /proc/sys/net/ipv4/ip_forward",
            "Stdio",
            "Mask",
            "ReadOnlyPath",
            "RootAttributes",
            "Pivot",
            "User",
            "Chdir /srv",
            "Bounding",
            "SeccompFilter",
            "SwitchUser",
            "Capabilities",
            "DeathSignal",
            "Init",
            "Exec",
        ],
    );
    assert_eq!(words.last().map(String::as_str), Some("Exec"));
    assert_eq!(words.len(), planned.steps.len());
    assert_eq!(planned.clone_flags & CLONE_NEWNET, CLONE_NEWNET);
}

#[test]
fn with_no_new_privileges_the_filter_comes_last() {
    let mut launch = launch();
    launch.process.no_new_privileges = true;
    let words = words(&container(&launch).expect("plans").steps);
    assert_order(&words, &["SwitchUser", "Capabilities", "NoNewPrivileges", "SeccompFilter", "Exec"]);
    assert_eq!(words.iter().filter(|w| *w == "SeccompFilter").count(), 1);
}

#[test]
fn privileged_containers_are_not_masked() {
    let open = Launch { masked: Vec::new(), read_only_paths: Vec::new(), ..launch() };
    let words = words(&container(&open).expect("plans").steps);
    assert!(!words.iter().any(|w| w == "Mask" || w == "ReadOnlyPath"), "{words:#?}");
}

#[test]
fn labels_are_given_to_what_is_mounted_and_executed() {
    let mut launch = launch();
    let planned = |launch: &Launch| {
        let bytes = container(launch).expect("plans").steps.finish(&Setup::NONE);
        let plan = Plan::parse(&bytes).expect("decodes");
        let mut labelled = Vec::new();
        for step in plan.steps().map(|step| step.expect("decodes")) {
            match step {
                Step::OverlayRoot { context: Str(b"u:r:f:s0:c1,c2"), .. } => labelled.push("root".to_owned()),
                Step::Mount { target, options, .. }
                    if options.iter().any(|o| o == b"context=u:r:f:s0:c1,c2") =>
                {
                    labelled.push(String::from_utf8_lossy(target.0).into_owned());
                }
                Step::ExecLabel { file: Str(b"exec"), label: Str(b"u:r:p:s0") } => {
                    labelled.push("exec".to_owned())
                }
                _ => {}
            }
        }
        labelled
    };
    assert_eq!(planned(&launch), [""; 0]);
    launch.mount_label = Some("u:r:f:s0:c1,c2".to_owned());
    launch.process.selinux = Some("u:r:p:s0".to_owned());
    let labelled = planned(&launch);
    for place in ["root", "/dev", "/dev/pts", "/dev/shm", "exec"] {
        assert!(labelled.iter().any(|one| one == place), "{place} in {labelled:?}");
    }
    assert!(!labelled.iter().any(|one| one == "/proc" || one == "/sys"), "{labelled:?}");
}

#[test]
fn rootless_binds_devices_instead_of_making_them() {
    let rootless = Launch { rootless: true, namespaces: network(Namespace::Host), ..launch() };
    let rootless = Launch { sysctls: Vec::new(), ..rootless };
    let planned = container(&rootless).expect("plans");
    let words = words(&planned.steps);
    assert!(words.contains(&"BindNode /dev/zero".to_owned()));
    assert!(words.contains(&"Attach /sys".to_owned()), "a network of the host's has no sysfs of its own");
    assert_eq!(planned.clone_flags & CLONE_NEWNET, 0);
}

#[test]
fn a_user_namespace_is_joined_when_nothing_of_the_host_is_needed_any_more() {
    let layers = MappedLayers {
        directories: vec!["/layers".into(), "/c".into()],
        mounter: (100_000, 100_000),
        capabilities: 7,
    };
    let users = UserNamespace { fd: 9, root: (0, 0), groups: true, layers: Some(layers), foreign_pid: false };
    let mapped_binds = vec![("/data".into(), 9)];
    let planned = container(&Launch { users: Some(users), mapped_binds, ..launch() }).expect("plans");
    let words = words(&planned.steps);
    let (outer, inner) = words.split_at(planned.outer as usize);
    let order = ["JoinCgroup", "WriteProc", "OpenTree", "MapTree", "Unshare", "MapDirectory", "OverlayRoot"];
    assert_order(outer, &order);
    assert_order(outer, &["MapDirectory", "SwitchUser", "Capabilities", "OverlayRoot", "StandInRoot"]);
    assert_eq!(outer.last().map(String::as_str), Some("SetNs"), "{outer:#?}");
    assert_order(inner, &["SwitchUser", "LoopbackUp", "BindRoot", "Mount /proc", "Pivot", "Exec"]);
    assert_eq!(inner.first().map(String::as_str), Some("Ids"));
    assert!(inner.contains(&"BindNode /dev/zero".to_owned()), "nodes cannot be made in there");
    assert!(!inner.iter().any(|word| word.starts_with("OpenTree")), "{inner:#?}");
    assert_eq!(container(&launch()).expect("plans").outer, 0);
}

#[test]
fn exec_hides_before_it_enters() {
    let launch = ExecLaunch {
        pidfd: 5,
        namespaces: exec_namespaces(false),
        join: vec![7],
        tty: false,
        users: None,
        process: process(),
    };
    let words = words(&exec(&launch).expect("plans").steps);
    assert_order(&words, &["JoinCgroup", "Undumpable", "SetNs", "Stdio", "User", "SwitchUser", "Exec"]);
}

#[test]
fn debug_hides_before_it_enters_and_mounts_in_a_namespace_of_its_own() {
    let planned = debug(&Launch { namespaces: network(Namespace::Join(-1)), ..launch() }, 5).expect("plans");
    assert_eq!(planned.clone_flags, CLONE_NEWNS);
    let words = words(&planned.steps);
    let order =
        ["Undumpable", "SetNs", "PrivateMounts", "OverlayRoot", "RootAttributes", "Pivot", "User", "Exec"];
    assert_order(&words, &order);
    assert!(!words.iter().any(|word| word.starts_with("Hostname")), "the host name is the container's");
}

#[test]
fn restoring_leaves_nearly_all_to_criu() {
    let args = ["/usr/sbin/criu".to_owned(), "restore".to_owned()];
    let with = |launch: Launch| restore(&launch, &args, &["PATH=/bin".to_owned()]);
    let planned =
        with(Launch { namespaces: network(Namespace::Join(9)), read_only: true, ..launch() }).expect("plans");
    assert_eq!(planned.clone_flags, CLONE_NEWNS, "the others are CRIU's");
    let words = words(&planned.steps);
    // The network takes the first number; the null device is the host's; nothing of the process is set.
    let order =
        ["Keep", "Unshare", "Stdio", "PrivateMounts", "OverlayRoot", "RootAttributes", "DeathSignal", "Exec"];
    assert_order(&words, &order);
    assert!(words[0].starts_with("Keep"), "{words:?}");
    for others in ["SetNs", "Pivot", "User", "Capabilities", "SeccompFilter", "Mount {", "Undumpable"] {
        assert!(!words.iter().any(|word| word.starts_with(others)), "{others}: {words:?}");
    }
    let host = with(Launch { namespaces: network(Namespace::Host), ..launch() }).expect("plans");
    assert!(!host.steps.is_empty());
    assert_eq!(restore(&launch(), &[], &[]).map(|_| ()), Err(PlanError::NoCommand));
}

#[test]
fn what_would_undo_the_isolation_is_refused() {
    let with = |mount: MountPlan| container(&Launch { mounts: vec![mount], ..launch() }).map(|_| ());
    assert_eq!(with(bind("/x", "/proc/self")), Err(PlanError::InProc("/proc/self".into())));
    assert_eq!(with(bind("/x", "//./proc")), Err(PlanError::InProc("//./proc".into())));
    assert_eq!(with(bind("/x", "/process")), Ok(()));
    let sysctl = |key: &str, from| {
        let sysctls = vec![(key.into(), "1".into())];
        container(&Launch { sysctls, namespaces: network(from), ..launch() }).map(|_| ())
    };
    assert_eq!(sysctl("net.core.somaxconn", Namespace::Own), Ok(()));
    assert!(sysctl("net.core.somaxconn", Namespace::Host).is_err());
    assert!(sysctl("kernel.panic", Namespace::Own).is_err());
    assert!(sysctl("net..x", Namespace::Own).is_err());
    assert!(sysctl("net.../../kernel.panic", Namespace::Own).is_err());
}

#[test]
fn strings_with_nul_and_missing_commands_are_refused() {
    let mut nul = launch();
    nul.process.args = vec!["a\0b".into()];
    assert!(matches!(container(&nul), Err(PlanError::Nul { .. })));
    let mut none = launch();
    none.process.args.clear();
    assert_eq!(container(&none).map(|_| ()), Err(PlanError::NoCommand));
    let many = Launch { mounts: (0..200).map(|n| bind("/x", &format!("/m{n}"))).collect(), ..launch() };
    assert_eq!(container(&many).map(|_| ()), Err(PlanError::TooMany));
}

#[test]
fn commands_are_looked_for_in_path() {
    let env = vec!["PATH=/a::/b/".to_owned()];
    assert_eq!(candidates("x", &env), ["/a/x", "./x", "/b/x"]);
    assert_eq!(candidates("./x", &env), ["./x"]);
    assert_eq!(candidates("x", &[]).len(), 6);
}

#[test]
fn shared_namespaces_are_left_alone() {
    let host = Namespace::Host;
    let namespaces = Namespaces { pid: host, ipc: host, uts: host, host_cgroup: true, network: host };
    let sysctls = Vec::new();
    let launch = Launch { namespaces, sysctls, shm_size_bytes: None, ..launch() };
    let planned = container(&launch).expect("plans");
    assert_eq!(planned.clone_flags & (CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS), 0);
    let words = words(&planned.steps);
    for word in ["Hostname", "Unshare", "Mount /dev/shm"] {
        assert!(!words.iter().any(|w| w == word), "{word} in {words:?}");
    }
    let sysctls = vec![("kernel.shmmax".to_owned(), "1".to_owned())];
    assert!(container(&Launch { sysctls, ..launch }).is_err(), "it would be the host's");
}

#[test]
fn namespaces_of_another_container_are_joined_before_anything_is_mounted() {
    let other = Namespace::Join(9);
    let namespaces =
        Namespaces { network: other, pid: other, ipc: other, uts: other, ..Namespaces::default() };
    let mounts = vec![MountPlan::Tree { fd: 10, target: "/dev/shm".into() }];
    let planned = container(&Launch { namespaces, mounts, ..launch() }).expect("plans");
    assert_eq!(planned.clone_flags, CLONE_NEWNS);
    let words = words(&planned.steps);
    let order =
        ["Undumpable", "SetNs", "TakeTree", "OverlayRoot", "Mount /dev/mqueue", "Attach /dev/shm", "Exec"];
    assert_order(&words, &order);
    assert_eq!(words.iter().filter(|word| *word == "SetNs").count(), 3, "the monitor joins the fourth");
    assert!(!words.iter().any(|word| word == "Hostname"));
    let sysctls = vec![("kernel.shmmax".to_owned(), "1".to_owned())];
    assert!(container(&Launch { namespaces, sysctls, ..launch() }).is_err(), "it would be the other's");
}

#[test]
fn what_stays_executes_nothing() {
    let process = Process { stays: true, args: Vec::new(), ..process() };
    let words = words(&container(&Launch { process, ..launch() }).expect("plans").steps);
    assert_eq!(words.last().map(String::as_str), Some("Stay"));
    assert!(!words.iter().any(|word| word == "Exec" || word == "Init"), "{words:?}");
}

#[test]
fn personality_comes_before_the_filter_and_umask_late() {
    let process = Process { umask: Some(0o27), personality: Some(8), ..process() };
    let words = words(&container(&Launch { process, ..launch() }).expect("plans").steps);
    let place = |word: &str| words.iter().position(|w| w == word).expect(word);
    assert!(place("Personality") < place("SeccompFilter"));
    assert!(place("Umask") > place("SwitchUser") && place("Umask") < place("Exec"));
}
