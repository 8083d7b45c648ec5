//! `--security-opt label=…`: which SELinux labels a container's process and file systems get.
//!
//! Only a container that asks for a part of a label has one; what it does not say comes from the policy's own
//! `contexts/lxc_contexts` (selinux/selinux.h, selinux_lxc_contexts_path(3)), or is what most policies call it.
//! Levels are not made up: without `label=level` all such containers share the policy's.

use std::fs;
use std::path::Path;

use crate::{ContainerRecord, LabelRequest};

/// What most policies call them.
const PROCESS: &str = "system_u:system_r:container_t:s0";
const FILE: &str = "system_u:object_r:container_file_t:s0";

/// The extended attribute that holds a file's label.
pub(crate) const ATTRIBUTE: &str = "security.selinux";

/// Labels of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Labels {
    /// Of its process.
    pub(crate) process: String,
    /// Of the files that it finds.
    pub(crate) mount: String,
}

/// The labels of a container; `None` where it asks for none or the kernel has no SELinux.
pub(crate) fn labels(record: &ContainerRecord) -> Option<Labels> {
    let request = &record.request.security.label;
    if is_idle(record) || !is_enabled() {
        return None;
    }
    let contexts = policy().and_then(|name| {
        fs::read_to_string(Path::new("/etc/selinux").join(name).join("contexts/lxc_contexts")).ok()
    });
    Some(composed(request, &contexts.unwrap_or_default()))
}

/// What is said to who asks for labels where there are none.
pub(crate) fn warning(record: &ContainerRecord) -> Option<String> {
    (!is_idle(record) && !is_enabled())
        .then(|| "SELinux is not enabled on this machine: options label=… have no effect".to_owned())
}

fn is_idle(record: &ContainerRecord) -> bool {
    let security = &record.request.security;
    security.label_disable || security.label == LabelRequest::default()
}

fn is_enabled() -> bool {
    Path::new("/sys/fs/selinux/enforce").exists()
}

/// The name of the policy in use, selinux_config(5).
fn policy() -> Option<String> {
    let text = fs::read_to_string("/etc/selinux/config").ok()?;
    text.lines().find_map(|line| Some(line.trim().strip_prefix("SELINUXTYPE=")?.trim().to_owned()))
}

/// A label is `user:role:type:level`, and a level has colons of its own.
fn composed(request: &LabelRequest, contexts: &str) -> Labels {
    let known = |key: &str, otherwise: &str| {
        let value = contexts.lines().find_map(|line| {
            let (name, value) = line.split_once('=')?;
            (name.trim() == key).then(|| value.trim().trim_matches('"').to_owned())
        });
        value.unwrap_or_else(|| otherwise.to_owned())
    };
    let with = |label: String, role: Option<&String>, kind: Option<&String>| {
        let parts: Vec<&str> = label.splitn(4, ':').collect();
        let asked = [request.user.as_ref(), role, kind, request.level.as_ref()];
        let part = |index: usize| {
            let own = parts.get(index).map(|part| (*part).to_owned());
            asked.get(index).copied().flatten().cloned().or(own)
        };
        (0..4).filter_map(part).collect::<Vec<_>>().join(":")
    };
    Labels {
        process: with(known("process", PROCESS), request.role.as_ref(), request.kind.as_ref()),
        mount: with(known("file", FILE), None, request.file_kind.as_ref()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_composed() {
        let text = |text: &str| Some(text.to_owned());
        let request = LabelRequest { kind: text("x_t"), level: text("s0:c1,c2"), ..LabelRequest::default() };
        let labels = composed(&request, "");
        assert_eq!(labels.process, "system_u:system_r:x_t:s0:c1,c2");
        assert_eq!(labels.mount, "system_u:object_r:container_file_t:s0:c1,c2");
        let request = LabelRequest {
            user: text("u"),
            role: text("r"),
            file_kind: text("f_t"),
            ..LabelRequest::default()
        };
        let contexts =
            "process = \"system_u:system_r:svirt_lxc_net_t:s0-s0:c3\"\nfile = \"system_u:object_r:o_t:s0\"\n";
        let labels = composed(&request, contexts);
        assert_eq!(labels.process, "u:r:svirt_lxc_net_t:s0-s0:c3");
        assert_eq!(labels.mount, "u:object_r:f_t:s0");
    }
}
