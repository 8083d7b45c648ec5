//! Reading documents, and the rules of the specification about values that a type cannot hold.
//!
//! Pure: what depends on the machine (files, namespaces that exist, cgroup versions, known capabilities) is left to
//! who carries the description out. The first broken rule is reported.

mod linux;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;

use super::config::{Hook, Hooks, Mount, Spec};
use super::error::SpecError;
use super::linux::{Linux, NamespaceType};
use super::locate::{path_at, path_before};
use super::process::{Process, Scheduler, SchedulerPolicy};
use super::resources::Resources;

pub use linux::sysctl_path;

impl Spec {
    /// Reads a config.json, checking its form only.
    pub fn parse(json: &[u8]) -> Result<Spec, SpecError> {
        parse("config.json", json)
    }

    /// Checks what the specification demands of the values.
    pub fn validate(&self) -> Result<(), SpecError> {
        check_version(&self.oci_version)?;
        if self.root.as_ref().is_none_or(|root| root.path.is_empty()) {
            return Err(SpecError::Root);
        }
        if let Some(process) = &self.process {
            process.validate()?;
        }
        if !self.has_namespace(NamespaceType::Uts) {
            for (field, name) in [("hostname", &self.hostname), ("domainname", &self.domainname)] {
                if name.is_some() {
                    return Err(SpecError::NameWithoutUts { field });
                }
            }
        }
        self.mounts.iter().enumerate().try_for_each(|(index, mount)| check_mount(index, mount))?;
        if let Some(hooks) = &self.hooks {
            check_hooks(hooks)?;
        }
        if self.annotations.contains_key("") {
            return Err(SpecError::AnnotationKey);
        }
        self.linux.as_ref().map_or(Ok(()), Linux::validate)
    }

    /// Whether the container gets a namespace of this kind, made or joined.
    pub fn has_namespace(&self, kind: NamespaceType) -> bool {
        self.linux.as_ref().is_some_and(|linux| linux.namespace(kind).is_some())
    }
}

impl Process {
    /// Reads a process.json, as of `exec --process`, checking its form only.
    pub fn parse(json: &[u8]) -> Result<Process, SpecError> {
        parse("process.json", json)
    }

    /// Checks what the specification demands of the values.
    pub fn validate(&self) -> Result<(), SpecError> {
        if self.args.is_empty() {
            return Err(SpecError::NoArguments);
        }
        if !self.cwd.starts_with('/') {
            return Err(SpecError::Cwd { cwd: self.cwd.clone() });
        }
        let mut limits = BTreeSet::new();
        for limit in &self.rlimits {
            if !limits.insert(limit.kind) {
                return Err(SpecError::DuplicateRlimit { kind: limit.kind });
            }
        }
        if let Some(value) = self.oom_score_adj.filter(|value| !(-1000..=1000).contains(value)) {
            return Err(SpecError::OomScoreAdj { value });
        }
        if let Some(scheduler) = &self.scheduler {
            check_scheduler(scheduler)?;
        }
        if let Some(io) = self.io_priority.filter(|io| !(0..=7).contains(&io.priority)) {
            return Err(SpecError::IoPriority { priority: io.priority });
        }
        if let Some(affinity) = &self.exec_cpu_affinity {
            check_number_list("process.execCPUAffinity.initial", affinity.initial.as_deref())?;
            check_number_list("process.execCPUAffinity.final", affinity.final_.as_deref())?;
        }
        Ok(())
    }
}

impl Resources {
    /// Reads a document of resources, as of `update --resources`, checking its form only.
    pub fn parse(json: &[u8]) -> Result<Resources, SpecError> {
        parse("resources", json)
    }
}

/// Reads a document; a mistake is reported with the path of its field.
fn parse<T: DeserializeOwned>(document: &'static str, json: &[u8]) -> Result<T, SpecError> {
    if let Some(at) = escaped_nul(json) {
        return Err(SpecError::Nul { document, path: path_before(json, at) });
    }
    serde_json::from_slice(json).map_err(|source| {
        let path = path_at(json, source.line(), source.column());
        SpecError::Json { document, path, source }
    })
}

