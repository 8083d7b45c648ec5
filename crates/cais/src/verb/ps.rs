//! `ps`: the list of containers.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::container_filter::container_filter;
use crate::container_row::{COLUMNS, POD_COLUMNS, Sizes, TABLE_WITH_SIZE, add_pod, row};
use crate::docker_config;
use crate::door::{Door, print_stdout};
use crate::failure::Outcome;
use crate::list::Format;
use crate::parse::parse;

#[derive(Debug, Args)]
struct PsArgs {
    /// Show all containers, not only running ones.
    #[arg(short, long)]
    all: bool,
    /// Show only containers for which this holds.
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// table, json, 'table TEMPLATE', or a Go template.
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Show the last so many created containers, running or not.
    #[arg(short = 'n', long, value_name = "NUMBER", default_value = "-1", allow_negative_numbers = true)]
    last: i64,
    /// Show the last created container, running or not.
    #[arg(short, long)]
    latest: bool,
    /// Do not shorten.
    #[arg(long)]
    no_trunc: bool,
    /// Show the pods that containers are in.
    #[arg(short, long)]
    pod: bool,
    /// Show ids only.
    #[arg(short, long)]
    quiet: bool,
    /// Show sizes; takes time.
    #[arg(short, long)]
    size: bool,
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: PsArgs = parse(door.spec, argv)?;
    let configured = docker_config::text(door, "psFormat");
    let usual = match (args.size, args.pod) {
        (false, false) => configured,
        (true, pod) => Some(format!("{TABLE_WITH_SIZE}{}", if pod { POD_COLUMNS } else { "" })),
        (false, true) => Some(format!("table {}{POD_COLUMNS}", COLUMNS.table)),
    };
    let special = args.size || args.pod;
    let format = Format::choose(
        &COLUMNS,
        args.quiet,
        args.format.as_deref().filter(|f| *f != "table" || !special),
        usual.as_deref(),
    )?;
    let with_pod = args.pod || format.reads("Pod") || format.reads("PodName");
    let format = if args.no_trunc { format.whole() } else { format };
    let engine = door.engine()?;
    let filter = container_filter(&args.filter, engine)?;
    let limit = if args.latest { Some(1) } else { usize::try_from(args.last).ok() };
    let all = args.all || limit.is_some() || filter.wants_all();
    let mut views = engine.containers(all)?;
    views.retain(|view| filter.passes(view));
    views.truncate(limit.unwrap_or(usize::MAX));
    let (now, zone) = (Timestamp::now(), TimeZone::system());
    let with_size = args.size || format.reads("Size");
    let pods: BTreeMap<String, String> = match with_pod {
        true => engine.pod_records()?.into_iter().map(|pod| (pod.id, pod.name)).collect(),
        false => BTreeMap::new(),
    };
    let mut rows = Vec::with_capacity(views.len());
    for view in &views {
        let sizes = if with_size {
            let size = engine.container_size(&view.record)?;
            Some(Sizes { writable_bytes: size.writable_bytes, total_bytes: size.total_bytes })
        } else {
            None
        };
        let mut row = row(view, !args.no_trunc, sizes, now, &zone);
        if with_pod {
            let name = view.record.pod.as_ref().and_then(|id| pods.get(id));
            add_pod(&mut row, view, !args.no_trunc, name.map(String::as_str));
        }
        rows.push(row);
    }
    print_stdout(&format.render(&COLUMNS, &rows)?)?;
    Ok(0)
}
