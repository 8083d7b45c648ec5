//! Containers under SELinux with a small policy of our own, loaded by the test: labels of processes, mounts and keys are
//! applied, and what the policy denies is denied.

use std::fs;
use std::path::Path;

use cais_test::Cais;
use cais_test::process::{Finished, Invocation};
use cais_test::vm::Check;
use serde_json::{Value, json};

use crate::bed::Bed;

/// Of the engine.
pub(crate) const CHECKS: &[Check<Cais>] = &[
    ("without label options containers run as who starts them", unlabelled),
    ("label options name the process and the files", labelled),
    ("what cannot be labelled is one clear error", unlabelable),
];

/// Of `cais runtime`.
pub(crate) const RUNTIME_CHECKS: &[Check<Bed>] = &[
    ("runtime: the process has its label and is denied what that denies", process),
    ("runtime: the level counts, too", level),
    ("runtime: labels go through a private procfs", private_procfs),
    ("runtime: file systems have the mount label", mounts),
    ("runtime: exec has the container's label or its own", exec),
    ("runtime: the session keyring is labelled", keyring),
    ("runtime: labels that cannot be are one clear error", refused),
];

const PROCESS: &str = "system_u:system_r:container_t:s0";
const FILE: &str = "system_u:object_r:container_file_t:s0";
const SECRET: &str = "system_u:object_r:secret_t:s0";
const XATTR: &str = "security.selinux";

/// Compiles and loads the policy; the kernel enforces from there on. False, with a word, without the compiler.
pub(crate) fn load() -> bool {
    if std::process::Command::new("secilc").arg("--help").output().is_err() {
        cais_test::vm::leave_out("secilc is not installed");
        return false;
    }
    let folder = tempfile::tempdir().unwrap();
    let (source, policy) = (folder.path().join("policy.cil"), folder.path().join("policy"));
    fs::write(&source, include_str!("policy.cil")).unwrap();
    let version = fs::read_to_string("/sys/fs/selinux/policyvers").unwrap();
    let version = version.trim().parse::<u32>().unwrap().min(33).to_string();
    Invocation::new("secilc", "--filecontext /dev/null --policyvers")
        .arg(version)
        .arg("--output")
        .arg(&policy)
        .arg(source)
        .ok();
    fs::write("/sys/fs/selinux/load", fs::read(policy).unwrap()).expect("loading the policy");
    assert_eq!(fs::read_to_string("/sys/fs/selinux/enforce").unwrap(), "1");
    let own = fs::read_to_string("/proc/self/attr/current").unwrap();
    assert!(own.starts_with("system_u:system_r:kernel_t:s0"), "{own}");
    true
}

fn set_label(path: &Path, label: &str) {
    rustix::fs::setxattr(path, XATTR, label.as_bytes(), rustix::fs::XattrFlags::empty()).unwrap();
}

/// The label of a process as the host sees it.
fn label_of(pid: i64) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/attr/current")).unwrap();
    text.trim_end_matches(['\0', '\n']).to_owned()
}

fn unlabelled(cais: &Cais) {
    assert!(cais.ok("info --format {{.SecurityOptions}}").contains("name=selinux"));
    for flags in ["", "--security-opt label=disable", "--privileged"] {
        let label = cais.cmd("run --rm").args(flags).args("busybox cat /proc/self/attr/current").ok();
        assert!(label.starts_with("system_u:system_r:kernel_t:"), "{flags}: {label}");
    }
}

