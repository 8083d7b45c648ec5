//! Tests: tests.

mod launch;

use std::io;
use std::net::IpAddr;
use std::path::Path;

use cais_engine::{
    ContainerRequest, DeviceLimitKind, DeviceLimitRequest, ImageVolumes, IpcRequest, LogDriver, MountKind,
    MountRequest, NamespaceRequest, NamespaceSource, NetworkRequest, PortRequest, Protocol, PullPolicy,
    ResourceRequest, RestartPolicy, SeccompRequest, SecurityRequest, Ulimit,
};

use super::{Caller, absolute, convert};
use crate::container_args::ContainerArgs;
use crate::failure::Codes;
use crate::parse::{Parsed, read as read_args};
use crate::spec::Spec;

const SPEC: Spec = Spec {
    names: &["run"],
    usage: "IMAGE",
    about: "",
    examples: &[],
    codes: Codes::Program,
    needs_ids: false,
    refused: crate::refused::CONTAINER,
    main: |_, _| Ok(0),
};

fn read(path: &Path) -> io::Result<Vec<u8>> {
    match path.to_str() {
        Some("env") => Ok("\u{feff}# comment\n  A=1 \nHOST\nMISSING\n\nB=x=y\n".into()),
        Some("bad-env") => Ok(b"A B=1".to_vec()),
        Some("no-name") => Ok(b"=1".to_vec()),
        Some("latin") => Ok(vec![b'A', b'=', 0xe9]),
        Some("labels") => Ok(b"one=1\ntwo\n".to_vec()),
        Some("profile.json") => Ok(b"{\"defaultAction\":\"SCMP_ACT_ALLOW\"}".to_vec()),
        Some("broken.json") => Ok(b"{".to_vec()),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

fn request(line: &[&str]) -> Result<ContainerRequest, String> {
    let caller = Caller {
        env: &|name| (name == "HOST").then(|| "host-value".to_owned()),
        all: &|| vec![("HOST".into(), "host-value".into()), ("http_proxy".into(), "http://p".into())],
        read: &read,
        directory: Path::new("/here"),
        default_platform: None,
    };
    let argv = line.iter().chain(&["img"]).map(Into::into).collect();
    let args = match read_args::<ContainerArgs>(&SPEC, argv) {
        Ok(Parsed::Args(args)) => args,
        Ok(Parsed::Help(text)) => return Err(text),
        Err(failure) => return Err(failure.message),
    };
    convert(&args, &caller).map(|found| found.request).map_err(|failure| failure.message)
}

fn expect(line: &[&str], change: impl FnOnce(&mut ContainerRequest)) {
    let mut expected = ContainerRequest { image: "img".into(), ..ContainerRequest::default() };
    change(&mut expected);
    assert_eq!(request(line), Ok(expected), "{line:?}");
}

fn refuse(line: &[&str], part: &str) {
    let message = request(line).expect_err(&format!("{line:?}"));
    assert!(message.contains(part), "{line:?}: {message}");
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|&text| text.to_owned()).collect()
}

#[test]
fn plain_flags() {
    expect(&[], |_| {});
    expect(&["-it", "--rm", "--name", "/web"], |r| {
        (r.tty, r.interactive, r.auto_remove, r.name) = (true, true, true, Some("web".into()));
    });
    expect(&["-w", "/a", "-u", "1:2", "--group-add", "x", "-h", "quay", "--domainname", "d"], |r| {
        r.workdir = Some("/a".into());
        r.user = Some("1:2".into());
        r.group_add = texts(&["x"]);
        r.hostname = Some("quay".into());
        r.domainname = Some("d".into());
    });
    expect(&["--entrypoint", ""], |r| r.entrypoint = Some(vec![]));
    expect(&["--entrypoint", "/bin/a b"], |r| r.entrypoint = Some(texts(&["/bin/a b"])));
    expect(&["--read-only", "--privileged", "--init", "-P"], |r| {
        (r.read_only, r.privileged, r.init, r.publish_all) = (true, true, true, true);
    });
    expect(&["--stop-signal", "SIGINT", "--stop-timeout", "-1", "--pull", "never"], |r| {
        (r.stop_signal, r.stop_timeout_secs, r.pull) = (Some("SIGINT".into()), Some(-1), PullPolicy::Never);
    });
    expect(&["--platform", "linux/arm64", "--cidfile", "a/../id"], |r| {
        (r.platform, r.cidfile) = (Some("linux/arm64".into()), Some("/here/id".into()));
    });
    expect(&["--rootfs", "dir/./x"], |r| {
        r.image = String::new();
        r.rootfs = Some("/here/dir/x".into());
        r.command = texts(&["img"]);
    });
    expect(&["other", "-x", "--rm", "--"], |r| {
        r.image = "other".into();
        r.command = texts(&["-x", "--rm", "--", "img"]);
    });
    expect(&["--log-driver", "json-file", "--name", ""], |_| {});
    expect(&["--log-driver", "local"], |r| r.log = LogDriver::K8sFile);
    expect(&["--log-driver", "none"], |r| r.log = LogDriver::None);
    expect(&["--log-driver", "journald"], |r| r.log = LogDriver::Journald);
    refuse(&["--log-driver", "syslog"], "--log-driver syslog");
    refuse(&["--log-opt", "mode=non-blocking"], "never dropped");
    refuse(&["--pull", "newer"], "--pull");
    refuse(&["--platform", "a/b/c/d"], "--platform");
    expect(&["--restart", "always"], |r| r.restart = RestartPolicy::Always);
    refuse(&["--restart", "always", "--rm"], "cannot specify both --restart and --rm");
    refuse(&["--restart", "sometimes"], "--restart: unknown policy");
    refuse(&["--gpus=all"], "--gpus");
    refuse(&[""], "name of the image is empty");
}

#[test]
fn environment_and_labels() {
    expect(&["-e", "A=1", "-e", "HOST", "-e", "MISSING", "-e", "B=", "-e", "A=2"], |r| {
        r.env = texts(&["A=2", "HOST=host-value", "B="]);
    });
    expect(&["--env-file", "env", "-e", "B=flag"], |r| {
        r.env = texts(&["A=1 ", "HOST=host-value", "B=flag"]);
    });
    expect(&["-l", "a=b=c", "-l", "x", "--label-file", "labels"], |r| {
        let pairs = [("a", "b=c"), ("x", ""), ("one", "1"), ("two", "")];
        r.labels = pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    });
    refuse(&["-e", "=x"], "--env: no variable name");
    refuse(&["-e", ""], "--env: the name of a variable is empty");
    refuse(&["--env-file", "none"], "--env-file none: ");
    refuse(&["--env-file", "bad-env"], "holds blanks");
    refuse(&["--env-file", "no-name"], "no variable name on line 1");
    refuse(&["--env-file", "latin"], "not valid UTF-8");
    refuse(&["-l", "=x"], "--label");
}

fn mount(kind: MountKind, source: &str, target: &str) -> MountRequest {
    MountRequest { kind, source: source.into(), target: target.into(), ..MountRequest::default() }
}

#[test]
fn volumes() {
    let v = |source: &str, target: &str| MountRequest {
        create_source: true,
        ..mount(MountKind::Volume, source, target)
    };
    let b = |source: &str, target: &str| MountRequest {
        create_source: true,
        ..mount(MountKind::Bind, source, target)
    };
    let cases = [
        ("/data", v("", "/data")),
        ("vol:/data", v("vol", "/data")),
        ("vol:/data:nocopy,ro", MountRequest { no_copy: true, read_only: true, ..v("vol", "/data") }),
        ("/a:/b", b("/a", "/b")),
        ("/:/host", b("/", "/host")),
        ("/a/../c:/b/", b("/c", "/b")),
        ("./x:/b:rw,z,cached", b("/here/x", "/b")),
        (".:/b", b("/here", "/b")),
        (
            "..:/b:ro,rslave",
            MountRequest { read_only: true, propagation: Some("rslave".into()), ..b("/", "/b") },
        ),
    ];
    for (text, expected) in cases {
        expect(&["-v", text], |r| r.mounts = vec![expected]);
    }
    let refused = [
        ("vol", "must be absolute"),
        ("x/y:/b", "invalid characters"),
        ("~/x:/b", "invalid characters"),
        ("v:/b", "invalid characters"),
        ("vol:b", "must be absolute"),
        ("vol:/", "root"),
        (":/b", "expected source:target"),
        ("a:/b:c:d", "too many colons"),
        ("/a:/b:ro,rw", "exclude"),
        ("/a:/b:fast", "invalid mode: fast"),
        ("/a:/b:nocopy", "is for volumes"),
        ("vol:/b:shared", "not for volumes"),
        ("/a:/b:shared,slave", "more than one"),
        ("/a:/b:U,idmap", "exclude each other"),
        ("/a:/b:idmap=x", "expected idmap="),
        ("", "must be absolute"),
    ];
    for (text, part) in refused {
        refuse(&["-v", text], part);
    }
    refuse(&["-v", "/a:/b", "--tmpfs", "/b/"], "duplicate mount point: /b");
}

#[test]
fn mounts_and_tmpfs() {
    let cases = [
        (
            "type=bind,src=/a,dst=/b,ro",
            MountRequest { read_only: true, ..mount(MountKind::Bind, "/a", "/b") },
        ),
        ("type=bind,source=./a,target=/b,readonly=false", mount(MountKind::Bind, "/here/a", "/b")),
        (
            "type=bind,src=/a,destination=/b,bind-propagation=rshared,bind-nonrecursive",
            MountRequest {
                propagation: Some("rshared".into()),
                non_recursive: true,
                ..mount(MountKind::Bind, "/a", "/b")
            },
        ),
        ("target=/b", mount(MountKind::Volume, "", "/b")),
        (
            "src=vol,target=/b,volume-nocopy=true",
            MountRequest { no_copy: true, ..mount(MountKind::Volume, "vol", "/b") },
        ),
        (
            "tmpfs-size=1m,tmpfs-mode=700,type=tmpfs,target=/b",
            MountRequest {
                tmpfs_size_bytes: Some(1 << 20),
                tmpfs_mode: Some(0o700),
                ..mount(MountKind::Tmpfs, "", "/b")
            },
        ),
        (
            "type=image,src=i,dst=/b,subpath=a/b",
            MountRequest {
                read_only: true,
                subpath: Some("a/b".into()),
                ..mount(MountKind::Image, "i", "/b")
            },
        ),
        (
            "dst=/b,volume-opt=type=tmpfs,volume-label=x",
            MountRequest {
                volume_labels: [("x".to_owned(), String::new())].into(),
                volume_options: [("type".to_owned(), "tmpfs".to_owned())].into(),
                ..mount(MountKind::Volume, "", "/b")
            },
        ),
        ("type=bind,\"src=/a,b\"\"c\",dst=/b", mount(MountKind::Bind, "/a,b\"c", "/b")),
    ];
    for (text, expected) in cases {
        expect(&["--mount", text], |r| r.mounts = vec![expected]);
    }
    let refused = [
        ("type=bind,dst=/b", "source is required"),
        ("type=bind,src=/a", "target is required"),
        ("type=bind,src=a,dst=/b", "must be absolute"),
        ("type=tmpfs,src=/a,dst=/b", "no source"),
        ("type=glob,src=a,dst=/b", "not supported yet"),
        ("dst=/b,volume-subpath=../a", "within the volume"),
        ("type=bind,src=/a,dst=/b,bind-recursive=writable", "need readonly"),
        ("dst=/b,volume-opt==x", "KEY=VALUE"),
        ("type=nope,dst=/b", "unknown type"),
        ("type=bind,src=/a,dst=/b,volume-nocopy", "type volume"),
        ("type=bind,src=/a,dst=/b,ro=maybe", "true or false"),
        ("type=bind,src=/a,dst=/b,color=red", "unexpected key"),
        ("type=bind,src,dst=/b", "must be key=value"),
        ("src=/a,dst=/b", "add type=bind"),
        ("", "empty"),
        ("type=tmpfs,dst=/b,tmpfs-mode=9", "octal"),
        ("type=bind,\"src=/a", "unbalanced"),
    ];
    for (text, part) in refused {
        refuse(&["--mount", text], part);
    }
    expect(&["--tmpfs", "/run:rw,noexec,size=64k,mode=1770,uid=5"], |r| {
        r.mounts = vec![MountRequest {
            tmpfs_size_bytes: Some(65_536),
            tmpfs_mode: Some(0o1770),
            options: texts(&["noexec", "uid=5"]),
            ..mount(MountKind::Tmpfs, "", "/run")
        }];
    });
    refuse(&["--tmpfs", "/run:colour"], "unknown option");
}

fn port(host: Option<u16>, container: u16) -> PortRequest {
    PortRequest { host_ip: None, host_port: host, container_port: container, protocol: Protocol::Tcp }
}

#[test]
fn ports() {
    let lo: Option<IpAddr> = Some([127, 0, 0, 1].into());
    let cases = [
        ("80", vec![port(None, 80)]),
        ("8080:80", vec![port(Some(8080), 80)]),
        ("0:80", vec![port(None, 80)]),
        ("53:53/udp", vec![PortRequest { protocol: Protocol::Udp, ..port(Some(53), 53) }]),
        ("127.0.0.1:8080:80/TCP", vec![PortRequest { host_ip: lo, ..port(Some(8080), 80) }]),
        ("127.0.0.1::80", vec![PortRequest { host_ip: lo, ..port(None, 80) }]),
        ("0.0.0.0:8080:80", vec![port(Some(8080), 80)]),
        ("8000-8001:80-81", vec![port(Some(8000), 80), port(Some(8001), 81)]),
        ("80-81", vec![port(None, 80), port(None, 81)]),
        ("65535:65535", vec![port(Some(65535), 65535)]),
    ];
    for (text, expected) in cases {
        expect(&["-p", text], |r| r.publish = expected);
    }
    let refused = [
        ("", "missing"),
        ("80:", "missing"),
        ("x", "not a port"),
        ("0", "not a port"),
        ("+1:80", "not a port"),
        ("80:65536", "not a port"),
        ("80/sctp", "SCTP"),
        ("80/x", "unknown protocol"),
        ("[::1]:80:80", "IPv6"),
        ("::1:80:80", "IPv6"),
        ("localhost:80:80", "not an IP address"),
        ("80-81:80", "range of host ports"),
        ("80-81:80-83", "differ in length"),
        ("81-80:81-80", "ends before"),
    ];
    for (text, part) in refused {
        refuse(&["-p", text], part);
    }
    expect(&["--expose", "80", "--expose", "90-91/udp"], |r| {
        r.expose = texts(&["80/tcp", "90/udp", "91/udp"])
    });
    refuse(&["--expose", "80:80"], "use -p");
}

#[test]
fn networks() {
    for (text, expected) in [
        ("none", NetworkRequest::None),
        ("host", NetworkRequest::Host),
        ("bridge", NetworkRequest::Bridge),
        ("default", NetworkRequest::Default),
        ("pasta", NetworkRequest::Pasta),
        ("container:web", NetworkRequest::Container("web".into())),
    ] {
        expect(&["--net", text], |r| r.network = expected.clone());
        expect(&["--network", text], |r| r.network = expected);
    }
    refuse(&["--network", "mynet"], "network mynet not found");
    refuse(&["--network", "container:"], "missing");
    refuse(&["--network", "bridge,ip=1"], "options of a network");
    refuse(&["--network", "none", "--network", "host"], "several networks");
    refuse(&["--network", "container:x", "-p", "80"], "conflicting options: --publish");
    refuse(&["--network", "container:x", "--hostname", "a"], "conflicting options: --hostname");
    expect(&["--dns", "1.1.1.1", "--dns-search", ".", "--dns-opt", "ndots:1"], |r| {
        r.dns = vec![[1, 1, 1, 1].into()];
        r.dns_search = texts(&["."]);
        r.dns_options = texts(&["ndots:1"]);
    });
    expect(&["--add-host", "a:1.2.3.4", "--add-host", "b=host-gateway", "--add-host", "c:[::1]"], |r| {
        let pairs = [("a", "1.2.3.4"), ("b", "host-gateway"), ("c", "::1")];
        r.add_hosts = pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    });
    refuse(&["--dns", "example"], "--dns: ");
    refuse(&["--add-host", "a:b"], "not an IP address");
    refuse(&["--add-host", "a"], "expected name:address");
}

#[test]
fn limits() {
    expect(&["-m", "512m", "--memory-swap", "-1", "--cpus", "1.5", "--pids-limit", "-1"], |r| {
        r.resources = ResourceRequest {
            memory_bytes: Some(512 << 20),
            memory_swap_bytes: Some(-1),
            nano_cpus: Some(1_500_000_000),
            pids_limit: Some(-1),
            ..ResourceRequest::default()
        };
    });
    expect(
        &[
            "-c",
            "512",
            "--cpu-quota",
            "5000",
            "--cpu-period",
            "10000",
            "--cpuset-cpus",
            "0-1",
            "--cpuset-mems",
            "0",
        ],
        |r| {
            r.resources = ResourceRequest {
                cpu_shares: Some(512),
                cpu_quota_us: Some(5000),
                cpu_period_us: Some(10_000),
                cpuset_cpus: Some("0-1".into()),
                cpuset_mems: Some("0".into()),
                ..ResourceRequest::default()
            };
        },
    );
    expect(&["--memory-swappiness", "-1", "--blkio-weight", "0", "--cpus", "0", "--pids-limit", "0"], |r| {
        r.resources.pids_limit = Some(-1);
    });
    expect(
        &["--shm-size", "1m", "--oom-score-adj", "-5", "--oom-kill-disable", "--memory-reservation", "1k"],
        |r| {
            r.shm_size_bytes = Some(1 << 20);
            r.resources.oom_score_adj = Some(-5);
            r.resources.oom_kill_disable = true;
            r.resources.memory_reservation_bytes = Some(1024);
        },
    );
    let limit = |name: &str, soft, hard| Ulimit { name: name.into(), soft, hard };
    expect(
        &["--ulimit", "nofile=10:20", "--ulimit", "core=-1", "--ulimit", "nproc=5", "--ulimit", "nproc=6"],
        |r| {
            r.ulimits = vec![limit("nofile", 10, 20), limit("core", -1, -1), limit("nproc", 6, 6)];
        },
    );
    expect(&["--sysctl", "a.b=c=d"], |r| r.sysctls = [("a.b".to_owned(), "c=d".to_owned())].into());
    refuse(&["-m", "12x"], "--memory: invalid size");
    refuse(&["--memory-swap", "1g"], "needs --memory");
    refuse(&["-m", "2g", "--memory-swap", "1g"], "must not be less");
    refuse(&["--memory-swappiness", "101"], "not between -1 and 100");
    refuse(&["--blkio-weight", "5"], "not between 10 and 1000");
    refuse(&["--oom-score-adj", "2000"], "--oom-score-adj");
    refuse(&["--cpus", "1", "--cpu-quota", "5"], "conflicting options");
    refuse(&["--cpus", "x"], "--cpus: ");
    expect(&["--ulimit", "host"], |_| {});
    refuse(&["--ulimit", "nofile"], "expected name=soft");
    refuse(&["--ulimit", "files=1"], "unknown limit");
    refuse(&["--ulimit", "nofile=2:1"], "greater than the hard limit");
    refuse(&["--ulimit", "nofile=x"], "not a limit");
    refuse(&["--sysctl", "x"], "expected name=value");
}

#[test]
fn security() {
    let s = |change: fn(&mut SecurityRequest)| move |r: &mut ContainerRequest| change(&mut r.security);
    expect(&["--security-opt", "seccomp=unconfined"], s(|s| s.seccomp = SeccompRequest::Unconfined));
    expect(&["--security-opt", "seccomp:unconfined"], s(|s| s.seccomp = SeccompRequest::Unconfined));
    expect(&["--security-opt", "seccomp=builtin"], s(|_| {}));
    expect(
        &["--security-opt", "seccomp=profile.json"],
        s(|s| s.seccomp = SeccompRequest::Profile("{\"defaultAction\":\"SCMP_ACT_ALLOW\"}".into())),
    );
    expect(&["--security-opt", "no-new-privileges"], s(|s| s.no_new_privileges = true));
    expect(&["--security-opt", "no-new-privileges:true"], s(|s| s.no_new_privileges = true));
    expect(&["--security-opt", "no-new-privileges=false"], s(|_| {}));
    expect(
        &["--security-opt", "apparmor=x", "--security-opt", "label=disable"],
        s(|s| {
            (s.apparmor, s.label_disable) = (Some("x".into()), true);
        }),
    );
    expect(&["--security-opt", "systempaths=unconfined"], s(|s| s.unmask = true));
    refuse(&["--security-opt", "seccomp=none.json"], "seccomp profile none.json: ");
    refuse(&["--security-opt", "seccomp=broken.json"], "seccomp profile broken.json: ");
    expect(
        &["--security-opt", "mask=/a:/b", "--security-opt", "unmask=/proc/*", "--security-opt", "unmask=ALL"],
        s(|s| (s.masked, s.unmasked, s.unmask) = (texts(&["/a", "/b"]), texts(&["/proc/*"]), true)),
    );
    refuse(&["--security-opt", "mask=a"], "not absolute");
    expect(
        &["--security-opt", "label=type:x_t", "--security-opt", "label:level:s0:c1,c2"],
        s(|s| (s.label.kind, s.label.level) = (Some("x_t".into()), Some("s0:c1,c2".into()))),
    );
    for wrong in ["label=type", "label=type:", "label=nested", "label=colour:red"] {
        refuse(&["--security-opt", wrong], "expected label=disable or");
    }
    refuse(&["--security-opt", "x"], "invalid option");
    expect(&["--cap-add", "net_admin,CAP_SYS_TIME", "--cap-drop", "all"], |r| {
        r.cap_add = texts(&["NET_ADMIN", "CAP_SYS_TIME"]);
        r.cap_drop = texts(&["ALL"]);
    });
    expect(
        &["--device", "/dev/a:/dev/b:rw", "--device", "/dev/c:r", "--device-cgroup-rule", "c 10:* rwm"],
        |r| {
            r.devices = texts(&["/dev/a:/dev/b:rw", "/dev/c:r"]);
            r.device_cgroup_rules = texts(&["c 10:* rwm"]);
        },
    );
    refuse(&["--device", "vendor.com/gpu=0"], "CDI");
    refuse(&["--device", "dev/a"], "absolute");
    refuse(&["--device", "/dev/a:/dev/b:x"], "expected /dev/host");
    refuse(&["--device-cgroup-rule", "d 1:1 r"], "invalid rule");
}

#[test]
fn paths_become_absolute_by_their_text() {
    for (path, expected) in
        [("a", "/w/a"), ("../a", "/a"), ("../../..", "/"), ("/x/./y//z/..", "/x/y"), (".", "/w")]
    {
        assert_eq!(absolute(Path::new("/w"), path), Path::new(expected), "{path}");
    }
}
