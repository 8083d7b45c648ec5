//! The runtime's own program in reach of a container: CVE-2019-5736.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use cais_test::isolation::isolated;
use cais_test::{e2e, wait_until};
use serde_json::{Value, json};

use super::load_image;
use crate::bed::Bed;

/// Everything that the machine has: `--privileged`.
const ALL: [&str; 20] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_ADMIN",
    "CAP_MKNOD",
    "CAP_SETFCAP",
    "CAP_SYS_NICE",
];

fn privileged(config: &mut Value) {
    config["process"]["capabilities"] = json!({"bounding": ALL, "effective": ALL, "permitted": ALL});
    config["linux"]["maskedPaths"] = json!([]);
    config["linux"]["readonlyPaths"] = json!([]);
}

/// What must not change of the program on the host.
fn program(path: &Path) -> (u64, i64, i64, Vec<u8>) {
    let path = fs::canonicalize(path).unwrap();
    let meta = fs::metadata(&path).unwrap();
    (meta.ino(), meta.mtime(), meta.mtime_nsec(), fs::read(path).unwrap())
}

/// Takes the program of PID 1 while that is the runtime's, and writes to it when nobody executes it any more.
const OVERWRITE: &str = r#"
exec 9</proc/1/exe || exit 1
readlink /proc/self/fd/9 >/held
md5sum <&9 >/before
for way in /proc/1/exe /proc/self/fd/9; do (echo evil >$way) 2>/dev/null && echo $way >>/written; done
echo >/ready
until readlink /proc/1/exe | grep -q busybox; do sleep 0.01; done
(echo evil >/proc/self/fd/9) 2>/dev/null && echo late >>/written
(echo evil 1<>/proc/self/fd/9) 2>/dev/null && echo late rw >>/written
truncate -s 0 /proc/self/fd/9 2>/dev/null && echo truncated >>/written
(echo evil >>/proc/self/fd/9) 2>/dev/null && echo appended >>/written
md5sum </proc/self/fd/9 >/after
echo >/done
"#;

/// CVE-2019-5736. runc executed itself inside of the container; root there opened `/proc/PID/exe`, which is the host's
/// binary, and overwrote it when runc had ended: the next container's start ran the attacker's program as the
/// host's root. The attacker is root with all capabilities, no masks, and looks at PID 1 while it is still ours. Seen must be:
/// what it gets hold of is a sealed file in memory that cannot be written then or later, and the host's program
/// stays what it was.
#[test]
fn cve_2019_5736_overwrite_by_proc_exe() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let before = program(bed.program());
        bed.bundle("c1", &["sleep", "1000"]).change(privileged);
        bed.create("c1");
        let inside = |name: &str| bed.folder().join("rootfs").join(name);
        bed.detached("exec --detach c1 sh -c").arg(OVERWRITE).ok();
        wait_until("the attacker holds the program", || inside("ready").exists());
        bed.ok("start c1");
        wait_until("the attacker has tried", || inside("done").exists());
        let read = |name: &str| fs::read_to_string(inside(name)).unwrap();
        assert!(!inside("written").exists(), "{}", read("written"));
        assert_eq!(read("before"), read("after"));
        if bed.is_ours() {
            assert!(read("held").starts_with("/memfd:cais-init"), "{}", read("held"));
        }
        assert_eq!(program(bed.program()), before);
        bed.bundle("c2", &["echo", "well"]);
        bed.run("c2").code(0).prints("well");
    });
}

/// CVE-2019-5736, as it was first shown: the image's command, or the command of an `exec`, is `#!/proc/self/exe`, and
/// the runtime executes itself as the container's program. Seen must be: that is the sealed file, which does nothing
/// without a plan; with `/proc/self/exe` as the command itself, too.
#[test]
fn cve_2019_5736_the_command_is_the_runtime() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let before = program(bed.program());
        let evil = bed.folder().join("rootfs/evil");
        fs::write(&evil, "#!/proc/self/exe\n").unwrap();
        fs::set_permissions(&evil, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        bed.bundle("c0", &["sleep", "1000"]).change(privileged);
        bed.run_detached("c0");
        for (id, command) in [("c1", "/evil"), ("c2", "/proc/self/exe"), ("c3", "/proc/1/exe")] {
            bed.bundle(id, &[command, "runtime", "--version"]).change(privileged);
            let finished = bed.run(id);
            assert_ne!(finished.status(), 0, "{finished}");
            assert_eq!(finished.stdout_text(), "", "{finished}");
            let exec = bed.cmd("exec c0").arg(command).args("runtime --version").output();
            // PID 1 is busybox there, which knows no applet of that name.
            assert_ne!(exec.status(), 0, "{exec}");
        }
        assert_eq!(program(bed.program()), before);
    });
}

/// CVE-2019-5736 against `cais run --privileged` and `cais exec`: with `--init` our program stays PID 1 of the container
/// for good.
#[test]
fn cve_2019_5736_the_engine() {
    e2e(|cais| {
        let before = program(cais.binary());
        cais.ok("run -d --name c1 --privileged --init busybox sleep 1000");
        let script = "exec 9</proc/1/exe || exit 1; readlink /proc/self/fd/9
            for way in /proc/1/exe /proc/self/fd/9; do (echo evil >$way) 2>/dev/null && echo written; done
            for way in /proc/1/exe /proc/self/fd/9; do truncate -s 0 $way 2>/dev/null && echo truncated; done
            (echo evil 1<>/proc/self/fd/9) 2>/dev/null && echo rw; echo end";
        let said = cais.cmd("exec --privileged c1 sh -c").arg(script).ok();
        let lines: Vec<&str> = said.lines().collect();
        assert!(lines.len() == 2 && lines[0].starts_with("/memfd:cais-shim") && lines[1] == "end", "{said}");
        load_image(cais, "evil", |image, layer| {
            image.layer(layer.program("evil", "#!/proc/self/exe\n")).set("Entrypoint", json!(["/evil"]))
        });
        for line in
            ["run --rm --privileged evil version", "run --rm --privileged busybox /proc/self/exe version"]
        {
            let finished = cais.cmd(line).output();
            assert!(finished.status() != 0 && finished.stdout_text().is_empty(), "{line}: {finished}");
        }
        let finished = cais.cmd("exec --privileged c1 /proc/self/exe version").output();
        assert!(finished.status() != 0 && finished.stdout_text().is_empty(), "{finished}");
        assert_eq!(program(cais.binary()), before);
        assert_eq!(cais.ok("run --rm busybox echo well"), "well");
    });
}
