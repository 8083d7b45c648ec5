//! One file per command: its flags, and what it asks of the engine.

mod attach;
mod cleanup;
mod cp;
mod create;
mod diff;
mod exec;
mod export;
mod images;
mod import;
mod info;
mod inspect;
mod kill;
mod load;
mod logs;
mod port;
mod ps;
mod pull;
mod rm;
mod rmi;
mod run;
mod start;
mod stop;
mod system_check;
mod tag;
mod version;
mod volume;
mod wait;

pub mod table;
