//! `cais run`: exit status, process settings, names and ids. Streams are in `run_streams`, terminals in
//! `run_terminal`, limits, mounts, network and security in files of their own.

use std::fs;

use cais_test::{e2e, e2e_empty};

#[test]
fn the_status_of_the_program_is_the_status_of_run() {
    e2e(|cais| {
        cais.mark();
        for code in [0, 1, 3, 42, 255] {
            cais.fails(code, &format!("run --rm busybox sh -c 'exit {code}'"));
        }
        cais.assert_nothing_left();
    });
}

#[test]
fn death_by_signal_is_128_and_its_number() {
    e2e(|cais| {
        // PID 1 of a namespace is immune to its own SIGKILL, so a child of --init takes it.
        cais.fails(137, "run --rm --init busybox sh -c 'kill -9 $$'");
        cais.fails(134, "run --rm --init busybox sh -c 'kill -6 $$'");
    });
}

#[test]
fn a_missing_command_is_127() {
    e2e(|cais| {
        cais.mark();
        cais.fails(127, "run --rm busybox no-such-program").one_clear_error().says("no-such-program");
        cais.fails(127, "run --rm busybox /no/such/path").one_clear_error().says("/no/such/path");
        cais.fails(127, "run -d --rm busybox no-such-program").one_clear_error();
        cais.assert_nothing_left();
    });
}

#[test]
fn a_command_that_cannot_be_executed_is_126() {
    e2e(|cais| {
        cais.mark();
        cais.fails(126, "run --rm busybox /etc/passwd").one_clear_error().says("/etc/passwd");
        cais.fails(126, "run --rm busybox /etc").one_clear_error().says("/etc");
        cais.assert_nothing_left();
    });
}

#[test]
fn errors_of_the_engine_are_125() {
    e2e(|cais| {
        cais.mark();
        cais.fails(125, "run --no-such-flag busybox true").says("--no-such-flag");
        cais.fails(125, "run").one_clear_error();
        cais.fails(125, "run --pull=never no-such-image true").one_clear_error().says("no-such-image");
        cais.fails(125, "run --rm 'Bad Reference' true").one_clear_error().says("Bad Reference");
        cais.fails(125, "run --rm -v relative/../x:relative busybox true").one_clear_error();
        cais.fails(125, "run --rm -e '' busybox true").one_clear_error();
        cais.fails(125, "run --rm --memory lots busybox true").says("lots");
        cais.fails(125, "run --rm --cap-add NO_SUCH_CAP busybox true").says("NO_SUCH_CAP");
        cais.fails(125, "run --rm --network no-such-network busybox true").says("no-such-network");
        cais.fails(125, "run --rm --user no-such-user busybox true").says("no-such-user");
        cais.fails(125, "run --rm -p 70000:80 busybox true").says("70000");
        cais.fails(125, "run --rm --name 'not a name' busybox true").says("not a name");
        cais.assert_nothing_left();
    });
}

#[test]
fn hello_needs_neither_network_nor_set_up() {
    e2e_empty(|cais| {
        let text = cais.ok("run --rm hello");
        for word in ["PID", "host name", "namespace", "layer", "seccomp", "capabilit", "memory", "processes"]
        {
            assert!(text.to_lowercase().contains(&word.to_lowercase()), "{word} in:\n{text}");
        }
    });
}

#[test]
fn environment_comes_from_image_flags_and_files() {
    e2e(|cais| {
        let file = cais.folder().join("env");
        fs::write(&file, "# comment\nFROM_FILE=a b\nBOTH=file\n\nINHERITED\n").unwrap();
        let output = cais
            .cmd("run --rm -e PLAIN=1 -e BOTH=flag -e EMPTY= -e CALLER -e ABSENT --env-file")
            .arg(&file)
            .args("busybox env")
            .env("CALLER", "from the caller")
            .env("INHERITED", "too")
            .without_env("ABSENT")
            .ok();
        let lines: Vec<&str> = output.lines().collect();
        for line in
            ["PLAIN=1", "BOTH=flag", "EMPTY=", "CALLER=from the caller", "FROM_FILE=a b", "INHERITED=too"]
        {
            assert!(lines.contains(&line), "{line} in {output}");
        }
        assert!(lines.iter().any(|line| line.starts_with("PATH=")), "{output}");
        assert!(lines.contains(&"HOME=/root"), "{output}");
        assert!(lines.iter().any(|line| line.starts_with("HOSTNAME=")), "{output}");
        assert!(!output.contains("ABSENT"), "{output}");
        assert!(!output.contains("TERM="), "no terminal was asked for: {output}");
    });
}

#[test]
fn working_directory_is_made_when_missing() {
    e2e(|cais| {
        assert_eq!(cais.ok("run --rm busybox pwd"), "/");
        assert_eq!(cais.ok("run --rm -w /made/for/me busybox pwd"), "/made/for/me");
        cais.fails(125, "run --rm -w relative busybox pwd").says("relative");
        cais.fails(125, "run --rm -w /etc/passwd busybox pwd").one_clear_error();
    });
}

