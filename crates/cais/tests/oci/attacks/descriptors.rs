//! Descriptors of the host in reach of a container: CVE-2024-21626.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use cais_test::isolation::isolated;
use cais_test::process::Finished;
use cais_test::{Invocation, e2e};
use serde_json::json;

use super::{Canary, load_image};
use crate::bed::Bed;

/// Numbers that a runtime or its caller may have open.
const NUMBERS: std::ops::Range<u32> = 3..24;

/// A caller that has directories of the host open and passes them on, as a careless engine does.
fn careless(inner: &Invocation) -> Finished {
    let inner = inner.command();
    let script = r#"exec 7</ 8</sys/fs/cgroup 9</tmp; exec "$@""#;
    let shell = Invocation::new("sh", "-c").arg(script).arg("sh").arg(inner.get_program());
    let shell = inner.get_args().fold(shell, |shell, arg| shell.arg(arg));
    let set = |shell: Invocation, (name, value): (&OsStr, Option<&OsStr>)| match value {
        Some(value) => shell.env(&name.to_string_lossy(), Path::new(value)),
        None => shell.without_env(&name.to_string_lossy()),
    };
    inner.get_envs().fold(shell, set).output()
}

/// CVE-2024-21626. runc had a directory of the host open while it changed into `process.cwd`; an image with the working
/// directory `/proc/self/fd/7` began on the host. The attacker has the configuration's `cwd` (an image's `WORKDIR`),
/// or a link of the image that leads there. Seen must be: no such start comes to the host's files, whatever number, also
/// with a caller that leaks its own descriptors.
#[test]
fn cve_2024_21626_working_directory_of_run() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let canary = Canary::new(bed.folder());
        let script = format!("cat {}; pwd; ls /proc/self/fd/", canary.climb());
        let bundle = bed.bundle("c1", &["sh", "-c", &script]);
        let link = bed.folder().join("rootfs/way");
        let mut bundle = Some(bundle);
        let mut start = |cwd: String| {
            bundle =
                bundle.take().map(|bundle| bundle.change(|config| config["process"]["cwd"] = json!(cwd)));
            for finished in
                [bed.run("c1"), careless(&bed.cmd("run -b").arg(bed.folder().join("c1")).arg("c1"))]
            {
                canary.assert_unseen(&finished);
                assert_ne!(finished.status(), 0, "{cwd} cannot be entered: {finished}");
            }
        };
        for number in NUMBERS {
            start(format!("/proc/self/fd/{number}"));
        }
        for cwd in [
            "/proc/self/fd/7/../../..",
            "/proc/thread-self/fd/7",
            "/proc/1/fd/7",
            "/proc/self/cwd",
            "/proc/1/root",
        ] {
            start(cwd.to_owned());
        }
        for number in [6, 7, 8, 9] {
            std::os::unix::fs::symlink(format!("/proc/self/fd/{number}"), &link).unwrap();
            start("/way".to_owned());
            fs::remove_file(&link).unwrap();
        }
    });
}

/// CVE-2024-21626, second way: `exec --cwd`, and a container that replaces the directory it is executed in by a link
/// to `/proc/self/fd/7`.
#[test]
fn cve_2024_21626_working_directory_of_exec() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let canary = Canary::new(bed.folder());
        let script = format!("cat {}; pwd; true", canary.climb());
        bed.sleeper("c1");
        bed.ok("exec c1 sh -c 'for n in 3 4 5 6 7 8 9 10 11 12; do ln -s /proc/self/fd/$n /way$n; done'");
        for number in NUMBERS {
            for cwd in [format!("/proc/self/fd/{number}"), format!("/way{number}")] {
                let exec = bed.cmd("exec --cwd").arg(&cwd).args("c1 sh -c").arg(&script);
                for finished in [careless(&exec), exec.output()] {
                    canary.assert_unseen(&finished);
                    assert_ne!(finished.status(), 0, "{cwd}: {finished}");
                }
            }
        }
    });
}

