//! `container checkpoint` and `restore`, and docker's words for them, with a real CRIU: containers of the engine become
//! files and go on from them.

use std::fs;
use std::path::Path;

use cais_test::vm::{Check, leave_out};
use cais_test::{Cais, wait_until};

pub(crate) const CHECKS: &[Check<Cais>] = &[
    ("checkpoint: a container goes on where it was", goes_on),
    ("checkpoint: networks, limits, users, streams", as_any_other),
    ("checkpoint: what CRIU refuses is told, and the container goes on", refused),
];

/// In another boot: under emulation each dump and each restore takes seconds.
pub(crate) const MORE_CHECKS: &[Check<Cais>] = &[
    ("checkpoint: an archive restores on another store", moves),
    ("checkpoint: docker's words", in_dockers_words),
    ("checkpoint: whoever is killed leaves what can be cleaned", killed),
];

/// Counts where its memory is the only place that knows how far it is.
const COUNTER: &str =
    "i=0; while :; do i=$((i+1)); echo $i; echo $i >/data/count; echo $i >/written; sleep 0.2; done";

fn is_ready(cais: &Cais) -> bool {
    clean(cais);
    let there = std::process::Command::new("criu").arg("--version").output();
    let there = there.is_ok_and(|output| output.status.success());
    if !there {
        leave_out("criu is not installed");
    }
    there
}

/// Nothing of a check that has failed is in the way of the next.
fn clean(cais: &Cais) {
    for name in ["web", "small", "term", "init"] {
        cais.cmd("rm -f").arg(name).output();
        cais.cmd("volume rm").arg(name).output();
    }
}

fn counter(cais: &Cais, name: &str, flags: &str) {
    let line = format!("run -d --name {name} -v {name}:/data {flags} busybox sh -c");
    cais.cmd(&line).arg(COUNTER).ok();
    wait_until("it counts", || count(cais, name) > 3);
}

/// How far it has come, by its log.
fn count(cais: &Cais, name: &str) -> u32 {
    let log = cais.cmd("logs").arg(name).output().stdout_text();
    // The last line may be on its way.
    log.lines().last().and_then(|line| line.parse().ok()).unwrap_or(0)
}

fn goes_on(cais: &Cais) {
    if !is_ready(cais) {
        return;
    }
    counter(cais, "web", "-p 8080:80 --restart always --tmpfs /tmp:size=1m --read-only --tmpfs /run");
    cais.ok("exec web sh -c 'echo kept >/tmp/file'");
    let address = cais.inspect("web", "{{.NetworkSettings.IPAddress}}");
    assert_eq!(cais.ok("container checkpoint -R --keep web"), "web");
    let reached = count(cais, "web");
    assert_eq!(cais.inspect("web", "{{.State.Status}}"), "running");
    wait_until("it counts on", || count(cais, "web") > reached);
    let stats = cais.ok("container checkpoint --print-stats web");
    assert!(stats.contains("\"frozen_time\"") && stats.contains("podman_checkpoint_duration"), "{stats}");
    let state = "{{.State.Status}} {{.State.ExitCode}} {{.State.Checkpointed}}";
    assert_eq!(cais.inspect("web", state), "exited 137 true", "and no policy begins another run");
    assert!(cais.ok("why web").contains("checkpoint"));
    let reached = count(cais, "web");
    assert_eq!(cais.ok("container restore web"), "web");
    assert_eq!(cais.inspect("web", "{{.State.Status}} {{.State.Restored}}"), "running true");
    wait_until("it counts on", || count(cais, "web") > reached + 3);
    let log = cais.ok("logs web");
    let numbers: Vec<u32> = log.lines().map(|line| line.parse().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] >= pair[0]), "{numbers:?}");
    assert_eq!(cais.inspect("web", "{{.NetworkSettings.IPAddress}}"), address, "the same address");
    let seen = cais.ok("exec web sh -c 'hostname; cat /tmp/file /proc/self/cgroup; cat /proc/1/comm; ip -o -4 addr show eth0'");
    let short = &cais.inspect("web", "{{.Id}}")[..12];
    assert!(seen.starts_with(&format!("{short}\nkept\n0::/\nsh\n")) && seen.contains(&address), "{seen}");
    let finished = cais.cmd("exec web sh -c 'echo x >/file'").output();
    assert!(finished.stderr_text().contains("Read-only"), "{finished}");
    let told = cais.ok("events --since 1h --stream=false --filter container=web --format '{{.Action}}'");
    assert!(told.contains("checkpoint\n") && told.contains("restore"), "{told}");
    // As any other: paused, ended by a signal, told by its monitor, run again by its policy.
    cais.ok("pause web");
    cais.ok("unpause web");
    cais.ok("exec web kill -9 -1");
    cais.ok("kill web");
    assert_eq!(cais.inspect("web", "{{.State.ExitCode}}"), "137");
    cais.cmd("container restore web").output().code(1).says("has no checkpoint");
    cais.ok("start web");
    wait_until("it begins anew", || count(cais, "web") < reached);
    clean(cais);
}