fn labelled(cais: &Cais) {
    let options = "--security-opt label=type:container_t --security-opt label=level:s0:c0,c1";
    let run = |flags: &str, script: &str| {
        cais.cmd("run --rm").args(options).args(flags).args("busybox sh -c").arg(script).output()
    };
    let (process, file) = (format!("{PROCESS}:c0,c1"), format!("{FILE}:c0,c1"));
    let label = run("", "tr -d '\\0' </proc/self/attr/current").code(0).stdout_text();
    assert_eq!(label, process);
    let init = run("--init -u 1000 --security-opt no-new-privileges", "tr -d '\\0' </proc/self/attr/current");
    assert_eq!(init.code(0).stdout_text(), process, "below an init, too");
    // What is masked lies below mounts of /dev/null.
    let script = "awk '/container_file_t:s0:c0,c1\"/ && $5 !~ \"^/proc/\" {print $5}' /proc/self/mountinfo; \
                  cat /etc/hosts >/dev/null && echo x >/new && cat /etc/hostname-of-image";
    let text = run("--tmpfs /t", script).code(0).stdout_text();
    assert_eq!(text, "/\n/dev\n/dev/pts\n/dev/shm\n/t\nimage");
    // A directory of the host keeps its label, and the level decides.
    let folder = cais.folder().join("labelled");
    fs::create_dir(&folder).unwrap();
    for (name, label) in
        [("one", format!("{FILE}:c1")), ("two", format!("{FILE}:c2")), ("secret", SECRET.to_owned())]
    {
        fs::write(folder.join(name), name).unwrap();
        set_label(&folder.join(name), &label);
    }
    let volume = format!("-v {}:/v:ro", folder.display());
    let finished = run(&volume, "cat /v/one; cat /v/two; cat /v/secret");
    assert_eq!(finished.stdout_text(), "one", "{finished}");
    assert_eq!(finished.stderr_text().matches("Permission denied").count(), 2, "{finished}");
    let secret = run("--security-opt label=filetype:secret_t", "true").status();
    assert_ne!(secret, 0, "the root file system has the type that it may not use");
    cais.cmd("run -d --name labelled").args(options).args("busybox sleep 1000").ok();
    assert_eq!(
        cais.ok("exec labelled cat /proc/self/attr/current").trim_end_matches('\0'),
        process,
        "exec too"
    );
    assert_eq!(cais.inspect("labelled", "{{.ProcessLabel}} {{.MountLabel}}"), format!("{process} {file}"));
    cais.ok("rm -f labelled");
    fs::remove_dir_all(folder).unwrap();
}

fn unlabelable(cais: &Cais) {
    let failed = cais.fails(125, "run --rm --security-opt label=type:no_such_t busybox true");
    failed.one_clear_error().says("no_such_t");
    cais.fails(125, "run --rm --security-opt label=colour:red busybox true")
        .says("label=user|role|type|level");
}

/// Runs a labelled container to its end.
fn run(bed: &Bed, script: &str, change: impl FnOnce(&mut Value)) -> Finished {
    bed.bundle("labelled", &["sh", "-c", script]).change(|config| {
        config["process"]["selinuxLabel"] = json!(PROCESS);
        change(config);
    });
    let finished = bed.run("labelled");
    bed.assert_gone("labelled");
    fs::remove_dir_all(bed.folder().join("labelled")).unwrap();
    finished
}

/// A file of the root file system with this label.
fn file(bed: &Bed, name: &str, label: &str) {
    let path = bed.folder().join("rootfs").join(name);
    fs::write(&path, "kept\n").unwrap();
    set_label(&path, label);
}

fn process(bed: &Bed) {
    file(bed, "secret", SECRET);
    let script =
        "tr -d '\\0' </proc/self/attr/current; echo; cat /secret || echo denied; cat /etc/hostname-of-image";
    let finished = run(bed, script, |_| ()).code(0).says("Permission denied");
    assert_eq!(finished.stdout_text(), format!("{PROCESS}\ndenied\nimage"));
    let with_user = run(bed, script, |config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
        let map = json!([{"containerID": 0, "hostID": 0, "size": 65_536}]);
        config["linux"]["uidMappings"] = map.clone();
        config["linux"]["gidMappings"] = map;
    });
    assert_eq!(with_user.code(0).stdout_text(), format!("{PROCESS}\ndenied\nimage"), "in a user namespace");
    let without = run(bed, "cat /secret", |config| config["process"]["selinuxLabel"] = Value::Null);
    without.code(0).prints("kept");
    assert_eq!(bed.ok("features").matches("\"selinux\": {\n      \"enabled\": true").count(), 1);
}

fn level(bed: &Bed) {
    file(bed, "one", &format!("{FILE}:c1"));
    let with = |level: &str| {
        run(bed, "cat /one", |config| config["process"]["selinuxLabel"] = json!(format!("{PROCESS}{level}")))
    };
    with(":c1").code(0).prints("kept");
    with(":c0,c1").code(0).prints("kept");
    with(":c0,c2").code(1).says("Permission denied");
    with("").code(1).says("Permission denied");
}

