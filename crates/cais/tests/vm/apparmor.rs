//! Containers in profiles of AppArmor, loaded by the test.

use std::fs;
use std::path::{Path, PathBuf};

use cais_test::Cais;
use cais_test::process::Invocation;
use cais_test::vm::{Check, leave_out};
use serde_json::{Value, json};

use crate::bed::Bed;

/// Of `cais runtime`; the profile is loaded before.
pub(crate) const RUNTIME_CHECKS: &[Check<Bed>] = &[
    ("runtime: a profile is entered and obeyed", profile),
    ("runtime: exec has the container's profile or its own", exec),
    ("runtime: an unknown profile is one clear error", unknown_profile),
];

pub(crate) const CHECKS: &[Check<Cais>] = &[
    ("info names AppArmor", info),
    ("without a profile containers run unconfined", unconfined),
    ("an unknown profile is one clear error", unknown),
    ("a profile is entered and obeyed", confined),
];

const PROFILE: &str = "profile cais-vm flags=(attach_disconnected,mediate_deleted) {
  file,
  capability,
  network,
  signal,
  unix,
  deny /etc/hostname-of-image r,
}
profile cais-vm-other flags=(attach_disconnected,mediate_deleted) {
  file,
  signal,
  deny /etc/passwd r,
}
";

/// Compiles and loads the profile; false, with a word, without the compiler.
fn load() -> bool {
    let Some(parser) = parser() else {
        leave_out("apparmor_parser is not there");
        return false;
    };
    let policy = Invocation::new(parser, "--skip-kernel-load --skip-cache --stdout --quiet").stdin(PROFILE);
    let finished = policy.output().code(0);
    fs::write("/sys/kernel/security/apparmor/.replace", &finished.stdout).expect("loading a profile");
    let loaded = fs::read_to_string("/sys/kernel/security/apparmor/profiles").unwrap();
    assert!(loaded.contains("cais-vm (enforce)"), "{loaded}");
    true
}

/// Debian's, installed or unpacked beside the kernel of the guests.
fn parser() -> Option<PathBuf> {
    let exe = std::env::current_exe().ok()?;
    let unpacked = exe.ancestors().skip(1).take(5).flat_map(|folder| {
        ["sbin", "usr/sbin"].map(|part| folder.join("vm/apparmor").join(part).join("apparmor_parser"))
    });
    let installed = ["/usr/sbin/apparmor_parser", "/sbin/apparmor_parser"].map(PathBuf::from);
    installed.into_iter().chain(unpacked).find(|path| path.is_file())
}

fn info(cais: &Cais) {
    assert!(Path::new("/sys/kernel/security/apparmor").is_dir());
    let options = cais.ok("info --format {{.SecurityOptions}}");
    assert!(options.contains("name=apparmor"), "{options}");
}

fn unconfined(cais: &Cais) {
    for flags in ["", "--security-opt apparmor=unconfined", "--privileged"] {
        let label = cais.cmd("run --rm").args(flags).args("busybox cat /proc/self/attr/current").ok();
        assert_eq!(label, "unconfined", "{flags}");
    }
}

fn unknown(cais: &Cais) {
    for command in ["run --rm", "run -d --name unknown"] {
        cais.cmd(command)
            .args("--security-opt apparmor=no-such-profile busybox true")
            .output()
            .code(125)
            .one_clear_error()
            .says("no-such-profile");
    }
    cais.ok("rm -f unknown");
}

