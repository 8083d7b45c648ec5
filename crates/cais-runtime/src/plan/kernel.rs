//! The kernel's own file systems in a container: procfs, sysfs, /dev and its parts, the view of the control groups.

use std::path::Path;

use super::{MS_PRIVATE, NODEV, NOEXEC, NOSUID, Planner, RDONLY, Result, SLOTS, STRICTATIME};
use crate::launch::Namespace;

impl Planner<'_> {
    pub(super) fn kernel_filesystems(&mut self) -> Result<()> {
        let launch = self.launch;
        let plain = NOSUID | NODEV | NOEXEC;
        if self.foreign_pid() {
            self.attach("/proc", self.proc_slot(), true, (plain, MS_PRIVATE, true))?;
        } else {
            self.mount("proc", "/proc", plain, &[], false)?;
        }
        self.mount("tmpfs", "/dev", NOSUID | STRICTATIME, &["mode=755", "size=65536k"], false)?;
        let mut pts = vec!["newinstance", "ptmxmode=0666", "mode=0620"];
        if launch.tty_group {
            pts.push("gid=5");
        }
        self.mount("devpts", "/dev/pts", NOSUID | NOEXEC, &pts, false)?;
        if let Some(bytes) = launch.shm_size_bytes {
            let size = format!("size={bytes}");
            self.mount("tmpfs", "/dev/shm", plain, &["mode=1777", &size], false)?;
        }
        self.mount("mqueue", "/dev/mqueue", plain, &[], true)?;
        let read_only = if launch.writable_sys { 0 } else { RDONLY };
        if self.foreign_network() {
            // The kernel refuses a new one.
            let slot = self.sys_slot();
            self.attach("/sys", slot, true, (plain | RDONLY, MS_PRIVATE, true))?;
        } else {
            self.mount("sysfs", "/sys", plain | read_only, &[], false)?;
        }
        self.cgroup_views(plain | read_only)
    }

    /// The last slots are the host's /sys and /proc, and the cgroup directories.
    fn sys_slot(&self) -> u32 {
        SLOTS - 1
    }

    fn proc_slot(&self) -> u32 {
        SLOTS - 2
    }

    /// sysfs shows a network namespace that the container's user namespace does not own.
    fn foreign_network(&self) -> bool {
        match &self.launch.users {
            Some(_) => self.launch.foreign_network,
            None => self.launch.rootless && self.launch.namespaces.network != Namespace::Own,
        }
    }

    fn foreign_pid(&self) -> bool {
        self.launch.users.as_ref().is_some_and(|users| users.foreign_pid)
    }

    pub(super) fn cgroup_views_open(&mut self) -> Result<()> {
        let launch = self.launch;
        if self.foreign_pid() {
            self.open("/proc", Path::new("/proc"), self.proc_slot(), true)?;
        }
        if self.foreign_network() {
            self.open("/sys", Path::new("/sys"), self.sys_slot(), true)?;
        }
        for ((_, source), index) in launch.cgroup.views.iter().zip(3..) {
            self.open(&source.to_string_lossy(), source, SLOTS - index, false)?;
        }
        Ok(())
    }

    fn cgroup_views(&mut self, attributes: u64) -> Result<()> {
        let launch = self.launch;
        if launch.cgroup.unified {
            let attributes = if launch.cgroup.writable { attributes & !RDONLY } else { attributes };
            return self.mount("cgroup2", "/sys/fs/cgroup", attributes, &[], true);
        }
        if launch.cgroup.views.is_empty() {
            return Ok(());
        }
        self.mount("tmpfs", "/sys/fs/cgroup", NOSUID | NODEV | NOEXEC, &["mode=755", "size=64k"], false)?;
        for ((name, _), index) in launch.cgroup.views.iter().zip(3..) {
            let target = format!("/sys/fs/cgroup/{name}");
            self.attach(&target, SLOTS - index, true, (attributes, MS_PRIVATE, false))?;
        }
        Ok(())
    }
}
