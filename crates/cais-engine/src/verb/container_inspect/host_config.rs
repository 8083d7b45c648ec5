//! `HostConfig` of a container's document: what was asked of the host, in Docker's words.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::network_settings::port_key;
use crate::assemble::kernel_paths;
use crate::{
    ContainerRecord, ContainerRequest, DeviceLimitKind, MountKind, MountRequest, NetworkRequest,
    RestartPolicy, SeccompRequest,
};

/// Bytes of `/dev/shm` when nothing was asked.
const SHM_DEFAULT_BYTES: u64 = 64 << 20;

/// `HostConfig`.
pub(super) fn document(record: &ContainerRecord) -> Value {
    let request = &record.request;
    let mut document = front(record);
    resources(request, &mut document);
    let (masked, read_only) = match kernel_paths(request) {
        (masked, _) if request.privileged && masked.is_empty() => (Value::Null, Value::Null),
        (masked, read_only) => (json!(masked), json!(read_only)),
    };
    document.insert("MaskedPaths".into(), masked);
    document.insert("ReadonlyPaths".into(), read_only);
    Value::Object(document)
}

/// Everything up to `Isolation`, in Docker's order.
fn front(record: &ContainerRecord) -> Map<String, Value> {
    let request = &record.request;
    let mut document = Map::new();
    let mut put = |key: &str, value: Value| {
        document.insert(key.to_owned(), value);
    };
    put("Binds", null_when_empty(request.mounts.iter().filter_map(bind).collect()));
    put("ContainerIDFile", json!(request.cidfile.clone().unwrap_or_default()));
    put("LogConfig", json!({"Type": request.log, "Config": request.log_options.given}));
    put("NetworkMode", json!(network_mode(&record.network)));
    put("PortBindings", port_bindings(request));
    let max_retries = match request.restart {
        RestartPolicy::OnFailure { max_retries } => max_retries,
        _ => 0,
    };
    put("RestartPolicy", json!({"Name": request.restart.name(), "MaximumRetryCount": max_retries}));
    put("AutoRemove", json!(request.auto_remove));
    put("VolumeDriver", json!(""));
    put("VolumesFrom", null_when_empty(request.volumes_from.clone()));
    put("ConsoleSize", json!([0, 0]));
    put("CapAdd", null_when_empty(request.cap_add.iter().map(|name| capability(name)).collect()));
    put("CapDrop", null_when_empty(request.cap_drop.iter().map(|name| capability(name)).collect()));
    let namespaces = &record.namespaces;
    put("CgroupnsMode", json!(if namespaces.host_cgroup { "host" } else { "private" }));
    put("Dns", json!(request.dns));
    put("DnsOptions", json!(request.dns_options));
    put("DnsSearch", json!(request.dns_search));
    let hosts = request.add_hosts.iter().map(|(name, address)| format!("{name}:{address}"));
    put("ExtraHosts", null_when_empty(hosts.collect()));
    put("GroupAdd", null_when_empty(request.group_add.clone()));
    put("IpcMode", json!(namespaces.ipc.word()));
    put("Cgroup", json!(""));
    put("Links", Value::Null);
    put("OomScoreAdj", json!(request.resources.oom_score_adj.unwrap_or(0)));
    put("PidMode", json!(namespaces.pid.word()));
    put("Privileged", json!(request.privileged));
    put("PublishAllPorts", json!(request.publish_all));
    put("ReadonlyRootfs", json!(request.read_only));
    put("SecurityOpt", null_when_empty(security_options(request)));
    let tmpfs: BTreeMap<&str, String> = request
        .mounts
        .iter()
        .filter(|mount| mount.kind == MountKind::Tmpfs)
        .map(|mount| (mount.target.as_str(), tmpfs_options(mount)))
        .collect();
    if !tmpfs.is_empty() {
        put("Tmpfs", json!(tmpfs));
    }
    put("UTSMode", json!(namespaces.uts.word()));
    put("UsernsMode", json!(users_mode(record)));
    if let Some(maps) = &record.user_maps {
        let lines = |maps: &[crate::IdMapping]| {
            let line = |map: &crate::IdMapping| format!("{}:{}:{}", map.container_id, map.host_id, map.size);
            maps.iter().map(line).collect::<Vec<_>>()
        };
        put("IDMappings", json!({"UidMap": lines(&maps.uids), "GidMap": lines(&maps.gids)}));
    }
    put("ShmSize", json!(request.shm_size_bytes.unwrap_or(SHM_DEFAULT_BYTES)));
    if !request.sysctls.is_empty() {
        put("Sysctls", json!(request.sysctls));
    }
    put("Runtime", json!("cais"));
    put("Isolation", json!(""));
    if !request.annotations.is_empty() {
        put("Annotations", json!(request.annotations));
    }
    document
}

