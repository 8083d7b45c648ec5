//! Makes a container's group: directories in every hierarchy, or a systemd unit, then the limits.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::io::Errno;

use super::devices::{device_rules, plan_devices_v1};
use super::error::GroupError;
use super::place::{Unit, cgroupfs};
use super::plan::Write;
use super::systemd::{Systemd, Value, annotation, properties};
use super::trees::{Tree, Trees};
use super::{Group, GroupRequest, GroupState, Manager, Place, apply, remove};
use crate::cgroup::{CgroupError, filter, processes, put, read_text};
use crate::device::DeviceRule;

/// How often parents are made again that another container's end took away.
const MAKE_ATTEMPTS: usize = 16;
/// cgroups(7), for kernels without the list.
const DELEGATED: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n";

/// See [`Group::create`].
pub(super) fn create(trees: &Trees, request: &GroupRequest<'_>) -> Result<Group, GroupError> {
    let mut state = GroupState {
        version: trees.version,
        manager: request.manager.clone(),
        unit: None,
        rootless: request.rootless,
        weights: request.weights,
        places: Vec::new(),
    };
    let made = match request.manager {
        Manager::Disabled => return Ok(Group { state }),
        Manager::Cgroupfs => by_hand(trees, request, &mut state),
        Manager::Systemd(systemd) => by_systemd(systemd, trees, request, &mut state),
    };
    let done = made.and_then(|()| limit(&state, request));
    if let Err(error) = done {
        // The first failure is the one to tell.
        let _ = remove::destroy(&state);
        return Err(error);
    }
    Ok(Group { state })
}

fn by_hand(trees: &Trees, request: &GroupRequest<'_>, state: &mut GroupState) -> Result<(), GroupError> {
    let mut refused = None;
    for tree in &trees.all {
        let below = cgroupfs(tree, request.cgroups_path, request.id, request.rootless);
        match make_place(tree, &below, request, state) {
            Err(GroupError::Refused { path, source }) if is_excused(request, &source) => {
                refused = Some((path, source))
            }
            // Nothing limits by a v2 hierarchy beside v1.
            Err(GroupError::Refused { .. }) if tree.unified && trees.version == 1 => {}
            result => result?,
        }
    }
    match refused {
        Some((path, source)) if state.version == 2 && !apply::plan(state, request.resources)?.is_empty() => {
            Err(GroupError::LimitsRefused { path, source })
        }
        _ => Ok(()),
    }
}

/// An ordinary user's container without a path of its own may do without a group.
fn is_excused(request: &GroupRequest<'_>, error: &io::Error) -> bool {
    let refused = matches!(Errno::from_io_error(error), Some(Errno::ACCESS | Errno::PERM | Errno::ROFS));
    refused && request.rootless && request.cgroups_path.is_none_or(str::is_empty)
}

fn by_systemd(
    systemd: &Systemd,
    trees: &Trees,
    request: &GroupRequest<'_>,
    state: &mut GroupState,
) -> Result<(), GroupError> {
    let unit = Unit::parse(request.cgroups_path, request.id, systemd.user)?;
    if systemd.user && trees.version == 1 {
        return Err(GroupError::UserSystemdV1);
    }
    let mut manager = systemd.ask(&unit.name)?;
    let version = manager.version()?;
    let properties = unit_properties(trees, request, &unit, version)?;
    let base = if systemd.user { manager.control_group()? } else { String::new() };
    let below = Path::new(base.trim_start_matches('/')).join(&unit.path);
    for tree in &trees.all {
        check_vacant(&tree.mount.join(&below))?;
    }
    manager.start(&properties)?;
    state.unit = Some(unit.name);
    for tree in &trees.all {
        // What systemd made, and what it leaves to others, is the unit's, and ends with it.
        let path = tree.mount.join(&below);
        let mut made = make(&tree.mount, &below).map_err(refused)?;
        if made.last() != Some(&path) {
            made.push(path.clone());
        }
        let (name, controllers) = (tree.name.clone(), tree.controllers.clone());
        state.places.push(Place { name, controllers, unified: tree.unified, path, made, kept: Vec::new() });
        prepare(tree, &below, false, request, state)?;
    }
    Ok(())
}

