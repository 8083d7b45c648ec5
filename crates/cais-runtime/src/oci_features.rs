//! What this runtime and this kernel can do, as the document that `runtime features` prints.
//!
//! Implements features.md and features-linux.md of the OCI runtime specification 1.3. What is compiled in is said whatever
//! the machine has, as the specification wants it; three lists are narrowed to the kernel that runs: kinds of
//! namespaces, capabilities, and the flags of seccomp(2). Changes nothing; a question that the kernel does not answer
//! counts as "no".

use std::collections::BTreeMap;
use std::path::Path;

use cais_oci::runtime::{
    CgroupFeatures, Enabled, Features, Hooks, IntelRdtFeatures, LinuxFeatures, MemoryPolicyFeatures,
    MemoryPolicyFlag, MemoryPolicyMode, MountExtensions, NamespaceType, SeccompAction, SeccompArch,
    SeccompFeatures, SeccompFlag, SeccompOp,
};
use rustix::thread::{CapabilitySet, capability_is_in_bounding_set};

use crate::capability::CapSet;
use crate::seccomp::{Abi, flag};

/// Oldest version of the specification whose documents are understood.
pub const SPEC_VERSION_MIN: &str = "1.0.0";
/// Newest one; what states and templates say.
pub const SPEC_VERSION_MAX: &str = "1.3.0";

/// Annotations of a config.json that change what the runtime does to the host; a final dot means all that begin so.
const UNSAFE_ANNOTATIONS: [&str; 1] = ["org.systemd.property."];

/// What only the crates above know.
#[derive(Debug, Clone, Copy)]
pub struct Build<'a> {
    /// The version of cais.
    pub version: &'a str,
    /// What it was built from, if known.
    pub commit: Option<&'a str>,
    /// Whether checkpoint and restore work on this machine.
    pub checkpoint: bool,
    /// Every mount option that is not handed to the file system.
    pub mount_options: &'a [&'a str],
}

/// The features of this build on this kernel; lists are sorted where their order means nothing.
pub fn features(build: &Build<'_>) -> Features {
    let mut annotations = BTreeMap::from([
        ("org.cais.version".to_owned(), build.version.to_owned()),
        ("org.cais.checkpoint.enabled".to_owned(), build.checkpoint.to_string()),
    ]);
    if let Some(commit) = build.commit {
        annotations.insert("org.cais.commit".to_owned(), commit.to_owned());
    }
    Features {
        oci_version_min: SPEC_VERSION_MIN.to_owned(),
        oci_version_max: SPEC_VERSION_MAX.to_owned(),
        hooks: Some(Hooks::default().lists().iter().map(|(name, _)| (*name).to_owned()).collect()),
        mount_options: Some(sorted(build.mount_options.iter().copied())),
        linux: Some(linux()),
        annotations,
        potentially_unsafe_config_annotations: Some(UNSAFE_ANNOTATIONS.map(str::to_owned).to_vec()),
    }
}

fn linux() -> LinuxFeatures {
    let yes = Some(true);
    let enabled = Some(Enabled { enabled: yes });
    LinuxFeatures {
        namespaces: Some(sorted(
            NamespaceType::ALL.iter().filter(|kind| has_namespace(**kind)).map(|k| k.word()),
        )),
        capabilities: Some(capabilities()),
        cgroup: Some(CgroupFeatures { v1: yes, v2: yes, systemd: yes, systemd_user: yes, rdma: yes }),
        seccomp: Some(seccomp()),
        apparmor: enabled,
        selinux: enabled,
        intel_rdt: Some(IntelRdtFeatures { enabled: yes, schemata: yes, monitoring: yes }),
        memory_policy: Some(MemoryPolicyFeatures {
            modes: Some(sorted(MemoryPolicyMode::ALL.iter().map(|mode| mode.word()))),
            flags: Some(sorted(MemoryPolicyFlag::ALL.iter().map(|flag| flag.word()))),
        }),
        mount_extensions: Some(MountExtensions { idmap: enabled }),
        net_devices: enabled,
    }
}

fn seccomp() -> SeccompFeatures {
    // Without a table of system calls no filter can be compiled.
    if Abi::NATIVE.is_none() {
        return SeccompFeatures { enabled: Some(false), ..SeccompFeatures::default() };
    }
    let supported = SeccompFlag::ALL.iter().filter(|known| has_flag(**known));
    SeccompFeatures {
        enabled: Some(true),
        actions: Some(sorted(SeccompAction::ALL.iter().map(|action| action.word()))),
        operators: Some(sorted(SeccompOp::ALL.iter().map(|op| op.word()))),
        archs: Some(sorted(SeccompArch::ALL.iter().map(|arch| arch.word()))),
        known_flags: Some(SeccompFlag::ALL.iter().map(|flag| flag.word().to_owned()).collect()),
        supported_flags: Some(supported.map(|flag| flag.word().to_owned()).collect()),
    }
}

fn has_namespace(kind: NamespaceType) -> bool {
    let file = match kind {
        NamespaceType::Mount => "mnt",
        NamespaceType::Network => "net",
        other => other.word(),
    };
    Path::new("/proc/self/ns").join(file).exists()
}

