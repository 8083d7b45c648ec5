//! Tests: containers.

use std::os::unix::fs::PermissionsExt;
use std::sync::Barrier;

use cais_store::record::RunFacts;
use cais_store::{StoreError, random_id};

use crate::sample::{container, home};

#[test]
fn of_many_creators_of_one_name_one_wins() {
    let home = home();
    for round in 0..20 {
        let name = format!("same-{round}");
        let barrier = Barrier::new(8);
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let record = container(&random_id(), &name);
                        barrier.wait();
                        home.store.put_container(&record, &home.store.hold().unwrap()).map(|()| record.id)
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let winners: Vec<&String> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()).collect();
        assert_eq!(winners.len(), 1, "{outcomes:?}");
        for error in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
            assert!(matches!(error, StoreError::NameTaken { .. }), "{error}");
        }
        assert_eq!(&home.store.resolve_container(&name).unwrap(), winners[0]);
    }
    assert_eq!(home.store.container_ids().unwrap().len(), 20);
    assert_eq!(home.store.check(false).unwrap(), []);
}

#[test]
fn resolution_prefers_id_then_name_then_prefix() {
    let home = home();
    let put = |id: &str, name: &str| {
        home.store.put_container(&container(id, name), &home.store.hold().unwrap()).unwrap();
    };
    let (a, b) = (format!("aa11{}", "0".repeat(60)), format!("aa22{}", "0".repeat(60)));
    put(&a, "first");
    put(&b, "aa1");
    let resolve = |text: &str| home.store.resolve_container(text);
    assert_eq!(resolve(&a).unwrap(), a);
    assert_eq!(resolve("first").unwrap(), a);
    assert_eq!(resolve("/first").unwrap(), a);
    assert_eq!(resolve("aa1").unwrap(), b, "a name beats a prefix");
    assert_eq!(resolve("aa11").unwrap(), a);
    let Err(StoreError::Ambiguous { candidates, .. }) = resolve("aa") else { panic!() };
    assert_eq!(candidates, [&a[..12], &b[..12]]);
    for missing in ["nobody", "", "ab", "../containers", &"f".repeat(64)] {
        assert!(matches!(resolve(missing), Err(StoreError::NoSuch { .. })), "{missing:?}");
    }
    let bad = home.store.put_container(&container(&random_id(), "a/b"), &home.store.hold().unwrap());
    assert!(matches!(bad, Err(StoreError::BadName { .. })));
    assert_eq!(home.store.load_container(&a).unwrap().name, "first");
}

#[test]
fn removal_is_idempotent_and_frees_the_name() {
    let home = home();
    let record = container(&random_id(), "gone");
    let paths = home.store.paths();
    home.store.put_container(&record, &home.store.hold().unwrap()).unwrap();
    let work = paths.container_work(&record.id).join("work");
    std::fs::create_dir_all(&work).unwrap();
    std::fs::create_dir_all(paths.container_upper(&record.id).join("a/b")).unwrap();
    std::fs::set_permissions(&work, std::fs::Permissions::from_mode(0o0)).unwrap();
    drop(home.store.take_run_lock(&record.id).unwrap());
    for _ in 0..2 {
        home.store.remove_container(&record.id).unwrap();
        assert!(home.store.name_available("gone").unwrap());
        assert!(!paths.container(&record.id).exists() && !paths.run_container(&record.id).exists());
    }
    // A name that was given to another container meanwhile stays.
    let successor = container(&random_id(), "gone");
    home.store.put_container(&successor, &home.store.hold().unwrap()).unwrap();
    home.store.remove_container(&record.id).unwrap();
    assert_eq!(home.store.resolve_container("gone").unwrap(), successor.id);
    assert_eq!(home.store.check(false).unwrap(), []);
}

#[test]
fn two_removers_and_a_successor() {
    let home = home();
    for _ in 0..50 {
        let record = container(&random_id(), "reused");
        home.store.put_container(&record, &home.store.hold().unwrap()).unwrap();
        let successor = container(&random_id(), "reused");
        std::thread::scope(|scope| {
            scope.spawn(|| home.store.remove_container(&record.id).unwrap());
            scope.spawn(|| home.store.remove_container(&record.id).unwrap());
            scope.spawn(|| {
                let hold = home.store.hold().unwrap();
                while home.store.put_container(&successor, &hold).is_err() {
                    std::thread::yield_now();
                }
            });
        });
        assert_eq!(home.store.resolve_container("reused").unwrap(), successor.id);
        home.store.remove_container(&successor.id).unwrap();
    }
    assert_eq!(home.store.check(false).unwrap(), []);
}

