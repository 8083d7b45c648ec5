//! From `linux.resources` of an OCI configuration to files of cgroup v2, a pure translation.
//!
//! What was said for v1 is converted as runc 1.3 and crun 1.23 do: CPU shares by the quadratic exponent that keeps
//! minimum, default and maximum ([`Weights`]), memory and swap together to swap alone, I/O weight linearly where there is
//! no BFQ. What v2 does not have is an error, as the specification demands ("Unified"), but for kernel memory, which
//! "may be ignored". `unified` comes last and so overrides. Kernel documentation: admin-guide/cgroup-v2.rst.

use cais_oci::runtime::{BlockIo, Cpu, Memory, Resources, ThrottleDevice};
use serde::{Deserialize, Serialize};

use super::error::GroupError;
use super::plan::{Invalid, Write, cpuset, hugepages, pids, rdma, said, swappiness};
use crate::cgroup::limits::{PERIOD_US, cpu_weight, io_weight};

/// How CPU shares (2 to 262144) become a weight (1 to 10000).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weights {
    /// runc since 1.3.2, crun since 1.23: 1024 shares are 100, the default of both.
    #[default]
    Quadratic,
    /// Earlier ones: `1 + (shares − 2) · 9999 / 262142`, by which 1024 shares are 39.
    Linear,
}

impl Weights {
    /// The weight of so many shares; those beyond the bounds count as the bound.
    #[must_use]
    pub fn weight(self, shares: u64) -> u64 {
        match self {
            Weights::Quadratic => cpu_weight(shares),
            Weights::Linear => 1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142,
        }
    }
}

/// The limits of a v2 container, in an order that works in a new group and in one that is updated. Devices are a
/// program, not a file.
///
/// # Errors
/// Values that mean nothing, or that v2 cannot keep.
pub fn plan_v2(resources: &Resources, weights: Weights) -> Result<Vec<Write>, GroupError> {
    only_v1(resources)?;
    let mut writes = Vec::new();
    for controller in ["pids", "memory", "io", "cpu", "cpuset", "hugetlb", "rdma"] {
        plan_controller(controller, resources, weights, &mut writes)?;
    }
    for (key, value) in &resources.unified {
        let controller = unified_controller(key)?;
        // The kernel takes one line at a time.
        for line in value.lines().filter(|line| !line.is_empty()) {
            writes.push(Write { unified: true, ..Write::new(controller, key, line) });
        }
    }
    Ok(writes)
}

/// The limits of one v2 controller: in a hybrid layout only some are in v2.
pub(super) fn plan_controller(
    controller: &str,
    resources: &Resources,
    weights: Weights,
    writes: &mut Vec<Write>,
) -> Result<(), GroupError> {
    match controller {
        "pids" => resources.pids.iter().for_each(|limit| pids(limit, writes)),
        "memory" => return resources.memory.iter().try_for_each(|memory| memory_v2(memory, writes)),
        "io" => resources.block_io.iter().for_each(|block_io| io_v2(block_io, writes)),
        "cpu" => resources.cpu.iter().for_each(|cpu| cpu_v2(cpu, weights, writes)),
        "cpuset" => resources.cpu.iter().for_each(|cpu| cpuset(cpu, writes)),
        "hugetlb" => return hugepages(&resources.hugepage_limits, "max", writes),
        "rdma" => return rdma(&resources.rdma, writes),
        _ => {}
    }
    Ok(())
}

/// Refuses what has no place in v2.
fn only_v1(resources: &Resources) -> Result<(), GroupError> {
    let fail = |what| Err(GroupError::OnlyV1 { what });
    if let Some(memory) = &resources.memory {
        if swappiness(memory)?.is_some() {
            return fail("memory swappiness");
        }
        if memory.disable_oom_killer == Some(true) {
            return fail("disableOOMKiller");
        }
    }
    if let Some(cpu) = &resources.cpu
        && (said(cpu.realtime_period).is_some() || said(cpu.realtime_runtime).is_some())
    {
        return fail("realtime limits");
    }
    if let Some(block_io) = &resources.block_io {
        let device = block_io.weight_device.iter().any(|device| said(device.leaf_weight).is_some());
        if device || said(block_io.leaf_weight).is_some() {
            return fail("leafWeight");
        }
    }
    match &resources.network {
        Some(network) if said(network.class_id).is_some() || !network.priorities.is_empty() => {
            fail("network")
        }
        _ => Ok(()),
    }
}

