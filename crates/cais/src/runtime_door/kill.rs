//! `kill` and `delete`, of one container or (as crun) of all that a regular expression finds.

use regex_lite::Regex;

use super::failure::{Failure, Outcome};
use super::flags::Words;
use super::{Door, signal};

pub(super) fn kill(door: &Door, words: &Words) -> Outcome {
    let text = words.arguments.get(1).map_or("TERM".into(), |word| word.to_string_lossy());
    let signal = signal::number(&text).ok_or_else(|| Failure::usage(format!("unknown signal {text:?}")))?;
    let all = words.switch("all");
    each(door, words, |id| Ok(door.runtime()?.kill(id, signal, all)?))
}

pub(super) fn delete(door: &Door, words: &Words) -> Outcome {
    let force = words.switch("force");
    each(door, words, |id| Ok(door.runtime()?.delete(id, force)?))
}

/// Does something with the containers that are meant. The first failure stops nothing and is the outcome.
fn each(door: &Door, words: &Words, act: impl Fn(&str) -> Result<(), Failure>) -> Outcome {
    let id = words.id()?;
    if !words.switch("regex") {
        return act(id).map(|()| 0);
    }
    let expression =
        Regex::new(id).map_err(|error| Failure::edge(format!("regular expression {id:?}"), error))?;
    let mut outcome = Ok(0);
    for listed in door.runtime()?.list()? {
        let id = listed.state.id.as_str();
        if expression.is_match(id)
            && let Err(failure) = act(id)
            && outcome.is_ok()
        {
            outcome = Err(Failure { message: format!("{id}: {}", failure.message), ..failure });
        }
    }
    outcome
}
