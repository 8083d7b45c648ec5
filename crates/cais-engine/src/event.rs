//! What happened, told to whoever reads `events`: messages with Docker's keys (API 1.50), one line of JSON each.
//!
//! An event that cannot be written is lost: it never makes a verb fail.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{ContainerRecord, Engine, ExitRecord, NetworkRequest};

/// One event; keys and their order are Docker's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventMessage {
    /// As `action`; containers and images only.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// As the actor's; containers and images only.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The container's image.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// `container`, `image`, `volume`, `network`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// `start`, `die`, …
    #[serde(rename = "Action")]
    pub action: String,
    /// To whom it happened.
    #[serde(rename = "Actor")]
    pub actor: EventActor,
    /// Always `local`.
    pub scope: String,
    /// Unix seconds.
    pub time: i64,
    /// Unix nanoseconds.
    #[serde(rename = "timeNano")]
    pub time_nano: i64,
}

/// The object of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventActor {
    /// Its id, or its name where it has none.
    #[serde(rename = "ID")]
    pub id: String,
    /// Labels, name, and what belongs to the action.
    #[serde(rename = "Attributes")]
    pub attributes: BTreeMap<String, String>,
}

impl Engine {
    /// Tells that something happened to an object that is no container.
    pub(crate) fn tell(&self, kind: &str, action: &str, id: &str, attributes: &[(&str, &str)]) {
        let attributes = attributes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let actor = EventActor { id: id.to_owned(), attributes: attributes.collect() };
        self.write_event(kind, action, actor);
    }

    /// Tells that something happened to a container.
    pub(crate) fn tell_container(&self, record: &ContainerRecord, action: &str, more: &[(&str, &str)]) {
        let mut attributes = record.labels.clone();
        let image = if record.request.image.is_empty() { &record.image_name } else { &record.request.image };
        attributes.insert("image".to_owned(), image.clone());
        attributes.insert("name".to_owned(), record.name.clone());
        for (key, value) in more {
            attributes.insert((*key).to_owned(), (*value).to_owned());
        }
        self.write_event("container", action, EventActor { id: record.id.clone(), attributes });
    }

    /// Tells that a container runs: its mounts, its network, its start.
    pub(crate) fn tell_start(&self, record: &ContainerRecord) {
        for mount in record.mounts.iter().filter(|mount| !mount.volume.is_empty()) {
            let writable = if mount.request.read_only { "false" } else { "true" };
            let attributes = [
                ("container", record.id.as_str()),
                ("destination", &mount.request.target),
                ("driver", "local"),
                ("propagation", ""),
                ("read/write", writable),
            ];
            self.tell("volume", "mount", &mount.volume, &attributes);
        }
        self.tell_network(record, "connect");
        self.tell_container(record, "start", &[]);
    }

    /// Networks have no ids here but their names.
    fn tell_network(&self, record: &ContainerRecord, action: &str) {
        if record.network == NetworkRequest::Bridge {
            let attributes = [("container", record.id.as_str()), ("name", "bridge"), ("type", "bridge")];
            self.tell("network", action, "bridge", &attributes);
        }
    }

    /// Tells how a run ended, if nobody has.
    pub(crate) fn tell_end(&self, record: &ContainerRecord) {
        let Ok(Some(exit)) = self.store.read_exit(&record.id) else { return };
        // A run that never began has not ended.
        if exit.started.is_empty() || !self.store.claim_end(&record.id) {
            return;
        }
        let told = self.store.read_oom(&record.id).ok().flatten().filter(|oom| oom.at >= exit.started);
        if exit.oom_kills > told.map_or(0, |oom| oom.kills) {
            self.tell_oom_kill(record, exit.oom_kills);
        }
        let code = exit.code.to_string();
        let seconds = ran_ms(&exit) / 1000;
        let duration = seconds.to_string();
        self.tell_network(record, "disconnect");
        for mount in record.mounts.iter().filter(|mount| !mount.volume.is_empty()) {
            let attributes = [("container", record.id.as_str()), ("driver", "local")];
            self.tell("volume", "unmount", &mount.volume, &attributes);
        }
        self.tell_container(record, "die", &[("exitCode", &code), ("execDuration", &duration)]);
    }

    fn write_event(&self, kind: &str, action: &str, actor: EventActor) {
        let now = Timestamp::now();
        let named = matches!(kind, "container" | "image");
        let is_container = kind == "container";
        let event = EventMessage {
            status: if named { action.to_owned() } else { String::new() },
            id: if named { actor.id.clone() } else { String::new() },
            from: actor.attributes.get("image").filter(|_| is_container).cloned().unwrap_or_default(),
            kind: kind.to_owned(),
            action: action.to_owned(),
            actor,
            scope: "local".to_owned(),
            time: now.as_second(),
            time_nano: i64::try_from(now.as_nanosecond()).unwrap_or_default(),
        };
        let Ok(mut line) = serde_json::to_vec(&event) else { return };
        line.push(b'\n');
        // Nobody who does something for a user should fail because nobody can be told.
        let _ = self.store.append_event(&line);
    }
}

/// How long a run took, in milliseconds.
pub(crate) fn ran_ms(exit: &ExitRecord) -> u64 {
    let (Ok(started), Ok(finished)) = (exit.started.parse::<Timestamp>(), exit.finished.parse::<Timestamp>())
    else {
        return 0;
    };
    u64::try_from(finished.duration_since(started).as_millis()).unwrap_or_default()
}
