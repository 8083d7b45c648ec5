//! `create` is killed at any moment: what is left goes with `delete --force`.

use std::process::Stdio;
use std::time::Duration;

use serde_json::json;

use super::again::{again, program};
use super::bundle::{World, groups, has_ended, until};

/// Processes whose root is a container of this world, or whose group is.
fn processes(world: &World) -> Vec<i32> {
    let mark = world.directory.path().to_str().expect("text").to_owned();
    let numbers = std::fs::read_dir("/proc").expect("proc").filter_map(Result::ok);
    numbers
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let group = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
            let mounts = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
            !has_ended(*pid) && (group.contains(&world.group) || mounts.contains(&mark))
        })
        .collect()
}

#[test]
fn killed_at_random_points() {
    let (Some(world), Some(_)) = (World::new(), program()) else { return };
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..40_u64 {
        let id = format!("c{round}");
        let mut spec = world.spec("sleep 1000");
        if round % 3 == 1 {
            spec["hooks"] = json!({
                "createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "0.02"]}],
                "createContainer": [{"path": "/bin/sleep", "args": ["sleep", "0.02"]}],
            });
        }
        if round % 3 == 2 {
            spec["linux"]["namespaces"].as_array_mut().expect("list").retain(|one| one["type"] != "pid");
        }
        world.write(&id, spec);
        let state = world.directory.path().join("state").join(&id);
        let mut child = again(&world, "create", &id, &json!({}))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("spawn");
        // From the moment that the directory is there, a little further each time.
        let begun = std::time::Instant::now();
        while !state.exists() && begun.elapsed() < Duration::from_secs(10) {
            std::hint::spin_loop();
        }
        let pause = Duration::from_micros(round * round * 12);
        let begun = std::time::Instant::now();
        while begun.elapsed() < pause {
            std::hint::spin_loop();
        }
        let _ = child.kill();
        child.wait().expect("wait");
        let status = world.runtime.state(&id).map(|state| state.status.to_string());
        seen.insert(status.unwrap_or_else(|error| error.to_string()));
        world.runtime.delete(&id, true).unwrap_or_else(|error| panic!("round {round}: {error}"));
        world.assert_gone(&id);
        until("its processes end", || processes(&world).is_empty());
    }
    println!("seen: {seen:?}");
    assert_eq!(world.runtime.list().expect("list"), []);
    assert_eq!(groups(&world.group), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_killed_one_can_be_made_again() {
    let (Some(world), Some(_)) = (World::new(), program()) else { return };
    let mut spec = world.spec("exit 5");
    let hook = world.directory.path().join("hook");
    let script = format!("echo $$ > {}; exec sleep 1000", hook.display());
    spec["hooks"] = json!({"createRuntime": [
        {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}]});
    world.write("c1", spec.clone());
    let mut child = again(&world, "create", "c1", &json!({}))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("spawn");
    let record = world.directory.path().join("state/c1/state.json");
    until("the hook runs", || {
        let text = std::fs::read_to_string(&record).unwrap_or_default();
        text.contains("\"pid\"") && std::fs::read_to_string(&hook).is_ok_and(|text| text.ends_with('\n'))
    });
    let status = world.runtime.state("c1").expect("state").status;
    assert_eq!(status, cais_oci::runtime::Status::Creating);
    let busy = world.runtime.delete("c1", false).expect_err("being made").to_string();
    assert_eq!(busy, "cannot delete container c1 that is not stopped: creating");
    child.kill().expect("kill");
    child.wait().expect("wait");
    until("the first process ends itself", || {
        world.runtime.state("c1").expect("state").status == cais_oci::runtime::Status::Stopped
    });
    let again = world.create("c1", world.spec("true")).expect_err("still there").to_string();
    assert_eq!(again, "container with given ID already exists");
    world.runtime.delete("c1", false).expect("delete");
    world.assert_gone("c1");
    assert_eq!(world.run("c1", world.spec("exit 5")), 5);
    // The hook was a child of the killed one.
    let hook: i32 = std::fs::read_to_string(&hook).expect("read").trim().parse().expect("a number");
    let hook = rustix::process::Pid::from_raw(hook).expect("a pid");
    rustix::process::kill_process(hook, rustix::process::Signal::KILL).expect("kill");
}
