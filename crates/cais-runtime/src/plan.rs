//! The planner: a [`Launch`] becomes the ordered steps that the container's first process carries out.
//!
//! Pure: touches nothing, the same input gives the same steps. The order is the security argument; each group says
//! why it stands where it does. Implements the Linux part of runtime-spec 1.2 as far as `run` needs it.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use cais_plan::{Bytes, PlanWriter, Step, Str, Strings, join_strings};

mod debug;
mod kernel;
mod mounts;
mod namespaces;
mod process;
mod restore;
mod users;

pub use debug::debug;
use namespaces::check_sysctl;
use process::process;
pub use restore::restore;

use crate::launch::{ExecLaunch, Launch, MountPlan, Namespace, Root};

const RDONLY: u64 = 1;
const NOSUID: u64 = 2;
const NODEV: u64 = 4;
const NOEXEC: u64 = 8;
const STRICTATIME: u64 = 0x20;

const MS_PRIVATE: u64 = 1 << 18;

const CLONE_NEWNS: u64 = 0x0002_0000;
const CLONE_NEWCGROUP: u64 = 0x0200_0000;
const CLONE_NEWUTS: u64 = 0x0400_0000;
const CLONE_NEWIPC: u64 = 0x0800_0000;
const CLONE_NEWUSER: u64 = 0x1000_0000;
const CLONE_NEWPID: u64 = 0x2000_0000;
const CLONE_NEWNET: u64 = 0x4000_0000;

/// Hidden from the container, as Docker hides them.
pub const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// Read-only in the container, as Docker has them.
pub const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Slots of the shim.
const SLOTS: u32 = 128;

/// Why a launch cannot be planned.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PlanError {
    /// Strings for the kernel end at a NUL.
    #[error("{what} contains a NUL byte")]
    Nul {
        /// Which field.
        what: &'static str,
    },
    /// More binds and devices than the shim has slots for.
    #[error("more than {} bind mounts and devices", SLOTS)]
    TooMany,
    /// There is nothing to execute.
    #[error("no command: neither the image nor the request names one")]
    NoCommand,
    /// A kernel parameter that is not the container's own.
    #[error("sysctl {0} is not namespaced: it would change the host")]
    Sysctl(String),
    /// A mount that would undo the isolation.
    #[error("mount on {0}: /proc belongs to the kernel, nothing can be mounted inside it")]
    InProc(String),
    /// A user namespace of its own in the PID namespace of another container.
    #[error("a user namespace of its own does not go with the PID namespace of another container")]
    ForeignPids,
}

type Result<T> = std::result::Result<T, PlanError>;

/// A plan and the namespaces that its first process is cloned into.
#[derive(Debug)]
pub struct Planned {
    /// The steps, with their sentences.
    pub steps: PlanWriter,
    /// `CLONE_NEW*` for clone3.
    pub clone_flags: u64,
    /// How many of the first steps are carried out before that.
    pub outer: u32,
}

fn text<'a>(what: &'static str, value: &'a str) -> Result<Str<'a>> {
    bytes(what, value.as_bytes())
}

fn path<'a>(what: &'static str, value: &'a Path) -> Result<Str<'a>> {
    bytes(what, value.as_os_str().as_bytes())
}

fn bytes<'a>(what: &'static str, value: &'a [u8]) -> Result<Str<'a>> {
    if value.contains(&0) { Err(PlanError::Nul { what }) } else { Ok(Str(value)) }
}

fn list(what: &'static str, values: &[String]) -> Result<Vec<u8>> {
    if values.iter().any(|v| v.as_bytes().contains(&0)) {
        return Err(PlanError::Nul { what });
    }
    Ok(join_strings(values))
}

/// Plans the launch of a container.
///
/// # Errors
/// When the description cannot be carried out; nothing has been touched.
pub fn container(launch: &Launch) -> Result<Planned> {
    let mut planner = Planner {
        launch,
        steps: PlanWriter::failing_at(launch.failing_step),
        next_slot: 0,
        attaches: Vec::new(),
    };
    let outer = match &launch.users {
        Some(users) => planner.through_user_namespace(users)?,
        None => {
            planner.cgroup_and_namespaces();
            planner.host_trees()?;
            planner.root()?;
            0
        }
    };
    planner.kernel_filesystems()?;
    planner.devices()?;
    planner.mounts()?;
    planner.identity_of_host()?;
    planner.appended_files()?;
    planner.terminal_and_masks()?;
    planner.enter()?;
    process(&mut planner.steps, &launch.process)?;
    Ok(Planned { steps: planner.steps, clone_flags: namespaces::clone_flags(&launch.namespaces), outer })
}

