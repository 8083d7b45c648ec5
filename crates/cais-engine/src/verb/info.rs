//! `info` and `version`: the engine and its machine, in the keys of Docker's `/info` and `/version`.
//!
//! Read from /proc, /sys and os-release(5) at the time of the call; what cannot be read is empty or zero, because these
//! verbs are what people run when something is wrong.

use std::path::Path;

use serde_json::{Value, json};

use crate::view::State;
use crate::{Engine, Result};

/// Version of this engine.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Docker API whose words we speak, and the oldest that clients may ask for.
const API_VERSION: &str = "1.50";
const MIN_API_VERSION: &str = "1.24";

impl Engine {
    /// Docker's `/info`, as far as it means something here.
    ///
    /// # Errors
    /// When containers or images cannot be listed.
    pub fn info(&self) -> Result<Value> {
        let containers = self.containers(true)?;
        let count = |state: State| containers.iter().filter(|view| view.state == state).count();
        let (running, paused) = (count(State::Running), count(State::Paused));
        let machine = Machine::look();
        let cgroup_version = self.layout().map_or(0, |layout| layout.version());
        let paths = self.store.paths();
        let mut info = json!({
            "ID": machine.id,
            "Containers": containers.len(),
            "ContainersRunning": running,
            "ContainersPaused": paused,
            "ContainersStopped": containers.len() - running - paused,
            "Images": self.images()?.len(),
            "Driver": "overlay",
            "DriverStatus": [["Backing Filesystem", file_system(paths.root())]],
            "Plugins": {
                "Volume": ["local"],
                "Network": ["bridge", "host", "none"],
                "Authorization": null,
                "Log": ["json-file", "k8s-file", "journald", "none"],
            },
            "CgroupDriver": "cgroupfs",
            "CgroupVersion": cgroup_version.to_string(),
            "OomKillDisable": cgroup_version == 1,
            "DockerRootDir": paths.root(),
            "RunDir": paths.run(),
            "HttpProxy": self.config.proxies.http.as_deref().unwrap_or_default(),
            "HttpsProxy": self.config.proxies.https.as_deref().unwrap_or_default(),
            "NoProxy": self.config.proxies.no_proxy.as_deref().unwrap_or_default(),
            "Labels": [],
            "ServerVersion": VERSION,
            "Runtimes": {"cais": {"path": "cais"}},
            "DefaultRuntime": "cais",
            "LiveRestoreEnabled": true,
            "SecurityOptions": security_options(self.config.rootless),
            "Rootless": self.config.rootless,
            "Warnings": null,
        });
        if let (Value::Object(info), Value::Object(machine)) = (&mut info, machine.describe()) {
            info.extend(machine);
        }
        Ok(info)
    }

    /// Docker's `/version`; there is no server apart from the client.
    #[must_use]
    pub fn version(&self) -> Value {
        let details = json!({
            "ApiVersion": API_VERSION,
            "Arch": architecture(),
            "KernelVersion": kernel(),
            "MinAPIVersion": MIN_API_VERSION,
            "Os": "linux",
        });
        json!({
            "Platform": {"Name": "cais"},
            "Components": [{"Name": "Engine", "Version": VERSION, "Details": details}],
            "Version": VERSION,
            "ApiVersion": API_VERSION,
            "MinAPIVersion": MIN_API_VERSION,
            "Os": "linux",
            "Arch": architecture(),
            "KernelVersion": kernel(),
        })
    }
}

/// What is known of the machine.
struct Machine {
    id: String,
    name: String,
    kernel: String,
    operating_system: String,
    os_version: String,
    cpus: u32,
    memory_bytes: u64,
}

impl Machine {
    fn look() -> Machine {
        let os_release = match text("/etc/os-release") {
            missing if missing.is_empty() => text("/usr/lib/os-release"),
            found => found,
        };
        Machine {
            id: text("/etc/machine-id").trim().to_owned(),
            name: sysctl("kernel/hostname"),
            kernel: kernel(),
            operating_system: os_release_field(&os_release, "PRETTY_NAME")
                .unwrap_or_else(|| "Linux".to_owned()),
            os_version: os_release_field(&os_release, "VERSION_ID").unwrap_or_default(),
            cpus: rustix::thread::sched_getaffinity(None).map_or(0, |set| set.count()),
            memory_bytes: memory_bytes(&text("/proc/meminfo")),
        }
    }

