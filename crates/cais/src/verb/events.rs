//! `events`: what happened and what happens.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::ops::ControlFlow;

use cais_engine::EventMessage;
use cais_engine::verb::EventOptions;
use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::door::Door;
use crate::failure::{Failure, Outcome};
use crate::filter::Filters;
use crate::parse::{parse, parse_bool};
use crate::template::Template;
use crate::time::parse_instant;

#[derive(Debug, Args)]
struct EventsArgs {
    /// Show only what matches (container, event, image, label, network, pod, type, volume).
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Format of a line: json, or a Go template.
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Show what happened since then (10m, unix seconds, 2026-01-02T15:04:05Z).
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Go on with what happens from now on.
    #[arg(long, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_value = "true",
        default_missing_value = "true", value_parser = parse_bool)]
    stream: bool,
    /// Show nothing newer, and end then.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Do not truncate (nothing is).
    #[arg(long, hide = true)]
    no_trunc: bool,
}

const FILTERS: [&str; 9] =
    ["container", "event", "image", "label", "network", "pod", "scope", "type", "volume"];

/// How an event is written.
enum Format {
    /// docker's line.
    Line,
    Json,
    Template(Template),
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: EventsArgs = parse(door.spec, argv)?;
    let (now, zone) = (Timestamp::now(), TimeZone::system());
    let instant = |flag: &str, text: &Option<String>| match text.as_deref().filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => match parse_instant(text, now, &zone) {
            Ok(instant) => Ok(Some(instant)),
            Err(reason) => Err(Failure::usage(format!("--{flag}: {reason}"))),
        },
    };
    let options = EventOptions {
        since: instant("since", &args.since)?,
        until: instant("until", &args.until)?,
        follow: args.stream,
    };
    let filters = Filters::parse(&args.filter, &FILTERS)?;
    let format = match args.format.as_deref().map(str::trim).unwrap_or_default() {
        "" => Format::Line,
        "json" | "{{json .}}" | "{{ json . }}" => Format::Json,
        text => Format::Template(Template::parse(text).map_err(template_failure)?),
    };
    let mut result = Ok(true);
    door.engine()?.events(options, &mut |event| {
        if passes(&filters, event) {
            result = write(&format, event, &zone).and_then(|line| print(&line));
        }
        if matches!(result, Ok(true)) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    result.map(|_| 0)
}

/// Prints a line at once; false when nobody reads any more.
fn print(line: &str) -> Result<bool, Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::edge("write to standard output", error)),
    }
}

fn template_failure(error: crate::template::TemplateError) -> Failure {
    Failure::usage(format!("--format: {error}"))
}

fn write(format: &Format, event: &EventMessage, zone: &TimeZone) -> Result<String, Failure> {
    Ok(match format {
        Format::Line => line(event, zone),
        Format::Json => serde_json::to_string(event).unwrap_or_default() + "\n",
        Format::Template(template) => template.render(&fields(event)).map_err(template_failure)? + "\n",
    })
}

/// docker's line: time, type, action, id, attributes.
fn line(event: &EventMessage, zone: &TimeZone) -> String {
    let time = Timestamp::from_nanosecond(event.time_nano.into()).unwrap_or_default();
    let time = time.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S.%9f%:z").to_string();
    let time = time.strip_suffix("+00:00").map_or(time.clone(), |utc| format!("{utc}Z"));
    let mut line = format!("{time} {} {} {}", event.kind, event.action, event.actor.id);
    let attributes: Vec<String> =
        event.actor.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
    if !attributes.is_empty() {
        line.push_str(&format!(" ({})", attributes.join(", ")));
    }
    line.push('\n');
    line
}

/// What templates can name: Go's names of docker's message, and podman's.
fn fields(event: &EventMessage) -> Value {
    let attribute = |key: &str| event.actor.attributes.get(key).map_or("", String::as_str);
    json!({
        "Status": if event.status.is_empty() { &event.action } else { &event.status },
        "ID": event.actor.id,
        "From": event.from,
        "Type": event.kind,
        "Action": event.action,
        "Actor": {"ID": event.actor.id, "Attributes": event.actor.attributes},
        "Scope": event.scope,
        "Time": event.time,
        "TimeNano": event.time_nano,
        "Name": attribute("name"),
        "Image": event.from,
        "ContainerExitCode": attribute("exitCode"),
        "Attributes": event.actor.attributes,
    })
}

