//! Facts of the machine and of the caller that decide what can be asked of the kernel. Each is looked up only where the
//! configuration makes it matter.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use cais_oci::runtime::{Mount, NamespaceType, Process, Spec};
use cais_runtime::capability::CapSet;
use rustix::process::{Resource, geteuid, getrlimit};

use crate::error::{Error, Result};
use crate::plan::{Found, Machine};

const CAP_SYS_ADMIN: u64 = 1 << 21;
const CAP_SYS_RESOURCE: u64 = 1 << 24;

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Effective user id.
    pub(crate) uid: u32,
    /// In another user namespace than the initial one.
    pub(crate) user_namespace: bool,
    effective: u64,
    bounding: u64,
}

impl Caller {
    /// Looks at this process.
    pub(crate) fn look() -> Result<Caller> {
        let path = "/proc/self/status";
        let status = read_kernel(path).map_err(|e| Error::system(format!("read {path}"), e))?;
        let status = String::from_utf8_lossy(&status);
        // The number that the kernel gives to the first user namespace, include/linux/proc_ns.h.
        let own = fs::read_link("/proc/self/ns/user").ok();
        let user_namespace = own.is_some_and(|link| link.as_os_str() != "user:[4026531837]");
        Ok(Caller {
            uid: geteuid().as_raw(),
            user_namespace,
            effective: capabilities(&status, "CapEff:"),
            bounding: capabilities(&status, "CapBnd:"),
        })
    }

    /// Not root of the machine.
    pub(crate) fn is_rootless(&self) -> bool {
        self.uid != 0 || self.user_namespace
    }

    /// Hard limits can be raised.
    pub(crate) fn may_raise_limits(&self) -> bool {
        self.effective & CAP_SYS_RESOURCE != 0 && !self.user_namespace
    }

    /// What the planner asks for. `joined` is the first process of the container, for a further process.
    pub(crate) fn machine(&self, spec: &Spec, process: &Process, joined: Option<i32>) -> Machine {
        let limits = if process.rlimits.is_empty() { Vec::new() } else { hard_limits() };
        let asks_landlock = spec.annotations.keys().any(|key| key.contains("landlock"));
        Machine {
            rootless: self.is_rootless(),
            capable: self.effective & CAP_SYS_ADMIN != 0,
            user_namespace: self.user_namespace,
            may_set_groups: self.may_set_groups(spec, joined),
            owns_network: !self.user_namespace || owns_network(),
            bounding: CapSet::from_bits(self.bounding),
            may_raise_limits: self.may_raise_limits(),
            hard_limits: limits,
            oom_score_adj: if process.oom_score_adj.is_some() { own_oom_score_adj() } else { 0 },
            apparmor: apparmor(spec, process),
            selinux: selinux(spec, process),
            landlock_abi: if asks_landlock { cais_sys::landlock::version() } else { 0 },
        }
    }

    fn may_set_groups(&self, spec: &Spec, joined: Option<i32>) -> bool {
        let allows = |file: String| fs::read_to_string(file).map_or(true, |text| text.trim() != "deny");
        if let Some(pid) = joined {
            return !self.is_rootless() || allows(format!("/proc/{pid}/setgroups"));
        }
        match user_namespace(spec) {
            Some(None) => self.uid == 0 || !maps_own_group_only(spec),
            Some(Some(path)) => match path.strip_suffix("/ns/user") {
                Some(directory) => allows(format!("{directory}/setgroups")),
                None => true,
            },
            None => !self.user_namespace || allows("/proc/self/setgroups".to_owned()),
        }
    }
}

/// A file of the kernel, which tells no size: two calls for what fits into a page.
pub(crate) fn read_kernel(path: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(4096);
    io::Read::read_to_end(&mut io::Read::take(File::open(path)?, u64::MAX), &mut bytes)?;
    Ok(bytes)
}

/// The configuration's user namespace: by path, or `Some(None)` for a new one.
pub(crate) fn user_namespace(spec: &Spec) -> Option<Option<&str>> {
    namespace(spec, NamespaceType::User)
}

/// A namespace of the configuration: by path, or `Some(None)` for a new one.
pub(crate) fn namespace(spec: &Spec, kind: NamespaceType) -> Option<Option<&str>> {
    let namespaces = &spec.linux.as_ref()?.namespaces;
    namespaces.iter().find(|namespace| namespace.kind == kind).map(|namespace| namespace.path.as_deref())
}

/// The map that needs no privileges, but denies setgroups(2).
pub(crate) fn maps_own_group_only(spec: &Spec) -> bool {
    let own = rustix::process::getegid().as_raw();
    let maps = spec.linux.as_ref().map(|linux| linux.gid_mappings.as_slice()).unwrap_or_default();
    matches!(maps, [map] if map.host_id == own && map.size == 1)
}

