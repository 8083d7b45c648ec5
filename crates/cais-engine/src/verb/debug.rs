//! `debug`: a shell with tools in the namespaces of a container whose image has none.
//!
//! Like `exec`, but the mount namespace is a new one, made from the engine's: its root is the tools image, read-only,
//! with the container's root at /proc/1/root and, by a link, at /container. The container sees the processes, and none of
//! the mounts, which go with the last of those processes. The tools are root with Docker's capabilities and CAP_SYS_PTRACE,
//! whatever the container drops: without it /proc/1/root of a container that runs as another user stays closed.

use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use cais_plan::Setup;
use cais_runtime::launch::{CgroupPlan, Launch, MountPlan, Namespace, Namespaces, Process, Root};
use cais_runtime::plan;
use cais_store::{ImageRecord, StoreError};

use super::exec::{NEWPID, NEWUSER};
use crate::assemble::{SHM_BYTES, kernel_paths, name_files, nodes, process};
use crate::attach::{AfterExec, AttachStream, broken, short};
use crate::limits::Group;
use crate::progress::Progress;
use crate::resolve;
use crate::shim::{ShimFds, first_word};
use crate::{ContainerRecord, Engine, Error, ErrorKind, Result};

/// What `debug` is asked to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DebugRequest {
    /// Where the tools come from, pulled when it is not here; `None`: the first of the usual ones that is here.
    pub image: Option<String>,
    /// Command and arguments; empty: the image's own, or `sh`.
    pub args: Vec<String>,
    /// `KEY=VALUE`, added to the tools image's.
    pub env: Vec<String>,
    /// `user[:group]` by the tools image's files; `None` is root.
    pub user: Option<String>,
    /// Allocate a pseudo terminal.
    pub tty: bool,
    /// Standard input is given.
    pub interactive: bool,
    /// All capabilities, no seccomp.
    pub privileged: bool,
    /// Rows and columns of the caller's terminal.
    pub terminal_size: Option<(u16, u16)>,
}

impl DebugRequest {
    /// What the shim is told of it.
    pub(super) fn setup(&self) -> Setup<'static> {
        Setup {
            tty: self.tty,
            stdin: self.interactive,
            attached: true,
            stdin_once: true,
            rows: self.terminal_size.map_or(0, |(rows, _)| u32::from(rows)),
            cols: self.terminal_size.map_or(0, |(_, cols)| u32::from(cols)),
            ..Setup::NONE
        }
    }
}

/// What is launched, and beside what.
pub(super) struct Beside<'a> {
    pub(super) record: &'a ContainerRecord,
    pub(super) tools: &'a ImageRecord,
    pub(super) request: &'a DebugRequest,
    /// Whoever joins from outside sees by this whether there is more than one id.
    pub(super) set_groups: bool,
}

/// Images that have a shell and tools, the smallest first.
const USUAL: [&str; 7] = ["busybox", "alpine", "debian", "ubuntu", "fedora", "nicolaka/netshoot", "toolbox"];
/// Where the container's files are seen, beside /proc/1/root.
pub(super) const CONTAINER: &str = "container";
/// Mount points that a tools image may lack.
const DIRECTORIES: [&str; 6] = ["proc", "sys", "dev", "tmp", "etc", "run"];
const NAME_FILES: [&str; 3] = ["etc/hosts", "etc/hostname", "etc/resolv.conf"];

