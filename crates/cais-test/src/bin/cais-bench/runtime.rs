//! `cais-bench runtime`: `cais runtime` beside crun, runc and the floor, on the default bundle of the runtime
//! specification, with and without Docker's seccomp profile.
//!
//! The floor is a program that makes the same requests to the kernel and does nothing else, see `floor/start.rs`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cais_oci::runtime::Seccomp;
use cais_runtime::capability::CapSet;
use cais_runtime::seccomp::{self, Abi, NewerCalls, Target};
use serde_json::{Value, json};

use crate::sample::Times;
use crate::table::{Cell, Table};

const FLOOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/cais-floor"));
const DOCKER_SECCOMP: &str = include_str!("docker-seccomp.json");
const WARM_UP_ROUNDS: usize = 5;

/// A runtime that takes part.
struct Runtime {
    name: &'static str,
    words: Vec<String>,
}

impl Runtime {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).args(args).stdin(Stdio::null()).stdout(Stdio::null());
        command
    }
}

/// Measures and prints the table.
pub fn rows(folder: &Path, binary: &Path, peers: &[(&'static str, PathBuf)], rounds: usize) -> Table {
    let mut table = Table::new();
    let taken = make_hybrid_plain();
    let (plain, filtered) = (bundle(folder, "plain", false), bundle(folder, "filtered", true));
    let mut runtimes = vec![Runtime {
        name: "cais",
        words: vec![
            binary.display().to_string(),
            "runtime".into(),
            "--root".into(),
            "/run/bench-runtime/cais".to_owned(),
        ],
    }];
    for (name, program) in peers {
        let root = format!("/run/bench-runtime/{name}");
        runtimes.push(Runtime { name, words: vec![program.display().to_string(), "--root".into(), root] });
    }
    runtimes.retain(|runtime| {
        let version = runtime.command(&["--version"]).stdout(Stdio::piped()).output();
        let first = version.map(|out| String::from_utf8_lossy(&out.stdout).lines().next().map(str::to_owned));
        let runs = run(runtime, &plain, 0).is_some();
        let about = first.ok().flatten().unwrap_or_else(|| "does not start".to_owned());
        table.note(format!(
            "{}: {about}{}",
            runtime.name,
            if runs { "" } else { ", not measured: it does not run the bundle" }
        ));
        runs
    });
    let floor = Floor::new(folder);
    let mut columns: Vec<&'static str> = runtimes.iter().map(|runtime| runtime.name).collect();
    columns.push("floor");
    table.columns(columns);
    let filter = filter_file(folder);
    let cases =
        [("`run`", &plain, None), ("`run`, Docker's seccomp profile", &filtered, Some(filter.as_path()))];
    for (title, bundle, filter) in cases {
        let ours = |runtime: &Runtime, round| run(runtime, bundle, round);
        measure(&mut table, title, rounds, &runtimes, ours, || floor.run(bundle, filter));
    }
    measure(
        &mut table,
        "`create` + `start` + `delete`",
        rounds,
        &runtimes,
        |runtime, round| steps(runtime, &plain, round),
        || floor.run(&plain, None),
    );
    table.row("peak memory of `create`, KiB", memory(&runtimes, &plain));
    give_back(&taken);
    table
}

/// crun refuses a machine of version 1 whose unified hierarchy has a controller: a mount of version 1 takes it away, in
/// this mount namespace. Gives where they are mounted.
fn make_hybrid_plain() -> Vec<String> {
    let controllers = fs::read_to_string("/sys/fs/cgroup/unified/cgroup.controllers").unwrap_or_default();
    let mounted = controllers.split_whitespace().filter_map(|controller| {
        let at = format!("/run/bench-{controller}");
        fs::create_dir_all(&at).ok()?;
        let mut mount = Command::new("mount");
        let status = mount.args(["-t", "cgroup", "-o", controller, "cgroup", &at]).status();
        status.is_ok_and(|status| status.success()).then_some(at)
    });
    mounted.collect()
}

/// The controllers go back to where they were, for everybody: not before the last removed group is gone in the kernel, too.
fn give_back(mounts: &[String]) {
    let is_back = |controller: &str| {
        let all = fs::read_to_string("/sys/fs/cgroup/unified/cgroup.controllers").unwrap_or_default();
        all.split_whitespace().any(|word| word == controller)
    };
    for at in mounts {
        let controller = at.trim_start_matches("/run/bench-");
        for _ in 0..3 {
            std::thread::sleep(Duration::from_secs(1));
            let _ = Command::new("umount").arg(at).status();
            let deadline = Instant::now() + Duration::from_secs(5);
            while !is_back(controller) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(100));
            }
            if is_back(controller) {
                break;
            }
            let _ = Command::new("mount").args(["-t", "cgroup", "-o", controller, "cgroup", at]).status();
        }
    }
}

/// A bundle like the one that `runc spec` makes, whose command is `true`.
fn bundle(folder: &Path, name: &str, filtered: bool) -> PathBuf {
    let bundle = folder.join(name);
    let rootfs = bundle.join("rootfs");
    for directory in ["bin", "proc", "dev", "sys"] {
        fs::create_dir_all(rootfs.join(directory)).expect("a root file system");
    }
    fs::copy("/bin/busybox", rootfs.join("bin/true")).expect("busybox-static is needed");
    let mut config = config();
    if filtered {
        config["linux"]["seccomp"] = serde_json::from_str(DOCKER_SECCOMP).expect("JSON of ours");
    }
    fs::write(bundle.join("config.json"), config.to_string()).expect("config.json");
    bundle
}

