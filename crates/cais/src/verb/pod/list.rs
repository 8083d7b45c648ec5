//! `pod ps` and `pod inspect`.

use std::ffi::OsString;

use cais_engine::verb::{PodState, PodView};
use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use regex_lite::Regex;
use serde_json::Value;

use crate::chosen::missing;
use crate::container_row::state_word;
use crate::door::{Door, print_stdout};
use crate::failure::{Failure, Outcome};
use crate::filter::Filters;
use crate::list::Format;
use crate::parse::parse;
use crate::pod_row::{COLUMNS, document, listed, row, state};
use crate::template::Template;
use crate::verb::inspect::pretty;

const FILTERS: [&str; 11] = [
    "id",
    "name",
    "label",
    "label!",
    "status",
    "network",
    "ctr-ids",
    "ctr-names",
    "ctr-number",
    "ctr-status",
    "until",
];

#[derive(Debug, Args)]
struct PsArgs {
    /// Show the ids of the containers.
    #[arg(long)]
    ctr_ids: bool,
    /// Show the names of the containers.
    #[arg(long)]
    ctr_names: bool,
    /// Show the states of the containers.
    #[arg(long)]
    ctr_status: bool,
    /// Show only pods for which this holds.
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// table, json, 'table TEMPLATE', or a Go template.
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Show the last created pod.
    #[arg(short, long)]
    latest: bool,
    /// Do not shorten.
    #[arg(long)]
    no_trunc: bool,
    /// No line of titles.
    #[arg(short, long, visible_alias = "n")]
    noheading: bool,
    /// Show what is shared.
    #[arg(long)]
    ns: bool,
    /// Show ids only.
    #[arg(short, long)]
    quiet: bool,
    /// Order: created, id, name, status, number.
    #[arg(long, value_name = "KEY", default_value = "created")]
    sort: String,
}

pub(in crate::verb) fn ps(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: PsArgs = parse(door.spec, argv)?;
    let table = table(&args);
    let format = Format::choose(&COLUMNS, args.quiet, args.format.as_deref(), Some(&table))?;
    let format = if args.no_trunc { format.whole() } else { format };
    let filters = Filters::parse(&args.filter, &FILTERS)?;
    let check = checks(&filters)?;
    let mut pods = door.engine()?.pods()?;
    pods.retain(|pod| check(pod));
    match args.sort.as_str() {
        "created" => {}
        "id" => pods.sort_by(|a, b| a.record.id.cmp(&b.record.id)),
        "name" => pods.sort_by(|a, b| a.record.name.cmp(&b.record.name)),
        "status" => pods.sort_by_key(|pod| pod.state),
        "number" => pods.sort_by_key(|pod| pod.containers.len()),
        other => {
            return Err(Failure::usage(format!("--sort {other}: use created, id, name, status or number")));
        }
    }
    if args.latest {
        pods.truncate(1);
    }
    if let Format::Json = format {
        print_stdout(&pretty(&Value::Array(pods.iter().map(listed).collect())))?;
        return Ok(0);
    }
    let (now, zone) = (Timestamp::now(), TimeZone::system());
    let rows: Vec<_> = pods.iter().map(|pod| row(pod, !args.no_trunc, now, &zone)).collect();
    let text = format.render(&COLUMNS, &rows)?;
    let shown = match (args.noheading, &format) {
        (true, Format::Lines { titles: true, .. }) => text.split_once('\n').map_or("", |(_, rest)| rest),
        _ => &text,
    };
    print_stdout(shown)?;
    Ok(0)
}

/// The usual table, with what flags add to it.
fn table(args: &PsArgs) -> String {
    let mut fields = vec!["Id", "Name", "Status", "Created", "InfraId"];
    for (field, wanted) in [
        ("Namespace", args.ns),
        ("ContainerIds", args.ctr_ids),
        ("ContainerNames", args.ctr_names),
        ("ContainerStatuses", args.ctr_status),
    ] {
        fields.extend(wanted.then_some(field));
    }
    if fields.len() == 5 {
        fields.push("NumberOfContainers");
    }
    let fields: Vec<String> = fields.iter().map(|field| format!("{{{{.{field}}}}}")).collect();
    format!("table {}", fields.join("\\t"))
}

