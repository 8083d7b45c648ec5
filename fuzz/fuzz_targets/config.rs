//! Any bytes as a config.json: reading, checking, compiling its filter, planning its limits and its steps must not panic,
//! valid or not, and a plan that comes out must be one that the shim can read to its end.
//!
//! Run by `cargo +nightly fuzz run config`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| cais_bundle::fuzz::config(data));
