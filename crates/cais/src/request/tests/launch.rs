//! Flags of the launch: namespaces, environments, limits of devices, what of the image counts.

use super::*;

#[test]
fn namespaces_of_the_host() {
    expect(&["--pid", "host", "--ipc=host", "--uts", "host", "--cgroupns", "host"], |r| {
        let (pid, uts) = (NamespaceSource::Host, NamespaceSource::Host);
        r.namespaces = NamespaceRequest { pid, ipc: IpcRequest::Host, uts, host_cgroup: true };
    });
    expect(&["--pid=private", "--ipc=", "--uts=", "--cgroupns", "private"], |_| {});
    expect(&["--ipc", "none"], |r| r.namespaces.ipc = IpcRequest::None);
    expect(&["--ipc", "shareable"], |r| r.namespaces.ipc = IpcRequest::Shareable);
    expect(&["--ipc", "private"], |r| r.namespaces.ipc = IpcRequest::Private);
    refuse(&["--ipc", "ns:/x"], "--ipc ns:/x: joining");
    refuse(&["--cgroupns", "container:x"], "--cgroupns: invalid value");
    refuse(&["--uts", "odd"], "invalid value \"odd\"");
    refuse(&["--uts", "host", "--hostname", "x"], "conflicting options");
    refuse(&["--ipc", "host", "--shm-size", "1m"], "conflicting options");
    refuse(&["--pid", "host", "--init"], "conflicting options");
}

#[test]
fn namespaces_of_other_containers() {
    let of = |name: &str| NamespaceSource::Container(name.into());
    expect(&["--pid", "container:x", "--ipc=container:y", "--uts", "container:z"], |r| {
        let ipc = IpcRequest::Container("y".into());
        r.namespaces = NamespaceRequest { pid: of("x"), ipc, uts: of("z"), host_cgroup: false };
    });
    refuse(&["--pid", "container:"], "is missing");
    refuse(&["--pid", "container:x", "--init"], "conflicting options: --init and --pid container:x");
    refuse(&["--uts", "container:x", "-h", "y"], "conflicting options: --hostname and --uts container:x");
    refuse(&["--ipc", "container:x", "--shm-size", "1m"], "conflicting options");
}

#[test]
fn environments_of_caller_and_image() {
    expect(&["--env-host", "-e", "HOST=mine"], |r| r.env = texts(&["http_proxy=http://p", "HOST=mine"]));
    expect(&["--http-proxy"], |r| r.env = texts(&["http_proxy=http://p"]));
    expect(&["--http-proxy=false"], |_| {});
    expect(&["--unsetenv", "A", "-e", "A=1"], |r| r.env = texts(&["A", "A=1"]));
    expect(&["--unsetenv-all", "--env-merge", "P=/x:$P"], |r| {
        (r.ignore_image_env, r.env_merge) = (true, texts(&["P=/x:$P"]));
    });
    refuse(&["--unsetenv", "A=1"], "--unsetenv");
    refuse(&["--env-merge", "A"], "--env-merge");
}

#[test]
fn limits_of_devices_and_files() {
    expect(&["--device-read-bps", "/dev/sda:1mb", "--blkio-weight-device", "/dev/sda:300"], |r| {
        let limit = |kind, value| DeviceLimitRequest { kind, path: "/dev/sda".into(), value };
        r.resources.device_limits =
            vec![limit(DeviceLimitKind::Weight, 300), limit(DeviceLimitKind::ReadBps, 1 << 20)];
    });
    expect(&["--cpu-rt-period", "1000", "--cpu-rt-runtime", "500", "--cgroup-conf", "memory.high=1"], |r| {
        (r.resources.cpu_rt_period_us, r.resources.cpu_rt_runtime_us) = (Some(1000), Some(500));
        r.resources.unified = [("memory.high".to_owned(), "1".to_owned())].into();
    });
    refuse(&["--device-read-bps", "sda:1"], "expected /dev/name:value");
    refuse(&["--device-write-iops", "/dev/sda:x"], "is not a number");
    refuse(&["--blkio-weight-device", "/dev/sda:5"], "between 10 and 1000");
    refuse(&["--cgroup-conf", "x"], "--cgroup-conf");
}

#[test]
fn what_else_a_launch_has() {
    expect(&["--umask", "0027", "--personality", "linux32", "--pidfile", "p"], |r| {
        (r.umask, r.personality, r.pidfile) = (Some(0o27), Some(8), Some("/here/p".into()));
    });
    expect(&["--mac-address", "92-D0-C6-0A-29-33"], |r| r.mac_address = Some("92:d0:c6:0a:29:33".into()));
    expect(&["--annotation", "a=b", "--volumes-from", "x:ro", "--no-hosts", "--no-hostname"], |r| {
        r.annotations = [("a".to_owned(), "b".to_owned())].into();
        (r.volumes_from, r.no_hosts, r.no_hostname) = (texts(&["x:ro"]), true, true);
    });
    expect(&["--image-volume", "ignore", "--arch", "arm64", "--variant", "v8"], |r| {
        (r.image_volumes, r.platform) = (ImageVolumes::Ignore, Some("linux/arm64/v8".into()));
    });
    expect(&["--read-only-tmpfs"], |_| {});
    expect(&["--entrypoint", "[\"a\", \"b c\"]"], |r| r.entrypoint = Some(texts(&["a", "b c"])));
    expect(&["--entrypoint", "[x"], |r| r.entrypoint = Some(texts(&["[x"])));
    let tmpfs = |target: &str| MountRequest {
        kind: MountKind::Tmpfs,
        target: target.into(),
        ..MountRequest::default()
    };
    expect(&["--read-only", "--read-only-tmpfs"], |r| {
        (r.read_only, r.mounts) = (true, ["/run", "/tmp", "/var/tmp"].map(tmpfs).to_vec());
    });
    refuse(&["--mac-address", "93:d0:c6:0a:29:33"], "address of a group");
    refuse(&["--mac-address", "x"], "expected six bytes");
    refuse(&["--mac-address", "92:d0:c6:0a:29:33", "--network", "none"], "conflicting options");
    refuse(&["--umask", "9"], "not an octal mode");
    refuse(&["--personality", "bsd"], "LINUX32");
    refuse(&["--tz", "../../etc/shadow"], "no time zone");
    refuse(&["--tz", "No/Where"], "--tz No/Where");
    refuse(&["--volumes-from", "x:odd"], "--volumes-from");
}
