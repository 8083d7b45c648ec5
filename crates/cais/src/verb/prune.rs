//! `container prune`, `image prune`, `volume prune`, `system prune`: ask, take away, tell what was gained.

use std::ffi::OsString;
use std::io::{BufRead, stdin};

use cais_engine::verb::{PruneFilter, Pruned};
use cais_engine::view::ImageRemoval;
use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::door::{Door, print_stdout};
use crate::failure::{Failure, Outcome};
use crate::filter::Filters;
use crate::parse::parse;
use crate::{size, time};

#[derive(Debug, Args)]
struct PruneArgs {
    /// Remove only what this holds for (until=…, label=…, label!=…).
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Do not ask.
    #[arg(short, long)]
    force: bool,
}

#[derive(Debug, Args)]
struct PruneAllArgs {
    /// Remove all that no container uses, not only what has no name.
    #[arg(short, long)]
    all: bool,
    /// Remove only what this holds for (until=…, label=…, label!=…).
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Do not ask.
    #[arg(short, long)]
    force: bool,
}

impl PruneAllArgs {
    /// Prunes and tells what went, unless whoever is asked does not want it.
    fn when_agreed(&self, warning: &str, prune: impl FnOnce(&mut Total) -> Result<(), Failure>) -> Outcome {
        if !self.force && !agreed(warning)? {
            return Ok(0);
        }
        let mut total = Total::default();
        prune(&mut total)?;
        total.tell()
    }
}

#[derive(Debug, Args)]
struct PruneSystemArgs {
    /// Remove all images that no container uses, not only those without a name.
    #[arg(short, long)]
    all: bool,
    /// Remove only what this holds for (until=…, label=…, label!=…).
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Do not ask.
    #[arg(short, long)]
    force: bool,
    /// Remove anonymous volumes, too.
    #[arg(long)]
    volumes: bool,
}

pub(super) fn containers(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: PruneArgs = parse(door.spec, argv)?;
    let filter = filter(&args.filter, &["until", "label", "label!"])?.0;
    if !args.force && !agreed("WARNING! This will remove all stopped containers.\n")? {
        return Ok(0);
    }
    let mut total = Total::default();
    total.containers(door, &door.engine()?.prune_containers(&filter)?)?;
    total.tell()
}

pub(super) fn images(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: PruneAllArgs = parse(door.spec, argv)?;
    let (filter, filters) = filter(&args.filter, &["until", "label", "label!", "dangling"])?;
    // As docker: dangling=false is how the API says --all.
    let all = args.all || filters.truth("dangling")? == Some(false);
    let warning = if all {
        "WARNING! This will remove all images without at least one container associated to them.\n"
    } else {
        "WARNING! This will remove all dangling images.\n"
    };
    args.when_agreed(warning, |total| total.images(door, &door.engine()?.prune_images(all, &filter)?))
}

pub(super) fn volumes(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: PruneAllArgs = parse(door.spec, argv)?;
    let (filter, filters) = filter(&args.filter, &["label", "label!", "all"])?;
    let all = args.all || filters.truth("all")? == Some(true);
    let warning = if all {
        "WARNING! This will remove all local volumes not used by at least one container.\n"
    } else {
        "WARNING! This will remove anonymous local volumes not used by at least one container.\n"
    };
    args.when_agreed(warning, |total| total.volumes(door, &door.engine()?.prune_volumes(all, &filter)?))
}

pub(super) fn system(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: PruneSystemArgs = parse(door.spec, argv)?;
    let (filter, _) = filter(&args.filter, &["until", "label", "label!"])?;
    if args.volumes && filter.until.is_some() {
        return Err(Failure::usage("the \"until\" filter is not supported with \"--volumes\""));
    }
    if !args.force && !agreed(&system_warning(&args))? {
        return Ok(0);
    }
    let engine = door.engine()?;
    let mut total = Total::default();
    total.containers(door, &engine.prune_containers(&filter)?)?;
    if args.volumes {
        total.volumes(door, &engine.prune_volumes(false, &filter)?)?;
    }
    total.images(door, &engine.prune_images(args.all, &filter)?)?;
    total.tell()
}

/// Docker's text, without what there is not: networks of the user's own and a build cache.
fn system_warning(args: &PruneSystemArgs) -> String {
    let mut text = "WARNING! This will remove:\n  - all stopped containers\n".to_owned();
    if args.volumes {
        text.push_str("  - all anonymous volumes not used by at least one container\n");
    }
    text.push_str(if args.all {
        "  - all images without at least one container associated to them\n"
    } else {
        "  - all dangling images\n"
    });
    if !args.filter.is_empty() {
        text.push_str("\n  Items to be pruned will be filtered with:\n");
        for filter in &args.filter {
            text.push_str(&format!("  - {filter}\n"));
        }
    }
    text + "\n"
}

fn filter(texts: &[String], known: &[&str]) -> Result<(PruneFilter, Filters), Failure> {
    let filters = Filters::parse(texts, known)?;
    let mut until = None;
    for text in filters.values("until") {
        let instant = time::parse_instant(text, Timestamp::now(), &TimeZone::system())
            .map_err(|reason| Failure::usage(format!("--filter until={text}: {reason}")))?;
        until = Some(until.map_or(instant, |earlier: Timestamp| earlier.min(instant)));
    }
    let words = |key: &str| filters.values(key).to_vec();
    Ok((PruneFilter { until, labels: words("label"), not_labels: words("label!") }, filters))
}

/// Asks; whoever does not say yes is not told off, as in docker.
pub(super) fn agreed(warning: &str) -> Result<bool, Failure> {
    print_stdout(&format!("{warning}Are you sure you want to continue? [y/N] "))?;
    let mut answer = String::new();
    stdin().lock().read_line(&mut answer).map_err(|error| Failure::edge("read the answer", error))?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// What was gained so far.
#[derive(Default)]
struct Total {
    reclaimed_bytes: u64,
    failed: bool,
}

impl Total {
    fn containers(&mut self, door: &Door, pruned: &Pruned<String>) -> Result<(), Failure> {
        self.list(door, "Deleted Containers:", &pruned.removed, pruned)
    }

    fn volumes(&mut self, door: &Door, pruned: &Pruned<String>) -> Result<(), Failure> {
        self.list(door, "Deleted Volumes:", &pruned.removed, pruned)
    }

    fn images(&mut self, door: &Door, pruned: &Pruned<ImageRemoval>) -> Result<(), Failure> {
        let line = |removal: &ImageRemoval| match removal {
            ImageRemoval::Untagged(name) => format!("untagged: {name}"),
            ImageRemoval::Deleted(digest) => format!("deleted: {digest}"),
        };
        let lines: Vec<String> = pruned.removed.iter().map(line).collect();
        self.list(door, "Deleted Images:", &lines, pruned)
    }

    fn list<T>(
        &mut self,
        door: &Door,
        title: &str,
        lines: &[String],
        pruned: &Pruned<T>,
    ) -> Result<(), Failure> {
        self.reclaimed_bytes += pruned.reclaimed_bytes;
        for failure in &pruned.failures {
            self.failed = true;
            door.complain(&Failure::usage(failure.as_str()));
        }
        if lines.is_empty() {
            return Ok(());
        }
        print_stdout(&format!("{title}\n{}\n\n", lines.join("\n")))
    }

    fn tell(&self) -> Outcome {
        print_stdout(&format!("Total reclaimed space: {}\n", size::human(self.reclaimed_bytes)))?;
        Ok(u8::from(self.failed))
    }
}
