//! `exec`: a further command in a running container.

use std::os::fd::{AsFd, OwnedFd};

use cais_plan::Setup;
use cais_runtime::launch::{ExecLaunch, Process};
use cais_runtime::plan;
use cais_store::random_hex;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::assemble::{capabilities, process};
use crate::attach::{AfterExec, AttachStream, broken, short};
use crate::limits::Group;
use crate::resolve;
use crate::shim::{ShimFds, first_word};
use crate::{ContainerRecord, Engine, Error, ErrorKind, Result};

/// What `exec` is asked to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecRequest {
    /// Command and arguments.
    pub args: Vec<String>,
    /// `KEY=VALUE`, added to the container's.
    pub env: Vec<String>,
    /// Instead of the container's.
    pub workdir: Option<String>,
    /// `user[:group]` instead of the container's.
    pub user: Option<String>,
    /// Allocate a pseudo terminal.
    pub tty: bool,
    /// Standard input is given.
    pub interactive: bool,
    /// Nobody listens.
    pub detach: bool,
    /// All capabilities.
    pub privileged: bool,
    /// Rows and columns of the caller's terminal.
    pub terminal_size: Option<(u16, u16)>,
}

/// `CLONE_NEWPID`, which the monitor joins.
pub(crate) const NEWPID: u64 = 0x2000_0000;
/// `CLONE_NEWUSER`.
pub(super) const NEWUSER: u64 = 0x1000_0000;

impl Engine {
    /// Runs a command in a running container; `None` when detached.
    ///
    /// # Errors
    /// When the container does not run or the command cannot be started.
    pub fn exec(&self, name: &str, request: &ExecRequest) -> Result<Option<AttachStream>> {
        let id = self.store.resolve_container(name)?;
        let record = self.store.load_container(&id)?;
        if request.args.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "exec needs a command"));
        }
        let words = request.args.join(" ");
        let exec_id = random_hex(32);
        let event = |action: &str| {
            self.tell_container(&record, &format!("{action}: {words}"), &[("execID", &exec_id)]);
        };
        let mut stream = self.exec_unheard(&record, request)?;
        event("exec_create");
        event("exec_start");
        if request.detach {
            return Ok(None);
        }
        stream.tell_exec(self.clone(), record, exec_id);
        Ok(Some(stream))
    }

    /// As [`Engine::exec`], and nobody is told.
    pub(crate) fn exec_unheard(
        &self,
        record: &ContainerRecord,
        request: &ExecRequest,
    ) -> Result<AttachStream> {
        let id = record.id.as_str();
        let pidfd = self.init_pidfd(id)?;
        let set_groups = self.may_set_groups(id)?;
        let group = Group::open(self, id)?;
        if group.as_ref().is_some_and(Group::is_frozen) {
            let message = format!("container {} is paused, unpause the container before exec", short(id));
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        let (owner, ours) = AttachStream::pair().map_err(|e| broken(id, e))?;
        let mut fds = ShimFds::new();
        let owner_fd = fds.add(owner.as_fd());
        let pid_number = fds.add(pidfd.as_fd());
        let cgroup_fd = fds.maybe(group.as_ref().and_then(Group::directory));
        let join: Vec<i32> =
            group.as_ref().map(|g| g.tasks().map(|fd| fds.add(fd)).collect()).unwrap_or_default();
        let launch = ExecLaunch {
            pidfd: pid_number,
            namespaces: plan::exec_namespaces(false),
            join,
            tty: request.tty,
            users: record.user_maps.as_ref().map(|maps| (maps.root(), set_groups)),
            process: Process { set_groups, ..self.exec_process(record, request)? },
        };
        let planned =
            plan::exec(&launch).map_err(|e| Error::caused(ErrorKind::Invalid, "plan the exec", e))?;
        let setup = Setup {
            clone_flags: planned.clone_flags,
            cgroup_fd,
            join_pid_fd: pid_number,
            join_flags: self.joined_flags(record)?,
            owner_fd,
            tty: request.tty,
            stdin: request.interactive,
            attached: !request.detach,
            stdin_once: true,
            rows: request.terminal_size.map_or(0, |(rows, _)| u32::from(rows)),
            cols: request.terminal_size.map_or(0, |(_, cols)| u32::from(cols)),
            ..Setup::NONE
        };
        let shim_pid = fds.spawn(&planned.steps, &setup)?;
        drop(owner);
        let stream = AttachStream::for_exec(ours, AfterExec { shim_pid, event: None });
        first_word(&stream, shim_pid, id, &planned.steps)?;
        Ok(stream)
    }

    /// What a monitor joins to start something in a container.
    pub(super) fn joined_flags(&self, record: &ContainerRecord) -> Result<u64> {
        let nested = self.config.rootless || record.user_maps.is_some();
        let joins = nested && !self.shares_user_namespace(&record.id)?;
        Ok(if joins { NEWPID | NEWUSER } else { NEWPID })
    }

    /// Not in a user namespace of one id, where setgroups(2) is forbidden.
    pub(super) fn may_set_groups(&self, id: &str) -> Result<bool> {
        let file = format!("/proc/{}/setgroups", self.running_pid(id)?);
        Ok(std::fs::read_to_string(file).map_or(true, |text| text.trim() != "deny"))
    }

    /// Whether the container is in our own user namespace, which cannot be joined again: it is its monitor's, too, and a
    /// probe is the monitor's child.
    pub(crate) fn shares_user_namespace(&self, id: &str) -> Result<bool> {
        let namespace = |of: &str| std::fs::read_link(format!("/proc/{of}/ns/user")).ok();
        let theirs = namespace(&self.running_pid(id)?.to_string());
        Ok(theirs.is_some() && theirs == namespace("self"))
    }

    /// A descriptor of the container's init that can mean no other process, even when its pid is used again.
    pub(crate) fn init_pidfd(&self, id: &str) -> Result<OwnedFd> {
        let not_running =
            || Error::new(ErrorKind::Conflict, format!("container {} is not running", short(id)));
        let pid = self.running_pid(id)?;
        let pid = Pid::from_raw(pid).ok_or_else(not_running)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|_| not_running())?;
        // Still the same run, so the pid was its init when the descriptor was opened.
        if self.running_pid(id)? != pid.as_raw_nonzero().get() {
            return Err(not_running());
        }
        Ok(pidfd)
    }

    fn exec_process(&self, record: &ContainerRecord, request: &ExecRequest) -> Result<Process> {
        let mut warnings = Vec::new();
        let mut process = process(self, record, &mut warnings)?;
        process.args.clone_from(&request.args);
        process.env =
            resolve::environment(&request.env, &crate::assemble::environment(self, record, request.tty));
        if let Some(workdir) = &request.workdir {
            process.workdir = resolve::workdir(Some(workdir), None)?;
        }
        if let Some(user) = &request.user {
            process.user.clone_from(user);
        }
        process.init = false;
        if request.privileged {
            let mut privileged = record.clone();
            privileged.request.privileged = true;
            process.capabilities = capabilities(&privileged, &mut warnings)?;
        }
        Ok(process)
    }
}