fn unit_properties(
    trees: &Trees,
    request: &GroupRequest<'_>,
    unit: &Unit,
    version: u32,
) -> Result<Vec<properties::Property>, GroupError> {
    let mut list: Vec<properties::Property> = Vec::new();
    let mut add = |name: &str, value: Value| list.push((name.to_owned(), value));
    let text = |text: &str| Value::Text(text.to_owned());
    add("Description", text(&format!("cais container {}", request.id)));
    if unit.is_slice() {
        add("Wants", Value::texts([unit.slice.as_str()]));
    } else {
        let pid = request.pid.and_then(|pid| u32::try_from(pid).ok());
        let pid = pid.ok_or_else(|| GroupError::NoProcess { unit: unit.name.clone() })?;
        add("Slice", text(&unit.slice));
        add("Delegate", Value::Bool(true));
        add("PIDs", Value::Array("u".to_owned(), vec![Value::U32(pid)]));
    }
    let io = if trees.version == 2 { "IOAccounting" } else { "BlockIOAccounting" };
    for accounting in ["MemoryAccounting", "CPUAccounting", io, "TasksAccounting"] {
        add(accounting, Value::Bool(true));
    }
    add("DefaultDependencies", Value::Bool(false));
    list.extend(if trees.version == 2 {
        properties::limits_v2(request.resources, request.weights, version)?
    } else {
        properties::limits_v1(request.resources, version)?
    });
    list.extend(properties::at_start(request.resources, version));
    if !request.rootless {
        list.extend(properties::devices(request.resources, version)?);
    }
    list.extend(annotation::properties(request.annotations)?);
    Ok(list)
}

/// Makes the group in one hierarchy and checks what is there already.
fn make_place(
    tree: &Tree,
    below: &Path,
    request: &GroupRequest<'_>,
    state: &mut GroupState,
) -> Result<(), GroupError> {
    let path = tree.mount.join(below);
    let made = make(&tree.mount, below).map_err(refused)?;
    let new = made.last() == Some(&path);
    let (name, controllers) = (tree.name.clone(), tree.controllers.clone());
    let mut place = Place { name, controllers, unified: tree.unified, path, made, kept: Vec::new() };
    let checked = if new { Ok(()) } else { check_vacant(&place.path) };
    if !new {
        let names = processes::children(&place.path)
            .into_iter()
            .filter_map(|child| Some(child.file_name()?.to_owned()));
        place.kept = names.filter_map(|name| name.into_string().ok()).collect();
    }
    state.places.push(place);
    checked?;
    prepare(tree, below, new, request, state)
}

fn refused((path, error): (PathBuf, Errno)) -> GroupError {
    GroupError::Refused { path, source: error.into() }
}

/// Makes `<mount>/<below>` with the parents that are missing, and says which it made. Two system calls when only the last
/// is missing.
fn make(mount: &Path, below: &Path) -> Result<Vec<PathBuf>, (PathBuf, Errno)> {
    let mode = Mode::from_raw_mode(0o755);
    let leaf = mount.join(below);
    let mut made = Vec::new();
    for _ in 0..MAKE_ATTEMPTS {
        match rustix::fs::mkdir(&leaf, mode) {
            Ok(()) => {
                made.push(leaf);
                return Ok(made);
            }
            Err(Errno::EXIST) => return Ok(made),
            Err(Errno::NOENT) => {}
            Err(error) => return Err((leaf, error)),
        }
        let mut parent = mount.to_owned();
        for part in below.parent().into_iter().flat_map(Path::components) {
            parent.push(part);
            match rustix::fs::mkdir(&parent, mode) {
                Ok(()) if !made.contains(&parent) => made.push(parent.clone()),
                // Its maker's end may take it away again at once.
                Ok(()) | Err(Errno::EXIST | Errno::NOENT) => {}
                Err(error) => return Err((parent, error)),
            }
        }
    }
    Err((leaf, Errno::NOENT))
}

/// A group that is in use is no new container's.
fn check_vacant(group: &Path) -> Result<(), GroupError> {
    let mut pids = Vec::new();
    processes::collect_pids(group, &mut pids)?;
    if pids.is_empty() {
        Ok(())
    } else {
        Err(GroupError::NotEmpty { path: group.to_owned(), count: pids.len() })
    }
}

/// Makes a new or a vacant group able to take processes and limits.
fn prepare(
    tree: &Tree,
    below: &Path,
    new: bool,
    request: &GroupRequest<'_>,
    state: &GroupState,
) -> Result<(), GroupError> {
    let path = tree.mount.join(below);
    if tree.unified {
        if limits(state, request)? {
            pass_on(tree, below);
        }
        if is_plain(new, below) && state.version == 1 {
            return Ok(());
        }
        let read = |file: &str| read_text(&path.join(file)).unwrap_or_default();
        let kind = read("cgroup.type").trim().to_owned();
        if !kind.is_empty() && kind != "domain" {
            return Err(GroupError::Threaded { path, kind });
        }
        if read("cgroup.events").lines().any(|line| line == "frozen 1") {
            return Err(GroupError::Frozen { path });
        }
        return match request.owner_uid {
            Some(uid) => give(&path, uid),
            None => Ok(()),
        };
    }
    let frozen = || read_text(&path.join("freezer.state")).is_ok_and(|text| text.trim() != "THAWED");
    if tree.has("freezer") && !is_plain(new, below) && frozen() {
        return Err(GroupError::Frozen { path });
    }
    if tree.has("cpuset") {
        fill_cpuset(&tree.mount, below, new)?;
    }
    Ok(())
}

