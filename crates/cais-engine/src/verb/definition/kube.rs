//! `inspect --as kube`: a Pod with one container, Kubernetes API v1.

use cais_oci::Healthcheck;
use serde_json::{Map, Value, json};

use super::{Notes, cpus, lifecycle, security_options, users, yaml};
use crate::{
    ContainerRecord, HealthAction, IpcRequest, MountKind, NamespaceSource, NetworkRequest, Protocol,
    PullPolicy, RestartPolicy,
};

pub(super) fn pod(record: &ContainerRecord, notes: &mut Notes<'_>) -> String {
    let name = label(&record.name);
    if name != record.name {
        notes
            .add(format_args!("its name becomes {name}: Kubernetes allows small letters, digits and dashes"));
    }
    let mut metadata = json!({"name": name});
    // Labels of images rarely are what Kubernetes allows as labels.
    if !record.request.labels.is_empty() {
        metadata["annotations"] = json!(record.request.labels);
    }
    let (mounts, volumes) = volumes(record, notes);
    let mut spec = spec(record, notes);
    let mut container = container(record, &name, notes);
    probes(record, &mut container, notes);
    if !mounts.is_empty() {
        container.insert("volumeMounts".into(), json!(mounts));
    }
    spec.insert("containers".into(), json!([container]));
    if !volumes.is_empty() {
        spec.insert("volumes".into(), json!(volumes));
    }
    yaml::text(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}))
}

/// A DNS label, RFC 1123.
fn label(name: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let text: String = name.chars().map(allowed).take(63).collect();
    match text.trim_matches('-') {
        "" => "container".to_owned(),
        text => text.to_owned(),
    }
}

fn spec(record: &ContainerRecord, notes: &mut Notes<'_>) -> Map<String, Value> {
    let request = &record.request;
    let mut spec = Map::new();
    let mut put = |key: &str, value: Value| drop(spec.insert(key.to_owned(), value));
    let restart = match request.restart {
        RestartPolicy::No => "Never",
        RestartPolicy::OnFailure { max_retries } => {
            notes.missing(max_retries > 0, "the number of retries of --restart on-failure");
            "OnFailure"
        }
        RestartPolicy::Always | RestartPolicy::UnlessStopped => "Always",
    };
    put("restartPolicy", json!(restart));
    match &record.network {
        NetworkRequest::Host => put("hostNetwork", json!(true)),
        NetworkRequest::None => notes.add("--network none cannot be said in this form: use a NetworkPolicy"),
        NetworkRequest::Container(_) => notes.add("it shares a network: put both containers into one pod"),
        _ => {}
    }
    let shared = &record.namespaces;
    if shared.pid == NamespaceSource::Host {
        put("hostPID", json!(true));
    }
    if shared.ipc == IpcRequest::Host {
        put("hostIPC", json!(true));
    }
    if [shared.pid.container(), shared.ipc.container(), shared.uts.container()].iter().any(Option::is_some) {
        notes.add("it shares namespaces of another container: put both into one pod");
    }
    if let Some(hostname) = &request.hostname {
        put("hostname", json!(label(hostname)));
    }
    if let Some(seconds) = request.stop_timeout_secs.filter(|seconds| *seconds >= 0) {
        put("terminationGracePeriodSeconds", json!(seconds));
    }
    let hosts: Vec<Value> = request
        .add_hosts
        .iter()
        .filter(|(_, address)| address != "host-gateway")
        .map(|(name, address)| json!({"ip": address, "hostnames": [name]}))
        .collect();
    notes.missing(request.add_hosts.len() > hosts.len(), "--add-host NAME:host-gateway");
    if !hosts.is_empty() {
        put("hostAliases", json!(hosts));
    }
    if !request.dns.is_empty() || !request.dns_search.is_empty() || !request.dns_options.is_empty() {
        let mut dns = json!({"nameservers": request.dns, "searches": request.dns_search});
        let option = |text: &String| match text.split_once(':') {
            Some((name, value)) => json!({"name": name, "value": value}),
            None => json!({"name": text}),
        };
        dns["options"] = request.dns_options.iter().map(option).collect();
        put("dnsConfig", dns);
        if !request.dns.is_empty() {
            put("dnsPolicy", json!("None"));
        }
    }
    let mut security = Map::new();
    let groups: Vec<u32> = request.group_add.iter().filter_map(|group| group.parse().ok()).collect();
    notes.missing(groups.len() < request.group_add.len(), "a supplementary group by its name");
    if !groups.is_empty() {
        security.insert("supplementalGroups".into(), json!(groups));
    }
    if !request.sysctls.is_empty() {
        let all: Vec<Value> =
            request.sysctls.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        security.insert("sysctls".into(), json!(all));
    }
    if !security.is_empty() {
        put("securityContext", Value::Object(security));
    }
    spec
}

