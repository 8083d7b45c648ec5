//! The embedded shim, driven by small plans as an OCI runtime drives it. Needs root and a static busybox.

#[path = "it/shim/mod.rs"]
mod shim;
