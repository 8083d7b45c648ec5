//! Keys of lists and inspections against what docker printed (`golden/keys.txt`); every difference is listed here.

use std::collections::BTreeSet;

use cais_test::{Cais, e2e};
use serde_json::Value;

const RECORDED: &str = include_str!("golden/keys.txt");
/// What podman has and docker has not, and whether we claim it.
const OF_PODMAN: &str = include_str!("golden/podman.txt");

/// Objects whose keys are the user's or the machine's own.
const FREE: [&str; 12] = [
    "Networks",
    "Labels",
    "Ports",
    "ExposedPorts",
    "Volumes",
    "Data",
    "Options",
    "Runtimes",
    "PortBindings",
    "IndexConfigs",
    "Annotations",
    "Sysctls",
];

/// Known differences from docker: command, keys that only docker has, keys that only we have.
const DIFFERENCES: [(&str, &[&str], &[&str]); 8] = [
    // Platform is null in docker without its containerd store.
    ("ps", &["Platform"], &[]),
    // The client asked a server of API 1.41, which tells neither.
    ("images", &[], &["Labels", "Platform"]),
    ("volume ls", &[], &[]),
    ("volume inspect", &[], &[]),
    // The kernel has no KernelMemory; two keys are of docker 28, four are podman's.
    (
        "inspect",
        &["HostConfig.KernelMemory", "HostConfig.KernelMemoryTCP"],
        &[
            "NetworkSettings.Networks.*.DNSNames",
            "NetworkSettings.Networks.*.GwPriority",
            "State.Checkpointed",
            "State.CheckpointedAt",
            "State.Restored",
            "State.RestoredAt",
        ],
    ),
    // ContainerConfig left docker with version 26, VirtualSize with API 1.44.
    (
        "image inspect",
        &[
            "Container",
            "ContainerConfig",
            "ContainerConfig.AttachStderr",
            "ContainerConfig.AttachStdin",
            "ContainerConfig.AttachStdout",
            "ContainerConfig.Cmd",
            "ContainerConfig.Domainname",
            "ContainerConfig.Entrypoint",
            "ContainerConfig.Env",
            "ContainerConfig.Hostname",
            "ContainerConfig.Image",
            "ContainerConfig.Labels",
            "ContainerConfig.OnBuild",
            "ContainerConfig.OpenStdin",
            "ContainerConfig.StdinOnce",
            "ContainerConfig.Tty",
            "ContainerConfig.User",
            "ContainerConfig.Volumes",
            "ContainerConfig.WorkingDir",
            "VirtualSize",
        ],
        &[],
    ),
    // No Go, no commit, no contexts.
    (
        "version",
        &[
            "Client.BuildTime",
            "Client.Context",
            "Client.DefaultAPIVersion",
            "Client.GitCommit",
            "Client.GoVersion",
            "Server.BuildTime",
            "Server.Components.[].Details.BuildTime",
            "Server.Components.[].Details.Experimental",
            "Server.Components.[].Details.GitCommit",
            "Server.Components.[].Details.GoVersion",
            "Server.GitCommit",
            "Server.GoVersion",
        ],
        &["Client.KernelVersion"],
    ),
    // No daemon: no swarm, no Go, no runc, no containerd, no client apart.
    (
        "info",
        &[
            "CDISpecDirs",
            "ClientInfo",
            "ClientInfo.Arch",
            "ClientInfo.BuildTime",
            "ClientInfo.Context",
            "ClientInfo.Debug",
            "ClientInfo.DefaultAPIVersion",
            "ClientInfo.GitCommit",
            "ClientInfo.GoVersion",
            "ClientInfo.Os",
            "ClientInfo.Plugins",
            "ClientInfo.Version",
            "ClientInfo.Warnings",
            "ContainerdCommit",
            "ContainerdCommit.Expected",
            "ContainerdCommit.ID",
            "Debug",
            "ExperimentalBuild",
            "GenericResources",
            "IndexServerAddress",
            "InitBinary",
            "InitCommit",
            "InitCommit.ID",
            "Isolation",
            "KernelMemory",
            "KernelMemoryTCP",
            "NEventsListener",
            "NFd",
            "NGoroutines",
            "RegistryConfig",
            "RegistryConfig.IndexConfigs",
            "RegistryConfig.InsecureRegistryCIDRs",
            "RegistryConfig.Mirrors",
            "RuncCommit",
            "RuncCommit.Expected",
            "RuncCommit.ID",
            "Swarm",
            "Swarm.ControlAvailable",
            "Swarm.Error",
            "Swarm.LocalNodeState",
            "Swarm.NodeAddr",
            "Swarm.NodeID",
            "Swarm.RemoteManagers",
        ],
        &["Rootless", "RunDir"],
    ),
];

