//! What the runtime does for the first process while it waits in its new namespaces: maps of ids, limits that it has no
//! right to any more, network devices.

use std::fs::File;
use std::os::fd::AsFd;

use cais_oci::runtime::{NamespaceType, Process, RlimitType, Spec};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::idmap;
use crate::error::{Error, Result};
use crate::machine::{Caller, maps_own_group_only, namespace, user_namespace};

/// Sets up process `pid`, the first of the container or, when `joins`, one more.
pub(crate) fn set_up(
    pid: i32,
    spec: &Spec,
    process: &Process,
    caller: Caller,
    joins: bool,
    warnings: &mut Vec<String>,
) -> Result<()> {
    if let (false, Some(None), Some(linux)) = (joins, user_namespace(spec), &spec.linux) {
        idmap::write(pid, linux, caller, maps_own_group_only(spec))?;
    }
    if joins {
        return limit(pid, spec, process, caller, warnings);
    }
    move_devices(pid, spec)
}

/// Limits of a process that could not raise them in its user namespace. For the first process of a container that is
/// the last thing: it needs more open files than it may be allowed.
pub(crate) fn limit(
    pid: i32,
    spec: &Spec,
    process: &Process,
    caller: Caller,
    warnings: &mut Vec<String>,
) -> Result<()> {
    if caller.is_rootless() || user_namespace(spec).is_none() {
        return Ok(());
    }
    set_limits(pid, process, caller, warnings)?;
    set_oom_score_adj(pid, process, caller, warnings)
}

fn set_limits(pid: i32, process: &Process, caller: Caller, warnings: &mut Vec<String>) -> Result<()> {
    let limit = |value| Some(value).filter(|value| *value != u64::MAX);
    for one in &process.rlimits {
        let resource = resource(one.kind);
        let mut wanted = Rlimit { current: limit(one.soft), maximum: limit(one.hard) };
        let own = rustix::process::getrlimit(resource).maximum;
        if !caller.may_raise_limits() && exceeds(wanted.maximum, own) {
            warnings.push(format!("{} stays at the runtime's own: it may not be raised here", one.kind));
            wanted.maximum = own;
            if exceeds(wanted.current, own) {
                wanted.current = own;
            }
        }
        prlimit(Pid::from_raw(pid), resource, wanted)
            .map_err(|e| Error::system(format!("error setting rlimit type {}", one.kind), e))?;
    }
    Ok(())
}

/// `None` is no limit.
fn exceeds(wanted: Option<u64>, limit: Option<u64>) -> bool {
    limit.is_some_and(|limit| wanted.is_none_or(|wanted| wanted > limit))
}

fn set_oom_score_adj(pid: i32, process: &Process, caller: Caller, warnings: &mut Vec<String>) -> Result<()> {
    let Some(score) = process.oom_score_adj else { return Ok(()) };
    let path = format!("/proc/{pid}/oom_score_adj");
    match std::fs::write(&path, score.to_string()) {
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied && !caller.may_raise_limits() => {
            warnings.push(format!("oom_score_adj {score} is lower than may be set here: it stays as it is"));
            Ok(())
        }
        other => other.map_err(|e| Error::system(format!("write {path}"), e)),
    }
}

fn move_devices(pid: i32, spec: &Spec) -> Result<()> {
    let devices = spec.linux.as_ref().map(|linux| &linux.net_devices).filter(|devices| !devices.is_empty());
    let Some(devices) = devices else { return Ok(()) };
    // The first process has entered the one that is given by path already.
    if namespace(spec, NamespaceType::Network).is_none() {
        return Err(Error::Request("unable to move network devices without a NET namespace"));
    }
    let path = format!("/proc/{pid}/ns/net");
    let namespace = File::open(&path).map_err(|e| Error::system(format!("open {path}"), e))?;
    for (name, device) in devices {
        cais_net::device::move_device(name, device.name.as_deref(), namespace.as_fd())?;
    }
    Ok(())
}

fn resource(kind: RlimitType) -> Resource {
    match kind {
        RlimitType::As => Resource::As,
        RlimitType::Core => Resource::Core,
        RlimitType::Cpu => Resource::Cpu,
        RlimitType::Data => Resource::Data,
        RlimitType::Fsize => Resource::Fsize,
        RlimitType::Locks => Resource::Locks,
        RlimitType::Memlock => Resource::Memlock,
        RlimitType::Msgqueue => Resource::Msgqueue,
        RlimitType::Nice => Resource::Nice,
        RlimitType::Nofile => Resource::Nofile,
        RlimitType::Nproc => Resource::Nproc,
        RlimitType::Rss => Resource::Rss,
        RlimitType::Rtprio => Resource::Rtprio,
        RlimitType::Rttime => Resource::Rttime,
        RlimitType::Sigpending => Resource::Sigpending,
        RlimitType::Stack => Resource::Stack,
    }
}

#[cfg(test)]
mod tests {
    use super::exceeds;

    #[test]
    fn no_limit_exceeds_every_limit() {
        assert!(exceeds(None, Some(5)));
        assert!(exceeds(Some(6), Some(5)));
        assert!(!exceeds(Some(5), Some(5)));
        assert!(!exceeds(None, None));
        assert!(!exceeds(Some(u64::MAX), None));
    }
}
