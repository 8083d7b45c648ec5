//! From resources to the files that limit them: a pure translation, [`plan_v1`] and [`plan_v2`].
//!
//! What Docker counts for v1 is converted for v2 as runc does:
//! - CPU shares (2..=262144) to `cpu.weight` (1..=10000) by the quadratic exponent of runc 1.3, which keeps minimum,
//!   default (1024 is 100) and maximum: `10^((l² + 125·l) / 612 − 7/34)` with `l = log2(shares)`, rounded up;
//! - memory+swap to `memory.swap.max` by subtracting memory;
//! - quota and period to `cpu.max`; the reservation to `memory.low`;
//! - block I/O weight (10..=1000) to `io.bfq.weight` as it is, else linearly to `io.weight` (1..=10000).
//!
//! Kernel documentation: admin-guide/cgroup-v1 and admin-guide/cgroup-v2.rst.

use super::CgroupError;
use super::layout::Controller;
use super::throttle::{self, Throttle};
use crate::device::DeviceRule;

/// Limits of one container; `None` leaves the kernel's default, that is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Hard limit; -1 is none.
    pub memory_bytes: Option<i64>,
    /// Soft limit; -1 is none.
    pub memory_reservation_bytes: Option<i64>,
    /// Memory and swap together, as Docker counts; -1 is none. Needs `memory_bytes` unless -1.
    pub memory_swap_bytes: Option<i64>,
    /// 0 to 100.
    pub memory_swappiness: Option<u64>,
    /// Relative CPU time, 1024 by default; 0 is the default.
    pub cpu_shares: Option<u64>,
    /// CPU time per period; 0 and less is no limit.
    pub cpu_quota_us: Option<i64>,
    /// 100000 by default.
    pub cpu_period_us: Option<u64>,
    /// CPUs, `0-3,5`.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes, `0-3,5`.
    pub cpuset_mems: Option<String>,
    /// Processes and threads; 0 and less is no limit.
    pub pids_limit: Option<i64>,
    /// Relative block I/O, 10 to 1000; 0 is the default.
    pub blkio_weight: Option<u16>,
    /// Processes wait instead of being killed when memory is out (v1 only).
    pub oom_kill_disable: bool,
    /// Which devices may be used, in order, the last that matches wins; empty does not limit.
    pub devices: Vec<DeviceRule>,
    /// Limits that name a device or a file.
    pub throttle: Throttle,
}

/// One file to write. Consecutive ones of the same file may go through one open descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Whose file: decides the hierarchy in v1.
    pub controller: Controller,
    /// File name in the group and what is written to it.
    pub file: &'static str,
    /// What is written.
    pub value: String,
    /// Another file and value for the same where the first does not exist.
    pub or: Option<(&'static str, String)>,
    /// What the user is told when the kernel has none of the files; `None` is silent.
    pub discarded: Option<&'static str>,
}

const MEMORY: &str = "Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.";
const SOFT: &str = "Your kernel does not support memory soft limit capabilities or the cgroup is not mounted. Limitation discarded.";
const SWAP: &str = "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.";
const SWAPPINESS: &str = "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.";
const OOM: &str = "Your kernel does not support OomKillDisable. OomKillDisable discarded.";
const SHARES: &str =
    "Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded.";
const QUOTA: &str = "Your kernel does not support CPU CFS scheduler or the cgroup is not mounted. CPU period and quota discarded.";
const CPUSET: &str = "Your kernel does not support cpuset or the cgroup is not mounted. CPUset discarded.";
const PIDS: &str = "Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.";
const WEIGHT: &str =
    "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.";
const DEVICES: &str =
    "Your kernel does not support device rules or the cgroup is not mounted. Device access is not limited.";

/// Docker's bounds of a v1 CPU weight.
const SHARES_MIN: u64 = 2;
const SHARES_MAX: u64 = 262_144;
pub(super) const PERIOD_US: u64 = 100_000;

fn write(controller: Controller, file: &'static str, value: String, discarded: &'static str) -> Write {
    Write { controller, file, value, or: None, discarded: Some(discarded) }
}