/// Those that have a name and that the kernel knows, held by anybody or not.
fn capabilities() -> Vec<String> {
    let is_known = |bit: u64| capability_is_in_bounding_set(CapabilitySet::from_bits_retain(bit)).is_ok();
    CapSet::ALL.iter().filter(|cap| is_known(1 << cap.number())).map(|cap| cap.to_string()).collect()
}

fn has_flag(known: SeccompFlag) -> bool {
    cais_sys::seccomp::knows_flags(match known {
        SeccompFlag::Tsync => 1,
        SeccompFlag::Log => flag::LOG,
        SeccompFlag::SpecAllow => flag::SPEC_ALLOW,
        SeccompFlag::WaitKillableRecv => flag::WAIT_KILLABLE_RECV | flag::NEW_LISTENER,
    })
}

fn sorted<'a>(words: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut words: Vec<String> = words.map(str::to_owned).collect();
    words.sort_unstable();
    words
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use serde_json::Value;

    use super::*;

    const BUILD: Build<'_> =
        Build { version: "1.2.3", commit: None, checkpoint: false, mount_options: &["ro", "bind"] };

    fn document() -> Value {
        serde_json::to_value(features(&BUILD)).unwrap()
    }

    fn words(value: &Value) -> Vec<&str> {
        value.as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect()
    }

    #[test]
    fn every_field_of_the_specification_is_told() {
        let document = document();
        for pointer in [
            "/ociVersionMin",
            "/ociVersionMax",
            "/hooks/5",
            "/mountOptions/1",
            "/linux/namespaces/0",
            "/linux/capabilities/0",
            "/linux/cgroup/v1",
            "/linux/cgroup/v2",
            "/linux/cgroup/systemd",
            "/linux/cgroup/systemdUser",
            "/linux/cgroup/rdma",
            "/linux/seccomp/enabled",
            "/linux/seccomp/actions/8",
            "/linux/seccomp/operators/6",
            "/linux/seccomp/archs/22",
            "/linux/seccomp/knownFlags/3",
            "/linux/apparmor/enabled",
            "/linux/selinux/enabled",
            "/linux/intelRdt/enabled",
            "/linux/intelRdt/schemata",
            "/linux/intelRdt/monitoring",
            "/linux/memoryPolicy/modes/6",
            "/linux/memoryPolicy/flags/2",
            "/linux/mountExtensions/idmap/enabled",
            "/linux/netDevices/enabled",
            "/potentiallyUnsafeConfigAnnotations/0",
        ] {
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
        assert_eq!(document["mountOptions"], serde_json::json!(["bind", "ro"]));
        assert_eq!(document["annotations"]["org.cais.version"], "1.2.3");
        assert_eq!(document["annotations"]["org.cais.checkpoint.enabled"], "false");
        assert_eq!(document["annotations"].get("org.cais.commit"), None);
    }

    #[test]
    fn the_kernel_is_asked() {
        let document = document();
        let linux = &document["linux"];
        let namespaces = words(&linux["namespaces"]);
        assert_eq!(namespaces.contains(&"time"), Path::new("/proc/self/ns/time").exists());
        assert!(namespaces.contains(&"mount") && namespaces.contains(&"network"), "{namespaces:?}");
        let last: usize =
            std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap().trim().parse().unwrap();
        let capabilities = words(&linux["capabilities"]);
        assert_eq!(capabilities.len(), (last + 1).min(41));
        assert_eq!((capabilities[0], capabilities[24]), ("CAP_CHOWN", "CAP_SYS_RESOURCE"));
        let known = words(&linux["seccomp"]["knownFlags"]);
        let supported = words(&linux["seccomp"]["supportedFlags"]);
        assert!(supported.iter().all(|flag| known.contains(flag)));
        if cais_sys::seccomp::knows_flags(0) {
            assert!(supported.contains(&"SECCOMP_FILTER_FLAG_LOG"), "{supported:?}");
        } else {
            assert!(supported.is_empty(), "{supported:?}");
        }
    }

    #[test]
    fn nothing_that_runc_says_is_missing() {
        let Ok(output) = Command::new("runc").arg("features").output() else {
            println!("skipped: no runc");
            return;
        };
        let runc: Value = serde_json::from_slice(&output.stdout).unwrap();
        let ours = document();
        assert_eq!(ours["hooks"], runc["hooks"]);
        for list in ["namespaces", "capabilities", "seccomp/actions", "seccomp/operators", "seccomp/archs"] {
            let pointer = format!("/linux/{list}");
            let ours = words(ours.pointer(&pointer).unwrap());
            let Some(theirs) = runc.pointer(&pointer) else { continue };
            let missing: Vec<&str> = words(theirs).into_iter().filter(|word| !ours.contains(word)).collect();
            assert!(missing.is_empty(), "{list}: {missing:?}");
        }
        for (object, fields) in runc["linux"].as_object().unwrap() {
            for (field, value) in
                fields.as_object().into_iter().flatten().filter(|(_, value)| value.is_boolean())
            {
                assert_eq!(ours["linux"][object][field], *value, "{object}.{field}");
            }
        }
    }
}