fn container(record: &ContainerRecord, name: &str, notes: &mut Notes<'_>) -> Map<String, Value> {
    let request = &record.request;
    let mut container = Map::new();
    container.insert("name".into(), json!(name));
    if request.rootfs.is_some() {
        notes.missing(true, "a plain directory as root (--rootfs)");
    } else {
        container.insert("image".into(), json!(record.image_name));
    }
    let mut put = |key: &str, value: Value| drop(container.insert(key.to_owned(), value));
    match request.pull {
        PullPolicy::Missing => put("imagePullPolicy", json!("IfNotPresent")),
        PullPolicy::Always => put("imagePullPolicy", json!("Always")),
        PullPolicy::Never => put("imagePullPolicy", json!("Never")),
    }
    // `$(NAME)` is a variable in both.
    let literal = |words: &[String]| words.iter().map(|word| word.replace("$(", "$$(")).collect::<Vec<_>>();
    if let Some(entrypoint) = request.entrypoint.as_ref().filter(|words| !words.is_empty()) {
        put("command", json!(literal(entrypoint)));
        if !request.command.is_empty() {
            put("args", json!(literal(&request.command)));
        }
    } else if request.entrypoint.is_some() {
        put("command", json!(literal(&request.command)));
    } else if !request.command.is_empty() {
        put("args", json!(literal(&request.command)));
    }
    let env: Vec<Value> = request
        .env
        .iter()
        .filter_map(|variable| variable.split_once('='))
        .map(|(name, value)| json!({"name": name, "value": value.replace("$(", "$$(")}))
        .collect();
    if !env.is_empty() {
        put("env", json!(env));
    }
    if let Some(directory) = &request.workdir {
        put("workingDir", json!(directory));
    }
    if request.tty {
        put("tty", json!(true));
    }
    if request.interactive {
        put("stdin", json!(true));
    }
    let ports = ports(record, notes);
    if !ports.is_empty() {
        put("ports", json!(ports));
    }
    let limits = limits(record);
    if !limits.is_empty() {
        put("resources", json!({"limits": limits}));
    }
    let security = security(record, notes);
    if !security.is_empty() {
        put("securityContext", Value::Object(security));
    }
    unsaid(record, notes);
    container
}

fn ports(record: &ContainerRecord, notes: &mut Notes<'_>) -> Vec<Value> {
    let request = &record.request;
    notes.missing(request.publish_all, "--publish-all");
    let protocol = |protocol: Protocol| if protocol == Protocol::Udp { "UDP" } else { "TCP" };
    let mut ports = Vec::new();
    for port in &request.publish {
        let mut entry = json!({"containerPort": port.container_port});
        if let Some(host) = port.host_port {
            entry["hostPort"] = json!(host);
        }
        if let Some(ip) = port.host_ip {
            entry["hostIP"] = json!(ip);
        }
        entry["protocol"] = json!(protocol(port.protocol));
        ports.push(entry);
    }
    for text in &request.expose {
        let (number, name) = text.split_once('/').unwrap_or((text, "tcp"));
        if let Ok(number) = number.parse::<u16>() {
            ports.push(json!({"containerPort": number, "protocol": name.to_ascii_uppercase()}));
        }
    }
    ports
}

