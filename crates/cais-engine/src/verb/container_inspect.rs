//! `inspect` of a container: Docker's JSON, key by key (API 1.50, Linux), from a [`ContainerView`].
//!
//! Everything but the verb is a pure function. Keys that Docker prints are printed even where the engine has no such
//! thing (null, empty or zero as Docker does), because tools index them blindly; keys that Docker omits when
//! empty are omitted.

mod host_config;
mod network_settings;
mod state;

use std::path::{Path, PathBuf};

use cais_store::{CheckpointRecord, HealthState};
use serde_json::{Map, Value, json};

use crate::verb::container_size::ContainerSize;
use crate::view::ContainerView;
use crate::{ContainerRecord, Engine, LogDriver, MountKind, MountRecord, Result};

/// Docker's "never".
const NO_TIME: &str = "0001-01-01T00:00:00Z";
/// What `Driver` and `GraphDriver.Name` say.
const DRIVER: &str = "overlay";

/// What the document says beside the record: host paths and sizes.
#[derive(Debug, Default)]
struct Surroundings {
    resolv_conf: PathBuf,
    hostname: PathBuf,
    hosts: PathBuf,
    log: PathBuf,
    /// Bottom first, as in the record.
    layers: Vec<PathBuf>,
    upper: PathBuf,
    work: PathBuf,
    /// When asked for.
    size: Option<ContainerSize>,
    restarts: u32,
    health: Option<HealthState>,
    /// Of a container that does not run: the checkpoint from which `restore` lets it go on.
    checkpoint: Option<(PathBuf, CheckpointRecord)>,
}

impl Engine {
    /// Docker's description of one container; `size` adds `SizeRw` and `SizeRootFs`, which walks its writable layer.
    ///
    /// # Errors
    /// When there is no such container or its record cannot be read.
    pub fn container_inspect(&self, name: &str, size: bool) -> Result<Value> {
        let view = self.container(name)?;
        let surroundings = self.surroundings(&view.record, size)?;
        Ok(document(&view, &surroundings))
    }

    fn surroundings(&self, record: &ContainerRecord, size: bool) -> Result<Surroundings> {
        let (paths, id) = (self.store.paths(), record.id.as_str());
        Ok(Surroundings {
            resolv_conf: paths.container_resolv_conf(id),
            hostname: paths.container_hostname(id),
            hosts: paths.container_hosts(id),
            // Docker's empty path where there is no log.
            log: match record.request.log {
                LogDriver::JsonFile | LogDriver::K8sFile => self.log_path(record),
                LogDriver::Journald | LogDriver::None => PathBuf::new(),
            },
            layers: record.layers.iter().map(|layer| paths.layer_fs(layer)).collect(),
            upper: paths.container_upper(id),
            work: paths.container_work(id),
            size: if size { Some(self.container_size(record)?) } else { None },
            restarts: self.store.read_restart(id)?.unwrap_or_default().count,
            health: if record.health.is_some() { self.store.read_health(id)? } else { None },
            checkpoint: self.usual_checkpoint(id)?,
        })
    }
}

/// The whole document.
fn document(view: &ContainerView, around: &Surroundings) -> Value {
    let record = &view.record;
    let labels = crate::selinux::labels(record);
    let mut document = json!({
        "Id": record.id,
        "Created": record.created,
        "Path": record.args.first().map_or("", String::as_str),
        "Args": record.args.get(1..).unwrap_or_default(),
        "State": state::document(view, around),
        "Image": record.image_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        "ResolvConfPath": around.resolv_conf,
        "HostnamePath": around.hostname,
        "HostsPath": around.hosts,
        "LogPath": around.log,
        "Name": format!("/{}", record.name),
        "RestartCount": around.restarts,
        "Driver": DRIVER,
        "Platform": "linux",
        "MountLabel": labels.as_ref().map_or("", |labels| labels.mount.as_str()),
        "ProcessLabel": labels.as_ref().map_or("", |labels| labels.process.as_str()),
        "AppArmorProfile": record.request.security.apparmor.as_deref().unwrap_or_default(),
        "ExecIDs": null,
        "HostConfig": host_config::document(record),
        "GraphDriver": graph_driver(record, around),
    });
    // `json!` gave an object; indexing adds a key at its end.
    if let Some(size) = around.size {
        document["SizeRw"] = json!(size.writable_bytes);
        document["SizeRootFs"] = json!(size.total_bytes);
    }
    document["Mounts"] = record.mounts.iter().map(mount).collect();
    document["Config"] = config(record);
    document["NetworkSettings"] = network_settings::document(view);
    document
}

