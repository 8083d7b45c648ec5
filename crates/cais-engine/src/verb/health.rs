//! The health of a container: one probe, for its monitor or for `healthcheck run`, and what follows from it.
//!
//! A probe is a command executed in the container like that of `exec`. It writes to nobody but us: nothing of it is in the
//! container's log, and only a change of the status is an event. Results of a run that is over are dropped.

use std::time::{Duration, Instant};

use cais_plan::errand::PROBE_STARTING;
use cais_plan::wire;
use cais_store::{HealthStatus, ProbeRecord, run_state};

use crate::attach::{AttachStream, MESSAGE_BYTES, Message, broken, short};
use crate::health::{self, Times};
use crate::verb::ExecRequest;
use crate::verb::kill::readable;
use crate::{ContainerRecord, Engine, Error, ErrorKind, HealthAction, HealthRequest, Result, RunFacts};

/// What is killed is given so long to go.
const KILL_PATIENCE: Duration = Duration::from_secs(5);
const SIGKILL: i32 = 9;

/// A probe that was made.
struct Probed {
    probe: ProbeRecord,
    before: HealthStatus,
    after: HealthStatus,
    /// The start period is not over, or the check at the start has not succeeded.
    starting: bool,
    /// That has failed too often.
    start_failed: bool,
}

impl Engine {
    /// Called by the monitor when it is time: probes, notes and tells the result, and does what was asked for a container
    /// that has become unhealthy. Gives the exit status that the monitor understands.
    ///
    /// # Errors
    /// When the result cannot be noted, or the action fails.
    pub fn probe(&self, id: &str) -> Result<i32> {
        let record = self.store.load_container(id)?;
        let Some(probed) = self.probe_once(&record)? else { return Ok(0) };
        let became_unhealthy =
            probed.before != HealthStatus::Unhealthy && probed.after == HealthStatus::Unhealthy;
        if became_unhealthy && record.request.health.on_failure != HealthAction::None {
            self.note_action(id)?;
            self.act_on_health(&record)?;
        }
        if probed.start_failed {
            self.note_action(id)?;
            self.store.mark_unhealthy(id)?;
            self.end_for_another_run(&record)?;
        }
        let starting = probed.starting && probed.after == HealthStatus::Starting;
        Ok(if starting { PROBE_STARTING } else { 0 })
    }

