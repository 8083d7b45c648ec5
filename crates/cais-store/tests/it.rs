//! Integration tests of the store: on real directories, with real processes where locks and crashes matter.

#[path = "it/check.rs"]
mod check;
#[path = "it/containers.rs"]
mod containers;
#[path = "it/crash.rs"]
mod crash;
#[path = "it/images.rs"]
mod images;
#[path = "it/implied.rs"]
mod implied;
#[path = "it/open.rs"]
mod open;
#[path = "it/pods.rs"]
mod pods;
#[path = "it/sample.rs"]
mod sample;
#[path = "it/volumes.rs"]
mod volumes;
