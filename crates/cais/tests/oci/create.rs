//! `create`.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};

use cais_test::isolation::isolated;
use cais_test::skip;
use rustix::termios::{isatty, tcgetwinsize};
use serde_json::json;

use crate::bed::Bed;
use crate::socket::Receiver;

#[test]
fn from_create_to_delete() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let bundle = bed.bundle("c1", &["sh", "-c", "echo began in $(pwd) as $(hostname)"]);
        let pid_file = bed.folder().join("pid");
        bed.detached("create --pid-file").arg(&pid_file).arg("--bundle").arg(bundle.folder()).arg("c1").ok();
        let state = bed.state("c1");
        assert_eq!((&state["id"], &state["status"]), (&json!("c1"), &json!("created")));
        assert_eq!(state["bundle"], json!(bundle.folder()));
        assert_eq!(state["annotations"]["org.example.note"], "kept");
        assert!(state["ociVersion"].as_str().is_some_and(|version| version.starts_with("1.")), "{state}");
        assert!(state["created"].as_str().is_some_and(|time| time.ends_with('Z')), "{state}");
        assert_eq!(fs::read_to_string(&pid_file).unwrap(), state["pid"].to_string(), "without a line feed");
        assert!(bed.group("memory", "c1").is_dir());
        assert_eq!(bed.output(), "", "nothing of the container's runs before start");

        bed.ok("start c1");
        bed.wait_for("c1", "stopped");
        assert_eq!(bed.output(), "began in / as ship\n");
        assert_eq!(bed.state("c1")["pid"], 0);
        bed.ok("delete c1");
        bed.assert_gone("c1");
    });
}

#[test]
fn the_bundle_is_the_working_directory_unless_said() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let bundle = bed.bundle("c1", &["true"]);
        bed.detached("create c1").folder(bundle.folder()).ok();
        assert_eq!(bed.state("c1")["bundle"], json!(bundle.folder()));
        bed.ok("delete c1");
        bed.detached("create -b c1 c2").folder(bed.folder()).ok();
        assert_eq!(bed.state("c2")["bundle"], json!(bundle.folder()));
    });
}

#[test]
fn another_file_of_the_bundle() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        if !bed.is_ours() && !bed.program().ends_with("crun") {
            skip("runc has no --config");
            return;
        }
        let bundle = bed.bundle("c1", &["echo", "other"]);
        let path = |name: &str| bundle.folder().join(name);
        fs::rename(path("config.json"), path("other.json")).unwrap();
        bed.cmd("run --bundle").arg(bundle.folder()).arg("c1").output().code(1).says("config.json");
        let other = bed.cmd("run --config other.json --bundle").arg(bundle.folder()).arg("c1").output();
        other.code(0).prints("other");
    });
}

#[test]
fn what_it_refuses() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        bed.bundle("c1", &["true"]);
        bed.create("c1");
        let at = |id: &str| bed.detached("create --bundle").arg(bed.folder().join("c1")).arg(id).output();
        at("c1").code(1).says("container with given ID already exists");
        for id in ["", ".", "..", "a/b", "../x", "with space", "ü"] {
            at(id).code(1);
            assert_eq!(bed.ok("list -q"), "c1", "{id:?}");
        }
        bed.refuses("create", "create");
        bed.refuses("create --bundle /no/such/folder c2", "no such file or directory");
        bed.refuses("create --no-such-flag c2", "no-such-flag");
        bed.refuses("create --preserve-fds many c2", "preserve-fds");
        let broken = bed.bundle("broken", &["true"]);
        fs::write(broken.folder().join("config.json"), "{").unwrap();
        bed.detached("create --bundle").arg(broken.folder()).arg("c2").output().code(1);
        assert_eq!(bed.ok("list -q"), "c1");
    });
}

#[test]
fn a_command_that_cannot_be_executed_is_told_and_nothing_is_left() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let cases = [
            ("c1", "no-such-command", "exec: \"no-such-command\": executable file not found in $PATH"),
            (
                "c2",
                "/no/such/command",
                "exec: \"/no/such/command\": stat /no/such/command: no such file or directory",
            ),
            ("c3", "/etc/passwd", "permission denied"),
            ("c4", "/etc", "exec: \"/etc\": "),
        ];
        for (id, command, text) in cases {
            let bundle = bed.bundle(id, &[command]);
            let log = bed.folder().join(format!("{id}.log"));
            let create = bed.bare("--log").arg(&log).args("--root").arg(bed.root()).args("create --bundle");
            create.arg(bundle.folder()).arg(id).output().code(1).says(text);
            assert!(fs::read_to_string(&log).unwrap().contains("level=error"), "{id}");
            bed.assert_gone(id);
        }
    });
}

