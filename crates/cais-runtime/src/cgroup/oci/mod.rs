//! Control groups of OCI containers: placed, made, limited, updated, counted and removed as config-linux.md, "Control
//! groups", says, and as callers of runc and crun are used to.
//!
//! [`Group::create`] makes a group in every hierarchy, or has systemd make a unit, and [`GroupState`] is what the
//! container's state file keeps of it. No process is moved by this process: the container's first one enters by what
//! [`Group::open_join`] opens (systemd alone moves the one process that a scope begins with). Never removes what it did
//! not make: a group that was there before stays, with the groups that were in it, and one that holds processes is
//! refused. Groups above are changed in two ways only, which the kernel demands: an empty v1 cpuset is filled from the
//! one above it, and v2 controllers are passed on.
//!
//! Knows nothing of bundles and state files, reads no environment.

mod apply;
mod create;
mod devices;
mod error;
mod intent;
mod merge;
mod oom;
mod place;
mod plan;
mod plan_v2;
mod remove;
pub(super) mod stats;
pub(super) mod stats_v1;
pub(super) mod stats_v2;
mod systemd;
mod trees;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cais_oci::runtime::Resources;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

pub use devices::{DeviceList, device_rules, plan_devices_v1};
pub use error::GroupError;
pub use merge::merge;
pub use oom::{Oom, OomWatch};
pub use plan::{Invalid, Write, plan_v1};
pub use plan_v2::{Weights, plan_v2};
pub use stats::{
    BlockIoEntry, BlockIoStats, CpuStats, CpuUsage, CpusetStats, HugepageStats, MemoryEntry, MemoryStats,
    NetworkStats, PidsStats, Pressure, PressureEntry, Stats, StatsEvent, Throttling,
};
pub use systemd::{BusError, Systemd};
pub use trees::{Tree, Trees};

use super::layout::Controller;
use super::{Cgroup, CgroupError, Join, processes, read_text, write_text};

/// Who makes a container's groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Manager {
    /// This program.
    Cgroupfs,
    /// systemd, as a unit.
    Systemd(Systemd),
    /// Nobody: the container stays where its caller is.
    Disabled,
}

/// What is asked of [`Group::create`].
#[derive(Clone, Debug)]
pub struct GroupRequest<'a> {
    /// `linux.cgroupsPath`.
    pub cgroups_path: Option<&'a str>,
    /// The container's.
    pub id: &'a str,
    /// Who makes the groups.
    pub manager: &'a Manager,
    /// Without the rights of root: devices are not guarded, and without path and limits no group is all right.
    pub rootless: bool,
    /// `linux.resources`, or the default.
    pub resources: &'a Resources,
    /// The configuration's, for systemd's properties.
    pub annotations: &'a BTreeMap<String, String>,
    /// The process that a systemd scope begins with and that systemd moves into it. It has to live until the container's
    /// own first process has entered. The cgroupfs manager moves nobody and ignores it.
    pub pid: Option<i32>,
    /// v2: to whom the group is given, config-linux.md, "Cgroup ownership".
    pub owner_uid: Option<u32>,
    /// v2: how CPU shares are converted.
    pub weights: Weights,
}

/// One directory of a container's group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Name of the hierarchy below /sys/fs/cgroup: `cpu,cpuacct`, `systemd`; empty in v2.
    pub name: String,
    /// By the kernel's names, a named hierarchy as `name=systemd`.
    pub controllers: Vec<String>,
    /// Whether the hierarchy is v2.
    pub unified: bool,
    /// The directory.
    pub path: PathBuf,
    /// Which directories were made for it, from the top; with `path` unless that was there before.
    pub made: Vec<PathBuf>,
    /// Names of the groups that were in it before.
    pub kept: Vec<String>,
}

/// What is kept of a group between commands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupState {
    /// 1 (also hybrid) or 2.
    pub version: u8,
    /// Who made it.
    pub manager: Manager,
    /// Its unit, if systemd made it.
    pub unit: Option<String>,
    /// As asked.
    pub rootless: bool,
    /// As asked.
    pub weights: Weights,
    /// In each hierarchy; none when there is no group.
    pub places: Vec<Place>,
}

