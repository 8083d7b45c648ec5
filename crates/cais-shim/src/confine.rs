//! What the command is held by besides its namespaces and capabilities: keyring, Landlock, seccomp.

use cais_plan::Str;

use crate::child::{Child, plain};
use crate::listener;
use crate::mounts::Failure;
use crate::sys;

impl Child<'_> {
    /// A kernel without keyrings has none that could be shared with others.
    pub(crate) fn keyring(&self, name: Str<'_>) -> sys::Result<()> {
        // All for the possessor; view, read and link for the user; searching, so that the user finds what is in it, or
        // others where the user is not the same outside.
        const PERMISSIONS: u32 = 0x3f13_0000;
        const USER_SEARCH: u32 = 0x8_0000;
        const OTHER_SEARCH: u32 = 0x8;
        let key = match sys::join_session_keyring(name.0) {
            Err(sys::ENOSYS) => return Ok(()),
            other => other?,
        };
        let search = if self.user_namespace { OTHER_SEARCH } else { USER_SEARCH };
        // One that was there belongs to whoever made it.
        let _ = sys::set_key_permissions(key, PERMISSIONS | search);
        Ok(())
    }

    pub(crate) fn landlock_path(
        &mut self,
        path: Str<'_>,
        access: u64,
        optional: bool,
    ) -> Result<(), Failure> {
        // LANDLOCK_ACCESS_FS_EXECUTE, WRITE_FILE, READ_FILE, TRUNCATE, IOCTL_DEV: all that a file can have.
        const OF_A_FILE: u64 = 1 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15;
        let root = self.root()?;
        let fd = match sys::open_in_root(root, path.0, sys::O_PATH) {
            Err(sys::ENOENT | sys::ENOTDIR) if optional => return Ok(()),
            other => plain(other)?,
        };
        let directory = sys::fstat(fd).is_ok_and(sys::Stat::is_dir);
        let access = if directory { access } else { access & OF_A_FILE };
        let added = if access == 0 { Ok(()) } else { sys::landlock_path(self.ruleset, access, fd) };
        sys::close(fd);
        plain(added)
    }

    pub(crate) fn seccomp(&mut self, filter: &[u8], flags: u32, listener: bool) -> Result<(), Failure> {
        // The monitor's child may still have to fork an init, which waits for blocked signals.
        if self.bundle {
            self.strip()?;
        }
        if !listener {
            return plain(sys::seccomp_filter(filter, flags).map(drop));
        }
        if !plain(listener::load(self.peer, filter, flags))? {
            sys::exit(1);
        }
        Ok(())
    }
}
