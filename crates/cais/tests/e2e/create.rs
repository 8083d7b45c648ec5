//! `cais create`: a container that is described and not started.

use cais_test::e2e;

#[test]
fn a_created_container_starts_later() {
    e2e(|cais| {
        cais.mark();
        let id = cais.ok("create --name c1 busybox sh -c 'echo ran; exit 3'");
        assert_eq!(id.len(), 64);
        assert_eq!(cais.inspect("c1", "{{.State.Status}} {{.State.Pid}}"), "created 0");
        cais.fails(3, "start -a c1").prints("ran");
        cais.ok("rm c1");
        cais.assert_nothing_left();
    });
}

#[test]
fn a_created_container_can_be_removed_unstarted() {
    e2e(|cais| {
        cais.mark();
        cais.ok("create --name c1 -v /data --tmpfs /t -p 8080:80 busybox true");
        cais.ok("rm -v c1");
        cais.assert_nothing_left();
    });
}

#[test]
fn create_refuses_what_run_refuses() {
    e2e(|cais| {
        cais.mark();
        for line in ["create --pull=never no-such-image", "create --memory lots busybox", "create"] {
            let finished = cais.cmd(line).output();
            assert_ne!(finished.status(), 0, "{line}");
            finished.one_clear_error();
        }
        cais.assert_nothing_left();
    });
}

#[test]
fn names_are_given_to_the_nameless() {
    e2e(|cais| {
        let first = cais.ok("create busybox");
        let second = cais.ok("create busybox");
        let names: Vec<String> = [first, second].iter().map(|id| cais.inspect(id, "{{.Name}}")).collect();
        assert!(names[0] != names[1] && names.iter().all(|name| name.contains('_')), "{names:?}");
    });
}

#[test]
fn a_name_can_be_taken_over() {
    e2e(|cais| {
        cais.mark();
        let first = cais.ok("run -d --name web --stop-timeout 0 -p 8080:80 busybox sleep 1000");
        let second = cais.ok("run -d --replace --name web --stop-timeout 0 -p 8080:80 busybox sleep 1000");
        assert_ne!(first, second);
        assert_eq!(cais.ok("ps -aq --no-trunc"), second);
        // The image comes first: what cannot be made replaces nothing.
        cais.fails(1, "create --replace --pull never --name web no-such-image").one_clear_error();
        assert_eq!(cais.inspect("web", "{{.State.Status}}"), "running");
        let third = cais.ok("create --replace --name web busybox");
        assert_eq!(cais.inspect("web", "{{.Id}} {{.State.Status}}"), format!("{third} created"));
        cais.ok("create --replace --name fresh busybox");
        cais.fails(125, "run --replace busybox").one_clear_error().says("--name");
        cais.ok("rm web fresh");
        cais.assert_nothing_left();
    });
}
