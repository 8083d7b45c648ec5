//! `__complete`: what the shells' completion asks; not for people.
//!
//! One candidate per line, a tab and what it is; the last line is `:0` when files may follow, too, else `:4` (the
//! numbers that cobra's scripts use).

use std::ffi::OsString;

use cais_engine::{Engine, Noun};

use crate::complete::{Candidate, Kind, World, complete};
use crate::door::{Door, print_stdout};
use crate::failure::{Failure, Outcome};
use crate::names;

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let words: Vec<String> = argv.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    // Nobody wants to read of failures while typing: what cannot be found out is not offered.
    let names = |kind| door.engine().and_then(|engine| candidates(engine, kind)).unwrap_or_default();
    let found = complete(&words, &World { flags: &|spec| spec.flags(door), names: &names });
    let mut text = String::new();
    for (word, what) in found.candidates {
        text.push_str(&if what.is_empty() { format!("{word}\n") } else { format!("{word}\t{what}\n") });
    }
    text.push_str(if found.files { ":0\n" } else { ":4\n" });
    print_stdout(&text)?;
    Ok(0)
}

fn candidates(engine: &Engine, kind: Kind) -> Result<Vec<Candidate>, Failure> {
    let noun = match kind {
        Kind::Image => Noun::Image,
        Kind::Volume => Noun::Volume,
        Kind::Pod => Noun::Pod,
        Kind::Container | Kind::Running | Kind::Stopped => {
            let running = engine.containers(kind != Kind::Running)?.into_iter();
            return Ok(running
                .filter(|view| kind != Kind::Stopped || view.run.is_none())
                .map(|view| (view.record.name, view.record.image_name))
                .collect());
        }
    };
    let name = |name| (name, String::new());
    Ok(names::of(engine, noun)?.into_iter().map(name).collect())
}
