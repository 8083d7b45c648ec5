//! Control groups of a container's choice, and systemd within and without.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use cais_test::{Cais, e2e, skip};

/// The lines of a container's /proc/self/cgroup.
fn groups(cais: &Cais, flags: &str) -> String {
    cais.ok(&format!("run --rm --network none --cgroupns host {flags} busybox cat /proc/self/cgroup"))
}

#[test]
fn a_group_may_be_made_elsewhere() {
    e2e(|cais| {
        if !groups(cais, "").contains("/cais/") {
            skip("containers have no groups here");
            return;
        }
        let parent = format!("cais-test-{}", std::process::id());
        let flag = format!("--cgroup-parent /{parent}/deep");
        assert!(groups(cais, &flag).contains(&format!("/{parent}/deep/")), "{}", groups(cais, &flag));
        cais.ok(&format!("run -d --name box --network none {flag} -m 64m busybox sleep 1000"));
        let id = cais.inspect("box", "{{.Id}}");
        assert_eq!(cais.inspect("box", "{{.HostConfig.CgroupParent}}"), format!("{parent}/deep"));
        // All that finds a group finds it there.
        assert!(cais.ok("exec box cat /proc/self/cgroup").contains(&id) || !cais.ok("top box").is_empty());
        cais.ok("pause box");
        assert_eq!(cais.inspect("box", "{{.State.Status}}"), "paused");
        cais.ok("unpause box");
        assert!(cais.ok("stats --no-stream --format '{{.MemUsage}}' box").ends_with("/ 64MiB"));
        cais.ok("update -m 96m box");
        assert!(cais.ok("inspect --as run box").contains(&flag));
        cais.ok("rm -f box");
        let roots = std::fs::read_dir("/sys/fs/cgroup").expect("control groups").flatten();
        let parents: Vec<_> = roots
            .map(|root| root.path().join(&parent))
            .chain([Path::new("/sys/fs/cgroup").join(&parent)])
            .collect();
        for path in parents.iter().filter(|path| path.exists()) {
            assert!(!path.join("deep").join(&id).exists(), "{}", path.display());
            // The groups that were named stay; they are this test's.
            std::fs::remove_dir(path.join("deep")).expect("nothing is in it");
            std::fs::remove_dir(path).expect("nothing is in it");
        }
        for (flag, reason) in [
            ("--cgroup-parent machine.slice", "a slice of systemd"),
            ("--cgroup-parent /a/../b", "is not the path of a group"),
            ("--cgroups split", "split is for"),
            ("--cgroups disabled -m 64m", "conflicting options"),
            ("--cgroups disabled --pid host", "conflicting options"),
        ] {
            let refused = cais.fails(125, &format!("run --rm {flag} busybox true"));
            assert!(refused.stderr_text().contains(reason), "{flag}: {}", refused.stderr_text());
        }
    });
}

#[test]
fn a_container_may_have_no_group() {
    e2e(|cais| {
        cais.mark();
        let mine = std::fs::read_to_string("/proc/self/cgroup").expect("groups");
        assert_eq!(groups(cais, "--cgroups disabled"), mine.trim());
        cais.ok("run -d --name box --network none --cgroups disabled busybox sleep 1000");
        assert_eq!(cais.ok("exec box echo here"), "here");
        cais.ok("rm -f box");
        cais.assert_nothing_left();
    });
}

#[test]
fn systemd_finds_what_it_wants() {
    e2e(|cais| {
        cais.mark();
        let run = |flags: &str, command: &str| {
            cais.ok(&format!("run --rm --network none {flags} busybox {command}"))
        };
        let tmpfs = "sh -c 'grep -E \"^tmpfs /(run|run/lock|tmp|var/log/journal) \" /proc/mounts | wc -l'";
        assert_eq!(run("", tmpfs), "0");
        assert_eq!(run("--systemd true", tmpfs), "0", "sh is no init");
        assert_eq!(run("--systemd always", tmpfs), "4");
        assert_eq!(run("--systemd always --tmpfs /run:size=1m", tmpfs), "4");
        assert_eq!(
            run("--systemd always --shm-size-systemd 1m", "sh -c 'df -k /tmp | grep -c \" 1024 \"'"),
            "1"
        );
        assert_eq!(run("--systemd always", "sh -c 'echo $container ${#container_uuid}'"), "cais 32");
        assert_eq!(run("--systemd always -e container=mine", "sh -c 'echo $container'"), "mine");
        // Its own group can be written to, which only v2 can give away.
        let line = "run --rm --network none --systemd always busybox sh -c";
        let finished = cais.cmd(line).arg("mkdir /sys/fs/cgroup/sub && rmdir /sys/fs/cgroup/sub").output();
        if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
            finished.code(0);
        } else {
            assert!(finished.stderr_text().contains("needs cgroup v2"), "{}", finished.stderr_text());
        }
        cais.ok("create --name unit --systemd true busybox /sbin/init");
        assert_eq!(cais.inspect("unit", "{{.Config.StopSignal}}"), "SIGRTMIN+3");
        cais.ok("create --name other --systemd always --stop-signal TERM busybox sh");
        assert_eq!(cais.inspect("other", "{{.Config.StopSignal}}"), "TERM");
        cais.ok("create --name plain busybox /sbin/init");
        assert!(!cais.inspect("plain", "{{json .Config}}").contains("SIGRTMIN"));
        cais.ok("rm unit other plain");
        cais.fails(125, "run --rm --systemd perhaps busybox true");
        cais.assert_nothing_left();
    });
}

#[test]
fn whoever_waits_hears_that_it_runs() {
    e2e(|cais| {
        let path = cais.folder().join("notify");
        let socket = UnixDatagram::bind(&path).expect("bind");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
        let heard = || {
            let mut buffer = [0; 200];
            let length = socket.recv(&mut buffer).expect("a word");
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        };
        let run = |flags: &str| {
            cais.cmd(&format!("run --network none {flags} busybox sleep 1000"))
                .env("NOTIFY_SOCKET", &path)
                .ok()
        };
        run("-d --name box --sdnotify conmon");
        let word = heard();
        let pid = word.strip_prefix("MAINPID=").and_then(|rest| rest.strip_suffix("\nREADY=1")).expect(&word);
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).expect("the monitor");
        assert_eq!(name.trim(), "cais-shim");
        run("-d --name quiet --sdnotify ignore");
        run("-d --name silent");
        socket.set_nonblocking(true).expect("nonblocking");
        assert!(socket.recv(&mut [0; 200]).is_err(), "nobody else says anything");
        cais.fails(125, "run --rm --sdnotify container busybox true");
        // Nobody listens: that is a warning.
        std::fs::remove_file(&path).expect("remove");
        let gone =
            cais.cmd("run --rm --network none --sdnotify conmon busybox true").env("NOTIFY_SOCKET", &path);
        let finished = gone.output().code(0);
        assert!(finished.stderr_text().contains("NOTIFY_SOCKET"), "{}", finished.stderr_text());
        cais.ok("rm -f box quiet silent");
    });
}
