//! `cais attach`.

use cais_test::e2e;

#[test]
fn output_from_now_on_and_the_status() {
    e2e(|cais| {
        cais.ok("run -d -i --name a1 busybox sh -c 'read line; echo got $line; echo err >&2; exit 6'");
        let finished = cais.cmd("attach a1").stdin("hello\n").output().code(6);
        assert_eq!(finished.stdout_text(), "got hello");
        assert_eq!(finished.stderr_text(), "err");
    });
}

#[test]
fn several_can_look_at_once() {
    e2e(|cais| {
        cais.ok("run -d --name a1 busybox sh -c 'while [ ! -e /go ]; do sleep 0.05; done; echo seen'");
        let first = cais.cmd("attach --no-stdin a1").spawn();
        let second = cais.cmd("attach --no-stdin a1").spawn();
        for running in [&first, &second] {
            let fds = format!("/proc/{}/fd", running.pid());
            cais_test::wait_until("attached", || {
                let links = std::fs::read_dir(&fds).into_iter().flatten().flatten();
                links
                    .filter(|fd| {
                        std::fs::read_link(fd.path())
                            .is_ok_and(|path| path.to_string_lossy().starts_with("socket:"))
                    })
                    .count()
                    > 0
            });
        }
        cais.ok("exec a1 touch /go");
        first.wait().code(0).prints("seen");
        second.wait().code(0).prints("seen");
    });
}

#[test]
fn what_does_not_run_cannot_be_attached_to() {
    e2e(|cais| {
        cais.ok("create --name c1 busybox");
        let finished = cais.cmd("attach c1").output();
        assert_ne!(finished.status(), 0);
        finished.one_clear_error();
        cais.fails(1, "attach no-such-container").one_clear_error();
    });
}