#[test]
fn users_and_groups_are_those_of_the_image() {
    e2e(|cais| {
        let id = |flags: &str| {
            cais.ok(&format!("run --rm {flags} busybox sh -c 'echo $(id -u):$(id -g):$(id -G)'"))
        };
        assert_eq!(id(""), "0:0:0");
        assert_eq!(id("-u quay"), "1000:1000:1000 1500");
        assert_eq!(id("-u 1000"), "1000:1000:1000 1500");
        assert_eq!(id("-u quay:crane"), "1000:1500:1500");
        assert_eq!(id("-u 4711"), "4711:0:0");
        assert_eq!(id("-u 4711:4712"), "4711:4712:4712");
        assert_eq!(id("-u 4711:4712 --group-add crane --group-add 99"), "4711:4712:4712 99 1500");
        assert_eq!(cais.ok("run --rm -u quay busybox sh -c 'echo $HOME'"), "/home/quay");
    });
}

#[test]
fn host_name_is_the_short_id_or_what_was_asked() {
    e2e(|cais| {
        assert_eq!(cais.ok("run --rm --hostname ship busybox hostname"), "ship");
        assert_eq!(cais.ok("run --rm --hostname ship busybox cat /etc/hostname"), "ship");
        let id = cais.ok("run -d busybox sh -c hostname");
        cais.ok(&format!("wait {id}"));
        assert_eq!(cais.ok(&format!("logs {id}")), id[..12]);
    });
}

#[test]
fn entrypoint_replaces_and_clears() {
    e2e(|cais| {
        assert_eq!(cais.ok("run --rm --entrypoint echo busybox a b"), "a b");
        assert_eq!(cais.ok("run --rm --entrypoint '' busybox echo c"), "c");
        cais.fails(125, "run --rm --entrypoint '' busybox").one_clear_error();
    });
}