/// `GraphDriver`: with `--rootfs` there is only the directory itself.
fn graph_driver(record: &ContainerRecord, around: &Surroundings) -> Value {
    if let Some(rootfs) = &record.request.rootfs {
        return json!({"Data": {"MergedDir": rootfs}, "Name": "rootfs"});
    }
    let mut data = Map::new();
    data.insert("ID".into(), json!(record.id));
    if !around.layers.is_empty() {
        // Topmost first, as overlay's option has it.
        let lowers: Vec<_> = around.layers.iter().rev().map(|path| path.to_string_lossy()).collect();
        data.insert("LowerDir".into(), json!(lowers.join(":")));
    }
    data.insert("UpperDir".into(), json!(around.upper));
    data.insert("WorkDir".into(), json!(around.work));
    json!({"Data": data, "Name": DRIVER})
}

/// An element of `Mounts`.
fn mount(mount: &MountRecord) -> Value {
    let request = &mount.request;
    let mut point = Map::new();
    point.insert("Type".into(), json!(request.kind));
    if request.kind == MountKind::Volume {
        point.insert("Name".into(), json!(mount.volume));
    }
    let source = match request.kind {
        MountKind::Bind | MountKind::Volume => mount.host_path.as_path(),
        MountKind::Image => Path::new(&request.source),
        _ => Path::new(""),
    };
    point.insert("Source".into(), json!(source));
    point.insert("Destination".into(), json!(request.target));
    if request.kind == MountKind::Volume {
        point.insert("Driver".into(), json!("local"));
    }
    let by_volume_flag = request.create_source && request.kind != MountKind::Tmpfs;
    let mode = if by_volume_flag && request.read_only { "ro" } else { "" };
    point.insert("Mode".into(), json!(mode));
    point.insert("RW".into(), json!(!request.read_only));
    let propagation = match request.kind {
        MountKind::Bind => request.propagation.as_deref().unwrap_or("rprivate"),
        _ => "",
    };
    point.insert("Propagation".into(), json!(propagation));
    Value::Object(point)
}

/// `Config`: what of the container does not depend on the host.
fn config(record: &ContainerRecord) -> Value {
    let request = &record.request;
    let mut config = json!({
        "Hostname": record.hostname,
        "Domainname": request.domainname.as_deref().unwrap_or_default(),
        "User": record.user,
        "AttachStdin": request.interactive && !request.detach,
        "AttachStdout": !request.detach,
        "AttachStderr": !request.detach,
    });
    if !record.exposed.is_empty() {
        config["ExposedPorts"] = keys(record.exposed.iter().map(String::as_str));
    }
    let volumes: Vec<&str> = record
        .mounts
        .iter()
        .filter(|mount| mount.anonymous)
        .map(|mount| mount.request.target.as_str())
        .collect();
    config["Tty"] = json!(request.tty);
    config["OpenStdin"] = json!(request.interactive);
    config["StdinOnce"] = json!(request.interactive && !request.detach);
    config["Env"] = json!(record.env);
    config["Cmd"] = list_or_null(&record.cmd);
    if let Some(check) = &record.health {
        config["Healthcheck"] = json!(check);
    }
    config["Image"] = json!(if request.image.is_empty() { &record.image_name } else { &request.image });
    config["Volumes"] = if volumes.is_empty() { Value::Null } else { keys(volumes.into_iter()) };
    config["WorkingDir"] = json!(record.workdir);
    config["Entrypoint"] = list_or_null(&record.entrypoint);
    config["OnBuild"] = Value::Null;
    config["Labels"] = json!(record.labels);
    if let Some(signal) = &record.stop_signal_given {
        config["StopSignal"] = json!(signal);
    }
    if let Some(seconds) = request.stop_timeout_secs {
        config["StopTimeout"] = json!(seconds);
    }
    if !record.shell.is_empty() {
        config["Shell"] = json!(record.shell);
    }
    config
}

