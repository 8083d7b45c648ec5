//! All six kinds of hooks: when, where, with which state; and what a failing one does.

use cais_oci::runtime::{State, Status};
use serde_json::{Value, json};

use super::bundle::{World, has_ended, wait_for};

/// A hook that appends its name and the state to a file, and says where it runs.
fn hook(name: &str, to: &str, shell: &str) -> Value {
    let script = format!("{{ echo \"{name} $(readlink /proc/self/ns/uts) $A\"; cat; echo; }} >> {to}");
    json!([{"path": shell, "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin", "A=b"]}])
}

#[test]
fn all_six_in_order_with_the_state() {
    let Some(world) = World::new() else { return };
    let log = world.inside("log");
    let outside = log.to_str().expect("text");
    let mut spec = world.spec("echo command >> /log");
    spec["annotations"] = json!({"some": "words"});
    spec["hooks"] = json!({
        "prestart": hook("prestart", outside, "/bin/sh"),
        "createRuntime": hook("createRuntime", outside, "/bin/sh"),
        "createContainer": hook("createContainer", outside, "/bin/sh"),
        "startContainer": hook("startContainer", "/log", "/bin/sh"),
        "poststart": hook("poststart", outside, "/bin/sh"),
        "poststop": hook("poststop", outside, "/bin/sh"),
    });
    let pid = world.create("c1", spec).expect("create");
    let names = |text: &str| -> Vec<String> {
        let words = text.lines().filter(|line| !line.starts_with('{') && !line.is_empty());
        words.map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(names(&world.read("log")), ["prestart", "createRuntime", "createContainer"]);
    world.runtime.start("c1").expect("start");
    wait_for(pid);
    world.runtime.delete("c1", false).expect("delete");
    let text = world.read("log");
    let mut order = names(&text);
    // The command runs at the same time as the hooks after its start.
    order.retain(|name| name != "command");
    assert_eq!(
        order,
        ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
    );
    let states: Vec<State> = text
        .lines()
        .filter(|l| l.starts_with('{'))
        .map(|l| serde_json::from_str(l).expect("state"))
        .collect();
    let statuses: Vec<Status> = states.iter().map(|state| state.status).collect();
    use Status::{Created, Creating, Running, Stopped};
    // What runtime-tools demands of `prestart`, and crun does.
    assert_eq!(statuses, [Created, Creating, Creating, Created, Running, Stopped]);
    for state in &states[..5] {
        assert_eq!((state.pid, state.id.as_str()), (Some(pid), "c1"));
        assert_eq!(state.annotations["some"], "words");
        assert_eq!(state.bundle, world.bundle().to_str().expect("text"));
    }
    assert_eq!(states[5].pid, None);
    let host = std::fs::read_link("/proc/self/ns/uts").expect("link");
    let line = |name: &str| text.lines().find(|line| line.starts_with(name)).expect("a line").to_owned();
    for (name, is_host) in [
        ("prestart", true),
        ("createRuntime", true),
        ("createContainer", false),
        ("startContainer", false),
        ("poststart", true),
        ("poststop", true),
    ] {
        assert_eq!(line(name).contains(host.to_str().expect("text")), is_host, "{}", line(name));
        assert!(line(name).ends_with(" b"), "its environment");
    }
}

#[test]
fn a_failing_hook_of_create_leaves_nothing() {
    let Some(world) = World::new() else { return };
    let marker = world.directory.path().join("poststop");
    for name in ["prestart", "createRuntime", "createContainer"] {
        let mut spec = world.spec("true");
        let poststop = format!("touch {}", marker.display());
        spec["hooks"] = json!({
            name: [{"path": "/bin/true"}, {"path": "/bin/sh", "args": ["sh", "-c", "exit 5"]}],
            "poststop": [{"path": "/bin/sh", "args": ["sh", "-c", poststop], "env": ["PATH=/bin:/usr/bin"]}],
        });
        let text = world.refusal("c1", spec);
        assert!(text.starts_with(&format!("error running {name} hook #1: exit status 5")), "{text}");
        world.assert_gone("c1");
        assert!(marker.exists(), "{name}: the hooks of the end run");
        std::fs::remove_file(&marker).expect("remove");
    }
}

#[test]
fn a_failing_hook_of_start_stops_the_container() {
    let Some(world) = World::new() else { return };
    for name in ["startContainer", "poststart"] {
        let mut spec = world.spec("touch /ran; sleep 1000");
        spec["hooks"] = json!({name: [{"path": "/bin/true"}, {"path": "/bin/false"}]});
        let pid = world.create("c1", spec).expect("create");
        let text = world.runtime.start("c1").expect_err("the hook fails").to_string();
        assert!(text.starts_with(&format!("error running {name} hook #1: exit status 1")), "{text}");
        wait_for(pid);
        assert_eq!(world.runtime.state("c1").expect("state").status, Status::Stopped);
        assert_eq!(world.inside("ran").exists(), name == "poststart" && world.inside("ran").exists());
        world.runtime.delete("c1", false).expect("delete");
        world.assert_gone("c1");
        let _ = std::fs::remove_file(world.inside("ran"));
    }
}

#[test]
fn hooks_that_take_too_long_are_killed() {
    let Some(world) = World::new() else { return };
    for (name, within) in [("createRuntime", false), ("createContainer", false), ("startContainer", true)] {
        let mut spec = world.spec("true");
        spec["hooks"] = json!({name: [{"path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1}]});
        let text = if within {
            let pid = world.create("c1", spec).expect("create");
            let text = world.runtime.start("c1").expect_err("too long").to_string();
            wait_for(pid);
            world.runtime.delete("c1", true).expect("delete");
            text
        } else {
            world.refusal("c1", spec)
        };
        let expected = format!("error running {name} hook #0: hook ran past specified timeout");
        assert!(text.starts_with(&expected), "{text}");
        world.assert_gone("c1");
    }
}

#[test]
fn failing_hooks_of_the_end_are_warnings() {
    let Some(world) = World::new() else { return };
    let marker = world.directory.path().join("second");
    let mut spec = world.spec("sleep 1000");
    let second = format!("touch {}", marker.display());
    spec["hooks"] = json!({"poststop": [
        {"path": "/bin/false"},
        {"path": "/bin/sh", "args": ["sh", "-c", second], "env": ["PATH=/bin:/usr/bin"]},
    ]});
    let pid = world.launch("c1", spec);
    world.runtime.delete("c1", true).expect("delete");
    wait_for(pid);
    assert!(marker.exists());
    let warnings = world.runtime.take_warnings();
    assert!(warnings[0].starts_with("error running poststop hook #0: exit status 1"), "{warnings:?}");
    world.assert_gone("c1");
}

#[test]
fn hooks_inside_get_large_states() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec("true");
    spec["annotations"] = json!({"large": "x".repeat(200_000)});
    let log = world.inside("log");
    spec["hooks"] = json!({
        "createContainer": hook("createContainer", log.to_str().expect("text"), "/bin/sh"),
        "startContainer": hook("startContainer", "/log", "/bin/sh"),
    });
    assert_eq!(world.run("c1", spec), 0);
    let text = world.read("log");
    let states = text.lines().filter(|line| line.starts_with('{'));
    let sizes: Vec<usize> = states
        .map(|line| serde_json::from_str::<State>(line).expect("state").annotations["large"].len())
        .collect();
    assert_eq!(sizes, [200_000, 200_000]);
}

#[test]
fn a_hook_sees_the_container_being_made() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec("true");
    let copy = world.directory.path().join("copy");
    let script = format!(
        "cp {}/state/c1/state.json {}; test -d /proc/$(cat {0}/state/c1/state.json | tr ',' '\\n' | grep '\"pid\"' | tr -dc 0-9)",
        world.directory.path().display(),
        copy.display()
    );
    spec["hooks"] = json!({"createRuntime": [
        {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}]});
    let pid = world.create("c1", spec).expect("create");
    let record: Value = serde_json::from_slice(&std::fs::read(copy).expect("copy")).expect("JSON");
    assert_eq!(
        (record["init"]["pid"].as_i64(), record["complete"].as_bool()),
        (Some(pid.into()), Some(false))
    );
    assert!(!has_ended(pid));
}
