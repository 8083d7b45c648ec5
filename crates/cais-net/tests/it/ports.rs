//! Published ports as elements.

use std::net::Ipv4Addr;
use std::thread;

use cais_net::Error;
use cais_net::bridge::{BridgeConfig, ensure_bridge};
use cais_net::ports::{PortMapping, Protocol, list_published, publish, republish, unpublish};

use crate::bridge::mapping;
use crate::fake_host::on_fake_host;

fn other(port: PortMapping) -> PortMapping {
    PortMapping { container_ip: Ipv4Addr::new(10, 88, 0, 3), ..port }
}

#[test]
fn a_taken_port_names_its_holder_and_publishes_nothing() {
    on_fake_host(|| {
        ensure_bridge(&BridgeConfig::default()).expect("ensure");
        publish(&[mapping(8080)]).expect("publish");
        let wanted = [other(mapping(9090)), other(mapping(8080)), other(mapping(9091))];
        for attempt in [publish(&wanted), republish(&wanted)] {
            let error = attempt.expect_err("taken");
            assert_eq!(
                error.to_string(),
                "0.0.0.0:8080/tcp is already published by the container at 10.88.0.2"
            );
            assert!(matches!(error, Error::PortTaken { mapping, .. } if mapping == wanted[1]));
        }
        assert_eq!(list_published().expect("list"), [mapping(8080)], "all or nothing");
        assert!(matches!(publish(&[mapping(8080)]), Err(Error::PortTaken { .. })), "even by itself");

        let udp = PortMapping { protocol: Protocol::Udp, ..other(mapping(8080)) };
        let one_address = PortMapping { host_ip: Some(Ipv4Addr::LOCALHOST), ..other(mapping(8080)) };
        publish(&[udp, one_address]).expect("another protocol, a nearer address");
        assert_eq!(list_published().expect("list").len(), 3);
    });
}

#[test]
fn only_ones_own_ports_are_taken_back() {
    on_fake_host(|| {
        ensure_bridge(&BridgeConfig::default()).expect("ensure");
        let ports =
            [mapping(1), mapping(2), PortMapping { host_ip: Some(Ipv4Addr::LOCALHOST), ..mapping(3) }];
        publish(&ports).expect("publish");
        let _linger =
            unpublish(&[other(mapping(1)), mapping(4), other(ports[2])]).expect("of others, or not there");
        assert_eq!(list_published().expect("list").len(), 3);
        let _linger = unpublish(&[mapping(4), mapping(1), other(mapping(2)), ports[2]]).expect("mixed");
        assert_eq!(list_published().expect("list"), [mapping(2)]);
        for _ in 0..2 {
            let _linger = unpublish(&ports).expect("idempotent");
        }
        assert_eq!(list_published().expect("list"), []);
        publish(&[other(mapping(2))]).expect("free again");
    });
}

#[test]
fn without_rules_nothing_is_published() {
    on_fake_host(|| {
        assert_eq!(list_published().expect("list"), []);
        let _linger = unpublish(&[mapping(1)]).expect("nothing to do");
        publish(&[]).expect("nothing to do");
        let error = publish(&[mapping(8080)]).expect_err("no table");
        assert!(error.to_string().starts_with("cannot publish 0.0.0.0:8080/tcp -> 10.88.0.2:80"), "{error}");
    });
}

#[test]
fn a_large_range_is_one_transaction() {
    on_fake_host(|| {
        ensure_bridge(&BridgeConfig::default()).expect("ensure");
        let all: Vec<_> = (1..=u16::MAX).map(mapping).collect();
        publish(&all).expect("publish");
        assert!(list_published().expect("list") == all, "not all of them are there");
        assert!(matches!(publish(&all), Err(Error::PortTaken { mapping: first, .. }) if first == mapping(1)));
        let _linger = unpublish(&all[10..]).expect("unpublish");
        assert!(list_published().expect("list") == all[..10], "not only the first are left");
        let error = publish(&vec![mapping(1); 200_000]).expect_err("too many");
        assert_eq!(error.to_string(), "cannot publish 200000 ports at once, 131072 is the limit");
    });
}

#[test]
fn many_at_once_publish_and_unpublish() {
    on_fake_host(|| {
        ensure_bridge(&BridgeConfig::default()).expect("ensure");
        thread::scope(|scope| {
            for number in 0..20 {
                scope.spawn(move || {
                    for round in 0..10 {
                        let ports = [mapping(1000 + number), mapping(2000 + number)];
                        publish(&ports).unwrap_or_else(|error| panic!("{number} round {round}: {error}"));
                        let _linger = unpublish(&ports)
                            .unwrap_or_else(|error| panic!("{number} round {round}: {error:?}"));
                    }
                });
            }
        });
        assert_eq!(list_published().expect("list"), []);
    });
}
