//! Flags to [`ContainerRequest`]: pure functions over what was typed and a view of the caller ([`Caller`]).
//!
//! Grammar and errors are docker's where docker has them. What only the engine can know (whether an image, a
//! container or a device exists) is not asked here.

mod env;
mod launch;
mod lifecycle;
mod limits;
mod log;
mod mount;
mod network;
mod pod;
mod port;
mod security;
mod service;
mod users;

use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

use cais_engine::{ContainerRequest, PullPolicy, ResourceRequest, RestartPolicy};
use cais_oci::Platform;

pub use env::environment;
pub(crate) use env::key_value;
pub use lifecycle::{health, restart_policy};
pub use pod::pod;
pub use port::publish as published_ports;

use crate::container_args::ContainerArgs;
use crate::failure::Failure;

/// What the conversion may know of the caller.
pub struct Caller<'a> {
    /// An environment variable.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// All of them.
    pub all: &'a dyn Fn() -> Vec<(String, String)>,
    /// Contents of a file named by a flag.
    pub read: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
    /// The working directory, absolute.
    pub directory: &'a Path,
    /// `DOCKER_DEFAULT_PLATFORM`.
    pub default_platform: Option<&'a str>,
}

impl<'a> Caller<'a> {
    /// This process, with the surroundings that its caller has looked at.
    pub fn here(directory: &'a Path, default_platform: Option<&'a str>) -> Caller<'a> {
        Caller {
            env: &|name| std::env::var(name).ok(),
            all: &|| {
                let texts = |(key, value): (OsString, OsString)| {
                    Some((key.into_string().ok()?, value.into_string().ok()?))
                };
                std::env::vars_os().filter_map(texts).collect()
            },
            read: &|path| std::fs::read(path),
            directory,
            default_platform,
        }
    }
}

type Result<T> = std::result::Result<T, Failure>;

/// Puts the name of a flag before a reason.
fn flag<'a>(name: &'a str) -> impl Fn(String) -> Failure + 'a {
    move |reason| Failure::usage(format!("--{name}: {reason}"))
}

/// A request and what the user should be told about it.
#[derive(Debug)]
pub struct Conversion {
    /// For the engine.
    pub request: ContainerRequest,
    /// For standard error.
    pub warnings: Vec<String>,
}

/// Converts the flags of `run` and `create`.
///
/// # Errors
/// A usage failure that names the flag.
pub fn convert(args: &ContainerArgs, caller: &Caller<'_>) -> Result<Conversion> {
    let (first, command) = args.words.split_first().ok_or_else(|| Failure::usage("an image is missing"))?;
    if first.is_empty() {
        return Err(Failure::usage("the name of the image is empty"));
    }
    if args.replace && args.name.as_deref().is_none_or(str::is_empty) {
        return Err(Failure::usage("--replace: needs --name: which container is to be replaced?"));
    }
    let rootfs = args.rootfs.then(|| absolute(caller.directory, first));
    let parts = launch::platform(&args.launch);
    let platform = args.platform.as_deref().or(parts.as_deref()).or(caller.default_platform);
    let platform = match platform.filter(|_| !args.rootfs) {
        Some(text) => {
            let parsed: std::result::Result<Platform, _> = text.parse();
            parsed.map_err(|e| Failure::usage(format!("--platform: {e}")))?;
            Some(text.to_owned())
        }
        None => None,
    };
    let network = network::parse(&args.network)?;
    let publish = port::publish(&args.publish)?;
    let warnings = network::conflicts(args, &network)?;
    let resources = resources(args)?;
    check_swap(&resources)?;
    let restart = restart_policy(args.restart.as_deref().unwrap_or_default()).map_err(flag("restart"))?;
    if args.rm && restart != RestartPolicy::No {
        return Err(Failure::usage("conflicting options: cannot specify both --restart and --rm"));
    }
    let log = log::driver(args.log_driver.as_deref())?;
    let mut request = ContainerRequest {
        name: args
            .name
            .as_deref()
            .map(|name| name.strip_prefix('/').unwrap_or(name).to_owned())
            .filter(|name| !name.is_empty()),
        image: if rootfs.is_some() { String::new() } else { first.clone() },
        rootfs,
        command: command.to_vec(),
        entrypoint: args.entrypoint.as_deref().map(entrypoint),
        env: environment(&args.env_file, &args.env, caller)?,
        workdir: args.workdir.clone().filter(|dir| !dir.is_empty()),
        user: args.user.clone().filter(|user| !user.is_empty()),
        group_add: args.group_add.clone(),
        hostname: args.hostname.clone().filter(|name| !name.is_empty()),
        domainname: args.domainname.clone().filter(|name| !name.is_empty()),
        labels: env::labels(&args.label_file, &args.label, caller)?,
        tty: args.tty,
        interactive: args.interactive,
        mounts: mount::mounts(&args.volume, &args.mount, &args.tmpfs, caller.directory)?,
        read_only: args.read_only,
        shm_size_bytes: limits::size(args.shm_size.as_deref()).map_err(flag("shm-size"))?,
        cap_add: security::capabilities(&args.cap_add).map_err(flag("cap-add"))?,
        cap_drop: security::capabilities(&args.cap_drop).map_err(flag("cap-drop"))?,
        privileged: args.privileged,
        devices: security::devices(&args.device).map_err(flag("device"))?,
        device_cgroup_rules: security::device_rules(&args.device_cgroup_rule)
            .map_err(flag("device-cgroup-rule"))?,
        security: security::options(&args.security_opt, caller).map_err(flag("security-opt"))?,
        ulimits: limits::ulimits(&args.ulimit).map_err(flag("ulimit"))?,
        sysctls: limits::sysctls(&args.sysctl).map_err(flag("sysctl"))?,
        resources,
        network,
        publish,
        publish_all: args.publish_all,
        expose: port::expose(&args.expose)?,
        dns: network::servers(&args.dns)?,
        dns_search: args.dns_search.clone(),
        dns_options: args.dns_option.clone(),
        add_hosts: network::hosts(&args.add_host)?,
        stop_signal: args.stop_signal.clone().filter(|text| !text.is_empty()),
        stop_timeout_secs: args.stop_timeout,
        init: args.init,
        log,
        log_options: log::options(log, &args.log_opt)?,
        auto_remove: args.rm,
        restart,
        health: lifecycle::health(&args.health)?,
        platform,
        pull: pull(args.pull.as_deref())?,
        cidfile: args.cidfile.as_deref().filter(|p| !p.is_empty()).map(|p| absolute(caller.directory, p)),
        replace: args.replace,
        terminal_size: None,
        detach: false,
        ..ContainerRequest::default()
    };
    users::apply(&args.users, caller.directory, &mut request)?;
    launch::apply(args, caller, &mut request)?;
    service::apply(&args.service, &mut request)?;
    Ok(Conversion { request, warnings })
}

