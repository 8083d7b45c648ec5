//! `events`: figures of a container, at intervals or once, and that memory ran out; one JSON document a line.

use std::ops::ControlFlow;
use std::time::Duration;

use super::failure::{Failure, Outcome};
use super::flags::Words;
use super::{Door, print_json};
use crate::time::parse_duration;

pub(super) fn main(door: &Door, words: &Words) -> Outcome {
    let interval = interval(words)?;
    let mut outcome = Ok(());
    let mut tell = |event: cais_bundle::Event| {
        outcome = print_json(&event);
        if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    door.runtime()?.events(words.id()?, interval, words.switch("stats"), &mut tell)?;
    outcome.map(|()| 0)
}

fn interval(words: &Words) -> Result<Duration, Failure> {
    let Some(text) = words.text("interval")? else { return Ok(Duration::from_secs(5)) };
    let Some(interval) = parse_duration(text) else {
        return Err(Failure::usage(format!("invalid value for interval: {text:?}")));
    };
    match Duration::try_from(interval) {
        Ok(interval) if !interval.is_zero() => Ok(interval),
        _ => Err(Failure::usage("duration interval must be greater than 0")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime_door::flags::{Flag, parse};

    #[test]
    fn intervals_are_gos_durations() {
        const FLAGS: &[Flag] = &[Flag::valued("interval", "DURATION", "")];
        let read = |text: &str| {
            interval(&parse(vec![format!("--interval={text}").into()], &[FLAGS], false).expect("ok"))
        };
        assert_eq!(read(""), Ok(Duration::from_secs(5)));
        assert_eq!(read("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(read("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(read("0").expect_err("zero").message, "duration interval must be greater than 0");
        assert_eq!(read("-1s").expect_err("negative").message, "duration interval must be greater than 0");
        assert_eq!(read("5").expect_err("no unit").message, "invalid value for interval: \"5\"");
    }
}
