//! The container's file systems.

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};

use cais_plan::wire::detail;
use cais_plan::{Step, Str, Strings};
use rustix::io::Errno;

use super::rig::{MS_PRIVATE, MS_REC, NEWPID, Rig, bind, filesystem, need_root};

const RDONLY: u64 = 1;
const NOEXEC: u64 = 8;
/// Makes the path of a directory that is to be bound.
fn source(rig: &Rig) -> Vec<u8> {
    let path = rig.directory.path().join("source");
    fs::create_dir_all(&path).expect("directory");
    fs::write(path.join("file"), "host\n").expect("write");
    path.into_os_string().into_encoded_bytes()
}

#[test]
fn a_tmpfs_begins_as_what_it_covers() {
    need_root!();
    let mut rig = Rig::new();
    let from = rig.root().join("from");
    fs::create_dir_all(from.join("deep/deeper")).expect("directories");
    fs::write(from.join("deep/deeper/file"), vec![b'x'; 200_000]).expect("write");
    fs::write(from.join("suid"), "s").expect("write");
    std::os::unix::fs::chown(from.join("suid"), Some(5), Some(6)).expect("chown");
    fs::set_permissions(from.join("suid"), Permissions::from_mode(0o4751)).expect("mode");
    fs::set_permissions(from.join("deep"), Permissions::from_mode(0o1710)).expect("mode");
    fs::hard_link(from.join("suid"), from.join("deep/same")).expect("link");
    symlink("deep/deeper", from.join("link")).expect("link");
    let fifo = Permissions::from_mode(0o640).mode();
    rustix::fs::mknodat(rustix::fs::CWD, from.join("fifo"), rustix::fs::FileType::Fifo, fifo.into(), 0)
        .expect("fifo");
    for n in 0..200 {
        fs::write(from.join(format!("deep/a-rather-long-name-to-fill-the-buffer-{n}")), "").expect("write");
    }
    rustix::fs::setxattr(from.join("suid"), "trusted.cais", b"value", rustix::fs::XattrFlags::empty())
        .expect("attribute");
    fs::set_permissions(&from, Permissions::from_mode(0o2750)).expect("mode");
    std::os::unix::fs::chown(&from, Some(9), Some(9)).expect("chown");
    fs::set_permissions(&from, Permissions::from_mode(0o2750)).expect("mode");
    rig.take_root();
    rig.push(&Step::Filesystem {
        fstype: Str(b"tmpfs"),
        source: Str(b"tmpfs"),
        target: Str(b"/from"),
        attributes: RDONLY,
        options: Strings(b"size=10m\0"),
        propagation: MS_PRIVATE,
        userns_fd: -1,
        copy_up: true,
        optional: false,
    });
    rig.mount_proc().pivot();
    rig.script(
        "cd /from; stat -c '%n %a %u:%g %h' . suid deep deep/same; stat -c '%N %F' link; stat -c '%F %a' fifo; \
         stat -c %s deep/deeper/file; ls deep | grep -c rather; touch new; grep -c ' /from ro.*tmpfs' /proc/self/mountinfo",
    );
    let running = rig.run();
    running.expect_executed();
    let (text, _) = running.end();
    let wanted = ". 2750 9:9 3\nsuid 4751 5:6 2\ndeep 1710 0:0 3\ndeep/same 4751 5:6 2\n'link' -> 'deep/deeper' symbolic \
                  link\nfifo 640\n200000\n200\ntouch: new: Read-only file system\n1\n";
    assert_eq!(
        text.replace("link -> deep", "'link' -> 'deep").replace("deeper symb", "deeper' symb"),
        wanted
    );
}

