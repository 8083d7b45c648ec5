//! `diff`: what a container has changed.

use std::ffi::OsString;

use cais_engine::verb::ChangeKind;
use clap::Args;
use serde_json::json;

use crate::door::{Door, print_stdout};
use crate::failure::{Failure, Outcome};
use crate::parse::parse;

#[derive(Debug, Args)]
struct DiffArgs {
    /// json: all changes as one object, as podman.
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    container: String,
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: DiffArgs = parse(door.spec, argv)?;
    let json = match args.format.as_deref() {
        None | Some("") => false,
        Some("json") => true,
        Some(other) => return Err(Failure::usage(format!("--format {other}: use json"))),
    };
    let changes = door.engine()?.diff(&args.container)?;
    let shown = |path: &[u8]| format!("/{}", String::from_utf8_lossy(path));
    if json {
        let of = |kind| -> Vec<String> {
            changes.iter().filter(|change| change.kind == kind).map(|change| shown(&change.path)).collect()
        };
        let object = json!({
            "changed": of(ChangeKind::Changed), "added": of(ChangeKind::Added), "deleted": of(ChangeKind::Deleted),
        });
        print_stdout(&format!("{object:#}\n"))?;
        return Ok(0);
    }
    let mut text = String::new();
    for change in &changes {
        let letter = match change.kind {
            ChangeKind::Added => 'A',
            ChangeKind::Changed => 'C',
            ChangeKind::Deleted => 'D',
        };
        text.push_str(&format!("{letter} {}\n", shown(&change.path)));
    }
    print_stdout(&text)?;
    Ok(0)
}
