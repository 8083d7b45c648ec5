//! Devices of the host that move into a container.

use std::os::fd::AsFd;

use cais_net::attach::create_netns;
use cais_net::device::move_device;

use crate::fake_host::{inside, interfaces, on_fake_host, tool};

#[test]
fn a_device_moves_with_its_addresses() {
    on_fake_host(|| {
        if tool("ip", "link add mv0 type veth peer name pv0").is_none() {
            return;
        }
        tool("ip", "addr add 10.9.8.7/24 dev mv0");
        tool("ip", "addr add fd00::7/64 dev mv0 nodad");
        tool("ip", "addr add 169.254.1.1/16 dev mv0 scope link");
        tool("ip", "link set mv0 up mtu 1400");
        let namespace = create_netns().expect("namespace");
        move_device("mv0", Some("inner0"), namespace.as_fd()).expect("move");
        assert_eq!(interfaces(), ["lo", "pv0"]);
        inside(&namespace, || {
            assert_eq!(interfaces(), ["lo", "inner0"]);
            let shown = tool("ip", "addr show inner0").expect("ip");
            for part in ["inet 10.9.8.7/24", "inet6 fd00::7/64", "mtu 1400", ",UP"] {
                assert!(shown.contains(part), "{part}: {shown}");
            }
            assert!(!shown.contains("169.254"), "{shown}");
        });
    });
}

#[test]
fn names_are_kept_chosen_or_refused() {
    on_fake_host(|| {
        for name in ["mv1", "mv2", "mv3"] {
            if tool("ip", &format!("link add {name} type veth peer name p{name}")).is_none() {
                return;
            }
        }
        let namespace = create_netns().expect("namespace");
        move_device("mv1", None, namespace.as_fd()).expect("move");
        move_device("mv2", Some("mv%d"), namespace.as_fd()).expect("move");
        inside(&namespace, || {
            let mut names = interfaces();
            names.sort();
            assert_eq!(names, ["lo", "mv0", "mv1"]);
        });
        let taken = move_device("mv3", Some("mv1"), namespace.as_fd()).expect_err("taken");
        assert_eq!(
            taken.to_string(),
            "move network device mv3: the container has a network interface mv1 already"
        );
        assert!(interfaces().contains(&"mv3".to_owned()), "it stays");
        let missing = move_device("mv9", None, namespace.as_fd()).expect_err("missing");
        assert_eq!(missing.to_string(), "there is no network interface mv9");
        assert!(move_device("lo", Some("a/b"), namespace.as_fd()).is_err());
    });
}
