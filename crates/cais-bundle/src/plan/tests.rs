//! Plans of whole configurations: golden orders, and what one change of the configuration changes in the steps.

mod devices;
mod exec;
mod landlock;
mod mounts;
mod namespaces;
mod order;
mod process;

use std::path::{Path, PathBuf};

use cais_oci::runtime::Spec;
use cais_plan::{Plan, Setup};
use cais_runtime::capability::CapSet;
use serde_json::{Value, json};

use super::{CgroupShape, ContainerRequest, ExecRequest, Filter, Found, Machine, PlanError, Planned};

/// What `runc spec` writes, shortened where length adds nothing.
fn base() -> Value {
    let caps = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    json!({
        "ociVersion": "1.2.0",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/bin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {"bounding": caps, "effective": caps, "permitted": caps},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "runc",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
                "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
                "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs",
                "options": ["nosuid", "noexec", "nodev", "ro"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}
        ],
        "linux": {
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"},
                {"type": "mount"}, {"type": "cgroup"}],
            "maskedPaths": ["/proc/acpi", "/proc/kcore"],
            "readonlyPaths": ["/proc/bus", "/proc/sys"]
        }
    })
}

/// Lays `change` over `document`, object by object.
fn lay(document: &mut Value, change: &Value) {
    match (document, change) {
        (Value::Object(fields), Value::Object(changes)) => {
            for (key, value) in changes {
                lay(fields.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (document, change) => *document = change.clone(),
    }
}

fn spec(change: &Value) -> Spec {
    let mut document = base();
    lay(&mut document, change);
    let spec = Spec::parse(document.to_string().as_bytes()).expect("well-formed");
    spec.validate().expect("valid");
    spec
}

/// Real root on a machine that allows everything.
fn root() -> Machine {
    Machine {
        rootless: false,
        capable: true,
        user_namespace: false,
        may_set_groups: true,
        owns_network: true,
        bounding: CapSet::ALL,
        may_raise_limits: true,
        hard_limits: Vec::new(),
        oom_score_adj: 0,
        apparmor: None,
        selinux: false,
        landlock_abi: 6,
    }
}

/// An ordinary user.
fn user() -> Machine {
    Machine { rootless: true, capable: false, may_set_groups: false, may_raise_limits: false, ..root() }
}

/// Root of a user namespace, as below rootless podman.
fn inner_root() -> Machine {
    Machine { rootless: true, user_namespace: true, may_raise_limits: false, ..root() }
}

/// What a test changes of a request.
struct Case {
    spec: Spec,
    machine: Machine,
    found: Vec<Found>,
    device_sources: Vec<(usize, PathBuf)>,
    views: Vec<(String, PathBuf)>,
    own_group: Option<PathBuf>,
    tasks: usize,
    clone_into: bool,
    moved_by_manager: bool,
    unified: bool,
    joins_own_network: bool,
    no_pivot: bool,
    no_new_keyring: bool,
    preserve: u32,
    seccomp: Option<Vec<u8>>,
}

impl Case {
    fn new(change: Value) -> Case {
        Case {
            spec: spec(&change),
            machine: root(),
            found: Vec::new(),
            device_sources: Vec::new(),
            views: Vec::new(),
            own_group: None,
            tasks: 0,
            clone_into: true,
            moved_by_manager: false,
            unified: true,
            joins_own_network: false,
            no_pivot: false,
            no_new_keyring: false,
            preserve: 0,
            seccomp: None,
        }
    }

    fn on(change: Value, machine: Machine) -> Case {
        Case { machine, ..Case::new(change) }
    }

    fn shape(&self) -> CgroupShape<'_> {
        CgroupShape {
            tasks: self.tasks,
            clone_into: self.clone_into,
            moved_by_manager: self.moved_by_manager,
            views: &self.views,
            unified: self.unified,
            own_group: self.own_group.as_deref(),
        }
    }

    fn filter(&self) -> Option<Filter<'_>> {
        self.seccomp.as_deref().map(|program| Filter { program, flags: 4, listener: false })
    }

    fn container(&self) -> Result<Planned, PlanError> {
        super::container(&ContainerRequest {
            spec: &self.spec,
            id: "c1",
            bundle: Path::new("/bundle"),
            rootfs: Path::new("/bundle/rootfs"),
            found: &self.found,
            device_sources: &self.device_sources,
            joins_own_network: self.joins_own_network,
            cgroup: self.shape(),
            machine: &self.machine,
            seccomp: self.filter(),
            no_pivot: self.no_pivot,
            no_new_keyring: self.no_new_keyring,
            preserve: self.preserve,
            begin: super::Begin::ByStart,
        })
    }

    fn exec(&self, process: &Value) -> Result<Planned, PlanError> {
        let process = serde_json::from_value(process.clone()).expect("a process");
        super::exec(&ExecRequest {
            process: &process,
            spec: &self.spec,
            id: "c1",
            pid: 77,
            cgroup: self.shape(),
            machine: &self.machine,
            seccomp: self.filter(),
            no_new_keyring: self.no_new_keyring,
            preserve: self.preserve,
            waits: false,
        })
    }

    fn planned(&self) -> Planned {
        self.container().expect("can be planned")
    }

    fn steps(&self) -> Vec<String> {
        steps(&self.planned())
    }

    fn error(&self) -> PlanError {
        self.container().expect_err("cannot be planned")
    }
}

/// The steps as text, decoded again from what the shim gets.
fn steps(planned: &Planned) -> Vec<String> {
    let bytes = planned.steps.finish(&Setup::NONE);
    let Ok(plan) = Plan::parse(&bytes) else { panic!("the plan cannot be read") };
    let steps: Vec<String> = plan
        .steps()
        .map(|step| step.map_or_else(|_| "?".to_owned(), |step| readable(&format!("{step:?}"))))
        .collect();
    assert_eq!(steps.len(), planned.steps.len());
    assert_eq!(steps.len(), planned.subjects.len());
    steps
}

/// `Str([47, 97])` as `"/a"`, `Strings([97, 0, 98, 0])` as `[a b]`, `Bytes([49])` as `'1'`.
fn readable(debug: &str) -> String {
    let mut text = String::new();
    let mut rest = debug;
    while let Some((at, kind)) = ["Str([", "Strings([", "Bytes(["]
        .into_iter()
        .filter_map(|kind| Some((rest.find(kind)?, kind)))
        .min_by_key(|(at, _)| *at)
    {
        text.push_str(&rest[..at]);
        let (list, after) = rest[at + kind.len()..].split_once("])").expect("a list ends");
        let bytes: Vec<u8> = list
            .split(", ")
            .filter(|byte| !byte.is_empty())
            .map(|byte| byte.parse().expect("a byte"))
            .collect();
        let words = String::from_utf8_lossy(&bytes).replace('\n', "\\n");
        text.push_str(&match kind {
            "Str([" => format!("{words:?}"),
            "Strings([" => format!("[{}]", words.trim_end_matches('\0').replace('\0', " ")),
            _ if bytes.iter().all(|byte| (b' '..0x7f).contains(byte) || *byte == b'\n') => {
                format!("'{words}'")
            }
            _ => format!("{bytes:02x?}"),
        });
        rest = after;
    }
    text.push_str(rest);
    text
}

/// The sentences in order.
fn sentences(planned: &Planned) -> Vec<String> {
    (0..planned.steps.len()).filter_map(|index| planned.steps.sentence(index)).map(str::to_owned).collect()
}

/// The steps that are in `with` and not in `without`, and the other way round.
fn difference(without: &[String], with: &[String]) -> (Vec<String>, Vec<String>) {
    let mut gone: Vec<String> = without.to_vec();
    let mut new = Vec::new();
    for step in with {
        match gone.iter().position(|known| known == step) {
            Some(at) => drop(gone.remove(at)),
            None => new.push(step.clone()),
        }
    }
    (new, gone)
}

/// The steps that a change of the configuration adds.
fn added(change: Value) -> Vec<String> {
    difference(&Case::new(json!({})).steps(), &Case::new(change).steps()).0
}

/// The one step that contains `word`.
fn the<'a>(steps: &'a [String], word: &str) -> &'a str {
    let found: Vec<&String> = steps.iter().filter(|step| step.contains(word)).collect();
    assert_eq!(found.len(), 1, "{word}: {found:#?} in {steps:#?}");
    found[0]
}

/// The place of the first step that contains `word`.
fn place(steps: &[String], word: &str) -> usize {
    steps.iter().position(|step| step.contains(word)).unwrap_or_else(|| panic!("{word} in {steps:#?}"))
}

/// One mount instead of those of the base.
fn mount(mount: Value) -> Value {
    json!({"mounts": [mount]})
}
