//! Who the command runs as: looked up in the container's own /etc/passwd and /etc/group, then switched to.

use cais_plan::Strings;
use cais_plan::passwd::{self, number};
use cais_plan::wire::detail;

use crate::child::{Child, plain};
use crate::mounts::Failure;
use crate::sys::{self, Result};

/// Most supplementary groups.
const GROUPS: usize = 256;
/// Longest line that is looked at; longer ones are skipped.
const LINE: usize = 8192;

/// A user found.
pub struct Identity {
    /// Number.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    groups: [u32; GROUPS],
    count: usize,
    name: [u8; 256],
    name_len: usize,
    home: [u8; 1024],
    home_len: usize,
}

impl Default for Identity {
    fn default() -> Identity {
        Identity {
            uid: 0,
            gid: 0,
            groups: [0; GROUPS],
            count: 0,
            name: [0; 256],
            name_len: 0,
            home: [0; 1024],
            home_len: 0,
        }
    }
}

impl Identity {
    /// Home directory; `/` when the user has none.
    #[must_use]
    pub fn home(&self) -> &[u8] {
        if self.home_len == 0 { b"/" } else { &self.home[..self.home_len] }
    }

    /// Supplementary groups.
    #[must_use]
    pub fn groups(&self) -> &[u32] {
        &self.groups[..self.count]
    }

    fn add_group(&mut self, gid: u32) {
        if self.count < GROUPS && !self.groups().contains(&gid) {
            self.groups[self.count] = gid;
            self.count += 1;
        }
    }

    fn take_user(&mut self, user: &passwd::User<'_>) {
        self.uid = user.uid;
        self.gid = user.gid;
        let length = user.name.len().min(self.name.len());
        self.name[..length].copy_from_slice(&user.name[..length]);
        self.name_len = length;
        if user.home.len() < self.home.len() {
            self.home[..user.home.len()].copy_from_slice(user.home);
            self.home_len = user.home.len();
        }
    }
}

/// Resolves `user[:group]` and further groups inside `root`, as Docker does: numbers need no entry, a number with an
/// entry takes its group and home from there, names must exist.
///
/// # Errors
/// `NO_USER`, `NO_GROUP`, or the errno of reading the files (missing files are empty).
pub fn resolve(
    root: i32,
    spec: &[u8],
    more: Strings<'_>,
    found: &mut Identity,
) -> core::result::Result<(), Failure> {
    let (user, group) = match spec.iter().position(|b| *b == b':') {
        Some(colon) => (&spec[..colon], &spec[colon + 1..]),
        None => (spec, b"".as_slice()),
    };
    let user = if user.is_empty() { b"0".as_slice() } else { user };
    let wanted = number(user);
    let mut seen = false;
    each_line(root, c"/etc/passwd".to_bytes(), |line| {
        if !seen
            && let Some(entry) = passwd::parse_user(line)
            && (entry.name == user || wanted == Some(entry.uid))
        {
            found.take_user(&entry);
            seen = true;
        }
    })
    .map_err(|e| (e, detail::NONE))?;
    if !seen {
        found.uid = wanted.ok_or((sys::ENOENT, detail::NO_USER))?;
        found.gid = 0;
    }
    let name = found.name;
    let name = &name[..found.name_len];
    let mut primary = number(group);
    each_line(root, c"/etc/group".to_bytes(), |line| {
        let Some(entry) = passwd::parse_group(line) else { return };
        if !group.is_empty() && entry.name == group {
            primary = Some(entry.gid);
        }
        if group.is_empty() && entry.has_member(name) {
            found.add_group(entry.gid);
        }
    })
    .map_err(|e| (e, detail::NONE))?;
    if !group.is_empty() {
        found.gid = primary.ok_or((sys::ENOENT, detail::NO_GROUP))?;
    }
    for extra in more.iter() {
        let mut gid = number(extra);
        if gid.is_none() {
            each_line(root, c"/etc/group".to_bytes(), |line| {
                if let Some(entry) = passwd::parse_group(line)
                    && entry.name == extra
                {
                    gid = Some(entry.gid);
                }
            })
            .map_err(|e| (e, detail::NONE))?;
        }
        found.add_group(gid.ok_or((sys::ENOENT, detail::NO_GROUP))?);
    }
    Ok(())
}

/// Calls `f` for each line of a regular file inside `root`; a missing file has none.
fn each_line(root: i32, path: &[u8], mut f: impl FnMut(&[u8])) -> Result<()> {
    // Non-blocking: an image may have put a FIFO there.
    let fd = match sys::open_in_root(root, path, sys::O_RDONLY | sys::O_NONBLOCK | sys::O_NOCTTY) {
        Err(sys::ENOENT | sys::ENOTDIR | sys::ELOOP) => return Ok(()),
        other => other?,
    };
    if !sys::fstat(fd)?.is_regular() {
        sys::close(fd);
        return Ok(());
    }
    let mut buffer = [0_u8; LINE];
    let mut used = 0;
    let mut skipping = false;
    let result = loop {
        let got = match sys::read(fd, &mut buffer[used..]) {
            Ok(n) => n,
            Err(sys::EINTR) => continue,
            Err(e) => break Err(e),
        };
        let end = used + got;
        let mut start = 0;
        while let Some(newline) = buffer[start..end].iter().position(|b| *b == b'\n') {
            if !skipping {
                f(&buffer[start..start + newline]);
            }
            skipping = false;
            start += newline + 1;
        }
        if got == 0 {
            if start < end && !skipping {
                f(&buffer[start..end]);
            }
            break Ok(());
        }
        if start == 0 && end == buffer.len() {
            skipping = true;
            used = 0;
        } else {
            buffer.copy_within(start..end, 0);
            used = end - start;
        }
    };
    sys::close(fd);
    result
}

