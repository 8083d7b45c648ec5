//! `inspect --as run`: the command line, quoted for a POSIX shell. Executed again it makes the same record but for id,
//! times and, when there was none, name.

use super::{
    Notes, lifecycle, limit, limit_flags, namespace_flags, needs_long_form, network, port, security_options,
    short_volume, tmpfs_options, users,
};
use crate::{
    ContainerRecord, ContainerRequest, DeviceLimitKind, HostsBase, ImageVolumes, MountKind, MountRequest,
    OwnersRequest, PullPolicy,
};

/// Words of the line, in groups that stand together.
struct Line {
    words: Vec<String>,
}

impl Line {
    fn switch(&mut self, flag: &str, on: bool) {
        if on {
            self.words.push(flag.to_owned());
        }
    }

    fn value(&mut self, flag: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.words.push(flag.to_owned());
            self.words.push(value.to_string());
        }
    }

    fn values<T: ToString>(&mut self, flag: &str, values: impl IntoIterator<Item = T>) {
        for value in values {
            self.value(flag, Some(value));
        }
    }
}

pub(super) fn line(record: &ContainerRecord, notes: &mut Notes<'_>) -> String {
    let request = &record.request;
    let mut line = Line { words: vec!["cais".into(), "run".into()] };
    line.switch("-d", request.detach);
    line.switch("-i", request.interactive);
    line.switch("-t", request.tty);
    line.switch("--rm", request.auto_remove && !request.remove_image);
    line.switch("--rmi", request.remove_image);
    line.switch("--init", request.init);
    line.value("--name", request.name.as_ref());
    notes.missing(request.cidfile.is_some(), "--cidfile, whose file exists already,");
    names_and_network(&mut line, record);
    mounts(&mut line, &request.mounts);
    privileges(&mut line, record, notes);
    resources(&mut line, record);
    line.values("-e", &request.env);
    line.value("-w", request.workdir.as_ref());
    line.value("-u", request.user.as_ref());
    line.values("--label", request.labels.iter().map(|(key, value)| format!("{key}={value}")));
    line.value("--stop-signal", request.stop_signal.as_ref());
    line.value("--stop-timeout", request.stop_timeout_secs);
    line.value("--timeout", request.run_limit_secs);
    life(&mut line, request);
    rare(&mut line, request);
    line.value("--platform", request.platform.as_ref());
    line.value(
        "--pull",
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
        line.value("--entrypoint", Some(first));
        arguments.splice(0..0, rest.iter().cloned());
    }
    match &request.rootfs {
        Some(directory) => {
            line.switch("--rootfs", true);
            line.words.push(directory.display().to_string());
        }
        None => line.words.push(request.image.clone()),
    }
    line.words.extend(arguments);
    let words: Vec<String> = line.words.iter().map(|word| quoted(word)).collect();
    format!("{}\n", words.join(" "))
}

fn life(line: &mut Line, request: &ContainerRequest) {
    line.value("--restart", lifecycle::restart(request.restart));
    line.switch("--no-healthcheck", request.health.disabled);
    lifecycle::health(request).into_iter().for_each(|(flag, _, value)| line.value(flag, value));
    line.value("--log-driver", lifecycle::log_driver(request.log));
    line.values("--log-opt", lifecycle::log_options(request));
}

/// Flags that few containers have.
fn rare(line: &mut Line, request: &ContainerRequest) {
    line.values("--annotation", request.annotations.iter().map(|(key, value)| format!("{key}={value}")));
    line.switch("--unsetenv-all", request.ignore_image_env);
    line.values("--env-merge", &request.env_merge);
    line.value(
        "--image-volume",
        match request.image_volumes {
            ImageVolumes::Anonymous => None,
            ImageVolumes::Tmpfs => Some("tmpfs"),
            ImageVolumes::Ignore => Some("ignore"),
        },
    );
    line.values("--volumes-from", &request.volumes_from);
    line.switch("--no-hosts", request.no_hosts);
    line.switch("--no-hostname", request.no_hostname);
    line.value("--umask", request.umask.map(|umask| format!("{umask:04o}")));
    // 8 is PER_LINUX32; the command line has no word for others.
    line.value(
        "--personality",
        request.personality.map(|persona| if persona == 8 { "LINUX32" } else { "LINUX" }),
    );
    line.value("--pidfile", request.pidfile.as_ref().map(|path| path.display()));
    line.value("--mac-address", request.mac_address.as_ref());
}

fn names_and_network(line: &mut Line, record: &ContainerRecord) {
    let request = &record.request;
    line.value("--hostname", request.hostname.as_ref());
    line.value("--domainname", request.domainname.as_ref());
    line.value("--network", network(&request.network));
    line.value("--pod", request.pod.as_ref());
    line.values("--requires", &request.requires);
    for (flag, value) in namespace_flags(&request.namespaces) {
        line.value(flag, value);
    }
    line.values("-p", request.publish.iter().map(port));
    line.switch("-P", request.publish_all);
    line.values("--expose", &request.expose);
    line.values("--dns", &request.dns);
    line.values("--dns-search", &request.dns_search);
    line.values("--dns-option", &request.dns_options);
    line.value(
        "--hosts-file",
        match &request.hosts_base {
            HostsBase::Nothing => None,
            HostsBase::Image => Some("image".to_owned()),
            HostsBase::File(path) => Some(path.display().to_string()),
        },
    );
    line.values("--add-host", request.add_hosts.iter().map(|(name, address)| format!("{name}:{address}")));
}

