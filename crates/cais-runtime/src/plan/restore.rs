//! Plans what restores a container from images of CRIU: that program as the monitor's child, in the container's group,
//! with the container's root mounted where nobody else sees it.
//!
//! Everything else of the container CRIU makes itself: what is mounted in its root, its namespaces but the network's, its
//! processes. The mount goes with the program, and so, by the group, does a program that is killed.

use cais_plan::{PlanWriter, Step, Strings};

use super::{CLONE_NEWCGROUP, CLONE_NEWNS, PlanError, Planned, Planner, RDONLY, Result, list};
use crate::launch::{Launch, Namespace};

/// Plans `args` (the program by its absolute path and its arguments) as what restores `launch`. Where the container joins
/// a network namespace the program finds it as descriptor 3; its standard streams become the container's. Process,
/// mounts, devices and names of `launch` are not used.
///
/// # Errors
/// As for [`super::container`].
pub fn restore(launch: &Launch, args: &[String], env: &[String]) -> Result<Planned> {
    let mut planner = Planner {
        launch,
        steps: PlanWriter::failing_at(launch.failing_step),
        next_slot: 0,
        attaches: Vec::new(),
    };
    if let Namespace::Join(fd) = launch.namespaces.network {
        planner.steps.push("keep the network namespace", &Step::Keep { fd });
    }
    for fd in &launch.cgroup.join {
        planner.steps.push("join the cgroup", &Step::JoinCgroup { fd: *fd });
    }
    if !launch.namespaces.host_cgroup {
        planner.steps.push("create a cgroup namespace", &Step::Unshare { flags: CLONE_NEWCGROUP });
    }
    // While the root is the host's, whose null device it takes.
    planner.steps.push("connect standard input and output", &Step::Stdio { console: false });
    planner.root()?;
    if launch.read_only {
        // CRIU takes the root as it finds it.
        planner.steps.push("make the root read-only", &Step::RootAttributes { set: RDONLY });
    }
    planner.steps.push("tie the restoring program to its monitor", &Step::DeathSignal {});
    let program = args.first().ok_or(PlanError::NoCommand)?;
    let sentence = format!("execute {program}");
    let paths = list("the restoring program", &args[..args.len().min(1)])?;
    let args = list("an argument", args)?;
    let env = list("an environment variable", env)?;
    let step = Step::Exec { paths: Strings(&paths), args: Strings(&args), env: Strings(&env) };
    planner.steps.push(sentence, &step);
    Ok(Planned { steps: planner.steps, clone_flags: CLONE_NEWNS, outer: 0 })
}
