//! A bundle in a temporary directory, a runtime beside it, and what ends both.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use cais_bundle::{Config, CreateRequest, Runtime};
use rustix::process::{Pid, WaitOptions, geteuid, waitpid};
use serde_json::{Value, json};

/// A bundle and a runtime; containers are deleted at the end.
pub struct World {
    pub directory: tempfile::TempDir,
    pub runtime: Runtime,
    /// Group of all containers, from the mount point.
    pub group: String,
}

/// What the applets of the image are.
const APPLETS: [&str; 20] = [
    "sh", "true", "false", "sleep", "cat", "echo", "id", "ls", "env", "kill", "ps", "hostname", "mkdir",
    "readlink", "stat", "tty", "stty", "head", "touch", "mount",
];

/// A static busybox, or none: then there is nothing to run.
fn busybox() -> Option<&'static Path> {
    ["/usr/bin/busybox", "/bin/busybox"].into_iter().map(Path::new).find(|path| path.exists())
}

impl World {
    /// `None` prints why.
    pub fn new() -> Option<World> {
        if !geteuid().is_root() {
            println!("skipped: needs root");
            return None;
        }
        let Some(busybox) = busybox() else {
            println!("skipped: needs busybox-static");
            return None;
        };
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = tempfile::tempdir().expect("tempdir");
        let rootfs = directory.path().join("bundle/rootfs");
        for name in ["bin", "proc", "dev", "sys", "tmp", "etc"] {
            fs::create_dir_all(rootfs.join(name)).expect("mkdir");
        }
        fs::copy(busybox, rootfs.join("bin/busybox")).expect("copy");
        for applet in APPLETS {
            symlink("busybox", rootfs.join("bin").join(applet)).expect("symlink");
        }
        fs::write(rootfs.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\n").expect("write");
        let root = directory.path().join("state");
        let runtime = Runtime::new(Config { root, ..Config::default() }).expect("runtime");
        let group = format!("/cais-test-{}-{number}", std::process::id());
        Some(World { directory, runtime, group })
    }

    /// The directory of the bundle.
    pub fn bundle(&self) -> PathBuf {
        self.directory.path().join("bundle")
    }

    /// A path inside the container.
    pub fn inside(&self, path: &str) -> PathBuf {
        self.bundle().join("rootfs").join(path.trim_start_matches('/'))
    }

    /// What the container wrote.
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.inside(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    /// A configuration that runs a script.
    pub fn spec(&self, script: &str) -> Value {
        self.spec_of(&["/bin/sh", "-c", script])
    }

    /// A configuration that runs a command.
    pub fn spec_of(&self, args: &[&str]) -> Value {
        json!({
            "ociVersion": "1.2.0",
            "process": {
                "user": {"uid": 0, "gid": 0},
                "args": args,
                "env": ["PATH=/bin:/usr/bin"],
                "cwd": "/",
            },
            "root": {"path": "rootfs"},
            "hostname": "inside",
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                 "options": ["nosuid", "mode=755", "size=65536k"]},
                {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                 "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
            ],
            "linux": {
                "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"},
                               {"type": "mount"}, {"type": "cgroup"}],
            },
        })
    }

    /// Writes config.json; `id` names the group.
    pub fn write(&self, id: &str, mut spec: Value) {
        if spec["linux"]["cgroupsPath"].is_null() {
            spec["linux"]["cgroupsPath"] = format!("{}/{id}", self.group).into();
        }
        fs::write(self.bundle().join("config.json"), spec.to_string()).expect("write");
    }

    /// A request for the bundle.
    pub fn request(&self, id: &str) -> CreateRequest {
        CreateRequest { id: id.to_owned(), bundle: self.bundle(), ..CreateRequest::default() }
    }

    /// Creates a container and gives back its process, which is our child.
    pub fn create(&self, id: &str, spec: Value) -> cais_bundle::Result<i32> {
        self.write(id, spec);
        self.runtime.create(&self.request(id))
    }

    /// Creates and starts a container.
    pub fn launch(&self, id: &str, spec: Value) -> i32 {
        let pid = self.create(id, spec).unwrap_or_else(|e| panic!("create {id}: {e}"));
        self.runtime.start(id).unwrap_or_else(|e| panic!("start {id}: {e}"));
        pid
    }

    /// Creates, starts, waits for the end and deletes; the exit code.
    pub fn run(&self, id: &str, spec: Value) -> i32 {
        let code = wait_for(self.launch(id, spec));
        self.runtime.delete(id, false).unwrap_or_else(|e| panic!("delete {id}: {e}"));
        code
    }

    /// Why creating fails.
    pub fn refusal(&self, id: &str, spec: Value) -> String {
        match self.create(id, spec) {
            Ok(_) => panic!("{id} was created"),
            Err(error) => error.to_string(),
        }
    }

    /// Nothing of a container is left.
    pub fn assert_gone(&self, id: &str) {
        let state = self.directory.path().join("state").join(id);
        assert!(!state.exists(), "{} is left", state.display());
        let groups = groups(&format!("{}/{id}", self.group));
        assert!(groups.is_empty(), "groups are left: {groups:?}");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for listed in self.runtime.list().unwrap_or_default() {
            if let Err(error) = self.runtime.delete(&listed.state.id, true) {
                println!("delete {}: {error}", listed.state.id);
            }
        }
        // Ours may be left as an empty parent.
        for group in groups(&self.group) {
            let _ = fs::remove_dir(group);
        }
    }
}

/// Where a group is, in all hierarchies.
pub fn groups(path: &str) -> Vec<PathBuf> {
    let top = Path::new("/sys/fs/cgroup");
    let below = fs::read_dir(top).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    below
        .chain([top.to_owned()])
        .map(|mount| mount.join(path.trim_start_matches('/')))
        .filter(|group| group.is_dir())
        .collect()
}

/// Waits for a child; its exit code, 128+n after a signal.
pub fn wait_for(pid: i32) -> i32 {
    let (_, status) =
        waitpid(Pid::from_raw(pid), WaitOptions::empty()).expect("waitpid").expect("it has ended");
    status.exit_status().or(status.terminating_signal().map(|n| 128 + n)).expect("a status")
}

/// Waits until something is so, at most a minute.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < end, "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A process that is not there or a zombie.
pub fn has_ended(pid: i32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
}
