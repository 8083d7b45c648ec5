//! Control groups of containers, cgroups(7): made, limited, joined, watched, frozen, emptied and removed.
//!
//! A container's group is `<mount>/<parent>/<id>`, in every v1 hierarchy that is used or in the one of v2. Only groups
//! below our parent are touched; the parent itself stays and gets no limits (a v1 cpuset is filled, as the kernel
//! demands, and v2 controllers are switched on). No process is moved, but into a v1 cpuset that a running container is
//! given later: the container's first one enters by itself, by `CLONE_INTO_CGROUP` (v2) or by writing `0` to `tasks`
//! (v1), because a foreign move through `cgroup.procs` takes a global lock and waits some 10 ms for it.
//!
//! Knows nothing of images and records; everything can be found again by parent and id.

mod create;
mod filter;
mod layout;
mod limits;
pub mod oci;
mod processes;
mod throttle;
mod update;
mod usage;

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

pub use create::leftovers;
pub use layout::{Controller, Hierarchy, Layout};
pub use limits::{Resources, Write, effective_rules, plan_v1, plan_v2};
pub use throttle::{DeviceLimit, DeviceLimitKind, Throttle};
pub use usage::Usage;

/// Limits at or above this are how v1 says that there is none.
const NO_LIMIT_BYTES: u64 = i64::MAX as u64 & !0xffff_ffff;

/// More than most files here have.
const USUAL_BYTES: usize = 16 * 1024;

