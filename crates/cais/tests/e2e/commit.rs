//! `cais commit`.

use std::time::Duration;

use cais_test::e2e;
use cais_test::process::Invocation;
use rustix::process::Signal;

#[test]
fn what_a_container_changed_is_a_layer() {
    e2e(|cais| {
        let script = "echo new >/new; chown 5:6 /new; chmod 4711 /new; ln /new /hard; ln -s new /soft; mkfifo /pipe; \
                      rm /etc/hostname-of-image; rm -r /home; mkdir /home; echo x >/home/x; chmod 700 /root; echo v >/vol/v";
        cais.cmd("run --name c1 -v /vol -e A=1 -w /tmp busybox sh -c").arg(script).ok();
        let id = cais
            .cmd("commit -m why -a 'An Author <a@b>' -c 'CMD [\"cat\",\"/soft\"]' -c 'ENV B=2' c1 made:1")
            .ok();
        assert!(id.starts_with("sha256:") && id.len() == 71, "{id}");
        assert_eq!(cais.ok("run --rm made:1"), "new", "runnable at once");
        let list = "stat -c '%n %a %u %g %F' /new /hard /soft /pipe /home/x /root; stat -c %h /hard; ls /home /vol; \
                    test ! -e /etc/hostname-of-image && echo gone; pwd; echo $A$B";
        let seen = cais.cmd("run --rm made:1 sh -c").arg(list).ok();
        assert_eq!(
            seen,
            "/new 4711 5 6 regular file\n/hard 4711 5 6 regular file\n/soft 777 0 0 symbolic link\n/pipe 644 0 0 fifo\n\
             /home/x 644 0 0 regular file\n/root 700 0 0 directory\n2\n/home:\nx\n\n/vol:\ngone\n/tmp\n12"
        );
        let config = "{{.Author}}|{{.Comment}}|{{.Config.Cmd}}|{{.Config.WorkingDir}}|{{len .RootFS.Layers}}";
        assert_eq!(
            cais.cmd("image inspect --format").arg(config).arg("made:1").ok(),
            "An Author <a@b>|why|[cat /soft]|/tmp|2"
        );
        assert_eq!(cais.ok("system check"), "");
    });
}

#[test]
fn layers_are_shared_and_nothing_is_left() {
    e2e(|cais| {
        let files =
            || Invocation::new("find", "").arg(cais.root().join("layers")).args("-name busybox -type f").ok();
        cais.ok("run --name c1 busybox sh -c 'echo 1 >/one'");
        cais.ok("commit c1 made:1");
        cais.ok("commit c1 made:2");
        assert_eq!(files().lines().count(), 1, "the image's layer is there once");
        let layers = Invocation::new("ls", "").arg(cais.root().join("layers")).ok();
        assert_eq!(layers.lines().count(), 2, "equal changes are one layer: {layers}");
        cais.ok("run --name c2 made:2 sh -c 'rm /one; echo 2 >/two'");
        cais.ok("container commit c2 made:3");
        assert_eq!(cais.ok("run --rm made:3 sh -c 'ls /one /two 2>/dev/null; true'"), "/two");
        cais.ok("create --name idle busybox");
        let same = cais.ok("commit idle");
        assert_eq!(cais.ok(&format!("image inspect --format '{{{{len .RootFS.Layers}}}}' {same}")), "1");
        assert_eq!(cais.ok("system check"), "");
        cais.ok("rm c1 c2 idle");
        cais.ok(&format!("rmi made:1 made:2 made:3 {same}"));
        let layers = Invocation::new("ls", "").arg(cais.root().join("layers")).ok();
        assert_eq!(layers.lines().count(), 1, "{layers}");
        assert_eq!(cais.ok("system check"), "");
    });
}

#[test]
fn a_running_container_stands_still_meanwhile() {
    e2e(|cais| {
        let script = "i=0; while :; do i=$((i+1)); echo $i >/a; echo $i >/b; done";
        cais.cmd("run -d --name c1 busybox sh -c").arg(script).ok();
        cais_test::wait_until("it writes", || cais.cmd("exec c1 test -s /b").output().status() == 0);
        for number in 0..5 {
            cais.ok(&format!("commit c1 made:{number}"));
            assert_eq!(cais.inspect("c1", "{{.State.Status}}"), "running");
            let seen = cais.ok(&format!("run --rm made:{number} cat /a /b"));
            let values: Vec<i64> = seen.lines().map(|line| line.parse().unwrap()).collect();
            // A write may be cut between the opening and the content of a file, never between the files' order.
            let (a, b) = (values.first().copied().unwrap_or(0), values.get(1).copied().unwrap_or(0));
            assert!(values.len() < 2 || a - b == 0 || a - b == 1, "{seen}");
        }
        cais.ok("commit --pause=false c1 loose:1");
        cais.ok("commit --no-pause c1 loose:2");
        cais.ok("run --rm loose:1 true");
        assert_eq!(cais.inspect("c1", "{{.State.Status}}"), "running");
    });
}