fn moves(cais: &Cais) {
    if !is_ready(cais) {
        return;
    }
    let folder = tempfile::tempdir_in("/disk").unwrap();
    let image = cais.folder().join("busybox.tar");
    for compress in ["zstd", "none"] {
        let archive = folder.path().join(compress);
        counter(cais, "web", "");
        cais.ok("exec web sh -c 'mkdir /made; echo text >/made/file; rm /bin/yes'");
        cais.cmd("container checkpoint --compress").arg(compress).arg("-e").arg(&archive).arg("web").ok();
        let reached = count(cais, "web");
        assert_eq!(cais.inspect("web", "{{.State.Status}}"), "exited");
        cais.cmd("container restore web").output().code(1).says("has no checkpoint");
        cais.cmd("container restore -i")
            .arg(&archive)
            .output()
            .code(1)
            .says("is here already")
            .says("--name");
        cais.ok("rm web");
        cais.ok("volume rm web");
        if compress == "zstd" {
            // Another store, without and with the image.
            let other = |line: &str| cais.cmd(&format!("{OTHER} {line}"));
            let restore = || other("container restore -i").arg(&archive);
            restore().output().code(1).says("is not here").says("sha256:");
            assert_eq!(other("ps -aq").ok(), "");
            other("load -i").arg(&image).ok();
            restore().ok();
            gone_on(cais, &format!("{OTHER} "), reached);
            // A copy beside it has another address.
            let copy = other("container restore --ignore-volumes --name copy -i").arg(&archive).ok();
            assert_ne!(copy, other("inspect -f {{.Id}} web").ok());
            let addresses = other("inspect -f {{.NetworkSettings.IPAddress}} copy web").ok();
            let addresses: Vec<&str> = addresses.lines().collect();
            assert_ne!(addresses[0], addresses[1]);
            other("rm -f copy web").ok();
            other("volume rm web").ok();
        } else {
            cais.cmd("container restore -i").arg(&archive).ok();
            gone_on(cais, "", reached);
            cais.ok("rm -f web");
            cais.ok("volume rm web");
        }
    }
    let archive = folder.path().join("cut");
    fs::write(&archive, "no archive").unwrap();
    cais.cmd("container restore -i").arg(&archive).output().code(1);
    assert_eq!(cais.ok("ps -aq"), "");
}

/// Flags for a store that knows nothing of the first one.
const OTHER: &str = "--root /disk/other --run-root /run/other";

/// `web` counts on from where it was, with its files.
fn gone_on(cais: &Cais, flags: &str, reached: u32) {
    let log = || cais.cmd(&format!("{flags}logs web")).output().stdout_text();
    wait_until("it counts on", || log().lines().count() > 3);
    let first: u32 = log().lines().next().unwrap().parse().unwrap();
    assert!(first >= reached && first < reached + 5, "{first} after {reached}");
    let seen =
        cais.cmd(&format!("{flags}exec web sh -c 'cat /made/file; ls /bin/yes; cat /data/count'")).output();
    assert!(
        seen.stdout_text().starts_with("text\n") && seen.stderr_text().contains("/bin/yes: No such"),
        "{seen}"
    );
}

fn in_dockers_words(cais: &Cais) {
    if !is_ready(cais) {
        return;
    }
    counter(cais, "web", "--network none");
    let folder = tempfile::tempdir_in("/disk").unwrap();
    assert_eq!(cais.ok("checkpoint create --leave-running web one"), "one");
    cais.cmd("checkpoint create web one").output().code(1).says("already");
    cais.cmd("checkpoint create --checkpoint-dir").arg(folder.path()).args("web two").ok();
    let reached = count(cais, "web");
    assert_eq!(cais.ok("checkpoint ls web"), "CHECKPOINT NAME\none");
    let there = cais.cmd("checkpoint ls --checkpoint-dir").arg(folder.path()).arg("web").ok();
    assert_eq!(there, "CHECKPOINT NAME\ntwo");
    cais.cmd("start --checkpoint two --checkpoint-dir").arg(folder.path()).arg("web").ok();
    wait_until("it counts on", || count(cais, "web") > reached + 3);
    cais.cmd("start --checkpoint one web").output().code(1).says("it runs");
    cais.ok("stop -t 0 web");
    cais.ok("start --checkpoint one web");
    let lines = cais.ok("exec web sh -c 'ip -o link; ls /sys/class/net'");
    assert!(lines.contains("lo") && !lines.contains("eth0"), "{lines}");
    cais.ok("checkpoint rm web one");
    cais.cmd("checkpoint rm web one").output().code(1).says("has no checkpoint");
    clean(cais);
}

