//! From `create` to `delete`, and what is refused on the way.

use cais_bundle::ErrorKind;
use cais_oci::runtime::Status;

use super::bundle::{World, has_ended, until, wait_for};

#[test]
fn created_started_stopped_deleted() {
    let Some(world) = World::new() else { return };
    let runtime = &world.runtime;
    let pid = world.create("c1", world.spec("hostname > /out; exit 7")).expect("create");
    let state = runtime.state("c1").expect("state");
    assert_eq!((state.status, state.pid), (Status::Created, Some(pid)));
    assert_eq!(state.bundle, world.bundle().to_str().expect("text"));
    assert!(!world.inside("out").exists(), "the command does not run yet");
    runtime.start("c1").expect("start");
    assert_eq!(wait_for(pid), 7);
    assert_eq!(world.read("out"), "inside\n");
    let state = runtime.state("c1").expect("state");
    assert_eq!((state.status, state.pid), (Status::Stopped, None));
    runtime.delete("c1", false).expect("delete");
    world.assert_gone("c1");
    assert_eq!(runtime.state("c1").expect_err("gone").to_string(), "container does not exist");
}

#[test]
fn each_operation_at_the_wrong_moment() {
    let Some(world) = World::new() else { return };
    let runtime = &world.runtime;
    let pid = world.create("c1", world.spec("sleep 1000")).expect("create");
    let twice = world.create("c1", world.spec("true")).expect_err("twice");
    assert_eq!(
        (twice.to_string().as_str(), twice.kind()),
        ("container with given ID already exists", ErrorKind::Exists)
    );
    assert_eq!(runtime.state("c1").expect("still there").status, Status::Created);
    runtime.start("c1").expect("start");
    let again = runtime.start("c1").expect_err("again").to_string();
    assert_eq!(again, "cannot start an already running container");
    let running = runtime.delete("c1", false).expect_err("running");
    assert_eq!(running.to_string(), "cannot delete container c1 that is not stopped: running");
    assert_eq!(running.kind(), ErrorKind::NotStopped);
    assert!(!has_ended(pid), "a refused deletion has no effect");
    assert_eq!(runtime.resume("c1").expect_err("not paused").to_string(), "container not paused");
    runtime.kill("c1", 9, false).expect("kill");
    assert_eq!(wait_for(pid), 128 + 9);
    for signal in [0, 9, 15] {
        let late = runtime.kill("c1", signal, false).expect_err("late");
        assert_eq!(
            (late.to_string().as_str(), late.kind()),
            ("container not running", ErrorKind::NotRunning)
        );
    }
    runtime.kill("c1", 9, true).expect("with --all the end is fine");
    assert_eq!(
        runtime.start("c1").expect_err("stopped").to_string(),
        "cannot start a container that has stopped"
    );
    assert_eq!(runtime.pause("c1").expect_err("stopped").to_string(), "container not running");
    runtime.delete("c1", false).expect("delete");
    world.assert_gone("c1");
}

#[test]
fn what_is_not_there() {
    let Some(world) = World::new() else { return };
    let runtime = &world.runtime;
    let text = "container does not exist";
    assert_eq!(runtime.start("no").expect_err("no").to_string(), text);
    assert_eq!(runtime.kill("no", 9, true).expect_err("no").to_string(), text);
    assert_eq!(runtime.pause("no").expect_err("no").to_string(), text);
    assert_eq!(runtime.ps("no").expect_err("no").to_string(), text);
    assert_eq!(runtime.delete("no", false).expect_err("no").to_string(), text);
    runtime.delete("no", true).expect("forced deletion of nothing");
    for id in ["", "..", "a/b", "../x", "ä"] {
        assert_eq!(runtime.state(id).expect_err(id).to_string(), "invalid container ID format");
        assert_eq!(runtime.delete(id, true).expect_err(id).to_string(), "invalid container ID format");
    }
    assert_eq!(runtime.list().expect("list"), []);
}

#[test]
fn a_created_one_is_deleted_without_force() {
    let Some(world) = World::new() else { return };
    let pid = world.create("c1", world.spec("touch /ran")).expect("create");
    world.runtime.delete("c1", false).expect("delete");
    assert_eq!(wait_for(pid), 128 + 9);
    assert!(!world.inside("ran").exists());
    world.assert_gone("c1");
}

