//! The programs that the engine carries: see `build.rs`.

/// The shim: launches and monitors a container.
pub const SHIM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/cais-shim"));

/// The program of the image `hello`.
pub const HELLO: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/cais-hello"));