/// What a v1 container writes, in an order that works in a new group: memory before memory+swap, period before quota,
/// and the rules of devices in theirs.
///
/// # Errors
/// Values that contradict each other.
pub fn plan_v1(resources: &Resources) -> Result<Vec<Write>, CgroupError> {
    check(resources)?;
    let r = resources;
    let mut writes = Vec::new();
    let mut add = |controller, file, value: Option<String>, discarded| {
        writes.extend(value.map(|value| write(controller, file, value, discarded)));
    };
    let text = |value: Option<i64>| nonzero(value).map(|value| value.to_string());
    add(Controller::Memory, "memory.limit_in_bytes", text(r.memory_bytes), MEMORY);
    add(Controller::Memory, "memory.memsw.limit_in_bytes", text(r.memory_swap_bytes), SWAP);
    add(Controller::Memory, "memory.soft_limit_in_bytes", text(r.memory_reservation_bytes), SOFT);
    add(Controller::Memory, "memory.swappiness", r.memory_swappiness.map(|s| s.to_string()), SWAPPINESS);
    add(Controller::Memory, "memory.oom_control", r.oom_kill_disable.then(|| "1".to_owned()), OOM);
    let shares = r.cpu_shares.filter(|shares| *shares != 0).map(|shares| shares.to_string());
    add(Controller::Cpu, "cpu.shares", shares, SHARES);
    let period = r.cpu_period_us.filter(|period| *period != 0).map(|period| period.to_string());
    add(Controller::Cpu, "cpu.cfs_period_us", period, QUOTA);
    let quota = nonzero(r.cpu_quota_us).map(|quota| quota.max(-1).to_string());
    add(Controller::Cpu, "cpu.cfs_quota_us", quota, QUOTA);
    add(Controller::Cpuset, "cpuset.cpus", r.cpuset_cpus.clone().filter(|s| !s.is_empty()), CPUSET);
    add(Controller::Cpuset, "cpuset.mems", r.cpuset_mems.clone().filter(|s| !s.is_empty()), CPUSET);
    add(Controller::Pids, "pids.max", r.pids_limit.map(pids), PIDS);
    if let Some(weight) = r.blkio_weight.filter(|weight| *weight != 0) {
        // The first came with CFQ, gone since Linux 5.0; the second comes with BFQ.
        let or = Some(("blkio.bfq.weight", weight.to_string()));
        let first = write(Controller::Io, "blkio.weight", weight.to_string(), WEIGHT);
        writes.push(Write { or, ..first });
    }
    writes.extend(throttle::plan_v1(&r.throttle)?);
    let rules = effective_rules(&r.devices);
    writes.extend(rules.iter().map(|rule| {
        let file = if rule.allow { "devices.allow" } else { "devices.deny" };
        write(Controller::Devices, file, rule.to_string(), DEVICES)
    }));
    Ok(writes)
}

/// What a v2 container writes; its devices are a program, not a file.
///
/// # Errors
/// Values that contradict each other.
pub fn plan_v2(resources: &Resources) -> Result<Vec<Write>, CgroupError> {
    check(resources)?;
    let r = resources;
    let mut writes = Vec::new();
    let mut add = |controller, file, value: Option<String>, discarded| {
        writes.extend(value.map(|value| write(controller, file, value, discarded)));
    };
    let bytes = |value: i64| if value < 0 { "max".to_owned() } else { value.to_string() };
    let memory = nonzero(r.memory_bytes);
    add(Controller::Memory, "memory.max", memory.map(bytes), MEMORY);
    let swap = nonzero(r.memory_swap_bytes);
    let swap = swap.map(|both| if both < 0 { both } else { both - memory.unwrap_or(0).max(0) });
    add(Controller::Memory, "memory.swap.max", swap.map(bytes), SWAP);
    add(Controller::Memory, "memory.low", nonzero(r.memory_reservation_bytes).map(bytes), SOFT);
    // Nothing like these in v2: a name that no kernel has, so that the user is told.
    add(Controller::Memory, "memory.swappiness", r.memory_swappiness.map(|s| s.to_string()), SWAPPINESS);
    add(Controller::Memory, "memory.oom_control", r.oom_kill_disable.then(|| "1".to_owned()), OOM);
    let shares = r.cpu_shares.filter(|shares| *shares != 0);
    add(Controller::Cpu, "cpu.weight", shares.map(|shares| cpu_weight(shares).to_string()), SHARES);
    add(Controller::Cpu, "cpu.max", cpu_max(r), QUOTA);
    add(Controller::Cpuset, "cpuset.cpus", r.cpuset_cpus.clone().filter(|s| !s.is_empty()), CPUSET);
    add(Controller::Cpuset, "cpuset.mems", r.cpuset_mems.clone().filter(|s| !s.is_empty()), CPUSET);
    add(Controller::Pids, "pids.max", r.pids_limit.map(pids), PIDS);
    if let Some(weight) = r.blkio_weight.filter(|weight| *weight != 0) {
        let or = Some(("io.weight", format!("default {}", io_weight(weight))));
        let first = write(Controller::Io, "io.bfq.weight", weight.to_string(), WEIGHT);
        writes.push(Write { or, ..first });
    }
    writes.extend(throttle::plan_v2(&r.throttle)?);
    Ok(writes)
}

