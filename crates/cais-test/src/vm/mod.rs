//! Virtual machines for what the host may lack: a unified cgroup v2 tree with every controller, delegated cgroups for
//! an ordinary user, AppArmor, an older kernel.
//!
//! A guest boots Debian's kernel in qemu, sees the host's root file system read-only (9p, below an overlay in memory)
//! and so has every program and every built file of the host under the same path. It has `/disk` (ext4, empty), `/run`
//! (empty), the user [`TESTER`] with ranges of ids and a delegated cgroup, loopback and, as
//! [`crate::isolation`] has, `up0` with 192.0.2.10/24 that leads nowhere.
//!
//! Invariants: nothing is written on the host but below one temporary folder that goes away; nothing is downloaded
//! (the kernel is fetched by `cargo xtask test`); without hardware help everything is 10 to 50 times slower, so
//! many checks share one boot and none of them looks at a clock.

mod initramfs;
mod kernel;
mod qemu;

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::cais::Cais;
use crate::isolation;
use crate::process::Invocation;
use crate::rootfs::busybox;
use kernel::Kernel;

/// What the guest runs, beside the first script in its initramfs.
const SCRIPTS: &[(&str, &str)] = &[
    ("start.sh", include_str!("guest/start.sh")),
    ("run.sh", include_str!("guest/run.sh")),
    ("as-tester.sh", include_str!("guest/as-tester.sh")),
];

/// Set in the guest.
const GUEST: &str = "CAIS_TEST_GUEST";

/// The ordinary user of a guest.
pub const TESTER: &str = "tester";
/// Its user and group id.
pub const TESTER_ID: u32 = 1234;
/// Its `XDG_RUNTIME_DIR`.
pub const TESTER_RUNTIME: &str = "/run/user/1234";
/// Its home, on the guest's disk.
pub const TESTER_HOME: &str = "/disk/home/tester";
/// The cgroup that is delegated to it without systemd; its processes start in `session` below.
pub const TESTER_CGROUP: &str = "/sys/fs/cgroup/user.slice/tester";
/// The cgroup that is delegated to it under systemd.
pub const TESTER_CGROUP_SYSTEMD: &str = "/sys/fs/cgroup/user.slice/user-1234.slice/user@1234.service";

/// The security module of a guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Security {
    /// None of the labelling ones.
    #[default]
    None,
    /// AppArmor, without any profile loaded.
    AppArmor,
    /// SELinux, enforcing as soon as a policy is loaded.
    SeLinux,
}

/// The first process of a guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Init {
    /// A script that mounts what a system has and runs the command.
    #[default]
    Tiny,
    /// The host's systemd with its basic units, a system bus and the user's manager; the command is a service.
    Systemd,
}

/// What kind of guest it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The security module.
    pub security: Security,
    /// The first process.
    pub init: Init,
    /// Memory in MiB; the host gives what is used.
    pub memory_mib: u32,
    /// From the start of the machine to its end.
    pub limit_secs: u64,
}

impl Default for Profile {
    fn default() -> Profile {
        Profile { security: Security::None, init: Init::Tiny, memory_mib: 1536, limit_secs: 400 }
    }
}

/// All that is needed to boot guests.
#[derive(Debug)]
pub struct Guest {
    kernel: Kernel,
}

/// What a command in a guest has left.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its exit status, or 128 + n when signal n ended it.
    pub status: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// The kernel's release.
    pub release: String,
    /// From the start of the machine to the command.
    pub boot_time: Duration,
    /// From the start of the machine to its end.
    pub total_time: Duration,
}

impl Guest {
    /// Looks for qemu and a kernel; `None`, with a word, when this machine cannot have guests.
    pub fn find() -> Option<Guest> {
        match qemu::is_there().and_then(|()| Kernel::find()) {
            Ok(kernel) => Some(Guest { kernel }),
            Err(reason) => {
                crate::skip(reason);
                None
            }
        }
    }