fn mounts(line: &mut Line, mounts: &[MountRequest]) {
    for mount in mounts {
        let plain = !mount.source.contains([':', ',']) && !mount.target.contains(':');
        if mount.kind == MountKind::Tmpfs {
            let options = tmpfs_options(mount);
            let colon = if options.is_empty() { "" } else { ":" };
            line.value("--tmpfs", Some(format!("{}{colon}{options}", mount.target)));
        } else if mount.create_source && plain && !needs_long_form(mount) {
            line.value("-v", Some(short_volume(mount)));
        } else {
            line.value("--mount", Some(long_mount(mount)));
        }
    }
}

/// The value of `--mount`.
pub(super) fn long_mount(mount: &MountRequest) -> String {
    let kind = match mount.kind {
        MountKind::Bind => "bind",
        MountKind::Volume => "volume",
        MountKind::Tmpfs => "tmpfs",
        MountKind::Image => "image",
        MountKind::Ramfs => "ramfs",
        MountKind::Devpts => "devpts",
    };
    let mut fields = vec![format!("type={kind}")];
    if !mount.source.is_empty() {
        fields.push(format!("source={}", mount.source));
    }
    fields.push(format!("target={}", mount.target));
    match (mount.kind, mount.read_only) {
        (MountKind::Image, false) => fields.push("rw=true".into()),
        (MountKind::Image, true) | (_, false) => {}
        (_, true) => fields.push("readonly".into()),
    }
    let prefix = if mount.kind == MountKind::Image { "image" } else { "volume" };
    fields.extend(mount.subpath.as_ref().map(|subpath| format!("{prefix}-subpath={subpath}")));
    let pairs = |name: &'static str, pairs: &std::collections::BTreeMap<String, String>| {
        pairs.iter().map(|(key, value)| format!("{name}={key}={value}")).collect::<Vec<_>>()
    };
    fields.extend(pairs("volume-label", &mount.volume_labels));
    fields.extend(pairs("volume-opt", &mount.volume_options));
    if mount.writable_beneath {
        fields.push("bind-recursive=writable".into());
    }
    if mount.kind == MountKind::Devpts {
        fields.extend(mount.options.iter().cloned());
    }
    if let (MountKind::Ramfs, Some(mode)) = (mount.kind, mount.tmpfs_mode) {
        fields.push(format!("tmpfs-mode={mode:o}"));
    }
    fields.extend(mount.propagation.as_ref().map(|propagation| format!("bind-propagation={propagation}")));
    if mount.non_recursive {
        fields.push("bind-nonrecursive=true".into());
    }
    if mount.no_copy {
        fields.push("volume-nocopy=true".into());
    }
    fields.extend(match &mount.owners {
        OwnersRequest::Default => None,
        OwnersRequest::Changed => Some("U=true".to_owned()),
        OwnersRequest::Mapped => Some("idmap".to_owned()),
        OwnersRequest::MappedBy(maps) => Some(format!("idmap={maps}")),
    });
    if mount.create_source && mount.kind == MountKind::Bind {
        fields.push("bind-create-src=true".into());
    }
    let csv = |field: &String| match field.contains([',', '"']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field.clone(),
    };
    fields.iter().map(csv).collect::<Vec<_>>().join(",")
}

fn privileges(line: &mut Line, record: &ContainerRecord, notes: &mut Notes<'_>) {
    let request = &record.request;
    line.switch("--read-only", request.read_only);
    line.switch("--privileged", request.privileged);
    line.values("--cap-add", &request.cap_add);
    line.values("--cap-drop", &request.cap_drop);
    line.values("--group-add", &request.group_add);
    users::flags(request).into_iter().for_each(|(flag, value)| line.value(flag, Some(value)));
    line.values("--device", &request.devices);
    line.values("--device-cgroup-rule", &request.device_cgroup_rules);
    line.values("--security-opt", security_options(record, notes));
    line.values("--sysctl", request.sysctls.iter().map(|(key, value)| format!("{key}={value}")));
    line.values(
        "--ulimit",
        request.ulimits.iter().map(|ulimit| format!("{}={}", ulimit.name, limit(ulimit))),
    );
}

fn resources(line: &mut Line, record: &ContainerRecord) {
    let asked = &record.request.resources;
    line.value("--shm-size", record.request.shm_size_bytes);
    line.value("-m", asked.memory_bytes);
    limit_flags(asked).into_iter().for_each(|(flag, value)| line.value(flag, value));
    line.value("--cpuset-mems", asked.cpuset_mems.as_ref());
    line.value("--pids-limit", asked.pids_limit);
    line.value("--blkio-weight", asked.blkio_weight);
    line.switch("--oom-kill-disable", asked.oom_kill_disable);
    line.value("--oom-score-adj", asked.oom_score_adj);
    line.value("--cpu-rt-period", asked.cpu_rt_period_us);
    line.value("--cpu-rt-runtime", asked.cpu_rt_runtime_us);
    for limit in &asked.device_limits {
        let flag = match limit.kind {
            DeviceLimitKind::Weight => "--blkio-weight-device",
            DeviceLimitKind::ReadBps => "--device-read-bps",
            DeviceLimitKind::WriteBps => "--device-write-bps",
            DeviceLimitKind::ReadIops => "--device-read-iops",
            DeviceLimitKind::WriteIops => "--device-write-iops",
        };
        line.value(flag, Some(format!("{}:{}", limit.path, limit.value)));
    }
    line.values("--cgroup-conf", asked.unified.iter().map(|(file, value)| format!("{file}={value}")));
}

/// A word for a POSIX shell: bare when it holds nothing special.
pub(super) fn quoted(word: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./_-".contains(c);
    if !word.is_empty() && word.chars().all(bare) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
