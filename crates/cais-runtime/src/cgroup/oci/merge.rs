//! What a container's resources are after an `update`, by the rules of runc: a pure function.
//!
//! What an update does not say stays as it was, but processors, memory nodes, burst, idleness, the number of processes
//! and `unified`, which are only as the update says them. Devices never change by an update.

use cais_oci::runtime::{BlockIo, Cpu, Memory, Resources, ThrottleDevice, WeightDevice};

/// The resources to write and to keep. `before` is what was kept: the configuration's, or the last update's.
#[must_use]
pub fn merge(before: &Resources, asked: &Resources) -> Resources {
    let mut merged = before.clone();
    if let Some(memory) = &asked.memory {
        merge_memory(merged.memory.get_or_insert_default(), memory);
    }
    let nothing = Cpu::default();
    merge_cpu(merged.cpu.get_or_insert_default(), asked.cpu.as_ref().unwrap_or(&nothing));
    merged.pids = asked.pids.clone().filter(|pids| pids.limit.is_some());
    if let Some(block_io) = &asked.block_io {
        merge_block_io(merged.block_io.get_or_insert_default(), block_io);
    }
    merged.unified.clone_from(&asked.unified);
    // runc forgets these; leaving them out is no different to the kernel.
    for limit in &asked.hugepage_limits {
        match merged.hugepage_limits.iter_mut().find(|one| one.page_size == limit.page_size) {
            Some(one) => one.limit = limit.limit,
            None => merged.hugepage_limits.push(limit.clone()),
        }
    }
    merged.rdma.extend(asked.rdma.iter().map(|(device, limits)| (device.clone(), *limits)));
    if asked.network.is_some() {
        merged.network.clone_from(&asked.network);
    }
    merged
}

fn replace<T: Clone>(old: &mut Option<T>, new: &Option<T>) {
    if new.is_some() {
        old.clone_from(new);
    }
}

fn merge_memory(old: &mut Memory, new: &Memory) {
    replace(&mut old.limit, &new.limit);
    replace(&mut old.reservation, &new.reservation);
    replace(&mut old.swap, &new.swap);
    replace(&mut old.swappiness, &new.swappiness);
    replace(&mut old.check_before_update, &new.check_before_update);
    replace(&mut old.disable_oom_killer, &new.disable_oom_killer);
    if new.limit == Some(-1) && new.swap.is_none() {
        // The old limit of both would be one of swap alone.
        old.swap = None;
    }
}

fn merge_cpu(old: &mut Cpu, new: &Cpu) {
    let (quota, period) = (new.quota.filter(|quota| *quota != 0), new.period.filter(|period| *period != 0));
    match (quota, period) {
        // One alone goes with the other's old value.
        (Some(_), None) => old.quota = quota,
        (None, Some(_)) => old.period = period,
        _ => (old.quota, old.period) = (quota, period),
    }
    replace(&mut old.shares, &new.shares);
    if new.idle.is_some() && new.shares.is_none() {
        // An idle group has no weight.
        old.shares = None;
    }
    replace(&mut old.realtime_period, &new.realtime_period);
    replace(&mut old.realtime_runtime, &new.realtime_runtime);
    old.burst = new.burst;
    old.cpus.clone_from(&new.cpus);
    old.mems.clone_from(&new.mems);
    old.idle = new.idle;
}

fn merge_block_io(old: &mut BlockIo, new: &BlockIo) {
    replace(&mut old.weight, &new.weight);
    replace(&mut old.leaf_weight, &new.leaf_weight);
    for device in &new.weight_device {
        let same = |one: &&mut WeightDevice| (one.major, one.minor) == (device.major, device.minor);
        // Of two for one device the last counts.
        match old.weight_device.iter_mut().rev().find(same) {
            Some(one) => {
                replace(&mut one.weight, &device.weight);
                replace(&mut one.leaf_weight, &device.leaf_weight);
            }
            None => old.weight_device.push(*device),
        }
    }
    merge_rates(&mut old.throttle_read_bps_device, &new.throttle_read_bps_device);
    merge_rates(&mut old.throttle_write_bps_device, &new.throttle_write_bps_device);
    merge_rates(&mut old.throttle_read_iops_device, &new.throttle_read_iops_device);
    merge_rates(&mut old.throttle_write_iops_device, &new.throttle_write_iops_device);
}

fn merge_rates(old: &mut Vec<ThrottleDevice>, new: &[ThrottleDevice]) {
    for device in new {
        let same = |one: &&mut ThrottleDevice| (one.major, one.minor) == (device.major, device.minor);
        match old.iter_mut().rev().find(same) {
            Some(one) => one.rate = device.rate,
            None => old.push(*device),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(json: &str) -> Resources {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn unsaid_values_stay_or_go() {
        let before = resources(
            r#"{"memory": {"limit": 5, "swap": 9}, "cpu": {"shares": 100, "quota": 500, "period": 1000, "cpus": "0",
                "burst": 3, "idle": 1}, "pids": {"limit": 20}, "unified": {"a.b": "c"},
                "blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}, {"major": 8, "minor": 0, "rate": 2}]}}"#,
        );
        let asked = resources(
            r#"{"memory": {"limit": 6}, "cpu": {"period": 900}, "hugepageLimits": [{"pageSize": "2MB", "limit": 1}],
                "blockIO": {"weight": 10, "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 7},
                {"major": 9, "minor": 0, "rate": 3}]}}"#,
        );
        let merged = merge(&before, &asked);
        let want = resources(
            r#"{"memory": {"limit": 6, "swap": 9}, "cpu": {"shares": 100, "quota": 500, "period": 900},
                "hugepageLimits": [{"pageSize": "2MB", "limit": 1}], "blockIO": {"weight": 10,
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}, {"major": 8, "minor": 0, "rate": 7},
                {"major": 9, "minor": 0, "rate": 3}]}}"#,
        );
        assert_eq!(merged, want);
    }

    #[test]
    fn quota_and_period_go_together() {
        let before = resources(r#"{"cpu": {"quota": 500, "period": 1000}}"#);
        for (asked, quota, period) in [
            (r#"{"cpu": {"quota": -1}}"#, Some(-1), Some(1000)),
            (r#"{"cpu": {"period": 7}}"#, Some(500), Some(7)),
            (r#"{"cpu": {"quota": 1, "period": 2}}"#, Some(1), Some(2)),
            (r#"{"cpu": {"quota": 0}}"#, None, None),
            ("{}", None, None),
        ] {
            let cpu = merge(&before, &resources(asked)).cpu.unwrap();
            assert_eq!((cpu.quota, cpu.period), (quota, period), "{asked}");
        }
    }

    #[test]
    fn special_cases_of_runc() {
        let before =
            resources(r#"{"memory": {"limit": 5, "swap": 9}, "cpu": {"shares": 100}, "pids": {"limit": 3}}"#);
        let merged = merge(&before, &resources(r#"{"memory": {"limit": -1}, "cpu": {"idle": 1}}"#));
        assert_eq!(merged, resources(r#"{"memory": {"limit": -1}, "cpu": {"idle": 1}}"#));
        let merged =
            merge(&before, &resources(r#"{"cpu": {"shares": 200, "idle": 0}, "pids": {"limit": 0}}"#));
        let want = resources(
            r#"{"memory": {"limit": 5, "swap": 9}, "cpu": {"shares": 200, "idle": 0}, "pids": {"limit": 0}}"#,
        );
        assert_eq!(merged, want);
    }
}
