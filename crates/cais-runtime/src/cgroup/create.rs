//! Makes and finds groups.

use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Access, Mode};
use rustix::io::Errno;

use super::layout::{Controller, Hierarchy, Layout};
use super::limits::{Resources, Write, plan_v1, plan_v2};
use super::{Cgroup, CgroupError, Group, Placement, filter, put, read_text};

/// See [`Cgroup::create`].
pub(super) fn create(
    layout: &Layout,
    place: Placement<'_>,
    resources: &Resources,
    warnings: &mut Vec<String>,
) -> Result<Cgroup, CgroupError> {
    check_names(place)?;
    let unified = layout.version() == 2;
    let writes = if unified { plan_v2(resources)? } else { plan_v1(resources)? };
    let mut cgroup = Cgroup { groups: Vec::new(), unified };
    let made = match layout {
        Layout::V1 { hierarchies } | Layout::Hybrid { hierarchies, .. } => {
            create_v1(&mut cgroup, hierarchies, place, &writes)
        }
        Layout::V2 { mount, own } => create_v2(&mut cgroup, mount, own, place),
    };
    let done = made.and_then(|()| limit(&cgroup, place, resources, &writes, warnings));
    if let Err(error) = done {
        // The first failure is the one to tell; what cannot be removed is found again by `leftovers`.
        let _ = cgroup.remove();
        return Err(error);
    }
    Ok(cgroup)
}

fn limit(
    cgroup: &Cgroup,
    place: Placement<'_>,
    resources: &Resources,
    writes: &[Write],
    warnings: &mut Vec<String>,
) -> Result<(), CgroupError> {
    // A user namespace opens no devices but those bound into it, and may not write these files.
    let wanted = |write: &&Write| !(place.rootless && write.controller == Controller::Devices);
    apply(cgroup, writes.iter().filter(wanted), warnings)?;
    if cgroup.unified && !place.rootless {
        for group in &cgroup.groups {
            filter::guard(&group.path, &resources.devices, warnings)?;
        }
    }
    Ok(())
}

fn check_names(place: Placement<'_>) -> Result<(), CgroupError> {
    let normal = |part| matches!(part, Component::Normal(_));
    let id = Path::new(place.id).components().collect::<Vec<_>>();
    if id.len() != 1 || !id.iter().copied().all(normal) || place.id.contains(['/', '\n']) {
        return Err(CgroupError::Name { name: place.id.to_owned() });
    }
    let parent = relative(place.parent);
    if parent.is_empty() || parent.contains('\n') || !Path::new(parent).components().all(normal) {
        return Err(CgroupError::Name { name: place.parent.to_owned() });
    }
    Ok(())
}

/// Docker's `--cgroup-parent` may begin with a slash and means the same.
fn relative(parent: &str) -> &str {
    parent.trim_matches('/')
}

fn is_refusal(error: Errno) -> bool {
    matches!(error, Errno::ACCESS | Errno::PERM | Errno::ROFS)
}

/// Makes `<root>/<parent>/<id>` and the parents that are missing: one system call when they are there.
pub(super) fn make(root: &Path, place: Placement<'_>) -> Result<PathBuf, (PathBuf, Errno)> {
    let parent = root.join(relative(place.parent));
    let path = parent.join(place.id);
    let mode = Mode::from_raw_mode(0o755);
    let mut result = rustix::fs::mkdir(&path, mode);
    if result == Err(Errno::NOENT) {
        let mut ancestor = root.to_owned();
        for part in Path::new(relative(place.parent)).components() {
            ancestor.push(part);
            match rustix::fs::mkdir(&ancestor, mode) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err((ancestor, error)),
            }
        }
        result = rustix::fs::mkdir(&path, mode);
    }
    if result == Err(Errno::EXIST) && rustix::fs::rmdir(&path).is_ok() {
        result = rustix::fs::mkdir(&path, mode);
    }
    match result {
        Ok(()) => Ok(path),
        Err(error) => Err((path, error)),
    }
}

fn create_v1(
    cgroup: &mut Cgroup,
    hierarchies: &[Hierarchy],
    place: Placement<'_>,
    writes: &[Write],
) -> Result<(), CgroupError> {
    let mut refused = None;
    for hierarchy in hierarchies {
        // An empty cpuset takes no process: made only when asked for, or when others come with it.
        let asked = writes.iter().any(|write| write.controller == Controller::Cpuset);
        if hierarchy.controllers == [Controller::Cpuset] && !asked {
            continue;
        }
        match make(&hierarchy.mount, place) {
            Ok(path) => {
                let (name, controllers) = (hierarchy.name.clone(), hierarchy.controllers.clone());
                cgroup.groups.push(Group { name, controllers, path });
            }
            Err((path, error)) if is_refusal(error) => refused = Some((path, error)),
            Err((path, error)) => return Err(CgroupError::Create { path, source: error.into() }),
        }
        if hierarchy.controllers.contains(&Controller::Cpuset) {
            fill_cpuset(&hierarchy.mount, place)?;
        }
    }
    match refused {
        Some((path, _)) if cgroup.groups.is_empty() => Err(CgroupError::NotDelegated { path }),
        Some((path, error)) if !place.rootless => Err(CgroupError::Create { path, source: error.into() }),
        _ => Ok(()),
    }
}

