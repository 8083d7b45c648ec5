//! `system check`: what is stored against what is real.

use std::ffi::OsString;

use clap::Args;

use crate::door::{Door, print_stdout};
use crate::failure::{Failure, Outcome};
use crate::parse::parse;

#[derive(Debug, Args)]
struct CheckArgs {
    /// json: one object per finding.
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Repair what is found.
    #[arg(long)]
    repair: bool,
}

/// The exit code is 1 while something is wrong.
pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: CheckArgs = parse(door.spec, argv)?;
    let json = match args.format.as_deref() {
        None | Some("") => false,
        Some("json") => true,
        Some(other) => return Err(Failure::usage(format!("--format {other}: use json"))),
    };
    let findings = door.engine()?.check(args.repair)?;
    for finding in &findings {
        let line = if json {
            serde_json::to_string(finding).unwrap_or_default()
        } else {
            let repaired = if finding.repaired { " (repaired)" } else { "" };
            format!("{} {}: {}{repaired}", finding.kind, finding.object, finding.problem)
        };
        print_stdout(&format!("{line}\n"))?;
    }
    Ok(u8::from(findings.iter().any(|finding| !finding.repaired)))
}
