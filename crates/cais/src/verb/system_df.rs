//! `system df`: what is stored takes on the disk.

use std::ffi::OsString;

use cais_engine::verb::{ContainerUsage, DiskUsage, ImageUsage, VolumeUsage};
use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::door::{Door, print_stdout};
use crate::failure::{Failure, Outcome};
use crate::list::{Columns, Format, Row};
use crate::parse::parse;
use crate::template::{Template, TemplateError};
use crate::{container_row, image_row, size};

#[derive(Debug, Args)]
struct DfArgs {
    /// table, json, 'table TEMPLATE', or a Go template.
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Show each image, container and volume.
    #[arg(short, long)]
    verbose: bool,
}

const TYPES: Columns = Columns {
    titles: &[
        ("Type", "TYPE"),
        ("TotalCount", "TOTAL"),
        ("Active", "ACTIVE"),
        ("Size", "SIZE"),
        ("Reclaimable", "RECLAIMABLE"),
    ],
    table: "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
    quiet: "{{.Type}}",
};
const IMAGES: Columns = Columns {
    titles: image_row::COLUMNS.titles,
    table: "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.VirtualSize}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}",
    quiet: "{{.ID}}",
};
const CONTAINERS: Columns = Columns {
    titles: container_row::COLUMNS.titles,
    table: "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}",
    quiet: "{{.ID}}",
};
const VOLUMES: Columns = Columns {
    titles: &[("Name", "VOLUME NAME"), ("Links", "LINKS"), ("Size", "SIZE")],
    table: "{{.Name}}\t{{.Links}}\t{{.Size}}",
    quiet: "{{.Name}}",
};

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: DfArgs = parse(door.spec, argv)?;
    let template = args.format.as_deref().filter(|text| !text.is_empty() && *text != "table");
    if let (true, Some(text)) = (args.verbose, template) {
        let fail = |error: TemplateError| Failure::usage(format!("--format: {error}"));
        let template = if text == "json" { "{{json .}}" } else { text };
        let template = Template::parse(template).map_err(fail)?;
        let object = object(&door.engine()?.disk_usage()?);
        print_stdout(&format!("{}\n", template.render(&object).map_err(fail)?))?;
        return Ok(0);
    }
    let format = Format::choose(&TYPES, false, args.format.as_deref(), None)?;
    let usage = door.engine()?.disk_usage()?;
    let text = if args.verbose { verbose(&usage)? } else { format.render(&TYPES, &rows(&usage))? };
    print_stdout(&text)?;
    Ok(0)
}

/// All of it as one object, with docker's keys.
fn object(usage: &DiskUsage) -> Value {
    let (now, zone) = (Timestamp::now(), TimeZone::system());
    let objects = |rows: Vec<Row>| rows.iter().map(Row::object).collect::<Vec<_>>();
    json!({
        "Images": objects(usage.images.iter().flat_map(|image| image_rows(image, now, &zone)).collect()),
        "Containers": objects(usage.containers.iter().map(|it| container(it, now, &zone)).collect()),
        "Volumes": objects(usage.volumes.iter().map(volume).collect()),
        "BuildCache": [],
    })
}

fn rows(usage: &DiskUsage) -> Vec<Row> {
    let used_images = usage.images.iter().filter(|image| image.containers > 0).count();
    let alive = usage.containers.iter().filter(|container| container.view.is_alive()).count();
    let used_volumes = usage.volumes.iter().filter(|volume| volume.links > 0).count();
    let idle: u64 = usage.containers.iter().filter(|it| !it.view.is_alive()).map(|it| it.bytes).sum();
    let unused: u64 = usage.volumes.iter().filter(|it| it.links == 0).map(|it| it.bytes).sum();
    let mut rows = vec![
        row("Images", usage.images.len(), used_images, usage.images_bytes, usage.images_reclaimable_bytes),
        row("Containers", usage.containers.len(), alive, usage.containers_bytes, idle),
        row("Local Volumes", usage.volumes.len(), used_volumes, usage.volumes_bytes, unused),
        row("Build Cache", 0, 0, 0, 0),
    ];
    // Docker has no such row: it shows up only when there is something that should not be.
    if usage.leftover_bytes > LEFTOVERS_USUAL_BYTES {
        rows.push(row("Leftovers", 1, 0, usage.leftover_bytes, usage.leftover_bytes));
    }
    rows
}

/// The empty directories for what comes and goes.
const LEFTOVERS_USUAL_BYTES: u64 = 64 * 1024;

fn row(kind: &str, total: usize, active: usize, bytes: u64, reclaimable_bytes: u64) -> Row {
    let mut row = Row::default();
    row.set("Type", kind);
    row.set("TotalCount", total.to_string());
    row.set("Active", active.to_string());
    row.set("Size", size::human(bytes));
    let human = size::human(reclaimable_bytes);
    let share = if bytes > 0 && total > 0 {
        format!("{human} ({}%)", reclaimable_bytes.saturating_mul(100) / bytes)
    } else {
        human
    };
    row.set("Reclaimable", share);
    row
}

fn verbose(usage: &DiskUsage) -> Result<String, Failure> {
    let (now, zone) = (Timestamp::now(), TimeZone::system());
    let table =
        |columns: &Columns, rows: &[Row]| Format::choose(columns, false, None, None)?.render(columns, rows);
    let images: Vec<Row> = usage.images.iter().flat_map(|image| image_rows(image, now, &zone)).collect();
    let containers: Vec<Row> = usage.containers.iter().map(|it| container(it, now, &zone)).collect();
    let volumes: Vec<Row> = usage.volumes.iter().map(volume).collect();
    Ok(format!(
        "Images space usage:\n\n{}\nContainers space usage:\n\n{}\nLocal Volumes space usage:\n\n{}\n\
         Build cache usage: 0B\n\nOther files of the store: {}\nAll of it, as du sees it: {}\n",
        table(&IMAGES, &images)?,
        table(&CONTAINERS, &containers)?,
        table(&VOLUMES, &volumes)?,
        size::human(usage.leftover_bytes + usage.other_bytes),
        size::human(usage.total_bytes()),
    ))
}

fn image_rows(image: &ImageUsage, now: Timestamp, zone: &TimeZone) -> Vec<Row> {
    let mut rows = image_row::rows(&image.view, &[], true, now, zone);
    for row in &mut rows {
        row.set("VirtualSize", size::human(image.shared_bytes + image.unique_bytes));
        row.set("SharedSize", size::human(image.shared_bytes));
        row.set("UniqueSize", size::human(image.unique_bytes));
        row.set("Containers", image.containers.to_string());
    }
    rows
}

fn container(usage: &ContainerUsage, now: Timestamp, zone: &TimeZone) -> Row {
    let mut row = container_row::row(&usage.view, true, None, now, zone);
    row.set("Size", size::human(usage.bytes));
    row
}

fn volume(usage: &VolumeUsage) -> Row {
    let mut row = Row::default();
    row.set("Name", usage.view.name.as_str());
    row.set("Links", usage.links.to_string());
    row.set("Size", size::human(usage.bytes));
    row
}
