//! As an ordinary user with ranges of ids and a delegated cgroup.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cais_test::Cais;
use cais_test::process::Invocation;
use cais_test::vm::{Check, TESTER_HOME, TESTER_ID, TESTER_RUNTIME, as_tester, leave_out};

pub(crate) const CHECKS: &[Check<Tester>] = &[
    ("ranges of ids give whole users", ids),
    ("limits are in the user's group", limits),
    ("exec joins the group", exec),
    ("too much memory is 137 and told", out_of_memory),
    ("processes are limited", processes),
    ("layers, whiteouts and volumes", layers),
    ("networks none, host and pasta", networks),
    ("stop and rm", stop),
    ("pause, update, stats and top", lifecycle),
    ("without a delegated group limits are left out, aloud", undelegated),
    ("nothing is left", nothing_left),
];

/// Where systemd has delegated the group, the part of it that depends on that.
pub(crate) const CHECKS_OF_SYSTEMD: &[Check<Tester>] = &[
    ("a boot brings back what should run", boot),
    ("limits are in the user's group", limits),
    ("exec joins the group", exec),
    ("too much memory is 137 and told", out_of_memory),
    ("nothing is left", nothing_left),
];

/// The engine as the guest's ordinary user.
pub(crate) struct Tester {
    binary: PathBuf,
    /// The group that is delegated.
    cgroup: &'static str,
}

impl Tester {
    pub(crate) fn new(cais: &Cais, cgroup: &'static str) -> Tester {
        // The folder of the build may be closed to others.
        let binary = Path::new(TESTER_HOME).join("cais");
        fs::copy(cais.binary(), &binary).unwrap();
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
        let tester = Tester { binary, cgroup };
        tester.load("busybox", &cais_test::rootfs::busybox().unwrap());
        tester
    }

    /// The group that is delegated.
    pub(crate) fn cgroup(&self) -> &'static str {
        self.cgroup
    }

    fn load(&self, name: &str, image: &cais_test::Image) {
        let archive = Path::new(TESTER_HOME).join("image.tar");
        image.build().write_docker_archive(&archive, &[&format!("{name}:latest")]).unwrap();
        chown(&archive, Some(TESTER_ID), Some(TESTER_ID)).unwrap();
        self.cmd("load -q -i").arg(&archive).ok();
        fs::remove_file(archive).unwrap();
    }

    fn cmd(&self, line: &str) -> Invocation {
        as_tester(&self.binary).args(line)
    }

    fn ok(&self, line: &str) -> String {
        self.cmd(line).ok()
    }

    /// The group of a running container.
    fn group(&self, container: &str) -> PathBuf {
        let pid = self.ok(&format!("inspect --format {{{{.State.Pid}}}} {container}"));
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        Path::new("/sys/fs/cgroup").join(text.trim().strip_prefix("0::/").unwrap())
    }
}

fn lifecycle(tester: &Tester) {
    tester.ok("run -d --name life --network none -m 64m -u quay busybox sleep 1000");
    tester.ok("pause life");
    assert_eq!(tester.ok("ps --format {{.State}}"), "paused");
    tester.ok("unpause life");
    tester.ok("update -m 32m life");
    let used = tester.ok("stats --no-stream --format '{{.MemUsage}} {{.PIDs}}' life");
    assert!(used.ends_with("/ 32MiB 1") && !used.starts_with("0B"), "{used}");
    let text = tester.ok("top life user huser args");
    let row: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row, ["quay", "100999", "sleep", "1000"], "{text}");
    tester.ok("restart -t 0 life");
    tester.ok("rm -f life");
}

fn ids(tester: &Tester) {
    assert_eq!(tester.ok("run --rm --network none busybox id -u"), "0");
    assert_eq!(tester.ok("run --rm --network none -u quay busybox id -u"), "1000");
    let map = tester.ok("run --rm --network none busybox cat /proc/self/uid_map");
    let words: Vec<Vec<&str>> = map.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words, [["0", &TESTER_ID.to_string(), "1"], ["1", "100000", "65536"]]);
    tester.ok("run --rm --network none busybox chown 4711:4712 /etc/passwd");
}

