//! `wait`: until a container has ended, or is in another state that was asked for.

use std::time::Duration;

use cais_plan::wire;
use cais_store::HealthStatus;

use crate::attach::{MESSAGE_BYTES, Message, broken, short};
use crate::view::{ContainerView, State};
use crate::{Engine, Error, ErrorKind, ExitRecord, Result};

/// What is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WaitCondition {
    /// It does not run (any more).
    #[default]
    NotRunning,
    /// A run comes to its end, this one or the next.
    NextExit,
    /// It is gone altogether.
    Removed,
    /// It is in this state.
    State(State),
    /// It runs and its health is this.
    Health(HealthStatus),
}

impl WaitCondition {
    fn is_end(self) -> bool {
        !matches!(
            self,
            WaitCondition::State(State::Created | State::Running | State::Paused) | WaitCondition::Health(_)
        )
    }
}

/// What podman prints when what was waited for is no end.
const NO_CODE: i32 = -1;

impl Engine {
    /// Waits, without limit, until one of the conditions holds, and gives the exit code: of an end, else -1. A
    /// container that never ran gives 0 at once. States other than ends are looked for every `interval`.
    ///
    /// # Errors
    /// When there is no such container.
    pub fn wait(&self, name: &str, conditions: &[WaitCondition], interval: Duration) -> Result<i32> {
        let id = self.store.resolve_container(name)?;
        match conditions {
            [] | [WaitCondition::NotRunning] => self.wait_for_end(&id),
            _ => self.look(&id, conditions, interval),
        }
    }

    /// Looks until a condition holds. As long as it runs and only ends count, its monitor is waited for.
    fn look(&self, id: &str, conditions: &[WaitCondition], interval: Duration) -> Result<i32> {
        let only_ends = conditions.iter().all(|condition| condition.is_end());
        let mut code = None;
        let mut first: Option<Option<ExitRecord>> = None;
        loop {
            let view = match self.container(id) {
                Err(error)
                    if error.kind == ErrorKind::NotFound
                        && first.is_some()
                        && conditions.contains(&WaitCondition::Removed) =>
                {
                    return Ok(code.unwrap_or(0));
                }
                other => other?,
            };
            let before = first.get_or_insert_with(|| view.exit.clone());
            code = view.exit.as_ref().map(|exit| exit.code).or(code);
            if only_ends && view.is_alive() {
                let ended = self.wait_for_end(id)?;
                if conditions != [WaitCondition::Removed] {
                    return Ok(ended);
                }
                code = Some(ended);
                continue;
            }
            let holds = |condition: &WaitCondition| match condition {
                WaitCondition::NotRunning => !view.is_alive(),
                WaitCondition::NextExit => view.exit.is_some() && view.exit != *before,
                WaitCondition::Removed => false,
                // Nobody knows how a dead one ended, but it did.
                WaitCondition::State(State::Exited) => matches!(view.state, State::Exited | State::Dead),
                WaitCondition::State(state) => view.state == *state,
                WaitCondition::Health(health) => view.health == Some(*health),
            };
            if let Some(condition) = conditions.iter().find(|condition| holds(condition)) {
                return Ok(if condition.is_end() { code.unwrap_or(0) } else { NO_CODE });
            }
            if conditions.iter().all(|condition| matches!(condition, WaitCondition::Health(_))) {
                can_become_healthy(&view)?;
            }
            std::thread::sleep(interval);
        }
    }

    /// The exit code of the present run, or of the last one.
    pub(crate) fn wait_for_end(&self, id: &str) -> Result<i32> {
        let recorded = |engine: &Engine| match engine.store.read_exit(id) {
            Ok(Some(exit)) => exit.code,
            _ => 0,
        };
        let stream = match self.talk(id) {
            Ok(stream) => stream,
            Err(error) if error.kind == ErrorKind::Conflict => return Ok(recorded(self)),
            Err(error) => return Err(error),
        };
        if stream.request(wire::WAIT, &[]).is_err() {
            // It ended between the connection and the request.
            return Ok(recorded(self));
        }
        let mut buffer = vec![0; MESSAGE_BYTES];
        loop {
            match stream.recv(&mut buffer) {
                Ok(Message::Exit { code, .. }) => return Ok(code),
                Ok(Message::Closed) => return Ok(recorded(self)),
                Ok(_) => {}
                Err(error) => return Err(broken(id, error)),
            }
        }
    }
}

/// Who waits for a health that can never come is told so.
fn can_become_healthy(view: &ContainerView) -> Result<()> {
    let reason = match view.state {
        _ if view.record.health.is_none() => "has no health check",
        State::Exited | State::Dead => "has ended: its health is not probed any more",
        _ => return Ok(()),
    };
    Err(Error::new(ErrorKind::Conflict, format!("container {} {reason}", short(&view.record.id))))
}
