//! Finding the command, and what it inherits besides descriptors.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use cais_plan::{Bytes, Step, Str, Strings, join_strings, role};
use rustix::io::Errno;

use super::rig::{self, NEWTIME, Rig, ids, need_root};

fn find(rig: &mut Rig, paths: &[&str]) {
    let paths = join_strings(paths);
    rig.push(&Step::FindExecutable { paths: Strings(&paths) });
}

#[test]
fn the_command_is_found_before_the_start() {
    need_root!();
    let mut rig = Rig::new();
    fs::write(rig.root().join("tmp/echo"), "no program").expect("write");
    rig.enter();
    find(&mut rig, &["/usr/bin/echo", "/tmp/echo", "/tmp", "/bin/echo"]);
    // What was found is executed, not what the last step says.
    rig.push(&Step::Exec {
        paths: Strings(b"/nowhere\0"),
        args: Strings(b"echo\0found\0"),
        env: Strings(b""),
    });
    assert_eq!(rig.run().output(), "found\n");
}

#[test]
fn a_command_that_is_not_there_or_may_not_run() {
    need_root!();
    let cases: [(&[&str], u32, Errno); 6] = [
        (&["/usr/bin/nope", "/bin/nope"], 0, Errno::NOENT),
        (&["/bin/sh/x"], 0, Errno::NOENT),
        (&["/tmp"], 0, Errno::ACCESS),
        (&["/tmp/plain"], 0, Errno::ACCESS),
        (&["/tmp/plain", "/bin/nope"], 0, Errno::ACCESS),
        (&["/tmp/private"], 1000, Errno::ACCESS),
    ];
    for (paths, uid, errno) in cases {
        let mut rig = Rig::new();
        for (name, mode) in [("plain", 0o644), ("private", 0o700)] {
            let path = rig.root().join("tmp").join(name);
            fs::write(&path, "#!/bin/sh\n").expect("write");
            fs::set_permissions(&path, Permissions::from_mode(mode)).expect("mode");
        }
        rig.enter().push(&ids(uid, uid)).push(&Step::SwitchUser { groups: true });
        rig.push(&Step::Capabilities { effective: 0, permitted: 0, inheritable: 0, ambient: 0 });
        find(&mut rig, paths);
        let running = rig.run();
        let failure = running.expect_failure();
        assert_eq!((failure.0, failure.1), (8, errno.raw_os_error()), "{paths:?}");
        running.end();
    }
    // For root with its capabilities every file with one executable bit will do.
    let mut rig = Rig::new();
    let path = rig.root().join("tmp/private");
    fs::write(&path, "#!/bin/sh\necho ran\n").expect("write");
    fs::set_permissions(&path, Permissions::from_mode(0o010)).expect("mode");
    rig.enter();
    find(&mut rig, &["/tmp/private"]);
    rig.push(&Step::Exec { paths: Strings(b"\0"), args: Strings(b"x\0"), env: Strings(b"") });
    assert_eq!(rig.run().output(), "ran\n");
}

#[test]
fn numbers_of_the_process() {
    need_root!();
    // struct sched_attr: size, policy SCHED_BATCH, flags, nice 5.
    let mut attributes = [0_u32; 12];
    (attributes[0], attributes[1], attributes[4]) = (48, 3, 5);
    let attributes: Vec<u8> = attributes.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let mut rig = Rig::new();
    rig.enter();
    rig.push(&Step::Scheduler { attributes: Bytes(&attributes) });
    rig.push(&Step::IoPriority { value: 3 << 13 });
    rig.push(&Step::Affinity { mask: Bytes(&1_u64.to_ne_bytes()) });
    rig.push(&Step::Personality { persona: 8 });
    rig.push(&Step::Umask { mode: 0o31 });
    rig.push(&Step::NewSession {});
    rig.push(&Step::MemoryPolicy { mode: 2, nodes: Bytes(&1_u64.to_ne_bytes()) });
    rig.script(
        "grep Cpus_allowed: /proc/self/status; umask; cat /proc/self/personality; read stat < /proc/self/stat; \
         set -- $stat; echo $6 ${19} ${41}; grep -o -m1 bind:0 /proc/self/numa_maps",
    );
    let text = rig.run().output();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].trim_start_matches("Cpus_allowed:\t").trim_start_matches(['0', ',']) == "1", "{text}");
    assert_eq!(lines[1..4], ["0031", "00000008", "1 5 3"], "{text}");
    if lines.len() == 4 {
        println!("skipped: a kernel without numa_maps");
        return;
    }
    assert_eq!(lines[4], "bind:0");
}

#[test]
fn the_umask_of_the_caller_is_the_commands() {
    need_root!();
    // Ours must not be changed beside other tests: the shell's is.
    let mut rig = Rig::new();
    rig.enter().push(&Step::MakeDir { path: Str(b"/tmp/made"), mode: 0o777 });
    rig.script("umask; stat -c %a /tmp/made");
    let ours = fs::read_to_string("/proc/self/status").expect("status");
    let ours = ours.lines().find_map(|line| line.strip_prefix("Umask:\t")).expect("umask").to_owned();
    assert_eq!(rig.run().output(), format!("{ours}\n777\n"));
}

