//! `system check` against leftovers of every kind, made by hand.

use cais_engine::view::State;
use cais_engine::{PublishedPort, RunFacts};
use cais_net::attach::{Attachment, create_attached_netns, host_interface_name};
use cais_net::bridge::{BridgeConfig, ensure_bridge, remove_rules};
use cais_net::ports::{PortMapping, Protocol, list_published, publish};
use cais_net::subnet::DEFAULT_SUBNET;
use cais_runtime::cgroup::{Cgroup, Layout, Placement, Resources};
use cais_test::isolation::isolated;

use crate::by_hand::World;

/// `kind object problem`, with `(repaired)` behind what was.
fn findings(world: &World, repair: bool) -> Vec<String> {
    let findings = world.engine.check(repair).unwrap();
    let mut lines: Vec<String> = findings
        .into_iter()
        .map(|finding| {
            let repaired = if finding.repaired { " (repaired)" } else { "" };
            format!("{} {} {}{repaired}", finding.kind, finding.object, finding.problem)
        })
        .collect();
    lines.sort();
    lines
}

/// Each finding is reported by a plain check and by one that repairs, and by none after that.
#[track_caller]
fn found_and_repaired(world: &World, expected: &[String]) {
    let mut expected = expected.to_vec();
    expected.sort();
    assert_eq!(findings(world, false), expected);
    let repaired: Vec<String> = expected.iter().map(|line| format!("{line} (repaired)")).collect();
    assert_eq!(findings(world, true), repaired);
    assert_eq!(findings(world, false), [""; 0]);
}

fn mapping(ip: &str, host_port: u16) -> PortMapping {
    PortMapping {
        host_ip: None,
        host_port,
        container_ip: ip.parse().unwrap(),
        container_port: 80,
        protocol: Protocol::Tcp,
    }
}

#[test]
fn runs_without_a_monitor_are_taken_down() {
    isolated(|| {
        let world = World::new();
        let (killed, interrupted, ended) = (world.fresh(), world.fresh(), world.fresh());
        let (running, launching) = (world.fresh(), world.fresh());
        for id in [&killed, &interrupted, &ended] {
            drop(world.store.take_run_lock(id).unwrap());
        }
        world.facts(&killed, 1);
        world.store.write_facts(&interrupted, &RunFacts::default()).unwrap();
        world.facts(&ended, 1);
        world.exit(&ended, 7);
        let _running = world.store.take_run_lock(&running).unwrap();
        world.facts(&running, 1);
        let _launching = world.store.take_run_lock(&launching).unwrap();
        found_and_repaired(
            &world,
            &[
                format!("container {killed} its monitor was killed while it ran"),
                format!("container {interrupted} its start was interrupted"),
                format!("container {ended} has ended, but was not taken down"),
            ],
        );
        let view = |id: &str| world.engine.container(id).unwrap();
        assert_eq!((view(&killed).state, view(&killed).exit.unwrap().code), (State::Exited, 255));
        assert_eq!(view(&interrupted).state, State::Created);
        assert_eq!(view(&ended).exit.unwrap().code, 7);
        assert_eq!(view(&running).state, State::Running);
        assert_eq!(view(&launching).state, State::Created);
        for id in [&killed, &interrupted, &ended] {
            assert!(!world.store.paths().run_container(id).exists());
        }
    });
}

#[test]
fn addresses_ports_and_links_without_a_container_go() {
    isolated(|| {
        let world = World::new();
        let bridge = BridgeConfig::on(DEFAULT_SUBNET);
        std::fs::write(world.store.paths().bridge_subnet(), format!("{}/16", DEFAULT_SUBNET.base())).unwrap();
        ensure_bridge(&bridge).unwrap();
        let (running, stopped) = (world.fresh(), world.fresh());
        let mut candidates = DEFAULT_SUBNET.candidates(bridge.gateway, 1);
        let (mine, left) = (candidates.next().unwrap(), candidates.next().unwrap());
        std::fs::create_dir_all(world.store.paths().leases()).unwrap();
        for (ip, owner) in [(mine, &running), (left, &stopped)] {
            std::fs::write(world.store.paths().leases().join(ip.to_string()), owner).unwrap();
        }
        publish(&[mapping(&mine.to_string(), 8001), mapping(&left.to_string(), 8002)]).unwrap();
        let attach = |id: &str, ip| {
            let host_interface = host_interface_name(id, 5);
            let attachment = Attachment {
                ip,
                mac: None,
                host_interface: host_interface.clone(),
                interface: "eth0".into(),
                reflect: false,
            };
            (host_interface, create_attached_netns(&bridge, &attachment).unwrap())
        };
        let (host_link, _netns) = attach(&running, mine);
        let (left_link, _left_netns) = attach(&stopped, left);
        let _lock = world.store.take_run_lock(&running).unwrap();
        let port = PublishedPort {
            host_ip: None,
            host_port: 8001,
            container_port: 80,
            protocol: cais_engine::Protocol::Tcp,
        };
        let facts = RunFacts { pid: 1, ip: Some(mine), host_link, ports: vec![port], ..RunFacts::default() };
        world.store.write_facts(&running, &facts).unwrap();
        found_and_repaired(
            &world,
            &[
                format!("address {left} is leased to no running container"),
                "port 0.0.0.0:8002/tcp is published for no running container".to_owned(),
                format!("link {left_link} belongs to a container that does not run"),
            ],
        );
        assert_eq!(list_published().unwrap(), [mapping(&mine.to_string(), 8001)]);

        // A firewall was reloaded.
        remove_rules().unwrap();
        let lost = "port 0.0.0.0:8001/tcp is not published any more: the rules were lost";
        found_and_repaired(&world, &[lost.to_owned()]);
        assert_eq!(list_published().unwrap(), [mapping(&mine.to_string(), 8001)]);
    });
}

