//! `cais debug`.

use cais_test::pty::Terminal;
use cais_test::{Cais, Image, Layer, e2e};

/// An image with one program that is no shell and sleeps.
fn load_bare(cais: &Cais) {
    let program = std::fs::read("/bin/busybox").expect("busybox-static");
    let layer = Layer::new().program("sleep", program).file("secret", "of the container\n").dir("etc");
    let image = Image::new().layer(layer).set("Entrypoint", serde_json::json!(["/sleep", "1000"]));
    let archive = cais.folder().join("bare.tar");
    image.build().write_docker_archive(&archive, &["bare:latest"]).expect("an archive");
    cais.cmd("load -q -i").arg(&archive).ok();
}

#[test]
fn tools_come_from_another_image_and_leave_nothing() {
    e2e(|cais| {
        load_bare(cais);
        cais.ok("run -d --name first bare");
        let checked = cais.ok("system check");
        cais.ok("debug first true");
        cais.ok("stop -t 0 first");
        assert_eq!(cais.ok("system check"), checked, "what debug and stop keep is known");
        cais.ok("rm -f first");
        cais.mark();
        cais.ok("run -d --name d1 --hostname ship bare");
        cais.fails(127, "exec d1 sh");
        assert_eq!(cais.ok("debug d1 cat /container/secret"), "of the container");
        assert_eq!(cais.ok("debug d1 cat /proc/1/root/secret"), "of the container");
        assert_eq!(cais.ok("debug d1 hostname"), "ship");
        assert!(cais.ok("debug d1 ps -o args").contains("/sleep 1000"));
        for kind in ["pid", "net", "ipc", "uts", "cgroup", "user"] {
            let link = format!("readlink /proc/1/ns/{kind}; readlink /proc/self/ns/{kind}");
            let output = cais.cmd("debug d1 sh -c").arg(link).ok();
            let (first, second) = output.split_once('\n').expect("two lines");
            assert_eq!(first, second);
        }
        let mounts = || cais.ok("debug d1 cat /proc/1/mountinfo");
        let before = mounts();
        let running = cais.cmd("debug -i d1 sh -c 'echo up; read x'").stdin_pipe().spawn();
        cais_test::wait_until("the debugger is up", || cais.ok("debug d1 ps -o args").contains("read x"));
        assert_eq!(mounts(), before, "the container sees no mount of it");
        assert_eq!(cais.ok("debug d1 ls /container"), cais.ok("debug d1 ls /proc/1/root"));
        drop(running);
        cais.ok("rm -f d1");
        cais.assert_nothing_left();
    });
}

#[test]
fn the_tools_are_read_only_and_the_container_can_be_mended() {
    e2e(|cais| {
        load_bare(cais);
        cais.ok("run -d --name d1 -u 1000:1000 --cap-drop ALL bare");
        assert!(cais.fails(1, "debug d1 touch /bin/x").stderr_text().contains("Read-only file system"));
        cais.ok("debug d1 touch /tmp/x");
        cais.cmd("debug d1 sh -c").arg("echo mended > /container/etc/new").ok();
        assert_eq!(cais.ok("debug d1 cat /container/etc/new"), "mended");
        assert_eq!(cais.ok("debug d1 id -u"), "0");
        assert_eq!(cais.ok("debug -u 7 -e X=1 d1 sh -c 'echo $(id -u) $X'"), "7 1");
    });
}

#[test]
fn a_terminal_is_had_at_a_terminal() {
    e2e(|cais| {
        load_bare(cais);
        cais.ok("run -d --name d1 bare");
        let mut terminal = Terminal::start(&cais.cmd("debug d1"), 30, 90);
        terminal.send("stty size; exit 8\n");
        terminal.expect("30 90");
        assert_eq!(terminal.wait(), 8);
    });
}

#[test]
fn what_cannot_be_is_said_with_what_to_do() {
    e2e(|cais| {
        load_bare(cais);
        cais.ok("run -d --name c1 bare");
        cais.fails(127, "debug c1 no-such-program").one_clear_error().says("no-such-program");
        cais.ok("rmi busybox");
        let finished = cais.fails(125, "debug c1 true").says("no image with tools");
        assert!(finished.stderr_text().contains("cais pull busybox"), "{finished}");
        cais.fails(127, "debug --image bare c1 sh");
        cais.ok("debug --image bare c1 /sleep 0");
        cais.fails(125, "debug no-such-container").one_clear_error();
    });
}

#[test]
fn a_container_that_does_not_run_is_looked_into_and_left_as_it_is() {
    e2e(|cais| {
        load_bare(cais);
        let file = cais.folder().join("mounted");
        std::fs::write(&file, "of the host\n").expect("a file");
        let volumes = format!("-v v1:/data -v {}:/host:rw", file.display());
        cais.ok(&format!("run -d --name d1 -e WHO=container --hostname ship {volumes} bare"));
        cais.ok("debug d1 sh -c 'echo kept >/container/written; echo volume >/container/data/file'");
        cais.ok("stop -t 0 d1");
        let before = cais.ok("diff d1");
        cais.mark();
        assert_eq!(cais.ok("debug d1 sh -c 'cat /container/secret /container/written /container/data/file /container/host'"),
            "of the container\nkept\nvolume\nof the host");
        assert_eq!(
            cais.ok(
                "debug -e X=1 d1 sh -c 'hostname; id -u; echo $WHO $X; ls /sys/class/net; ps -o args | wc -l'"
            ),
            "ship\n0\ncontainer 1\nlo\n4"
        );
        // What is changed is seen by the shell and thrown away; what others share cannot be changed.
        let changes = "echo new >/container/new; rm /container/secret; cat /container/new; ls /container";
        let seen = cais.cmd("debug d1 sh -c").arg(changes).ok();
        assert!(seen.starts_with("new\n") && !seen.contains("secret"), "{seen}");
        for path in ["/container/data/file", "/container/host", "/bin/x"] {
            let line = format!("debug d1 sh -c 'echo x >{path}'");
            cais.fails(1, &line).says("Read-only file system");
        }
        assert_eq!(cais.ok("diff d1"), before);
        assert_eq!(std::fs::read_to_string(&file).expect("a file"), "of the host\n");
        // It can be started and removed meanwhile.
        let mut shell = cais.cmd("debug -i d1 sh").stdin_pipe().spawn();
        cais_test::wait_until("it is up", || shell.is_running());
        cais.ok("start d1");
        assert_eq!(cais.ok("debug d1 cat /container/secret"), "of the container");
        cais.ok("stop -t 0 d1");
        drop(shell);
        assert_eq!(cais.inspect("d1", "{{.State.Status}}"), "exited");
        cais.assert_nothing_left();
        cais.ok("create --name c1 bare");
        assert_eq!(cais.ok("debug c1 cat /container/secret"), "of the container");
    });
}

#[test]
fn an_image_is_looked_into() {
    e2e(|cais| {
        load_bare(cais);
        cais.mark();
        assert_eq!(cais.ok("debug bare cat /container/secret"), "of the container");
        cais.ok("debug bare sh -c 'rm /container/secret; test ! -e /container/secret'");
        assert_eq!(cais.ok("debug bare cat /container/secret"), "of the container");
        assert_eq!(cais.ok("ps -aq"), "");
        cais.fails(125, "debug no-such-thing true").one_clear_error();
        cais.assert_nothing_left();
    });
}
