//! What keeps a container in: capabilities, seccomp, no_new_privs, masked paths, devices, descriptors.

use cais_test::{e2e, skip};

/// The capability sets of this process: what a container can have at most.
fn machine_bounding_set() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("CapBnd:")).unwrap();
    u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap()
}

/// Docker's default fourteen.
const DEFAULT_SET: u64 = 0xa804_25fb;

fn set(cais: &cais_test::Cais, flags: &str, name: &str) -> u64 {
    let line = cais
        .cmd("run --rm")
        .args(flags)
        .args("busybox grep")
        .arg(format!("{name}:"))
        .arg("/proc/self/status")
        .ok();
    u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap()
}

#[test]
fn capabilities_are_dockers_unless_changed() {
    e2e(|cais| {
        let machine = machine_bounding_set();
        for name in ["CapBnd", "CapPrm", "CapEff"] {
            assert_eq!(set(cais, "", name), DEFAULT_SET & machine, "{name}");
        }
        assert_eq!(set(cais, "", "CapInh"), 0);
        assert_eq!(set(cais, "", "CapAmb"), 0);
        assert_eq!(set(cais, "--cap-drop ALL", "CapBnd"), 0);
        assert_eq!(set(cais, "--cap-drop ALL --cap-add NET_BIND_SERVICE", "CapEff"), 1 << 10);
        assert_eq!(set(cais, "--cap-add net_admin", "CapEff"), (DEFAULT_SET | 1 << 12) & machine);
        assert_eq!(set(cais, "--cap-drop CAP_CHOWN", "CapEff"), DEFAULT_SET & machine & !1);
        assert_eq!(set(cais, "--cap-add ALL --cap-drop CHOWN", "CapBnd"), machine & !1);
        assert_eq!(set(cais, "-u 1000", "CapEff"), 0, "an ordinary user has none");
    });
}

#[test]
fn a_dropped_capability_is_missed() {
    e2e(|cais| {
        cais.ok("run --rm busybox chown 1 /etc/passwd");
        let finished = cais.cmd("run --rm --cap-drop CHOWN busybox chown 1 /etc/passwd").output();
        assert!(finished.status() == 1 && finished.stderr_text().contains("not permitted"), "{finished}");
    });
}

#[test]
fn privileged_works_with_the_capabilities_that_there_are() {
    e2e(|cais| {
        assert_eq!(set(cais, "--privileged", "CapEff"), machine_bounding_set());
        let status = cais.ok("run --rm --privileged busybox grep Seccomp: /proc/self/status");
        assert!(status.ends_with('0'), "{status}");
        cais.ok("run --rm --privileged busybox sh -c 'mkdir /m && mount -t tmpfs tmpfs /m'");
        cais.ok("run --rm --privileged busybox sh -c 'test -w /proc/sys/kernel/hostname && echo x >/proc/sys/kernel/hostname'");
    });
}

#[test]
fn the_filter_is_on_and_refuses() {
    e2e(|cais| {
        let seccomp = |flags: &str| {
            cais.cmd("run --rm")
                .args(flags)
                .args("busybox grep Seccomp: /proc/self/status")
                .ok()
                .split_whitespace()
                .last()
                .unwrap()
                .to_owned()
        };
        assert_eq!(seccomp(""), "2");
        assert_eq!(seccomp("--security-opt seccomp=unconfined"), "0");
        for command in ["unshare -U true", "unshare -m true", "mount -t tmpfs tmpfs /tmp", "dmesg"] {
            let finished = cais.cmd("run --rm busybox").args(command).output();
            let text = finished.stderr_text();
            let refused = text.contains("not permitted") || text.contains("permission denied");
            assert!(finished.status() != 0 && refused, "{command}: {finished}");
        }
    });
}

#[test]
fn an_own_profile_is_obeyed() {
    e2e(|cais| {
        let profile = cais.folder().join("profile.json");
        let text = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":28}]}"#;
        std::fs::write(&profile, text).unwrap();
        let option = format!("seccomp={}", profile.display());
        let finished = cais.cmd("run --rm --security-opt").arg(&option).args("busybox mkdir /new").output();
        assert!(finished.stderr_text().contains("No space left"), "{finished}");
        cais.cmd("run --rm --security-opt").arg(&option).args("busybox true").ok();
        std::fs::write(&profile, "{").unwrap();
        cais.cmd("run --rm --security-opt")
            .arg(&option)
            .args("busybox true")
            .output()
            .code(125)
            .one_clear_error();
        cais.fails(125, "run --rm --security-opt seccomp=/no/such/file busybox true")
            .one_clear_error()
            .says("/no/such/file");
        cais.fails(125, "run --rm --security-opt nonsense=1 busybox true").one_clear_error().says("nonsense");
    });
}

