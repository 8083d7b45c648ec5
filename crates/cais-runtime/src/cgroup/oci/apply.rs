//! Writes planned limits to the files of a group.

use std::path::{Path, PathBuf};

use cais_oci::runtime::Resources;
use rustix::io::Errno;

use super::error::GroupError;
use super::plan::{Invalid, Write, plan_v1};
use super::plan_v2::{plan_controller, plan_v2};
use super::systemd::properties;
use super::{GroupState, Manager, Place};
use crate::cgroup::{CgroupError, read_text, write_text};

/// v1 controllers and what v2 calls them.
const EQUIVALENTS: [(&str, &str); 7] = [
    ("pids", "pids"),
    ("memory", "memory"),
    ("blkio", "io"),
    ("cpu", "cpu"),
    ("cpuset", "cpuset"),
    ("hugetlb", "hugetlb"),
    ("rdma", "rdma"),
];

/// The limits for a group: in a hybrid layout some of the controllers are in v2.
pub(super) fn plan(state: &GroupState, resources: &Resources) -> Result<Vec<Write>, GroupError> {
    if state.version == 2 {
        return plan_v2(resources, state.weights);
    }
    let mut writes = plan_v1(resources)?;
    for (v1, v2) in EQUIVALENTS {
        let has = |unified: bool, name: &str| {
            state.places.iter().any(|place| place.unified == unified && place.has(name))
        };
        if !has(false, v1) && has(true, v2) {
            writes.retain(|write| write.controller != v1);
            plan_controller(v2, resources, state.weights, &mut writes)?;
        }
    }
    Ok(writes)
}

/// See [`super::Group::update`].
pub(super) fn update(state: &GroupState, resources: &Resources) -> Result<(), GroupError> {
    let writes = plan(state, resources)?;
    check_memory(state, resources)?;
    if let (Manager::Systemd(systemd), Some(unit)) = (&state.manager, &state.unit) {
        let mut manager = systemd.ask(unit)?;
        let version = manager.version()?;
        manager.set(&if state.version == 2 {
            properties::limits_v2(resources, state.weights, version)?
        } else {
            properties::limits_v1(resources, version)?
        })?;
    }
    apply(state, &writes)
}

/// v2 kills where v1 refuses: `checkBeforeUpdate` has the kernel's refusal back.
fn check_memory(state: &GroupState, resources: &Resources) -> Result<(), GroupError> {
    let memory = resources.memory.as_ref().filter(|memory| memory.check_before_update == Some(true));
    let place = state.place("memory").filter(|place| place.unified);
    let (Some(memory), Some(place)) = (memory, place) else { return Ok(()) };
    // What cannot be read cannot be compared.
    let Some(usage) = number(&place.path.join("memory.current")) else { return Ok(()) };
    for (what, limit) in [("memory+swap", memory.swap), ("memory", memory.limit)] {
        if let Some(limit) = limit.filter(|limit| *limit > 0)
            && u64::try_from(limit).is_ok_and(|limit| limit <= usage)
        {
            return Err(GroupError::Rejected { what, limit, usage });
        }
    }
    Ok(())
}

fn number(path: &Path) -> Option<u64> {
    read_text(path).ok()?.trim().parse().ok()
}

/// Writes in order; what was refused for now goes again behind the last of its controller.
pub(super) fn apply(state: &GroupState, writes: &[Write]) -> Result<(), GroupError> {
    let same = |a: &Write, b: &Write| a.controller == b.controller;
    for writes in writes.chunk_by(same) {
        let mut again = Vec::new();
        for write in writes {
            match write_one(state, write) {
                Err(error) if write.invalid == Invalid::Retry && errno(&error) == Some(Errno::INVAL) => {
                    again.push(write);
                }
                result => result?,
            }
        }
        again.into_iter().try_for_each(|write| write_one(state, write))?;
    }
    Ok(())
}

fn errno(error: &GroupError) -> Option<Errno> {
    match error {
        GroupError::Cgroup(CgroupError::Write { source, .. }) => Errno::from_io_error(source),
        _ => None,
    }
}

fn write_one(state: &GroupState, write: &Write) -> Result<(), GroupError> {
    let Some(place) = state.place(&write.controller) else {
        let controller = write.controller.clone();
        return if write.optional { Ok(()) } else { Err(GroupError::NoController { controller }) };
    };
    let second = write.or.as_ref().map(|(file, value)| (file, value));
    let mut result = put(place, &write.file, &write.value);
    if let (Err(error), Some((file, value))) = (&result, second)
        && errno(error) == Some(Errno::NOENT)
    {
        result = put(place, file, value);
    }
    let Err(error) = result else { return check(place, write) };
    match errno(&error) {
        Some(Errno::NOENT) if write.optional => Ok(()),
        Some(Errno::INVAL | Errno::OPNOTSUPP) if write.invalid == Invalid::Skip => Ok(()),
        Some(Errno::BUSY) if write.file == "memory.limit_in_bytes" => {
            let limit = write.value.parse().unwrap_or_default();
            let bytes = |file: &str| number(&place.path.join(file)).unwrap_or_default();
            let usage = bytes("memory.usage_in_bytes");
            Err(GroupError::MemoryInUse { limit, usage, peak: bytes("memory.max_usage_in_bytes") })
        }
        Some(Errno::NOENT | Errno::ACCESS | Errno::PERM) if lacks(place, &write.controller) => {
            Err(missing(write))
        }
        _ => Err(error),
    }
}

