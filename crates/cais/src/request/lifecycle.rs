//! `--restart`, `--health-*` and `--no-healthcheck`.

use std::path::{Path, PathBuf};

use cais_engine::{HealthAction, HealthRequest, RestartPolicy, StartupCheck};
use cais_oci::Healthcheck;

use super::flag;
use crate::failure::Failure;
use crate::health_args::HealthArgs;
use crate::time::parse_duration;

/// Docker's shortest time.
const SHORTEST_NS: i64 = 1_000_000;

/// A restart policy as docker writes it.
///
/// # Errors
/// Docker's sentences, without the name of the flag.
pub fn restart_policy(text: &str) -> Result<RestartPolicy, String> {
    let (name, count) = text.split_once(':').map_or((text, None), |(name, count)| (name, Some(count)));
    let max_retries = match count {
        None => 0,
        Some(count) => {
            let number: i64 =
                count.parse().map_err(|_| "maximum retry count must be an integer".to_owned())?;
            u32::try_from(number).map_err(|_| "maximum retry count cannot be negative".to_owned())?
        }
    };
    let policy = match name {
        "no" | "" => RestartPolicy::No,
        "on-failure" => RestartPolicy::OnFailure { max_retries },
        "always" => RestartPolicy::Always,
        "unless-stopped" => RestartPolicy::UnlessStopped,
        _ => {
            return Err(format!(
                "unknown policy {name:?}; use one of \"no\", \"always\", \"on-failure\" or \"unless-stopped\""
            ));
        }
    };
    if count.is_some() && name != "on-failure" {
        return Err("maximum retry count can only be used with \"on-failure\"".to_owned());
    }
    Ok(policy)
}

/// The flags of a health check.
///
/// # Errors
/// When a value means nothing, or two flags contradict each other.
pub fn health(args: &HealthArgs) -> Result<HealthRequest, Failure> {
    let check = Healthcheck {
        test: args
            .health_cmd
            .as_deref()
            .map(|text| command("health-cmd", text))
            .transpose()?
            .unwrap_or_default(),
        interval: time("health-interval", args.health_interval.as_deref())?,
        timeout: time("health-timeout", args.health_timeout.as_deref())?,
        start_period: time("health-start-period", args.health_start_period.as_deref())?,
        start_interval: time("health-start-interval", args.health_start_interval.as_deref())?,
        retries: count("health-retries", args.health_retries)?,
    };
    let on_failure = match args.health_on_failure.as_deref() {
        None | Some("none" | "") => HealthAction::None,
        Some("kill") => HealthAction::Kill,
        Some("restart") => HealthAction::Restart,
        Some("stop") => HealthAction::Stop,
        Some(other) => {
            let reason = format!("invalid value {other:?}: use none, kill, restart or stop");
            return Err(flag("health-on-failure")(reason));
        }
    };
    let startup = startup(args)?;
    let log_directory = args.health_log_destination.as_deref().map(log_directory).transpose()?.flatten();
    let says_something = check != Healthcheck::default() || startup != StartupCheck::default();
    if args.no_healthcheck && says_something {
        return Err(Failure::usage("--no-healthcheck conflicts with --health-* options"));
    }
    Ok(HealthRequest {
        disabled: args.no_healthcheck,
        check,
        on_failure,
        startup,
        kept_probes: args.health_max_log_count,
        kept_bytes: args.health_max_log_size,
        log_directory,
    })
}

/// podman's check at the start.
fn startup(args: &HealthArgs) -> Result<StartupCheck, Failure> {
    let test =
        args.health_startup_cmd.as_deref().map(|text| command("health-startup-cmd", text)).transpose()?;
    let check = Healthcheck {
        test: test.unwrap_or_default(),
        interval: time("health-startup-interval", args.health_startup_interval.as_deref())?,
        timeout: time("health-startup-timeout", args.health_startup_timeout.as_deref())?,
        retries: count("health-startup-retries", args.health_startup_retries)?,
        ..Healthcheck::default()
    };
    Ok(StartupCheck { check, successes: args.health_startup_success.unwrap_or(0) })
}

/// podman's `local`, or a directory.
fn log_directory(text: &str) -> Result<Option<PathBuf>, Failure> {
    let reason = match text {
        "local" | "" => return Ok(None),
        "events_logger" => "events tell changes of the health only; see inspect",
        _ if !Path::new(text).is_absolute() => "expected local or the absolute path of a directory",
        _ if !Path::new(text).is_dir() => "there is no such directory",
        _ => return Ok(Some(PathBuf::from(text))),
    };
    Err(flag("health-log-destination")(format!("{text:?}: {reason}")))
}

