//! `inspect --as compose`: a service for each container, compose-spec.io.

use serde_json::{Map, Value, json};

use super::{
    Definition, DefinitionForm, Notes, cpus, lifecycle, needs_long_form, network, port, security_options,
    short_volume, tmpfs_options, users, yaml,
};
use crate::{ContainerRecord, IpcRequest, MountKind, NamespaceRequest, NetworkRequest, PullPolicy};

pub(super) fn document(records: &[ContainerRecord]) -> Definition {
    let mut services = Map::new();
    let mut volumes = Map::new();
    let mut lines = Vec::new();
    for record in records {
        let mut notes = Notes::of(record, DefinitionForm::Compose);
        services.insert(record.name.clone(), service(record, records, &mut notes));
        lines.append(&mut notes.lines);
        let named =
            record.request.mounts.iter().filter(|m| m.kind == MountKind::Volume && !m.source.is_empty());
        // The name as it is, without that of the project before it.
        volumes.extend(named.map(|mount| (mount.source.clone(), json!({"name": mount.source}))));
    }
    let mut document = json!({"services": services});
    if !volumes.is_empty() {
        document["volumes"] = Value::Object(volumes);
    }
    Definition { text: yaml::text(&document), notes: lines }
}

/// Fields of a service; nothing that is not set.
struct Service(Map<String, Value>);

impl Service {
    fn put(&mut self, key: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.0.insert(key.to_owned(), value.into());
        }
    }

    fn truth(&mut self, key: &str, value: bool) {
        self.put(key, value.then_some(true));
    }

    /// A list of texts; `$` begins a variable in Compose and is doubled.
    fn list(&mut self, key: &str, values: impl IntoIterator<Item = String>) {
        let values: Vec<Value> = values.into_iter().map(|value| json!(literal(&value))).collect();
        if !values.is_empty() {
            self.0.insert(key.to_owned(), Value::Array(values));
        }
    }

    fn text(&mut self, key: &str, value: Option<&String>) {
        self.put(key, value.map(|value| literal(value)));
    }
}

fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

fn service(record: &ContainerRecord, all: &[ContainerRecord], notes: &mut Notes<'_>) -> Value {
    let request = &record.request;
    let mut service = Service(Map::new());
    notes.missing(request.rootfs.is_some(), "a plain directory as root (--rootfs)");
    notes.missing(request.auto_remove, "--rm");
    notes.missing(request.publish_all, "--publish-all");
    service.text("image", Some(&request.image).filter(|image| !image.is_empty()));
    service.text("container_name", request.name.as_ref());
    service.text("platform", request.platform.as_ref());
    service.put(
        "pull_policy",
        match request.pull {
            PullPolicy::Missing => None,
            PullPolicy::Always => Some("always"),
            PullPolicy::Never => Some("never"),
        },
    );
    if let Some(entrypoint) = &request.entrypoint {
        service.put("entrypoint", Some(entrypoint.iter().map(|word| literal(word)).collect::<Vec<_>>()));
    }
    service.list("command", request.command.iter().cloned());
    service.list("environment", request.env.iter().cloned());
    service.text("working_dir", request.workdir.as_ref());
    service.text("user", request.user.as_ref());
    service.list("group_add", request.group_add.iter().cloned());
    let host = request.users.userns == crate::UsernsRequest::Host;
    service.put("userns_mode", host.then_some("host"));
    for (flag, value) in users::flags(request).into_iter().filter(|_| !host) {
        notes.missing(true, &format!("{flag} {value}"));
    }
    service.list("labels", request.labels.iter().map(|(key, value)| format!("{key}={value}")));
    service.truth("tty", request.tty);
    service.truth("stdin_open", request.interactive);
    service.truth("init", request.init);
    names_and_network(&mut service, record, all, notes);
    mounts(&mut service, record, notes);
    privileges(&mut service, record, notes);
    resources(&mut service, record, notes);
    service.text("stop_signal", request.stop_signal.as_ref());
    let grace = request.stop_timeout_secs;
    notes.missing(grace.is_some_and(|seconds| seconds < 0), "--stop-timeout -1");
    service
        .put("stop_grace_period", grace.filter(|seconds| *seconds >= 0).map(|seconds| format!("{seconds}s")));
    service.put("restart", lifecycle::restart(request.restart));
    service.put("healthcheck", lifecycle::compose_health(request, notes));
    service.put("logging", lifecycle::compose_logging(request));
    Value::Object(service.0)
}

