//! Hooks inside the container.

use std::fs::File;
use std::os::fd::OwnedFd;

use cais_plan::wire::{self, detail, sync};
use cais_plan::{Bytes, Step, Str, Strings, join_strings};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use super::rig::{Rig, Running, go, need_root, receive};

/// A shell of the host (before the pivot) or of the container as a hook.
fn hook(rig: &mut Rig, shell: &str, script: &str, timeout_ms: u64) {
    let args = join_strings(["sh", "-c", script]);
    let env = join_strings(["PATH=/bin:/usr/bin", "WHO=hook"]);
    rig.push(&Step::Hook {
        path: Str(shell.as_bytes()),
        args: Strings(&args),
        env: Strings(&env),
        timeout_ms,
        filter: Bytes(&[]),
        filter_flags: 0,
        listener: false,
    });
}

fn with_hook(script: &str, timeout_ms: u64) -> Running {
    let mut rig = Rig::new();
    rig.take_root().mount_proc().point(sync::HOOKS);
    hook(&mut rig, "/bin/sh", script, timeout_ms);
    rig.pivot().script("cat /tmp/out");
    let running = rig.run();
    running.expect_point(sync::HOOKS);
    running
}

#[test]
fn the_state_is_on_standard_input() {
    need_root!();
    let running = with_hook("{ echo $WHO $0; cat; echo; ls /proc/self/fd; pwd; } > tmp/out; echo unseen", 0);
    go(&running.sync, "{\"status\":\"creating\"}");
    let root = running.root();
    let text = running.output();
    // In the mount namespace of the container, before it has another root; `ls` opens the directory itself.
    assert_eq!(text, format!("hook sh\n{{\"status\":\"creating\"}}\n0\n1\n2\n3\n{}\n", root.display()));
}

#[test]
fn a_long_state_comes_as_a_file() {
    need_root!();
    let running = with_hook("wc -c > tmp/out", 0);
    let text = cais_sys::spawn::sealed_memfd(c"state", &vec![b'x'; 300_000], false).expect("memfd");
    let fds = [std::os::fd::AsFd::as_fd(&text)];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(&fds)));
    let parts = [std::io::IoSlice::new(&[wire::GO])];
    rustix::net::sendmsg(&running.sync, &parts, &mut ancillary, SendFlags::NOSIGNAL).expect("send");
    assert_eq!(running.output().trim(), "300000");
}

#[test]
fn a_long_state_in_a_packet() {
    need_root!();
    let running = with_hook("wc -c > tmp/out", 0);
    go(&running.sync, &"x".repeat(100_000));
    assert_eq!(running.output().trim(), "100000");
}

#[test]
fn a_failing_hook_is_told_with_what_it_said() {
    need_root!();
    let running = with_hook("echo out; echo err >&2; exit 3", 1_000_000);
    go(&running.sync, "");
    assert_eq!(running.expect_failure(), (4, 3, detail::HOOK, "out\nerr\n".to_owned()));
    assert_eq!(running.end(), (String::new(), 127));
    let running = with_hook("head -c 100000 /dev/zero | tr '\\0' x; echo last; kill -9 $$", 0);
    go(&running.sync, "");
    let (index, status, word, said) = running.expect_failure();
    assert_eq!((index, status, word), (4, 137, detail::HOOK));
    assert!(said.ends_with("xxxlast\n") && said.len() == 2048, "the last bytes: {}", said.len());
    running.end();
}

#[test]
fn a_hook_that_takes_too_long_is_killed() {
    need_root!();
    let running = with_hook("echo waits; sleep 1000", 50);
    go(&running.sync, "");
    let (index, errno, word, said) = running.expect_failure();
    assert_eq!((index, errno, word), (4, Errno::TIMEDOUT.raw_os_error(), detail::HOOK_TIMEOUT));
    assert_eq!(said, "waits\n");
    running.end();
}

#[test]
fn a_hook_that_is_missing_is_told() {
    need_root!();
    let mut rig = Rig::new();
    rig.take_root().point(sync::HOOKS);
    hook(&mut rig, "/no/such/hook", "", 0);
    let running = rig.run();
    running.expect_point(sync::HOOKS);
    go(&running.sync, "");
    assert_eq!(running.expect_failure(), (3, Errno::NOENT.raw_os_error(), detail::NONE, String::new()));
    running.end();
}

#[test]
fn hooks_of_the_start_have_its_state() {
    need_root!();
    let mut rig = Rig::new();
    rig.start = true;
    rig.preserved.push(OwnedFd::from(File::open("/dev/zero").expect("zero")));
    rig.enter().point(sync::READY).push(&Step::WaitStart {});
    rig.push(&Step::Umask { mode: 0o27 });
    hook(&mut rig, "/bin/sh", "cat > /tmp/out; umask >> /tmp/out; ls /proc/self/fd >> /tmp/out", 0);
    hook(&mut rig, "/bin/sh", "grep -q created /tmp/out", 0);
    rig.script("cat /tmp/out; umask");
    let running = rig.run();
    running.expect_ready("earlier");
    running.expect_executed();
    let starter = running.connect();
    go(&starter, "created\n");
    let answer = receive(&starter);
    assert!(answer.is_none(), "{:?}", answer.map(|packet| packet.failure()));
    assert_eq!(running.end(), ("created\n0027\n0\n1\n2\n3\n0027\n".to_owned(), 0));
}
