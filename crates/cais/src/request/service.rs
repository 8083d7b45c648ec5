//! Flags of [`ServiceArgs`]: control groups, systemd within and without.

use cais_engine::{ContainerRequest, ResourceRequest, ServiceRequest, SystemdRequest};

use super::{Result, flag, limits};
use crate::failure::Failure;
use crate::service_args::ServiceArgs;

/// Completes a request.
pub(super) fn apply(args: &ServiceArgs, request: &mut ContainerRequest) -> Result<()> {
    let unknown = |name: &str, value: &str, expected: &str| {
        Err(Failure::usage(format!("--{name}: invalid value {value:?}: use {expected}")))
    };
    let cgroup_parent = match args.cgroup_parent.as_deref().map(|text| text.trim_matches('/')) {
        None | Some("") => None,
        Some(parent) => Some(group(parent)?),
    };
    let no_cgroup = match args.cgroups.as_deref() {
        None | Some("" | "enabled" | "no-conmon") => false,
        Some("disabled") => true,
        Some("split") => {
            return Err(Failure::usage(
                "--cgroups: split is for engines that systemd starts as a service; \
                 --cgroup-parent names a group of the service",
            ));
        }
        Some(other) => return unknown("cgroups", other, "enabled, disabled or no-conmon"),
    };
    let systemd = match args.systemd.as_deref() {
        None | Some("" | "false") => SystemdRequest::False,
        Some("true") => SystemdRequest::True,
        Some("always") => SystemdRequest::Always,
        Some(other) => return unknown("systemd", other, "true, always or false"),
    };
    let shm_size_systemd_bytes =
        limits::size(args.shm_size_systemd.as_deref()).map_err(flag("shm-size-systemd"))?;
    let notify = match args.sdnotify.as_deref() {
        None | Some("" | "ignore") => false,
        Some("conmon") => true,
        Some(other @ ("container" | "healthy")) => {
            return Err(Failure::usage(format!(
                "--sdnotify: {other} is not supported: what the container says is not passed on; use conmon or ignore"
            )));
        }
        Some(other) => return unknown("sdnotify", other, "conmon or ignore"),
    };
    let service = ServiceRequest { cgroup_parent, no_cgroup, systemd, shm_size_systemd_bytes, notify };
    conflicts(&service, request)?;
    request.service = service;
    Ok(())
}

/// The path of a group, below the topmost one.
fn group(parent: &str) -> Result<String> {
    if parent.ends_with(".slice") {
        return Err(Failure::usage(format!(
            "--cgroup-parent: {parent} is a slice of systemd, which makes the groups in there; cais makes its own: \
             name a group such as /machines"
        )));
    }
    let parts: Vec<&str> = parent.split('/').filter(|part| !part.is_empty()).collect();
    if parts.iter().any(|part| matches!(*part, "." | "..") || part.contains('\n')) {
        return Err(Failure::usage(format!("--cgroup-parent: {parent:?} is not the path of a group")));
    }
    Ok(parts.join("/"))
}

/// Without a group there is nothing that could be limited, nor found when processes outlive the first one.
fn conflicts(service: &ServiceRequest, request: &ContainerRequest) -> Result<()> {
    if !service.no_cgroup {
        return Ok(());
    }
    let limited = request.resources
        != ResourceRequest { oom_score_adj: request.resources.oom_score_adj, ..ResourceRequest::default() };
    let other = match () {
        () if limited => "limits of resources",
        () if service.cgroup_parent.is_some() => "--cgroup-parent",
        () if request.namespaces.pid == cais_engine::NamespaceSource::Host => "--pid host",
        () => return Ok(()),
    };
    Err(Failure::usage(format!("conflicting options: --cgroups disabled and {other}")))
}