impl Engine {
    /// Runs a command of a tools image in the namespaces of a running container; beside the files of one that does not run, or
    /// of an image, in namespaces of its own, and then what it changes in them is thrown away.
    ///
    /// # Errors
    /// When there is nothing of that name, there is no tools image, or the command cannot be started.
    pub fn debug(&self, name: &str, request: &DebugRequest, progress: &dyn Progress) -> Result<AttachStream> {
        let id = match self.store.resolve_container(name) {
            Err(StoreError::NoSuch { .. }) if self.image_record(name).is_ok() => {
                return self.debug_image(name, request, progress);
            }
            other => other?,
        };
        let record = self.store.load_container(&id)?;
        let pidfd = match self.init_pidfd(&id) {
            Err(error) if error.kind == ErrorKind::Conflict => {
                return self.debug_stopped(&record, request, progress);
            }
            other => other?,
        };
        let tools = self.tools(request, progress)?;
        let group = Group::open(self, &id)?;
        if group.as_ref().is_some_and(Group::is_frozen) {
            let message = format!("container {} is paused: unpause it before debug", short(&id));
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        let (owner, ours) = AttachStream::pair().map_err(|e| broken(&id, e))?;
        let mut fds = ShimFds::new();
        let owner_fd = fds.add(owner.as_fd());
        let pid_number = fds.add(pidfd.as_fd());
        let cgroup_fd = fds.maybe(group.as_ref().and_then(Group::directory));
        let join: Vec<i32> =
            group.as_ref().map(|g| g.tasks().map(|fd| fds.add(fd)).collect()).unwrap_or_default();
        let cgroup = group.as_ref().map(|g| g.view(join)).unwrap_or_default();
        let with = Beside { record: &record, tools: &tools, request, set_groups: self.may_set_groups(&id)? };
        let launch = Launch { cgroup, ..self.debug_launch(&with, self.debug_floor()?)? };
        let planned = plan::debug(&launch, pid_number)
            .map_err(|e| Error::caused(ErrorKind::Invalid, "plan the debug shell", e))?;
        let setup = Setup {
            clone_flags: planned.clone_flags,
            cgroup_fd,
            join_pid_fd: pid_number,
            join_flags: if self.config.rootless { NEWPID | NEWUSER } else { NEWPID },
            owner_fd,
            ..request.setup()
        };
        let shim_pid = fds.spawn(&planned.steps, &setup)?;
        drop(owner);
        let stream = AttachStream::for_exec(ours, AfterExec { shim_pid, event: None });
        first_word(&stream, shim_pid, &id, &planned.steps)?;
        Ok(stream)
    }

    /// The image with the tools.
    pub(super) fn tools(&self, request: &DebugRequest, progress: &dyn Progress) -> Result<ImageRecord> {
        if let Some(name) = &request.image {
            return match self.image_record(name) {
                // Layers are unpacked in a user namespace, where this caller cannot be: it joins the container's.
                Err(error) if error.kind == ErrorKind::NotFound && self.config.rootless => {
                    Err(error.hint(format!("get it first: cais pull {name}")))
                }
                Err(error) if error.kind == ErrorKind::NotFound => {
                    self.pull(name, None, progress)?;
                    self.image_record(name)
                }
                other => other,
            };
        }
        let usual = USUAL.iter().find_map(|name| self.image_record(name).ok());
        usual.ok_or_else(|| {
            let message = format!("no image with tools is here (looked for {})", USUAL.join(", "));
            Error::new(ErrorKind::NotFound, message)
                .hint("get one: cais pull busybox; or name another with --image, which is pulled when it is missing")
        })
    }

    /// `floor` is the lowest layer, with mount points.
    pub(super) fn debug_launch(&self, with: &Beside<'_>, floor: PathBuf) -> Result<Launch> {
        let paths = self.store.paths();
        let Beside { record, tools, request, set_groups } = *with;
        let rootless = self.config.rootless;
        let lowers = tools.layers.iter().rev().map(|layer| paths.layer_fs(layer)).chain([floor]).collect();
        let mut mounts = name_files(self, record);
        for mount in &mut mounts {
            if let MountPlan::Bind { read_only, .. } = mount {
                *read_only = true;
            }
        }
        let (masked, read_only_paths) =
            if request.privileged { Default::default() } else { kernel_paths(&record.request) };
        let attributes = 0b110; // nosuid, nodev
        mounts.push(MountPlan::Tmpfs {
            target: "/tmp".into(),
            options: vec!["mode=1777".into()],
            attributes,
        });
        Ok(Launch {
            mountpoint: paths.mountpoint(),
            root: Root::Overlay {
                lowers,
                upper: PathBuf::new(),
                work: PathBuf::new(),
                volatile_upper: false,
            },
            read_only: false,
            mount_label: None,
            hostname: String::new(),
            domainname: None,
            namespaces: Namespaces { network: Namespace::Join(-1), ..Namespaces::default() },
            cgroup: CgroupPlan::default(),
            mounts,
            mapped_binds: Vec::new(),
            appended: Vec::new(),
            nodes: nodes(record, rootless)?,
            shm_size_bytes: Some(SHM_BYTES),
            tty: request.tty,
            masked,
            read_only_paths,
            writable_sys: request.privileged || record.request.privileged,
            sysctls: Vec::new(),
            oom_score_adj: None,
            rootless,
            users: None,
            foreign_network: false,
            tty_group: set_groups,
            process: self.debug_process(with)?,
            failing_step: None,
        })
    }

    fn debug_process(&self, with: &Beside<'_>) -> Result<Process> {
        let Beside { record, tools, request, set_groups } = *with;
        let mut as_debugger = record.clone();
        let asked = &mut as_debugger.request;
        asked.privileged |= request.privileged;
        asked.cap_drop.clear();
        asked.cap_add.push("SYS_PTRACE".to_owned());
        let mut process = process(self, &as_debugger, &mut Vec::new())?;
        let config = &tools.config.config;
        let own = config.cmd.clone().filter(|cmd| !cmd.is_empty());
        process.args = match request.args.is_empty() {
            true => own.unwrap_or_else(|| vec!["sh".to_owned()]),
            false => request.args.clone(),
        };
        process.env = resolve::environment(&request.env, &config.env);
        if request.tty && !process.env.iter().any(|variable| variable.starts_with("TERM=")) {
            process.env.push("TERM=xterm".to_owned());
        }
        process.workdir = "/".to_owned();
        process.user = request.user.clone().unwrap_or_default();
        process.groups = Vec::new();
        process.init = false;
        process.set_groups = set_groups;
        Ok(process)
    }

    /// The lowest layer of all debug roots beside running containers; kept, as the engine's mount point is.
    fn debug_floor(&self) -> Result<PathBuf> {
        let floor = self.store.paths().debug_floor();
        make_floor(&floor)
            .and_then(|()| there(std::os::unix::fs::symlink("/proc/1/root", floor.join(CONTAINER))))
            .map_err(|error| {
                let message = format!("make the mount points in {}", floor.display());
                Error::caused(ErrorKind::System, message, error)
            })?;
        Ok(floor)
    }
}

/// Makes the mount points of a debug root; idempotent.
pub(super) fn make_floor(floor: &Path) -> std::io::Result<()> {
    there(std::fs::create_dir(floor))?;
    std::fs::set_permissions(floor, std::fs::Permissions::from_mode(0o755))?;
    for directory in DIRECTORIES {
        there(std::fs::create_dir(floor.join(directory)))?;
    }
    for file in NAME_FILES {
        std::fs::OpenOptions::new().append(true).create(true).open(floor.join(file))?;
    }
    Ok(())
}

fn there(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}
