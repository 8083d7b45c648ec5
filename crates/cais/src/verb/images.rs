//! `images`: the list of images.

use std::ffi::OsString;

use cais_engine::Engine;
use cais_engine::view::ImageView;
use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::docker_config;
use crate::door::{Door, print_stdout};
use crate::failure::{Failure, Outcome};
use crate::filter::Filters;
use crate::image_row::{COLUMNS, TABLE_WITH_DIGESTS, rows};
use crate::list::Format;
use crate::parse::parse;

#[derive(Debug, Args)]
struct ImagesArgs {
    /// Show all images (there are no intermediate ones that would be hidden).
    #[arg(short, long)]
    all: bool,
    /// Show digests.
    #[arg(long)]
    digests: bool,
    /// Show only images for which this holds.
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// table, json, 'table TEMPLATE', or a Go template.
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Do not shorten.
    #[arg(long)]
    no_trunc: bool,
    /// Show ids only.
    #[arg(short, long)]
    quiet: bool,
    repository: Option<String>,
}

const FILTERS: [&str; 7] = ["reference", "dangling", "label", "label!", "before", "since", "until"];

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: ImagesArgs = parse(door.spec, argv)?;
    let configured = docker_config::text(door, "imagesFormat");
    let usual = if args.digests { Some(TABLE_WITH_DIGESTS) } else { configured.as_deref() };
    let format = Format::choose(&COLUMNS, args.quiet, args.format.as_deref(), usual)?;
    let format = if args.no_trunc { format.whole() } else { format };
    let filters = Filters::parse(&args.filter, &FILTERS)?;
    let (now, zone) = (Timestamp::now(), TimeZone::system());
    let engine = door.engine()?;
    let bounds = Bounds::new(engine, &filters, now, &zone)?;
    let dangling = filters.truth("dangling")?;
    let mut patterns = filters.values("reference").to_vec();
    patterns.extend(args.repository.clone());
    let mut shown = Vec::new();
    for view in engine.images()? {
        let is_dangling = view.names.is_empty();
        let wanted = dangling.is_none_or(|wanted| wanted == is_dangling)
            && filters.labels_match(&view.labels)
            && bounds.hold(&view);
        if wanted {
            shown.extend(rows(&view, &patterns, !args.no_trunc, now, &zone));
        }
    }
    if args.quiet {
        // One image may have many names.
        let mut seen = std::collections::HashSet::new();
        shown.retain(|row| seen.insert(row.fields.get("ID").cloned()));
    }
    print_stdout(&format.render(&COLUMNS, &shown)?)?;
    Ok(0)
}

/// `before`, `since`, `until`: instants that an image's creation is compared with.
struct Bounds {
    before: Vec<Timestamp>,
    since: Vec<Timestamp>,
}

impl Bounds {
    fn new(engine: &Engine, filters: &Filters, now: Timestamp, zone: &TimeZone) -> Result<Bounds, Failure> {
        let of = |name: &String| -> Result<Timestamp, Failure> {
            let view = engine.image(name)?;
            created(&view)
                .ok_or_else(|| Failure::usage(format!("image {name} does not say when it was created")))
        };
        let times = |key: &str| filters.values(key).iter().map(of).collect::<Result<Vec<_>, _>>();
        let mut before = times("before")?;
        for text in filters.values("until") {
            let instant = crate::time::parse_instant(text, now, zone);
            before
                .push(instant.map_err(|reason| Failure::usage(format!("--filter until={text}: {reason}")))?);
        }
        Ok(Bounds { before, since: times("since")? })
    }

    fn hold(&self, view: &ImageView) -> bool {
        let created = created(view);
        self.before.iter().all(|limit| created.is_some_and(|created| created < *limit))
            && self.since.iter().all(|limit| created.is_some_and(|created| created > *limit))
    }
}

fn created(view: &ImageView) -> Option<Timestamp> {
    view.created.as_deref()?.parse().ok()
}