fn limits(record: &ContainerRecord) -> Map<String, Value> {
    let asked = &record.request.resources;
    let mut limits = Map::new();
    if let Some(nano) = asked.nano_cpus {
        limits.insert("cpu".into(), json!(cpus(nano)));
    }
    if let Some(bytes) = asked.memory_bytes.filter(|bytes| *bytes > 0) {
        limits.insert("memory".into(), json!(bytes.to_string()));
    }
    limits
}

fn security(record: &ContainerRecord, notes: &mut Notes<'_>) -> Map<String, Value> {
    let request = &record.request;
    let mut security = Map::new();
    let mut put = |key: &str, value: Value| drop(security.insert(key.to_owned(), value));
    if let Some(user) = &request.user {
        let (user, group) = user.split_once(':').unwrap_or((user, ""));
        match user.parse::<u32>() {
            Ok(uid) => put("runAsUser", json!(uid)),
            Err(_) => notes.add(format_args!("user {user:?} must be a number in Kubernetes")),
        }
        match group.parse::<u32>() {
            Ok(gid) => put("runAsGroup", json!(gid)),
            Err(_) => notes.missing(!group.is_empty(), "a group by its name"),
        }
    }
    if request.privileged {
        put("privileged", json!(true));
    }
    if request.read_only {
        put("readOnlyRootFilesystem", json!(true));
    }
    // Kubernetes names capabilities without CAP_.
    let plain = |caps: &[String]| {
        caps.iter().map(|cap| cap.trim_start_matches("CAP_").to_owned()).collect::<Vec<_>>()
    };
    let mut capabilities = Map::new();
    for (key, caps) in [("add", &request.cap_add), ("drop", &request.cap_drop)] {
        if !caps.is_empty() {
            capabilities.insert(key.into(), json!(plain(caps)));
        }
    }
    if !capabilities.is_empty() {
        put("capabilities", Value::Object(capabilities));
    }
    for option in security_options(record, notes) {
        match option.as_str() {
            "no-new-privileges" => put("allowPrivilegeEscalation", json!(false)),
            "seccomp=unconfined" => put("seccompProfile", json!({"type": "Unconfined"})),
            "systempaths=unconfined" => put("procMount", json!("Unmasked")),
            "label=disable" => put("seLinuxOptions", json!({"type": "spc_t"})),
            other => match other.strip_prefix("apparmor=") {
                Some("unconfined") => put("appArmorProfile", json!({"type": "Unconfined"})),
                Some(profile) => {
                    put("appArmorProfile", json!({"type": "Localhost", "localhostProfile": profile}))
                }
                None => notes.missing(true, &format!("--security-opt {other}")),
            },
        }
    }
    security
}

fn volumes(record: &ContainerRecord, notes: &mut Notes<'_>) -> (Vec<Value>, Vec<Value>) {
    let (mut mounts, mut volumes): (Vec<Value>, Vec<Value>) = Default::default();
    for (mount, number) in record.request.mounts.iter().zip(1..) {
        let name = format!("volume-{number}");
        let source = match mount.kind {
            MountKind::Bind => {
                let kind = if mount.create_source { json!("DirectoryOrCreate") } else { json!("") };
                json!({"hostPath": {"path": mount.source, "type": kind}})
            }
            MountKind::Volume if mount.source.is_empty() => json!({"emptyDir": {}}),
            MountKind::Volume => {
                if label(&mount.source) != mount.source {
                    notes.add(format_args!(
                        "the claim for volume {} is named {}",
                        mount.source,
                        label(&mount.source)
                    ));
                }
                json!({"persistentVolumeClaim": {"claimName": label(&mount.source)}})
            }
            MountKind::Image | MountKind::Ramfs | MountKind::Devpts => {
                notes.missing(true, &format!("the mount on {}", mount.target));
                continue;
            }
            MountKind::Tmpfs => match mount.tmpfs_size_bytes {
                Some(size) => json!({"emptyDir": {"medium": "Memory", "sizeLimit": size.to_string()}}),
                None => json!({"emptyDir": {"medium": "Memory"}}),
            },
        };
        let mut entry = json!({"name": name, "mountPath": mount.target});
        if let Some(subpath) = &mount.subpath {
            entry["subPath"] = json!(subpath);
        }
        notes.missing(mount.overlay.is_some(), &format!("the overlay on {}", mount.target));
        if mount.read_only {
            entry["readOnly"] = json!(true);
        }
        match mount.propagation.as_deref() {
            Some("rslave" | "slave") => entry["mountPropagation"] = json!("HostToContainer"),
            Some("rshared" | "shared") => entry["mountPropagation"] = json!("Bidirectional"),
            _ => {}
        }
        notes.missing(
            !mount.options.is_empty() || mount.tmpfs_mode.is_some(),
            &format!("options of the mount on {}", mount.target),
        );
        mounts.push(entry);
        let mut volume = json!({"name": name});
        if let (Value::Object(volume), Value::Object(source)) = (&mut volume, source) {
            volume.extend(source);
        }
        volumes.push(volume);
    }
    if let Some(bytes) = record.request.shm_size_bytes {
        mounts.push(json!({"name": "shm", "mountPath": "/dev/shm"}));
        volumes
            .push(json!({"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": bytes.to_string()}}));
    }
    (mounts, volumes)
}