fn private_procfs(bed: &Bed) {
    // No procfs, and in its place what an image would like to be written to.
    let fake = bed.folder().join("rootfs/proc/self/attr");
    fs::create_dir_all(&fake).unwrap();
    for name in ["exec", "current", "keycreate"] {
        fs::write(fake.join(name), "").unwrap();
    }
    bed.bundle("hidden", &["sleep", "1000"]).change(|config| {
        config["process"]["selinuxLabel"] = json!(PROCESS);
        config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/proc");
        config["linux"]["maskedPaths"] = json!([]);
        config["linux"]["readonlyPaths"] = json!([]);
    });
    bed.run_detached("hidden");
    assert_eq!(label_of(bed.pid("hidden")), PROCESS);
    for name in ["exec", "current", "keycreate"] {
        assert_eq!(fs::read_to_string(fake.join(name)).unwrap(), "", "{name}");
    }
    bed.ok("delete --force hidden");
    fs::remove_dir_all(bed.folder().join("hidden")).unwrap();
    fs::remove_dir_all(bed.folder().join("rootfs/proc/self")).unwrap();
}

fn mounts(bed: &Bed) {
    let script = "touch /dev/x && echo written; sed -n 's/^[^/]*\\(\\/.*\\)* \\(\\/dev\\) .*context=\\([^, ]*\\).*/\\2 \\3/p' /proc/self/mountinfo";
    let labelled = |label: &str| {
        let label = label.to_owned();
        run(bed, script, move |config| config["linux"]["mountLabel"] = json!(label))
    };
    let text = labelled(FILE).code(0).stdout_text();
    assert_eq!(text, format!("written\n/dev {FILE}"));
    // Categories have commas, which separate mount options elsewhere.
    let text = labelled(&format!("{FILE}:c0,c1")).stdout_text();
    assert!(text.contains("container_file_t:s0:c0"), "{text}");
    let finished = labelled(SECRET);
    assert!(!finished.stdout_text().contains("written"), "{finished}");
}

fn exec(bed: &Bed) {
    bed.bundle("labelled", &["sleep", "1000"])
        .change(|config| config["process"]["selinuxLabel"] = json!(PROCESS));
    bed.run_detached("labelled");
    let show = |flags: &str| {
        let exec = bed
            .cmd("exec")
            .args(flags)
            .args("labelled sh -c 'cat /proc/self/attr/current; cat /one'")
            .output();
        (exec.stdout_text().replace('\0', "\n").trim_end().to_owned(), exec.status())
    };
    assert_eq!(show(""), (PROCESS.to_owned(), 1), "the container's");
    let other = format!("{PROCESS}:c1");
    assert_eq!(show(&format!("--process-label {other}")), (format!("{other}\nkept"), 0));
    bed.cmd("exec --process-label system_u:system_r:no_such_t:s0 labelled true")
        .output()
        .code(255)
        .says("no_such_t");
    bed.ok("delete --force labelled");
    fs::remove_dir_all(bed.folder().join("labelled")).unwrap();
}

fn keyring(bed: &Bed) {
    // /proc/keys has those that the process may view: not those of kernel_t.
    let script = "grep -c ' keyring  *_ses' /proc/keys";
    assert_eq!(run(bed, script, |_| ()).stdout_text(), "1");
    let nokey =
        |config: &mut Value| config["process"]["selinuxLabel"] = json!("system_u:system_r:nokey_t:s0");
    run(bed, "true", nokey).code(1).says("ermission denied");
}

fn refused(bed: &Bed) {
    let label =
        |label: &'static str| move |config: &mut Value| config["process"]["selinuxLabel"] = json!(label);
    for wrong in ["system_u:system_r:no_such_t:s0", "nonsense", "system_u:system_r:container_t:s0:c9"] {
        run(bed, "true", label(wrong)).code(1).says(wrong).one_clear_error();
    }
    run(bed, "true", |config| config["linux"]["mountLabel"] = json!("nonsense")).code(1).one_clear_error();
}
