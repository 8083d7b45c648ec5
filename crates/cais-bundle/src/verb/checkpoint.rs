//! `checkpoint`: the processes of a container become files, by CRIU.

use std::fs;

use cais_oci::runtime::Status;

use crate::criu::{Criu, absolute, joins_network, keep_descriptors};
use crate::error::{Error, Result};
use crate::request::CheckpointRequest;
use crate::runtime::Runtime;

impl Runtime {
    /// Dumps a running container; unless it goes on (`leave_running`, `pre_dump`), it is deleted.
    ///
    /// # Errors
    /// Without criu; when it fails, after which the container goes on.
    pub fn checkpoint(&self, request: &CheckpointRequest) -> Result<()> {
        let container = self.load(&request.id)?;
        let status = container.status();
        if !matches!(status, Status::Running | Status::Paused) {
            return Err(Error::CheckpointState(status));
        }
        let init = container.record.init.filter(|init| init.is_alive()).ok_or(Error::NotRunning)?;
        let images = &absolute(&request.image_path)?;
        let work = &request.work_path.as_deref().map_or_else(|| Ok(images.clone()), absolute)?;
        let action = if request.pre_dump { "pre-dump" } else { "dump" };
        let mut criu = Criu::of(self, action, images, work)?;
        for directory in [images, work] {
            fs::create_dir_all(directory)
                .map_err(|e| Error::system(format!("create {}", directory.display()), e))?;
        }
        if let Some(parent) = &request.parent_path
            && !images.join(parent).is_dir()
        {
            return Err(Error::Request(
                "invalid --parent-path: there is no such directory beside the images",
            ));
        }
        let spec = container.dir.read_config()?;
        criu.option("--tree", init.pid.to_string()).option("--root", &container.record.rootfs);
        criu.external_mounts(&spec, false);
        if joins_network(&spec) {
            criu.flag(true, "--empty-ns").flag(true, "net");
        }
        if let Some(freezer) = container.group().as_ref().and_then(|group| group.path("freezer")) {
            criu.option("--freeze-cgroup", freezer);
        }
        options(&mut criu, request);
        keep_descriptors(images, init.pid)?;
        criu.run()?;
        if request.leave_running || request.pre_dump {
            return Ok(());
        }
        self.delete(&request.id, true)
    }
}

fn options(criu: &mut Criu, request: &CheckpointRequest) {
    criu.flag(request.leave_running || request.pre_dump, "--leave-running")
        .flag(request.pre_dump, "--track-mem")
        .flag(request.tcp_established, "--tcp-established")
        .flag(request.tcp_skip_in_flight, "--skip-in-flight")
        .flag(request.link_remap, "--link-remap")
        .flag(request.ext_unix_sk, "--ext-unix-sk")
        .flag(request.shell_job, "--shell-job")
        .flag(request.lazy_pages, "--lazy-pages")
        .flag(request.file_locks, "--file-locks")
        .flag(request.auto_dedup, "--auto-dedup")
        .manage_cgroups(request.manage_cgroups_mode.as_deref());
    if let Some(parent) = &request.parent_path {
        criu.option("--prev-images-dir", parent);
    }
    if let Some(fd) = request.status_fd {
        criu.option("--status-fd", fd.to_string());
    }
    if let Some((address, port)) = &request.page_server {
        criu.flag(true, "--page-server").option("--address", address).option("--port", port.to_string());
    }
    for name in &request.empty_ns {
        criu.option("--empty-ns", if name == "network" { "net" } else { name.as_str() });
    }
}
