//! The config.json that `runtime spec` writes to begin with: a shell, five or six namespaces, few rights.
//!
//! The content is runc's (`runc spec`, 1.5) but for the version of the specification and the host name. Pure: the layout of
//! the cgroups and the user are the caller's to find out.

use cais_oci::runtime::{
    Capabilities, DeviceRule, IdMapping, Linux, Mount, Namespace, NamespaceType, Process, Resources, Rlimit,
    RlimitType, Root, Spec,
};

use crate::oci_features::SPEC_VERSION_MAX;

/// A container of root's. `unified`: the machine has cgroup v2 alone, where a cgroup namespace is of use.
pub fn template(unified: bool) -> Spec {
    let mut namespaces = vec![
        NamespaceType::Pid,
        NamespaceType::Network,
        NamespaceType::Ipc,
        NamespaceType::Uts,
        NamespaceType::Mount,
    ];
    if unified {
        namespaces.push(NamespaceType::Cgroup);
    }
    let deny_all = DeviceRule { allow: false, access: Some("rwm".to_owned()), ..DeviceRule::default() };
    Spec {
        oci_version: SPEC_VERSION_MAX.to_owned(),
        process: Some(shell()),
        root: Some(Root { path: "rootfs".to_owned(), readonly: true }),
        hostname: Some("cais".to_owned()),
        mounts: mounts(),
        linux: Some(Linux {
            resources: Some(Resources { devices: vec![deny_all], ..Resources::default() }),
            namespaces: namespaces.into_iter().map(|kind| Namespace { kind, path: None }).collect(),
            masked_paths: texts(&[
                "/proc/acpi",
                "/proc/asound",
                "/proc/kcore",
                "/proc/keys",
                "/proc/latency_stats",
                "/proc/timer_list",
                "/proc/timer_stats",
                "/proc/sched_debug",
                "/sys/firmware",
                "/proc/scsi",
            ]),
            readonly_paths: texts(&[
                "/proc/bus",
                "/proc/fs",
                "/proc/irq",
                "/proc/sys",
                "/proc/sysrq-trigger",
            ]),
            ..Linux::default()
        }),
        ..Spec::default()
    }
}

/// The same for a user without rights, who is root inside and shares the host's network: no cgroup limits, no group
/// for terminals, the host's /sys.
pub fn rootless_template(unified: bool, uid: u32, gid: u32) -> Spec {
    let mut spec = template(unified);
    for mount in &mut spec.mounts {
        if mount.destination == "/sys" {
            *mount = filesystem("/sys", "none", "/sys", &["rbind", "nosuid", "noexec", "nodev", "ro"]);
        }
        mount.options.retain(|option| !option.starts_with("gid=") && !option.starts_with("uid="));
    }
    if let Some(linux) = &mut spec.linux {
        linux.namespaces.retain(|namespace| namespace.kind != NamespaceType::Network);
        linux.namespaces.push(Namespace { kind: NamespaceType::User, path: None });
        linux.uid_mappings = vec![IdMapping { container_id: 0, host_id: uid, size: 1 }];
        linux.gid_mappings = vec![IdMapping { container_id: 0, host_id: gid, size: 1 }];
        linux.resources = None;
    }
    spec
}

fn shell() -> Process {
    let granted = Some(texts(&["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]));
    Process {
        terminal: true,
        args: texts(&["sh"]),
        env: texts(&["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"]),
        cwd: "/".to_owned(),
        capabilities: Some(Capabilities {
            bounding: granted.clone(),
            effective: granted.clone(),
            permitted: granted,
            inheritable: None,
            ambient: None,
        }),
        rlimits: vec![Rlimit { kind: RlimitType::Nofile, hard: 1024, soft: 1024 }],
        no_new_privileges: true,
        ..Process::default()
    }
}

fn mounts() -> Vec<Mount> {
    let shared_memory = ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"];
    let terminals = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
    let groups = ["nosuid", "noexec", "nodev", "relatime", "ro"];
    vec![
        filesystem("/proc", "proc", "proc", &[]),
        filesystem("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        filesystem("/dev/pts", "devpts", "devpts", &terminals),
        filesystem("/dev/shm", "tmpfs", "shm", &shared_memory),
        filesystem("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        filesystem("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        filesystem("/sys/fs/cgroup", "cgroup", "cgroup", &groups),
    ]
}

fn filesystem(destination: &str, kind: &str, source: &str, options: &[&str]) -> Mount {
    Mount {
        destination: destination.to_owned(),
        kind: Some(kind.to_owned()),
        source: Some(source.to_owned()),
        options: texts(options),
        ..Mount::default()
    }
}

fn texts(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn templates_are_valid_and_survive_a_round_trip() {
        for spec in [template(false), template(true), rootless_template(true, 1000, 1000)] {
            spec.validate().unwrap();
            let json = serde_json::to_vec(&spec).unwrap();
            assert_eq!(Spec::parse(&json).unwrap(), spec);
        }
    }

    #[test]
    fn rootless_needs_nothing_of_the_host() {
        let spec = rootless_template(true, 1000, 1001);
        let linux = spec.linux.as_ref().unwrap();
        let kinds: Vec<NamespaceType> = linux.namespaces.iter().map(|namespace| namespace.kind).collect();
        assert!(kinds.contains(&NamespaceType::User) && kinds.contains(&NamespaceType::Cgroup));
        assert!(!kinds.contains(&NamespaceType::Network));
        assert_eq!((linux.uid_mappings[0].host_id, linux.gid_mappings[0].host_id), (1000, 1001));
        assert!(linux.resources.is_none());
        assert!(!spec.mounts.iter().flat_map(|mount| &mount.options).any(|option| option.contains("gid=")));
    }

    /// What `runc spec` writes; `None`, after saying so, where there is no runc.
    fn runc(arguments: &[&str]) -> Option<Value> {
        let bundle = tempfile::tempdir().unwrap();
        let Ok(output) = Command::new("runc").arg("spec").args(arguments).current_dir(&bundle).output()
        else {
            println!("skipped: no runc");
            return None;
        };
        assert!(output.status.success(), "{output:?}");
        let json = std::fs::read(bundle.path().join("config.json")).unwrap();
        Some(serde_json::from_slice(&json).unwrap())
    }

    /// Ours with the two fields that differ on purpose taken from `theirs`; ambient capabilities are what old runcs
    /// grant and new ones do not.
    fn assert_same(ours: &Spec, mut theirs: Value) {
        let mut ours = serde_json::to_value(ours).unwrap();
        for field in ["ociVersion", "hostname"] {
            assert!(ours[field].is_string());
            ours[field] = theirs[field].clone();
        }
        theirs["process"]["capabilities"].as_object_mut().unwrap().shift_remove("ambient");
        assert_eq!(ours, theirs);
        assert_eq!(ours["process"]["args"], json!(["sh"]));
    }

    #[test]
    fn the_content_is_runcs() {
        let unified = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        if let Some(theirs) = runc(&[]) {
            assert_same(&template(unified), theirs);
        }
        if let Some(theirs) = runc(&["--rootless"]) {
            let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
            assert_same(&rootless_template(unified, uid.as_raw(), gid.as_raw()), theirs);
        }
    }
}
