//! The program of the embedded image `hello`: tells in plain words what a process sees from inside a container.
//!
//! All of it is pure: [`report()`] turns what the kernel's files say ([`Sight`]) into text on a [`Page`]. Only `start.rs`,
//! which is no part of this library and is compiled into a libc-free executable, reads files and writes to
//! standard output. Nothing here allocates; every line is at most 80 columns wide; no colour.

#![cfg_attr(not(test), no_std)]

pub mod drawing;
pub mod page;
pub mod proc;
pub mod report;

pub use page::Page;
pub use report::{Root, Sight, WriteTest, report};

/// Kinds of namespaces, as `/proc/self/ns` names them.
pub const NAMESPACES: [&str; 8] = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];