fn recorded(engine: &str, command: &str) -> BTreeSet<String> {
    section(RECORDED, &format!("[{engine} {command}]"))
}

fn section(text: &str, title: &str) -> BTreeSet<String> {
    let lines = text.lines().skip_while(|line| *line != title).skip(1);
    lines.take_while(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn walk(value: &Value, before: &str, keys: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let path = format!("{before}{key}");
                keys.insert(path.clone());
                match value {
                    Value::Object(inner) if key == "Networks" => {
                        inner.values().for_each(|network| walk(network, &format!("{path}.*."), keys));
                    }
                    Value::Object(_) if FREE.contains(&key.as_str()) => {}
                    value => walk(value, &format!("{path}."), keys),
                }
            }
        }
        Value::Array(items) => {
            let nested = items.iter().filter(|item| item.is_object() || item.is_array());
            nested.for_each(|item| walk(item, &format!("{before}[]."), keys));
        }
        _ => {}
    }
}

/// Keys that we print.
fn printed(cais: &Cais, command: &str) -> BTreeSet<String> {
    let line = match command {
        "ps" => "ps -a --format json",
        "images" => "images --format json",
        "volume ls" => "volume ls --format json",
        "volume inspect" => "volume inspect v1",
        "inspect" => "inspect c1",
        "image inspect" => "image inspect busybox",
        "version" => "version --format json",
        _ => "info --format json",
    };
    let value: Value = serde_json::from_str(&cais.ok(line)).expect(line);
    let mut keys = BTreeSet::new();
    walk(value.get(0).unwrap_or(&value), "", &mut keys);
    keys
}

#[test]
fn of_podmans_keys_those_are_there_that_are_claimed() {
    e2e(|cais| {
        cais.ok("volume create v1");
        cais.ok("run -d --name c1 --network none -v v1:/v busybox sleep 1000");
        let mut wrong = String::new();
        for (command, _, _) in DIFFERENCES {
            let (docker, podman) = (recorded("docker", command), recorded("podman", command));
            assert!(podman.len() > 5, "{command} is not recorded");
            let ours = printed(cais, command);
            let claim = |key: &String| format!("{} {key}", if ours.contains(key) { '+' } else { '-' });
            let found: BTreeSet<String> = podman.difference(&docker).map(claim).collect();
            let listed = section(OF_PODMAN, &format!("[{command}]"));
            for key in found.symmetric_difference(&listed) {
                wrong.push_str(&format!("{command}: {key}\n"));
            }
        }
        assert!(wrong.is_empty(), "podman's keys that are not listed, or listed otherwise:\n{wrong}");
    });
}

#[test]
fn keys_are_dockers_but_for_what_is_listed() {
    e2e(|cais| {
        cais.ok("volume create v1");
        cais.ok("run -d --name c1 --network none -v v1:/v busybox sleep 1000");
        let mut wrong = String::new();
        for (command, lacking, added) in DIFFERENCES {
            let ours = printed(cais, command);
            let theirs = recorded("docker", command);
            assert!(theirs.len() > 5, "{command} is not recorded");
            let only = |left: &BTreeSet<String>, right: &BTreeSet<String>| {
                left.difference(right).cloned().collect::<Vec<_>>()
            };
            for (what, found, known) in
                [("lacks", only(&theirs, &ours), lacking), ("adds", only(&ours, &theirs), added)]
            {
                if found != known {
                    wrong.push_str(&format!("{command} {what} {found:?}\n"));
                }
            }
        }
        assert!(
            wrong.is_empty(),
            "differences from docker that are not listed, or listed and gone:\n{wrong}"
        );
    });
}
