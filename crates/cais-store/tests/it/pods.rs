//! Pods and their members.

use cais_store::record::{PodNamespace, PodRecord, PodRequest};
use cais_store::{Noun, StoreError, random_id};

use crate::sample::{container, home};

fn pod(name: &str) -> PodRecord {
    let request = PodRequest { share: PodNamespace::DEFAULT.to_vec(), ..PodRequest::default() };
    PodRecord { id: random_id(), name: name.into(), request, ..PodRecord::default() }
}

#[test]
fn life_of_a_pod() {
    let home = home();
    let store = &home.store;
    assert!(store.pods().unwrap().is_empty());
    let first = pod("first");
    {
        let hold = store.hold_pods().unwrap();
        store.put_pod(&first, &hold).unwrap();
        let taken = store.put_pod(&pod("first"), &hold);
        assert!(matches!(taken, Err(StoreError::NameTaken { noun: Noun::Pod, .. })), "{taken:?}");
        assert!(matches!(store.put_pod(&pod("-"), &hold), Err(StoreError::BadName { .. })));
    }
    for text in [first.id.as_str(), "first", &first.id[..10]] {
        assert_eq!(store.find_pod(text).unwrap(), first, "{text}");
    }
    assert!(matches!(store.find_pod("second"), Err(StoreError::NoSuch { noun: Noun::Pod, .. })));
    let mut member = container(&random_id(), "member");
    member.pod = Some(first.id.clone());
    let other = container(&random_id(), "other");
    for record in [&member, &other] {
        store.put_container(record, &store.hold().unwrap()).unwrap();
    }
    assert_eq!(store.pod_members(&first.id).unwrap(), [member.id.as_str()]);
    assert!(!store.remove_pod(&first.id).unwrap(), "it has a member");
    store.remove_container(&member.id).unwrap();
    assert!(store.remove_pod(&first.id).unwrap() && store.remove_pod(&first.id).unwrap());
    assert!(store.pods().unwrap().is_empty());
}

#[test]
fn what_a_killed_maker_left_is_found() {
    let home = home();
    let store = &home.store;
    let hold = store.hold_pods().unwrap();
    let [mut half, mut used, whole] = ["half", "used", "whole"].map(pod);
    half.infra = Some(random_id());
    used.infra = Some(random_id());
    for record in [&half, &used, &whole] {
        store.put_pod(record, &hold).unwrap();
    }
    drop(hold);
    let mut member = container(&random_id(), "member");
    member.pod = Some(used.id.clone());
    let mut orphan = container(&random_id(), "orphan");
    orphan.pod = Some(random_id());
    for record in [&member, &orphan] {
        store.put_container(record, &store.hold().unwrap()).unwrap();
    }
    std::fs::write(home.store.paths().root().join(format!("pods/{}.json", "7".repeat(64))), "{").unwrap();
    let mut found: Vec<(&str, String, bool)> =
        store.check(true).unwrap().into_iter().map(|f| (f.kind, f.object, f.repaired)).collect();
    found.sort();
    let mut expected = vec![
        ("container", orphan.id, false),
        ("pod", "7".repeat(64), true),
        ("pod", half.id, true),
        ("pod", used.id, false),
    ];
    expected.sort();
    assert_eq!(found, expected);
    assert!(store.find_pod("half").is_err() && store.find_pod("whole").is_ok());
}
