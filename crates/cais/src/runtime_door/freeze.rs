//! `pause` and `resume`: the freezer.

use super::Door;
use super::failure::Outcome;
use super::flags::Words;

pub(super) fn pause(door: &Door, words: &Words) -> Outcome {
    door.runtime()?.pause(words.id()?)?;
    Ok(0)
}

pub(super) fn resume(door: &Door, words: &Words) -> Outcome {
    door.runtime()?.resume(words.id()?)?;
    Ok(0)
}
