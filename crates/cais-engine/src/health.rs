//! A health check taken apart: times with Docker's defaults, the command, what a probe's result means.

use cais_oci::Healthcheck;
use cais_store::{HealthState, HealthStatus, ProbeRecord};

use crate::{Error, ErrorKind, HealthRequest, Result};

/// Docker's defaults.
const INTERVAL_MS: u64 = 30_000;
const TIMEOUT_MS: u64 = 30_000;
const START_INTERVAL_MS: u64 = 5_000;
const RETRIES: i64 = 3;

/// The times of a check, in milliseconds. All zero: there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) interval_ms: u64,
    pub(crate) timeout_ms: u64,
    pub(crate) start_period_ms: u64,
    start_interval_ms: u64,
}

impl Times {
    pub(crate) fn of(check: &Healthcheck) -> Times {
        let or = |ns: i64, default: u64| match u64::try_from(ns) {
            Ok(0) | Err(_) => default,
            Ok(ns) => ns.div_ceil(1_000_000),
        };
        Times {
            interval_ms: or(check.interval, INTERVAL_MS),
            timeout_ms: or(check.timeout, TIMEOUT_MS),
            start_period_ms: or(check.start_period, 0),
            start_interval_ms: or(check.start_interval, START_INTERVAL_MS),
        }
    }

    /// From the start to the first probe, and between probes during the start period.
    pub(crate) fn first_ms(self) -> u64 {
        if self.start_period_ms > 0 { self.start_interval_ms } else { self.interval_ms }
    }
}

/// Failures in a row that make the container unhealthy.
fn retries(check: &Healthcheck) -> u32 {
    let retries = if check.retries > 0 { check.retries } else { RETRIES };
    u32::try_from(retries).unwrap_or(u32::MAX)
}

/// The check of image and request together; `None` when there is none.
pub(crate) fn resolve(request: &HealthRequest, image: Option<&Healthcheck>) -> Result<Option<Healthcheck>> {
    if request.disabled {
        return Ok(None);
    }
    let mut check = image.cloned().unwrap_or_default();
    let asked = &request.check;
    if !asked.test.is_empty() {
        check.test.clone_from(&asked.test);
    }
    for (value, asked) in [
        (&mut check.interval, asked.interval),
        (&mut check.timeout, asked.timeout),
        (&mut check.start_period, asked.start_period),
        (&mut check.start_interval, asked.start_interval),
        (&mut check.retries, asked.retries),
    ] {
        if asked != 0 {
            *value = asked;
        }
    }
    match check.test.first().map(String::as_str) {
        None | Some("NONE" | "") => Ok(None),
        Some("CMD" | "CMD-SHELL") if check.test.len() > 1 => Ok(Some(check)),
        Some("CMD" | "CMD-SHELL") => Err(Error::new(ErrorKind::Invalid, "the health check has no command")),
        Some(other) => {
            let message = format!("health check {other:?}: it must begin with CMD, CMD-SHELL or NONE");
            Err(Error::new(ErrorKind::Invalid, message))
        }
    }
}

/// What a probe executes.
pub(crate) fn command(check: &Healthcheck) -> Vec<String> {
    let words = check.test.get(1..).unwrap_or_default();
    if check.test.first().is_some_and(|kind| kind == "CMD") {
        return words.to_vec();
    }
    let shell = ["/bin/sh".to_owned(), "-c".to_owned()];
    shell.into_iter().chain(words.first().cloned()).collect()
}

/// Adds a probe's result; in the start period a failure does not count as long as none has succeeded.
pub(crate) fn judge(state: &mut HealthState, check: &Healthcheck, probe: ProbeRecord, starting: bool) {
    if probe.exit_code == 0 {
        state.failing_streak = 0;
        state.status = HealthStatus::Healthy;
    } else if !(starting && state.status == HealthStatus::Starting) {
        state.failing_streak += 1;
        if state.failing_streak >= retries(check) {
            state.status = HealthStatus::Unhealthy;
        }
    }
    state.push(probe);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(test: &[&str]) -> Healthcheck {
        Healthcheck { test: test.iter().map(|&word| word.to_owned()).collect(), ..Healthcheck::default() }
    }

    #[test]
    fn the_request_goes_before_the_image() {
        let image = Healthcheck { interval: 7, ..check(&["CMD", "a"]) };
        let request = |check: Healthcheck| HealthRequest { check, ..HealthRequest::default() };
        let resolved = resolve(&request(check(&["CMD-SHELL", "b"])), Some(&image)).unwrap().unwrap();
        assert_eq!((resolved.test.join(" ").as_str(), resolved.interval), ("CMD-SHELL b", 7));
        assert_eq!(resolve(&request(check(&["NONE"])), Some(&image)).unwrap(), None);
        assert_eq!(resolve(&request(Healthcheck { interval: 5, ..check(&[]) }), None).unwrap(), None);
        let disabled = HealthRequest { disabled: true, ..HealthRequest::default() };
        assert_eq!(resolve(&disabled, Some(&image)).unwrap(), None);
        assert!(resolve(&request(check(&["RUN", "x"])), None).is_err());
        assert!(resolve(&request(check(&["CMD"])), None).is_err());
    }

    #[test]
    fn times_have_docker_s_defaults() {
        let times = Times::of(&Healthcheck { start_period: 2_000_000_000, ..check(&["CMD", "a"]) });
        assert_eq!((times.interval_ms, times.timeout_ms, times.first_ms()), (30_000, 30_000, 5_000));
        assert_eq!(Times::of(&Healthcheck { interval: 1_500_000, ..check(&[]) }).first_ms(), 2);
    }

    #[test]
    fn results_add_up() {
        let check = Healthcheck { retries: 2, ..check(&["CMD", "a"]) };
        let mut state = HealthState::default();
        let mut probe = |exit_code, starting| {
            judge(&mut state, &check, ProbeRecord { exit_code, ..ProbeRecord::default() }, starting);
            (state.status, state.failing_streak, state.log.len())
        };
        assert_eq!(probe(1, true), (HealthStatus::Starting, 0, 1), "the start period forgives");
        assert_eq!(probe(1, false), (HealthStatus::Starting, 1, 2));
        assert_eq!(probe(0, false), (HealthStatus::Healthy, 0, 3));
        assert_eq!(probe(-1, true), (HealthStatus::Healthy, 1, 4), "it has been healthy");
        assert_eq!(probe(1, false), (HealthStatus::Unhealthy, 2, 5));
        assert_eq!(probe(0, false), (HealthStatus::Healthy, 0, 5), "the last five are kept");
    }

    #[test]
    fn commands() {
        assert_eq!(command(&check(&["CMD", "a", "b"])), ["a", "b"]);
        assert_eq!(command(&check(&["CMD-SHELL", "a b"])), ["/bin/sh", "-c", "a b"]);
    }
}