/// Whether a pod passes; what cannot be understood is told before any is looked at.
fn checks(filters: &Filters) -> Result<impl Fn(&PodView) -> bool + '_, Failure> {
    let bad =
        |key: &str, value: &str, reason: String| Failure::usage(format!("--filter {key}={value}: {reason}"));
    let names = filters.values("name").iter();
    let names = names.map(|text| Regex::new(text).map_err(|e| bad("name", text, e.to_string())));
    let names = names.collect::<Result<Vec<Regex>, _>>()?;
    let known = |text: &String| {
        state(text).ok_or_else(|| {
            let words: Vec<&str> = PodState::ALL.iter().map(|state| state.word()).collect();
            bad("status", text, format!("use {}", words.join(", ").to_ascii_lowercase()))
        })
    };
    let states = filters.values("status").iter().map(known).collect::<Result<Vec<PodState>, _>>()?;
    let number = |text: &String| text.parse().map_err(|_| bad("ctr-number", text, "is not a number".into()));
    let numbers = filters.values("ctr-number").iter().map(number).collect::<Result<Vec<usize>, _>>()?;
    let (now, zone) = (Timestamp::now(), TimeZone::system());
    let until =
        |text: &String| crate::time::parse_instant(text, now, &zone).map_err(|e| bad("until", text, e));
    let until = filters.values("until").iter().map(until).collect::<Result<Vec<Timestamp>, _>>()?;
    Ok(move |pod: &PodView| {
        let all = &pod.containers;
        let created = pod.record.created.parse::<Timestamp>().ok();
        filters.any("id", |id| pod.record.id.starts_with(id.as_str()))
            && (names.is_empty() || names.iter().any(|name| name.is_match(&pod.record.name)))
            && filters.labels_match(&pod.record.request.labels)
            && (states.is_empty() || states.contains(&pod.state))
            && filters.any("network", |wanted| {
                pod.infra()
                    .is_some_and(|infra| crate::container_row::network(&infra.record.network) == *wanted)
            })
            && filters.any("ctr-ids", |id| all.iter().any(|one| one.record.id.starts_with(id.as_str())))
            && filters.any("ctr-names", |name| all.iter().any(|one| one.record.name.contains(name.as_str())))
            && (numbers.is_empty() || numbers.contains(&all.len()))
            && filters
                .any("ctr-status", |state| all.iter().any(|one| state_word(one.state) == state.as_str()))
            && until.iter().all(|limit| created.is_some_and(|created| created < *limit))
    })
}

#[derive(Debug, Args)]
struct InspectArgs {
    /// json, or a Go template.
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// The pod that was created last.
    #[arg(short, long)]
    latest: bool,
    pods: Vec<String>,
}

pub(in crate::verb) fn inspect(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: InspectArgs = parse(door.spec, argv)?;
    let names = match (args.latest, args.pods.is_empty()) {
        (true, _) => vec![super::latest(door)?],
        (false, false) => args.pods.clone(),
        (false, true) => return Err(missing(door)),
    };
    let bad = |error| Failure::usage(format!("--format: {error}"));
    let text = match args.format.as_deref() {
        Some("json") | Some("") | None => None,
        other => other,
    };
    let template = text.map(Template::parse).transpose().map_err(bad)?;
    let engine = door.engine()?;
    let mut found = Vec::new();
    let code = door.each(&names, |name| {
        found.push(document(&engine.pod(name)?));
        Ok(())
    });
    match &template {
        None => print_stdout(&pretty(&Value::Array(found)))?,
        Some(template) => {
            for document in &found {
                print_stdout(&format!("{}\n", template.render(document).map_err(bad)?))?;
            }
        }
    }
    Ok(code)
}
