//! The hidden words by which the monitor of a container calls us: `__cleanup ID` after the end, `__again ID` when it is
//! time to run it again, `__probe ID` when its health is to be probed, `__oom ID` after a kill for memory, `__compress ID` for a full file of its log.

use std::ffi::OsString;
use std::fs::File;
use std::io::{stdin, stdout};
use std::os::fd::{AsFd, BorrowedFd};

use cais_engine::verb::compress_log;

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

pub(super) fn oom(door: &Door, argv: Vec<OsString>) -> Outcome {
    door.engine()?.out_of_memory(&id(argv)?)?;
    Ok(0)
}

/// From the standard input to the standard output; what becomes of it is the monitor's.
pub(super) fn compress(_door: &Door, argv: Vec<OsString>) -> Outcome {
    id(argv)?;
    let file = |fd: BorrowedFd<'_>| {
        fd.try_clone_to_owned().map(File::from).map_err(|error| Failure::edge("open a log", error))
    };
    let (source, target) = (file(stdin().as_fd())?, file(stdout().as_fd())?);
    compress_log(&source, &target).map_err(|error| Failure::edge("compress a log", error))?;
    Ok(0)
}

fn id(argv: Vec<OsString>) -> Result<String, Failure> {
    match argv.as_slice() {
        [id] => Ok(id.to_string_lossy().into_owned()),
        _ => Err(Failure::usage("one id is expected")),
    }
}
