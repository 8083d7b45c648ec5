//! The runtime's command line, end to end: the real binary called as `cais-runtime`, one file per command, then the
//! engines that call it.
//!
//! What is expected is what runc does, which callers are written for; `CAIS_TEST_RUNTIME` names another runtime that
//! the same tests can judge. Each test has namespaces and a control group of its own.

mod attacks;
mod bed;
mod containerd;
mod create;
mod criu;
mod delete;
mod dockerd;
mod events;
mod exec;
mod global;
mod guest;
mod habits;
mod kill;
mod list;
mod pause;
mod podman;
mod ps;
mod run;
mod socket;
mod spec;
mod start;
mod update;
