//! The same commands as an ordinary user, with ranges of ids and with one id only.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;

use cais_test::process::Invocation;
use cais_test::{Cais, e2e_empty, skip};

const UID: u32 = 1000;

/// The engine as user 1000 with home and run directory of its own.
struct Sailor {
    binary: PathBuf,
    folder: PathBuf,
}

impl Sailor {
    fn new(cais: &Cais, ranges: bool) -> Option<Sailor> {
        let Some(busybox) = cais_test::rootfs::busybox() else {
            skip("busybox-static is missing");
            return None;
        };
        if fs::read_to_string("/proc/sys/user/max_user_namespaces").is_ok_and(|text| text.trim() == "0") {
            skip("user namespaces are switched off");
            return None;
        }
        if ranges && !["/usr/bin/newuidmap", "/bin/newuidmap"].iter().any(|path| fs::metadata(path).is_ok()) {
            skip("newuidmap is not installed");
            return None;
        }
        let folder = cais.folder().to_owned();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["sailor", "sailor/run"] {
            fs::create_dir(folder.join(name)).unwrap();
            fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o700)).unwrap();
            chown(folder.join(name), Some(UID), Some(UID)).unwrap();
        }
        fs::write(
            "/etc/passwd",
            format!("root:x:0:0::/root:/bin/sh\nsailor:x:{UID}:{UID}::{}/sailor:/bin/sh\n", folder.display()),
        )
        .unwrap();
        fs::write("/etc/group", format!("root:x:0:\nsailor:x:{UID}:\n")).unwrap();
        let range = if ranges { "sailor:100000:65536\n" } else { "" };
        fs::write("/etc/subuid", range).unwrap();
        fs::write("/etc/subgid", range).unwrap();
        // The folder of the build may be closed to others.
        let binary = folder.join("cais");
        fs::copy(cais.binary(), &binary).unwrap();
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
        let sailor = Sailor { binary, folder };
        let archive = sailor.folder.join("busybox.tar");
        busybox.build().write_docker_archive(&archive, &["busybox:latest"]).unwrap();
        sailor.cmd("load -q -i").arg(&archive).ok();
        Some(sailor)
    }

    fn cmd(&self, line: &str) -> Invocation {
        Invocation::new("setpriv", &format!("--reuid={UID} --regid={UID} --clear-groups --inh-caps=-all"))
            .arg(&self.binary)
            .args(line)
            .env("HOME", self.folder.join("sailor"))
            .env("XDG_RUNTIME_DIR", self.folder.join("sailor/run"))
            .without_env("XDG_DATA_HOME")
            .folder("/")
    }

    fn ok(&self, line: &str) -> String {
        self.cmd(line).ok()
    }
}

#[test]
fn ranges_of_ids_give_whole_users() {
    e2e_empty(|cais| {
        let Some(sailor) = Sailor::new(cais, true) else { return };
        assert_eq!(sailor.ok("run --rm --network none busybox id -u"), "0");
        assert_eq!(sailor.ok("run --rm --network none -u quay busybox id -u"), "1000");
        sailor.ok("run --rm --network none busybox chown 4711:4712 /etc/passwd");
        let map = sailor.ok("run --rm --network none busybox cat /proc/self/uid_map");
        assert!(map.lines().count() >= 2 && map.contains("100000"), "{map}");
    });
}

#[test]
fn one_id_is_enough() {
    e2e_empty(|cais| {
        let Some(sailor) = Sailor::new(cais, false) else { return };
        assert_eq!(sailor.ok("run --rm --network none busybox id -u"), "0");
        let map = sailor.ok("run --rm --network none busybox cat /proc/self/uid_map");
        assert_eq!(map.split_whitespace().nth(2), Some("1"), "{map}");
        let host = sailor.folder.join("sailor/shared");
        fs::create_dir(&host).unwrap();
        chown(&host, Some(UID), Some(UID)).unwrap();
        sailor
            .cmd("run --rm --network none -v")
            .arg(format!("{}:/s", host.display()))
            .args("busybox touch /s/file")
            .ok();
        let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(host.join("file")).unwrap());
        assert_eq!(owner, UID);
    });
}

