//! A record and this machine become a [`Launch`]: everything resolved, nothing left to decide.

use std::path::Path;

use cais_runtime::capability::{self, CapSet, Capabilities};
use cais_runtime::device::{self, Device, DeviceError, DeviceRequest};
use cais_runtime::launch::{CgroupPlan, Launch, Limit, MountPlan, Namespaces, Node, Process, Root};
use cais_runtime::plan;
use cais_runtime::seccomp::{self, Abi, NewerCalls, Profile, Program, SeccompError, Target};

use crate::path_pattern;
use crate::requested_mount::{MS_PRIVATE, requested_mount};
use crate::selinux;
use crate::{
    ContainerRecord, ContainerRequest, Engine, Error, ErrorKind, IpcRequest, NetworkRequest, Result,
    SeccompRequest, Ulimit,
};

/// /dev/shm unless asked otherwise, as in Docker.
pub(crate) const SHM_BYTES: u64 = 64 << 20;

/// Of containers that ask for no other, whatever the caller's is.
const UMASK: u32 = 0o22;

/// Assembles the launch of a container.
pub(crate) fn assemble(
    engine: &Engine,
    record: &ContainerRecord,
    namespaces: Namespaces,
    shm: Option<i32>,
    cgroup: CgroupPlan,
    warnings: &mut Vec<String>,
) -> Result<Launch> {
    let request = &record.request;
    let rootless = engine.config.rootless;
    let ipc = &record.namespaces.ipc;
    let mut mounts = mounts(engine, record)?;
    mounts.extend(shm.map(|fd| MountPlan::Tree { fd, target: "/dev/shm".to_owned() }));
    let (masked, read_only_paths) = kernel_paths(request);
    Ok(Launch {
        mountpoint: engine.store.paths().mountpoint(),
        root: root(engine, record),
        read_only: request.read_only,
        mount_label: selinux::labels(record).map(|labels| labels.mount),
        hostname: record.hostname.clone(),
        domainname: request.domainname.clone(),
        namespaces,
        cgroup,
        mounts,
        mapped_binds: Vec::new(),
        appended: Vec::new(),
        nodes: nodes(record, rootless || record.user_maps.is_some())?,
        shm_size_bytes: ipc.has_own_shm().then(|| request.shm_size_bytes.unwrap_or(SHM_BYTES)),
        tty: request.tty,
        masked,
        read_only_paths,
        writable_sys: request.privileged,
        sysctls: sysctls(record, rootless),
        oom_score_adj: request.resources.oom_score_adj.map(|asked| oom_score(asked, warnings)),
        rootless,
        users: None,
        foreign_network: false,
        tty_group: !engine.config.single_id,
        process: process(engine, record, warnings)?,
        failing_step: engine.config.failing_step,
    })
}

/// Paths that are masked and that are read-only, by podman's rules: what is unmasked is neither; what was asked to be
/// masked is in any case.
pub(crate) fn kernel_paths(request: &ContainerRequest) -> (Vec<String>, Vec<String>) {
    let security = &request.security;
    let keeps = |path: &&str| {
        let unmasked = |pattern: &String| path_pattern::matches(pattern, path);
        !request.privileged && !security.unmask && !security.unmasked.iter().any(unmasked)
    };
    let kept = |paths: &[&str]| paths.iter().copied().filter(keeps).map(str::to_owned).collect::<Vec<_>>();
    let mut masked = kept(&plan::MASKED);
    masked.extend(security.masked.clone());
    (masked, kept(&plan::READ_ONLY))
}

/// What is mounted in the container beside the kernel's file systems.
pub(crate) fn mounts(engine: &Engine, record: &ContainerRecord) -> Result<Vec<MountPlan>> {
    let mut mounts = name_files(engine, record);
    mounts.extend(host_shm(record));
    for (index, mount) in record.mounts.iter().enumerate() {
        mounts.push(requested_mount(engine, record, index, mount)?);
    }
    Ok(mounts)
}

