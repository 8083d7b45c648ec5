//! `container checkpoint` and `restore`: what they refuse, on any machine. What CRIU does is tested where it works: vm.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use cais_test::{Cais, e2e};

/// A folder with a program `criu`.
fn stub(cais: &Cais, name: &str, script: &str) -> std::path::PathBuf {
    let folder = cais.folder().join(name);
    fs::create_dir(&folder).unwrap();
    let program = folder.join("criu");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

#[test]
fn what_is_missing_is_named() {
    e2e(|cais| {
        cais.ok("run -d --name web --restart always busybox sleep 1000");
        let none = cais.folder().join("none");
        fs::create_dir(&none).unwrap();
        for line in ["container checkpoint web", "checkpoint create web one", "container restore web"] {
            let finished = cais.cmd(line).env("PATH", &none).output().code(1).one_clear_error();
            finished.says("the program criu is not installed");
        }
        let lacks = stub(cais, "lacks", "echo 'Error (criu/x.c:1): no soft-dirty tracker' >&2; exit 1");
        let finished = cais.cmd("container checkpoint web").env("PATH", &lacks).output().code(1);
        finished.one_clear_error().says("`criu check` says: no soft-dirty tracker");
        // It works, but not for this container: its log has the reason.
        let script = "test \"$1\" = check && exit 0\nwhile test \"$1\" != --log-file; do shift; done\n\
                      echo '(0.1) Error (criu/y.c:2): cannot dump this' >$2; exit 3";
        let fails = stub(cais, "fails", script);
        let finished = cais.cmd("container checkpoint web").env("PATH", &fails).output().code(1);
        finished.one_clear_error().says("criu dump failed").says("cannot dump this");
        let state = "{{.State.Status}} {{.State.Checkpointed}} {{.State.Restored}}";
        assert_eq!(cais.inspect("web", state), "running false false");
        assert_eq!(cais.ok("checkpoint ls web"), "CHECKPOINT NAME");
        // The policy is still in force.
        let pid = cais.inspect("web", "{{.State.Pid}}");
        let _ = std::process::Command::new("kill").args(["-9", &pid]).status();
        cais_test::wait_until("it runs again", || cais.inspect("web", "{{.RestartCount}}") == "1");
        cais.ok("rm -f web");
    });
}

#[test]
fn what_cannot_be_is_refused() {
    e2e(|cais| {
        let works = stub(cais, "works", "exit 0");
        let fails = |line: &str| cais.cmd(line).env("PATH", &works).output().code(1).one_clear_error();
        cais.ok("run -d -t --name term busybox sleep 1000");
        fails("container checkpoint term").says("terminal");
        cais.ok("run -d --init --name init busybox sleep 1000");
        fails("container checkpoint init").says("--init");
        cais.ok("run -d --rm --name gone busybox sleep 1000");
        fails("container checkpoint gone").says("--rm").says("--export");
        cais.ok("create --name born busybox");
        fails("container checkpoint born").says("not running");
        fails("container restore born").says("has no checkpoint");
        fails("start --checkpoint one born").says("has no checkpoint one");
        fails("checkpoint rm born one").says("has no checkpoint one");
        fails("container restore term").says("it runs");
        fails("checkpoint rm term a/b").says("a/b");
        fails("container checkpoint").says("arguments are missing");
        fails("container checkpoint --ignore-rootfs init").says("--export");
        fails("container checkpoint --compress bzip2 -e /x init").says("gzip, zstd, none");
        for flag in ["--pre-checkpoint", "--with-previous", "--create-image=x"] {
            fails(&format!("container checkpoint {flag} init")).says(flag.split('=').next().unwrap());
        }
        let file = cais.folder().join("file");
        fs::write(&file, "no archive").unwrap();
        let import = || cais.cmd("container restore -i").arg(&file).env("PATH", &works);
        import().output().code(1).one_clear_error();
        import().arg("born").output().code(1).says("--import");
        assert_eq!(cais.ok("ps -q").lines().count(), 3, "all go on");
    });
}
