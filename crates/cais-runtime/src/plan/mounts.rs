//! Mounts that were asked for: opened or made while the host's paths mean something, attached when the root is complete.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use cais_plan::{Step, Strings, join_strings};

use super::{Attach, MS_PRIVATE, PlanError, Planner, RDONLY, Result, path, text};
use crate::launch::MountPlan;

const MS_REC: u64 = 1 << 14;

impl<'a> Planner<'a> {
    /// What comes from the host is opened while the host's tree is still there and its propagation still intact.
    pub(super) fn host_trees(&mut self) -> Result<()> {
        let launch = self.launch;
        for mount in &launch.mounts {
            if !matches!(mount, MountPlan::Bind { .. } | MountPlan::Tree { .. }) {
                continue;
            }
            let slot = self.slot()?;
            match mount {
                MountPlan::Bind { source, subpath: Some(subpath), .. } => {
                    self.open_beneath(source, subpath, slot)?;
                }
                MountPlan::Bind { source, recursive, .. } => {
                    self.open(&source.to_string_lossy(), source, slot, *recursive)?;
                }
                MountPlan::Tree { fd, target } => {
                    self.steps.push(format!("take the tree for {target}"), &Step::TakeTree { fd: *fd, slot });
                }
                _ => {}
            }
            self.attaches.push(Attach { slot, mount });
        }
        self.map_binds();
        Ok(())
    }

    /// What is at a path of a directory, whatever links lie on the way.
    fn open_beneath(&mut self, source: &Path, subpath: &str, slot: u32) -> Result<()> {
        let sentence = format!("open {subpath} of {}", source.display());
        let (source, subpath) = (path("a mount source", source)?, text("a subpath", subpath)?);
        self.steps.push(sentence, &Step::OpenBeneath { source, subpath, slot });
        Ok(())
    }

    /// Overlays, made where the root is mounted upon them, and kept for their place in it; the host's tree takes the
    /// originals with it.
    pub(super) fn overlays(&mut self) -> Result<()> {
        let launch = self.launch;
        for mount in &launch.mounts {
            let MountPlan::Overlay { lowers, upper, subpath, target, .. } = mount else { continue };
            let (upper, work) = upper.as_ref().map_or((Path::new(""), Path::new("")), |(u, w)| (u, w));
            let lowers = join_strings(lowers.iter().map(|lower| lower.as_os_str().as_bytes()));
            let step = Step::OverlayRoot {
                at: path("the mount point", &launch.mountpoint)?,
                lowers: Strings(&lowers),
                upper: path("an upper directory", upper)?,
                work: path("a work directory", work)?,
                volatile_upper: false,
                userxattr: launch.rootless,
                context: text("the mount label", launch.mount_label.as_deref().unwrap_or_default())?,
            };
            self.steps.push(format!("make the overlay for {target}"), &step);
            let slot = self.slot()?;
            self.open_beneath(&launch.mountpoint, subpath.as_deref().unwrap_or("."), slot)?;
            self.attaches.push(Attach { slot, mount });
        }
        Ok(())
    }

    /// Shallow targets first, so that a mount never hides another that was asked for; the order given decides ties.
    pub(super) fn mounts(&mut self) -> Result<()> {
        let mut order: Vec<&MountPlan> = self.launch.mounts.iter().collect();
        order.sort_by_key(|m| m.target().split('/').filter(|c| !c.is_empty()).count());
        for mount in order {
            if is_inside_proc(mount.target()) {
                return Err(PlanError::InProc(mount.target().to_owned()));
            }
            match mount {
                MountPlan::Tmpfs { target, options, attributes } => {
                    let options: Vec<&str> = options.iter().map(String::as_str).collect();
                    self.mount("tmpfs", target, *attributes, &options, false)?;
                }
                MountPlan::Filesystem { fstype, target, options, attributes } => {
                    let options: Vec<&str> = options.iter().map(String::as_str).collect();
                    self.mount(fstype, target, *attributes, &options, false)?;
                }
                MountPlan::Tree { target, .. } => {
                    let Some(slot) = self.slot_of(mount) else { continue };
                    self.attach(target, slot, true, (0, MS_PRIVATE, false))?;
                }
                MountPlan::Overlay { target, read_only, .. } => {
                    let Some(slot) = self.slot_of(mount) else { continue };
                    let set = if *read_only { RDONLY } else { 0 };
                    self.bind_own(target, slot, (set, set), MS_PRIVATE)?;
                }
                MountPlan::Bind {
                    target,
                    subpath,
                    directory,
                    read_only,
                    writable_beneath,
                    recursive,
                    propagation,
                    ..
                } => {
                    let Some(slot) = self.slot_of(mount) else { continue };
                    let set = if *read_only { RDONLY } else { 0 };
                    // What is at a subpath may be a file: the step looks.
                    if subpath.is_some() || (*writable_beneath && *recursive) {
                        let beneath = if *writable_beneath { 0 } else { set };
                        self.bind_own(target, slot, (set, beneath), *propagation)?;
                    } else {
                        self.attach(target, slot, *directory, (set, *propagation, *recursive))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn slot_of(&self, mount: &MountPlan) -> Option<u32> {
        self.attaches.iter().find(|a| std::ptr::eq(a.mount, mount)).map(|a| a.slot)
    }

    /// Attaches a tree with attributes of its topmost mount, and of all that are beneath it.
    fn bind_own(
        &mut self,
        target: &str,
        slot: u32,
        (set, beneath): (u64, u64),
        propagation: u64,
    ) -> Result<()> {
        let step = Step::Bind {
            slot,
            target: text("a mount target", target)?,
            set,
            clear: 0,
            recursive_set: beneath,
            recursive_clear: 0,
            propagation: propagation | MS_REC,
            userns_fd: -1,
            recursive_map: false,
        };
        self.steps.push(format!("mount on {target}"), &step);
        Ok(())
    }
}

fn is_inside_proc(target: &str) -> bool {
    target.split('/').find(|c| !c.is_empty() && *c != ".") == Some("proc")
}