/// The rules from the last one on that says everything; none when that one allows it, for that is how a group begins.
#[must_use]
pub fn effective_rules(rules: &[DeviceRule]) -> &[DeviceRule] {
    match rules.iter().rposition(DeviceRule::is_everything) {
        Some(index) if rules[index].allow => &rules[index + 1..],
        Some(index) => &rules[index..],
        None => rules,
    }
}

/// Docker's zero means that nothing was asked for.
fn nonzero(value: Option<i64>) -> Option<i64> {
    value.filter(|value| *value != 0)
}

fn pids(limit: i64) -> String {
    if limit <= 0 { "max".to_owned() } else { limit.to_string() }
}

fn check(resources: &Resources) -> Result<(), CgroupError> {
    let Some(both) = nonzero(resources.memory_swap_bytes).filter(|both| *both > 0) else { return Ok(()) };
    match nonzero(resources.memory_bytes) {
        Some(memory) if memory > both => Err(CgroupError::Resources {
            reason: "the limit of memory and swap is lower than that of memory",
        }),
        Some(memory) if memory > 0 => Ok(()),
        _ => Err(CgroupError::Resources { reason: "a limit of memory and swap needs a limit of memory" }),
    }
}

/// See the module's page. Values beyond the bounds are taken as the bound.
pub(super) fn cpu_weight(shares: u64) -> u64 {
    if shares <= SHARES_MIN {
        return 1;
    }
    if shares >= SHARES_MAX {
        return 10_000;
    }
    // At most 262144: exact in an f64.
    let l = (shares as f64).log2();
    let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
    10_f64.powf(exponent).ceil() as u64
}

fn cpu_max(resources: &Resources) -> Option<String> {
    let quota = nonzero(resources.cpu_quota_us);
    let period = resources.cpu_period_us.filter(|period| *period != 0);
    if quota.is_none() && period.is_none() {
        return None;
    }
    let quota = quota.filter(|quota| *quota > 0).map_or_else(|| "max".to_owned(), |quota| quota.to_string());
    Some(format!("{quota} {}", period.unwrap_or(PERIOD_US)))
}

