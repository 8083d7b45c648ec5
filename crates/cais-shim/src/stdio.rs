//! Standard streams of the command: the monitor's pipes, a terminal of the container's own devpts, or whatever the
//! runtime was started with.

use cais_plan::wire::detail;

use crate::child::{Child, STREAMS, plain};
use crate::mask;
use crate::mounts::{self, Failure};
use crate::sys;

/// What a terminal's master is called where it is received: the name of the file that was opened for it.
const MASTER_NAME: &[u8] = b"/dev/ptmx";

impl Child<'_> {
    pub(crate) fn stdio(&mut self, console: bool) -> Result<(), Failure> {
        match sys::setsid() {
            // Leads a session already.
            Err(sys::EPERM) if self.bundle => {}
            other => plain(other)?,
        }
        if self.tty {
            return self.terminal(console);
        }
        if self.bundle {
            return Ok(());
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

    /// A pseudo terminal of the container's own devpts; the monitor, or the runtime's caller, gets the master.
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
            // Procfs has no /dev/console: a /dev that others write to may be bound there.
            let at = mounts::open_plain(root, c"dev/console".to_bytes(), false)?;
            let at = mounts::outside_proc(at)?;
            let tree = plain(sys::open_tree(slave, c"".to_bytes(), false))?;
            plain(sys::move_mount_to(tree, at))?;
            sys::close(tree);
            sys::close(at);
        }
        plain(sys::send_fd(self.wiring.terminal, MASTER_NAME, master))?;
        sys::close(master);
        if self.bundle {
            sys::close(self.wiring.terminal);
            self.wiring.terminal = -1;
        }
        for fd in 0..STREAMS {
            plain(sys::dup_to(slave, fd))?;
        }
        Ok(())
    }

    /// Streams that are a null device of the host become the container's own.
    pub(crate) fn reopen_null(&mut self) -> Result<(), Failure> {
        if !(0..STREAMS).any(is_null) {
            return Ok(());
        }
        let root = self.root()?;
        let mut null = -1;
        // Looked at before it is opened: opening something else may wait.
        for flags in [sys::O_PATH, sys::O_RDWR] {
            sys::close(null);
            null = plain(sys::open_in_root(root, c"dev/null".to_bytes(), flags))?;
            if !is_null(null) {
                return Err((sys::EINVAL, detail::BAD_TARGET));
            }
        }
        for fd in (0..STREAMS).filter(|fd| is_null(*fd)) {
            plain(sys::dup_to(null, fd))?;
        }
        sys::close(null);
        Ok(())
    }

    /// The command may open /dev/stdout and its terminal again although it is another user.
    pub(crate) fn own_stdio(&self) {
        let (uid, gid) = (self.identity.uid, self.identity.gid);
        if self.bundle {
            return own_inherited(uid);
        }
        if uid == 0 && gid == 0 {
            return;
        }
        if self.tty {
            let _ = sys::fchown(0, uid, u32::MAX);
            return;
        }
        for (fd, ours) in [(0, self.wiring.stdin >= 0), (1, true), (2, true)] {
            // The host's null device would be the user's for everybody.
            if ours && !is_null(fd) {
                let _ = sys::fchown(fd, uid, gid);
            }
        }
    }
}

fn is_null(fd: i32) -> bool {
    sys::fstat(fd).is_ok_and(|stat| stat.kind() == sys::S_IFCHR && stat.device == mask::NULL_DEVICE)
}

/// As runc does: the owner changes, the group stays, /dev/null is nobody's, and where it is not allowed it is not.
fn own_inherited(uid: u32) {
    for fd in 0..STREAMS {
        if let Ok(stat) = sys::fstat(fd)
            && stat.uid != uid
            && stat.device != mask::NULL_DEVICE
        {
            let _ = sys::fchown(fd, uid, u32::MAX);
        }
    }
}
