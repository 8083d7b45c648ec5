//! Kinds of mounts beside directories, volumes and tmpfs, and their options.

use cais_test::e2e;

#[test]
fn the_files_of_an_image() {
    e2e(|cais| {
        cais.ok("run --name c1 busybox sh -c 'mkdir /part; echo 1 >/part/one; ln -s /etc /part/out'");
        cais.ok("commit c1 parts");
        cais.ok("rm c1");
        let run = |options: &str, command: &str| {
            cais.cmd("run --rm --network none --mount").arg(options).args("busybox sh -c").arg(command)
        };
        assert_eq!(run("type=image,src=parts,dst=/i", "cat /i/part/one").ok(), "1");
        assert_eq!(
            run("type=image,src=busybox,dst=/i", "test -x /i/bin/busybox && echo one layer").ok(),
            "one layer"
        );
        run("type=image,src=parts,dst=/i", "touch /i/x").output().code(1).says("Read-only");
        assert_eq!(
            run("type=image,src=parts,dst=/i,rw=true", "echo 2 >/i/part/one; cat /i/part/one").ok(),
            "2"
        );
        assert_eq!(run("type=image,src=parts,dst=/i,image-subpath=part", "ls /i").ok(), "one\nout");
        assert_eq!(
            run("type=image,src=parts,dst=/i,rw,subpath=part", "echo 3 >/i/one; cat /i/one").ok(),
            "3"
        );
        run("type=image,src=parts,dst=/i,subpath=nothing", "true")
            .output()
            .code(125)
            .one_clear_error()
            .says("nothing");
        run("type=image,src=nobody:1,dst=/i", "true").output().code(125).one_clear_error().says("nobody:1");
        run("type=image,dst=/i", "true").output().code(125).says("source is required");
        // Its layers stay as long as the container.
        cais.ok("create --name c2 --mount type=image,src=parts,dst=/i busybox cat /i/part/one");
        cais.ok("rmi -f parts");
        assert_eq!(cais.ok("start -a c2"), "1");
        assert_eq!(
            cais.inspect("c2", "{{(index .Mounts 0).Type}} {{(index .Mounts 0).Source}}"),
            "image parts"
        );
        assert!(cais.ok("inspect --as run c2").contains("--mount type=image,source=parts,target=/i"));
        cais.ok("rm c2");
    });
}

#[test]
fn file_systems_of_the_kernel() {
    e2e(|cais| {
        let line = |options: &str| {
            let run = cais.cmd("run --rm --network none --mount").arg(options);
            run.args("busybox sh -c 'grep \" /m \" /proc/mounts; stat -c %a /m'").ok()
        };
        let ramfs = line("type=ramfs,dst=/m,tmpfs-mode=0750");
        assert!(
            ramfs.starts_with("ramfs /m ramfs rw,nosuid,nodev,noexec") && ramfs.ends_with("750"),
            "{ramfs}"
        );
        let devpts = line("type=devpts,dst=/m,gid=7,mode=600");
        assert!(devpts.starts_with("devpts /m devpts rw,nosuid,noexec"), "{devpts}");
        assert!(devpts.contains("gid=7,mode=600,ptmxmode=666"), "{devpts}");
        cais.fails(125, "run --rm --mount type=ramfs,src=/x,dst=/m busybox true").says("no source");
    });
}

