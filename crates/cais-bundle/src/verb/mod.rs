//! The operations, one file each.

pub mod checkpoint;
pub mod create;
pub mod delete;
pub mod events;
pub mod exec;
mod exec_group;
pub mod features;
pub mod kill;
pub mod pause;
pub mod ps;
pub mod restore;
pub mod run;
pub mod start;
pub mod state;
pub mod update;