fn names_and_network(
    service: &mut Service,
    record: &ContainerRecord,
    all: &[ContainerRecord],
    notes: &mut Notes<'_>,
) {
    let request = &record.request;
    service.text("hostname", request.hostname.as_ref());
    service.text("domainname", request.domainname.as_ref());
    let of = |id: &str| match all.iter().find(|other| other.id == id) {
        Some(other) => format!("service:{}", other.name),
        None => format!("container:{id}"),
    };
    let NamespaceRequest { pid, ipc, uts, host_cgroup } = &record.namespaces;
    let given = |word: String| (!word.is_empty()).then_some(word);
    service.put("pid", pid.container().map(of).or(given(pid.word())));
    let asked = *ipc != IpcRequest::Default;
    service.put("ipc", ipc.container().map(of).or(asked.then(|| ipc.word())));
    notes.missing(uts.container().is_some(), "--uts container:NAME");
    service.put("uts", given(uts.word()).filter(|_| uts.container().is_none()));
    service.put("cgroup", host_cgroup.then_some("host"));
    match &record.network {
        NetworkRequest::Container(id) => service.put("network_mode", Some(of(id))),
        _ => {
            let mode = network(&request.network);
            notes.missing(mode.as_deref() == Some("pasta"), "--network pasta");
            service.put("network_mode", mode.filter(|mode| mode != "pasta"));
        }
    }
    service.list("ports", request.publish.iter().map(port));
    service.list("expose", request.expose.iter().cloned());
    service.list("dns", request.dns.iter().map(ToString::to_string));
    service.list("dns_search", request.dns_search.iter().cloned());
    service.list("dns_opt", request.dns_options.iter().cloned());
    service.list("extra_hosts", request.add_hosts.iter().map(|(name, address)| format!("{name}={address}")));
}

fn mounts(service: &mut Service, record: &ContainerRecord, notes: &mut Notes<'_>) {
    let mut volumes = Vec::new();
    let mut tmpfs = Vec::new();
    for mount in &record.request.mounts {
        match mount.kind {
            MountKind::Tmpfs => {
                let options = tmpfs_options(mount);
                let colon = if options.is_empty() { "" } else { ":" };
                tmpfs.push(format!("{}{colon}{options}", mount.target));
            }
            _ if needs_long_form(mount) || mount.overlay.is_some() => {
                notes.missing(true, &format!("what is special of the mount on {}", mount.target));
            }
            MountKind::Bind if !mount.create_source || mount.source.contains(':') => {
                let mut long = json!({"type": "bind", "source": literal(&mount.source), "target": literal(&mount.target)});
                if mount.read_only {
                    long["read_only"] = json!(true);
                }
                long["bind"] = json!({"create_host_path": mount.create_source});
                if let Some(propagation) = &mount.propagation {
                    long["bind"]["propagation"] = json!(propagation);
                }
                notes.missing(mount.non_recursive, "a bind without what is mounted beneath");
                volumes.push(long);
            }
            _ => {
                if mount.source.is_empty() && (mount.read_only || mount.no_copy) {
                    notes.add(format_args!(
                        "options of the anonymous volume on {} are left out",
                        mount.target
                    ));
                }
                volumes.push(json!(literal(&short_volume(mount))));
            }
        }
    }
    service.put("volumes", (!volumes.is_empty()).then_some(volumes));
    service.list("tmpfs", tmpfs);
}

fn privileges(service: &mut Service, record: &ContainerRecord, notes: &mut Notes<'_>) {
    let request = &record.request;
    service.truth("read_only", request.read_only);
    service.truth("privileged", request.privileged);
    service.list("cap_add", request.cap_add.iter().cloned());
    service.list("cap_drop", request.cap_drop.iter().cloned());
    service.list("devices", request.devices.iter().cloned());
    service.list("device_cgroup_rules", request.device_cgroup_rules.iter().cloned());
    service.list("security_opt", security_options(record, notes));
    let sysctls: Map<String, Value> =
        request.sysctls.iter().map(|(key, value)| (key.clone(), json!(literal(value)))).collect();
    service.put("sysctls", (!sysctls.is_empty()).then_some(sysctls));
    let ulimits: Map<String, Value> = request
        .ulimits
        .iter()
        .map(|ulimit| {
            let value = match ulimit.soft == ulimit.hard {
                true => json!(ulimit.soft),
                false => json!({"soft": ulimit.soft, "hard": ulimit.hard}),
            };
            (ulimit.name.clone(), value)
        })
        .collect();
    service.put("ulimits", (!ulimits.is_empty()).then_some(ulimits));
}

fn resources(service: &mut Service, record: &ContainerRecord, notes: &mut Notes<'_>) {
    let asked = &record.request.resources;
    let bytes = |bytes: i64| if bytes < 0 { bytes.to_string() } else { format!("{bytes}b") };
    service.put("shm_size", record.request.shm_size_bytes.map(|bytes| format!("{bytes}b")));
    service.put("mem_limit", asked.memory_bytes.map(bytes));
    service.put("mem_reservation", asked.memory_reservation_bytes.map(bytes));
    service.put("memswap_limit", asked.memory_swap_bytes.map(bytes));
    service.put("mem_swappiness", asked.memory_swappiness);
    // A number in Compose; quoted digits are taken, too.
    service.put("cpus", asked.nano_cpus.map(cpus));
    service.put("cpu_shares", asked.cpu_shares);
    service.put("cpu_quota", asked.cpu_quota_us);
    service.put("cpu_period", asked.cpu_period_us);
    service.text("cpuset", asked.cpuset_cpus.as_ref());
    notes.missing(asked.cpuset_mems.is_some(), "--cpuset-mems");
    service.put("pids_limit", asked.pids_limit);
    service.put("blkio_config", asked.blkio_weight.map(|weight| json!({"weight": weight})));
    service.truth("oom_kill_disable", asked.oom_kill_disable);
    service.put("oom_score_adj", asked.oom_score_adj);
}
