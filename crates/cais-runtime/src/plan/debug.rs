//! Plans a shell with tools beside a container: its namespaces, but a mount namespace of its own whose root is another
//! image. Nothing is mounted where the container could see it; what is mounted goes with the last process in there.

use cais_plan::{PlanWriter, Step};

use super::process::process;
use super::{
    CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWUTS, Planned, Planner, RDONLY, Result,
};
use crate::launch::Launch;

/// Plans a command whose root is `launch.root`, in the namespaces of the process that `pidfd` (a descriptor of the
/// shim) means. The PID namespace, and a user namespace, are joined by the monitor. Host name, kernel parameters and
/// network of `launch` are not used.
///
/// # Errors
/// As for [`super::container`].
pub fn debug(launch: &Launch, pidfd: i32) -> Result<Planned> {
    let mut planner = Planner { launch, steps: PlanWriter::new(), next_slot: 0, attaches: Vec::new() };
    for fd in &launch.cgroup.join {
        planner.steps.push("join the container's cgroup", &Step::JoinCgroup { fd: *fd });
    }
    // Before anybody inside can see us: CVE-2016-9962.
    planner.steps.push("hide from the container", &Step::Undumpable {});
    let flags = CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET | CLONE_NEWCGROUP;
    planner.steps.push("join the container's namespaces", &Step::SetNs { fd: pidfd, flags });
    planner.host_trees()?;
    planner.root()?;
    planner.kernel_filesystems()?;
    planner.devices()?;
    planner.mounts()?;
    planner.terminal_and_masks()?;
    // A tools image is shared by all who use it.
    if !launch.read_only {
        planner.steps.push("make the root read-only", &Step::RootAttributes { set: RDONLY });
    }
    planner.enter()?;
    process(&mut planner.steps, &launch.process)?;
    Ok(Planned { steps: planner.steps, clone_flags: CLONE_NEWNS, outer: 0 })
}
