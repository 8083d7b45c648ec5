//! The objects behind a list of changes: entries as an archive has them, with their content; removals as whiteouts.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use cais_layer::{Change, ChangeKind, Entry, EntryName, LayerError, Links, read_object};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::root_view::open_in_root;

type Result<T> = std::result::Result<T, LayerError>;

/// Calls `take` with each object of `changes`, in their order, until it says false. What was removed meanwhile, and
/// sockets, are left out.
///
/// # Errors
/// When an object cannot be read, and what `take` fails with.
pub(super) fn each_object(
    upper: BorrowedFd<'_>,
    changes: &[Change],
    mut take: impl FnMut(Entry, Option<OwnedFd>) -> Result<bool>,
) -> Result<()> {
    let mut links = Links::default();
    let mut last_parent: Option<(Vec<u8>, OwnedFd)> = None;
    for change in changes {
        let mut content = None;
        let entry = if change.kind == ChangeKind::Deleted {
            Entry::whiteout(change.path.clone())
        } else {
            let at = change.path.iter().rposition(|byte| *byte == b'/');
            let (above, name) =
                at.map_or((&b""[..], &change.path[..]), |at| (&change.path[..at], &change.path[at + 1..]));
            let parent = match last_parent.take() {
                Some((path, parent)) if path == above => parent,
                _ => open_in_root(upper, above, OFlags::PATH | OFlags::DIRECTORY)
                    .map_err(|errno| unreadable(&change.path, errno))?,
            };
            let name = CString::new(name).map_err(|_| unreadable(&change.path, Errno::INVAL))?;
            let object = read_object(parent.as_fd(), &name, &change.path, &mut links)?;
            last_parent = Some((above.to_vec(), parent));
            let Some(object) = object else { continue };
            content = object.content;
            object.entry
        };
        if !take(entry, content)? {
            break;
        }
    }
    Ok(())
}

/// An object that cannot be opened.
pub(super) fn unreadable(path: &[u8], errno: Errno) -> LayerError {
    LayerError::Io { operation: "read", path: EntryName(path.to_vec()), source: errno.into() }
}
