//! `State` of a container: how it is, how its last run ended, its health, its checkpoint.

use serde_json::{Value, json};

use super::{NO_TIME, Surroundings};
use crate::verb::boot::LOST_EXIT_CODE;
use crate::view::{ContainerView, State};

/// The object.
pub(super) fn document(view: &ContainerView, around: &Surroundings) -> Value {
    let alive = view.is_alive();
    let exit = view.exit.as_ref();
    // A created one has it from a start that failed.
    let ended = exit.filter(|_| matches!(view.state, State::Exited | State::Created | State::Restarting));
    let exit_code = match view.state {
        State::Dead => LOST_EXIT_CODE,
        _ => ended.map_or(0, |exit| exit.code),
    };
    let started = match (&view.run, exit) {
        (Some(run), _) => run.started.as_str(),
        (None, Some(exit)) => exit.started.as_str(),
        (None, None) => NO_TIME,
    };
    let mut state = json!({
        "Status": view.state,
        "Running": view.is_up(),
        "Paused": view.state == State::Paused,
        "Restarting": view.state == State::Restarting,
        "OOMKilled": ended.is_some_and(|exit| exit.oom_killed),
        "Dead": view.state == State::Dead,
        "Pid": view.run.as_ref().filter(|_| alive).map_or(0, |run| run.pid),
        "ExitCode": exit_code,
        "Error": ended.map_or("", |exit| exit.error.as_str()),
        "StartedAt": time(started),
        "FinishedAt": time(exit.map_or(NO_TIME, |exit| exit.finished.as_str())),
    });
    if let Some(oom) = view.oom.as_ref().filter(|_| ended.is_some()) {
        state["OOM"] = json!(oom);
    }
    if let Some(health) = &around.health {
        state["Health"] =
            json!({"Status": health.status, "FailingStreak": health.failing_streak, "Log": health.log});
    }
    // Podman's.
    let checkpoint = around.checkpoint.as_ref().filter(|_| !alive);
    let restored = view.run.as_ref().filter(|run| alive && run.restored);
    state["Checkpointed"] = json!(checkpoint.is_some());
    state["CheckpointedAt"] = json!(checkpoint.map_or(NO_TIME, |(_, checkpoint)| &checkpoint.created));
    if let Some((path, _)) = checkpoint {
        state["CheckpointPath"] = json!(path);
    }
    state["Restored"] = json!(restored.is_some());
    state["RestoredAt"] = json!(restored.map_or(NO_TIME, |run| &run.started));
    state
}

/// An unknown time is Docker's "never".
fn time(text: &str) -> &str {
    if text.is_empty() { NO_TIME } else { text }
}