fn as_any_other(cais: &Cais) {
    if !is_ready(cais) {
        return;
    }
    // Limits that CRIU itself would not fit into, a user, input that stays open.
    let flags = "-d -i --name small -m 8m --pids-limit 3 -u 1000:1000 --network host --stop-timeout 1";
    cais.cmd("run").args(flags).args("busybox sh -c").arg("echo up; read line; echo $line; echo ended").ok();
    cais.wait_for_log("small", "up");
    cais.ok("container checkpoint small");
    cais.ok("container restore small");
    let group = Path::new("/sys/fs/cgroup/cais").join(cais.inspect("small", "{{.Id}}"));
    let value = |file: &str| fs::read_to_string(group.join(file)).unwrap().trim().to_owned();
    assert_eq!((value("memory.max"), value("pids.max")), ("8388608".to_owned(), "3".to_owned()));
    assert_eq!(cais.ok("exec small id -u"), "1000");
    // It ends by itself, and its monitor hears of it.
    let attached = cais.cmd("attach small").stdin("last words\n").output();
    assert_eq!((attached.status(), attached.stdout_text().contains("last words")), (0, true), "{attached}");
    wait_until("it has ended", || cais.inspect("small", "{{.State.Status}}") == "exited");
    assert_eq!(cais.ok("logs small"), "up\nlast words\nended");
    assert_eq!(cais.inspect("small", "{{.State.ExitCode}}"), "0");
    cais.ok("rm small");
}

fn refused(cais: &Cais) {
    if !is_ready(cais) {
        return;
    }
    cais.ok("run -d -t --name term busybox sleep 1000");
    cais.cmd("container checkpoint term").output().code(1).says("terminal");
    cais.ok("rm -f term");
    cais.ok("run -d --init --name init busybox sleep 1000");
    cais.cmd("container checkpoint init").output().code(1).says("--init");
    cais.ok("rm -f init");
    // A connection, and nobody has said `--tcp-established`.
    let script = "nc -l -p 9 -e sleep 1000 & until nc 127.0.0.1 9 -e sleep 1000; do :; done";
    cais.cmd("run -d --name web --restart always busybox sh -c").arg(script).ok();
    let sockets = format!("/proc/{}/net/tcp", cais.inspect("web", "{{.State.Pid}}"));
    wait_until("they are connected", || {
        let text = fs::read_to_string(&sockets).unwrap();
        text.lines().any(|line| line.split_whitespace().nth(3) == Some("01"))
    });
    cais.cmd("container checkpoint web")
        .output()
        .code(1)
        .says("criu dump failed")
        .says("onnected TCP socket");
    assert_eq!(cais.inspect("web", "{{.State.Status}} {{.State.Checkpointed}}"), "running false");
    assert_eq!(cais.ok("exec web echo on"), "on");
    assert_eq!(cais.ok("checkpoint ls web"), "CHECKPOINT NAME");
    cais.ok("container checkpoint --tcp-established web");
    cais.ok("container restore web");
    let sockets = format!("/proc/{}/net/tcp", cais.inspect("web", "{{.State.Pid}}"));
    let text = fs::read_to_string(&sockets).unwrap();
    assert!(text.lines().any(|line| line.split_whitespace().nth(3) == Some("01")), "still connected: {text}");
    // Images that were cut off: the container stays as it was, with its checkpoint.
    cais.ok("container checkpoint --tcp-established web");
    let path = cais.inspect("web", "{{.State.CheckpointPath}}");
    fs::write(Path::new(&path).join("images/pstree.img"), "").unwrap();
    cais.cmd("container restore web").output().code(1).says("criu restore failed");
    assert_eq!(cais.inspect("web", "{{.State.Status}} {{.State.Checkpointed}}"), "exited true");
    cais.ok("rm web");
}

fn killed(cais: &Cais) {
    if !is_ready(cais) {
        return;
    }
    counter(cais, "web", "");
    cais.ok("container checkpoint web");
    // At several points of a restore, by the process that makes it and by the monitor.
    for (at, whom) in ["cais", "cais-shim", "criu"].into_iter().cycle().take(5).enumerate() {
        let mut restore = cais.cmd("container restore --keep web").spawn();
        let limit = format!("the {whom} of the restore");
        wait_until(&limit, || !processes(whom).is_empty() || !restore.is_running());
        if at >= 3 {
            wait_until("criu is at work", || !processes("criu").is_empty() || !restore.is_running());
        }
        for pid in processes(whom) {
            let _ = std::process::Command::new("kill").args(["-9", &pid]).status();
        }
        restore.wait();
        cais.cmd("stop -t 0 web").output();
        cais.cmd("system check --repair").output();
        cais.cmd("system check").output().code(0);
    }
    clean(cais);
}

/// Processes of this name, but not ourselves.
fn processes(name: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    pids.filter(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name))
        .collect()
}
