//! `inspect --as`: from a container's record back to its definition, for `run`, Compose, Quadlet and Kubernetes.
//!
//! Pure functions of the record. What a form cannot say is never left out silently: it becomes a note. Only what was
//! asked is written, not what the image or the engine added, so that a definition follows its image.

mod compose;
mod kube;
mod lifecycle;
mod quadlet;
mod run_line;
mod users;
mod yaml;

use serde_json::{Map, Value};

use crate::{
    ContainerRecord, ContainerRequest, Engine, IpcRequest, NamespaceRequest, NetworkRequest, OwnersRequest,
    ResourceRequest, Result,
};

/// What a definition is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefinitionForm {
    /// The command line that makes the container.
    Run,
    /// A Compose file (compose-spec.io).
    Compose,
    /// A systemd unit of podman's, podman-systemd.unit(5).
    Quadlet,
    /// A Kubernetes Pod, API version v1.
    Kube,
}

/// A definition and what it could not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Definition {
    /// Lines, the last one ended.
    pub text: String,
    /// `container: what is missing`, for stderr.
    pub notes: Vec<String>,
}

impl Engine {
    /// The definition of one or more containers.
    ///
    /// # Errors
    /// When there is no such container or its record cannot be read.
    pub fn definition(&self, names: &[String], form: DefinitionForm) -> Result<Definition> {
        let load = |name: &String| {
            let id = self.store.resolve_container(name)?;
            Ok(self.store.load_container(&id)?)
        };
        let records: Vec<ContainerRecord> = names.iter().map(load).collect::<Result<_>>()?;
        Ok(define(&records, form))
    }
}

/// The definition of some containers, in their order.
pub fn define(records: &[ContainerRecord], form: DefinitionForm) -> Definition {
    match form {
        DefinitionForm::Run => each(records, "", form, run_line::line),
        DefinitionForm::Compose => compose::document(records),
        DefinitionForm::Quadlet => each(records, "\n", form, quadlet::unit),
        DefinitionForm::Kube => each(records, "---\n", form, kube::pod),
    }
}

/// One after the other.
fn each(
    records: &[ContainerRecord],
    between: &str,
    form: DefinitionForm,
    one: fn(&ContainerRecord, &mut Notes<'_>) -> String,
) -> Definition {
    let mut definition = Definition::default();
    for record in records {
        if !definition.text.is_empty() {
            definition.text.push_str(between);
        }
        let mut notes = Notes::of(record, form);
        definition.text.push_str(&one(record, &mut notes));
        definition.notes.append(&mut notes.lines);
    }
    definition
}

/// Fields of a request that the functions here know; another one that is not as usual is noted.
const KNOWN: [&str; 48] = [
    "name",
    "image",
    "rootfs",
    "command",
    "entrypoint",
    "env",
    "workdir",
    "user",
    "group_add",
    "hostname",
    "domainname",
    "labels",
    "tty",
    "interactive",
    "mounts",
    "users",
    "service",
    "read_only",
    "shm_size_bytes",
    "cap_add",
    "cap_drop",
    "privileged",
    "devices",
    "device_cgroup_rules",
    "security",
    "ulimits",
    "sysctls",
    "resources",
    "network",
    "publish",
    "publish_all",
    "expose",
    "dns",
    "dns_search",
    "dns_options",
    "add_hosts",
    "stop_signal",
    "stop_timeout_secs",
    "init",
    "log",
    "auto_remove",
    "platform",
    "pull",
    "cidfile",
    "detach",
    "restart",
    "health",
    "log_options",
];

/// Fields that only `run` has words for.
const OF_RUN: [&str; 17] = [
    "namespaces",
    "annotations",
    "ignore_image_env",
    "env_merge",
    "image_volumes",
    "volumes_from",
    "no_hosts",
    "no_hostname",
    "umask",
    "personality",
    "pidfile",
    "mac_address",
    "run_limit_secs",
    "remove_image",
    "requires",
    "pod",
    "hosts_base",
];

/// What a form cannot say.
struct Notes<'a> {
    name: &'a str,
    lines: Vec<String>,
}