fn root(engine: &Engine, record: &ContainerRecord) -> Root {
    let paths = engine.store.paths();
    match &record.request.rootfs {
        Some(directory) => Root::Directory(directory.clone()),
        None => Root::Overlay {
            lowers: match record.infra {
                // An empty directory: there is nothing to execute.
                true => vec![paths.mountpoint()],
                false => record.layers.iter().rev().map(|diff_id| paths.layer_fs(diff_id)).collect(),
            },
            upper: paths.container_upper(&record.id),
            work: paths.container_work(&record.id),
            // What is thrown away at the end need never reach the disk.
            volatile_upper: record.request.auto_remove,
        },
    }
}

/// What the process is, for `run` and (with changes) for `exec`.
pub(crate) fn process(
    engine: &Engine,
    record: &ContainerRecord,
    warnings: &mut Vec<String>,
) -> Result<Process> {
    let request = &record.request;
    let capabilities = capabilities(record, warnings)?;
    warnings.extend(selinux::warning(record));
    Ok(Process {
        stays: record.infra,
        args: record.args.clone(),
        env: environment(engine, record, request.tty),
        workdir: record.workdir.clone(),
        user: record.user.clone(),
        groups: request.group_add.clone(),
        capabilities,
        no_new_privileges: request.security.no_new_privileges,
        seccomp: filter(record, capabilities.effective)?,
        apparmor: request.security.apparmor.clone().filter(|profile| profile != "unconfined"),
        selinux: selinux::labels(record).map(|labels| labels.process),
        limits: limits(&request.ulimits, warnings)?,
        umask: Some(request.umask.unwrap_or(UMASK)),
        personality: request.personality,
        init: request.init,
        set_groups: !engine.config.single_id && !request.users.keep_groups,
    })
}

/// The record's variables with those that Docker adds.
pub(crate) fn environment(engine: &Engine, record: &ContainerRecord, tty: bool) -> Vec<String> {
    let mut env = record.env.clone();
    let mut add = |key: &str, value: &str| {
        if !env.iter().any(|v| v.split('=').next() == Some(key)) {
            env.push(format!("{key}={value}"));
        }
    };
    add("HOSTNAME", &record.hostname);
    for (key, value) in crate::systemd::variables(record) {
        add(key, &value);
    }
    if tty {
        add("TERM", "xterm");
    }
    if record.image_id.is_some() && crate::hello::is_hello(&record.image_name) {
        add(crate::hello::HOST_NAMESPACES, &crate::hello::host_namespaces(&engine.config.left_namespaces));
    }
    env
}

/// Capability sets, cut down to what this machine has to give.
pub(crate) fn capabilities(record: &ContainerRecord, warnings: &mut Vec<String>) -> Result<Capabilities> {
    let request = &record.request;
    let failed = |e| Error::caused(ErrorKind::Invalid, "capabilities", e);
    let available = match record.user_maps {
        Some(_) => CapSet::ALL,
        None => capability::current_bounding().map_err(failed)?,
    };
    let resolved = capability::resolve(&request.cap_add, &request.cap_drop, request.privileged, available)
        .map_err(failed)?;
    for missing in &resolved.missing {
        warnings.push(format!("capability {} is not available on this machine", missing.short_name()));
    }
    Ok(resolved.capabilities)
}

fn filter(record: &ContainerRecord, granted: CapSet) -> Result<Option<Program>> {
    let failed = |e: SeccompError| Error::caused(ErrorKind::Invalid, "seccomp", e);
    let profile = match &record.request.security.seccomp {
        _ if record.request.privileged => return Ok(None),
        SeccompRequest::Unconfined => return Ok(None),
        SeccompRequest::Default => Profile::docker_default(),
        SeccompRequest::Profile(text) => Profile::from_json(text.as_bytes()).map_err(failed)?,
    };
    let abi = Abi::NATIVE.ok_or_else(|| {
        Error::new(ErrorKind::Unsupported, "seccomp: this machine's system calls are not known to cais")
            .hint("--security-opt seccomp=unconfined runs without a filter")
    })?;
    let target = Target {
        abi,
        caps: granted,
        kernel: kernel_version(),
        newer_calls: NewerCalls::Enosys,
        x32: cais_sys::x32::may_exist(),
    };
    Ok(Some(seccomp::compile(&profile, &target).map_err(failed)?))
}

