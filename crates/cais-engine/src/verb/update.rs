//! `update`: other limits and variables for a container that is there; limits reach a running one at once.

use crate::attach::short;
use crate::health;
use crate::limits::{self, Group, NOT_APPLIED};
use crate::{
    ContainerRecord, Engine, Error, ErrorKind, HealthAction, HealthRequest, ResourceRequest, RestartPolicy,
    Result,
};

/// What is to be different; what is not said stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainerUpdate {
    /// Limits.
    pub resources: ResourceRequest,
    /// `KEY=VALUE`, for the next start and for `exec`.
    pub env: Vec<String>,
    /// Variables that go.
    pub unset_env: Vec<String>,
    /// Whether it runs again when it has ended; also of a run that is going on.
    pub restart: Option<RestartPolicy>,
    /// How its health is probed; what is zero or empty stays.
    pub health: HealthRequest,
    /// What is done with it when it is unhealthy.
    pub health_action: Option<HealthAction>,
}

impl Engine {
    /// Changes a container's definition. The kernel is asked first: limits that it refuses are not written down.
    ///
    /// # Errors
    /// When the limits contradict each other or those that are there, or the kernel refuses them.
    pub fn update(&self, name: &str, update: &ContainerUpdate) -> Result<Vec<String>> {
        let id = self.store.resolve_container(name)?;
        let mut warnings = Vec::new();
        let mut retime = false;
        self.store.change_container(&id, |record| {
            let before = record.clone();
            change(record, update)?;
            limits::check(&record.request.resources)?;
            let runs = self.store.is_running(&id)? && self.store.read_exit(&id)?.is_none();
            if runs && record.request.resources != before.request.resources {
                if Group::find(self, &id)?.is_none() {
                    warnings.push(NOT_APPLIED.to_owned());
                }
                Group::update(self, &before, record, &mut warnings)?;
            }
            let changed = record.health != before.health || record.request.health != before.request.health;
            retime = runs && changed;
            Ok::<_, Error>(())
        })?;
        let record = self.store.load_container(&id)?;
        if retime {
            match self.retime_probes(&record) {
                // It has ended meanwhile: the next run begins with what is written down.
                Err(error) if error.kind == ErrorKind::Conflict => {}
                other => other?,
            }
        }
        self.tell_container(&record, "update", &[]);
        Ok(warnings)
    }
}