/// CVE-2024-21626, third way: the command itself is named through a descriptor, so that a program of the host is
/// executed (and can be overwritten through `/proc/self/exe`).
#[test]
fn cve_2024_21626_command() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let canary = Canary::new(bed.folder());
        let mut bundle = Some(bed.bundle("c1", &["true"]));
        for number in NUMBERS {
            let program = format!("/proc/self/fd/{number}/../../../../../../bin/busybox");
            let args = json!([program, "cat", canary.file()]);
            bundle = bundle.take().map(|bundle| bundle.change(|config| config["process"]["args"] = args));
            let finished = careless(&bed.cmd("run -b").arg(bed.folder().join("c1")).arg("c1"));
            canary.assert_unseen(&finished);
            assert_ne!(finished.status(), 0, "{program}: {finished}");
        }
    });
}

/// CVE-2024-21626, the leak itself: neither the first process while it waits for its start, nor a hook that runs in the
/// container, nor the command has a descriptor of the host.
#[test]
fn cve_2024_21626_nothing_is_open() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let look = "ls -l /proc/self/fd | grep -o -- '-> .*' >>/seen";
        bed.bundle("c1", &["sleep", "1000"]).change(|config| {
            let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", look]});
            config["hooks"] = json!({"startContainer": [hook]});
        });
        careless(&bed.detached("create -b").arg(bed.folder().join("c1")).arg("c1")).code(0);
        let open = |pid: i64| -> Vec<PathBuf> {
            let fds = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
            fds.filter_map(|fd| fs::read_link(fd.unwrap().path()).ok()).collect()
        };
        let is_path = |path: &&PathBuf| {
            path.starts_with("/") && !path.starts_with("/dev") && !path.starts_with(bed.folder().join("out"))
        };
        let waiting = open(bed.pid("c1"));
        let output = |path: &PathBuf| path.starts_with(bed.folder()) && path.is_file();
        let leaked: Vec<&PathBuf> = waiting.iter().filter(is_path).filter(|path| !output(path)).collect();
        assert!(leaked.is_empty(), "while it waits: {waiting:?}");
        assert!(waiting.len() <= 5, "three streams, the listener, signals: {waiting:?}");
        bed.ok("start c1");
        let seen = fs::read_to_string(bed.folder().join("rootfs/seen")).unwrap();
        // Streams of memory, the file that it writes to, and that by which ls reads the folder.
        let leaked: Vec<&str> = seen
            .lines()
            .filter(|line| {
                !line.contains("/proc/")
                    && !line.contains("pipe:")
                    && !line.contains("memfd:")
                    && !line.ends_with("/seen")
            })
            .collect();
        assert!(leaked.is_empty(), "in a hook: {seen}");
        let running = open(bed.pid("c1"));
        assert_eq!(running.len(), 3, "{running:?}");
    });
}

/// CVE-2024-21626 against `cais run` and `cais exec`: `--workdir`, and an image that says it.
#[test]
fn cve_2024_21626_workdir_of_the_engine() {
    e2e(|cais| {
        let canary = Canary::new(cais.folder());
        let script = format!("cat {}; pwd; true", canary.climb());
        let with = |invocation: Invocation| invocation.args("sh -c").arg(&script);
        cais.ok("run -d --name c1 busybox sleep 1000");
        for number in NUMBERS {
            let cwd = format!("/proc/self/fd/{number}");
            let run = with(cais.cmd("run --rm --workdir").arg(&cwd).arg("busybox"));
            let exec = with(cais.cmd("exec --workdir").arg(&cwd).arg("c1"));
            for invocation in [run, exec] {
                let finished = careless(&invocation);
                canary.assert_unseen(&finished);
                assert_ne!(finished.status(), 0, "{cwd}: {finished}");
            }
        }
        load_image(cais, "evil", |image, layer| {
            image.layer(layer.symlink("way", "/proc/self/fd/7")).set("WorkingDir", json!("/way"))
        });
        let finished = careless(&with(cais.cmd("run --rm evil")));
        canary.assert_unseen(&finished);
        assert_ne!(finished.status(), 0, "{finished}");
    });
}
