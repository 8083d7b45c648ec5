//! `exec`: one more process in a container.

use std::io;
use std::os::fd::AsFd;

use cais_oci::runtime::{Process, Spec, Status};
use rustix::io::Errno;

use super::create::{preserved, send_listener, write_pid_file};
use super::exec_group;
use crate::console::{Console, send_pidfd};
use crate::error::{Error, Result};
use crate::filter::Compiled;
use crate::group::Entrance;
use crate::launch::{Blame, First, Launch, Word, blame, set_up};
use crate::plan::{self, ExecRequest as PlanRequest, Planned};
use crate::process::Identity;
use crate::relay::Relay;
use crate::request::ExecRequest;
use crate::runtime::Runtime;
use crate::state::Container;

impl Runtime {
    /// Executes a process in a container. Detached: returns 0 when it runs. Else it stays as [`Runtime::run`] does and
    /// gives back the exit code.
    ///
    /// # Errors
    /// In a container that has stopped or is frozen; when the process cannot be made or the command not be executed.
    pub fn exec(&self, request: &ExecRequest) -> Result<i32> {
        let container = self.load(&request.id)?;
        match container.status() {
            Status::Running | Status::Created => {}
            Status::Paused if request.ignore_paused => {}
            Status::Paused => return Err(Error::ExecPaused),
            Status::Creating | Status::Stopped => return Err(Error::ExecStopped),
        }
        self.check_process(&request.process)?;
        let init = container.record.init.ok_or(Error::ExecStopped)?;
        let preserved = preserved(0, request.preserve_fds)?;
        let spec = container.dir.read_config()?;
        let stays = !request.detach;
        let console = Console::new(request.process.terminal, stays, request.console_socket.as_deref())?;
        let relay = if stays { Some(Relay::begin(false)?) } else { None };
        let mut console = Some(console);
        let mut master = None;
        let mut entrance = self.entrance(&container, request, init)?;
        let mut first = loop {
            let planned = self.plan_exec(request, &spec, init, &entrance, preserved.len() as u32)?;
            let launch = Launch {
                planned: &planned,
                command: request.process.args.first().map_or("", String::as_str),
                preserved: &preserved,
                join: &entrance.join,
                init: Some(init),
                start: None,
                console: console.as_ref().and_then(Console::for_process),
            };
            match launch.start() {
                Err(Error::Clone { source }) if entrance.join.directory.is_some() => {
                    self.other_entrance(&container, request, &mut entrance, source)?;
                }
                other => {
                    let first = other?;
                    self.note("nsexec container setup: the process is there");
                    if let Some(mask) = initial_processors(&request.process, &spec) {
                        self.note(format!("nsexec: affinity: {mask:#x}"));
                    }
                    self.note("child process in init(): it joins the container");
                    self.converse_exec(&first, &planned, request, &spec, &container, &mut || {
                        master = console.take().map(Console::master).transpose()?.flatten();
                        Ok(())
                    })?;
                    break first;
                }
            }
        };
        self.note("setns_init: about to exec: done");
        let pid = first.child.identity.pid;
        if let Some(path) = &request.pidfd_socket {
            send_pidfd(path, "setns", first.child.pidfd.as_fd())?;
        }
        if let Some(path) = &request.pid_file {
            write_pid_file(path, pid)?;
        }
        first.child.release();
        match relay {
            Some(relay) => relay.stay(pid, &first.child.pidfd, master),
            None => Ok(0),
        }
    }

    fn check_process(&self, process: &Process) -> Result<()> {
        process.validate()?;
        if self.caller.uid != 0 && !process.user.additional_gids.is_empty() {
            return Err(Error::Request("cannot set any additional groups in a rootless container"));
        }
        Ok(())
    }

    fn entrance(&self, container: &Container, request: &ExecRequest, init: Identity) -> Result<Entrance> {
        let Some(group) = container.group().filter(|group| !group.state().places.is_empty()) else {
            return Ok(Entrance::existing(None, Default::default()));
        };
        match exec_group::open(&group, &request.cgroup, init.pid) {
            Ok(join) => Ok(Entrance::existing(Some(group), join)),
            // Lacking rights are forgiven.
            Err(_) if container.record.rootless_cgroup && request.cgroup.is_empty() => {
                Ok(Entrance::existing(Some(group), Default::default()))
            }
            Err(error) => Err(error),
        }
    }

