//! Networks: bridge, none, host, `container:ID`, published ports, resolver and hosts files.

use std::io::{Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use cais_test::isolation::HOST_ADDRESS;
use cais_test::{Cais, e2e, skip};

/// A container that answers every connection on port 80 with its host name.
fn serve(cais: &Cais, name: &str, flags: &str) {
    cais.cmd("run -d --name")
        .arg(name)
        .arg("--hostname")
        .arg(name)
        .args(flags)
        .args("busybox nc -ll -p 80 -e hostname")
        .ok();
}

fn answer(cais: &Cais, address: &str) -> String {
    let mut stream = cais.connect(address);
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.trim().to_owned()
}

fn address_of(cais: &Cais, container: &str) -> String {
    cais.inspect(container, "{{.NetworkSettings.Networks.bridge.IPAddress}}")
}

#[test]
fn the_bridge_connects_containers_and_host() {
    e2e(|cais| {
        cais.mark();
        serve(cais, "a1", "");
        serve(cais, "b1", "");
        let (a, b) = (address_of(cais, "a1"), address_of(cais, "b1"));
        assert_ne!(a, b);
        assert_eq!(answer(cais, &format!("{a}:80")), "a1");
        assert_eq!(cais.ok(&format!("exec a1 nc {b} 80")), "b1");
        let route = cais.ok("exec a1 ip route");
        let gateway = cais.inspect("a1", "{{.NetworkSettings.Networks.bridge.Gateway}}");
        assert!(route.contains(&format!("default via {gateway} dev eth0")), "{route}");
        assert!(cais.ok(&format!("exec a1 ping -c 1 -W 5 {gateway}")).contains("1 packets received"));
        cais.ok("rm -f a1 b1");
        cais.assert_nothing_left();
    });
}

#[test]
fn a_published_port_is_reached_from_everywhere() {
    e2e(|cais| {
        cais.mark();
        serve(cais, "web", "-p 8080:80");
        assert_eq!(answer(cais, "127.0.0.1:8080"), "web");
        assert_eq!(answer(cais, &format!("{HOST_ADDRESS}:8080")), "web");
        cais.ok("run -d --name other busybox sleep 1000");
        assert_eq!(cais.ok(&format!("exec other nc {HOST_ADDRESS} 8080")), "web");
        let gateway = cais.inspect("web", "{{.NetworkSettings.Networks.bridge.Gateway}}");
        assert_eq!(cais.ok(&format!("exec other nc {gateway} 8080")), "web");
        assert_eq!(cais.ok(&format!("exec web nc {HOST_ADDRESS} 8080")), "web", "from itself");
        cais.ok("rm -f web other");
        let refused =
            std::net::TcpStream::connect_timeout(&"127.0.0.1:8080".parse().unwrap(), Duration::from_secs(2));
        assert!(refused.is_err(), "the port is free again");
        cais.assert_nothing_left();
    });
}

#[test]
fn a_port_on_one_address_is_closed_on_others() {
    e2e(|cais| {
        serve(cais, "web", "-p 127.0.0.1:8080:80");
        assert_eq!(answer(cais, "127.0.0.1:8080"), "web");
        let other: SocketAddr = format!("{HOST_ADDRESS}:8080").parse().unwrap();
        assert!(std::net::TcpStream::connect_timeout(&other, Duration::from_secs(2)).is_err());
    });
}

#[test]
fn a_port_in_use_is_refused() {
    e2e(|cais| {
        cais.mark();
        serve(cais, "web", "-p 8080:80");
        cais.fails(125, "run -d --name second -p 8080:80 busybox sleep 1000").one_clear_error().says("8080");
        let listener = std::net::TcpListener::bind("127.0.0.1:8081").unwrap();
        cais.fails(125, "run --rm -p 8081:80 busybox true").one_clear_error().says("8081");
        drop(listener);
        // As with docker, the container that could not start stays as created.
        cais.ok("rm -f web second");
        cais.assert_nothing_left();
    });
}

#[test]
fn udp_is_published_too() {
    e2e(|cais| {
        let Some(image) = cais_test::rootfs::debian() else { return skip("this is not Debian") };
        let archive = cais.folder().join("d.tar");
        image.build().write_docker_archive(&archive, &["debian:test"]).unwrap();
        cais.cmd("load -q -i").arg(&archive).ok();
        let script = "socket(S, PF_INET, SOCK_DGRAM, 17); bind(S, sockaddr_in(9000, INADDR_ANY)) or die; \
            while (defined(my $from = recv(S, my $text, 1500, 0))) { send(S, \"echo:$text\", 0, $from) }";
        cais.cmd("run -d --name u1 -p 9001:9000/udp debian:test perl -MSocket -e").arg(script).ok();
        for host in ["127.0.0.1", HOST_ADDRESS] {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            let target: SocketAddr = format!("{host}:9001").parse().unwrap();
            let mut buffer = [0; 100];
            let mut heard = String::new();
            cais_test::wait_until(&format!("an echo by {host}"), || {
                socket.send_to(b"hi", target).unwrap();
                if let Ok((count, from)) = socket.recv_from(&mut buffer) {
                    assert_eq!(from, target, "the answer comes from where the question went");
                    heard = String::from_utf8_lossy(&buffer[..count]).into_owned();
                }
                !heard.is_empty()
            });
            assert_eq!(heard, "echo:hi");
        }
    });
}

#[test]
fn all_exposed_ports_can_be_published() {
    e2e(|cais| {
        serve(cais, "web", "-P --expose 80");
        let port = cais.ok("port web 80/tcp").lines().next().unwrap().rsplit(':').next().unwrap().to_owned();
        assert_eq!(answer(cais, &format!("127.0.0.1:{port}")), "web");
    });
}

#[test]
fn large_transfers_pass_a_published_port() {
    e2e(|cais| {
        cais.ok("run -d --name sink -p 8080:80 busybox sh -c 'nc -l -p 80 | wc -c'");
        let mut stream = cais.connect("127.0.0.1:8080");
        stream.write_all(&vec![7; 32 << 20]).unwrap();
        drop(stream);
        cais.ok("wait sink");
        assert_eq!(cais.ok("logs sink"), (32 << 20).to_string());
    });
}

#[test]
fn none_has_loopback_only() {
    e2e(|cais| {
        let links = cais.ok("run --rm --network none busybox ip -o link");
        assert!(links.lines().count() == 1 && links.contains("lo:") && links.contains("UP"), "{links}");
        assert_eq!(cais.ok("run --rm --network none busybox ip route"), "");
    });
}

#[test]
fn host_is_the_hosts() {
    e2e(|cais| {
        let mine = std::fs::read_link("/proc/self/ns/net").unwrap();
        assert_eq!(
            cais.ok("run --rm --network host busybox readlink /proc/self/ns/net"),
            mine.to_str().unwrap()
        );
        let host = cais_test::process::Invocation::new("hostname", "").ok();
        assert_eq!(cais.ok("run --rm --network host busybox hostname"), host);
    });
}

#[test]
fn a_network_can_be_shared() {
    e2e(|cais| {
        cais.mark();
        serve(cais, "owner", "");
        assert_eq!(cais.ok("run --rm --network container:owner busybox nc 127.0.0.1 80"), "owner");
        let namespace = |who: &str| cais.cmd("exec").arg(who).args("readlink /proc/self/ns/net").ok();
        cais.ok("run -d --name guest --network container:owner busybox sleep 1000");
        assert_eq!(namespace("owner"), namespace("guest"));
        assert_eq!(cais.ok("exec guest hostname"), "owner");
        cais.fails(125, "run --rm --network container:no-such busybox true")
            .one_clear_error()
            .says("no-such");
        cais.fails(125, "run --rm --network container:owner -p 1:1 busybox true").one_clear_error();
        cais.ok("rm -f guest owner");
        cais.assert_nothing_left();
    });
}

#[test]
fn resolver_and_hosts_files_are_written() {
    e2e(|cais| {
        let resolv = cais.ok("run --rm busybox cat /etc/resolv.conf");
        assert!(
            resolv.contains("nameserver 192.0.2.53") && resolv.contains("search example.test"),
            "{resolv}"
        );
        let resolv = cais.ok(
            "run --rm --dns 192.0.2.99 --dns-search a.test --dns-option ndots:3 busybox cat /etc/resolv.conf",
        );
        for line in ["nameserver 192.0.2.99", "search a.test", "options ndots:3"] {
            assert!(resolv.contains(line), "{line} in {resolv}");
        }
        assert!(!resolv.contains("192.0.2.53"));
        let hosts = cais.ok("run --rm --hostname ship --add-host db:10.9.8.7 --add-host up:host-gateway busybox sh -c 'cat /etc/hosts; hostname -i'");
        assert!(
            hosts.contains("127.0.0.1") && hosts.contains("localhost") && hosts.contains("ship"),
            "{hosts}"
        );
        assert!(hosts.lines().any(|line| line.split_whitespace().eq(["10.9.8.7", "db"])), "{hosts}");
        assert!(hosts.lines().any(|line| line.ends_with("up") && !line.contains("host-gateway")), "{hosts}");
    });
}

#[test]
fn a_resolver_on_the_hosts_loopback_is_not_passed_on_as_it_is() {
    e2e(|cais| {
        std::fs::write("/etc/resolv.conf", "nameserver 127.0.0.53\n").unwrap();
        let resolv = cais.ok("run --rm busybox cat /etc/resolv.conf");
        assert!(!resolv.contains("127.0.0.53"), "unreachable inside: {resolv}");
        assert!(cais.ok("run --rm --network host busybox cat /etc/resolv.conf").contains("127.0.0.53"));
    });
}

#[test]
fn addresses_are_given_back() {
    e2e(|cais| {
        cais.ok("run -d --name first busybox sleep 1000");
        let address = address_of(cais, "first");
        cais.ok("rm -f first");
        let mut seen = vec![address];
        for round in 0..5 {
            cais.cmd("run -d --name").arg(format!("n{round}")).args("busybox sleep 1000").ok();
            let address = address_of(cais, &format!("n{round}"));
            assert!(round == 0 || !seen[1..].contains(&address), "{address} twice in {seen:?}");
            seen.push(address);
        }
    });
}
