//! Further processes in a container.

use cais_bundle::{ErrorKind, ExecRequest};
use cais_oci::runtime::Process;
use serde_json::{Value, json};

use super::again::{again, printed, program};
use super::bundle::{World, until, wait_for};

fn process(args: &[&str], more: Value) -> Process {
    let mut process = json!({
        "user": {"uid": 0, "gid": 0}, "args": args, "env": ["PATH=/bin"], "cwd": "/",
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        process[key] = value.clone();
    }
    Process::parse(process.to_string().as_bytes()).expect("process")
}

fn request(args: &[&str], more: Value) -> ExecRequest {
    ExecRequest { id: "c1".to_owned(), process: process(args, more), ..ExecRequest::default() }
}

#[test]
fn it_is_in_the_container() {
    let Some(world) = World::new() else { return };
    let pid = world.launch("c1", world.spec("sleep 1000"));
    let script =
        "for n in pid net ipc uts mnt cgroup; do readlink /proc/self/ns/$n; done > /out; echo $PPID >> /out";
    let code = world.runtime.exec(&request(&["sh", "-c", script], json!({}))).expect("exec");
    assert_eq!(code, 0);
    let text = world.read("out");
    let mut lines = text.lines();
    for kind in ["pid", "net", "ipc", "uts", "mnt", "cgroup"] {
        let link = std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).expect("link");
        assert_eq!(lines.next(), link.to_str(), "{kind}");
    }
    assert_eq!(lines.next(), Some("0"), "its parent is outside");
    let code = world
        .runtime
        .exec(&request(&["sh", "-c", "cat /proc/self/cgroup > /own; cat /proc/1/cgroup > /one"], json!({})));
    assert_eq!(code.expect("exec"), 0);
    assert_eq!(world.read("own"), world.read("one"), "its groups are those of the first process");
    world.runtime.delete("c1", true).expect("delete");
    wait_for(pid);
    world.assert_gone("c1");
}

#[test]
fn codes_users_directories_environments() {
    let Some(world) = World::new() else { return };
    let pid = world.launch("c1", world.spec("sleep 1000"));
    let run = |args: &[&str], more: Value| world.runtime.exec(&request(args, more)).expect("exec");
    assert_eq!(run(&["sh", "-c", "exit 42"], json!({})), 42);
    assert_eq!(run(&["sh", "-c", "kill -9 $$"], json!({})), 137);
    std::fs::create_dir(world.inside("shared")).expect("mkdir");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(world.inside("shared"), mode).expect("chmod");
    let user = json!({"user": {"uid": 1000, "gid": 1001, "additionalGids": [7, 9]}, "cwd": "/shared",
        "env": ["PATH=/bin", "A=b c"]});
    assert_eq!(run(&["sh", "-c", "id > out; echo $A >> out; pwd >> out"], user), 0);
    let text = world.read("shared/out");
    assert!(text.contains("uid=1000 gid=1001 groups=") && text.contains('7') && text.contains('9'), "{text}");
    assert!(text.ends_with("b c\n/shared\n"), "{text}");
    world.runtime.delete("c1", true).expect("delete");
    wait_for(pid);
}

#[test]
fn detached_with_a_pid_file() {
    let Some(world) = World::new() else { return };
    let init = world.launch("c1", world.spec("sleep 1000"));
    let path = world.directory.path().join("pid");
    let request = ExecRequest {
        detach: true,
        pid_file: Some(path.clone()),
        ..request(&["sh", "-c", ": >/ready; exec sleep 999"], json!({}))
    };
    assert_eq!(world.runtime.exec(&request).expect("exec"), 0);
    let pid: i32 = std::fs::read_to_string(&path).expect("read").parse().expect("a number");
    until("it runs", || world.inside("ready").exists());
    let mut pids = world.runtime.ps("c1").expect("ps");
    pids.sort_unstable();
    let mut expected = [init, pid];
    expected.sort_unstable();
    assert_eq!(pids, expected);
    // The end of a PID namespace waits until all in it have been waited for, ours too.
    world.runtime.kill("c1", 9, false).expect("kill");
    assert_eq!((wait_for(pid), wait_for(init)), (137, 137));
    world.runtime.delete("c1", false).expect("delete");
    world.assert_gone("c1");
}

#[test]
fn refusals() {
    let Some(world) = World::new() else { return };
    let pid = world.create("c1", world.spec("sleep 1000")).expect("create");
    let exec = |args: &[&str]| world.runtime.exec(&request(args, json!({})));
    assert_eq!(exec(&["true"]).expect("a created one has all but the command"), 0);
    world.runtime.start("c1").expect("start");
    for (command, text, kind) in [
        ("nope", "exec: \"nope\": executable file not found in $PATH", ErrorKind::CommandNotFound),
        ("/nope", "exec: \"/nope\": stat /nope: no such file or directory", ErrorKind::CommandNotFound),
        ("/etc/passwd", "exec: \"/etc/passwd\": permission denied", ErrorKind::CommandNotExecutable),
    ] {
        let error = exec(&[command]).expect_err(command);
        assert_eq!((error.to_string().as_str(), error.kind()), (text, kind));
    }
    let empty = exec(&[]).expect_err("nothing to do").to_string();
    assert!(!empty.is_empty());
    world.runtime.pause("c1").expect("pause");
    let paused = exec(&["true"]).expect_err("paused");
    assert_eq!(paused.to_string(), "cannot exec in a paused container (use --ignore-paused to override)");
    assert_eq!(paused.kind(), ErrorKind::Paused);
    world.runtime.resume("c1").expect("resume");
    world.runtime.kill("c1", 9, false).expect("kill");
    wait_for(pid);
    assert_eq!(exec(&["true"]).expect_err("stopped").to_string(), "cannot exec in a stopped container");
    world.runtime.delete("c1", false).expect("delete");
    assert_eq!(exec(&["true"]).expect_err("gone").to_string(), "container does not exist");
}

