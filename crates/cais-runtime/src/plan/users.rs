//! A launch into a user namespace of the container's own, user_namespaces(7).
//!
//! Inside of it the host's files are out of reach and owners cannot be mapped. So a process in between, which has the
//! engine's rights, opens what comes from the host, maps owners, mounts the layers in a mount namespace of its own and
//! joins the user namespace; then it makes the container's first process, whose namespaces belong to that one. The root
//! goes along as the working directory: no path of the host is walked any more. Mounts that came along are locked and no
//! root can be made of them, hence the root is cloned once more.

use cais_plan::{Bytes, PlanWriter, Step, Str};

use super::{CLONE_NEWCGROUP, CLONE_NEWNS, CLONE_NEWUSER, PlanError, Planner, Result, bytes, path, text};
use crate::launch::{MappedLayers, Namespace, UserNamespace};

/// Becomes the user that mounts and makes things in a user namespace that was joined.
pub(super) fn become_root(steps: &mut PlanWriter, (uid, gid): (u32, u32), groups: bool) {
    let step = Step::Ids { uid, gid, groups: Bytes(&[]), home: false };
    steps.push("become root in the user namespace", &step);
    steps.push("become root in the user namespace", &Step::SwitchUser { groups });
}

impl Planner<'_> {
    /// All that comes before the kernel's own file systems. Returns how many of the steps are those of the process in
    /// between.
    pub(super) fn through_user_namespace(&mut self, users: &UserNamespace) -> Result<u32> {
        let launch = self.launch;
        if let Namespace::Join(_) = launch.namespaces.pid {
            // Neither can its procfs be mounted from there, nor is the number that the process in between sees the
            // monitor's.
            return Err(PlanError::ForeignPids);
        }
        self.cgroup();
        // From within, the kernel would let nobody in who does not own them.
        self.namespaces_of_others();
        // What root of the user namespace may not raise.
        super::process::limits(&mut self.steps, &launch.process);
        if let Some(score) = launch.oom_score_adj {
            let value = score.to_string();
            let content = Bytes(value.as_bytes());
            let step = Step::WriteProc { file: Str(b"self/oom_score_adj"), content, optional: false };
            self.steps.push(format!("set oom_score_adj to {score}"), &step);
        }
        self.host_trees()?;
        self.node_trees()?;
        self.cgroup_views_open()?;
        self.steps.push("create a mount namespace", &Step::Unshare { flags: CLONE_NEWNS });
        self.steps.push("make the mounts private", &Step::PrivateMounts {});
        if let Some(layers) = &users.layers {
            self.map_layers(layers, users.fd)?;
        }
        self.layers()?;
        self.steps.push("enter the root's directory", &Step::StandInRoot {});
        // Whoever is in there could take us over while we still have what is the host's.
        self.steps.push("hide from who is in the user namespace", &Step::Undumpable {});
        let step = Step::SetNs { fd: users.fd, flags: CLONE_NEWUSER };
        self.steps.push("join the user namespace", &step);
        let outer = self.steps.len() as u32;
        become_root(&mut self.steps, users.root, users.groups);
        if !launch.namespaces.host_cgroup {
            self.steps.push("create a cgroup namespace", &Step::Unshare { flags: CLONE_NEWCGROUP });
        }
        if launch.namespaces.network == Namespace::Own {
            self.steps.push("raise the loopback interface", &Step::LoopbackUp {});
        }
        let here = Str(b".");
        self.steps.push("take the root", &Step::BindRoot { at: here, source: here });
        Ok(outer)
    }

    fn map_layers(&mut self, layers: &MappedLayers, userns_fd: i32) -> Result<()> {
        for directory in &layers.directories {
            let step = Step::MapDirectory { path: path("a directory of layers", directory)?, userns_fd };
            self.steps.push(format!("map the owners in {}", directory.display()), &step);
        }
        let (uid, gid) = layers.mounter;
        let step = Step::Ids { uid, gid, groups: Bytes(&[]), home: false };
        self.steps.push("become who mounts the layers", &step);
        self.steps.push("become who mounts the layers", &Step::SwitchUser { groups: false });
        let all = layers.capabilities;
        let step = Step::Capabilities { effective: all, permitted: all, inheritable: 0, ambient: 0 };
        self.steps.push("keep the rights to mount the layers", &step);
        Ok(())
    }

    /// Owners are mapped while that is still allowed.
    pub(super) fn map_binds(&mut self) {
        for (target, fd) in &self.launch.mapped_binds {
            let opened = self.attaches.iter().find(|attach| attach.mount.target() == target);
            if let Some(slot) = opened.map(|attach| attach.slot) {
                let step = Step::MapTree { slot, userns_fd: *fd, recursive: false };
                self.steps.push(format!("map the owners of what is mounted on {target}"), &step);
            }
        }
    }

    /// What is added to files of the container.
    pub(super) fn appended_files(&mut self) -> Result<()> {
        for (file, content) in &self.launch.appended {
            let step = Step::AppendFile {
                path: text("a file", file)?,
                content: Bytes(bytes("an entry", content.as_bytes())?.0),
            };
            self.steps.push(format!("add to {file}"), &step);
        }
        Ok(())
    }
}
