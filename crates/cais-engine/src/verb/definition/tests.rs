//! What each form makes of a record with nearly everything, and of one with nearly nothing.

use std::collections::BTreeMap;

use super::run_line::quoted;
use super::*;
use crate::{
    LogDriver, MountKind, MountRequest, PortRequest, Protocol, ResourceRequest, SecurityRequest, Ulimit,
};

pub(super) fn record(name: &str, request: ContainerRequest) -> ContainerRecord {
    ContainerRecord {
        id: "ab".repeat(32),
        name: name.into(),
        created: String::new(),
        image_id: None,
        image_name: format!("docker.io/library/{}:latest", request.image),
        layers: Vec::new(),
        args: request.command.clone(),
        entrypoint: Vec::new(),
        cmd: request.command.clone(),
        env: request.env.clone(),
        workdir: "/".into(),
        user: String::new(),
        labels: request.labels.clone(),
        stop_signal: 15,
        stop_signal_given: None,
        mounts: Vec::new(),
        exposed: Vec::new(),
        network: request.network.clone(),
        health: None,
        shell: Vec::new(),
        hostname: "h".into(),
        namespaces: request.namespaces.clone(),
        request,
        ..ContainerRecord::default()
    }
}

fn small() -> ContainerRecord {
    record("small", ContainerRequest { image: "busybox".into(), ..ContainerRequest::default() })
}

fn large() -> ContainerRecord {
    let bind = |source: &str, target: &str| MountRequest {
        kind: MountKind::Bind,
        source: source.into(),
        target: target.into(),
        create_source: true,
        ..MountRequest::default()
    };
    let request = ContainerRequest {
        name: Some("web_1".into()),
        image: "nginx".into(),
        entrypoint: Some(vec!["/entry".into()]),
        command: vec!["serve".into(), "it's $HOME 100%".into()],
        env: vec!["A=1".into(), "B=two words $x".into()],
        workdir: Some("/srv".into()),
        user: Some("1000:1000".into()),
        labels: BTreeMap::from([("k".into(), "v w".into())]),
        detach: true,
        tty: true,
        init: true,
        read_only: true,
        network: NetworkRequest::Bridge,
        publish: vec![PortRequest {
            host_ip: "127.0.0.1".parse().ok(),
            host_port: Some(8080),
            container_port: 80,
            protocol: Protocol::Tcp,
        }],
        mounts: vec![
            MountRequest { read_only: true, ..bind("/etc/web", "/conf") },
            MountRequest { kind: MountKind::Volume, ..bind("data", "/data") },
            MountRequest { create_source: false, ..bind("/a,b", "/odd") },
            MountRequest {
                kind: MountKind::Tmpfs,
                target: "/tmp".into(),
                tmpfs_size_bytes: Some(65536),
                ..MountRequest::default()
            },
        ],
        cap_add: vec!["NET_ADMIN".into()],
        security: SecurityRequest { no_new_privileges: true, ..SecurityRequest::default() },
        ulimits: vec![Ulimit { name: "nofile".into(), soft: 10, hard: -1 }],
        sysctls: BTreeMap::from([("net.core.somaxconn".into(), "1024".into())]),
        resources: ResourceRequest {
            memory_bytes: Some(64 << 20),
            nano_cpus: Some(1_500_000_000),
            pids_limit: Some(50),
            ..ResourceRequest::default()
        },
        add_hosts: vec![("db".into(), "10.0.0.1".into())],
        stop_timeout_secs: Some(3),
        log: LogDriver::None,
        ..ContainerRequest::default()
    };
    record("web_1", request)
}

fn text(form: DefinitionForm) -> String {
    define(&[small(), large()], form).text
}

#[test]
fn run_lines() {
    let expected = concat!(
        "cais run busybox\n",
        "cais run -d -t --init --name web_1 --network bridge -p 127.0.0.1:8080:80 --add-host db:10.0.0.1 ",
        "-v /etc/web:/conf:ro -v data:/data --mount 'type=bind,\"source=/a,b\",target=/odd' --tmpfs /tmp:size=65536 ",
        "--read-only --cap-add NET_ADMIN --security-opt no-new-privileges --sysctl net.core.somaxconn=1024 ",
        "--ulimit nofile=10:unlimited -m 67108864 --cpus 1.5 --pids-limit 50 -e A=1 -e 'B=two words $x' -w /srv ",
        "-u 1000:1000 --label 'k=v w' --stop-timeout 3 --log-driver none --entrypoint /entry nginx serve ",
        "'it'\\''s $HOME 100%'\n",
    );
    assert_eq!(text(DefinitionForm::Run), expected);
    assert_eq!(quoted(""), "''");
}