#[test]
fn a_running_one_is_deleted_with_force() {
    let Some(world) = World::new() else { return };
    let pid = world.launch("c1", world.spec("sleep 1000 & sleep 1000"));
    world.runtime.delete("c1", true).expect("delete");
    assert_eq!(wait_for(pid), 128 + 9);
    world.assert_gone("c1");
}

#[test]
fn lists_show_all() {
    let Some(world) = World::new() else { return };
    let runtime = &world.runtime;
    let one = world.launch("one", world.spec("sleep 1000"));
    let two = world.create("two", world.spec("true")).expect("create");
    let mut spec = world.spec("true");
    spec["annotations"] = serde_json::json!({"a.b": "c"});
    wait_for(world.launch("three", spec));
    std::fs::create_dir(world.directory.path().join("state/odd")).expect("mkdir");
    let all = runtime.list().expect("list");
    let shown: Vec<_> = all.iter().map(|l| (l.state.id.as_str(), l.state.status, l.state.pid)).collect();
    assert_eq!(
        shown,
        [
            ("one", Status::Running, Some(one)),
            ("three", Status::Stopped, None),
            ("two", Status::Created, Some(two))
        ]
    );
    assert_eq!(all[1].state.annotations["a.b"], "c");
    assert_eq!(all[0].owner, "root");
    assert_eq!(all[0].rootfs, world.inside("").canonicalize().expect("rootfs"));
    let created: jiff::Timestamp = all[0].created.parse().expect("RFC 3339");
    assert!(created.as_second() > 1_600_000_000 && all[0].created.ends_with('Z'));
    let damaged = world.directory.path().join("state/three/state.json");
    std::fs::write(damaged, "{").expect("write");
    assert_eq!(runtime.list().expect("list").len(), 2);
    let warnings = runtime.take_warnings();
    assert!(warnings[0].starts_with("load container three: read "), "{warnings:?}");
    std::fs::remove_dir_all(world.directory.path().join("state/three")).expect("remove");
    let _ = std::fs::remove_dir_all(world.directory.path().join("state/odd"));
    for group in super::bundle::groups(&format!("{}/three", world.group)) {
        std::fs::remove_dir(group).expect("rmdir");
    }
}

#[test]
fn paused_and_resumed() {
    let Some(world) = World::new() else { return };
    let runtime = &world.runtime;
    let pid = world.launch("c1", world.spec("while :; do echo x >> /ticks; sleep 0.01; done"));
    until("it runs", || world.inside("ticks").exists());
    runtime.pause("c1").expect("pause");
    assert_eq!(runtime.state("c1").expect("state").status, Status::Paused);
    let before = world.read("ticks").len();
    assert_eq!(runtime.pause("c1").expect_err("twice").to_string(), "container not running");
    let paused = runtime.delete("c1", false).expect_err("paused").to_string();
    assert_eq!(paused, "cannot delete container c1 that is not stopped: paused");
    assert_eq!(
        runtime.start("c1").expect_err("paused").to_string(),
        "cannot start a container in the paused state"
    );
    assert_eq!(world.read("ticks").len(), before, "it stands still");
    runtime.resume("c1").expect("resume");
    until("it goes on", || world.read("ticks").len() > before);
    runtime.pause("c1").expect("pause");
    runtime.kill("c1", 9, false).expect("a frozen one dies, too");
    assert_eq!(wait_for(pid), 128 + 9);
    runtime.delete("c1", false).expect("delete");
    world.assert_gone("c1");
}

#[test]
fn a_paused_one_is_deleted_with_force() {
    let Some(world) = World::new() else { return };
    let pid = world.launch("c1", world.spec("sleep 1000"));
    world.runtime.pause("c1").expect("pause");
    world.runtime.delete("c1", true).expect("delete");
    assert_eq!(wait_for(pid), 128 + 9);
    world.assert_gone("c1");
}

