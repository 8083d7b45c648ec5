//! The plan of a container: one page from the caller's namespaces to the command.
//!
//! Order: who clones; control group and namespaces; the root and what is mounted in it; hooks; what is hidden; the new
//! root; the process. Each group says why it stands where it does.

use cais_oci::runtime::{Hook, Linux, sysctl_path};
use cais_plan::wire::sync;
use cais_plan::{Bytes, Step, Strings, role};

use super::command::Command;
use super::devices::Devices;
use super::draft::{Draft, Frame, clean, list, path, text};
use super::error::{PlanError, Result};
use super::mounts::{Kind, Mounts, root_propagation};
use super::namespaces::Spaces;
use super::numbers::{
    CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWUSER, MS_PRIVATE, MS_REC, MS_SHARED, MS_SLAVE, MS_UNBINDABLE, RDONLY,
};
use super::process::{self, Target};
use super::{Begin, ContainerRequest, Filter, Planned, Subject, Wanted, cgroup, scheduling};

/// Sentence of the step after which a container is created.
pub const CREATED: &str = "tell that the container is created";

/// Plans a container up to its command.
///
/// # Errors
/// When the configuration cannot be carried out; nothing has been touched.
pub fn container(request: &ContainerRequest<'_>) -> Result<Planned> {
    let process = request.spec.process.as_ref().ok_or(PlanError::NoProcess)?;
    let spaces = Spaces::of(request.spec);
    let user_namespace = spaces.has(CLONE_NEWUSER);
    if !request.machine.capable && !user_namespace {
        return Err(PlanError::NeedsUserNamespace);
    }
    let target = Target {
        process,
        spec: request.spec,
        machine: request.machine,
        seccomp: request.seccomp,
        user_namespace,
        sets_limits: request.machine.rootless || !user_namespace,
        umask: process.user.umask.unwrap_or(process::UMASK),
        command: Command::of(&process.args, &process.env)?,
    };
    let mut draft = Draft::new(request.preserve)?;
    let mounts = Mounts::of(request, &spaces, &mut draft)?;
    let devices = Devices::of(request, &spaces)?;
    let mut plan = Container { request, target, spaces, mounts, devices, draft };
    let outer = plan.outer()?;
    plan.join()?;
    if plan.spaces.has(CLONE_NEWNS) {
        plan.root()?
    } else {
        plan.root_without_mounts()?
    }
    plan.hooks()?;
    plan.names()?;
    plan.enter()?;
    plan.process()?;
    let frame = Frame {
        role: plan.spaces.role(),
        outer,
        clone_flags: plan.spaces.clone_flags(),
        tty: process.terminal,
        console_size: process::console_size(process),
    };
    Ok(plan.draft.finish(&frame))
}

struct Container<'a> {
    request: &'a ContainerRequest<'a>,
    target: Target<'a>,
    spaces: Spaces<'a>,
    mounts: Mounts<'a>,
    devices: Devices,
    draft: Draft,
}

