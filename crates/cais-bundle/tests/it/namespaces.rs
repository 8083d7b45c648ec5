//! New and joined namespaces.

use std::fs;

use serde_json::{Value, json};

use super::bundle::{World, wait_for};

fn link(pid: i32, kind: &str) -> String {
    fs::read_link(format!("/proc/{pid}/ns/{kind}")).expect("link").to_string_lossy().into_owned()
}

fn set_path(spec: &mut Value, kind: &str, path: &str) {
    let list = spec["linux"]["namespaces"].as_array_mut().expect("list");
    list.retain(|one| one["type"] != kind);
    list.push(json!({"type": kind, "path": path}));
}

#[test]
fn a_user_namespace() {
    let Some(world) = World::new() else { return };
    let mut spec =
        world.spec("id -u > /tmp/out; cat /proc/self/uid_map /proc/self/gid_map >> /tmp/out; sleep 1000");
    spec["linux"]["namespaces"].as_array_mut().expect("list").push(json!({"type": "user"}));
    let maps = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    spec["linux"]["uidMappings"] = maps.clone();
    spec["linux"]["gidMappings"] = maps;
    spec["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(world.inside("tmp"), mode).expect("chmod");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(world.directory.path(), mode).expect("chmod");
    let pid = world.launch("c1", spec);
    super::bundle::until("it wrote", || {
        fs::read_to_string(world.inside("tmp/out")).is_ok_and(|text| text.lines().count() == 3)
    });
    let text = world.read("tmp/out");
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    assert_eq!(words, ["0", "0", "100000", "65536", "0", "100000", "65536"]);
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(world.inside("tmp/out")).expect("stat"));
    assert_eq!(owner, 100_000);
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("limits");
    let files = limits.lines().find(|line| line.starts_with("Max open files")).expect("a line");
    assert_eq!(files.split_ascii_whitespace().skip(3).take(2).collect::<Vec<_>>(), ["100", "200"]);
    let process = world.runtime.process_of("c1").expect("process");
    let request = cais_bundle::ExecRequest {
        id: "c1".to_owned(),
        process: cais_oci::runtime::Process {
            args: ["sh", "-c", "readlink /proc/self/ns/user > /tmp/ns"].map(str::to_owned).to_vec(),
            ..process
        },
        ..Default::default()
    };
    assert_eq!(world.runtime.exec(&request).expect("exec"), 0);
    assert_eq!(world.read("tmp/ns").trim_end(), link(pid, "user"));
    world.runtime.delete("c1", true).expect("delete");
    wait_for(pid);
    world.assert_gone("c1");
}

#[test]
fn a_sandbox_is_joined() {
    let Some(world) = World::new() else { return };
    let first = world.launch("c1", world.spec("sleep 1000"));
    for kinds in [&["network", "ipc", "uts"][..], &["pid"], &["network", "ipc", "uts", "pid", "cgroup"]] {
        let mut spec = world.spec("sleep 1000");
        for kind in kinds {
            let file = if *kind == "network" { "net" } else { kind };
            set_path(&mut spec, kind, &format!("/proc/{first}/ns/{file}"));
        }
        if kinds.contains(&"uts") {
            spec.as_object_mut().expect("object").remove("hostname");
        }
        let second = world.launch("c2", spec);
        for kind in ["network", "ipc", "uts", "pid"] {
            let file = if kind == "network" { "net" } else { kind };
            assert_eq!(link(first, file) == link(second, file), kinds.contains(&kind), "{kinds:?}: {kind}");
        }
        assert_ne!(link(first, "mnt"), link(second, "mnt"));
        world.runtime.delete("c2", true).expect("delete");
        wait_for(second);
        world.assert_gone("c2");
    }
    assert!(!super::bundle::has_ended(first));
    world.runtime.delete("c1", true).expect("delete");
    wait_for(first);
}

#[test]
fn a_namespace_of_another_type_is_refused() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec("true");
    set_path(&mut spec, "network", "/proc/self/ns/ipc");
    assert_eq!(world.refusal("c1", spec), "namespace path /proc/self/ns/ipc is no network namespace");
    let mut spec = world.spec("true");
    set_path(&mut spec, "ipc", "/no/such/namespace");
    let text = world.refusal("c1", spec);
    assert_eq!(text, "open the ipc namespace /no/such/namespace: no such file or directory");
    world.assert_gone("c1");
}

#[test]
fn clocks_are_shifted() {
    let Some(world) = World::new() else { return };
    if !std::path::Path::new("/proc/self/ns/time").exists() {
        println!("skipped: the kernel has no time namespaces");
        return;
    }
    let mut spec = world.spec("cat /proc/uptime > /out");
    spec["linux"]["namespaces"].as_array_mut().expect("list").push(json!({"type": "time"}));
    spec["linux"]["timeOffsets"] = json!({"boottime": {"secs": 1_000_000_000}});
    assert_eq!(world.run("c1", spec), 0);
    let uptime: f64 = world.read("out").split(' ').next().expect("a word").parse().expect("a number");
    assert!(uptime > 1e9, "{uptime}");
}

#[test]
fn network_devices_move_in() {
    let Some(world) = World::new() else { return };
    let made = std::process::Command::new("unshare")
        .args(["--net", "sh", "-c", "ip link add cais0 type veth peer name cais1"])
        .status();
    if !made.is_ok_and(|status| status.success()) {
        println!("skipped: no veth devices");
        return;
    }
    // In a network of our own: this thread's, from which the runtime moves the device.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            cais_sys::netns::unshare_network().expect("unshare");
            let ip = |line: &str| {
                let status = std::process::Command::new("ip").args(line.split(' ')).status().expect("ip");
                assert!(status.success(), "ip {line}");
            };
            ip("link add cais0 type veth peer name cais1");
            ip("addr add 10.11.12.13/24 dev cais0");
            let config =
                cais_bundle::Config { root: world.directory.path().join("state"), ..Default::default() };
            let runtime = cais_bundle::Runtime::new(config).expect("runtime");
            let mut spec = world.spec("cat /proc/net/dev /proc/net/fib_trie > /out; sleep 1000");
            spec["linux"]["netDevices"] = json!({"cais0": {"name": "inner0"}});
            world.write("c1", spec.clone());
            let pid = runtime.create(&world.request("c1")).expect("create");
            runtime.start("c1").expect("start");
            super::bundle::until("it wrote", || {
                fs::read_to_string(world.inside("out")).is_ok_and(|text| text.contains("10.11.12.13"))
            });
            assert!(world.read("out").contains("inner0:"));
            runtime.delete("c1", true).expect("delete");
            wait_for(pid);
            spec["linux"]["netDevices"] = json!({"nothere": {}});
            world.write("c2", spec);
            let text = runtime.create(&world.request("c2")).expect_err("no device").to_string();
            assert!(text.starts_with("there is no network interface nothere"), "{text}");
            world.assert_gone("c2");
        });
    });
}
