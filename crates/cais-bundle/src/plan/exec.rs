//! The plan of a further process in a running container.
//!
//! It joins the namespaces of the container's first process; a PID namespace decides about children only, so there the
//! shim joins it and clones. What the process leaves open is as the container's own process has it.

use std::borrow::Cow;

use cais_oci::runtime::{Process, Spec};
use cais_plan::wire::sync;
use cais_plan::{Step, role};

use super::command::Command;
use super::draft::{Draft, Frame};
use super::error::Result;
use super::namespaces::Spaces;
use super::numbers::{CLONE_NEWPID, CLONE_NEWUSER};
use super::process::{self, Target};
use super::{ExecRequest, Planned, Wanted, scheduling};

/// Plans a further process up to its command.
///
/// # Errors
/// When it cannot be carried out; nothing has been touched.
pub fn exec(request: &ExecRequest<'_>) -> Result<Planned> {
    let spaces = Spaces::of(request.spec);
    let merged = inherit(request.process, request.spec);
    let process = merged.as_ref();
    let user_namespace = spaces.has(CLONE_NEWUSER);
    let first = request.spec.process.as_ref();
    let umask = process.user.umask.or(first.and_then(|first| first.user.umask));
    let target = Target {
        process,
        spec: request.spec,
        machine: request.machine,
        seccomp: request.seccomp,
        user_namespace,
        sets_limits: request.machine.rootless || !user_namespace,
        umask: umask.unwrap_or(process::UMASK),
        command: Command::of(&process.args, &process.env)?,
    };
    let mut draft = Draft::new(request.preserve)?;
    let early = early(request, &spaces);
    let (role, outer) = outer(request, process, &spaces, early, &mut draft)?;
    join(request, &spaces, &target, early, &mut draft)?;
    if process.terminal {
        draft.step("open a terminal", &Step::Stdio { console: false });
        if request.waits {
            process::sync(&mut draft, "wait for the terminal to be taken", sync::READY);
        }
    } else {
        draft.step("begin a session", &Step::NewSession {});
    }
    let sets = target.prepare(&mut draft)?;
    target.execute(&mut draft, sets)?;
    let frame = Frame {
        role,
        outer,
        clone_flags: 0,
        tty: process.terminal,
        console_size: process::console_size(process),
    };
    Ok(draft.finish(&frame))
}

/// The process of an exec with what it leaves to the container's own: capabilities, labels, limits, scheduler, I/O
/// priority, processors. As in runc.
#[must_use]
pub fn inherit<'a>(process: &'a Process, spec: &Spec) -> Cow<'a, Process> {
    let mut process = Cow::Borrowed(process);
    let Some(first) = &spec.process else { return process };
    macro_rules! inherit {
        ($field:ident, $is_unset:ident) => {
            if process.$field.$is_unset() && !first.$field.$is_unset() {
                process.to_mut().$field.clone_from(&first.$field);
            }
        };
    }
    inherit!(capabilities, is_none);
    inherit!(apparmor_profile, is_none);
    inherit!(selinux_label, is_none);
    inherit!(rlimits, is_empty);
    inherit!(io_priority, is_none);
    inherit!(scheduler, is_none);
    inherit!(exec_cpu_affinity, is_none);
    process
}

/// What is joined before the clone. The right to join a PID namespace is one within a user namespace: who has none
/// outside gets it by joining both in one call.
fn early(request: &ExecRequest<'_>, spaces: &Spaces<'_>) -> u64 {
    let user = if request.machine.capable { 0 } else { CLONE_NEWUSER };
    if spaces.has(CLONE_NEWPID) { spaces.all() & (CLONE_NEWPID | user) } else { 0 }
}

/// What comes before the clone, if the shim clones: the processors that the child starts on, and the PID namespace.
fn outer(
    request: &ExecRequest<'_>,
    process: &Process,
    spaces: &Spaces<'_>,
    early: u64,
    draft: &mut Draft,
) -> Result<(u32, u32)> {
    let affinity = process.exec_cpu_affinity.as_ref();
    let initial = affinity.and_then(|affinity| affinity.initial.as_deref());
    // A process that is cloned into its group has no time before.
    let clones = spaces.has(CLONE_NEWPID) || (initial.is_some() && request.cgroup.clone_into);
    process::hide(draft);
    scheduling::affinity(draft, "process.execCPUAffinity.initial", initial)?;
    if !clones {
        return Ok((role::FIRST, 0));
    }
    if request.cgroup.clone_into {
        draft.fd(Wanted::CgroupDirectory);
    }
    if spaces.has(CLONE_NEWPID) {
        let fd = draft.fd(Wanted::Process(request.pid));
        draft.step("join the container's PID namespace", &Step::SetNs { fd, flags: early });
    }
    Ok((role::PARENT, draft.len()))
}

fn join(
    request: &ExecRequest<'_>,
    spaces: &Spaces<'_>,
    target: &Target<'_>,
    early: u64,
    draft: &mut Draft,
) -> Result<()> {
    process::join_cgroup(draft, request.cgroup.tasks);
    if !target.sets_limits || request.cgroup.moved_by_manager {
        process::sync(draft, "wait for the setup from outside", sync::SETUP);
    }
    let affinity = target.process.exec_cpu_affinity.as_ref();
    let last = affinity.and_then(|affinity| affinity.final_.as_deref());
    scheduling::affinity(draft, "process.execCPUAffinity.final", last)?;
    if last.is_none() && affinity.is_none_or(|affinity| affinity.initial.is_none()) {
        scheduling::any_processor(draft);
    }
    if target.needs_proc()? {
        process::open_proc(draft);
    }
    let flags = spaces.all() & !CLONE_NEWPID & !early;
    if flags != 0 {
        let fd = draft.fd(Wanted::Process(request.pid));
        draft.step("join the container's namespaces", &Step::SetNs { fd, flags });
    }
    let user = &target.process.user;
    spaces.become_root(draft, (user.uid, user.gid), request.machine.may_set_groups);
    if !request.no_new_keyring {
        process::keyring(draft, request.id, target.process)?;
    }
    Ok(())
}