    /// `healthcheck run`: one probe now; true when it succeeded.
    ///
    /// # Errors
    /// When the container does not run, is paused, or has no health check.
    pub fn healthcheck(&self, name: &str) -> Result<bool> {
        let id = self.store.resolve_container(name)?;
        let record = self.store.load_container(&id)?;
        if record.health.is_none() {
            let message = format!("container {} has no health check", short(&id));
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        self.running_pid(&id)?;
        match self.probe_once(&record)? {
            Some(probed) => Ok(probed.probe.exit_code == 0),
            None => {
                let message = format!("container {} is paused, or has ended meanwhile", short(&id));
                Err(Error::new(ErrorKind::Conflict, message))
            }
        }
    }

    /// Makes a probe and notes its result; `None` when the container was not there to be probed.
    fn probe_once(&self, record: &ContainerRecord) -> Result<Option<Probed>> {
        let id = record.id.as_str();
        let Some(check) = &record.health else { return Ok(None) };
        let Some(run) = self.store.read_facts(id)?.map(|facts: RunFacts| facts.started) else {
            return Ok(None);
        };
        let asked = &record.request.health;
        let health = self.store.read_health(id)?.filter(|state| state.run == run);
        let in_startup = health::is_in_startup(&health.unwrap_or_default(), &asked.startup);
        let now = if in_startup { &asked.startup.check } else { check };
        let times = Times::of(now);
        let request = ExecRequest { args: health::command(now, &record.shell), ..ExecRequest::default() };
        let start = run_state::now();
        let answer = match self.exec_unheard(record, &request) {
            Ok(stream) => self.listen_to_probe(record, stream, Duration::from_millis(times.timeout_ms))?,
            // It does not run, or is paused.
            Err(error) if error.kind == ErrorKind::Conflict => return Ok(None),
            Err(error) => {
                let code = if error.kind == ErrorKind::CommandNotFound { 127 } else { 126 };
                Some((code, error.message))
            }
        };
        let Some((exit_code, output)) = answer else { return Ok(None) };
        let probe = ProbeRecord { start, end: run_state::now(), exit_code, output };
        // A probe dies with its container: that says nothing of its health.
        if self.store.read_exit(id)?.is_some() || !self.store.is_running(id)? {
            return Ok(None);
        }
        let starting = in_startup || age_ms(&run) < times.start_period_ms;
        let noted = self.store.change_health(id, &run, |state| {
            let before = state.status;
            let start_failed = if in_startup {
                health::judge_startup(state, now, &probe)
            } else {
                health::judge(state, check, &probe, starting);
                false
            };
            let kept = asked.kept_probes.unwrap_or(HealthRequest::KEPT);
            state.push(probe.clone(), if kept == 0 { usize::MAX } else { kept as usize });
            (before, state.clone(), start_failed)
        })?;
        let Some((before, state, start_failed)) = noted else { return Ok(None) };
        let after = state.status;
        if let Some(directory) = &asked.log_directory {
            self.store.copy_health(id, &state, directory)?;
        }
        if before != after {
            self.tell_container(record, &format!("health_status: {}", after.word()), &[]);
        }
        let starting = starting && (!in_startup || health::is_in_startup(&state, &asked.startup));
        Ok(Some(Probed { probe, before, after, starting, start_failed }))
    }

    /// Exit code and output of a probe; `None` when the container went.
    fn listen_to_probe(
        &self,
        record: &ContainerRecord,
        stream: AttachStream,
        patience: Duration,
    ) -> Result<Option<(i32, String)>> {
        let id = record.id.as_str();
        let kept = record.request.health.kept_bytes.unwrap_or(HealthRequest::OUTPUT_BYTES);
        let kept = if kept == 0 { usize::MAX } else { usize::try_from(kept).unwrap_or(usize::MAX) };
        let mut limit = Instant::now() + patience;
        let mut output = Vec::new();
        let mut late = false;
        let mut buffer = vec![0; MESSAGE_BYTES];
        let code = loop {
            if !readable(&stream, Some(limit)) {
                if late {
                    break -1;
                }
                late = true;
                limit = Instant::now() + KILL_PATIENCE;
                if stream.signal(SIGKILL).is_err() {
                    break -1;
                }
                continue;
            }
            match stream.recv(&mut buffer).map_err(|e| broken(id, e))? {
                Message::Stdout(bytes) | Message::Stderr(bytes) => {
                    let room = kept.saturating_sub(output.len()).min(bytes.len());
                    output.extend_from_slice(&bytes[..room]);
                }
                Message::Exit { .. } if late => break -1,
                Message::Exit { code, .. } => break code,
                Message::Closed => return Ok(None),
                _ => {}
            }
        };
        if late {
            let text = format!("Health check exceeded timeout ({})", seconds(patience));
            // What is killed goes in its own time; the descriptor closes with it.
            return Ok(Some((-1, text)));
        }
        stream.finish()?;
        Ok(Some((code, String::from_utf8_lossy(&output).into_owned())))
    }

    /// The monitor of a running container learns when its health is probed from now on.
    pub(crate) fn retime_probes(&self, record: &ContainerRecord) -> Result<()> {
        let id = record.id.as_str();
        let Some(run) = self.store.read_facts(id)?.map(|facts| facts.started) else { return Ok(()) };
        let state = self.store.read_health(id)?.filter(|state| state.run == run);
        if state.is_none() && record.health.is_some() {
            self.store.reset_health(id, &run)?;
        }
        let starting = state.is_none_or(|state| state.status == HealthStatus::Starting);
        let times = Times::of_record(record);
        let next = if starting { times.first_ms() } else { times.interval_ms };
        let payload = [times.interval_ms, times.first_ms(), next].map(u64::to_ne_bytes).concat();
        let stream = self.talk(id)?;
        stream.request(wire::PROBES, &payload).map_err(|e| broken(id, e))
    }

    /// Leaves a word for `why`.
    fn note_action(&self, id: &str) -> Result<()> {
        let run = self.store.read_facts(id)?.map(|facts| facts.started).unwrap_or_default();
        self.store.change_health(id, &run, |state| state.acted = run_state::now())?;
        Ok(())
    }

    /// What was asked for a container that has become unhealthy.
    fn act_on_health(&self, record: &ContainerRecord) -> Result<()> {
        let id = record.id.as_str();
        match record.request.health.on_failure {
            HealthAction::None => Ok(()),
            HealthAction::Stop => self.stop(id, None, None),
            HealthAction::Kill => {
                let stream = self.talk(id)?;
                stream.signal(SIGKILL).map_err(|e| broken(id, e))?;
                self.tell_container(record, "kill", &[("signal", &SIGKILL.to_string())]);
                Ok(())
            }
            HealthAction::Restart => {
                self.store.mark_unhealthy(id)?;
                self.end_for_another_run(record)
            }
        }
    }
}

/// How long ago that was; 0 for a time that is none.
fn age_ms(time: &str) -> u64 {
    let Ok(time) = time.parse::<jiff::Timestamp>() else { return 0 };
    u64::try_from(jiff::Timestamp::now().duration_since(time).as_millis()).unwrap_or_default()
}

/// As Go writes it: `30s`, `1.5s`.
fn seconds(duration: Duration) -> String {
    format!("{}s", duration.as_secs_f64())
}
