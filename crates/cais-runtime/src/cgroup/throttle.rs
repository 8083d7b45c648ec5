//! Limits that name a device or a file of the kernel: block I/O by device, real-time CPU, and files of cgroup v2 as
//! they are. Part of [`super::plan_v1`] and [`super::plan_v2`]; pure.
//!
//! Kernel documentation: admin-guide/cgroup-v1/blkio-controller.rst and admin-guide/cgroup-v2.rst.

use super::CgroupError;
use super::layout::Controller;
use super::limits::{Write, io_weight};

/// What of a block device is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceLimitKind {
    /// 10 to 1000.
    Weight,
    /// Bytes per second.
    ReadBps,
    /// Bytes per second.
    WriteBps,
    /// Requests per second.
    ReadIops,
    /// Requests per second.
    WriteIops,
}

/// One limit of one block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceLimit {
    /// What.
    pub kind: DeviceLimitKind,
    /// Number of the device.
    pub major: u32,
    /// Number of the device.
    pub minor: u32,
    /// In the kind's unit.
    pub value: u64,
}

/// See the module's page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Throttle {
    /// In order.
    pub devices: Vec<DeviceLimit>,
    /// v1 only.
    pub cpu_rt_period_us: Option<u64>,
    /// v1 only.
    pub cpu_rt_runtime_us: Option<i64>,
    /// File and content, v2 only.
    pub unified: Vec<(String, String)>,
}

const DEVICE: &str = "Your kernel does not support limits of this kind for block devices or the cgroup is not mounted. Limitation discarded.";
const REAL_TIME: &str = "Your kernel does not support CPU real-time scheduler or the cgroup is not mounted. Limitation discarded.";
const UNIFIED: &str =
    "Your kernel has no such file of cgroup v2, or its controller is not delegated. Limitation discarded.";

/// Files of v2 that may be written by name: those that limit, and none that moves, freezes or kills.
const FILES: [(&str, Controller); 22] = [
    ("cpu.idle", Controller::Cpu),
    ("cpu.max", Controller::Cpu),
    ("cpu.max.burst", Controller::Cpu),
    ("cpu.uclamp.max", Controller::Cpu),
    ("cpu.uclamp.min", Controller::Cpu),
    ("cpu.weight", Controller::Cpu),
    ("cpu.weight.nice", Controller::Cpu),
    ("cpuset.cpus", Controller::Cpuset),
    ("cpuset.mems", Controller::Cpuset),
    ("io.bfq.weight", Controller::Io),
    ("io.latency", Controller::Io),
    ("io.max", Controller::Io),
    ("io.weight", Controller::Io),
    ("memory.high", Controller::Memory),
    ("memory.low", Controller::Memory),
    ("memory.max", Controller::Memory),
    ("memory.min", Controller::Memory),
    ("memory.oom.group", Controller::Memory),
    ("memory.swap.high", Controller::Memory),
    ("memory.swap.max", Controller::Memory),
    ("memory.zswap.max", Controller::Memory),
    ("pids.max", Controller::Pids),
];

fn write(controller: Controller, file: &'static str, value: String, discarded: &'static str) -> Write {
    Write { controller, file, value, or: None, discarded: Some(discarded) }
}

/// For v1.
///
/// # Errors
/// Files of v2 are asked for.
pub(super) fn plan_v1(throttle: &Throttle) -> Result<Vec<Write>, CgroupError> {
    if !throttle.unified.is_empty() {
        return Err(CgroupError::Resources {
            reason: "files of cgroup v2 are named, and this machine has v1",
        });
    }
    let mut writes = Vec::new();
    for limit in &throttle.devices {
        let value = format!("{}:{} {}", limit.major, limit.minor, limit.value);
        let file = match limit.kind {
            DeviceLimitKind::Weight => "blkio.weight_device",
            DeviceLimitKind::ReadBps => "blkio.throttle.read_bps_device",
            DeviceLimitKind::WriteBps => "blkio.throttle.write_bps_device",
            DeviceLimitKind::ReadIops => "blkio.throttle.read_iops_device",
            DeviceLimitKind::WriteIops => "blkio.throttle.write_iops_device",
        };
        let weight = limit.kind == DeviceLimitKind::Weight;
        let or = weight.then(|| ("blkio.bfq.weight_device", value.clone()));
        writes.push(Write { or, ..write(Controller::Io, file, value, DEVICE) });
    }
    let period = throttle.cpu_rt_period_us.filter(|period| *period != 0);
    writes.extend(period.map(|us| write(Controller::Cpu, "cpu.rt_period_us", us.to_string(), REAL_TIME)));
    let runtime = throttle.cpu_rt_runtime_us.filter(|runtime| *runtime != 0);
    writes.extend(runtime.map(|us| write(Controller::Cpu, "cpu.rt_runtime_us", us.to_string(), REAL_TIME)));
    Ok(writes)
}

