//! `inspect --as quadlet`: a `.container` unit, podman-systemd.unit(5). What has no key of its own stands in `PodmanArgs=`.

use super::run_line::long_mount;
use super::{
    Notes, lifecycle, limit, limit_flags, namespace_flags, needs_long_form, network, port, security_options,
    short_volume, tmpfs_options, users,
};
use crate::{ContainerRecord, MountKind, MountRequest, PullPolicy, RestartPolicy};

/// Lines of a section.
struct Section {
    text: String,
}

impl Section {
    fn key(&mut self, key: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.text.push_str(&format!("{key}={}\n", escaped(&value.to_string())));
        }
    }

    fn keys<T: ToString>(&mut self, key: &str, values: impl IntoIterator<Item = T>) {
        for value in values {
            self.key(key, Some(value));
        }
    }

    /// One word of a list that systemd takes apart.
    fn words<T: AsRef<str>>(&mut self, key: &str, values: impl IntoIterator<Item = T>) {
        for value in values {
            self.text.push_str(&format!("{key}={}\n", word(value.as_ref())));
        }
    }

    /// A flag of `podman run` without a key.
    fn flag(&mut self, flag: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.text.push_str(&format!("PodmanArgs={}\n", word(&format!("{flag}={}", value.to_string()))));
        }
    }

    fn truth(&mut self, key: &str, value: bool) {
        self.key(key, value.then_some("true"));
    }
}

/// Specifiers of systemd begin with `%`; a unit has no line ends within values.
fn escaped(text: &str) -> String {
    text.replace('%', "%%").replace('\n', " ")
}