#[test]
fn the_life_of_a_container() {
    e2e_empty(|cais| {
        let Some(sailor) = Sailor::new(cais, true) else { return };
        let id = sailor.ok("run -d --name r1 --network none -v data:/d busybox sh -c 'echo up; sleep 1000'");
        cais_test::wait_until("its log", || sailor.ok("logs r1") == "up");
        assert_eq!(sailor.ok("ps -q --no-trunc"), id);
        assert_eq!(sailor.ok("exec r1 id -u"), "0");
        sailor.cmd("exec r1 sh -c 'exit 4'").output().code(4);
        sailor.ok("stop -t 0 r1");
        assert_eq!(sailor.ok("inspect --format {{.State.ExitCode}} r1"), "137");
        sailor.ok("rm r1");
        assert_eq!(sailor.ok("ps -aq"), "");
        assert_eq!(sailor.ok("volume ls -q"), "data");
        sailor.cmd("run --rm --network none busybox no-such-program").output().code(127).one_clear_error();
    });
}

/// An ordinary user may open /dev/net/tun on most machines, on bare ones only root: here it may, in this test's own
/// mount namespace.
fn open_tun() {
    let script = "mkdir -p /run/tun && mount -t tmpfs tun /run/tun && mknod -m 666 /run/tun/tun c 10 200 && \
                  mount --bind /run/tun/tun /dev/net/tun";
    let status = std::process::Command::new("sh").args(["-c", script]).status().expect("sh");
    assert!(status.success(), "make /dev/net/tun");
}

#[test]
fn networks_none_host_and_pasta() {
    e2e_empty(|cais| {
        let Some(sailor) = Sailor::new(cais, true) else { return };
        assert_eq!(sailor.ok("run --rm --network none busybox ip -o link").lines().count(), 1);
        let mine = fs::read_link("/proc/self/ns/net").unwrap();
        assert_eq!(
            sailor.ok("run --rm --network host busybox readlink /proc/self/ns/net"),
            mine.to_str().unwrap()
        );
        sailor.cmd("run --rm --network bridge busybox true").output().code(125).one_clear_error();
        if !fs::exists("/usr/bin/pasta").unwrap_or(false) {
            return skip("pasta is not installed");
        }
        open_tun();
        let links = sailor.ok("run --rm --network pasta busybox ip -o link");
        assert!(links.lines().count() >= 2, "{links}");
    });
}

#[test]
fn hello_as_an_ordinary_user() {
    e2e_empty(|cais| {
        let Some(sailor) = Sailor::new(cais, false) else { return };
        assert!(sailor.ok("run --rm hello").contains("PID"));
    });
}

#[test]
fn confinement_is_the_same() {
    e2e_empty(|cais| {
        let Some(sailor) = Sailor::new(cais, true) else { return };
        let status =
            sailor.ok("run --rm --network none busybox grep -E 'Seccomp:|CapBnd:' /proc/self/status");
        assert!(status.contains("Seccomp:\t2") && status.contains("00000000a80425fb"), "{status}");
        assert_eq!(
            sailor.ok("run --rm --network none busybox sh -c 'cat /proc/kcore 2>/dev/null | wc -c'"),
            "0"
        );
    });
}

#[test]
fn files_with_ranges_of_ids() {
    e2e_empty(|cais| files_in_and_out(cais, true));
}

#[test]
fn files_with_one_id() {
    e2e_empty(|cais| files_in_and_out(cais, false));
}