impl<'a> Container<'a> {
    fn linux(&self) -> Option<&'a Linux> {
        self.request.spec.linux.as_ref()
    }

    /// What the shim does before it clones; gives the number of these steps.
    fn outer(&mut self) -> Result<u32> {
        if self.spaces.role() != role::PARENT {
            return Ok(0);
        }
        let machine = self.request.machine;
        if !self.maps_are_written_from_outside() {
            process::hide(&mut self.draft);
        }
        let draft = &mut self.draft;
        self.spaces.time(draft, machine)?;
        if machine.capable {
            self.spaces.join_others(draft);
            if self.spaces.opens_early(machine) {
                self.mounts.open_early(draft, self.request.rootfs)?;
                self.devices.open_early(draft)?;
            }
            self.spaces.join_user(draft);
        } else {
            self.spaces.join_user(draft);
            self.spaces.join_others(draft);
        }
        Ok(self.draft.len())
    }

    /// An unprivileged runtime can write the maps of a process only as long as that does not hide.
    fn maps_are_written_from_outside(&self) -> bool {
        self.spaces.makes(CLONE_NEWUSER) && !self.request.machine.capable
    }

    /// The control group first of all, so that whatever follows is accounted to the container.
    fn join(&mut self) -> Result<()> {
        let is_first = self.spaces.role() == role::FIRST;
        let (cgroup, draft) = (self.request.cgroup, &mut self.draft);
        if is_first {
            process::hide(draft);
        } else if cgroup.clone_into {
            draft.fd(Wanted::CgroupDirectory);
        }
        process::join_cgroup(draft, cgroup.tasks);
        scheduling::any_processor(draft);
        if is_first {
            self.spaces.join_others(draft);
        }
        if self.needs_setup() {
            process::sync(&mut self.draft, "wait for the setup from outside", sync::SETUP);
        }
        let (user, draft) = (&self.target.process.user, &mut self.draft);
        self.spaces.become_root(draft, (user.uid, user.gid), self.request.machine.may_set_groups);
        if self.maps_are_written_from_outside() {
            process::hide(&mut self.draft);
        }
        let draft = &mut self.draft;
        self.spaces.cgroup(draft);
        let sysctls = self.request.spec.linux.as_ref().is_some_and(|linux| !linux.sysctl.is_empty());
        if self.target.needs_proc()? || sysctls {
            process::open_proc(draft);
        }
        if self.spaces.makes(CLONE_NEWNET) {
            draft.step("raise the loopback interface", &Step::LoopbackUp {});
        }
        if !self.request.no_new_keyring {
            process::keyring(draft, self.request.id, self.target.process)?;
        }
        Ok(())
    }

    /// Something must be done by the runtime, from outside: maps, limits, a systemd scope, network devices.
    fn needs_setup(&self) -> bool {
        self.spaces.makes(CLONE_NEWUSER)
            || !self.target.sets_limits
            || self.request.cgroup.moved_by_manager
            || self.linux().is_some_and(|linux| !linux.net_devices.is_empty())
    }

    /// The host's mounts get the propagation first, so that nothing of what follows reaches the host.
    fn root(&mut self) -> Result<()> {
        let flags = root_propagation(self.request.spec);
        let explicit = self.linux().is_some_and(|linux| linux.rootfs_propagation.is_some());
        if self.request.no_pivot && explicit && flags & MS_PRIVATE != 0 {
            return Err(PlanError::PrivateWithoutPivot);
        }
        let draft = &mut self.draft;
        draft.step(format!("make / {}", propagation_name(flags)), &Step::Propagate { flags });
        let parent = if flags & MS_SLAVE != 0 { MS_SLAVE } else { MS_PRIVATE };
        // A peer group of its own comes when it is the root: nothing is shared with the host's mount.
        let propagation =
            if flags & (MS_SLAVE | MS_PRIVATE) != 0 { flags } else { MS_PRIVATE | (flags & MS_REC) };
        let rootfs = self.request.rootfs;
        let step = Step::Rootfs { path: path("the root directory", rootfs)?, parent, propagation };
        draft.step(format!("use {} as the root", rootfs.display()), &step);
        for entry in self.mounts.entries() {
            match entry.kind {
                Kind::Cgroup => cgroup::mount(draft, entry, &self.request.cgroup, &self.spaces)?,
                _ => self.mounts.mount(draft, entry)?,
            }
        }
        if !self.mounts.brings_dev() {
            self.devices.make(draft)?;
        }
        // As long as it can be made: the root may become read-only.
        let cwd = clean(&self.target.process.cwd);
        if cwd != "/" {
            let step = Step::MakeDir { path: text("process.cwd", &cwd)?, mode: 0o755 };
            draft.about(Subject::Chdir, format!("make the working directory {cwd}"), &step);
        }
        Ok(())
    }

    /// The caller's mounts are the container's: nothing is mounted, made or hidden.
    fn root_without_mounts(&mut self) -> Result<()> {
        for entry in self.mounts.entries() {
            // As runc has it: the mounts would be the caller's.
            let sentence = format!("mount on {}: left out, there is no mount namespace for it", entry.target);
            self.draft.warn(sentence);
        }
        if self.target.process.terminal {
            // As long as the caller's devpts is in reach: the root need not have one.
            self.draft.step("open a terminal", &Step::Stdio { console: false });
        }
        let rootfs = self.request.rootfs;
        let step = Step::OpenRoot { path: path("the root directory", rootfs)? };
        self.draft.step(format!("use {} as the root", rootfs.display()), &step);
        Ok(())
    }

    /// All is mounted and the host's tree still there: the time of the hooks that may add to it.
    fn hooks(&mut self) -> Result<()> {
        let Some(hooks) = &self.request.spec.hooks else { return Ok(()) };
        let inside = &hooks.create_container;
        if !hooks.prestart.is_empty() || !hooks.create_runtime.is_empty() || !inside.is_empty() {
            process::sync(&mut self.draft, "wait for the hooks outside", sync::HOOKS);
        }
        for (index, hook) in inside.iter().enumerate() {
            let sentence = format!("createContainer hook #{index}");
            run(&mut self.draft, Subject::CreateContainerHook(index), sentence, hook, &hook.env, None)?;
        }
        Ok(())
    }

    /// After the hooks, which may have made the network interfaces that parameters are about; before /proc/sys becomes
    /// read-only.
    fn names(&mut self) -> Result<()> {
        let spec = self.request.spec;
        let draft = &mut self.draft;
        if let Some(hostname) = &spec.hostname {
            let name = text("hostname", hostname)?;
            draft.step(format!("set the host name {hostname}"), &Step::Hostname { name });
        }
        if let Some(domainname) = &spec.domainname {
            let name = text("domainname", domainname)?;
            draft.step(format!("set the domain name {domainname}"), &Step::Domainname { name });
        }
        for (key, value) in spec.linux.iter().flat_map(|linux| &linux.sysctl) {
            let below = sysctl_path(key).ok_or_else(|| PlanError::SysctlName(key.clone()))?;
            if self.request.joins_own_network && below.starts_with("net/") {
                return Err(PlanError::SysctlOfHostNetwork(key.clone()));
            }
            let file = format!("sys/{below}");
            let file = text("a sysctl", &file)?;
            let step = Step::WriteProc { file, content: Bytes(value.as_bytes()), optional: false };
            draft.step(format!("set the sysctl {key} to {value}"), &step);
        }
        Ok(())
    }

    /// What is hidden or read-only, then the new root; a terminal before that, because its device is mounted.
    fn enter(&mut self) -> Result<()> {
        let mounts = self.spaces.has(CLONE_NEWNS);
        let (request, draft) = (self.request, &mut self.draft);
        if !mounts {
            draft.step("enter the root", &Step::Chroot {});
            return self.session();
        }
        if self.target.process.terminal {
            draft.step("open a terminal", &Step::Stdio { console: true });
        }
        let linux = request.spec.linux.as_ref();
        let mut hidden: Vec<String> = Vec::new();
        for read_only in linux.map_or(&[][..], |linux| &linux.readonly_paths) {
            // A relative one counts from the root, as in runc.
            let target = clean(read_only);
            let step = Step::ReadOnlyPath { path: text("a read-only path", &target)? };
            draft.step(format!("make {read_only} read-only"), &step);
        }
        for masked in linux.map_or(&[][..], |linux| &linux.masked_paths) {
            let target = clean(masked);
            if !hidden.contains(&target) {
                draft.step(format!("mask {masked}"), &Step::Mask { path: text("a masked path", masked)? });
                hidden.push(target);
            }
        }
        self.mounts.read_only_at_last(draft)?;
        if request.spec.root.as_ref().is_some_and(|root| root.readonly) {
            draft.step("make the root read-only", &Step::RootAttributes { set: RDONLY });
        }
        let step = if request.no_pivot { Step::MoveRoot {} } else { Step::Pivot {} };
        draft.step("enter the root", &step);
        let flags = root_propagation(request.spec);
        if flags & (MS_SHARED | MS_UNBINDABLE) != 0 {
            draft.step(format!("make the root {}", propagation_name(flags)), &Step::Propagate { flags });
        }
        if !self.mounts.brings_dev() {
            draft.step("use the container's null device", &Step::ReopenNull {});
        }
        self.session()
    }

    fn session(&mut self) -> Result<()> {
        if !self.target.process.terminal {
            self.draft.step("begin a session", &Step::NewSession {});
        }
        Ok(())
    }

    fn process(&mut self) -> Result<()> {
        let draft = &mut self.draft;
        let sets = self.target.prepare(draft)?;
        process::sync(draft, CREATED, sync::READY);
        if self.request.begin == Begin::ByStart {
            draft.step("wait for the start", &Step::WaitStart {});
        }
        let hooks = self.request.spec.hooks.iter().flat_map(|hooks| &hooks.start_container);
        for (index, hook) in hooks.enumerate() {
            // Not in the specification, but everybody does so.
            let env = if hook.env.is_empty() { &self.target.inherited_env() } else { &hook.env };
            let sentence = format!("startContainer hook #{index}");
            // As in runc and crun, where the filter is there before.
            let filter = self.target.seccomp;
            run(draft, Subject::StartContainerHook(index), sentence, hook, env, filter)?;
        }
        self.target.execute(draft, sets)
    }
}

fn run(
    draft: &mut Draft,
    subject: Subject,
    sentence: String,
    hook: &Hook,
    env: &[String],
    filter: Option<Filter<'_>>,
) -> Result<()> {
    let args = match hook.args.as_slice() {
        [] => list("a hook", &[&hook.path])?,
        args => list("a hook", args)?,
    };
    let env = list("a hook", env)?;
    let timeout_ms = hook.timeout.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(0);
    let step = Step::Hook {
        path: text("a hook", &hook.path)?,
        args: Strings(&args),
        env: Strings(&env),
        timeout_ms: timeout_ms.saturating_mul(1000),
        filter: Bytes(filter.map_or(&[], |filter| filter.program)),
        filter_flags: filter.map_or(0, |filter| filter.flags),
        listener: filter.is_some_and(|filter| filter.listener),
    };
    draft.about(subject, sentence, &step);
    Ok(())
}

fn propagation_name(flags: u64) -> &'static str {
    match flags & !MS_REC {
        MS_SHARED => "shared",
        MS_SLAVE => "slave",
        MS_PRIVATE => "private",
        _ => "unbindable",
    }
}
