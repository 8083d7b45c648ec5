//! Any bytes as what a runtime hears: a packet of a container's first process, a message to its `NOTIFY_SOCKET`, one to
//! the watcher of a seccomp filter, `/proc/PID/stat`. The first byte says which.
//!
//! Run by `cargo +nightly fuzz run message`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| cais_bundle::fuzz::message(data));