/// The first part of a key of `unified`.
pub(super) fn unified_controller(key: &str) -> Result<&str, GroupError> {
    if key.contains('/') {
        return Err(GroupError::UnifiedKey { key: key.to_owned() });
    }
    match key.split_once('.') {
        Some((controller, parameter)) if !controller.is_empty() && !parameter.is_empty() => Ok(controller),
        _ => Err(GroupError::UnifiedForm { key: key.to_owned() }),
    }
}

/// Swap alone, from memory and swap together: -1 is none, `None` is not said.
///
/// # Errors
/// A limit of both that cannot be taken apart.
pub(super) fn swap_alone(memory: &Memory) -> Result<Option<i64>, GroupError> {
    match (said(memory.limit), said(memory.swap)) {
        // v1 lifts both, too.
        (Some(-1), None) | (_, Some(-1)) => Ok(Some(-1)),
        (_, None) => Ok(None),
        (Some(-1), Some(both)) => Ok(Some(both)),
        (None, Some(_)) => Err(GroupError::SwapAlone),
        (Some(limit), Some(_)) if limit < 0 => {
            Err(GroupError::Value { what: "memory value", value: limit.to_string() })
        }
        (Some(limit), Some(both)) if both < limit => Err(GroupError::SwapBelowMemory),
        (Some(limit), Some(both)) => Ok(Some(both - limit)),
    }
}

fn memory_v2(memory: &Memory, writes: &mut Vec<Write>) -> Result<(), GroupError> {
    let text = |value: i64| if value == -1 { "max".to_owned() } else { value.to_string() };
    if let Some(swap) = swap_alone(memory)? {
        // A kernel that counts no swap cannot limit it, and need not when there is no limit or no swap.
        let optional = matches!(swap, -1 | 0);
        writes.push(Write::new("memory", "memory.swap.max", text(swap)).optional(optional));
    }
    if let Some(limit) = said(memory.limit) {
        writes.push(Write::new("memory", "memory.max", text(limit)));
    }
    if let Some(reservation) = said(memory.reservation) {
        writes.push(Write::new("memory", "memory.low", text(reservation)));
    }
    Ok(())
}

fn cpu_v2(cpu: &Cpu, weights: Weights, writes: &mut Vec<Write>) {
    if let Some(idle) = cpu.idle {
        writes.push(Write::new("cpu", "cpu.idle", idle));
    }
    if let Some(shares) = said(cpu.shares) {
        writes.push(Write::new("cpu", "cpu.weight", weights.weight(shares)));
    }
    if let Some(burst) = cpu.burst {
        // More than the old quota is invalid for now.
        writes.push(Write::new("cpu", "cpu.max.burst", burst).invalid(Invalid::Retry));
    }
    let (quota, period) = (said(cpu.quota), said(cpu.period));
    if quota.is_some() || period.is_some() {
        let quota =
            quota.filter(|quota| *quota > 0).map_or_else(|| "max".to_owned(), |quota| quota.to_string());
        writes.push(Write::new("cpu", "cpu.max", format!("{quota} {}", period.unwrap_or(PERIOD_US))));
    }
}

fn io_v2(block_io: &BlockIo, writes: &mut Vec<Write>) {
    if let Some(weight) = said(block_io.weight) {
        let default = format!("default {}", io_weight(weight));
        writes.push(Write::new("io", "io.bfq.weight", weight).or("io.weight", default));
    }
    for device in &block_io.weight_device {
        let Some(weight) = said(device.weight) else { continue };
        let (major, minor) = (device.major, device.minor);
        // Before Linux 5.4 BFQ knows no devices.
        let write = Write::new("io", "io.bfq.weight", format!("{major}:{minor} {weight}"));
        let converted = format!("{major}:{minor} {}", io_weight(weight));
        writes.push(write.or("io.weight", converted).optional(true).invalid(Invalid::Skip));
    }
    for (name, devices) in [
        ("rbps", &block_io.throttle_read_bps_device),
        ("wbps", &block_io.throttle_write_bps_device),
        ("riops", &block_io.throttle_read_iops_device),
        ("wiops", &block_io.throttle_write_iops_device),
    ] {
        for ThrottleDevice { major, minor, rate } in devices {
            // v1 lifts a limit by 0.
            let rate = if *rate == 0 { "max".to_owned() } else { rate.to_string() };
            writes.push(Write::new("io", "io.max", format!("{major}:{minor} {name}={rate}")));
        }
    }
}
