//! Any bytes as a runtime's state.json: what is read holds together, and is written as it was read.
//!
//! Run by `cargo +nightly fuzz run state`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| cais_bundle::fuzz::state(data));
