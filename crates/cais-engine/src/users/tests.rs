//! Maps of requests, as tables of what is asked and what comes out.

use super::*;
use crate::UserRequest;

fn map(container_id: u32, host_id: u32, size: u32) -> IdMapping {
    IdMapping { container_id, host_id, size }
}

fn root() -> Ground {
    let all = vec![map(0, 0, u32::MAX)];
    Ground {
        own: UserMaps { uids: all.clone(), gids: all },
        rootless: false,
        subuid: "anna:500000:1000\ncontainers:2000000:4096\n".into(),
        subgid: "anna:600000:1000\ncontainers:3000000:4096\n".into(),
    }
}

fn anna() -> Ground {
    let own = |id| vec![map(0, id, 1), map(1, 100_000, 65_536)];
    Ground { own: UserMaps { uids: own(1000), gids: own(1001) }, rootless: true, ..root() }
}

fn request(users: UserRequest) -> ContainerRequest {
    ContainerRequest { users, ..ContainerRequest::default() }
}

fn asked(userns: UsernsRequest) -> ContainerRequest {
    request(UserRequest { userns, ..UserRequest::default() })
}

fn given_map(inside: u32, outside: u32, size: u32) -> MapRequest {
    MapRequest { inside, outside, size, ..MapRequest::default() }
}

#[test]
fn nothing_asked_is_no_namespace() {
    for userns in [UsernsRequest::Default, UsernsRequest::Host] {
        assert_eq!(explicit(&asked(userns), &root()).expect("fine"), None);
    }
    assert!(explicit(&asked(UsernsRequest::Private), &root()).is_err(), "private needs ids");
}

#[test]
fn maps_of_one_kind_hold_for_both() {
    let users = UserRequest { uid_maps: vec![given_map(0, 5000, 10)], ..UserRequest::default() };
    let maps = explicit(&request(users), &root()).expect("fine").expect("maps");
    assert_eq!(maps.uids, maps.gids);
    assert_eq!(maps.uids, [map(0, 5000, 10)]);
    let users = UserRequest { sub_uid_name: Some("anna".into()), ..UserRequest::default() };
    let maps = explicit(&request(users), &root()).expect("fine").expect("maps");
    assert_eq!((maps.uids, maps.gids), (vec![map(0, 500_000, 1000)], vec![map(0, 600_000, 1000)]));
    let users = UserRequest { sub_uid_name: Some("bert".into()), ..UserRequest::default() };
    assert!(explicit(&request(users), &root()).is_err());
}

#[test]
fn impossible_maps_are_refused() {
    let refused = |maps: Vec<MapRequest>, ground: &Ground| {
        let users = UserRequest { uid_maps: maps, ..UserRequest::default() };
        explicit(&request(users), ground).expect_err("refused").message
    };
    let twice = refused(vec![given_map(0, 5000, 10), given_map(9, 6000, 1)], &root());
    assert!(twice.contains("in common"), "{twice}");
    let twice = refused(vec![given_map(0, 5000, 10), given_map(20, 5009, 1)], &root());
    assert!(twice.contains("in common"), "{twice}");
    assert!(refused(vec![given_map(0, 5000, 0)], &root()).contains("no such ids"));
    assert!(refused(vec![given_map(0, 5000, u32::MAX)], &root()).contains("no such ids"));
    assert!(refused(vec![given_map(0, 70_000, 1)], &anna()).contains("0 to 65536"));
    let host = MapRequest { of_host: true, ..given_map(0, 5, 1) };
    assert!(refused(vec![host], &anna()).contains("not one of this user's"));
}

#[test]
fn ids_of_the_host_are_looked_up() {
    let host = |inside, outside| MapRequest { of_host: true, ..given_map(inside, outside, 1) };
    let users = UserRequest {
        uid_maps: vec![host(7, 1000), host(8, 100_001)],
        gid_maps: vec![host(7, 1001)],
        ..UserRequest::default()
    };
    let maps = explicit(&request(users), &anna()).expect("fine").expect("maps");
    assert_eq!(maps.uids, [map(7, 0, 1), map(8, 2, 1)]);
    assert_eq!(maps.gids, [map(7, 0, 1)]);
}

#[test]
fn a_plus_maps_the_rest() {
    let plus = MapRequest { extends: true, ..given_map(5, 0, 1) };
    let users = UserRequest { uid_maps: vec![plus], ..UserRequest::default() };
    let maps = explicit(&request(users), &anna()).expect("fine").expect("maps");
    assert_eq!(maps.uids, [map(0, 1, 5), map(5, 0, 1), map(6, 6, 65_531)]);
}

#[test]
fn the_caller_keeps_its_id() {
    let maps = explicit(&asked(UsernsRequest::KeepId(KeepIdRequest::default())), &anna());
    let maps = maps.expect("fine").expect("maps");
    assert_eq!(maps.uids, [map(0, 1, 1000), map(1000, 0, 1), map(1001, 1001, 64_536)]);
    assert_eq!(maps.gids, [map(0, 1, 1001), map(1001, 0, 1), map(1002, 1002, 64_535)]);
    let wishes = KeepIdRequest { uid: Some(3), gid: Some(0), size: Some(5) };
    let maps = explicit(&asked(UsernsRequest::KeepId(wishes.clone())), &anna()).expect("fine").expect("maps");
    assert_eq!(maps.uids, [map(0, 1, 3), map(3, 0, 1), map(4, 4, 1)]);
    assert_eq!(maps.gids, [map(0, 0, 1), map(1, 1, 4)]);
    assert!(explicit(&asked(UsernsRequest::KeepId(wishes)), &root()).is_err());
    let maps = explicit(&asked(UsernsRequest::KeepId(KeepIdRequest::default())), &root());
    assert_eq!(maps.expect("fine").expect("maps").uids, [map(0, 0, u32::MAX)]);
}

#[test]
fn the_caller_is_not_mapped() {
    let maps = explicit(&asked(UsernsRequest::NoMap), &anna()).expect("fine").expect("maps");
    assert_eq!(maps.uids, [map(0, 1, 65_536)]);
    assert!(explicit(&asked(UsernsRequest::NoMap), &root()).is_err());
}

#[test]
fn automatic_ids_are_nobody_elses() {
    let plain = AutoRequest::default();
    let first = auto(&plain, 1024, &[], &root()).expect("fits");
    assert_eq!(
        (first.uids.clone(), first.gids.clone()),
        (vec![map(0, 2_000_000, 1024)], vec![map(0, 3_000_000, 1024)])
    );
    let second = auto(&plain, 2048, std::slice::from_ref(&first), &root()).expect("fits");
    assert_eq!(second.uids, [map(0, 2_001_024, 2048)]);
    let third = auto(&plain, 1024, std::slice::from_ref(&second), &root()).expect("fits");
    assert_eq!(third.uids, first.uids, "what was given back is given out again");
    let full = auto(&plain, 1025, &[first, second], &root()).expect_err("1024 are left");
    assert_eq!(full.kind, ErrorKind::Conflict);
    let fixed = AutoRequest { uids: vec![map(10, 1000, 1)], ..AutoRequest::default() };
    let maps = auto(&fixed, 20, &[], &root()).expect("fits");
    assert_eq!(maps.uids, [map(0, 2_000_000, 10), map(10, 1000, 1), map(11, 2_000_010, 9)]);
    let own = auto(&plain, 1024, &[], &anna()).expect("fits");
    assert_eq!(own.uids, [map(0, 1, 1024)]);
    let none = Ground { subuid: String::new(), ..root() };
    assert!(auto(&plain, 1024, &[], &none).expect_err("no ranges").hint.is_some());
}