fn files_in_and_out(cais: &Cais, ranges: bool) {
    let Some(sailor) = Sailor::new(cais, ranges) else { return };
    let mine = sailor.folder.join("sailor/mine");
    fs::write(&mine, "mine").unwrap();
    chown(&mine, Some(UID), Some(UID)).unwrap();
    sailor.ok("run -d --name up --network none -v data:/d busybox sleep 1000");
    sailor.ok("create --name down --network none -v data:/d busybox cat /tmp/mine");
    for name in ["up", "down"] {
        sailor.cmd("cp").arg(&mine).arg(format!("{name}:/tmp/")).ok();
        sailor.cmd("cp").arg(&mine).arg(format!("{name}:/d/{name}")).ok();
        let back = sailor.folder.join("sailor").join(name);
        sailor.cmd("cp").arg(format!("{name}:/tmp/mine")).arg(&back).ok();
        let meta = fs::metadata(&back).unwrap();
        assert_eq!(
            (std::os::unix::fs::MetadataExt::uid(&meta), fs::read_to_string(&back).unwrap()),
            (UID, "mine".into())
        );
        assert_eq!(sailor.ok(&format!("diff {name}")), "C /tmp\nA /tmp/mine");
        assert!(sailor.cmd("export").arg(name).piped_into("tar -t").ok().contains("tmp/mine"));
        sailor.ok(&format!("commit {name} made:{name}"));
        assert_eq!(sailor.ok(&format!("run --rm --network none made:{name} cat /tmp/mine")), "mine");
    }
    assert_eq!(sailor.ok("exec up ls /d"), "down\nup");
    assert_eq!(sailor.ok("start -a down"), "mine");
    assert!(sailor.ok("system df").contains("Images"));
    sailor.ok("rm -f up down");
    assert!(sailor.ok("system prune -a -f").contains("untagged: made:up"));
    assert_eq!(sailor.ok("system check"), "");
}

#[test]
fn containers_are_probed_and_run_again() {
    e2e_empty(|cais| lives(cais, true));
}

#[test]
fn one_id_is_enough_to_be_probed_and_run_again() {
    e2e_empty(|cais| lives(cais, false));
}

fn lives(cais: &Cais, ranges: bool) {
    let Some(sailor) = Sailor::new(cais, ranges) else { return };
    sailor.ok("run -d --name x1 --network none --restart on-failure:2 busybox sh -c 'exit 3'");
    cais_test::wait_until("the policy has given up", || {
        sailor.ok("inspect --format '{{.State.Status}} {{.RestartCount}}' x1") == "exited 2"
    });
    sailor.ok("run -d --name y1 --network none --health-cmd true --health-interval 20ms busybox sleep 1000");
    cais_test::wait_until("y1 is healthy", || {
        sailor.ok("inspect --format {{.State.Health.Status}} y1") == "healthy"
    });
    sailor.ok("healthcheck run y1");
    sailor.ok("rm -f x1 y1");
    let events =
        sailor.ok("events --stream=false --filter container=x1 --filter event=die --format {{.Action}}");
    assert_eq!(events.lines().count(), 3);
}

fn debug_joins(cais: &Cais, ranges: bool) {
    let Some(sailor) = Sailor::new(cais, ranges) else { return };
    sailor.ok("run -d --name d1 --network none --hostname ship busybox sleep 1000");
    assert_eq!(sailor.ok("debug d1 hostname"), "ship");
    assert_eq!(sailor.ok("debug d1 cat /container/etc/hostname-of-image"), "image");
    let link = "readlink /proc/1/ns/user; readlink /proc/self/ns/user";
    let output = sailor.cmd("debug d1 sh -c").arg(link).ok();
    let (first, second) = output.split_once('\n').expect("two lines");
    assert_eq!(first, second);
    assert!(sailor.ok("why d1").starts_with("d1: running"));
    sailor.ok("stop -t 0 d1");
    for name in ["d1", "busybox"] {
        let seen =
            sailor.cmd("debug").arg(name).args("sh -c 'cat /container/etc/hostname-of-image; id -u'").ok();
        assert_eq!(seen, "image\n0", "{name}, which does not run");
    }
    sailor.ok("rm -f d1");
}

#[test]
fn debug_joins_a_container_with_ranges_of_ids() {
    e2e_empty(|cais| debug_joins(cais, true));
}

#[test]
fn debug_joins_a_container_with_one_id() {
    e2e_empty(|cais| debug_joins(cais, false));
}