#[test]
fn detached_prints_the_id_alone() {
    e2e(|cais| {
        cais.mark();
        let finished = cais.cmd("run -d --name d1 busybox sleep 1000").output().code(0);
        let id = finished.stdout_text();
        assert!(id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
        assert_eq!(finished.stderr_text(), "");
        assert_eq!(cais.inspect("d1", "{{.Id}} {{.State.Running}} {{.Name}}"), format!("{id} true /d1"));
        cais.ok("rm -f d1");
        cais.assert_nothing_left();
    });
}

#[test]
fn names_and_cidfiles_are_unique() {
    e2e(|cais| {
        cais.mark();
        let file = cais.folder().join("cid");
        let id = cais.cmd("run -d --name first --cidfile").arg(&file).args("busybox sleep 1000").ok();
        assert_eq!(fs::read_to_string(&file).unwrap(), id);
        cais.fails(125, "run -d --name first busybox sleep 1000").one_clear_error().says("first");
        cais.cmd("run -d --cidfile").arg(&file).args("busybox true").output().code(125).one_clear_error();
        assert_eq!(cais.ok("ps -aq --no-trunc"), id);
        cais.ok("rm -f first");
        cais.assert_nothing_left();
    });
}

#[test]
fn rm_removes_container_and_anonymous_volumes_at_the_end() {
    e2e(|cais| {
        cais.mark();
        cais.ok("run --rm -v /data busybox touch /data/x");
        cais.ok("run -d --rm --name gone -v /data busybox sh -c 'read x < /dev/null; exit 4'");
        cais_test::wait_until("the container is gone", || cais.ok("ps -aq").is_empty());
        cais.assert_nothing_left();
    });
}

#[test]
fn a_container_without_rm_stays_with_its_status() {
    e2e(|cais| {
        cais.fails(5, "run --name stays busybox sh -c 'exit 5'");
        assert_eq!(cais.inspect("stays", "{{.State.Status}} {{.State.ExitCode}}"), "exited 5");
    });
}

#[test]
fn the_writable_layer_belongs_to_one_container() {
    e2e(|cais| {
        cais.ok("run --rm busybox sh -c 'echo mine >/etc/passwd; rm /bin/ls; mkdir /new'");
        assert_eq!(
            cais.ok("run --rm busybox sh -c 'head -1 /etc/passwd; ls -d /bin/ls; ls -d /new 2>&1; true'")
                .lines()
                .count(),
            3
        );
        assert!(cais.ok("run --rm busybox cat /etc/passwd").starts_with("root:"));
    });
}

#[test]
fn a_plain_directory_can_be_run() {
    e2e(|cais| {
        let root = cais.folder().join("rootfs");
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
        assert_eq!(cais.cmd("run --rm --rootfs").arg(&root).args("/bin/busybox echo plain").ok(), "plain");
    });
}

#[test]
fn init_reaps_and_forwards_signals() {
    e2e(|cais| {
        cais.ok("run -d --name i1 --init busybox sh -c '(sleep 0.2 &) ; trap \"exit 7\" TERM; echo up; while :; do sleep 0.1; done'");
        cais.wait_for_log("i1", "up");
        cais_test::wait_until("the orphan is reaped", || {
            !cais.ok("exec i1 ps -o stat,args").lines().any(|line| line.trim_start().starts_with('Z'))
        });
        cais.ok("stop i1");
        assert_eq!(cais.inspect("i1", "{{.State.ExitCode}}"), "7");
    });
}

/// Whether a process has asked for signals as messages.
fn takes_signals(pid: u32) -> bool {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .any(|link| link.to_string_lossy().contains("[signalfd]"))
}

#[test]
fn signals_are_forwarded_to_the_program() {
    e2e(|cais| {
        let script =
            "sh -c 'trap \"exit 9\" TERM; trap \"exit 10\" USR1; echo up; while :; do sleep 0.1; done'";
        for (signal, code) in [(rustix::process::Signal::TERM, 9), (rustix::process::Signal::USR1, 10)] {
            let running = cais.cmd("run --name s1 busybox").args(script).spawn();
            cais.wait_for_log("s1", "up");
            // The container may be quicker than who follows it.
            cais_test::wait_until("signals are taken", || takes_signals(running.pid()));
            running.signal(signal);
            running.wait().code(code);
            cais.ok("rm s1");
        }
        let running = cais.cmd("run --name s1 --sig-proxy=false busybox").args(script).spawn();
        cais.wait_for_log("s1", "up");
        running.signal(rustix::process::Signal::TERM);
        running.wait();
        assert_eq!(cais.inspect("s1", "{{.State.Status}}"), "running");
    });
}

#[test]
fn labels_ulimits_and_sysctls_arrive() {
    e2e(|cais| {
        cais.ok("run -d --name l1 --label a=1 --label b busybox sleep 1000");
        assert_eq!(cais.inspect("l1", "{{index .Config.Labels \"a\"}}/{{index .Config.Labels \"b\"}}"), "1/");
        assert_eq!(
            cais.ok("run --rm --ulimit nofile=123:456 busybox sh -c 'ulimit -Sn; ulimit -Hn'"),
            "123\n456"
        );
        assert_eq!(
            cais.ok(
                "run --rm --sysctl net.ipv4.ip_default_ttl=77 busybox cat /proc/sys/net/ipv4/ip_default_ttl"
            ),
            "77"
        );
        cais.fails(125, "run --rm --sysctl kernel.panic=1 busybox true").says("kernel.panic");
        cais.fails(125, "run --rm --ulimit nonsense=1 busybox true").says("nonsense");
    });
}

#[test]
fn an_image_of_one_static_program_runs() {
    e2e(|cais| {
        let Some(image) = cais_test::rootfs::scratch() else {
            return cais_test::skip("busybox-static is missing");
        };
        let archive = cais.folder().join("scratch.tar");
        image.build().write_docker_archive(&archive, &["scratch:1"]).unwrap();
        cais.cmd("load -q -i").arg(&archive).ok();
        cais.ok("run --rm scratch:1");
    });
}

#[test]
fn dynamic_programs_of_debian_run() {
    e2e(|cais| {
        let Some(image) = cais_test::rootfs::debian() else { return cais_test::skip("this is not Debian") };
        let archive = cais.folder().join("debian.tar");
        image.build().write_docker_archive(&archive, &["debian:test"]).unwrap();
        cais.cmd("load -q -i").arg(&archive).ok();
        let script = "ls / | sort | tr '\\n' ' '; test -x /usr/bin/env && echo ok";
        let output = cais.cmd("run --rm debian:test bash -c").arg(script).ok();
        assert!(output.starts_with("bin ") && output.ends_with("ok"), "{output}");
    });
}

#[test]
fn layers_with_whiteouts_are_stacked_right() {
    e2e(|cais| {
        let Some(image) = cais_test::rootfs::layered() else {
            return cais_test::skip("busybox-static is missing");
        };
        let archive = cais.folder().join("layered.tar");
        let mut layout = cais_test::Layout::create(&cais.folder().join("layout")).unwrap();
        layout.add("layered:1", &image.build()).unwrap();
        layout.write_archive(&archive).unwrap();
        cais.cmd("load -q -i").arg(&archive).ok();
        let script =
            "test ! -e /gone && ls /opaque /swap && cat /flat /again /data /linked && stat -c %h /data";
        let output = cais.cmd("run --rm layered:1 sh -c").arg(script).ok();
        assert_eq!(output, "/opaque:\nnew\n\n/swap:\ninside\nzthirdsecondsecond2");
    });
}