impl<'a> Notes<'a> {
    fn of(record: &'a ContainerRecord, form: DefinitionForm) -> Notes<'a> {
        let mut notes = Notes { name: &record.name, lines: Vec::new() };
        let fields = |request: &ContainerRequest| match serde_json::to_value(request) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        };
        let usual = fields(&ContainerRequest::default());
        for (name, value) in fields(&record.request) {
            let of_run = form == DefinitionForm::Run && OF_RUN.contains(&name.as_str());
            if !KNOWN.contains(&name.as_str()) && !of_run && usual.get(&name) != Some(&value) {
                notes.add(format!("{name} is not in the definition"));
            }
        }
        let asked = &record.request.resources;
        let rare = !asked.device_limits.is_empty()
            || !asked.unified.is_empty()
            || asked.cpu_rt_period_us.is_some()
            || asked.cpu_rt_runtime_us.is_some();
        notes.missing(
            rare && form != DefinitionForm::Run,
            "a limit of a device, of real-time CPU or by --cgroup-conf",
        );
        notes
    }

    fn add(&mut self, text: impl std::fmt::Display) {
        self.lines.push(format!("{}: {text}", self.name));
    }

    /// Notes a field when it is set.
    fn missing(&mut self, set: bool, what: &str) {
        if set {
            self.add(format_args!("{what} cannot be said in this form"));
        }
    }
}

/// `[ip:][host:]container[/udp]`.
fn port(port: &crate::PortRequest) -> String {
    let mut text = String::new();
    if let Some(ip) = port.host_ip {
        text.push_str(&format!("{ip}:"));
    }
    match (port.host_ip, port.host_port) {
        (_, Some(host)) => text.push_str(&format!("{host}:")),
        (Some(_), None) => text.push(':'),
        (None, None) => {}
    }
    text.push_str(&port.container_port.to_string());
    if port.protocol == crate::Protocol::Udp {
        text.push_str("/udp");
    }
    text
}

/// Options of a tmpfs, `size=…,mode=…,ro,exec`.
fn tmpfs_options(mount: &crate::MountRequest) -> String {
    let mut options = Vec::new();
    options.extend(mount.tmpfs_size_bytes.map(|size| format!("size={size}")));
    options.extend(mount.tmpfs_mode.map(|mode| format!("mode={mode:o}")));
    if mount.read_only {
        options.push("ro".into());
    }
    options.extend(mount.options.iter().cloned());
    options.join(",")
}

/// Options of a `-v` that is not a tmpfs.
fn volume_options(mount: &crate::MountRequest) -> String {
    let mut options = Vec::new();
    if mount.read_only {
        options.push("ro".to_owned());
    }
    options.extend(mount.propagation.clone());
    if mount.non_recursive {
        options.push("bind".into());
    }
    match &mount.owners {
        OwnersRequest::Default => {}
        OwnersRequest::Changed => options.push("U".to_owned()),
        OwnersRequest::Mapped => options.push("idmap".to_owned()),
        OwnersRequest::MappedBy(maps) => options.push(format!("idmap={maps}")),
    }
    if mount.no_copy {
        options.push("nocopy".into());
    }
    if let Some(overlay) = &mount.overlay {
        options.push("O".into());
        if let Some((upper, work)) = &overlay.kept {
            options.push(format!("upperdir={},workdir={}", upper.display(), work.display()));
        }
    }
    options.join(",")
}

/// `-v` has no words for it.
fn needs_long_form(mount: &crate::MountRequest) -> bool {
    !mount.kind.is_of_host()
        || mount.subpath.is_some()
        || mount.writable_beneath
        || !mount.volume_labels.is_empty()
        || !mount.volume_options.is_empty()
}

