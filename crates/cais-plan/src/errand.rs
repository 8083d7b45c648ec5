//! The hidden words with which the monitor calls the main program for what needs thought.
//!
//! Each is followed by the container's id. C strings: the shim hands them to the kernel as they are.

use core::ffi::CStr;

/// The container has ended: take the run down; with `Setup::stays`, say by [`crate::wire::AGAIN`] when it runs again.
pub const ENDED: &CStr = c"__cleanup";
/// The time is over: run the container again.
pub const AGAIN: &CStr = c"__again";
/// Descriptor of the run's lock for [`AGAIN`]: it is never free between two runs.
pub const LOCK_FD: i32 = 3;
/// Probe the container's health. Ends with [`PROBE_STARTING`] as long as no probe has succeeded.
pub const PROBE: &CStr = c"__probe";

/// Compress a full file of the log: from the standard input to the standard output.
pub const COMPRESS: &CStr = c"__compress";

/// The kernel has killed for memory, or is about to; the container runs on.
pub const OOM: &CStr = c"__oom";

/// Exit status of [`PROBE`]: the container is still starting.
pub const PROBE_STARTING: i32 = 3;
