//! A health check taken apart: times with Docker's defaults, the command, what a probe's result means.

use cais_oci::Healthcheck;
use cais_store::{HealthState, HealthStatus, ProbeRecord};

use crate::{ContainerRecord, Error, ErrorKind, HealthAction, HealthRequest, Result, StartupCheck};

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
    /// 0 without a check at the start.
    startup_ms: u64,
}

impl Times {
    /// Of a container; all zero without a check.
    pub(crate) fn of_record(record: &ContainerRecord) -> Times {
        let Some(check) = &record.health else { return Times::default() };
        let startup = &record.request.health.startup;
        let startup_ms = if startup.is_some() { Times::of(&startup.check).interval_ms } else { 0 };
        Times { startup_ms, ..Times::of(check) }
    }

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
            startup_ms: 0,
        }
    }

    /// From the start to the first probe, and between probes during the start period.
    pub(crate) fn first_ms(self) -> u64 {
        if self.startup_ms > 0 {
            return self.startup_ms;
        }
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
    overlay(&mut check, &request.check);
    let check = checked(check)?;
    if check.is_none() && request.startup.is_some() {
        let message = "--health-startup-cmd: there is no health check that could follow it";
        return Err(Error::new(ErrorKind::Invalid, message).hint("give --health-cmd, too"));
    }
    checked(request.startup.check.clone())?;
    Ok(check)
}

/// What is asked replaces what is there.
fn overlay(check: &mut Healthcheck, asked: &Healthcheck) {
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
}

/// `update`: what is not said stays. Changes the request and what follows from it.
pub(crate) fn update(
    record: &mut ContainerRecord,
    asked: &HealthRequest,
    action: Option<HealthAction>,
) -> Result<()> {
    let request = &mut record.request.health;
    if asked.disabled {
        *request = HealthRequest { disabled: true, ..HealthRequest::default() };
        record.health = None;
        return Ok(());
    }
    request.disabled &= asked.check.test.is_empty();
    overlay(&mut request.check, &asked.check);
    overlay(&mut request.startup.check, &asked.startup.check);
    if asked.startup.successes > 0 {
        request.startup.successes = asked.startup.successes;
    }
    request.on_failure = action.unwrap_or(request.on_failure);
    request.kept_probes = asked.kept_probes.or(request.kept_probes);
    request.kept_bytes = asked.kept_bytes.or(request.kept_bytes);
    if asked.log_directory.is_some() {
        request.log_directory.clone_from(&asked.log_directory);
    }
    record.health = resolve(&record.request.health, record.health.as_ref())?;
    Ok(())
}

/// A check whose command can be executed; `None` for none.
fn checked(check: Healthcheck) -> Result<Option<Healthcheck>> {
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

/// What a probe executes; `shell` is the image's, empty for none.
pub(crate) fn command(check: &Healthcheck, shell: &[String]) -> Vec<String> {
    let words = check.test.get(1..).unwrap_or_default();
    if check.test.first().is_some_and(|kind| kind == "CMD") {
        return words.to_vec();
    }
    let plain = ["/bin/sh".to_owned(), "-c".to_owned()];
    let shell = if shell.is_empty() { &plain[..] } else { shell };
    shell.iter().chain(words.first()).cloned().collect()
}

/// Adds a probe's result; in the start period a failure does not count as long as none has succeeded.
pub(crate) fn judge(state: &mut HealthState, check: &Healthcheck, probe: &ProbeRecord, starting: bool) {
    if probe.exit_code == 0 {
        state.failing_streak = 0;
        state.status = HealthStatus::Healthy;
    } else if !(starting && state.status == HealthStatus::Starting) {
        state.failing_streak += 1;
        if state.failing_streak >= retries(check) {
            state.status = HealthStatus::Unhealthy;
        }
    }
}

/// Adds the result of the check at the start; true when it has failed too often.
pub(crate) fn judge_startup(state: &mut HealthState, check: &Healthcheck, probe: &ProbeRecord) -> bool {
    let (successes, failures) = &mut state.startup;
    if probe.exit_code == 0 {
        *successes += 1;
        return false;
    }
    *failures += 1;
    check.retries > 0 && i64::from(*failures) >= check.retries
}

/// Whether the check at the start is still to succeed.
pub(crate) fn is_in_startup(state: &HealthState, startup: &StartupCheck) -> bool {
    startup.is_some() && state.startup.0 < startup.successes.max(1)
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
            let probe = ProbeRecord { exit_code, ..ProbeRecord::default() };
            judge(&mut state, &check, &probe, starting);
            state.push(probe, 5);
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
        assert_eq!(command(&check(&["CMD", "a", "b"]), &[]), ["a", "b"]);
        assert_eq!(command(&check(&["CMD-SHELL", "a b"]), &[]), ["/bin/sh", "-c", "a b"]);
        let shell = ["/bin/ash", "-ec"].map(str::to_owned);
        assert_eq!(command(&check(&["CMD-SHELL", "a b"]), &shell), ["/bin/ash", "-ec", "a b"]);
    }

    #[test]
    fn the_check_at_the_start_counts_for_itself() {
        let startup =
            StartupCheck { check: Healthcheck { retries: 2, ..check(&["CMD", "a"]) }, successes: 2 };
        let mut state = HealthState::default();
        let mut probe = |exit_code| {
            let probe = ProbeRecord { exit_code, ..ProbeRecord::default() };
            (judge_startup(&mut state, &startup.check, &probe), is_in_startup(&state, &startup))
        };
        assert_eq!(
            [probe(1), probe(0), probe(1), probe(0)],
            [(false, true), (false, true), (true, true), (false, false)]
        );
        assert!(!is_in_startup(&HealthState::default(), &StartupCheck::default()));
    }
}