pub(super) fn io_weight(weight: u16) -> u64 {
    let weight = u64::from(weight.clamp(10, 1000));
    1 + (weight - 10) * 9999 / 990
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{DeviceRule, default_rules};

    fn lines(writes: &[Write]) -> Vec<String> {
        writes
            .iter()
            .map(|w| match &w.or {
                Some((file, value)) => format!("{}={} or {file}={value}", w.file, w.value),
                None => format!("{}={}", w.file, w.value),
            })
            .collect()
    }

    fn everything() -> Resources {
        Resources {
            memory_bytes: Some(64 << 20),
            memory_reservation_bytes: Some(32 << 20),
            memory_swap_bytes: Some(96 << 20),
            memory_swappiness: Some(0),
            cpu_shares: Some(512),
            cpu_quota_us: Some(150_000),
            cpu_period_us: Some(50_000),
            cpuset_cpus: Some("0-1".into()),
            cpuset_mems: Some("0".into()),
            pids_limit: Some(100),
            blkio_weight: Some(500),
            oom_kill_disable: true,
            devices: vec![],
            throttle: Throttle::default(),
        }
    }

    #[test]
    fn v1_writes_everything_in_order() {
        assert_eq!(
            lines(&plan_v1(&everything()).unwrap()),
            [
                "memory.limit_in_bytes=67108864",
                "memory.memsw.limit_in_bytes=100663296",
                "memory.soft_limit_in_bytes=33554432",
                "memory.swappiness=0",
                "memory.oom_control=1",
                "cpu.shares=512",
                "cpu.cfs_period_us=50000",
                "cpu.cfs_quota_us=150000",
                "cpuset.cpus=0-1",
                "cpuset.mems=0",
                "pids.max=100",
                "blkio.weight=500 or blkio.bfq.weight=500",
            ]
        );
    }

    #[test]
    fn v2_writes_everything_converted() {
        assert_eq!(
            lines(&plan_v2(&everything()).unwrap()),
            [
                "memory.max=67108864",
                "memory.swap.max=33554432",
                "memory.low=33554432",
                "memory.swappiness=0",
                "memory.oom_control=1",
                "cpu.weight=59",
                "cpu.max=150000 50000",
                "cpuset.cpus=0-1",
                "cpuset.mems=0",
                "pids.max=100",
                "io.bfq.weight=500 or io.weight=default 4950",
            ]
        );
    }

    #[test]
    fn nothing_asked_nothing_written() {
        assert_eq!(plan_v1(&Resources::default()).unwrap(), []);
        assert_eq!(plan_v2(&Resources::default()).unwrap(), []);
        let zeros = Resources {
            memory_bytes: Some(0),
            memory_reservation_bytes: Some(0),
            memory_swap_bytes: Some(0),
            cpu_shares: Some(0),
            cpu_quota_us: Some(0),
            cpu_period_us: Some(0),
            cpuset_cpus: Some(String::new()),
            cpuset_mems: Some(String::new()),
            blkio_weight: Some(0),
            devices: vec![DeviceRule::everything(true)],
            throttle: Throttle::default(),
            ..Resources::default()
        };
        assert_eq!(plan_v1(&zeros).unwrap(), []);
        assert_eq!(plan_v2(&zeros).unwrap(), []);
    }

    #[test]
    fn minus_one_is_no_limit() {
        let resources = Resources {
            memory_bytes: Some(-1),
            memory_swap_bytes: Some(-1),
            memory_reservation_bytes: Some(-1),
            cpu_quota_us: Some(-1),
            pids_limit: Some(-1),
            ..Resources::default()
        };
        assert_eq!(
            lines(&plan_v1(&resources).unwrap()),
            [
                "memory.limit_in_bytes=-1",
                "memory.memsw.limit_in_bytes=-1",
                "memory.soft_limit_in_bytes=-1",
                "cpu.cfs_quota_us=-1",
                "pids.max=max"
            ]
        );
        assert_eq!(
            lines(&plan_v2(&resources).unwrap()),
            ["memory.max=max", "memory.swap.max=max", "memory.low=max", "cpu.max=max 100000", "pids.max=max"]
        );
    }

    #[test]
    fn swap_equal_to_memory_is_none_and_less_is_refused() {
        let resources =
            Resources { memory_bytes: Some(5), memory_swap_bytes: Some(5), ..Resources::default() };
        assert_eq!(lines(&plan_v2(&resources).unwrap()), ["memory.max=5", "memory.swap.max=0"]);
        for (memory, both) in [(Some(6), 5), (None, 5), (Some(0), 5), (Some(-1), 5)] {
            let resources =
                Resources { memory_bytes: memory, memory_swap_bytes: Some(both), ..Resources::default() };
            assert!(matches!(plan_v1(&resources), Err(CgroupError::Resources { .. })), "{memory:?}");
            assert!(matches!(plan_v2(&resources), Err(CgroupError::Resources { .. })), "{memory:?}");
        }
    }

    #[test]
    fn weights_keep_minimum_default_and_maximum() {
        for (shares, weight) in [(1, 1), (2, 1), (1024, 100), (262_144, 10_000), (1 << 40, 10_000)] {
            assert_eq!(cpu_weight(shares), weight, "{shares}");
        }
        for (blkio, io) in [(0, 1), (10, 1), (100, 910), (1000, 10_000), (2000, 10_000)] {
            assert_eq!(io_weight(blkio), io, "{blkio}");
        }
    }

    #[test]
    fn device_rules_begin_at_the_last_one_about_everything() {
        let resources = Resources { devices: default_rules(), ..Resources::default() };
        let writes = plan_v1(&resources).unwrap();
        assert_eq!(lines(&writes)[..2], ["devices.deny=a *:* rwm", "devices.allow=c *:* m"]);
        assert_eq!(writes.len(), default_rules().len());
        assert_eq!(plan_v2(&resources).unwrap(), []);
        let mut rules = default_rules();
        rules.push(DeviceRule::everything(true));
        let denied = DeviceRule { allow: false, ..default_rules()[4].clone() };
        rules.push(denied.clone());
        assert_eq!(effective_rules(&rules), [denied]);
    }
}
