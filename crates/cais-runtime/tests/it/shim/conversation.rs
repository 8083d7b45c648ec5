//! Points, goes, failures, the start, and what is open meanwhile.

use std::fs::{self, File};
use std::os::fd::OwnedFd;

use cais_plan::wire::{detail, sync};
use cais_plan::{Step, Str, role};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use super::rig::{self, NEWNS, NEWPID, NEWUTS, Rig, go, need_root, receive};

/// Targets of the descriptors of a process, by number.
fn open_in(pid: i32) -> Vec<(i32, String)> {
    let mut fds: Vec<(i32, String)> = fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("descriptors")
        .map(|entry| entry.expect("entry"))
        .map(|entry| {
            let number = entry.file_name().to_str().and_then(|name| name.parse().ok()).expect("number");
            (number, fs::read_link(entry.path()).map(|p| p.display().to_string()).unwrap_or_default())
        })
        .collect();
    fds.sort();
    fds
}

#[test]
fn the_first_process_becomes_the_command() {
    need_root!();
    let mut rig = Rig::new();
    rig.clone_flags |= NEWUTS;
    rig.enter().push(&Step::Hostname { name: Str(b"box") });
    rig.script("echo $$; cat /proc/sys/kernel/hostname /proc/1/comm; ls /");
    assert_eq!(rig.run().output(), "1\nbox\nsh\nbin\ndev\netc\nproc\ntmp\n");
}

#[test]
fn a_parent_makes_a_sibling() {
    need_root!();
    let mut rig = Rig::new();
    rig.role = role::PARENT;
    rig.enter().script("echo $$ $PPID");
    let mut running = rig.run();
    running.adopt();
    assert_eq!(running.output(), "1 0\n");
}

#[test]
fn it_is_born_in_its_control_group() {
    need_root!();
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let unified =
        mounts.lines().find(|line| line.contains(" - cgroup2 ")).and_then(|line| line.split(' ').nth(4));
    let Some(unified) = unified else {
        println!("skipped: no cgroup v2 hierarchy is mounted");
        return;
    };
    for by in [role::FIRST, role::PARENT] {
        let name = format!("cais-test-shim-{}-{by}", std::process::id());
        let group = std::path::Path::new(unified).join(&name);
        if let Err(error) = fs::create_dir(&group) {
            println!("skipped: no control group can be made: {error}");
            return;
        }
        let mut rig = Rig::new();
        rig.role = by;
        rig.cgroup = Some(OwnedFd::from(File::open(&group).expect("group")));
        rig.enter().script("grep ^0:: /proc/self/cgroup; ls /proc/self/fd");
        let mut running = rig.run();
        if by == role::PARENT {
            running.adopt();
        }
        let text = running.output();
        fs::remove_dir(&group).expect("remove");
        assert!(
            text.starts_with("0::") && text.contains(&name) && text.ends_with("\n0\n1\n2\n3\n"),
            "{text}"
        );
    }
}

#[test]
fn it_waits_at_every_point() {
    need_root!();
    let mut rig = Rig::new();
    rig.point(sync::SETUP).enter().point(sync::READY).script("echo ran");
    let running = rig.run();
    running.expect_point(sync::SETUP);
    let comm = fs::read_to_string(format!("/proc/{}/comm", running.pid)).expect("comm");
    assert_eq!(comm, "cais-init\n");
    go(&running.sync, "");
    running.expect_ready("{}");
    assert_eq!(running.output(), "ran\n");
}

#[test]
fn without_the_runtime_it_ends() {
    need_root!();
    let mut rig = Rig::new();
    rig.enter().point(sync::READY).script("echo ran");
    let mut running = rig.run();
    running.expect_point(sync::READY);
    let (nobody, _) = std::os::unix::net::UnixStream::pair().expect("sockets");
    running.sync = OwnedFd::from(nobody);
    assert_eq!(running.end(), (String::new(), 1));
}