#[test]
fn an_overlay_leaves_its_source_as_it_is() {
    e2e(|cais| {
        cais.mark();
        let source = cais.folder().join("src");
        std::fs::create_dir(&source).unwrap();
        std::fs::write(source.join("f"), "old\n").unwrap();
        let volume = |options: &str| format!("{}:/d:{options}", source.display());
        let script = "cat /d/f; echo new >/d/f; cat /d/f";
        cais.cmd("create --name c1 -v").arg(volume("O")).args("busybox sh -c").arg(script).ok();
        assert_eq!(cais.ok("start -a c1"), "old\nnew");
        assert_eq!(cais.ok("start -a c1"), "old\nnew", "every start begins anew");
        let folder = cais.folder().display();
        cais.fails(1, &format!("cp {folder}/src/f c1:/d/g")).says("ead-only");
        cais.ok("rm c1");
        let (upper, work) = (cais.folder().join("upper"), cais.folder().join("work"));
        std::fs::create_dir(&upper).unwrap();
        std::fs::create_dir(&work).unwrap();
        let kept = volume(&format!("O,upperdir={},workdir={}", upper.display(), work.display()));
        for seen in ["old\nnew", "new\nnew"] {
            assert_eq!(cais.cmd("run --rm -v").arg(&kept).args("busybox sh -c").arg(script).ok(), seen);
        }
        assert_eq!(std::fs::read_to_string(upper.join("f")).unwrap(), "new\n");
        assert_eq!(std::fs::read_to_string(source.join("f")).unwrap(), "old\n");
        cais.ok("run --rm -v data:/d busybox sh -c 'echo old >/d/f'");
        assert_eq!(cais.cmd("run --rm -v data:/d:O busybox sh -c").arg(script).ok(), "old\nnew");
        assert_eq!(cais.ok("run --rm -v data:/d busybox cat /d/f"), "old");
        cais.cmd("run --rm -v")
            .arg(volume("upperdir=/x,workdir=/y"))
            .args("busybox true")
            .output()
            .code(125)
            .says("need the option O");
        cais.cmd("run --rm -v")
            .arg(volume("O,upperdir=/x"))
            .args("busybox true")
            .output()
            .code(125)
            .says("need each other");
        cais.ok("volume rm data");
        cais.assert_nothing_left();
    });
}

#[test]
fn what_is_mounted_beneath() {
    e2e(|cais| {
        let source = cais.folder().join("src");
        std::fs::create_dir_all(source.join("sub")).unwrap();
        cais_test::Invocation::new("mount", "-t tmpfs tmpfs").arg(source.join("sub")).ok();
        let options = |more: &str| format!("type=bind,src={},dst=/d,readonly{more}", source.display());
        let writable = |more: &str, path: &str| {
            let run = cais.cmd("run --rm --network none --mount").arg(options(more));
            run.args("busybox touch").arg(path).output().status() == 0
        };
        for more in ["", ",bind-recursive=readonly"] {
            assert!(!writable(more, "/d/x") && !writable(more, "/d/sub/x"), "{more}");
        }
        assert!(
            !writable(",bind-recursive=writable", "/d/x") && writable(",bind-recursive=writable", "/d/sub/x")
        );
        let seen = |more: &str| {
            let run = cais.cmd("run --rm --network none --mount").arg(options(more));
            run.args("busybox sh -c").arg("grep -c ' /d[ /]' /proc/mounts").ok()
        };
        assert_eq!((seen("").as_str(), seen(",bind-recursive=disabled").as_str()), ("2", "1"));
        let open = format!("type=bind,src={},dst=/d,bind-recursive=writable", source.display());
        cais.cmd("run --rm --mount").arg(open).args("busybox true").output().code(125).says("need readonly");
        let missing = format!("type=bind,src={}/made,dst=/d,bind-create-src", source.display());
        cais.cmd("run --rm --mount").arg(missing).args("busybox true").ok();
        assert!(source.join("made").is_dir());
        cais_test::Invocation::new("umount", "").arg(source.join("sub")).ok();
    });
}