fn limits(tester: &Tester) {
    let flags =
        "-m 64m --memory-reservation 32m --memory-swap 96m --cpus 0.5 --pids-limit 40 --cpuset-cpus 1";
    tester.ok(&format!("run -d --name limits --network none {flags} busybox sleep 1000"));
    let group = tester.group("limits");
    assert!(group.starts_with(tester.cgroup), "{}", group.display());
    let files = [
        ("memory.max", "67108864"),
        ("memory.low", "33554432"),
        ("memory.swap.max", "33554432"),
        ("cpu.max", "50000 100000"),
        ("pids.max", "40"),
        ("cpuset.cpus", "1"),
    ];
    for (file, expected) in files {
        assert_eq!(fs::read_to_string(group.join(file)).unwrap().trim(), expected, "{file}");
    }
    let names = files.map(|(file, _)| format!("/sys/fs/cgroup/{file}")).join(" ");
    let values = files.map(|(_, expected)| expected).join("\n");
    assert_eq!(tester.ok(&format!("exec limits cat {names}")), values, "the same inside");
    assert_eq!(tester.ok("exec limits cat /proc/self/cgroup"), "0::/");
    tester.ok("rm -f limits");
    assert!(!group.exists(), "the group goes with the container");
}

fn exec(tester: &Tester) {
    tester.ok("run -d --name joined --network none --pids-limit 20 busybox sleep 1000");
    tester.ok("exec -d joined sleep 2000");
    let processes = tester.group("joined").join("cgroup.procs");
    cais_test::wait_until("both are in the group", || {
        fs::read_to_string(&processes).unwrap().lines().count() == 2
    });
    tester.cmd("exec joined sh -c 'exit 4'").output().code(4);
    tester.ok("rm -f joined");
}

fn out_of_memory(tester: &Tester) {
    let line = "run --name oom --network none -m 32m --memory-swap 32m busybox \
                dd if=/dev/zero of=/dev/null bs=200M count=1";
    tester.cmd(line).output().code(137);
    let state =
        tester.cmd("inspect --format").arg("{{.State.OOMKilled}} {{.State.ExitCode}}").arg("oom").ok();
    assert_eq!(state, "true 137");
    tester.ok("rm oom");
}

fn processes(tester: &Tester) {
    let script = "for i in 1 2 3 4 5 6 7 8 9; do sleep 100 & done; true";
    let finished = tester.cmd("run --rm --network none --pids-limit 5 busybox sh -c").arg(script).output();
    assert!(finished.stderr_text().contains("can't fork"), "{finished}");
}

fn layers(tester: &Tester) {
    tester.load("layered", &cais_test::rootfs::layered().unwrap());
    let script = "ls /opaque; cat /swap/inside /flat /again /linked; test ! -e /gone; rm -r /opaque /bin/vi; \
                  mkdir /opaque; echo z >>/data; ls -A /opaque | wc -l";
    let text = tester.cmd("run --rm --network none layered sh -c").arg(script).ok();
    assert_eq!(text, "new\nyzthirdsecond0");
    tester.ok("run --rm --network none -v kept:/opaque layered sh -c 'echo more >/opaque/more'");
    assert_eq!(tester.ok("run --rm --network none -v kept:/opaque:ro layered ls /opaque"), "more\nnew");
    tester.ok("volume rm kept");
}

fn networks(tester: &Tester) {
    assert_eq!(tester.ok("run --rm --network none busybox ip -o link").lines().count(), 1);
    let own = fs::read_link("/proc/self/ns/net").unwrap();
    let inside = tester.ok("run --rm --network host busybox readlink /proc/self/ns/net");
    assert_eq!(inside, own.to_str().unwrap());
    if !fs::exists("/usr/bin/pasta").unwrap_or(false) {
        return leave_out("pasta is not installed");
    }
    let links = tester.ok("run --rm --network pasta busybox ip -o link");
    assert!(links.lines().count() >= 2, "{links}");
}

fn stop(tester: &Tester) {
    let script = "trap 'exit 3' TERM; echo up; while :; do sleep 0.1; done";
    tester.cmd("run -d --name polite --network none busybox sh -c").arg(script).ok();
    cais_test::wait_until("its log", || tester.ok("logs polite") == "up");
    tester.ok("stop -t 300 polite");
    assert_eq!(tester.ok("inspect --format {{.State.ExitCode}} polite"), "3");
    tester.ok("rm polite");
    assert_eq!(tester.ok("ps -aq"), "");
}

