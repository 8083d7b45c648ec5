//! The bridge and the rules: made once, found again, rewritten when lost.

use std::io::Write;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::thread;

use cais_net::bridge::{BridgeConfig, delete_link, ensure_bridge, remove_bridge, remove_rules};
use cais_net::host;
use cais_net::ports::{PortMapping, Protocol, list_published, publish, republish};
use cais_net::subnet::{Subnet, choose_subnet};
use cais_net::{Error, Rules};

use crate::fake_host::{interfaces, ip, on_fake_host, read_setting, setting, tool};

fn subnet(text: &str) -> Subnet {
    text.parse().expect(text)
}

pub fn mapping(host_port: u16) -> PortMapping {
    PortMapping {
        host_ip: None,
        host_port,
        container_ip: Ipv4Addr::new(10, 88, 0, 2),
        container_port: 80,
        protocol: Protocol::Tcp,
    }
}

#[test]
fn is_made_once_and_found_again() {
    on_fake_host(|| {
        let config = BridgeConfig::default();
        setting("ipv4/ip_forward", "0");
        assert_eq!(ensure_bridge(&config).expect("first"), Rules::Written);
        assert_eq!(ensure_bridge(&config).expect("second"), Rules::Kept);
        assert_eq!(interfaces(), ["lo", "cais0"]);
        assert_eq!(read_setting("ipv4/ip_forward"), "1");
        assert_eq!(read_setting("ipv4/conf/cais0/route_localnet"), "1");
        assert_eq!(read_setting("ipv4/conf/lo/route_localnet"), "0");
        assert!(host::addresses().expect("addresses").contains(&config.gateway));
    });
}

#[test]
fn what_was_taken_away_comes_back() {
    on_fake_host(|| {
        let config = BridgeConfig { mtu: 1400, ..BridgeConfig::default() };
        ensure_bridge(&config).expect("first");
        if ip(&["link set cais0 down mtu 1300", "addr flush dev cais0"]).is_none() {
            return;
        }
        assert_eq!(ensure_bridge(&config).expect("again"), Rules::Kept);
        let shown = tool("ip", "addr show cais0").expect("ip");
        assert!(shown.contains("inet 10.88.0.1/16 brd 10.88.255.255"), "{shown}");
        assert!(shown.contains(",UP") && shown.contains("mtu 1400"), "{shown}");
        assert!(shown.contains("link/ether 02:42:0a:58:00:01"), "{shown}");
    });
}

#[test]
fn a_bridge_can_get_another_subnet() {
    on_fake_host(|| {
        ensure_bridge(&BridgeConfig::default()).expect("first");
        let moved = BridgeConfig::on(subnet("10.90.0.0/16"));
        assert_eq!(ensure_bridge(&moved).expect("moved"), Rules::Kept);
        assert!(host::addresses().expect("addresses").contains(&moved.gateway));
        if let Some(set) = tool("nft", "list set inet cais subnets") {
            assert!(set.contains("10.90.0.0/16"), "{set}");
        }
    });
}

#[test]
fn of_many_at_once_one_writes_the_rules() {
    on_fake_host(|| {
        let config = BridgeConfig::default();
        let written = thread::scope(|scope| {
            let all: Vec<_> =
                (0..20).map(|_| scope.spawn(|| ensure_bridge(&config).expect("ensure"))).collect();
            all.into_iter()
                .map(|one| one.join().expect("join"))
                .filter(|rules| *rules == Rules::Written)
                .count()
        });
        assert_eq!(written, 1);
    });
}

#[test]
fn flushed_rules_are_written_again_and_say_so() {
    on_fake_host(|| {
        let config = BridgeConfig::default();
        ensure_bridge(&config).expect("ensure");
        publish(&[mapping(8080), mapping(8081)]).expect("publish");
        if tool("nft", "flush ruleset").is_none() {
            remove_rules().expect("remove");
        }
        assert_eq!(list_published().expect("list"), []);
        assert_eq!(ensure_bridge(&config).expect("again"), Rules::Written);
        republish(&[mapping(8080), mapping(8081)]).expect("republish");
        republish(&[mapping(8081)]).expect("republish what is there");
        assert_eq!(list_published().expect("list"), [mapping(8080), mapping(8081)]);
    });
}