fn change(record: &mut ContainerRecord, update: &ContainerUpdate) -> Result<()> {
    if let Some(policy) = update.restart {
        if record.request.auto_remove && policy != RestartPolicy::No {
            let message =
                format!("container {} is removed when it ends: it cannot run again", short(&record.id));
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        record.request.restart = policy;
    }
    if update.health != HealthRequest::default() || update.health_action.is_some() {
        health::update(record, &update.health, update.health_action)?;
    }
    record.request.resources = merge(&record.request.resources, &update.resources)?;
    for name in &update.unset_env {
        set_variable(&mut record.env, name, None);
        // Also takes away one of the image's.
        set_variable(&mut record.request.env, name, Some(name));
    }
    for text in &update.env {
        let name = text.split('=').next().unwrap_or_default();
        set_variable(&mut record.env, name, Some(text));
        set_variable(&mut record.request.env, name, Some(text));
    }
    Ok(())
}

/// Replaces a variable where it stands, adds it, or takes it away.
fn set_variable(env: &mut Vec<String>, name: &str, text: Option<&str>) {
    let is_it = |variable: &String| variable.split('=').next() == Some(name);
    match (env.iter().position(is_it), text) {
        (Some(at), Some(text)) => text.clone_into(&mut env[at]),
        (Some(at), None) => drop(env.remove(at)),
        (None, Some(text)) => env.push(text.to_owned()),
        (None, None) => {}
    }
}

/// The old limits with the new ones over them, by Docker's rules.
pub(super) fn merge(old: &ResourceRequest, asked: &ResourceRequest) -> Result<ResourceRequest> {
    let invalid = |message: &str| Err(Error::new(ErrorKind::Invalid, message));
    let asks_for_period = asked.cpu_period_us.is_some() || asked.cpu_quota_us.is_some();
    if asks_for_period && old.nano_cpus.is_some() {
        return invalid("the CPU period and quota cannot be updated: --cpus has been set already");
    }
    if asked.nano_cpus.is_some() && (old.cpu_period_us.is_some() || old.cpu_quota_us.is_some()) {
        return invalid("--cpus cannot be updated: the CPU period or quota has been set already");
    }
    let mut merged = ResourceRequest {
        memory_bytes: asked.memory_bytes.or(old.memory_bytes),
        memory_reservation_bytes: asked.memory_reservation_bytes.or(old.memory_reservation_bytes),
        memory_swap_bytes: asked.memory_swap_bytes.or(old.memory_swap_bytes),
        memory_swappiness: asked.memory_swappiness.or(old.memory_swappiness),
        nano_cpus: asked.nano_cpus.or(old.nano_cpus),
        cpu_shares: asked.cpu_shares.or(old.cpu_shares),
        cpu_quota_us: asked.cpu_quota_us.or(old.cpu_quota_us),
        cpu_period_us: asked.cpu_period_us.or(old.cpu_period_us),
        cpuset_cpus: asked.cpuset_cpus.clone().or_else(|| old.cpuset_cpus.clone()),
        cpuset_mems: asked.cpuset_mems.clone().or_else(|| old.cpuset_mems.clone()),
        pids_limit: asked.pids_limit.or(old.pids_limit),
        blkio_weight: asked.blkio_weight.or(old.blkio_weight),
        oom_kill_disable: old.oom_kill_disable,
        oom_score_adj: old.oom_score_adj,
        device_limits: old.device_limits.clone(),
        cpu_rt_period_us: old.cpu_rt_period_us,
        cpu_rt_runtime_us: old.cpu_rt_runtime_us,
        unified: old.unified.clone(),
    };
    // Where nothing was said the limit of both is twice that of memory: it does not grow with it.
    let both =
        old.memory_swap_bytes.or(old.memory_bytes.filter(|memory| *memory > 0).map(|memory| memory * 2));
    if let (Some(memory), None, Some(both)) = (asked.memory_bytes, asked.memory_swap_bytes, both) {
        if both > 0 && memory > both {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("the memory limit {memory} is above the limit of memory and swap, {both}"),
            )
            .hint("update --memory-swap at the same time"));
        }
        merged.memory_swap_bytes = Some(both);
    }
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: i64 = 1 << 20;

    fn limits(memory: Option<i64>, swap: Option<i64>) -> ResourceRequest {
        ResourceRequest { memory_bytes: memory, memory_swap_bytes: swap, ..ResourceRequest::default() }
    }

    #[test]
    fn swap_stays_where_it_was() {
        let old = limits(Some(64 * MIB), None);
        let more = merge(&old, &limits(Some(100 * MIB), None)).unwrap();
        assert_eq!((more.memory_bytes, more.memory_swap_bytes), (Some(100 * MIB), Some(128 * MIB)));
        let error = merge(&old, &limits(Some(200 * MIB), None)).unwrap_err();
        assert!(error.hint.is_some_and(|hint| hint.contains("--memory-swap")), "{}", error.message);
        let both = merge(&old, &limits(Some(200 * MIB), Some(300 * MIB))).unwrap();
        assert_eq!(both.memory_swap_bytes, Some(300 * MIB));
        let unlimited = merge(&limits(Some(64 * MIB), Some(-1)), &limits(Some(200 * MIB), None)).unwrap();
        assert_eq!(unlimited.memory_swap_bytes, Some(-1));
        let first = merge(&limits(None, None), &limits(Some(64 * MIB), None)).unwrap();
        assert_eq!(first.memory_swap_bytes, None);
    }

    #[test]
    fn what_is_not_said_stays() {
        let old = ResourceRequest {
            pids_limit: Some(9),
            cpu_shares: Some(512),
            oom_kill_disable: true,
            ..ResourceRequest::default()
        };
        let asked = ResourceRequest { pids_limit: Some(-1), ..ResourceRequest::default() };
        let merged = merge(&old, &asked).unwrap();
        assert_eq!(merged, ResourceRequest { pids_limit: Some(-1), ..old });
    }

    #[test]
    fn two_ways_to_limit_cpus_do_not_mix() {
        let cpus = ResourceRequest { nano_cpus: Some(1), ..ResourceRequest::default() };
        let quota = ResourceRequest { cpu_quota_us: Some(1), ..ResourceRequest::default() };
        assert!(merge(&cpus, &quota).is_err());
        assert!(merge(&quota, &cpus).is_err());
        assert!(merge(&quota, &quota).is_ok() && merge(&cpus, &cpus).is_ok());
    }

    #[test]
    fn variables_are_set_in_their_place() {
        let mut env = ["A=1", "B=2"].map(str::to_owned).to_vec();
        set_variable(&mut env, "A", Some("A=3"));
        set_variable(&mut env, "C", Some("C=4"));
        set_variable(&mut env, "B", None);
        set_variable(&mut env, "D", None);
        assert_eq!(env, ["A=3", "C=4"]);
    }
}
