//! As root: limits, device rules, networks and ends of containers on a unified tree.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cais_test::vm::Check;
use cais_test::{Cais, Image, Invocation, Layer};

pub(crate) const CHECKS: &[Check<Cais>] = &[
    ("limits are in the files of the group", limits),
    ("the container sees its own group, read-only", own_group),
    ("a set of processors is kept to", processors),
    ("too much memory is 137 and told", out_of_memory),
    ("a kill for memory is told while the container runs", killed_within),
    ("the denied system call is named", denied_call),
    ("processes are limited", processes),
    ("devices are refused unless given", devices),
    ("device rules and privileged containers", device_rules),
    ("exec joins the group", exec),
    ("what a machine may lack: limits raised, OOM score lowered", raised),
    ("stop asks, then kills", stop),
    ("a paused container stands still, and dies", pause),
    ("limits change while it runs", update),
    ("what it uses is counted", stats),
    ("a whole group dies", whole_group),
    ("layers, whiteouts and volumes", layers),
    ("sixty layers in a store with an odd name", many_layers),
    ("bridge and published port", network),
];

/// The part of it that another owner of the tree could disturb.
pub(crate) const CHECKS_OF_SYSTEMD: &[Check<Cais>] = &[
    ("limits are in the files of the group", limits),
    ("exec joins the group", exec),
    ("stop asks, then kills", stop),
    ("logs are read from the journal", journal),
];

/// What a container writes to the machine's journal comes back, also while it runs.
fn journal(cais: &Cais) {
    if !Path::new("/run/systemd/journal/socket").exists() {
        return cais_test::skip("no journal listens");
    }
    let script =
        "echo one; echo two >&2; printf three; while [ ! -e /go ]; do sleep 0.1; done; echo; echo four";
    cais.cmd("run -d --name j1 --log-driver journald busybox sh -c").arg(script).ok();
    cais_test::wait_until("the journal has stored it", || cais.ok("logs j1").ends_with("three"));
    let shown = cais.cmd("logs j1").output().code(0);
    assert_eq!((&shown.stdout[..], &shown.stderr[..]), (&b"one\nthree"[..], &b"two\n"[..]));
    let follower = cais.cmd("logs -f j1").timeout_secs(120).spawn();
    cais.ok("exec j1 touch /go");
    assert_eq!(follower.wait().code(0).stdout, b"one\nthree\nfour\n");
    assert_eq!(cais.ok("logs --tail 1 j1"), "four");
    cais.ok("rm -f j1");
}

/// The group of a running container, as the host names it.
fn group(cais: &Cais, container: &str) -> PathBuf {
    let pid = cais.inspect(container, "{{.State.Pid}}");
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert_eq!(text.lines().count(), 1, "one hierarchy: {text}");
    let path = text.trim().strip_prefix("0::/").unwrap();
    Path::new("/sys/fs/cgroup").join(path)
}

fn value(group: &Path, file: &str) -> String {
    let path = group.join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).trim().to_owned()
}

fn limits(cais: &Cais) {
    let flags = "-m 64m --memory-reservation 32m --memory-swap 96m --cpus 0.5 --cpu-shares 512 --pids-limit 40 \
                 --cpuset-cpus 1 --blkio-weight 200";
    let id = cais.ok(&format!("run -d --name limits {flags} busybox sleep 1000"));
    let group = group(cais, "limits");
    assert_eq!(group, Path::new("/sys/fs/cgroup/cais").join(&id));
    let files = [
        ("memory.max", "67108864"),
        ("memory.low", "33554432"),
        ("memory.swap.max", "33554432"),
        ("cpu.max", "50000 100000"),
        ("pids.max", "40"),
        ("cpuset.cpus", "1"),
    ];
    for (file, expected) in files {
        assert_eq!(value(&group, file), expected, "{file}");
    }
    let names = files.map(|(file, _)| format!("/sys/fs/cgroup/{file}")).join(" ");
    let values = files.map(|(_, expected)| expected).join("\n");
    assert_eq!(cais.ok(&format!("exec limits cat {names}")), values, "the same inside");
    let weight = value(&group, "cpu.weight");
    assert!(["20", "59"].contains(&weight.as_str()), "512 shares: {weight}");
    cais.ok("rm -f limits");
    assert!(!group.exists(), "the group goes with the container");
    let id = cais.ok("run -d --name limits busybox sleep 1000");
    let group = Path::new("/sys/fs/cgroup/cais").join(id);
    assert_eq!(value(&group, "memory.max"), "max", "no limit unless asked for");
    cais.ok("rm -f limits");
}

