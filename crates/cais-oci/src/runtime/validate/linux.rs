//! The rules about the `linux` object.

use std::collections::BTreeSet;

use super::count_numbers;
use crate::runtime::SpecError;
use crate::runtime::linux::{
    DeviceType, IntelRdt, Linux, MemoryPolicy, MemoryPolicyMode, Namespace, NamespaceType,
};
use crate::runtime::resources::{Resources, WeightDevice};

/// Kernel parameters of an IPC namespace, besides those below `fs/mqueue`.
const IPC_SYSCTLS: [&str; 8] = [
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
    "kernel/shm_rmid_forced",
];

/// The path below `/proc/sys` of a kernel parameter, by the rules of sysctl(8): separated by dots or by slashes,
/// whichever comes first; the other one stands for itself, dots for slashes and slashes for dots.
///
/// `None` for a name that leaves `/proc/sys` or has an empty part.
pub fn sysctl_path(name: &str) -> Option<String> {
    let dotted = name.find(['.', '/']).is_none_or(|at| name.as_bytes()[at] == b'.');
    let swapped = |c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    let path = if dotted { name.chars().map(swapped).collect() } else { name.to_owned() };
    let hostile = |part: &str| part.is_empty() || part == "." || part == "..";
    (!path.split('/').any(hostile)).then_some(path)
}

impl Linux {
    /// The namespace of this kind, if the container gets one.
    pub fn namespace(&self, kind: NamespaceType) -> Option<&Namespace> {
        self.namespaces.iter().find(|namespace| namespace.kind == kind)
    }

    /// Checks what the specification demands of the values.
    pub fn validate(&self) -> Result<(), SpecError> {
        self.check_namespaces()?;
        self.check_time_offsets()?;
        self.check_sysctl()?;
        self.check_paths()?;
        self.check_devices()?;
        self.check_net_devices()?;
        if let Some(seccomp) = &self.seccomp
            && seccomp.listener_metadata.is_some()
            && seccomp.listener_path.is_none()
        {
            return Err(SpecError::ListenerMetadata);
        }
        if let Some(rdt) = &self.intel_rdt {
            check_intel_rdt(rdt)?;
        }
        if let Some(policy) = &self.memory_policy {
            check_memory_policy(policy)?;
        }
        if let Some(flag) = self.personality.as_ref().and_then(|personality| personality.flags.first()) {
            return Err(SpecError::PersonalityFlag { flag: flag.clone() });
        }
        self.resources.as_ref().map_or(Ok(()), Resources::validate)
    }

    fn check_namespaces(&self) -> Result<(), SpecError> {
        let mut kinds = BTreeSet::new();
        for (index, Namespace { kind, path }) in self.namespaces.iter().enumerate() {
            if !kinds.insert(kind) {
                return Err(SpecError::DuplicateNamespace { kind: *kind });
            }
            if let Some(path) = path {
                check_absolute(path, || format!("linux.namespaces[{index}].path"))?;
            }
        }
        let has_mappings = !self.uid_mappings.is_empty() || !self.gid_mappings.is_empty();
        match self.namespace(NamespaceType::User) {
            None if has_mappings => Err(SpecError::MappingsWithoutUser),
            Some(Namespace { path: None, .. }) if !has_mappings => Err(SpecError::UserWithoutMappings),
            _ => Ok(()),
        }
    }

    fn check_time_offsets(&self) -> Result<(), SpecError> {
        if self.time_offsets.is_empty() {
            return Ok(());
        }
        match self.namespace(NamespaceType::Time) {
            None => return Err(SpecError::OffsetsWithoutTime),
            Some(Namespace { path: Some(_), .. }) => return Err(SpecError::OffsetsOfJoinedTime),
            Some(_) => {}
        }
        for (clock, offset) in &self.time_offsets {
            if offset.nanosecs >= 1_000_000_000 {
                return Err(SpecError::Nanosecs { clock: *clock, nanosecs: offset.nanosecs });
            }
        }
        Ok(())
    }