#[test]
fn the_caller_keeps_its_ids_in_a_namespace_of_its_own() {
    e2e_empty(|cais| {
        let Some(sailor) = Sailor::new(cais, true) else { return };
        let run = "run --rm --network none --userns keep-id busybox";
        assert_eq!(sailor.ok(&format!("{run} id")), "uid=1000(quay) gid=1000(quay)");
        assert_eq!(sailor.ok(&format!("{run} stat -c %u:%g /bin / /etc/hosts")), "0:0\n0:0\n0:0");
        let map = sailor.ok(&format!("{run} cat /proc/self/uid_map"));
        let map: Vec<&str> = map.split_whitespace().collect();
        assert_eq!(map, ["0", "1", "1000", "1000", "0", "1", "1001", "1001", "64536"]);
        // What it makes on the host is the caller's.
        let shared = sailor.folder.join("sailor/shared");
        fs::create_dir(&shared).unwrap();
        chown(&shared, Some(UID), Some(UID)).unwrap();
        sailor
            .cmd("run --rm --network none --userns keep-id -v")
            .arg(format!("{}:/s", shared.display()))
            .args("busybox touch /s/f")
            .ok();
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&fs::metadata(shared.join("f")).unwrap()), UID);
        let other = "run --rm --network none --userns keep-id:uid=7,gid=8 --hostuser sailor busybox";
        assert_eq!(
            sailor.ok(&format!("{other} sh -c 'id; tail -n 1 /etc/passwd'")),
            "uid=7(sailor) gid=8(sailor)\nsailor:*:7:8::/:/bin/sh"
        );
        // Owners are the container's for every command.
        sailor.ok("run -d --name box --network none --userns keep-id -u 0 -v vol:/v busybox sleep 1000");
        assert_eq!(
            sailor.ok("exec box sh -c 'touch /f && chown 7:8 /f && stat -c %u:%g /f /v && id -u'"),
            "7:8\n0:0\n0"
        );
        sailor.ok("stop -t 0 box");
        sailor.ok("commit box made");
        assert_eq!(sailor.ok("run --rm --network none made stat -c %u:%g /f /bin"), "7:8\n0:0");
        sailor.ok("cp box:/f box:/g");
        sailor.ok("start box");
        assert_eq!(sailor.ok("exec box stat -c %u:%g /g"), "7:8");
        assert!(sailor.ok("diff box").contains("A /f"));
        sailor.ok("rm -f box");
        for (flags, inside) in [
            ("--userns nomap", "0 1 65536"),
            ("--userns auto:size=2000", "0 1 2000"),
            ("--uidmap 0:1:2000 --uidmap 5000:0:1", "0 1 2000 5000 0 1"),
            ("--uidmap +5:@1000", "0 1 5 5 0 1 6 6 65531"),
        ] {
            let map = sailor.ok(&format!("run --rm --network none {flags} busybox cat /proc/self/uid_map"));
            assert_eq!(map.split_whitespace().collect::<Vec<_>>().join(" "), inside, "{flags}");
        }
        for (flags, reason) in [
            ("--uidmap 0:70000:1", "0 to 65536 only"),
            ("--uidmap 0:@5:1", "not one of this user's"),
            ("--uidmap 0:1:5", "has no id outside"),
            ("-v vol:/v:idmap --userns keep-id", "the kernel maps owners for root only"),
        ] {
            let refused =
                sailor.cmd(&format!("run --rm --network none {flags} busybox true")).output().code(125);
            assert!(refused.stderr_text().contains(reason), "{flags}: {}", refused.stderr_text());
        }
    });
}

#[test]
fn one_id_is_kept_as_another() {
    e2e_empty(|cais| {
        let Some(sailor) = Sailor::new(cais, false) else { return };
        // The image's files would be nobody's.
        let refused = sailor.cmd("run --rm --network none --userns keep-id busybox true").output().code(125);
        assert!(refused.stderr_text().contains("no user or group 0"), "{}", refused.stderr_text());
        assert_eq!(sailor.ok("run --rm --network none --userns keep-id:uid=0,gid=0 busybox id -u"), "0");
        let refused = sailor.cmd("run --rm --network none --userns nomap busybox true").output().code(125);
        assert!(refused.stderr_text().contains("needs subordinate ids"), "{}", refused.stderr_text());
    });
}
