//! From `linux.resources` of an OCI configuration to files of cgroup v1, a pure translation, and what it shares with v2.
//!
//! Devices are apart, in `devices`: an update leaves them alone. 0 is "not said" wherever Go's programs write it for that
//! (config-linux.md does not tell them apart), but not for `pids`, where it means 1, as in runc, since systemd takes no
//! 0. Kernel documentation: admin-guide/cgroup-v1.

use cais_oci::runtime::{
    BlockIo, Cpu, HugepageLimit, Memory, Network, Pids, Rdma, Resources, ThrottleDevice,
};
use std::collections::BTreeMap;

use super::error::GroupError;

/// What to do when the kernel refuses a value as invalid (EINVAL).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Invalid {
    /// Give up.
    #[default]
    Fail,
    /// Go on without, also when it is not supported (EOPNOTSUPP): files that newer kernels only keep for show.
    Skip,
    /// Write it again after the others of its controller: values that bound each other, of which one order is right for
    /// growing and another for shrinking.
    Retry,
}

/// One file to write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Write {
    /// Whose file, by the kernel's name in the version it is for: `memory`, `blkio`, `io`; empty for a core file.
    pub controller: String,
    /// File name in the group.
    pub file: String,
    /// What is written.
    pub value: String,
    /// Another file and value for the same where the first does not exist.
    pub or: Option<(String, String)>,
    /// Whether a kernel without the files is all right.
    pub optional: bool,
    /// What to do when the value is refused.
    pub invalid: Invalid,
    /// Whether it comes from `unified`.
    pub unified: bool,
}

impl Write {
    pub(super) fn new(controller: &str, file: impl Into<String>, value: impl ToString) -> Write {
        let (controller, file, value) = (controller.to_owned(), file.into(), value.to_string());
        Write { controller, file, value, ..Write::default() }
    }

    pub(super) fn or(self, file: &str, value: impl ToString) -> Write {
        Write { or: Some((file.to_owned(), value.to_string())), ..self }
    }

    pub(super) fn optional(self, optional: bool) -> Write {
        Write { optional, ..self }
    }

    pub(super) fn invalid(self, invalid: Invalid) -> Write {
        Write { invalid, ..self }
    }
}

/// The limits of a v1 container, in an order that works in a new group and in one that is updated.
///
/// # Errors
/// Values that mean nothing, and any `unified`, which v1 does not have.
pub fn plan_v1(resources: &Resources) -> Result<Vec<Write>, GroupError> {
    if !resources.unified.is_empty() {
        return Err(GroupError::UnifiedOnV1);
    }
    let mut writes = Vec::new();
    if let Some(cpu) = &resources.cpu {
        cpuset(cpu, &mut writes);
    }
    if let Some(memory) = &resources.memory {
        memory_v1(memory, &mut writes)?;
    }
    if let Some(cpu) = &resources.cpu {
        cpu_v1(cpu, &mut writes);
    }
    if let Some(limit) = &resources.pids {
        pids(limit, &mut writes);
    }
    if let Some(block_io) = &resources.block_io {
        block_io_v1(block_io, &mut writes);
    }
    hugepages(&resources.hugepage_limits, "limit_in_bytes", &mut writes)?;
    if let Some(network) = &resources.network {
        network_v1(network, &mut writes);
    }
    rdma(&resources.rdma, &mut writes)?;
    Ok(writes)
}

/// 0 is "not said".
pub(super) fn said<T: Default + PartialEq>(value: Option<T>) -> Option<T> {
    value.filter(|value| *value != T::default())
}

fn memory_v1(memory: &Memory, writes: &mut Vec<Write>) -> Result<(), GroupError> {
    let mut add = |write: Write| writes.push(write);
    let limit = said(memory.limit);
    if let Some(hierarchy) = memory.use_hierarchy {
        add(Write::new("memory", "memory.use_hierarchy", u8::from(hierarchy))
            .optional(true)
            .invalid(Invalid::Skip));
    }
    if let Some(limit) = limit {
        // Above the old limit of memory and swap it is invalid for now.
        add(Write::new("memory", "memory.limit_in_bytes", limit).invalid(Invalid::Retry));
    }
    match said(memory.swap) {
        Some(swap) => add(Write::new("memory", "memory.memsw.limit_in_bytes", swap)),
        // No limit of memory means none of both, where the kernel counts swap.
        None if limit == Some(-1) => {
            add(Write::new("memory", "memory.memsw.limit_in_bytes", -1).optional(true))
        }
        None => {}
    }
    for (file, value) in [
        ("memory.kmem.limit_in_bytes", said(memory.kernel)),
        ("memory.kmem.tcp.limit_in_bytes", said(memory.kernel_tcp)),
    ] {
        if let Some(value) = value {
            // Deprecated, and without effect since Linux 6.
            add(Write::new("memory", file, value).optional(true).invalid(Invalid::Skip));
        }
    }
    if let Some(reservation) = said(memory.reservation) {
        add(Write::new("memory", "memory.soft_limit_in_bytes", reservation));
    }
    if memory.disable_oom_killer == Some(true) {
        add(Write::new("memory", "memory.oom_control", 1));
    }
    if let Some(swappiness) = swappiness(memory)? {
        add(Write::new("memory", "memory.swappiness", swappiness));
    }
    Ok(())
}

/// -1 in Docker's requests arrives as the largest number and is "not said".
pub(super) fn swappiness(memory: &Memory) -> Result<Option<u64>, GroupError> {
    match memory.swappiness {
        Some(value @ 0..=100) => Ok(Some(value)),
        None | Some(u64::MAX) => Ok(None),
        Some(value) => Err(GroupError::Value {
            what: "memory swappiness value",
            value: format!("{value} (valid range is 0-100)"),
        }),
    }
}

