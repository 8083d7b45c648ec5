//! Filters with a listener: who watches gets it at `start` and at `exec`.

use std::io::Read;
use std::os::unix::net::UnixListener;

use cais_oci::runtime::ContainerProcessState;
use serde_json::json;

use super::bundle::{World, wait_for};

#[test]
fn listeners_go_to_the_watcher() {
    let Some(world) = World::new() else { return };
    let path = world.directory.path().join("seccomp.sock");
    let listener = UnixListener::bind(&path).expect("bind");
    let mut spec = world.spec("sleep 1000");
    spec["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": path,
        "listenerMetadata": "words",
        "syscalls": [{"names": ["mkdirat", "mkdir"], "action": "SCMP_ACT_NOTIFY"}],
    });
    let pid = world.create("c1", spec).expect("create");
    let receive = || {
        let (mut connection, _) = listener.accept().expect("accept");
        let mut text = String::new();
        connection.read_to_string(&mut text).expect("read");
        serde_json::from_str::<ContainerProcessState>(&text).expect("a state")
    };
    world.runtime.start("c1").expect("start");
    let state = receive();
    assert_eq!((state.pid, state.metadata.as_deref()), (pid, Some("words")));
    assert_eq!((state.fds.as_slice(), state.state.id.as_str()), (&["seccompFd".to_owned()][..], "c1"));
    let process = world.runtime.process_of("c1").expect("process");
    let request = cais_bundle::ExecRequest {
        id: "c1".to_owned(),
        process: cais_oci::runtime::Process { args: vec!["true".to_owned()], ..process },
        ..Default::default()
    };
    assert_eq!(world.runtime.exec(&request).expect("exec"), 0);
    let state = receive();
    assert_eq!(state.state.pid, Some(pid));
    assert_ne!(state.pid, pid);
    drop(listener);
    std::fs::remove_file(&path).expect("remove");
    let text = world.runtime.exec(&request).expect_err("nobody watches").to_string();
    assert!(text.starts_with("failed to connect with seccomp agent at "), "{text}");
    world.runtime.delete("c1", true).expect("delete");
    wait_for(pid);
    world.assert_gone("c1");
}