/// Why something with cgroups did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// Nothing is mounted.
    #[error("find the cgroup file systems: none is mounted")]
    NotMounted,
    /// No place where this user may make groups.
    #[error("create a cgroup: none is delegated to this user ({} may not be written)", path.display())]
    NotDelegated {
        /// What was tried.
        path: PathBuf,
    },
    /// Parent or id are no names of groups.
    #[error("create a cgroup: {name:?} is no name of a group")]
    Name {
        /// As given.
        name: String,
    },
    /// Limits contradict each other.
    #[error("limit resources: {reason}")]
    Resources {
        /// What is wrong.
        reason: &'static str,
    },
    /// A directory could not be made.
    #[error("create the cgroup {}: {source}", path.display())]
    Create {
        /// Group.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file could not be read.
    #[error("read {}: {source}", path.display())]
    Read {
        /// File.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("write {value:?} to {}: {source}", path.display())]
    Write {
        /// File.
        path: PathBuf,
        /// What.
        value: String,
        /// Why.
        source: io::Error,
    },
    /// A group could not be opened to enter it.
    #[error("open {}: {source}", path.display())]
    Open {
        /// File or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A group could not be removed.
    #[error("remove the cgroup {}: {source}", path.display())]
    Remove {
        /// Group.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A process could not be killed.
    #[error("kill process {pid} of the cgroup {}: {source}", path.display())]
    Kill {
        /// Group.
        path: PathBuf,
        /// Process.
        pid: i32,
        /// Why.
        source: io::Error,
    },
    /// Killed processes are still there.
    #[error("kill the cgroup {}: {count} processes are left after {waited_ms} ms", path.display())]
    StillRunning {
        /// Group.
        path: PathBuf,
        /// How many.
        count: usize,
        /// How long was waited.
        waited_ms: u128,
    },
    /// The kernel did not freeze in time.
    #[error("freeze the cgroup {}: not frozen after {waited_ms} ms", path.display())]
    NotFrozen {
        /// Group.
        path: PathBuf,
        /// How long was waited.
        waited_ms: u128,
    },
    /// No freezer.
    #[error("freeze a container: the kernel has no freezer or it is not mounted")]
    NoFreezer,
    /// The program that guards devices could not be attached.
    #[error("limit the devices of the cgroup {}: {source}", path.display())]
    Devices {
        /// Group.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Where a container's group belongs.
#[derive(Clone, Copy, Debug)]
pub struct Placement<'a> {
    /// Group of all containers, relative to the root: `cais`; may have slashes.
    pub parent: &'a str,
    /// One name.
    pub id: &'a str,
    /// In a user namespace: only below what is delegated to the user, and without device rules.
    pub rootless: bool,
}

/// Memory of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Now; 0 when the kernel does not say.
    pub current_bytes: u64,
    /// The most so far; 0 when the kernel does not say.
    pub peak_bytes: u64,
    /// The hard limit, if any.
    pub limit_bytes: Option<u64>,
}

/// What a process needs to enter a group.
#[derive(Debug, Default)]
pub struct Join {
    /// v1: `tasks` files open for writing, close-on-exec; the single-threaded child writes `0` to each.
    pub tasks: Vec<OwnedFd>,
    /// v2: the directory (`O_PATH`) for `CLONE_INTO_CGROUP`.
    pub directory: Option<OwnedFd>,
}

/// A container's group: one directory (v2) or one in each hierarchy (v1). Dropping it does nothing.
#[derive(Clone, Debug)]
pub struct Cgroup {
    groups: Vec<Group>,
    unified: bool,
}

/// One directory of a container's group.
#[derive(Clone, Debug)]
struct Group {
    /// Of the hierarchy; empty in v2.
    name: String,
    /// Of the hierarchy; empty in v2.
    controllers: Vec<Controller>,
    path: PathBuf,
}

impl Cgroup {
    /// Makes the group and writes its limits; what was made is removed again on failure.
    ///
    /// Limits that the kernel cannot keep are left out, each with a sentence in `warnings`. An empty group of the same
    /// name left over from before is replaced.
    ///
    /// # Errors
    /// [`CgroupError::NotDelegated`] when this user may write nowhere; a name with `..`; values that the kernel refuses.
    pub fn create(
        layout: &Layout,
        place: Placement<'_>,
        resources: &Resources,
        warnings: &mut Vec<String>,
    ) -> Result<Cgroup, CgroupError> {
        create::create(layout, place, resources, warnings)
    }

    /// The group made before under this parent and id, with as many of its directories as there are.
    #[must_use]
    pub fn find(layout: &Layout, place: Placement<'_>) -> Option<Cgroup> {
        create::find(layout, place)
    }

    /// The group that would be under this parent and id, without looking whether it is there: for [`Cgroup::cpu_ns`] and
    /// [`Cgroup::usage`], which find that out.
    #[must_use]
    pub fn presume(layout: &Layout, place: Placement<'_>) -> Option<Cgroup> {
        create::presume(layout, place)
    }

    /// Writes the limits that differ between `before` and `after` to the group of a running container; devices stay as
    /// they are. With v1 a container without a CPU set gets one, and its processes are moved there.
    ///
    /// Limits that the kernel cannot keep are left out, each with a sentence in `warnings`.
    ///
    /// # Errors
    /// [`CgroupError::Write`] with `EBUSY` for a memory limit below what is in use, and for whatever else the kernel
    /// refuses; some limits may have been written then.
    pub fn update(
        layout: &Layout,
        place: Placement<'_>,
        (before, after): (&Resources, &Resources),
        warnings: &mut Vec<String>,
    ) -> Result<(), CgroupError> {
        update::update(layout, place, (before, after), warnings)
    }

    /// Opens what a process needs to enter.
    ///
    /// # Errors
    /// When the group is gone.
    pub fn open_join(&self) -> Result<Join, CgroupError> {
        let mut join = Join::default();
        for group in &self.groups {
            let (path, flags) = if self.unified {
                (group.path.clone(), OFlags::PATH | OFlags::DIRECTORY)
            } else {
                (group.path.join("tasks"), OFlags::WRONLY)
            };
            let fd = rustix::fs::open(&path, flags | OFlags::CLOEXEC, Mode::empty())
                .map_err(|error| CgroupError::Open { path, source: error.into() })?;
            if self.unified { join.directory = Some(fd) } else { join.tasks.push(fd) }
        }
        Ok(join)
    }

    /// For v1, each hierarchy's name below /sys/fs/cgroup and this group's directory in it, to be bound there in the
    /// container. One with several controllers also appears by the name of each. Empty for v2.
    #[must_use]
    pub fn views(&self) -> Vec<(String, PathBuf)> {
        let mut views = Vec::new();
        for group in self.groups.iter().filter(|_| !self.unified) {
            views.push((group.name.clone(), group.path.clone()));
            if group.controllers.len() > 1 {
                let names = group.controllers.iter().map(|controller| controller.name(false).to_owned());
                views.extend(names.map(|name| (name, group.path.clone())));
            }
        }
        views
    }

    /// Whether this is v2.
    #[must_use]
    pub fn is_unified(&self) -> bool {
        self.unified
    }

    /// The file with a line `oom_kill N`, open for reading: `memory.oom_control` (v1) or `memory.events` (v2); `None`
    /// without the memory controller.
    #[must_use]
    pub fn oom_counter(&self) -> Option<OwnedFd> {
        let file = if self.unified { "memory.events" } else { "memory.oom_control" };
        let path = self.group(Controller::Memory)?.path.join(file);
        File::open(path).ok().map(OwnedFd::from)
    }

    /// cgroup v1: the file by which one is told that the group's memory has run out; `None` with v2, where the counter is
    /// polled.
    #[must_use]
    pub fn oom_control(&self) -> Option<OwnedFd> {
        let group = if self.unified { None } else { self.group(Controller::Memory) };
        let path = group?.path.join("cgroup.event_control");
        File::options().write(true).open(path).ok().map(OwnedFd::from)
    }

    /// What the group uses.
    #[must_use]
    pub fn memory(&self) -> MemoryUse {
        let Some(group) = self.group(Controller::Memory) else { return MemoryUse::default() };
        let number = |file: &str| read_text(&group.path.join(file)).ok()?.trim().parse::<u64>().ok();
        let [current, peak, limit] = if self.unified {
            ["memory.current", "memory.peak", "memory.max"]
        } else {
            ["memory.usage_in_bytes", "memory.max_usage_in_bytes", "memory.limit_in_bytes"]
        };
        MemoryUse {
            current_bytes: number(current).unwrap_or(0),
            peak_bytes: number(peak).unwrap_or(0),
            limit_bytes: number(limit).filter(|bytes| *bytes < NO_LIMIT_BYTES),
        }
    }

    /// The directory that has this controller's files: in v2 the one there is, whether or not it has them.
    fn group(&self, controller: Controller) -> Option<&Group> {
        self.groups.iter().find(|group| self.unified || group.controllers.contains(&controller))
    }
}

/// A file of the kernel, which tells no size: one read for most. Bytes that are not UTF-8 (mount points of others) are
/// replaced.
fn read_text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    io::Read::read_to_end(&mut io::Read::take(File::open(path)?, u64::MAX), &mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// One write to an existing file; never creates nor truncates.
fn write_text(path: &Path, value: &str) -> io::Result<()> {
    io::Write::write_all(&mut File::options().write(true).open(path)?, value.as_bytes())
}

/// As [`write_text`], with the error of this module.
fn put(path: PathBuf, value: &str) -> Result<(), CgroupError> {
    write_text(&path, value).map_err(|source| CgroupError::Write { path, value: value.to_owned(), source })
}

#[cfg(test)]
mod tests;
