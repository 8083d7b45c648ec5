//! Paths of archives as pure text: normal forms, and the names that whiteouts use (OCI image specification,
//! "Whiteouts"; aufs(5) for the older ones). Nothing here looks at a file system.

const WHITEOUT_PREFIX: &[u8] = b".wh.";
const AUFS_PREFIX: &[u8] = b".wh..wh.";
const OPAQUE_NAME: &[u8] = b".wh..wh..opq";
/// Where aufs kept files that have several names. Old images have hard links into it, so its files are unpacked
/// like others, and removed at the end.
pub(crate) const AUFS_LINKS: &[u8] = b".wh..wh.plnk";

/// What the last component of a path says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Component<'a> {
    /// An object of that name.
    Plain,
    /// The name is hidden in lower layers.
    Whiteout(&'a [u8]),
    /// The whole directory is hidden in lower layers.
    Opaque,
    /// A whiteout of nothing, of `.` or of `..`.
    NamelessWhiteout,
    /// Something that only aufs needed.
    AufsMetadata,
}

/// Interprets the last component of a path.
pub(super) fn classify(name: &[u8]) -> Component<'_> {
    if name == OPAQUE_NAME {
        return Component::Opaque;
    }
    if name.starts_with(AUFS_PREFIX) {
        return Component::AufsMetadata;
    }
    match name.strip_prefix(WHITEOUT_PREFIX) {
        None => Component::Plain,
        Some(b"" | b"." | b"..") => Component::NamelessWhiteout,
        Some(hidden) => Component::Whiteout(hidden),
    }
}

/// Whether a normal path leads into a directory at the root that only aufs needed.
pub(super) fn is_aufs_metadata(path: &[u8]) -> bool {
    let first = path.split(|&byte| byte == b'/').next().unwrap_or_default();
    first.starts_with(AUFS_PREFIX) && first != AUFS_LINKS && first != OPAQUE_NAME
}

/// The normal form of a path: components joined by single slashes, none of them `.`, none at either end; empty for
/// the root. `None`: it has a `..`.
pub(super) fn normalize(path: &[u8]) -> Option<Vec<u8>> {
    let mut normal = Vec::with_capacity(path.len());
    for component in path.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => return None,
            _ => {
                if !normal.is_empty() {
                    normal.push(b'/');
                }
                normal.extend_from_slice(component);
            }
        }
    }
    Some(normal)
}

/// Splits a normal path into its parent's path and its last component; `None` for the root.
pub(super) fn split_last(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.is_empty() {
        return None;
    }
    Some(match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    })
}

/// The normal path of `name` within `dir`.
pub(crate) fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() { name.to_vec() } else { [dir, b"/", name].concat() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_paths_have_no_dots_and_single_slashes() {
        for (path, normal) in
            [("a/b", "a/b"), ("/a//b/", "a/b"), ("./a/./b/.", "a/b"), ("/", ""), ("./", ""), ("...", "...")]
        {
            assert_eq!(normalize(path.as_bytes()).as_deref(), Some(normal.as_bytes()));
        }
        for path in ["..", "a/../b", "/..", "a/.."] {
            assert_eq!(normalize(path.as_bytes()), None, "{path}");
        }
    }

    #[test]
    fn whiteouts_are_told_from_names() {
        assert_eq!(classify(b"a"), Component::Plain);
        assert_eq!(classify(b".wh"), Component::Plain);
        assert_eq!(classify(b".wh.a"), Component::Whiteout(b"a"));
        assert_eq!(classify(b".wh.wh.a"), Component::Whiteout(b"wh.a"));
        assert_eq!(classify(b".wh..wh..opq"), Component::Opaque);
        assert_eq!(classify(b".wh..wh.orph"), Component::AufsMetadata);
        assert_eq!(classify(b".wh..wh.plnk"), Component::AufsMetadata);
        for name in [&b".wh."[..], b".wh..", b".wh..."] {
            assert_eq!(classify(name), Component::NamelessWhiteout);
        }
        assert!(is_aufs_metadata(b".wh..wh.orph/x"));
        assert!(!is_aufs_metadata(b".wh..wh.plnk/x"));
        assert!(!is_aufs_metadata(b".wh..wh..opq"));
        assert!(!is_aufs_metadata(b"a/.wh..wh.orph"));
    }

    #[test]
    fn split_and_join_are_inverse() {
        assert_eq!(split_last(b""), None);
        for path in ["a", "a/b", "a/b/c"] {
            let (dir, name) = split_last(path.as_bytes()).unwrap();
            assert_eq!(join(dir, name), path.as_bytes());
        }
    }
}
