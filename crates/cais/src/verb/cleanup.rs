//! `__cleanup ID`: what comes after the end of a container whose starter is gone. Called by its monitor.

use std::ffi::OsString;

use crate::door::Door;
use crate::failure::{Failure, Outcome};

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let [id] = argv.as_slice() else { return Err(Failure::usage("one id is expected")) };
    door.engine()?.cleanup(&id.to_string_lossy())?;
    Ok(0)
}
