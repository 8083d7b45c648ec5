//! The kernel as safe calls: spawn, locks, signals, namespaces, mounts; the home of unsafe code.

#![allow(unsafe_code)]

pub mod bpf;
pub mod inherited;
pub mod landlock;
pub mod lock;
pub mod mountns;
pub mod namespace;
pub mod netns;
pub mod process;
pub mod seccomp;
pub mod signal;
pub mod spawn;
pub mod userns;
pub mod x32;
