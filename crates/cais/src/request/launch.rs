//! Flags of [`LaunchArgs`]: shared namespaces, limits of devices, what of the image counts.

use std::path::Path;

use cais_engine::{
    ContainerRequest, DeviceLimitKind, DeviceLimitRequest, HostsBase, ImageVolumes, IpcRequest, MountKind,
    MountRequest, NamespaceRequest, NamespaceSource, NetworkRequest,
};

use super::{Caller, Result, absolute, flag};
use crate::container_args::ContainerArgs;
use crate::failure::Failure;
use crate::launch_args::LaunchArgs;

type Parsed<T> = std::result::Result<T, String>;

/// Where the zones of time lie on Linux.
const ZONES: &str = "/usr/share/zoneinfo";
const PROXIES: [&str; 10] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "no_proxy",
    "all_proxy",
];

/// Completes a request.
pub(super) fn apply(args: &ContainerArgs, caller: &Caller<'_>, request: &mut ContainerRequest) -> Result<()> {
    let flags = &args.launch;
    for text in &flags.annotation {
        let (key, value) = super::key_value(text);
        if key.is_empty() {
            return Err(Failure::usage(format!("--annotation: {text:?} has no name")));
        }
        request.annotations.insert(key, value);
    }
    request.namespaces = namespaces(flags)?;
    request.requires.clone_from(&flags.requires);
    request.pod = match &flags.pod_id_file {
        Some(path) => Some(first_line(caller, path)?),
        None => flags.pod.clone().filter(|pod| !pod.is_empty()),
    };
    conflicts(args, request)?;
    request.env = environment(flags, caller, std::mem::take(&mut request.env))?;
    request.ignore_image_env = flags.unsetenv_all;
    for text in &flags.env_merge {
        if !text.contains('=') || text.starts_with('=') {
            return Err(Failure::usage(format!("--env-merge: {text:?}: expected NAME=VALUE")));
        }
        request.env_merge.push(text.clone());
    }
    request.image_volumes = match flags.image_volume.as_deref() {
        None | Some("" | "anonymous" | "bind") => ImageVolumes::Anonymous,
        Some("tmpfs") => ImageVolumes::Tmpfs,
        Some("ignore") => ImageVolumes::Ignore,
        Some(other) => return Err(unknown("image-volume", other, "anonymous, tmpfs or ignore")),
    };
    request.volumes_from = flags.volumes_from.iter().map(|text| volumes_from(text)).collect::<Result<_>>()?;
    request.no_hosts = flags.no_hosts;
    request.no_hostname = flags.no_hostname;
    request.hosts_base = match flags.hosts_file.as_deref() {
        None | Some("" | "none") => HostsBase::Nothing,
        Some("image") => HostsBase::Image,
        Some(path) => HostsBase::File(absolute(caller.directory, path)),
    };
    if flags.no_hosts && request.hosts_base != HostsBase::Nothing {
        return Err(Failure::usage("conflicting options: --no-hosts and --hosts-file"));
    }
    request.umask = flags.umask.as_deref().map(umask).transpose()?;
    request.personality = match flags.personality.as_deref().map(str::to_ascii_uppercase).as_deref() {
        None => None,
        Some("LINUX") => Some(0),
        Some("LINUX32") => Some(8),
        Some(other) => return Err(unknown("personality", other, "LINUX or LINUX32")),
    };
    request.pidfile =
        flags.pidfile.as_deref().filter(|path| !path.is_empty()).map(|path| absolute(caller.directory, path));
    request.run_limit_secs = flags.timeout.filter(|seconds| *seconds > 0);
    request.mac_address = flags.mac_address.as_deref().map(mac_address).transpose()?;
    limits(flags, request)?;
    mounts(flags, caller, request)
}

fn unknown(name: &str, value: &str, expected: &str) -> Failure {
    Failure::usage(format!("--{name}: invalid value {value:?}: use {expected}"))
}

/// `--arch`, `--variant`: the same as `--platform`, in parts.
pub(super) fn platform(flags: &LaunchArgs) -> Option<String> {
    let arch = flags.arch.as_deref().or(flags.variant.as_ref().map(|_| std::env::consts::ARCH))?;
    let variant = flags.variant.as_ref().map(|variant| format!("/{variant}")).unwrap_or_default();
    Some(format!("linux/{arch}{variant}"))
}