#[test]
fn descriptors_that_are_passed_on() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let script = "cat <&3; cat <&4; ls /proc/self/fd | tr '\\n' ' '; echo $LISTEN_FDS $LISTEN_PID";
        let bundle = bed.bundle("c1", &["sh", "-c", script]);
        for name in ["one", "two"] {
            fs::write(bed.folder().join(name), format!("{name}\n")).unwrap();
        }
        let with = |redirections: &str, line: &str| {
            let script = format!("exec \"$@\" {redirections}");
            let inner = bed.cmd(line).arg("--bundle").arg(bundle.folder()).arg("c1").command();
            let shell =
                cais_test::Invocation::new("bash", "-c").arg(script).arg("bash").arg(inner.get_program());
            inner.get_args().fold(shell, |shell, arg| shell.arg(arg)).folder(bed.folder()).output()
        };
        // The last one is `ls` reading the folder.
        with("3<one 4<two 5<one", "run --preserve-fds 2").code(0).prints("one\ntwo\n0 1 2 3 4 5");
        if bed.is_ours() {
            // Go's own descriptors are there instead.
            with("3<&- 4<&-", "run --preserve-fds 2").code(1).says("preserve");
        }
        let listen = "export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$@\" 3<one 4<two";
        let inner = bed.cmd("run --preserve-fds 1 --bundle").arg(bundle.folder()).arg("c1").command();
        let shell = cais_test::Invocation::new("bash", "-c").arg(listen).arg("bash").arg(inner.get_program());
        let finished =
            inner.get_args().fold(shell, |shell, arg| shell.arg(arg)).folder(bed.folder()).output();
        finished.code(0).prints("one\ntwo\n0 1 2 3 4 5 1 1");
    });
}

#[test]
fn the_terminal_goes_to_the_console_socket() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let bundle =
            bed.bundle("c1", &["sh", "-c", "tty; stty size; read x; echo got $x"]).change(|config| {
                config["process"]["terminal"] = json!(true);
                config["process"]["consoleSize"] = json!({"height": 33, "width": 99});
            });
        let socket = bed.folder().join("console");
        let receiver = Receiver::listen(&socket);
        bed.cmd("create --console-socket").arg(&socket).arg("--bundle").arg(bundle.folder()).arg("c1").ok();
        let (master, _name) = receiver.received();
        assert!(isatty(&master));
        let size = tcgetwinsize(master.as_fd()).unwrap();
        assert_eq!((size.ws_row, size.ws_col), (33, 99));
        bed.ok("start c1");
        let mut file = File::from(master);
        let mut screen = String::new();
        let mut read_until = |file: &mut File, text: &str| {
            let mut buffer = [0; 512];
            while !screen.contains(text) {
                let count = file.read(&mut buffer).unwrap();
                screen.push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        };
        read_until(&mut file, "/dev/pts/0");
        read_until(&mut file, "33 99");
        std::io::Write::write_all(&mut file, b"word\n").unwrap();
        read_until(&mut file, "got word");
        bed.wait_for("c1", "stopped");

        let socket = socket.to_string_lossy();
        let c2 = bed.bundle("c2", &["true"]);
        let at = |bundle: &crate::bed::Bundle, line: &str| {
            bed.cmd(line).arg("--bundle").arg(bundle.folder()).arg("c2")
        };
        at(&bundle, "create").output().code(1).says("console socket");
        at(&c2, &format!("create --console-socket {socket}")).output().code(1);
        at(&bundle, "create --console-socket /no/such/socket").output().code(1);
        bed.assert_gone("c2");
    });
}

#[test]
fn a_pidfd_goes_to_its_socket() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        if !bed.cmd("create --help").ok().contains("pidfd-socket") {
            skip("this runtime has no --pidfd-socket");
            return;
        }
        let bundle = bed.bundle("c1", &["true"]);
        let socket = bed.folder().join("pidfd");
        let receiver = Receiver::listen(&socket);
        bed.detached("create --pidfd-socket")
            .arg(&socket)
            .arg("--bundle")
            .arg(bundle.folder())
            .arg("c1")
            .ok();
        let (pidfd, _) = receiver.received();
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).unwrap();
        assert!(info.lines().any(|line| line == format!("Pid:\t{}", bed.pid("c1"))), "{info}");
    });
}

#[test]
fn without_pivot_root() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let bundle = bed.bundle("c1", &["sh", "-c", "ls -d /bin; pwd"]);
        let run = bed.cmd("run --no-pivot --no-new-keyring --bundle").arg(bundle.folder()).arg("c1").output();
        run.code(0).prints("/bin\n/");
    });
}