    /// Only what a namespace of the container holds may be set. Whether a joined network namespace is the
    /// host's is for who joins it.
    fn check_sysctl(&self) -> Result<(), SpecError> {
        let has = |kind| self.namespace(kind).is_some();
        for name in self.sysctl.keys() {
            let Some(path) = sysctl_path(name) else {
                return Err(SpecError::SysctlName { name: name.clone() });
            };
            let allowed = match path.as_str() {
                "kernel/hostname" if has(NamespaceType::Uts) => {
                    return Err(SpecError::SysctlHostname { name: name.clone() });
                }
                "kernel/domainname" => has(NamespaceType::Uts),
                path if IPC_SYSCTLS.contains(&path) || path.starts_with("fs/mqueue/") => {
                    has(NamespaceType::Ipc)
                }
                path if path.starts_with("net/") => has(NamespaceType::Network),
                path if path.starts_with("user/") => has(NamespaceType::User),
                _ => false,
            };
            if !allowed {
                return Err(SpecError::SysctlOfHost { name: name.clone() });
            }
        }
        Ok(())
    }

    fn check_paths(&self) -> Result<(), SpecError> {
        for (field, paths) in [("maskedPaths", &self.masked_paths), ("readonlyPaths", &self.readonly_paths)] {
            if !paths.is_empty() && self.namespace(NamespaceType::Mount).is_none() {
                return Err(SpecError::PathsWithoutMount);
            }
            for (index, path) in paths.iter().enumerate() {
                // A relative one has always been taken for one of the root by runc and crun: it makes nothing weaker.
                let from_root = if field == "readonlyPaths" && !path.is_empty() { "/" } else { "" };
                check_absolute(&format!("{from_root}{path}"), || format!("linux.{field}[{index}]"))?;
            }
        }
        Ok(())
    }

    fn check_devices(&self) -> Result<(), SpecError> {
        for (index, device) in self.devices.iter().enumerate() {
            check_absolute(&device.path, || format!("linux.devices[{index}].path"))?;
            if device.kind != DeviceType::Pipe {
                check_device_number(device.major, device.minor, 0, || format!("linux.devices[{index}]"))?;
            }
        }
        Ok(())
    }

    fn check_net_devices(&self) -> Result<(), SpecError> {
        if !self.net_devices.is_empty() && self.namespace(NamespaceType::Network).is_none() {
            return Err(SpecError::NetDevicesWithoutNetwork);
        }
        let mut names = BTreeSet::new();
        for (outside, device) in &self.net_devices {
            let inside = device.name.as_ref().unwrap_or(outside);
            if let Some(name) = [outside, inside].into_iter().find(|name| !is_device_name(name)) {
                return Err(SpecError::NetDeviceName { name: name.clone() });
            }
            // A name with %d is a pattern that the kernel completes.
            if !inside.contains("%d") && !names.insert(inside) {
                return Err(SpecError::DuplicateNetDevice { name: inside.clone() });
            }
        }
        Ok(())
    }
}

impl Resources {
    /// Checks what the specification demands of the values.
    pub fn validate(&self) -> Result<(), SpecError> {
        for (index, rule) in self.devices.iter().enumerate() {
            let (major, minor) = (rule.major.unwrap_or(-1), rule.minor.unwrap_or(-1));
            check_device_number(major, minor, -1, || format!("linux.resources.devices[{index}]"))?;
            // A rule that only takes away may be sloppy, as with runc: nothing is allowed by it.
            if let Some(access) = &rule.access
                && rule.allow
                && access.contains(|letter| !"rwm".contains(letter))
            {
                return Err(SpecError::DeviceAccess { index, access: access.clone() });
            }
        }
        for (index, limit) in self.hugepage_limits.iter().enumerate() {
            if !is_page_size(&limit.page_size) {
                return Err(SpecError::HugepageSize { index, size: limit.page_size.clone() });
            }
        }
        if let Some(block_io) = &self.block_io {
            let weightless = |device: &WeightDevice| device.weight.is_none() && device.leaf_weight.is_none();
            if let Some(index) = block_io.weight_device.iter().position(weightless) {
                return Err(SpecError::DeviceWeight { index });
            }
        }
        for (device, rdma) in &self.rdma {
            if rdma.hca_handles.is_none() && rdma.hca_objects.is_none() {
                return Err(SpecError::RdmaLimit { device: device.clone() });
            }
        }
        let is_file = |key: &str| !key.is_empty() && key != "." && key != ".." && !key.contains('/');
        match self.unified.keys().find(|key| !is_file(key)) {
            Some(key) => Err(SpecError::UnifiedKey { key: key.clone() }),
            None => Ok(()),
        }
    }
}

