//! The hidden words by which the monitor of a container calls us: `__cleanup ID` after the end, `__again ID` when it is
//! time to run it again, `__probe ID` when its health is to be probed.

use std::ffi::OsString;

use crate::door::Door;
use crate::failure::{Failure, Outcome};

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    door.engine()?.cleanup(&id(argv)?)?;
    Ok(0)
}

pub(super) fn again(door: &Door, argv: Vec<OsString>) -> Outcome {
    door.engine()?.again(&id(argv)?)?;
    Ok(0)
}

pub(super) fn probe(door: &Door, argv: Vec<OsString>) -> Outcome {
    let status = door.engine()?.probe(&id(argv)?)?;
    Ok(u8::try_from(status).unwrap_or(1))
}

fn id(argv: Vec<OsString>) -> Result<String, Failure> {
    match argv.as_slice() {
        [id] => Ok(id.to_string_lossy().into_owned()),
        _ => Err(Failure::usage("one id is expected")),
    }
}