/// `private` is what podman calls maps that were given.
fn users_mode(record: &ContainerRecord) -> String {
    match record.request.users.userns.text() {
        text if text.is_empty() && record.user_maps.is_some() => "private".to_owned(),
        text => text,
    }
}

/// Limits, in Docker's order, and what follows them.
fn resources(request: &ContainerRequest, document: &mut Map<String, Value>) {
    let limits = &request.resources;
    let memory = limits.memory_bytes.unwrap_or(0);
    // As Docker: as much swap as memory unless something else was asked.
    let swap = limits.memory_swap_bytes.unwrap_or(if memory > 0 { memory.saturating_mul(2) } else { 0 });
    let mut put = |key: &str, value: Value| {
        document.insert(key.to_owned(), value);
    };
    put("CpuShares", json!(limits.cpu_shares.unwrap_or(0)));
    put("Memory", json!(memory));
    put("NanoCpus", json!(limits.nano_cpus.unwrap_or(0)));
    put("CgroupParent", json!(request.service.cgroup_parent.as_deref().unwrap_or_default()));
    put("BlkioWeight", json!(limits.blkio_weight.unwrap_or(0)));
    for (key, kind, unit) in [
        ("BlkioWeightDevice", DeviceLimitKind::Weight, "Weight"),
        ("BlkioDeviceReadBps", DeviceLimitKind::ReadBps, "Rate"),
        ("BlkioDeviceWriteBps", DeviceLimitKind::WriteBps, "Rate"),
        ("BlkioDeviceReadIOps", DeviceLimitKind::ReadIops, "Rate"),
        ("BlkioDeviceWriteIOps", DeviceLimitKind::WriteIops, "Rate"),
    ] {
        let of_kind = limits.device_limits.iter().filter(|limit| limit.kind == kind);
        put(key, of_kind.map(|limit| json!({"Path": limit.path, unit: limit.value})).collect());
    }
    put("CpuPeriod", json!(limits.cpu_period_us.unwrap_or(0)));
    put("CpuQuota", json!(limits.cpu_quota_us.unwrap_or(0)));
    put("CpuRealtimePeriod", json!(limits.cpu_rt_period_us.unwrap_or(0)));
    put("CpuRealtimeRuntime", json!(limits.cpu_rt_runtime_us.unwrap_or(0)));
    put("CpusetCpus", json!(limits.cpuset_cpus.as_deref().unwrap_or_default()));
    put("CpusetMems", json!(limits.cpuset_mems.as_deref().unwrap_or_default()));
    put("Devices", request.devices.iter().map(|device| device_mapping(device)).collect());
    put("DeviceCgroupRules", null_when_empty(request.device_cgroup_rules.clone()));
    put("DeviceRequests", Value::Null);
    put("MemoryReservation", json!(limits.memory_reservation_bytes.unwrap_or(0)));
    put("MemorySwap", json!(swap));
    put("MemorySwappiness", json!(limits.memory_swappiness));
    put("OomKillDisable", json!(limits.oom_kill_disable));
    put("PidsLimit", json!(limits.pids_limit));
    let ulimits = request.ulimits.iter();
    put(
        "Ulimits",
        ulimits.map(|limit| json!({"Name": limit.name, "Hard": limit.hard, "Soft": limit.soft})).collect(),
    );
    put("CpuCount", json!(0));
    put("CpuPercent", json!(0));
    put("IOMaximumIOps", json!(0));
    put("IOMaximumBandwidth", json!(0));
    let mounts: Vec<Value> = request.mounts.iter().filter_map(mount).collect();
    if !mounts.is_empty() {
        put("Mounts", json!(mounts));
    }
    if request.init {
        put("Init", json!(true));
    }
}

fn null_when_empty(list: Vec<String>) -> Value {
    if list.is_empty() { Value::Null } else { json!(list) }
}

/// `CAP_NET_ADMIN` for any spelling; `ALL` stays.
fn capability(name: &str) -> String {
    let name = name.to_ascii_uppercase();
    if name == "ALL" || name.starts_with("CAP_") { name } else { format!("CAP_{name}") }
}

fn network_mode(network: &NetworkRequest) -> String {
    match network {
        NetworkRequest::Default | NetworkRequest::Bridge => "bridge".to_owned(),
        NetworkRequest::None => "none".to_owned(),
        NetworkRequest::Host => "host".to_owned(),
        NetworkRequest::Pasta => "pasta".to_owned(),
        NetworkRequest::Container(id) => format!("container:{id}"),
    }
}

