//! What a definition says of a container's life after its start: restarts, health, logs. Words that several forms share.

use cais_oci::Healthcheck;
use serde_json::{Map, Value, json};

use super::Notes;
use crate::{ContainerRequest, HealthAction, LogDriver, RestartPolicy};

/// `--restart`'s value; `None` for the usual one.
pub(super) fn restart(policy: RestartPolicy) -> Option<String> {
    match policy {
        RestartPolicy::No => None,
        RestartPolicy::OnFailure { max_retries: retries @ 1.. } => Some(format!("on-failure:{retries}")),
        other => Some(other.name().to_owned()),
    }
}

/// `--log-driver`'s value; `None` for the usual one.
pub(super) fn log_driver(driver: LogDriver) -> Option<&'static str> {
    (driver != LogDriver::default()).then(|| driver.name())
}

/// Values of `--log-opt`.
pub(super) fn log_options(request: &ContainerRequest) -> Vec<String> {
    request.log_options.given.iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// A health flag of `run`, the key of a Quadlet unit that means the same (empty where there is none), and its value.
pub(super) type HealthWord = (&'static str, &'static str, Option<String>);

/// The health flags that were given.
pub(super) fn health(request: &ContainerRequest) -> Vec<HealthWord> {
    let health = &request.health;
    let (check, startup) = (&health.check, &health.startup.check);
    let number = |number: i64| (number > 0).then(|| number.to_string());
    let action = match health.on_failure {
        HealthAction::None => None,
        HealthAction::Kill => Some("kill"),
        HealthAction::Restart => Some("restart"),
        HealthAction::Stop => Some("stop"),
    };
    let words = [
        ("--health-cmd", "HealthCmd", command(&check.test)),
        ("--health-interval", "HealthInterval", time(check.interval)),
        ("--health-timeout", "HealthTimeout", time(check.timeout)),
        ("--health-retries", "HealthRetries", number(check.retries)),
        ("--health-start-period", "HealthStartPeriod", time(check.start_period)),
        ("--health-start-interval", "", time(check.start_interval)),
        ("--health-on-failure", "HealthOnFailure", action.map(str::to_owned)),
        ("--health-startup-cmd", "HealthStartupCmd", command(&startup.test)),
        ("--health-startup-interval", "HealthStartupInterval", time(startup.interval)),
        ("--health-startup-timeout", "HealthStartupTimeout", time(startup.timeout)),
        ("--health-startup-retries", "HealthStartupRetries", number(startup.retries)),
        ("--health-startup-success", "HealthStartupSuccess", number(health.startup.successes.into())),
        ("--health-max-log-count", "HealthMaxLogCount", health.kept_probes.map(|count| count.to_string())),
        ("--health-max-log-size", "HealthMaxLogSize", health.kept_bytes.map(|bytes| bytes.to_string())),
        (
            "--health-log-destination",
            "HealthLogDestination",
            health.log_directory.as_ref().map(|path| path.display().to_string()),
        ),
    ];
    words.into_iter().filter(|(.., value)| value.is_some()).collect()
}

/// `--health-cmd`'s value.
fn command(test: &[String]) -> Option<String> {
    match test {
        [] => None,
        [none] if none == "NONE" => Some("none".to_owned()),
        [kind, line] if kind == "CMD-SHELL" && line != "none" && !line.trim_start().starts_with('[') => {
            Some(line.clone())
        }
        words => Some(json!(words).to_string()),
    }
}

/// A duration as docker takes it; `None` for 0.
fn time(ns: i64) -> Option<String> {
    match ns {
        0 => None,
        ns if ns % 1_000_000_000 == 0 => Some(format!("{}s", ns / 1_000_000_000)),
        ns if ns % 1_000_000 == 0 => Some(format!("{}ms", ns / 1_000_000)),
        ns => Some(format!("{ns}ns")),
    }
}

/// Compose's `healthcheck`.
pub(super) fn compose_health(request: &ContainerRequest, notes: &mut Notes<'_>) -> Option<Value> {
    let health = &request.health;
    if health.disabled {
        return Some(json!({"disable": true}));
    }
    let mut fields = Map::new();
    let check = &health.check;
    let mut put = |key: &str, value: Option<Value>| {
        fields.extend(value.map(|value| (key.to_owned(), value)));
    };
    let literal = |word: &String| word.replace('$', "$$");
    let test: Vec<String> = check.test.iter().map(literal).collect();
    put("test", (!test.is_empty()).then(|| json!(test)));
    put("interval", time(check.interval).map(Value::from));
    put("timeout", time(check.timeout).map(Value::from));
    put("retries", (check.retries > 0).then(|| json!(check.retries)));
    put("start_period", time(check.start_period).map(Value::from));
    put("start_interval", time(check.start_interval).map(Value::from));
    for (flag, ..) in self::health(request).into_iter().filter(|(flag, ..)| is_podmans(flag)) {
        notes.missing(true, flag);
    }
    (!fields.is_empty()).then_some(Value::Object(fields))
}

fn is_podmans(flag: &str) -> bool {
    let more = [
        "--health-on-failure",
        "--health-max-log-count",
        "--health-max-log-size",
        "--health-log-destination",
    ];
    flag.starts_with("--health-startup") || more.contains(&flag)
}

/// Compose's `logging`.
pub(super) fn compose_logging(request: &ContainerRequest) -> Option<Value> {
    let driver = log_driver(request.log);
    let options = &request.log_options.given;
    if driver.is_none() && options.is_empty() {
        return None;
    }
    let mut logging = json!({"driver": request.log.name()});
    if !options.is_empty() {
        let literal = |value: &String| value.replace('$', "$$");
        let options: Map<String, Value> =
            options.iter().map(|(name, value)| (name.clone(), json!(literal(value)))).collect();
        logging["options"] = Value::Object(options);
    }
    Some(logging)
}

/// Kubernetes' probe for a check; `None` without a command.
pub(super) fn kube_probe(check: &Healthcheck) -> Option<Value> {
    let words = match check.test.split_first() {
        Some((kind, words)) if kind == "CMD" => words.to_vec(),
        Some((kind, [line])) if kind == "CMD-SHELL" => vec!["/bin/sh".into(), "-c".into(), line.clone()],
        _ => return None,
    };
    let mut probe = json!({"exec": {"command": words}});
    let seconds = |ns: i64| ns.div_euclid(1_000_000_000).max(1);
    for (key, ns) in [
        ("initialDelaySeconds", check.start_period),
        ("periodSeconds", check.interval),
        ("timeoutSeconds", check.timeout),
    ] {
        if ns > 0 {
            probe[key] = json!(seconds(ns));
        }
    }
    if check.retries > 0 {
        probe["failureThreshold"] = json!(check.retries);
    }
    Some(probe)
}