fn passes(filters: &Filters, event: &EventMessage) -> bool {
    let attributes: &BTreeMap<String, String> = &event.actor.attributes;
    let attribute = |key: &str| attributes.get(key).map_or("", String::as_str);
    // Docker: the beginning of an id or a name.
    let names = |kind: &str| {
        filters.any(kind, |wanted| {
            event.kind == kind
                && (event.actor.id.starts_with(wanted.as_str())
                    || attribute("name").starts_with(wanted.as_str()))
        })
    };
    let image = if event.kind == "container" { attribute("image") } else { attribute("name") };
    filters.any("type", |wanted| event.kind == *wanted)
        && filters.any("scope", |wanted| event.scope == *wanted)
        // `exec_start` means all of them, whatever their commands.
        && filters.any("event", |wanted| {
            event.action == *wanted || event.action.split_once(':').is_some_and(|(word, _)| word == wanted)
        })
        && names("container")
        && names("volume")
        && names("network")
        && filters.any("pod", |wanted| attribute("pod") == wanted)
        && filters.any("image", |wanted| {
            let is_image = event.kind == "image" && event.actor.id == *wanted;
            is_image || image == wanted || without_tag(image) == wanted
        })
        && filters.labels_match(attributes)
}

fn without_tag(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use cais_engine::EventActor;

    use super::*;

    fn event() -> EventMessage {
        let attributes = [("image", "nginx:1"), ("name", "web"), ("tier", "front"), ("exitCode", "3")];
        EventMessage {
            status: "die".into(),
            id: "0123".into(),
            from: "nginx:1".into(),
            kind: "container".into(),
            action: "die".into(),
            actor: EventActor {
                id: "0123".into(),
                attributes: attributes.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            },
            scope: "local".into(),
            time: 1_767_323_045,
            time_nano: 1_767_323_045_000_000_007,
        }
    }

    #[test]
    fn lines_are_docker_s() {
        let expected = "2026-01-02T03:04:05.000000007Z container die 0123 (exitCode=3, image=nginx:1, name=web, tier=front)\n";
        assert_eq!(line(&event(), &TimeZone::UTC), expected);
        let east = TimeZone::fixed(jiff::tz::offset(2));
        assert!(line(&event(), &east).starts_with("2026-01-02T05:04:05.000000007+02:00 "));
    }

    #[test]
    fn json_has_docker_s_keys_in_docker_s_order() {
        assert_eq!(
            serde_json::to_string(&event()).unwrap(),
            r#"{"status":"die","id":"0123","from":"nginx:1","Type":"container","Action":"die","Actor":{"ID":"0123","Attributes":{"exitCode":"3","image":"nginx:1","name":"web","tier":"front"}},"scope":"local","time":1767323045,"timeNano":1767323045000000007}"#
        );
        let image = EventMessage { from: String::new(), ..event() };
        assert!(!serde_json::to_string(&image).unwrap().contains("from"));
    }

    #[test]
    fn templates_know_docker_s_and_podman_s_names() {
        let template =
            Template::parse("{{.Type}} {{.Action}} {{.Actor.Attributes.name}} {{.Name}} {{.Time}}").unwrap();
        assert_eq!(template.render(&fields(&event())).unwrap(), "container die web web 1767323045");
    }

    #[test]
    fn filters() {
        let pass = |texts: &[&str], event: &EventMessage| {
            let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
            passes(&Filters::parse(&texts, &FILTERS).unwrap(), event)
        };
        let event = event();
        for good in [
            "container=web",
            "container=01",
            "event=die",
            "type=container",
            "image=nginx",
            "image=nginx:1",
            "label=tier",
            "label=tier=front",
        ] {
            assert!(pass(&[good], &event), "{good}");
        }
        for bad in [
            "container=db",
            "event=start",
            "type=image",
            "image=redis",
            "label=tier=back",
            "volume=web",
            "network=web",
            "pod=p",
        ] {
            assert!(!pass(&[bad], &event), "{bad}");
        }
        assert!(pass(&["event=start", "event=die"], &event), "values of one key are alternatives");
        assert!(!pass(&["event=die", "container=db"], &event), "keys are not");
        let probe = EventMessage { action: "health_status: healthy".into(), ..event };
        assert!(pass(&["event=health_status"], &probe) && pass(&["event=health_status: healthy"], &probe));
    }
}
