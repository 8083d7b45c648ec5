//! Conversations with a systemd that the test plays: straight, and through a real dbus-daemon.

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::bus::Bus;
use super::wire::{Kind, Message};
use super::*;

/// What was asked: the method, and its arguments from the second on.
pub(in super::super) type Calls = Arc<Mutex<Vec<(String, Vec<Value>)>>>;

/// A systemd for as many connections as tests make; it ends with the last call that the test makes.
pub(in super::super) struct Played {
    pub(in super::super) systemd: Systemd,
    pub(in super::super) calls: Calls,
    daemon: Option<Child>,
    player: Option<JoinHandle<()>>,
}

impl Drop for Played {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        // The player of a bus ends with it; that of a socket when its clients are gone.
        if let Some(player) = self.player.take().filter(|_| self.daemon.is_some()) {
            let _ = player.join();
        }
    }
}

impl Played {
    /// Answers at `<directory>/systemd/private`, to the first lines with `greeting`.
    pub(in super::super) fn direct(directory: &Path, user: bool, greeting: &'static str) -> Played {
        let socket = directory.join("systemd/private");
        std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
        let listener = UnixListener::bind(&socket).unwrap();
        let calls = Calls::default();
        let seen = Arc::clone(&calls);
        let player = std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let Ok(bus) = Bus::accept(stream, greeting) else { continue };
                play(bus, &seen);
            }
        });
        let addresses = vec![format!("unix:path={}", socket.display())];
        Played { systemd: Systemd { user, addresses }, calls, daemon: None, player: Some(player) }
    }

    /// Owns systemd's name on a bus of the test's own; `None` where there is no dbus-daemon.
    fn on_a_bus(directory: &Path) -> Option<Played> {
        let socket = directory.join("bus");
        let config = directory.join("bus.conf");
        let text = format!(
            r#"<busconfig><type>session</type><listen>unix:path={}</listen><auth>EXTERNAL</auth>
               <policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/></policy>
               </busconfig>"#,
            socket.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut daemon = Command::new("dbus-daemon")
            .args(["--nofork", "--nopidfile", "--print-address", "--config-file"])
            .arg(&config)
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let mut address = String::new();
        BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut address).unwrap();
        let mut bus = Bus::connect(&[address.trim().to_owned()]).unwrap();
        let request = Message {
            destination: "org.freedesktop.DBus".to_owned(),
            path: "/org/freedesktop/DBus".to_owned(),
            interface: "org.freedesktop.DBus".to_owned(),
            member: "RequestName".to_owned(),
            body: vec![Value::Text("org.freedesktop.systemd1".to_owned()), Value::U32(0)],
            ..Message::new(Kind::Call, 0)
        };
        assert_eq!(bus.exchange(request).unwrap(), [Value::U32(1)]);
        let calls = Calls::default();
        let seen = Arc::clone(&calls);
        let player = std::thread::spawn(move || play(bus, &seen));
        let systemd = Systemd::user(None, Some(&directory.to_string_lossy()));
        Some(Played { systemd, calls, daemon: Some(daemon), player: Some(player) })
    }

    pub(in super::super) fn members(&self) -> Vec<String> {
        self.calls.lock().unwrap().iter().map(|(member, _)| member.clone()).collect()
    }
}

/// Answers calls until the other side is gone. A unit `failing.scope` fails, `again.scope` is there at first.
fn play(mut bus: Bus, calls: &Calls) {
    let mut serial = 1000;
    let mut known = true;
    while let Ok(call) = bus.read_message(std::time::Instant::now() + std::time::Duration::from_secs(600)) {
        if call.kind != Kind::Call {
            continue;
        }
        let unit = match call.body.first() {
            Some(Value::Text(text)) => text.clone(),
            _ => String::new(),
        };
        calls.lock().unwrap().push((call.member.clone(), call.body.get(1..).unwrap_or_default().to_vec()));
        let mut send = |message: Message| {
            serial += 1;
            bus.send(&Message { serial, ..message }.encode()).unwrap();
        };
        let reply = |kind| Message {
            reply_to: call.serial,
            destination: call.sender.clone(),
            ..Message::new(kind, 0)
        };
        let job = |job: &str, result: &str| Message {
            path: "/org/freedesktop/systemd1".to_owned(),
            interface: MANAGER.to_owned(),
            member: "JobRemoved".to_owned(),
            body: vec![
                Value::U32(1),
                Value::Path(job.to_owned()),
                Value::Text(unit.clone()),
                Value::Text(result.to_owned()),
            ],
            ..Message::new(Kind::Signal, 0)
        };
        let fail = |name: &str, text: &str| Message {
            error: format!("org.freedesktop.systemd1.{name}"),
            body: vec![Value::Text(text.to_owned())],
            ..reply(Kind::Error)
        };
        match call.member.as_str() {
            "Get" => {
                let text = match &call.body[1] {
                    Value::Text(name) if name == "Version" => "257.8-1~deb13u1",
                    _ => "/user.slice/user-0.slice/user@0.service",
                };
                let value = Value::Variant(Box::new(Value::Text(text.to_owned())));
                send(Message { body: vec![value], ..reply(Kind::Return) });
            }
            "StartTransientUnit" if unit == "again.scope" && std::mem::take(&mut known) => {
                send(fail("UnitExists", "Unit again.scope was already loaded."));
            }
            "StopUnit" if unit == "gone.scope" => send(fail("NoSuchUnit", "Unit gone.scope not loaded.")),
            "StartTransientUnit" | "StopUnit" => {
                send(job("/other", "failed"));
                // The end of the job may be told before the call is answered.
                let result = if unit == "failing.scope" { "failed" } else { "done" };
                send(job("/job/7", result));
                send(Message { body: vec![Value::Path("/job/7".to_owned())], ..reply(Kind::Return) });
            }
            "SetUnitProperties" if unit == "gone.scope" => {
                send(fail("NoSuchUnit", "Unit gone.scope not loaded."))
            }
            "ResetFailedUnit" if unit != "again.scope" => send(fail("NoSuchUnit", "not loaded")),
            _ => send(reply(Kind::Return)),
        }
    }
}

