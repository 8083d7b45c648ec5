//! Tables of planned files.

use super::*;

fn resources(json: &str) -> Resources {
    serde_json::from_str(json).unwrap()
}

fn lines(writes: Result<Vec<Write>, GroupError>) -> Vec<String> {
    let text = |w: &Write| {
        let or = w.or.as_ref().map(|(file, value)| format!(" or {file}={value}")).unwrap_or_default();
        let optional = if w.optional { "?" } else { "" };
        let invalid = match w.invalid {
            Invalid::Fail => "",
            Invalid::Skip => " skip",
            Invalid::Retry => " retry",
        };
        format!("{}{optional}={}{or}{invalid}", w.file, w.value)
    };
    writes.unwrap().iter().map(text).collect()
}

fn v1(json: &str) -> Vec<String> {
    lines(plan_v1(&resources(json)))
}

fn v2(json: &str) -> Vec<String> {
    lines(plan_v2(&resources(json), Weights::Quadratic))
}

fn refused(json: &str) -> String {
    plan_v2(&resources(json), Weights::Quadratic).unwrap_err().to_string()
}

const FULL: &str = r#"{
    "memory": {"limit": 100, "reservation": 50, "swap": 150, "kernel": 7, "kernelTCP": 8, "swappiness": 0,
        "disableOOMKiller": true, "useHierarchy": true, "checkBeforeUpdate": true},
    "cpu": {"shares": 512, "quota": 30000, "period": 50000, "burst": 1000, "realtimeRuntime": 950, "realtimePeriod": 1000,
        "cpus": "0-1", "mems": "0", "idle": 0},
    "pids": {"limit": 32},
    "blockIO": {"weight": 500, "leafWeight": 10, "weightDevice": [{"major": 8, "minor": 0, "weight": 600, "leafWeight": 300}],
        "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 600}],
        "throttleWriteBpsDevice": [{"major": 8, "minor": 16, "rate": 1}],
        "throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 2}],
        "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 0}]},
    "hugepageLimits": [{"pageSize": "2MB", "limit": 209715200}],
    "network": {"classID": 1048577, "priorities": [{"name": "eth0", "priority": 500}]},
    "rdma": {"mlx4_0": {"hcaObjects": 1000}, "mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}}}"#;

#[test]
fn everything_of_v1() {
    assert_eq!(
        v1(FULL),
        [
            "cpuset.cpus=0-1",
            "cpuset.mems=0",
            "memory.use_hierarchy?=1 skip",
            "memory.limit_in_bytes=100 retry",
            "memory.memsw.limit_in_bytes=150",
            "memory.kmem.limit_in_bytes?=7 skip",
            "memory.kmem.tcp.limit_in_bytes?=8 skip",
            "memory.soft_limit_in_bytes=50",
            "memory.oom_control=1",
            "memory.swappiness=0",
            "cpu.shares=512",
            "cpu.cfs_period_us=50000 retry",
            "cpu.cfs_burst_us?=1000 retry",
            "cpu.cfs_quota_us=30000",
            "cpu.idle=0",
            "cpu.rt_period_us=1000 retry",
            "cpu.rt_runtime_us=950",
            "pids.max=32",
            "blkio.weight=500 or blkio.bfq.weight=500",
            "blkio.leaf_weight=10",
            "blkio.weight_device=8:0 600 or blkio.bfq.weight_device=8:0 600",
            "blkio.leaf_weight_device=8:0 300",
            "blkio.throttle.read_bps_device=8:0 600",
            "blkio.throttle.write_bps_device=8:16 1",
            "blkio.throttle.read_iops_device=8:0 2",
            "blkio.throttle.write_iops_device=8:0 0",
            "hugetlb.2MB.limit_in_bytes=209715200",
            "hugetlb.2MB.rsvd.limit_in_bytes?=209715200",
            "net_cls.classid=1048577",
            "net_prio.ifpriomap=eth0 500",
            "rdma.max=mlx4_0 hca_object=1000",
            "rdma.max=mlx5_1 hca_handle=3 hca_object=10000",
        ]
    );
}

#[test]
fn everything_of_v2() {
    let json = r#"{
        "memory": {"limit": 100, "reservation": 50, "swap": 150, "kernel": 7, "swappiness": 18446744073709551615},
        "cpu": {"shares": 512, "quota": 30000, "period": 50000, "burst": 1000, "cpus": "0-1", "mems": "0", "idle": 0,
            "realtimeRuntime": 0},
        "pids": {"limit": 32},
        "blockIO": {"weight": 500, "weightDevice": [{"major": 8, "minor": 0, "weight": 600}],
            "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 600}],
            "throttleWriteBpsDevice": [{"major": 8, "minor": 16, "rate": 1}],
            "throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 2}],
            "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 0}]},
        "hugepageLimits": [{"pageSize": "1GB", "limit": 0}],
        "network": {"classID": 0},
        "rdma": {"mlx4_0": {"hcaObjects": 0}},
        "unified": {"memory.max": "max", "io.max": "8:0 riops=1\n\n9:0 wiops=2\n", "cgroup.max.depth": "3"}}"#;
    assert_eq!(
        v2(json),
        [
            "pids.max=32",
            "memory.swap.max=50",
            "memory.max=100",
            "memory.low=50",
            "io.bfq.weight=500 or io.weight=default 4950",
            "io.bfq.weight?=8:0 600 or io.weight=8:0 5960 skip",
            "io.max=8:0 rbps=600",
            "io.max=8:16 wbps=1",
            "io.max=8:0 riops=2",
            "io.max=8:0 wiops=max",
            "cpu.idle=0",
            "cpu.weight=59",
            "cpu.max.burst=1000 retry",
            "cpu.max=30000 50000",
            "cpuset.cpus=0-1",
            "cpuset.mems=0",
            "hugetlb.1GB.max=0",
            "hugetlb.1GB.rsvd.max?=0",
            "rdma.max=mlx4_0 hca_object=0",
            "cgroup.max.depth=3",
            "io.max=8:0 riops=1",
            "io.max=9:0 wiops=2",
            "memory.max=max",
        ]
    );
}

#[test]
fn zeros_are_not_said() {
    let zeros = r#"{"memory": {"limit": 0, "swap": 0, "reservation": 0, "kernel": 0, "disableOOMKiller": false},
        "cpu": {"shares": 0, "quota": 0, "period": 0, "realtimeRuntime": 0, "realtimePeriod": 0, "cpus": ""},
        "blockIO": {"weight": 0, "leafWeight": 0, "weightDevice": [{"major": 8, "minor": 0, "weight": 0}]},
        "network": {"classID": 0}, "pids": {}}"#;
    for json in [zeros, "{}", r#"{"memory": {}, "cpu": {}, "pids": {}, "blockIO": {}, "network": {}}"#] {
        assert!(v1(json).is_empty(), "{json}");
        assert!(v2(json).is_empty(), "{json}");
    }
}

#[test]
fn numbers_of_processes() {
    for (limit, value) in [(-1, "max"), (-7, "max"), (0, "1"), (1, "1"), (32771, "32771")] {
        let json = format!(r#"{{"pids": {{"limit": {limit}}}}}"#);
        assert_eq!(v1(&json), [format!("pids.max={value}")]);
        assert_eq!(v2(&json), [format!("pids.max={value}")]);
    }
}

#[test]
fn memory_and_swap() {
    let memory = |fields: &str| format!(r#"{{"memory": {{{fields}}}}}"#);
    for (fields, want) in [
        (r#""limit": -1"#, &["memory.swap.max?=max", "memory.max=max"][..]),
        (r#""limit": -1, "swap": -1"#, &["memory.swap.max?=max", "memory.max=max"]),
        (r#""limit": -1, "swap": 9"#, &["memory.swap.max=9", "memory.max=max"]),
        (r#""limit": 5, "swap": -1"#, &["memory.swap.max?=max", "memory.max=5"]),
        (r#""swap": -1"#, &["memory.swap.max?=max"]),
        (r#""limit": 5, "swap": 5"#, &["memory.swap.max?=0", "memory.max=5"]),
        (r#""limit": 5"#, &["memory.max=5"]),
        (r#""reservation": -1"#, &["memory.low=max"]),
    ] {
        assert_eq!(v2(&memory(fields)), want, "{fields}");
    }
    assert_eq!(refused(&memory(r#""swap": 9"#)), "unable to set swap limit without memory limit");
    assert_eq!(refused(&memory(r#""limit": 9, "swap": 8"#)), "memory+swap limit should be >= memory limit");
    assert_eq!(refused(&memory(r#""limit": -2, "swap": 8"#)), "invalid memory value: -2");
    assert_eq!(
        v1(&memory(r#""limit": -1"#)),
        ["memory.limit_in_bytes=-1 retry", "memory.memsw.limit_in_bytes?=-1"]
    );
    let error = plan_v1(&resources(&memory(r#""swappiness": 101"#))).unwrap_err().to_string();
    assert_eq!(error, "invalid memory swappiness value: 101 (valid range is 0-100)");
}

#[test]
fn time_of_processors() {
    let cpu = |fields: &str| format!(r#"{{"cpu": {{{fields}}}}}"#);
    for (fields, want) in [
        (r#""quota": 30000"#, "cpu.max=30000 100000"),
        (r#""period": 50000"#, "cpu.max=max 50000"),
        (r#""quota": -1, "period": 50000"#, "cpu.max=max 50000"),
        (r#""idle": 1"#, "cpu.idle=1"),
        (r#""burst": 0"#, "cpu.max.burst=0 retry"),
    ] {
        assert_eq!(v2(&cpu(fields)), [want], "{fields}");
    }
    for (shares, quadratic, linear) in [
        (1, 1, 1),
        (2, 1, 1),
        (1024, 100, 39),
        (3333, 256, 128),
        (262_144, 10_000, 10_000),
        (u64::MAX, 10_000, 10_000),
    ] {
        assert_eq!(Weights::Quadratic.weight(shares), quadratic, "{shares}");
        assert_eq!(Weights::Linear.weight(shares), linear, "{shares}");
    }
}

#[test]
fn what_v2_does_not_have_is_refused() {
    for json in [
        r#"{"memory": {"swappiness": 60}}"#,
        r#"{"memory": {"disableOOMKiller": true}}"#,
        r#"{"cpu": {"realtimeRuntime": 1}}"#,
        r#"{"cpu": {"realtimePeriod": 1}}"#,
        r#"{"blockIO": {"leafWeight": 10}}"#,
        r#"{"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "leafWeight": 10}]}}"#,
        r#"{"network": {"classID": 1}}"#,
        r#"{"network": {"priorities": [{"name": "lo", "priority": 1}]}}"#,
    ] {
        let text = refused(json);
        assert!(text.starts_with("invalid configuration: cannot set"), "{json}: {text}");
    }
}

#[test]
fn values_that_mean_nothing_are_refused() {
    for size in ["", "MB", "2", "2MiB", "2 MB", "../2MB", "2mB", "2TB"] {
        let json = format!(r#"{{"hugepageLimits": [{{"pageSize": "{size}", "limit": 1}}]}}"#);
        assert!(plan_v1(&resources(&json)).is_err(), "{size}");
        assert!(refused(&json).starts_with("invalid size of huge pages"), "{size}");
    }
    assert!(refused(r#"{"rdma": {"mlx": {}}}"#).starts_with("invalid limit of an RDMA device: \"mlx\""));
}

#[test]
fn unified_is_for_v2_and_for_files_only() {
    let error = plan_v1(&resources(r#"{"unified": {"memory.min": "1"}}"#)).unwrap_err().to_string();
    assert_eq!(error, "invalid configuration: cannot use unified on cgroup v1");
    assert_eq!(
        refused(r#"{"unified": {"../memory.max": "1"}}"#),
        "unified resource \"../memory.max\" must be a file name (no slashes)"
    );
    for key in ["memory", "", ".", "..", ".max", "memory."] {
        let text = refused(&format!(r#"{{"unified": {{"{key}": "1"}}}}"#));
        assert!(text.ends_with("must be in the form CONTROLLER.PARAMETER"), "{key}: {text}");
    }
}