    /// Boots, runs the command as root below `/`, takes its output and ends. The machine is killed when it is dropped or
    /// takes longer than the profile says.
    ///
    /// # Panics
    /// When the guest does not get as far as the end of the command; the message has the end of its console.
    pub fn boot(&self, profile: &Profile, command: &Invocation) -> Output {
        let folder = tempfile::Builder::new().prefix("guest.").tempdir().expect("a temporary folder");
        let share = folder.path().join("share");
        fs::create_dir(&share).expect("a folder");
        for (name, text) in SCRIPTS {
            fs::write(share.join(name), text).expect("writing a script");
        }
        fs::write(share.join("command.sh"), script(command)).expect("writing a script");
        fs::write(share.join("settings"), self.settings(profile)).expect("writing settings");
        let disk = folder.path().join("disk");
        qemu::make_disk(&disk);
        let initramfs = folder.path().join("initramfs");
        fs::write(&initramfs, initramfs::pack(&self.kernel)).expect("writing an initramfs");

        let began = Instant::now();
        let mut machine = qemu::Machine::start(&self.kernel, profile, folder.path());
        let boot_time = machine.wait_for(&share.join("began"));
        machine.wait_for_end();
        let read = |name: &str| {
            String::from_utf8_lossy(&fs::read(share.join(name)).unwrap_or_default()).into_owned()
        };
        let (stdout, stderr) = (read("stdout"), read("stderr"));
        let Ok(status) = read("status").trim().parse() else {
            let console = machine.console_end();
            panic!("the guest ended before its command did\n{stdout}\n{stderr}\n--- console\n{console}");
        };
        let release = self.kernel.release().to_owned();
        Output { status, stdout, stderr, release, boot_time, total_time: began.elapsed() }
    }

    /// Boots, expects status 0 and says how long it took.
    #[track_caller]
    fn run(&self, profile: &Profile, name: &str, command: &Invocation) -> Output {
        let output = self.boot(profile, command);
        println!(
            "{name}: Linux {} in a virtual machine, {:.0} s to the command, {:.0} s in all",
            output.release,
            output.boot_time.as_secs_f64(),
            output.total_time.as_secs_f64()
        );
        let said = format!("ended with {}\n{}\n{}", output.status, output.stdout, output.stderr);
        assert!(output.status == 0, "{name} in its guest {said}");
        output
    }

    /// Variables for the scripts of the guest.
    fn settings(&self, profile: &Profile) -> String {
        let init = match profile.init {
            Init::Tiny => "tiny",
            Init::Systemd => "systemd",
        };
        format!(
            "INIT={init}\nTESTER={TESTER}\nTESTER_ID={TESTER_ID}\nTESTER_HOME={TESTER_HOME}\n\
             TESTER_RUNTIME={TESTER_RUNTIME}\nMODULES={}\n",
            quoted(&self.kernel.modules().to_string_lossy())
        )
    }
}