/// How a hierarchy is shown to the container by a mount of type `cgroup`; see [`Group::views`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Directory below the mount point, empty for the mount point itself.
    pub name: String,
    /// The container's group on the host.
    pub path: PathBuf,
    /// `cgroup` or `cgroup2`.
    pub kind: &'static str,
    /// Data for a mount of the hierarchy: `cpu,cpuacct`, `none,name=systemd`.
    pub data: String,
    /// Names beside it that are links to it: `cpu`, `cpuacct`.
    pub links: Vec<String>,
}

/// A container's group: one directory in every hierarchy. Dropping it does nothing.
#[derive(Clone, Debug)]
pub struct Group {
    state: GroupState,
}

impl Group {
    /// Makes the group and writes its limits; what was made is removed again on failure.
    ///
    /// # Errors
    /// [`GroupError::NotEmpty`] and [`GroupError::Frozen`] for a group that is there and in use, limits that are wrong
    /// or that the kernel refuses, rights that are missing.
    pub fn create(trees: &Trees, request: &GroupRequest<'_>) -> Result<Group, GroupError> {
        create::create(trees, request)
    }

    /// What [`Group::create`] is about to make, for a record that is written first: a process that is killed while it
    /// makes the group leaves what can be found, and [`Group::destroy`] of this state takes it away. Makes nothing.
    ///
    /// # Errors
    /// For names that systemd does not take.
    pub fn intent(trees: &Trees, request: &GroupRequest<'_>) -> Result<GroupState, GroupError> {
        intent::intent(trees, request)
    }

    /// The group that was made before.
    #[must_use]
    pub fn from_state(state: GroupState) -> Group {
        Group { state }
    }

    /// What to keep of it.
    #[must_use]
    pub fn state(&self) -> &GroupState {
        &self.state
    }

    /// Writes new limits. They are all of the container's, see [`merge()`]; devices stay as they are.
    ///
    /// # Errors
    /// [`GroupError::MemoryInUse`] (v1) and [`GroupError::Rejected`] (v2, `checkBeforeUpdate`) for a limit below the use;
    /// as [`Group::create`] for the rest.
    pub fn update(&self, resources: &Resources) -> Result<(), GroupError> {
        apply::update(&self.state, resources)
    }

    /// Opens what the container's first process needs to enter.
    ///
    /// # Errors
    /// When the group is gone.
    pub fn open_join(&self) -> Result<Join, GroupError> {
        self.open_join_at(Path::new(""))
    }

    /// Opens what a further process needs to enter: `sub` is a group within, as of `exec --cgroup`. Where the container has
    /// moved its processes into groups within (v2) and the group itself takes no more, that of its first process is
    /// taken, as runc does.
    ///
    /// # Errors
    /// When the group is gone, or a `sub` that leads out of it.
    pub fn open_join_exec(&self, init: i32, sub: Option<&str>) -> Result<Join, GroupError> {
        let sub = Path::new(sub.unwrap_or_default().trim_start_matches('/'));
        if sub.components().any(|part| !matches!(part, std::path::Component::Normal(_))) {
            return Err(CgroupError::Name { name: sub.to_string_lossy().into_owned() }.into());
        }
        match self.state.places.iter().find(|place| place.unified) {
            Some(place) if sub.as_os_str().is_empty() && passes_on(&place.path) => {
                self.open_join_at(&self.within(place, init).unwrap_or_default())
            }
            _ => self.open_join_at(sub),
        }
    }

    /// Where below its group a process is; `None` when it is elsewhere.
    fn within(&self, place: &Place, pid: i32) -> Option<PathBuf> {
        let groups = read_text(Path::new(&format!("/proc/{pid}/cgroup"))).ok()?;
        let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
        // The mount may show a part of the tree: what counts is the end.
        let path = Path::new(path.trim_start_matches('/'));
        let mut ends =
            path.ancestors().filter(|end| !end.as_os_str().is_empty() && place.path.ends_with(end));
        path.strip_prefix(ends.next()?).ok().map(Path::to_owned)
    }