/// Probes: one that fails restarts the container, whatever `--health-on-failure` says.
fn probes(record: &ContainerRecord, container: &mut Map<String, Value>, notes: &mut Notes<'_>) {
    let health = &record.request.health;
    for (key, check) in [("livenessProbe", &health.check), ("startupProbe", &health.startup.check)] {
        if let Some(probe) = lifecycle::kube_probe(check) {
            container.insert(key.to_owned(), probe);
        } else {
            notes.missing(*check != Healthcheck::default(), "a health check without a command of its own");
        }
    }
    let kept = health.kept_probes.is_some() || health.kept_bytes.is_some() || health.log_directory.is_some();
    notes.missing(kept, "--health-log-destination, --health-max-log-count, --health-max-log-size");
    notes.missing(health.check.start_interval > 0, "--health-start-interval");
    notes.missing(health.startup.successes > 1, "--health-startup-success");
    notes.missing(health.disabled, "--no-healthcheck");
    let other = matches!(health.on_failure, HealthAction::Kill | HealthAction::Stop);
    notes.missing(other, "--health-on-failure kill or stop");
}

/// What a Pod has no field for.
fn unsaid(record: &ContainerRecord, notes: &mut Notes<'_>) {
    let request = &record.request;
    let asked = &request.resources;
    let rest = [
        asked.memory_reservation_bytes.is_some(),
        asked.memory_swap_bytes.is_some(),
        asked.memory_swappiness.is_some(),
        asked.cpu_shares.is_some(),
        asked.cpu_quota_us.is_some() || asked.cpu_period_us.is_some(),
        asked.cpuset_cpus.is_some() || asked.cpuset_mems.is_some(),
        asked.pids_limit.is_some(),
        asked.blkio_weight.is_some(),
        asked.oom_score_adj.is_some() || asked.oom_kill_disable,
    ];
    notes.missing(rest.contains(&true), "a limit other than --cpus and --memory");
    notes.missing(!request.ulimits.is_empty(), "--ulimit");
    notes.missing(!request.devices.is_empty() || !request.device_cgroup_rules.is_empty(), "--device");
    notes.missing(request.init, "--init");
    notes.missing(request.platform.is_some(), "--platform (use a node selector)");
    users::flags(request).iter().for_each(|(flag, value)| notes.missing(true, &format!("{flag} {value}")));
    notes.missing(request.stop_signal.is_some(), "--stop-signal");
    if let Some(driver) = lifecycle::log_driver(request.log) {
        notes.missing(true, &format!("--log-driver {driver}"));
    }
    notes.missing(!request.log_options.given.is_empty(), "--log-opt");
    notes.missing(request.domainname.is_some(), "--domainname");
    notes.missing(request.auto_remove, "--rm");
}