fn count(name: &'static str, number: Option<i64>) -> Result<i64, Failure> {
    let number = number.unwrap_or(0);
    if number < 0 { Err(flag(name)("cannot be negative".to_owned())) } else { Ok(number) }
}

/// A time in nanoseconds, 0 when nothing is said.
fn time(name: &'static str, text: Option<&str>) -> Result<i64, Failure> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(0) };
    let bad = || flag(name)(format!("{text:?} is no duration (30s, 1m30s)"));
    let duration = parse_duration(text).ok_or_else(bad)?;
    let ns = i64::try_from(duration.as_nanos()).map_err(|_| bad())?;
    match ns {
        0 | SHORTEST_NS.. => Ok(ns),
        _ => Err(flag(name)("cannot be less than 1ms".to_owned())),
    }
}

/// docker: a line for the shell; podman: a list in JSON is executed as it is; `none`: no probes.
fn command(name: &'static str, text: &str) -> Result<Vec<String>, Failure> {
    if text == "none" {
        return Ok(vec!["NONE".to_owned()]);
    }
    if text.trim_start().starts_with('[') {
        let words: Vec<String> = serde_json::from_str(text)
            .map_err(|error| flag(name)(format!("is no list of words in JSON: {error}")))?;
        let has_kind =
            words.first().is_some_and(|word| matches!(word.as_str(), "CMD" | "CMD-SHELL" | "NONE"));
        return Ok(if has_kind { words } else { [vec!["CMD".to_owned()], words].concat() });
    }
    Ok(if text.is_empty() { Vec::new() } else { vec!["CMD-SHELL".to_owned(), text.to_owned()] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies() {
        assert_eq!(restart_policy("on-failure:3"), Ok(RestartPolicy::OnFailure { max_retries: 3 }));
        assert_eq!(restart_policy("on-failure"), Ok(RestartPolicy::OnFailure { max_retries: 0 }));
        assert_eq!(restart_policy("always"), Ok(RestartPolicy::Always));
        assert_eq!(restart_policy("unless-stopped"), Ok(RestartPolicy::UnlessStopped));
        assert_eq!(restart_policy(""), Ok(RestartPolicy::No));
        for bad in ["sometimes", "always:3", "on-failure:x", "on-failure:-1"] {
            assert!(restart_policy(bad).is_err(), "{bad}");
        }
    }

    fn of(change: impl FnOnce(&mut HealthArgs)) -> Result<HealthRequest, String> {
        let mut args = HealthArgs::default();
        change(&mut args);
        health(&args).map_err(|failure| failure.message)
    }

    #[test]
    fn health_checks() {
        let request = of(|args| {
            args.health_cmd = Some("test -f /ok || exit 1".into());
            args.health_interval = Some("1m30s".into());
            args.health_on_failure = Some("restart".into());
        });
        let request = request.unwrap();
        assert_eq!(request.check.test, ["CMD-SHELL", "test -f /ok || exit 1"]);
        assert_eq!((request.check.interval, request.on_failure), (90_000_000_000, HealthAction::Restart));
        let test = |text: &str| of(|args| args.health_cmd = Some(text.into())).unwrap().check.test;
        assert_eq!(test("none"), ["NONE"]);
        assert_eq!(test(r#"["CMD", "true"]"#), ["CMD", "true"]);
        assert_eq!(test(r#"["true"]"#), ["CMD", "true"]);
        assert!(of(|args| args.health_cmd = Some("[true".into())).is_err());
        assert!(of(|args| args.health_interval = Some("1us".into())).is_err());
        assert!(of(|args| args.health_timeout = Some("soon".into())).is_err());
        assert!(of(|args| args.health_retries = Some(-1)).is_err());
        assert!(of(|args| args.health_on_failure = Some("cry".into())).is_err());
        let both = |args: &mut HealthArgs| {
            args.no_healthcheck = true;
            args.health_retries = Some(2);
        };
        assert!(of(both).is_err());
        let startup = of(|args| {
            args.health_startup_cmd = Some("true".into());
            args.health_startup_interval = Some("2s".into());
            args.health_startup_success = Some(3);
            args.health_log_destination = Some("/".into());
            args.health_max_log_count = Some(0);
        });
        let startup = startup.unwrap();
        assert_eq!(startup.startup.check.test, ["CMD-SHELL", "true"]);
        assert_eq!((startup.startup.check.interval, startup.startup.successes), (2_000_000_000, 3));
        assert_eq!((startup.log_directory, startup.kept_probes), (Some("/".into()), Some(0)));
        for place in ["events_logger", "here", "/no/such/directory"] {
            assert!(of(|args| args.health_log_destination = Some(place.into())).is_err(), "{place}");
        }
    }
}