fn put(place: &Place, file: &str, value: &str) -> Result<(), GroupError> {
    let path: PathBuf = place.path.join(file);
    write_text(&path, value)
        .map_err(|source| CgroupError::Write { path, value: value.to_owned(), source }.into())
}

/// v1 bends a weight of CPU time to its bounds and says nothing.
fn check(place: &Place, write: &Write) -> Result<(), GroupError> {
    if write.file != "cpu.shares" {
        return Ok(());
    }
    let (Ok(asked), Some(shares)) = (write.value.parse::<u64>(), number(&place.path.join("cpu.shares")))
    else {
        return Ok(());
    };
    match asked.cmp(&shares) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(GroupError::Shares { bound: "maximum", shares }),
        std::cmp::Ordering::Less => Err(GroupError::Shares { bound: "minimum", shares }),
    }
}

/// Whether a v2 group has not got a controller; all have the core files.
fn lacks(place: &Place, controller: &str) -> bool {
    let has = |text: String| text.split_ascii_whitespace().any(|name| name == controller);
    place.unified
        && controller != "cgroup"
        && read_text(&place.path.join("cgroup.controllers")).is_ok_and(|text| !has(text))
}

fn missing(write: &Write) -> GroupError {
    let controller = write.controller.clone();
    if write.unified {
        return GroupError::UnifiedController { key: write.file.clone(), controller };
    }
    GroupError::NoController { controller }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::oci::plan_v2::Weights;

    fn place(name: &str, controllers: &[&str], unified: bool, path: &Path) -> Place {
        Place {
            name: name.to_owned(),
            controllers: controllers.iter().map(|&name| name.to_owned()).collect(),
            unified,
            path: path.to_owned(),
            made: Vec::new(),
            kept: Vec::new(),
        }
    }

    fn state(version: u8, places: Vec<Place>) -> GroupState {
        let (manager, weights) = (Manager::Cgroupfs, Weights::Quadratic);
        GroupState { version, manager, unit: None, rootless: false, weights, places }
    }

    fn resources(json: &str) -> Resources {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_hybrid_layout_takes_from_v2_what_v1_lacks() {
        let path = Path::new("/nowhere");
        let places = vec![
            place("memory", &["memory"], false, path),
            place("unified", &["hugetlb", "pids"], true, path),
        ];
        let state = state(1, places);
        let asked = resources(
            r#"{"memory": {"limit": 5, "swappiness": 3}, "pids": {"limit": 2}, "hugepageLimits": [{"pageSize": "2MB", "limit": 1}],
                "network": {"classID": 1}}"#,
        );
        let files: Vec<String> = plan(&state, &asked).unwrap().iter().map(|w| w.file.clone()).collect();
        assert_eq!(
            files,
            [
                "memory.limit_in_bytes",
                "memory.swappiness",
                "net_cls.classid",
                "pids.max",
                "hugetlb.2MB.max",
                "hugetlb.2MB.rsvd.max"
            ]
        );
        let error =
            apply(&state, &plan(&state, &resources(r#"{"network": {"classID": 1}}"#)).unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "cannot set net_cls limit: container could not join or create cgroup");
    }

    #[test]
    fn missing_files_are_told_or_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let state = state(2, vec![place("", &["memory"], true, path)]);
        std::fs::write(path.join("cgroup.controllers"), "memory\n").unwrap();
        std::fs::write(path.join("memory.max"), "").unwrap();
        std::fs::write(path.join("io.weight"), "").unwrap();
        let write = |json: &str| apply(&state, &plan(&state, &resources(json)).unwrap());
        write(r#"{"memory": {"limit": 7, "swap": 7}, "blockIO": {"weight": 500}}"#).unwrap();
        assert_eq!(std::fs::read_to_string(path.join("memory.max")).unwrap(), "7");
        assert_eq!(std::fs::read_to_string(path.join("io.weight")).unwrap(), "default 4950");
        for (json, text) in [
            (r#"{"pids": {"limit": 7}}"#, "cannot set pids limit: container could not join or create cgroup"),
            (
                r#"{"unified": {"hugetlb.2MB.max": "1"}}"#,
                "unified resource \"hugetlb.2MB.max\" can't be set: controller \"hugetlb\" not available",
            ),
            (r#"{"memory": {"limit": 7, "swap": 8}}"#, "memory.swap.max: No such file"),
            (r#"{"unified": {"cgroup.max.depth": "1"}}"#, "cgroup.max.depth: No such file"),
        ] {
            let error = write(json).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn a_limit_below_the_use_is_rejected_when_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("memory.current"), "5000\n").unwrap();
        let state = state(2, vec![place("", &["memory"], true, directory.path())]);
        for (json, text) in [
            (r#"{"limit": 1024, "checkBeforeUpdate": true}"#, "rejecting memory limit 1024 <= usage 5000"),
            (
                r#"{"limit": 6000, "swap": 5000, "checkBeforeUpdate": true}"#,
                "rejecting memory+swap limit 5000 <= usage 5000",
            ),
            (r#"{"limit": 1024}"#, ""),
            (r#"{"limit": 5001, "checkBeforeUpdate": true}"#, ""),
            (r#"{"limit": -1, "checkBeforeUpdate": true}"#, ""),
        ] {
            let checked = check_memory(&state, &resources(&format!(r#"{{"memory": {json}}}"#)));
            assert_eq!(checked.err().map(|error| error.to_string()).unwrap_or_default(), text);
        }
    }
}