fn undelegated(tester: &Tester) {
    // The group of this test belongs to root.
    let plain = Invocation::new("setpriv", "--reuid=tester --regid=tester --init-groups --inh-caps=-all env")
        .arg(format!("HOME={TESTER_HOME}"))
        .arg(format!("XDG_RUNTIME_DIR={TESTER_RUNTIME}"))
        .arg(&tester.binary)
        .args("run --rm --network none -m 64m busybox cat /sys/fs/cgroup/memory.max")
        .folder("/");
    let finished = plain.output().says("limits are not applied");
    assert_ne!(finished.stdout_text(), "67108864");
}

/// The user's own manager, as `systemctl --user` is called.
fn manager(line: &str) -> Invocation {
    as_tester(Path::new("systemctl")).args("--user").args(line)
}

fn boot(tester: &Tester) {
    tester.ok("run -d --name stays --restart always --network none busybox sleep 1000");
    tester.ok("run -d --name once --network none busybox sleep 1000");
    let unit = format!("{TESTER_HOME}/.config/systemd/user/cais-boot.service");
    tester.cmd("boot status").output().code(1).prints(&format!("disabled {unit}"));
    let lingers = Path::new("/var/lib/systemd/linger/tester");
    fs::remove_file(lingers).unwrap();
    tester.cmd("boot enable").output().code(0).says("loginctl enable-linger tester");
    fs::write(lingers, "").unwrap();
    let status = tester.cmd("boot status").output().code(0);
    assert!(status.stderr_text().is_empty() && status.stdout_text().contains(&unit), "{status}");
    manager("daemon-reload").ok();
    assert_eq!(manager("is-enabled cais-boot.service").ok(), "enabled");
    // The machine goes down: nothing of a run is left but what is on the disk.
    for name in ["stays", "once"] {
        let shim = tester.ok(&format!("inspect --format {{{{.State.Pid}}}} {name}"));
        let stat = fs::read_to_string(format!("/proc/{shim}/stat")).unwrap();
        let parent = stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().to_owned();
        for pid in [parent, shim] {
            let _ = Invocation::new("kill", "-9").arg(pid).output();
        }
    }
    fs::remove_dir_all(format!("{TESTER_RUNTIME}/cais")).unwrap();
    // What the manager does when it comes up without anybody's login; it was told to do so by the unit's own link.
    let wanted = manager("list-dependencies --plain default.target").ok();
    assert!(wanted.contains("cais-boot.service"), "{wanted}");
    Invocation::new("systemctl", "restart").arg(format!("user@{TESTER_ID}.service")).ok();
    let state = || manager("is-active cais-boot.service").output().stdout_text();
    cais_test::wait_until("the unit has run", || ["active", "failed"].contains(&state().trim()));
    assert_eq!(state().trim(), "active", "{}", manager("status cais-boot.service").output());
    assert_eq!(tester.ok("ps --format {{.Names}}"), "stays");
    let group = tester.group("stays");
    assert!(group.starts_with(tester.cgroup), "{}", group.display());
    tester.ok("exec stays true");
    tester.ok("rm -f stays once");
    tester.ok("boot disable");
    manager("daemon-reload").ok();
    assert!(!Path::new(&unit).exists());
}

fn nothing_left(tester: &Tester) {
    assert_eq!(tester.ok("ps -aq"), "");
    let processes = || {
        let all = Invocation::new("ps", "-o pid=,args= -u").arg(TESTER_ID.to_string()).output().stdout_text();
        // The user's own manager and its bus stay.
        let is_left =
            |line: &&str| !line.contains("systemd") && !line.contains("(sd-pam)") && !line.contains("dbus");
        all.lines().filter(is_left).map(str::to_owned).collect::<Vec<_>>()
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while !processes().is_empty() {
        assert!(Instant::now() < deadline, "still there: {:?}", processes());
        std::thread::sleep(Duration::from_millis(100));
    }
    let groups = fs::read_dir(Path::new(tester.cgroup).join("cais")).into_iter().flatten().flatten();
    let left: Vec<String> = groups
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .map(|entry| entry.path().display().to_string())
        .collect();
    assert!(left.is_empty(), "{left:?}");
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(TESTER_HOME), "{mounts}");
    tester.ok("system check");
}
