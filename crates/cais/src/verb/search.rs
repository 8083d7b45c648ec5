//! `search`: what registries offer.

use std::ffi::OsString;

use cais_engine::verb::{Offer, SearchRequest};
use clap::Args;

use crate::door::{Door, print_stdout};
use crate::failure::{Failure, Outcome};
use crate::filter::Filters;
use crate::list::{Columns, Format, Row, ellipsis};
use crate::parse::parse;
use crate::registry_access::RegistryFlags;

#[derive(Debug, Args)]
struct SearchArgs {
    /// Show only images for which this holds (stars=N, is-official=BOOL, is-automated=BOOL).
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// table, json, 'table TEMPLATE', or a Go template.
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Results of each registry, at most (25, of tags 10).
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// List the tags of a repository.
    #[arg(long)]
    list_tags: bool,
    /// Do not shorten.
    #[arg(long)]
    no_trunc: bool,
    #[command(flatten)]
    access: RegistryFlags,
    term: String,
}

/// Docker's placeholders, and podman's for the same.
const COLUMNS: Columns = Columns {
    titles: &[
        ("Name", "NAME"),
        ("Description", "DESCRIPTION"),
        ("StarCount", "STARS"),
        ("Stars", "STARS"),
        ("IsOfficial", "OFFICIAL"),
        ("Official", "OFFICIAL"),
        ("IsAutomated", "AUTOMATED"),
        ("Automated", "AUTOMATED"),
        ("Index", "INDEX"),
    ],
    table: "{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}",
    quiet: "{{.Name}}",
};
const TAGS: Columns =
    Columns { titles: &[("Name", "NAME"), ("Tag", "TAG")], table: "{{.Name}}\t{{.Tag}}", quiet: "{{.Tag}}" };
const FILTERS: [&str; 3] = ["stars", "is-official", "is-automated"];
const LIMIT: usize = 25;
/// As in podman.
const TAGS_LIMIT: usize = 10;
/// As docker shortens descriptions.
const DESCRIPTION_MAX: usize = 45;

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: SearchArgs = parse(door.spec, argv)?;
    let columns = if args.list_tags { TAGS } else { COLUMNS };
    let format = Format::choose(&columns, false, args.format.as_deref(), None)?;
    let format = if args.no_trunc { format.whole() } else { format };
    if args.limit == Some(0) {
        return Err(Failure::usage("--limit 0: expected 1 or more"));
    }
    let access = args.access.access();
    let rows = if args.list_tags {
        if !args.filter.is_empty() {
            return Err(Failure::usage("conflicting options: --filter and --list-tags"));
        }
        let (name, tags) = door.engine()?.tags(&args.term, args.limit.unwrap_or(TAGS_LIMIT), &access)?;
        tags.into_iter().map(|tag| tag_row(&name, tag)).collect()
    } else {
        let filters = Filters::parse(&args.filter, &FILTERS)?;
        let wanted = Wanted::new(&filters)?;
        let request = SearchRequest { term: args.term, limit: args.limit.unwrap_or(LIMIT), access };
        let searched = door.engine()?.search(&request)?;
        door.warn(&searched.warnings);
        let offers = searched.offers.iter().filter(|offer| wanted.holds(offer));
        offers.map(|offer| offer_row(offer, !args.no_trunc)).collect::<Vec<_>>()
    };
    print_stdout(&format.render(&columns, &rows)?)?;
    Ok(0)
}

/// What `--filter` leaves.
struct Wanted {
    stars: u64,
    is_official: Option<bool>,
    is_automated: Option<bool>,
}

impl Wanted {
    fn new(filters: &Filters) -> Result<Wanted, Failure> {
        let mut stars = 0;
        for value in filters.values("stars") {
            let expected = |_| Failure::usage(format!("--filter stars={value}: expected a number"));
            stars = value.parse::<u64>().map_err(expected)?.max(stars);
        }
        Ok(Wanted {
            stars,
            is_official: filters.truth("is-official")?,
            is_automated: filters.truth("is-automated")?,
        })
    }

    fn holds(&self, offer: &Offer) -> bool {
        offer.found.stars >= self.stars
            && self.is_official.is_none_or(|wanted| wanted == offer.found.is_official)
            && self.is_automated.is_none_or(|wanted| wanted == offer.found.is_automated)
    }
}

fn offer_row(offer: &Offer, truncate: bool) -> Row {
    let mut row = Row::default();
    let description = match truncate {
        true => ellipsis(&offer.found.description, DESCRIPTION_MAX),
        false => offer.found.description.clone(),
    };
    let mark = |is_so: bool| if is_so { "[OK]" } else { "" };
    row.set("Name", offer.name.as_str());
    row.set("Description", description);
    row.set("StarCount", offer.found.stars.to_string());
    row.set("Stars", offer.found.stars.to_string());
    row.set("IsOfficial", mark(offer.found.is_official));
    row.set("Official", mark(offer.found.is_official));
    row.set("IsAutomated", mark(offer.found.is_automated));
    row.set("Automated", mark(offer.found.is_automated));
    row.set("Index", offer.registry.as_str());
    row
}

fn tag_row(name: &str, tag: String) -> Row {
    let mut row = Row::default();
    row.set("Name", name);
    row.set("Tag", tag);
    row
}
