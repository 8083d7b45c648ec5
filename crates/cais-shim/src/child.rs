//! The container's first process: carries out the plan's steps in order and becomes the command.
//!
//! Every failing step is told to the monitor as (index, errno, detail) over a pipe that closes at the successful exec.

use cais_plan::wire::{NO_STEP, detail};
use cais_plan::{Plan, Step, Str, Strings};

use crate::creds::{self, Identity};
use crate::mounts::{self, Failure, Overlay};
use crate::sys::{self, Errno};
use crate::{init, signals};

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
const SLOTS: usize = 128;

struct Child {
    wiring: Wiring,
    root: i32,
    slots: [i32; SLOTS],
    identity: Identity,
    set_home: bool,
    tty: bool,
    /// Rows and columns of the terminal, 0 = unknown.
    size: [u16; 2],
    /// The step at work.
    index: u32,
}

/// Where the error pipe is from the moment that everything else is closed.
const ERROR_FD: i32 = 3;

/// Carries out the plan; ends in the command, or in exit after telling the failure.
pub fn run(plan: &Plan<'_>, wiring: Wiring) -> ! {
    let mut child = Child {
        wiring,
        root: -1,
        slots: [-1; SLOTS],
        identity: Identity::default(),
        set_home: false,
        tty: plan.setup.tty,
        size: [plan.setup.rows as u16, plan.setup.cols as u16],
        index: 0,
    };
    for step in plan.steps() {
        let result = match step {
            Ok(step) => child.perform(&step),
            Err(_) => Err((sys::EINVAL, detail::PLAN)),
        };
        if let Err((errno, word)) = result {
            tell(wiring.error, child.index, errno, word);
        }
        child.index += 1;
    }
    tell(wiring.error, NO_STEP, sys::EINVAL, detail::PLAN)
}

/// Tells the monitor what failed and ends.
pub fn tell(pipe: i32, index: u32, errno: Errno, word: u32) -> ! {
    let mut message = [0_u8; 12];
    message[..4].copy_from_slice(&index.to_ne_bytes());
    message[4..8].copy_from_slice(&errno.0.to_ne_bytes());
    message[8..].copy_from_slice(&word.to_ne_bytes());
    let _ = sys::write_all(pipe, &message);
    sys::exit(127)
}

fn plain<T>(result: sys::Result<T>) -> Result<T, Failure> {
    result.map_err(|e| (e, detail::NONE))
}

fn unless_optional(result: sys::Result<()>, optional: bool) -> Result<(), Failure> {
    if optional { Ok(()) } else { plain(result) }
}

