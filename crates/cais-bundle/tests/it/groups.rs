//! Limits, what is used, and who is in.

use std::ops::ControlFlow;
use std::time::Duration;

use cais_oci::runtime::Resources;
use serde_json::json;

use super::bundle::{World, groups, until, wait_for};

fn resources(value: serde_json::Value) -> Resources {
    Resources::parse(value.to_string().as_bytes()).expect("resources")
}

/// A file of the group, by the names of v1 and v2.
fn limit(world: &World, names: [&str; 2]) -> String {
    let paths = groups(&format!("{}/c1", world.group));
    let read = |name: &str| paths.iter().find_map(|path| std::fs::read_to_string(path.join(name)).ok());
    read(names[0]).or_else(|| read(names[1])).expect("a limit").trim().to_owned()
}

#[test]
fn limits_are_set_and_updated() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec("sleep 1000");
    spec["linux"]["resources"] = json!({"memory": {"limit": 64 << 20}, "pids": {"limit": 33}});
    let pid = world.launch("c1", spec);
    let memory = || limit(&world, ["memory.limit_in_bytes", "memory.max"]);
    let pids = || limit(&world, ["pids.max", "pids.max"]);
    assert_eq!((memory(), pids()), ((64 << 20).to_string(), "33".to_owned()));
    let update = resources(json!({"memory": {"limit": 32 << 20}, "pids": {"limit": 44}}));
    world.runtime.update("c1", &update, None).expect("update");
    assert_eq!((memory(), pids()), ((32 << 20).to_string(), "44".to_owned()));
    let update = resources(json!({"pids": {"limit": 55}}));
    world.runtime.update("c1", &update, None).expect("update");
    assert_eq!((memory(), pids()), ((32 << 20).to_string(), "55".to_owned()), "what is not said stays");
    let refused = world.runtime.update("c1", &resources(json!({"cpu": {"cpus": "4000"}})), None);
    assert!(refused.is_err());
    assert_eq!((memory(), pids()), ((32 << 20).to_string(), "55".to_owned()), "the old ones are back");
    world.runtime.kill("c1", 9, false).expect("kill");
    wait_for(pid);
    let late = world.runtime.update("c1", &update, None).expect_err("stopped").to_string();
    assert_eq!(late, "container not running");
    world.runtime.delete("c1", false).expect("delete");
    world.assert_gone("c1");
}

#[test]
fn use_is_told() {
    let Some(world) = World::new() else { return };
    let pid = world.launch("c1", world.spec("sleep 1000"));
    let mut lines = Vec::new();
    let mut tell = |event: cais_bundle::Event| {
        lines.push(serde_json::to_value(&event).expect("JSON"));
        ControlFlow::Continue(())
    };
    world.runtime.events("c1", Duration::from_secs(1), true, &mut tell).expect("events");
    assert_eq!(lines.len(), 1);
    assert_eq!((lines[0]["type"].as_str(), lines[0]["id"].as_str()), (Some("stats"), Some("c1")));
    assert!(lines[0]["data"]["memory"]["usage"]["usage"].as_u64().is_some(), "{}", lines[0]);
    assert!(lines[0]["data"]["pids"]["current"].as_u64() >= Some(1), "{}", lines[0]);
    let mut count = 0;
    let mut tell = |_| {
        count += 1;
        if count < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    world.runtime.events("c1", Duration::from_millis(5), false, &mut tell).expect("events");
    assert_eq!(count, 3);
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let config =
                cais_bundle::Config { root: world.directory.path().join("state"), ..Default::default() };
            let runtime = cais_bundle::Runtime::new(config).expect("runtime");
            runtime.events("c1", Duration::from_secs(1000), false, &mut |_| ControlFlow::Continue(()))
        });
        world.runtime.kill("c1", 9, false).expect("kill");
        wait_for(pid);
        // It may have looked too late: then it says so.
        match thread.join().expect("join") {
            Ok(()) => {}
            Err(error) => assert_eq!(error.to_string(), "container with id c1 is not running"),
        }
    });
    let late = world.runtime.events("c1", Duration::from_secs(1), true, &mut |_| ControlFlow::Continue(()));
    assert_eq!(late.expect_err("stopped").to_string(), "container with id c1 is not running");
}

#[test]
fn kills_for_memory_are_told() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec("read line < /fifo; head -c 100000000 /dev/zero | { cat > /dev/shm/x; }; head -c 1000000000 /dev/zero > /dev/shm/y; sleep 1000");
    spec["linux"]["resources"] = json!({"memory": {"limit": 16 << 20}});
    spec["mounts"].as_array_mut().expect("list").push(json!(
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid"]}
    ));
    rustix::fs::mknodat(
        rustix::fs::CWD,
        world.inside("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o666),
        0,
    )
    .expect("fifo");
    let pid = world.launch("c1", spec);
    let mut seen = false;
    std::thread::scope(|scope| {
        scope.spawn(|| std::fs::write(world.inside("fifo"), "go\n").expect("write"));
        let mut tell = |event: cais_bundle::Event| {
            seen |= event.kind == "oom";
            if seen { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        world.runtime.events("c1", Duration::from_secs(1000), false, &mut tell).expect("events");
    });
    assert!(seen);
    world.runtime.delete("c1", true).expect("delete");
    wait_for(pid);
    world.assert_gone("c1");
}

#[test]
fn without_groups() {
    let Some(mut world) = World::new() else { return };
    let config = cais_bundle::Config {
        root: world.directory.path().join("state"),
        cgroup_disabled: true,
        ..Default::default()
    };
    world.runtime = cais_bundle::Runtime::new(config).expect("runtime");
    let pid = world.launch("c1", world.spec("sleep 1000"));
    assert_eq!(groups(&format!("{}/c1", world.group)), Vec::<std::path::PathBuf>::new());
    assert!(world.runtime.ps("c1").is_err());
    assert!(world.runtime.pause("c1").is_err());
    world.runtime.delete("c1", true).expect("delete");
    wait_for(pid);
}

#[test]
fn a_group_in_use_is_refused_and_left_alone() {
    let Some(world) = World::new() else { return };
    let pid = world.launch("c1", world.spec("sleep 1000"));
    let mut spec = world.spec("true");
    spec["linux"]["cgroupsPath"] = format!("{}/c1", world.group).into();
    let text = world.refusal("c2", spec);
    assert!(text.starts_with("container's cgroup is not empty: 1 process(es) found"), "{text}");
    assert_eq!(world.runtime.ps("c1").expect("ps"), [pid]);
    world.runtime.delete("c1", true).expect("delete");
    wait_for(pid);
    until("the groups are gone", || groups(&format!("{}/c1", world.group)).is_empty());
}
