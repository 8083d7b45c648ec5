//! Which namespaces a container has for itself, and how it gets into those of others.

use cais_plan::Step;

use super::{
    CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUTS, PlanError, Planner,
    Result,
};
use crate::launch::{Namespace, Namespaces};

/// For clone3: what is made anew. The cgroup namespace is not among it, see [`Planner::cgroup_and_namespaces`].
pub(super) fn clone_flags(namespaces: &Namespaces) -> u64 {
    let fresh = |flag, namespace| if namespace == Namespace::Own { flag } else { 0 };
    CLONE_NEWNS
        | fresh(CLONE_NEWPID, namespaces.pid)
        | fresh(CLONE_NEWIPC, namespaces.ipc)
        | fresh(CLONE_NEWUTS, namespaces.uts)
        | fresh(CLONE_NEWNET, namespaces.network)
}

impl Planner<'_> {
    /// First of all, so that whatever follows is already accounted to the container; the cgroup namespace is made
    /// after joining, or its root would be the caller's group. Namespaces of others are joined before anything is
    /// mounted: procfs, sysfs and mqueue show those of who mounts them.
    pub(super) fn cgroup_and_namespaces(&mut self) {
        self.cgroup();
        let namespaces = self.launch.namespaces;
        if let Namespace::Join(_) = namespaces.pid {
            // Whoever is in there sees us from now on: CVE-2016-9962.
            self.steps.push("hide from the other container", &Step::Undumpable {});
        }
        if !namespaces.host_cgroup {
            self.steps.push("create a cgroup namespace", &Step::Unshare { flags: CLONE_NEWCGROUP });
        }
        if namespaces.network == Namespace::Own {
            self.steps.push("raise the loopback interface", &Step::LoopbackUp {});
        }
        self.namespaces_of_others();
    }

    pub(super) fn cgroup(&mut self) {
        for fd in &self.launch.cgroup.join {
            self.steps.push("join the cgroup", &Step::JoinCgroup { fd: *fd });
        }
    }

    /// All but the PID namespace, which the monitor joins before it makes a process.
    pub(super) fn namespaces_of_others(&mut self) {
        let namespaces = self.launch.namespaces;
        for (name, namespace, flags) in [
            ("network", namespaces.network, CLONE_NEWNET),
            ("IPC", namespaces.ipc, CLONE_NEWIPC),
            ("UTS", namespaces.uts, CLONE_NEWUTS),
        ] {
            if let Namespace::Join(fd) = namespace {
                self.steps.push(format!("join the {name} namespace"), &Step::SetNs { fd, flags });
            }
        }
    }
}

/// Only parameters of namespaces that the container has for itself.
pub(super) fn check_sysctl(key: &str, namespaces: &Namespaces) -> Result<()> {
    const IPC: [&str; 8] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    let own = |namespace| namespace == Namespace::Own;
    let clean = !key.split(['.', '/']).any(|part| part.is_empty() || part == "..");
    let ours = ((IPC.contains(&key) || key.starts_with("fs.mqueue.")) && own(namespaces.ipc))
        || (key == "kernel.domainname" && own(namespaces.uts))
        || (key.starts_with("net.") && namespaces.network != Namespace::Host);
    if clean && ours { Ok(()) } else { Err(PlanError::Sysctl(key.to_owned())) }
}