/// `source:target[:options]` or `target`.
fn short_volume(mount: &crate::MountRequest) -> String {
    let options = volume_options(mount);
    let mut text = match mount.source.is_empty() {
        true => mount.target.clone(),
        false => format!("{}:{}", mount.source, mount.target),
    };
    if !options.is_empty() && !mount.source.is_empty() {
        text.push_str(&format!(":{options}"));
    }
    text
}

/// `--network`'s value; `None` for the usual one.
fn network(request: &NetworkRequest) -> Option<String> {
    match request {
        NetworkRequest::Default => None,
        NetworkRequest::Bridge => Some("bridge".into()),
        NetworkRequest::None => Some("none".into()),
        NetworkRequest::Host => Some("host".into()),
        NetworkRequest::Container(id) => Some(format!("container:{id}")),
        NetworkRequest::Pasta => Some("pasta".into()),
    }
}

/// Flags of `run` for namespaces that are shared, but for the network.
fn namespace_flags(asked: &NamespaceRequest) -> [(&'static str, Option<String>); 4] {
    let given = |word: String| (!word.is_empty()).then_some(word);
    [
        ("--pid", given(asked.pid.word())),
        ("--ipc", (asked.ipc != IpcRequest::Default).then(|| asked.ipc.word())),
        ("--uts", given(asked.uts.word())),
        ("--cgroupns", asked.host_cgroup.then(|| "host".to_owned())),
    ]
}

/// `name=soft:hard`'s value.
fn limit(ulimit: &crate::Ulimit) -> String {
    let one = |value: i64| if value < 0 { "unlimited".to_owned() } else { value.to_string() };
    if ulimit.soft == ulimit.hard {
        one(ulimit.soft)
    } else {
        format!("{}:{}", one(ulimit.soft), one(ulimit.hard))
    }
}

/// Flags of `run` for limits that only it has words for, in the order of its help.
fn limit_flags(asked: &ResourceRequest) -> [(&'static str, Option<String>); 8] {
    [
        ("--memory-reservation", asked.memory_reservation_bytes.map(|bytes| bytes.to_string())),
        ("--memory-swap", asked.memory_swap_bytes.map(|bytes| bytes.to_string())),
        ("--memory-swappiness", asked.memory_swappiness.map(|value| value.to_string())),
        ("--cpus", asked.nano_cpus.map(cpus)),
        ("--cpu-shares", asked.cpu_shares.map(|shares| shares.to_string())),
        ("--cpu-quota", asked.cpu_quota_us.map(|us| us.to_string())),
        ("--cpu-period", asked.cpu_period_us.map(|us| us.to_string())),
        ("--cpuset-cpus", asked.cpuset_cpus.clone()),
    ]
}

/// Billionths of a CPU as a decimal number without needless digits.
fn cpus(nano: u64) -> String {
    let text = format!("{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `--security-opt` values but the seccomp profile, whose text would need a file.
fn security_options(record: &ContainerRecord, notes: &mut Notes<'_>) -> Vec<String> {
    let security = &record.request.security;
    let mut all = Vec::new();
    match &security.seccomp {
        crate::SeccompRequest::Default => {}
        crate::SeccompRequest::Unconfined => all.push("seccomp=unconfined".to_owned()),
        crate::SeccompRequest::Profile(_) => {
            notes.add("its seccomp profile is stored as text: write it to a file and add seccomp=FILE");
        }
    }
    if security.no_new_privileges {
        all.push("no-new-privileges".into());
    }
    all.extend(security.apparmor.as_ref().map(|profile| format!("apparmor={profile}")));
    if security.label_disable {
        all.push("label=disable".into());
    }
    all.extend(security.label.options());
    if security.unmask {
        all.push("systempaths=unconfined".into());
    }
    all.extend(security.paths());
    all
}

#[cfg(test)]
mod field_tests;
#[cfg(test)]
mod tests;