/// A word by systemd.syntax(7), "Quoting"; `$` begins a variable in the command that is made of it.
fn word(text: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || "@+=:,./_-".contains(c);
    if !text.is_empty() && text.chars().all(bare) {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '%' => quoted.push_str("%%"),
            '$' => quoted.push_str("$$"),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

pub(super) fn unit(record: &ContainerRecord, notes: &mut Notes<'_>) -> String {
    let request = &record.request;
    let mut section = Section { text: String::new() };
    section.key("ContainerName", Some(&record.name));
    match &request.rootfs {
        Some(directory) => section.key("Rootfs", Some(directory.display())),
        None => section.key("Image", Some(&record.image_name)),
    }
    section.key(
        "Pull",
        match request.pull {
            PullPolicy::Missing => None,
            PullPolicy::Always => Some("always"),
            PullPolicy::Never => Some("never"),
        },
    );
    let mut arguments = request.command.clone();
    if let Some(entrypoint) = &request.entrypoint {
        let (first, rest) =
            entrypoint.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
        section.key("Entrypoint", Some(first));
        arguments.splice(0..0, rest.iter().cloned());
    }
    if !arguments.is_empty() {
        let words: Vec<String> = arguments.iter().map(|argument| word(argument)).collect();
        section.text.push_str(&format!("Exec={}\n", words.join(" ")));
    }
    section.words("Environment", variables(&request.env));
    section.key("WorkingDir", request.workdir.as_ref());
    if let Some(user) = &request.user {
        let (user, group) =
            user.split_once(':').map_or((user.as_str(), None), |(user, group)| (user, Some(group)));
        section.key("User", Some(user));
        section.key("Group", group);
    }
    section.keys("GroupAdd", &request.group_add);
    for (flag, value) in users::flags(request) {
        let key = match flag {
            "--userns" => "UserNS",
            "--uidmap" => "UIDMap",
            "--gidmap" => "GIDMap",
            "--subuidname" => "SubUIDMap",
            "--subgidname" => "SubGIDMap",
            "--group-add" => "GroupAdd",
            _ => {
                section.flag(flag, Some(value));
                continue;
            }
        };
        section.key(key, Some(value));
    }
    section.words("Label", request.labels.iter().map(|(key, value)| format!("{key}={value}")));
    section.truth("RunInit", request.init);
    section.flag("--tty", request.tty.then_some("true"));
    section.flag("--interactive", request.interactive.then_some("true"));
    section.flag("--platform", request.platform.as_ref());
    names_and_network(&mut section, record);
    mounts(&mut section, &request.mounts);
    privileges(&mut section, record, notes);
    resources(&mut section, record);
    section.key("StopSignal", request.stop_signal.as_ref());
    let timeout = request.stop_timeout_secs;
    section.key("StopTimeout", timeout.filter(|seconds| *seconds >= 0));
    notes.missing(timeout.is_some_and(|seconds| seconds < 0), "--stop-timeout -1");
    section.key("LogDriver", lifecycle::log_driver(request.log));
    section.words("LogOpt", lifecycle::log_options(request));
    section.key("HealthCmd", request.health.disabled.then_some("none"));
    for (flag, key, value) in lifecycle::health(request) {
        if key.is_empty() {
            notes.missing(true, flag);
        } else {
            section.key(key, value);
        }
    }
    notes.missing(request.auto_remove, "--rm");
    let service = restart(record, notes);
    let name = escaped(&record.name);
    format!(
        "# {}.container\n[Unit]\nDescription=Container {name}\n\n[Container]\n{}\n{service}[Install]\nWantedBy=default.target\n",
        record.name, section.text
    )
}

/// systemd restarts it, not podman: the words are those of systemd.service(5).
fn restart(record: &ContainerRecord, notes: &mut Notes<'_>) -> String {
    let word = match record.request.restart {
        RestartPolicy::No => return String::new(),
        RestartPolicy::OnFailure { max_retries } => {
            notes.missing(max_retries > 0, "the number of retries of --restart on-failure");
            "on-failure"
        }
        RestartPolicy::Always | RestartPolicy::UnlessStopped => "always",
    };
    format!("[Service]\nRestart={word}\n\n")
}

/// Variables with a value; one without means that the image's is removed, which no key says.
fn variables(env: &[String]) -> impl Iterator<Item = &String> {
    env.iter().filter(|variable| variable.contains('='))
}

fn names_and_network(section: &mut Section, record: &ContainerRecord) {
    let request = &record.request;
    section.key("HostName", request.hostname.as_ref());
    section.flag("--domainname", request.domainname.as_ref());
    section.key("Network", network(&request.network));
    for (flag, value) in namespace_flags(&request.namespaces) {
        section.flag(flag, value);
    }
    section.keys("PublishPort", request.publish.iter().map(port));
    section.flag("--publish-all", request.publish_all.then_some("true"));
    section.keys("ExposeHostPort", request.expose.iter().map(|port| port.trim_end_matches("/tcp")));
    section.keys("DNS", &request.dns);
    section.keys("DNSSearch", &request.dns_search);
    section.keys("DNSOption", &request.dns_options);
    section.keys("AddHost", request.add_hosts.iter().map(|(name, address)| format!("{name}:{address}")));
}

fn mounts(section: &mut Section, mounts: &[MountRequest]) {
    for mount in mounts {
        if mount.kind == MountKind::Tmpfs {
            let options = tmpfs_options(mount);
            let colon = if options.is_empty() { "" } else { ":" };
            section.key("Tmpfs", Some(format!("{}{colon}{options}", mount.target)));
        } else if needs_long_form(mount) {
            section.key("Mount", Some(long_mount(mount)));
        } else {
            section.key("Volume", Some(short_volume(mount)));
        }
    }
}

fn privileges(section: &mut Section, record: &ContainerRecord, notes: &mut Notes<'_>) {
    let request = &record.request;
    section.truth("ReadOnly", request.read_only);
    section.flag("--privileged", request.privileged.then_some("true"));
    section.keys("AddCapability", &request.cap_add);
    section.keys("DropCapability", &request.cap_drop);
    section.keys("AddDevice", &request.devices);
    for rule in &request.device_cgroup_rules {
        section.flag("--device-cgroup-rule", Some(rule));
    }
    for option in security_options(record, notes) {
        match option.split_once('=') {
            None => section.key("NoNewPrivileges", Some("true")),
            Some(("seccomp", profile)) => section.key("SeccompProfile", Some(profile)),
            Some(("label", "disable")) => section.key("SecurityLabelDisable", Some("true")),
            _ => section.flag("--security-opt", Some(option)),
        }
    }
    section.words("Sysctl", request.sysctls.iter().map(|(key, value)| format!("{key}={value}")));
    section.keys("Ulimit", request.ulimits.iter().map(|ulimit| format!("{}={}", ulimit.name, limit(ulimit))));
}

fn resources(section: &mut Section, record: &ContainerRecord) {
    let asked = &record.request.resources;
    section.key("ShmSize", record.request.shm_size_bytes);
    section.key("PidsLimit", asked.pids_limit);
    section.key("Memory", asked.memory_bytes);
    limit_flags(asked).into_iter().for_each(|(flag, value)| section.flag(flag, value));
    section.flag("--cpuset-mems", asked.cpuset_mems.as_ref());
    section.flag("--blkio-weight", asked.blkio_weight);
    section.flag("--oom-kill-disable", asked.oom_kill_disable.then_some("true"));
    section.flag("--oom-score-adj", asked.oom_score_adj);
}