/// For v2.
///
/// # Errors
/// A file is not one that limits.
pub(super) fn plan_v2(throttle: &Throttle) -> Result<Vec<Write>, CgroupError> {
    let mut writes = Vec::new();
    for limit in &throttle.devices {
        let device = format!("{}:{}", limit.major, limit.minor);
        let key = match limit.kind {
            DeviceLimitKind::Weight => {
                let weight = u16::try_from(limit.value).unwrap_or(u16::MAX);
                let or = Some(("io.weight", format!("{device} {}", io_weight(weight))));
                let first = write(Controller::Io, "io.bfq.weight", format!("{device} {weight}"), DEVICE);
                writes.push(Write { or, ..first });
                continue;
            }
            DeviceLimitKind::ReadBps => "rbps",
            DeviceLimitKind::WriteBps => "wbps",
            DeviceLimitKind::ReadIops => "riops",
            DeviceLimitKind::WriteIops => "wiops",
        };
        let value = format!("{device} {key}={}", limit.value);
        writes.push(write(Controller::Io, "io.max", value, DEVICE));
    }
    if throttle.cpu_rt_period_us.or(throttle.cpu_rt_runtime_us.map(|_| 0)).is_some() {
        // Nothing like it in v2: a name that no kernel has, so that the user is told.
        writes.push(write(Controller::Cpu, "cpu.rt_period_us", String::new(), REAL_TIME));
    }
    for (name, value) in &throttle.unified {
        let (file, controller) =
            FILES.into_iter().find(|(file, _)| file == name).ok_or(CgroupError::Resources {
                reason: "a file is named that is none of the limits of cgroup v2",
            })?;
        writes.push(write(controller, file, value.clone(), UNIFIED));
    }
    Ok(writes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(writes: Result<Vec<Write>, CgroupError>) -> Vec<String> {
        writes.expect("plans").iter().map(|write| format!("{}={}", write.file, write.value)).collect()
    }

    #[test]
    fn devices_by_number() {
        let limit = |kind, value| DeviceLimit { kind, major: 8, minor: 16, value };
        let devices = vec![
            limit(DeviceLimitKind::Weight, 500),
            limit(DeviceLimitKind::ReadBps, 1 << 20),
            limit(DeviceLimitKind::WriteIops, 100),
        ];
        let throttle = Throttle { devices, ..Throttle::default() };
        assert_eq!(
            lines(plan_v1(&throttle)),
            [
                "blkio.weight_device=8:16 500",
                "blkio.throttle.read_bps_device=8:16 1048576",
                "blkio.throttle.write_iops_device=8:16 100"
            ]
        );
        assert_eq!(
            lines(plan_v2(&throttle)),
            ["io.bfq.weight=8:16 500", "io.max=8:16 rbps=1048576", "io.max=8:16 wiops=100"]
        );
    }

    #[test]
    fn files_of_v2_by_name() {
        let named = |name: &str| Throttle { unified: vec![(name.into(), "1".into())], ..Throttle::default() };
        assert_eq!(lines(plan_v2(&named("memory.high"))), ["memory.high=1"]);
        assert!(plan_v2(&named("cgroup.procs")).is_err());
        assert!(plan_v2(&named("../memory.max")).is_err());
        assert!(plan_v1(&named("memory.high")).is_err());
    }

    #[test]
    fn real_time() {
        let throttle =
            Throttle { cpu_rt_period_us: Some(1000), cpu_rt_runtime_us: Some(500), ..Throttle::default() };
        assert_eq!(lines(plan_v1(&throttle)), ["cpu.rt_period_us=1000", "cpu.rt_runtime_us=500"]);
        assert!(lines(plan_v2(&Throttle::default())).is_empty());
    }
}
