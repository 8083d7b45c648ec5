//! Pods: containers that share namespaces. What is expected is podman's.

use std::io::Read;

use cais_test::{Cais, e2e, wait_until};

fn namespace(cais: &Cais, container: &str, kind: &str) -> String {
    cais.ok(&format!("exec {container} readlink /proc/self/ns/{kind}"))
}

fn state(cais: &Cais, pod: &str) -> String {
    cais.cmd("pod inspect --format {{.State}}").arg(pod).ok()
}

#[test]
fn containers_of_a_pod_share_network_ipc_and_names() {
    e2e(|cais| {
        cais.mark();
        let id = cais.ok("pod create --name shop -p 8080:80 --label a=b");
        assert_eq!(id.len(), 64);
        assert_eq!(state(cais, "shop"), "Created");
        cais.ok("run -d --name web --pod shop busybox nc -ll -p 80 -e hostname");
        assert_eq!(state(cais, "shop"), "Running");
        cais.ok("run -d --name db --pod shop busybox sleep 1000");
        for kind in ["net", "ipc", "uts"] {
            assert_eq!(namespace(cais, "web", kind), namespace(cais, "db", kind), "{kind}");
        }
        for kind in ["pid", "mnt"] {
            assert_ne!(namespace(cais, "web", kind), namespace(cais, "db", kind), "{kind}");
        }
        assert_eq!(cais.ok("exec db nc 127.0.0.1 80"), "shop", "the host name is the pod's");
        let mut text = String::new();
        cais.connect("127.0.0.1:8080").read_to_string(&mut text).unwrap();
        assert_eq!(text.trim(), "shop");
        cais.ok("exec web sh -c 'echo hello >/dev/shm/word'");
        assert_eq!(cais.ok("exec db cat /dev/shm/word"), "hello");
        assert!(cais.ok("exec db cat /etc/hosts").contains("shop"));
        cais.fails(125, "run --pod shop -p 1:1 busybox true").one_clear_error().says("--publish");
        cais.fails(125, "run --pod shop --hostname x busybox true").one_clear_error().says("--hostname");
        cais.fails(125, "run --pod nobody busybox true").one_clear_error().says("no such pod: nobody");
        let infra = cais.ok("pod inspect --format {{.InfraContainerID}} shop");
        cais.fails(1, &format!("rm -f {infra}")).one_clear_error().says("cais pod rm shop");
        cais.fails(2, "pod rm shop").one_clear_error().says("web");
        assert_eq!(cais.ok("pod rm -f shop"), id);
        assert_eq!(cais.ok("ps -aq"), "");
        cais.fails(1, "pod exists shop");
        cais.assert_nothing_left();
    });
}

#[test]
fn a_pod_starts_stops_pauses_and_goes_as_one() {
    e2e(|cais| {
        cais.mark();
        let id = cais.ok("pod create p1");
        cais.ok("create --name a1 --pod p1 --stop-timeout 0 busybox sleep 1000");
        cais.ok("create --name b1 --pod p1 --stop-signal KILL busybox sleep 1000");
        assert_eq!(cais.ok("pod start p1"), id);
        assert_eq!(cais.ok("ps --format {{.Names}} --filter pod=p1").lines().count(), 3);
        cais.ok("stop -t 0 a1");
        assert_eq!(state(cais, "p1"), "Degraded");
        cais.ok("pod start p1");
        assert_eq!(state(cais, "p1"), "Running");
        cais.ok("pod pause p1");
        assert_eq!(state(cais, "p1"), "Paused");
        cais.ok("pod unpause p1");
        let before = cais.inspect("a1", "{{.State.Pid}}");
        cais.ok("pod restart p1");
        assert_ne!(cais.inspect("a1", "{{.State.Pid}}"), before);
        assert_eq!(cais.ok("pod stop -t 0 p1"), id);
        assert_eq!(state(cais, "p1"), "Exited");
        let infra = cais.ok("pod inspect --format {{.InfraContainerID}} p1");
        assert_eq!(cais.inspect(&infra, "{{.State.ExitCode}}"), "0", "it ends when it is asked to");
        cais.ok("start a1");
        assert_eq!(cais.inspect(&infra, "{{.State.Status}}"), "running", "a member brings the namespaces up");
        cais.ok("pod kill p1");
        assert_eq!(state(cais, "p1"), "Exited");
        assert_eq!(cais.ok("pod rm p1"), id);
        cais.fails(1, "pod rm p1").one_clear_error().says("no such pod: p1");
        cais.ok("pod rm --ignore p1");
        cais.assert_nothing_left();
    });
}