#[test]
fn a_failure_has_its_index() {
    need_root!();
    let mut rig = Rig::new();
    rig.push(&Step::NewSession {});
    rig.push(&Step::SetNs { fd: -1, flags: 0 });
    let running = rig.run();
    assert_eq!(running.expect_failure(), (1, Errno::BADF.raw_os_error(), detail::NONE, String::new()));
    assert_eq!(running.end().1, 127);
    // Outer steps count, too, and are told by the shim itself.
    let mut rig = Rig::new();
    rig.role = role::PARENT;
    rig.outer = 2;
    rig.push(&Step::NewSession {});
    rig.push(&Step::SetNs { fd: -1, flags: 0 });
    let running = rig.run();
    assert_eq!(running.expect_failure().0, 1);
    cais_sys::spawn::reap(-running.pid);
    // The clone's own steps come after them.
    let mut rig = Rig::new();
    rig.role = role::PARENT;
    rig.outer = 1;
    rig.push(&Step::NewSession {});
    rig.push(&Step::NewSession {});
    rig.push(&Step::SetNs { fd: -1, flags: 0 });
    let mut running = rig.run();
    running.adopt();
    assert_eq!(running.expect_failure().0, 2);
    assert_eq!(running.end().1, 127);
}

#[test]
fn a_plan_without_a_command_is_a_failure() {
    need_root!();
    let mut rig = Rig::new();
    rig.push(&Step::NewSession {});
    let running = rig.run();
    assert_eq!(running.expect_failure().2, detail::PLAN);
    assert_eq!(running.end().1, 127);
}

#[test]
fn the_start_is_awaited() {
    need_root!();
    let mut rig = Rig::new();
    rig.start = true;
    rig.preserved.push(OwnedFd::from(File::open("/dev/zero").expect("zero")));
    rig.enter().point(sync::READY).push(&Step::WaitStart {}).script("ls -l /proc/self/fd; echo end");
    let running = rig.run();
    running.expect_ready("{}");
    running.expect_executed();
    // Who only looks whether somebody is there, or talks nonsense, starts nothing.
    drop(running.connect());
    let babbler = running.connect();
    rustix::net::send(&babbler, b"hello", rustix::net::SendFlags::NOSIGNAL).expect("send");
    assert!(receive(&babbler).is_none());
    let starter = running.connect();
    let open = open_in(running.pid);
    let numbers: Vec<i32> = open.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers[..5], [0, 1, 2, 3, 4], "streams, what is kept, the listener: {open:?}");
    assert!(
        open[5..].iter().all(|(_, what)| what.contains("signalfd") || what.contains("socket")),
        "{open:?}"
    );
    go(&starter, "{}");
    assert!(receive(&starter).is_none(), "executed");
    let (text, status) = running.end();
    assert_eq!(status, 0);
    let names: Vec<&str> =
        text.lines().filter_map(|line| line.split_once(" -> ")).map(|(_, what)| what).collect();
    // `ls` itself opened the directory, and has closed it when it looks where that leads.
    assert_eq!(names.len(), 4, "{text}");
    assert!(!text.contains(" 5\n"), "{text}");
    assert_eq!((names[0], names[3]), ("/dev/null", "/dev/zero"), "{text}");
}

#[test]
fn a_second_starter_is_refused() {
    need_root!();
    let mut rig = Rig::new();
    rig.start = true;
    rig.enter().point(sync::READY).push(&Step::WaitStart {}).script("sleep 1000");
    let running = rig.run();
    running.expect_ready("");
    let (starter, second) = (running.connect(), running.connect());
    go(&starter, "");
    assert!(receive(&starter).is_none(), "executed");
    let answer = rustix::net::recv(&second, &mut [0_u8; 1], rustix::net::RecvFlags::empty());
    assert!(matches!(answer, Err(Errno::CONNRESET) | Ok((0, _))), "{answer:?}");
    rustix::process::kill_process(Pid::from_raw(running.pid).expect("pid"), Signal::KILL).expect("kill");
    running.end();
}

