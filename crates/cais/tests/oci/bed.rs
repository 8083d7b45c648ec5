//! A place for bundles: a root file system of busybox, configurations made here, state and control group of its own.
//!
//! Dropped, it deletes every container that is left and removes the control groups below its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cais_test::process::{Finished, Invocation};
use cais_test::{isolation, skip};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// Hierarchies are looked for here.
const CGROUPS: &str = "/sys/fs/cgroup";

/// What Docker gives a container.
const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// One test's containers.
#[derive(Debug)]
pub struct Bed {
    folder: PathBuf,
    program: PathBuf,
    group: String,
}

impl Bed {
    /// Unpacks the root file system; `None`, with a word, when this machine cannot. Only inside isolation.
    pub fn new() -> Option<Bed> {
        let folder = isolation::disk().expect("only inside the namespaces of isolation");
        let Some(image) = cais_test::rootfs::busybox() else {
            skip("busybox-static is not installed");
            return None;
        };
        let rootfs = folder.join("rootfs");
        fs::create_dir(&rootfs).expect("a folder");
        for tar in image.build().tars {
            Invocation::new("tar", "-xf - -C").arg(&rootfs).stdin(tar).ok();
        }
        let program = match std::env::var_os("CAIS_TEST_RUNTIME") {
            Some(path) => PathBuf::from(path),
            None => {
                let link = folder.join("cais-runtime");
                std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_cais"), &link).expect("a link");
                link
            }
        };
        let unique = folder.file_name().unwrap_or_default().to_string_lossy().replace("cais.", "");
        Some(Bed { folder, program, group: format!("cais-test-{unique}") })
    }

    /// A folder of this test.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The program under test, under the name that makes it a runtime.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Whether the program under test is ours.
    pub fn is_ours(&self) -> bool {
        self.program.ends_with("cais-runtime")
    }

