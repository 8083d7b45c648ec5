//! New limits for a group that is in use.

use super::layout::{Controller, Layout};
use super::limits::{Resources, Write, plan_v1, plan_v2};
use super::processes::own_pids;
use super::{Cgroup, CgroupError, Group, Placement, create, put, read_text};

const MEMORY: &str = "memory.limit_in_bytes";
const MEMORY_AND_SWAP: &str = "memory.memsw.limit_in_bytes";

/// How often a list of processes is gone through, of which some have ended or been born meanwhile.
const MOVE_ROUNDS: u32 = 100;

/// See [`Cgroup::update`].
pub(super) fn update(
    layout: &Layout,
    place: Placement<'_>,
    (before, after): (&Resources, &Resources),
    warnings: &mut Vec<String>,
) -> Result<(), CgroupError> {
    let Some(mut cgroup) = create::find(layout, place) else { return Ok(()) };
    let plan = if cgroup.unified { plan_v2 } else { plan_v1 };
    let known = plan(before)?;
    let mut writes = plan(after)?;
    writes.retain(|write| write.controller != Controller::Devices && !known.contains(write));
    let asks_for_cpus = writes.iter().any(|write| write.controller == Controller::Cpuset);
    if asks_for_cpus && cgroup.group(Controller::Cpuset).is_none() {
        enter_cpuset(&mut cgroup, layout, place)?;
    }
    if let Some(group) = cgroup.group(Controller::Memory) {
        let both = read_text(&group.path.join(MEMORY_AND_SWAP)).ok();
        order_memory(&mut writes, both.and_then(|text| text.trim().parse().ok()));
    }
    create::apply(&cgroup, writes.iter(), warnings)
}

/// v1 demands at any time that memory alone is not allowed more than memory and swap together are: upwards, the limit of
/// both goes first.
fn order_memory(writes: &mut [Write], both_bytes: Option<u64>) {
    let at = |file: &str| writes.iter().position(|write| write.file == file);
    let (Some(memory), Some(both)) = (at(MEMORY), at(MEMORY_AND_SWAP)) else { return };
    // -1 is no limit.
    let wanted = writes[memory].value.parse::<u64>().unwrap_or(u64::MAX);
    if both_bytes.is_some_and(|both_bytes| wanted > both_bytes) {
        writes.swap(memory, both);
    }
}

/// v1: makes the group in the hierarchy of CPU sets that the container did not need so far, and moves its processes in.
fn enter_cpuset(cgroup: &mut Cgroup, layout: &Layout, place: Placement<'_>) -> Result<(), CgroupError> {
    let sets = |hierarchy: &&super::Hierarchy| hierarchy.controllers.contains(&Controller::Cpuset);
    // Without the controller the user is told when its files are missing.
    let Some(hierarchy) = layout.hierarchies().iter().find(sets) else { return Ok(()) };
    let path = create::make(&hierarchy.mount, place)
        .map_err(|(path, error)| CgroupError::Create { path, source: error.into() })?;
    create::fill_cpuset(&hierarchy.mount, place)?;
    let (name, controllers) = (hierarchy.name.clone(), hierarchy.controllers.clone());
    let group = Group { name, controllers, path };
    // Those that were born while the list was gone through are in the next one.
    for _ in 0..MOVE_ROUNDS {
        let inside = own_pids(&group.path)?;
        let outside: Vec<i32> = cgroup.pids()?.into_iter().filter(|pid| !inside.contains(pid)).collect();
        if outside.is_empty() {
            break;
        }
        for pid in outside {
            match put(group.path.join("cgroup.procs"), &pid.to_string()) {
                // It has ended.
                Err(CgroupError::Write { source, .. }) if has_ended(&source) => {}
                other => other?,
            }
        }
    }
    cgroup.groups.push(group);
    Ok(())
}

fn has_ended(error: &std::io::Error) -> bool {
    rustix::io::Errno::from_io_error(error) == Some(rustix::io::Errno::SRCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_swap_go_first_upwards() {
        let files = |memory: i64, swap: i64, now: Option<u64>| {
            let resources = Resources {
                memory_bytes: Some(memory),
                memory_swap_bytes: Some(swap),
                ..Resources::default()
            };
            let mut writes = plan_v1(&resources).unwrap();
            order_memory(&mut writes, now);
            writes[0].file
        };
        assert_eq!(files(100, 200, Some(50)), MEMORY_AND_SWAP);
        assert_eq!(files(100, 200, Some(100)), MEMORY);
        assert_eq!(files(100, 200, None), MEMORY, "without swap accounting");
        assert_eq!(files(-1, -1, Some(1 << 40)), MEMORY_AND_SWAP);
        let mut alone = plan_v1(&Resources { memory_bytes: Some(1), ..Resources::default() }).unwrap();
        order_memory(&mut alone, Some(0));
        assert_eq!(alone.len(), 1);
    }
}
