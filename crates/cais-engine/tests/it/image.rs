//! Images in and out of the store: load, import, pull, tag, rmi, volumes.

#[path = "image/archives.rs"]
mod archives;
#[path = "image/loading.rs"]
mod loading;
#[path = "image/pulling.rs"]
mod pulling;
#[path = "image/registry.rs"]
mod registry;
#[path = "image/removing.rs"]
mod removing;
#[path = "image/volumes.rs"]
mod volumes;

use std::path::Path;
use std::sync::Mutex;

use cais_engine::progress::{LayerEvent, Progress};
use cais_engine::{Config, Engine};
use cais_oci::Digest;
use cais_store::Store;
use tempfile::TempDir;

/// An engine on a temporary directory.
struct Home {
    engine: Engine,
    /// The same store, to look behind the engine.
    store: Store,
    directory: TempDir,
}

fn home() -> Home {
    let directory = tempfile::tempdir().unwrap();
    let (root, run) = (directory.path().join("lib"), directory.path().join("run"));
    let engine = Engine::open(config(&root, &run)).unwrap();
    let store = Store::open(&root, &run).unwrap();
    Home { engine, store, directory }
}

fn config(root: &Path, run: &Path) -> Config {
    Config::at(root.to_owned(), run.to_owned())
}

impl Home {
    /// The file of an image's layer.
    fn file(&self, image: &Digest, layer: usize, path: &str) -> String {
        let record = self.store.load_image(image).unwrap().unwrap();
        let path = self.store.paths().layer_fs(&record.layers[layer]).join(path);
        std::fs::read_to_string(path).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.engine.images().unwrap().into_iter().flat_map(|image| image.names).collect();
        names.sort();
        names
    }

    /// Nothing of a failed attempt is visible, and what lies around is taken away by a check.
    fn assert_untouched(&self) {
        assert!(self.engine.images().unwrap().is_empty());
        self.store.check(true).unwrap();
        assert_eq!(self.store.check(false).unwrap(), []);
        for directory in [self.store.paths().layers(), self.store.paths().blobs()] {
            assert_eq!(std::fs::read_dir(directory).unwrap().count(), 0);
        }
    }
}

/// Remembers what it was told.
#[derive(Default)]
struct Recorder {
    messages: Mutex<Vec<String>>,
    layers: Mutex<Vec<(Digest, LayerEvent)>>,
    warnings: Mutex<Vec<String>>,
}

impl Progress for Recorder {
    fn message(&self, text: &str) {
        self.messages.lock().unwrap().push(text.to_owned());
    }
    fn layer(&self, digest: &Digest, event: LayerEvent) {
        self.layers.lock().unwrap().push((digest.clone(), event));
    }
    fn warn(&self, text: &str) {
        self.warnings.lock().unwrap().push(text.to_owned());
    }
}

impl Recorder {
    fn messages(&self) -> Vec<String> {
        self.messages.lock().unwrap().clone()
    }
    fn count(&self, event: &LayerEvent) -> usize {
        self.layers.lock().unwrap().iter().filter(|(_, seen)| seen == event).count()
    }
}