#[test]
fn home_and_groups_by_numbers() {
    need_root!();
    let mut rig = Rig::new();
    fs::write(rig.root().join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nanna:x:1000:7::/home/anna:\n")
        .expect("write");
    let groups: Vec<u8> = (0..300_u32).map(|n| 5000 + n).flat_map(u32::to_ne_bytes).collect();
    rig.enter();
    rig.push(&Step::Ids { uid: 1000, gid: 8, groups: Bytes(&groups), home: true });
    rig.push(&Step::SwitchUser { groups: true });
    rig.script(
        "echo $HOME; id -u; id -g; id -G | { read a b c; echo $a $b; }; id -G | { set -- $(cat); echo $#; }",
    );
    assert_eq!(rig.run().output(), "/home/anna\n1000\n8\n8 5000\n301\n");
}

#[test]
fn a_working_directory_that_only_its_user_may_enter() {
    need_root!();
    for (uid, works) in [(1000, true), (1001, false)] {
        let mut rig = Rig::new();
        let path = rig.root().join("tmp/own");
        fs::create_dir(&path).expect("directory");
        fs::set_permissions(&path, Permissions::from_mode(0o700)).expect("mode");
        std::os::unix::fs::chown(&path, Some(1000), Some(1000)).expect("chown");
        rig.enter();
        // Without capabilities root is nobody special.
        rig.push(&ids(0, 0));
        let (setuid, all) = (1 << 6 | 1 << 7, 0);
        rig.push(&Step::Capabilities {
            effective: setuid,
            permitted: setuid,
            inheritable: all,
            ambient: all,
        });
        rig.push(&Step::Chdir { path: Str(b"/tmp/own"), create: false });
        rig.push(&ids(uid, uid)).push(&Step::SwitchUser { groups: true }).script("echo $PWD");
        let running = rig.run();
        if works {
            assert_eq!(running.output(), "/tmp/own\n");
            continue;
        }
        let failure = running.expect_failure();
        assert_eq!((failure.0, failure.1), (7, Errno::ACCESS.raw_os_error()), "the step that entered");
        running.end();
    }
}

#[test]
fn a_time_namespace_with_offsets() {
    need_root!();
    if !std::path::Path::new("/proc/self/timens_offsets").exists() {
        println!("skipped: a kernel without time namespaces");
        return;
    }
    let mut rig = Rig::new();
    rig.role = role::PARENT;
    rig.outer = 2;
    rig.push(&Step::Unshare { flags: NEWTIME });
    let offsets = Bytes(b"monotonic 864000 0\nboottime 864000 0\n");
    rig.push(&Step::WriteProc { file: Str(b"self/timens_offsets"), content: offsets, optional: false });
    rig.enter().script("cat /proc/self/timens_offsets; read up rest < /proc/uptime; echo ${up%.*}");
    let mut running = rig.run();
    running.adopt();
    let text = running.output();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["monotonic", "864000", "0"]);
    assert!(lines[2].parse::<u64>().expect("seconds") >= 864_000, "{text}");
}

#[test]
fn a_keyring_of_its_own() {
    need_root!();
    if !std::path::Path::new("/proc/keys").exists() {
        println!("skipped: a kernel without keyrings");
        return;
    }
    let mut rig = Rig::new();
    rig.enter().push(&Step::Keyring { name: Str(b"_ses.cais-test") }).script("cat /proc/keys");
    let text = rig.run().output();
    let line = text.lines().find(|line| line.contains("_ses.cais-test")).expect("the keyring");
    assert!(line.contains(" 3f1b0000 "), "{line}");
}

#[test]
fn landlock_confines() {
    need_root!();
    let mut rig = Rig::new();
    fs::write(rig.root().join("tmp/secret"), "secret").expect("write");
    let (execute, write, read, list) = (1, 1 << 1, 1 << 2, 1 << 3);
    rig.enter().push(&Step::NoNewPrivileges {});
    rig.push(&Step::Landlock { files: execute | write | read | list, network: 0, scoped: 0 });
    let allow = |rig: &mut Rig, path: &str, access| {
        rig.push(&Step::LandlockPath { path: Str(path.as_bytes()), access, optional: true });
    };
    allow(&mut rig, "/bin", execute | read);
    // Of a file, what only directories have is left out.
    allow(&mut rig, "/etc/open", read | list);
    allow(&mut rig, "/missing", read);
    rig.push(&Step::LandlockEnforce {});
    rig.script("cat /etc/open; cat /tmp/secret 2>&1; ls /bin 2>&1");
    fs::write(rig.root().join("etc/open"), "open\n").expect("write");
    let running = rig.run();
    if let Some(packet) = rig::receive(&running.sync) {
        let failure = packet.failure();
        assert_eq!(failure.0, 6, "{failure:?}");
        println!("skipped: a kernel without Landlock");
        running.end();
        return;
    }
    assert_eq!(
        running.end().0,
        "open\ncat: can't open '/tmp/secret': Permission denied\nls: can't open '/bin': Permission denied\n"
    );
}
