//! No field of a request is forgotten by a form: said, noted, or listed here as without meaning.

use serde_json::{Value, json};

use super::tests::record;
use super::*;

const FORMS: [DefinitionForm; 4] =
    [DefinitionForm::Run, DefinitionForm::Compose, DefinitionForm::Quadlet, DefinitionForm::Kube];

/// What means nothing where a form is put to use: who calls, and with which name the engine answers.
const WITHOUT_MEANING: [(DefinitionForm, &str); 8] = [
    (DefinitionForm::Compose, "detach"),
    (DefinitionForm::Quadlet, "detach"),
    (DefinitionForm::Kube, "detach"),
    (DefinitionForm::Compose, "cidfile"),
    (DefinitionForm::Quadlet, "cidfile"),
    (DefinitionForm::Kube, "cidfile"),
    // They name the record's own.
    (DefinitionForm::Quadlet, "name"),
    (DefinitionForm::Kube, "name"),
];

/// Each field of a request with a value that is not the usual one.
fn samples() -> Value {
    let text = r#"{
        "name": "n", "image": "other", "rootfs": "/root", "command": ["c"], "entrypoint": ["e"], "env": ["A=1"],
        "workdir": "/w", "user": "1:2", "group_add": ["3"], "hostname": "h", "domainname": "d", "labels": {"a": "b"},
        "tty": true, "interactive": true, "mounts": [{"kind": "tmpfs", "target": "/t"}], "read_only": true,
        "shm_size_bytes": 65536, "cap_add": ["KILL"], "cap_drop": ["KILL"], "privileged": true, "devices": ["/dev/null"],
        "device_cgroup_rules": ["c 1:3 r"], "security": {"no_new_privileges": true},
        "ulimits": [{"name": "core", "soft": 1, "hard": 1}], "sysctls": {"a": "1"}, "resources": {"memory_bytes": 1},
        "network": "host", "publish": [{"host_ip": null, "host_port": 1, "container_port": 2, "protocol": "tcp"}],
        "publish_all": true, "expose": ["80/tcp"], "dns": ["1.1.1.1"], "dns_search": ["x"], "dns_options": ["ndots:1"],
        "add_hosts": [["a", "1.1.1.1"]], "stop_signal": "INT", "stop_timeout_secs": 3, "init": true, "log": "k8s-file",
        "log_options": {"max_files": 2, "given": {"max-file": "2"}}, "auto_remove": true, "restart": "always",
        "health": {"check": {"Test": ["CMD", "true"]}}, "platform": "linux/arm64", "pull": "always", "cidfile": "/c",
        "detach": true, "namespaces": {"pid": "host"}, "annotations": {"a": "b"}, "ignore_image_env": true,
        "env_merge": ["A=$B"], "image_volumes": "tmpfs", "volumes_from": ["x"], "no_hosts": true, "no_hostname": true,
        "umask": 63, "personality": 8, "pidfile": "/p", "mac_address": "02:00:00:00:00:01",
        "users": {"keep_groups": true}, "service": {"no_cgroup": true},
        "run_limit_secs": 1, "remove_image": true, "requires": ["x"], "pod": "p", "hosts_base": "image"
    }"#;
    serde_json::from_str(text).expect("JSON")
}

/// The same within a field.
fn parts() -> Value {
    json!({
        "health": {
            "disabled": true, "check": {"Interval": 1_000_000}, "on_failure": "kill", "kept_probes": 1, "kept_bytes": 1,
            "startup": {"check": {"Test": ["CMD", "true"]}, "successes": 0}, "log_directory": "/l",
        },
        "resources": {
            "memory_bytes": 1, "memory_reservation_bytes": 1, "memory_swap_bytes": 1, "memory_swappiness": 1,
            "nano_cpus": 1, "cpu_shares": 1, "cpu_quota_us": 1, "cpu_period_us": 1, "cpuset_cpus": "0",
            "cpuset_mems": "0", "pids_limit": 1, "blkio_weight": 10, "oom_kill_disable": true, "oom_score_adj": 1,
            "device_limits": [{"kind": "read-bps", "path": "/dev/sda", "value": 1}], "cpu_rt_period_us": 1,
            "cpu_rt_runtime_us": 1, "unified": {"memory.high": "1"},
        },
        "namespaces": {"pid": "host", "ipc": "host", "uts": {"container": "x"}, "host_cgroup": true},
        "users": {
            "userns": "host", "uid_maps": [{"size": 1}], "gid_maps": [{"size": 1}], "sub_uid_name": "n",
            "sub_gid_name": "n", "host_users": ["u"], "passwd": true, "passwd_entry": "e", "group_entry": "e",
            "keep_groups": true,
        },
        "service": {
            "cgroup_parent": "g", "no_cgroup": true, "systemd": "always", "shm_size_systemd_bytes": 1, "notify": true,
        },
    })
}

fn defined(request: Value, form: DefinitionForm) -> Definition {
    let request: ContainerRequest = serde_json::from_value(request).expect("a request");
    let mut record = record("name", request);
    // Two forms write the resolved name.
    record.image_name = record.request.image.clone();
    define(&[record], form)
}

fn fields(value: &impl serde::Serialize) -> Map<String, Value> {
    match serde_json::to_value(value).expect("an object") {
        Value::Object(fields) => fields,
        other => panic!("{other}"),
    }
}

/// Forms that neither say nor note what is asked for; and those that do although it is listed as without meaning.
fn wrong(field: &str, request: &Value) -> Vec<String> {
    let is_wrong = |form: &DefinitionForm| {
        let says_nothing = defined(request.clone(), *form) == defined(json!({}), *form);
        says_nothing != WITHOUT_MEANING.contains(&(*form, field))
    };
    FORMS.into_iter().filter(is_wrong).map(|form| format!("{form:?} {request}")).collect()
}

#[test]
fn no_field_is_forgotten() {
    let (samples, usual) = (samples(), fields(&ContainerRequest::default()));
    let mut forgotten = Vec::new();
    for field in usual.keys() {
        let sample =
            samples.get(field).unwrap_or_else(|| panic!("{field} is new: give it words and a sample"));
        forgotten.extend(wrong(field, &json!({field: sample})));
    }
    assert!(forgotten.is_empty(), "{forgotten:#?}");
    for field in KNOWN.iter().chain(&OF_RUN) {
        assert!(usual.contains_key(*field), "{field} is no field");
    }
}

#[test]
fn no_part_of_a_field_is_forgotten() {
    let parts = parts();
    let mut forgotten = Vec::new();
    for (field, usual) in [
        ("health", fields(&crate::HealthRequest::default())),
        ("resources", fields(&ResourceRequest::default())),
        ("namespaces", fields(&crate::NamespaceRequest::default())),
        ("users", fields(&crate::UserRequest::default())),
        ("service", fields(&crate::ServiceRequest::default())),
    ] {
        for part in usual.keys() {
            let sample =
                parts[field].get(part).unwrap_or_else(|| panic!("{field}.{part} is new: give it words"));
            forgotten.extend(wrong(field, &json!({field: {part: sample}})));
        }
    }
    assert!(forgotten.is_empty(), "{forgotten:#?}");
}
