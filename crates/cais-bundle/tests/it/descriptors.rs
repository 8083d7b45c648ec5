//! What a caller passes: descriptors, sockets for terminals and pidfds; and what must not get in.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;

use cais_bundle::CreateRequest;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::json;

use super::again::{again, printed, program};
use super::bundle::{World, wait_for};

/// One message with one descriptor.
fn receive(listener: &UnixListener) -> (String, OwnedFd) {
    let (connection, _) = listener.accept().expect("accept");
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut buffer = [0; 256];
    let received = recvmsg(
        connection.as_fd(),
        &mut [std::io::IoSliceMut::new(&mut buffer)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )
    .expect("recvmsg");
    let fd = control
        .drain()
        .find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        })
        .expect("a descriptor");
    (String::from_utf8_lossy(&buffer[..received.bytes]).into_owned(), fd)
}

#[test]
fn a_terminal_goes_to_the_console_socket() {
    let Some(world) = World::new() else { return };
    let path = world.directory.path().join("console.sock");
    let listener = UnixListener::bind(&path).expect("bind");
    let mut spec = world.spec("tty > /tty; stty size > /size; echo shown; read line; exit 4");
    spec["process"]["terminal"] = true.into();
    spec["process"]["consoleSize"] = json!({"height": 40, "width": 100});
    world.write("c1", spec.clone());
    let without = world.runtime.create(&world.request("c1")).expect_err("no socket").to_string();
    assert!(without.starts_with("cannot allocate tty"), "{without}");
    let request = CreateRequest { console_socket: Some(path), ..world.request("c1") };
    let pid = world.runtime.create(&request).expect("create");
    let (name, master) = receive(&listener);
    assert!(!name.is_empty());
    world.runtime.start("c1").expect("start");
    let mut text = String::new();
    let mut buffer = [0; 256];
    while !text.contains("shown") {
        let count = rustix::io::read(&master, &mut buffer).expect("read");
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    rustix::io::write(&master, b"go\n").expect("write");
    assert_eq!(wait_for(pid), 4);
    assert!(world.read("tty").starts_with("/dev/"), "{}", world.read("tty"));
    assert_eq!(world.read("size"), "40 100\n");
    world.runtime.delete("c1", false).expect("delete");
    let request = CreateRequest { console_socket: Some("/tmp/x".into()), ..world.request("c2") };
    spec["process"]["terminal"] = false.into();
    world.write("c2", spec);
    let unused = world.runtime.create(&request).expect_err("no terminal").to_string();
    assert!(unused.starts_with("cannot use console socket"), "{unused}");
}

#[test]
fn a_pidfd_goes_to_its_socket() {
    let Some(world) = World::new() else { return };
    let path = world.directory.path().join("pidfd.sock");
    let listener = UnixListener::bind(&path).expect("bind");
    world.write("c1", world.spec("sleep 1000"));
    let request = CreateRequest { pidfd_socket: Some(path), ..world.request("c1") };
    let pid = world.runtime.create(&request).expect("create");
    let (word, pidfd) = receive(&listener);
    assert_eq!(word, "standard");
    rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL).expect("signal");
    assert_eq!(wait_for(pid), 137);
}

#[test]
fn only_what_is_preserved_gets_in() {
    let (Some(world), Some(_)) = (World::new(), program()) else { return };
    let file = world.directory.path().join("file");
    std::fs::write(&file, "from outside\n").expect("write");
    let shell = format!("exec 3<{0} 4<{0} 5<{0} 9<{0}; exec \"$@\"", file.display());
    world.write("c1", world.spec("cat <&4; echo $LISTEN_FDS $LISTEN_PID; ls /proc/self/fd"));
    let detail = json!({"shell": shell, "preserve_fds": 2, "listen_fds": 1});
    let output = again(&world, "run", "c1", &detail).output().expect("run");
    // `ls` opens the directory itself, as 6.
    assert_eq!(printed(&output), "from outside\n1 1\n0\n1\n2\n3\n4\n5\n6\n");
    let detail = json!({"shell": shell, "preserve_fds": 4});
    let output = again(&world, "run", "c1", &detail).output().expect("run");
    let text = printed(&output);
    assert_eq!(text, "failed: unable to stat preserved-fd 3 (of 4): bad file descriptor\n");
    let detail = json!({"shell": shell});
    let output = again(&world, "run", "c1", &detail).output().expect("run");
    assert_eq!(printed(&output), "\n0\n1\n2\n3\n");
    world.assert_gone("c1");
}
