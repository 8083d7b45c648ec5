//! Namespaces on the bridge.

use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use cais_net::Error;
use cais_net::attach::{
    Attachment, attach, create_attached_netns, create_netns, host_interface_name, loopback_up,
};
use cais_net::bridge::{BridgeConfig, ensure_bridge};

use crate::fake_host::{Container, ask_tcp, attachment, inside, interfaces, on_fake_host, serve_tcp, tool};

#[test]
fn an_attached_namespace_is_ready() {
    on_fake_host(|| {
        let bridge = BridgeConfig { mtu: 1400, ..BridgeConfig::default() };
        ensure_bridge(&bridge).expect("ensure");
        let container = Container::start(&bridge, 5);
        assert_eq!(container.ip.to_string(), "10.88.0.6");
        inside(&container.namespace, || {
            assert_eq!(interfaces(), ["lo", "eth0"]);
            let Some(shown) = tool("ip", "addr show") else { return };
            assert!(shown.contains("inet 127.0.0.1/8"), "{shown}");
            assert!(shown.contains("inet 10.88.0.6/16 brd 10.88.255.255 scope global eth0"), "{shown}");
            assert!(shown.contains("link/ether 02:42:0a:58:00:06"), "{shown}");
            assert!(shown.contains("mtu 1400"), "{shown}");
            let routes = tool("ip", "route show").expect("ip");
            assert!(routes.contains("default via 10.88.0.1 dev eth0"), "{routes}");
        });
    });
}

#[test]
fn containers_reach_each_other_and_the_host() {
    on_fake_host(|| {
        let bridge = BridgeConfig::default();
        ensure_bridge(&bridge).expect("ensure");
        let one = Container::start(&bridge, 1);
        let two = Container::start(&bridge, 2);
        inside(&two.namespace, || serve_tcp(80, "two"));
        serve_tcp(81, "host");
        assert_eq!(inside(&one.namespace, || ask_tcp(two.ip, 80)), "two 10.88.0.2");
        assert_eq!(inside(&one.namespace, || ask_tcp(bridge.gateway, 81)), "host 10.88.0.2");
        assert_eq!(ask_tcp(two.ip, 80), "two 10.88.0.1");
    });
}

#[test]
fn twenty_at_once() {
    on_fake_host(|| {
        let bridge = BridgeConfig::default();
        let containers: Vec<_> = thread::scope(|scope| {
            let bridge = &bridge;
            let all: Vec<_> = (0..20)
                .map(|number| {
                    scope.spawn(move || {
                        ensure_bridge(bridge).expect("ensure");
                        Container::start(bridge, number)
                    })
                })
                .collect();
            all.into_iter().map(|one| one.join().expect("join")).collect()
        });
        assert_eq!(interfaces().len(), 22);
        let last = containers.last().expect("twenty");
        inside(&last.namespace, || serve_tcp(80, "last"));
        for container in &containers[..19] {
            assert_eq!(
                inside(&container.namespace, || ask_tcp(last.ip, 80)),
                format!("last {}", container.ip)
            );
        }
        drop(containers);
        let deadline = Instant::now() + Duration::from_secs(30);
        while interfaces().len() > 3 {
            assert!(Instant::now() < deadline, "the host's ends go with the namespaces: {:?}", interfaces());
            thread::sleep(Duration::from_millis(5));
        }
    });
}

#[test]
fn an_existing_namespace_can_be_attached() {
    on_fake_host(|| {
        let bridge = BridgeConfig::default();
        ensure_bridge(&bridge).expect("ensure");
        let namespace = create_netns().expect("netns");
        loopback_up(namespace.as_fd()).expect("lo");
        inside(&namespace, || {
            serve_tcp(80, "alone");
            assert_eq!(ask_tcp([127, 0, 0, 1].into(), 80), "alone 127.0.0.1");
        });
        let first = attachment(&bridge, 1);
        attach(&bridge, namespace.as_fd(), &first).expect("attach");
        assert_eq!(ask_tcp(first.ip, 80), "alone 10.88.0.1");

        // A second default route is refused; what was made for it goes again.
        let second = Attachment { interface: "eth1".to_owned(), ..attachment(&bridge, 2) };
        let error = attach(&bridge, namespace.as_fd(), &second).expect_err("must fail");
        assert!(
            error.to_string().starts_with("cannot set the container's default route through 10.88.0.1"),
            "{error}"
        );
        assert_eq!(interfaces(), ["lo", "cais0", first.host_interface.as_str()]);
    });
}

#[test]
fn failures_leave_nothing_and_name_their_object() {
    on_fake_host(|| {
        let bridge = BridgeConfig::default();
        let place = attachment(&bridge, 1);
        let error = create_attached_netns(&bridge, &place).expect_err("no bridge");
        assert_eq!(error.to_string(), "there is no network interface cais0");

        ensure_bridge(&bridge).expect("ensure");
        let _first = create_attached_netns(&bridge, &place).expect("attach");
        let error = create_attached_netns(&bridge, &place).expect_err("name is taken");
        assert!(matches!(error, Error::Refused { source: rustix::io::Errno::EXIST, .. }), "{error}");
        assert!(error.to_string().starts_with("cannot connect vc"), "{error}");
        assert_eq!(interfaces(), ["lo", "cais0", place.host_interface.as_str()], "and stays with its owner");

        let odd = Attachment { interface: "eth0/x".to_owned(), ..place.clone() };
        assert!(matches!(create_attached_netns(&bridge, &odd), Err(Error::InterfaceName { .. })));
        let multicast = Attachment { mac: Some([1, 0, 0, 0, 0, 1]), ..attachment(&bridge, 2) };
        assert!(matches!(create_attached_netns(&bridge, &multicast), Err(Error::Refused { .. })));
        let own = std::fs::File::open("/dev/null").expect("open");
        let error = attach(&bridge, own.as_fd(), &attachment(&bridge, 3)).expect_err("not a namespace");
        assert_eq!(error.to_string(), "cannot join a network namespace");
        assert_eq!(interfaces().len(), 3);
    });
}

#[test]
fn host_interface_names_fit_and_differ() {
    let name = host_interface_name("0123456789abcdef", 0xabc_def12);
    assert_eq!(name, "vc01234567def12");
    assert_eq!(name.len(), 15);
    assert_ne!(host_interface_name("0123456789", 1), host_interface_name("0123456789", 2));
}
