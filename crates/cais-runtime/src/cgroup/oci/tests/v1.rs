//! The hierarchies of version 1: limits, updates, lack of memory.

use super::*;

#[test]
fn v1_limits_are_in_force_everywhere() {
    let Some(mut bed) = Bed::v1() else { return };
    let group = bed.create("a/b/limited", LIMITS).unwrap();
    assert_eq!(read(&group, "memory", "memory.limit_in_bytes"), "33554432");
    assert_eq!(read(&group, "memory", "memory.soft_limit_in_bytes"), "25165824");
    assert_eq!(read(&group, "cpu", "cpu.shares"), "100");
    assert_eq!(read(&group, "cpu", "cpu.cfs_quota_us"), "50000");
    assert_eq!(read(&group, "cpuset", "cpuset.cpus"), "0");
    assert_ne!(read(&group, "cpuset", "cpuset.mems"), "");
    assert_eq!(read(&group, "pids", "pids.max"), "20");
    let list = read(&group, "devices", "devices.list");
    assert!(list.lines().any(|line| line == "c 1:3 rwm") && !list.contains("a *:*"), "{list}");
    assert_eq!(group.state().places.len(), bed.trees.all.len(), "in every hierarchy");
    assert!(group.path("name=systemd").is_none_or(|path| path.ends_with("a/b/limited")));
    let join = group.open_join().unwrap();
    let unified = bed.trees.all.iter().filter(|tree| tree.unified).count();
    assert_eq!((join.tasks.len(), join.directory.is_some()), (bed.trees.all.len() - unified, unified == 1));
    // Only what is in the list is opened.
    let script = "head -c 1 /dev/zero >/dev/null || exit 1; true </dev/kmsg && exit 2; exit 7";
    assert_eq!(bed.run_inside(&group, script).wait().unwrap().code(), Some(7));
    let stats = group.stats().unwrap();
    assert!(stats.cpu.usage.total > 0 && stats.memory.usage.limit == 33_554_432, "{stats:?}");
    assert_eq!((stats.pids.limit, stats.cpuset.cpus), (20, vec![0]));
    // From what the state file has.
    let json = serde_json::to_string(group.state()).unwrap();
    let again = Group::from_state(serde_json::from_str(&json).unwrap());
    assert_eq!(again.state(), group.state());
    again.destroy().unwrap();
    assert!(bed.parents().iter().all(|parent| !parent.exists()), "what was made above is gone, too");
    again.destroy().unwrap();
}

#[test]
fn v1_updates_in_either_direction() {
    let Some(bed) = Bed::v1() else { return };
    let group = bed.create("updated", LIMITS).unwrap();
    let update = |json: &str| group.update(&resources(json));
    let memory = |file: &str| read(&group, "memory", &format!("memory.{file}limit_in_bytes"));
    let swap = group.path("memory").unwrap().join("memory.memsw.limit_in_bytes").exists();
    for (limit, both) in [(30 << 20, 50 << 20), (60 << 20, 80 << 20), (20 << 20, 40 << 20)] {
        update(&format!(r#"{{"memory": {{"limit": {limit}, "swap": {both}}}}}"#)).unwrap();
        assert_eq!(memory(""), limit.to_string());
        assert!(!swap || memory("memsw.") == both.to_string());
    }
    update(r#"{"memory": {"limit": -1}}"#).unwrap();
    assert!(memory("").parse::<u64>().unwrap() > 1 << 60);
    assert!(!swap || memory("memsw.").parse::<u64>().unwrap() > 1 << 60);
    for (quota, period) in [(600_000, 900_000), (3000, 10_000), (-1, 100_000), (50_000, 100_000)] {
        update(&format!(r#"{{"cpu": {{"quota": {quota}, "period": {period}}}}}"#)).unwrap();
        assert_eq!(read(&group, "cpu", "cpu.cfs_quota_us"), quota.to_string());
        assert_eq!(read(&group, "cpu", "cpu.cfs_period_us"), period.to_string());
    }
    // The parent has half a processor: less in a shorter period fits only when both are written.
    let parent = group.path("cpu").unwrap().parent().unwrap();
    update(r#"{"cpu": {"quota": 20000, "period": 100000}}"#).unwrap();
    fs::write(parent.join("cpu.cfs_quota_us"), "50000").unwrap();
    update(r#"{"cpu": {"quota": 3000, "period": 10000}}"#).unwrap();
    assert_eq!(read(&group, "cpu", "cpu.cfs_period_us"), "10000");
    let error = update(r#"{"cpu": {"quota": 60000, "period": 100000}}"#).unwrap_err().to_string();
    assert!(error.contains("cpu.cfs_"), "{error}");
    update(r#"{"pids": {"limit": 0}}"#).unwrap();
    assert_eq!(read(&group, "pids", "pids.max"), "1");
    let list = read(&group, "devices", "devices.list");
    assert!(list.contains("c 1:3 rwm"), "devices stay: {list}");
    let error = update(r#"{"cpu": {"shares": 1}}"#).unwrap_err().to_string();
    assert_eq!(error, "the minimum allowed cpu-shares is 2");
}

#[test]
fn v1_refuses_less_memory_than_is_used() {
    let Some(mut bed) = Bed::v1() else { return };
    let group = bed.create("full", r#"{"memory": {"limit": 67108864}}"#).unwrap();
    // A shell that holds 16 MiB.
    bed.run_inside(&group, "x=$(head -c 16777216 /dev/zero | tr '\\0' x); while :; do sleep 0.1; done");
    let used = || group.stats().unwrap().memory.raw["rss"] > 16 << 20;
    until("the use of memory", used);
    let error = group.update(&resources(r#"{"memory": {"limit": 4096}}"#)).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("unable to set memory limit to 4096 (current usage: "), "{text}");
    assert!(
        text.contains(", peak usage: ") && matches!(error, GroupError::MemoryInUse { usage: 4097.., .. })
    );
}

#[test]
fn lack_of_memory_is_told() {
    let (Some(mut bed), controller) = (Bed::v1().or_else(Bed::v2), "memory") else { return };
    if !bed.trees.all.iter().any(|tree| tree.has(controller)) {
        println!("skipped: no memory controller");
        return;
    }
    let group = bed.create("hungry", r#"{"memory": {"limit": 16777216, "swap": 16777216}}"#).unwrap();
    bed.run_inside(&group, "sleep 1000");
    let mut watch = group.oom_watch().unwrap();
    assert_eq!(watch.look().unwrap(), Oom::None);
    bed.run_inside(&group, "x=$(head -c 100000000 /dev/zero | tr '\\0' x)");
    let poll = |watch: &OomWatch| {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let deadline = Timespec { tv_sec: 60, tv_nsec: 0 };
        assert_eq!(
            poll(&mut [PollFd::new(watch, PollFlags::IN)], Some(&deadline)).unwrap(),
            1,
            "nothing was told"
        );
    };
    let mut next = || loop {
        poll(&watch);
        match watch.look().unwrap() {
            Oom::None => {}
            seen => return seen,
        }
    };
    assert_eq!(next(), Oom::Killed);
    bed.reap();
    group.kill_all().unwrap();
    group.destroy().unwrap();
    let mut seen = next();
    while seen == Oom::Killed {
        seen = next();
    }
    assert_eq!(seen, Oom::Ended);
}