/// Drops every capability that is not in `keep` from the bounding set.
///
/// # Errors
/// EPERM without CAP_SETPCAP.
pub fn bound(keep: u64) -> Result<()> {
    for capability in 0..64_usize {
        if keep >> capability & 1 == 0 {
            match sys::prctl(sys::PR_CAPBSET_DROP, capability, 0, 0, 0) {
                Ok(_) => {}
                Err(sys::EINVAL) => break,
                Err(e) => return Err(e),
            }
        }
    }
    Ok(())
}

/// Becomes the user; capabilities survive until [`set_capabilities`]. `groups` are the supplementary ones, an array of
/// u32; `None` leaves them.
///
/// # Errors
/// EINVAL when an id is not mapped in the user namespace, or is the one that setresuid(2) takes as "leave it": the
/// command would go on as root.
pub fn switch(identity: &Identity, groups: Option<&[u8]>) -> Result<()> {
    if identity.uid == u32::MAX || identity.gid == u32::MAX {
        return Err(sys::EINVAL);
    }
    sys::prctl(sys::PR_SET_KEEPCAPS, 1, 0, 0, 0)?;
    if let Some(groups) = groups {
        sys::setgroups(groups)?;
    }
    sys::setresgid(identity.gid)?;
    sys::setresuid(identity.uid)?;
    sys::prctl(sys::PR_SET_KEEPCAPS, 0, 0, 0, 0).map(drop)
}

/// Numbers as the bytes that the kernel reads.
#[must_use]
pub fn bytes(groups: &[u32]) -> &[u8] {
    // SAFETY: the same memory; any bytes are valid.
    unsafe { core::slice::from_raw_parts(groups.as_ptr().cast(), size_of_val(groups)) }
}

/// The home directory of a user id in /etc/passwd inside `root`; none is no error.
///
/// # Errors
/// The errno of reading the file.
pub fn find_home(root: i32, uid: u32, found: &mut Identity) -> Result<()> {
    let mut seen = false;
    each_line(root, c"/etc/passwd".to_bytes(), |line| {
        if !seen
            && let Some(entry) = passwd::parse_user(line)
            && entry.uid == uid
        {
            found.take_user(&entry);
            seen = true;
        }
    })
}

/// Sets the thread's capability sets.
///
/// # Errors
/// EPERM when more is asked than there is.
pub fn set_capabilities(effective: u64, permitted: u64, inheritable: u64, ambient: u64) -> Result<()> {
    sys::capset(effective, permitted, inheritable)?;
    const CLEAR_ALL: usize = 4;
    const RAISE: usize = 2;
    let _ = sys::prctl(sys::PR_CAP_AMBIENT, CLEAR_ALL, 0, 0, 0);
    for capability in 0..64_usize {
        if ambient >> capability & 1 == 1 {
            sys::prctl(sys::PR_CAP_AMBIENT, RAISE, capability, 0, 0)?;
        }
    }
    Ok(())
}

impl<'a> Child<'a> {
    /// Numbers, as the runtime specification has them; the home alone is looked up.
    pub(crate) fn ids(
        &mut self,
        uid: u32,
        gid: u32,
        groups: &'a [u8],
        home: bool,
    ) -> core::result::Result<(), Failure> {
        self.groups = Some(groups);
        self.set_home = home;
        self.identity = Identity::default();
        if home {
            let root = self.root()?;
            plain(find_home(root, uid, &mut self.identity))?;
        }
        self.identity.uid = uid;
        self.identity.gid = gid;
        Ok(())
    }

    pub(crate) fn switch_user(&self, groups: bool) -> Result<()> {
        // Whoever becomes root of a new user namespace still has files of /proc/self to write, which are the host's
        // root's while a process is not dumpable; nobody else is in there yet.
        let dumpable = sys::prctl(sys::PR_GET_DUMPABLE, 0, 0, 0, 0)?;
        let numbers = if self.bundle { self.groups.unwrap_or(&[]) } else { bytes(self.identity.groups()) };
        switch(&self.identity, groups.then_some(numbers))?;
        if (self.bundle || self.user_namespace) && dumpable == 1 && self.identity.uid == 0 {
            sys::prctl(sys::PR_SET_DUMPABLE, 1, 0, 0, 0)?;
        }
        Ok(())
    }
}
