//! User namespaces, procfs and what is written to it.

use std::fs;

use cais_plan::wire::{detail, sync};
use cais_plan::{Bytes, Step, Str, Strings, role};

use super::rig::{
    EXTRA, MS_PRIVATE, MS_REC, NEWNS, NEWUSER, Rig, bind, filesystem, go, ids, need_root, receive,
};

const IDMAP_BASE: u32 = 200_000;

/// Maps as the runtime writes them at `SETUP`.
fn map(pid: i32) {
    for file in ["uid_map", "gid_map"] {
        fs::write(format!("/proc/{pid}/{file}"), format!("0 {IDMAP_BASE} 65536\n")).expect("map");
    }
}

#[test]
fn root_of_a_new_user_namespace() {
    need_root!();
    let mut rig = Rig::new();
    let root = rig.root();
    std::os::unix::fs::chown(&root, Some(IDMAP_BASE), Some(IDMAP_BASE)).expect("chown");
    rig.role = role::PARENT;
    rig.clone_flags |= NEWUSER;
    rig.point(sync::SETUP);
    rig.push(&ids(0, 0)).push(&Step::SwitchUser { groups: true });
    // Written by root of the namespace, whose own files these are.
    let score = Bytes(b"500");
    rig.push(&Step::WriteProc { file: Str(b"self/oom_score_adj"), content: score, optional: false });
    rig.enter().push(&ids(1000, 1000)).push(&Step::SwitchUser { groups: true });
    rig.script("id -u; cat /proc/self/uid_map /proc/self/oom_score_adj; stat -c %u /");
    let mut running = rig.run();
    running.adopt();
    running.expect_point(sync::SETUP);
    map(running.pid);
    go(&running.sync, "");
    let text = running.output();
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(words, ["1000", "0", "200000", "65536", "500", "0"]);
}

#[test]
fn locked_attributes_of_host_mounts_stay() {
    need_root!();
    const NOEXEC: u64 = 8;
    let mut rig = Rig::new();
    std::os::unix::fs::chown(rig.root(), Some(IDMAP_BASE), Some(IDMAP_BASE)).expect("chown");
    std::os::unix::fs::chown(rig.root().join("tmp"), Some(IDMAP_BASE), Some(IDMAP_BASE)).expect("chown");
    let outside = rig.directory.path().as_os_str().as_encoded_bytes().to_vec();
    let source = [outside.as_slice(), b"/source"].concat();
    rig.role = role::PARENT;
    // A mount namespace that belongs to the namespace above, with such a mount in it.
    rig.outer = 4;
    rig.push(&Step::Unshare { flags: NEWNS });
    rig.push(&Step::Propagate { flags: MS_PRIVATE | MS_REC });
    rig.push(&Step::OpenRoot { path: Str(&outside) });
    rig.push(&filesystem("tmpfs", "/source", NOEXEC, b""));
    rig.clone_flags |= NEWUSER;
    rig.point(sync::SETUP);
    rig.push(&ids(0, 0)).push(&Step::SwitchUser { groups: true });
    rig.push(&Step::OpenTree { source: Str(&source), slot: 0, recursive: true });
    rig.take_root();
    rig.push(&Step::Bind {
        slot: 0,
        target: Str(b"/tmp/bound"),
        set: 1,
        clear: NOEXEC,
        recursive_set: 0,
        recursive_clear: 0,
        propagation: 0,
        userns_fd: -1,
        recursive_map: false,
    });
    rig.mount_proc().pivot().script("grep ' /tmp/bound ' /proc/self/mountinfo");
    let mut running = rig.run();
    running.adopt();
    running.expect_point(sync::SETUP);
    map(running.pid);
    go(&running.sync, "");
    let text = running.output();
    assert!(text.contains(" ro,") && text.contains("noexec"), "{text}");
}

