//! `cais exec`.

use cais_test::e2e;
use cais_test::pty::Terminal;

#[test]
fn exec_runs_beside_init_in_the_same_namespaces() {
    e2e(|cais| {
        cais.mark();
        cais.ok("run -d --name e1 --hostname ship busybox sleep 1000");
        assert_eq!(cais.ok("exec e1 hostname"), "ship");
        assert!(cais.ok("exec e1 ps -o args").contains("sleep 1000"));
        for kind in ["mnt", "pid", "net", "ipc", "uts", "cgroup"] {
            let link = format!("readlink /proc/1/ns/{kind}; readlink /proc/self/ns/{kind}");
            let output = cais.cmd("exec e1 sh -c").arg(link).ok();
            let (first, second) = output.split_once('\n').unwrap();
            assert_eq!(first, second);
        }
        cais.ok("rm -f e1");
        cais.assert_nothing_left();
    });
}

#[test]
fn status_codes_are_those_of_run() {
    e2e(|cais| {
        cais.ok("run -d --name e1 busybox sleep 1000");
        cais.fails(0, "exec e1 true");
        cais.fails(7, "exec e1 sh -c 'exit 7'");
        cais.fails(137, "exec e1 sh -c 'kill -9 $$'");
        cais.fails(127, "exec e1 no-such-program").one_clear_error().says("no-such-program");
        cais.fails(126, "exec e1 /etc/passwd").one_clear_error();
        let finished = cais.cmd("exec no-such-container true").output();
        assert_ne!(finished.status(), 0);
        finished.one_clear_error().says("no-such-container");
        cais.ok("create --name c1 busybox");
        let finished = cais.cmd("exec c1 true").output();
        assert_ne!(finished.status(), 0);
        finished.one_clear_error().says("not running");
    });
}

#[test]
fn settings_are_the_containers_unless_given() {
    e2e(|cais| {
        cais.ok("run -d --name e1 -e FROM=container -w /tmp -u quay busybox sleep 1000");
        assert_eq!(cais.ok("exec e1 sh -c 'echo $FROM $(pwd) $(id -u)'"), "container /tmp 1000");
        assert_eq!(
            cais.ok("exec -e FROM=exec -e NEW=1 -w /etc -u root e1 sh -c 'echo $FROM $NEW $(pwd) $(id -u)'"),
            "exec 1 /etc 0"
        );
        assert_eq!(cais.ok("exec -u 4711:4712 e1 sh -c 'echo $(id -u):$(id -g)'"), "4711:4712");
    });
}

#[test]
fn streams_are_binary_safe() {
    e2e(|cais| {
        cais.ok("run -d --name e1 busybox sleep 1000");
        let bytes: Vec<u8> =
            (0..4_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let finished = cais.cmd("exec -i e1 cat").stdin(bytes.clone()).output().code(0);
        assert!(finished.stdout == bytes);
        let finished = cais.cmd("exec e1 sh -c 'echo out; echo err >&2'").output().code(0);
        assert_eq!((finished.stdout_text().as_str(), finished.stderr_text().as_str()), ("out", "err"));
        cais.cmd("exec e1 cat").stdin("not read").output().code(0).prints("");
    });
}

#[test]
fn a_terminal_can_be_had() {
    e2e(|cais| {
        cais.ok("run -d --name e1 busybox sleep 1000");
        let mut terminal =
            Terminal::start(&cais.cmd("exec -it e1 sh -c 'tty; stty size; read x; exit 8'"), 30, 90);
        terminal.expect("30 90");
        terminal.send("\n");
        assert_eq!(terminal.wait(), 8);
    });
}

#[test]
fn detached_exec_goes_on_alone() {
    e2e(|cais| {
        cais.ok("run -d --name e1 busybox sleep 1000");
        assert_eq!(cais.ok("exec -d e1 sh -c 'sleep 0.2; touch /done'"), "");
        cais_test::wait_until("the detached program has worked", || {
            cais.cmd("exec e1 test -e /done").output().status() == 0
        });
    });
}

#[test]
fn exec_has_the_containers_confinement() {
    e2e(|cais| {
        cais.ok("run -d --name e1 busybox sleep 1000");
        let fields = "Seccomp:|NoNewPrivs:|CapBnd:|CapEff:";
        let of = |who: &str| cais.cmd("exec e1 grep -E").arg(fields).arg(format!("/proc/{who}/status")).ok();
        assert_eq!(of("1"), of("self"));
        assert!(of("self").contains("Seccomp:\t2"));
        assert_ne!(
            cais.ok("exec --privileged e1 grep CapEff /proc/self/status"),
            cais.ok("exec e1 grep CapEff /proc/self/status")
        );
        let cgroup = |who: &str| cais.cmd("exec e1 cat").arg(format!("/proc/{who}/cgroup")).ok();
        assert_eq!(cgroup("1"), cgroup("self"));
    });
}

#[test]
fn the_end_of_the_container_ends_its_execs() {
    e2e(|cais| {
        cais.mark();
        cais.ok("run -d --name e1 busybox sleep 1000");
        let running = cais.cmd("exec e1 sh -c 'touch /up; sleep 1000'").spawn();
        cais_test::wait_until("exec is up", || cais.cmd("exec e1 test -e /up").output().status() == 0);
        cais.ok("kill e1");
        assert_eq!(running.wait().status(), 137);
        cais.ok("rm e1");
        cais.assert_nothing_left();
    });
}

#[test]
fn the_container_may_come_from_a_file_or_later() {
    e2e(|cais| {
        let file = cais.folder().join("cid");
        cais.cmd("create --name c1 --cidfile").arg(&file).args("busybox sleep 1000").ok();
        cais.fails(125, "exec --wait 1 c1 true").one_clear_error().says("does not run after 1 seconds");
        let waiting = cais.cmd("exec --wait 60 --cidfile").arg(&file).args("echo up").spawn();
        cais.ok("start c1");
        let finished = waiting.wait();
        finished.code(0).prints("up");
        cais.fails(125, "exec --wait 1 nobody true").one_clear_error().says("does not run");
        cais.fails(125, "exec --cidfile /no/such true").one_clear_error().says("/no/such");
    });
}
