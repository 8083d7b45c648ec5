//! `update`.

use std::fs;

use cais_test::isolation::isolated;

use crate::bed::Bed;

/// A value of a group, under its name in version 1 or in version 2.
fn value(bed: &Bed, controller: &str, v1: &str, v2: &str) -> String {
    let group = bed.group(controller, "c1");
    let file = if group.join(v1).exists() { group.join(v1) } else { group.join(v2) };
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())).trim().to_owned()
}

#[test]
fn limits_by_flags() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        bed.sleeper("c1");
        let memory = || value(&bed, "memory", "memory.limit_in_bytes", "memory.max");
        bed.ok("update --memory 64m c1");
        assert_eq!(memory(), (64 << 20).to_string());
        bed.ok("update --memory=128M --memory-reservation 32m --pids-limit 20 c1");
        assert_eq!(memory(), (128 << 20).to_string());
        assert_eq!(value(&bed, "memory", "memory.soft_limit_in_bytes", "memory.low"), (32 << 20).to_string());
        assert_eq!(value(&bed, "pids", "pids.max", "pids.max"), "20");
        bed.ok("update --pids-limit -1 c1");
        assert_eq!(value(&bed, "pids", "pids.max", "pids.max"), "max");
        bed.ok("update --cpu-period 100000 --cpu-quota 50000 c1");
        let quota = value(&bed, "cpu", "cpu.cfs_quota_us", "cpu.max");
        assert!(quota.starts_with("50000"), "{quota}");
        bed.ok("update --cpu-quota 30000 c1");
        let quota = value(&bed, "cpu", "cpu.cfs_quota_us", "cpu.max");
        assert!(quota.starts_with("30000"), "{quota}");
        bed.ok("update --cpuset-cpus 0 c1");
        assert_eq!(value(&bed, "cpuset", "cpuset.cpus", "cpuset.cpus"), "0");
        bed.ok("update --memory -1 c1");
        assert_ne!(memory(), (128 << 20).to_string());
        bed.ok("exec c1 true");
    });
}

#[test]
fn limits_from_a_document() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        bed.sleeper("c1");
        let limits = r#"{"memory": {"limit": 67108864}, "pids": {"limit": 30}}"#;
        // The flag beside it does not count.
        bed.cmd("update --resources - --pids-limit 5 c1").stdin(limits).ok();
        assert_eq!(value(&bed, "pids", "pids.max", "pids.max"), "30");
        assert_eq!(value(&bed, "memory", "memory.limit_in_bytes", "memory.max"), "67108864");
        let path = bed.folder().join("resources.json");
        fs::write(&path, r#"{"pids": {"limit": 31}}"#).unwrap();
        bed.cmd("update -r").arg(&path).arg("c1").ok();
        assert_eq!(value(&bed, "pids", "pids.max", "pids.max"), "31");
        assert_eq!(value(&bed, "memory", "memory.limit_in_bytes", "memory.max"), "67108864", "unchanged");
    });
}

#[test]
fn what_is_refused() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        bed.refuses("update --memory 64m c1", "container does not exist");
        bed.sleeper("c1");
        bed.refuses("update --memory lots c1", "memory");
        bed.refuses("update --cpu-period x c1", "cpu-period");
        bed.refuses("update --resources /no/such/file c1", "o such file or directory");
        bed.cmd("update -r - c1").stdin("{").output().code(1);
        bed.refuses("update --cpuset-cpus 4095 c1", "cpuset");
        bed.refuses("update --l3-cache-schema x c1", "Intel RDT");
        assert_eq!(bed.status("c1"), "running");
    });
}