/// New and directly below the root, which is neither frozen nor threaded: so nothing of it has to be looked at.
fn is_plain(new: bool, below: &Path) -> bool {
    new && below.components().count() == 1
}

/// Whether v2 controllers are wanted: beside v1 only for a limit that v1 cannot keep.
fn limits(state: &GroupState, request: &GroupRequest<'_>) -> Result<bool, GroupError> {
    let unified = |write: &Write| state.place(&write.controller).is_some_and(|place| place.unified);
    Ok(state.version == 2 || apply::plan(state, request.resources)?.iter().any(unified))
}

/// Passes all v2 controllers on from the top to the group. One that cannot be (processes in between, no rights) is missing in
/// the group: a limit that needs it says so.
fn pass_on(tree: &Tree, below: &Path) {
    let words = |path: PathBuf| -> Vec<String> {
        let text = read_text(&path).unwrap_or_default();
        text.split_ascii_whitespace().map(str::to_owned).collect()
    };
    let has = words(tree.mount.join(below).join("cgroup.controllers"));
    if tree.controllers.iter().all(|name| has.contains(name)) {
        return;
    }
    let mut directory = tree.mount.clone();
    for part in below.components() {
        let passed_on = words(directory.join("cgroup.subtree_control"));
        let missing: Vec<String> = words(directory.join("cgroup.controllers"))
            .into_iter()
            .filter(|name| !passed_on.contains(name))
            .map(|name| format!("+{name}"))
            .collect();
        let control = || directory.join("cgroup.subtree_control");
        if !missing.is_empty() && put(control(), &missing.join(" ")).is_err() {
            // Refused as a whole for one of them.
            missing.iter().for_each(|one| drop(put(control(), one)));
        }
        directory.push(part);
    }
}

/// A v1 cpuset begins empty and takes nothing that its parent lacks: copies downwards what is missing.
fn fill_cpuset(mount: &Path, below: &Path, new: bool) -> Result<(), GroupError> {
    let read = |path: PathBuf| read_text(&path).map_err(|source| CgroupError::Read { path, source });
    for name in ["cpus", "mems"] {
        let mut file = format!("cpuset.{name}");
        let mut above = match read_text(&mount.join(&file)) {
            Ok(text) => text,
            // Some mounts leave the prefix out.
            Err(_) => {
                file = name.to_owned();
                read(mount.join(name))?
            }
        };
        let mut directory = mount.to_owned();
        let depth = below.components().count();
        for (index, part) in below.components().enumerate() {
            directory.push(part);
            let is_empty = new && index + 1 == depth;
            let here = if is_empty { String::new() } else { read(directory.join(&file))? };
            if here.trim().is_empty() {
                put(directory.join(&file), above.trim())?;
            } else {
                above = here;
            }
        }
    }
    Ok(())
}

/// Gives the group to a user, who may then make groups within, but not change its limits.
fn give(group: &Path, uid: u32) -> Result<(), GroupError> {
    let owner = Some(rustix::process::Uid::from_raw(uid));
    let change = |path: PathBuf| match rustix::fs::chown(&path, owner, None) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(GroupError::Owner { path, uid, source: error.into() }),
    };
    change(group.to_owned())?;
    let files = fs::read_to_string("/sys/kernel/cgroup/delegate").unwrap_or_else(|_| DELEGATED.to_owned());
    files.lines().filter(|file| !file.contains('/')).try_for_each(|file| change(group.join(file)))
}

fn limit(state: &GroupState, request: &GroupRequest<'_>) -> Result<(), GroupError> {
    let mut writes = apply::plan(state, request.resources)?;
    if state.places.is_empty() {
        // v1 without any group: no limits, or an error that says which.
        return apply::apply(state, &writes);
    }
    // An ordinary user opens no devices but those bound into the container, and may neither write the files nor load
    // the program.
    let rules = if request.rootless { Vec::new() } else { device_rules(request.resources)? };
    let guard = state.places.iter().find(|place| place.unified);
    match guard {
        _ if rules.is_empty() => {}
        Some(place) if state.place("devices").is_none_or(|place| place.unified) => {
            guard_devices(place, &rules)?
        }
        _ => insert_devices(&mut writes, plan_devices_v1(&rules)?),
    }
    apply::apply(state, &writes)
}

/// Behind the processors, before everything else: the order of runc.
fn insert_devices(writes: &mut Vec<Write>, devices: Vec<Write>) {
    let at = writes.iter().take_while(|write| write.controller == "cpuset").count();
    writes.splice(at..at, devices);
}

fn guard_devices(place: &Place, rules: &[DeviceRule]) -> Result<(), GroupError> {
    let mut warnings = Vec::new();
    filter::guard(&place.path, rules, &mut warnings)?;
    // The engine's door goes on without; here nothing else would guard the host's devices.
    match warnings.is_empty() {
        true => Ok(()),
        false => Err(CgroupError::Devices { path: place.path.clone(), source: Errno::PERM.into() }.into()),
    }
}
