//! A store filled by hand: containers in any state, without running anything.

use std::fs::{File, OpenOptions};
use std::ops::ControlFlow;

use cais_engine::verb::LogOptions;
use cais_engine::view::{State, Stream};
use cais_engine::{Config, ContainerRecord, ContainerRequest, Engine, NetworkRequest, RunFacts};
use cais_store::Store;

/// A store and an engine on it; gone when dropped.
pub(crate) struct World {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) store: Store,
    pub(crate) engine: Engine,
}

impl World {
    pub(crate) fn new() -> World {
        let directory = tempfile::tempdir().unwrap();
        let (root, run) = (directory.path().join("root"), directory.path().join("run"));
        let store = Store::open(&root, &run).unwrap();
        let config = Config::at(root, run);
        World { engine: Engine::open(config).unwrap(), store, directory }
    }

    /// A container that was created at second `second`; its id repeats the digit.
    pub(crate) fn container(&self, digit: char, second: u32) -> String {
        let id: String = std::iter::repeat_n(digit, 64).collect();
        self.put(&id, format!("name-{digit}"), format!("2026-11-20T10:00:{second:02}.000000000Z"));
        id
    }

    /// A container of a fresh id, which collides with nothing on the machine.
    pub(crate) fn fresh(&self) -> String {
        let id = cais_store::random_id();
        self.put(&id, format!("name-{}", &id[..12]), "2026-11-20T10:00:00.000000000Z".to_owned());
        id
    }

    fn put(&self, id: &str, name: String, created: String) {
        let record = ContainerRecord {
            id: id.to_owned(),
            name,
            created,
            request: ContainerRequest::default(),
            image_id: None,
            image_name: "image".into(),
            layers: Vec::new(),
            args: vec!["/bin/true".into()],
            entrypoint: Vec::new(),
            cmd: vec!["/bin/true".into()],
            env: Vec::new(),
            workdir: "/".into(),
            user: String::new(),
            labels: Default::default(),
            stop_signal: 15,
            stop_signal_given: None,
            mounts: Vec::new(),
            exposed: Vec::new(),
            network: NetworkRequest::None,
            hostname: "host".into(),
            health: None,
            ..ContainerRecord::default()
        };
        let hold = self.store.hold().unwrap();
        self.store.put_container(&record, &hold).unwrap();
    }

    pub(crate) fn facts(&self, id: &str, shim_pid: i32) {
        let started = "2026-11-20T11:00:00.000000000Z".to_owned();
        self.store.write_facts(id, &RunFacts { started, shim_pid, pid: 1, ..RunFacts::default() }).unwrap();
    }

    pub(crate) fn exit(&self, id: &str, code: i32) {
        let line =
            format!("code={code} signal=0 oom=0 started=1700000000000000000 finished=1700000001000000000\n");
        std::fs::write(self.store.paths().container_exit(id), line).unwrap();
    }

    pub(crate) fn log(&self, id: &str) -> File {
        OpenOptions::new().create(true).append(true).open(self.store.paths().container_log(id)).unwrap()
    }

    pub(crate) fn states(&self, all: bool) -> Vec<(char, State)> {
        let views = self.engine.containers(all).unwrap();
        views.iter().map(|view| (view.record.id.chars().next().unwrap(), view.state)).collect()
    }

    /// What `logs` gives: `O:` or `E:` and the data, `+` behind a piece.
    pub(crate) fn logs(&self, id: &str, options: LogOptions) -> Vec<String> {
        let mut lines = Vec::new();
        self.engine
            .logs(id, options, &mut |line| {
                let stream = if line.stream == Stream::Stdout { 'O' } else { 'E' };
                let more = if line.partial { "+" } else { "" };
                lines.push(format!("{stream}:{}{more}", String::from_utf8_lossy(line.data)));
                ControlFlow::Continue(())
            })
            .unwrap();
        lines
    }
}
