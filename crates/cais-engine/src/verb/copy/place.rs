//! Where a copy goes: Docker's rules for `cp` ("SRC_PATH … DEST_PATH …" of its manual), decided by what both paths are.
//!
//! A path that ends with `/.` means what is in the directory; one that ends with `/` must be a directory. Links in
//! the middle of a path are followed; a final one is copied as a link, but followed where it is the target.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, OFlags, Stat, readlinkat, statat};
use rustix::io::Errno;

use crate::root_view::open_in_root;
use crate::{Error, ErrorKind, Result};

/// As many as Linux follows itself.
const LINKS_MAX: u32 = 40;

/// The host or a container.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side<'a> {
    root: BorrowedFd<'a>,
    /// `None` for the host.
    container: Option<&'a str>,
}

/// A path as it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Typed {
    /// Absolute and clean: no `.`, no `..`, no slash at the end.
    path: Vec<u8>,
    /// It ended with `/.`.
    dot: bool,
    /// It ended with a slash, or with `/.`: it must be a directory.
    asserted: bool,
}

/// What is copied.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) parent: OwnedFd,
    /// Its name in `parent`; `.` for `parent` itself.
    pub(super) at: CString,
    /// The name that it is known by.
    pub(super) name: Vec<u8>,
    pub(super) is_directory: bool,
    /// What is in the directory, not the directory.
    pub(super) content_only: bool,
}

/// Where it is copied to.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) goal: Goal,
    /// It must be a directory.
    asserted: bool,
}

/// What is at the target path.
#[derive(Debug)]
pub(super) enum Goal {
    /// A directory.
    Directory(OwnedFd),
    /// Something else, of this name in this directory.
    Other(OwnedFd, Vec<u8>),
    /// Nothing yet, but the directory in which it would be.
    Missing(OwnedFd, Vec<u8>),
}

/// The directory to copy into, and the path of the copy in it; an empty one for the content of a directory.
pub(super) fn plan(origin: &Origin, target: Target) -> Result<(OwnedFd, Vec<u8>)> {
    let invalid = |message: &str| Err(Error::new(ErrorKind::Invalid, message));
    match target.goal {
        Goal::Directory(directory) if origin.content_only => Ok((directory, Vec::new())),
        Goal::Directory(directory) => Ok((directory, origin.name.clone())),
        Goal::Other(..) if origin.is_directory => invalid("cannot copy a directory onto a file"),
        Goal::Other(..) | Goal::Missing(..) if target.asserted && !origin.is_directory => {
            invalid("no such directory: a file cannot become the directory that the target's slash asks for")
        }
        Goal::Other(parent, name) | Goal::Missing(parent, name) => Ok((parent, name)),
    }
}

impl<'a> Side<'a> {
    pub(super) fn host(root: BorrowedFd<'a>) -> Side<'a> {
        Side { root, container: None }
    }

    pub(super) fn container(root: BorrowedFd<'a>, name: &'a str) -> Side<'a> {
        Side { root, container: Some(name) }
    }

    /// Finds what is to be copied.
    pub(super) fn origin(self, text: &[u8], follow_link: bool) -> Result<Origin> {
        let typed = typed(text);
        let (above, name) = split(&typed.path);
        if name.is_empty() || typed.asserted {
            // Of the root there is only what is in it.
            let directory =
                self.open(&typed.path, OFlags::DIRECTORY).map_err(|errno| self.missing(&typed, errno))?;
            let content_only = typed.dot || name.is_empty();
            return Ok(Origin::directory(directory, name, content_only));
        }
        let failed = |errno| self.missing(&typed, errno);
        let parent = self.open(above, OFlags::DIRECTORY).map_err(failed)?;
        let stat = look(&parent, name).map_err(failed)?.ok_or_else(|| failed(Errno::NOENT))?;
        if !(follow_link && is(&stat, FileType::Symlink)) {
            return Origin::named(parent, name, name, &stat).map_err(failed);
        }
        let (parent, at, stat) = self.chase(&typed.path).map_err(failed)?;
        let stat = stat.ok_or_else(|| failed(Errno::NOENT))?;
        if is(&stat, FileType::Directory) {
            let directory = self.open(&typed.path, OFlags::DIRECTORY).map_err(failed)?;
            return Ok(Origin::directory(directory, name, false));
        }
        Origin::named(parent, &at, name, &stat).map_err(failed)
    }

    /// Finds where to copy.
    pub(super) fn target(self, text: &[u8]) -> Result<Target> {
        let typed = typed(text);
        let asserted = typed.asserted;
        let failed = |errno| self.missing_parent(&typed, errno);
        match self.open(&typed.path, OFlags::DIRECTORY) {
            Ok(directory) => return Ok(Target { goal: Goal::Directory(directory), asserted }),
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(errno) => return Err(failed(errno)),
        }
        let (parent, name, stat) = self.chase(&typed.path).map_err(failed)?;
        let goal = match stat {
            None => Goal::Missing(parent, name),
            Some(stat) if self.is_writable_kind(&stat) => Goal::Other(parent, name),
            Some(_) => {
                let message =
                    format!("destination {} must be a directory or a regular file", self.shown(&typed));
                return Err(Error::new(ErrorKind::Invalid, message));
            }
        };
        Ok(Target { goal, asserted })
    }

    /// Devices and pipes are not replaced.
    fn is_writable_kind(self, stat: &Stat) -> bool {
        is(stat, FileType::RegularFile)
    }

