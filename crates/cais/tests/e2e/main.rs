//! End-to-end tests: the real binary, one file per command, each test in namespaces of its own.
//!
//! What is expected is what `docker` documents, unless a comment says otherwise. A test sees the engine only through
//! its command line, the kernel and the disk; nothing of the engine is linked here.

mod attach;
mod boot;
mod commit;
mod completion;
mod container;
mod cp;
mod create;
mod debug;
mod diff;
mod events;
mod exec;
mod export;
mod faults;
mod golden;
mod health;
mod history;
mod images;
mod import;
mod info;
mod inspect;
mod kill;
mod launch_flags;
mod limits;
mod load;
mod logs;
mod network;
mod pause;
mod port;
mod prune;
mod ps;
mod pull;
mod rename;
mod restart;
mod restart_policy;
mod rm;
mod rmi;
mod rootless;
mod run;
mod run_streams;
mod run_terminal;
mod security;
mod share_namespaces;
mod start;
mod stats;
mod stop;
mod system_df;
mod tag;
mod top;
mod update;
mod version;
mod volume;
mod wait;
mod why;