#[test]
fn a_part_of_a_volume() {
    e2e(|cais| {
        cais.ok("run --rm -v data:/d busybox sh -c 'mkdir -p /d/a/b; echo 1 >/d/a/b/f; ln -s /etc /d/out; ln -s a/b /d/in'");
        let run = |subpath: &str, command: &str| {
            let mount = format!("type=volume,src=data,dst=/m,volume-subpath={subpath}");
            cais.cmd("run --rm --network none --mount").arg(mount).args("busybox sh -c").arg(command)
        };
        assert_eq!(run("a/b", "cat /m/f; echo 2 >/m/f").ok(), "1");
        assert_eq!(run("in", "cat /m/f").ok(), "2", "a link within");
        assert_eq!(run("a/b/f", "cat /m").ok(), "2", "a file");
        run("out", "true").output().code(125).one_clear_error();
        run("nothing", "true").output().code(125).one_clear_error().says("nothing of");
        run("../x", "true").output().code(125).says("within the volume");
        cais.ok("create --name c1 --mount type=volume,src=data,dst=/m,volume-subpath=a busybox cat /m/b/f");
        let copy = cais.folder().join("copy");
        cais.cmd("cp c1:/m/b/f").arg(&copy).ok();
        assert_eq!(std::fs::read_to_string(copy).unwrap(), "2\n");
        assert!(cais.ok("inspect --as run c1").contains("volume-subpath=a"));
        assert_eq!(cais.ok("start -a c1"), "2");
        let beneath = cais.root().join("volumes/data/_data/a/b");
        cais_test::Invocation::new("mount", "-t tmpfs tmpfs").arg(&beneath).ok();
        assert_ne!(run("a,readonly", "touch /m/b/x").output().status(), 0, "what is mounted beneath, too");
        run("a", "touch /m/b/x").ok();
        cais_test::Invocation::new("umount", "").arg(&beneath).ok();
    });
}

#[test]
fn volumes_with_options_of_the_driver() {
    e2e(|cais| {
        cais.mark();
        cais.ok("volume create --opt type=tmpfs --opt device=tmpfs --opt o=size=1m,uid=5 mem");
        let host = |name: &str| {
            let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
            mounts.contains(&format!("/volumes/{name}/_data"))
        };
        cais.ok("run -d --name c1 -v mem:/m busybox sleep 1000");
        let line = cais.ok("exec c1 grep ' /m ' /proc/mounts");
        assert!(line.starts_with("tmpfs /m tmpfs") && line.contains("size=1024k,uid=5"), "{line}");
        cais.ok("exec c1 touch /m/shared");
        assert_eq!(cais.ok("run --rm -v mem:/m busybox ls /m"), "shared", "the other container sees it");
        assert!(host("mem"));
        cais.fails(1, "volume rm mem");
        cais.ok("rm -f c1");
        assert!(!host("mem"), "taken away after the last");
        assert_eq!(cais.ok("run --rm -v mem:/m busybox ls /m"), "");
        let source = cais.folder().join("src");
        std::fs::create_dir(&source).unwrap();
        std::fs::write(source.join("f"), "here\n").unwrap();
        cais.cmd("volume create --opt type=none --opt o=bind,ro dir --opt")
            .arg(format!("device={}", source.display()))
            .ok();
        assert_eq!(cais.ok("run --rm -v dir:/d busybox cat /d/f"), "here");
        cais.fails(1, "run --rm -v dir:/d busybox touch /d/x").says("Read-only");
        assert_eq!(cais.ok("volume inspect --format '{{.Options.type}}' dir"), "none");
        cais.ok("volume rm dir");
        assert!(source.join("f").exists(), "it is the host's");
        let mount = "type=volume,dst=/m,volume-label=a=b,volume-opt=type=tmpfs,volume-opt=device=tmpfs,volume-opt=o=size=2m";
        let line = cais.cmd("run --rm --mount").arg(mount).args("busybox grep ' /m ' /proc/mounts").ok();
        assert!(line.contains("size=2048k"), "{line}");
        for (options, says) in [
            ("--opt foo=bar", "invalid option: \"foo\""),
            ("--opt device=/src", "missing required option: \"type\""),
            ("--opt type=tmpfs", "missing required option: \"device\""),
        ] {
            cais.fails(1, &format!("volume create {options}")).one_clear_error().says(says);
        }
        cais.ok("volume create --opt type=nosuchfs --opt device=:/x --opt o=addr=127.0.0.1 net");
        cais.fails(125, "run --rm -v net:/m busybox true").one_clear_error().says("No such device");
        cais.ok("volume rm net mem");
        assert_eq!(cais.ok("volume ls -q"), "");
        cais.assert_nothing_left();
    });
}
