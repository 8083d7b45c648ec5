//! Documents in and out: nothing is lost, nulls are absent, mistakes are named with their place.

use serde_json::{Value, json};

use super::*;

fn full() -> Value {
    json!({
        "ociVersion": "1.3.0",
        "process": {
            "terminal": true,
            "consoleSize": {"height": 25, "width": 80},
            "user": {"uid": 1, "gid": 2, "umask": 63, "additionalGids": [5, 6], "username": "a"},
            "args": ["sh", "-c", "true"],
            "env": ["A=b"],
            "cwd": "/",
            "capabilities": {
                "bounding": ["CAP_KILL"], "effective": [], "inheritable": ["CAP_CHOWN"],
                "permitted": ["CAP_KILL"], "ambient": ["CAP_KILL"]
            },
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 18_446_744_073_709_551_615_u64, "soft": 1024}],
            "noNewPrivileges": true,
            "apparmorProfile": "p",
            "oomScoreAdj": -5,
            "scheduler": {
                "policy": "SCHED_DEADLINE", "flags": ["SCHED_FLAG_RESET_ON_FORK"],
                "runtime": 1, "deadline": 2, "period": 3
            },
            "selinuxLabel": "l",
            "ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 4},
            "execCPUAffinity": {"initial": "0-3,7", "final": "1"}
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "h",
        "domainname": "d",
        "mounts": [{
            "destination": "/m", "type": "bind", "source": "/s", "options": ["rbind", "idmap"],
            "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}],
            "gidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}]
        }],
        "hooks": {
            "prestart": [{"path": "/a", "args": ["a"], "env": ["X=1"], "timeout": 5}],
            "createRuntime": [{"path": "/b"}],
            "createContainer": [{"path": "/c"}],
            "startContainer": [{"path": "/d"}],
            "poststart": [{"path": "/e"}],
            "poststop": [{"path": "/f"}]
        },
        "annotations": {"org.example.k": "v"},
        "linux": full_linux()
    })
}

fn full_linux() -> Value {
    json!({
        "uidMappings": [{"containerID": 0, "hostID": 100_000, "size": 65536}],
        "gidMappings": [{"containerID": 0, "hostID": 100_000, "size": 65536}],
        "sysctl": {"net.core.somaxconn": "256"},
        "resources": {
            "devices": [{"allow": false, "access": "rwm"},
                {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"}],
            "memory": {
                "limit": 536_870_912, "reservation": 1, "swap": -1, "kernel": -1, "kernelTCP": -1,
                "swappiness": 0, "disableOOMKiller": false, "useHierarchy": true, "checkBeforeUpdate": true
            },
            "cpu": {
                "shares": 1024, "quota": 1_000_000, "burst": 3, "period": 500_000, "realtimeRuntime": 950_000,
                "realtimePeriod": 1_000_000, "cpus": "2-3", "mems": "0-7", "idle": 1
            },
            "pids": {"limit": 0},
            "blockIO": {
                "weight": 10, "leafWeight": 10,
                "weightDevice": [{"major": 8, "minor": 0, "weight": 500, "leafWeight": 300}],
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 600}],
                "throttleWriteBpsDevice": [{"major": 8, "minor": 0, "rate": 601}],
                "throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 602}],
                "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 603}]
            },
            "hugepageLimits": [{"pageSize": "2MB", "limit": 9_223_372_036_854_772_000_u64}],
            "network": {"classID": 1_048_577, "priorities": [{"name": "eth0", "priority": 500}]},
            "rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10_000}},
            "unified": {"memory.high": "1"}
        },
        "cgroupsPath": "/a/b",
        "namespaces": [{"type": "pid"}, {"type": "network", "path": "/var/run/netns/n"}, {"type": "mount"},
            {"type": "ipc"}, {"type": "uts"}, {"type": "user"}, {"type": "cgroup"}, {"type": "time"}],
        "devices": [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 438, "uid": 0,
            "gid": 0}],
        "netDevices": {"eth0": {"name": "inside"}, "eth1": {}},
        "seccomp": {
            "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "architectures": ["SCMP_ARCH_X86_64"],
            "flags": ["SECCOMP_FILTER_FLAG_LOG"], "listenerPath": "/s", "listenerMetadata": "m",
            "syscalls": [{"names": ["read"], "action": "SCMP_ACT_NOTIFY"},
                {"names": ["clone"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
                 "args": [{"index": 0, "value": u64::MAX, "valueTwo": 7, "op": "SCMP_CMP_MASKED_EQ"}]}]
        },
        "rootfsPropagation": "rslave",
        "maskedPaths": ["/proc/kcore"],
        "readonlyPaths": ["/proc/sys"],
        "mountLabel": "ml",
        "intelRdt": {"closID": "g", "schemata": ["L2:0=f"], "l3CacheSchema": "L3:0=f", "memBwSchema": "MB:0=20",
            "enableMonitoring": true},
        "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0-1", "flags": ["MPOL_F_STATIC_NODES"]},
        "personality": {"domain": "LINUX32"},
        "timeOffsets": {"monotonic": {"secs": -5}, "boottime": {"secs": 7, "nanosecs": 9}}
    })
}