    fn open(self, path: &[u8], more: OFlags) -> std::result::Result<OwnedFd, Errno> {
        open_in_root(self.root, path, OFlags::PATH | more)
    }

    /// Follows final links: the directory in which the path ends, the name there, and what that is.
    fn chase(self, path: &[u8]) -> std::result::Result<(OwnedFd, Vec<u8>, Option<Stat>), Errno> {
        let mut path = path.to_vec();
        for _ in 0..LINKS_MAX {
            while path.len() > 1 && path.ends_with(b"/") {
                path.pop();
            }
            let (above, name) = split(&path);
            if matches!(name, b"" | b"." | b"..") {
                let directory = self.open(&path, OFlags::DIRECTORY)?;
                let stat = rustix::fs::fstat(&directory)?;
                return Ok((directory, b".".to_vec(), Some(stat)));
            }
            let parent = self.open(above, OFlags::DIRECTORY)?;
            let stat = look(&parent, name)?;
            if !stat.as_ref().is_some_and(|stat| is(stat, FileType::Symlink)) {
                let name = name.to_vec();
                return Ok((parent, name, stat));
            }
            let link = readlinkat(&parent, name, Vec::new())?.into_bytes();
            path = if link.starts_with(b"/") { link } else { [above, b"/", &link].concat() };
        }
        Err(Errno::LOOP)
    }

    fn shown(self, typed: &Typed) -> String {
        let path = String::from_utf8_lossy(&typed.path);
        match self.container {
            Some(container) => format!("{container}:{path}"),
            None => path.into_owned(),
        }
    }

    fn missing(self, typed: &Typed, errno: Errno) -> Error {
        let path = String::from_utf8_lossy(&typed.path);
        match (errno, self.container) {
            (Errno::NOENT, Some(container)) => Error::new(
                ErrorKind::NotFound,
                format!("could not find the file {path} in container {container}"),
            ),
            (Errno::NOENT, None) => {
                Error::new(ErrorKind::NotFound, format!("no such file or directory: {path}"))
            }
            (Errno::NOTDIR, _) => {
                Error::new(ErrorKind::Invalid, format!("not a directory: {}", self.shown(typed)))
            }
            _ => self.refused(typed, errno),
        }
    }

    fn missing_parent(self, typed: &Typed, errno: Errno) -> Error {
        let parent = String::from_utf8_lossy(split(&typed.path).0);
        match (errno, self.container) {
            (Errno::NOENT | Errno::NOTDIR, Some(container)) => Error::new(
                ErrorKind::NotFound,
                format!("could not find the directory {parent} in container {container}"),
            ),
            (Errno::NOENT | Errno::NOTDIR, None) => Error::new(
                ErrorKind::NotFound,
                format!("invalid output path: directory {parent:?} does not exist"),
            ),
            _ => self.refused(typed, errno),
        }
    }

    fn refused(self, typed: &Typed, errno: Errno) -> Error {
        let kind = if errno == Errno::ACCESS { ErrorKind::Denied } else { ErrorKind::System };
        Error::caused(kind, format!("look at {}", self.shown(typed)), std::io::Error::from(errno))
    }
}

impl Origin {
    fn directory(directory: OwnedFd, name: &[u8], content_only: bool) -> Origin {
        Origin { parent: directory, at: c".".into(), name: name.to_vec(), is_directory: true, content_only }
    }

    fn named(parent: OwnedFd, at: &[u8], name: &[u8], stat: &Stat) -> std::result::Result<Origin, Errno> {
        let is_directory = is(stat, FileType::Directory);
        let at = CString::new(at).map_err(|_| Errno::INVAL)?;
        Ok(Origin { parent, at, name: name.to_vec(), is_directory, content_only: false })
    }
}

fn look(parent: &OwnedFd, name: &[u8]) -> std::result::Result<Option<Stat>, Errno> {
    match statat(parent.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(None),
        other => other.map(Some),
    }
}

fn is(stat: &Stat, kind: FileType) -> bool {
    FileType::from_raw_mode(stat.st_mode) == kind
}

/// The directory and the last component; the root has no last component.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(0) => (b"/", &path[1..]),
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"/", path),
    }
}

/// Reads a path, as from the root; `..` is taken away by the text alone, as Docker does.
fn typed(text: &[u8]) -> Typed {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in text.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let path = [b"/", &parts.join(&b'/')[..]].concat();
    let dot = text.ends_with(b"/.") || text == b".";
    Typed { path, dot, asserted: dot || text.ends_with(b"/") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_as_typed() {
        let of = |text: &str| {
            let typed = typed(text.as_bytes());
            (String::from_utf8(typed.path).unwrap(), typed.dot, typed.asserted)
        };
        assert_eq!(of("a/b"), ("/a/b".into(), false, false));
        assert_eq!(of("/a//b/"), ("/a/b".into(), false, true));
        assert_eq!(of("/a/./b/."), ("/a/b".into(), true, true));
        assert_eq!(of("/a/../../b/.."), ("/".into(), false, false));
        assert_eq!(of("."), ("/".into(), true, true));
        assert_eq!(split(b"/a/b"), (&b"/a"[..], &b"b"[..]));
        assert_eq!(split(b"/a"), (&b"/"[..], &b"a"[..]));
        assert_eq!(split(b"/"), (&b"/"[..], &b""[..]));
    }
}
