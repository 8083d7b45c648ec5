//! Which owners an id-mapped mount gets: the mount's own maps, the container's, or crun's `idmap=uids=…;gids=…`.

use std::path::PathBuf;

use cais_oci::runtime::{IdMapping, Mount, idmap_option};

use super::Wanted;
use super::error::{PlanError, Result};
use super::namespaces::Spaces;
use super::numbers::CLONE_NEWUSER;
use super::options::IdMapOption;

/// How the owners of one mount are mapped.
pub struct Mapped {
    /// The user namespace that holds the maps.
    pub by: Wanted,
    /// On all of the tree.
    pub recursive: bool,
}

/// What a mount asks for. The mount's own maps win over the option's, and those over the container's; without `idmap` or
/// `ridmap` the mount's own maps count for its root only.
pub fn of_mount(
    mount: &Mount,
    option: Option<&IdMapOption>,
    spaces: &Spaces<'_>,
    container: (&[IdMapping], &[IdMapping]),
) -> Result<Option<Mapped>> {
    let recursive = option.is_some_and(|option| option.recursive);
    let of = |uids: &[IdMapping], gids: &[IdMapping]| {
        if uids.is_empty() || gids.is_empty() {
            return Err(PlanError::NoMappings { destination: mount.destination.clone() });
        }
        let by = Wanted::IdMap { uids: uids.to_vec(), gids: gids.to_vec() };
        Ok(Some(Mapped { by, recursive }))
    };
    if !mount.uid_mappings.is_empty() || !mount.gid_mappings.is_empty() {
        return of(&mount.uid_mappings, &mount.gid_mappings);
    }
    let Some(option) = option else { return Ok(None) };
    if !option.maps.is_empty() {
        let (uids, gids) = idmap_option(&option.maps, container).ok_or_else(|| PlanError::Mapping {
            destination: mount.destination.clone(),
            option: option.maps.clone(),
        })?;
        return of(&uids, &gids);
    }
    match spaces.path(CLONE_NEWUSER) {
        Some(path) => {
            let by = Wanted::Namespace { path: PathBuf::from(path), kind: CLONE_NEWUSER };
            Ok(Some(Mapped { by, recursive }))
        }
        None if spaces.makes(CLONE_NEWUSER) => of(container.0, container.1),
        None => of(&[], &[]),
    }
}
