//! Flags of the launch that few need: shared namespaces, the image's environment and volumes, limits of devices.

use cais_test::e2e;

#[test]
fn namespaces_of_the_host_are_shared() {
    e2e(|cais| {
        cais.mark();
        let mine = |kind: &str| {
            let link = std::fs::read_link(format!("/proc/self/ns/{kind}")).expect("a namespace");
            link.to_string_lossy().into_owned()
        };
        let theirs = |flags: &str, kind: &str| {
            cais.ok(&format!("run --rm --network none {flags} busybox readlink /proc/self/ns/{kind}"))
        };
        for (flags, kind) in [
            ("--pid host", "pid"),
            ("--ipc host", "ipc"),
            ("--uts host", "uts"),
            ("--cgroupns host", "cgroup"),
        ] {
            assert_eq!(theirs(flags, kind), mine(kind), "{flags}");
            assert_ne!(theirs("", kind), mine(kind), "{kind}");
        }
        assert_eq!(cais.ok("run --rm --ipc none busybox sh -c 'grep -c /dev/shm /proc/mounts || true'"), "0");
        // A process that outlives its parent goes with the container, though no PID namespace ends.
        cais.ok("run -d --name up --network none --pid host busybox sleep 4711");
        cais.ok("exec up true");
        cais.ok("rm -f up");
        cais.assert_nothing_left();
    });
}

#[test]
fn of_the_images_environment_only_what_is_wanted() {
    e2e(|cais| {
        assert_eq!(
            cais.ok("run --rm -e A=1 --env-merge 'A=${A}x' --env-merge 'B=$A!' busybox sh -c 'echo $A $B'"),
            "1 !"
        );
        assert_eq!(cais.ok("run --rm --unsetenv-all -e Z=1 busybox sh -c 'echo $Z'"), "1");
        let host =
            cais.cmd("run --rm --env-host -e B=2 busybox sh -c 'echo $FROM_HOST $B'").env("FROM_HOST", "yes");
        assert_eq!(host.ok(), "yes 2");
        let proxy = cais.cmd("run --rm --http-proxy busybox sh -c 'echo $no_proxy'").env("no_proxy", "here");
        assert_eq!(proxy.ok(), "here");
    });
}

#[test]
fn process_attributes() {
    e2e(|cais| {
        assert_eq!(cais.ok("run --rm --umask 0027 busybox sh -c umask"), "0027");
        assert_eq!(cais.ok("run --rm --umask 0027 --init busybox sh -c umask"), "0027");
        assert_ne!(
            cais.ok("run --rm --personality LINUX32 busybox uname -m"),
            cais.ok("run --rm busybox uname -m")
        );
        let file = cais.folder().join("pid");
        cais.cmd("run -d --name up --pidfile").arg(&file).args("--annotation a=b busybox sleep 1000").ok();
        assert_eq!(std::fs::read_to_string(&file).expect("a file"), cais.inspect("up", "{{.State.Pid}}"));
        assert_eq!(cais.inspect("up", "{{.HostConfig.Annotations.a}}"), "b");
        cais.ok("exec up true");
    });
}

#[test]
fn mounts_of_others_and_of_flags() {
    e2e(|cais| {
        cais.ok("volume create data");
        cais.ok("create --name owner -v data:/d -v /anonymous busybox");
        cais.ok("run --rm --volumes-from owner busybox sh -c 'echo 1 > /d/x; echo 2 > /anonymous/y'");
        assert_eq!(cais.ok("run --rm --volumes-from owner:ro busybox cat /d/x /anonymous/y"), "1\n2");
        cais.fails(1, "run --rm --volumes-from owner:ro busybox touch /d/z");
        cais.fails(125, "run --rm --volumes-from nobody busybox true").says("nobody");
        cais.ok("run --rm --read-only --read-only-tmpfs busybox touch /tmp/x /run/y");
        cais.fails(1, "run --rm --read-only busybox touch /tmp/x");
        assert_eq!(
            cais.ok(
                "run --rm --no-hosts --network none busybox sh -c 'grep -c /etc/hosts /proc/mounts || true'"
            ),
            "0"
        );
        assert_eq!(
            cais.ok("run --rm --no-hostname busybox sh -c 'grep -c /etc/hostname /proc/mounts || true'"),
            "0"
        );
    });
}

#[test]
fn further_lines_of_the_hosts_file() {
    e2e(|cais| {
        let file = cais.folder().join("hosts");
        std::fs::write(&file, "10.1.2.3 elsewhere\n127.0.0.1\tlocalhost\n").expect("a file");
        let line = "--network none --add-host own:10.9.9.9 --hosts-file";
        let hosts = cais.cmd(&format!("run --rm {line}")).arg(&file).args("busybox cat /etc/hosts").ok();
        assert!(hosts.ends_with("10.1.2.3 elsewhere"), "{hosts}");
        assert!(hosts.contains("own") && hosts.matches("127.0.0.1\tlocalhost").count() == 1, "{hosts}");
        cais.ok("run --name c1 --no-hosts busybox sh -c 'echo 10.4.4.4 of-image >/etc/hosts'");
        cais.ok("commit c1 with-hosts");
        assert!(
            cais.ok("run --rm --hosts-file image with-hosts cat /etc/hosts").ends_with("10.4.4.4 of-image")
        );
        assert!(!cais.ok("run --rm --hosts-file none with-hosts cat /etc/hosts").contains("of-image"));
        cais.fails(125, "run --rm --hosts-file /no/such busybox true").one_clear_error().says("/no/such");
        cais.fails(125, "run --rm --no-hosts --hosts-file image busybox true").says("--hosts-file");
    });
}

#[test]
fn an_image_goes_with_its_container() {
    e2e(|cais| {
        cais.ok("tag busybox once:1");
        cais.ok("run --rmi once:1 true");
        assert_eq!(cais.ok("ps -aq"), "");
        cais.fails(1, "image inspect once:1");
        // Somebody else has it, too.
        cais.ok("create --name user busybox");
        assert_eq!(cais.ok("run --rmi busybox echo out"), "out");
        cais.ok("image inspect --format x busybox");
        cais.ok("rm user");
        cais.ok("run -d --rmi busybox sleep 0.1");
        cais_test::wait_until("the image is gone", || cais.ok("images -q").is_empty());
    });
}

#[test]
fn addresses_and_limits() {
    e2e(|cais| {
        let mac = cais.ok("run --rm --mac-address 92:d0:c6:0a:29:33 busybox cat /sys/class/net/eth0/address");
        assert_eq!(mac, "92:d0:c6:0a:29:33");
        cais.fails(125, "run --rm --device-read-bps /dev/null:1mb busybox true").says("not a block device");
        cais.fails(125, "run --rm --device-read-bps /dev/no-such:1mb busybox true").says("/dev/no-such");
        cais.fails(125, "run --rm --cgroup-conf cgroup.procs=1 busybox true").says("cgroup");
    });
}

#[test]
fn a_run_may_last_so_long() {
    e2e(|cais| {
        cais.fails(255, "run --name c1 --timeout 1 busybox sleep 1000");
        assert_eq!(cais.inspect("c1", "{{.State.Status}} {{.State.ExitCode}}"), "exited 255");
        assert_eq!(cais.ok("run --rm --timeout 60 busybox echo in time"), "in time");
        // Nobody but the monitor is there.
        cais.ok("run -d --name c2 --timeout 1 --restart on-failure:1 busybox sleep 1000");
        cais_test::wait_until("both runs are over", || {
            cais.inspect("c2", "{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}") == "exited 255 1"
        });
        assert!(cais.ok("inspect --as run c2").contains("--timeout 1"));
    });
}
