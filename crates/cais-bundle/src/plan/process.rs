//! From the finished surroundings to the command: rights are given up in the order in which the next step still needs
//! them. The same for a container's first process and for an exec.
//!
//! Bounding set before the user (it needs CAP_SETPCAP), user before capabilities (it would clear them), capabilities
//! before no_new_privs, everything that may fail before the container counts as created. The filter of system calls is
//! loaded last, so that it need not allow what we do; without no_new_privs that takes CAP_SYS_ADMIN, which is
//! kept until then.

use cais_oci::runtime::{Process, Spec};
use cais_plan::{Bytes, Step, Strings};
use cais_runtime::capability::{CapSet, Capability};

use super::capabilities::{self, Sets};
use super::command::Command;
use super::draft::{Draft, list, text};
use super::error::Result;
use super::{Filter, Machine, Subject, Wanted, labels, landlock, scheduling};

/// umask(2) where nobody asks for another one.
pub const UMASK: u32 = 0o022;

/// Who becomes what.
pub struct Target<'a> {
    /// The process.
    pub process: &'a Process,
    /// The container.
    pub spec: &'a Spec,
    /// The machine.
    pub machine: &'a Machine,
    /// The filter.
    pub seccomp: Option<Filter<'a>>,
    /// It is in a user namespace of the container: every capability can be had there.
    pub user_namespace: bool,
    /// It sets its limits itself; else the runtime does.
    pub sets_limits: bool,
    /// Permissions taken away.
    pub umask: u32,
    /// What is executed.
    pub command: Command,
}

impl Target<'_> {
    /// Something is written below /proc/self.
    pub fn needs_proc(&self) -> Result<bool> {
        let oom = self.sets_limits && self.process.oom_score_adj.is_some();
        Ok(labels::wanted(self.process, self.machine)? || oom)
    }

    /// Up to the point where only the command is missing. Gives the capability sets for [`Target::execute`].
    pub fn prepare(&self, draft: &mut Draft) -> Result<Sets> {
        let process = self.process;
        if self.sets_limits {
            scheduling::limits(draft, &process.rlimits, self.machine);
            scheduling::oom_score_adj(draft, process.oom_score_adj, self.machine);
        }
        scheduling::priorities(draft, process, self.spec.linux.as_ref())?;
        let step = Step::Chdir { path: text("process.cwd", &process.cwd)?, create: false };
        draft.about(Subject::Chdir, format!("chdir to cwd ({:?}) set in config.json", process.cwd), &step);
        let sentence = format!("set the umask {:04o}", self.umask);
        draft.about(Subject::Process, sentence, &Step::Umask { mode: self.umask & 0o777 });
        self.identity(draft);
        labels::exec(draft, process, self.machine)?;
        let sets = capabilities::sets(process.capabilities.as_ref(), self.available(), draft);
        let step = Step::Bounding { keep: sets.bounding.bits() };
        draft.about(Subject::Process, "drop capabilities from the bounding set", &step);
        landlock::restrict(draft, &self.spec.annotations, self.machine)?;
        let sentence = format!("become user {} and group {}", process.user.uid, process.user.gid);
        draft.about(Subject::User, sentence, &Step::SwitchUser { groups: self.machine.may_set_groups });
        set_capabilities(draft, self.until_filter(sets));
        if process.no_new_privileges {
            draft.about(Subject::Process, "set no_new_privs", &Step::NoNewPrivileges {});
        }
        let paths = list("process.args", &self.command.paths)?;
        let sentence = format!("find the command {:?}", self.name());
        draft.about(Subject::FindExecutable, sentence, &Step::FindExecutable { paths: Strings(&paths) });
        Ok(sets)
    }

    /// The filter, and the command.
    pub fn execute(&self, draft: &mut Draft, sets: Sets) -> Result<()> {
        if let Some(Filter { program, flags, listener }) = self.seccomp {
            let step = Step::SeccompFilter { filter: Bytes(program), flags, listener };
            draft.about(Subject::Seccomp, "load the seccomp filter", &step);
            if self.until_filter(sets) != sets {
                set_capabilities(draft, sets);
            }
        }
        let paths = list("process.args", &self.command.paths)?;
        let args = list("process.args", &self.process.args)?;
        let env = list("process.env", &self.command.env)?;
        let step = Step::Exec { paths: Strings(&paths), args: Strings(&args), env: Strings(&env) };
        draft.about(Subject::Exec, format!("execute {:?}", self.name()), &step);
        Ok(())
    }

    fn name(&self) -> &str {
        self.process.args.first().map_or("", String::as_str)
    }

    /// What can be granted.
    fn available(&self) -> CapSet {
        if self.user_namespace { CapSet::ALL } else { self.machine.bounding }
    }

    /// The sets, and what loading the filter takes.
    fn until_filter(&self, sets: Sets) -> Sets {
        let needs_right = self.seccomp.is_some() && !self.process.no_new_privileges;
        if !needs_right || !self.available().contains(Capability::SYS_ADMIN) {
            return sets;
        }
        Sets {
            permitted: sets.permitted.with(Capability::SYS_ADMIN),
            effective: sets.effective.with(Capability::SYS_ADMIN),
            ..sets
        }
    }

    /// The command's environment, for a hook that has none of its own.
    pub fn inherited_env(&self) -> Vec<String> {
        let home = self.needs_home().then(|| "HOME".to_owned());
        self.command.env.iter().cloned().chain(home).collect()
    }

    fn needs_home(&self) -> bool {
        !self.command.env.iter().any(|variable| variable.starts_with("HOME="))
    }

    fn identity(&self, draft: &mut Draft) {
        let user = &self.process.user;
        if !user.additional_gids.is_empty() && !self.machine.may_set_groups {
            draft
                .warn("additionalGids are ignored: setgroups(2) is denied in this user namespace".to_owned());
        }
        let groups: Vec<u8> = user.additional_gids.iter().flat_map(|gid| gid.to_ne_bytes()).collect();
        let home = self.needs_home();
        let step = Step::Ids { uid: user.uid, gid: user.gid, groups: Bytes(&groups), home };
        draft.about(Subject::User, format!("look up user {}", user.uid), &step);
    }
}