fn config() -> Value {
    let capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": ["/bin/true"],
            "env": ["PATH=/bin"],
            "cwd": "/",
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "bench",
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
        ],
        "linux": {
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"},
                           {"type": "mount"}],
            "maskedPaths": ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                            "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware",
                            "/proc/scsi"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}

/// The floor program with the control groups that it makes.
struct Floor {
    program: PathBuf,
    groups: Vec<String>,
}

impl Floor {
    fn new(folder: &Path) -> Floor {
        use std::os::unix::fs::PermissionsExt;
        let program = folder.join("cais-floor");
        fs::write(&program, FLOOR).expect("the floor program");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("chmod");
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let groups = mounts.lines().filter_map(|line| {
            let mut words = line.split(' ');
            let (at, kind) = (words.nth(1)?, words.next()?);
            (kind == "cgroup").then(|| format!("{at}/cais-floor"))
        });
        Floor { program, groups: groups.collect() }
    }

    fn run(&self, bundle: &Path, filter: Option<&Path>) -> Option<Duration> {
        let mut command = Command::new(&self.program);
        command.arg(bundle.join("rootfs")).arg(filter.unwrap_or(Path::new("-")));
        command.arg(self.groups.len().to_string()).args(&self.groups).arg("/bin/true");
        timed(command.stdin(Stdio::null()))
    }
}

/// The compiled filter that the floor loads: the same that `cais` makes of the profile.
fn filter_file(folder: &Path) -> PathBuf {
    let profile: Seccomp = serde_json::from_str(DOCKER_SECCOMP).expect("JSON of ours");
    let target = Target {
        abi: if cfg!(target_arch = "aarch64") { Abi::Aarch64 } else { Abi::X86_64 },
        caps: CapSet::default(),
        kernel: (6, 0),
        newer_calls: NewerCalls::Enosys,
        x32: cais_sys::x32::may_exist(),
    };
    let program = seccomp::compile_spec(&profile, &target).expect("compiles").expect("a filter");
    let path = folder.join("filter");
    fs::write(&path, program.to_bytes()).expect("the filter");
    path
}

fn timed(command: &mut Command) -> Option<Duration> {
    let began = Instant::now();
    let status = command.status().ok()?;
    let took = began.elapsed();
    status.success().then_some(took)
}

fn run(runtime: &Runtime, bundle: &Path, round: usize) -> Option<Duration> {
    let id = format!("bench-{}-{round}", runtime.name);
    timed(&mut runtime.command(&["run", "--bundle", &bundle.display().to_string(), &id]))
}

/// The time of the three commands together; between them the container is left to end.
fn steps(runtime: &Runtime, bundle: &Path, round: usize) -> Option<Duration> {
    let id = format!("bench-{}-{round}", runtime.name);
    let created = timed(&mut runtime.command(&["create", "--bundle", &bundle.display().to_string(), &id]))?;
    let started = timed(&mut runtime.command(&["start", &id]))?;
    let stopped = || {
        let state = runtime.command(&["state", &id]).stdout(Stdio::piped()).output().ok()?;
        serde_json::from_slice::<Value>(&state.stdout).ok()?["status"].as_str().map(|s| s == "stopped")
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    while stopped() != Some(true) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    Some(created + started + timed(&mut runtime.command(&["delete", &id]))?)
}

fn measure(
    table: &mut Table,
    title: &str,
    rounds: usize,
    runtimes: &[Runtime],
    mut one: impl FnMut(&Runtime, usize) -> Option<Duration>,
    mut floor: impl FnMut() -> Option<Duration>,
) {
    eprintln!("{title}");
    let mut times: Vec<(Vec<Duration>, usize)> = vec![Default::default(); runtimes.len() + 1];
    for round in 0..WARM_UP_ROUNDS + rounds {
        for (index, (times, failures)) in times.iter_mut().enumerate() {
            let took = match runtimes.get(index) {
                Some(runtime) => one(runtime, round),
                None => floor(),
            };
            match took {
                Some(took) if round >= WARM_UP_ROUNDS => times.push(took),
                Some(_) => {}
                None => *failures += 1,
            }
        }
    }
    let cells = times.into_iter().map(|(times, failures)| match failures {
        0 => Cell::Times(Times::new(times)),
        _ if times.is_empty() => Cell::Text("not measured".to_owned()),
        _ => Cell::Text(format!("{failures} failed")),
    });
    table.row(title, cells.collect());
}

/// By GNU time, which is not part of every system.
fn memory(runtimes: &[Runtime], bundle: &Path) -> Vec<Cell> {
    let mut cells: Vec<Cell> = runtimes
        .iter()
        .map(|runtime| {
            let mut peaks: Vec<u64> = (0..9).filter_map(|round| peak_kib(runtime, bundle, round)).collect();
            peaks.sort_unstable();
            peaks
                .get(peaks.len() / 2)
                .map_or(Cell::Text("not measured".into()), |kib| Cell::Text(kib.to_string()))
        })
        .collect();
    cells.push(Cell::Text(String::new()));
    cells
}

fn peak_kib(runtime: &Runtime, bundle: &Path, round: usize) -> Option<u64> {
    let id = format!("bench-memory-{}-{round}", runtime.name);
    let report = bundle.join("peak");
    let mut command = Command::new("/usr/bin/time");
    command.arg("-o").arg(&report).args(["-f", "%M"]).args(&runtime.words).arg("create");
    command.arg("--bundle").arg(bundle).arg(&id).stdin(Stdio::null()).stdout(Stdio::null());
    let created = command.status().is_ok_and(|status| status.success());
    let _ = runtime.command(&["delete", "--force", &id]).status();
    created.then(|| fs::read_to_string(report).ok()?.trim().parse().ok()).flatten()
}