    fn open_join_at(&self, sub: &Path) -> Result<Join, GroupError> {
        let mut join = Join::default();
        for place in &self.state.places {
            let group = place.path.join(sub);
            let (path, flags) = if place.unified {
                (group, OFlags::PATH | OFlags::DIRECTORY)
            } else {
                (group.join("tasks"), OFlags::WRONLY)
            };
            let fd = rustix::fs::open(&path, flags | OFlags::CLOEXEC, Mode::empty())
                .map_err(|error| CgroupError::Open { path, source: error.into() })?;
            if place.unified { join.directory = Some(fd) } else { join.tasks.push(fd) }
        }
        Ok(join)
    }

    /// Processes of the group, ascending; `recursive` counts groups that the container made within. None when it is gone.
    ///
    /// # Errors
    /// When a group that is there cannot be read.
    pub fn pids(&self, recursive: bool) -> Result<Vec<i32>, GroupError> {
        let handle = self.handle();
        if recursive {
            return Ok(handle.pids()?);
        }
        let Some(main) = handle.main() else { return Ok(Vec::new()) };
        let mut pids = processes::own_pids(&main.path)?;
        pids.sort_unstable();
        Ok(pids)
    }

    /// Stops all processes of the group; waits at most 2 s until they have stopped. Idempotent.
    ///
    /// # Errors
    /// When there is no freezer or the time is over; then nothing stays frozen.
    pub fn freeze(&self) -> Result<(), GroupError> {
        Ok(self.handle().freeze()?)
    }

    /// Lets the processes of the group go on. Idempotent.
    ///
    /// # Errors
    /// When there is no freezer or it cannot be written.
    pub fn thaw(&self) -> Result<(), GroupError> {
        Ok(self.handle().thaw()?)
    }

