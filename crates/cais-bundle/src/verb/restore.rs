//! `restore`: files become the processes of a container again, by CRIU.
//!
//! The hooks of `create` do not run: they ran for the container that was dumped.

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use cais_runtime::cgroup::oci::Place;
use rustix::mount::{UnmountFlags, mount_bind_recursive, unmount};

use super::create::{Given, Made, write_pid_file};
use crate::console::send_pidfd;
use crate::criu::{Criu, absolute, kept_pipes};
use crate::error::{Error, Result};
use crate::launch::Child;
use crate::relay::Relay;
use crate::request::RestoreRequest;
use crate::runtime::Runtime;
use crate::state::{Container, StateDir};

impl Runtime {
    /// Makes a container from the images of [`Runtime::checkpoint`]. Detached: returns 0 when it runs; else it stays as
    /// [`Runtime::run`] does.
    ///
    /// # Errors
    /// Without criu, or when it fails; nothing stays.
    pub fn restore(&self, request: &RestoreRequest) -> Result<i32> {
        let create = &request.create;
        crate::state::check_id(&create.id)?;
        let images = fs::canonicalize(&request.image_path)
            .map_err(|e| Error::system(format!("find {}", request.image_path.display()), e))?;
        let work = request.work_path.as_deref().map_or_else(|| Ok(images.clone()), absolute)?;
        fs::create_dir_all(&work).map_err(|e| Error::system(format!("create {}", work.display()), e))?;
        let criu = Criu::of(self, "restore", &images, &work)?;
        let given = self.read(create, !request.detach)?;
        if given.console.for_process().is_some() {
            return Err(Error::Request("a container with a terminal cannot be restored"));
        }
        let relay = if request.detach { None } else { Some(Relay::begin(!request.no_subreaper)?) };
        let (dir, lock) = StateDir::make(&self.config.root, &create.id)?;
        let mut container = Container { record: self.first_record(create, &given)?, dir };
        let mut made = Made::default();
        let mut child = lock
            .write_config(&given.json)
            .and_then(|()| self.rebuild(request, criu, &images, &given, &mut container, &mut made))
            .inspect_err(|_| self.undo(&container, &made))?;
        drop(lock);
        child.release();
        let Some(relay) = relay else { return Ok(0) };
        let code = relay.stay(child.identity.pid, &child.pidfd, None);
        self.delete(&create.id, true)?;
        code
    }

    fn rebuild(
        &self,
        request: &RestoreRequest,
        mut criu: Criu,
        images: &Path,
        given: &Given,
        container: &mut Container,
        made: &mut Made,
    ) -> Result<Child> {
        let id = &request.create.id;
        let entrance = self.enter_group(&given.spec, container, made)?;
        container.dir.write(&container.record)?;
        let root = Root::bind(&given.rootfs, self.config.root.join(format!("criu:{id}")))?;
        let pid_file = container.dir.path().join("restored.pid");
        criu.option("--root", &root.path).option("--pidfile", &pid_file);
        criu.external_mounts(&given.spec, true);
        for place in entrance.group.iter().flat_map(|group| &group.state().places) {
            criu.option("--cgroup-root", cgroup_root(place));
        }
        for (number, name) in kept_pipes(images) {
            criu.inherit(number, &name);
        }
        options(&mut criu, request);
        criu.run()?;
        made.was_started = true;
        let failed = |e: std::io::Error| Error::system(format!("read {}", pid_file.display()), e);
        let text = fs::read_to_string(&pid_file).map_err(failed)?;
        let child = Child::adopt(text.trim().parse().map_err(|_| Error::Died)?)?;
        container.record.init = Some(child.identity);
        container.record.complete = true;
        container.record.created = jiff::Timestamp::now().to_string();
        container.dir.write(&container.record)?;
        if let Some(path) = &request.create.pidfd_socket {
            send_pidfd(path, "standard", child.pidfd.as_fd())?;
        }
        if let Some(path) = &request.create.pid_file {
            write_pid_file(path, child.identity.pid)?;
            made.pid_file = Some(path.clone());
        }
        Ok(child)
    }
}

fn options(criu: &mut Criu, request: &RestoreRequest) {
    criu.flag(true, "--restore-detached")
        .flag(true, "--restore-sibling")
        .flag(request.tcp_established, "--tcp-established")
        .flag(request.ext_unix_sk, "--ext-unix-sk")
        .flag(request.shell_job, "--shell-job")
        .flag(request.file_locks, "--file-locks")
        .flag(request.auto_dedup, "--auto-dedup")
        .flag(request.lazy_pages, "--lazy-pages")
        .manage_cgroups(request.manage_cgroups_mode.as_deref());
    for name in &request.empty_ns {
        criu.option("--empty-ns", if name == "network" { "net" } else { name.as_str() });
    }
    if let Some(profile) = &request.lsm_profile {
        criu.option("--lsm-profile", profile);
    }
    if let Some(context) = &request.lsm_mount_context {
        criu.option("--lsm-mount-context", context);
    }
}

/// Where the groups of the images are placed: `controllers:/path`, without the mount point.
fn cgroup_root(place: &Place) -> String {
    let below = place.path.strip_prefix("/sys/fs/cgroup").unwrap_or(&place.path);
    let below = below.strip_prefix(&place.name).unwrap_or(below);
    let path = format!("/{}", below.display());
    if place.unified { path } else { format!("{}:{path}", place.controllers.join(",")) }
}

/// The root file system as a mount point, which criu demands. It lies beside the state directories and not in one: what
/// removes those must never see it.
struct Root {
    path: PathBuf,
}

impl Root {
    fn bind(rootfs: &Path, path: PathBuf) -> Result<Root> {
        let failed = |e: std::io::Error| Error::system(format!("mount {}", path.display()), e);
        // Left by a restore that was killed.
        let _ = unmount(&path, UnmountFlags::DETACH);
        match fs::create_dir(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return Err(failed(e)),
            _ => {}
        }
        mount_bind_recursive(rootfs, &path).map_err(|e| failed(e.into()))?;
        Ok(Root { path })
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = unmount(&self.path, UnmountFlags::DETACH);
        let _ = fs::remove_dir(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_without_their_mount_points() {
        let place = |name: &str, controllers: &[&str], path: &str, unified| Place {
            name: name.to_owned(),
            controllers: controllers.iter().map(|&one| one.to_owned()).collect(),
            unified,
            path: path.into(),
            made: Vec::new(),
            kept: Vec::new(),
        };
        let v1 = place("cpu,cpuacct", &["cpu", "cpuacct"], "/sys/fs/cgroup/cpu,cpuacct/a/b", false);
        assert_eq!(cgroup_root(&v1), "cpu,cpuacct:/a/b");
        assert_eq!(cgroup_root(&place("", &[], "/sys/fs/cgroup/a/b", true)), "/a/b");
    }
}