/// The document with one value replaced, by JSON pointer.
fn with(mut document: Value, pointer: &str, value: Value) -> Value {
    *document.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value;
    document
}

fn parse(document: &Value) -> Result<Spec, SpecError> {
    Spec::parse(serde_json::to_string_pretty(document).unwrap().as_bytes())
}

/// Every pointer in a document.
fn pointers(value: &Value, at: &str, all: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| {
            all.push(format!("{at}/{key}"));
            pointers(value, &format!("{at}/{key}"), all);
        }),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, item)| pointers(item, &format!("{at}/{i}"), all));
        }
        _ => {}
    }
}

#[test]
fn every_field_survives_a_round_trip() {
    let document = full();
    let spec = parse(&document).unwrap();
    assert_eq!(serde_json::to_value(&spec).unwrap(), document);
    spec.validate().unwrap();
    let process = serde_json::to_vec(&document["process"]).unwrap();
    assert_eq!(Some(Process::parse(&process).unwrap()), spec.process);
    let resources = serde_json::to_vec(&document["linux"]["resources"]).unwrap();
    assert_eq!(Some(Resources::parse(&resources).unwrap()), spec.linux.unwrap().resources);
}

#[test]
fn null_is_absent_wherever_a_field_is_optional() {
    const REQUIRED: [&str; 15] = [
        "type",
        "hard",
        "soft",
        "policy",
        "class",
        "containerID",
        "hostID",
        "size",
        "path",
        "mode",
        "domain",
        "index",
        "value",
        "op",
        "action",
    ];
    let mut all = Vec::new();
    pointers(&full(), "", &mut all);
    assert!(all.len() > 150, "{}", all.len());
    let mut nulls = 0;
    for pointer in all {
        let parsed = parse(&with(full(), &pointer, Value::Null));
        let field = pointer.rsplit('/').next().unwrap_or_default();
        let listed = field.len() < 3 || REQUIRED.contains(&field);
        let value_of_map = ["sysctl", "annotations", "netDevices", "rdma", "unified", "timeOffsets"]
            .iter()
            .any(|map| pointer.rsplit('/').nth(1) == Some(map));
        if parsed.is_ok() {
            nulls += 1;
        } else {
            assert!(listed || value_of_map, "{pointer}: {parsed:?}");
        }
    }
    assert!(nulls > 130, "{nulls}");
}

#[test]
fn empty_strings_of_go_are_absent() {
    for pointer in [
        "/hostname",
        "/process/apparmorProfile",
        "/process/execCPUAffinity/final",
        "/linux/cgroupsPath",
        "/linux/rootfsPropagation",
        "/linux/namespaces/1/path",
        "/linux/resources/devices/1/type",
        "/linux/seccomp/defaultAction",
        "/linux/mountLabel",
    ] {
        let written = serde_json::to_value(parse(&with(full(), pointer, json!(""))).unwrap()).unwrap();
        assert_eq!(written.pointer(pointer), None, "{pointer}");
    }
}

#[test]
fn fields_nobody_knows_are_ignored() {
    let mut document = full();
    document["windows"] = json!({"layerFolders": ["x"]});
    document["process"]["commandLine"] = json!("x");
    document["linux"]["future"] = json!([{"a": 1}]);
    assert_eq!(parse(&document).unwrap(), parse(&full()).unwrap());
    assert_eq!(Spec::parse(b"{}").unwrap(), Spec::default());
}