fn set_capabilities(draft: &mut Draft, sets: Sets) {
    let step = Step::Capabilities {
        effective: sets.effective.bits(),
        permitted: sets.permitted.bits(),
        inheritable: sets.inheritable.bits(),
        ambient: sets.ambient.bits(),
    };
    draft.about(Subject::Process, "apply the capabilities", &step);
}

/// Joins a session keyring of the container.
pub fn keyring(draft: &mut Draft, id: &str, process: &Process) -> Result<()> {
    labels::keyring(draft, process)?;
    let name = format!("_ses.{id}");
    draft.step("join a session keyring", &Step::Keyring { name: text("the container's name", &name)? });
    Ok(())
}

/// Rows and columns of the terminal, 0 = unknown.
pub fn console_size(process: &Process) -> (u32, u32) {
    let fits = |size: u64| u32::try_from(size.min(u64::from(u16::MAX))).unwrap_or(0);
    match process.console_size.filter(|_| process.terminal) {
        Some(size) => (fits(size.height), fits(size.width)),
        None => (0, 0),
    }
}

/// Enters the control group by its `tasks` files.
pub fn join_cgroup(draft: &mut Draft, files: usize) {
    for index in 0..files {
        let fd = draft.fd(Wanted::Tasks(index));
        draft.step("join the cgroup", &Step::JoinCgroup { fd });
    }
}

/// Tells the runtime that a point is reached, and waits for it.
pub fn sync(draft: &mut Draft, sentence: &str, word: u32) {
    draft.step(sentence, &Step::Sync { word });
}

/// Nobody in the container looks into us until the command runs: CVE-2016-9962.
pub fn hide(draft: &mut Draft) {
    draft.step("hide from the container", &Step::Undumpable {});
}

/// A file of procfs.
pub fn open_proc(draft: &mut Draft) {
    draft.step("open procfs", &Step::ProcHandle {});
}
