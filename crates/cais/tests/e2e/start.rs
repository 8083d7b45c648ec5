//! `cais start`.

use cais_test::e2e;

#[test]
fn a_stopped_container_starts_again_with_its_files() {
    e2e(|cais| {
        cais.fails(1, "run --name s1 busybox sh -c 'test -e /mark && exit 0; touch /mark; exit 1'");
        cais.fails(0, "start -a s1");
        assert_eq!(cais.inspect("s1", "{{.State.ExitCode}}"), "0");
    });
}

#[test]
fn start_prints_the_names_it_was_given() {
    e2e(|cais| {
        cais.ok("create --name a1 busybox sleep 1000");
        cais.ok("create --name b1 busybox sleep 1000");
        assert_eq!(cais.ok("start a1 b1"), "a1\nb1");
        assert_eq!(cais.ok("start a1"), "a1", "starting what runs is no error");
        cais.fails(1, "start no-such-container").one_clear_error().says("no-such-container");
    });
}

#[test]
fn a_failed_start_says_why_and_stays_startable() {
    e2e(|cais| {
        cais.mark();
        cais.ok("create --name f1 busybox no-such-program");
        let finished = cais.cmd("start f1").output();
        assert_ne!(finished.status(), 0);
        finished.one_clear_error().says("no-such-program");
        // It has never run, as docker says it.
        let never = "{{.State.Status}} {{.State.ExitCode}} {{.State.StartedAt}} {{.State.FinishedAt}}";
        let time = "0001-01-01T00:00:00Z";
        assert_eq!(cais.inspect("f1", never), format!("created 127 {time} {time}"));
        assert!(cais.inspect("f1", "{{.State.Error}}").contains("no-such-program"));
        assert_eq!(cais.ok("ps -a --format {{.Status}}"), "Created");
        assert_eq!(cais.ok("ps -aq -f exited=127"), "");
        assert_eq!(cais.ok("wait f1"), "127");
        cais.ok("rm f1");
        cais.assert_nothing_left();
    });
}

#[test]
fn a_start_that_fails_after_a_run_is_an_end() {
    e2e(|cais| {
        cais.ok("run --name f1 busybox /bin/sh -c 'rm /bin/sh'");
        let times = "{{.State.StartedAt}} {{.State.FinishedAt}}";
        let before = cais.inspect("f1", times);
        cais.fails(1, "start f1").one_clear_error().says("/bin/sh");
        assert_eq!(cais.inspect("f1", "{{.State.Status}} {{.State.ExitCode}}"), "exited 127");
        assert_eq!(cais.inspect("f1", times), before);
    });
}

#[test]
fn start_interactive_gives_input() {
    e2e(|cais| {
        cais.ok("create -i --name i1 busybox cat");
        cais.cmd("start -ai i1").stdin("through").output().code(0).prints("through");
    });
}
