//! A container's cgroup: made before the start with its limits, joined by the container's first process itself.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use cais_runtime::cgroup::{
    Cgroup, CgroupError, Controller, DeviceLimit, DeviceLimitKind, Hierarchy, Join, Layout, Placement,
    Resources, Throttle, leftovers,
};
use cais_runtime::device;
use cais_runtime::launch::CgroupPlan;

use crate::assemble::devices;
use crate::attach::short;
use crate::{ContainerRecord, Engine, Error, ErrorKind, ResourceRequest, Result};

/// Name of the group that holds all of our containers' groups.
pub(crate) const PARENT: &str = "cais";

/// Why an ordinary user's limits are not kept.
pub(crate) const NOT_APPLIED: &str = "limits are not applied: they need a cgroup that is delegated to this user (systemd with cgroup v2: \
     `systemctl set-property user@.service Delegate=yes`)";

/// A cgroup that is ready to be joined.
pub(crate) struct Group {
    cgroup: Cgroup,
    join: Join,
    oom: Option<OwnedFd>,
    /// cgroup v1, where memory is limited: by which kills are told at once.
    oom_control: Option<OwnedFd>,
}

impl Group {
    /// Makes a container's group with its limits; `None` where an ordinary user may make none and no limit is asked.
    pub(crate) fn create(
        engine: &Engine,
        record: &ContainerRecord,
        warnings: &mut Vec<String>,
    ) -> Result<Option<Group>> {
        let resources = resources(record)?;
        let service = &record.request.service;
        if service.no_cgroup {
            return Ok(None);
        }
        if let Some(parent) = &service.cgroup_parent {
            // By it the group is found again, also without the record.
            let path = engine.store.paths().run_cgroup_parent(&record.id);
            std::fs::write(&path, parent).map_err(|error| {
                Error::caused(ErrorKind::System, format!("write {}", path.display()), error)
            })?;
        }
        let parent = Group::parent(engine, &record.id);
        match Cgroup::create(
            engine.layout()?,
            Group::place(engine, &parent, &record.id),
            &resources,
            warnings,
        ) {
            Ok(cgroup) => {
                let limited = record.request.resources.memory_bytes.is_some_and(|bytes| bytes > 0);
                let oom_control = if limited { cgroup.oom_control() } else { None };
                let group = Group { oom_control, ..Group::ready(cgroup, &record.id)? };
                crate::systemd::give_cgroup(record, group.directory())?;
                Ok(Some(group))
            }
            Err(CgroupError::NotDelegated { .. }) => {
                if asks_for_limits(&record.request.resources) {
                    warnings.push(NOT_APPLIED.to_owned());
                }
                Ok(None)
            }
            Err(error) => Err(failed("create", &record.id)(error)),
        }
    }

    /// The group of a running container, to be joined by a further command.
    pub(crate) fn open(engine: &Engine, id: &str) -> Result<Option<Group>> {
        match Group::find(engine, id)? {
            Some(cgroup) => Group::ready(cgroup, id).map(Some),
            None => Ok(None),
        }
    }

    /// A container's group as it is.
    pub(crate) fn find(engine: &Engine, id: &str) -> Result<Option<Cgroup>> {
        let parent = Group::parent(engine, id);
        Ok(Cgroup::find(engine.layout()?, Group::place(engine, &parent, id)))
    }

    /// Writes the limits of `after` that are not those of `before` to the group of a running container.
    pub(crate) fn update(
        engine: &Engine,
        before: &ContainerRecord,
        after: &ContainerRecord,
        warnings: &mut Vec<String>,
    ) -> Result<()> {
        let limits = (&resources(before)?, &resources(after)?);
        let parent = Group::parent(engine, &after.id);
        let place = Group::place(engine, &parent, &after.id);
        Cgroup::update(engine.layout()?, place, limits, warnings).map_err(|error| match &error {
            CgroupError::Write { path, source, .. } if is_memory_in_use(path, source) => {
                let message =
                    format!("limit the memory of container {}: it uses more than that", short(&after.id));
                Error::caused(ErrorKind::Conflict, message, error)
            }
            _ => failed("limit", &after.id)(error),
        })
    }

    /// A container's group without a look whether it is there, for those who read its numbers.
    pub(crate) fn presume(engine: &Engine, id: &str) -> Result<Option<Cgroup>> {
        let parent = Group::parent(engine, id);
        Ok(Cgroup::presume(engine.layout()?, Group::place(engine, &parent, id)))
    }

    /// Where the group of a run lies.
    fn parent(engine: &Engine, id: &str) -> String {
        let path = engine.store.paths().run_cgroup_parent(id);
        std::fs::read_to_string(path)
            .ok()
            .filter(|text| !text.is_empty())
            .unwrap_or_else(|| PARENT.to_owned())
    }