/// Docker's sets: an object whose values are empty objects.
fn keys<'a>(names: impl Iterator<Item = &'a str>) -> Value {
    Value::Object(names.map(|name| (name.to_owned(), json!({}))).collect())
}

/// Go prints a nil slice as null.
fn list_or_null(list: &[String]) -> Value {
    if list.is_empty() { Value::Null } else { json!(list) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use cais_oci::Digest;

    use super::*;
    use crate::view::State;
    use crate::{
        ContainerRequest, ExitRecord, MountRequest, NetworkRequest, PortRequest, Protocol, PublishedPort,
        RunFacts, SeccompRequest, Ulimit,
    };

    fn record() -> ContainerRecord {
        ContainerRecord {
            id: "ab".repeat(32),
            name: "web".into(),
            created: "2026-11-20T10:00:00.000000001Z".into(),
            request: ContainerRequest { image: "busybox".into(), ..ContainerRequest::default() },
            image_id: Some(Digest::sha256(b"config")),
            image_name: "docker.io/library/busybox:latest".into(),
            layers: vec![Digest::sha256(b"bottom"), Digest::sha256(b"top")],
            args: vec!["/entry".into(), "a".into(), "b".into()],
            entrypoint: vec!["/entry".into()],
            cmd: vec!["a".into(), "b".into()],
            env: vec!["PATH=/bin".into()],
            workdir: "/".into(),
            user: String::new(),
            labels: BTreeMap::from([("k".into(), "v".into())]),
            stop_signal: 15,
            stop_signal_given: None,
            mounts: Vec::new(),
            exposed: vec!["80/tcp".into(), "90/udp".into()],
            network: NetworkRequest::Bridge,
            hostname: "abababababab".into(),
            health: None,
            ..ContainerRecord::default()
        }
    }

    fn view(state: State) -> ContainerView {
        let run = RunFacts {
            started: "2026-11-20T10:00:01.000000000Z".into(),
            shim_pid: 10,
            pid: 11,
            ip: Some("10.88.0.2".parse().unwrap()),
            gateway: Some("10.88.0.1".parse().unwrap()),
            prefix: 16,
            mac: "02:42:0a:58:00:02".into(),
            host_link: "vcab".into(),
            ports: vec![PublishedPort {
                host_ip: None,
                host_port: 8080,
                container_port: 80,
                protocol: Protocol::Tcp,
            }],
            ..RunFacts::default()
        };
        let exit = ExitRecord {
            code: 137,
            signal: 9,
            finished: "2026-11-20T10:00:02.000000000Z".into(),
            oom_killed: true,
            started: run.started.clone(),
            ..ExitRecord::default()
        };
        let alive = matches!(state, State::Running | State::Paused);
        ContainerView {
            record: record(),
            state,
            run: (alive || state == State::Dead).then_some(run),
            exit: (state == State::Exited).then_some(exit),
            size_bytes: None,
            oom: None,
            health: None,
        }
    }

    fn inspect(view: &ContainerView) -> Value {
        let layers = vec!["/l/bottom".into(), "/l/top".into()];
        document(view, &Surroundings { layers, upper: "/c/upper".into(), ..Surroundings::default() })
    }

    fn key_list(value: &Value) -> String {
        value.as_object().unwrap().keys().map(String::as_str).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn keys_are_docker_s_in_docker_s_order() {
        let document = inspect(&view(State::Running));
        assert_eq!(
            key_list(&document),
            "Id Created Path Args State Image ResolvConfPath HostnamePath HostsPath LogPath Name RestartCount Driver \
             Platform MountLabel ProcessLabel AppArmorProfile ExecIDs HostConfig GraphDriver Mounts Config \
             NetworkSettings"
        );
        assert_eq!(
            key_list(&document["State"]),
            "Status Running Paused Restarting OOMKilled Dead Pid ExitCode Error StartedAt FinishedAt Checkpointed \
             CheckpointedAt Restored RestoredAt"
        );
        assert_eq!(
            key_list(&document["HostConfig"]),
            "Binds ContainerIDFile LogConfig NetworkMode PortBindings RestartPolicy AutoRemove VolumeDriver \
             VolumesFrom ConsoleSize CapAdd CapDrop CgroupnsMode Dns DnsOptions DnsSearch ExtraHosts GroupAdd IpcMode \
             Cgroup Links OomScoreAdj PidMode Privileged PublishAllPorts ReadonlyRootfs SecurityOpt UTSMode UsernsMode \
             ShmSize Runtime Isolation CpuShares Memory NanoCpus CgroupParent BlkioWeight BlkioWeightDevice \
             BlkioDeviceReadBps BlkioDeviceWriteBps BlkioDeviceReadIOps BlkioDeviceWriteIOps CpuPeriod CpuQuota \
             CpuRealtimePeriod CpuRealtimeRuntime CpusetCpus CpusetMems Devices DeviceCgroupRules DeviceRequests \
             MemoryReservation MemorySwap MemorySwappiness OomKillDisable PidsLimit Ulimits CpuCount CpuPercent \
             IOMaximumIOps IOMaximumBandwidth MaskedPaths ReadonlyPaths"
        );
        assert_eq!(
            key_list(&document["Config"]),
            "Hostname Domainname User AttachStdin AttachStdout AttachStderr ExposedPorts Tty OpenStdin StdinOnce Env \
             Cmd Image Volumes WorkingDir Entrypoint OnBuild Labels"
        );
        assert_eq!(
            key_list(&document["NetworkSettings"]),
            "Bridge SandboxID SandboxKey Ports HairpinMode LinkLocalIPv6Address LinkLocalIPv6PrefixLen \
             SecondaryIPAddresses SecondaryIPv6Addresses EndpointID Gateway GlobalIPv6Address GlobalIPv6PrefixLen \
             IPAddress IPPrefixLen IPv6Gateway MacAddress Networks"
        );
    }

    #[test]
    fn a_running_container() {
        let document = inspect(&view(State::Running));
        assert_eq!(document["Path"], "/entry");
        assert_eq!(document["Args"], json!(["a", "b"]));
        assert_eq!(document["Name"], "/web");
        assert_eq!(document["State"]["Status"], "running");
        assert_eq!(document["State"]["Pid"], 11);
        assert_eq!(document["State"]["FinishedAt"], NO_TIME);
        assert_eq!(document["GraphDriver"]["Data"]["LowerDir"], "/l/top:/l/bottom");
        let network = &document["NetworkSettings"];
        assert_eq!(network["IPAddress"], "10.88.0.2");
        assert_eq!(network["Networks"]["bridge"]["IPPrefixLen"], 16);
        assert_eq!(
            network["Ports"],
            json!({"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "90/udp": null})
        );
        assert_eq!(inspect(&view(State::Paused))["State"]["Running"], true);
    }

    #[test]
    fn containers_that_do_not_run() {
        let document = inspect(&view(State::Exited));
        assert_eq!(document["State"]["ExitCode"], 137);
        assert_eq!(document["State"]["OOMKilled"], true);
        assert_eq!(document["State"]["StartedAt"], "2026-11-20T10:00:01.000000000Z");
        assert_eq!(document["State"]["FinishedAt"], "2026-11-20T10:00:02.000000000Z");
        assert_eq!(document["NetworkSettings"]["Ports"], json!({}));
        assert_eq!(document["NetworkSettings"]["IPAddress"], "");
        let document = inspect(&view(State::Created));
        assert_eq!(document["State"]["Status"], "created");
        assert_eq!(document["State"]["StartedAt"], NO_TIME);
        let document = inspect(&view(State::Dead));
        assert_eq!(document["State"]["Dead"], true);
        assert_eq!(document["State"]["ExitCode"], 255);
        assert_eq!(document["State"]["Pid"], 0);
    }

    #[test]
    fn what_was_asked_is_shown_in_docker_s_words() {
        let mut view = view(State::Created);
        let bind = MountRequest {
            kind: MountKind::Bind,
            source: "/src".into(),
            target: "/dst".into(),
            read_only: true,
            create_source: true,
            ..MountRequest::default()
        };
        let volume = MountRequest { source: "vol".into(), target: "/vol".into(), ..MountRequest::default() };
        let tmpfs = MountRequest {
            kind: MountKind::Tmpfs,
            target: "/run".into(),
            tmpfs_size_bytes: Some(4096),
            tmpfs_mode: Some(0o755),
            options: vec!["noexec".into()],
            ..MountRequest::default()
        };
        view.record.request = ContainerRequest {
            image: "busybox".into(),
            cap_add: vec!["net_admin".into(), "all".into()],
            devices: vec![
                "/dev/a".into(),
                "/dev/a:/dev/b".into(),
                "/dev/a:r".into(),
                "/dev/a:/dev/b:rw".into(),
            ],
            mounts: vec![bind.clone(), volume.clone(), tmpfs],
            publish: vec![PortRequest {
                host_ip: Some("127.0.0.1".parse().unwrap()),
                host_port: None,
                container_port: 80,
                protocol: Protocol::Tcp,
            }],
            ulimits: vec![Ulimit { name: "nofile".into(), soft: 1, hard: 2 }],
            add_hosts: vec![("h".into(), "1.2.3.4".into())],
            init: true,
            ..ContainerRequest::default()
        };
        view.record.stop_signal_given = Some("SIGQUIT".into());
        view.record.request.security.seccomp = SeccompRequest::Unconfined;
        view.record.request.resources.memory_bytes = Some(1000);
        view.record.mounts = vec![
            MountRecord { request: bind, host_path: "/src".into(), ..MountRecord::default() },
            MountRecord {
                request: volume,
                volume: "vol".into(),
                host_path: "/volumes/vol/_data".into(),
                ..MountRecord::default()
            },
        ];
        let document = inspect(&view);
        let host = &document["HostConfig"];
        assert_eq!(host["Binds"], json!(["/src:/dst:ro"]));
        assert_eq!(host["Mounts"], json!([{"Type": "volume", "Source": "vol", "Target": "/vol"}]));
        assert_eq!(host["Tmpfs"], json!({"/run": "noexec,size=4096,mode=755"}));
        assert_eq!(host["CapAdd"], json!(["CAP_NET_ADMIN", "ALL"]));
        assert_eq!(host["CapDrop"], Value::Null);
        assert_eq!(host["PortBindings"], json!({"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}));
        let device = |inside: &str, access: &str| json!({"PathOnHost": "/dev/a", "PathInContainer": inside, "CgroupPermissions": access});
        assert_eq!(
            host["Devices"],
            json!([
                device("/dev/a", "rwm"),
                device("/dev/b", "rwm"),
                device("/dev/a", "r"),
                device("/dev/b", "rw")
            ])
        );
        assert_eq!(host["Ulimits"], json!([{"Name": "nofile", "Hard": 2, "Soft": 1}]));
        assert_eq!(host["ExtraHosts"], json!(["h:1.2.3.4"]));
        assert_eq!(host["SecurityOpt"], json!(["seccomp=unconfined"]));
        assert_eq!((&host["Memory"], &host["MemorySwap"]), (&json!(1000), &json!(2000)));
        assert_eq!(host["Init"], true);
        assert_eq!(document["Config"]["StopSignal"], "SIGQUIT");
        assert_eq!(
            document["Mounts"],
            json!([
                {"Type": "bind", "Source": "/src", "Destination": "/dst", "Mode": "ro", "RW": false,
                 "Propagation": "rprivate"},
                {"Type": "volume", "Name": "vol", "Source": "/volumes/vol/_data", "Destination": "/vol",
                 "Driver": "local", "Mode": "", "RW": true, "Propagation": ""},
            ])
        );
    }
}
