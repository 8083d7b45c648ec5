//! Namespaces of one container in another: `--pid`, `--ipc`, `--uts` and `--network container:NAME`.

use cais_test::{Cais, e2e};

fn namespace(cais: &Cais, container: &str, kind: &str) -> String {
    cais.ok(&format!("exec {container} readlink /proc/self/ns/{kind}"))
}

#[test]
fn processes_of_the_other_container_are_seen_and_signalled() {
    e2e(|cais| {
        cais.mark();
        cais.ok("run -d --name owner busybox sleep 1234");
        cais.ok("run -d --name guest --pid container:owner busybox sleep 4321");
        assert_eq!(namespace(cais, "owner", "pid"), namespace(cais, "guest", "pid"));
        assert_ne!(namespace(cais, "owner", "ipc"), namespace(cais, "guest", "ipc"));
        let id = cais.inspect("owner", "{{.Id}}");
        assert_eq!(cais.inspect("guest", "{{.HostConfig.PidMode}}"), format!("container:{id}"));
        let seen = cais.ok("exec guest ps -o pid,args");
        assert!(seen.contains("1 sleep 1234") && seen.contains("sleep 4321"), "{seen}");
        assert!(cais.ok("exec owner ps -o args").contains("sleep 4321"));
        assert!(!cais.ok("top guest").contains("sleep 1234"), "top tells of its own processes");
        cais.ok("pause guest");
        assert_eq!(cais.inspect("guest", "{{.State.Status}}"), "paused");
        assert_eq!(cais.inspect("owner", "{{.State.Status}}"), "running");
        cais.ok("unpause guest");
        // It is no PID 1: a signal without handler ends it.
        cais.ok("kill -s TERM guest");
        assert_eq!(cais.ok("wait guest"), "143");
        assert_eq!(cais.inspect("owner", "{{.State.Status}}"), "running");
        cais.ok("rm -f guest owner");
        cais.assert_nothing_left();
    });
}

#[test]
fn what_is_left_of_a_guest_goes_with_it_and_the_guest_with_the_owner() {
    e2e(|cais| {
        cais.mark();
        cais.ok("run -d --name owner --restart always busybox sleep 1000");
        cais.ok("run -d --name guest --pid container:owner busybox sh -c 'sleep 777 & exec sleep 888'");
        cais_test::wait_until("both", || cais.ok("exec owner ps -o args").contains("sleep 777"));
        cais.ok("stop -t 0 guest");
        let seen = cais.ok("exec owner ps -o args");
        assert!(!seen.contains("sleep 777"), "{seen}");
        cais.ok("start guest");
        cais.ok("kill owner");
        assert_eq!(cais.ok("wait guest"), "137", "the end of PID 1 is the end of all");
        // Its cleaner is not of the namespace that is gone.
        cais_test::wait_until("the end is known", || cais.inspect("guest", "{{.State.Status}}") == "exited");
        cais.ok("rm -f guest owner");
        cais.assert_nothing_left();
    });
}

#[test]
fn a_guest_with_a_policy_runs_again_in_the_namespace_of_the_other() {
    e2e(|cais| {
        cais.ok("run -d --name owner busybox sleep 1000");
        cais.ok("run -d --name guest --restart always --pid container:owner busybox sleep 777");
        let before = cais.inspect("guest", "{{.State.Pid}}");
        // All that it sees but PID 1.
        cais.ok("exec owner sh -c 'kill -9 -1'");
        cais_test::wait_until("another run", || {
            cais.inspect("guest", "{{.State.Running}} {{.State.Pid}}") != format!("true {before}")
                && cais.inspect("guest", "{{.State.Status}}") == "running"
        });
        assert_eq!(namespace(cais, "owner", "pid"), namespace(cais, "guest", "pid"));
    });
}