#[test]
fn a_tmpfs_takes_the_mode_of_a_directory_that_is_there() {
    need_root!();
    let mut rig = Rig::new();
    fs::set_permissions(rig.root().join("tmp"), Permissions::from_mode(0o1730)).expect("mode");
    rig.take_root();
    rig.push(&filesystem("tmpfs", "/tmp", 0, b""));
    rig.push(&filesystem("tmpfs", "/fresh", 0, b""));
    rig.push(&filesystem("tmpfs", "/etc", 0, b"mode=711\0"));
    rig.pivot().script("stat -c '%n %a' /tmp /fresh /etc");
    assert_eq!(rig.run().output(), "/tmp 1730\n/fresh 1777\n/etc 711\n");
}

#[test]
fn options_too_long_for_the_new_calls() {
    need_root!();
    let mut rig = Rig::new();
    let lowers: Vec<String> = (0..6)
        .map(|n| {
            let path = rig.directory.path().join(format!("{n}-{}", "x".repeat(60)));
            fs::create_dir(&path).expect("directory");
            fs::write(path.join(format!("file{n}")), "").expect("write");
            path.display().to_string()
        })
        .collect();
    let option = format!("lowerdir={}\0", lowers.join(":"));
    assert!(option.len() > 300);
    rig.take_root();
    rig.push(&filesystem("overlay", "/tmp", RDONLY | NOEXEC, option.as_bytes()));
    rig.mount_proc().pivot().script("ls /tmp; pwd; grep -c '/tmp ro,noexec.*overlay' /proc/self/mountinfo");
    let text = rig.run().output();
    assert_eq!(text, "file0\nfile1\nfile2\nfile3\nfile4\nfile5\n/\n1\n");
}

#[test]
fn an_optional_file_system_may_fail() {
    need_root!();
    let mut rig = Rig::new();
    rig.take_root();
    for optional in [true, false] {
        rig.push(&Step::Filesystem {
            fstype: Str(b"nosuchfs"),
            source: Str(b"none"),
            target: Str(b"/tmp"),
            attributes: 0,
            options: Strings(b""),
            propagation: 0,
            userns_fd: -1,
            copy_up: false,
            optional,
        });
    }
    let running = rig.run();
    let (index, errno, ..) = running.expect_failure();
    assert_eq!((index, errno), (3, Errno::NODEV.raw_os_error()));
    running.end();
}

#[test]
fn binds_of_files_and_directories() {
    need_root!();
    let mut rig = Rig::new();
    let directory = source(&rig);
    let file = [directory.as_slice(), b"/file"].concat();
    symlink("../run/nowhere/resolv.conf", rig.root().join("etc/resolv.conf")).expect("link");
    symlink("/tmp/elsewhere", rig.root().join("etc/dir")).expect("link");
    for (slot, path) in [(0, &directory), (1, &file), (2, &file), (0, &directory)] {
        rig.push(&Step::OpenTree { source: Str(path), slot, recursive: true });
    }
    rig.take_root();
    rig.push(&bind(0, "/srv/a/b"));
    rig.push(&bind(1, "/srv/c/d"));
    // Links that lead nowhere yet, and never out of the root.
    rig.push(&bind(2, "/etc/resolv.conf"));
    rig.push(&Step::OpenTree { source: Str(&directory), slot: 0, recursive: true });
    rig.push(&Step::Bind {
        slot: 0,
        target: Str(b"/etc/dir/inner"),
        set: RDONLY,
        clear: 0,
        recursive_set: NOEXEC,
        recursive_clear: 0,
        propagation: MS_PRIVATE | MS_REC,
        userns_fd: -1,
        recursive_map: false,
    });
    rig.push(&Step::Remount { target: Str(b"/srv/a/b"), set: RDONLY, clear: 0, recursive: false });
    rig.mount_proc().pivot();
    rig.script(
        "cat /srv/a/b/file /srv/c/d /run/nowhere/resolv.conf /tmp/elsewhere/inner/file; touch /srv/a/b/new; \
         grep -c '/tmp/elsewhere/inner ro,noexec' /proc/self/mountinfo; echo x > /srv/c/d && cat /srv/c/d",
    );
    let running = rig.run();
    running.expect_executed();
    let (text, status) = running.end();
    let refused = "touch: /srv/a/b/new: Read-only file system\n";
    assert_eq!((text, status), (format!("host\nhost\nhost\nhost\n{refused}1\nx\n"), 0));
}