/// The network namespace that is joined by path is the caller's own.
pub(crate) fn joins_own_network(spec: &Spec) -> bool {
    let Some(Some(path)) = namespace(spec, NamespaceType::Network) else { return false };
    match (inode(Path::new(path)), inode(Path::new("/proc/self/ns/net"))) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

/// What has to be known about the sources of mounts.
pub(crate) fn found(spec: &Spec, bundle: &Path) -> Vec<Found> {
    if !spec.mounts.iter().any(|mount| wants_symlink(mount) || wants_procfs(mount)) {
        return Vec::new();
    }
    spec.mounts
        .iter()
        .map(|mount| {
            let source = bundle.join(mount.source.as_deref().unwrap_or_default());
            Found {
                symlink: wants_symlink(mount).then(|| fs::read_link(&source).ok()).flatten(),
                procfs: wants_procfs(mount) && is_procfs(&source),
            }
        })
        .collect()
}

fn wants_symlink(mount: &Mount) -> bool {
    mount.options.iter().any(|option| option == "copy-symlink")
}

fn wants_procfs(mount: &Mount) -> bool {
    let binds = mount.options.iter().any(|option| option == "bind" || option == "rbind");
    binds && mount.destination.starts_with("/proc")
}

fn is_procfs(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|stat| stat.f_type == rustix::fs::PROC_SUPER_MAGIC)
}

fn capabilities(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|text| u64::from_str_radix(text.trim(), 16).ok()).unwrap_or(0)
}

/// Limits by the kernel's numbers.
const RESOURCES: [Resource; 16] = [
    Resource::Cpu,
    Resource::Fsize,
    Resource::Data,
    Resource::Stack,
    Resource::Core,
    Resource::Rss,
    Resource::Nproc,
    Resource::Nofile,
    Resource::Memlock,
    Resource::As,
    Resource::Locks,
    Resource::Sigpending,
    Resource::Msgqueue,
    Resource::Nice,
    Resource::Rtprio,
    Resource::Rttime,
];

/// All limits; `u64::MAX` is none.
fn hard_limits() -> Vec<(u32, u64)> {
    let limits = RESOURCES.into_iter().map(|resource| getrlimit(resource).maximum.unwrap_or(u64::MAX));
    (0..).zip(limits).collect()
}

fn own_oom_score_adj() -> i32 {
    let text = fs::read_to_string("/proc/self/oom_score_adj");
    text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

fn owns_network() -> bool {
    let open = |path: &str| File::open(path).map(OwnedFd::from);
    let same = || -> io::Result<bool> {
        let owner = cais_sys::namespace::owner_of(open("/proc/self/ns/net")?)?;
        let own = open("/proc/self/ns/user")?;
        let number = |fd: &OwnedFd| rustix::fs::fstat(fd.as_fd()).map(|stat| (stat.st_dev, stat.st_ino));
        Ok(number(&owner)? == number(&own)?)
    };
    // The kernel does not tell of an owner that is above us.
    same().unwrap_or(false)
}

fn apparmor(spec: &Spec, process: &Process) -> Option<&'static str> {
    let own = spec.process.as_ref().and_then(|process| process.apparmor_profile.as_ref());
    process.apparmor_profile.as_ref().or(own)?;
    let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled").ok()?;
    if !enabled.starts_with('Y') {
        return None;
    }
    let new = Path::new("/proc/self/attr/apparmor/exec").exists();
    Some(if new { "attr/apparmor/exec" } else { "attr/exec" })
}

fn selinux(spec: &Spec, process: &Process) -> bool {
    let labelled = process.selinux_label.is_some()
        || spec.process.as_ref().is_some_and(|process| process.selinux_label.is_some())
        || spec.linux.as_ref().is_some_and(|linux| linux.mount_label.is_some());
    labelled && Path::new("/sys/fs/selinux/enforce").exists()
}

/// The root file system as a path without links.
pub(crate) fn rootfs(spec: &Spec, bundle: &Path) -> Result<PathBuf> {
    let root = spec.root.as_ref().ok_or(Error::Request("root property must not be empty"))?;
    let path = bundle.join(&root.path);
    fs::canonicalize(&path).map_err(|e| Error::system(format!("invalid rootfs: stat {}", path.display()), e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_is_known() {
        let caller = Caller::look().unwrap();
        assert_eq!(caller.uid, geteuid().as_raw());
        assert_ne!(caller.bounding, 0);
        assert_eq!(caller.effective & !caller.bounding, 0);
        assert_eq!(capabilities("X: 1\nCapEff:\t00ff\nY: 2", "CapEff:"), 0xff);
        assert_eq!(capabilities("", "CapEff:"), 0);
    }

    #[test]
    fn limits_have_the_kernels_numbers() {
        assert_eq!(hard_limits().len(), 16);
        assert_eq!(RESOURCES[7], Resource::Nofile);
    }

    #[test]
    fn sources_are_looked_at_only_where_it_matters() {
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/x/y", directory.path().join("link")).unwrap();
        let mount = |source: &str, destination: &str, options: &[&str]| Mount {
            destination: destination.to_owned(),
            source: Some(source.to_owned()),
            options: options.iter().map(|&option| option.to_owned()).collect(),
            ..Mount::default()
        };
        let mut spec = Spec { mounts: vec![mount("link", "/a", &["bind"])], ..Spec::default() };
        assert_eq!(found(&spec, directory.path()), []);
        spec.mounts.push(mount("link", "/b", &["bind", "copy-symlink"]));
        spec.mounts.push(mount("/proc/version", "/proc/version", &["bind"]));
        let found = found(&spec, directory.path());
        assert_eq!(found[0], Found::default());
        assert_eq!(found[1].symlink.as_deref(), Some(Path::new("/x/y")));
        assert!(found[2].procfs);
    }
}
