//! Takes a container's group down: only what was made for it.

use std::path::Path;

use super::error::GroupError;
use super::{GroupState, Manager, Place};
use crate::cgroup::CgroupError;
use crate::cgroup::processes::{Patience, REMOVE_TIME, children, is_busy, remove_one, remove_tree};

/// See [`super::Group::destroy`].
pub(super) fn destroy(state: &GroupState) -> Result<(), GroupError> {
    let mut result = Ok(());
    if let (Manager::Systemd(systemd), Some(unit)) = (&state.manager, &state.unit) {
        result = systemd.ask(unit).and_then(|mut manager| manager.stop());
    }
    let mut patience = Patience::new(REMOVE_TIME);
    for place in &state.places {
        let removed = remove_place(place, &mut patience);
        result = result.and(removed.map_err(GroupError::from));
    }
    result
}

fn remove_place(place: &Place, patience: &mut Patience) -> Result<(), CgroupError> {
    let mut removed = remove_own(place);
    while is_busy(&removed) && patience.wait() {
        removed = remove_own(place);
    }
    removed?;
    for parent in place.made.iter().rev().filter(|made| **made != place.path) {
        // In use by others, or gone.
        if rustix::fs::rmdir(parent).is_err() {
            break;
        }
    }
    Ok(())
}

/// The group when it was made for the container, else the groups that were made in it since.
fn remove_own(place: &Place) -> Result<(), CgroupError> {
    if place.made.last() == Some(&place.path) {
        // Looking into ten hierarchies costs more than removing them: only where the kernel refuses.
        let removed = remove_one(&place.path);
        return if is_busy(&removed) { remove_tree(&place.path) } else { removed };
    }
    let kept = |child: &Path| {
        let name = child.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| place.kept.iter().any(|kept| kept == name))
    };
    children(&place.path).iter().filter(|child| !kept(child)).try_for_each(|child| remove_tree(child))
}