#[test]
fn signals_reach_the_first_process() {
    let Some(world) = World::new() else { return };
    let pid = world.launch(
        "c1",
        world.spec(
            "trap 'echo usr1 > /got' USR1; trap 'exit 3' TERM; touch /ready; while :; do sleep 0.01; done",
        ),
    );
    until("it is ready", || world.inside("ready").exists());
    world.runtime.kill("c1", 10, false).expect("USR1");
    until("it got the signal", || world.inside("got").exists());
    assert_eq!(world.runtime.kill("c1", 65, false).expect_err("none").to_string(), "invalid signal number");
    world.runtime.kill("c1", 15, false).expect("TERM");
    assert_eq!(wait_for(pid), 3);
}

#[test]
fn without_a_pid_namespace_all_are_killed() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec("sleep 1000 & sleep 1001 & echo $! > /child; exec sleep 1002");
    spec["linux"]["namespaces"].as_array_mut().expect("list").retain(|one| one["type"] != "pid");
    let pid = world.launch("c1", spec.clone());
    until("its children run", || {
        world.inside("child").exists() && world.runtime.ps("c1").expect("ps").len() == 3
    });
    let pids = world.runtime.ps("c1").expect("ps");
    assert!(pids.contains(&pid));
    world.runtime.kill("c1", 9, false).expect("kill");
    wait_for(pid);
    until("all have ended", || pids.iter().all(|pid| has_ended(*pid)));
    world.runtime.delete("c1", false).expect("delete");
    world.assert_gone("c1");

    // The first one is gone, the others are not: `kill` still reaches them, and so does `delete`.
    let spec = |script: &str| {
        let mut spec = spec.clone();
        spec["process"]["args"][2] = script.into();
        spec
    };
    let pid = world.launch("c2", spec("sleep 1000 & sleep 1001 & exit 0"));
    assert_eq!(wait_for(pid), 0);
    let left = world.runtime.ps("c2").expect("ps");
    assert_eq!(left.len(), 2);
    assert_eq!(world.runtime.state("c2").expect("state").status, Status::Stopped);
    world.runtime.kill("c2", 9, false).expect("kill");
    until("all have ended", || left.iter().all(|pid| has_ended(*pid)));
    until("the group knows", || world.runtime.ps("c2").expect("ps").is_empty());
    assert_eq!(world.runtime.kill("c2", 9, false).expect_err("nobody").to_string(), "container not running");
    world.runtime.delete("c2", false).expect("delete");

    let pid = world.launch("c3", spec("sleep 1000 & sleep 1001 & exit 0"));
    wait_for(pid);
    let left = world.runtime.ps("c3").expect("ps");
    world.runtime.delete("c3", false).expect("delete");
    assert!(left.len() == 2 && left.iter().all(|pid| has_ended(*pid)));
    world.assert_gone("c3");
}

#[test]
fn a_reused_pid_is_nobody() {
    let Some(world) = World::new() else { return };
    let pid = world.launch("c1", world.spec("sleep 1000"));
    let path = world.directory.path().join("state/c1/state.json");
    let text = std::fs::read_to_string(&path).expect("read");
    let mut record: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let start = record["init"]["start"].as_u64().expect("start");
    record["init"]["start"] = (start - 1).into();
    std::fs::write(&path, record.to_string()).expect("write");
    assert_eq!(world.runtime.state("c1").expect("state").status, Status::Stopped);
    assert_eq!(world.runtime.kill("c1", 9, false).expect_err("other").to_string(), "container not running");
    assert!(!has_ended(pid), "somebody else's process is left alone");
    std::fs::write(&path, text).expect("write");
    world.runtime.delete("c1", true).expect("delete");
    wait_for(pid);
}

#[test]
fn pid_files_are_written_before_the_return() {
    let Some(world) = World::new() else { return };
    world.write("c1", world.spec("true"));
    let path = world.directory.path().join("pid");
    let request = cais_bundle::CreateRequest { pid_file: Some(path.clone()), ..world.request("c1") };
    let pid = world.runtime.create(&request).expect("create");
    assert_eq!(std::fs::read_to_string(&path).expect("read"), pid.to_string());
    world.write("c2", world.spec("true"));
    let request = cais_bundle::CreateRequest {
        pid_file: Some(world.directory.path().join("no/such/pid")),
        ..world.request("c2")
    };
    let refused = world.runtime.create(&request).expect_err("no directory").to_string();
    assert!(refused.ends_with("/no/such/pid: no such file or directory"), "{refused}");
    world.assert_gone("c2");
}