    /// The kernel refused to clone into the group (v2): its processes may have gone into groups within. Where the first
    /// process is, there is room for one more.
    fn other_entrance(
        &self,
        container: &Container,
        request: &ExecRequest,
        entrance: &mut Entrance,
        source: io::Error,
    ) -> Result<()> {
        let about_group = matches!(
            Errno::from_io_error(&source),
            Some(Errno::BUSY | Errno::OPNOTSUPP | Errno::NOENT | Errno::NODEV | Errno::ACCESS | Errno::PERM)
        );
        if !about_group || !request.cgroup.is_empty() || entrance.tried_elsewhere {
            return Err(if about_group {
                Error::CgroupEntry { operation: String::new(), source }
            } else {
                Error::Clone { source }
            });
        }
        if !entrance.go_where(container.record.init) {
            if !container.record.rootless_cgroup {
                return Err(Error::CgroupEntry { operation: String::new(), source });
            }
            entrance.leave_out();
        }
        Ok(())
    }

    fn plan_exec(
        &self,
        request: &ExecRequest,
        spec: &Spec,
        init: Identity,
        entrance: &Entrance,
        preserve: u32,
    ) -> Result<Planned> {
        let filter = Compiled::of(spec)?;
        let machine = self.caller.machine(spec, &plan::inherit(&request.process, spec), Some(init.pid));
        let mut planned = plan::exec(&PlanRequest {
            process: &request.process,
            spec,
            id: &request.id,
            pid: init.pid,
            cgroup: entrance.shape(),
            machine: &machine,
            seccomp: filter.as_ref().map(Compiled::as_filter),
            no_new_keyring: request.no_new_keyring,
            preserve,
            // Its first line must find the terminal as its reader wants it.
            waits: request.process.terminal && !request.detach,
        })?;
        self.warn(std::mem::take(&mut planned.warnings));
        Ok(planned)
    }

    /// Answers the process until it is the command.
    fn converse_exec(
        &self,
        first: &First,
        planned: &Planned,
        request: &ExecRequest,
        spec: &Spec,
        container: &Container,
        take_terminal: &mut dyn FnMut() -> Result<()>,
    ) -> Result<()> {
        let pid = first.child.identity.pid;
        if let Some(resctrl) = &container.record.resctrl {
            resctrl.enter(pid)?;
        }
        loop {
            match first.talk.next()? {
                Word::End => return Ok(()),
                Word::Ready => {
                    take_terminal()?;
                    first.talk.go(b"")?;
                }
                Word::Setup => {
                    let mut warnings = Vec::new();
                    let process = plan::inherit(&request.process, spec);
                    set_up(pid, spec, &process, self.caller, true, &mut warnings)?;
                    self.warn(warnings);
                    first.talk.go(b"")?;
                }
                Word::Listener(fd) => {
                    send_listener(container, container.record.state(Status::Running), pid, fd)?;
                    first.talk.go(b"")?;
                }
                Word::Failed(failed) => {
                    let command = request.process.args.first().map_or("", String::as_str);
                    let index = failed.index;
                    let error = blame(failed, &Blame::planned(planned, command));
                    return Err(entry_failure(error, planned, index));
                }
                _ => return Err(Error::Message),
            }
        }
    }
}

/// The processors that it begins on, where they fit into a number.
fn initial_processors(process: &Process, spec: &Spec) -> Option<u128> {
    let process = plan::inherit(process, spec);
    let list = process.exec_cpu_affinity.as_ref()?.initial.as_deref()?;
    let bits = |range: &str| -> Option<u128> {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (first..=last).try_fold(0, |mask, cpu| Some(mask | 1_u128.checked_shl(cpu)?))
    };
    list.split(',').try_fold(0, |mask, range| Some(mask | bits(range)?))
}

/// In runc's words, where the process could not enter a v1 group.
fn entry_failure(error: Error, planned: &Planned, index: u32) -> Error {
    let sentence = planned.steps.sentence(index as usize).unwrap_or_default();
    match error {
        Error::Step { source, .. } if sentence.contains("cgroup") => {
            Error::CgroupEntry { operation: String::new(), source }
        }
        other => other,
    }
}