fn confined(cais: &Cais) {
    if !load() {
        return;
    }
    let option = "--security-opt apparmor=cais-vm";
    let label = cais.ok(&format!("run --rm {option} busybox cat /proc/self/attr/current"));
    assert_eq!(label, "cais-vm (enforce)");
    let refused = cais.cmd("run --rm").args(option).args("busybox cat /etc/hostname-of-image").output();
    assert!(refused.status() != 0 && refused.stderr_text().contains("ermission denied"), "{refused}");
    cais.ok("run --rm busybox cat /etc/hostname-of-image");
    cais.ok(&format!("run -d --name confined {option} busybox sleep 1000"));
    assert_eq!(cais.ok("exec confined cat /proc/self/attr/current"), "cais-vm (enforce)", "exec too");
    assert_eq!(cais.inspect("confined", "{{.AppArmorProfile}}"), "cais-vm");
    let nnp = "--security-opt no-new-privileges";
    let label = cais.ok(&format!("run --rm {option} {nnp} busybox cat /proc/self/attr/current"));
    assert_eq!(label, "cais-vm (enforce)", "also with no_new_privs");
    let init = cais.ok(&format!("run --rm --init {option} -u 1000 busybox cat /proc/self/attr/current"));
    assert_eq!(init, "cais-vm (enforce)", "also below an init and as an ordinary user");
    cais.ok("rm -f confined");
}

/// Starts a container that sleeps in a profile.
fn sleeper(bed: &Bed, id: &str, change: impl FnOnce(&mut Value)) {
    bed.bundle(id, &["sleep", "1000"]).change(|config| {
        config["process"]["apparmorProfile"] = json!("cais-vm");
        change(config);
    });
    bed.run_detached(id);
}

fn label_of(pid: i64) -> String {
    fs::read_to_string(format!("/proc/{pid}/attr/apparmor/current")).unwrap().trim().to_owned()
}

fn profile(bed: &Bed) {
    if !load() {
        return;
    }
    let script = "cat /proc/self/attr/current; cat /etc/hostname-of-image || echo denied";
    let run = |id: &str, change: &dyn Fn(&mut Value)| {
        bed.bundle(id, &["sh", "-c", script]).change(|config| {
            config["process"]["apparmorProfile"] = json!("cais-vm");
            change(config);
        });
        bed.run(id).code(0).stdout_text()
    };
    assert_eq!(run("a1", &|_| ()), "cais-vm (enforce)\ndenied");
    let with_privileges = |config: &mut Value| config["process"]["noNewPrivileges"] = json!(false);
    assert_eq!(run("a2", &with_privileges), "cais-vm (enforce)\ndenied");
    let as_user = |config: &mut Value| config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    assert_eq!(run("a3", &as_user), "cais-vm (enforce)\ndenied");
    let unconfined = |config: &mut Value| config["process"]["apparmorProfile"] = json!("unconfined");
    assert_eq!(run("a4", &unconfined), "unconfined\nimage");
    // Without a procfs of its own: what is written goes through a private one.
    let hidden = |config: &mut Value| {
        config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/proc");
        config["linux"]["maskedPaths"] = json!([]);
        config["linux"]["readonlyPaths"] = json!([]);
    };
    sleeper(bed, "a5", hidden);
    assert_eq!(label_of(bed.pid("a5")), "cais-vm (enforce)");
    bed.ok("delete --force a5");
}

fn exec(bed: &Bed) {
    if !load() {
        return;
    }
    sleeper(bed, "a6", |_| ());
    let script = "cat /proc/self/attr/current; cat /etc/hostname-of-image || echo denied; cat /etc/passwd >/dev/null || echo none";
    let show = |flags: &str| bed.cmd("exec").args(flags).args("a6 sh -c").arg(script).output().stdout_text();
    assert_eq!(show(""), "cais-vm (enforce)\ndenied", "the container's");
    assert_eq!(show("--apparmor cais-vm-other --no-new-privs=false"), "cais-vm-other (enforce)\nimage\nnone");
    bed.cmd("exec --apparmor no-such-profile a6 true").output().code(255).says("no-such-profile");
    bed.ok("delete --force a6");
}

fn unknown_profile(bed: &Bed) {
    bed.bundle("a7", &["true"])
        .change(|config| config["process"]["apparmorProfile"] = json!("no-such-profile"));
    bed.run("a7").code(1).says("no-such-profile").one_clear_error();
    bed.assert_gone("a7");
}