impl Child {
    /// One arm a step: the interpreter stays this dull on purpose.
    fn perform(&mut self, step: &Step<'_>) -> Result<(), Failure> {
        match *step {
            Step::JoinCgroup { fd } => plain(sys::write(fd, b"0").map(drop)),
            Step::Unshare { flags } => plain(sys::unshare(flags)),
            Step::SetNs { fd, flags } => plain(sys::setns(fd, flags)),
            Step::LoopbackUp {} => plain(loopback_up()),
            Step::OpenTree { source, slot, recursive } => self.open_tree(source, slot, recursive),
            Step::PrivateMounts {} => plain(private_mounts()),
            Step::OverlayRoot { at, lowers, upper, work, volatile_upper, userxattr } => {
                let stack = Overlay { lowers, upper: upper.0, work: work.0, volatile_upper, userxattr };
                self.root = plain(mounts::overlay_at(at.0, stack))?;
                Ok(())
            }
            Step::BindRoot { at, source } => self.bind_root(at, source),
            Step::Mount { fstype, source, target, attributes, options, optional } => {
                let made = self.mount(fstype, source, target, attributes, options);
                if optional { Ok(()) } else { made }
            }
            Step::Attach { slot, target, directory, set, propagation, recursive } => {
                self.attach(slot, target, directory, (set, propagation, recursive))
            }
            Step::MakeDir { path, mode } => {
                plain(mounts::open_or_make(self.root, path.0, true, mode).map(sys::close))
            }
            Step::Symlink { content, path } => plain(self.symlink(content, path)),
            Step::MakeNode { path, mode, device, uid, gid } => {
                plain(self.make_node(path, mode, device, uid, gid))
            }
            Step::Mask { path } => plain(mounts::mask(self.root, path.0)),
            Step::ReadOnlyPath { path } => plain(mounts::read_only(self.root, path.0)),
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
            Step::Chdir { path, create } => plain(self.chdir(path, create)),
            Step::Bounding { keep } => plain(creds::bound(keep)),
            Step::SwitchUser { groups } => {
                self.own_stdio();
                plain(creds::switch(&self.identity, groups))
            }
            Step::Capabilities { effective, permitted, inheritable, ambient } => {
                plain(creds::set_capabilities(effective, permitted, inheritable, ambient))
            }
            Step::NoNewPrivileges {} => plain(sys::prctl(sys::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0).map(drop)),
            Step::Seccomp { filter } => plain(sys::seccomp_filter(filter.0)),
            Step::DeathSignal {} => {
                const SIGKILL: usize = 9;
                plain(sys::prctl(sys::PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0).map(drop))
            }
            Step::Undumpable {} => plain(sys::prctl(sys::PR_SET_DUMPABLE, 0, 0, 0, 0).map(drop)),
            Step::Init {} => self.fork_init(),
            Step::Exec { paths, args, env } => self.exec(paths, args, env),
            Step::BindNode { slot, path } => self.attach(slot, path, false, (0, 0, false)),
            Step::ExecLabel { file, label } => plain(self.label(file, label)),
        }
    }

    fn slot(&self, slot: u32) -> Result<i32, Failure> {
        match self.slots.get(slot as usize) {
            Some(fd) if *fd >= 0 => Ok(*fd),
            _ => Err((sys::EINVAL, detail::PLAN)),
        }
    }

    /// The container's root; for `exec`, which mounts nothing, that of the namespace just joined.
    fn root(&mut self) -> Result<i32, Failure> {
        if self.root < 0 {
            self.root = plain(sys::open(c"/".to_bytes(), sys::O_PATH | sys::O_DIRECTORY))?;
        }
        Ok(self.root)
    }

    fn open_tree(&mut self, source: Str<'_>, slot: u32, recursive: bool) -> Result<(), Failure> {
        let tree = plain(sys::open_tree(sys::AT_FDCWD, source.0, recursive))?;
        let place = self.slots.get_mut(slot as usize).ok_or((sys::EINVAL, detail::PLAN))?;
        *place = tree;
        Ok(())
    }

