//! What a directory holds, copied into a fresh tmpfs (`tmpcopyup`): modes, owners, extended attributes, links, nodes.
//!
//! Nothing is followed: every entry is opened beneath its directory and without links.

use crate::sys::{self, Result, Stat};

/// Deeper trees are refused: each level has its place on the stack.
const DEPTH: u32 = 100;
/// Files with several names whose other names are made as links; further ones become copies.
const LINKS: usize = 64;

struct Copy {
    /// Files with several names: where the original is, and the copy.
    links: [((u64, u64), i32); LINKS],
    known: usize,
    /// Content on its way.
    piece: &'static mut [u8],
}

/// Copies what is in `from`, opened for reading, into `to`.
///
/// # Errors
/// The errno of the call that failed; ELOOP for a tree that is too deep.
pub fn directory(from: i32, to: i32) -> Result<()> {
    let mut copy = Copy { links: [((0, 0), -1); LINKS], known: 0, piece: sys::map_bytes(64 * 1024)? };
    let result = copy.entries(from, to, 0);
    for (_, fd) in &copy.links[..copy.known] {
        sys::close(*fd);
    }
    result
}

impl Copy {
    fn entries(&mut self, from: i32, to: i32, depth: u32) -> Result<()> {
        if depth >= DEPTH {
            return Err(sys::ELOOP);
        }
        let mut buffer = [0_u64; 256];
        loop {
            let got = sys::getdents(from, &mut buffer)?;
            if got == 0 {
                return Ok(());
            }
            // SAFETY: the same memory seen as bytes.
            let bytes: &[u8] = unsafe { core::slice::from_raw_parts(buffer.as_ptr().cast(), got) };
            let mut at = 0;
            // struct linux_dirent64: number and offset of 8 bytes, length of 2, type of 1, the name with its NUL.
            while at + 19 < got {
                let length = usize::from(u16::from_ne_bytes([bytes[at + 16], bytes[at + 17]]));
                let name = &bytes[at + 19..got.min(at + length)];
                let name = &name[..name.iter().position(|b| *b == 0).unwrap_or(0)];
                if name != b"." && name != b".." {
                    self.entry(from, to, name, depth)?;
                }
                at += length.max(1);
            }
        }
    }

    fn entry(&mut self, from: i32, to: i32, name: &[u8], depth: u32) -> Result<()> {
        let stat = sys::fstatat(from, name)?;
        match stat.kind() {
            sys::S_IFDIR => self.subdirectory(from, to, name, stat, depth),
            sys::S_IFREG => self.file(from, to, name, stat),
            sys::S_IFLNK => {
                let mut content = [0_u8; 4096];
                let length = sys::readlinkat(from, name, &mut content[..4095])?;
                sys::symlinkat(&content[..length], to, name)?;
                sys::fchownat(to, name, stat.uid, stat.gid)
            }
            _ => {
                sys::mknodat(to, name, stat.mode, stat.device)?;
                sys::fchownat(to, name, stat.uid, stat.gid)?;
                sys::chmodat(to, name, stat.mode & 0o7777)
            }
        }
    }

    fn subdirectory(&mut self, from: i32, to: i32, name: &[u8], stat: Stat, depth: u32) -> Result<()> {
        sys::mkdirat(to, name, 0o700)?;
        let flags = sys::O_RDONLY | sys::O_DIRECTORY | sys::O_NOFOLLOW;
        let inner_from = sys::openat(from, name, flags, 0)?;
        let inner_to = sys::openat(to, name, flags, 0)?;
        let result =
            self.entries(inner_from, inner_to, depth + 1).and_then(|()| metadata(inner_from, inner_to, stat));
        sys::close(inner_from);
        sys::close(inner_to);
        result
    }

    fn file(&mut self, from: i32, to: i32, name: &[u8], stat: Stat) -> Result<()> {
        let known = self.links[..self.known].iter().find(|(place, _)| *place == stat.place);
        if let Some((_, first)) = known
            && sys::link(*first, to, name).is_ok()
        {
            return Ok(());
        }
        let source = sys::openat(from, name, sys::O_RDONLY | sys::O_NOFOLLOW | sys::O_NONBLOCK, 0)?;
        let flags = sys::O_WRONLY | sys::O_CREAT | sys::O_EXCL | sys::O_NOFOLLOW;
        let target = sys::openat(to, name, flags, 0o600)?;
        let result = self.content(source, target).and_then(|()| metadata(source, target, stat));
        sys::close(source);
        if stat.links > 1 && self.known < LINKS && result.is_ok() {
            self.links[self.known] = (stat.place, target);
            self.known += 1;
        } else {
            sys::close(target);
        }
        result
    }

    fn content(&mut self, source: i32, target: i32) -> Result<()> {
        loop {
            match sys::read(source, self.piece) {
                Ok(0) => return Ok(()),
                Ok(got) => sys::write_all(target, &self.piece[..got])?,
                Err(sys::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

/// Owner before mode: a change of owner takes set-id bits away.
fn metadata(source: i32, target: i32, stat: Stat) -> Result<()> {
    sys::fchown(target, stat.uid, stat.gid)?;
    sys::fchmod(target, stat.mode & 0o7777)?;
    let mut names = [0_u8; 2048];
    let mut value = [0_u8; 4096];
    // A file system without attributes, or one that holds too many, has none for us.
    let Ok(length) = sys::flistxattr(source, &mut names) else { return Ok(()) };
    for name in names[..length].split(|b| *b == 0).filter(|name| !name.is_empty()) {
        if let Ok(size) = sys::fgetxattr(source, name, &mut value) {
            let _ = sys::fsetxattr(target, name, &value[..size]);
        }
    }
    Ok(())
}
