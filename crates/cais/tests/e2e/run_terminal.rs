//! `cais run -t`: terminals, sizes, detach keys.

use cais_test::e2e;
use cais_test::pty::Terminal;

#[test]
fn the_program_has_a_terminal_of_the_right_size() {
    e2e(|cais| {
        let script = "tty; stty size; while [ \"$(stty size)\" = '33 99' ]; do sleep 0.05; done; stty size; echo $TERM; exit 6";
        let terminal = Terminal::start(&cais.cmd("run --rm -it busybox sh -c").arg(script), 33, 99);
        terminal.expect("33 99");
        assert!(terminal.screen().contains("/dev/pts/0"), "{}", terminal.screen());
        terminal.resize(44, 111);
        terminal.expect("44 111");
        terminal.expect("xterm");
        assert_eq!(terminal.wait(), 6);
    });
}

#[test]
fn keys_reach_the_program_and_control_c_is_its_own() {
    e2e(|cais| {
        let script = "sh -c 'trap \"echo caught\" INT; echo ready; read a; echo got-$a; read b; exit 3'";
        let mut terminal = Terminal::start(&cais.cmd("run --rm -it busybox").args(script), 24, 80);
        terminal.expect("ready");
        terminal.send("key\n");
        terminal.expect("got-key");
        terminal.send([3]);
        terminal.expect("caught");
        terminal.send("\n");
        assert_eq!(terminal.wait(), 3);
    });
}

#[test]
fn a_shell_has_job_control() {
    e2e(|cais| {
        let mut terminal = Terminal::start(&cais.cmd("run --rm -it busybox sh"), 24, 80);
        terminal.expect("# ");
        terminal.send("echo a$((1+1))b\n");
        terminal.expect("a2b");
        assert!(!terminal.screen().contains("job control"), "{}", terminal.screen());
        terminal.send("exit 4\n");
        assert_eq!(terminal.wait(), 4);
    });
}

#[test]
fn a_terminal_needs_a_terminal() {
    e2e(|cais| {
        let finished = cais.cmd("run --rm -it busybox true").output();
        assert_ne!(finished.status(), 0);
        finished.one_clear_error().says("not a TTY");
        // -t alone is fine in a script.
        assert!(cais.ok("run --rm -t busybox tty").starts_with("/dev/"));
    });
}

#[test]
fn a_terminal_merges_the_streams() {
    e2e(|cais| {
        let finished = cais.cmd("run --rm -t busybox sh -c 'echo out; echo err >&2'").output().code(0);
        assert_eq!(finished.stdout_text(), "out\r\nerr");
        assert_eq!(finished.stderr_text(), "");
    });
}

#[test]
fn detach_keys_leave_the_container_running() {
    e2e(|cais| {
        let mut terminal = Terminal::start(&cais.cmd("run -it --name k1 busybox sh"), 24, 80);
        terminal.expect("# ");
        terminal.send([0x10, 0x11]);
        assert_eq!(terminal.wait(), 0);
        assert_eq!(cais.inspect("k1", "{{.State.Running}}"), "true");
        let mut terminal = Terminal::start(&cais.cmd("attach --detach-keys ctrl-x,y k1"), 24, 80);
        terminal.send("echo back$((40+2))\n");
        terminal.expect("back42");
        terminal.send([0x18, b'y']);
        assert_eq!(terminal.wait(), 0);
        assert_eq!(cais.inspect("k1", "{{.State.Running}}"), "true");
    });
}

#[test]
fn a_lone_control_p_is_passed_on() {
    e2e(|cais| {
        let mut terminal = Terminal::start(
            &cais.cmd("run --rm -it busybox sh -c 'stty raw -echo; echo on; head -c 2 | od -An -tx1'"),
            24,
            80,
        );
        terminal.expect("on");
        terminal.send([0x10, b'a']);
        terminal.expect("10 61");
        assert_eq!(terminal.wait(), 0);
    });
}