#[test]
fn a_pod_is_made_by_the_way() {
    e2e(|cais| {
        cais.mark();
        cais.ok("run -d --name web --pod new:shop -p 8080:80 busybox nc -ll -p 80 -e hostname");
        let mut text = String::new();
        cais.connect("127.0.0.1:8080").read_to_string(&mut text).unwrap();
        assert_eq!(text.trim(), "shop");
        cais.fails(125, "run --pod new:shop busybox true").one_clear_error().says("already in use");
        cais.fails(125, "run --name web --pod new:other busybox true").one_clear_error();
        cais.fails(1, "pod exists other");
        cais.fails(125, "run --pod new:third --volumes-from nobody busybox true").one_clear_error();
        cais.fails(1, "pod exists third");
        let file = cais.folder().join("id");
        let id = cais.cmd("pod create --pod-id-file").arg(&file).ok();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), id);
        cais.cmd("pod create --pod-id-file").arg(&file).output().code(125);
        let other = cais.folder().join("other");
        cais.cmd("pod create --infra-name web --pod-id-file").arg(&other).output().code(125);
        assert!(!other.exists(), "the next attempt is not hindered");
        cais.cmd("run -d --name member --pod-id-file").arg(&file).args("busybox sleep 1000").ok();
        assert!(cais.ok("ps --pod --no-trunc").contains(&id));
        cais.cmd("pod rm -f --pod-id-file").arg(&file).ok();
        cais.ok("pod rm -fa");
        assert_eq!(cais.ok("pod ps -q"), "");
        cais.assert_nothing_left();
    });
}

#[test]
fn what_is_shared_is_chosen() {
    e2e(|cais| {
        cais.mark();
        cais.ok("pod create --name procs --share pid,ipc");
        cais.ok("run -d --name a1 --pod procs busybox sleep 1111");
        cais.ok("run -d --name b1 --pod procs busybox sleep 2222");
        assert!(cais.ok("exec b1 ps -o args").contains("sleep 1111"));
        assert_ne!(namespace(cais, "a1", "net"), namespace(cais, "b1", "net"));
        // Orphans are the infra container's, which reaps them.
        cais.ok("exec a1 sh -c '(sleep 0.2 &)'");
        wait_until("nobody is a zombie", || !cais.ok("exec a1 ps -o stat,args").contains("Z"));
        cais.ok("pod create --name none --share none");
        cais.ok("run -d --name c1 --pod none --hostname own busybox sleep 1000");
        assert_eq!(cais.ok("exec c1 hostname"), "own");
        cais.ok("pod create --name bare --infra=false");
        cais.ok("run -d --name d1 --pod bare busybox sleep 1000");
        assert_eq!(cais.ok("pod inspect --format {{.NumContainers}} bare"), "1");
        cais.fails(125, "pod create --infra=false -p 1:1").one_clear_error().says("--publish");
        cais.fails(125, "pod create --memory 1g").one_clear_error().says("--memory");
        cais.ok("pod create --name hosts --network host --infra-name holder");
        let host = cais.ok("run --rm --network host busybox readlink /proc/self/ns/net");
        assert_eq!(cais.ok("run --rm --pod hosts busybox readlink /proc/self/ns/net"), host);
        assert_eq!(cais.inspect("holder", "{{.State.Status}}"), "running");
        cais.ok("pod rm -fa");
        cais.assert_nothing_left();
    });
}

#[test]
fn the_last_container_ends_a_pod_that_wants_it() {
    e2e(|cais| {
        cais.mark();
        cais.ok("pod create --name job --exit-policy stop");
        cais.ok("run -d --name a1 --pod job busybox sleep 1000");
        cais.ok("run --rm --pod job busybox true");
        assert_eq!(state(cais, "job"), "Running", "there is another one");
        cais.ok("kill a1");
        wait_until("the pod is over", || state(cais, "job") == "Exited");
        cais.ok("pod create --name service");
        cais.ok("run --rm --pod service busybox true");
        assert_eq!(state(cais, "service"), "Running", "it waits for more");
        assert_eq!(cais.ok("pod prune -f").lines().count(), 1);
        cais.ok("pod rm -f service");
        cais.assert_nothing_left();
    });
}

