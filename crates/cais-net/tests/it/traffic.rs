//! Packets through the rules, with bridged frames passing netfilter (as on hosts with `br_netfilter`) and without.

use std::net::{Ipv4Addr, UdpSocket};

use cais_net::bridge::{BridgeConfig, ensure_bridge};
use cais_net::ports::{PortMapping, Protocol, publish, unpublish};

use crate::fake_host::{
    Container, ask_tcp, ask_udp, ask_udp_from, inside, ip, neighbour, on_fake_host, reaches_tcp,
    send_and_receive, serve_tcp, serve_tcp_at, serve_udp, setting, tool,
};

const LOCALHOST: Ipv4Addr = Ipv4Addr::LOCALHOST;
const HOST_IN_LAN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// Runs `test` once for each way that a host may treat bridged frames.
fn both_ways(test: impl Fn() + Send + Sync) {
    for value in ["1", "0"] {
        on_fake_host(|| {
            let path = "/proc/sys/net/bridge/bridge-nf-call-iptables";
            match std::fs::write(path, value) {
                Ok(()) => println!("bridge-nf-call-iptables = {value}"),
                Err(_) if value == "0" => {}
                Err(error) => return println!("skipped: {path}: {error}"),
            }
            test();
        });
    }
}

fn published(container: &Container, host_port: u16, protocol: Protocol) -> PortMapping {
    PortMapping { host_ip: None, host_port, container_ip: container.ip, container_port: 80, protocol }
}

fn start_web(bridge: &BridgeConfig) -> Container {
    ensure_bridge(bridge).expect("ensure");
    let web = Container::start(bridge, 1);
    inside(&web.namespace, || {
        serve_tcp(80, "web");
        serve_udp(80, "web");
    });
    web
}

#[test]
fn a_published_port_is_reached_from_everywhere() {
    both_ways(|| {
        let bridge = BridgeConfig::default();
        let web = start_web(&bridge);
        let client = Container::start(&bridge, 7);
        publish(&[published(&web, 8080, Protocol::Tcp), published(&web, 8080, Protocol::Udp)])
            .expect("publish");

        // From the host, by any address of it.
        assert_eq!(ask_tcp(LOCALHOST, 8080), "web 10.88.0.1");
        assert_eq!(ask_udp(LOCALHOST, 8080), "web 10.88.0.1");
        assert_eq!(ask_tcp(Ipv4Addr::new(127, 1, 2, 3), 8080), "web 10.88.0.1");
        assert_eq!(ask_tcp(bridge.gateway, 8080), "web 10.88.0.1");
        assert_eq!(ask_udp(bridge.gateway, 8080), "web 10.88.0.1");
        // From a container, another or the same.
        for container in [&client, &web] {
            inside(&container.namespace, || {
                assert_eq!(ask_tcp(bridge.gateway, 8080), "web 10.88.0.1");
                assert_eq!(ask_udp(bridge.gateway, 8080), "web 10.88.0.1");
            });
        }
        // From outside, seen with its own address.
        let Some(lan) = neighbour() else { return };
        assert_eq!(ask_tcp(HOST_IN_LAN, 8080), "web 192.0.2.1");
        assert_eq!(ask_udp(HOST_IN_LAN, 8080), "web 192.0.2.1");
        inside(&lan, || {
            assert_eq!(ask_tcp(HOST_IN_LAN, 8080), "web 192.0.2.2");
            assert_eq!(ask_udp(HOST_IN_LAN, 8080), "web 192.0.2.2");
        });
        inside(&client.namespace, || assert_eq!(ask_tcp(HOST_IN_LAN, 8080), "web 10.88.0.1"));
        inside(&web.namespace, || assert_eq!(ask_tcp(HOST_IN_LAN, 8080), "web 10.88.0.1"));

        let _linger = unpublish(&[published(&web, 8080, Protocol::Tcp)]).expect("unpublish");
        assert!(!reaches_tcp(LOCALHOST, 8080));
        assert!(!inside(&lan, || reaches_tcp(HOST_IN_LAN, 8080)));
        assert_eq!(ask_udp(LOCALHOST, 8080), "web 10.88.0.1", "udp stays");
    });
}

#[test]
fn containers_reach_the_outside_under_the_hosts_address() {
    both_ways(|| {
        let bridge = BridgeConfig::default();
        let web = start_web(&bridge);
        let Some(lan) = neighbour() else { return };
        inside(&lan, || {
            serve_tcp(90, "lan");
            serve_udp(90, "lan");
        });
        inside(&web.namespace, || {
            assert_eq!(ask_tcp(NEIGHBOUR, 90), "lan 192.0.2.1");
            assert_eq!(ask_udp(NEIGHBOUR, 90), "lan 192.0.2.1");
        });
    });
}