    fn place<'a>(engine: &Engine, parent: &'a str, id: &'a str) -> Placement<'a> {
        Placement { parent, id, rootless: engine.config.rootless }
    }

    fn ready(cgroup: Cgroup, id: &str) -> Result<Group> {
        let join = cgroup.open_join().map_err(failed("open", id))?;
        let oom = cgroup.oom_counter();
        Ok(Group { cgroup, join, oom, oom_control: None })
    }

    /// Its processes stand still.
    pub(crate) fn is_frozen(&self) -> bool {
        self.cgroup.is_frozen()
    }

    /// The file that counts kills for memory.
    pub(crate) fn oom_counter(&self) -> Option<BorrowedFd<'_>> {
        self.oom.as_ref().map(AsFd::as_fd)
    }

    /// See [`Cgroup::oom_control`].
    pub(crate) fn oom_control(&self) -> Option<BorrowedFd<'_>> {
        self.oom_control.as_ref().map(AsFd::as_fd)
    }

    /// All controllers are in one hierarchy: the counter can be polled.
    pub(crate) fn is_unified(&self) -> bool {
        self.cgroup.is_unified()
    }

    /// cgroup v2: the directory to clone into.
    pub(crate) fn directory(&self) -> Option<BorrowedFd<'_>> {
        self.join.directory.as_ref().map(AsFd::as_fd)
    }

    /// cgroup v1: the files by which a process joins.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.join.tasks.iter().map(AsFd::as_fd)
    }

    /// What the plan needs; `join` are the numbers of [`Group::tasks`] in the shim.
    pub(crate) fn view(&self, join: Vec<i32>) -> CgroupPlan {
        let unified = self.cgroup.is_unified();
        let views = if unified { Vec::new() } else { self.cgroup.views() };
        CgroupPlan { join, views, unified, writable: false }
    }
}

impl Engine {
    /// This machine's cgroups, looked at once.
    pub(crate) fn layout(&self) -> Result<&Layout> {
        if let Some(layout) = self.layout.get() {
            return Ok(layout);
        }
        let found = Layout::detect()
            .map_err(|e| Error::caused(ErrorKind::System, "look at this machine's cgroups", e))?;
        Ok(self.layout.get_or_init(|| found))
    }

    /// Ids of containers that have a cgroup, running or not.
    pub(crate) fn cgroup_ids(&self) -> Result<std::collections::BTreeSet<String>> {
        Ok(leftovers(self.layout()?, PARENT, self.config.rootless).into_iter().collect())
    }

    /// A running container's processes stand still. Asks the one hierarchy that knows, since lists ask for every
    /// container.
    pub(crate) fn is_frozen(&self, id: &str) -> bool {
        let Ok(layout) = self.layout() else { return false };
        let freezer = self.freezer.get_or_init(|| freezer(layout));
        let parent = Group::parent(self, id);
        Cgroup::find(freezer, Group::place(self, &parent, id)).is_some_and(|cgroup| cgroup.is_frozen())
    }
}

/// The part of the machine's cgroups in which groups are frozen.
fn freezer(layout: &Layout) -> Layout {
    let freezes = |hierarchy: &&Hierarchy| hierarchy.controllers.contains(&Controller::Freezer);
    match layout {
        Layout::V2 { .. } => layout.clone(),
        v1 => Layout::V1 { hierarchies: v1.hierarchies().iter().filter(freezes).cloned().collect() },
    }
}

pub(crate) fn failed(operation: &'static str, id: &str) -> impl FnOnce(CgroupError) -> Error + use<> {
    let message = format!("{operation} the cgroup of container {}", short(id));
    move |e| Error::caused(ErrorKind::System, message, e)
}

/// v1 refuses a limit that it cannot reach by giving memory back.
fn is_memory_in_use(path: &std::path::Path, source: &std::io::Error) -> bool {
    let busy = source.raw_os_error() == Some(rustix::io::Errno::BUSY.raw_os_error());
    busy && path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"memory."))
}

/// Docker's period when only a number of CPUs is given.
const PERIOD_US: u64 = 100_000;