/// First two numbers of the running kernel's release.
fn kernel_version() -> (u32, u32) {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// hosts, hostname and resolv.conf of the container's directory, unless the request mounts something there.
pub(crate) fn name_files(engine: &Engine, record: &ContainerRecord) -> Vec<MountPlan> {
    let paths = engine.store.paths();
    let id = match &record.network {
        // Who shares a network shares its names.
        NetworkRequest::Container(other) => other,
        _ => &record.id,
    };
    [
        ("/etc/hosts", paths.container_hosts(id)),
        ("/etc/hostname", paths.container_hostname(id)),
        ("/etc/resolv.conf", paths.container_resolv_conf(id)),
    ]
    .into_iter()
    .filter(|(target, _)| !record.mounts.iter().any(|m| m.request.target == *target))
    .filter(|(target, _)| match *target {
        "/etc/hosts" => !record.request.no_hosts,
        "/etc/hostname" => !record.request.no_hostname,
        _ => true,
    })
    .map(|(target, source)| MountPlan::Bind {
        source,
        subpath: None,
        target: target.to_owned(),
        directory: false,
        read_only: false,
        writable_beneath: false,
        recursive: false,
        propagation: MS_PRIVATE,
    })
    .collect()
}

/// With the host's IPC goes its /dev/shm.
fn host_shm(record: &ContainerRecord) -> Option<MountPlan> {
    let shares = record.namespaces.ipc == IpcRequest::Host;
    let covered = record.mounts.iter().any(|mount| mount.request.target == "/dev/shm");
    (shares && !covered).then(|| MountPlan::Bind {
        source: "/dev/shm".into(),
        subpath: None,
        target: "/dev/shm".to_owned(),
        directory: true,
        read_only: false,
        writable_beneath: false,
        recursive: false,
        propagation: MS_PRIVATE,
    })
}

/// The devices of a container: the default ones, the host's when privileged, those asked for; later ones win.
pub(crate) fn devices(record: &ContainerRecord) -> Result<Vec<Device>> {
    let failed = |e: DeviceError| Error::caused(ErrorKind::Invalid, "devices", e);
    let mut all: Vec<Device> = device::default_devices();
    let mut add = |more: Vec<Device>| {
        for device in more {
            all.retain(|d| d.path != device.path);
            all.push(device);
        }
    };
    if record.request.privileged {
        add(device::host_devices(Path::new("/dev")).map_err(failed)?);
    }
    for text in &record.request.devices {
        let asked: DeviceRequest = text.parse().map_err(failed)?;
        add(asked.resolve().map_err(failed)?);
    }
    Ok(all)
}

pub(crate) fn nodes(record: &ContainerRecord, rootless: bool) -> Result<Vec<Node>> {
    let devices = devices(record)?.into_iter().filter(|d| !rootless || d.source.exists());
    Ok(devices
        .map(|device| Node {
            path: device.path.to_string_lossy().into_owned(),
            source: device.source,
            mode: device.mode,
            device: device.rdev,
            uid: device.uid,
            gid: device.gid,
        })
        .collect())
}

/// The request's kernel parameters, and Docker's defaults where the container has a network of its own.
fn sysctls(record: &ContainerRecord, rootless: bool) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    let own = !matches!(record.network, NetworkRequest::Host | NetworkRequest::Container(_));
    if own && !rootless {
        all.push(("net.ipv4.ip_unprivileged_port_start".to_owned(), "0".to_owned()));
        // Groups that exist in the container; the kernel takes no others.
        let gids = record.user_maps.as_ref().map(|maps| &maps.gids[..]).unwrap_or_default();
        let first = gids.iter().map(|map| map.container_id).min().unwrap_or(0);
        let last = gids.iter().map(|map| map.container_id + (map.size - 1)).max().unwrap_or(i32::MAX as u32);
        let last = last.min(i32::MAX as u32);
        all.push(("net.ipv4.ping_group_range".to_owned(), format!("{first} {last}")));
    }
    for (key, value) in &record.request.sysctls {
        all.retain(|(k, _)| k != key);
        all.push((key.clone(), value.clone()));
    }
    all
}

