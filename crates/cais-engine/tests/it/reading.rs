//! The reading verbs on a store made by hand: states, lists, logs, inspect.

use std::io::Write;
use std::ops::ControlFlow;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use cais_engine::verb::LogOptions;
use cais_engine::{ErrorKind, RunFacts, view::State};

use crate::by_hand::World;

fn line(second: u32, stream: &str, tag: &str, data: &str) -> String {
    format!("2026-11-20T12:00:{second:02}.000000000Z {stream} {tag} {data}\n")
}

#[test]
fn states_are_derived_from_locks_and_records() {
    let world = World::new();
    world.container('a', 1);
    let running = world.container('b', 5);
    let exited = world.container('c', 3);
    let dead = world.container('d', 4);
    let launching = world.container('e', 2);
    let lock = world.store.take_run_lock(&running).unwrap();
    world.facts(&running, 1);
    world.exit(&exited, 3);
    drop(world.store.take_run_lock(&dead).unwrap());
    world.facts(&dead, 1);
    let _launching = world.store.take_run_lock(&launching).unwrap();

    assert_eq!(world.states(false), [('b', State::Running)]);
    assert_eq!(
        world.states(true),
        [
            ('b', State::Running),
            ('d', State::Dead),
            ('c', State::Exited),
            ('e', State::Created),
            ('a', State::Created)
        ]
    );
    drop(lock);
    assert_eq!(world.states(false), []);
    assert_eq!(world.engine.container(&running).unwrap().state, State::Dead);
    assert_eq!(world.engine.container("name-c").unwrap().exit.unwrap().code, 3);
    assert_eq!(world.engine.container("a").unwrap().record.name, "name-a");
    assert_eq!(world.engine.container("nobody").unwrap_err().kind, ErrorKind::NotFound);
}

/// The control socket of a container, listening. By way of its directory: the whole path may be too long for an address.
fn control_socket(world: &World, id: &str) -> std::os::fd::OwnedFd {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};
    let path = world.store.paths().run_ctl(id);
    let directory = std::fs::File::open(path.parent().unwrap()).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    let short = format!("/proc/self/fd/{}/{name}", std::os::fd::AsRawFd::as_raw_fd(&directory));
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
    rustix::net::bind(&socket, &SocketAddrUnix::new(short).unwrap()).unwrap();
    rustix::net::listen(&socket, 4).unwrap();
    socket
}

/// Stands for a monitor: answers the first question with a pid, `None` for never.
fn monitor(world: &World, id: &str, pid: Option<i32>) -> std::thread::JoinHandle<()> {
    use rustix::net::{RecvFlags, SendFlags};
    let socket = control_socket(world, id);
    std::thread::spawn(move || {
        let Some(pid) = pid else { return std::mem::forget(socket) };
        let client = rustix::net::accept(&socket).unwrap();
        let mut packet = [0; 8];
        rustix::net::recv(&client, &mut packet[..], RecvFlags::empty()).unwrap();
        assert_eq!(packet[0], cais_plan::wire::QUERY);
        let answer = [&[cais_plan::wire::STARTED][..], &pid.to_ne_bytes()].concat();
        rustix::net::send(&client, &answer, SendFlags::empty()).unwrap();
    })
}

#[test]
fn a_monitor_whose_starter_was_killed_is_asked() {
    let world = World::new();
    let mut locks = Vec::new();
    let mut started = |digit, second, pid| {
        let id = world.container(digit, second);
        locks.push(world.store.take_run_lock(&id).unwrap());
        let facts = RunFacts { started: "2026-11-20T11:00:00.000000000Z".into(), ..RunFacts::default() };
        world.store.write_facts(&id, &facts).unwrap();
        (monitor(&world, &id, pid), id)
    };
    let (answering, orphan) = started('a', 1, Some(77));
    let (silent, _) = started('b', 2, None);
    let (too_late, ended) = started('c', 3, Some(78));
    // Beside it one that was never launched.
    world.container('d', 4);
    let views = world.engine.containers(false).unwrap();
    let seen: Vec<_> =
        views.iter().map(|v| (v.record.id.as_str(), v.state, v.run.as_ref().unwrap().pid)).collect();
    assert_eq!(seen, [(ended.as_str(), State::Running, 78), (orphan.as_str(), State::Running, 77)]);
    for thread in [answering, silent, too_late] {
        thread.join().unwrap();
    }

    std::fs::remove_file(world.store.paths().run_ctl(&orphan)).unwrap();
    monitor(&world, &orphan, Some(77));
    assert_eq!(world.engine.container_inspect(&orphan, false).unwrap()["State"]["Pid"], 77);
    world.exit(&ended, 5);
    let states = [('d', State::Created), ('c', State::Exited), ('b', State::Created), ('a', State::Created)];
    assert_eq!(world.states(true), states, "nobody answers any more");
}

#[test]
fn stopping_what_ends_at_this_moment_is_no_error() {
    let world = World::new();
    let id = world.container('a', 1);
    // Sometimes the monitor goes between the connection and the first word.
    for _ in 0..100 {
        let lock = world.store.take_run_lock(&id).unwrap();
        let socket = control_socket(&world, &id);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                drop(rustix::net::accept(&socket).unwrap());
                drop((socket, lock));
            });
            world.engine.stop(&id, None, None).unwrap();
        });
    }
}