fn own_group(cais: &Cais) {
    assert_eq!(cais.ok("run --rm busybox cat /proc/self/cgroup"), "0::/");
    let mounts = cais.ok("run --rm busybox cat /proc/self/mountinfo");
    let line = mounts.lines().find(|line| line.contains(" /sys/fs/cgroup ")).expect("a mount");
    assert!(line.contains(" - cgroup2 ") && line.contains(" ro,"), "{line}");
    let finished = cais.cmd("run --rm -m 64m busybox sh -c 'echo max >/sys/fs/cgroup/memory.max'").output();
    assert!(finished.status() != 0 && finished.stderr_text().contains("Read-only"), "{finished}");
}

fn pause(cais: &Cais) {
    let script = "sh -c 'trap \"exit 7\" TERM; echo up; while :; do sleep 0.1; done'";
    for name in ["stopped", "killed"] {
        cais.cmd("run -d --name").arg(name).args("busybox").args(script).ok();
        cais.wait_for_log(name, "up");
    }
    cais.ok("pause stopped killed");
    assert_eq!(cais.inspect("stopped", "{{.State.Status}}"), "paused");
    assert_eq!(cais.ok("top stopped pid").lines().count(), 3);
    cais.ok("stop stopped");
    assert_eq!(cais.inspect("stopped", "{{.State.ExitCode}}"), "7");
    cais.ok("kill killed");
    assert_eq!(cais.inspect("killed", "{{.State.ExitCode}}"), "137");
    cais.ok("rm stopped killed");
}

fn update(cais: &Cais) {
    cais.ok("run -d --name update -m 64m busybox sleep 1000");
    let group = group(cais, "update");
    cais.ok("update -m 32m --memory-swap 48m --cpus 0.5 --pids-limit 9 --cpuset-cpus 1 update");
    let files = [
        ("memory.max", "33554432"),
        ("memory.swap.max", "16777216"),
        ("cpu.max", "50000 100000"),
        ("pids.max", "9"),
        ("cpuset.cpus", "1"),
    ];
    for (file, expected) in files {
        assert_eq!(value(&group, file), expected, "{file}");
    }
    cais.fails(1, "update --cpuset-cpus 4000 update").one_clear_error();
    cais.ok("rm -f update");
}

fn stats(cais: &Cais) {
    cais.ok("run -d --name stats -m 64m busybox sh -c 'while :; do :; done'");
    let text = cais.ok("stats --no-stream --format '{{.CPUPerc}} {{.MemUsage}} {{.PIDs}}' stats");
    let words: Vec<&str> = text.split(' ').collect();
    assert!(words[0].trim_end_matches('%').parse::<f64>().unwrap() > 1.0, "{text}");
    assert_eq!(words[2..], ["/", "64MiB", "1"], "{text}");
    assert!(words[1] != "0B", "{text}");
    cais.ok("rm -f stats");
}

fn processors(cais: &Cais) {
    let allowed = cais.ok("run --rm --cpuset-cpus 1 busybox grep Cpus_allowed_list /proc/self/status");
    assert_eq!(allowed.split_whitespace().last(), Some("1"));
    cais.fails(125, "run --rm --cpuset-cpus 4000 busybox true").one_clear_error();
}

fn out_of_memory(cais: &Cais) {
    let line = "run --name oom -m 32m --memory-swap 32m busybox dd if=/dev/zero of=/dev/null bs=200M count=1";
    cais.fails(137, line);
    assert_eq!(cais.inspect("oom", "{{.State.OOMKilled}} {{.State.ExitCode}}"), "true 137");
    cais.fails(137, "run --name killed --init busybox sh -c 'kill -9 $$'");
    assert_eq!(cais.inspect("killed", "{{.State.OOMKilled}}"), "false");
    cais.ok("rm oom killed");
}

/// By a poll of memory.events.
fn killed_within(cais: &Cais) {
    let script = "dd if=/dev/zero of=/dev/null bs=200M count=1; sleep 1000";
    cais.cmd("run -d --name w1 -m 32m --memory-swap 32m busybox sh -c").arg(script).ok();
    let told = || cais.ok("events --stream=false --filter event=oom --filter container=w1").lines().count();
    cais_test::wait_until("the kill is told", || told() == 1);
    assert_eq!(cais.inspect("w1", "{{.State.Status}}"), "running");
    assert!(cais.ok("why w1").contains("the kernel killed dd in it for memory"));
    cais.ok("rm -f w1");
    assert_eq!(told(), 1);
}

