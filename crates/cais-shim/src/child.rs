//! The container's first process: carries out the plan's steps in order and becomes the command.
//!
//! Every failing step is told to whoever waits ([`Peer`]) as (index, errno, detail); that way closes at the successful
//! exec.

use cais_plan::wire::{NO_STEP, detail};
use cais_plan::{Plan, PlanError, Setup, Step, Str, Strings};

use crate::bind::{self, Bind};
use crate::creds::{self, Identity};
use crate::filesystem::{self, Filesystem};
use crate::hook::Hook;
use crate::init;
use crate::mask::{self, Cover};
use crate::mounts::{self, Failure, Overlay};
use crate::node::{self, Node};
use crate::peer::Peer;
use crate::sys;

/// Descriptors that the monitor made for the child.
#[derive(Clone, Copy)]
pub struct Wiring {
    /// Where a failure is told.
    pub error: i32,
    /// Read end of the command's input, or -1.
    pub stdin: i32,
    /// Write end of its output.
    pub stdout: i32,
    /// Write end of its error output.
    pub stderr: i32,
    /// Socket that takes the terminal's master, or -1.
    pub terminal: i32,
}

/// Trees opened before the root changes.
const SLOTS: usize = 512;
/// How many standard streams there are.
pub(crate) const STREAMS: i32 = 3;

/// A mask of the 8192 processors that a kernel can be built for.
const EVERY_CPU_BYTES: usize = 1024;

/// The state of the interpreter.
pub struct Child<'a> {
    pub(crate) wiring: Wiring,
    /// Who is told of failures.
    pub(crate) peer: Peer,
    /// Under an OCI runtime: roles `FIRST` and `PARENT`.
    pub(crate) bundle: bool,
    pub(crate) root: i32,
    /// Path of the root on the host.
    pub(crate) rootfs: &'a [u8],
    /// The root is `/`.
    pub(crate) entered: bool,
    slots: [i32; SLOTS],
    cover: Cover,
    pub(crate) identity: Identity,
    /// Supplementary groups given by number.
    pub(crate) groups: Option<&'a [u8]>,
    pub(crate) set_home: bool,
    pub(crate) tty: bool,
    /// Rows and columns of the terminal, 0 = unknown.
    pub(crate) size: [u16; 2],
    /// Where the start is awaited, or -1.
    pub(crate) start_fd: i32,
    /// First number that the command does not keep.
    pub(crate) kept: i32,
    /// What came with the last go: standard input of hooks.
    pub(crate) text: &'a [u8],
    /// What a failed hook said, or -1.
    pub(crate) said: i32,
    /// The command's umask; ours is 0 meanwhile.
    pub(crate) umask: u32,
    /// The path that `FindExecutable` found.
    pub(crate) found: Option<&'a [u8]>,
    /// procfs of our own, or -1.
    pub(crate) proc: i32,
    /// The Landlock ruleset under construction, or -1.
    pub(crate) ruleset: i32,
    /// We are in a user namespace that is not the runtime's.
    pub(crate) user_namespace: bool,
    /// Nothing of ours is open any more but the peer.
    pub(crate) stripped: bool,
    /// The step at work.
    pub(crate) index: u32,
    /// A working directory that only the user may enter, and the step that said so.
    pub(crate) late: Option<(Str<'a>, u32)>,
}

/// The child of a monitor: carries out the plan; ends in the command, or in exit after telling the failure.
pub fn run(plan: &Plan<'_>, wiring: Wiring) -> ! {
    Child::new(&plan.setup, wiring, Peer::pipe(wiring.error)).carry_out(plan.steps())
}

pub(crate) fn plain<T>(result: sys::Result<T>) -> Result<T, Failure> {
    result.map_err(|e| (e, detail::NONE))
}

fn unless_optional(result: Result<(), Failure>, optional: bool) -> Result<(), Failure> {
    if optional { Ok(()) } else { result }
}

