//! The filters of `ps`.

use std::collections::BTreeSet;

use cais_engine::Engine;
use cais_engine::view::{ContainerView, HealthStatus, State};
use cais_oci::Digest;
use jiff::Timestamp;
use regex_lite::Regex;

use crate::container_row::{network, protocol, state_word};
use crate::failure::Failure;
use crate::filter::Filters;

const KNOWN: [&str; 15] = [
    "id", "name", "label", "label!", "status", "ancestor", "exited", "volume", "network", "publish",
    "expose", "before", "since", "health", "pod",
];

const STATES: [State; 6] =
    [State::Created, State::Running, State::Paused, State::Restarting, State::Exited, State::Dead];

/// Filters with everything looked up that a single container cannot tell.
pub struct ContainerFilter {
    filters: Filters,
    names: Vec<Regex>,
    states: Vec<State>,
    codes: Vec<i32>,
    ancestors: BTreeSet<Digest>,
    before: Vec<Timestamp>,
    since: Vec<Timestamp>,
    pods: BTreeSet<String>,
}

/// The filters of a command, parsed with the engine's help.
///
/// # Errors
/// As [`ContainerFilter::parse`].
pub fn container_filter(texts: &[String], engine: &Engine) -> Result<ContainerFilter, Failure> {
    let lookups = Lookups {
        image: &|name| Ok(engine.image(name)?.id),
        created: &|name| {
            let created = engine.container(name)?.record.created;
            created
                .parse()
                .map_err(|error| Failure::edge(format_args!("read when {name} was created"), error))
        },
        pod: &|name| Ok(engine.pod(name)?.record.id),
    };
    ContainerFilter::parse(texts, &lookups)
}

/// Finds other objects by name for `ancestor`, `before` and `since`.
pub struct Lookups<'a> {
    /// The id of an image.
    pub image: &'a dyn Fn(&str) -> Result<Digest, Failure>,
    /// When a container was made.
    pub created: &'a dyn Fn(&str) -> Result<Timestamp, Failure>,
    /// The id of a pod.
    pub pod: &'a dyn Fn(&str) -> Result<String, Failure>,
}

impl ContainerFilter {
    /// Parses the values of `--filter`.
    ///
    /// # Errors
    /// For unknown keys and values without sense; an unknown ancestor simply matches by its text.
    pub fn parse(texts: &[String], lookups: &Lookups<'_>) -> Result<ContainerFilter, Failure> {
        let filters = Filters::parse(texts, &KNOWN)?;
        let bad = |key: &str, value: &str, reason: &str| {
            Failure::usage(format!("--filter {key}={value}: {reason}"))
        };
        let names = filters.values("name").iter().map(|text| {
            Regex::new(text.strip_prefix('/').unwrap_or(text)).map_err(|e| bad("name", text, &e.to_string()))
        });
        let names = names.collect::<Result<_, _>>()?;
        let state = |text: &String| {
            let known = STATES.into_iter().find(|state| state_word(*state) == text.to_ascii_lowercase());
            known.ok_or_else(|| {
                bad("status", text, "use created, running, paused, restarting, exited or dead")
            })
        };
        let states = filters.values("status").iter().map(state).collect::<Result<_, _>>()?;
        let code = |text: &String| text.parse().map_err(|_| bad("exited", text, "is not an exit code"));
        let codes = filters.values("exited").iter().map(code).collect::<Result<_, _>>()?;
        for text in filters.values("health") {
            if !["none", "starting", "healthy", "unhealthy"].contains(&text.as_str()) {
                return Err(bad("health", text, "use none, starting, healthy or unhealthy"));
            }
        }
        for key in ["publish", "expose"] {
            for text in filters.values(key) {
                parse_port(text).ok_or_else(|| bad(key, text, "expected port[-port][/protocol]"))?;
            }
        }
        let times = |key: &str| {
            filters.values(key).iter().map(|name| (lookups.created)(name)).collect::<Result<_, _>>()
        };
        Ok(ContainerFilter {
            names,
            states,
            codes,
            ancestors: filters
                .values("ancestor")
                .iter()
                .filter_map(|name| (lookups.image)(name).ok())
                .collect(),
            pods: filters.values("pod").iter().map(|name| (lookups.pod)(name)).collect::<Result<_, _>>()?,
            before: times("before")?,
            since: times("since")?,
            filters,
        })
    }

    /// Containers that do not run are wanted, too, although `-a` was not given.
    pub fn wants_all(&self) -> bool {
        !self.states.is_empty()
    }