#[test]
fn a_failure_after_the_start_goes_to_the_starter() {
    need_root!();
    let mut rig = Rig::new();
    rig.start = true;
    rig.enter().point(sync::READY).push(&Step::WaitStart {});
    rig.push(&Step::SetNs { fd: -1, flags: 0 });
    let running = rig.run();
    running.expect_ready("");
    running.expect_executed();
    let starter = running.connect();
    go(&starter, "");
    let failure = receive(&starter).expect("a failure").failure();
    assert_eq!((failure.0, failure.1), (7, Errno::BADF.raw_os_error()));
    assert_eq!(running.end().1, 127);
}

#[test]
fn signals_end_a_container_that_was_not_started() {
    need_root!();
    for (flags, number, status) in
        [(NEWNS | NEWPID, Signal::TERM, 143), (NEWNS, Signal::HUP, 129), (NEWNS, Signal::KILL, 137)]
    {
        let mut rig = Rig::new();
        rig.start = true;
        rig.clone_flags = flags;
        rig.take_root().pivot().point(sync::READY).push(&Step::WaitStart {}).script("echo ran");
        let running = rig.run();
        running.expect_ready("");
        running.expect_executed();
        // What does not end programs does not end this one.
        let pid = Pid::from_raw(running.pid).expect("pid");
        rustix::process::kill_process(pid, Signal::WINCH).expect("kill");
        rustix::process::kill_process(pid, number).expect("kill");
        assert_eq!(running.end(), (String::new(), status));
    }
}

#[test]
fn nothing_of_ours_stays_open() {
    need_root!();
    let mut rig = Rig::new();
    let directory = rig.root();
    rig.extra.push(OwnedFd::from(File::open("/etc").expect("etc")));
    rig.extra.push(OwnedFd::from(File::open(directory).expect("root")));
    rig.push(&Step::OpenTree { source: Str(b"/etc"), slot: 3, recursive: false });
    rig.push(&Step::ProcHandle {});
    rig.enter().script("ls /proc/self/fd");
    assert_eq!(rig.run().output(), "0\n1\n2\n3\n");
}

#[test]
fn a_terminal_goes_to_the_console_socket() {
    need_root!();
    let (ours, theirs) = rustix::net::socketpair(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::STREAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )
    .expect("sockets");
    let mut rig = Rig::new();
    rig.console = Some(theirs);
    rig.size = (33, 77);
    rig.take_root().mount_proc();
    rig.push(&rig::filesystem("tmpfs", "/dev", 0, b""));
    rig.push(&rig::filesystem("devpts", "/dev/pts", 0, b"newinstance\0ptmxmode=0666\0mode=620\0"));
    rig.push(&Step::Stdio { console: true });
    rig.pivot().push(&rig::ids(7, 7));
    rig.push(&Step::SwitchUser { groups: true });
    rig.script(
        "stat -c %u /dev/pts/0; [ -t 0 ] && [ -t 2 ] && stat -c %t,%T /dev/console; ls /proc/self/fd | cat",
    );
    let running = rig.run();
    running.expect_executed();
    let packet = receive(&ours).expect("the master");
    assert_eq!([&[packet.kind], &packet.body[..]].concat(), b"/dev/ptmx");
    assert!(receive(&ours).is_none(), "the socket is closed");
    let master = packet.fd.expect("a descriptor");
    let size = rustix::termios::tcgetwinsize(&master).expect("size");
    assert_eq!((size.ws_row, size.ws_col), (33, 77));
    let mut text = Vec::new();
    let mut buffer = [0_u8; 512];
    // The last close of the other side reads as an error.
    while let Ok(got @ 1..) = rustix::io::read(&master, &mut buffer) {
        text.extend_from_slice(&buffer[..got]);
    }
    assert_eq!(String::from_utf8_lossy(&text), "7\r\n88,0\r\n0\r\n1\r\n2\r\n3\r\n");
    assert_eq!(running.end().1, 0);
}