#[test]
fn no_new_privileges_is_set_on_request() {
    e2e(|cais| {
        let flag = |flags: &str| {
            cais.cmd("run --rm").args(flags).args("busybox grep NoNewPrivs /proc/self/status").ok()
        };
        assert!(flag("").ends_with('0'));
        assert!(flag("--security-opt no-new-privileges").ends_with('1'));
        assert!(flag("--security-opt no-new-privileges:true").ends_with('1'));
    });
}

#[test]
fn kernel_files_are_masked_or_read_only() {
    e2e(|cais| {
        assert_eq!(
            cais.ok(
                "run --rm busybox sh -c 'cat /proc/kcore /proc/keys /proc/timer_list 2>/dev/null | wc -c'"
            ),
            "0"
        );
        assert_eq!(cais.ok("run --rm busybox sh -c 'ls /sys/firmware 2>/dev/null | wc -l'"), "0");
        for file in ["/proc/sys/kernel/domainname", "/proc/sysrq-trigger", "/proc/irq/default_smp_affinity"] {
            let script = format!("test -e {file} || exit 0; echo 1 2>/dev/null >{file} && exit 9; exit 0");
            cais.cmd("run --rm busybox sh -c").arg(script).ok();
        }
        cais.ok("run --rm busybox sh -c 'mkdir /sys/x 2>/dev/null && exit 9; exit 0'");
        let read_only = "grep -c ' /proc/sys ' /proc/mounts; true";
        assert_eq!(cais.cmd("run --rm busybox sh -c").arg(read_only).ok(), "1");
        let unmasked =
            cais.cmd("run --rm --security-opt systempaths=unconfined busybox sh -c").arg(read_only);
        assert_eq!(unmasked.ok(), "0");
    });
}

#[test]
fn devices_are_the_few_and_the_asked_for() {
    e2e(|cais| {
        let list = cais.ok("run --rm busybox ls /dev");
        let names: Vec<&str> = list.split_whitespace().collect();
        for name in [
            "null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm", "mqueue", "fd",
            "stdin", "stdout", "stderr",
        ] {
            assert!(names.contains(&name), "{name} in {names:?}");
        }
        assert!(names.len() <= 16, "{names:?}");
        assert_eq!(
            cais.ok("run --rm --device /dev/zero:/dev/mine busybox sh -c 'head -c 3 /dev/mine | wc -c'"),
            "3"
        );
        cais.fails(125, "run --rm --device /dev/no-such-device busybox true")
            .one_clear_error()
            .says("no-such-device");
    });
}

#[test]
fn a_device_made_inside_cannot_be_opened() {
    e2e(|cais| {
        // /dev/kmsg: there on every machine, not on the list.
        let script = "mknod /kmsg c 1 11 && head -c 1 /kmsg";
        let finished = cais.cmd("run --rm busybox sh -c").arg(script).output();
        assert!(finished.status() != 0 && finished.stderr_text().contains("not permitted"), "{finished}");
        cais.ok("run --rm busybox sh -c 'mknod /zero c 1 5 && head -c 1 /zero | wc -c'");
    });
}

#[test]
fn nothing_of_the_host_leaks_in() {
    e2e(|cais| {
        let run =
            |script: &str| cais.cmd("run --rm busybox sh -c").arg(script).env("SECRET_OF_HOST", "x").ok();
        cais.ok("run -d --name fds busybox sleep 1000");
        assert_eq!(cais.ok("exec fds ls /proc/1/fd"), "0\n1\n2", "no descriptor but the three");
        assert_eq!(
            cais.ok("exec fds ls /proc/self/fd"),
            "0\n1\n2\n3",
            "and that by which ls reads the folder"
        );
        assert!(!run("env").contains("SECRET_OF_HOST"));
        assert!(!run("tr '\\0' '\\n' </proc/1/environ").contains("SECRET_OF_HOST"));
        let processes = run("ls /proc | grep -c '^[0-9]'").parse::<u32>().unwrap();
        assert!(processes <= 4, "only its own processes: {processes}");
        let mounts = run("cat /proc/self/mountinfo");
        let host = cais.folder().to_str().unwrap();
        let seen: Vec<&str> = mounts
            .lines()
            .filter(|line| line.split(' ').nth(4).is_some_and(|point| point.starts_with(host)))
            .collect();
        assert!(seen.is_empty(), "no mount point of the host: {seen:?}");
    });
}