/// `PortBindings`: as asked; a port to be chosen is the empty string.
fn port_bindings(request: &ContainerRequest) -> Value {
    let mut bindings: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for port in &request.publish {
        bindings.entry(port_key(port.container_port, port.protocol)).or_default().push(json!({
            "HostIp": port.host_ip.map(|ip| ip.to_string()).unwrap_or_default(),
            "HostPort": port.host_port.map(|port| port.to_string()).unwrap_or_default(),
        }));
    }
    json!(bindings)
}

/// What `-v` asked for, `source:target[:options]`; `None` for what `--mount` and `--tmpfs` did, and for anonymous volumes.
fn bind(mount: &MountRequest) -> Option<String> {
    if !mount.create_source || mount.kind == MountKind::Tmpfs || mount.source.is_empty() {
        return None;
    }
    let mut options = Vec::new();
    if mount.read_only {
        options.push("ro");
    }
    options.extend(mount.propagation.as_deref());
    if mount.no_copy {
        options.push("nocopy");
    }
    if mount.overlay.is_some() {
        options.push("O");
    }
    let mut text = format!("{}:{}", mount.source, mount.target);
    if !options.is_empty() {
        text.push(':');
        text.push_str(&options.join(","));
    }
    Some(text)
}

/// What `--mount` asked for.
fn mount(mount: &MountRequest) -> Option<Value> {
    if mount.create_source || mount.kind == MountKind::Tmpfs {
        return None;
    }
    let mut entry = json!({"Type": mount.kind});
    if !mount.source.is_empty() {
        entry["Source"] = json!(mount.source);
    }
    entry["Target"] = json!(mount.target);
    if mount.read_only {
        entry["ReadOnly"] = json!(true);
    }
    if mount.propagation.is_some() || mount.non_recursive || mount.writable_beneath {
        entry["BindOptions"] = json!({});
        if let Some(propagation) = &mount.propagation {
            entry["BindOptions"]["Propagation"] = json!(propagation);
        }
        if mount.non_recursive {
            entry["BindOptions"]["NonRecursive"] = json!(true);
        }
        if mount.writable_beneath {
            entry["BindOptions"]["ReadOnlyNonRecursive"] = json!(true);
        }
    }
    let mut volume = Map::new();
    if mount.no_copy {
        volume.insert("NoCopy".into(), json!(true));
    }
    if !mount.volume_labels.is_empty() {
        volume.insert("Labels".into(), json!(mount.volume_labels));
    }
    match (&mount.subpath, mount.kind) {
        (Some(subpath), MountKind::Image) => entry["ImageOptions"] = json!({"Subpath": subpath}),
        (Some(subpath), _) => {
            volume.insert("Subpath".into(), json!(subpath));
        }
        (None, _) => {}
    }
    if !mount.volume_options.is_empty() {
        volume.insert("DriverConfig".into(), json!({"Name": "local", "Options": mount.volume_options}));
    }
    if !volume.is_empty() {
        entry["VolumeOptions"] = Value::Object(volume);
    }
    Some(entry)
}

/// `size=…,mode=…` and flags, as `--tmpfs` takes them.
fn tmpfs_options(mount: &MountRequest) -> String {
    let mut options = Vec::new();
    if mount.read_only {
        options.push("ro".to_owned());
    }
    options.extend(mount.options.iter().cloned());
    options.extend(mount.tmpfs_size_bytes.map(|bytes| format!("size={bytes}")));
    options.extend(mount.tmpfs_mode.map(|mode| format!("mode={mode:o}")));
    options.join(",")
}

/// `--security-opt` put together again.
fn security_options(request: &ContainerRequest) -> Vec<String> {
    let security = &request.security;
    let mut options = Vec::new();
    if security.no_new_privileges {
        options.push("no-new-privileges".to_owned());
    }
    match &security.seccomp {
        SeccompRequest::Default => {}
        SeccompRequest::Unconfined => options.push("seccomp=unconfined".to_owned()),
        SeccompRequest::Profile(text) => options.push(format!("seccomp={text}")),
    }
    options.extend(security.apparmor.iter().map(|profile| format!("apparmor={profile}")));
    let asked = security.label.options();
    if security.label_disable || (request.privileged && asked.is_empty()) {
        options.push("label=disable".to_owned());
    }
    options.extend(asked);
    options.extend(security.paths());
    options
}

/// `/dev/x[:/dev/y][:rwm]` taken apart.
fn device_mapping(device: &str) -> Value {
    let is_access = |word: &str| !word.is_empty() && word.chars().all(|letter| "rwm".contains(letter));
    let words: Vec<&str> = device.split(':').collect();
    let (host, inside, access) = match words[..] {
        [host, access] if is_access(access) => (host, host, access),
        [host, inside] => (host, inside, "rwm"),
        [host, inside, access, ..] => (host, inside, access),
        _ => (device, device, "rwm"),
    };
    json!({"PathOnHost": host, "PathInContainer": inside, "CgroupPermissions": access})
}