/// A v1 cpuset begins empty and takes nothing that its parent lacks: copies downwards what is missing.
pub(super) fn fill_cpuset(root: &Path, place: Placement<'_>) -> Result<(), CgroupError> {
    let read = |path: PathBuf| read_text(&path).map_err(|source| CgroupError::Read { path, source });
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let mut directory = root.to_owned();
        let mut above = read(directory.join(file))?;
        for part in Path::new(relative(place.parent)).join(place.id).components() {
            directory.push(part);
            let here = read(directory.join(file))?;
            if here.trim().is_empty() {
                put(directory.join(file), above.trim())?;
            } else {
                above = here;
            }
        }
    }
    Ok(())
}

fn create_v2(cgroup: &mut Cgroup, mount: &Path, own: &Path, place: Placement<'_>) -> Result<(), CgroupError> {
    let root = root_v2(mount, own, place.rootless)?;
    let path = match make(&root, place) {
        Ok(path) => path,
        Err((path, error)) if is_refusal(error) => return Err(CgroupError::NotDelegated { path }),
        Err((path, error)) => return Err(CgroupError::Create { path, source: error.into() }),
    };
    cgroup.groups.push(Group { name: String::new(), controllers: Vec::new(), path });
    enable_controllers(&root, relative(place.parent));
    Ok(())
}

/// Below what our parent is made: the mount, or for a user the topmost ancestor of our own group that is delegated.
///
/// The topmost, so that all of a user's commands find the same groups, from whichever terminal; systemd keeps it free
/// of processes, and no process has to be moved out of its subtree.
fn root_v2(mount: &Path, own: &Path, rootless: bool) -> Result<PathBuf, CgroupError> {
    if !rootless {
        return Ok(mount.to_owned());
    }
    let mut group = mount.join(own.strip_prefix("/").unwrap_or(own));
    let refused = CgroupError::NotDelegated { path: group.clone() };
    let mut delegated = None;
    while group.starts_with(mount) && is_delegated(&group) {
        let parent = group.parent().map(Path::to_owned);
        delegated = Some(group);
        match parent {
            Some(parent) => group = parent,
            None => break,
        }
    }
    delegated.ok_or(refused)
}

/// cgroup-v2.rst, "Delegation": the directory, `cgroup.procs` and `cgroup.subtree_control` belong to the user.
fn is_delegated(group: &Path) -> bool {
    let writable = |path: &Path| rustix::fs::access(path, Access::WRITE_OK).is_ok();
    writable(group)
        && writable(&group.join("cgroup.procs"))
        && writable(&group.join("cgroup.subtree_control"))
}

/// Switches on what the root has and our parent does not yet pass on, each for itself. One that cannot be switched on
/// (the root has processes of its own) is missing in the group: a limit that needs it tells the user.
fn enable_controllers(root: &Path, parent: &str) {
    let words = |path: PathBuf| read_text(&path).unwrap_or_default();
    let available = words(root.join("cgroup.controllers"));
    let passed_on = words(root.join(parent).join("cgroup.subtree_control"));
    let has = |text: &str, name| text.split_ascii_whitespace().any(|word| word == name);
    for controller in Controller::UNIFIED {
        let name = controller.name(true);
        if !has(&available, name) || has(&passed_on, name) {
            continue;
        }
        let mut directory = root.to_owned();
        let parts = std::iter::once(None).chain(Path::new(parent).components().map(Some));
        for part in parts {
            directory.extend(part);
            if put(directory.join("cgroup.subtree_control"), &format!("+{name}")).is_err() {
                break;
            }
        }
    }
}

/// Writes the plan; a file that is missing or not supported becomes a warning, once.
pub(super) fn apply<'a>(
    cgroup: &Cgroup,
    writes: impl Iterator<Item = &'a Write>,
    warnings: &mut Vec<String>,
) -> Result<(), CgroupError> {
    let mut open: Option<(&str, File)> = None;
    for write in writes {
        let first = (write.file, write.value.as_str());
        let second = write.or.as_ref().map(|(file, value)| (*file, value.as_str()));
        let mut written = false;
        for (file, value) in std::iter::once(first).chain(second) {
            let Some(group) = cgroup.group(write.controller) else { break };
            let path = group.path.join(file);
            let result = match &mut open {
                Some((name, open)) if *name == file => io::Write::write_all(open, value.as_bytes()),
                _ => File::options().write(true).open(&path).and_then(|mut opened| {
                    let result = io::Write::write_all(&mut opened, value.as_bytes());
                    open = Some((file, opened));
                    result
                }),
            };
            match result {
                Ok(()) => written = true,
                Err(error) if is_missing(&error) => continue,
                Err(source) => return Err(CgroupError::Write { path, value: value.to_owned(), source }),
            }
            break;
        }
        if let Some(text) = write.discarded.filter(|_| !written)
            && !warnings.iter().any(|warning| warning == text)
        {
            warnings.push(text.to_owned());
        }
    }
    Ok(())
}

