//! `cais runtime checkpoint` and `restore` with a real CRIU: a container's processes become files and go on from them.

use std::fs;
use std::path::Path;

use cais_test::Invocation;
use cais_test::vm::{Check, leave_out};

use crate::bed::Bed;

pub(crate) const CHECKS: &[Check<Bed>] = &[
    ("runtime: a container goes on beside and from its checkpoint", goes_on),
    ("runtime: what CRIU refuses is told, and the container goes on", refused),
];

/// Counts where its memory is the only place that knows how far it is.
const COUNTER: &str = "i=0; while :; do i=$((i+1)); echo $i >/tmp/count; sleep 0.05; done";

fn criu_is_there() -> bool {
    // `criu check` would take as long as a checkpoint.
    let there = std::process::Command::new("criu")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success());
    if !there {
        leave_out("criu is not installed");
    }
    there
}

/// A command whose streams are the null device, as those of an engine's container often are.
fn silent(bed: &Bed, line: &str) -> Invocation {
    let inner = bed.cmd(line).command();
    let shell = Invocation::new("sh", "-c '\"$@\" </dev/null >/dev/null 2>&1' sh").arg(inner.get_program());
    inner.get_args().fold(shell, |shell, arg| shell.arg(arg))
}

fn counter(bed: &Bed, id: &str) {
    bed.bundle(id, &["sh", "-c", COUNTER]);
    silent(bed, "run --detach --bundle").arg(bed.folder().join(id)).arg(id).ok();
    cais_test::wait_until("it counts", || count(bed) > 3);
}

fn count(bed: &Bed) -> u32 {
    let text = fs::read_to_string(bed.folder().join("rootfs/tmp/count")).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

fn forget(bed: &Bed, id: &str) {
    bed.cmd("delete --force").arg(id).ok();
    bed.assert_gone(id);
    for folder in [bed.folder().join(id), bed.folder().join("images")] {
        fs::remove_dir_all(folder).unwrap();
    }
    let _ = fs::remove_file(bed.folder().join("rootfs/tmp/count"));
}

/// What CRIU has written when it has failed, for the message.
fn log_of(images: &Path, action: &str) -> String {
    let text = fs::read_to_string(images.join(format!("{action}.log"))).unwrap_or_default();
    text.lines().filter(|line| line.contains("Error") || line.contains("Warn")).collect::<Vec<_>>().join("\n")
}

fn goes_on(bed: &Bed) {
    if !criu_is_there() {
        return;
    }
    counter(bed, "criu");
    let images = bed.folder().join("images");
    let checkpoint = |flags: &str| {
        let finished =
            bed.cmd("checkpoint").args(flags).arg("--image-path").arg(&images).arg("criu").output();
        assert!(finished.status() == 0, "{finished}\n{}", log_of(&images, "dump"));
    };
    checkpoint("--leave-running");
    let reached = count(bed);
    assert_eq!(bed.status("criu"), "running");
    cais_test::wait_until("it counts on", || count(bed) > reached);
    checkpoint("");
    bed.assert_gone("criu");
    let reached = count(bed);
    let pid_file = bed.folder().join("criu.pid");
    let restore = silent(bed, "restore --detach --pid-file").arg(&pid_file).arg("--image-path").arg(&images);
    let finished = restore.arg("--bundle").arg(bed.folder().join("criu")).arg("criu").output();
    assert!(finished.status() == 0, "{finished}\n{}", log_of(&images, "restore"));
    assert_eq!(bed.status("criu"), "running");
    assert_eq!(fs::read_to_string(pid_file).unwrap(), bed.pid("criu").to_string());
    cais_test::wait_until("it counts on", || count(bed) > reached + 3);
    let seen =
        bed.ok("exec criu sh -c 'hostname; cat /proc/1/comm; ls /dev/pts/ptmx; cat /proc/self/cgroup'");
    assert!(seen.starts_with("ship\nsh\n/dev/pts/ptmx\n0::") && seen.ends_with("/criu"), "{seen}");
    bed.ok("pause criu");
    bed.ok("resume criu");
    bed.ok("kill criu KILL");
    bed.wait_for("criu", "stopped");
    forget(bed, "criu");
}

fn refused(bed: &Bed) {
    if !criu_is_there() {
        return;
    }
    // A connection, and nobody has said `--tcp-established`.
    let script = "nc -l -p 9 -e sleep 1000 & until nc 127.0.0.1 9 -e sleep 1000; do :; done";
    bed.bundle("criu", &["sh", "-c", script]);
    silent(bed, "run --detach --bundle").arg(bed.folder().join("criu")).arg("criu").ok();
    let sockets = format!("/proc/{}/net/tcp", bed.pid("criu"));
    cais_test::wait_until("they are connected", || {
        let text = fs::read_to_string(&sockets).unwrap();
        text.lines().any(|line| line.split_whitespace().nth(3) == Some("01"))
    });
    let images = bed.folder().join("images");
    bed.cmd("checkpoint --image-path").arg(&images).arg("criu").output().code(1).says("criu dump failed");
    assert_eq!(bed.status("criu"), "running");
    assert_eq!(bed.ok("exec criu echo on"), "on");
    forget(bed, "criu");
}
