//! One file per command: its flags, and what it asks of the engine.

mod attach;
mod cleanup;
mod commit;
mod cp;
mod create;
mod diff;
mod exec;
mod export;
mod history;
mod images;
mod import;
mod info;
mod inspect;
mod kill;
mod load;
mod logs;
mod port;
mod prune;
mod ps;
mod pull;
mod rm;
mod rmi;
mod run;
mod start;
mod stop;
mod system_check;
mod system_df;
mod tag;
mod version;
mod volume;
mod wait;

pub mod table;
