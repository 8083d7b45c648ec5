//! `wait`: until containers have ended, or are in another state.

use std::ffi::OsString;
use std::time::Duration;

use cais_engine::ErrorKind;
use cais_engine::verb::WaitCondition;
use cais_engine::view::{HealthStatus, State};
use clap::Args;

use crate::chosen::Chosen;
use crate::door::{Door, print_stdout};
use crate::failure::{Failure, Outcome};
use crate::parse::parse;
use crate::time::parse_duration;

#[derive(Debug, Args)]
struct WaitArgs {
    /// What to wait for: not-running, next-exit, removed, created, running, paused, exited, healthy, unhealthy.
    #[arg(long, value_name = "CONDITION", value_delimiter = ',')]
    condition: Vec<String>,
    /// Containers that do not exist have ended with -1.
    #[arg(long)]
    ignore: bool,
    /// How often to look for states that are no ends (250ms).
    #[arg(short, long, value_name = "DURATION", default_value = "250ms")]
    interval: String,
    /// The container that was created last.
    #[arg(short, long)]
    latest: bool,
    containers: Vec<String>,
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: WaitArgs = parse(door.spec, argv)?;
    let conditions = args.condition.iter().map(|text| condition(text)).collect::<Result<Vec<_>, _>>()?;
    let interval = interval(&args.interval)?;
    let chosen = Chosen { latest: args.latest, ..Chosen::default() };
    let names = chosen.names(door, &args.containers, &[], |_| false)?;
    let engine = door.engine()?;
    Ok(door.each(&names, |name| {
        let code = match engine.wait(name, &conditions, interval) {
            Err(error) if args.ignore && error.kind == ErrorKind::NotFound => -1,
            other => other?,
        };
        print_stdout(&format!("{code}\n"))
    }))
}

fn condition(text: &str) -> Result<WaitCondition, Failure> {
    Ok(match text {
        "not-running" | "" => WaitCondition::NotRunning,
        "next-exit" => WaitCondition::NextExit,
        "removed" => WaitCondition::Removed,
        "created" | "configured" | "initialized" => WaitCondition::State(State::Created),
        "running" => WaitCondition::State(State::Running),
        "paused" => WaitCondition::State(State::Paused),
        "exited" | "stopped" => WaitCondition::State(State::Exited),
        "healthy" => WaitCondition::Health(HealthStatus::Healthy),
        "unhealthy" => WaitCondition::Health(HealthStatus::Unhealthy),
        _ => {
            let known =
                "not-running, next-exit, removed, created, running, paused, exited, healthy, unhealthy";
            return Err(Failure::usage(format!("--condition {text}: use one of {known}")));
        }
    })
}

/// Go's durations; a number alone is milliseconds, as in podman.
fn interval(text: &str) -> Result<Duration, Failure> {
    let parsed = match text.parse::<u64>() {
        Ok(milliseconds) => Some(Duration::from_millis(milliseconds)),
        Err(_) => parse_duration(text).and_then(|duration| Duration::try_from(duration).ok()),
    };
    let positive = parsed.filter(|interval| !interval.is_zero());
    positive.ok_or_else(|| Failure::usage(format!("--interval {text}: expected a duration such as 250ms")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_durations_or_milliseconds() {
        assert_eq!(interval("20").ok(), Some(Duration::from_millis(20)));
        assert_eq!(interval("1.5s").ok(), Some(Duration::from_millis(1500)));
        for text in ["0", "-1s", "soon", ""] {
            assert!(interval(text).is_err(), "{text}");
        }
    }

    #[test]
    fn conditions_are_dockers_and_podmans() {
        assert_eq!(condition("stopped").ok(), Some(WaitCondition::State(State::Exited)));
        assert_eq!(condition("not-running").ok(), Some(WaitCondition::NotRunning));
        assert_eq!(condition("healthy").ok(), Some(WaitCondition::Health(HealthStatus::Healthy)));
        assert!(condition("happy").is_err());
    }
}
