//! `start`: the process of a created container begins.

use super::Door;
use super::failure::Outcome;
use super::flags::Words;

pub(super) fn main(door: &Door, words: &Words) -> Outcome {
    door.runtime()?.start(words.id()?)?;
    Ok(0)
}