    /// State of the containers.
    pub fn root(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// A bundle whose process has these arguments; its folder has the container's name.
    pub fn bundle(&self, id: &str, args: &[&str]) -> Bundle {
        let folder = self.folder.join(id);
        fs::create_dir(&folder).expect("a folder");
        let bundle = Bundle { folder };
        bundle.write(&self.config(id, args));
        bundle
    }

    fn config(&self, id: &str, args: &[&str]) -> Value {
        json!({
            "ociVersion": "1.0.2",
            "process": {
                "terminal": false, "user": {"uid": 0, "gid": 0}, "args": args, "cwd": "/",
                "env": ["PATH=/usr/bin:/bin", "TERM=xterm"], "noNewPrivileges": true,
                "capabilities": {"bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES},
                "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            },
            "root": {"path": self.folder.join("rootfs"), "readonly": false},
            "hostname": "ship",
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                    "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
                {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                    "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
                {"destination": "/sys", "type": "sysfs", "source": "sysfs",
                    "options": ["nosuid", "noexec", "nodev", "ro"]},
            ],
            "annotations": {"org.example.note": "kept"},
            "linux": {
                "cgroupsPath": format!("/{}/{id}", self.group),
                "resources": {"devices": [{"allow": false, "access": "rwm"}]},
                "namespaces": [
                    {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"},
                ],
                "maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/sys"],
            },
        })
    }

    /// `cais-runtime LINE` with this state. What a container keeps open must not be captured: see [`Bed::detached`].
    pub fn cmd(&self, line: &str) -> Invocation {
        self.bare("--root").arg(self.root()).args(line)
    }

    /// The program without any state, in an environment that says nothing.
    pub fn bare(&self, line: &str) -> Invocation {
        let names = ["XDG_RUNTIME_DIR", "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID"];
        names.into_iter().fold(Invocation::new(&self.program, line), Invocation::without_env)
    }

    /// Runs it, expects status 0 and returns standard output.
    #[track_caller]
    pub fn ok(&self, line: &str) -> String {
        self.cmd(line).ok()
    }

    /// Runs it and expects a failure that says this.
    #[track_caller]
    pub fn refuses(&self, line: &str, text: &str) {
        self.cmd(line).output().code(1).says(text);
    }

    /// A command after which a container goes on with our streams: they are files, [`Bed::output`] reads them.
    pub fn detached(&self, line: &str) -> Invocation {
        let script = r#""$@" </dev/null >>"$OUT" 2>>"$OUT.err"; code=$?; cat "$OUT.err" >&2; exit $code"#;
        let inner = self.cmd(line).command();
        let shell = Invocation::new("sh", "-c").arg(script).arg("sh").arg(inner.get_program());
        let shell = inner.get_args().fold(shell, |shell, arg| shell.arg(arg));
        shell.env("OUT", self.folder.join("out")).without_env("NOTIFY_SOCKET").without_env("XDG_RUNTIME_DIR")
    }

    /// What containers have written on standard output so far.
    pub fn output(&self) -> String {
        fs::read_to_string(self.folder.join("out")).unwrap_or_default()
    }

    /// `create` for a bundle of that name.
    #[track_caller]
    pub fn create(&self, id: &str) {
        self.detached("create --bundle").arg(self.folder.join(id)).arg(id).ok();
    }

    /// `run --detach` for a bundle of that name.
    #[track_caller]
    pub fn run_detached(&self, id: &str) {
        self.detached("run --detach --bundle").arg(self.folder.join(id)).arg(id).ok();
    }

    /// `run` for a bundle of that name, to its end.
    pub fn run(&self, id: &str) -> Finished {
        self.cmd("run --bundle").arg(self.folder.join(id)).arg(id).output()
    }

    /// A container that sleeps.
    #[track_caller]
    pub fn sleeper(&self, id: &str) -> Bundle {
        let bundle = self.bundle(id, &["sleep", "1000"]);
        self.run_detached(id);
        bundle
    }

    /// The state as a document.
    #[track_caller]
    pub fn state(&self, id: &str) -> Value {
        serde_json::from_str(&self.cmd("state").arg(id).ok()).expect("JSON")
    }

    /// Its status.
    #[track_caller]
    pub fn status(&self, id: &str) -> String {
        self.state(id)["status"].as_str().unwrap_or_default().to_owned()
    }

    /// Waits until it has this status.
    #[track_caller]
    pub fn wait_for(&self, id: &str, status: &str) {
        cais_test::wait_until(&format!("{id} is {status}"), || self.status(id) == status);
    }

    /// Its process.
    #[track_caller]
    pub fn pid(&self, id: &str) -> i64 {
        self.state(id)["pid"].as_i64().expect("a number")
    }

    /// The directory of a container's group with a controller, in whichever layout.
    pub fn group(&self, controller: &str, id: &str) -> PathBuf {
        let below = Path::new(&self.group).join(id);
        let v1 = Path::new(CGROUPS).join(controller);
        let base = if v1.is_dir() { v1 } else { PathBuf::from(CGROUPS) };
        base.join(below)
    }

    /// The control group that engines may make groups in, as they name it.
    pub fn parent(&self) -> String {
        format!("/{}", self.group)
    }

    /// A limit of the group that a process is in, under its name in version 1 or in version 2.
    pub fn limit_of(&self, pid: &str, controller: &str, v1: &str, v2: &str) -> String {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("the process runs");
        let path = |wanted: &str| {
            text.lines().find_map(|line| {
                let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
                controllers
                    .split(',')
                    .any(|one| one == wanted)
                    .then(|| path.trim_start_matches('/').to_owned())
            })
        };
        let v1_file = path(controller).map(|path| Path::new(CGROUPS).join(controller).join(path).join(v1));
        let v2_file = path("").map(|path| Path::new(CGROUPS).join(path).join(v2));
        let file = v1_file.filter(|file| file.exists()).or(v2_file).expect("a group");
        fs::read_to_string(&file)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()))
            .trim()
            .to_owned()
    }

    /// An archive with the image `busybox:latest`.
    pub fn archive(&self) -> PathBuf {
        let path = self.folder.join("busybox.tar");
        let image = cais_test::rootfs::busybox().expect("looked at before");
        image.build().write_docker_archive(&path, &["busybox:latest"]).expect("an archive");
        path
    }

    /// Groups that are there below this test's own.
    pub fn groups(&self) -> Vec<PathBuf> {
        groups(&self.group)
    }

    /// Expects that nothing is left of a container.
    #[track_caller]
    pub fn assert_gone(&self, id: &str) {
        self.cmd("state").arg(id).output().code(1).says("does not exist");
        assert!(!self.root().join(id).exists(), "its state is left");
        let left: Vec<PathBuf> = self.groups().into_iter().filter(|group| group.ends_with(id)).collect();
        assert!(left.is_empty(), "groups are left: {left:?}");
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let list = self.cmd("list -q").command().output();
        let ids = list.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        for id in ids.lines() {
            drop(self.cmd("delete --force").arg(id).command().output());
        }
        clear(&self.group);
    }
}

/// Directories of that name at the top of every hierarchy, and all below them; those deepest down come first.
pub fn groups(name: &str) -> Vec<PathBuf> {
    let bases = std::iter::once(PathBuf::from(CGROUPS)).chain(folders(Path::new(CGROUPS)));
    bases.map(|base| base.join(name)).filter(|group| group.is_dir()).flat_map(|group| tree(&group)).collect()
}

/// Removes control groups of that name with all that is in them: engines leave containers running when a test has failed,
/// and the kernel lets go of groups in its own time.
pub fn clear(name: &str) {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let left = groups(name);
        if left.is_empty() || Instant::now() > deadline {
            return;
        }
        for group in left {
            for pid in fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default().lines() {
                let pid = pid.parse().ok().and_then(Pid::from_raw);
                let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
            }
            let freezer = group.join("freezer.state");
            if freezer.exists() {
                drop(fs::write(freezer, "THAWED"));
            }
            drop(fs::remove_dir(&group));
            // conmon writes where a hierarchy could be mounted and is not.
            if group.exists() && !group.join("cgroup.procs").exists() {
                drop(fs::remove_dir_all(&group));
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn folders(base: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(base).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir() && !path.is_symlink()).collect()
}

/// A folder after all that are below it.
fn tree(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = folders(folder).iter().flat_map(|below| tree(below)).collect();
    all.push(folder.to_owned());
    all
}

/// A folder with a config.json.
#[derive(Debug)]
pub struct Bundle {
    folder: PathBuf,
}

impl Bundle {
    /// Where it lies.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn write(&self, config: &Value) {
        let text = serde_json::to_vec_pretty(config).expect("JSON");
        fs::write(self.folder.join("config.json"), text).expect("config.json");
    }

    /// Changes its configuration.
    pub fn change(self, change: impl FnOnce(&mut Value)) -> Bundle {
        let text = fs::read(self.folder.join("config.json")).expect("config.json");
        let mut config = serde_json::from_slice(&text).expect("JSON");
        change(&mut config);
        self.write(&config);
        self
    }
}
