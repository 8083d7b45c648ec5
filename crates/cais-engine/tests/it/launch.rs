//! Starts that fail at each step of the launch plan in turn, and what they leave behind: nothing.

use std::path::{Path, PathBuf};

use cais_engine::attach::{MESSAGE_BYTES, Message};
use cais_engine::progress::{LayerEvent, Progress};
use cais_engine::{Config, ContainerRequest, Engine, ErrorKind, NetworkRequest};

struct Silent;

impl Progress for Silent {
    fn message(&self, _: &str) {}
    fn layer(&self, _: &cais_oci::Digest, _: LayerEvent) {}
    fn warn(&self, _: &str) {}
}

fn config(folder: &Path) -> Config {
    Config::at(folder.join("root"), folder.join("run"))
}

fn request(network: NetworkRequest) -> ContainerRequest {
    ContainerRequest {
        image: "hello".into(),
        name: Some("probe".into()),
        network,
        // Steps that only some containers have.
        read_only: true,
        init: true,
        hostname: Some("box".into()),
        domainname: Some("example".into()),
        ..ContainerRequest::default()
    }
}

fn names(directory: PathBuf) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect()
}

/// Everything on the machine that bears the container's id or the store's path.
fn leftovers(folder: &Path, id: &str) -> Vec<String> {
    let mut found = names(folder.join("run/containers"));
    found.extend(names(folder.join("run/leases")));
    for hierarchy in names("/sys/fs/cgroup".into()) {
        let group = Path::new("/sys/fs/cgroup").join(&hierarchy).join("cais").join(id);
        if group.exists() {
            found.push(group.display().to_string());
        }
    }
    found.extend(
        names("/sys/class/net".into()).into_iter().filter(|n| n.starts_with(&format!("vc{}", &id[..8]))),
    );
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    found.extend(mounts.lines().filter(|l| l.contains(&*folder.to_string_lossy())).map(str::to_owned));
    let children = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    found.extend(children.split_whitespace().map(|pid| format!("process {pid}")));
    found
}

/// Runs the probe with each step failing until one start succeeds; how many failed.
fn fail_every_step(network: &NetworkRequest) -> usize {
    let folder = tempfile::tempdir().expect("tempdir");
    for step in 0..200 {
        let failing = Config { failing_step: Some(step), ..config(folder.path()) };
        let engine = Engine::open(failing).expect("opens");
        let outcome = engine.run(request(network.clone()), &Silent);
        let id = engine.container("probe").expect("the container stays").record.id;
        match outcome {
            Err(error) => {
                assert!(!error.message.is_empty());
                assert_ne!(error.kind, ErrorKind::NotFound, "step {step}: {error}");
            }
            Ok(running) => {
                let stream = running.stream.expect("attached");
                let mut buffer = vec![0; MESSAGE_BYTES];
                let code = loop {
                    match stream.recv(&mut buffer).expect("talks") {
                        Message::Exit { code, .. } => break code,
                        Message::Closed => panic!("closed before the end"),
                        _ => {}
                    }
                };
                assert_eq!(code, 0);
                stream.finish().expect("taken down");
                engine.remove("probe", false, true).expect("removes");
                assert_eq!(leftovers(folder.path(), &id), Vec::<String>::new());
                return step;
            }
        }
        assert_eq!(leftovers(folder.path(), &id), Vec::<String>::new(), "after step {step} failed");
        let state = engine.container("probe").expect("there");
        assert!(
            state.exit.is_some_and(|exit| exit.code >= 125 && !exit.error.is_empty()),
            "step {step} left no reason"
        );
        engine.remove("probe", false, true).expect("removes");
        assert_eq!(names(folder.path().join("root/containers")), Vec::<String>::new());
        assert_eq!(names(folder.path().join("root/names")), Vec::<String>::new());
    }
    panic!("no start succeeded");
}

#[test]
fn a_start_that_fails_at_any_step_leaves_nothing() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    let steps = fail_every_step(&NetworkRequest::None);
    assert!(steps > 40, "only {steps} steps were tried");
}

#[test]
fn nor_does_one_on_the_bridge() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    // A network namespace of this thread's own: the bridge is made there.
    cais_sys::netns::unshare_network().expect("unshare");
    let steps = fail_every_step(&NetworkRequest::Bridge);
    assert!(steps > 40, "only {steps} steps were tried");
}

#[test]
fn parallel_creates_that_choose_names_all_succeed() {
    let folder = tempfile::tempdir().expect("tempdir");
    let engine = Engine::open(config(folder.path())).expect("opens");
    // The image is in the store before the race.
    engine.create(ContainerRequest { name: None, ..request(NetworkRequest::None) }, &Silent).expect("first");
    let create = |_| {
        let engine = engine.clone();
        std::thread::spawn(move || {
            let unnamed = ContainerRequest { name: None, ..request(NetworkRequest::None) };
            (0..50).map(|_| engine.create(unnamed.clone(), &Silent).map(|made| made.id)).collect::<Vec<_>>()
        })
    };
    let threads: Vec<_> = (0..8).map(create).collect();
    let made: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect();
    assert_eq!(made.iter().filter(|m| m.is_err()).count(), 0, "{:?}", made.iter().find(|m| m.is_err()));
    assert_eq!(engine.containers(true).expect("lists").len(), 401);
}