fn cpu_v1(cpu: &Cpu, writes: &mut Vec<Write>) {
    let mut add = |write: Write| writes.push(write);
    if let Some(shares) = said(cpu.shares) {
        add(Write::new("cpu", "cpu.shares", shares));
    }
    if let Some(period) = said(cpu.period) {
        // The old quota in the new period may be more than the parent has; likewise the burst.
        add(Write::new("cpu", "cpu.cfs_period_us", period).invalid(Invalid::Retry));
    }
    if let Some(burst) = cpu.burst {
        add(Write::new("cpu", "cpu.cfs_burst_us", burst).optional(true).invalid(Invalid::Retry));
    }
    if let Some(quota) = said(cpu.quota) {
        add(Write::new("cpu", "cpu.cfs_quota_us", quota));
    }
    if let Some(idle) = cpu.idle {
        add(Write::new("cpu", "cpu.idle", idle));
    }
    if let Some(period) = said(cpu.realtime_period) {
        add(Write::new("cpu", "cpu.rt_period_us", period).invalid(Invalid::Retry));
    }
    if let Some(runtime) = said(cpu.realtime_runtime) {
        add(Write::new("cpu", "cpu.rt_runtime_us", runtime));
    }
}

/// Both versions.
pub(super) fn cpuset(cpu: &Cpu, writes: &mut Vec<Write>) {
    for (file, value) in [("cpuset.cpus", &cpu.cpus), ("cpuset.mems", &cpu.mems)] {
        if let Some(value) = value {
            writes.push(Write::new("cpuset", file, value));
        }
    }
}

/// Both versions.
pub(super) fn pids(pids: &Pids, writes: &mut Vec<Write>) {
    let Some(limit) = pids.limit else { return };
    writes.push(match limit {
        ..=-1 => Write::new("pids", "pids.max", "max"),
        limit => Write::new("pids", "pids.max", limit.max(1)),
    });
}

fn block_io_v1(block_io: &BlockIo, writes: &mut Vec<Write>) {
    let mut add = |write: Write| writes.push(write);
    if let Some(weight) = said(block_io.weight) {
        // The first came with CFQ, gone since Linux 5.0; the second comes with BFQ.
        add(Write::new("blkio", "blkio.weight", weight).or("blkio.bfq.weight", weight));
    }
    if let Some(weight) = said(block_io.leaf_weight) {
        add(Write::new("blkio", "blkio.leaf_weight", weight));
    }
    for device in &block_io.weight_device {
        let (major, minor) = (device.major, device.minor);
        if let Some(weight) = said(device.weight) {
            let value = format!("{major}:{minor} {weight}");
            add(Write::new("blkio", "blkio.weight_device", &value).or("blkio.bfq.weight_device", &value));
        }
        if let Some(weight) = said(device.leaf_weight) {
            add(Write::new("blkio", "blkio.leaf_weight_device", format!("{major}:{minor} {weight}")));
        }
    }
    for (file, devices) in [
        ("blkio.throttle.read_bps_device", &block_io.throttle_read_bps_device),
        ("blkio.throttle.write_bps_device", &block_io.throttle_write_bps_device),
        ("blkio.throttle.read_iops_device", &block_io.throttle_read_iops_device),
        ("blkio.throttle.write_iops_device", &block_io.throttle_write_iops_device),
    ] {
        for ThrottleDevice { major, minor, rate } in devices {
            add(Write::new("blkio", file, format!("{major}:{minor} {rate}")));
        }
    }
}

/// Both versions, which differ in the end of the name. The limit is set for what is reserved, too, where the kernel
/// counts that.
pub(super) fn hugepages(
    limits: &[HugepageLimit],
    end: &str,
    writes: &mut Vec<Write>,
) -> Result<(), GroupError> {
    for HugepageLimit { page_size, limit } in limits {
        let digits = page_size.strip_suffix(['B']).and_then(|size| size.strip_suffix(['K', 'M', 'G']));
        if !digits
            .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
        {
            let value = format!("{page_size:?} (as in \"2MB\")");
            return Err(GroupError::Value { what: "size of huge pages", value });
        }
        writes.push(Write::new("hugetlb", format!("hugetlb.{page_size}.{end}"), limit));
        writes.push(Write::new("hugetlb", format!("hugetlb.{page_size}.rsvd.{end}"), limit).optional(true));
    }
    Ok(())
}

fn network_v1(network: &Network, writes: &mut Vec<Write>) {
    if let Some(class) = said(network.class_id) {
        writes.push(Write::new("net_cls", "net_cls.classid", class));
    }
    for priority in &network.priorities {
        let value = format!("{} {}", priority.name, priority.priority);
        writes.push(Write::new("net_prio", "net_prio.ifpriomap", value));
    }
}

/// Both versions.
pub(super) fn rdma(rdma: &BTreeMap<String, Rdma>, writes: &mut Vec<Write>) -> Result<(), GroupError> {
    for (device, limits) in rdma {
        let mut value = device.clone();
        let limits = [("hca_handle", limits.hca_handles), ("hca_object", limits.hca_objects)];
        for (name, limit) in limits {
            value.extend(limit.map(|limit| format!(" {name}={limit}")));
        }
        if value == *device {
            let value = format!("{device:?} (hcaHandles or hcaObjects is missing)");
            return Err(GroupError::Value { what: "limit of an RDMA device", value });
        }
        writes.push(Write::new("rdma", "rdma.max", value));
    }
    Ok(())
}