    /// Whether the group has been stopped by [`Group::freeze`].
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        let handle = self.handle();
        match handle.groups.first() {
            // A process that is killed while it stands still goes on for a moment, and the group is no less stopped.
            Some(group) if handle.unified => {
                read_text(&group.path.join("cgroup.freeze")).is_ok_and(|text| text.trim() == "1")
            }
            _ => handle.is_frozen(),
        }
    }

    /// Kills all processes of the group, nested groups too, frozen or not, and waits at most 5 s until they are gone.
    ///
    /// # Errors
    /// When the time is over, or one may not be killed.
    pub fn kill_all(&self) -> Result<(), GroupError> {
        // Where the kernel has it (5.14), v2 kills beside v1, too. Without it, the rest does.
        let _ = self.kill_at_once();
        Ok(self.handle().kill_all()?)
    }

    /// Sends a signal to all processes of the group, nested groups too, as `kill --all` does; waits for nobody. Processes
    /// that stand still take it when they go on; `SIGKILL` (in v2 all that kills) ends them at once.
    ///
    /// # Errors
    /// When one may not be sent a signal.
    pub fn signal_all(&self, signal: Signal) -> Result<(), GroupError> {
        // Beside v1, a process need not be in the v2 group as well: there the list is gone through, too.
        if signal == Signal::KILL && self.kill_at_once() && self.state.version == 2 {
            return Ok(());
        }
        let paused = self.is_frozen();
        // So that none is born unseen. Without a freezer, once through the list is all that can be done.
        let frozen = !paused && self.freeze().is_ok();
        let sent =
            self.pids(true).and_then(|pids| pids.into_iter().try_for_each(|pid| self.signal(pid, signal)));
        if frozen || (paused && signal == Signal::KILL) {
            self.thaw()?;
        }
        sent
    }

    fn signal(&self, pid: i32, signal: Signal) -> Result<(), GroupError> {
        // Zero is a process outside of our PID namespace.
        let Some(known) = Pid::from_raw(pid) else { return Ok(()) };
        match rustix::process::kill_process(known, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => {
                let path = self.state.places.first().map(|place| place.path.clone()).unwrap_or_default();
                Err(CgroupError::Kill { path, pid, source: error.into() }.into())
            }
        }
    }

    /// False where the kernel cannot.
    fn kill_at_once(&self) -> bool {
        let unified = self.state.places.iter().find(|place| place.unified);
        unified.is_some_and(|place| write_text(&place.path.join("cgroup.kill"), "1").is_ok())
    }

    /// Removes what was made: the unit, the group with the groups that the container made within, and groups above
    /// that were made for it and are empty. Processes have to be gone. Goes on after a failure and reports the first;
    /// idempotent; waits at most 2 s for a group that is busy.
    ///
    /// # Errors
    /// When processes are left, or systemd cannot be asked.
    pub fn destroy(&self) -> Result<(), GroupError> {
        remove::destroy(&self.state)
    }

    /// What the group uses, as `events --stats` shows it. What the kernel does not count is zero.
    ///
    /// # Errors
    /// When a file that is there cannot be read or is not understood.
    pub fn stats(&self) -> Result<Stats, GroupError> {
        stats::collect(&self.state)
    }

    /// Watches for processes that are killed because memory is out, as `events` does.
    ///
    /// # Errors
    /// Without the memory controller, or when the group is gone.
    pub fn oom_watch(&self) -> Result<OomWatch, GroupError> {
        oom::watch(&self.state)
    }

    /// The directory that has this controller's files, by the kernel's name.
    #[must_use]
    pub fn path(&self, controller: &str) -> Option<&Path> {
        self.state.place(controller).map(|place| place.path.as_path())
    }

    /// How a mount of type `cgroup` is made up, in order.
    ///
    /// | | in a cgroup namespace of the container's own | without |
    /// |---|---|---|
    /// | v1, hybrid | a tmpfs; in it, for each view, a directory `name` with a mount of `kind` and `data`, and `links` | the same with binds of `path` in place of mounts |
    /// | v2 | a mount of `kind`, or where the kernel refuses that (EPERM, EBUSY) a bind of `path` | a bind of `path` |
    ///
    /// So without a namespace of its own a container sees its group, but not the host's. Mounted read-only where the
    /// configuration says so, always with nosuid, nodev and noexec.
    #[must_use]
    pub fn views(&self) -> Vec<View> {
        self.state.places.iter().map(Place::view).collect()
    }

    /// The group as the engine's own door has it, by which processes are listed, stopped and killed.
    fn handle(&self) -> Cgroup {
        let places = &self.state.places;
        let v1_freezer = places.iter().any(|place| place.has("freezer"));
        // In a hybrid layout without the v1 freezer, v2 can stop processes as well.
        let unified = self.state.version == 2 || (!v1_freezer && places.iter().any(|place| place.unified));
        let known = [Controller::Freezer, Controller::Memory];
        let group = |place: &Place| super::Group {
            name: place.name.clone(),
            controllers: known.into_iter().filter(|controller| place.has(controller.name(false))).collect(),
            path: place.path.clone(),
        };
        Cgroup {
            groups: places.iter().filter(|place| !unified || place.unified).map(group).collect(),
            unified,
        }
    }
}

impl GroupState {
    /// Where a controller's files are.
    fn place(&self, controller: &str) -> Option<&Place> {
        let core = |place: &Place| place.unified && self.version == 2;
        self.places.iter().find(|place| core(place) || place.has(controller))
    }
}

impl Place {
    fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|name| name == controller)
    }

    fn view(&self) -> View {
        let (kind, data) = if self.unified {
            ("cgroup2", String::new())
        } else {
            let named = self.controllers.iter().all(|name| name.starts_with("name="));
            ("cgroup", format!("{}{}", if named { "none," } else { "" }, self.controllers.join(",")))
        };
        let many = !self.unified && self.controllers.len() > 1;
        let links = self.controllers.iter().filter(|name| many && !name.contains('=') && **name != self.name);
        View { name: self.name.clone(), path: self.path.clone(), kind, data, links: links.cloned().collect() }
    }
}

/// Whether a v2 group passes controllers on, and so takes no processes.
fn passes_on(group: &Path) -> bool {
    read_text(&group.join("cgroup.subtree_control")).is_ok_and(|text| !text.trim().is_empty())
}

#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod tests;