#[test]
fn rules_of_another_version_are_replaced() {
    on_fake_host(|| {
        if tool("nft", "add table inet cais").is_none() {
            return;
        }
        tool("nft", "add chain inet cais rules_v0");
        tool("nft", "add map inet cais ports_any { type inet_service : ipv4_addr ; }");
        let config = BridgeConfig::default();
        assert_eq!(ensure_bridge(&config).expect("ensure"), Rules::Written);
        assert_eq!(ensure_bridge(&config).expect("ensure"), Rules::Kept);
        publish(&[mapping(8080)]).expect("publish");
        assert!(!tool("nft", "list ruleset").expect("nft").contains("rules_v0"));
    });
}

#[test]
fn two_networks_share_the_rules() {
    on_fake_host(|| {
        let one = BridgeConfig::default();
        let two = BridgeConfig { name: "cais-two".to_owned(), ..BridgeConfig::on(subnet("10.89.0.0/16")) };
        assert_eq!(ensure_bridge(&one).expect("one"), Rules::Written);
        publish(&[mapping(8080)]).expect("publish");
        assert_eq!(ensure_bridge(&two).expect("two"), Rules::Kept);
        assert_eq!(ensure_bridge(&two).expect("two"), Rules::Kept);
        assert_eq!(list_published().expect("list"), [mapping(8080)]);
        if let Some(rules) = tool("nft", "list table inet cais") {
            assert!(
                rules.contains("elements = { \"cais0\",\n\t\t\t     \"cais-two\" }")
                    || rules.contains("elements = { \"cais-two\",\n\t\t\t     \"cais0\" }"),
                "{rules}"
            );
            assert!(rules.contains("elements = { 10.88.0.0/16, 10.89.0.0/16 }"), "{rules}");
        }
        for _ in 0..2 {
            remove_bridge(&one).expect("remove");
        }
        assert_eq!(interfaces(), ["lo", "cais-two"]);
        if let Some(rules) = tool("nft", "list table inet cais") {
            assert!(rules.contains("elements = { \"cais-two\" }"), "{rules}");
            assert!(rules.contains("elements = { 10.89.0.0/16 }"), "{rules}");
        }
        assert_eq!(ensure_bridge(&one).expect("one again"), Rules::Kept);
        for _ in 0..2 {
            remove_rules().expect("remove");
        }
        delete_link("cais0").expect("delete");
        delete_link("cais0").expect("delete what is not there");
    });
}

/// The rules are those that `nft` makes of this text. It is the same for all versions of `nft`, whose listings differ.
#[test]
fn the_rules_mean_what_they_should() {
    let list = || tool("nft", "list table inet cais");
    let mut meant = None;
    on_fake_host(|| {
        let mut file = tempfile();
        file.write_all(MEANT.as_bytes()).expect("write");
        if tool("nft", &format!("-f /proc/{}/fd/{}", std::process::id(), file.as_raw_fd())).is_some() {
            meant = list();
        }
    });
    on_fake_host(|| {
        ensure_bridge(&BridgeConfig::default()).expect("ensure");
        publish(&[mapping(8080)]).expect("publish");
        publish(&[PortMapping {
            host_ip: Some(Ipv4Addr::LOCALHOST),
            protocol: Protocol::Udp,
            ..mapping(53)
        }])
        .expect("publish");
        if let Some(meant) = &meant {
            let rules = list().expect("nft");
            assert!(rules == *meant, "meant: {meant}\nis: {rules}");
        }
    });
}

/// A file that nobody else sees.
fn tempfile() -> std::fs::File {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    std::fs::File::from(rustix::fs::memfd_create("rules", flags).expect("memfd"))
}