fn first_line(caller: &Caller<'_>, path: &str) -> Result<String> {
    let bytes = (caller.read)(&absolute(caller.directory, path))
        .map_err(|error| Failure::edge(format_args!("read --pod-id-file {path}"), error))?;
    Ok(String::from_utf8_lossy(&bytes).lines().next().unwrap_or_default().trim().to_owned())
}

fn namespaces(flags: &LaunchArgs) -> Result<NamespaceRequest> {
    Ok(NamespaceRequest {
        pid: namespace("pid", flags.pid.as_deref())?,
        ipc: match flags.ipc.as_deref() {
            Some("private") => IpcRequest::Private,
            Some("shareable") => IpcRequest::Shareable,
            Some("none") => IpcRequest::None,
            other => match namespace("ipc", other)? {
                NamespaceSource::Own => IpcRequest::Default,
                NamespaceSource::Host => IpcRequest::Host,
                NamespaceSource::Container(name) => IpcRequest::Container(name),
            },
        },
        uts: namespace("uts", flags.uts.as_deref())?,
        host_cgroup: match namespace("cgroupns", flags.cgroupns.as_deref())? {
            NamespaceSource::Own => false,
            NamespaceSource::Host => true,
            NamespaceSource::Container(name) => {
                return Err(unknown("cgroupns", &format!("container:{name}"), "private or host"));
            }
        },
    })
}

/// `host`, `container:NAME`, or the container's own.
fn namespace(name: &str, value: Option<&str>) -> Result<NamespaceSource> {
    match value {
        None | Some("" | "private") => Ok(NamespaceSource::Own),
        Some("host") => Ok(NamespaceSource::Host),
        Some(other) => match other.split_once(':') {
            Some(("container", "")) => {
                Err(Failure::usage(format!("--{name}: the container after \"container:\" is missing")))
            }
            Some(("container", id)) => Ok(NamespaceSource::Container(id.to_owned())),
            Some(("ns", _)) => Err(Failure::usage(format!(
                "--{name} {other}: joining another namespace of this kind is not supported yet"
            ))),
            _ => Err(unknown(name, other, "private, host or container:NAME")),
        },
    }
}

/// Docker's rules on what a shared namespace excludes.
fn conflicts(args: &ContainerArgs, request: &ContainerRequest) -> Result<()> {
    let conflict =
        |left: &str, right: &str| Err(Failure::usage(format!("conflicting options: --{left} and --{right}")));
    let namespaces = &request.namespaces;
    if namespaces.uts != NamespaceSource::Own && (request.hostname.is_some() || request.domainname.is_some())
    {
        return conflict("hostname", &format!("uts {}", namespaces.uts.word()));
    }
    if !namespaces.ipc.has_own_shm() && request.shm_size_bytes.is_some() {
        return conflict("shm-size", "ipc");
    }
    if namespaces.pid != NamespaceSource::Own && request.init {
        let word = namespaces.pid.word();
        return Err(Failure::usage(format!("conflicting options: --init and --pid {word}"))
            .hint("in another PID namespace its own init reaps what is left"));
    }
    if args.launch.mac_address.is_some()
        && !matches!(request.network, NetworkRequest::Default | NetworkRequest::Bridge)
    {
        return conflict("mac-address", "network");
    }
    Ok(())
}

/// The caller's variables come first, so that every other source overrides them.
fn environment(flags: &LaunchArgs, caller: &Caller<'_>, given: Vec<String>) -> Result<Vec<String>> {
    let mut env = Vec::new();
    for name in &flags.unsetenv {
        if name.is_empty() || name.contains('=') {
            return Err(Failure::usage(format!("--unsetenv: {name:?} is no name of a variable")));
        }
        env.push(name.clone());
    }
    let wanted = |name: &str| flags.env_host || (flags.http_proxy && PROXIES.contains(&name));
    for (name, value) in (caller.all)() {
        let overridden = given.iter().any(|pair| pair.split('=').next() == Some(name.as_str()));
        if wanted(&name) && !overridden {
            env.push(format!("{name}={value}"));
        }
    }
    env.extend(given);
    Ok(env)
}

/// `container[:ro|rw|z]`
fn volumes_from(text: &str) -> Result<String> {
    let (name, modes) = text.split_once(':').unwrap_or((text, ""));
    let known = |mode: &str| matches!(mode, "" | "ro" | "rw" | "z");
    match modes.split(',').find(|mode| !known(mode)) {
        _ if name.is_empty() => Err(Failure::usage("--volumes-from: the name of the container is empty")),
        Some(mode) => Err(unknown("volumes-from", mode, "ro or rw")),
        None => Ok(text.to_owned()),
    }
}