const PRIVATE: &str = "DATA\r\n";

fn converse(played: &Played) {
    let ask = |unit: &str| played.systemd.ask(unit).unwrap();
    let mut manager = ask("a.scope");
    assert_eq!(manager.version().unwrap(), 257);
    assert_eq!(manager.control_group().unwrap(), "/user.slice/user-0.slice/user@0.service");
    let limit = ("MemoryMax".to_owned(), Value::U64(5));
    manager.start(std::slice::from_ref(&limit)).unwrap();
    manager.set(&[]).unwrap();
    manager.set(std::slice::from_ref(&limit)).unwrap();
    manager.stop().unwrap();
    drop(manager);
    assert_eq!(
        played.members(),
        [
            "Get",
            "Get",
            "Subscribe",
            "StartTransientUnit",
            "SetUnitProperties",
            "Subscribe",
            "StopUnit",
            "ResetFailedUnit"
        ]
    );
    let property = list(&[limit]);
    let replace = Value::Text("replace".to_owned());
    let calls = played.calls.lock().unwrap().clone();
    let none = Value::Array("(sa(sv))".to_owned(), vec![]);
    assert_eq!(calls[3].1, [replace, property.clone(), none]);
    assert_eq!(calls[4].1, [Value::Bool(true), property]);
    played.calls.lock().unwrap().clear();
    ask("again.scope").start(&[]).unwrap();
    assert_eq!(
        played.members(),
        ["Subscribe", "StartTransientUnit", "ResetFailedUnit", "StartTransientUnit"]
    );
    let error = ask("failing.scope").start(&[]).unwrap_err().to_string();
    assert_eq!(error, "start the systemd unit failing.scope: its job ended with \"failed\"");
    ask("gone.scope").stop().unwrap();
    let error = ask("gone.scope").set(&[("A".to_owned(), Value::Bool(true))]).unwrap_err().to_string();
    assert_eq!(
        error,
        "ask systemd about the unit gone.scope: call SetUnitProperties of systemd: Unit gone.scope not loaded. \
         (org.freedesktop.systemd1.NoSuchUnit)"
    );
}

#[test]
fn a_conversation_straight_with_systemd() {
    let directory = tempfile::tempdir().unwrap();
    converse(&Played::direct(directory.path(), true, PRIVATE));
}

#[test]
fn a_conversation_through_a_bus() {
    let directory = tempfile::tempdir().unwrap();
    let Some(played) = Played::on_a_bus(directory.path()) else {
        println!("skipped: there is no dbus-daemon");
        return;
    };
    converse(&played);
}

#[test]
fn servers_greet_in_different_ways() {
    for greeting in ["DATA\r\n", "OK 12\r\n", "REJECTED EXTERNAL\r\n", "ERROR what\r\n"] {
        let directory = tempfile::tempdir().unwrap();
        let played = Played::direct(directory.path(), false, greeting);
        let asked = played.systemd.ask("a.scope").and_then(|mut manager| manager.version());
        assert_eq!(asked.unwrap(), 257, "{greeting:?}");
    }
}

#[test]
fn a_server_that_is_no_bus_is_an_error() {
    for (answer, text) in
        [("", "talk to the message bus"), ("HTTP/1.1 400\r\n\r\n", "authenticate to the message bus")]
    {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("bus");
        let listener = UnixListener::bind(&socket).unwrap();
        let server = std::thread::spawn(move || {
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().unwrap();
                // Read before the end, or the end is a reset.
                let _ = std::io::Read::read(&mut stream, &mut [0; 64]);
                let _ = std::io::Write::write_all(&mut stream, answer.as_bytes());
                if answer.is_empty() {
                    break;
                }
            }
        });
        let systemd = Systemd { user: false, addresses: vec![format!("unix:path={}", socket.display())] };
        let error = systemd.ask("a.scope").err().unwrap().to_string();
        assert!(error.contains(text), "{error}");
        server.join().unwrap();
    }
}

#[test]
fn addresses_of_a_user() {
    let systemd = Systemd::user(Some("unix:abstract=x"), Some("/run/user,1"));
    assert_eq!(
        systemd.addresses,
        ["unix:abstract=x", "unix:path=/run/user%2c1/bus", "unix:path=/run/user%2c1/systemd/private"]
    );
    assert!(Systemd::user(None, None).addresses.is_empty());
}
