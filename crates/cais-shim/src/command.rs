//! The end of the plan: the command is found and executed, with nothing open that it is not to have.

use cais_plan::Strings;
use cais_plan::wire::detail;

use crate::child::{Child, plain};
use crate::mounts::Failure;
use crate::sys;
use crate::{init, signals};

/// Pointers for execve(2) that need no memory of their own.
const FEW: usize = 512;

type Vector = *const *const u8;

/// Room for `HOME=`, a directory and a NUL.
pub type HomeVariable = [u8; 1100];

/// argv and envp in fresh memory. The word `HOME` in the environment is taken for the variable `home`.
///
/// # Errors
/// ENOMEM.
pub fn vectors(args: Strings<'_>, env: Strings<'_>, home: &HomeVariable) -> sys::Result<(Vector, Vector)> {
    let (arg_count, env_count) = (args.len(), env.len());
    let pointers = sys::map_memory((arg_count + env_count + 2) * size_of::<usize>())?;
    let (argv, envp) = pointers.split_at_mut(arg_count + 1);
    fill(argv, args);
    fill(envp, env);
    if let Some(at) = env.iter().position(|word| word == b"HOME") {
        envp[at] = home.as_ptr() as usize;
    }
    Ok((argv.as_ptr().cast(), envp.as_ptr().cast()))
}

fn fill(places: &mut [usize], strings: Strings<'_>) {
    for (place, string) in places.iter_mut().zip(strings.iter()) {
        *place = string.as_ptr() as usize;
    }
}

impl<'a> Child<'a> {
    /// Nothing but what the command keeps and our way to tell a failure stays open, and that closes with the exec: no
    /// path through /proc/self/fd leads out. Signals are as a program expects them. Done before a seccomp filter that
    /// could forbid it.
    pub(crate) fn strip(&mut self) -> Result<(), Failure> {
        if self.stripped {
            return Ok(());
        }
        if self.late.is_some() {
            return Err((sys::EACCES, detail::NONE));
        }
        plain(sys::dup_cloexec(self.peer.fd, self.kept))?;
        self.peer.fd = self.kept;
        sys::close_range(self.kept as u32 + 1, u32::MAX);
        self.forget_descriptors();
        if self.bundle {
            sys::umask(self.umask);
        }
        signals::reset();
        self.stripped = true;
        Ok(())
    }

    pub(crate) fn exec(
        &mut self,
        paths: Strings<'a>,
        args: Strings<'_>,
        env: Strings<'_>,
    ) -> Result<(), Failure> {
        self.strip()?;
        let (arg_count, env_count) = (args.len(), env.len());
        let mut few = [0_usize; FEW];
        let pointers = if arg_count + env_count + 3 <= FEW {
            &mut few[..]
        } else {
            plain(sys::map_memory((arg_count + env_count + 3) * size_of::<usize>()))?
        };
        let (argv, envp) = pointers.split_at_mut(arg_count + 1);
        fill(argv, args);
        fill(envp, env);
        let home = self.home_variable();
        if self.set_home && !env.iter().any(|v| v.starts_with(b"HOME=")) {
            envp[env_count] = home.as_ptr() as usize;
        }
        let mut failure = (sys::ENOENT, detail::NONE);
        let mut try_to = |path: &[u8]| -> Result<(), Failure> {
            let errno = sys::execve(path, argv.as_ptr().cast(), envp.as_ptr().cast());
            match errno {
                sys::ENOENT | sys::ENOTDIR => {
                    if failure.0 == sys::ENOENT && is_there(path) {
                        failure = (sys::ENOENT, detail::NO_INTERPRETER);
                    }
                }
                sys::EACCES => failure = (errno, detail::NONE),
                other => return Err((other, detail::NONE)),
            }
            Ok(())
        };
        match self.found {
            Some(path) => try_to(path)?,
            None => paths.iter().try_for_each(try_to)?,
        }
        Err(failure)
    }

    /// Of the user that the command runs as.
    pub(crate) fn home_variable(&self) -> HomeVariable {
        let mut variable = [0; 1100];
        let value = self.identity.home();
        variable[..5].copy_from_slice(b"HOME=");
        variable[5..5 + value.len()].copy_from_slice(value);
        variable
    }

    /// The first path that is a file and that the user may execute. A directory counts as one that may not be.
    pub(crate) fn find(&mut self, paths: Strings<'a>) -> Result<(), Failure> {
        let mut failure = sys::ENOENT;
        for path in paths.iter() {
            match executable(path) {
                Ok(()) => {
                    self.found = Some(path);
                    return Ok(());
                }
                Err(sys::ENOENT | sys::ENOTDIR) => {}
                Err(errno) => failure = errno,
            }
        }
        Err((failure, detail::NONE))
    }

    pub(crate) fn fork_init(&self) -> Result<(), Failure> {
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
}

fn executable(path: &[u8]) -> sys::Result<()> {
    let fd = sys::open(path, sys::O_PATH)?;
    let answer = sys::fstat(fd).and_then(|stat| {
        if stat.is_dir() {
            return Err(sys::EACCES);
        }
        sys::may_execute(fd, path)
    });
    sys::close(fd);
    answer
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
