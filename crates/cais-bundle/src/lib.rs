//! An OCI bundle as a process, runtime-spec 1.2: the state machine of containers that other engines own.
//!
//! [`plan`] is pure: a configuration becomes steps. [`launch`] carries a plan out through the shim and keeps up the
//! conversation with the container's first process. Each operation is a file below [`verb`]. What lasts longer than one
//! command stands in the state directory of the container ([`state`]); no process of ours stays.
//!
//! Knows nothing of images, records or the engine's network; never reads a configuration twice; never touches a control
//! group, mount or process that it did not make.

mod console;
pub mod criu;
mod descriptor;
mod error;
mod filter;
#[doc(hidden)]
pub mod fuzz;
mod group;
mod hooks;
mod launch;
mod machine;
mod notify;
pub mod plan;
mod process;
mod readiness;
mod relay;
mod request;
mod resctrl;
mod runtime;
mod state;
mod verb;

pub use error::{Error, ErrorKind, HookFailure, Result};
pub use request::{
    CheckpointRequest, Config, CreateRequest, ExecRequest, IntelRdtUpdate, RestoreRequest, RunRequest,
};
pub use runtime::{Listed, Runtime};
pub use verb::events::Event;
pub use verb::features::template;

/// Newest version of the specification that is implemented.
pub const SPEC_VERSION: &str = cais_runtime::oci_features::SPEC_VERSION_MAX;