fn resources(record: &ContainerRecord) -> Result<Resources> {
    let asked = &record.request.resources;
    check(asked)?;
    let nano_cpus = asked.nano_cpus.filter(|n| *n > 0);
    let extra = record
        .request
        .device_cgroup_rules
        .iter()
        .map(|text| text.parse())
        .collect::<std::result::Result<Vec<_>, device::DeviceError>>()
        .map_err(|e| Error::caused(ErrorKind::Invalid, "device rules", e))?;
    Ok(Resources {
        memory_bytes: asked.memory_bytes,
        memory_reservation_bytes: asked.memory_reservation_bytes,
        // Docker: as much swap as memory when nothing is said.
        memory_swap_bytes: asked.memory_swap_bytes.or(asked.memory_bytes.filter(|m| *m > 0).map(|m| m * 2)),
        memory_swappiness: asked.memory_swappiness,
        cpu_shares: asked.cpu_shares,
        cpu_quota_us: nano_cpus.map(|n| (n * PERIOD_US / 1_000_000_000) as i64).or(asked.cpu_quota_us),
        cpu_period_us: nano_cpus.map(|_| PERIOD_US).or(asked.cpu_period_us),
        cpuset_cpus: asked.cpuset_cpus.clone(),
        cpuset_mems: asked.cpuset_mems.clone(),
        pids_limit: asked.pids_limit,
        blkio_weight: asked.blkio_weight,
        oom_kill_disable: asked.oom_kill_disable,
        devices: device::rules_for(&devices(record)?, &extra, record.request.privileged),
        throttle: throttle(asked)?,
    })
}

/// Limits of devices by their numbers.
fn throttle(asked: &ResourceRequest) -> Result<Throttle> {
    let mut devices = Vec::new();
    for limit in &asked.device_limits {
        let failed = |e| Error::caused(ErrorKind::Invalid, format!("limit of the device {}", limit.path), e);
        let stat = rustix::fs::stat(limit.path.as_str()).map_err(failed)?;
        if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::BlockDevice {
            let message = format!("limit of the device {}: it is not a block device", limit.path);
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let kind = match limit.kind {
            crate::DeviceLimitKind::Weight => DeviceLimitKind::Weight,
            crate::DeviceLimitKind::ReadBps => DeviceLimitKind::ReadBps,
            crate::DeviceLimitKind::WriteBps => DeviceLimitKind::WriteBps,
            crate::DeviceLimitKind::ReadIops => DeviceLimitKind::ReadIops,
            crate::DeviceLimitKind::WriteIops => DeviceLimitKind::WriteIops,
        };
        let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        devices.push(DeviceLimit { kind, major, minor, value: limit.value });
    }
    Ok(Throttle {
        devices,
        cpu_rt_period_us: asked.cpu_rt_period_us,
        cpu_rt_runtime_us: asked.cpu_rt_runtime_us,
        unified: asked.unified.clone().into_iter().collect(),
    })
}

/// Docker's smallest memory limit.
const MEMORY_MIN_BYTES: i64 = 6 << 20;

/// What would not fail until the kernel sees it, or never.
pub(crate) fn check(asked: &ResourceRequest) -> Result<()> {
    let invalid = |message: String| Err(Error::new(ErrorKind::Invalid, message));
    if let Some(memory) = asked.memory_bytes.filter(|m| (1..MEMORY_MIN_BYTES).contains(m)) {
        return invalid(format!("memory limit {memory} is too small: at least 6 MiB"));
    }
    match (asked.memory_bytes, asked.memory_swap_bytes) {
        (None, Some(swap)) if swap > 0 => {
            return invalid("a swap limit needs a memory limit (-m) as well".to_owned());
        }
        (Some(memory), Some(swap)) if swap > 0 && swap < memory => {
            return invalid(
                "the swap limit counts memory and swap together: it cannot be below the memory limit".into(),
            );
        }
        _ => {}
    }
    if asked.nano_cpus.is_some_and(|n| n > 0)
        && (asked.cpu_quota_us.is_some() || asked.cpu_period_us.is_some())
    {
        return invalid("--cpus says the same as --cpu-quota and --cpu-period: give one of them".to_owned());
    }
    let available = std::thread::available_parallelism().map_or(u64::MAX, |n| n.get() as u64);
    if let Some(nano) = asked.nano_cpus.filter(|n| *n > available.saturating_mul(1_000_000_000)) {
        let cpus = nano as f64 / 1e9;
        return invalid(format!("{cpus} CPUs are more than there are: this machine has {available}"));
    }
    Ok(())
}

fn asks_for_limits(asked: &ResourceRequest) -> bool {
    let nothing = ResourceRequest { oom_score_adj: asked.oom_score_adj, ..ResourceRequest::default() };
    *asked != nothing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_limits_are_refused() {
        let with = |memory_bytes, memory_swap_bytes| {
            check(&ResourceRequest { memory_bytes, memory_swap_bytes, ..ResourceRequest::default() }).is_ok()
        };
        assert!(with(Some(64 << 20), Some(128 << 20)));
        assert!(with(Some(64 << 20), Some(-1)));
        assert!(!with(Some(64 << 20), Some(32 << 20)));
        assert!(!with(None, Some(32 << 20)));
        assert!(!with(Some(1 << 20), None));
        let cpus =
            |nano| check(&ResourceRequest { nano_cpus: Some(nano), ..ResourceRequest::default() }).is_ok();
        assert!(cpus(500_000_000));
        assert!(!cpus(u64::MAX));
    }
}
