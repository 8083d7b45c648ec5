//! The shim in the roles `FIRST` and `PARENT`: the real program, hand-written plans, and we are the runtime.

mod command;
mod conversation;
mod hooks;
mod identity;
mod mounts;
mod rig;
mod seccomp;
