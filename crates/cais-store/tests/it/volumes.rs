//! Tests: volumes.

use std::sync::Barrier;

use cais_store::record::{MountRecord, MountRequest};
use cais_store::{StoreError, random_id};

use crate::sample::{container, home};

#[test]
fn life_of_a_volume() {
    let home = home();
    let labels = [("k".to_owned(), "v".to_owned())].into();
    let (made, new) = home.store.create_volume(Some("data"), labels, Default::default()).unwrap();
    assert!(new && !made.anonymous);
    std::fs::write(home.store.volume_path("data").join("f"), "x").unwrap();
    let (again, new) =
        home.store.create_volume(Some("data"), Default::default(), Default::default()).unwrap();
    assert_eq!((again, new), (made.clone(), false));
    let (anonymous, _) = home.store.create_volume(None, Default::default(), Default::default()).unwrap();
    assert!(anonymous.anonymous && anonymous.name.len() == 64);
    assert_eq!(home.store.volumes().unwrap().len(), 2);
    assert_eq!(home.store.load_volume("data").unwrap(), made);
    for bad in ["", "x", "../x", "a b"] {
        assert!(
            home.store.create_volume(Some(bad), Default::default(), Default::default()).is_err(),
            "{bad:?}"
        );
        assert!(matches!(home.store.load_volume(bad), Err(StoreError::NoSuch { .. })));
        assert!(matches!(home.store.remove_volume(bad), Err(StoreError::NoSuch { .. })));
    }

    let mut record = container(&random_id(), "user");
    let request = MountRequest { source: "data".into(), target: "/d".into(), ..MountRequest::default() };
    record.mounts.push(MountRecord { request, volume: "data".into(), ..MountRecord::default() });
    home.store.put_container(&record, &home.store.hold().unwrap()).unwrap();
    assert_eq!(home.store.containers_using_volume("data").unwrap(), [record.id.clone()]);
    let Err(StoreError::InUse { containers, .. }) = home.store.remove_volume("data") else { panic!() };
    assert_eq!(containers, [&record.id[..12]]);
    home.store.remove_container(&record.id).unwrap();
    home.store.remove_volume("data").unwrap();
    assert!(matches!(home.store.remove_volume("data"), Err(StoreError::NoSuch { .. })));
    assert!(!home.store.paths().volume("data").exists());
    assert_eq!(home.store.check(false).unwrap(), []);
}

#[test]
fn of_many_creators_one_makes_it() {
    let home = home();
    for round in 0..10 {
        let name = format!("vol{round}");
        let barrier = Barrier::new(6);
        let new: usize = std::thread::scope(|scope| {
            let make = || {
                barrier.wait();
                home.store.create_volume(Some(&name), Default::default(), Default::default()).unwrap().1
            };
            let threads: Vec<_> = (0..6).map(|_| scope.spawn(make)).collect();
            threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum()
        });
        assert_eq!(new, 1);
    }
    assert_eq!(home.store.check(false).unwrap(), []);
}
