//! `--restart`, `--health-*` and `--no-healthcheck`.

use cais_engine::{HealthAction, HealthRequest, RestartPolicy};
use cais_oci::Healthcheck;

use super::flag;
use crate::container_args::ContainerArgs;
use crate::failure::Failure;
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
pub(super) fn health(args: &ContainerArgs) -> Result<HealthRequest, Failure> {
    let time = |name: &'static str, text: Option<&str>| -> Result<i64, Failure> {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(0) };
        let bad = || flag(name)(format!("{text:?} is no duration (30s, 1m30s)"));
        let duration = parse_duration(text).ok_or_else(bad)?;
        let ns = i64::try_from(duration.as_nanos()).map_err(|_| bad())?;
        match ns {
            0 | SHORTEST_NS.. => Ok(ns),
            _ => Err(flag(name)("cannot be less than 1ms".to_owned())),
        }
    };
    let retries = args.health_retries.unwrap_or(0);
    if retries < 0 {
        return Err(flag("health-retries")("cannot be negative".to_owned()));
    }
    let check = Healthcheck {
        test: args.health_cmd.as_deref().map(command).transpose()?.unwrap_or_default(),
        interval: time("health-interval", args.health_interval.as_deref())?,
        timeout: time("health-timeout", args.health_timeout.as_deref())?,
        start_period: time("health-start-period", args.health_start_period.as_deref())?,
        start_interval: time("health-start-interval", args.health_start_interval.as_deref())?,
        retries,
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
    if args.no_healthcheck && check != Healthcheck::default() {
        return Err(Failure::usage("--no-healthcheck conflicts with --health-* options"));
    }
    Ok(HealthRequest { disabled: args.no_healthcheck, check, on_failure })
}

/// docker: a line for the shell; podman: a list in JSON is executed as it is; `none`: no probes.
fn command(text: &str) -> Result<Vec<String>, Failure> {
    if text == "none" {
        return Ok(vec!["NONE".to_owned()]);
    }
    if text.trim_start().starts_with('[') {
        let words: Vec<String> = serde_json::from_str(text)
            .map_err(|error| flag("health-cmd")(format!("is no list of words in JSON: {error}")))?;
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

    fn of(change: impl FnOnce(&mut ContainerArgs)) -> Result<HealthRequest, String> {
        let mut args = ContainerArgs::default();
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
        let both = |args: &mut ContainerArgs| {
            args.no_healthcheck = true;
            args.health_retries = Some(2);
        };
        assert!(of(both).is_err());
    }
}