    /// The machine's part of `/info`.
    fn describe(&self) -> Value {
        json!({
            "Name": self.name,
            "KernelVersion": self.kernel,
            "OperatingSystem": self.operating_system,
            "OSVersion": self.os_version,
            "OSType": "linux",
            "Architecture": std::env::consts::ARCH,
            "NCPU": self.cpus,
            "MemTotal": self.memory_bytes,
            "MemoryLimit": true,
            "SwapLimit": true,
            "CpuCfsPeriod": true,
            "CpuCfsQuota": true,
            "CPUShares": true,
            "CPUSet": true,
            "PidsLimit": true,
            "IPv4Forwarding": sysctl("net/ipv4/ip_forward") == "1",
            "LoggingDriver": "json-file",
            "SystemTime": cais_store::run_state::now(),
        })
    }
}

/// A small file of the system; empty when unreadable.
fn text(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// A kernel parameter, by its path.
fn sysctl(name: &str) -> String {
    text(Path::new("/proc/sys").join(name)).trim().to_owned()
}

fn kernel() -> String {
    sysctl("kernel/osrelease")
}

/// Go's name of the architecture.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Value of a field of os-release(5), without its quotes.
fn os_release_field(os_release: &str, name: &str) -> Option<String> {
    let value = os_release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?.trim();
    let quoted = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    let value = quoted('"').or_else(|| quoted('\'')).unwrap_or(value);
    // The shell's escapes inside double quotes.
    let mut plain = String::with_capacity(value.len());
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        plain.extend(if letter == '\\' { letters.next() } else { Some(letter) });
    }
    Some(plain)
}

/// `MemTotal` of /proc/meminfo, in bytes.
fn memory_bytes(meminfo: &str) -> u64 {
    let kibibytes =
        meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    kibibytes.and_then(|number| number.trim().parse::<u64>().ok()).map_or(0, |number| number * 1024)
}

/// Name of the file system below a path.
fn file_system(path: &Path) -> &'static str {
    match rustix::fs::statfs(path).map(|info| info.f_type as u64 & 0xffff_ffff) {
        Ok(0xef53) => "extfs",
        Ok(0x5846_5342) => "xfs",
        Ok(0x9123_683e) => "btrfs",
        Ok(0x0102_1994) => "tmpfs",
        Ok(0x2fc1_2fc1) => "zfs",
        Ok(0x794c_7630) => "overlayfs",
        Ok(0xf2f5_2010) => "f2fs",
        _ => "unknown",
    }
}

/// What confines containers, as Docker spells it.
fn security_options(rootless: bool) -> Vec<&'static str> {
    let mut options = Vec::new();
    if text("/sys/module/apparmor/parameters/enabled").trim() == "Y" {
        options.push("name=apparmor");
    }
    options.push("name=seccomp,profile=builtin");
    if Path::new("/sys/fs/selinux/enforce").exists() {
        options.push("name=selinux");
    }
    if rootless {
        options.push("name=rootless");
    }
    options.push("name=cgroupns");
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn os_release_fields() {
        let text = "NAME=\"x\"\nPRETTY_NAME=\"Debian \\\"GNU\\\"/Linux 12\"\nVERSION_ID=12\nX='a b'\n";
        assert_eq!(os_release_field(text, "PRETTY_NAME").as_deref(), Some("Debian \"GNU\"/Linux 12"));
        assert_eq!(os_release_field(text, "VERSION_ID").as_deref(), Some("12"));
        assert_eq!(os_release_field(text, "X").as_deref(), Some("a b"));
        assert_eq!(os_release_field(text, "VERSION"), None);
    }

    #[test]
    fn memory() {
        assert_eq!(memory_bytes("MemFree: 1 kB\nMemTotal:       16384 kB\n"), 16 << 20);
        assert_eq!(memory_bytes(""), 0);
    }

    #[test]
    fn this_machine() {
        let machine = Machine::look();
        assert!(machine.cpus > 0 && machine.memory_bytes > 0);
        assert!(!machine.kernel.is_empty() && !machine.name.is_empty());
    }
}