#[test]
fn ipc_brings_the_shared_memory_and_the_queues() {
    e2e(|cais| {
        cais.mark();
        cais.ok("run -d --name owner --shm-size 3m busybox sleep 1000");
        cais.ok("run -d --name guest --ipc container:owner busybox sleep 1000");
        assert_eq!(namespace(cais, "owner", "ipc"), namespace(cais, "guest", "ipc"));
        cais.ok("exec owner sh -c 'echo hello >/dev/shm/word'");
        assert_eq!(cais.ok("exec guest cat /dev/shm/word"), "hello");
        assert!(cais.ok("exec guest df -m /dev/shm").contains(" 3 "), "the size is the owner's");
        cais.ok("exec guest touch /dev/mqueue/letter");
        assert_eq!(cais.ok("exec owner ls /dev/mqueue"), "letter");
        let id = cais.inspect("owner", "{{.Id}}");
        assert_eq!(cais.inspect("guest", "{{.HostConfig.IpcMode}}"), format!("container:{id}"));
        cais.ok("run -d --name closed --ipc private busybox sleep 1000");
        cais.ok("run -d --name bare --ipc none busybox sleep 1000");
        for other in ["closed", "bare"] {
            cais.fails(125, &format!("run --rm --ipc container:{other} busybox true"))
                .one_clear_error()
                .says("not shareable");
        }
        cais.ok("run -d --name open --ipc shareable busybox sleep 1000");
        assert_eq!(cais.inspect("open", "{{.HostConfig.IpcMode}}"), "shareable");
        cais.ok("run --rm --ipc container:open busybox true");
        cais.ok("rm -f guest owner closed bare open");
        cais.assert_nothing_left();
    });
}

#[test]
fn names_are_the_other_containers() {
    e2e(|cais| {
        cais.ok("run -d --name owner --hostname box --domainname yard busybox sleep 1000");
        assert_eq!(cais.ok("run --rm --uts container:owner busybox hostname"), "box");
        cais.fails(125, "run --rm --uts container:owner --hostname x busybox true")
            .one_clear_error()
            .says("--hostname");
    });
}

#[test]
fn a_chain_leads_to_whom_the_namespaces_are() {
    e2e(|cais| {
        cais.mark();
        cais.ok("run -d --name a1 --hostname first busybox sleep 1000");
        let shared = "--network container:a1 --pid container:a1 --ipc container:a1 --uts container:a1";
        cais.ok(&format!("run -d --name b1 {shared} busybox sleep 1000"));
        let shared = shared.replace("a1", "b1");
        cais.ok(&format!("run -d --name c1 {shared} busybox sleep 1000"));
        for kind in ["net", "pid", "ipc", "uts"] {
            assert_eq!(namespace(cais, "a1", kind), namespace(cais, "c1", kind), "{kind}");
        }
        assert_eq!(cais.ok("exec c1 cat /etc/hostname"), "first");
        assert!(cais.ok("exec c1 cat /etc/hosts").contains("first"));
        // Nothing of it hangs on the one in between.
        cais.ok("stop -t 0 b1");
        cais.ok("restart -t 0 c1");
        cais.ok("start b1");
        let host = cais.ok("run --rm --pid host busybox readlink /proc/self/ns/pid");
        cais.ok("run -d --name d1 --pid host busybox sleep 1000");
        assert_eq!(cais.ok("run --rm --pid container:d1 busybox readlink /proc/self/ns/pid"), host);
        cais.ok("rm -f a1 b1 c1 d1");
        cais.assert_nothing_left();
    });
}

#[test]
fn the_other_container_must_run() {
    e2e(|cais| {
        cais.ok("create --name owner busybox sleep 1000");
        for flag in ["--pid", "--ipc", "--uts", "--network"] {
            cais.fails(125, &format!("run --name guest {flag} container:owner busybox true"))
                .one_clear_error()
                .says("not running");
            let why = cais.ok("why guest");
            assert!(why.contains("did not run"), "{flag}: {why}");
            cais.ok("rm guest");
            cais.fails(125, &format!("run {flag} container:no-such busybox true"))
                .one_clear_error()
                .says("no-such");
        }
    });
}

#[test]
fn definitions_name_the_shared_namespaces() {
    e2e(|cais| {
        cais.ok("run -d --name owner busybox sleep 1000");
        cais.ok("create --name guest --pid container:owner --ipc container:owner --uts host busybox true");
        let line = cais.ok("inspect --as run guest");
        assert!(line.contains("--pid container:owner --ipc container:owner --uts host"), "{line}");
        let compose = cais.ok("inspect --as compose guest owner");
        for word in ["pid: \"service:owner\"", "ipc: \"service:owner\"", "uts: host"] {
            assert!(compose.contains(word), "{word}: {compose}");
        }
        let quadlet = cais.ok("inspect --as quadlet guest");
        assert!(quadlet.contains("PodmanArgs=--pid=container:owner"), "{quadlet}");
    });
}
