//! `history`: how an image came to be.

use std::ffi::OsString;

use cais_engine::verb::HistoryStep;
use cais_oci::Reference;
use clap::Args;
use jiff::Timestamp;

use crate::door::{Door, print_stdout};
use crate::failure::{Failure, Outcome};
use crate::list::{Columns, Format, Row, ellipsis};
use crate::parse::{parse, parse_bool};
use crate::{size, time};

#[derive(Debug, Args)]
struct HistoryArgs {
    /// table, json, 'table TEMPLATE', or a Go template.
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Sizes and times for people (true unless told otherwise).
    #[arg(short = 'H', long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value = "true", value_parser = parse_bool)]
    human: Option<bool>,
    /// Do not shorten.
    #[arg(long)]
    no_trunc: bool,
    /// Show ids only.
    #[arg(short, long)]
    quiet: bool,
    /// The platform that is meant; an image here is for one.
    #[arg(long, value_name = "PLATFORM", hide = true)]
    platform: Option<String>,
    image: String,
}

const TITLES: &[(&str, &str)] = &[
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
    ("Tags", "TAGS"),
];
const HUMAN: Columns = Columns {
    titles: TITLES,
    table: "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
    quiet: "{{.ID}}",
};
const EXACT: Columns =
    Columns { table: "{{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}", ..HUMAN };
/// As docker shortens what made a layer.
const CREATED_BY_MAX: usize = 45;

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: HistoryArgs = parse(door.spec, argv)?;
    let human = args.human.unwrap_or(true);
    let columns = if human { HUMAN } else { EXACT };
    let format = Format::choose(&columns, args.quiet, args.format.as_deref(), None)?;
    let engine = door.engine()?;
    if let Some(wanted) = args.platform.as_deref().filter(|text| !text.is_empty()) {
        let wanted: cais_oci::Platform =
            wanted.parse().map_err(|error| Failure::usage(format!("--platform {wanted}: {error}")))?;
        let found = engine.image(&args.image)?.platform;
        if wanted.rank(&found).is_none() {
            return Err(Failure::usage(format!("--platform: image {} is here for {found} only", args.image)));
        }
    }
    let now = Timestamp::now();
    let steps = engine.history(&args.image)?;
    let rows: Vec<Row> = steps.iter().map(|step| row(step, human, !args.no_trunc, now)).collect();
    print_stdout(&format.render(&columns, &rows)?)?;
    Ok(0)
}

fn row(step: &HistoryStep, human: bool, truncate: bool, now: Timestamp) -> Row {
    let mut row = Row::default();
    let id = match &step.id {
        None => "<missing>".to_owned(),
        Some(id) if truncate => id.short().to_owned(),
        Some(id) => id.to_string(),
    };
    let created = step.created.as_deref().unwrap_or_default();
    let created_by = step.created_by.replace('\t', " ");
    // To the second, as docker.
    let instant = created.parse::<Timestamp>().map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    row.set("ID", id);
    row.set("CreatedSince", time::ago(created, now));
    row.set("CreatedAt", instant.unwrap_or_default());
    row.set("CreatedBy", if truncate { ellipsis(&created_by, CREATED_BY_MAX) } else { created_by });
    row.set("Size", if human { size::human(step.size_bytes) } else { step.size_bytes.to_string() });
    row.set("Comment", step.comment.as_str());
    let familiar = |name: &String| {
        Reference::parse(name).map_or_else(|_| name.clone(), |reference| reference.familiar())
    };
    row.set("Tags", step.names.iter().map(familiar).collect::<Vec<_>>().join(", "));
    row
}