#[test]
fn nothing_is_mounted_into_procfs_by_a_link() {
    need_root!();
    for (target, allowed) in
        [("/proc/uptime", true), ("/etc/link", false), ("/proc/self/comm", false), ("/proc/1/comm", true)]
    {
        let mut rig = Rig::new();
        let file = [source(&rig).as_slice(), b"/file"].concat();
        symlink("/proc/uptime", rig.root().join("etc/link")).expect("link");
        rig.push(&Step::OpenTree { source: Str(&file), slot: 0, recursive: true });
        rig.take_root().mount_proc().push(&bind(0, target));
        rig.pivot().script(&format!("cat {target}"));
        let running = rig.run();
        if allowed {
            assert_eq!(running.output(), "host\n");
        } else {
            let (index, _, word, _) = running.expect_failure();
            assert_eq!((index, word), (4, detail::BAD_TARGET), "{target}");
            running.end();
        }
    }
    // A link in the image does not decide where procfs is.
    let mut rig = Rig::new();
    fs::remove_dir(rig.root().join("proc")).expect("remove");
    symlink("/tmp", rig.root().join("proc")).expect("link");
    rig.take_root().mount_proc();
    let running = rig.run();
    assert_eq!(running.expect_failure().2, detail::BAD_TARGET);
    running.end();
}

#[test]
fn masked_paths_are_empty_and_stay_so() {
    need_root!();
    let mut rig = Rig::new();
    for name in ["one", "two", "three"] {
        fs::create_dir(rig.root().join("tmp").join(name)).expect("directory");
        fs::write(rig.root().join("tmp").join(name).join("secret"), "").expect("write");
    }
    fs::write(rig.root().join("tmp/file"), "secret").expect("write");
    rig.take_root().mount_proc().push(&filesystem("tmpfs", "/dev", 0, b""));
    let null = |rig: &mut Rig| {
        rig.push(&Step::Device { path: Str(b"/dev/null"), mode: 0o020_666, device: 0x103, uid: 0, gid: 0 });
    };
    null(&mut rig);
    for path in ["/tmp/one", "/tmp/two", "/tmp/three", "/tmp/file", "/tmp/missing"] {
        rig.push(&Step::Mask { path: Str(path.as_bytes()) });
    }
    rig.pivot().script(
        "cd /tmp; ls one two three; cat file; touch one/x two/x 2>/dev/null || echo refused; stat -c %a two; \
         grep -c '/tmp/.* ro,nosuid,nodev,noexec.* tmpfs' /proc/self/mountinfo",
    );
    assert_eq!(rig.run().output(), "one:\n\nthree:\n\ntwo:\nrefused\n755\n3\n");
    // What covers must be the null device.
    let mut rig = Rig::new();
    fs::write(rig.root().join("dev/null"), "").expect("write");
    rig.take_root().push(&Step::Mask { path: Str(b"/bin/sh") });
    let running = rig.run();
    assert_eq!(running.expect_failure().0, 2);
    running.end();
}