const MEANT: &str = r#"
table inet cais {
    set bridges { type ifname; elements = { "cais0" }; }
    set subnets { type ipv4_addr; flags interval; elements = { 10.88.0.0/16 }; }
    map ports_address {
        type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
        elements = { 127.0.0.1 . udp . 53 : 10.88.0.2 . 80 }
    }
    map ports_any {
        type inet_proto . inet_service : ipv4_addr . inet_service
        elements = { tcp . 8080 : 10.88.0.2 . 80 }
    }
    chain guard {
        type filter hook prerouting priority raw; policy accept;
        iifname @bridges ip daddr 127.0.0.0/8 drop
        iifname @bridges ip saddr 127.0.0.0/8 drop
    }
    chain prerouting {
        type nat hook prerouting priority dstnat; policy accept;
        ip daddr 127.0.0.0/8 return
        meta nfproto ipv4 fib daddr type local dnat ip to ip daddr . meta l4proto . th dport map @ports_address
        meta nfproto ipv4 fib daddr type local dnat ip to meta l4proto . th dport map @ports_any
    }
    chain output {
        type nat hook output priority -100; policy accept;
        meta nfproto ipv4 fib daddr type local dnat ip to ip daddr . meta l4proto . th dport map @ports_address
        meta nfproto ipv4 fib daddr type local dnat ip to meta l4proto . th dport map @ports_any
    }
    chain forward {
        type filter hook forward priority filter; policy accept;
        oifname @bridges iifname != @bridges ct state & (established | related) == 0 ct status & dnat == 0 drop
    }
    chain postrouting {
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr @subnets oifname != @bridges masquerade
        ip saddr 127.0.0.0/8 oifname @bridges masquerade
        ip saddr @subnets oifname @bridges ct status dnat masquerade
    }
    chain rules_v1 {
    }
}
"#;

#[test]
fn failures_name_their_object() {
    on_fake_host(|| {
        let named = |name: &str| BridgeConfig { name: name.to_owned(), ..BridgeConfig::default() };
        let error = ensure_bridge(&named("a name")).expect_err("must fail");
        assert!(matches!(error, Error::InterfaceName { .. }), "{error}");
        let error = ensure_bridge(&named("lo")).expect_err("must fail");
        assert_eq!(error.to_string(), "network interface lo exists and is not a bridge");
        let error =
            ensure_bridge(&BridgeConfig { mtu: 1, ..BridgeConfig::default() }).expect_err("must fail");
        assert!(
            error
                .to_string()
                .starts_with("cannot give bridge cais0 the address 10.88.0.1/16 and an MTU of 1 ("),
            "{error}"
        );
    });
}

#[test]
fn a_subnet_is_chosen_beside_the_hosts_routes() {
    on_fake_host(|| {
        assert_eq!(host::default_route_mtu().expect("mtu"), None);
        if ip(&[
            "link add lan0 mtu 1442 type veth peer name lan1",
            "link set lan0 up",
            "addr add 10.88.3.1/24 dev lan0",
            "route add 10.89.128.0/17 dev lan0",
            "route add default via 10.88.3.254",
        ])
        .is_none()
        {
            return;
        }
        let taken = host::subnets_in_use(None).expect("routes");
        assert!(taken.contains(&subnet("10.88.3.0/24")) && taken.contains(&subnet("0.0.0.0/0")), "{taken:?}");
        assert_eq!(choose_subnet(&taken), Some(subnet("10.90.0.0/16")));
        assert_eq!(host::default_route_mtu().expect("mtu"), Some(1442));

        ensure_bridge(&BridgeConfig::on(subnet("10.90.0.0/16"))).expect("ensure");
        let taken = host::subnets_in_use(None).expect("routes");
        assert_eq!(choose_subnet(&taken), Some(subnet("10.91.0.0/16")));
        let others = host::subnets_in_use(Some("cais0")).expect("routes");
        assert_eq!(choose_subnet(&others), Some(subnet("10.90.0.0/16")));
    });
}
