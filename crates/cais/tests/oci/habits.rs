//! What runc's own suite, runtime-tools and youki's contest rely on beyond the specification.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use cais_test::isolation::isolated;
use cais_test::process::Invocation;
use cais_test::skip;
use serde_json::{Value, json};

use crate::bed::Bed;

fn add_mount(config: &mut Value, mount: Value) {
    config["mounts"].as_array_mut().unwrap().push(mount);
}

#[test]
fn hooks_of_the_start_are_as_the_command() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let hook =
            |script: &str| json!({"startContainer": [{"path": "/bin/sh", "args": ["sh", "-uc", script]}]});
        bed.bundle("c1", &["true"]).change(|config| {
            config["hooks"] = hook("test $TERM = xterm && echo $HOME >/home-of-hook");
        });
        bed.run("c1").code(0);
        let home = fs::read_to_string(bed.folder().join("rootfs/home-of-hook")).unwrap();
        assert!(home.starts_with('/'), "{home}");
        bed.bundle("c2", &["true"]).change(|config| config["hooks"] = hook("echo what it says; exit 3"));
        bed.run("c2")
            .code(1)
            .says("error running startContainer hook #0: exit status 3")
            .says("what it says");
        bed.bundle("c3", &["true"]).change(|config| {
            config["hooks"] = hook("mkdir /made-by-hook");
            config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"}]});
        });
        bed.run("c3").code(1).says("error running startContainer hook").says("bad system call");
        assert!(!bed.folder().join("rootfs/made-by-hook").exists());
    });
}

#[test]
fn processors_are_the_groups_and_not_the_callers() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let allowed = fs::read_to_string("/proc/self/status").unwrap();
        let own = allowed.lines().find(|line| line.starts_with("Cpus_allowed_list")).unwrap().to_owned();
        if !own.contains(['-', ',']) {
            skip("one processor");
            return;
        }
        bed.bundle("c1", &["grep", "Cpus_allowed_list", "/proc/self/status"]);
        let run = bed.cmd("run --bundle").arg(bed.folder().join("c1")).arg("c1").command();
        let first: String =
            own.split('\t').nth(1).unwrap_or_default().chars().take_while(char::is_ascii_digit).collect();
        let bound = Invocation::new("taskset", "-c").arg(&first).arg(run.get_program());
        run.get_args().fold(bound, |line, arg| line.arg(arg)).output().code(0).prints(&own);
    });
}

#[test]
fn mounts_by_their_habits() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let rootfs = bed.folder().join("rootfs");
        fs::create_dir(rootfs.join("closed")).unwrap();
        fs::set_permissions(rootfs.join("closed"), fs::Permissions::from_mode(0o710)).unwrap();
        symlink("/nowhere/yet", rootfs.join("jump")).unwrap();
        fs::write(bed.folder().join("file"), "content\n").unwrap();
        let script = "grep -E ' /(closed|by-host) ' /proc/mounts; cat /jump/inner/file; stat -c %a /nowhere /nowhere/yet";
        bed.bundle("c1", &["sh", "-c", script]).change(|config| {
            add_mount(config, json!({"destination": "/closed", "type": "tmpfs", "source": "a"}));
            add_mount(
                config,
                json!({"destination": "/closed", "type": "tmpfs", "options": ["remount", "size=64k"]}),
            );
            let by_host = rootfs.join("by-host");
            add_mount(config, json!({"destination": by_host, "type": "tmpfs", "source": "b"}));
            let file = bed.folder().join("file");
            add_mount(
                config,
                json!({"destination": "/jump/inner/file", "source": file, "options": ["bind"]}),
            );
        });
        let text = bed.run("c1").code(0).stdout_text();
        assert!(text.contains("size=64k") && text.contains("mode=710"), "{text}");
        assert!(text.contains("b /by-host tmpfs"), "{text}");
        assert!(text.trim_end().ends_with("content\n755\n755"), "{text}");
    });
}