/// No such file, or one that the kernel was built without.
fn is_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || Errno::from_io_error(error) == Some(Errno::OPNOTSUPP)
}

/// Where groups of this parent lie, with the name and controllers of each hierarchy.
fn parents(layout: &Layout, parent: &str, rootless: bool) -> Vec<Group> {
    match layout {
        Layout::V1 { .. } | Layout::Hybrid { .. } => {
            let group = |hierarchy: &Hierarchy| Group {
                name: hierarchy.name.clone(),
                controllers: hierarchy.controllers.clone(),
                path: hierarchy.mount.join(relative(parent)),
            };
            layout.hierarchies().iter().map(group).collect()
        }
        Layout::V2 { mount, own } => {
            let root = root_v2(mount, own, rootless).ok();
            let group = |root: PathBuf| Group {
                name: String::new(),
                controllers: Vec::new(),
                path: root.join(relative(parent)),
            };
            root.into_iter().map(group).collect()
        }
    }
}

/// See [`Cgroup::find`].
pub(super) fn find(layout: &Layout, place: Placement<'_>) -> Option<Cgroup> {
    let mut cgroup = presume(layout, place)?;
    cgroup.groups.retain(|group| group.path.is_dir());
    (!cgroup.groups.is_empty()).then_some(cgroup)
}

/// See [`Cgroup::presume`].
pub(super) fn presume(layout: &Layout, place: Placement<'_>) -> Option<Cgroup> {
    check_names(place).ok()?;
    let mut groups = parents(layout, place.parent, place.rootless);
    groups.iter_mut().for_each(|group| group.path.push(place.id));
    Some(Cgroup { groups, unified: layout.version() == 2 })
}

/// The ids of all groups below our parent, in any hierarchy, sorted.
#[must_use]
pub fn leftovers(layout: &Layout, parent: &str, rootless: bool) -> Vec<String> {
    let mut ids: Vec<String> = parents(layout, parent, rootless)
        .iter()
        .filter_map(|group| fs::read_dir(&group.path).ok())
        .flatten()
        .filter_map(|entry| entry.ok().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    ids.sort();
    ids.dedup();
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_gets_the_topmost_group_that_is_delegated() {
        let mount = tempfile::tempdir().unwrap();
        let mount = mount.path();
        let own = Path::new("/user.slice/user@1.service/app.slice/shell.scope");
        let shell = mount.join("user.slice/user@1.service/app.slice/shell.scope");
        fs::create_dir_all(&shell).unwrap();
        let refused = root_v2(mount, own, true);
        assert!(matches!(refused, Err(CgroupError::NotDelegated { path }) if path == shell));
        for group in shell.ancestors().take(3) {
            fs::write(group.join("cgroup.procs"), "").unwrap();
            fs::write(group.join("cgroup.subtree_control"), "").unwrap();
        }
        assert_eq!(root_v2(mount, own, true).unwrap(), mount.join("user.slice/user@1.service"));
        assert_eq!(root_v2(mount, own, false).unwrap(), mount);
    }

    #[test]
    fn names_cannot_lead_elsewhere() {
        let place = |parent, id| Placement { parent, id, rootless: false };
        for (parent, id) in [("cais", "a"), ("/a/b/", "c.d-1")] {
            check_names(place(parent, id)).unwrap();
        }
        for (parent, id) in [
            ("", "a"),
            ("/", "a"),
            ("..", "a"),
            ("a/../..", "b"),
            ("a", ""),
            ("a", "."),
            ("a", "b/c"),
            ("a", "b/"),
        ] {
            assert!(check_names(place(parent, id)).is_err(), "{parent} {id}");
        }
    }

    #[test]
    fn v2_controllers_are_passed_on_one_by_one() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let parent = root.join("a/b");
        fs::create_dir_all(&parent).unwrap();
        fs::write(root.join("cgroup.controllers"), "cpu memory rdma\n").unwrap();
        let controls: Vec<_> =
            [root, &root.join("a"), &parent].map(|group| group.join("cgroup.subtree_control")).into();
        controls.iter().for_each(|control| fs::write(control, "").unwrap());
        enable_controllers(root, "a/b");
        // A plain file keeps only the beginning: each write begins at 0, memory first, cpu over it.
        for control in &controls {
            assert_eq!(fs::read_to_string(control).unwrap(), "+cpuory");
        }
        // On already: nothing is written.
        fs::write(&controls[2], "memory cpu").unwrap();
        enable_controllers(root, "a/b");
        assert_eq!(fs::read_to_string(&controls[2]).unwrap(), "memory cpu");
    }
}
