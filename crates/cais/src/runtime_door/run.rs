//! `run`: create and start in one; in the foreground the container's exit status is ours.

use cais_bundle::RunRequest;

use super::failure::{Failure, Outcome};
use super::flags::Words;
use super::{Door, create};

pub(super) fn main(door: &Door, words: &Words) -> Outcome {
    create::keep_root(&door.globals)?;
    let request = RunRequest {
        create: create::request(words)?,
        detach: words.switch("detach"),
        keep: words.switch("keep"),
        no_subreaper: words.switch("no-subreaper"),
    };
    status(door.runtime()?.run(&request)?)
}

/// An exit status as the kernel takes it.
///
/// # Errors
/// When it is none.
pub(super) fn status(code: i32) -> Outcome {
    u8::try_from(code).map_err(|_| Failure::usage(format!("{code} is no exit status")))
}