#[test]
fn a_bind_mount_has_the_attributes_asked_for() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let source = bed.folder().join("source");
        fs::create_dir(&source).unwrap();
        Invocation::new("mount", "-t tmpfs -o noexec,nodev,noatime source").arg(&source).ok();
        Invocation::new("mount", "-o remount,bind,ro,noexec,nodev,noatime").arg(&source).ok();
        for (id, options, has, lacks) in [
            ("kept", json!(["bind", "rprivate"]), &["ro", "noexec", "nodev", "noatime"][..], &["rw"][..]),
            ("new", json!(["bind", "nosuid"]), &["rw", "nosuid", "noatime"], &["ro", "noexec", "nodev"]),
            ("cleared", json!(["bind", "dev", "atime"]), &["rw", "noatime"], &["ro", "noexec", "nodev"]),
            ("times", json!(["bind", "nodiratime"]), &["relatime", "nodiratime"], &["noatime", "ro"]),
        ] {
            bed.bundle(id, &["grep", " /mnt ", "/proc/mounts"]).change(|config| {
                add_mount(config, json!({"destination": "/mnt", "source": source, "options": options}));
            });
            let text = bed.run(id).code(0).stdout_text();
            let words: Vec<&str> = text.split([' ', ',']).collect();
            assert!(has.iter().all(|word| words.contains(word)), "{id}: {text}");
            assert!(!lacks.iter().any(|word| words.contains(word)), "{id}: {text}");
        }
    });
}

#[test]
fn a_bind_mount_of_what_another_mount_brought() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        for folder in ["a/x", "b"] {
            fs::create_dir_all(bed.folder().join(folder)).unwrap();
        }
        fs::write(bed.folder().join("a/x/file"), "from a\n").unwrap();
        let rootfs = bed.folder().join("rootfs");
        for (id, user) in [("without", false), ("with", true)] {
            bed.bundle(id, &["cat", "/final/x/file"]).change(|config| {
                add_mount(
                    config,
                    json!({"destination": "/mnt", "source": bed.folder().join("a"), "options": ["bind"]}),
                );
                let (source, place) = (rootfs.join("mnt"), rootfs.join("final"));
                add_mount(config, json!({"destination": place, "source": source, "options": ["rbind"]}));
                if user {
                    user_namespace(config);
                }
            });
            bed.run(id).code(0).prints("from a");
        }
    });
}

/// All ids are themselves.
fn user_namespace(config: &mut Value) {
    let map = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
    config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    config["linux"]["uidMappings"] = map.clone();
    config["linux"]["gidMappings"] = map;
}

#[test]
fn the_limit_of_open_files_is_for_the_command() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        bed.bundle("c1", &["sh", "-c", "ulimit -n"]).change(|config| {
            user_namespace(config);
            config["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 20, "hard": 20}]);
            for number in 0..20 {
                let place = format!("/mnt/{number}");
                add_mount(config, json!({"destination": place, "source": bed.folder(), "options": ["bind"]}));
            }
        });
        bed.run("c1").code(0).prints("20");
    });
}

#[test]
fn what_is_said() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        bed.bundle("c1", &["true"]).change(|config| {
            config["process"]["capabilities"]["ambient"] = json!(["CAP_CHOWN"]);
        });
        bed.run("c1").code(0).says("can't raise ambient capability CAP_CHOWN: ");
        bed.refuses("state c9", "error");
        bed.bare("--root /no/such list").output().code(1).says("no such file or directory");
        let run = bed.cmd("--debug run --bundle").arg(bed.folder().join("c1")).arg("c1").output();
        run.code(0)
            .says("nsexec container setup")
            .says("child process in init()")
            .says("init: closing the pipe to signal completion");
        fs::write(bed.folder().join("rootfs/script"), "#!/no/such/shell\n").unwrap();
        fs::set_permissions(bed.folder().join("rootfs/script"), fs::Permissions::from_mode(0o755)).unwrap();
        bed.bundle("c2", &["/script"]);
        bed.run("c2").code(1).says("exec /script: no such file or directory");
        fs::create_dir(bed.folder().join("rootfs/elsewhere")).unwrap();
        fs::remove_dir(bed.folder().join("rootfs/proc")).ok();
        symlink("/elsewhere", bed.folder().join("rootfs/proc")).ok();
        bed.bundle("c3", &["true"]);
        bed.run("c3").code(1).says("must be mounted on ordinary directory");
    });
}
