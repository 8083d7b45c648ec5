//! For tests and benchmarks only: layers and images made here, registries that tell the truth or lie, namespaces
//! that keep a test off the host, and a harness that drives the real binary.
//!
//! Invariants: nothing here is linked into the product; no code of the product makes the test data (the tar
//! encoder, the image layouts and the HTTP servers are written anew, so that a shared mistake cannot hide);
//! whatever a test starts dies with it, because it lives in namespaces whose first process goes first.
//! Unlike the libraries of the product it may panic: a panic is how a test fails.

pub mod cais;
pub mod fake_registry;
pub mod image;
pub mod isolation;
pub mod layer;
pub mod process;
pub mod pty;
pub mod registry;
pub mod rootfs;
pub mod vm;
pub mod world;

pub use cais::{Cais, e2e, e2e_empty};
pub use image::{Compression, Image, Layout};
pub use layer::{Entry, EntryKind, Layer};
pub use process::{Finished, Invocation, Running, wait_until};

/// Prints `skipped: REASON`, which `cargo xtask test` counts; the caller returns after it.
pub fn skip(reason: impl std::fmt::Display) {
    println!("skipped: {reason}");
}

/// Whether the kernel has the cgroup controller, mounted alone or in the unified tree; else the test is skipped.
#[must_use]
pub fn has_controller(controller: &str) -> bool {
    let unified = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    let has = unified.split_whitespace().any(|word| word == controller)
        || std::path::Path::new("/sys/fs/cgroup").join(controller).is_dir();
    if !has {
        skip(format_args!("no cgroup controller {controller}"));
    }
    has
}