fn umask(text: &str) -> Result<u32> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
    mode.ok_or_else(|| Failure::usage(format!("--umask: {text:?} is not an octal mode such as 0027")))
}

fn mac_address(text: &str) -> Result<String> {
    let parts: Vec<&str> = text.split([':', '-']).collect();
    let valid = parts.len() == 6
        && parts.iter().all(|part| part.len() == 2 && part.chars().all(|c| c.is_ascii_hexdigit()));
    if !valid {
        return Err(Failure::usage(format!(
            "--mac-address: {text:?}: expected six bytes such as 92:d0:c6:0a:29:33"
        )));
    }
    // The lowest bit of the first byte marks groups.
    if u8::from_str_radix(parts[0], 16).is_ok_and(|byte| byte & 1 == 1) {
        return Err(Failure::usage(format!("--mac-address: {text} is the address of a group")));
    }
    Ok(parts.join(":").to_ascii_lowercase())
}

fn limits(flags: &LaunchArgs, request: &mut ContainerRequest) -> Result<()> {
    let resources = &mut request.resources;
    for (name, kind, texts) in [
        ("blkio-weight-device", DeviceLimitKind::Weight, &flags.blkio_weight_device),
        ("device-read-bps", DeviceLimitKind::ReadBps, &flags.device_read_bps),
        ("device-write-bps", DeviceLimitKind::WriteBps, &flags.device_write_bps),
        ("device-read-iops", DeviceLimitKind::ReadIops, &flags.device_read_iops),
        ("device-write-iops", DeviceLimitKind::WriteIops, &flags.device_write_iops),
    ] {
        for text in texts {
            resources.device_limits.push(device_limit(kind, text).map_err(flag(name))?);
        }
    }
    resources.cpu_rt_period_us = flags.cpu_rt_period.filter(|us| *us != 0);
    resources.cpu_rt_runtime_us = flags.cpu_rt_runtime.filter(|us| *us != 0);
    for text in &flags.cgroup_conf {
        match text.split_once('=') {
            Some((file, value)) if !file.is_empty() => {
                resources.unified.insert(file.to_owned(), value.to_owned());
            }
            _ => return Err(Failure::usage(format!("--cgroup-conf: {text:?}: expected FILE=VALUE"))),
        }
    }
    Ok(())
}

/// `/dev/name:value`
fn device_limit(kind: DeviceLimitKind, text: &str) -> Parsed<DeviceLimitRequest> {
    let (path, value) = text
        .rsplit_once(':')
        .filter(|(path, _)| path.starts_with("/dev/"))
        .ok_or_else(|| format!("{text:?}: expected /dev/name:value"))?;
    let value = match kind {
        DeviceLimitKind::ReadBps | DeviceLimitKind::WriteBps => crate::size::parse_bytes(value)?,
        _ => value.parse().map_err(|_| format!("{text:?}: {value:?} is not a number"))?,
    };
    if kind == DeviceLimitKind::Weight && !(10..=1000).contains(&value) {
        return Err(format!("{text:?}: {value} is not between 10 and 1000"));
    }
    Ok(DeviceLimitRequest { kind, path: path.to_owned(), value })
}

/// Mounts that other flags mean; what was asked for by name stays.
fn mounts(flags: &LaunchArgs, caller: &Caller<'_>, request: &mut ContainerRequest) -> Result<()> {
    let mut add = |mount: MountRequest| {
        if !request.mounts.iter().any(|other| other.target == mount.target) {
            request.mounts.push(mount);
        }
    };
    if flags.read_only_tmpfs && request.read_only {
        for target in ["/run", "/tmp", "/var/tmp"] {
            let (kind, target) = (MountKind::Tmpfs, target.to_owned());
            add(MountRequest { kind, target, ..MountRequest::default() });
        }
    }
    let Some(zone) = flags.tz.as_deref().filter(|zone| !zone.is_empty()) else { return Ok(()) };
    let source = match zone {
        "local" => "/etc/localtime".into(),
        zone => absolute(Path::new(ZONES), zone),
    };
    if zone != "local" && !source.starts_with(ZONES) {
        return Err(Failure::usage(format!("--tz: {zone:?} is no time zone")));
    }
    (caller.read)(&source).map_err(|error| Failure::usage(format!("--tz {zone}: {error}")))?;
    add(MountRequest {
        kind: MountKind::Bind,
        source: source.to_string_lossy().into_owned(),
        target: "/etc/localtime".into(),
        read_only: true,
        ..MountRequest::default()
    });
    Ok(())
}
