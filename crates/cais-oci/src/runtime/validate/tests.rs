//! One broken rule at a time: a valid document with one change, and what is said about it.

use serde_json::{Value, json};

use super::sysctl_path;
use crate::runtime::{Spec, SpecError};

/// A valid document that most changes start from.
fn base() -> Value {
    json!({
        "ociVersion": "1.2.0",
        "process": {"args": ["sh"], "cwd": "/"},
        "root": {"path": "rootfs"},
        "linux": {"namespaces": [{"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"},
            {"type": "network"}]}
    })
}

/// Lays `change` over `document`, object by object.
fn lay(document: &mut Value, change: &Value) {
    match (document, change) {
        (Value::Object(fields), Value::Object(changes)) => {
            for (key, value) in changes {
                lay(fields.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (document, change) => *document = change.clone(),
    }
}

fn validate(change: &Value) -> Result<(), SpecError> {
    let mut document = base();
    lay(&mut document, change);
    Spec::parse(document.to_string().as_bytes()).expect("well-formed").validate()
}

fn assert_refused(cases: &[(Value, &str)]) {
    for (change, want) in cases {
        match validate(change) {
            Ok(()) => panic!("accepted: {change}"),
            Err(error) => assert!(error.to_string().contains(want), "{change}: {error}"),
        }
    }
}

fn assert_accepted(cases: &[Value]) {
    for change in cases {
        validate(change).unwrap_or_else(|error| panic!("{change}: {error}"));
    }
}

/// `linux` with these namespaces, as names or objects, and these other fields.
fn linux(namespaces: &[Value], rest: Value) -> Value {
    let object = |value: &Value| match value {
        Value::String(kind) => json!({"type": kind}),
        other => other.clone(),
    };
    let mut linux = json!({"namespaces": namespaces.iter().map(object).collect::<Vec<_>>()});
    lay(&mut linux, &rest);
    json!({"linux": linux})
}

#[test]
fn the_top() {
    assert_accepted(&[
        json!({}),
        json!({"ociVersion": "1.0.2-dev"}),
        json!({"ociVersion": "1.3.0+dev"}),
        json!({"ociVersion": "1.0.0-rc.1+a-b.5"}),
        json!({"process": null}),
        json!({"hostname": "h", "domainname": "d"}),
        json!({"linux": null}),
        json!({"mounts": [{"destination": "relative"}]}),
    ]);
    for version in
        ["", "1", "1.0", "2.0.0", "01.0.0", "1.00.0", "1.0.x", "v1.0.0", "1.0.0-", "1.0.0+", "1.0.0-a..b"]
    {
        assert_refused(&[(json!({"ociVersion": version}), "is not a version 1.x.y")]);
    }
    assert_refused(&[
        (json!({"root": null}), "root.path must not be empty"),
        (json!({"root": {"path": ""}}), "root.path must not be empty"),
        (json!({"annotations": {"": "x"}}), "annotations"),
        (json!({"mounts": [{"destination": "/a"}, {"source": "x"}]}), "mounts[1].destination"),
        (
            json!({"mounts": [{"destination": "/a", "uidMappings": [{"containerID": 0, "hostID": 0, "size": 1}]}]}),
            "mounts[0] (/a): uidMappings and gidMappings",
        ),
        (
            json!({"hooks": {"poststop": [{"path": "/a"}, {"path": "a"}]}}),
            "hooks.poststop[1].path must be absolute",
        ),
        (json!({"hooks": {"prestart": [{}]}}), "hooks.prestart[0].path"),
        (json!({"hooks": {"poststart": [{"path": "/a", "timeout": 0}]}}), "hooks.poststart[0].timeout"),
        (json!({"hostname": "h", "linux": {"namespaces": []}}), "unable to set hostname without"),
        (json!({"domainname": "h", "linux": {"namespaces": []}}), "unable to set domainname without"),
        (json!({"hostname": "h", "linux": null}), "unable to set hostname without"),
    ]);
}

#[test]
fn the_process() {
    let process = |change: Value| json!({"process": change});
    assert_accepted(&[
        process(
            json!({"rlimits": [{"type": "RLIMIT_AS", "hard": 1, "soft": 1}, {"type": "RLIMIT_CPU", "hard": 1, "soft": 1}]}),
        ),
        process(json!({"oomScoreAdj": -1000})),
        process(json!({"scheduler": {"policy": "SCHED_FIFO", "priority": 5}})),
        process(json!({"scheduler": {"policy": "SCHED_IDLE", "nice": 40}})),
        process(json!({"execCPUAffinity": {"initial": "0-3, 7"}})),
        process(json!({"ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 7}})),
    ]);
    assert_refused(&[
        (process(json!({"args": []})), "process.args must not be empty"),
        (process(json!({"cwd": ""})), "process.cwd must be an absolute path"),
        (process(json!({"cwd": "tmp"})), "process.cwd must be an absolute path"),
        (
            process(
                json!({"rlimits": [{"type": "RLIMIT_AS", "hard": 1, "soft": 1}, {"type": "RLIMIT_AS", "hard": 2, "soft": 1}]}),
            ),
            "process.rlimits has RLIMIT_AS twice",
        ),
        (process(json!({"oomScoreAdj": 1001})), "process.oomScoreAdj"),
        (process(json!({"scheduler": {"policy": "SCHED_OTHER", "nice": 20}})), "process.scheduler.nice"),
        (
            process(json!({"scheduler": {"policy": "SCHED_BATCH", "priority": 1}})),
            "process.scheduler.priority",
        ),
        (process(json!({"scheduler": {"policy": "SCHED_RR", "period": 1}})), "SCHED_DEADLINE only"),
        (process(json!({"ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 8}})), "process.ioPriority"),
        (process(json!({"execCPUAffinity": {"initial": "3-1"}})), "execCPUAffinity.initial"),
        (process(json!({"execCPUAffinity": {"final": "a"}})), "execCPUAffinity.final"),
        (process(json!({"execCPUAffinity": {"final": "1,"}})), "execCPUAffinity.final"),
    ]);
}

#[test]
fn namespaces_and_what_needs_them() {
    let map = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    let joined = |kind: &str| json!({"type": kind, "path": "/proc/1/ns/x"});
    let offsets = json!({"timeOffsets": {"monotonic": {"secs": 1}}});
    assert_accepted(&[
        linux(&[json!("user")], json!({"uidMappings": map, "gidMappings": map})),
        linux(&[joined("user")], json!({})),
        linux(&[joined("user")], json!({"uidMappings": map})),
        linux(&[json!("time")], offsets.clone()),
        linux(&[joined("time")], json!({})),
    ]);
    assert_refused(&[
        (linux(&[json!("pid"), joined("pid")], json!({})), "linux.namespaces has pid twice"),
        (
            linux(&[json!("pid"), json!({"type": "network", "path": "ns"})], json!({})),
            "linux.namespaces[1].path must be an absolute path",
        ),
        (linux(&[], json!({"gidMappings": map})), "there is no user namespace"),
        (linux(&[json!("user")], json!({})), "needs uidMappings and gidMappings"),
        (linux(&[], offsets.clone()), "there is no time namespace"),
        (linux(&[joined("time")], offsets), "a time namespace that is joined"),
        (
            linux(&[json!("time")], json!({"timeOffsets": {"boottime": {"nanosecs": 1_000_000_000}}})),
            "linux.timeOffsets.boottime.nanosecs",
        ),
        (linux(&[], json!({"maskedPaths": ["/x"]})), "without a private mount namespace"),
        (linux(&[json!("mount")], json!({"maskedPaths": ["/x", "y"]})), "linux.maskedPaths[1]"),
        (linux(&[json!("mount")], json!({"readonlyPaths": [""]})), "linux.readonlyPaths[0]"),
        (linux(&[], json!({"netDevices": {"eth0": {}}})), "without a network namespace"),
    ]);
    let net = |devices: Value| linux(&[json!("network")], json!({"netDevices": devices}));
    assert_accepted(&[
        net(json!({"eth0": {}, "eth1": {"name": "eth2"}})),
        net(json!({"a": {"name": "e%d"}, "b": {"name": "e%d"}})),
    ]);
    assert_refused(&[
        (net(json!({"eth0": {"name": "a/b"}})), "invalid network device name \"a/b\""),
        (net(json!({"0123456789abcdef": {}})), "invalid network device name"),
        (net(json!({"..": {}})), "invalid network device name"),
        (net(json!({"a": {"name": "b c"}})), "invalid network device name"),
        (net(json!({"a": {"name": "x"}, "x": {}})), "two devices would be named \"x\""),
    ]);
}

#[test]
fn sysctls_stay_in_the_containers_namespaces() {
    let sysctl = |name: &str| json!({"linux": {"sysctl": {name: "1"}}});
    let without = |name: &str| linux(&[], json!({"sysctl": {name: "1"}}));
    for name in [
        "net.ipv4.ip_forward",
        "net/ipv4/ip_forward",
        "kernel.shmmax",
        "fs.mqueue.msg_max",
        "kernel.domainname",
    ] {
        assert_accepted(&[sysctl(name)]);
        assert_refused(&[(without(name), "is not in a separate kernel namespace")]);
    }
    for name in
        ["kernel.core_pattern", "vm.overcommit_memory", "user.max_user_namespaces", "netx.y", "fs.mqueuex"]
    {
        assert_refused(&[(sysctl(name), "is not in a separate kernel namespace")]);
    }
    assert_refused(&[
        (sysctl("kernel.hostname"), "conflicts with the OCI \"hostname\" field"),
        (without("kernel.hostname"), "is not in a separate kernel namespace"),
        (sysctl("net/../kernel/core_pattern"), "is not a name of a kernel parameter"),
        (sysctl("net//ipv4"), "is not a name of a kernel parameter"),
        (sysctl("/net/ipv4"), "is not a name of a kernel parameter"),
        (sysctl("net."), "is not a name of a kernel parameter"),
        (sysctl(""), "is not a name of a kernel parameter"),
        (sysctl("net.//.kernel"), "is not a name of a kernel parameter"),
    ]);
    assert_eq!(
        sysctl_path("net.ipv4.conf.eno2/100.rp_filter").as_deref(),
        Some("net/ipv4/conf/eno2.100/rp_filter")
    );
    assert_eq!(
        sysctl_path("net/ipv4/conf/eno2.100/rp_filter").as_deref(),
        Some("net/ipv4/conf/eno2.100/rp_filter")
    );
}

#[test]
fn devices_and_resources() {
    let change = |fields: Value| json!({"linux": fields});
    let resources = |fields: Value| json!({"linux": {"resources": fields}});
    assert_accepted(&[
        change(json!({"devices": [{"path": "/dev/p", "type": "p"}]})),
        change(json!({"devices": [{"path": "/dev/x", "type": "c", "major": 4095, "minor": 1_048_575}]})),
        resources(
            json!({"devices": [{"allow": false, "access": "rwm"}, {"allow": true, "major": -1, "minor": 5}]}),
        ),
        resources(json!({"devices": [{"allow": false, "type": "c", "access": "rwa"}]})),
        json!({"linux": {"namespaces": [{"type": "mount"}], "readonlyPaths": ["x"]}}),
        resources(json!({"rdma": {"x": {"hcaHandles": 1}}, "unified": {"io.max": "x"}})),
        resources(json!({"blockIO": {"weightDevice": [{"major": 8, "leafWeight": 10}]}})),
    ]);
    assert_refused(&[
        (change(json!({"devices": [{"path": "dev/p", "type": "p"}]})), "linux.devices[0].path"),
        (change(json!({"devices": [{"path": "/x", "type": "c", "major": 4096}]})), "device number 4096:0"),
        (change(json!({"devices": [{"path": "/x", "type": "b", "minor": -1}]})), "device number 0:-1"),
        (
            resources(json!({"devices": [{"allow": true, "major": -2}]})),
            "linux.resources.devices[0]: device number",
        ),
        (resources(json!({"devices": [{"allow": true, "access": "rx"}]})), "devices[0].access: \"rx\""),
        (
            resources(json!({"hugepageLimits": [{"pageSize": "2MB"}, {"pageSize": "64kB"}]})),
            "hugepageLimits[1].pageSize",
        ),
        (resources(json!({"hugepageLimits": [{"pageSize": "02MB"}]})), "hugepageLimits[0].pageSize"),
        (resources(json!({"hugepageLimits": [{"limit": 5}]})), "hugepageLimits[0].pageSize"),
        (resources(json!({"rdma": {"x": {}}})), "linux.resources.rdma.x"),
        (resources(json!({"blockIO": {"weightDevice": [{"major": 8}]}})), "weightDevice[0]"),
        (resources(json!({"unified": {"../x": "y"}})), "unified resource \"../x\""),
        (resources(json!({"unified": {"..": "y"}})), "unified resource"),
    ]);
}

#[test]
fn the_smaller_features() {
    let change = |fields: Value| json!({"linux": fields});
    let policy = |mode: &str, nodes: Value| change(json!({"memoryPolicy": {"mode": mode, "nodes": nodes}}));
    let rdt = |fields: Value| change(json!({"intelRdt": fields}));
    assert_accepted(&[
        policy("MPOL_LOCAL", json!(null)),
        policy("MPOL_PREFERRED", json!(null)),
        policy("MPOL_BIND", json!("0")),
        rdt(json!({"closID": "/"})),
        rdt(json!({"closID": "a", "memBwSchema": "MB:0=1", "l3CacheSchema": "L3:0=1"})),
        change(json!({"seccomp": {"listenerPath": "/x", "listenerMetadata": "m"}})),
    ]);
    assert_refused(&[
        (policy("MPOL_LOCAL", json!("0")), "MPOL_LOCAL mode requires 0 nodes but got 1"),
        (policy("MPOL_INTERLEAVE", json!("")), "must not be empty for MPOL_INTERLEAVE"),
        (policy("MPOL_DEFAULT", json!("0-3,7")), "MPOL_DEFAULT mode requires 0 nodes but got 5"),
        (policy("MPOL_BIND", json!("x")), "invalid memory policy node: \"x\""),
        (policy("MPOL_BIND", json!("0-9876543210")), "invalid memory policy node"),
        (rdt(json!({"closID": "a/b"})), "closID \"a/b\""),
        (rdt(json!({"closID": ".."})), "closID \"..\""),
        (rdt(json!({"memBwSchema": "0=1"})), "linux.intelRdt.memBwSchema"),
        (rdt(json!({"memBwSchema": "MB:0=1\nL3:0=1"})), "linux.intelRdt.memBwSchema"),
        (rdt(json!({"l3CacheSchema": "L3:0=1\nMB:0=1"})), "linux.intelRdt.l3CacheSchema"),
        (rdt(json!({"schemata": ["a", "b\nc"]})), "linux.intelRdt.schemata"),
        (
            change(json!({"personality": {"domain": "LINUX", "flags": ["X"]}})),
            "linux.personality.flags: \"X\"",
        ),
        (change(json!({"seccomp": {"listenerMetadata": "m"}})), "listenerMetadata must not be given"),
    ]);
}
