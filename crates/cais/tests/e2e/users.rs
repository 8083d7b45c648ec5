//! User namespaces as root: maps, ranges that are divided, other containers' namespaces, owners on disk and outside.
//! What an ordinary user has of it: `rootless.rs`.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::PathBuf;

use cais_test::process::Invocation;
use cais_test::{Cais, e2e, skip};

const MAP: &str = "--network none --uidmap 0:100000:65536";

/// Whether the machine can have these containers; says so when it cannot.
fn possible(cais: &Cais) -> bool {
    let finished = cais.cmd(&format!("run --rm {MAP} busybox true")).output();
    let text = finished.stderr_text();
    if finished.status() != 0 && (text.contains("map the owners") || text.contains("create a user namespace"))
    {
        skip(format!("no id-mapped mounts or user namespaces: {text}"));
        return false;
    }
    true
}

fn upper(cais: &Cais, container: &str) -> PathBuf {
    cais.inspect(container, "{{.GraphDriver.Data.UpperDir}}").into()
}

fn owner(path: PathBuf) -> (u32, u32) {
    let stat = fs::symlink_metadata(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    (stat.uid(), stat.gid())
}

#[test]
fn ids_differ_outside_and_are_the_containers_own_on_disk() {
    e2e(|cais| {
        if !possible(cais) {
            return;
        }
        cais.mark();
        cais.ok(&format!("run -d --name box {MAP} -v vol:/v busybox sleep 1000"));
        assert_eq!(
            cais.ok("exec box cat /proc/self/uid_map").split_whitespace().collect::<Vec<_>>(),
            ["0", "100000", "65536"]
        );
        assert_eq!(cais.ok("exec box cat /proc/self/gid_map").split_whitespace().nth(1), Some("100000"));
        let pid = cais.inspect("box", "{{.State.Pid}}");
        assert_eq!(owner(format!("/proc/{pid}").into()), (100_000, 100_000));
        // The image's files and what is written belong to the ids that the container knows, inside and on disk.
        cais.ok("exec box sh -c 'touch /f /v/f && chown 7:8 /f /v/f && mkdir /d && chown -R 9 /etc/passwd'");
        assert_eq!(cais.ok("exec box stat -c %u:%g /f /v/f /d /bin /etc/hosts"), "7:8\n7:8\n0:0\n0:0\n0:0");
        let upper = upper(cais, "box");
        assert_eq!(owner(upper.join("f")), (7, 8));
        assert_eq!(owner(upper.join("etc/passwd")).0, 9);
        assert_eq!(owner(cais.root().join("volumes/vol/_data/f")), (7, 8), "as for a container without maps");
        assert_eq!(cais.ok("run --rm --network none -v vol:/v busybox stat -c %u:%g /v/f"), "7:8");
        // So an image made of it is as any other.
        cais.ok("commit box again");
        assert_eq!(cais.ok("run --rm --network none again stat -c %u:%g /f /etc/passwd"), "7:8\n9:0");
        assert!(cais.ok("diff box").contains("A /f"));
        let inspected = cais.inspect("box", "{{.HostConfig.UsernsMode}} {{json .HostConfig.IDMappings}}");
        assert_eq!(inspected, r#"private {"UidMap":["0:100000:65536"],"GidMap":["0:100000:65536"]}"#);
        let line = cais.ok("inspect --as run box");
        assert!(line.contains("--uidmap 0:100000:65536"), "{line}");
        cais.ok("restart -t 0 box");
        assert_eq!(cais.ok("exec box stat -c %u /f"), "7");
        cais.ok("rm -f box");
        cais.ok("volume rm vol");
        cais.ok("rmi again");
        cais.assert_nothing_left();
    });
}

#[test]
fn files_are_copied_with_the_owners_that_the_container_knows() {
    e2e(|cais| {
        if !possible(cais) {
            return;
        }
        cais.ok(&format!("run -d --name box {MAP} busybox sleep 1000"));
        cais.ok("run -d --name plain --network none busybox sleep 1000");
        let file = cais.folder().join("file");
        fs::write(&file, "text").expect("write");
        chown(&file, Some(7), Some(8)).expect("chown");
        cais.cmd("cp").arg(&file).args("box:/tmp/file").ok();
        assert_eq!(cais.ok("exec box stat -c %u:%g /tmp/file"), "7:8");
        cais.ok("cp box:/tmp/file plain:/tmp/file");
        assert_eq!(cais.ok("exec plain stat -c %u:%g /tmp/file"), "7:8");
        cais.ok("cp plain:/tmp/file box:/tmp/back");
        assert_eq!(cais.ok("exec box stat -c %u:%g /tmp/back"), "7:8");
        let out = cais.folder().join("out");
        cais.cmd("cp -a box:/tmp/file").arg(&out).ok();
        assert_eq!(owner(out), (7, 8));
        chown(&file, Some(70_000), Some(0)).expect("chown");
        let refused = cais.cmd("cp").arg(&file).args("box:/tmp/other").output().code(1);
        assert!(refused.stderr_text().contains("70000:0 is not mapped"), "{}", refused.stderr_text());
        cais.ok("stop -t 0 box");
        chown(&file, Some(9), Some(9)).expect("chown");
        cais.cmd("cp").arg(&file).args("box:/tmp/late").ok();
        cais.ok("start box");
        assert_eq!(cais.ok("exec box stat -c %u:%g /tmp/late"), "9:9");
    });
}

#[test]
fn ranges_are_divided_among_containers_and_given_back() {
    e2e(|cais| {
        if !possible(cais) {
            return;
        }
        fs::write("/etc/subuid", "").expect("write");
        let none = cais.fails(125, "run --rm --network none --userns auto busybox true");
        assert!(none.stderr_text().contains("no ranges in /etc/subuid"), "{}", none.stderr_text());
        for file in ["/etc/subuid", "/etc/subgid"] {
            fs::write(file, "anna:500000:1000\ncontainers:2000000:4096\n").expect("write");
        }
        cais.mark();
        let first = |name: &str, flags: &str| {
            cais.ok(&format!("create --name {name} --network none --userns auto{flags} busybox true"));
            cais.inspect(name, "{{index .HostConfig.IDMappings.UidMap 0}}")
        };
        // As many as the image knows: 1500 is a group of it.
        assert_eq!(first("one", ""), "0:2000000:1501");
        assert_eq!(first("two", ":size=2000"), "0:2001501:2000");
        let full = cais.fails(1, "create --network none --userns auto:size=1400 busybox true");
        assert!(full.stderr_text().contains("no 1400 uids in a row"), "{}", full.stderr_text());
        cais.ok("rm one");
        assert_eq!(first("three", ":size=1000"), "0:2000000:1000");
        // Many at once: nobody has what another has.
        cais.ok("rm two three");
        let many: Vec<_> = (0..8)
            .map(|_| cais.cmd("create --network none --userns auto:size=500 busybox true").command().spawn())
            .collect();
        for child in many {
            assert!(child.expect("spawn").wait().expect("wait").success());
        }
        let ids = cais.ok("ps -aq");
        let mut maps: Vec<String> =
            ids.lines().map(|id| cais.inspect(id, "{{index .HostConfig.IDMappings.UidMap 0}}")).collect();
        maps.sort();
        maps.dedup();
        assert_eq!(maps.len(), 8, "{maps:?}");
        cais.cmd("rm").args(&ids.replace('\n', " ")).ok();
        assert_eq!(
            cais.ok("run --rm --network none --subuidname anna busybox cat /proc/self/uid_map")
                .split_whitespace()
                .nth(1),
            Some("500000")
        );
        cais.assert_nothing_left();
    });
}

#[test]
fn a_namespace_is_shared() {
    e2e(|cais| {
        if !possible(cais) {
            return;
        }
        cais.ok("run -d --name box --uidmap 0:100000:65536 busybox sleep 1000");
        let pid = cais.inspect("box", "{{.State.Pid}}");
        let link = |kind: &str| {
            fs::read_link(format!("/proc/{pid}/ns/{kind}")).expect("a namespace").display().to_string()
        };
        let users = link("user");
        assert_eq!(
            cais.ok("run --rm --userns container:box --network none busybox readlink /proc/self/ns/user"),
            users
        );
        // With a network of its own, and with that of the other one.
        let own =
            "run --rm --userns container:box busybox sh -c 'readlink /proc/self/ns/user; ls /sys/class/net'";
        assert_eq!(cais.ok(own), format!("{users}\neth0\nlo"));
        let both =
            "run --rm --userns container:box --network container:box busybox readlink /proc/self/ns/net";
        assert_eq!(cais.ok(both), link("net"));
        let path = format!(
            "run --rm --userns ns:/proc/{pid}/ns/user --network none busybox readlink /proc/self/ns/user"
        );
        assert_eq!(cais.ok(&path), users);
        cais.ok("create --name later --userns container:box --network none busybox true");
        cais.ok("stop -t 0 box");
        assert!(cais.fails(1, "start later").stderr_text().contains("is not running"));
        cais.fails(125, "run --rm --userns ns:/proc/self/status busybox true");
        cais.fails(125, "run --rm --userns container:nobody busybox true");
    });
}

#[test]
fn what_root_of_the_namespace_may() {
    e2e(|cais| {
        if !possible(cais) {
            return;
        }
        cais.mark();
        let run = |flags: &str, command: &str| cais.ok(&format!("run --rm {MAP} {flags} busybox {command}"));
        assert_eq!(run("-t", "stat -c %u:%g /dev/pts/0"), "0:5");
        assert_eq!(
            run("--privileged", "sh -c 'mount -t tmpfs x /tmp && grep -c \" /tmp tmpfs\" /proc/mounts'"),
            "1"
        );
        assert_eq!(
            run(
                "--ulimit nofile=100:200 --oom-score-adj 300",
                "sh -c 'ulimit -Hn; cat /proc/self/oom_score_adj'"
            ),
            "200\n300"
        );
        assert_eq!(run("--init -u 7:8", "id -u"), "7");
        assert_eq!(run("--read-only --tmpfs /x:uid=7", "stat -c %u /x"), "7");
        assert_eq!(run("--pid host", "sh -c 'test -d /proc/self && echo yes'"), "yes");
        assert_eq!(cais.ok("run --rm --network host --uidmap 0:100000:65536 busybox sh -c 'ls /sys/class/net | grep -c lo'"), "1");
        assert_eq!(cais.ok("run --rm --uidmap 0:100000:65536 --sysctl net.ipv4.ip_forward=1 busybox cat /proc/sys/net/ipv4/ip_forward"), "1");
        assert_eq!(
            cais.ok("run --rm --userns keep-id --network none busybox cat /proc/self/uid_map")
                .split_whitespace()
                .last(),
            Some("4294967295")
        );
        // Refused in one line with a reason, and without a trace.
        for (flags, reason) in [
            ("--uidmap 0:100000:10 -u 77", "not mapped"),
            ("--uidmap 0:100000:10 --uidmap 5:3:1", "have ids in common"),
            ("--uidmap 1000:100000:1", "no user or group 0"),
            ("--userns nomap", "for ordinary users"),
            ("--userns private", "needs ids"),
            ("--userns host --uidmap 0:1:1", "conflicting options"),
            ("--uidmap 0:1:1 --subuidname anna", "conflicting options"),
            ("--subuidname nobody", "no ranges in /etc/subuid"),
            ("--userns auto:sise=1", "unknown option"),
            ("--uidmap 0-1-1", "expected container:outside"),
        ] {
            let refused = cais.fails(125, &format!("run --rm --network none {flags} busybox true"));
            assert!(refused.stderr_text().contains(reason), "{flags}: {}", refused.stderr_text());
        }
        cais.assert_nothing_left();
    });
}

#[test]
fn owners_of_mounts() {
    e2e(|cais| {
        if !possible(cais) {
            return;
        }
        let folder = cais.folder().join("mine");
        fs::create_dir(&folder).expect("a folder");
        fs::write(folder.join("f"), "").expect("a file");
        let seen = |options: &str, user: &str| {
            let line = format!(
                "run --rm {MAP} {user} -v {}:/m{options} busybox stat -c %u:%g /m/f",
                folder.display()
            );
            cais.ok(&line)
        };
        chown(folder.join("f"), Some(7), Some(100_008)).expect("chown");
        assert_eq!(seen("", ""), "65534:8", "the host's ids");
        assert_eq!(seen(":idmap", ""), "7:65534", "the container's");
        assert_eq!(seen(":idmap=uids=7-100005-1;gids=100008-100006-1", ""), "5:6");
        assert_eq!(seen(":idmap=uids=@7-5-1;gids=@100008-6-1", ""), "5:6");
        assert_eq!(seen(":U", "-u 3:4"), "3:4");
        assert_eq!(owner(folder.join("f")), (100_003, 100_004));
        assert_eq!(owner(folder.clone()), (100_003, 100_004));
        let without = format!(
            "run --rm --network none -u 3:4 -v {}:/m:U busybox stat -c %u:%g /m /m/f",
            folder.display()
        );
        assert_eq!(cais.ok(&without), "3:4\n3:4");
        let mount = format!(
            "run --rm --network none -u 5:6 --mount type=bind,src={},dst=/m,U=true busybox stat -c %u:%g /m/f",
            folder.display()
        );
        assert_eq!(cais.ok(&mount), "5:6");
        assert_eq!(cais.ok(&format!("run --rm {MAP} -u 3:4 -v vol:/v:U busybox stat -c %u:%g /v")), "3:4");
        let refused = cais
            .fails(125, &format!("run --rm --network none -v {}:/m:idmap busybox true", folder.display()));
        assert!(refused.stderr_text().contains("needs a user namespace"), "{}", refused.stderr_text());
        cais.fails(125, &format!("run --rm {MAP} -v {}:/m:U,idmap busybox true", folder.display()));
    });
}

#[test]
fn users_become_known_in_the_container() {
    e2e(|cais| {
        let last = |flags: &str, file: &str| {
            let line = format!("run --rm --network none {flags} busybox sh -c 'tail -n 1 {file}'");
            cais.ok(&line)
        };
        fs::write("/etc/passwd", "root:x:0:0::/root:/bin/sh\nanna:x:1234:55:Anna:/home/anna:/bin/zsh\n")
            .expect("write");
        let before = last("", "/etc/passwd");
        // As docker: nobody is added unasked.
        assert_eq!(last("-u 4000:4001", "/etc/passwd"), before);
        assert_eq!(
            last("--passwd=true -u 4000:4001", "/etc/passwd"),
            "4000:*:4000:4001:container user:/:/bin/sh"
        );
        assert_eq!(last("--passwd=true -u 4000:4001", "/etc/group"), "4001:x:4001:4000");
        assert_eq!(last("--hostuser anna -w /tmp", "/etc/passwd"), "anna:*:1234:55:Anna:/tmp:/bin/sh");
        assert_eq!(
            last("--hostuser 1234 --tmpfs /home", "/etc/passwd"),
            "anna:*:1234:55:Anna:/home/anna:/bin/sh"
        );
        assert_eq!(
            last("--passwd-entry '$USERNAME:x:$UID:$GID:$NAME:/x:' -u 77", "/etc/passwd"),
            "77:x:77:0:container user:/x:"
        );
        assert_eq!(last("--group-entry '$GROUPNAME:y:$GID:$USERLIST' -u 77:78", "/etc/group"), "78:y:78:77");
        assert_eq!(cais.ok("run --rm --network none --passwd=true -u 4000 busybox whoami"), "4000");
        let nobody = cais.fails(125, "run --rm --network none --hostuser bert busybox true");
        assert!(nobody.stderr_text().contains("no such user on this host"), "{}", nobody.stderr_text());
        cais.fails(125, "run --rm --passwd=false --hostuser anna busybox true");
        // Once, however often it is started; the image is as it was.
        cais.ok("run -d --name box --network none --hostuser anna busybox sleep 1000");
        cais.ok("restart -t 0 box");
        assert_eq!(cais.ok("exec box grep -c anna /etc/passwd"), "1");
        assert_eq!(last("", "/etc/passwd"), before);
    });
}

#[test]
fn groups_of_the_caller_are_kept() {
    e2e(|cais| {
        let line = "run --rm --network none --group-add keep-groups busybox id -G";
        let groups = Invocation::new("setpriv", "--groups 0,4711")
            .arg(cais.binary())
            .arg("--root")
            .arg(cais.root())
            .arg("--run-root")
            .arg(cais.run_root())
            .args(line);
        assert_eq!(groups.ok(), "0 4711");
        cais.fails(125, "run --rm --group-add keep-groups --group-add 7 busybox true");
    });
}

#[test]
fn namespaces_of_others_are_joined_but_for_that_of_processes() {
    e2e(|cais| {
        if !possible(cais) {
            return;
        }
        cais.ok("run -d --name owner --network none --hostname lent -v vol:/v busybox sh -c 'echo shm >/dev/shm/f; sleep 1000'");
        cais.ok("exec owner sh -c 'while ! grep -q shm /dev/shm/f; do sleep 0.1; done; echo low >/v/f'");
        let joined =
            "--uidmap 0:100000:65536 --network container:owner --ipc container:owner --uts container:owner";
        let seen = cais.ok(&format!(
            "run --rm {joined} -v vol:/low:O busybox sh -c 'hostname; cat /dev/shm/f /low/f; readlink /proc/self/ns/net'"
        ));
        let net = cais.ok("exec owner readlink /proc/self/ns/net");
        assert_eq!(seen, format!("lent\nshm\nlow\n{net}"));
        cais.fails(125, &format!("run --rm {MAP} --pid container:owner busybox true"))
            .says("does not go with the PID namespace of another container");
    });
}

#[test]
fn entries_are_not_written_through_links_of_the_image() {
    e2e(|cais| {
        let data = cais.folder().join("data");
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join("x"), "kept\n").unwrap();
        cais.ok("run --name maker --network none busybox ln -sf /data/x /etc/passwd");
        cais.ok("commit maker evil:1");
        cais.ok("rm maker");
        let volume = format!("{}:/data", data.display());
        cais.cmd("run --rm --network none -v")
            .arg(&volume)
            .args("--hostuser root --passwd --user 1000 evil:1 true")
            .ok();
        cais.cmd("run --rm --network none -v")
            .arg(&volume)
            .args("--passwd-entry a:b:1:1::/:/x evil:1 true")
            .ok();
        assert_eq!(std::fs::read_to_string(data.join("x")).unwrap(), "kept\n");
    });
}