#[test]
fn a_port_on_one_address_is_on_no_other() {
    both_ways(|| {
        let bridge = BridgeConfig::default();
        let web = start_web(&bridge);
        let Some(lan) = neighbour() else { return };
        let on = |ip, port| PortMapping { host_ip: Some(ip), ..published(&web, port, Protocol::Tcp) };
        publish(&[on(LOCALHOST, 8080), on(HOST_IN_LAN, 8081)]).expect("publish");
        assert_eq!(ask_tcp(LOCALHOST, 8080), "web 10.88.0.1");
        assert_eq!(ask_tcp(HOST_IN_LAN, 8081), "web 192.0.2.1");
        assert_eq!(inside(&lan, || ask_tcp(HOST_IN_LAN, 8081)), "web 192.0.2.2");
        assert!(!reaches_tcp(LOCALHOST, 8081));
        assert!(!reaches_tcp(HOST_IN_LAN, 8080));
        assert!(!inside(&lan, || reaches_tcp(HOST_IN_LAN, 8080)));
    });
}

/// Sends packets for 127.0.0.1 from the calling thread's namespace to `gateway` instead of to itself.
fn divert_loopback(gateway: Ipv4Addr, source: Ipv4Addr) -> Option<()> {
    setting("ipv4/conf/eth0/route_localnet", "1");
    ip(&["addr flush dev lo", &format!("route add 127.0.0.0/8 via {gateway} dev eth0 src {source}")])
}

#[test]
fn the_hosts_loopback_is_closed_to_containers() {
    both_ways(|| {
        let bridge = BridgeConfig::default();
        ensure_bridge(&bridge).expect("ensure");
        let evil = Container::start(&bridge, 1);
        serve_tcp_at(LOCALHOST, 9999, "secret");
        if inside(&evil.namespace, || divert_loopback(bridge.gateway, evil.ip)).is_none() {
            return;
        }
        assert!(!inside(&evil.namespace, || reaches_tcp(LOCALHOST, 9999)));
        // The control: it is our rule that keeps it closed.
        if tool("nft", "flush chain inet cais guard").is_some() {
            assert_eq!(inside(&evil.namespace, || ask_tcp(LOCALHOST, 9999)), "secret 10.88.0.2");
        }
    });
}

#[test]
fn a_neighbour_reaches_neither_loopback_ports_nor_unpublished_ones() {
    both_ways(|| {
        let bridge = BridgeConfig::default();
        let web = start_web(&bridge);
        let Some(lan) = neighbour() else { return };
        let local = PortMapping { host_ip: Some(LOCALHOST), ..published(&web, 8080, Protocol::Tcp) };
        publish(&[local]).expect("publish");
        inside(&lan, || {
            divert_loopback(HOST_IN_LAN, NEIGHBOUR).expect("ip");
            ip(&["route add 10.88.0.0/16 via 192.0.2.1"]).expect("ip");
        });
        assert!(!inside(&lan, || reaches_tcp(LOCALHOST, 8080)), "published on the host's loopback");
        assert!(!inside(&lan, || reaches_tcp(web.ip, 80)), "not published");
        // The controls: it is our rules that keep them closed.
        if tool("nft", "flush chain inet cais forward").is_some() {
            assert_eq!(inside(&lan, || ask_tcp(web.ip, 80)), "web 192.0.2.2");
            let rule = tool("nft", "-a list chain inet cais prerouting").expect("nft");
            let handle =
                rule.lines().find(|line| line.contains("return")).and_then(|line| line.rsplit(' ').next());
            tool("nft", &format!("delete rule inet cais prerouting handle {}", handle.expect("handle")));
            assert_eq!(inside(&lan, || ask_tcp(LOCALHOST, 8080)), "web 192.0.2.2");
        }
    });
}

#[test]
fn a_udp_client_that_never_pauses_follows_the_port() {
    on_fake_host(|| {
        let bridge = BridgeConfig::default();
        ensure_bridge(&bridge).expect("ensure");
        let [one, two] = [1, 2].map(|number| Container::start(&bridge, number));
        inside(&one.namespace, || serve_udp(80, "one"));
        inside(&two.namespace, || serve_udp(80, "two"));
        let client = UdpSocket::bind("0.0.0.0:0").expect("bind");
        let ask = || ask_udp_from(&client, bridge.gateway, 8080);

        // The flow is known to the kernel before anybody is there.
        assert_eq!(send_and_receive(&client, bridge.gateway, 8080), None);
        publish(&[published(&one, 8080, Protocol::Udp)]).expect("publish");
        assert_eq!(ask().as_deref(), Some("one 10.88.0.1"));
        let _linger = unpublish(&[published(&one, 8080, Protocol::Udp)]).expect("unpublish");
        publish(&[published(&two, 8080, Protocol::Udp)]).expect("publish");
        assert_eq!(ask().as_deref(), Some("two 10.88.0.1"));
    });
}
