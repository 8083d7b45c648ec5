//! qemu: its command line, its time limit, its console.
//!
//! Options that are not obvious: `cx16=off` because qemu 7.2 leaves rubbish in the flags after cmpxchg16b now and
//! then and the guest's allocator panics; `la57=off` and `mitigations=off` because they only cost;
//! `no_timer_check` because the check fails on a busy host.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::kernel::Kernel;
use super::{Init, Profile, Security};
use crate::process::Invocation;

const PROGRAM: &str = "qemu-system-x86_64";
const DISK_BYTES: u64 = 8 << 30;

/// Whether guests can be had; the reason when not.
pub(super) fn is_there() -> Result<(), String> {
    if !cfg!(target_arch = "x86_64") {
        return Err("virtual machines are made on x86-64 only".to_owned());
    }
    for (program, package) in [(PROGRAM, "qemu-system-x86"), ("mke2fs", "e2fsprogs")] {
        let found = Command::new(program).arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if found.is_err() {
            return Err(format!("{package} is not installed"));
        }
    }
    if !fs::exists("/bin/busybox").unwrap_or(false) {
        return Err("busybox-static is not installed".to_owned());
    }
    Ok(())
}

/// An empty ext4, sparse: overlays and their attributes work there on every kernel, in memory only on newer ones.
pub(super) fn make_disk(path: &Path) {
    let file = File::create(path).expect("a file for the disk");
    file.set_len(DISK_BYTES).expect("a sparse file");
    Invocation::new("mke2fs", "-q -F -t ext4 -m 0 -E root_owner=0:0,lazy_itable_init=1,lazy_journal_init=1")
        .arg(path)
        .ok();
}

/// A running guest; dropped, it is killed.
#[derive(Debug)]
pub(super) struct Machine {
    child: Child,
    folder: PathBuf,
    began: Instant,
    limit: Duration,
}

impl Machine {
    /// Starts it with `disk`, `initramfs` and `share` of this folder.
    pub(super) fn start(kernel: &Kernel, profile: &Profile, folder: &Path) -> Machine {
        let console = File::create(folder.join("console")).expect("a file for the console");
        let errors = console.try_clone().expect("a descriptor");
        let child = command(kernel, profile, folder)
            .stdin(Stdio::null())
            .stdout(console)
            .stderr(errors)
            .spawn()
            .expect("starting qemu");
        let limit = Duration::from_secs(profile.limit_secs);
        Machine { child, folder: folder.to_owned(), began: Instant::now(), limit }
    }

    /// Waits until the guest has written this file, or has ended.
    pub(super) fn wait_for(&mut self, file: &Path) -> Duration {
        self.wait("the command has not begun", || file.exists())
    }

    /// Waits until qemu has ended.
    pub(super) fn wait_for_end(&mut self) {
        self.wait("the command has not ended", || false);
    }

    fn wait(&mut self, failure: &str, is_done: impl Fn() -> bool) -> Duration {
        while !is_done() && self.child.try_wait().expect("waitpid").is_none() {
            if self.began.elapsed() > self.limit {
                drop(self.child.kill());
                let said = ["stdout", "stderr"].map(|name| self.end_of(&format!("share/{name}")));
                let console = self.console_end();
                panic!("{failure} in {:?}\n{}\n--- console\n{console}", self.limit, said.join("\n"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        self.began.elapsed()
    }

    /// What the guest's kernel and qemu have said last.
    pub(super) fn console_end(&self) -> String {
        self.end_of("console")
    }

    fn end_of(&self, name: &str) -> String {
        let bytes = fs::read(self.folder.join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(6000)..]).into_owned()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn command(kernel: &Kernel, profile: &Profile, folder: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["-machine", "q35", "-smp", "2", "-nodefaults", "-no-user-config", "-no-reboot"]);
    command.args(["-display", "none", "-serial", "stdio"]);
    // Hardware help is for who knows that it works: inside another machine it may be there and boot nothing.
    if std::env::var_os("CAIS_TEST_KVM").is_some() {
        command.args(["-accel", "kvm", "-cpu", "host"]);
    } else {
        command.args(["-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max,la57=off,cx16=off"]);
    }
    command.args(["-m", &profile.memory_mib.to_string()]);
    let share = format!("local,id=share,path={},security_model=none", folder.join("share").display());
    for (id, backend) in [
        ("root", "local,id=root,path=/,security_model=passthrough,readonly=on,multidevs=remap"),
        ("share", &share),
    ] {
        command.args(["-fsdev", backend, "-device", &format!("virtio-9p-pci,fsdev={id},mount_tag={id}")]);
    }
    let disk = folder.join("disk");
    let drive = format!("if=none,id=disk,format=raw,cache=unsafe,file={}", disk.display());
    command.args(["-drive", &drive, "-device", "virtio-blk-pci,drive=disk", "-device", "virtio-rng-pci"]);
    command.arg("-kernel").arg(kernel.image()).arg("-initrd").arg(folder.join("initramfs"));
    command.args(["-append", &kernel_words(profile)]);
    command
}

/// The kernel's command line.
fn kernel_words(profile: &Profile) -> String {
    let security = match profile.security {
        Security::None => "lsm=landlock,yama,bpf",
        Security::AppArmor => "lsm=landlock,yama,apparmor,bpf apparmor=1",
        Security::SeLinux => "lsm=landlock,yama,selinux,bpf selinux=1 enforcing=1",
    };
    let init = match profile.init {
        Init::Tiny => "",
        Init::Systemd => " systemd.unified_cgroup_hierarchy=1 systemd.show_status=0",
    };
    format!(
        "console=ttyS0 quiet loglevel=4 panic=-1 reboot=t random.trust_cpu=on cgroup_no_v1=all mitigations=off \
         no_timer_check {security}{init}"
    )
}