#[test]
fn a_run_is_what_the_lock_says() {
    let home = home();
    let record = container(&random_id(), "runner");
    home.store.put_container(&record, &home.store.hold().unwrap()).unwrap();
    let id = &record.id;
    assert!(!home.store.is_running(id).unwrap());
    let lock = home.store.take_run_lock(id).unwrap();
    assert!(home.store.is_running(id).unwrap());
    assert!(matches!(home.store.take_run_lock(id), Err(StoreError::Running { .. })));
    home.store.write_facts(id, &RunFacts { pid: 42, ..RunFacts::default() }).unwrap();
    assert_eq!(home.store.read_facts(id).unwrap().unwrap().pid, 42);
    drop(lock);
    assert!(!home.store.is_running(id).unwrap());
    assert_eq!(home.store.read_exit(id).unwrap(), None);
    std::fs::write(home.store.paths().container_exit(id), "code=3 signal=0 oom=0 started=5 finished=6\n")
        .unwrap();
    assert_eq!(home.store.read_exit(id).unwrap().unwrap().code, 3);
    // A new run starts without the facts of the old one.
    drop(home.store.take_run_lock(id).unwrap());
    assert_eq!(home.store.read_facts(id).unwrap(), None);
    std::fs::write(home.store.paths().container_exit(id), "rubbish").unwrap();
    assert!(matches!(home.store.read_exit(id), Err(StoreError::DamagedText { .. })));
    home.store.clear_exit(id).unwrap();
    home.store.clear_exit(id).unwrap();
}

#[test]
fn a_name_changes_once_and_whole() {
    let home = home();
    let (a, b) = (random_id(), random_id());
    for (id, name) in [(&a, "first"), (&b, "second")] {
        home.store.put_container(&container(id, name), &home.store.hold().unwrap()).unwrap();
    }
    assert_eq!(home.store.rename_container(&a, "third").unwrap(), "first");
    assert_eq!(home.store.resolve_name("third").unwrap(), a);
    assert!(matches!(home.store.resolve_name("first"), Err(StoreError::NoSuch { .. })));
    assert_eq!(home.store.load_container(&a).unwrap().name, "third");
    for taken in ["second", "third"] {
        let refused = home.store.rename_container(&a, taken);
        assert!(matches!(refused, Err(StoreError::NameTaken { .. })), "{taken}");
    }
    assert!(matches!(home.store.rename_container(&a, "a/b"), Err(StoreError::BadName { .. })));
    assert!(matches!(home.store.rename_container(&random_id(), "fresh"), Err(StoreError::NoSuch { .. })));
    assert!(home.store.name_available("fresh").unwrap());
    let barrier = Barrier::new(2);
    std::thread::scope(|scope| {
        for id in [&a, &b] {
            scope.spawn(|| {
                barrier.wait();
                home.store.rename_container(id, "wanted")
            });
        }
    });
    let owner = home.store.resolve_name("wanted").unwrap();
    assert_eq!(home.store.load_container(&owner).unwrap().name, "wanted");
    assert_eq!(home.store.check(false).unwrap(), []);
}

#[test]
fn changes_of_one_record_do_not_lose_each_other() {
    let home = home();
    let id = random_id();
    home.store.put_container(&container(&id, "one"), &home.store.hold().unwrap()).unwrap();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (store, id) = (&home.store, &id);
            scope.spawn(move || {
                store.change_container(id, |record| {
                    record.env.push(format!("N{number}=1"));
                    Ok::<_, StoreError>(())
                })
            });
        }
    });
    assert_eq!(home.store.load_container(&id).unwrap().env.len(), 8 + container("x", "x").env.len());
    let failed = home.store.change_container(&id, |record| {
        record.env.clear();
        Err::<(), _>(StoreError::Running { id: "x".into() })
    });
    assert!(failed.is_err());
    assert!(!home.store.load_container(&id).unwrap().env.is_empty(), "nothing was written");
}