/// Where a text has `\u0000`: a raw zero byte is no JSON anyway.
fn escaped_nul(json: &[u8]) -> Option<usize> {
    if !json.contains(&b'\\') {
        return None;
    }
    let mut at = 0;
    while let Some(next) = json[at..].iter().position(|&byte| byte == b'\\') {
        let escape = at + next;
        if json[escape..].starts_with(b"\\u0000") {
            return Some(escape);
        }
        at = json.len().min(escape + 2);
    }
    None
}

fn check_version(version: &str) -> Result<(), SpecError> {
    let wrong = || SpecError::Version { version: version.to_owned() };
    let (core_and_pre, build) = match version.split_once('+') {
        Some((before, build)) => (before, Some(build)),
        None => (version, None),
    };
    let (core, pre) = match core_and_pre.split_once('-') {
        Some((core, pre)) => (core, Some(pre)),
        None => (core_and_pre, None),
    };
    let is_number = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && (text == "0" || !text.starts_with('0'))
    };
    let is_label =
        |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let numbers: Vec<&str> = core.split('.').collect();
    let well_formed = matches!(numbers.as_slice(), ["1", minor, patch] if is_number(minor) && is_number(patch))
        && [pre, build].into_iter().flatten().all(|labels| labels.split('.').all(is_label));
    if well_formed { Ok(()) } else { Err(wrong()) }
}

fn check_mount(index: usize, mount: &Mount) -> Result<(), SpecError> {
    if mount.destination.is_empty() {
        return Err(SpecError::MountDestination { index });
    }
    if mount.uid_mappings.is_empty() != mount.gid_mappings.is_empty() {
        return Err(SpecError::MountMappings { index, destination: mount.destination.clone() });
    }
    Ok(())
}

fn check_hooks(hooks: &Hooks) -> Result<(), SpecError> {
    for (list, hooks) in hooks.lists() {
        for (index, Hook { path, timeout, .. }) in hooks.iter().enumerate() {
            if !path.starts_with('/') {
                return Err(SpecError::HookPath { list, index, path: path.clone() });
            }
            if let Some(timeout) = timeout.filter(|timeout| *timeout <= 0) {
                return Err(SpecError::HookTimeout { list, index, timeout });
            }
        }
    }
    Ok(())
}

fn check_scheduler(scheduler: &Scheduler) -> Result<(), SpecError> {
    let &Scheduler { policy, nice, priority, runtime, deadline, period, .. } = scheduler;
    let has_nice = matches!(policy, SchedulerPolicy::Other | SchedulerPolicy::Batch);
    if has_nice && !(-20..=19).contains(&nice) {
        return Err(SpecError::SchedulerNice { nice, policy });
    }
    if priority != 0 && !matches!(policy, SchedulerPolicy::Fifo | SchedulerPolicy::Rr) {
        return Err(SpecError::SchedulerPriority { policy });
    }
    if policy != SchedulerPolicy::Deadline && (runtime, deadline, period) != (0, 0, 0) {
        return Err(SpecError::SchedulerDeadline { policy });
    }
    Ok(())
}

/// A list of numbers and ranges, as the kernel reads it for processors and memory nodes; blanks are allowed around them.
fn check_number_list(field: &'static str, list: Option<&str>) -> Result<(), SpecError> {
    match list {
        Some(list) if count_numbers(list).is_none() => {
            Err(SpecError::NumberList { field, list: list.to_owned() })
        }
        _ => Ok(()),
    }
}

/// How many numbers a list such as `0-3,7` has; `None` where it is no such list.
fn count_numbers(list: &str) -> Option<u64> {
    let count = |range: &str| -> Option<u64> {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        Some(u64::from(last.checked_sub(first)?) + 1)
    };
    list.split(',').map(|range| count(range.trim())).sum()
}
