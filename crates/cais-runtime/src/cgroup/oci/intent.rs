//! What [`super::Group::create`] is about to make, to be written down before it does.

use std::path::{Path, PathBuf};

use super::error::GroupError;
use super::place::{Unit, cgroupfs};
use super::trees::{Tree, Trees};
use super::{GroupRequest, GroupState, Manager, Place};
use crate::cgroup::processes::children;

/// See [`super::Group::intent`].
pub(super) fn intent(trees: &Trees, request: &GroupRequest<'_>) -> Result<GroupState, GroupError> {
    let mut state = GroupState {
        version: trees.version,
        manager: request.manager.clone(),
        unit: None,
        rootless: request.rootless,
        weights: request.weights,
        places: Vec::new(),
    };
    match request.manager {
        Manager::Disabled => {}
        Manager::Cgroupfs => {
            let below = |tree| cgroupfs(tree, request.cgroups_path, request.id, request.rootless);
            state.places = trees.all.iter().map(|tree| place(tree, &below(tree))).collect();
        }
        // systemd takes away what it made, and what is below.
        Manager::Systemd(systemd) => {
            state.unit = Some(Unit::parse(request.cgroups_path, request.id, systemd.user)?.name);
        }
    }
    Ok(state)
}

fn place(tree: &Tree, below: &Path) -> Place {
    let path = tree.mount.join(below);
    let made = missing(&tree.mount, &path);
    let there = if made.is_empty() { children(&path) } else { Vec::new() };
    let names = there.iter().filter_map(|child| child.file_name()?.to_str().map(str::to_owned));
    Place {
        name: tree.name.clone(),
        controllers: tree.controllers.clone(),
        unified: tree.unified,
        kept: names.collect(),
        path,
        made,
    }
}

/// Which directories are missing, from the top; the usual case is the last one alone.
fn missing(mount: &Path, path: &Path) -> Vec<PathBuf> {
    let between = path.ancestors().take_while(|directory| *directory != mount && !directory.exists());
    let mut missing: Vec<PathBuf> = between.map(Path::to_owned).collect();
    missing.reverse();
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_made() {
        let mount = tempfile::tempdir().unwrap();
        let path = mount.path().join("a/b/c");
        assert_eq!(
            missing(mount.path(), &path),
            [mount.path().join("a"), mount.path().join("a/b"), path.clone()]
        );
        std::fs::create_dir_all(path.join("d")).unwrap();
        assert_eq!(missing(mount.path(), &path), Vec::<PathBuf>::new());
        let tree = Tree {
            name: "x".to_owned(),
            controllers: vec!["x".to_owned()],
            unified: false,
            mount: mount.path().to_owned(),
            own: PathBuf::new(),
        };
        let place = place(&tree, Path::new("a/b/c"));
        assert_eq!((place.kept, place.made), (vec!["d".to_owned()], Vec::new()));
    }
}