#[test]
fn a_damaged_record_does_not_hide_the_others() {
    let world = World::new();
    let damaged = world.container('a', 1);
    world.container('b', 2);
    std::fs::write(world.store.paths().container_record(&damaged), "{").unwrap();
    assert_eq!(world.states(true), [('b', State::Created)]);
    assert!(world.engine.container(&damaged).unwrap_err().message.contains("damaged"));
}

#[test]
fn inspect_tells_paths_and_sizes() {
    let world = World::new();
    let id = world.container('a', 1);
    let upper = world.store.paths().container_upper(&id);
    std::fs::create_dir_all(&upper).unwrap();
    std::fs::write(upper.join("file"), [0; 123]).unwrap();
    let plain = world.engine.container_inspect("name-a", false).unwrap();
    assert_eq!(plain["LogPath"], world.store.paths().container_log(&id).to_str().unwrap());
    assert!(plain.get("SizeRw").is_none());
    let sized = world.engine.container_inspect("name-a", true).unwrap();
    assert_eq!(sized["SizeRw"], 123);
    assert_eq!(sized["SizeRootFs"], 123);
}

#[test]
fn logs_of_an_ended_container() {
    let world = World::new();
    let id = world.container('a', 1);
    assert_eq!(world.logs(&id, LogOptions { follow: true, ..LogOptions::default() }), [""; 0]);
    let mut log = world.log(&id);
    for second in 0..6 {
        let stream = if second % 2 == 0 { "stdout" } else { "stderr" };
        log.write_all(line(second, stream, "F", &second.to_string()).as_bytes()).unwrap();
    }
    log.write_all(b"damage\n").unwrap();
    log.write_all(line(6, "stdout", "P", "no newline").as_bytes()).unwrap();
    log.write_all(b"2026-11-20T12:00:07.000000000Z stdout F to").unwrap();

    let whole = ["O:0", "E:1", "O:2", "E:3", "O:4", "E:5", "O:no newline+", "O:to+"];
    assert_eq!(world.logs(&id, LogOptions::default()), whole);
    assert_eq!(world.logs(&id, LogOptions { follow: true, ..LogOptions::default() }), whole);
    assert_eq!(world.logs(&id, LogOptions { tail: Some(0), ..LogOptions::default() }), ["O:to+"; 0]);
    assert_eq!(world.logs(&id, LogOptions { tail: Some(2), ..LogOptions::default() }), whole[5..]);
    let since = Some("2026-11-20T12:00:03Z".parse().unwrap());
    let until = Some("2026-11-20T12:00:05Z".parse().unwrap());
    assert_eq!(world.logs(&id, LogOptions { since, until, ..LogOptions::default() }), whole[3..6]);
    assert_eq!(world.logs(&id, LogOptions { since, until, tail: Some(2), follow: true }), whole[4..6]);

    let mut first = Vec::new();
    world
        .engine
        .logs(&id, LogOptions::default(), &mut |line| {
            first.push(line.data.to_vec());
            ControlFlow::Break(())
        })
        .unwrap();
    assert_eq!(first, [b"0"]);
}

/// Stands for a shim: lives until its standard input is closed.
struct Shim(Child);

impl Shim {
    fn new() -> Shim {
        Shim(Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap())
    }

    fn end(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        self.end();
    }
}

#[test]
fn following_gives_every_line_in_order_and_ends_with_the_container() {
    let world = World::new();
    let id = world.container('a', 1);
    let mut log = world.log(&id);
    log.write_all(line(0, "stdout", "F", "old").as_bytes()).unwrap();
    log.write_all(line(0, "stdout", "F", "first").as_bytes()).unwrap();
    let mut shim = Shim::new();
    let lock = world.store.take_run_lock(&id).unwrap();
    world.facts(&id, shim.0.id().cast_signed());
    std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        let (world, id) = (&world, &id);
        let follower = scope.spawn(move || {
            let options = LogOptions { follow: true, tail: Some(1), ..LogOptions::default() };
            world.engine.logs(id, options, &mut |line| match sender.send(line.data.to_vec()) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            })
        });
        assert_eq!(receiver.recv().unwrap(), b"first");
        // Answered one by one: the follower sleeps between them.
        for number in 0..50 {
            log.write_all(line(1, "stderr", "F", &number.to_string()).as_bytes()).unwrap();
            assert_eq!(receiver.recv().unwrap(), number.to_string().as_bytes());
        }
        // A record in two writes, then many at once, then the end right behind the last line.
        let torn = line(2, "stdout", "F", "torn");
        log.write_all(&torn.as_bytes()[..20]).unwrap();
        log.write_all(&torn.as_bytes()[20..]).unwrap();
        assert_eq!(receiver.recv().unwrap(), b"torn");
        for number in 0..10_000 {
            log.write_all(line(3, "stdout", "F", &number.to_string()).as_bytes()).unwrap();
        }
        drop(lock);
        shim.end();
        for number in 0..10_000 {
            assert_eq!(receiver.recv().unwrap(), number.to_string().as_bytes());
        }
        follower.join().unwrap().unwrap();
        assert!(receiver.recv().is_err(), "the follower has ended");
    });
    drop(world.directory);
}

#[test]
fn following_ends_at_until() {
    let world = World::new();
    let id = world.container('a', 1);
    let mut log = world.log(&id);
    log.write_all(line(0, "stdout", "F", "x").as_bytes()).unwrap();
    let _lock = world.store.take_run_lock(&id).unwrap();
    let until = Some(jiff::Timestamp::now());
    assert_eq!(world.logs(&id, LogOptions { follow: true, until, ..LogOptions::default() }).len(), 1);
}