    /// Whether a container passes.
    pub fn passes(&self, view: &ContainerView) -> bool {
        let record = &view.record;
        let created = record.created.parse::<Timestamp>().ok();
        let code = view.exit.as_ref().filter(|_| view.state == State::Exited).map(|exit| exit.code);
        let mounts = &record.mounts;
        self.filters.any("id", |id| record.id.starts_with(id.as_str()))
            && self.filters.labels_match(&record.labels)
            && (self.names.is_empty() || self.names.iter().any(|name| name_matches(name, &record.name)))
            && (self.states.is_empty() || self.states.contains(&view.state))
            && (self.codes.is_empty() || code.is_some_and(|code| self.codes.contains(&code)))
            && self.filters.any("ancestor", |name| {
                record.image_name == *name
                    || record.image_id.as_ref().is_some_and(|id| self.ancestors.contains(id))
            })
            && self.filters.any("volume", |wanted| {
                mounts.iter().any(|m| {
                    m.volume == *wanted
                        || m.request.target == *wanted
                        || m.host_path.as_os_str() == wanted.as_str()
                })
            })
            && self.filters.any("network", |wanted| network(&record.network) == *wanted)
            && self.filters.any("health", |wanted| wanted == view.health.map_or("none", HealthStatus::word))
            && (self.pods.is_empty() || record.pod.as_ref().is_some_and(|pod| self.pods.contains(pod)))
            && self.filters.any("publish", |wanted| published(view, wanted))
            && self.filters.any("expose", |wanted| exposed(view, wanted))
            && self.before.iter().all(|limit| created.is_some_and(|created| created < *limit))
            && self.since.iter().all(|limit| created.is_some_and(|created| created > *limit))
    }
}

/// Docker's names begin with a slash, and patterns may say so.
fn name_matches(pattern: &Regex, name: &str) -> bool {
    pattern.is_match(name) || pattern.is_match(&format!("/{name}"))
}

fn parse_port(text: &str) -> Option<(u16, u16, &str)> {
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    Some((first.parse().ok()?, last.parse().ok()?, protocol))
}

fn published(view: &ContainerView, wanted: &str) -> bool {
    let Some((first, last, name)) = parse_port(wanted) else { return false };
    let ports = view.run.as_ref().map_or(&[][..], |run| &run.ports);
    ports.iter().any(|port| {
        protocol(port.protocol) == name
            && ((first..=last).contains(&port.host_port) || (first..=last).contains(&port.container_port))
    })
}

fn exposed(view: &ContainerView, wanted: &str) -> bool {
    let Some((first, last, name)) = parse_port(wanted) else { return false };
    view.record
        .exposed
        .iter()
        .filter_map(|port| parse_port(port))
        .any(|(port, _, protocol)| protocol == name && (first..=last).contains(&port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container_row::tests::view;

    fn passes(texts: &[&str], view: &ContainerView) -> Result<bool, String> {
        let lookups = Lookups {
            image: &|name| match name {
                "nginx" => Ok(Digest::sha256(b"x")),
                _ => Err(Failure::usage("no such image")),
            },
            created: &|name| match name {
                "newer" => "2026-01-03T00:00:00Z".parse().map_err(|_| Failure::usage("time")),
                "older" => "2026-01-01T00:00:00Z".parse().map_err(|_| Failure::usage("time")),
                _ => Err(Failure::usage("no such container")),
            },
            pod: &|name| Ok(name.to_owned()),
        };
        let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
        let filter = ContainerFilter::parse(&texts, &lookups).map_err(|failure| failure.message)?;
        Ok(filter.passes(view))
    }

    #[test]
    fn every_filter_can_pass_and_fail() {
        let running = view(State::Running);
        let exited = view(State::Exited);
        let pairs = [
            ("id=0123", "id=123"),
            ("name=^/web$", "name=^we$"),
            ("name=w.b", "name=x"),
            ("label=a", "label=c"),
            ("label=a=1", "label=a=2"),
            ("label!=c", "label!=a=1"),
            ("status=running", "status=exited"),
            ("ancestor=nginx", "ancestor=redis"),
            ("ancestor=nginx:1", "ancestor=nginx:2"),
            ("volume=data", "volume=other"),
            ("network=bridge", "network=host"),
            ("health=none", "health=healthy"),
            ("publish=8080", "publish=81"),
            ("publish=90-99/tcp", "publish=90/udp"),
            ("expose=443/tcp", "expose=444"),
            ("before=newer", "before=older"),
            ("since=older", "since=newer"),
        ];
        for (good, bad) in pairs {
            assert_eq!(passes(&[good], &running), Ok(true), "{good}");
            assert_eq!(passes(&[bad], &running), Ok(false), "{bad}");
        }
        assert_eq!(passes(&["exited=3"], &exited), Ok(true));
        assert_eq!(passes(&["exited=0"], &exited), Ok(false));
        assert_eq!(passes(&["exited=3"], &running), Ok(false));
        assert_eq!(passes(&["name=web", "name=x", "label=a", "label=b"], &running), Ok(true));
        assert_eq!(passes(&["name=web", "label=c"], &running), Ok(false));
    }

    #[test]
    fn refuses_nonsense() {
        let running = view(State::Running);
        for text in [
            "colour=red",
            "status=asleep",
            "exited=x",
            "name=(",
            "health=x",
            "publish=x",
            "before=nobody",
            "name",
        ] {
            assert!(passes(&[text], &running).is_err(), "{text}");
        }
    }
}