#[test]
fn compose_files() {
    let expected = r#"services:
  small:
    image: busybox
  web_1:
    image: nginx
    container_name: web_1
    entrypoint:
      - /entry
    command:
      - serve
      - "it's $$HOME 100%"
    environment:
      - "A=1"
      - "B=two words $$x"
    working_dir: /srv
    user: "1000:1000"
    labels:
      - "k=v w"
    tty: true
    init: true
    network_mode: bridge
    ports:
      - "127.0.0.1:8080:80"
    extra_hosts:
      - "db=10.0.0.1"
    volumes:
      - "/etc/web:/conf:ro"
      - "data:/data"
      - type: bind
        source: "/a,b"
        target: /odd
        bind:
          create_host_path: false
    tmpfs:
      - "/tmp:size=65536"
    read_only: true
    cap_add:
      - NET_ADMIN
    security_opt:
      - no-new-privileges
    sysctls:
      net.core.somaxconn: "1024"
    ulimits:
      nofile:
        soft: 10
        hard: -1
    mem_limit: "67108864b"
    cpus: "1.5"
    pids_limit: 50
    stop_grace_period: "3s"
    logging:
      driver: none
volumes:
  data:
    name: data
"#;
    assert_eq!(text(DefinitionForm::Compose), expected);
}

#[test]
fn quadlet_units() {
    let expected = r#"# small.container
[Unit]
Description=Container small

[Container]
ContainerName=small
Image=docker.io/library/busybox:latest

[Install]
WantedBy=default.target

# web_1.container
[Unit]
Description=Container web_1

[Container]
ContainerName=web_1
Image=docker.io/library/nginx:latest
Entrypoint=/entry
Exec=serve "it's $$HOME 100%%"
Environment=A=1
Environment="B=two words $$x"
WorkingDir=/srv
User=1000
Group=1000
Label="k=v w"
RunInit=true
PodmanArgs=--tty=true
Network=bridge
PublishPort=127.0.0.1:8080:80
AddHost=db:10.0.0.1
Volume=/etc/web:/conf:ro
Volume=data:/data
Volume=/a,b:/odd
Tmpfs=/tmp:size=65536
ReadOnly=true
AddCapability=NET_ADMIN
NoNewPrivileges=true
Sysctl=net.core.somaxconn=1024
Ulimit=nofile=10:unlimited
PidsLimit=50
Memory=67108864
PodmanArgs=--cpus=1.5
StopTimeout=3
LogDriver=none

[Install]
WantedBy=default.target
"#;
    assert_eq!(text(DefinitionForm::Quadlet), expected);
}

#[test]
fn pods() {
    let expected = r#"apiVersion: v1
kind: Pod
metadata:
  name: small
spec:
  restartPolicy: Never
  containers:
    - name: small
      image: "docker.io/library/busybox:latest"
      imagePullPolicy: IfNotPresent
---
apiVersion: v1
kind: Pod
metadata:
  name: web-1
  annotations:
    k: "v w"
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 3
  hostAliases:
    - ip: "10.0.0.1"
      hostnames:
        - db
  securityContext:
    sysctls:
      - name: net.core.somaxconn
        value: "1024"
  containers:
    - name: web-1
      image: "docker.io/library/nginx:latest"
      imagePullPolicy: IfNotPresent
      command:
        - /entry
      args:
        - serve
        - "it's $HOME 100%"
      env:
        - name: A
          value: "1"
        - name: B
          value: "two words $x"
      workingDir: /srv
      tty: true
      ports:
        - containerPort: 80
          hostPort: 8080
          hostIP: "127.0.0.1"
          protocol: TCP
      resources:
        limits:
          cpu: "1.5"
          memory: "67108864"
      securityContext:
        runAsUser: 1000
        runAsGroup: 1000
        readOnlyRootFilesystem: true
        capabilities:
          add:
            - NET_ADMIN
        allowPrivilegeEscalation: false
      volumeMounts:
        - name: volume-1
          mountPath: /conf
          readOnly: true
        - name: volume-2
          mountPath: /data
        - name: volume-3
          mountPath: /odd
        - name: volume-4
          mountPath: /tmp
  volumes:
    - name: volume-1
      hostPath:
        path: /etc/web
        type: DirectoryOrCreate
    - name: volume-2
      persistentVolumeClaim:
        claimName: data
    - name: volume-3
      hostPath:
        path: "/a,b"
        type: ""
    - name: volume-4
      emptyDir:
        medium: Memory
        sizeLimit: "65536"
"#;
    assert_eq!(text(DefinitionForm::Kube), expected);
}

#[test]
fn what_a_form_cannot_say_is_noted() {
    let notes = define(&[large()], DefinitionForm::Kube).notes;
    assert!(notes.iter().any(|note| note == "web_1: --ulimit cannot be said in this form"), "{notes:?}");
    let mut profiled = small();
    profiled.request.security.seccomp = crate::SeccompRequest::Profile("{}".into());
    let notes = define(&[profiled], DefinitionForm::Run).notes;
    assert!(notes[0].contains("seccomp profile"), "{notes:?}");
    assert!(define(&[small()], DefinitionForm::Run).notes.is_empty());
}
