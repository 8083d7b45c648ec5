//! The kernel as safe calls: spawn, locks, signals, namespaces, mounts; the home of unsafe code.

#![allow(unsafe_code)]

pub mod bpf;
pub mod lock;
pub mod netns;
pub mod signal;
pub mod spawn;
pub mod userns;
pub mod x32;