/// The command as a shell script.
fn script(command: &Invocation) -> String {
    let command = command.command();
    let mut text = String::from("exec env");
    for (key, value) in command.get_envs() {
        let key = key.to_string_lossy();
        match value {
            Some(value) => {
                text.push_str(&format!(" {}", quoted(&format!("{key}={}", value.to_string_lossy()))))
            }
            None => text.push_str(&format!(" -u {}", quoted(&key))),
        }
    }
    for word in std::iter::once(command.get_program()).chain(command.get_args()) {
        text.push(' ');
        text.push_str(&quoted(&word.to_string_lossy()));
    }
    text.push('\n');
    match command.get_current_dir() {
        Some(folder) => format!("cd {} || exit 125\n{text}", quoted(&folder.to_string_lossy())),
        None => text,
    }
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A program as [`TESTER`] in its delegated cgroup, arguments to be added; only in a guest, as root.
pub fn as_tester(program: &Path) -> Invocation {
    Invocation::new("sh", "/run/guest/share/as-tester.sh").arg(program).folder("/")
}

/// Runs `body` in a guest with an engine that has the image `busybox`; the process on the host boots the guest, which
/// runs this same test once more, and repeats what it says.
///
/// # Panics
/// When the run in the guest fails, or the test cannot be found by the name of its function.
#[track_caller]
pub fn in_guest<F: FnOnce(&Cais)>(profile: &Profile, body: F) {
    if std::env::var_os(GUEST).is_some() {
        let cais = Cais::new().expect("the host has looked for the binary");
        let archive = cais.folder().join("busybox.tar");
        let image = busybox().expect("the host has looked for busybox").build();
        image.write_docker_archive(&archive, &["busybox:latest"]).expect("writing an archive");
        cais.cmd("load -q -i").arg(&archive).ok();
        body(&cais);
        return;
    }
    let Some(guest) = Guest::find() else { return };
    let name = isolation::test_name(std::any::type_name::<F>());
    let command = this_program(profile)
        .args("--exact --nocapture --test-threads=1")
        .arg(&name)
        .env(isolation::INSIDE, "1")
        .env(isolation::DISK, "/disk/test");
    let output = guest.run(profile, &name, &command);
    assert!(output.stdout.contains("1 passed"), "no test of the name {name}: {}", output.stdout);
    for line in output.stdout.lines().filter(|line| line.starts_with(CHECK) || line.starts_with(UNTESTED)) {
        println!("{line}");
    }
}

/// Runs tests of this program once more in a guest, two at a time: those whose names contain one of `names`, all when
/// there are none. The tests that boot guests are in modules of the name `guest` and do not run there.
///
/// # Panics
/// When one of them fails, or there is none.
#[track_caller]
pub fn tests_in_guest(profile: &Profile, names: &[&str]) {
    let Some(guest) = Guest::find() else { return };
    let command = this_program(profile).args("--nocapture --test-threads=2 --skip guest::");
    let command = names.iter().fold(command, Invocation::arg);
    let subject = if names.is_empty() { "all tests".to_owned() } else { names.join(", ") };
    let output = guest.run(profile, &subject, &command);
    let passed = output.stdout.lines().find_map(|line| line.strip_prefix("test result: ok. "));
    let passed = passed.and_then(|rest| rest.split(' ').next()?.parse().ok()).unwrap_or(0);
    assert!(passed > 0, "no tests of these names: {subject}");
    println!("{CHECK}ok: {passed} tests of {subject}");
    // The test runner's own words may stand before it; several tests may lack the same.
    let reasons = output.stdout.lines().filter_map(|line| line.split_once("skipped: "));
    reasons.map(|(_, reason)| reason).collect::<BTreeSet<_>>().into_iter().for_each(leave_out);
}

/// This test program in a guest, arguments to be added.
fn this_program(profile: &Profile) -> Invocation {
    let exe = std::env::current_exe().expect("own path");
    let command = match profile.init {
        // In a PID namespace, as the kernel's own threads come and go.
        Init::Tiny => Invocation::new("unshare", "--mount --pid --fork --kill-child --mount-proc")
            .args("--propagation private -- sh -c '\"$@\"; exit $?' sh")
            .arg(exe),
        // Scopes are asked for by process id.
        Init::Systemd => Invocation::new(exe, ""),
    };
    command.env(GUEST, "1")
}

const CHECK: &str = "check ";
const UNTESTED: &str = "not tested: ";

/// Says what a check leaves out on this machine; the test itself is not skipped.
pub fn leave_out(reason: impl std::fmt::Display) {
    println!("{UNTESTED}{reason}");
}

/// One of the checks that share a boot: what holds, and the function that fails when it does not.
pub type Check<T> = (&'static str, fn(&T));

/// Runs all checks, whatever fails before.
///
/// # Panics
/// When one of them does, with the names of all that did.
pub fn batch<T>(subject: &T, checks: &[Check<T>]) {
    // The test runner's own words end without a line's end.
    println!();
    let mut failed = Vec::new();
    for (name, check) in checks {
        let began = Instant::now();
        let ok = catch_unwind(AssertUnwindSafe(|| check(subject))).is_ok();
        let word = if ok { "ok" } else { "FAILED" };
        println!("{CHECK}{word}: {name} ({:.1} s of the guest)", began.elapsed().as_secs_f64());
        if !ok {
            failed.push(*name);
        }
    }
    assert!(failed.is_empty(), "failed: {}", failed.join(", "));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_becomes_a_script() {
        let command = Invocation::new("/a b/c", "x 'y z'").arg("it's").env("K", "v w").without_env("N");
        assert_eq!(script(&command), "exec env 'K=v w' -u 'N' '/a b/c' 'x' 'y z' 'it'\\''s'\n");
        let command = Invocation::new("c", "").folder("/f");
        assert_eq!(script(&command), "cd '/f' || exit 125\nexec env 'c'\n");
    }
}