    fn bind_root(&mut self, at: Str<'_>, source: Str<'_>) -> Result<(), Failure> {
        let tree = plain(sys::open_tree(sys::AT_FDCWD, source.0, true))?;
        plain(sys::mount_setattr(tree, true, 0, sys::MS_PRIVATE))?;
        self.root = plain(mounts::attach_root(tree, at.0))?;
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
        let at = mounts::open_target(self.root, target.0, true)?;
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

    fn make_node(&self, path: Str<'_>, mode: u32, device: u64, uid: u32, gid: u32) -> sys::Result<()> {
        let (parent, start) = mounts::open_parent(self.root, path.0)?;
        let name = &path.0[start..];
        let made = match sys::mknodat(parent, name, mode, device) {
            Err(sys::EEXIST) => {
                let _ = sys::unlinkat(parent, name);
                sys::mknodat(parent, name, mode, device)
            }
            other => other,
        };
        let owned = made.and_then(|()| {
            if uid != 0 || gid != 0 {
                sys::fchownat(parent, name, uid, gid)?;
            }
            Ok(())
        });
        sys::close(parent);
        owned
    }

    /// pivot_root(".", "."): the old root ends up beneath the new one at the same place, and is detached from there.
    fn pivot(&self) -> sys::Result<()> {
        let dot = c".".to_bytes();
        sys::fchdir(self.root)?;
        sys::pivot_root(dot, dot)?;
        sys::umount(dot, sys::MNT_DETACH)?;
        sys::chdir(c"/".to_bytes())
    }

    fn write_file(&mut self, path: Str<'_>, content: &[u8]) -> sys::Result<()> {
        let root = self.root().map_err(|(e, _)| e)?;
        let fd = sys::open_in_root(root, path.0, sys::O_WRONLY)?;
        let result = sys::write(fd, content).map(drop);
        sys::close(fd);
        result
    }

    fn label(&mut self, file: Str<'_>, label: Str<'_>) -> sys::Result<()> {
        let root = self.root().map_err(|(e, _)| e)?;
        let attributes =
            sys::open_in_root(root, c"proc/self/attr".to_bytes(), sys::O_PATH | sys::O_DIRECTORY)?;
        let fd = sys::openat(attributes, file.0, sys::O_WRONLY, 0);
        sys::close(attributes);
        let fd = fd?;
        let result = sys::write(fd, label.0).map(drop);
        sys::close(fd);
        result
    }

    fn stdio(&mut self, console: bool) -> Result<(), Failure> {
        plain(sys::setsid())?;
        if self.tty {
            return self.terminal(console);
        }
        let input = if self.wiring.stdin >= 0 {
            self.wiring.stdin
        } else {
            let root = self.root()?;
            plain(sys::open_in_root(root, c"dev/null".to_bytes(), sys::O_RDWR))?
        };
        plain(sys::dup_to(input, 0))?;
        plain(sys::dup_to(self.wiring.stdout, 1))?;
        plain(sys::dup_to(self.wiring.stderr, 2))
    }

    /// A pseudo terminal of the container's own devpts; the monitor gets the master.
    fn terminal(&mut self, console: bool) -> Result<(), Failure> {
        const TIOCSPTLCK: usize = 0x4004_5431;
        const TIOCGPTPEER: usize = 0x5441;
        const TIOCSCTTY: usize = 0x540e;
        let root = self.root()?;
        let flags = sys::O_RDWR | sys::O_NOCTTY;
        let master = plain(sys::open_in_root(root, c"dev/pts/ptmx".to_bytes(), flags))?;
        let unlock = 0_i32;
        plain(sys::ioctl(master, TIOCSPTLCK, &raw const unlock as usize))?;
        let slave = plain(sys::ioctl(master, TIOCGPTPEER, (flags | sys::O_CLOEXEC) as usize))? as i32;
        plain(sys::ioctl(slave, TIOCSCTTY, 0))?;
        if self.size[0] > 0 && self.size[1] > 0 {
            const TIOCSWINSZ: usize = 0x5414;
            let size = [self.size[0], self.size[1], 0, 0];
            plain(sys::ioctl(slave, TIOCSWINSZ, size.as_ptr() as usize))?;
        }
        if console {
            let at = plain(mounts::open_or_make(root, c"dev/console".to_bytes(), false, 0o600))?;
            let tree = plain(sys::open_tree(slave, c"".to_bytes(), false))?;
            plain(sys::move_mount_to(tree, at))?;
            sys::close(tree);
            sys::close(at);
        }
        plain(sys::send_fd(self.wiring.terminal, master))?;
        sys::close(master);
        for fd in 0..3 {
            plain(sys::dup_to(slave, fd))?;
        }
        Ok(())
    }

    /// The command may open /dev/stdout and its terminal again although it is another user.
    fn own_stdio(&self) {
        if self.identity.uid == 0 && self.identity.gid == 0 {
            return;
        }
        if self.tty {
            let _ = sys::fchown(0, self.identity.uid, u32::MAX);
            return;
        }
        for (fd, ours) in [(0, self.wiring.stdin >= 0), (1, true), (2, true)] {
            if ours {
                let _ = sys::fchown(fd, self.identity.uid, self.identity.gid);
            }
        }
    }

    /// Resolved inside the root and without /proc's magic links, which could lead through a descriptor of the host
    /// (CVE-2024-21626).
    fn chdir(&mut self, path: Str<'_>, create: bool) -> sys::Result<()> {
        let root = self.root().map_err(|(e, _)| e)?;
        let fd = if create {
            mounts::open_or_make(root, path.0, true, 0o755)?
        } else {
            sys::open_in_root(root, path.0, sys::O_PATH | sys::O_DIRECTORY)?
        };
        let result = sys::fchdir(fd);
        sys::close(fd);
        result
    }

    fn fork_init(&self) -> Result<(), Failure> {
        // SAFETY: one thread; parent and child go separate ways.
        let pid = plain(unsafe { sys::fork() })?;
        if pid != 0 {
            init::run(pid);
        }
        // An own process group in the foreground of the terminal, so that its keys signal the command once.
        const TIOCSPGRP: usize = 0x5410;
        set_own_group();
        if self.tty {
            let group = sys::getpid();
            let _ = sys::ioctl(0, TIOCSPGRP, &raw const group as usize);
        }
        Ok(())
    }

    fn exec(&self, paths: Strings<'_>, args: Strings<'_>, env: Strings<'_>) -> Result<(), Failure> {
        let (arg_count, env_count) = (args.len(), env.len());
        let pointers = plain(sys::map_memory((arg_count + env_count + 3) * size_of::<usize>()))?;
        let (argv, envp) = pointers.split_at_mut(arg_count + 1);
        for (place, arg) in argv.iter_mut().zip(args.iter()) {
            *place = arg.as_ptr() as usize;
        }
        for (place, variable) in envp.iter_mut().zip(env.iter()) {
            *place = variable.as_ptr() as usize;
        }
        let mut home = [0_u8; 1100];
        if self.set_home && !env.iter().any(|v| v.starts_with(b"HOME=")) {
            let value = self.identity.home();
            home[..5].copy_from_slice(b"HOME=");
            home[5..5 + value.len()].copy_from_slice(value);
            envp[env_count] = home.as_ptr() as usize;
        }
        // Nothing but the error pipe stays open, and that closes with the exec: no path through /proc/self/fd leads out.
        plain(sys::dup_cloexec(self.wiring.error, ERROR_FD))?;
        sys::close_range(ERROR_FD as u32 + 1, u32::MAX);
        signals::reset();
        let mut failure = (sys::ENOENT, detail::NONE);
        for path in paths.iter() {
            let errno = sys::execve(path, argv.as_ptr().cast(), envp.as_ptr().cast());
            match errno {
                sys::ENOENT | sys::ENOTDIR => {
                    if failure.0 == sys::ENOENT && is_there(path) {
                        failure = (sys::ENOENT, detail::NO_INTERPRETER);
                    }
                }
                sys::EACCES => failure = (errno, detail::NONE),
                other => tell(ERROR_FD, self.index, other, detail::NONE),
            }
        }
        tell(ERROR_FD, self.index, failure.0, failure.1)
    }
}

fn set_own_group() {
    #[cfg(target_arch = "x86_64")]
    const SETPGID: usize = 109;
    #[cfg(target_arch = "aarch64")]
    const SETPGID: usize = 154;
    // SAFETY: setpgid(0, 0) takes no pointers.
    let _ = unsafe { sys::syscall(SETPGID, 0, 0, 0, 0, 0, 0) };
}

/// The file exists although executing it says it does not: its interpreter or loader is what is missing.
fn is_there(path: &[u8]) -> bool {
    match sys::open(path, sys::O_PATH) {
        Ok(fd) => {
            sys::close(fd);
            true
        }
        Err(_) => false,
    }
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
