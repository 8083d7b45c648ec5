//! Causes told by the health probes: why the last one failed, and what the engine did because of it.

use cais_store::{HealthState, HealthStatus, ProbeRecord};

use super::evidence::Evidence;
use super::{Cause, Certainty, Finding, Rule};
use crate::HealthAction;
use crate::view::State;

pub(super) const RULES: &[Rule] = &[acted, unhealthy, starting];

const PLACE: &str = "last health probe";

/// What the engine did with a container that had become unhealthy, in the run that is over.
pub(super) fn was_acted_upon(evidence: &Evidence) -> Option<&HealthState> {
    let exit = evidence.ended()?;
    let health = evidence.health.as_ref()?;
    (!health.acted.is_empty() && health.acted <= exit.finished).then_some(health)
}

fn acted(evidence: &Evidence) -> Option<Finding> {
    let health = was_acted_upon(evidence)?;
    let action = match evidence.record.request.health.on_failure {
        HealthAction::Kill => "killed",
        HealthAction::Stop => "stopped",
        HealthAction::Restart | HealthAction::None => "ended to run anew",
    };
    let summary = format!("it had become unhealthy and was {action}, as was asked for");
    Some(explained(evidence, health, Finding::new(Cause::Unhealthy, Certainty::Certain, summary)))
}

fn unhealthy(evidence: &Evidence) -> Option<Finding> {
    let health = evidence.health.as_ref().filter(|health| health.status == HealthStatus::Unhealthy)?;
    if evidence.state != State::Running {
        return None;
    }
    let count = health.failing_streak;
    let summary = format!("it runs and is unhealthy: its probe has failed {count} times in a row");
    Some(explained(evidence, health, Finding::new(Cause::Unhealthy, Certainty::Certain, summary)))
}

fn starting(evidence: &Evidence) -> Option<Finding> {
    let health = evidence.health.as_ref().filter(|health| health.status == HealthStatus::Starting)?;
    let failed = health.log.last().is_some_and(|probe| probe.exit_code != 0);
    if evidence.state != State::Running || !failed {
        return None;
    }
    let summary = "it runs and is not healthy yet: its last probe failed";
    Some(explained(evidence, health, Finding::new(Cause::Unhealthy, Certainty::Likely, summary)))
}

/// The finding with the last failed probe and what can be done about it.
fn explained(evidence: &Evidence, health: &HealthState, finding: Finding) -> Finding {
    let name = &evidence.record.name;
    let Some(probe) = health.log.iter().rev().find(|probe| probe.exit_code != 0) else {
        return finding.seen("health", health.status.word()).fix(format!("cais healthcheck run {name}"));
    };
    let startup = &evidence.record.request.health.startup;
    let in_startup = crate::health::is_in_startup(health, startup);
    let check = if in_startup { Some(&startup.check) } else { evidence.record.health.as_ref() };
    let words = check.map(|check| check.test.get(1..).unwrap_or_default().join(" ")).unwrap_or_default();
    let finding = finding.seen("record", format!("the probe is `{words}`"));
    let finding = match probe.exit_code {
        -1 => finding,
        code => finding.seen(PLACE, format!("exit code {code}")),
    };
    let finding = match probe.output.trim().lines().last() {
        Some(line) => finding.seen(PLACE, line.to_owned()),
        None => finding.seen(PLACE, "it printed nothing"),
    };
    finding.fix(fix(name, &words, probe))
}

fn fix(name: &str, words: &str, probe: &ProbeRecord) -> String {
    let says = |texts: &[&str]| {
        let output = probe.output.to_ascii_lowercase();
        texts.iter().any(|text| output.contains(text))
    };
    if probe.exit_code == -1 {
        return format!(
            "the probe takes too long: cais update --health-timeout TIME {name}, or a cheaper probe"
        );
    }
    if matches!(probe.exit_code, 126 | 127) || says(&["not found", "no such file"]) {
        return "the probe needs a program or file that is not in the container: choose one that is (--health-cmd)".into();
    }
    if says(&["connection refused", "can't connect", "couldn't connect", "could not connect"]) {
        return "nothing listens where the probe looks: compare port and address with the service's own, or give it \
                time (--health-start-period)"
            .into();
    }
    if says(&["permission denied", "operation not permitted"]) {
        return "the probe runs as the container's user, who may not do this: choose another one (--health-cmd)".into();
    }
    if says(&["bad address", "name does not resolve", "could not resolve", "name or service not known"]) {
        return "the probe asks for a name that is not known in the container: use localhost".into();
    }
    format!("try it by hand: cais exec {name} {words}")
}