#[test]
fn owners_of_a_bind_mount_are_mapped() {
    need_root!();
    let namespace =
        cais_sys::namespace::with_maps("0 100000 65536\n", "0 100000 65536\n").expect("namespace");
    let mut rig = Rig::new();
    let source = rig.directory.path().join("source");
    fs::create_dir(&source).expect("directory");
    fs::write(source.join("file"), "").expect("file");
    std::os::unix::fs::chown(source.join("file"), Some(7), Some(8)).expect("chown");
    let path = source.into_os_string().into_encoded_bytes();
    rig.extra.push(namespace);
    rig.push(&Step::OpenTree { source: Str(&path), slot: 0, recursive: true });
    rig.push(&Step::OpenTree { source: Str(&path), slot: 1, recursive: true });
    rig.push(&Step::MapTree { slot: 1, userns_fd: EXTRA, recursive: true });
    rig.take_root();
    let Step::Bind { target, .. } = bind(0, "/tmp/a") else { unreachable!() };
    rig.push(&Step::Bind {
        slot: 0,
        target,
        set: 0,
        clear: 0,
        recursive_set: 2,
        recursive_clear: 0,
        propagation: 0,
        userns_fd: EXTRA,
        recursive_map: false,
    });
    rig.push(&bind(1, "/tmp/b")).mount_proc().pivot();
    rig.script(
        "stat -c %u:%g /tmp/a/file /tmp/b/file; grep -c '/tmp/a .*nosuid.*idmapped' /proc/self/mountinfo",
    );
    let text = rig.run().output();
    assert_eq!(text, "100007:100008\n100007:100008\n1\n");
}

#[test]
fn owners_of_a_new_file_system_are_mapped() {
    need_root!();
    let namespace =
        cais_sys::namespace::with_maps("0 100000 65536\n", "0 100000 65536\n").expect("namespace");
    let mut rig = Rig::new();
    rig.extra.push(namespace);
    rig.take_root();
    rig.push(&Step::Filesystem {
        fstype: Str(b"tmpfs"),
        source: Str(b"tmpfs"),
        target: Str(b"/tmp"),
        attributes: 0,
        options: Strings(b"mode=700\0"),
        propagation: 0,
        userns_fd: EXTRA,
        copy_up: false,
        optional: false,
    });
    rig.mount_proc().pivot().script("stat -c '%u %a' /tmp; grep -c '/tmp .*idmapped' /proc/self/mountinfo");
    let running = rig.run();
    if let Some(packet) = receive(&running.sync) {
        let failure = packet.failure();
        assert_eq!((failure.0, failure.1), (2, rustix::io::Errno::INVAL.raw_os_error()));
        println!("skipped: a kernel that maps no owners of tmpfs (before 6.3)");
        running.end();
        return;
    }
    assert_eq!(running.end(), ("100000 700\n1\n".to_owned(), 0));
}

#[test]
fn procfs_is_our_own() {
    need_root!();
    let mut rig = Rig::new();
    let write = |file: &'static str, content: &'static str, optional| Step::WriteProc {
        file: Str(file.as_bytes()),
        content: Bytes(content.as_bytes()),
        optional,
    };
    rig.clone_flags |= super::rig::NEWUTS;
    rig.push(&Step::ProcHandle {});
    rig.enter();
    // What the container has at /proc is of no account.
    rig.push(&filesystem("tmpfs", "/proc", 0, b""));
    rig.push(&write("self/oom_score_adj", "321", false));
    rig.push(&write("sys/kernel/domainname", "example.org", false));
    rig.push(&write("sys/no/such/file", "", true));
    rig.push(&write("self/root/tmp/file", "", true));
    rig.mount_proc().script("cat /proc/self/oom_score_adj /proc/sys/kernel/domainname");
    assert_eq!(rig.run().output(), "321\nexample.org\n");
}

#[test]
fn what_leads_out_of_procfs_is_refused() {
    need_root!();
    for file in ["self/root/tmp/file", "self/cwd/tmp/file", "../tmp/file"] {
        let mut rig = Rig::new();
        fs::write(rig.root().join("tmp/file"), "old").expect("write");
        rig.enter();
        rig.push(&Step::WriteProc { file: Str(file.as_bytes()), content: Bytes(b"new"), optional: false });
        let running = rig.run();
        let (index, _, word, _) = running.expect_failure();
        assert_eq!(index, 5);
        assert!(word == detail::NOT_PROC || file.starts_with("self"), "{file}");
        assert_eq!(fs::read_to_string(running.root().join("tmp/file")).expect("read"), "old");
        running.end();
    }
}