#[test]
fn a_container_that_an_interrupted_commit_left_paused_goes_on() {
    e2e(|cais| {
        let script =
            "for i in $(seq 400); do head -c 20000 /dev/urandom >/f$i; done; touch /ready; sleep 1000";
        cais.cmd("run -d --name c1 busybox sh -c").arg(script).ok();
        cais_test::wait_until("it has written", || cais.cmd("exec c1 test -e /ready").output().status() == 0);
        let mut left_paused = 0;
        for delay_ms in (10..150).step_by(10) {
            let commit = cais.cmd("commit c1 made:1").spawn();
            std::thread::sleep(Duration::from_millis(delay_ms));
            commit.signal(Signal::KILL);
            commit.wait();
            if cais.inspect("c1", "{{.State.Status}}") == "paused" {
                left_paused += 1;
                let found = cais.fails(1, "system check");
                assert!(found.stdout_text().contains("paused"), "{found}");
            }
            cais.ok("system check --repair");
            assert_eq!(cais.inspect("c1", "{{.State.Status}}"), "running", "after {delay_ms} ms");
            assert_eq!(cais.ok("system check"), "");
        }
        println!("{left_paused} were left paused");
        cais.ok("exec c1 true");
    });
}

#[test]
fn the_image_may_be_gone() {
    e2e(|cais| {
        cais.ok("run --name c1 -e A=1 -w /tmp busybox sh -c 'echo new >/new'");
        let base = cais.ok("image inspect --format '{{index .RootFS.Layers 0}}' busybox");
        cais.ok("rmi -f busybox");
        assert_eq!(cais.ok("images -aq"), "");
        cais.ok("commit -c 'CMD [\"cat\",\"/new\"]' c1 made:1");
        assert_eq!(cais.ok("run --rm made:1"), "new");
        assert_eq!(cais.ok("run --rm made:1 sh -c 'pwd; echo $A'"), "/tmp\n1");
        assert_eq!(cais.ok("image inspect --format '{{index .RootFS.Layers 0}}' made:1"), base);
        assert!(
            cais.ok("history --format '{{.CreatedBy}}' made:1")
                .ends_with("layer of the removed image busybox")
        );
        cais.ok("rm c1");
        assert_eq!(cais.ok("run --rm made:1"), "new", "it keeps the layers by itself");
        assert_eq!(cais.ok("system check"), "");
    });
}

#[test]
fn wrong_words() {
    e2e(|cais| {
        cais.ok("create --name c1 busybox");
        cais.fails(1, "commit nosuch").one_clear_error().says("nosuch");
        cais.fails(1, "commit -c 'FROM x' c1").one_clear_error().says("FROM");
        cais.fails(1, "commit c1 UPPER:case").one_clear_error();
        cais.fails(1, "commit --squash c1").one_clear_error().says("--squash");
        let file = cais.folder().join("iid");
        let id = cais.cmd("commit -q --iidfile").arg(&file).arg("c1").ok();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), id);
    });
}

#[test]
fn killed_at_any_point_it_leaves_an_image_or_nothing() {
    e2e(|cais| {
        cais.ok(
            "run --name c1 busybox sh -c 'for i in $(seq 200); do head -c 20000 /dev/urandom >/f$i; done'",
        );
        let mut made = 0;
        for delay_ms in (0..60).step_by(4) {
            let commit = cais.cmd("commit c1 made:1").spawn();
            std::thread::sleep(Duration::from_millis(delay_ms));
            commit.signal(Signal::KILL);
            commit.wait();
            if cais.cmd("image inspect made:1").output().status() == 0 {
                made += 1;
                assert_eq!(
                    cais.ok("run --rm made:1 sh -c 'ls / | grep -c ^f'"),
                    "200",
                    "after {delay_ms} ms"
                );
                cais.ok("rmi made:1");
            }
            cais.ok("system check --repair");
            assert_eq!(cais.ok("system check"), "");
            let layers = Invocation::new("ls", "").arg(cais.root().join("layers")).ok();
            assert_eq!(layers.lines().count(), 1, "after {delay_ms} ms");
        }
        println!("{made} of 15 were whole");
        cais.ok("commit c1 made:1");
    });
}