/// Lowering the score needs CAP_SYS_RESOURCE, which not every machine gives.
fn oom_score(asked: i32, warnings: &mut Vec<String>) -> i32 {
    let current: i32 = std::fs::read_to_string("/proc/self/oom_score_adj")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0);
    if asked < current && !has_sys_resource() {
        warnings.push(format!("oom_score_adj {asked} needs CAP_SYS_RESOURCE; {current} is used"));
        return current;
    }
    asked
}

fn has_sys_resource() -> bool {
    const CAP_SYS_RESOURCE: u64 = 24;
    capability::current_bounding().is_ok_and(|set| set.bits() >> CAP_SYS_RESOURCE & 1 == 1)
}

/// Resource limits by their kernel numbers, never above what this process may give.
fn limits(ulimits: &[Ulimit], warnings: &mut Vec<String>) -> Result<Vec<Limit>> {
    const NAMES: [&str; 16] = [
        "cpu",
        "fsize",
        "data",
        "stack",
        "core",
        "rss",
        "nproc",
        "nofile",
        "memlock",
        "as",
        "locks",
        "sigpending",
        "msgqueue",
        "nice",
        "rtprio",
        "rttime",
    ];
    let mut all = Vec::new();
    for ulimit in ulimits {
        let Some(resource) = NAMES.iter().position(|n| *n == ulimit.name) else {
            return Err(Error::new(ErrorKind::Invalid, format!("invalid ulimit type: {}", ulimit.name))
                .hint(format!("one of {}", NAMES.join(", "))));
        };
        let value = |v: i64| if v < 0 { u64::MAX } else { v as u64 };
        let (mut soft, mut hard) = (value(ulimit.soft), value(ulimit.hard));
        if soft > hard {
            let message = format!(
                "ulimit {}: soft limit {} is above hard limit {}",
                ulimit.name, ulimit.soft, ulimit.hard
            );
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let ceiling = if has_sys_resource() { u64::MAX } else { hard_limit(resource) };
        if hard > ceiling {
            warnings
                .push(format!("ulimit {}: {hard} needs CAP_SYS_RESOURCE; {ceiling} is used", ulimit.name));
            hard = ceiling;
            soft = soft.min(ceiling);
        }
        all.push(Limit { resource: resource as u32, soft, hard });
    }
    Ok(all)
}

/// The hard limit of this process, from /proc/self/limits, whose lines stand in the kernel's order.
fn hard_limit(resource: usize) -> u64 {
    let text = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = text.lines().nth(resource + 1).unwrap_or_default();
    // Columns: 26 of name, then soft and hard limit.
    let hard = line.get(26..).unwrap_or_default().split_whitespace().nth(1).unwrap_or("unlimited");
    hard.parse().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ulimits() {
        let one = |name: &str, soft, hard| Ulimit { name: name.into(), soft, hard };
        let mut warnings = Vec::new();
        let all = limits(&[one("nofile", 10, 20)], &mut warnings).expect("fine");
        assert_eq!(all, vec![Limit { resource: 7, soft: 10, hard: 20 }]);
        assert!(limits(&[one("nofile", 21, 20)], &mut warnings).is_err());
        assert!(limits(&[one("files", 1, 1)], &mut warnings).is_err());
        let raised = limits(&[one("nofile", -1, -1)], &mut warnings).expect("clamped");
        assert!(raised[0].hard == u64::MAX || !warnings.is_empty());
    }
}
