//! Filters with and without a listener.

use std::os::fd::AsRawFd;

use cais_plan::wire::{self, sync};
use cais_plan::{Bytes, Step};

use super::rig::{Rig, go, need_root, receive};

const ALLOW: u32 = 0x7fff_0000;
const NOTIFY: u32 = 0x7fc0_0000;
const ERRNO_EPERM: u32 = 0x0005_0001;
const NEW_LISTENER: u32 = 1 << 3;
const TSYNC: u32 = 1;

#[cfg(target_arch = "x86_64")]
mod numbers {
    pub(super) const MKDIR: [u32; 2] = [83, 258];
    pub(super) const READ: u32 = 0;
    pub(super) const SENDMSG: u32 = 46;
    pub(super) const CLOSE_RANGE: u32 = 436;
}
#[cfg(target_arch = "aarch64")]
mod numbers {
    pub(super) const MKDIR: [u32; 2] = [34, 34];
    pub(super) const READ: u32 = 63;
    pub(super) const SENDMSG: u32 = 211;
    pub(super) const CLOSE_RANGE: u32 = 436;
}

/// `answer` for the calls, everything else allowed: load the number, one comparison each.
fn filter(calls: &[u32], answer: u32) -> Vec<u8> {
    let instruction = |code: u16, yes: u8, no: u8, k: u32| {
        let mut bytes = [0_u8; 8];
        bytes[..2].copy_from_slice(&code.to_ne_bytes());
        (bytes[2], bytes[3]) = (yes, no);
        bytes[4..].copy_from_slice(&k.to_ne_bytes());
        bytes
    };
    let mut program = instruction(0x20, 0, 0, 0).to_vec();
    for (at, call) in calls.iter().enumerate() {
        program.extend(instruction(0x15, (calls.len() - at) as u8, 0, *call));
    }
    program.extend(instruction(0x06, 0, 0, ALLOW));
    program.extend(instruction(0x06, 0, 0, answer));
    program
}

#[test]
fn a_filter_holds_from_the_command_on() {
    need_root!();
    let mut rig = Rig::new();
    // What the shim itself needs for its own order is done before.
    let program = filter(&[numbers::MKDIR[0], numbers::MKDIR[1], numbers::CLOSE_RANGE], ERRNO_EPERM);
    rig.enter().push(&Step::NoNewPrivileges {});
    rig.push(&Step::SeccompFilter { filter: Bytes(&program), flags: TSYNC, listener: false });
    rig.push(&Step::Capabilities { effective: 0, permitted: 0, inheritable: 0, ambient: 0 });
    rig.script("mkdir /tmp/x 2>&1; grep CapEff /proc/self/status; ls /proc/self/fd");
    let running = rig.run();
    running.expect_executed();
    let (text, _) = running.end();
    let wanted = "mkdir: can't create directory '/tmp/x': Operation not permitted\nCapEff:\t0000000000000000\n0\n1\n2\n3\n";
    assert_eq!(text, wanted);
}

#[test]
fn a_listener_goes_to_the_starter() {
    need_root!();
    // Even the call that would send it, and the one that waits for the go, ask the listener.
    let calls = [numbers::MKDIR[0], numbers::MKDIR[1], numbers::SENDMSG];
    let program = filter(&calls, NOTIFY);
    for started in [true, false] {
        let mut rig = Rig::new();
        rig.start = started;
        rig.enter().point(sync::READY);
        if started {
            rig.push(&Step::WaitStart {});
        }
        let flags = NEW_LISTENER | TSYNC;
        rig.push(&Step::SeccompFilter { filter: Bytes(&program), flags, listener: true });
        rig.script("mkdir /tmp/x 2>&1; ls /proc/self/fd");
        let running = rig.run();
        running.expect_ready("");
        let starter = if started {
            running.expect_executed();
            let starter = running.connect();
            go(&starter, "");
            starter
        } else {
            rustix::io::dup(&running.sync).expect("dup")
        };
        let packet = receive(&starter).expect("the listener");
        assert_eq!(packet.kind, wire::LISTENER);
        let listener = packet.fd.expect("a descriptor");
        let link = std::fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd())).expect("link");
        assert_eq!(link.to_str(), Some("anon_inode:seccomp notify"));
        let status = std::fs::read_to_string(format!("/proc/{}/comm", running.pid)).expect("comm");
        assert_eq!(status, "cais-init\n", "it waits for the go");
        go(&starter, "");
        assert!(receive(&starter).is_none(), "executed");
        // Nobody answers any more.
        drop(listener);
        let (text, _) = running.end();
        let wanted = "mkdir: can't create directory '/tmp/x': Function not implemented\n0\n1\n2\n3\n";
        assert_eq!(text, wanted);
    }
}

#[test]
fn a_filter_that_forbids_waiting_for_the_go() {
    need_root!();
    let program = filter(&[numbers::READ], ERRNO_EPERM);
    let mut notify = program.clone();
    // The same with a listener: a second answer that no call gets.
    notify.extend([0x06, 0, 0, 0]);
    notify.extend(NOTIFY.to_ne_bytes());
    let mut rig = Rig::new();
    rig.enter();
    rig.push(&Step::SeccompFilter { filter: Bytes(&notify), flags: NEW_LISTENER, listener: true });
    rig.script("echo never");
    let running = rig.run();
    let packet = receive(&running.sync).expect("the listener");
    assert_eq!(packet.kind, wire::LISTENER);
    // A shell cannot read its own libraries either: it only has to be executed.
    assert!(receive(&running.sync).is_none(), "executed");
    running.end();
}

#[test]
fn a_filter_that_the_kernel_refuses() {
    need_root!();
    for listener in [true, false] {
        let mut rig = Rig::new();
        rig.enter();
        let flags = if listener { NEW_LISTENER } else { 0 };
        rig.push(&Step::SeccompFilter { filter: Bytes(&[0; 8]), flags, listener });
        let running = rig.run();
        let (index, errno, ..) = running.expect_failure();
        assert_eq!((index, errno), (5, rustix::io::Errno::INVAL.raw_os_error()));
        assert_eq!(running.end().1, 127);
    }
}
