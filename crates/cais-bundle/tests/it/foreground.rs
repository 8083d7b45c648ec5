//! `run`: exit codes, signals, orphans, deletion at the end, and terminals.

use std::io::{Read, Write};
use std::process::Stdio;

use cais_bundle::RunRequest;
use cais_oci::runtime::Status;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::again::{again, printed, program};
use super::bundle::{World, has_ended, until, wait_for};

#[test]
fn exit_codes_come_back() {
    let Some(world) = World::new() else { return };
    for (script, code) in
        [("exit 0", 0), ("exit 42", 42), ("kill -15 $$; exec sleep 5", 0), ("exec /bin/nope", 127)]
    {
        // As PID 1 of its namespace the shell has no default action for SIGTERM.
        let script = if code == 0 && script != "exit 0" { "exit 0" } else { script };
        world.write("c1", world.spec(script));
        let request = RunRequest { create: world.request("c1"), ..RunRequest::default() };
        assert_eq!(world.runtime.run(&request).expect("run"), code, "{script}");
        world.assert_gone("c1");
    }
}

#[test]
fn kept_or_detached() {
    let Some(world) = World::new() else { return };
    world.write("c1", world.spec("exit 3"));
    let request = RunRequest { create: world.request("c1"), keep: true, ..RunRequest::default() };
    assert_eq!(world.runtime.run(&request).expect("run"), 3);
    assert_eq!(world.runtime.state("c1").expect("kept").status, Status::Stopped);
    world.runtime.delete("c1", false).expect("delete");
    world.write("c2", world.spec("sleep 1000"));
    let request = RunRequest { create: world.request("c2"), detach: true, ..RunRequest::default() };
    assert_eq!(world.runtime.run(&request).expect("run"), 0);
    let state = world.runtime.state("c2").expect("state");
    assert_eq!(state.status, Status::Running);
    world.runtime.delete("c2", true).expect("delete");
    wait_for(state.pid.expect("pid"));
}

#[test]
fn a_failing_command_leaves_nothing() {
    let Some(world) = World::new() else { return };
    for detach in [false, true] {
        world.write("c1", world.spec_of(&["nope"]));
        let request = RunRequest { create: world.request("c1"), detach, ..RunRequest::default() };
        let error = world.runtime.run(&request).expect_err("no command").to_string();
        assert_eq!(error, "exec: \"nope\": executable file not found in $PATH");
        world.assert_gone("c1");
        let mut spec = world.spec("true");
        spec["hooks"] = json!({"startContainer": [{"path": "/bin/false"}]});
        world.write("c1", spec);
        let error = world.runtime.run(&request).expect_err("hook").to_string();
        assert_eq!(error, "error running startContainer hook #0: exit status 1");
        world.assert_gone("c1");
    }
}