#[test]
fn unknown_words_and_wrong_types_are_named_with_their_place() {
    let cases = [
        (
            "/linux/namespaces/3/type",
            json!("fly"),
            "linux.namespaces[3].type: invalid namespace type \"fly\"",
        ),
        (
            "/linux/seccomp/defaultAction",
            json!("ALLOW"),
            "seccomp.defaultAction: invalid seccomp action \"ALLOW\"",
        ),
        (
            "/linux/seccomp/syscalls/1/args/0/op",
            json!("EQ"),
            "syscalls[1].args[0].op: invalid seccomp operator \"EQ\"",
        ),
        (
            "/linux/seccomp/architectures/0",
            json!("x86"),
            "architectures[0]: invalid seccomp architecture \"x86\"",
        ),
        ("/linux/seccomp/flags/0", json!("F"), "linux.seccomp.flags[0]: invalid seccomp flag \"F\""),
        ("/process/scheduler/policy", json!("P"), "process.scheduler.policy: invalid scheduler policy \"P\""),
        (
            "/process/scheduler/flags/0",
            json!("P"),
            "process.scheduler.flags[0]: invalid scheduler flag \"P\"",
        ),
        (
            "/process/ioPriority/class",
            json!("P"),
            "process.ioPriority.class: invalid I/O priority class \"P\"",
        ),
        (
            "/process/rlimits/0/type",
            json!("NOFILE"),
            "process.rlimits[0].type: invalid rlimit type \"NOFILE\"",
        ),
        ("/linux/memoryPolicy", json!({"nodes": "0"}), "linux.memoryPolicy: invalid memory policy mode"),
        ("/linux/memoryPolicy/mode", json!("P"), "linux.memoryPolicy.mode: invalid memory policy mode \"P\""),
        (
            "/linux/personality/domain",
            json!("P"),
            "linux.personality.domain: invalid personality domain \"P\"",
        ),
        ("/linux/rootfsPropagation", json!("P"), "linux.rootfsPropagation: invalid rootfs propagation \"P\""),
        ("/linux/devices/0/type", json!("a"), "linux.devices[0].type: invalid device type \"a\""),
        ("/process/args/1", json!(5), "process.args[1]: invalid type: integer `5`, expected a string"),
        ("/process/user/uid", json!(-1), "process.user.uid: invalid value: integer `-1`"),
        ("/linux/resources/memory/limit", json!("1g"), "linux.resources.memory.limit: invalid type"),
        ("/mounts", json!({}), "mounts: invalid type: map, expected a sequence"),
    ];
    for (pointer, value, want) in cases {
        let text = parse(&with(full(), pointer, value)).unwrap_err().to_string();
        assert!(text.starts_with("parse config.json: ") && text.contains(want), "{pointer}: {text}");
        assert!(text.contains(" at line "), "{text}");
    }
    let mut document = full();
    document["linux"]["timeOffsets"]["realtime"] = json!({});
    let text = parse(&document).unwrap_err().to_string();
    assert!(text.contains("linux.timeOffsets.realtime: invalid clock \"realtime\""), "{text}");
}

#[test]
fn missing_fields_are_named_with_their_object() {
    let cases = [
        (
            r#"{"linux": {"namespaces": [{"type": "pid"}, {"path": "/x"}]}}"#,
            "linux.namespaces[1]: missing field `type`",
        ),
        (
            r#"{"process": {"rlimits": [{"type": "RLIMIT_AS", "hard": 5}]}}"#,
            "process.rlimits[0]: missing field `soft`",
        ),
        ("{\n \"linux\": {\n  \"personality\": {\n  }\n }\n}", "linux.personality: missing field `domain`"),
    ];
    for (json, want) in cases {
        let text = Spec::parse(json.as_bytes()).unwrap_err().to_string();
        assert!(text.contains(want), "{text}");
    }
}

#[test]
fn what_is_no_json_is_refused() {
    for json in ["", "{", "\"x\"", "null", "{} x", "{\"process\": {\"args\": [\"a\" ]", "\u{feff}{}"] {
        let text = Spec::parse(json.as_bytes()).unwrap_err().to_string();
        assert!(text.starts_with("parse config.json: "), "{text}");
    }
    assert!(Spec::parse(b"{\"hostname\": \"\xff\"}").is_err());
    let deep = "[".repeat(100_000);
    assert!(Spec::parse(format!("{{\"x\": {deep}").as_bytes()).is_err());
}

#[test]
fn zero_bytes_are_refused_but_not_their_look_alikes() {
    let error = Spec::parse(br#"{"process": {"args": ["a", "b\u0000c"]}}"#).unwrap_err();
    assert_eq!(error.to_string(), "parse config.json: process.args[1]: a zero byte in the text");
    let spec = Spec::parse(br#"{"hostname": "\\u0000\u0041\\"}"#).unwrap();
    assert_eq!(spec.hostname.as_deref(), Some("\\u0000A\\"));
}

#[test]
fn states_are_those_of_the_specification() {
    let json = json!({
        "ociVersion": "1.0.2", "fds": ["seccompFd"], "pid": 4422, "metadata": "m",
        "state": {"ociVersion": "1.0.2", "id": "i", "status": "creating", "pid": 4422, "bundle": "/b",
            "annotations": {"k": "v"}}
    });
    let state: ContainerProcessState = serde_json::from_value(json.clone()).unwrap();
    assert_eq!(state.fds, [ContainerProcessState::SECCOMP_FD]);
    assert_eq!(serde_json::to_value(&state).unwrap(), json);
    let stopped =
        State { status: Status::Stopped, pid: None, annotations: Default::default(), ..state.state };
    let json = r#"{"ociVersion":"1.0.2","id":"i","status":"stopped","bundle":"/b"}"#;
    assert_eq!(serde_json::to_string(&stopped).unwrap(), json);
    assert_eq!(serde_json::from_str::<State>(json).unwrap(), stopped);
    assert!(serde_json::from_str::<State>(&json.replace("stopped", "gone")).is_err());
}

#[test]
fn words_are_their_own_inverse() {
    for arch in SeccompArch::ALL {
        assert_eq!(SeccompArch::from_word(arch.word()), Some(*arch));
    }
    assert_eq!(SeccompArch::ALL.len(), 23);
    assert_eq!(RlimitType::ALL.len(), 16);
    assert_eq!(NamespaceType::from_word("mnt"), None);
}
