//! `volume create`, `volume ls`, `volume rm`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use cais_engine::view::VolumeView;
use clap::Args;
use regex_lite::Regex;

use crate::docker_config;
use crate::door::{Door, print_stdout};
use crate::failure::{Failure, Outcome};
use crate::filter::Filters;
use crate::list::{Columns, Format, Row, labels_text};
use crate::parse::parse;
use crate::request::key_value;

#[derive(Debug, Args)]
struct CreateArgs {
    /// Driver: local.
    #[arg(short, long, value_name = "DRIVER", default_value = "local")]
    driver: String,
    /// Set a label.
    #[arg(long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// Set an option of the driver.
    #[arg(short, long, value_name = "KEY=VALUE")]
    opt: Vec<String>,
    name: Option<String>,
}

pub(super) fn create(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: CreateArgs = parse(door.spec, argv)?;
    if args.driver != "local" {
        return Err(Failure::usage(format!("--driver {}: there is no other driver than local", args.driver)));
    }
    let pairs = |texts: &[String]| texts.iter().map(|text| key_value(text)).collect::<BTreeMap<_, _>>();
    let name = args.name.as_deref().filter(|name| !name.is_empty());
    let view = door.engine()?.volume_create(name, pairs(&args.label), pairs(&args.opt))?;
    print_stdout(&format!("{}\n", view.name))?;
    Ok(0)
}

#[derive(Debug, Args)]
struct LsArgs {
    /// Show only volumes for which this holds.
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// table, json, 'table TEMPLATE', or a Go template.
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Show names only.
    #[arg(short, long)]
    quiet: bool,
}

const COLUMNS: Columns = Columns {
    titles: &[
        ("Name", "VOLUME NAME"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("Mountpoint", "MOUNTPOINT"),
        ("Labels", "LABELS"),
        ("Links", "LINKS"),
        ("Size", "SIZE"),
        ("Availability", "AVAILABILITY"),
        ("Group", "GROUP"),
        ("Status", "STATUS"),
    ],
    table: "{{.Driver}}\t{{.Name}}",
    quiet: "{{.Name}}",
};

pub(super) fn ls(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: LsArgs = parse(door.spec, argv)?;
    let configured = docker_config::text(door, "volumesFormat");
    let format = Format::choose(&COLUMNS, args.quiet, args.format.as_deref(), configured.as_deref())?;
    let filters = Filters::parse(&args.filter, &["name", "driver", "label", "label!", "dangling"])?;
    let patterns = filters.values("name").iter().map(|text| {
        Regex::new(text).map_err(|error| Failure::usage(format!("--filter name={text}: {error}")))
    });
    let patterns = patterns.collect::<Result<Vec<_>, _>>()?;
    let dangling = filters.truth("dangling")?;
    let engine = door.engine()?;
    let used: BTreeSet<String> = match dangling {
        None => BTreeSet::new(),
        Some(_) => {
            let mounts = engine.containers(true)?.into_iter().flat_map(|view| view.record.mounts);
            mounts.map(|mount| mount.volume).collect()
        }
    };
    let mut volumes = engine.volumes()?;
    volumes.retain(|volume| {
        (patterns.is_empty() || patterns.iter().any(|pattern| pattern.is_match(&volume.name)))
            && filters.any("driver", |driver| *driver == volume.driver)
            && filters.labels_match(&volume.labels)
            && dangling.is_none_or(|wanted| wanted != used.contains(&volume.name))
    });
    volumes.sort_by(|left, right| left.name.cmp(&right.name));
    let rows: Vec<Row> = volumes.iter().map(row).collect();
    print_stdout(&format.render(&COLUMNS, &rows)?)?;
    Ok(0)
}

fn row(volume: &VolumeView) -> Row {
    let mut row = Row { labels: volume.labels.clone(), ..Row::default() };
    row.set("Name", volume.name.as_str());
    row.set("Driver", volume.driver.as_str());
    row.set("Scope", volume.scope.as_str());
    row.set("Mountpoint", volume.mountpoint.to_string_lossy());
    row.set("Labels", labels_text(&volume.labels));
    for unknown in ["Links", "Size", "Availability", "Group", "Status"] {
        row.set(unknown, "N/A");
    }
    row
}

#[derive(Debug, Args)]
struct RmArgs {
    /// Missing ones are no failure.
    #[arg(short, long)]
    force: bool,
    #[arg(required = true)]
    volumes: Vec<String>,
}

pub(super) fn rm(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: RmArgs = parse(door.spec, argv)?;
    let engine = door.engine()?;
    Ok(door.each(&args.volumes, |name| {
        engine.volume_remove(name, args.force)?;
        print_stdout(&format!("{name}\n"))
    }))
}