/// By the audit record in the kernel's log.
fn denied_call(cais: &Cais) {
    let profile = cais.folder().join("kill.json");
    let text = r#"{"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["sethostname"], "action": "SCMP_ACT_KILL_PROCESS"}]}"#;
    fs::write(&profile, text).unwrap();
    let run = cais.cmd("run --name d1 --cap-add SYS_ADMIN --security-opt");
    run.arg(format!("seccomp={}", profile.display())).args("busybox hostname other").output().code(159);
    if Invocation::new("dmesg", "").ok().contains("type=1326") {
        let why = cais.ok("why d1");
        // This runs in a PID namespace of its own, and the log has pids of the machine's.
        assert!(why.contains("(hostname): sethostname (number"), "{why}");
    } else {
        cais_test::vm::leave_out("this kernel writes no audit records");
    }
    cais.ok("rm d1");
}

fn processes(cais: &Cais) {
    let script = "for i in 1 2 3 4 5 6 7 8 9; do sleep 100 & done; true";
    let finished = cais.cmd("run --rm --pids-limit 5 busybox sh -c").arg(script).output();
    assert!(finished.stderr_text().contains("can't fork"), "{finished}");
}

/// The guest's disk, as `major minor`: a real device that is on nobody's list.
fn disk_numbers() -> String {
    fs::read_to_string("/sys/block/vda/dev").unwrap().trim().replace(':', " ")
}

fn devices(cais: &Cais) {
    let run = |flags: &str, script: &str| cais.cmd("run --rm").args(flags).args("busybox sh -c").arg(script);
    let disk = disk_numbers();
    for (flags, script) in [
        ("", format!("mknod /disk b {disk} && head -c 4 /disk")),
        ("--user root --cap-add ALL", format!("mknod /disk b {disk} && head -c 4 /disk")),
        ("--device /dev/vda:/dev/disk:r", "head -c 4 /dev/disk >/tmp/x && : >/dev/disk".to_owned()),
        ("--device /dev/vda:/dev/disk:w", "head -c 4 /dev/disk".to_owned()),
    ] {
        let finished = run(flags, &script).output();
        let refused = finished.stderr_text().to_lowercase().contains("operation not permitted");
        assert!(finished.status() != 0 && refused, "{flags} {script}: {finished}");
    }
    assert_eq!(run("--device /dev/vda:/dev/disk:r", "head -c 4 /dev/disk | wc -c").ok(), "4");
    run("", "echo x >/dev/null; head -c 1 /dev/zero; head -c 1 /dev/urandom").ok();
    assert_eq!(run("", "mknod /zero c 1 5 && head -c 1 /zero | wc -c").ok(), "1", "on everybody's list");
}

fn device_rules(cais: &Cais) {
    let disk = disk_numbers();
    let script = format!("mknod /disk b {disk} && head -c 4 /disk | wc -c");
    let rule = format!("b {}:* rm", disk.split(' ').next().unwrap());
    let run = |flags: &str| cais.cmd("run --rm").args(flags);
    assert_eq!(
        run("--device-cgroup-rule").arg(&rule).args("busybox sh -c").arg(&script).ok(),
        "4",
        "the rule {rule}"
    );
    assert_eq!(run("--privileged").args("busybox sh -c").arg(&script).ok(), "4", "privileged");
}

fn exec(cais: &Cais) {
    cais.ok("run -d --name joined --pids-limit 20 busybox sleep 1000");
    cais.ok("exec -d joined sleep 2000");
    let group = group(cais, "joined");
    cais_test::wait_until("both are in the group", || value(&group, "cgroup.procs").lines().count() == 2);
    let inside = cais.cmd("exec joined sh -c 'cat /sys/fs/cgroup/pids.current; cat /proc/self/cgroup'").ok();
    let (current, path) = inside.split_once('\n').unwrap();
    assert!(current.parse::<u32>().unwrap() >= 3 && path == "0::/", "{inside}");
    let script = "mknod /disk b $0 $1 && head -c 4 /disk";
    let finished = cais.cmd("exec joined sh -c").arg(script).args(&disk_numbers()).output();
    assert!(finished.stderr_text().contains("not permitted"), "the same device rules: {finished}");
    cais.ok("rm -f joined");
}

fn raised(cais: &Cais) {
    let limit = cais.ok("run --rm --ulimit nofile=1000000:1000000 busybox sh -c 'ulimit -n'");
    assert_eq!(limit, "1000000");
    let score = cais.ok("run --rm --oom-score-adj -500 busybox cat /proc/self/oom_score_adj");
    assert_eq!(score, "-500");
    let all = cais.ok("run --rm --privileged busybox grep CapEff: /proc/self/status");
    let own = fs::read_to_string("/proc/self/status").unwrap();
    assert!(own.contains(all.trim()), "all that root has: {all}");
}