impl<'a> Child<'a> {
    pub(crate) fn new(setup: &Setup<'_>, wiring: Wiring, peer: Peer) -> Child<'a> {
        Child {
            wiring,
            peer,
            bundle: false,
            root: -1,
            rootfs: b"/",
            entered: false,
            slots: [-1; SLOTS],
            cover: Cover::default(),
            identity: Identity::default(),
            groups: None,
            set_home: false,
            tty: setup.tty,
            size: [setup.rows as u16, setup.cols as u16],
            start_fd: -1,
            kept: STREAMS,
            text: b"",
            said: -1,
            umask: 0,
            found: None,
            proc: -1,
            ruleset: -1,
            user_namespace: setup.clone_flags & sys::CLONE_NEWUSER != 0,
            stripped: false,
            index: 0,
            late: None,
        }
    }

    /// For the roles `FIRST` and `PARENT`. The umask is 0 from here on until the command's.
    pub(crate) fn of_bundle(plan: &Plan<'_>) -> Child<'a> {
        let setup = &plan.setup;
        let wiring = Wiring { error: -1, stdin: -1, stdout: -1, stderr: -1, terminal: setup.console_fd };
        let mut child = Child::new(setup, wiring, Peer::socket(setup.sync_fd));
        child.bundle = true;
        child.start_fd = setup.start_fd;
        child.kept = STREAMS + setup.preserve as i32;
        child.umask = sys::umask(0);
        child
    }

    /// Carries out steps; ends in the command, or in exit after telling the failure.
    pub(crate) fn carry_out(&mut self, steps: impl Iterator<Item = Result<Step<'a>, PlanError>>) -> ! {
        for step in steps {
            self.take(Some(step));
        }
        self.peer.fail(NO_STEP, sys::EINVAL, detail::PLAN, -1)
    }

    /// Carries out one step; a failure is told and ends us.
    pub(crate) fn take(&mut self, step: Option<Result<Step<'a>, PlanError>>) {
        let result = match step {
            Some(Ok(step)) => self.perform(&step),
            _ => Err((sys::EINVAL, detail::PLAN)),
        };
        if let Err((errno, word)) = result {
            self.peer.fail(self.index, errno, word, self.said);
        }
        self.index += 1;
    }

    /// One arm a step: the interpreter stays this dull on purpose.
    fn perform(&mut self, step: &Step<'a>) -> Result<(), Failure> {
        match *step {
            Step::JoinCgroup { fd } => plain(sys::write(fd, b"0").map(drop)),
            Step::Unshare { flags } => plain(sys::unshare(flags)),
            Step::SetNs { fd, flags } => {
                self.user_namespace |= flags & sys::CLONE_NEWUSER != 0;
                plain(sys::setns(fd, flags))
            }
            Step::LoopbackUp {} => plain(loopback_up()),
            Step::OpenTree { source, slot, recursive } => self.open_tree(source, slot, recursive),
            Step::OpenBeneath { source, subpath, slot } => {
                let tree = plain(mounts::open_beneath(source.0, subpath.0))?;
                self.keep_tree(tree, slot)
            }
            Step::PrivateMounts {} => plain(private_mounts()),
            Step::OverlayRoot { at, lowers, upper, work, volatile_upper, userxattr, context } => {
                let (upper, work, context) = (upper.0, work.0, context.0);
                let stack = Overlay { lowers, upper, work, volatile_upper, userxattr, context };
                self.root = plain(mounts::overlay_at(at.0, stack))?;
                Ok(())
            }
            Step::BindRoot { at, source } => self.bind_root(at, source),
            Step::Mount { fstype, source, target, attributes, options, optional } => {
                unless_optional(self.mount(fstype, source, target, attributes, options), optional)
            }
            Step::Attach { slot, target, directory, set, propagation, recursive } => {
                self.attach(slot, target, directory, (set, propagation, recursive))
            }
            Step::MakeDir { path, mode } => {
                plain(mounts::open_or_make(self.root, path.0, true, mode).map(sys::close))
            }
            Step::Symlink { content, path } => plain(self.symlink(content, path)),
            Step::MakeNode { path, mode, device, uid, gid } => {
                plain(node::make(self.root, path.0, Node { mode, device, uid, gid }))
            }
            Step::Mask { path } => plain(mask::mask(self.root, path.0, &mut self.cover)),
            Step::ReadOnlyPath { path } => plain(mask::read_only(self.root, path.0)),
            Step::RootAttributes { set } => plain(sys::mount_setattr(self.root, false, set, 0)),
            Step::Pivot {} => plain(self.pivot()),
            Step::Hostname { name } => plain(sys::sethostname(name.0)),
            Step::Domainname { name } => plain(sys::setdomainname(name.0)),
            Step::WriteFile { path, content, optional } => {
                unless_optional(self.write_file(path, content.0), optional)
            }
            Step::Limit { resource, soft, hard } => plain(sys::prlimit(resource, soft, hard)),
            Step::Stdio { console } => self.stdio(console),
            Step::User { user, groups, home } => {
                self.set_home = home;
                let root = self.root()?;
                creds::resolve(root, user.0, groups, &mut self.identity)
            }
            Step::Chdir { path, create } => self.enter_directory(path, create),
            Step::Bounding { keep } => plain(creds::bound(keep)),
            Step::SwitchUser { groups } => {
                self.own_stdio();
                plain(self.switch_user(groups))?;
                self.enter_late()
            }
            Step::Capabilities { effective, permitted, inheritable, ambient } => {
                plain(creds::set_capabilities(effective, permitted, inheritable, ambient))
            }
            Step::NoNewPrivileges {} => plain(sys::prctl(sys::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0).map(drop)),
            Step::DeathSignal {} => {
                const SIGKILL: usize = 9;
                plain(sys::prctl(sys::PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0).map(drop))
            }
            Step::Undumpable {} => plain(sys::prctl(sys::PR_SET_DUMPABLE, 0, 0, 0, 0).map(drop)),
            Step::Init {} => self.fork_init(),
            Step::Exec { paths, args, env } => self.exec(paths, args, env),
            Step::BindNode { slot, path } => self.attach(slot, path, false, (0, 0, false)),
            Step::ExecLabel { file, label } => self.label(file, label),
            Step::Sync { word } => self.sync(word),
            Step::Hook { path, args, env, timeout_ms, filter, filter_flags, listener } => {
                self.hook(Hook { path, args, env, timeout_ms, filter, filter_flags, listener })
            }
            Step::WaitStart {} => self.wait_start(),
            Step::FindExecutable { paths } => self.find(paths),
            Step::Ids { uid, gid, groups, home } => self.ids(uid, gid, groups.0, home),
            Step::Umask { mode } => {
                self.umask = mode;
                // For a bundle there are still hooks and directories to come.
                if !self.bundle {
                    sys::umask(mode);
                }
                Ok(())
            }
            Step::NewSession {} => plain(sys::setsid()),
            Step::Propagate { flags } => plain(propagate(flags)),
            Step::Filesystem {
                fstype,
                source,
                target,
                attributes,
                options,
                propagation,
                userns_fd,
                copy_up,
                optional,
            } => {
                let what = Filesystem {
                    fstype,
                    source,
                    target,
                    attributes,
                    options,
                    propagation,
                    userns_fd,
                    copy_up,
                };
                unless_optional(filesystem::mount(self.root, what), optional)
            }
            Step::Bind {
                slot,
                target,
                set,
                clear,
                recursive_set,
                recursive_clear,
                propagation,
                userns_fd,
                recursive_map,
            } => {
                let (own, all) = ((set, clear), (recursive_set, recursive_clear));
                let bind = Bind { target, own, all, propagation, userns_fd, recursive_map };
                bind::attach(self.root, self.slot(slot)?, bind)
            }
            Step::Remount { target, set, clear, recursive } => {
                let root = self.root()?;
                plain(bind::remount(root, target.0, recursive, set, clear))
            }
            Step::Reconfigure { target, options } => {
                let root = self.root()?;
                plain(mounts::reconfigure(root, target.0, options))
            }
            Step::ProcHandle {} => {
                self.forget_proc();
                self.proc().map(drop)
            }
            Step::WriteProc { file, content, optional } => {
                unless_optional(self.write_proc(file, content.0), optional)
            }
            Step::Personality { persona } => plain(sys::personality(persona)),
            Step::Scheduler { attributes } => plain(sys::sched_setattr(attributes.0)),
            Step::IoPriority { value } => plain(sys::ioprio_set(value)),
            Step::Affinity { mask } if mask.0.is_empty() => {
                // Whoever keeps us from it wanted the processors as they are.
                let _ = sys::sched_setaffinity(&[0xff; EVERY_CPU_BYTES]);
                Ok(())
            }
            Step::Affinity { mask } => plain(sys::sched_setaffinity(mask.0)),
            Step::MemoryPolicy { mode, nodes } => plain(sys::set_mempolicy(mode, nodes.0)),
            Step::Keyring { name } => plain(self.keyring(name)),
            Step::Landlock { files, network, scoped } => {
                self.ruleset = plain(sys::landlock_ruleset(files, network, scoped))?;
                Ok(())
            }
            Step::LandlockPath { path, access, optional } => self.landlock_path(path, access, optional),
            Step::LandlockPort { port, access } => plain(sys::landlock_port(self.ruleset, access, port)),
            Step::LandlockEnforce {} => {
                plain(sys::landlock_restrict(self.ruleset))?;
                sys::close(self.ruleset);
                self.ruleset = -1;
                Ok(())
            }
            Step::MoveRoot {} => self.move_root(),
            Step::SeccompFilter { filter, flags, listener } => self.seccomp(filter.0, flags, listener),
            Step::Rootfs { path, parent, propagation } => plain(self.take_root(path, parent, propagation)),
            Step::Device { path, mode, device, uid, gid } => {
                plain(node::make_or_keep(self.root, path.0, Node { mode, device, uid, gid }))
            }
            Step::ReopenNull {} => self.reopen_null(),
            Step::MapTree { slot, userns_fd, recursive } => {
                let tree = self.slot(slot)?;
                plain(bind::map_owners(tree, userns_fd, recursive))
            }
            Step::OpenRoot { path } => {
                self.root = plain(sys::open(path.0, sys::O_PATH | sys::O_DIRECTORY))?;
                self.rootfs = path.0;
                Ok(())
            }
            Step::Chroot {} => plain(self.chroot()),
            Step::TakeTree { fd, slot } => self.keep_tree(fd, slot),
            Step::Stay {} => init::stay(),
            Step::Keep { fd } => {
                plain(sys::dup_to(fd, self.kept))?;
                self.kept += 1;
                Ok(())
            }
            Step::MapDirectory { path, userns_fd } => plain(bind::map_directory(path.0, userns_fd)),
            Step::StandInRoot {} => plain(sys::fchdir(self.root)),
            Step::AppendFile { path, content } => self.append_file(path, content.0),
        }
    }

    fn slot(&self, slot: u32) -> Result<i32, Failure> {
        match self.slots.get(slot as usize) {
            Some(fd) if *fd >= 0 => Ok(*fd),
            _ => Err((sys::EINVAL, detail::PLAN)),
        }
    }

    /// The container's root; for `exec`, which mounts nothing, that of the namespace just joined.
    pub(crate) fn root(&mut self) -> Result<i32, Failure> {
        if self.root < 0 {
            self.root = plain(sys::open(c"/".to_bytes(), sys::O_PATH | sys::O_DIRECTORY))?;
        }
        Ok(self.root)
    }

    fn open_tree(&mut self, source: Str<'_>, slot: u32, recursive: bool) -> Result<(), Failure> {
        let tree = plain(sys::open_tree(sys::AT_FDCWD, source.0, recursive))?;
        self.keep_tree(tree, slot)
    }

    fn keep_tree(&mut self, tree: i32, slot: u32) -> Result<(), Failure> {
        let place = self.slots.get_mut(slot as usize).ok_or((sys::EINVAL, detail::PLAN))?;
        if *place >= 0 {
            sys::close(*place);
        }
        *place = tree;
        Ok(())
    }

    fn mount(
        &self,
        fstype: Str<'_>,
        source: Str<'_>,
        target: Str<'_>,
        attributes: u64,
        options: Strings<'_>,
    ) -> Result<(), Failure> {
        let at = match fstype.0 {
            b"proc" | b"sysfs" => {
                mounts::open_plain(self.root, target.0, true).and_then(mounts::outside_proc)?
            }
            _ => mounts::open_target(self.root, target.0, true)?,
        };
        let tree = plain(mounts::new_filesystem(fstype.0, source.0, options, attributes))?;
        let result = plain(sys::move_mount_to(tree, at));
        sys::close(tree);
        sys::close(at);
        result
    }

    /// `how` is (attributes set, propagation, recursive).
    fn attach(
        &self,
        slot: u32,
        target: Str<'_>,
        directory: bool,
        how: (u64, u64, bool),
    ) -> Result<(), Failure> {
        let tree = self.slot(slot)?;
        let (set, propagation, recursive) = how;
        if set != 0 || propagation != 0 {
            plain(sys::mount_setattr(tree, recursive, set, propagation))?;
        }
        let at = mounts::open_target(self.root, target.0, directory)?;
        let result = plain(sys::move_mount_to(tree, at));
        sys::close(at);
        result
    }

    fn symlink(&self, content: Str<'_>, path: Str<'_>) -> sys::Result<()> {
        let (parent, start) = mounts::open_parent(self.root, path.0)?;
        let made = sys::symlinkat(content.0, parent, &path.0[start..]);
        sys::close(parent);
        match made {
            Err(sys::EEXIST) => Ok(()),
            other => other,
        }
    }

    /// Everything that we had open was closed.
    pub(crate) fn forget_descriptors(&mut self) {
        self.root = -1;
        self.slots = [-1; SLOTS];
        self.cover = Cover::default();
        self.said = -1;
        self.proc = -1;
        self.ruleset = -1;
    }
}

/// Of the mount that is `/` now.
fn propagate(flags: u64) -> sys::Result<()> {
    let none = c"".to_bytes();
    sys::mount(none, c"/".to_bytes(), none, flags as usize, none)
}

fn private_mounts() -> sys::Result<()> {
    let none = c"".to_bytes();
    sys::mount(none, c"/".to_bytes(), none, sys::MS_REC | sys::MS_PRIVATE as usize, none)
}

/// `ip link set lo up`, by ioctl: cheaper than netlink for one flag.
fn loopback_up() -> sys::Result<()> {
    const SIOCGIFFLAGS: usize = 0x8913;
    const SIOCSIFFLAGS: usize = 0x8914;
    const IFF_UP: u8 = 1;
    let socket = sys::socket_inet_datagram()?;
    let mut request = [0_u8; 40];
    request[..2].copy_from_slice(b"lo");
    let result = sys::ioctl(socket, SIOCGIFFLAGS, request.as_mut_ptr() as usize).and_then(|_| {
        request[16] |= IFF_UP;
        sys::ioctl(socket, SIOCSIFFLAGS, request.as_mut_ptr() as usize)
    });
    sys::close(socket);
    result.map(drop)
}