/// Plans a further command in a running container.
///
/// # Errors
/// As for [`container`].
pub fn exec(launch: &ExecLaunch) -> Result<Planned> {
    let mut steps = PlanWriter::new();
    for fd in &launch.join {
        steps.push("join the container's cgroup", &Step::JoinCgroup { fd: *fd });
    }
    // Before anybody inside can see us: CVE-2016-9962.
    steps.push("hide from the container", &Step::Undumpable {});
    let flags = launch.namespaces & !CLONE_NEWPID;
    steps.push("join the container's namespaces", &Step::SetNs { fd: launch.pidfd, flags });
    if let Some((root, groups)) = launch.users {
        users::become_root(&mut steps, root, groups);
    }
    let stdio =
        if launch.tty { "open a terminal in the container" } else { "connect standard input and output" };
    steps.push(stdio, &Step::Stdio { console: false });
    process(&mut steps, &launch.process)?;
    Ok(Planned { steps, clone_flags: 0, outer: 0 })
}

/// Every namespace that a container of ours has, for [`ExecLaunch::namespaces`].
#[must_use]
pub fn exec_namespaces(rootless: bool) -> u64 {
    let user = if rootless { CLONE_NEWUSER } else { 0 };
    CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET | CLONE_NEWCGROUP | user
}

/// File systems whose files take the mount label; the others are labelled by the policy.
const LABELLED: [&str; 2] = ["tmpfs", "devpts"];

/// A mount whose tree is already open.
struct Attach<'a> {
    slot: u32,
    mount: &'a MountPlan,
}

struct Planner<'a> {
    launch: &'a Launch,
    steps: PlanWriter,
    next_slot: u32,
    attaches: Vec<Attach<'a>>,
}

impl<'a> Planner<'a> {
    fn slot(&mut self) -> Result<u32> {
        let slot = self.next_slot;
        if slot >= SLOTS {
            return Err(PlanError::TooMany);
        }
        self.next_slot += 1;
        Ok(slot)
    }

    fn open(&mut self, name: &str, source: &Path, slot: u32, recursive: bool) -> Result<()> {
        let source = path("a mount source", source)?;
        self.steps.push(format!("open {name}"), &Step::OpenTree { source, slot, recursive });
        Ok(())
    }

    fn root(&mut self) -> Result<()> {
        self.node_trees()?;
        self.cgroup_views_open()?;
        self.steps.push("make the mounts private", &Step::PrivateMounts {});
        self.layers()
    }

    /// Where device nodes cannot be made.
    fn binds_nodes(&self) -> bool {
        self.launch.rootless || self.launch.users.is_some()
    }

    fn node_trees(&mut self) -> Result<()> {
        let launch = self.launch;
        if self.binds_nodes() {
            for (node, slot) in launch.nodes.iter().zip(0..) {
                let slot = slot + launch.mounts.len() as u32;
                if slot >= SLOTS {
                    return Err(PlanError::TooMany);
                }
                self.open(&node.source.to_string_lossy(), &node.source, slot, false)?;
            }
        }
        Ok(())
    }

    fn layers(&mut self) -> Result<()> {
        let launch = self.launch;
        self.overlays()?;
        let at = path("the mount point", &launch.mountpoint)?;
        match &launch.root {
            Root::Directory(source) => {
                let sentence = format!("use {} as the root", source.display());
                self.steps
                    .push(sentence, &Step::BindRoot { at, source: path("the root directory", source)? });
            }
            Root::Overlay { lowers, upper, work, volatile_upper } => {
                let lowers = join_strings(lowers.iter().map(|l| l.as_os_str().as_bytes()));
                let step = Step::OverlayRoot {
                    at,
                    lowers: Strings(&lowers),
                    upper: path("the writable layer", upper)?,
                    work: path("the work directory", work)?,
                    volatile_upper: *volatile_upper,
                    userxattr: launch.rootless,
                    context: text("the mount label", launch.mount_label.as_deref().unwrap_or_default())?,
                };
                self.steps.push("mount the layers as the root", &step);
            }
        }
        Ok(())
    }