/// A number without leading zeros and `KB`, `MB` or `GB`.
fn is_page_size(size: &str) -> bool {
    let number = ["KB", "MB", "GB"].iter().find_map(|unit| size.strip_suffix(unit));
    number
        .is_some_and(|n| !n.is_empty() && !n.starts_with('0') && n.bytes().all(|byte| byte.is_ascii_digit()))
}

fn check_absolute(path: &str, field: impl FnOnce() -> String) -> Result<(), SpecError> {
    if path.starts_with('/') {
        return Ok(());
    }
    Err(SpecError::RelativePath { field: field(), path: path.to_owned() })
}

/// The kernel has 12 bits for a major number and 20 for a minor one.
fn check_device_number(
    major: i64,
    minor: i64,
    least: i64,
    field: impl FnOnce() -> String,
) -> Result<(), SpecError> {
    if (least..1 << 12).contains(&major) && (least..1 << 20).contains(&minor) {
        return Ok(());
    }
    Err(SpecError::DeviceNumber { field: field(), major, minor })
}

/// `dev_valid_name` of the kernel.
fn is_device_name(name: &str) -> bool {
    const IFNAMSIZ: usize = 16;
    !name.is_empty()
        && name.len() < IFNAMSIZ
        && name != "."
        && name != ".."
        && !name.contains(|c: char| c == '/' || c == ':' || c.is_ascii_whitespace() || c == '\u{b}')
}

fn check_intel_rdt(rdt: &IntelRdt) -> Result<(), SpecError> {
    if let Some(clos_id) = &rdt.clos_id
        && (clos_id == "." || clos_id == ".." || (clos_id != "/" && clos_id.contains('/')))
    {
        return Err(SpecError::ClosId { clos_id: clos_id.clone() });
    }
    let bandwidth = rdt.mem_bw_schema.iter().find(|schema| !schema.starts_with("MB:"));
    let lines = [
        ("l3CacheSchema", rdt.l3_cache_schema.iter().find(|schema| schema.contains('\n'))),
        ("memBwSchema", bandwidth.or(rdt.mem_bw_schema.iter().find(|schema| schema.contains('\n')))),
        ("schemata", rdt.schemata.iter().find(|schema| schema.contains('\n'))),
    ];
    match lines.into_iter().find_map(|(field, schema)| Some((field, schema?))) {
        Some((field, schema)) => Err(SpecError::RdtSchema { field, schema: schema.clone() }),
        None => Ok(()),
    }
}

fn check_memory_policy(policy: &MemoryPolicy) -> Result<(), SpecError> {
    let nodes = policy.nodes.as_deref();
    let count = count_numbers(nodes.unwrap_or_default());
    if let (Some(list), None) = (nodes, count) {
        return Err(SpecError::MemoryPolicyNodes { list: list.to_owned() });
    }
    let mode = policy.mode;
    match mode {
        MemoryPolicyMode::Default | MemoryPolicyMode::Local if nodes.is_some() => {
            Err(SpecError::MemoryPolicyWithNodes { mode, count: count.unwrap_or_default() })
        }
        MemoryPolicyMode::Bind
        | MemoryPolicyMode::Interleave
        | MemoryPolicyMode::WeightedInterleave
        | MemoryPolicyMode::PreferredMany
            if policy.nodes.is_none() =>
        {
            Err(SpecError::MemoryPolicyWithoutNodes { mode })
        }
        _ => Ok(()),
    }
}