#[test]
fn into_a_paused_one_it_waits() {
    let Some(world) = World::new() else { return };
    let pid = world.launch("c1", world.spec("sleep 1000"));
    world.runtime.pause("c1").expect("pause");
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let runtime = cais_bundle::Runtime::new(cais_bundle::Config {
                root: world.directory.path().join("state"),
                ..Default::default()
            })
            .expect("runtime");
            let request =
                ExecRequest { ignore_paused: true, ..request(&["sh", "-c", "touch /ran"], json!({})) };
            runtime.exec(&request)
        });
        let group = super::bundle::groups(&format!("{}/c1", world.group));
        until("it has entered the group", || {
            group.iter().any(|group| {
                std::fs::read_to_string(group.join("cgroup.procs"))
                    .is_ok_and(|text| text.lines().count() == 2)
            })
        });
        assert!(!world.inside("ran").exists());
        world.runtime.resume("c1").expect("resume");
        assert_eq!(thread.join().expect("join").expect("exec"), 0);
    });
    assert!(world.inside("ran").exists());
    world.runtime.delete("c1", true).expect("delete");
    wait_for(pid);
}

#[test]
fn groups_within() {
    let Some(world) = World::new() else { return };
    let pid = world.launch("c1", world.spec("sleep 1000"));
    let exec = |cgroup: &[&str]| {
        let cgroup = cgroup.iter().map(|&one| one.to_owned()).collect();
        world.runtime.exec(&ExecRequest { cgroup, ..request(&["cat", "/proc/self/cgroup"], json!({})) })
    };
    let text = |result: cais_bundle::Result<i32>| result.expect_err("refused").to_string();
    assert_eq!(text(exec(&["../x"])), "bad sub cgroup path: ../x");
    assert_eq!(text(exec(&["whatever:a"])), "unknown controller in SubCgroupPaths: whatever");
    let missing = text(exec(&["/no/such"]));
    assert!(missing.contains(" adding pid ") && missing.ends_with("no such file or directory"), "{missing}");
    for group in super::bundle::groups(&format!("{}/c1", world.group)) {
        if group.join("tasks").exists() {
            std::fs::create_dir(group.join("sub")).expect("mkdir");
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if let Ok(value) = std::fs::read_to_string(group.join(file)) {
                    std::fs::write(group.join("sub").join(file), value).expect("write");
                }
            }
        }
    }
    let show = |cgroup: &[&str]| {
        let cgroup = cgroup.iter().map(|&one| one.to_owned()).collect();
        let process = process(&["sh", "-c", "cat /proc/self/cgroup > /out"], json!({}));
        let request = ExecRequest { id: "c1".to_owned(), process, cgroup, ..ExecRequest::default() };
        assert_eq!(world.runtime.exec(&request).expect("exec"), 0);
        world.read("out")
    };
    if super::bundle::groups(&format!("{}/c1/sub", world.group)).len() > 1 {
        let all = show(&["sub"]);
        assert!(all.lines().filter(|line| line.ends_with("/sub")).count() > 1, "{all}");
        let some = show(&["memory,pids:sub"]);
        for line in some.lines() {
            let within = line.contains(":memory:") || line.contains(":pids:");
            assert_eq!(line.ends_with("/sub"), within, "{some}");
        }
    }
    world.runtime.delete("c1", true).expect("delete");
    wait_for(pid);
    world.assert_gone("c1");
}

#[test]
fn terminals_and_descriptors() {
    let (Some(world), Some(_)) = (World::new(), program()) else { return };
    let pid = world.launch("c1", world.spec("sleep 1000"));
    let detail = json!({"process": {
        "user": {"uid": 0, "gid": 0}, "cwd": "/", "env": ["PATH=/bin"], "terminal": true,
        "args": ["sh", "-c", "tty; stty size"], "consoleSize": {"height": 12, "width": 34}}});
    let output = again(&world, "exec", "c1", &detail).output().expect("exec");
    let text = printed(&output);
    assert!(text.contains("/dev/pts/") && text.contains("12 34\n"), "{text:?}");
    let file = world.directory.path().join("file");
    std::fs::write(&file, "from outside\n").expect("write");
    let detail = json!({
        "shell": format!("exec 3<{} 4</dev/null; exec \"$@\"", file.display()),
        "preserve_fds": 2,
        "process": {"user": {"uid": 0, "gid": 0}, "cwd": "/", "env": ["PATH=/bin"],
            "args": ["sh", "-c", "cat <&3; ls /proc/self/fd"]},
    });
    let output = again(&world, "exec", "c1", &detail).output().expect("exec");
    // `ls` opens the directory itself, as 5.
    assert_eq!(printed(&output), "from outside\n0\n1\n2\n3\n4\n5\n");
    world.runtime.delete("c1", true).expect("delete");
    wait_for(pid);
}

#[test]
fn the_configuration_is_where_flags_begin() {
    let Some(world) = World::new() else { return };
    let pid = world.create("c1", world.spec("sleep 1000")).expect("create");
    std::fs::remove_file(world.bundle().join("config.json")).expect("remove");
    let process = world.runtime.process_of("c1").expect("process");
    assert_eq!(process.args, ["/bin/sh", "-c", "sleep 1000"]);
    world.runtime.delete("c1", true).expect("delete");
    wait_for(pid);
}