/// One word as docker has it, or podman's JSON array of words.
fn entrypoint(text: &str) -> Vec<String> {
    match serde_json::from_str(text) {
        Ok(words) => words,
        Err(_) if text.is_empty() => Vec::new(),
        Err(_) => vec![text.to_owned()],
    }
}

fn pull(text: Option<&str>) -> Result<PullPolicy> {
    match text {
        None | Some("missing" | "") => Ok(PullPolicy::Missing),
        Some("always" | "true") => Ok(PullPolicy::Always),
        Some("never" | "false") => Ok(PullPolicy::Never),
        Some("newer") => {
            Err(Failure::usage("--pull: \"newer\" is not supported yet; use always, missing or never"))
        }
        Some(other) => {
            Err(Failure::usage(format!("--pull: invalid value {other:?}: use always, missing or never")))
        }
    }
}

/// Memory plus swap needs memory beside it, and cannot be less.
fn check_swap(resources: &ResourceRequest) -> Result<()> {
    let swap = resources.memory_swap_bytes.filter(|swap| *swap > 0);
    match (resources.memory_bytes, swap) {
        (None, Some(_)) => Err(Failure::usage("--memory-swap: needs --memory beside it")),
        (Some(memory), Some(swap)) if swap < memory => {
            Err(Failure::usage("--memory-swap: is memory plus swap, so it must not be less than --memory"))
        }
        _ => Ok(()),
    }
}

/// The limits of flags, each for itself.
pub(crate) fn resources(args: &ContainerArgs) -> Result<ResourceRequest> {
    let signed = |name: &'static str, text: Option<&str>| -> Result<Option<i64>> {
        let bytes = limits::size(text).map_err(flag(name))?;
        Ok(bytes.and_then(|bytes| i64::try_from(bytes).ok()).filter(|bytes| *bytes > 0))
    };
    let nano_cpus = match args.cpus.as_deref() {
        Some(text) => Some(crate::size::parse_cpus(text).map_err(flag("cpus"))?).filter(|nano| *nano > 0),
        None => None,
    };
    let cpu_quota_us = args.cpu_quota.filter(|quota| *quota != 0);
    let cpu_period_us = args.cpu_period.filter(|period| *period != 0);
    if nano_cpus.is_some() && (cpu_quota_us.is_some() || cpu_period_us.is_some()) {
        return Err(Failure::usage("conflicting options: --cpus and --cpu-period or --cpu-quota"));
    }
    let memory_bytes = signed("memory", args.memory.as_deref())?;
    let memory_swap_bytes = match args.memory_swap.as_deref() {
        Some("-1") => Some(-1),
        text => signed("memory-swap", text)?,
    };
    let in_range = |name: &'static str, value: Option<i64>, low: i64, high: i64| match value {
        Some(value) if !(low..=high).contains(&value) => {
            Err(Failure::usage(format!("--{name}: {value} is not between {low} and {high}")))
        }
        value => Ok(value),
    };
    let swappiness = in_range("memory-swappiness", args.memory_swappiness, -1, 100)?;
    in_range("oom-score-adj", args.oom_score_adj.map(i64::from), -1000, 1000)?;
    let blkio_weight = args.blkio_weight.filter(|weight| *weight != 0);
    in_range("blkio-weight", blkio_weight.map(i64::from), 10, 1000)?;
    in_range("pids-limit", args.pids_limit, -1, i64::MAX)?;
    Ok(ResourceRequest {
        memory_bytes,
        memory_reservation_bytes: signed("memory-reservation", args.memory_reservation.as_deref())?,
        memory_swap_bytes,
        memory_swappiness: swappiness.and_then(|percent| u64::try_from(percent).ok()),
        nano_cpus,
        cpu_shares: args.cpu_shares.filter(|shares| *shares != 0),
        cpu_quota_us,
        cpu_period_us,
        cpuset_cpus: args.cpuset_cpus.clone().filter(|list| !list.is_empty()),
        cpuset_mems: args.cpuset_mems.clone().filter(|list| !list.is_empty()),
        pids_limit: args.pids_limit.map(|limit| if limit == 0 { -1 } else { limit }),
        blkio_weight,
        oom_kill_disable: args.oom_kill_disable,
        oom_score_adj: args.oom_score_adj,
        ..ResourceRequest::default()
    })
}

/// A path made absolute and cleaned of `.` and `..` by its text alone, as Go's `filepath.Abs` does.
pub fn absolute(directory: &Path, path: &str) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in directory.join(path).components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

#[cfg(test)]
mod tests;
