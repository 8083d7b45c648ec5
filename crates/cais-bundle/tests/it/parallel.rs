//! Many at once.

use std::thread;

use cais_bundle::{Config, CreateRequest, Runtime};

use super::bundle::{World, wait_for};

#[test]
fn fifty_at_once() {
    let Some(world) = World::new() else { return };
    let names: Vec<String> = (0..50).map(|number| format!("p{number}")).collect();
    for name in &names {
        let mut spec = world.spec("exit 7");
        spec["linux"]["cgroupsPath"] = format!("{}/{name}", world.group).into();
        std::fs::write(world.bundle().join(format!("{name}.json")), spec.to_string()).expect("write");
    }
    let root = world.directory.path().join("state");
    thread::scope(|scope| {
        for name in &names {
            let (root, bundle) = (root.clone(), world.bundle());
            scope.spawn(move || {
                let runtime = Runtime::new(Config { root, ..Config::default() }).expect("runtime");
                let request = CreateRequest {
                    id: name.clone(),
                    bundle,
                    config: Some(format!("{name}.json").into()),
                    ..CreateRequest::default()
                };
                let pid = runtime.create(&request).unwrap_or_else(|e| panic!("create {name}: {e}"));
                runtime.start(name).unwrap_or_else(|e| panic!("start {name}: {e}"));
                assert_eq!(wait_for(pid), 7);
                runtime.delete(name, false).unwrap_or_else(|e| panic!("delete {name}: {e}"));
            });
        }
    });
    assert_eq!(world.runtime.list().expect("list"), []);
    for name in &names {
        world.assert_gone(name);
    }
}

#[test]
fn one_of_a_name_wins() {
    let Some(world) = World::new() else { return };
    world.write("c1", world.spec("sleep 1000"));
    let root = world.directory.path().join("state");
    let results: Vec<Result<i32, String>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (root, request) = (root.clone(), world.request("c1"));
                scope.spawn(move || {
                    let runtime = Runtime::new(Config { root, ..Config::default() }).expect("runtime");
                    runtime.create(&request).map_err(|error| error.to_string())
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("join")).collect()
    });
    let winners: Vec<i32> = results.iter().filter_map(|result| result.as_ref().ok().copied()).collect();
    assert_eq!(winners.len(), 1, "{results:?}");
    for error in results.iter().filter_map(|result| result.as_ref().err()) {
        assert_eq!(error, "container with given ID already exists");
    }
    // Of several starters one is heard.
    let started = thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let root = root.clone();
                scope.spawn(move || {
                    let runtime = Runtime::new(Config { root, ..Config::default() }).expect("runtime");
                    runtime.start("c1").map_err(|error| error.to_string())
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("join")).collect::<Vec<_>>()
    });
    assert_eq!(started.iter().filter(|result| result.is_ok()).count(), 1, "{started:?}");
    for error in started.iter().filter_map(|result| result.as_ref().err()) {
        assert_eq!(error, "cannot start an already running container");
    }
    world.runtime.delete("c1", true).expect("delete");
    wait_for(winners[0]);
    world.assert_gone("c1");
}