#[test]
fn what_another_store_runs_is_neither_reported_nor_touched() {
    isolated(|| {
        let (here, other) = (World::new(), World::new());
        let bridge = BridgeConfig::on(DEFAULT_SUBNET);
        ensure_bridge(&bridge).unwrap();
        let mut candidates = DEFAULT_SUBNET.candidates(bridge.gateway, 1);
        let (ip, ours) = (candidates.next().unwrap(), candidates.next().unwrap());
        let theirs = other.fresh();
        std::fs::write(other.store.paths().leases().join(ip.to_string()), &theirs).unwrap();
        std::fs::write(here.store.paths().leases().join(ours.to_string()), here.fresh()).unwrap();
        let link = host_interface_name(&theirs, 5);
        let (host_interface, interface) = (link.clone(), "eth0".into());
        let attachment = Attachment { ip, mac: None, host_interface, interface, reflect: false };
        let _netns = create_attached_netns(&bridge, &attachment).unwrap();
        let ports = [mapping(&ip.to_string(), 8001), mapping(&ours.to_string(), 8002)];
        publish(&ports).unwrap();
        // Ours is what leads to an address that we leased.
        found_and_repaired(
            &here,
            &[
                format!("address {ours} is leased to no running container"),
                "port 0.0.0.0:8002/tcp is published for no running container".to_owned(),
            ],
        );
        assert_eq!(list_published().unwrap(), ports[..1]);
        let links = std::fs::read_to_string("/proc/self/net/dev").unwrap();
        assert!(links.contains(&link), "{links}");
        assert!(other.store.paths().leases().join(ip.to_string()).exists());
    });
}

#[test]
fn a_cgroup_without_a_run_goes_with_its_processes() {
    isolated(|| {
        let Ok(layout) = Layout::detect() else { return cais_test::skip("no cgroups") };
        let world = World::new();
        let id = world.fresh();
        let foreign = cais_store::random_id();
        let place = |id| Placement { parent: "cais", id, rootless: false };
        let create = |id| Cgroup::create(&layout, place(id), &Resources::default(), &mut Vec::new()).unwrap();
        create(&id);
        let of_another_store = create(&foreign);
        found_and_repaired(&world, &[format!("cgroup {id} belongs to a container that does not run")]);
        assert!(Cgroup::find(&layout, place(&id)).is_none());
        assert!(Cgroup::find(&layout, place(&foreign)).is_some());
        of_another_store.remove().unwrap();
    });
}

#[test]
fn a_frozen_container_is_paused() {
    isolated(|| {
        let Ok(layout) = Layout::detect() else { return cais_test::skip("no cgroups") };
        let world = World::new();
        let id = world.fresh();
        let place = Placement { parent: "cais", id: &id, rootless: false };
        let cgroup = Cgroup::create(&layout, place, &Resources::default(), &mut Vec::new()).unwrap();
        let _lock = world.store.take_run_lock(&id).unwrap();
        world.facts(&id, 1);
        let states = || {
            let listed = world.engine.containers(false).unwrap().pop().unwrap().state;
            assert_eq!(world.engine.container(&id).unwrap().state, listed);
            listed
        };
        assert_eq!(states(), State::Running);
        let frozen = cgroup.freeze();
        if frozen.is_ok() {
            assert_eq!(states(), State::Paused);
            cgroup.thaw().unwrap();
            assert_eq!(states(), State::Running);
        }
        cgroup.remove().unwrap();
        if let Err(error) = frozen {
            cais_test::skip(error);
        }
    });
}