    fn mount(
        &mut self,
        fstype: &str,
        target: &str,
        attributes: u64,
        options: &[&str],
        optional: bool,
    ) -> Result<()> {
        let label = self.launch.mount_label.as_ref().filter(|_| LABELLED.contains(&fstype));
        let label = label.map(|label| format!("context={label}"));
        let options = join_strings(options.iter().copied().chain(label.as_deref()));
        let step = Step::Mount {
            fstype: text("a file system type", fstype)?,
            source: text("a mount source", fstype)?,
            target: text("a mount target", target)?,
            attributes,
            options: Strings(&options),
            optional,
        };
        self.steps.push(format!("mount {fstype} on {target}"), &step);
        Ok(())
    }

    /// `how` is (attributes set, propagation, recursive).
    fn attach(&mut self, target: &str, slot: u32, directory: bool, how: (u64, u64, bool)) -> Result<()> {
        let (set, propagation, recursive) = how;
        let target_text = text("a mount target", target)?;
        let step = Step::Attach { slot, target: target_text, directory, set, propagation, recursive };
        self.steps.push(format!("mount on {target}"), &step);
        Ok(())
    }

    fn devices(&mut self) -> Result<()> {
        let launch = self.launch;
        for (node, slot) in launch.nodes.iter().zip(0..) {
            let place = text("a device path", &node.path)?;
            let sentence = format!("make the device {}", node.path);
            let step = if self.binds_nodes() {
                Step::BindNode { slot: slot + launch.mounts.len() as u32, path: place }
            } else {
                let (mode, device, uid, gid) = (node.mode, node.device, node.uid, node.gid);
                Step::MakeNode { path: place, mode, device, uid, gid }
            };
            self.steps.push(sentence, &step);
        }
        for (link, content) in [
            ("/dev/fd", "/proc/self/fd"),
            ("/dev/stdin", "/proc/self/fd/0"),
            ("/dev/stdout", "/proc/self/fd/1"),
            ("/dev/stderr", "/proc/self/fd/2"),
            ("/dev/ptmx", "pts/ptmx"),
            ("/dev/core", "/proc/kcore"),
        ] {
            let step = Step::Symlink { content: Str(content.as_bytes()), path: Str(link.as_bytes()) };
            self.steps.push(format!("make the link {link}"), &step);
        }
        Ok(())
    }

    /// Names and kernel parameters; before /proc/sys becomes read-only.
    fn identity_of_host(&mut self) -> Result<()> {
        let launch = self.launch;
        let own = launch.namespaces.uts == Namespace::Own;
        if own {
            let name = text("the host name", &launch.hostname)?;
            self.steps.push(format!("set the host name {}", launch.hostname), &Step::Hostname { name });
        }
        if let Some(domain) = launch.domainname.as_ref().filter(|_| own) {
            let name = text("the domain name", domain)?;
            self.steps.push(format!("set the domain name {domain}"), &Step::Domainname { name });
        }
        for (key, value) in &launch.sysctls {
            check_sysctl(key, &launch.namespaces)?;
            let file = format!("/proc/sys/{}", key.replace('.', "/"));
            let path = text("a sysctl", &file)?;
            let content = Bytes(value.as_bytes());
            let sentence = format!("set the sysctl {key} to {value}");
            self.steps.push(sentence, &Step::WriteFile { path, content, optional: false });
        }
        Ok(())
    }

    fn terminal_and_masks(&mut self) -> Result<()> {
        let sentence = if self.launch.tty { "open a terminal" } else { "connect standard input and output" };
        self.steps.push(sentence, &Step::Stdio { console: true });
        let launch = self.launch;
        for masked in &launch.masked {
            let step = Step::Mask { path: text("a masked path", masked)? };
            self.steps.push(format!("mask {masked}"), &step);
        }
        for read_only in &launch.read_only_paths {
            let step = Step::ReadOnlyPath { path: text("a read-only path", read_only)? };
            self.steps.push(format!("make {read_only} read-only"), &step);
        }
        if launch.read_only {
            self.steps.push("make the root read-only", &Step::RootAttributes { set: RDONLY });
        }
        Ok(())
    }

    fn enter(&mut self) -> Result<()> {
        self.steps.push("enter the root", &Step::Pivot {});
        // In a user namespace of its own it was set before.
        if let Some(score) = self.launch.oom_score_adj.filter(|_| self.launch.users.is_none()) {
            let value = score.to_string();
            let step = Step::WriteFile {
                path: Str(b"/proc/self/oom_score_adj"),
                content: Bytes(value.as_bytes()),
                optional: false,
            };
            self.steps.push(format!("set oom_score_adj to {score}"), &step);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
