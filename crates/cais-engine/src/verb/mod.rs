//! One file per verb; each adds its method to [`crate::Engine`].

mod attach;
mod check;
mod container_inspect;
mod container_size;
mod containers;
mod copy;
pub(crate) mod create;
mod diff;
mod exec;
mod export;
mod images;
mod import;
mod info;
mod kill;
mod load;
mod logs;
mod pull;
mod remove;
mod rmi;
mod run;
mod start;
mod tag;
mod volume;
mod wait;

pub use container_size::ContainerSize;
pub use cais_layer::{Change, ChangeKind};
pub use copy::CopyOptions;
pub use create::Created;
pub use exec::ExecRequest;
pub use info::VERSION;
pub use load::{LoadInput, Loaded};
pub use logs::{LogLine, LogOptions, LogSink};
pub use pull::Pulled;
pub use run::Running;
pub use start::Started;
pub use wait::WaitCondition;
