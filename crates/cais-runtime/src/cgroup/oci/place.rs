//! Where a container's group lies: from `cgroupsPath` and the id to a path in each hierarchy, config-linux.md, "Cgroups
//! Path". Pure.
//!
//! For the cgroupfs manager:
//!
//! | `cgroupsPath` | v1 | v2 | peers |
//! |---|---|---|---|
//! | `/a/b` | `<mount>/a/b` | `<mount>/a/b` | runc and crun the same |
//! | `a/b` | `<mount>/<own>/a/b` | `<mount>/<parent of own>/a/b` | runc; crun takes it for `/a/b` |
//! | none, or empty | `<mount>/<id>` | `<mount>/<id>` | crun; runc takes it for `<id>` |
//! | the same, rootless | `<mount>/<own>/<id>` | `<mount>/<parent of own>/<id>` | runc; crun's second try |
//!
//! `<own>` is the runtime's own group; in v2 it has processes already, so nothing below it could have controllers,
//! but beside it can. `..` never leads above the mount point: it is resolved by letters, as in runc.
//!
//! For the systemd manager it is `slice:prefix:name` (see [`Unit`]); the default is `:cais:<id>`.

use std::path::{Component, Path, PathBuf};

use super::error::GroupError;
use super::trees::Tree;

/// The path of a container's group from the mount point; no slash in front.
pub(super) fn cgroupfs(tree: &Tree, cgroups_path: Option<&str>, id: &str, rootless: bool) -> PathBuf {
    let beside = |path: &Path| {
        let base = if tree.unified { tree.own.parent().unwrap_or(Path::new("")) } else { &tree.own };
        base.join(path)
    };
    match cgroups_path.filter(|path| !path.is_empty()) {
        Some(path) if path.starts_with('/') => clean(path),
        Some(path) => beside(&clean(path)),
        None if rootless => beside(&clean(id)),
        None => clean(id),
    }
}

/// Without `.` and slashes in front; a `..` takes away the part before it, if any.
fn clean(path: &str) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(part) => cleaned.push(part),
            Component::ParentDir => drop(cleaned.pop()),
            _ => {}
        }
    }
    cleaned
}

/// A container's unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    /// `prefix-name.scope`; `name` itself when it is a slice.
    pub(super) name: String,
    /// The slice it belongs to.
    pub(super) slice: String,
    /// Its group below systemd's own: `a.slice/a-b.slice/prefix-name.scope`.
    pub(super) path: PathBuf,
}

impl Unit {
    /// Reads `slice:prefix:name`.
    pub(super) fn parse(cgroups_path: Option<&str>, id: &str, user: bool) -> Result<Unit, GroupError> {
        let path = cgroups_path.filter(|path| !path.is_empty());
        let parts: Vec<&str> = path.map_or_else(|| vec!["", "cais", id], |path| path.split(':').collect());
        let [slice, prefix, name] = parts[..] else {
            return Err(GroupError::SystemdPath { path: path.unwrap_or_default().to_owned() });
        };
        let slice = match slice {
            "" if user => "user.slice",
            "" => "system.slice",
            slice => slice,
        };
        let unit = match (prefix, name.ends_with(".slice")) {
            (_, true) => name.to_owned(),
            ("", _) => format!("{name}.scope"),
            (prefix, _) => format!("{prefix}-{name}.scope"),
        };
        if name.is_empty() || unit.contains(['/', '\0', '\n']) {
            return Err(GroupError::UnitName { what: "unit", name: unit });
        }
        // A slice says by its name where it lies; a scope lies in its slice.
        let path =
            if name.ends_with(".slice") { expand_slice(name)? } else { expand_slice(slice)?.join(&unit) };
        Ok(Unit { name: unit, slice: slice.to_owned(), path })
    }

    pub(super) fn is_slice(&self) -> bool {
        self.name.ends_with(".slice")
    }
}

/// `a-b.slice` lies in `a.slice`, systemd.slice(5); `-.slice` is the top.
fn expand_slice(slice: &str) -> Result<PathBuf, GroupError> {
    let wrong = || GroupError::UnitName { what: "slice", name: slice.to_owned() };
    let name = slice.strip_suffix(".slice").filter(|name| !name.contains('/')).ok_or_else(wrong)?;
    let mut path = PathBuf::new();
    if name == "-" {
        return Ok(path);
    }
    let mut prefix = String::new();
    for part in name.split('-') {
        if part.is_empty() {
            return Err(wrong());
        }
        prefix.push_str(part);
        path.push(format!("{prefix}.slice"));
        prefix.push('-');
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(own: &str, unified: bool) -> Tree {
        Tree { name: String::new(), controllers: Vec::new(), mount: "/m".into(), own: own.into(), unified }
    }

    #[test]
    fn paths_of_the_cgroupfs_manager() {
        let (v1, v2) = (tree("user/shell", false), tree("user/shell", true));
        for (path, rootless, one, two) in [
            (Some("/a/b"), false, "a/b", "a/b"),
            (Some("/a//./../../../b"), true, "b", "b"),
            (Some("a/b"), false, "user/shell/a/b", "user/a/b"),
            (Some("../../x"), false, "user/shell/x", "user/x"),
            (None, false, "id", "id"),
            (Some(""), false, "id", "id"),
            (None, true, "user/shell/id", "user/id"),
        ] {
            assert_eq!(cgroupfs(&v1, path, "id", rootless), Path::new(one), "{path:?}");
            assert_eq!(cgroupfs(&v2, path, "id", rootless), Path::new(two), "{path:?}");
        }
        assert_eq!(cgroupfs(&tree("", true), Some("a"), "id", false), Path::new("a"));
    }

    #[test]
    fn units() {
        let unit = |path, user| Unit::parse(path, "id", user).unwrap();
        for (path, user, name, place) in [
            (Some("system.slice:docker:12"), false, "docker-12.scope", "system.slice/docker-12.scope"),
            (Some(":cri:1-2"), true, "cri-1-2.scope", "user.slice/cri-1-2.scope"),
            (Some("a-b-c.slice::x"), false, "x.scope", "a.slice/a-b.slice/a-b-c.slice/x.scope"),
            (Some("-.slice:p:x"), false, "p-x.scope", "p-x.scope"),
            (None, false, "cais-id.scope", "system.slice/cais-id.scope"),
            (Some("a.slice:p:a-b.slice"), false, "a-b.slice", "a.slice/a-b.slice"),
        ] {
            let unit = unit(path, user);
            assert_eq!((&*unit.name, &*unit.path), (name, Path::new(place)), "{path:?}");
            assert_eq!(unit.is_slice(), name.ends_with("slice"));
        }
        for path in ["/a/b", "a:b", "a:b:c:d"] {
            let error = Unit::parse(Some(path), "id", false).unwrap_err().to_string();
            assert!(
                error.starts_with("expected cgroupsPath to be of format \"slice:prefix:name\" for"),
                "{error}"
            );
        }
        for path in
            ["a/b.slice:p:x", "a--b.slice:p:x", "-a.slice:p:x", ".slice:p:x", "a:p:x", ":p:", ":p:../x"]
        {
            let error = Unit::parse(Some(path), "id", false).unwrap_err();
            assert!(matches!(error, GroupError::UnitName { .. }), "{path}: {error}");
        }
    }
}