#[test]
fn init_is_never_the_hosts_binary() {
    e2e(|cais| {
        cais.ok("run -d --name i1 --init busybox sleep 1000");
        let host = std::fs::metadata(cais.binary()).unwrap().len();
        let inside = cais.ok("exec i1 stat -L -c %s /proc/1/exe").parse::<u64>().unwrap();
        assert_ne!(inside, host);
        let finished = cais.cmd("exec i1 sh -c 'echo evil >/proc/1/exe'").output();
        assert_ne!(finished.status(), 0, "and it cannot be written to");
        assert_eq!(std::fs::metadata(cais.binary()).unwrap().len(), host);
    });
}

#[test]
fn namespaces_are_not_the_hosts() {
    e2e(|cais| {
        for kind in ["mnt", "pid", "net", "ipc", "uts", "cgroup"] {
            let host = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
            let inside = cais.cmd("run --rm busybox readlink").arg(format!("/proc/self/ns/{kind}")).ok();
            assert_ne!(inside, host.to_str().unwrap(), "{kind}");
        }
        if std::path::Path::new("/sys/kernel/security/apparmor").is_dir() {
            skip("AppArmor confinement is checked in a virtual machine");
        }
    });
}

#[test]
fn the_number_that_stands_for_no_user_is_not_root() {
    e2e(|cais| {
        for user in ["4294967295", "4294967295:0", "0:4294967295"] {
            let finished = cais.cmd("run --rm -u").arg(user).args("busybox id").output();
            finished.code(125).one_clear_error().prints("");
        }
        cais.ok("run -d --name c1 busybox sleep 1000");
        let finished = cais.cmd("exec -u 4294967295 c1 id").output();
        assert!(finished.status() != 0 && finished.stdout_text().is_empty(), "{finished}");
    });
}

#[test]
fn paths_are_masked_and_unmasked_by_name() {
    e2e(|cais| {
        let look = "ls /proc/scsi /sys/firmware; cat /etc/secret; touch /proc/sys/kernel/domainname && echo writable";
        let seen = |flags: &str| {
            let flags = format!(
                "run --rm -v {}:/etc/secret {flags} busybox sh -c",
                cais.folder().join("s").display()
            );
            cais.cmd(&flags).arg(look).output().stdout_text().to_owned()
        };
        std::fs::write(cais.folder().join("s"), "secret\n").unwrap();
        let plain = seen("");
        assert!(plain.contains("secret") && !plain.contains("writable"), "{plain}");
        let masked = seen("--security-opt mask=/etc/secret:/no/such");
        assert!(!masked.contains("secret"), "{masked}");
        let privileged = seen("--privileged --security-opt mask=/etc/secret");
        assert!(!privileged.contains("secret"), "{privileged}");
        for all in
            ["--security-opt unmask=/proc/sys", "--security-opt unmask=/proc/*", "--security-opt unmask=all"]
        {
            let open = seen(all);
            assert!(open.contains("writable"), "{all}: {open}");
        }
        cais.ok("create --name c1 --security-opt mask=/a --security-opt unmask=/proc/s* busybox");
        assert_eq!(cais.inspect("c1", "{{.HostConfig.ReadonlyPaths}}"), "[/proc/bus /proc/fs /proc/irq]");
        assert!(
            cais.inspect("c1", "{{.HostConfig.MaskedPaths}}").ends_with(" /sys/devices/virtual/powercap /a]")
        );
        assert_eq!(cais.inspect("c1", "{{.HostConfig.SecurityOpt}}"), "[mask=/a unmask=/proc/s*]");
        assert!(
            cais.ok("inspect --as run c1")
                .contains("--security-opt mask=/a --security-opt 'unmask=/proc/s*'")
        );
    });
}