fn stop(cais: &Cais) {
    let script = "trap 'exit 3' TERM; echo up; while :; do sleep 0.1; done";
    cais.cmd("run -d --name polite busybox sh -c").arg(script).ok();
    cais.wait_for_log("polite", "up");
    cais.ok("stop -t 300 polite");
    assert_eq!(cais.inspect("polite", "{{.State.ExitCode}}"), "3");
    cais.ok("run -d --name deaf busybox sleep 1000");
    cais.ok("stop -t 0 deaf");
    assert_eq!(cais.inspect("deaf", "{{.State.ExitCode}} {{.State.OOMKilled}}"), "137 false");
    cais.ok("rm polite deaf");
}

fn whole_group(cais: &Cais) {
    let script = "setsid sleep 3000 & setsid sh -c 'sleep 3000; true' & echo up; wait";
    cais.cmd("run -d --name family busybox sh -c").arg(script).ok();
    cais.wait_for_log("family", "up");
    let group = group(cais, "family");
    cais_test::wait_until("the family is there", || value(&group, "cgroup.procs").lines().count() >= 4);
    cais.ok("rm -f family");
    assert!(!group.exists(), "empty and gone");
}

fn layers(cais: &Cais) {
    let archive = cais.folder().join("layered.tar");
    let image = cais_test::rootfs::layered().unwrap().build();
    image.write_docker_archive(&archive, &["layered:latest"]).unwrap();
    cais.cmd("load -q -i").arg(&archive).ok();
    let script = "ls /opaque; cat /swap/inside /flat /again /linked; test ! -e /gone; rm -r /opaque /bin/vi; \
                  mkdir /opaque; echo z >>/data; ls -A /opaque | wc -l";
    assert_eq!(cais.cmd("run --rm layered sh -c").arg(script).ok(), "new\nyzthirdsecond0");
    let script = "echo x >/data";
    let finished = cais.cmd("run --rm --read-only layered sh -c").arg(script).output();
    assert!(finished.stderr_text().contains("Read-only"), "{finished}");
    cais.ok("run --rm -v kept:/opaque layered sh -c 'echo more >/opaque/more'");
    assert_eq!(cais.ok("run --rm -v kept:/opaque:ro layered ls /opaque"), "more\nnew", "copied up, kept");
    let finished = cais.cmd("run --rm -v kept:/v:ro busybox touch /v/x").output();
    assert!(finished.stderr_text().contains("Read-only"), "{finished}");
    cais.ok("run --rm --tmpfs /t:size=1m busybox touch /t/x");
    cais.ok("volume rm kept");
    cais.ok("rmi layered");
    fs::remove_file(archive).unwrap();
}

/// Old kernels take all layers in one string, where commas and colons separate.
fn many_layers(cais: &Cais) {
    let mut image = Image::new().layer(cais_test::rootfs::busybox_layer().unwrap());
    for number in 0..60 {
        image =
            image.layer(Layer::new().file(&format!("file{number}"), "x").file("last", number.to_string()));
    }
    let odd = cais.folder().join("odd,upperdir=x:y");
    let archive = cais.folder().join("many.tar");
    image.build().write_docker_archive(&archive, &["many:latest"]).unwrap();
    let cmd = |line: &str| {
        Invocation::new(cais.binary(), "--root").arg(&odd).arg("--run-root").arg(cais.run_root()).args(line)
    };
    cmd("load -q -i").arg(&archive).ok();
    let script = "cat /last; ls -d /file* | wc -l; echo y >/last; cat /last";
    assert_eq!(cmd("run --rm many sh -c").arg(script).ok(), "5960\ny");
    cmd("run --rm -v /etc many true").ok();
    fs::remove_file(archive).unwrap();
    fs::remove_dir_all(odd).unwrap();
}

fn network(cais: &Cais) {
    cais.ok("run -d --name web --hostname web -p 8080:80 busybox nc -ll -p 80 -e hostname");
    let answer = |address: &str| {
        let mut stream = cais.connect(address);
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text.trim().to_owned()
    };
    let address = cais.inspect("web", "{{.NetworkSettings.Networks.bridge.IPAddress}}");
    assert_eq!(answer("127.0.0.1:8080"), "web", "published, by loopback");
    assert_eq!(answer(&format!("{address}:80")), "web", "the container's own address");
    let gateway = cais.inspect("web", "{{.NetworkSettings.Networks.bridge.Gateway}}");
    assert_eq!(cais.ok(&format!("run --rm busybox nc {address} 80")), "web", "from another container");
    assert_eq!(cais.ok(&format!("run --rm busybox nc {gateway} 8080")), "web", "published, from another");
    cais.ok("rm -f web");
    let gone =
        std::net::TcpStream::connect_timeout(&"127.0.0.1:8080".parse().unwrap(), Duration::from_secs(9));
    assert!(gone.is_err(), "the port is free again");
}