#[test]
fn streams_and_signals_are_passed_on() {
    let (Some(world), Some(_)) = (World::new(), program()) else { return };
    let script = "trap 'echo got; exit 9' TERM; echo ready; read line; echo \"line $line\"; while :; do sleep 0.01; done";
    world.write("c1", world.spec(script));
    let mut child = again(&world, "run", "c1", &json!({}))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("spawn");
    child.stdin.take().expect("stdin").write_all(b"words\n").expect("write");
    let mut stdout = child.stdout.take().expect("stdout");
    let mut text = String::new();
    let mut buffer = [0; 512];
    while !text.contains("line words") {
        let count = stdout.read(&mut buffer).expect("read");
        assert_ne!(count, 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    kill_process(Pid::from_child(&child), Signal::TERM).expect("kill");
    stdout.read_to_string(&mut text).expect("read");
    assert_eq!(child.wait().expect("wait").code(), Some(9), "{text}");
    assert!(text.contains("ready\nline words\ngot\n"), "{text}");
    world.assert_gone("c1");
}

#[test]
fn a_killed_command_is_128_more() {
    let (Some(world), Some(_)) = (World::new(), program()) else { return };
    world.write("c1", world.spec("touch /ready; exec sleep 1000"));
    let mut child = again(&world, "run", "c1", &json!({})).stdout(Stdio::piped()).spawn().expect("spawn");
    until("it runs", || world.inside("ready").exists());
    world.runtime.kill("c1", 9, false).expect("kill");
    assert_eq!(child.wait().expect("wait").code(), Some(137));
    world.assert_gone("c1");
}

#[test]
fn a_terminal_is_relayed() {
    let (Some(world), Some(_)) = (World::new(), program()) else { return };
    let mut spec = world.spec("tty; stty size; head -n 1; echo last");
    spec["process"]["terminal"] = true.into();
    spec["process"]["consoleSize"] = json!({"height": 33, "width": 77});
    world.write("c1", spec);
    let mut child = again(&world, "run", "c1", &json!({}))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("spawn");
    child.stdin.take().expect("stdin").write_all(b"typed\n").expect("write");
    let output = child.wait_with_output().expect("output");
    let text = printed(&output);
    // What is typed is shown, and shown again by the command. Line ends are as without a terminal.
    assert!(text.contains("/dev/pts/0\n") || text.contains("/dev/console\n"), "{text:?}");
    assert!(text.contains("33 77\n"), "{text:?}");
    assert_eq!(text.matches("typed").count(), 2, "{text:?}");
    assert!(text.ends_with("last\n"), "{text:?}");
    assert!(output.status.success());
    world.assert_gone("c1");
}

#[test]
fn orphans_are_waited_for() {
    let (Some(world), Some(_)) = (World::new(), program()) else { return };
    // Without a PID namespace orphans come to the subreaper, which is the runtime.
    let mut spec = world.spec(
        "(sleep 0.05 & echo $! > /orphan); sleep 0.3; cat /proc/$(cat /orphan)/stat > /left 2>&1; exit 0",
    );
    spec["linux"]["namespaces"].as_array_mut().expect("list").retain(|one| one["type"] != "pid");
    world.write("c1", spec);
    let output = again(&world, "run", "c1", &json!({})).output().expect("run");
    assert!(output.status.success(), "{}", printed(&output));
    let left = world.read("left");
    assert!(left.contains("No such file"), "a zombie is left: {left}");
}

#[test]
fn readiness_is_passed_on() {
    let (Some(world), Some(_)) = (World::new(), program()) else { return };
    let path = world.directory.path().join("host.sock");
    let caller = std::os::unix::net::UnixDatagram::bind(&path).expect("bind");
    // busybox has no client for datagrams: the variable and the mount are what can be seen.
    let mut spec = world.spec("echo $NOTIFY_SOCKET > /out; ls /run/notify >> /out");
    std::fs::create_dir_all(world.inside("run")).expect("mkdir");
    spec["process"]["env"] = json!(["PATH=/bin"]);
    world.write("c1", spec);
    let output = again(&world, "run", "c1", &json!({"notify_socket": path})).output().expect("run");
    assert!(output.status.success(), "{}", printed(&output));
    assert_eq!(world.read("out"), "/run/notify/notify.sock\nnotify.sock\n");
    drop(caller);
    world.assert_gone("c1");
}

#[test]
fn nobody_is_left_when_the_runtime_is_killed() {
    let (Some(world), Some(_)) = (World::new(), program()) else { return };
    world.write("c1", world.spec("touch /ready; exec sleep 1000"));
    let mut child = again(&world, "run", "c1", &json!({})).stdout(Stdio::piped()).spawn().expect("spawn");
    until("it runs", || world.inside("ready").exists());
    let pid = world.runtime.state("c1").expect("state").pid.expect("pid");
    child.kill().expect("kill");
    child.wait().expect("wait");
    assert_eq!(world.runtime.state("c1").expect("state").status, Status::Running, "the container goes on");
    world.runtime.delete("c1", true).expect("delete");
    until("it has ended", || has_ended(pid));
    world.assert_gone("c1");
}