#[test]
fn lists_and_documents_have_podmans_keys() {
    e2e(|cais| {
        cais.ok("pod create --name p1 --label a=b");
        cais.ok("pod create --name p2 --infra=false");
        cais.ok("run -d --name web --pod p1 busybox sleep 1000");
        let list: serde_json::Value = serde_json::from_str(&cais.ok("pod ps --format json")).unwrap();
        let keys = |value: &serde_json::Value| {
            value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(list[0]["Name"], "p2", "the newest first");
        let expected = "Cgroup Containers Created Id InfraId Labels Name Namespace Networks Status";
        let mut found: Vec<String> = keys(&list[1]).split(' ').map(str::to_owned).collect();
        found.sort();
        assert_eq!(found.join(" "), expected);
        assert_eq!(list[1]["Containers"].as_array().unwrap().len(), 2);
        let document: serde_json::Value = serde_json::from_str(&cais.ok("pod inspect p1")).unwrap();
        let document = &document[0];
        // podman 4.3's, and `RestartPolicy` of podman 5.
        for (value, expected) in [
            (
                document,
                "CgroupParent CgroupPath Containers CreateCgroup CreateCommand CreateInfra Created ExitPolicy \
                 Hostname Id InfraConfig InfraContainerID Labels Name NumContainers RestartPolicy \
                 SharedNamespaces State",
            ),
            (
                &document["InfraConfig"],
                "DNSOption DNSSearch DNSServer HostAdd HostNetwork NetworkOptions Networks NoManageHosts \
                 NoManageResolvConf PortBindings StaticIP StaticMAC pid_ns userns uts_ns",
            ),
            (&document["Containers"][0], "Id Name State"),
            (&list[1]["Containers"][0], "Id Names Status"),
        ] {
            let mut found: Vec<String> = keys(value).split(' ').map(str::to_owned).collect();
            found.sort();
            assert_eq!(found.join(" "), expected);
        }
        assert_eq!(document["NumContainers"], 2);
        assert_eq!(cais.inspect("p1", "{{.State}}"), "Running", "inspect finds pods, too");
        let table = cais.ok("pod ps");
        assert!(table.starts_with("POD ID") && table.contains("# OF CONTAINERS"), "{table}");
        assert_eq!(
            cais.ok("pod ps --filter name=p1 --format '{{.Name}} {{.Status}} {{.NumberOfContainers}}'"),
            "p1 Running 2"
        );
        assert_eq!(cais.ok("pod ps -q --filter status=created").lines().count(), 1);
        let table = cais.ok("ps -a --pod");
        assert!(table.contains("POD ID") && table.contains("PODNAME") && table.contains("-infra"), "{table}");
        assert_eq!(cais.ok("ps -a --filter pod=p1 --format '{{.Names}} {{.PodName}}'").lines().count(), 2);
        assert!(cais.ok("pod top p1").contains("sleep 1000"));
        assert!(cais.ok("pod stats --no-stream p1").contains("web"));
        cais.ok("run --name talk --pod p1 busybox echo hello");
        let short: String = cais.inspect("talk", "{{.Id}}").chars().take(12).collect();
        assert_eq!(cais.ok("pod logs p1"), format!("{short} hello"));
        assert_eq!(cais.ok("pod logs -c talk p1"), "hello");
        assert!(cais.ok("__complete pod rm p").contains("p1"));
        assert!(cais.ok("__complete run --pod p").contains("p2"));
        cais.fails(125, "pod start nobody").one_clear_error().says("no such pod: nobody");
    });
}

#[test]
fn a_pod_survives_kills_of_its_monitor() {
    e2e(|cais| {
        cais.mark();
        cais.ok("pod create --name p1");
        cais.ok("run -d --name web --pod p1 busybox sleep 1000");
        let infra = cais.ok("pod inspect --format {{.InfraContainerID}} p1");
        let pid = cais.inspect(&infra, "{{.State.Pid}}");
        let parent = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let shim = parent.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().to_owned();
        for victim in [shim, pid] {
            let done = std::process::Command::new("kill").args(["-9", &victim]).status();
            assert!(done.is_ok());
        }
        wait_until("it is seen", || state(cais, "p1") == "Degraded");
        cais.ok("restart -t 0 web");
        assert_eq!(state(cais, "p1"), "Running");
        assert_eq!(
            namespace(cais, "web", "net"),
            cais.ok("run --rm --pod p1 busybox readlink /proc/self/ns/net")
        );
        cais.ok("pod rm -f p1");
        assert_eq!(cais.ok("system check"), cais.ok("system check --repair"));
        cais.assert_nothing_left();
    });
}