#[test]
fn nodes_that_are_there() {
    need_root!();
    let mut rig = Rig::new();
    let dev = rig.root().join("dev");
    let node = |name: &str, minor: u64| {
        let kind = rustix::fs::FileType::CharacterDevice;
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, dev.join(name), kind, mode, 0x100 | minor).expect("node");
    };
    node("same", 3);
    node("kept", 3);
    node("replaced", 5);
    fs::write(dev.join("mounted"), "").expect("write");
    let inode = |name: &str| fs::metadata(dev.join(name)).expect("stat").ino();
    let before = ["same", "kept"].map(inode);
    let zero = Step::OpenTree { source: Str(b"/dev/zero"), slot: 0, recursive: false };
    rig.push(&zero).take_root().push(&bind(0, "/dev/mounted"));
    let make = |rig: &mut Rig, name: &'static str| {
        let path = Str(name.as_bytes());
        rig.push(&Step::MakeNode { path, mode: 0o020_640, device: 0x103, uid: 3, gid: 4 });
    };
    for name in ["/dev/same", "/dev/replaced", "/dev/new", "/dev/mounted"] {
        make(&mut rig, name);
    }
    rig.push(&Step::Device { path: Str(b"/dev/kept"), mode: 0o020_604, device: 0x103, uid: 5, gid: 6 });
    rig.push(&Step::Device { path: Str(b"/dev/pipe"), mode: 0o010_600, device: 0, uid: 0, gid: 0 });
    rig.push(&Step::Device { path: Str(b"/dev/mounted"), mode: 0o020_600, device: 0x103, uid: 0, gid: 0 });
    let zero_before = fs::metadata("/dev/zero").expect("zero");
    let running = rig.run();
    // The last one is another node, which is never replaced.
    let (index, errno, ..) = running.expect_failure();
    assert_eq!((index, errno), (10, Errno::EXIST.raw_os_error()));
    let _directory = running.end_without_root();
    let stat = |name: &str| fs::metadata(dev.join(name)).expect("stat");
    for name in ["same", "replaced", "new"] {
        let stat = stat(name);
        assert_eq!((stat.mode(), stat.rdev(), stat.uid(), stat.gid()), (0o020_640, 0x103, 3, 4), "{name}");
    }
    let kept = stat("kept");
    assert_eq!((kept.mode(), kept.uid(), kept.gid()), (0o020_604, 5, 6));
    assert_eq!(["same", "kept"].map(inode), before);
    assert!(stat("pipe").file_type().is_fifo());
    assert!(stat("mounted").is_file(), "what was mounted over");
    let zero_after = fs::metadata("/dev/zero").expect("zero");
    assert_eq!((zero_before.mode(), zero_before.uid()), (zero_after.mode(), zero_after.uid()));
}

#[test]
fn a_root_without_pivot() {
    need_root!();
    let mut rig = Rig::new();
    rig.push(&Step::ProcHandle {}).take_root().push(&Step::MoveRoot {});
    // The only procfs left to see is the one that is mounted here.
    rig.mount_proc().script("echo /*; grep -c 'proc proc' /proc/self/mountinfo");
    let text = rig.run().output();
    assert_eq!(text, "/bin /dev /etc /proc /tmp\n1\n");
    // And without a mount namespace.
    let mut rig = Rig::new();
    rig.clone_flags = NEWPID;
    let root = rig.root();
    rig.push(&Step::OpenRoot { path: Str(root.as_os_str().as_encoded_bytes()) });
    rig.push(&Step::Chroot {}).script("echo /*; pwd");
    assert_eq!(rig.run().output(), "/bin /dev /etc /proc /tmp\n/\n");
}

#[test]
fn streams_on_the_null_device_are_the_containers() {
    need_root!();
    let mut rig = Rig::new();
    rig.take_root().mount_proc().push(&filesystem("tmpfs", "/dev", 0, b""));
    rig.push(&Step::Device { path: Str(b"/dev/null"), mode: 0o020_666, device: 0x103, uid: 0, gid: 0 });
    rig.pivot().push(&Step::ReopenNull {});
    rig.script("stat -L -c %d /proc/self/fd/0 /dev/null | { read a; read b; [ $a = $b ] && echo own; }");
    assert_eq!(rig.run().output(), "own\n");
}

#[test]
fn the_hosts_mounts_are_as_before() {
    need_root!();
    let mounts = || fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let before = mounts();
    let mut rig = Rig::new();
    rig.enter().script("true");
    rig.run().output();
    assert_eq!(mounts().lines().count(), before.lines().count());
}
